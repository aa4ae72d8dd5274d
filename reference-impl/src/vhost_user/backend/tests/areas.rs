//! What goes beyond one ring of requests: several rings, memory, configuration, the dirty log, the
//! record of requests in flight, the back-end's channel, and a NIC's state.
//!
//! Each area is a conversation that says what was seen, so that a mutant is one that says otherwise.

use std::fs::File;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::*;
use crate::nic::{Link, NicConfig, Parameters};
use crate::vhost_user::net::{Net, NetOptions};
use devmig_model::protocol::vhost_user::wire::{Config, Inflight, Log, MemoryRegion, VringAddr};

/// A front-end without memory of what it sent.
struct Side<D> {
    backend: Backend<D>,
    guest: Guest,
    now: Instant,
    /// What the back-end did.
    seen: Vec<String>,
    state: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl<D: Device> Side<D> {
    fn new(device: D, settings: &str, mutant: Option<Mutant>, guest: Guest) -> Self {
        let backend = Backend::new(device, settings.parse().unwrap(), mutant).unwrap();
        let (seen, state, fds) = (Vec::new(), Vec::new(), Vec::new());
        Side { backend, guest, now: Instant::now(), seen, state, fds }
    }

    fn send(&mut self, message: Message, payload: &Payload, need_reply: bool, fds: Vec<OwnedFd>) {
        let flags = Flags::request();
        let flags = if need_reply { flags.with_need_reply() } else { flags };
        let bytes = payload.encode();
        let header = Header { request: message.id(), flags, size: bytes.len() as u32 };
        self.backend.handle_message(header, &bytes, fds, self.now);
        self.drain();
    }

    fn tell(&mut self, message: Message, payload: &Payload) {
        self.send(message, payload, false, Vec::new());
    }

    fn negotiate(&mut self, protocol: u64, features: u64) {
        self.tell(Message::SET_PROTOCOL_FEATURES, &Payload::U64(protocol));
        let without = 1 << VIRTIO_RING_F_EVENT_IDX | 1 << ids::LOG_ALL_BIT;
        let features = self.backend.offered() & !without | features;
        self.tell(Message::SET_FEATURES, &Payload::U64(features));
    }

    fn give_memory(&mut self) {
        let memory = vec![self.guest.descriptor()];
        self.send(Message::SET_MEM_TABLE, &Guest::table(), false, memory);
    }

    /// Everything but what starts a ring.
    fn set_up(&mut self, index: u32, base: u16, flags: u32) {
        let state = |num| Payload::VringState(VringState { index, num });
        self.tell(Message::SET_VRING_NUM, &state(SIZE.into()));
        self.tell(Message::SET_VRING_BASE, &state(base.into()));
        let Payload::VringAddr(addresses) = Guest::addresses(index) else { unreachable!() };
        let addresses = VringAddr { flags, log: 0x30_0000, ..addresses };
        self.tell(Message::SET_VRING_ADDR, &Payload::VringAddr(addresses));
        self.tell(Message::SET_VRING_ENABLE, &state(1));
    }

    fn bells(&mut self, index: u8) {
        for message in [Message::SET_VRING_CALL, Message::SET_VRING_KICK, Message::SET_VRING_ERR] {
            self.send(message, &Payload::VringFd(VringFd::new(index, false)), false, fd());
        }
    }

    fn kick(&mut self, ring: usize) {
        self.backend.handle_kick(ring, self.now);
        self.drain();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.backend.handle_time(self.now);
        self.drain();
    }

    fn stop(&mut self, index: u32) {
        self.tell(Message::GET_VRING_BASE, &Payload::VringState(VringState { index, num: 0 }));
    }

    fn drain(&mut self) {
        while let Some(output) = self.backend.poll_output() {
            match output {
                Output::Reply { header, payload, descriptors } => {
                    self.seen.push(format!("{} <- {payload:?}", header.request));
                    self.fds.extend(descriptors);
                }
                Output::Tell { header, payload } => {
                    let asks = header.flags.need_reply();
                    self.seen.push(format!("told {} {payload:?} {asks}", header.request));
                }
                Output::Save { state, .. } => {
                    self.state = state;
                    self.backend.handle_saved(true, self.now);
                }
                Output::Load { .. } => {
                    let state = self.state.clone();
                    let _ = self.backend.handle_loaded(Some(&state), self.now);
                }
                Output::SetCall { ring, descriptor: None, .. } => {
                    self.seen.push(format!("no call({ring})"));
                }
                Output::Kick { .. }
                | Output::SetCall { .. }
                | Output::SetError { .. }
                | Output::OpenChannel(_) => {}
                other => self.seen.push(format!("{other:?}").to_lowercase()),
            }
        }
    }

    fn note(&mut self, what: impl std::fmt::Debug) {
        self.seen.push(format!("{what:?}"));
    }

    /// How many each ring has completed.
    fn used(&mut self) {
        let used: Vec<u16> = (0..2).map(|ring| self.guest.used(ring)).collect();
        self.note(used);
    }

    fn transfer(&mut self, direction: u32) {
        let transfer = Payload::Transfer(Transfer { direction, phase: 0 });
        self.send(Message::SET_DEVICE_STATE_FD, &transfer, false, fd());
        self.tell(Message::CHECK_DEVICE_STATE, &Payload::None);
    }
}

fn disk(mutant: Option<Mutant>, settings: &str, latency: Duration) -> Side<Block> {
    disk_over(Guest::new(), mutant, settings, latency)
}

fn disk_over(
    guest: Guest,
    mutant: Option<Mutant>,
    settings: &str,
    latency: Duration,
) -> Side<Block> {
    let options = BlockOptions { latency, rings: 2, ..BlockOptions::default() };
    Side::new(Block::new(options), settings, mutant, guest)
}

/// Two rings that run, with the log at `flags`.
fn running(mutant: Option<Mutant>, latency: Duration, features: u64, flags: u32) -> Side<Block> {
    let mut side = disk(mutant, "", latency);
    side.negotiate(PROTOCOL, features);
    side.give_memory();
    for ring in 0..2 {
        side.set_up(ring.into(), 0, flags);
        side.bells(ring);
        side.kick(ring.into());
    }
    side
}

/// One ring stops, is disabled or reset, and the other is what it was.
fn several_rings(mutant: Option<Mutant>) -> Vec<String> {
    let mut side = running(mutant, Duration::ZERO, 0, 0);
    side.stop(0);
    side.guest.publish(1, 0, 0, 1);
    side.kick(1);
    side.used();
    side.bells(0);
    side.kick(0);
    side.tell(Message::SET_VRING_ENABLE, &ring(0));
    side.guest.publish(1, 1, 0, 1);
    side.kick(1);
    side.used();
    side.tell(Message::RESET_OWNER, &Payload::None);
    side.guest.publish(1, 2, 0, 1);
    side.kick(1);
    side.used();
    side.tell(Message::RESET_DEVICE, &Payload::None);
    side.guest.publish(1, 3, 0, 1);
    side.kick(1);
    side.used();
    // One that is polled, by the guest too, and one that is broken.
    side.set_up(1, 3, 0);
    let due = |side: &Side<Block>| side.backend.poll_timeout(side.now).map(|at| at - side.now);
    side.bells(1);
    side.kick(1);
    side.used();
    side.guest.publish(1, 4, 0, 1);
    side.pass(MS);
    side.used();
    side.note(due(&side));
    side.tell(Message::SET_VRING_KICK, &Payload::VringFd(VringFd::new(1, true)));
    side.pass(MS);
    side.used();
    side.note(due(&side));
    side.tell(Message::SET_VRING_CALL, &Payload::VringFd(VringFd::new(1, true)));
    side.guest.available(1, 0x8000);
    side.pass(MS);
    side.seen
}

#[test]
fn rings_are_each_their_own() {
    let expected = [
        "11 <- [0, 0, 0, 0, 0, 0, 0, 0]",
        "call(1)",
        "[0, 1]",
        "call(1)",
        "[0, 2]",
        "call(1)",
        "[0, 3]",
        "[0, 3]",
        "call(1)",
        "[0, 4]",
        // Nobody has kicked, and nobody polls.
        "[0, 4]",
        "None",
        "call(1)",
        "[0, 5]",
        "Some(1ms)",
        "no call(1)",
        "error(1)",
    ];
    assert_eq!(several_rings(None), expected);
}

/// Memory comes whole or in slots, and goes.
fn memory(mutant: Option<Mutant>) -> Vec<String> {
    let mut side = running(mutant, Duration::ZERO, 0, 0);
    let refused = Payload::U64(1 << 60);
    side.send(Message::SET_FEATURES, &refused, true, vec![]);
    // Another guest's memory, in the place of the first's.
    let other = Guest::new();
    other.publish(0, 0, 0, 1);
    side.send(Message::SET_MEM_TABLE, &Guest::table(), false, vec![other.descriptor()]);
    side.kick(0);
    side.note(other.used(0));
    let slot = |at| {
        let region = devmig_model::protocol::vhost_user::wire::Region {
            guest_address: GUEST + at,
            user_address: crate::vhost_user::testing::USER + at,
            ..Guest::region()
        };
        Payload::MemoryRegion(MemoryRegion { padding: 0, region })
    };
    side.send(Message::ADD_MEM_REG, &slot(LENGTH), true, vec![Guest::new().descriptor()]);
    other.publish(0, 1, 0, 1);
    side.kick(0);
    side.note(other.used(0));
    side.send(Message::REM_MEM_REG, &slot(LENGTH), true, fd());
    side.send(Message::REM_MEM_REG, &slot(LENGTH), true, vec![]);
    side.send(Message::REM_MEM_REG, &slot(0), true, vec![]);
    other.publish(0, 2, 0, 1);
    side.kick(0);
    side.note(other.used(0));
    side.seen
}

#[test]
fn memory_comes_and_goes() {
    let expected = [
        "2 <- [1, 0, 0, 0, 0, 0, 0, 0]",
        "call(0)",
        "1",
        "37 <- [0, 0, 0, 0, 0, 0, 0, 0]",
        "call(0)",
        "2",
        "38 <- [0, 0, 0, 0, 0, 0, 0, 0]",
        "38 <- [1, 0, 0, 0, 0, 0, 0, 0]",
        // Rings without memory.
        "error(0)",
        "error(1)",
        "38 <- [0, 0, 0, 0, 0, 0, 0, 0]",
        "2",
    ];
    assert_eq!(memory(None), expected);
}

/// Pages marked in a log of 16 KiB; `place` is where in the file it begins.
fn marked(log: &File, place: u64) -> Vec<usize> {
    let mut bytes = [0; 0x1000];
    rustix::io::pread(log, &mut bytes, place).unwrap();
    (0..8 * bytes.len()).filter(|page| bytes[page / 8] >> (page % 8) & 1 == 1).collect()
}

/// A log that is set, in use, changed, and no longer written after the stop.
fn dirty(mutant: Option<Mutant>) -> Vec<String> {
    let all = 1 << ids::LOG_ALL_BIT;
    let log = File::from(memfd_create("log", MemfdFlags::CLOEXEC).unwrap());
    ftruncate(&log, 0x2000).unwrap();
    let mut side = running(mutant, Duration::ZERO, 0, 1);
    let base = |side: &mut Side<Block>, offset| {
        let place = Payload::Log(Log { size: 0x1000, offset });
        let fd = log.try_clone().unwrap().into();
        side.send(Message::SET_LOG_BASE, &place, false, vec![fd]);
    };
    base(&mut side, 0);
    side.guest.publish(0, 0, 0, 1);
    side.kick(0);
    side.note(marked(&log, 0));
    side.negotiate(PROTOCOL, all);
    // Data that spans two pages, and a used ring that is logged elsewhere.
    side.guest.publish(0, 1, 0, 1);
    let over = Descriptor::new(GUEST + 0x5_0ff0, 512, 3, 6);
    side.guest.descriptor_is(0, 5, over);
    side.kick(0);
    side.note(marked(&log, 0));
    base(&mut side, 0x1000);
    side.guest.publish(0, 2, 0, 1);
    side.kick(0);
    side.note(marked(&log, 0x1000));
    side.stop(0);
    side.stop(1);
    side.guest.publish(0, 3, 0, 1);
    side.kick(0);
    side.note(marked(&log, 0x1000));
    side.seen
}

#[test]
fn what_is_written_is_logged() {
    let log = "6 <- [0, 0, 0, 0, 0, 0, 0, 0]";
    let expected = [
        log,
        "call(0)",
        "[]",
        "call(0)",
        // The status, the two pages of data, and the used ring.
        "[320, 336, 337, 768]",
        log,
        "call(0)",
        "[320, 768]",
        "11 <- [0, 0, 0, 0, 3, 0, 0, 0]",
        "11 <- [1, 0, 0, 0, 0, 0, 0, 0]",
        "[320, 768]",
    ];
    assert_eq!(dirty(None), expected);
}

/// A back-end goes away with requests in flight, and the next one finds them.
fn in_flight(mutant: Option<Mutant>) -> Vec<String> {
    let asked = Inflight { num_queues: 2, queue_size: SIZE, ..Inflight::default() };
    let mut first = running(mutant, 10 * MS, 0, 0);
    first.tell(Message::GET_INFLIGHT_FD, &Payload::Inflight(asked));
    let Some(record) = first.fds.pop() else { return first.seen };
    let mmap_size = crate::vhost_user::inflight::length(2, SIZE);
    let about = Payload::Inflight(Inflight { mmap_size, ..asked });
    let fd = || vec![record.try_clone().unwrap()];
    first.send(Message::SET_INFLIGHT_FD, &about, false, fd());
    first.guest.publish(0, 0, 0, 1);
    first.kick(0);
    first.pass(10 * MS);
    // Heads 4, 8, 12 and 0 are in flight, and 4 was put into the used ring at the last moment.
    for n in 1..5 {
        first.guest.publish(0, n, 0, n.into());
        first.kick(0);
        first.pass(MS);
    }
    first.used();
    let Side { guest, mut seen, .. } = first;
    // The oldest is head 12.
    for (head, counter) in [(8, 20_u64), (0, 30)] {
        rustix::io::pwrite(&record, &counter.to_le_bytes(), 16 + 16 * head + 8).unwrap();
    }
    rustix::io::pwrite(&record, &4_u16.to_le_bytes(), 12).unwrap();
    guest.set_used(0, 2);

    let mut next = disk_over(guest, mutant, "", Duration::ZERO);
    next.negotiate(PROTOCOL, 0);
    next.send(Message::SET_INFLIGHT_FD, &about, false, fd());
    next.give_memory();
    next.set_up(0, 2, 0);
    next.bells(0);
    next.kick(0);
    next.used();
    let heads: Vec<u32> = (2..5).map(|n| next.guest.used_element(0, n).0).collect();
    next.note(heads);
    next.stop(0);
    // And once more: everything is done.
    next.bells(0);
    next.kick(0);
    next.used();
    seen.append(&mut next.seen);
    seen
}

#[test]
fn requests_in_flight_are_finished_by_the_next_back_end() {
    let seen = in_flight(None);
    assert!(seen[0].starts_with("31 <- [32, 2, "), "{seen:?}");
    let expected = [
        "call(0)",
        "[1, 0]",
        "call(0)",
        "[5, 0]",
        "[12, 8, 0]",
        "11 <- [0, 0, 0, 0, 5, 0, 0, 0]",
        "[5, 0]",
    ];
    assert_eq!(seen[1..], expected);
}

#[test]
fn with_a_record_a_ring_may_stop_at_once_and_go_on() {
    let mut side = running(None, 10 * MS, 0, 0);
    let mmap_size = crate::vhost_user::inflight::length(2, SIZE);
    let record = crate::vhost_user::inflight::create(2, SIZE).unwrap().1;
    let about = Inflight { mmap_size, num_queues: 2, queue_size: SIZE, ..Inflight::default() };
    side.send(Message::SET_INFLIGHT_FD, &Payload::Inflight(about), false, vec![record]);
    side.guest.publish(0, 0, 0, 1);
    side.kick(0);
    side.stop(0);
    assert_eq!(side.seen, ["11 <- [0, 0, 0, 0, 1, 0, 0, 0]"]);
    side.pass(20 * MS);
    side.bells(0);
    side.kick(0);
    side.pass(10 * MS);
    side.used();
    assert_eq!(side.seen[1..], ["call(0)", "[1, 0]"]);
}

fn nic(mutant: Option<Mutant>, protocol: u64, flap: Option<Duration>) -> Side<Net> {
    let parameters = Parameters { rss: true, queue_pairs: 2, ..Parameters::default() };
    let config = NicConfig::new(parameters).unwrap();
    let options = NetOptions { config, link: Link::Loopback, latency: Duration::ZERO, flap };
    let settings = "disabled.requests=process";
    let mut side = Side::new(Net::new(&options), settings, mutant, Guest::new());
    side.negotiate(protocol, 0);
    side.give_memory();
    side
}

fn config(side: &mut Side<Net>, message: Message, offset: u32, flags: u32, bytes: &[u8]) {
    let config = Config::new(offset, flags, bytes.to_vec()).unwrap();
    side.send(message, &Payload::Config(config), message == Message::SET_CONFIG, vec![]);
}

/// Fields are read, and written by a migration only.
fn configuration(mutant: Option<Mutant>) -> Vec<String> {
    let mut side = nic(mutant, PROTOCOL | 1 << feature::MTU, None);
    config(&mut side, Message::GET_CONFIG, 0, 0, &[0; 8]);
    for (offset, flags, bytes) in
        [(0, 0, [2, 0]), (0, 1, [2, 0]), (8, 1, [9, 9]), (23, 1, [0, 0]), (0, 2, [2, 0])]
    {
        config(&mut side, Message::SET_CONFIG, offset, flags, &bytes);
        config(&mut side, Message::GET_CONFIG, 0, 0, &[0; 2]);
    }
    for mtu in [1500, 60_000] {
        side.send(Message::NET_SET_MTU, &Payload::U64(mtu), true, vec![]);
    }
    side.tell(Message::GET_QUEUE_NUM, &Payload::None);
    side.tell(Message::GET_QUEUE_NUM, &Payload::None);
    side.seen
}

#[test]
fn configuration_is_read_only_but_for_migration() {
    let seen = configuration(None);
    assert!(seen[0].ends_with("82, 84, 0, 222, 113, 97, 1, 0]"), "{seen:?}");
    let results: Vec<bool> = seen[1..11].iter().step_by(2).map(|l| l.contains("[0, ")).collect();
    assert_eq!(results, [false, true, false, false, false]);
    assert!(seen[2].ends_with("82, 84]") && seen[4].ends_with("2, 0]"), "{seen:?}");
    assert!(seen[11].contains("[0, ") && !seen[12].contains("[0, "), "{seen:?}");
}

/// The link goes down, while the device is suspended and while it runs.
fn channel(mutant: Option<Mutant>) -> Vec<String> {
    let mut seen = Vec::new();
    let without = [None, Some(feature::REPLY_ACK), Some(feature::CONFIG)];
    for protocol in without.map(|bit| PROTOCOL & !bit.map_or(0, |bit| 1 << bit)) {
        let mut side = nic(mutant, protocol, Some(10 * MS));
        side.send(Message::SET_BACKEND_REQ_FD, &Payload::None, true, fd());
        side.pass(Duration::ZERO);
        side.pass(10 * MS);
        side.note("suspended");
        side.set_up(0, 0, 0);
        side.bells(0);
        side.kick(0);
        side.note("runs");
        side.pass(10 * MS);
        let answer = Header { request: 2, flags: Flags::reply(), size: 8 };
        let right = side.backend.handle_told(answer);
        side.drain();
        side.note(right);
        side.note(side.backend.device().nic().is_up());
        seen.append(&mut side.seen);
    }
    seen
}

#[test]
fn a_change_is_told_while_something_runs() {
    let (suspended, runs, good) = ("\"suspended\"", "\"runs\"", "21 <- [0, 0, 0, 0, 0, 0, 0, 0]");
    let told = "told 2 [] true";
    let first = [good, suspended, told, runs, told, "true", "true"];
    let told = "told 2 [] false";
    let second = [suspended, told, runs, told, "false", "true"];
    // What needs CONFIG is not said without it.
    let third = [good, suspended, runs, "false", "true"];
    assert_eq!(channel(None), [&first[..], &second, &third].concat());
}

/// Kicks and calls in messages.
fn inband(mutant: Option<Mutant>) -> Vec<String> {
    let mut side = disk(mutant, "", Duration::ZERO);
    let alone = 1 << feature::INBAND_NOTIFICATIONS;
    side.tell(Message::SET_PROTOCOL_FEATURES, &Payload::U64(alone));
    let mut seen = std::mem::take(&mut side.seen);
    let mut side = disk(mutant, "", Duration::ZERO);
    side.negotiate(OFFERED_PROTOCOL_FEATURES, 0);
    side.send(Message::SET_BACKEND_REQ_FD, &Payload::None, true, fd());
    side.give_memory();
    for (index, n) in [(0, 0), (1, 0), (0, 1)] {
        if n == 0 {
            side.set_up(index, 0, 0);
        }
        side.guest.publish(index, n, 0, 1);
        let kick = Payload::VringState(VringState { index, num: 0 });
        side.send(Message::VRING_KICK, &kick, true, vec![]);
        side.used();
    }
    let answer = Header { request: 4, flags: Flags::reply(), size: 8 };
    side.backend.handle_told(answer);
    side.drain();
    side.stop(0);
    side.stop(1);
    side.send(Message::VRING_KICK, &ring(1), true, vec![]);
    seen.append(&mut side.seen);
    seen
}

#[test]
fn notifications_go_in_messages_one_at_a_time() {
    let [good, bad] = ["[0, 0, 0, 0, 0, 0, 0, 0]", "[1, 0, 0, 0, 0, 0, 0, 0]"];
    let expected = [
        "close(inband)".to_owned(),
        format!("21 <- {good}"),
        format!("told 4 {good} true"),
        format!("35 <- {good}"),
        "[1, 0]".to_owned(),
        format!("35 <- {good}"),
        "[1, 1]".to_owned(),
        format!("35 <- {good}"),
        "[2, 1]".to_owned(),
        format!("told 4 {good} true"),
        "11 <- [0, 0, 0, 0, 2, 0, 0, 0]".to_owned(),
        // The last ring stops: what is still to be told is told before.
        format!("told 4 {bad} true"),
        "11 <- [1, 0, 0, 0, 1, 0, 0, 0]".to_owned(),
        format!("35 <- {bad}"),
    ];
    assert_eq!(inband(None), expected);
}

const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// A NIC that was told things is stopped, saved, resumed, and loaded elsewhere.
fn nic_state(mutant: Option<Mutant>) -> Vec<String> {
    let mut side = nic(mutant, PROTOCOL, None);
    let start = |side: &mut Side<Net>, bases: [u16; 5]| {
        for (index, base) in (0..5).zip(bases) {
            side.set_up(index, base, 0);
            side.bells(index as u8);
            side.kick(index as usize);
        }
    };
    let frame = |to: [u8; 6]| [&[0; 12], &to[..], &[2; 6], &[8, 6], &[7; 50]].concat();
    start(&mut side, [0; 5]);
    let commands: [Vec<u8>; 3] = [
        [&[1, 0, 1, 0, 0, 0][..], &OTHER, &[0; 4]].concat(),
        vec![1, 1, 2, 0, 0, 0, 0, 5],
        // Everything to the second queue.
        [&[4, 1][..], &[1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 0, 0]].concat(),
    ];
    for (n, command) in (0..).zip(&commands) {
        side.guest.publish_buffer(4, n, command, 1);
        side.kick(4);
        let ack = side.guest.room(4, n, 1);
        side.note(ack);
    }
    // No room for it yet.
    side.guest.publish_buffer(1, 0, &frame(OTHER), 0);
    side.kick(1);
    // A disabled ring: what is transmitted is discarded, what was received is not supplied.
    for index in [1, 2] {
        let state = Payload::VringState(VringState { index, num: 0 });
        side.tell(Message::SET_VRING_ENABLE, &state);
    }
    side.guest.publish_buffer(2, 0, &[], 0x1000);
    side.kick(2);
    side.guest.publish_buffer(1, 1, &frame([2, 0, 0, 0, 0, 5]), 0);
    side.kick(1);
    side.note((side.guest.used(1), side.guest.used(2)));
    (0..5).for_each(|index| side.stop(index));
    side.transfer(Transfer::SAVE);

    // Here again, and elsewhere.
    let state = side.state.clone();
    let mut other = nic(mutant, PROTOCOL, None);
    other.state = state;
    other.transfer(Transfer::LOAD);
    side.guest.available(2, 0);
    for (mut side, bases) in [(side, [0, 2, 0, 0, 3]), (other, [0; 5])] {
        start(&mut side, bases);
        for n in 0..2 {
            side.guest.publish_buffer(2, n, &[], 0x1000);
        }
        side.kick(2);
        side.note(side.guest.used(2));
        config(&mut side, Message::GET_CONFIG, 0, 0, &[0; 6]);
        side.guest.publish_buffer(1, bases[1], &frame(OTHER), 0);
        side.kick(1);
        side.note((side.guest.used(0), side.guest.used(2), side.guest.used_element(2, 0)));
        side.tell(Message::RESET_DEVICE, &Payload::None);
        start(&mut side, [0, bases[1] + 1, 2, 0, bases[4]]);
        side.guest.publish_buffer(0, 0, &[], 0x1000);
        side.kick(0);
        side.guest.publish_buffer(1, bases[1] + 1, &frame(OTHER), 0);
        side.kick(1);
        side.note(side.guest.used(0));
        let mut seen = std::mem::take(&mut side.seen);
        side.state.clear();
        SEEN.with_borrow_mut(|all| all.append(&mut seen));
    }
    SEEN.take()
}

thread_local! {
    static SEEN: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[test]
fn a_nic_goes_on_here_and_elsewhere() {
    let seen = nic_state(None);
    let noted: Vec<&String> =
        seen.iter().filter(|l| l.starts_with(['(', '[']) || l.len() == 1).collect();
    let expected =
        ["[0]", "[0]", "[0]", "(2, 0)", "1", "(0, 2, (0, 76))", "0", "1", "(0, 2, (0, 76))", "0"];
    assert_eq!(noted, expected);
    let macs = seen.iter().filter(|l| l.ends_with("2, 0, 0, 0, 0, 5]")).count();
    assert_eq!(macs, 2, "{seen:?}");
}

/// All of it.
pub(super) fn all(mutant: Option<Mutant>) -> Vec<String> {
    [several_rings, memory, dirty, in_flight, configuration, channel, inband, nic_state]
        .into_iter()
        .flat_map(|area| area(mutant))
        .map(|line| format!("area: {line}"))
        .collect()
}
