//! A front-end by hand: negotiates with a real back-end, has one request served, stops the ring,
//! and then asks what the text leaves open. Prints what it observes; judges nothing.
//!
//! ```console
//! $ truncate -s 1M /tmp/disk
//! $ cargo run --example handshake -- blk 'qemu-storage-daemon
//!     --blockdev driver=file,node-name=f,filename=/tmp/disk,locking=off
//!     --export type=vhost-user-blk,id=e,addr.type=unix,addr.path={socket},node-name=f,writable=on'
//! $ cargo run --example handshake -- fs 'virtiofsd --socket-path={socket} --shared-dir=/tmp
//!     --sandbox=none'
//! ```
//!
//! Message ids are written out here, and only here: everything else reads them from `specs/`.

use std::error::Error;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use devmig_conformance::vhost_user::Deadline;
use devmig_conformance::vhost_user::memory::{Arena, GuestMemory, PAGE};
use devmig_conformance::vhost_user::process::{Command, Process};
use devmig_conformance::vhost_user::ring::Ring;
use devmig_conformance::vhost_user::transport::{Connection, Received};
use devmig_conformance::vhost_user::workload::{Blk, BlkOptions, Fs, Workload};
use devmig_model::vhost_user::wire::{
    Flags, Header, Memory, Payload, PayloadKind, Transfer, VringFd, VringState,
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const GET_FEATURES: u32 = 1;
const SET_FEATURES: u32 = 2;
const SET_OWNER: u32 = 3;
const SET_MEM_TABLE: u32 = 5;
const SET_VRING_NUM: u32 = 8;
const SET_VRING_ADDR: u32 = 9;
const SET_VRING_BASE: u32 = 10;
const GET_VRING_BASE: u32 = 11;
const SET_VRING_KICK: u32 = 12;
const SET_VRING_CALL: u32 = 13;
const GET_PROTOCOL_FEATURES: u32 = 15;
const SET_PROTOCOL_FEATURES: u32 = 16;
const GET_QUEUE_NUM: u32 = 17;
const SET_VRING_ENABLE: u32 = 18;
const RESET_DEVICE: u32 = 34;
const GET_MAX_MEM_SLOTS: u32 = 36;
const GET_STATUS: u32 = 40;
const SET_DEVICE_STATE_FD: u32 = 42;
const CHECK_DEVICE_STATE: u32 = 43;

/// Feature bit 30: there are protocol features.
const PROTOCOL_FEATURES: u64 = 1 << 30;
/// What this front-end accepts: MQ, REPLY_ACK, CONFIG, RESET_DEVICE, CONFIGURE_MEM_SLOTS, STATUS,
/// DEVICE_STATE.
const ACCEPTED: u64 = 1 | 1 << 3 | 1 << 9 | 1 << 13 | 1 << 15 | 1 << 16 | 1 << 19;

const REPLY: Duration = Duration::from_secs(2);
const IO: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_millis(200);

/// Guest memory in two regions, rings in one and requests in the other.
const RINGS: u64 = 0;
const REQUESTS: u64 = 0x1000_0000;

/// A back-end of its own process, and everything that it is given.
struct Front {
    process: Process,
    connection: Connection,
    memory: GuestMemory,
    rings: Vec<Ring>,
    workload: Box<dyn Workload>,
    features: u64,
    protocol: u64,
    next: u64,
}

impl Front {
    fn start(device: &str, command: &Command) -> Outcome<Self> {
        let (process, connection) = command.start(Deadline::after(IO))?;
        let memory = GuestMemory::new(&[(RINGS, 4 * PAGE), (REQUESTS, 4 * PAGE)])?;
        let mut arena = Arena::new(REQUESTS, 4 * PAGE);
        let workload: Box<dyn Workload> = match device {
            "blk" | "blk-scratch" => {
                let options = BlkOptions { scratch: device == "blk-scratch", sectors: 1 };
                Box::new(Blk::new(&memory, &mut arena, options)?)
            }
            "fs" => Box::new(Fs::new(&memory, &mut arena)?),
            _ => {
                return Err(
                    "the device is blk, blk-scratch (every fourth request is a write) or fs".into(),
                );
            }
        };
        let mut arena = Arena::new(RINGS, 4 * PAGE);
        let rings = (0..workload.rings()).map(|_| Ring::new(&memory, &mut arena, 128));
        let rings = rings.collect::<Result<_, _>>()?;
        let (features, protocol, next) = (0, 0, 0);
        Ok(Front { process, connection, memory, rings, workload, features, protocol, next })
    }

    fn send(&mut self, request: u32, payload: &Payload, fds: &[BorrowedFd<'_>]) -> Outcome {
        let bytes = payload.encode();
        let header = Header { request, flags: Flags::request(), size: bytes.len().try_into()? };
        Ok(self.connection.send(header, &bytes, fds, Deadline::after(REPLY))?)
    }

    fn reply(&mut self, kind: PayloadKind) -> Outcome<Payload> {
        let Received { header, payload, .. } = self.connection.receive(Deadline::after(REPLY))?;
        match Payload::decode(kind, &payload) {
            Ok(payload) if header.flags == Flags::reply() => Ok(payload),
            Ok(payload) => Err(format!("{header:?} {payload:?}").into()),
            Err(error) => Err(format!("{header:?}: {error}").into()),
        }
    }

    fn ask(&mut self, request: u32) -> Outcome<u64> {
        self.send(request, &Payload::None, &[])?;
        match self.reply(PayloadKind::U64)? {
            Payload::U64(n) => Ok(n),
            other => Err(format!("{other:?}").into()),
        }
    }

    fn acknowledged(&mut self, request: u32, payload: &[u8], flags: u32, size: u32) -> String {
        let header = Header { request, flags: Flags::from_bits(flags), size };
        let sent = self.connection.send(header, payload, &[], Deadline::after(REPLY));
        let answer = sent.map_err(|error| error.to_string()).and_then(|()| {
            self.connection.receive(Deadline::after(REPLY)).map_err(|error| error.to_string())
        });
        let after = match self.ask(GET_FEATURES) {
            Ok(_) => "and it answers on".into(),
            Err(error) => format!("then: {error}"),
        };
        match answer {
            Ok(Received { header, payload, .. }) => {
                format!("answer {} {:?} {payload:x?}, {after}", header.request, header.flags)
            }
            Err(error) => format!("{error}, {after}"),
        }
    }

    fn number(&mut self, request: u32, index: u32, num: u32) -> Outcome {
        self.send(request, &Payload::VringState(VringState { index, num }), &[])
    }

    fn base(&mut self, index: u32) -> Outcome<VringState> {
        self.number(GET_VRING_BASE, index, 0)?;
        match self.reply(PayloadKind::VringState)? {
            Payload::VringState(state) => Ok(state),
            other => Err(format!("{other:?}").into()),
        }
    }

    fn negotiate(&mut self) -> Outcome<(u64, u64)> {
        let offered = self.ask(GET_FEATURES)?;
        let protocol = self.ask(GET_PROTOCOL_FEATURES)?;
        self.protocol = protocol & ACCEPTED;
        self.send(SET_PROTOCOL_FEATURES, &Payload::U64(self.protocol), &[])?;
        self.send(SET_OWNER, &Payload::None, &[])?;
        self.features = offered & (self.workload.features() | PROTOCOL_FEATURES);
        Ok((offered, protocol))
    }

    fn share_memory(&mut self) -> Outcome {
        let table = Memory::new(self.memory.regions().collect())?;
        let memory = self.memory.clone();
        let fds = vec![memory.descriptor(); table.regions().len()];
        self.send(SET_MEM_TABLE, &Payload::Memory(table), &fds)
    }

    /// Describes a ring from this base on. With `call` the driver can be told of completions.
    fn set_up(&mut self, index: u32, base: u16) -> Outcome {
        let ring = self.ring(index)?;
        let (size, address) = (ring.size(), ring.address(index));
        let kick = ring.kick.as_fd().try_clone_to_owned()?;
        let call = ring.call.as_fd().try_clone_to_owned()?;
        let fd = Payload::VringFd(VringFd::new(index.try_into()?, false));
        self.number(SET_VRING_NUM, index, size.into())?;
        self.number(SET_VRING_BASE, index, base.into())?;
        self.send(SET_VRING_ADDR, &Payload::VringAddr(address), &[])?;
        self.send(SET_VRING_KICK, &fd, &[kick.as_fd()])?;
        self.send(SET_VRING_CALL, &fd, &[call.as_fd()])
    }

    /// The usual way up to a running request ring.
    fn bring_up(&mut self, base: u16) -> Outcome {
        if self.features == 0 {
            self.negotiate()?;
        }
        self.send(SET_FEATURES, &Payload::U64(self.features), &[])?;
        self.share_memory()?;
        let request_ring = self.request_ring();
        self.ring(request_ring)?.start_at(base)?;
        for index in 0..self.workload.rings() {
            let base = if index == request_ring { base } else { 0 };
            self.set_up(index, base)?;
            self.number(SET_VRING_ENABLE, index, 1)?;
        }
        self.ask(GET_FEATURES).map(drop) // everything before has been read
    }

    fn request_ring(&self) -> u32 {
        self.workload.request_ring().unwrap_or(0)
    }

    fn ring(&mut self, index: u32) -> Outcome<&mut Ring> {
        Ok(self.rings.get_mut(index as usize).ok_or("no such ring")?)
    }

    fn publish(&mut self) -> Outcome {
        let chain = self.workload.request(self.next)?;
        let index = self.request_ring();
        self.ring(index)?.publish(&chain)?;
        self.next += 1;
        Ok(())
    }

    fn kick(&mut self) -> Outcome {
        let index = self.request_ring();
        Ok(self.ring(index)?.kick.signal()?)
    }

    /// How the oldest outstanding request comes back.
    fn completion(&mut self, wait: Duration) -> Outcome<String> {
        let (index, deadline) = (self.request_ring(), Deadline::after(wait));
        loop {
            let ring = self.ring(index)?;
            if let Some(used) = ring.take_used()? {
                let _ = ring.call.wait(Deadline::after(SILENCE))?;
                let calls = ring.call.take()?;
                let outstanding = self.ring(index)?.outstanding() as u64;
                let right = self.workload.check(self.next - 1 - outstanding, used.len);
                return Ok(format!("{used:?} {right:?}, {calls} calls"));
            }
            if deadline.passed() {
                return Ok(format!("nothing, {} calls", ring.call.take()?));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn serve(&mut self) -> Outcome<String> {
        self.publish()?;
        self.kick()?;
        self.completion(IO)
    }
}

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [device, command, only @ ..] = arguments.as_slice() else {
        return Err(
            "usage: handshake blk|fs 'command ... {socket}' [PART OF A PROBE'S NAME]".into()
        );
    };
    let only = only.concat();
    let command = Command::parse(command)?;
    for (name, probe) in PROBES.iter().filter(|(name, _)| name.contains(&only)) {
        println!("\n# {name}");
        let mut front = Front::start(device, &command)?;
        if let Err(error) = probe(&mut front) {
            println!("ended: {error}");
        }
        std::thread::sleep(Duration::from_millis(50));
        if let Some(status) = front.process.exit_status() {
            println!("the back-end has ended: {status}");
        }
        let output = front.process.last_output();
        if let Some(line) =
            output.lines().rfind(|line| line.contains("ERROR") || line.contains("anic"))
        {
            println!("it prints: {line}");
        }
    }
    Ok(())
}

type Probe = fn(&mut Front) -> Outcome;

const PROBES: &[(&str, Probe)] = &[
    ("the happy path", happy),
    ("calls while rings are set up", quiet),
    ("a stopped ring", stopped),
    ("restart at the base", restart),
    ("base 65534, three requests", wrap),
    ("a ring that was never enabled", never_enabled),
    ("a ring that is disabled again", disabled),
    ("requests in flight at the stop", in_flight),
    ("requests in flight, and the stop a little later", in_flight_later),
    ("no kick at all", no_kick),
    ("a kick before SET_VRING_KICK", kick_first),
    ("SET_VRING_KICK without a descriptor", polling),
    ("two stops at base 65535", stop_at_65535),
    ("memory table without regions, then a request", no_memory),
    ("GET_VRING_BASE of a ring that never started", base_at_birth),
    ("GET_VRING_BASE of a ring that does not exist", base_of_nothing),
    ("ENABLE before SET_FEATURES, and everything before it", enable_early),
    ("SET_FEATURES without bit 30", without_30),
    ("requests before SET_FEATURES", before_features),
    ("an unknown message", |f| show(f, 99, &[], 0b1001, 0)),
    ("an unknown message without need_reply", |f| show(f, 99, &[], 0b1, 0)),
    ("version 2", |f| show(f, GET_FEATURES, &[], 0b10, 0)),
    ("a payload that is too short", |f| show(f, SET_FEATURES, &[0; 4], 0b1001, 4)),
    ("a payload that is too long", |f| show(f, SET_OWNER, &[0; 16], 0b1001, 16)),
    ("a huge size", |f| show(f, SET_FEATURES, &[0; 8], 0b1001, u32::MAX)),
    ("the reply flag on a request", |f| show(f, GET_FEATURES, &[], 0b101, 0)),
    ("undefined flags", |f| show(f, GET_FEATURES, &[], 0xff01, 0)),
    ("need_reply on SET_OWNER", |f| show(f, SET_OWNER, &[], 0b1001, 0)),
    ("need_reply on GET_FEATURES", |f| show(f, GET_FEATURES, &[], 0b1001, 0)),
    ("SET_VRING_NUM 0", |f| show(f, SET_VRING_NUM, &[0; 8], 0b1001, 8)),
    ("SET_VRING_ADDR before memory", |f| show(f, SET_VRING_ADDR, &[0; 40], 0b1001, 40)),
    ("half a header, then silence", half),
    ("disconnect and connect again", again),
    ("status", status),
    ("reset, then a request", reset),
    ("reset, then everything again", reset_and_again),
    ("reset while requests are in flight", reset_in_flight),
    ("device state", state),
    ("device state that is garbage", garbage_state),
];

fn show(front: &mut Front, request: u32, payload: &[u8], flags: u32, size: u32) -> Outcome {
    front.negotiate()?;
    println!("{}", front.acknowledged(request, payload, flags, size));
    Ok(())
}

fn happy(front: &mut Front) -> Outcome {
    let (offered, protocol) = front.negotiate()?;
    println!("features {offered:#x}, protocol features {protocol:#x}");
    println!("GET_QUEUE_NUM {:?}", front.ask(GET_QUEUE_NUM));
    if front.protocol & 1 << 15 != 0 {
        println!("GET_MAX_MEM_SLOTS {:?}", front.ask(GET_MAX_MEM_SLOTS));
    }
    front.bring_up(0)?;
    println!("request: {}", front.serve()?);
    let index = front.request_ring();
    println!("GET_VRING_BASE: {:?}", front.base(index)?);
    Ok(())
}

fn quiet(front: &mut Front) -> Outcome {
    front.bring_up(0)?;
    std::thread::sleep(SILENCE);
    for ring in &front.rings {
        println!("{} calls before any request", ring.call.take()?);
    }
    Ok(())
}

fn stopped(front: &mut Front) -> Outcome {
    front.bring_up(0)?;
    println!("request: {}", front.serve()?);
    let index = front.request_ring();
    println!("stop: {:?}", front.base(index)?);
    front.publish()?;
    front.kick()?;
    println!("request while stopped: {}", front.completion(SILENCE)?);
    println!("stop again: {:?}", front.base(index)?);
    println!("kick untaken: {}", front.ring(index)?.kick.take()?);
    Ok(())
}

fn restart(front: &mut Front) -> Outcome {
    front.bring_up(0)?;
    front.serve()?;
    let index = front.request_ring();
    let base = front.base(index)?;
    front.publish()?;
    front.set_up(index, base.num as u16)?;
    println!("published while stopped, set up again, no kick: {}", front.completion(SILENCE)?);
    front.kick()?;
    println!("kicked: {}", front.completion(IO)?);
    println!("stop: {:?}", front.base(index)?);
    Ok(())
}

fn wrap(front: &mut Front) -> Outcome {
    front.bring_up(65534)?;
    for _ in 0..3 {
        println!("request: {}", front.serve()?);
    }
    let index = front.request_ring();
    println!("stop: {:?}", front.base(index)?);
    Ok(())
}

fn never_enabled(front: &mut Front) -> Outcome {
    front.negotiate()?;
    front.send(SET_FEATURES, &Payload::U64(front.features), &[])?;
    front.share_memory()?;
    for index in 0..front.workload.rings() {
        front.set_up(index, 0)?;
    }
    front.publish()?;
    front.kick()?;
    println!("kicked: {}", front.completion(SILENCE)?);
    let index = front.request_ring();
    front.number(SET_VRING_ENABLE, index, 1)?;
    println!("enabled, no other kick: {}", front.completion(SILENCE)?);
    println!("stop: {:?}", front.base(index)?);
    Ok(())
}

fn disabled(front: &mut Front) -> Outcome {
    front.bring_up(0)?;
    front.serve()?;
    let index = front.request_ring();
    front.number(SET_VRING_ENABLE, index, 0)?;
    front.ask(GET_FEATURES)?;
    front.publish()?;
    front.kick()?;
    println!("kicked while disabled: {}", front.completion(SILENCE)?);
    front.number(SET_VRING_ENABLE, index, 1)?;
    println!("enabled, no other kick: {}", front.completion(SILENCE)?);
    println!("stop: {:?}", front.base(index)?);
    Ok(())
}

fn in_flight(front: &mut Front) -> Outcome {
    front.bring_up(0)?;
    front.serve()?;
    stop_busy(front, Duration::ZERO).map(drop)
}

fn in_flight_later(front: &mut Front) -> Outcome {
    front.bring_up(0)?;
    front.serve()?;
    for wait in [0, 10, 20, 30, 40, 50, 60, 80, 100, 130, 160, 200, 300, 400] {
        if !stop_busy(front, Duration::from_micros(wait))? {
            break;
        }
    }
    Ok(())
}

/// Stops with 20 requests published, and restarts at the base. `false` if some are then lost.
fn stop_busy(front: &mut Front, wait: Duration) -> Outcome<bool> {
    for _ in 0..20 {
        front.publish()?;
    }
    front.kick()?;
    std::thread::sleep(wait);
    let index = front.request_ring();
    let base = front.base(index)?.num;
    let at_the_reply = front.ring(index)?.used_index()?;
    std::thread::sleep(SILENCE);
    let later = front.ring(index)?.used_index()?;
    print!("stop: {base}, used index {at_the_reply} at the reply, {later} later");
    front.set_up(index, base.try_into()?)?;
    front.kick()?;
    let deadline = Deadline::after(IO);
    while front.ring(index)?.outstanding() > 0 && !deadline.passed() {
        while front.ring(index)?.take_used()?.is_some() {}
        std::thread::sleep(Duration::from_millis(1));
    }
    let outstanding = front.ring(index)?.outstanding();
    println!("; restarted there: {outstanding} of 20 do not come back");
    if outstanding > 0 {
        println!("then {:?}", front.ask(GET_FEATURES));
    }
    Ok(outstanding == 0)
}

fn base_at_birth(front: &mut Front) -> Outcome {
    front.negotiate()?;
    println!("before anything else: {:?}", front.base(0));
    front.number(SET_VRING_BASE, 0, 77)?;
    println!("after SET_VRING_BASE 77: {:?}", front.base(0));
    Ok(())
}

fn base_of_nothing(front: &mut Front) -> Outcome {
    front.negotiate()?;
    println!("{:?}", front.base(1000));
    println!("then {:?}", front.ask(GET_FEATURES));
    Ok(())
}

fn enable_early(front: &mut Front) -> Outcome {
    front.negotiate()?;
    front.number(SET_VRING_ENABLE, 0, 1)?;
    println!(
        "ENABLE after SET_PROTOCOL_FEATURES, before SET_FEATURES: {:?}",
        front.ask(GET_FEATURES)
    );
    Ok(())
}

fn without_30(front: &mut Front) -> Outcome {
    front.negotiate()?;
    let features = front.features & !PROTOCOL_FEATURES;
    front.send(SET_FEATURES, &Payload::U64(features), &[])?;
    front.share_memory()?;
    for index in 0..front.workload.rings() {
        front.set_up(index, 0)?;
    }
    println!("then {:?}", front.ask(GET_FEATURES));
    println!("no ENABLE: {}", front.serve()?);
    Ok(())
}

fn before_features(front: &mut Front) -> Outcome {
    println!("GET_PROTOCOL_FEATURES first of all: {:x?}", front.ask(GET_PROTOCOL_FEATURES));
    front.negotiate()?;
    front.share_memory()?;
    for index in 0..front.workload.rings() {
        front.set_up(index, 0)?;
    }
    println!("rings set up, no SET_FEATURES: {:?}", front.ask(GET_FEATURES));
    println!("request: {}", front.serve()?);
    Ok(())
}

fn no_kick(front: &mut Front) -> Outcome {
    front.publish()?;
    front.bring_up(0)?; // which forgets it
    front.next = 0;
    front.publish()?;
    println!("published, not kicked: {}", front.completion(SILENCE)?);
    let index = front.request_ring();
    front.number(SET_VRING_ENABLE, index, 0)?;
    front.number(SET_VRING_ENABLE, index, 1)?;
    println!("disabled and enabled again: {}", front.completion(SILENCE)?);
    Ok(())
}

fn kick_first(front: &mut Front) -> Outcome {
    front.bring_up(0)?;
    let index = front.request_ring();
    println!("stop: {:?}", front.base(index)?);
    front.publish()?;
    front.kick()?;
    front.set_up(index, 0)?;
    println!("kick pending at SET_VRING_KICK: {}", front.completion(SILENCE)?);
    Ok(())
}

fn polling(front: &mut Front) -> Outcome {
    front.bring_up(0)?;
    let index = front.request_ring();
    let fd = VringFd::new(index.try_into()?, true);
    front.send(SET_VRING_KICK, &Payload::VringFd(fd), &[])?;
    println!("then {:?}", front.ask(GET_FEATURES));
    front.publish()?;
    println!("published: {}", front.completion(SILENCE)?);
    println!("stop: {:?}", front.base(index)?);
    Ok(())
}

fn stop_at_65535(front: &mut Front) -> Outcome {
    front.bring_up(65535)?;
    let index = front.request_ring();
    println!("stop before any request: {:?}", front.base(index)?);
    front.set_up(index, 65535)?;
    println!("request: {}", front.serve()?);
    println!("stop: {:?}", front.base(index)?);
    Ok(())
}

fn no_memory(front: &mut Front) -> Outcome {
    front.bring_up(0)?;
    front.serve()?;
    front.send(SET_MEM_TABLE, &Payload::Memory(Memory::new(Vec::new())?), &[])?;
    println!("then {:?}", front.ask(GET_FEATURES));
    println!("request: {}", front.serve()?);
    Ok(())
}

fn reset_and_again(front: &mut Front) -> Outcome {
    front.bring_up(0)?;
    front.serve()?;
    front.send(RESET_DEVICE, &Payload::None, &[])?;
    front.next = 0;
    front.bring_up(0)?;
    println!("request: {}", front.serve()?);
    Ok(())
}

fn reset_in_flight(front: &mut Front) -> Outcome {
    front.bring_up(0)?;
    front.serve()?;
    for _ in 0..20 {
        front.publish()?;
    }
    front.kick()?;
    front.send(RESET_DEVICE, &Payload::None, &[])?;
    front.ask(GET_FEATURES)?;
    let index = front.request_ring();
    println!("used index {} after the reset", front.ring(index)?.used_index()?);
    std::thread::sleep(SILENCE);
    println!("used index {} later", front.ring(index)?.used_index()?);
    Ok(())
}

fn garbage_state(front: &mut Front) -> Outcome {
    front.negotiate()?;
    let (reader, mut writer) = std::io::pipe()?;
    let transfer = Transfer { direction: Transfer::LOAD, phase: Transfer::STOPPED };
    front.send(SET_DEVICE_STATE_FD, &Payload::Transfer(transfer), &[reader.as_fd()])?;
    println!("load before SET_FEATURES: {:x?}", front.reply(PayloadKind::TransferReply)?);
    std::io::Write::write_all(&mut writer, b"garbage")?;
    drop(writer);
    println!("CHECK {:?}", front.ask(CHECK_DEVICE_STATE));
    for (direction, phase) in [(2, 0), (0, 1)] {
        let (_reader, writer) = std::io::pipe()?;
        let transfer = Payload::Transfer(Transfer { direction, phase });
        front.send(SET_DEVICE_STATE_FD, &transfer, &[writer.as_fd()])?;
        println!("{transfer:?}: {:x?}", front.reply(PayloadKind::TransferReply));
    }
    println!("CHECK without a transfer {:?}", front.ask(CHECK_DEVICE_STATE));
    Ok(())
}

fn half(front: &mut Front) -> Outcome {
    front.connection.send_raw(&[1, 0, 0, 0, 1, 0], &[], Deadline::after(REPLY))?;
    println!("{:?}", front.connection.receive(Deadline::after(SILENCE)));
    front.connection.send_raw(&[0, 0, 0, 0, 0, 0], &[], Deadline::after(REPLY))?;
    println!("the rest: {:?}", front.connection.receive(Deadline::after(REPLY)));
    Ok(())
}

fn again(front: &mut Front) -> Outcome {
    front.bring_up(0)?;
    front.serve()?;
    match front.process.connect(Deadline::after(SILENCE)) {
        Ok(connection) => {
            let first = std::mem::replace(&mut front.connection, connection);
            println!("a second one at the same time: {:?}", front.ask(GET_FEATURES));
            drop(first);
            println!("after the first one left: {:?}", front.ask(GET_FEATURES));
        }
        Err(error) => println!("a second one at the same time: {error}"),
    }
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
    front.connection = Connection::from_socket(ours)?;
    std::thread::sleep(SILENCE);
    match front.process.connect(Deadline::after(SILENCE)) {
        Ok(connection) => {
            front.connection = connection;
            println!("after a disconnection: {:?}", front.ask(GET_FEATURES));
        }
        Err(error) => println!("after a disconnection: {error}"),
    }
    Ok(())
}

fn status(front: &mut Front) -> Outcome {
    front.negotiate()?;
    println!("offered {}, GET_STATUS {:?}", front.protocol >> 16 & 1, front.ask(GET_STATUS));
    Ok(())
}

fn reset(front: &mut Front) -> Outcome {
    front.bring_up(0)?;
    front.serve()?;
    println!("offered {}", front.protocol >> 13 & 1);
    front.send(RESET_DEVICE, &Payload::None, &[])?;
    println!("then {:?}", front.ask(GET_FEATURES));
    println!("request: {}", front.serve()?);
    let index = front.request_ring();
    println!("stop: {:?}", front.base(index)?);
    Ok(())
}

fn state(front: &mut Front) -> Outcome {
    front.bring_up(0)?;
    front.serve()?;
    println!("offered {}", front.protocol >> 19 & 1);
    for when in ["running", "stopped"] {
        let (reader, writer) = std::io::pipe()?;
        let transfer = Transfer { direction: Transfer::SAVE, phase: Transfer::STOPPED };
        front.send(SET_DEVICE_STATE_FD, &Payload::Transfer(transfer), &[writer.as_fd()])?;
        drop(writer);
        println!("save while {when}: {:x?}", front.reply(PayloadKind::TransferReply)?);
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut { reader }, &mut bytes)?;
        println!("{} bytes, CHECK {:?}", bytes.len(), front.ask(CHECK_DEVICE_STATE)?);
        for index in 0..front.workload.rings() {
            println!("stop: {:?}", front.base(index)?);
        }
    }
    Ok(())
}
