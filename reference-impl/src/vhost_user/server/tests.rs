//! End to end: a front-end at a real socket.

use std::io::{Read, pipe};
use std::os::fd::{BorrowedFd, OwnedFd};

use devmig_model::protocol::vhost_user::wire::{
    Flags, Header, Payload, Transfer, VringFd, VringState,
};

use virtio_bindings::bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;

use super::*;
use crate::nic::{Link, NicConfig, Parameters};
use crate::socket::transport::ReceiveError;
use crate::vhost_user::ids::{Message, OFFERED_PROTOCOL_FEATURES, feature};
use crate::vhost_user::testing::{Guest, SIZE};

const LIMIT: Duration = Duration::from_secs(10);

struct FrontEnd {
    connection: Connection,
    guest: Guest,
    kicks: [Event; 5],
    call: Event,
}

impl FrontEnd {
    fn connect(server: &Running) -> Self {
        let connection = Connection::connect(&server.socket(), Deadline::after(LIMIT)).unwrap();
        let kicks = std::array::from_fn(|_| Event::new().unwrap());
        let (guest, call) = (Guest::new(), Event::new().unwrap());
        FrontEnd { connection, guest, kicks, call }
    }

    fn tell(&mut self, message: Message, payload: &Payload, fds: &[BorrowedFd<'_>]) {
        let bytes = payload.encode();
        let (request, size) = (message.id(), bytes.len() as u32);
        let header = Header { request, flags: Flags::request(), size };
        self.connection.send(header, &bytes, fds, Deadline::after(LIMIT)).unwrap();
    }

    fn ask(&mut self, message: Message, payload: &Payload, fds: &[BorrowedFd<'_>]) -> Vec<u8> {
        self.tell(message, payload, fds);
        let reply = self.connection.receive(Deadline::after(LIMIT)).unwrap();
        assert_eq!((reply.header.request, reply.header.flags), (message.id(), Flags::reply()));
        reply.payload
    }

    fn ask_number(&mut self, message: Message, payload: &Payload, fds: &[BorrowedFd<'_>]) -> u64 {
        u64::from_ne_bytes(self.ask(message, payload, fds).try_into().unwrap())
    }

    fn set_up(&mut self, base: u16) {
        self.negotiate(&[VIRTIO_RING_F_EVENT_IDX]);
        self.give_memory();
        self.set_up_ring(0, base);
    }

    /// Accepts everything but these features, and notifications in messages.
    fn negotiate(&mut self, without: &[u32]) {
        let offered = self.ask_number(Message::GET_FEATURES, &Payload::None, &[]);
        assert_eq!(offered >> 30 & 1, 1);
        let protocol = self.ask_number(Message::GET_PROTOCOL_FEATURES, &Payload::None, &[]);
        assert_eq!(protocol & OFFERED_PROTOCOL_FEATURES, OFFERED_PROTOCOL_FEATURES);
        let protocol = protocol & !(1 << feature::INBAND_NOTIFICATIONS);
        self.tell(Message::SET_PROTOCOL_FEATURES, &Payload::U64(protocol), &[]);
        self.tell(Message::SET_OWNER, &Payload::None, &[]);
        let features = without.iter().fold(offered, |features, bit| features & !(1 << bit));
        self.tell(Message::SET_FEATURES, &Payload::U64(features), &[]);
    }

    fn give_memory(&mut self) {
        let memory = self.guest.descriptor();
        self.tell(Message::SET_MEM_TABLE, &Guest::table(), &[memory.as_fd()]);
    }

    fn set_up_ring(&mut self, index: u32, base: u16) {
        let ring = |num| Payload::VringState(VringState { index, num });
        self.tell(Message::SET_VRING_NUM, &ring(SIZE.into()), &[]);
        self.tell(Message::SET_VRING_BASE, &ring(base.into()), &[]);
        self.tell(Message::SET_VRING_ADDR, &Guest::addresses(index), &[]);
        let fd = Payload::VringFd(VringFd::new(index as u8, false));
        let (kick, call) = (clone(&self.kicks[index as usize]), clone(&self.call));
        self.tell(Message::SET_VRING_KICK, &fd, &[kick.as_fd()]);
        self.tell(Message::SET_VRING_CALL, &fd, &[call.as_fd()]);
        self.tell(Message::SET_VRING_ENABLE, &ring(1), &[]);
    }

    fn read(&mut self, n: u16, sector: u64) {
        self.guest.publish(0, n, 0, sector);
        self.kicks[0].signal().unwrap();
        assert_eq!(self.call.wait(Deadline::after(LIMIT)), Ok(true));
        self.call.take().unwrap();
        assert_eq!(self.guest.used(0), n.wrapping_add(1));
        let (data, status) = self.guest.result(n);
        assert_eq!((&data[..8], status), (&sector.to_le_bytes()[..], 0));
    }
}

fn clone(event: &Event) -> OwnedFd {
    event.as_fd().try_clone_to_owned().unwrap()
}

#[test]
fn a_block_is_read_and_the_ring_stops_and_goes_on() {
    let server = Running::start(Options::default()).unwrap();
    let mut front_end = FrontEnd::connect(&server);
    front_end.set_up(0);
    front_end.read(0, 5);
    front_end.read(1, 6);

    let ring = |num| Payload::VringState(VringState { index: 0, num });
    let base = front_end.ask(Message::GET_VRING_BASE, &ring(0), &[]);
    assert_eq!(base, ring(2).encode());

    // State goes through a pipe, to its end.
    let (mut reader, writer) = pipe().unwrap();
    let save = Payload::Transfer(Transfer { direction: Transfer::SAVE, phase: Transfer::STOPPED });
    let answer = front_end.ask_number(Message::SET_DEVICE_STATE_FD, &save, &[writer.as_fd()]);
    drop(writer);
    assert_eq!(answer, 1 << 8);
    let mut state = Vec::new();
    reader.read_to_end(&mut state).unwrap();
    assert_eq!(front_end.ask_number(Message::CHECK_DEVICE_STATE, &Payload::None, &[]), 0);

    // It goes on after a failed migration.
    front_end.set_up(2);
    front_end.read(2, 7);

    // And at the destination, over another connection, where all is new.
    drop(front_end);
    let mut front_end = FrontEnd::connect(&server);
    front_end.set_up(3);
    let load = Payload::Transfer(Transfer { direction: Transfer::LOAD, phase: Transfer::STOPPED });
    let (reader, mut writer) = pipe().unwrap();
    let answer = front_end.ask_number(Message::SET_DEVICE_STATE_FD, &load, &[reader.as_fd()]);
    assert_eq!(answer, 1 << 8);
    std::io::Write::write_all(&mut writer, &state).unwrap();
    drop(writer);
    assert_eq!(front_end.ask_number(Message::CHECK_DEVICE_STATE, &Payload::None, &[]), 0);
    front_end.guest.set_used(0, 3);
    front_end.read(3, 8);
    server.stop(LIMIT).unwrap();
}

#[test]
fn a_front_end_that_leaves_or_babbles_makes_room_for_the_next() {
    let block = BlockOptions { latency: Duration::from_secs(60), ..BlockOptions::default() };
    let server = Running::start(Options { block, ..Options::default() }).unwrap();
    let ring = |num| Payload::VringState(VringState { index: 0, num });
    let works = |server: &Running| {
        let mut front_end = FrontEnd::connect(server);
        front_end.ask(Message::GET_FEATURES, &Payload::None, &[]);
    };

    // Gone while an answer is owed: a request is in flight for a minute.
    let mut waiting = FrontEnd::connect(&server);
    waiting.set_up(0);
    waiting.guest.publish(0, 0, 0, 0);
    waiting.kicks[0].signal().unwrap();
    waiting.ask(Message::GET_FEATURES, &Payload::None, &[]);
    waiting.tell(Message::GET_VRING_BASE, &ring(0), &[]);
    let silence = waiting.connection.receive(Deadline::after(Duration::from_millis(50)));
    assert!(matches!(silence, Err(ReceiveError::Timeout { got: 0 })));
    drop(waiting);
    works(&server);

    // Half a message, then gone.
    let mut half = FrontEnd::connect(&server);
    half.connection.send_raw(&[1, 0, 0, 0, 1], &[], Deadline::after(LIMIT)).unwrap();
    drop(half);
    works(&server);

    // Garbage.
    let mut garbage = FrontEnd::connect(&server);
    garbage.connection.send_raw(&[0xff; 4096], &[], Deadline::after(LIMIT)).unwrap();
    let answer = garbage.connection.receive(Deadline::after(LIMIT));
    assert!(matches!(answer, Err(ReceiveError::Closed { .. })), "{answer:?}");
    works(&server);

    // Descriptors that are no events: ready for ever, and broken.
    let mut odd = FrontEnd::connect(&server);
    let fd = Payload::VringFd(VringFd::new(0, false));
    let null = std::fs::File::open("/dev/zero").unwrap();
    let (reader, _) = pipe().unwrap();
    for kick in [null.as_fd(), reader.as_fd()] {
        odd.tell(Message::SET_VRING_KICK, &fd, &[kick]);
        odd.ask(Message::GET_FEATURES, &Payload::None, &[]);
    }
    // Stopped with a front-end there.
    server.stop(LIMIT).unwrap();
}

#[test]
fn a_kick_from_before_counts_or_is_lost() {
    for (setting, counts) in [("kick.pending=starts", true), ("kick.pending=lost", false)] {
        let settings = setting.parse().unwrap();
        let server = Running::start(Options { settings, ..Options::default() }).unwrap();
        let mut front_end = FrontEnd::connect(&server);
        front_end.guest.publish(0, 0, 0, 1);
        front_end.kicks[0].signal().unwrap();
        front_end.set_up(0);
        let limit = if counts { LIMIT } else { Duration::from_millis(50) };
        assert_eq!(front_end.call.wait(Deadline::after(limit)), Ok(counts), "{setting}");
        server.stop(LIMIT).unwrap();
    }
}

#[test]
fn a_large_state_goes_through_a_pipe_that_is_smaller() {
    let block = BlockOptions { sectors: 1024, ..BlockOptions::default() };
    let server = Running::start(Options { block, ..Options::default() }).unwrap();
    let mut front_end = FrontEnd::connect(&server);
    front_end.set_up(0);
    for n in 0..300 {
        front_end.guest.publish(0, n, 1, n.into());
        front_end.kicks[0].signal().unwrap();
        assert_eq!(front_end.call.wait(Deadline::after(LIMIT)), Ok(true));
        front_end.call.take().unwrap();
    }
    let ring = Payload::VringState(VringState { index: 0, num: 0 });
    front_end.ask(Message::GET_VRING_BASE, &ring, &[]);
    let transfer = |direction| Payload::Transfer(Transfer { direction, phase: Transfer::STOPPED });
    let (mut reader, writer) = pipe().unwrap();
    let message = Message::SET_DEVICE_STATE_FD;
    front_end.ask(message, &transfer(Transfer::SAVE), &[writer.as_fd()]);
    drop(writer);
    let mut state = Vec::new();
    reader.read_to_end(&mut state).unwrap();
    assert!(state.len() > 300 * 512);

    let (reader, mut writer) = pipe().unwrap();
    front_end.ask(Message::CHECK_DEVICE_STATE, &Payload::None, &[]);
    front_end.ask(message, &transfer(Transfer::LOAD), &[reader.as_fd()]);
    front_end.tell(Message::CHECK_DEVICE_STATE, &Payload::None, &[]);
    std::io::Write::write_all(&mut writer, &state).unwrap();
    drop(writer);
    let reply = front_end.connection.receive(Deadline::after(LIMIT)).unwrap();
    assert_eq!(reply.payload, [0; 8], "known when it is answered");

    // A reader that goes away is a failure that is reported.
    let (reader, writer) = pipe().unwrap();
    front_end.ask(message, &transfer(Transfer::SAVE), &[writer.as_fd()]);
    drop((reader, writer));
    assert_eq!(front_end.ask_number(Message::CHECK_DEVICE_STATE, &Payload::None, &[]), 1);
    server.stop(LIMIT).unwrap();
}

#[test]
fn a_mutant_keeps_the_channel_open() {
    let mutant = Some(Mutant::TransferNeverCloses);
    let server = Running::start(Options { mutant, ..Options::default() }).unwrap();
    let mut front_end = FrontEnd::connect(&server);
    front_end.set_up(0);
    let (reader, writer) = pipe().unwrap();
    let save = Payload::Transfer(Transfer { direction: Transfer::SAVE, phase: Transfer::STOPPED });
    front_end.ask(Message::SET_DEVICE_STATE_FD, &save, &[writer.as_fd()]);
    drop(writer);
    assert_eq!(front_end.ask_number(Message::CHECK_DEVICE_STATE, &Payload::None, &[]), 0);
    let mut state = [0; 4096];
    assert_ne!(rustix::io::read(&reader, &mut state), Ok(0));
    let soon = Deadline::after(Duration::from_millis(50));
    assert_eq!(soon.wait(reader.as_fd(), PollFlags::IN), Ok(false), "no end of file");
    // It ends with the connection.
    drop(front_end);
    assert_eq!(Deadline::after(LIMIT).wait(reader.as_fd(), PollFlags::IN), Ok(true));
    assert_eq!(rustix::io::read(&reader, &mut state), Ok(0));
}

/// A NIC at a real socket: what is sent comes back, and no more than the filter lets through, also
/// after the NIC was moved to another back-end.
#[test]
fn frames_go_round_and_the_filter_moves_along() {
    let config = || {
        NicConfig::new(Parameters { rss: true, queue_pairs: 2, ..Parameters::default() }).unwrap()
    };
    let options =
        NetOptions { config: config(), link: Link::Loopback, latency: Duration::ZERO, flap: None };
    let server = Running::start(Options::nic(options)).unwrap();
    let other = [2, 0, 0, 0, 0, 9];
    let frame = |to: [u8; 6]| [&[0; 12], &to[..], &[2; 6], &[8, 6], &[7; 50]].concat();

    let mut net = NetDriver::connect(&server);
    net.set_up([0; 5]);
    net.room();
    net.send(&frame(config().mac().0));
    assert_eq!(net.received().unwrap()[12..], frame(config().mac().0)[12..]);
    net.send(&frame(other));
    assert_eq!(net.received(), None, "filtered");
    net.room();
    assert_eq!(net.command(&[&[1, 0, 1, 0, 0, 0][..], &other, &[0; 4]].concat()), 0);
    net.send(&frame(other));
    assert_eq!(net.received().unwrap()[12..], frame(other)[12..]);

    let bases = net.stop();
    assert_eq!(bases, [2, 3, 0, 0, 1]);
    let (mut reader, writer) = pipe().unwrap();
    let transfer = |direction| Payload::Transfer(Transfer { direction, phase: Transfer::STOPPED });
    let message = Message::SET_DEVICE_STATE_FD;
    net.front_end.ask(message, &transfer(Transfer::SAVE), &[writer.as_fd()]);
    drop(writer);
    let mut state = Vec::new();
    reader.read_to_end(&mut state).unwrap();

    drop(net);
    let mut net = NetDriver::connect(&server);
    let (reader, mut writer) = pipe().unwrap();
    net.front_end.negotiate(&[VIRTIO_RING_F_EVENT_IDX]);
    net.front_end.ask(message, &transfer(Transfer::LOAD), &[reader.as_fd()]);
    std::io::Write::write_all(&mut writer, &state).unwrap();
    drop(writer);
    let check = Message::CHECK_DEVICE_STATE;
    assert_eq!(net.front_end.ask_number(check, &Payload::None, &[]), 0);
    net.set_up(bases);
    net.room();
    net.send(&frame(other));
    assert_eq!(net.received().unwrap()[12..], frame(other)[12..], "the table has moved");
    server.stop(LIMIT).unwrap();
}

/// A driver of a NIC with two pairs, that uses the first and the control ring.
struct NetDriver {
    front_end: FrontEnd,
    next: [u16; 5],
    taken: u16,
}

impl NetDriver {
    const CONTROL: u32 = 4;

    fn connect(server: &Running) -> Self {
        NetDriver { front_end: FrontEnd::connect(server), next: [0; 5], taken: 0 }
    }

    fn set_up(&mut self, bases: [u16; 5]) {
        (self.next, self.taken) = (bases, bases[0]);
        for (ring, base) in (0..5).zip(bases) {
            self.front_end.guest.available(ring, base);
            self.front_end.guest.set_used(ring, base);
        }
        self.front_end.negotiate(&[VIRTIO_RING_F_EVENT_IDX]);
        self.front_end.give_memory();
        for (ring, base) in (0..5).zip(bases) {
            self.front_end.set_up_ring(ring, base);
        }
        // What is transmitted before the rings are enabled is discarded.
        self.front_end.ask(Message::GET_FEATURES, &Payload::None, &[]);
        // The receive ring has to be kicked to start, like any other.
        self.front_end.kicks[0].signal().unwrap();
    }

    fn publish(&mut self, ring: u32, bytes: &[u8], room: usize) -> u16 {
        let n = self.next[ring as usize];
        self.front_end.guest.publish_buffer(ring, n, bytes, room);
        self.next[ring as usize] = n.wrapping_add(1);
        self.front_end.kicks[ring as usize].signal().unwrap();
        n
    }

    fn room(&mut self) {
        self.publish(0, &[], 0x1000);
    }

    /// Until the ring's used index is beyond this entry.
    fn wait(&self, ring: u32, n: u16) -> bool {
        let deadline = Deadline::after(Duration::from_millis(if ring == 0 { 200 } else { 10_000 }));
        while self.front_end.guest.used(ring) != n.wrapping_add(1) {
            if deadline.passed() {
                return false;
            }
            deadline.pause(Duration::from_millis(1));
        }
        true
    }

    fn send(&mut self, frame: &[u8]) {
        let n = self.publish(1, frame, 0);
        assert!(self.wait(1, n));
    }

    fn received(&mut self) -> Option<Vec<u8>> {
        let n = self.taken;
        self.wait(0, n).then(|| {
            self.taken = n.wrapping_add(1);
            let (_, length) = self.front_end.guest.used_element(0, n);
            self.front_end.guest.room(0, n, length as usize)
        })
    }

    fn command(&mut self, command: &[u8]) -> u8 {
        let n = self.publish(Self::CONTROL, command, 1);
        assert!(self.wait(Self::CONTROL, n));
        self.front_end.guest.room(Self::CONTROL, n, 1)[0]
    }

    fn stop(&mut self) -> [u16; 5] {
        std::array::from_fn(|index| {
            let ring = VringState { index: index as u32, num: 0 };
            let base = self.front_end.ask(Message::GET_VRING_BASE, &Payload::VringState(ring), &[]);
            u16::from_ne_bytes([base[4], base[5]])
        })
    }
}

#[test]
fn whoever_connects_outside_enlarges_the_disk_and_is_let_go() {
    use devmig_model::protocol::vhost_user::wire::Config;
    let server = Running::start(Options::default()).unwrap();
    let call = || {
        let limit = Deadline::after(LIMIT);
        let mut caller = Connection::connect(&server.outside(), limit).unwrap();
        assert!(matches!(caller.receive(limit), Err(ReceiveError::Closed { after: 0 })));
    };
    // Nobody is served: there is nothing to change.
    call();
    let mut front_end = FrontEnd::connect(&server);
    front_end.set_up(0);
    let asked = Payload::Config(Config::new(0, 0, vec![0; 8]).unwrap());
    let sectors = |front_end: &mut FrontEnd| {
        let answer = front_end.ask(Message::GET_CONFIG, &asked, &[]);
        u64::from_le_bytes(*answer.last_chunk().unwrap())
    };
    let before = sectors(&mut front_end);
    call();
    assert_eq!(sectors(&mut front_end), before + 8);
    server.stop(LIMIT).unwrap();
}
