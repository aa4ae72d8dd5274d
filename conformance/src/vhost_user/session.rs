//! One conversation with an implementation under test, judged by the machine as it goes.
//!
//! ```text
//!   step --> message, request, kick --> the back-end
//!                                          |
//!   judge (Possible) <--- report <--- sample: socket, call descriptors, used rings, state channel
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `session.rs` | steps, and what is made of the machine's answers |
//! | `session/sample.rs` | looking: the order in which effects are read and causes reported |
//! | `session/channel.rs` | the channel of device state |
//! | `session/careful.rs` | steps that nobody wrote: taken only where every reading allows them |
//! | `session/forms.rs` | malformed messages, systematically |
//! | `session/tracking.rs` | the dirty log, and the record of what is in flight |
//! | `session/again.rs` | the end of a conversation, and the next |
//!
//! **Invariants.** Every wait has a limit. Nothing here names a rule of its own: a clause comes from
//! the machine, from the wire's form, or from the workload's answer. What the harness itself cannot
//! do is [`Stop::Harness`], never a finding.

mod again;
mod careful;
mod channel;
mod forms;
mod sample;
mod tracking;

pub use careful::Taken;

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use devmig_model::clause::ClauseId;
use devmig_model::explore::trace::label;
use devmig_model::machine::TimeClass;
use devmig_model::possible::{Fault, Possible};
use devmig_model::rules::Rules;
use devmig_model::vhost_user::event::{Event, Message, MessageId, Value};
use devmig_model::vhost_user::machine::VhostUser;
use devmig_model::vhost_user::program::{Number, Step};
use devmig_model::vhost_user::state::LOG_ALL;
use devmig_model::vhost_user::systems::F_PROTOCOL_FEATURES;
use devmig_model::vhost_user::table::{Condition, MessageDef, Row};
use devmig_model::vhost_user::vocabulary::{Answer, Effect, Guard};
use devmig_model::vhost_user::wire::{
    Config, Flags, Header, Inflight, MAX_CONFIG, Memory, MemoryRegion, Payload, PayloadKind,
    Region, Transfer, VringAddr, VringFd, VringState,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::Deadline;
use super::drive::{Keeps, Move, has};
use super::malformed::Bytes;
use super::memory::{Arena, GuestMemory, PAGE};
use super::ring::{Buffer, Ring, RingError};
use super::script::{Act, Which};
use super::target::{Live, Target, TargetError};
use super::transport::{Connection, ReceiveError, Received, SendError};
use super::workload::{Blk, BlkOptions, Console, Fs, Net, Nothing, Rng, Workload};

/// Rings that a session can drive: the machine's capacity.
pub const RINGS: usize = devmig_model::vhost_user::machine::MAX_RINGS;
/// The machine of a session.
pub type TestMachine = VhostUser<RINGS>;

/// Guest memory, in bytes.
const MEMORY: u64 = 64 * PAGE;
/// Between two pieces of a message.
const BETWEEN: Duration = Duration::from_micros(20);
/// The most bytes of device state that are kept.
const MAX_STATE: usize = 64 << 20;

/// What the device is, as vhost-user does not say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Device {
    /// A network device: it is given frames.
    Net,
    /// A block device; data is only read, unless it may be destroyed.
    Blk,
    /// A file system.
    Fs,
    /// An entropy device.
    Rng,
    /// A console: it is given lines of text.
    Console,
    /// Unknown: tests that need requests are skipped.
    None,
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a connection, and for a process to listen.
    pub connect: Duration,
    /// For what is owed: an answer, a request.
    pub owed: Duration,
    /// How long nothing must come to show that a request is not processed.
    pub silence: Duration,
    /// How long nothing must come to be taken for silence where silence is allowed.
    pub quiet: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: Duration::from_secs(10),
            owed: Duration::from_secs(3),
            silence: Duration::from_secs(3),
            quiet: Duration::from_millis(60),
        }
    }
}

/// What ends a test before its last step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The implementation broke a clause.
    Finding {
        /// Which; [`ClauseId::NONE`] for the test's own.
        clause: ClauseId,
        /// What came.
        observed: String,
        /// What was allowed.
        expected: Vec<String>,
    },
    /// Something that the test needs is not there.
    Skip(String),
    /// The implementation refused a legal command in the way that the text provides.
    Refused(String),
    /// The process died.
    Died(String),
    /// The harness cannot go on.
    Harness(String),
}

/// One ring's driver.
struct Line {
    ring: Ring,
    /// The request of each chain that was ever published, by its head.
    requests: HashMap<u16, u16>,
    /// Its buffers.
    buffers: HashMap<u16, Vec<Buffer>>,
    /// A kick was written, and not yet seen to be read.
    kicked: bool,
}

/// What was sent, done and seen, for judging it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    /// A message was sent.
    Sent(Event),
    /// The tester did something, or the back-end did, or nothing came for so long.
    Seen(Event),
    /// Nothing came for as long as this may take.
    Silent(TimeClass),
    /// A fresh conversation began.
    Fresh,
    /// Something that no reading of the text allows: a malformed answer, a wrong result.
    Wrong,
}

/// Whether other rules allow the same conversation.
#[must_use]
pub fn allows(machine: &TestMachine, rules: Rules, records: &[Record]) -> bool {
    let mut possible = Possible::new(machine, rules);
    records.iter().all(|record| match record {
        Record::Sent(event) => {
            possible.send(*event);
            true
        }
        Record::Seen(event) => possible.observe(event).is_ok(),
        Record::Silent(class) => possible.silent(*class).is_ok(),
        Record::Wrong => false,
        Record::Fresh => {
            possible = Possible::new(machine, rules);
            true
        }
    })
}

/// A conversation.
pub struct Session<'m> {
    machine: &'m TestMachine,
    target: &'m Target,
    limits: Limits,
    /// What is possible.
    pub possible: Possible<'m, TestMachine>,
    /// What was said, one line an event.
    pub log: Vec<String>,
    /// The same, for judging it again.
    pub records: Vec<Record>,
    rules: Rules,
    connection: Option<Connection>,
    live: Live,
    memory: GuestMemory,
    lines: Vec<Line>,
    workload: Box<dyn Workload>,
    /// Requests ever made.
    sent: u64,
    /// Which request of the workload a ring's request is.
    numbers: HashMap<(u8, u16), u64>,
    offered: u64,
    protocol_offered: u64,
    protocol: u64,
    declined: u64,
    bases: [u16; RINGS],
    acknowledged: bool,
    channel: Option<OwnedFd>,
    state: Vec<u8>,
    state_ended: bool,
    /// The answer that begins the transfer was seen.
    transfer_answered: bool,
    answer: Option<(MessageId, Value)>,
    seed: u64,
    first: bool,
    /// The last message wants no answer, so it may not have been read yet.
    unread: bool,
    /// Guest memory that nothing was put into: from one address to another.
    untouched: [(u64, u64); 2],
    /// Messages are sent in pieces of so many bytes; 0: whole.
    pieces: usize,
    /// What a careful front-end has set up.
    keeps: Keeps,
    /// The dirty log and the record of what is in flight.
    tracking: tracking::Tracking,
    /// Requests that came back.
    completed: u64,
    /// Where the rings begin in guest memory, and the buffers end.
    split: u64,
}

/// What a session is made of.
#[derive(Clone, Copy)]
pub struct Setting<'m> {
    /// The rules' machine.
    pub machine: &'m TestMachine,
    /// The implementation.
    pub target: &'m Target,
    /// What it is.
    pub device: Device,
    /// Its data may be destroyed.
    pub scratch: bool,
    /// How long to wait.
    pub limits: Limits,
    /// The rules, with the readings that are still possible.
    pub rules: Rules,
    /// Ask for an acknowledgement of every message.
    pub acknowledged: bool,
    /// Protocol features that are not acknowledged, offered or not.
    pub declined: u64,
    /// For bytes that are no state.
    pub seed: u64,
}

impl<'m> Session<'m> {
    /// Connects. `first` is false if the implementation was talked to before.
    ///
    /// # Errors
    /// [`Stop::Harness`].
    pub fn start(setting: Setting<'m>, first: bool) -> Result<Self, Stop> {
        let Setting { machine, target, device, limits, rules, .. } = setting;
        let deadline = Deadline::after(limits.connect);
        let (connection, live) = target.connect(first, deadline).map_err(harness)?;
        let memory = GuestMemory::new(&[(0, MEMORY)]).map_err(harness)?;
        let mut arena = Arena::new(PAGE, MEMORY - PAGE);
        let workload: Box<dyn Workload> = match device {
            Device::Blk => {
                let options = BlkOptions { scratch: setting.scratch, ..BlkOptions::default() };
                Box::new(Blk::new(&memory, &mut arena, options).map_err(harness)?)
            }
            Device::Fs => Box::new(Fs::new(&memory, &mut arena).map_err(harness)?),
            Device::Net => Box::new(Net::new(&memory, &mut arena).map_err(harness)?),
            Device::Rng => Box::new(Rng::new(&memory, &mut arena).map_err(harness)?),
            Device::Console => Box::new(Console::new(&memory, &mut arena).map_err(harness)?),
            Device::None => Box::new(Nothing),
        };
        // Rings are apart from buffers, so that they can be given as two regions.
        let split = arena.take(0, PAGE).map_err(harness)?;
        let line = |_| {
            let ring = Ring::new(&memory, &mut arena, workload.ring_size()).map_err(harness)?;
            Ok(Line { ring, requests: HashMap::new(), buffers: HashMap::new(), kicked: false })
        };
        let lines = (0..workload.rings()).map(line).collect::<Result<Vec<_>, Stop>>()?;
        Ok(Session {
            machine,
            target,
            limits,
            possible: Possible::new(machine, rules),
            log: Vec::new(),
            records: Vec::new(),
            rules,
            connection: Some(connection),
            live,
            memory,
            lines,
            workload,
            sent: 0,
            numbers: HashMap::new(),
            offered: 0,
            protocol_offered: 0,
            protocol: 0,
            declined: setting.declined,
            bases: [0; RINGS],
            acknowledged: setting.acknowledged,
            channel: None,
            state: Vec::new(),
            state_ended: false,
            transfer_answered: false,
            answer: None,
            seed: setting.seed,
            first,
            unread: false,
            untouched: [(0, PAGE), arena.rest()],
            pieces: 0,
            keeps: Keeps::default(),
            tracking: tracking::Tracking::default(),
            completed: 0,
            split,
        })
    }

    /// Does one step of a test.
    ///
    /// # Errors
    /// What ends the test.
    pub fn act(&mut self, act: &Act) -> Result<(), Stop> {
        match *act {
            Act::Program(step, which) => self.program(step, which),
            Act::Requests { count, kick } => self.requests(count, kick),
            Act::Settle => self.settle(TimeClass::Io),
            Act::Notified => self.settle(TimeClass::Courtesy),
            Act::Quiet => self.quiet(),
            Act::Silence => self.silence(),
            Act::Pause(micros) => {
                std::thread::sleep(Duration::from_micros(micros.into()));
                Ok(())
            }
            Act::Barrier => self.barrier(),
            Act::Renew(index) => self.renew(self.request_ring()?, index),
            Act::Anew => {
                self.sent = 0;
                Ok(())
            }
            Act::Reconnect => self.reconnect(),
            Act::Serves => self.serves(),
            Act::First => self.first(),
            Act::WriteGarbage => {
                self.state = garbage(self.seed);
                self.write_state()
            }
            Act::Answered { success } => self.answered(success),
            Act::Forms(form) => self.forms(form),
            Act::Pieces(size) => {
                self.pieces = size.into();
                Ok(())
            }
            Act::Malformed(kind) => {
                let table = &self.machine.table;
                let id =
                    |name: &str| table.named(name).map_or(0, |id| table.messages[id.0 as usize].id);
                self.malformed(&kind.bytes(id))
            }
        }
    }

    /// How many rings the device has.
    #[must_use]
    pub fn rings(&self) -> usize {
        self.lines.len()
    }

    /// The features and protocol features that the back-end has offered; 0 if it was not asked.
    #[must_use]
    pub fn offers(&self) -> (u64, u64) {
        (self.offered, self.protocol_offered)
    }

    /// Whether the back-end is known not to offer this protocol feature.
    #[must_use]
    pub fn lacks(&self, bit: u8) -> bool {
        self.protocol != 0 && self.protocol_offered >> bit & 1 == 0
    }

    /// The last look, after the last step: what is still to come is judged, and a process that died
    /// is a finding.
    ///
    /// # Errors
    /// What is found.
    pub fn end(&mut self) -> Result<(), Stop> {
        if self.connection.is_some() && !self.possible.undefined() {
            self.sample()?;
        }
        self.hang_up()?;
        self.strays()
    }

    /// Whether something was written where there is neither a ring nor a buffer.
    fn strays(&mut self) -> Result<(), Stop> {
        for (from, to) in self.untouched {
            let mut bytes = vec![0; to.saturating_sub(from) as usize];
            self.memory.read(from, &mut bytes).map_err(harness)?;
            if let Some(at) = bytes.iter().position(|byte| *byte != 0) {
                let at = from + at as u64;
                let observed =
                    format!("guest memory at {at:#x} was written, where nobody put a buffer");
                return self.finding(ClauseId::NONE, &observed);
            }
        }
        Ok(())
    }

    fn request_ring(&self) -> Result<u8, Stop> {
        let ring = self.workload.request_ring();
        ring.and_then(|ring| u8::try_from(ring).ok()).ok_or_else(|| {
            Stop::Skip("needs requests: say what the device is with --device".into())
        })
    }

    fn program(&mut self, step: Step, which: Which) -> Result<(), Stop> {
        let Some(rings) = self.named(which) else {
            return Err(Stop::Skip("needs a device with more rings".into()));
        };
        for ring in rings {
            match step {
                Step::Send { id, number, need_reply, .. } => {
                    let all = self.acknowledged;
                    self.acknowledged |= need_reply;
                    let sent = self.send(id, ring, number);
                    self.acknowledged = all;
                    sent?;
                }
                Step::Kick { .. } => self.kick(ring, true)?,
                Step::Vcpus { .. } => {}
                Step::ReadState => self.read_state()?,
                Step::WriteState => self.write_state()?,
                Step::Successor { died: true } => self.crash()?,
                Step::Until { .. }
                | Step::Copy { .. }
                | Step::Renew { .. }
                | Step::Successor { died: false } => {
                    return Err(Stop::Harness("this step is for exploring only".into()));
                }
            }
        }
        Ok(())
    }

    /// The rings that a step is for, if the device has them.
    fn named(&self, which: Which) -> Option<std::ops::Range<u8>> {
        Some(match which {
            Which::Requests => {
                let ring = self.workload.request_ring().unwrap_or(0);
                ring as u8..ring as u8 + 1
            }
            Which::Index(ring) if usize::from(ring) >= self.lines.len() => return None,
            Which::Index(ring) => ring..ring + 1,
            Which::Each => 0..self.lines.len() as u8,
        })
    }

    /// The number that a step means.
    fn number(&self, ring: u8, number: Number) -> Result<u64, Stop> {
        Ok(match number {
            Number::Literal(value) => value,
            Number::Saved => u64::from(self.bases[ring as usize]),
            Number::Used => match self.lines.get(ring as usize) {
                Some(line) => u64::from(line.ring.used_index().map_err(harness)?),
                None => return Err(Stop::Harness(format!("there is no ring {ring}"))),
            },
            Number::Offered => self.offered & (F_PROTOCOL_FEATURES | self.workload.features()),
            Number::Logging => {
                self.offered & (F_PROTOCOL_FEATURES | 1 << LOG_ALL | self.workload.features())
            }
            Number::Plain => self.offered & self.workload.features() & !F_PROTOCOL_FEATURES,
            Number::ProtocolOffered => {
                let features = self.machine.table.features.iter().filter(|f| !f.opt_in);
                let known = features.map(|f| 1u64 << f.bit);
                self.protocol_offered & known.fold(0, |mask, bit| mask | bit) & !self.declined
            }
        })
    }

    /// The same, where the message itself says more.
    fn value(&self, def: &MessageDef, ring: u8, number: Number) -> Result<u64, Stop> {
        match def.request {
            PayloadKind::Memory => Ok(1),
            _ if has(def, Effect::SetSize) => Ok(u64::from(self.workload.ring_size())),
            _ => self.number(ring, number),
        }
    }

    fn send(&mut self, id: MessageId, ring: u8, number: Number) -> Result<(), Stop> {
        let def = self.machine.message(id);
        if let Some(gate) = &def.gate
            && (if gate.by_offer { self.protocol_offered } else { self.protocol }) >> gate.bit & 1
                == 0
        {
            return Err(Stop::Skip(format!("needs {}", gate.feature)));
        }
        // Guest memory has parts: 0 or 1 is all of it, 2 the buffers, 3 the rings.
        let part = if let Number::Literal(part @ 2..) = number { part } else { 1 };
        if number == Number::Logging && self.offered >> LOG_ALL & 1 == 0 {
            return Err(Stop::Skip("needs VHOST_F_LOG_ALL (feature bit 26)".into()));
        }
        let mut number = self.value(def, ring, number)?;
        let has = |effect| has(def, effect);
        let needs_bit_30 = |row: &Row| {
            let without = Condition { guard: Guard::Bit30Offered, wanted: false };
            row.breaks.is_some() && row.when.contains(&without)
        };
        if self.offered & F_PROTOCOL_FEATURES == 0 && def.rows.iter().any(needs_bit_30) {
            // Without bit 30 there is nothing to negotiate, and rings are enabled from the start: a
            // front-end leaves out what would only say so.
            let idle = has(Effect::SetProtocolFeatures)
                || def.answer == Some(Answer::ProtocolFeatures)
                || (has(Effect::SetEnabled) && number == 1);
            let why = "needs protocol features (feature bit 30)";
            return if idle { Ok(()) } else { Err(Stop::Skip(why.to_owned())) };
        }
        let line = self.lines.get(ring as usize);
        let mut fds: Vec<OwnedFd> = Vec::new();
        let copy = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().map_err(harness);
        let payload = match def.request {
            PayloadKind::None if has(Effect::SetChannel) => {
                return Err(Stop::Skip("needs somebody to read the back-end's messages".into()));
            }
            PayloadKind::None => Payload::None,
            PayloadKind::U64 => Payload::U64(number),
            PayloadKind::VringState => {
                Payload::VringState(VringState { index: ring.into(), num: number as u32 })
            }
            PayloadKind::VringAddr => match line {
                Some(line) => {
                    let used = line.ring.layout().used;
                    let (flags, log) = (number as u32 & 1, tracking::log_address(ring, used));
                    Payload::VringAddr(VringAddr { flags, log, ..line.ring.address(ring.into()) })
                }
                None => return Err(Stop::Harness(format!("there is no ring {ring}"))),
            },
            PayloadKind::Memory => {
                fds.push(copy(self.memory.descriptor())?);
                let regions = Memory::new(vec![self.part(part)]);
                Payload::Memory(regions.map_err(harness)?)
            }
            PayloadKind::MemoryRegion => {
                if !has(Effect::RemoveRegion) {
                    fds.push(copy(self.memory.descriptor())?);
                }
                let region = self.part(part);
                Payload::MemoryRegion(MemoryRegion { padding: 0, region })
            }
            PayloadKind::VringFd if has(Effect::SetErr) => {
                number = 1 << 8;
                Payload::VringFd(VringFd::new(ring, true))
            }
            PayloadKind::VringFd => {
                if let Some(line) = line {
                    let event =
                        if has(Effect::SetKick) { &line.ring.kick } else { &line.ring.call };
                    fds.push(copy(event.as_fd())?);
                }
                Payload::VringFd(VringFd::new(ring, false))
            }
            PayloadKind::Transfer => {
                let direction = number as u32;
                fds.push(self.open_channel(direction)?);
                Payload::Transfer(Transfer { direction, phase: Transfer::STOPPED })
            }
            PayloadKind::Config => {
                let bytes = vec![0; number.min(MAX_CONFIG as u64) as usize];
                Payload::Config(Config::new(0, 0, bytes).map_err(harness)?)
            }
            PayloadKind::Log => {
                number = number.max(1);
                let (log, fd) = self.tracking.renew(number as u8)?;
                fds.push(fd);
                Payload::Log(log)
            }
            PayloadKind::Inflight if def.reply.is_some() => Payload::Inflight(Inflight {
                num_queues: self.lines.len() as u16,
                queue_size: self.workload.ring_size(),
                alignment: Some([0; 4]),
                ..Inflight::default()
            }),
            PayloadKind::Inflight => {
                let Some((record, fd)) = &self.tracking.record else {
                    return Err(Stop::Harness("there is no record of requests in flight".into()));
                };
                fds.push(copy(fd.as_fd())?);
                Payload::Inflight(*record)
            }
            other => {
                return Err(Stop::Harness(format!("no way to make a payload of kind {other}")));
            }
        };
        let ring = if def.names_ring() { ring } else { 0 };
        let reply_ack = self.protocol >> self.machine.table.reply_ack & 1 == 1;
        let need_reply = self.acknowledged && reply_ack;
        let message = Message { id, ring, value: Value(number), need_reply };
        if has(Effect::SetProtocolFeatures) {
            self.protocol = number;
        }
        if has(Effect::SetFeatures) {
            self.tracking.accepted = number >> LOG_ALL & 1 == 1;
        }
        if has(Effect::SetLogFlag) {
            self.tracking.flag(ring, number & 1 == 1);
        }
        let bytes = payload.encode();
        let flags = Flags::request();
        let flags = if need_reply { flags.with_need_reply() } else { flags };
        let header = Header { request: def.id, flags, size: bytes.len() as u32 };
        self.say("->", &Event::Message(message));
        self.records.push(Record::Sent(Event::Message(message)));
        self.possible.send(Event::Message(message));
        self.keeps.did(&self.machine.table, &Move::Message(message));
        self.transmit(header, &bytes, &fds)?;
        drop(fds);
        self.unread = def.reply.is_none() && !need_reply;
        if self.unread { Ok(()) } else { self.await_answer(id) }
    }

    /// A part of guest memory, as one region.
    fn part(&self, part: u64) -> Region {
        let whole = self.memory.regions().next().unwrap_or_default();
        match part {
            2 => Region { size: self.split, ..whole },
            3 => Region {
                guest_address: whole.guest_address + self.split,
                size: whole.size - self.split,
                user_address: whole.user_address + self.split,
                mmap_offset: whole.mmap_offset + self.split,
            },
            _ => whole,
        }
    }

    fn transmit(&mut self, header: Header, payload: &[u8], fds: &[OwnedFd]) -> Result<(), Stop> {
        let deadline = Deadline::after(self.limits.owed);
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let Some(connection) = &mut self.connection else {
            return Err(Stop::Skip(
                "the connection was closed where no text says what follows".into(),
            ));
        };
        let sent = match self.pieces {
            0 => connection.send(header, payload, &fds, deadline),
            size => {
                let bytes = [&header.encode()[..], payload].concat();
                let mut fds = &fds[..];
                bytes.chunks(size).try_for_each(|piece| {
                    // A back-end that reads as it comes sees each piece alone.
                    std::thread::sleep(BETWEEN);
                    connection.send_raw(piece, std::mem::take(&mut fds), deadline)
                })
            }
        };
        match sent {
            Ok(()) => Ok(()),
            Err(SendError::Closed { .. }) => self.saw_close(),
            Err(error @ SendError::Timeout { .. }) => {
                self.finding(self.machine.laws.reply_must, &error.to_string())
            }
            Err(error) => Err(harness(error)),
        }
    }

    fn await_answer(&mut self, id: MessageId) -> Result<(), Stop> {
        self.answer = None;
        let deadline = Deadline::after(self.limits.owed);
        loop {
            // Judging may take long: the last look is one that began after the limit.
            let late = deadline.passed();
            self.sample()?;
            if self.answer.is_some() || self.possible.undefined() {
                return Ok(());
            }
            if late {
                let name = &self.machine.message(id).name;
                let silence = format!("no answer to {name} in {:?}", self.limits.owed);
                return match self.silent(TimeClass::Reply) {
                    Ok(()) => Err(Stop::Harness(format!("{silence}, and the model allows it"))),
                    Err(fault) => self.fault(fault, silence),
                };
            }
            self.pause()?;
        }
    }

    /// Waits a little, or until the socket has something.
    fn pause(&mut self) -> Result<(), Stop> {
        let wait = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        let mut fds: Vec<PollFd<'_>> =
            self.connection.iter().map(|c| PollFd::new(c, PollFlags::IN)).collect();
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(harness(error)),
        }
    }

    fn observe(&mut self, event: &Event) -> Result<(), Stop> {
        self.say("<-", event);
        self.records.push(Record::Seen(*event));
        match self.possible.observe(event) {
            Ok(()) => Ok(()),
            Err(fault) => {
                let observed = label(self.machine, event);
                self.fault(fault, observed)
            }
        }
    }

    fn did(&mut self, event: &Event) -> Result<(), Stop> {
        self.say("->", event);
        self.records.push(Record::Seen(*event));
        match self.possible.did(event) {
            Ok(()) => Ok(()),
            Err(fault) => self.fault(fault, label(self.machine, event)),
        }
    }

    fn saw_close(&mut self) -> Result<(), Stop> {
        self.connection = None;
        // A server on its way out may still take a connection, and then close it unread.
        let served = self.records.iter().any(|r| matches!(r, Record::Seen(Event::Reply { .. })));
        if !self.first && !served && matches!(self.target, Target::Socket(_)) {
            let error = "the connection is closed before anything was answered".to_owned();
            return Err(harness(TargetError::Gone { error }));
        }
        let ended = self.live.process.as_mut().and_then(super::process::Process::exit_status);
        match self.observe(&Event::Close) {
            Err(Stop::Finding { clause, expected, .. }) => {
                let how = ended.map(|status| format!("; the process ended: {status}"));
                let observed = format!("the connection is closed{}", how.unwrap_or_default());
                Err(Stop::Finding { clause, observed, expected })
            }
            other => other,
        }
    }

    fn silent(&mut self, class: TimeClass) -> Result<(), Fault> {
        self.records.push(Record::Silent(class));
        self.possible.silent(class)
    }

    fn say(&mut self, direction: &str, event: &Event) {
        self.log.push(format!("{direction} {}", label(self.machine, event)));
    }

    fn fault(&self, fault: Fault, observed: String) -> Result<(), Stop> {
        Err(match fault {
            Fault::Broken { clauses, allowed } => Stop::Finding {
                clause: clauses.first().copied().unwrap_or(ClauseId::NONE),
                observed,
                expected: allowed,
            },
            Fault::Script { clause } => {
                Stop::Harness(format!("the test itself breaks clause {}", clause.index()))
            }
            Fault::TooMany => Stop::Harness(fault.to_string()),
        })
    }

    fn finding(&mut self, clause: ClauseId, observed: &str) -> Result<(), Stop> {
        if self.possible.undefined() || self.rules.off.contains(clause) {
            return Ok(());
        }
        self.records.push(Record::Wrong);
        let expected = self.possible.allowed();
        Err(Stop::Finding { clause, observed: observed.to_owned(), expected })
    }

    fn requests(&mut self, count: u16, kick: bool) -> Result<(), Stop> {
        let ring = self.request_ring()?;
        self.read_all()?;
        self.clear_log()?;
        for _ in 0..count {
            if self.workload.waits(self.sent) {
                self.settle(TimeClass::Io)?;
            }
            let chain = self.workload.request(self.sent).map_err(harness)?;
            let line = &mut self.lines[ring as usize];
            let request = line.ring.available_index();
            let head = line.ring.publish(&chain).map_err(harness)?;
            line.requests.insert(head, request);
            line.buffers.insert(head, chain);
            self.numbers.insert((ring, request), self.sent);
            self.sent += 1;
            self.did(&Event::Available { ring })?;
            if kick && self.workload.waits(self.sent) {
                self.kick(ring, false)?;
            }
        }
        if kick { self.kick(ring, false) } else { Ok(()) }
    }

    /// Waits until every message was read. A kick that overtakes the messages that set its ring up is
    /// a race that front-ends do run into; the tests here do not.
    fn read_all(&mut self) -> Result<(), Stop> {
        if self.unread && self.connection.is_some() { self.barrier() } else { Ok(()) }
    }

    fn kick(&mut self, ring: u8, front_end: bool) -> Result<(), Stop> {
        self.read_all()?;
        // Judging may take long, and what follows the kick should find requests in flight.
        self.did(&Event::Kick { ring, front_end })?;
        if let Some(line) = self.lines.get_mut(ring as usize) {
            line.ring.kick.signal().map_err(harness)?;
            line.kicked = true;
        }
        Ok(())
    }

    fn renew(&mut self, ring: u8, index: u16) -> Result<(), Stop> {
        if let Some(line) = self.lines.get_mut(ring as usize) {
            line.ring.start_at(index).map_err(harness)?;
            line.requests.clear();
        }
        self.did(&Event::Renew { ring, index })
    }

    /// Waits until nothing of this class is owed.
    fn settle(&mut self, class: TimeClass) -> Result<(), Stop> {
        let deadline = Deadline::after(self.limits.owed);
        let mut calm = Instant::now();
        loop {
            let late = deadline.passed();
            let came = self.sample()?;
            if came {
                calm = Instant::now();
            }
            if self.possible.undefined() {
                return Ok(());
            }
            let silent = self.possible.may_be_silent(class);
            if calm.elapsed() >= self.limits.quiet / 4
                && silent.or_else(|fault| self.fault(fault, String::new()).map(|()| false))?
            {
                return Ok(());
            }
            if late && !came {
                let observed = format!("nothing more in {:?}", self.limits.owed);
                return match self.silent(class) {
                    Ok(()) => Ok(()),
                    Err(fault) => self.fault(fault, observed),
                };
            }
            self.pause()?;
        }
    }

    /// Nothing is expected; what comes is judged.
    fn quiet(&mut self) -> Result<(), Stop> {
        let deadline = Deadline::after(self.limits.quiet);
        while !deadline.passed() {
            self.sample()?;
            self.pause()?;
        }
        Ok(())
    }

    /// Nothing is expected for as long as a request may take. A kick that was not read is no reason
    /// to say anything: who does not listen to a ring that it may not process owes nothing.
    fn silence(&mut self) -> Result<(), Stop> {
        let end = Deadline::after(self.limits.silence * 4);
        let mut calm = Deadline::after(self.limits.silence);
        while !calm.passed() && !end.passed() {
            if self.sample()? {
                calm = Deadline::after(self.limits.silence);
            }
            self.pause()?;
        }
        if self.lines.iter().any(|line| line.kicked) {
            return Ok(());
        }
        let observed = format!("nothing more in {:?}", self.limits.silence);
        self.possible.silent(TimeClass::Io).or_else(|fault| self.fault(fault, observed))
    }

    fn barrier(&mut self) -> Result<(), Stop> {
        let wanted = |def: &MessageDef| def.answer == Some(Answer::Features);
        match self.machine.table.messages.iter().position(wanted) {
            Some(index) => self.send(MessageId(index as u8), 0, Number::Literal(0)),
            None => Err(Stop::Harness("no message of the table asks for features".into())),
        }
    }

    fn answered(&mut self, success: bool) -> Result<(), Stop> {
        let Some((id, value)) = self.answer else { return Ok(()) };
        let def = self.machine.message(id);
        if def.answer.unwrap_or(Answer::Ack).succeeds(value) == success {
            return Ok(());
        }
        let observed = format!("{} is answered with {:#x}", def.name, value.0);
        self.records.push(Record::Wrong);
        let expected = if success { "success" } else { "an error" };
        Err(Stop::Finding { clause: ClauseId::NONE, observed, expected: vec![expected.to_owned()] })
    }
}

/// Bytes that are no state of any device: a fixed function of the seed.
fn garbage(seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    let byte = |_| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..4096).map(byte).collect()
}

fn harness(error: impl std::fmt::Display) -> Stop {
    Stop::Harness(error.to_string())
}
