//! One conversation with an implementation under test, judged by the machine as it goes.
//!
//! ```text
//!   step --> message, request, kick --> the back-end
//!                                          |
//!   judge (Possible) <--- report <--- sample: socket, call descriptors, used rings, state channel
//! ```
//!
//! **Sampling is fixed here and nowhere else:** effects are read first (the socket, then event
//! descriptors, then memory) and causes are reported first (memory, then notifications, then the
//! answer). So whatever is seen in memory after an answer was *read* may have been written before it
//! was *sent*; only what the next sample finds came after it.
//!
//! **Invariants.** Every wait has a limit. Nothing here names a rule of its own: a clause comes from
//! the machine, from the wire's form, or from the workload's answer. What the harness itself cannot
//! do is [`Stop::Harness`], never a finding.

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
use devmig_model::vhost_user::systems::F_PROTOCOL_FEATURES;
use devmig_model::vhost_user::vocabulary::{Answer, Effect};
use devmig_model::vhost_user::wire::{
    Flags, Header, Memory, MemoryRegion, Payload, PayloadKind, Transfer, VringFd, VringState,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::Deadline;
use super::malformed::Bytes;
use super::memory::{Arena, GuestMemory, PAGE};
use super::ring::{Ring, RingError};
use super::script::{Act, Which};
use super::target::{Live, Target, TargetError};
use super::transport::{Connection, ReceiveError, Received, SendError};
use super::workload::{Blk, BlkOptions, Fs, Nothing, Workload};

/// Rings that a session can drive: the machine's capacity.
pub const RINGS: usize = devmig_model::vhost_user::machine::MAX_RINGS;
/// The machine of a session.
pub type TestMachine = VhostUser<RINGS>;

/// Descriptors in a ring.
const RING_SIZE: u16 = 256;
/// Guest memory, in bytes.
const MEMORY: u64 = 64 * PAGE;
/// The most bytes of device state that are kept.
const MAX_STATE: usize = 64 << 20;

/// What the device is, as vhost-user does not say it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Device {
    /// A block device; data is only read, unless it may be destroyed.
    Blk,
    /// A file system.
    Fs,
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
    /// How long nothing must come to be taken for silence where silence is allowed.
    pub quiet: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connect: Duration::from_secs(10),
            owed: Duration::from_secs(3),
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
    bases: [u16; RINGS],
    acknowledged: bool,
    channel: Option<OwnedFd>,
    state: Vec<u8>,
    state_ended: bool,
    answer: Option<(MessageId, Value)>,
    seed: u64,
    first: bool,
    /// The last message wants no answer, so it may not have been read yet.
    unread: bool,
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
            Device::None => Box::new(Nothing),
        };
        let line = |_| {
            let ring = Ring::new(&memory, &mut arena, RING_SIZE).map_err(harness)?;
            Ok(Line { ring, requests: HashMap::new(), kicked: false })
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
            bases: [0; RINGS],
            acknowledged: setting.acknowledged,
            channel: None,
            state: Vec::new(),
            state_ended: false,
            answer: None,
            seed: setting.seed,
            first,
            unread: false,
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
            Act::WriteGarbage => {
                self.state = garbage(self.seed);
                self.write_state()
            }
            Act::Answered { success } => self.answered(success),
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
        self.hang_up()
    }

    fn request_ring(&self) -> Result<u8, Stop> {
        let ring = self.workload.request_ring();
        ring.and_then(|ring| u8::try_from(ring).ok()).ok_or_else(|| {
            Stop::Skip("needs requests: say what the device is with --device".into())
        })
    }

    fn program(&mut self, step: Step, which: Which) -> Result<(), Stop> {
        let rings = match which {
            Which::Requests => {
                let ring = self.workload.request_ring().unwrap_or(0);
                ring as u8..ring as u8 + 1
            }
            Which::Index(ring) if usize::from(ring) >= self.lines.len() => {
                return Err(Stop::Skip(format!("needs a ring {ring}")));
            }
            Which::Index(ring) => ring..ring + 1,
            Which::Each => 0..self.lines.len() as u8,
        };
        for ring in rings {
            match step {
                Step::Send { id, number, .. } => self.send(id, ring, number)?,
                Step::Kick { .. } => self.kick(ring, true)?,
                Step::Vcpus { .. } => {}
                Step::ReadState => self.read_state()?,
                Step::WriteState => self.write_state()?,
            }
        }
        Ok(())
    }

    /// The number that a step means.
    fn number(&self, ring: u8, number: Number) -> u64 {
        match number {
            Number::Literal(value) => value,
            Number::Saved => u64::from(self.bases[ring as usize]),
            Number::Offered => self.offered & (F_PROTOCOL_FEATURES | self.workload.features()),
            Number::Plain => self.offered & self.workload.features() & !F_PROTOCOL_FEATURES,
            Number::ProtocolOffered => {
                let known = self.machine.table.features.iter().map(|(_, bit)| 1u64 << bit);
                self.protocol_offered & known.fold(0, |mask, bit| mask | bit)
            }
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
        let mut number = self.number(ring, number);
        let has = |effect| def.rows.iter().any(|row| row.receive.contains(&effect));
        if has(Effect::SetSize) {
            number = u64::from(RING_SIZE);
        }
        let line = self.lines.get(ring as usize);
        let mut fds: Vec<OwnedFd> = Vec::new();
        let copy = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().map_err(harness);
        let payload = match def.request {
            PayloadKind::None => Payload::None,
            PayloadKind::U64 => Payload::U64(number),
            PayloadKind::VringState => {
                Payload::VringState(VringState { index: ring.into(), num: number as u32 })
            }
            PayloadKind::VringAddr => match line {
                Some(line) => Payload::VringAddr(line.ring.address(ring.into())),
                None => return Err(Stop::Harness(format!("there is no ring {ring}"))),
            },
            PayloadKind::Memory => {
                fds.push(copy(self.memory.descriptor())?);
                number = 1;
                let regions = Memory::new(self.memory.regions().collect());
                Payload::Memory(regions.map_err(harness)?)
            }
            PayloadKind::MemoryRegion => {
                fds.push(copy(self.memory.descriptor())?);
                let region = self.memory.regions().next().unwrap_or_default();
                Payload::MemoryRegion(MemoryRegion { padding: 0, region })
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
        let bytes = payload.encode();
        let flags = Flags::request();
        let flags = if need_reply { flags.with_need_reply() } else { flags };
        let header = Header { request: def.id, flags, size: bytes.len() as u32 };
        self.say("->", &Event::Message(message));
        self.records.push(Record::Sent(Event::Message(message)));
        self.possible.send(Event::Message(message));
        self.transmit(header, &bytes, &fds)?;
        drop(fds);
        self.unread = def.reply.is_none() && !need_reply;
        if self.unread { Ok(()) } else { self.await_answer(id) }
    }

    fn transmit(&mut self, header: Header, payload: &[u8], fds: &[OwnedFd]) -> Result<(), Stop> {
        let deadline = Deadline::after(self.limits.owed);
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let Some(connection) = &mut self.connection else {
            return Err(Stop::Skip(
                "the connection was closed where no text says what follows".into(),
            ));
        };
        match connection.send(header, payload, &fds, deadline) {
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

    /// Reads effects first, reports causes first. Whether anything came.
    fn sample(&mut self) -> Result<bool, Stop> {
        let incoming = self.connection.as_mut().map(|c| c.receive(Deadline::now()));
        let mut calls = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            if line.ring.call.take().map_err(harness)? > 0 {
                calls.push(index as u8);
            }
        }
        let noticed = self.noticed()?;
        let mut came = self.used()?;
        for ring in noticed {
            self.observe(&Event::KickRead { ring })?;
        }
        for ring in calls {
            came = true;
            self.observe(&Event::Call { ring })?;
        }
        let read_more = self.read_channel()?;
        match incoming {
            None | Some(Err(ReceiveError::Timeout { .. })) => {}
            Some(Ok(received)) => {
                came = true;
                self.reply(received)?;
            }
            Some(Err(ReceiveError::Closed { after })) => {
                came = true;
                if after > 0 {
                    self.log.push(format!("<- {after} bytes of a message"));
                }
                self.saw_close()?;
            }
            Some(Err(ReceiveError::Io(error))) => return Err(harness(error)),
            Some(Err(error)) => {
                self.finding(self.machine.laws.reply_payload, &error.to_string())?
            }
        }
        // The state's end follows the answer that began the transfer, whichever is seen first.
        if read_more && self.state_ended && self.answer_is(Answer::Transfer) {
            self.state_ended = false;
            self.channel = None;
            came = true;
            self.saved()?;
        }
        Ok(came)
    }

    /// The rings whose kick descriptor is no longer readable: what was written to it was read.
    fn noticed(&mut self) -> Result<Vec<u8>, Stop> {
        let mut noticed = Vec::new();
        for (index, line) in self.lines.iter_mut().enumerate().filter(|(_, line)| line.kicked) {
            if !line.ring.kick.wait(Deadline::now()).map_err(harness)? {
                line.kicked = false;
                noticed.push(index as u8);
            }
        }
        Ok(noticed)
    }

    /// The requests that came back.
    fn used(&mut self) -> Result<bool, Stop> {
        let mut came = false;
        for index in 0..self.lines.len() {
            let ring = index as u8;
            loop {
                let line = &mut self.lines[index];
                let event = match line.ring.take_used() {
                    Ok(None) => break,
                    Ok(Some(used)) => {
                        let request = line.requests.get(&used.head).copied().unwrap_or_default();
                        Some((request, Some(used.len)))
                    }
                    // What was never out: either it came back before, or it never was available.
                    Err(RingError::UsedElement { id, .. }) => {
                        let head = u16::try_from(id).ok();
                        let known = head.and_then(|head| line.requests.get(&head)).copied();
                        Some((known.unwrap_or(line.ring.available_index()), None))
                    }
                    Err(error @ RingError::UsedIndex { .. }) => {
                        return self
                            .finding(self.machine.laws.available_only, &error.to_string())
                            .map(|()| true);
                    }
                    Err(error) => return Err(harness(error)),
                };
                let Some((request, len)) = event else { break };
                came = true;
                self.observe(&Event::Used { ring, request })?;
                let Some(len) = len else { break };
                if let Some(number) = self.numbers.get(&(ring, request))
                    && let Err(wrong) = self.workload.check(*number, len)
                {
                    let observed = format!("request {request} on ring {ring}: {wrong}");
                    self.finding(self.machine.laws.processes, &observed)?;
                }
            }
        }
        Ok(came)
    }

    fn reply(&mut self, received: Received) -> Result<(), Stop> {
        let laws = &self.machine.laws;
        let (header_law, payload_law) = (laws.reply_header, laws.reply_payload);
        let Received { header, payload, fds } = received;
        let flags = header.flags;
        let table = &self.machine.table;
        let Some(index) = table.messages.iter().position(|def| def.id == header.request) else {
            let observed = format!("an answer to message {}, which nobody sent", header.request);
            return self.finding(header_law, &observed);
        };
        let def = &table.messages[index];
        if flags.version() != Flags::VERSION || !flags.is_reply() {
            let observed = format!("an answer to {} with flags {flags:?}", def.name);
            return self.finding(header_law, &observed);
        }
        let kind = def.reply.unwrap_or(PayloadKind::U64);
        let decoded = match Payload::decode(kind, &payload) {
            Ok(decoded) => decoded,
            Err(error) => {
                let observed = format!("an answer to {}: {error}", def.name);
                return self.finding(payload_law, &observed);
            }
        };
        let (ring, value) = match decoded {
            Payload::U64(value) => (0, value),
            Payload::VringState(state) => (state.index, u64::from(state.num)),
            Payload::TransferReply(reply) => (0, reply.0),
            other => return Err(Stop::Harness(format!("no meaning for an answer of {other:?}"))),
        };
        let Some(ring) = u8::try_from(ring).ok().filter(|ring| usize::from(*ring) < RINGS) else {
            let observed = format!("an answer to {} for ring {ring}", def.name);
            return self.finding(payload_law, &observed);
        };
        let id = MessageId(index as u8);
        let answer = def.answer.unwrap_or(Answer::Ack);
        let name = def.name.clone();
        let event =
            Event::Reply { id, ring, value: Value(value), descriptors: fds.len().min(255) as u8 };
        self.observe(&event)?;
        self.answer = Some((id, Value(value)));
        match answer {
            Answer::Features => self.offered = value,
            Answer::ProtocolFeatures => self.protocol_offered = value,
            Answer::Base => self.bases[ring as usize] = value as u16,
            Answer::Transfer if value & 0xff != 0 => {
                return Err(Stop::Refused(format!(
                    "{name} is answered with error {:#x}",
                    value & 0xff
                )));
            }
            Answer::Transfer => {
                if let Some(fd) = fds.into_iter().next() {
                    self.channel = Some(fd);
                }
            }
            Answer::Ack if value != 0 => {
                return Err(Stop::Refused(format!("{name} is acknowledged with {value:#x}")));
            }
            _ => {}
        }
        Ok(())
    }

    fn answer_is(&self, wanted: Answer) -> bool {
        self.answer.is_some_and(|(id, _)| self.machine.message(id).answer == Some(wanted))
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
        for _ in 0..count {
            if self.workload.waits(self.sent) {
                self.settle(TimeClass::Io)?;
            }
            let chain = self.workload.request(self.sent).map_err(harness)?;
            let line = &mut self.lines[ring as usize];
            let request = line.ring.available_index();
            let head = line.ring.publish(&chain).map_err(harness)?;
            line.requests.insert(head, request);
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
        let end = Deadline::after(self.limits.owed * 4);
        let mut calm = Deadline::after(self.limits.owed);
        while !calm.passed() && !end.passed() {
            if self.sample()? {
                calm = Deadline::after(self.limits.owed);
            }
            self.pause()?;
        }
        if self.lines.iter().any(|line| line.kicked) {
            return Ok(());
        }
        let observed = format!("nothing more in {:?}", self.limits.owed);
        self.possible.silent(TimeClass::Io).or_else(|fault| self.fault(fault, observed))
    }

    fn barrier(&mut self) -> Result<(), Stop> {
        let wanted = |def: &devmig_model::vhost_user::table::MessageDef| {
            def.answer == Some(Answer::Features)
        };
        match self.machine.table.messages.iter().position(wanted) {
            Some(index) => self.send(MessageId(index as u8), 0, Number::Literal(0)),
            None => Err(Stop::Harness("no message of the table asks for features".into())),
        }
    }

    fn open_channel(&mut self, direction: u32) -> Result<OwnedFd, Stop> {
        let (reader, writer) =
            pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(harness)?;
        let (ours, theirs) =
            if direction == Transfer::SAVE { (reader, writer) } else { (writer, reader) };
        // The back-end gets a channel that blocks, as a pipe does that nobody prepared.
        rustix::io::ioctl_fionbio(&theirs, false).map_err(harness)?;
        self.channel = Some(ours);
        self.state_ended = false;
        if direction == Transfer::SAVE {
            self.state.clear();
        }
        Ok(theirs)
    }

    /// Reads what the state channel has. Whether its end was seen, now or before.
    fn read_channel(&mut self) -> Result<bool, Stop> {
        let Some(channel) = self.channel.as_ref().filter(|_| !self.state_ended) else {
            return Ok(self.state_ended);
        };
        let mut piece = vec![0; 1 << 16];
        loop {
            match rustix::io::read(channel, &mut piece[..]) {
                Ok(0) => {
                    self.state_ended = true;
                    return Ok(true);
                }
                Ok(n) => self.state.extend_from_slice(&piece[..n]),
                Err(rustix::io::Errno::INTR) => {}
                // Nothing now; or this is the writing end.
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::BADF) => return Ok(false),
                Err(error) => return Err(harness(error)),
            }
            if self.state.len() > MAX_STATE {
                return Err(Stop::Harness(format!("more than {MAX_STATE} bytes of device state")));
            }
        }
    }

    /// The whole state is here. Its bytes are opaque: the model's number is what it says itself.
    fn saved(&mut self) -> Result<(), Stop> {
        self.log.push(format!("<- {} bytes of device state, and their end", self.state.len()));
        let mut fault = None;
        // What the device remembers cannot be seen, so any number that the model allows will do.
        for value in 0..=u8::MAX {
            match self.possible.observe(&Event::Saved { value }) {
                Ok(()) => {
                    self.records.push(Record::Seen(Event::Saved { value }));
                    return Ok(());
                }
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        fault.map_or(Ok(()), |fault| self.fault(fault, "the state channel ended".into()))
    }

    fn read_state(&mut self) -> Result<(), Stop> {
        let deadline = Deadline::after(self.limits.owed);
        while self.channel.is_some() {
            let late = deadline.passed();
            self.sample()?;
            if late {
                let observed = format!("no end of the state in {:?}", self.limits.owed);
                return match self.silent(TimeClass::Io) {
                    Ok(()) => Ok(()),
                    Err(fault) => self.fault(fault, observed),
                };
            }
            self.pause()?;
        }
        Ok(())
    }

    fn write_state(&mut self) -> Result<(), Stop> {
        let deadline = Deadline::after(self.limits.owed);
        let state = std::mem::take(&mut self.state);
        let mut rest = state.as_slice();
        let Some(channel) = self.channel.take() else {
            return Err(Stop::Harness("there is no state channel".into()));
        };
        while !rest.is_empty() {
            match rustix::io::write(&channel, rest) {
                Ok(n) => rest = &rest[n..],
                Err(rustix::io::Errno::AGAIN) if !deadline.passed() => self.pause()?,
                Err(rustix::io::Errno::INTR) => {}
                // A reader that has seen enough says so in its answer to CHECK_DEVICE_STATE.
                Err(rustix::io::Errno::PIPE) => break,
                Err(error) => return Err(harness(error)),
            }
        }
        drop(channel);
        self.did(&Event::Loaded { value: 0 })
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

    fn malformed(&mut self, Bytes { bytes, descriptors }: &Bytes) -> Result<(), Stop> {
        let deadline = Deadline::after(self.limits.owed);
        self.log.push(format!("-> {} malformed bytes", bytes.len()));
        let fds = vec![self.memory.descriptor(); *descriptors];
        if let Some(connection) = &mut self.connection {
            match connection.send_raw(bytes, &fds, deadline) {
                Ok(()) | Err(SendError::Closed { .. } | SendError::Timeout { .. }) => {}
                Err(error) => return Err(harness(error)),
            }
        }
        // Whatever comes now, no text forbids it.
        let deadline = Deadline::after(self.limits.quiet);
        while !deadline.passed() {
            let Some(connection) = &mut self.connection else { break };
            match connection.receive(Deadline::after(Duration::from_millis(2))) {
                Ok(received) => self.log.push(format!("<- {:?}", received.header)),
                Err(ReceiveError::Timeout { .. }) => {}
                Err(error) => {
                    self.log.push(format!("<- {error}"));
                    self.connection = None;
                }
            }
        }
        Ok(())
    }

    /// Ends the conversation, and says how the process took it.
    fn hang_up(&mut self) -> Result<(), Stop> {
        self.connection = None;
        let Some(process) = &mut self.live.process else { return Ok(()) };
        let deadline = Deadline::after(self.limits.quiet);
        while process.exit_status().is_none() && !deadline.passed() {
            std::thread::sleep(Duration::from_millis(2));
        }
        match process.exit_status() {
            Some(status) if abnormal(status) => {
                Err(Stop::Died(format!("the process ended: {status}")))
            }
            _ => Ok(()),
        }
    }

    fn again(&mut self) -> Result<(), Stop> {
        self.hang_up()?;
        let deadline = Deadline::after(self.limits.connect);
        let (connection, live) = self.target.connect(false, deadline).map_err(harness)?;
        (self.connection, self.live) = (Some(connection), live);
        self.possible = Possible::new(self.machine, self.rules);
        self.records.push(Record::Fresh);
        (self.offered, self.protocol_offered, self.protocol) = (0, 0, 0);
        (self.answer, self.channel, self.state_ended) = (None, None, false);
        (self.first, self.unread) = (false, false);
        self.log.push("-- a fresh connection".into());
        Ok(())
    }

    fn reconnect(&mut self) -> Result<(), Stop> {
        self.again()?;
        for ring in 0..self.lines.len() as u8 {
            let index = self.lines[ring as usize].ring.available_index();
            self.did(&Event::Renew { ring, index })?;
            // A kick that the last conversation left over would start the ring of this one.
            self.forget_kick(ring)?;
        }
        Ok(())
    }

    fn forget_kick(&mut self, ring: u8) -> Result<(), Stop> {
        let line = &mut self.lines[ring as usize];
        line.kicked = false;
        line.ring.kick.take().map(drop).map_err(harness)
    }

    fn serves(&mut self) -> Result<(), Stop> {
        self.again()?;
        for ring in 0..self.lines.len() as u8 {
            self.forget_kick(ring)?;
            self.renew(ring, 0)?;
        }
        self.bases = [0; RINGS];
        self.sent = 0;
        Ok(())
    }
}

/// Whether a process ended in a way that no protocol explains: by a signal, or by a panic.
fn abnormal(status: std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal().is_some() || status.code() == Some(101)
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
