//! The protocol, server's side, without sockets and clocks.
//!
//! ```text
//!   handle_connected, handle_gone   a client comes, and goes     poll_output   messages, interrupts
//!   handle_message   a command, or the answer to a DMA command   poll_timeout  when handle_time is due
//!   handle_time      time has passed
//!
//!   command --> queue --> is the engine at rest, if this command needs that? --> carried out, answered
//!
//!   core/  one file a job, each with the commands that belong to it:
//!     negotiation   regions   interrupts   dma (the engine, DMA_READ and DMA_WRITE)   features
//! ```
//!
//! **Invariants.** Commands are carried out in the order in which they came; one that must wait for the
//! engine holds up those behind it, at most [`MAX_QUEUED`]. No bytes and no descriptors make it panic,
//! and each call does a bounded amount of work. After [`Output::Close`] nothing follows for this client.
//!
//! **Not here:** reading and writing descriptors, which are handed through; time, which is given.

mod dma;
mod features;
mod interrupts;
mod negotiation;
mod past;
mod regions;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use devmig_model::protocol::vfio_user::{
    Command, Flags, Header, Kind, MAX_DATA, RegionInfo, Reply, Request, Sender, WireError,
};
use rustix::io::Errno;

use self::dma::Outstanding;
use self::interrupts::Line;
use self::negotiation::Agreed;
use self::past::Past;
use super::memory::DmaTable;
use super::mutants::{Mutant, Mutants};
use super::settings::{ClientGone, Draining, P2p, Settings};
use crate::migration::{DmaAllowed, Log, Migration, PreCopyInfo, Refused, State, state};
use crate::pci::{Function, FunctionOptions};

/// The most commands that wait behind one that waits for the engine.
pub const MAX_QUEUED: usize = 64;

/// How long a client may take to answer DMA_READ and DMA_WRITE.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How long new DMA is admitted while a SET waits for the end of it.
const ADMITTED: Duration = Duration::from_millis(200);

/// What the device is, and how it behaves.
#[derive(Clone, Debug)]
pub struct CoreOptions {
    /// The NIC.
    pub function: FunctionOptions,
    /// Its migration features; without any it does not migrate.
    pub features: u64,
    /// What the texts leave open.
    pub settings: Settings,
    /// The most bytes of data in one message that it takes and says that it takes.
    pub max_data: usize,
    /// What it does wrong, if anything.
    pub mutant: Option<Mutant>,
    /// What it does wrong besides.
    pub behind: Option<Mutant>,
}

impl CoreOptions {
    /// One that follows the rules, and takes as much data in a message as may be asked for.
    #[must_use]
    pub fn new(function: FunctionOptions, features: u64, settings: Settings) -> Self {
        CoreOptions { function, features, settings, max_data: MAX_DATA, mutant: None, behind: None }
    }
}

/// Why a client is sent away.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Fault {
    /// A message that is neither a command nor a reply.
    #[error("a message of an unknown type")]
    Kind,
    /// The first command was not VERSION.
    #[error("a command came before VERSION")]
    NoVersion,
    /// No version that both know.
    #[error("version {0} is proposed, which is not known here")]
    Version(u16),
    /// The version data makes no sense.
    #[error("the version data makes no sense")]
    Capabilities,
    /// A reply to nothing that was asked, or one that does not fit.
    #[error("a reply that does not fit what was asked")]
    Reply,
    /// DMA_READ or DMA_WRITE was not answered in time.
    #[error("the client does not answer")]
    Silent,
    /// More commands than are kept.
    #[error("more than {MAX_QUEUED} commands wait")]
    TooMany,
}

/// What the server does.
#[derive(Debug)]
pub enum Output {
    /// Sends this.
    Send {
        /// With this header.
        header: Header,
        /// And this payload.
        payload: Vec<u8>,
    },
    /// Interrupts through this descriptor from now on, or not at all.
    SetTrigger(Option<OwnedFd>),
    /// Interrupts.
    Trigger,
    /// Closes the connection.
    Close(Fault),
}

/// A command that waits for its turn.
#[derive(Debug)]
struct Queued {
    header: Header,
    request: Result<Request, WireError>,
    fds: Vec<OwnedFd>,
    /// Since when it waits for the engine.
    waits: Option<Instant>,
}

/// What a command needs of the engine before it is carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rest {
    /// Nothing.
    Not,
    /// No access outstanding.
    Access,
    /// Nothing under way, and nothing new begun.
    Idle,
}

/// A device with at most one client at a time.
#[derive(Debug)]
pub struct Core {
    function: Function,
    migration: Migration,
    settings: Settings,
    max_data: usize,
    mutants: Mutants,
    memory: DmaTable,
    log: Option<Log>,
    line: Line,
    connected: bool,
    agreed: Option<Agreed>,
    queued: VecDeque<Queued>,
    outstanding: Option<Outstanding>,
    /// Nothing new is begun: a SET waits.
    closing: bool,
    /// The engine has more to do than one call does.
    more: bool,
    next_id: u16,
    /// Where the first range of the log begins, for a mutant.
    first_page: u64,
    /// What was mapped when the log was started, for a mutant.
    logged: DmaTable,
    past: Past,
    outputs: VecDeque<Output>,
}

impl Core {
    /// A new device, running, without a client.
    #[must_use]
    pub fn new(options: &CoreOptions) -> Self {
        let CoreOptions { settings, max_data, mutant, behind, mut features, .. } = *options;
        let mutants = Mutants::new(mutant, behind);
        if settings.p2p == P2p::Unused {
            features &= !state::P2P;
        }
        Core {
            function: Function::new(&options.function),
            migration: Migration::new(features, settings, mutants),
            settings,
            max_data,
            mutants,
            memory: DmaTable::default(),
            log: None,
            line: Line::default(),
            connected: false,
            agreed: None,
            queued: VecDeque::new(),
            outstanding: None,
            closing: false,
            more: false,
            next_id: 0,
            first_page: 0,
            logged: DmaTable::default(),
            past: Past::default(),
            outputs: VecDeque::new(),
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutants.has(mutant)
    }

    /// Its migration state.
    #[must_use]
    pub fn state(&self) -> State {
        self.migration.state()
    }

    /// The function itself.
    #[must_use]
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// The function itself, for what comes from the NIC's peer.
    pub fn function_mut(&mut self) -> &mut Function {
        &mut self.function
    }

    /// What is left to be read in PRE_COPY: vfio-user has no message that asks, VFIO has.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn pre_copy_info(&mut self) -> Result<PreCopyInfo, Refused> {
        let (loads, stale) = (self.loads(), self.stale());
        let Core { function, mutants, migration, .. } = self;
        migration.pre_copy_info(&features::Whole { function, mutants: *mutants, loads, stale })
    }

    /// The client wants to be told when initial data begins anew: vfio-user cannot say so, VFIO can.
    pub fn opt_in(&mut self) {
        self.migration.opt_in();
    }

    /// What is to be done now.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When it wants to be told of the time.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let answer = self.outstanding.as_ref().map(|asked| asked.until);
        let admitted = self.queued.front().and_then(|queued| queued.waits);
        let admitted = admitted.filter(|_| !self.closing).map(|since| since + ADMITTED);
        let more = self.more.then_some(now);
        [answer, admitted, more, self.function.due()].into_iter().flatten().min()
    }

    /// A client has come.
    pub fn handle_connected(&mut self) {
        self.connected = true;
        if self.settings.client_gone == ClientGone::Running {
            self.function.reset();
            self.migration = Migration::new(self.migration.features(), self.settings, self.mutants);
        }
    }

    /// The client has gone: what it gave is given back, and the device stays as it is.
    pub fn handle_gone(&mut self) {
        self.connected = false;
        self.client_went();
        self.memory.clear();
        self.queued.clear();
        self.outputs.clear();
        self.function.give_up();
        (self.agreed, self.outstanding, self.log) = (None, None, None);
        (self.line, self.closing) = (Line::default(), false);
        if self.is(Mutant::GoneForgets) {
            self.function.reset();
        }
    }

    /// A message. Descriptors that nobody asked for fail a command.
    pub fn handle_message(
        &mut self,
        header: Header,
        payload: &[u8],
        fds: Vec<OwnedFd>,
        now: Instant,
    ) {
        match header.flags.kind() {
            Kind::Command if self.queued.len() < MAX_QUEUED => {
                let request = Request::decode(header.command, payload);
                self.queued.push_back(Queued { header, request, fds, waits: None });
            }
            Kind::Command => return self.close(Fault::TooMany),
            Kind::Reply if fds.is_empty() => self.told(header, payload, now),
            Kind::Reply => return self.close(Fault::Reply),
            Kind::Undefined(_) => return self.close(Fault::Kind),
        }
        self.go_on(now);
    }

    /// Time has passed.
    pub fn handle_time(&mut self, now: Instant) {
        if self.outstanding.as_ref().is_some_and(|asked| asked.until <= now) {
            return self.close(Fault::Silent);
        }
        self.go_on(now);
    }

    fn close(&mut self, fault: Fault) {
        self.queued.clear();
        self.outputs.push_back(Output::Close(fault));
    }

    fn closed(&self) -> bool {
        matches!(self.outputs.back(), Some(Output::Close(_)))
    }

    /// Lets the engine work, and carries out what can be carried out.
    fn go_on(&mut self, now: Instant) {
        self.work(now);
        while !self.closed() && self.rested(now) {
            let Some(queued) = self.queued.pop_front() else { break };
            self.carry_out(queued);
            self.closing = false;
            self.work(now);
        }
        self.interrupt();
    }

    /// Whether the engine is as the next command needs it.
    fn rested(&mut self, now: Instant) -> bool {
        let Some(queued) = self.queued.front() else { return true };
        let rest = queued.request.as_ref().map_or(Rest::Not, |request| self.needs(request));
        if rest != Rest::Idle {
            return rest == Rest::Not || !self.function.is_waiting();
        }
        let since = match self.queued.front_mut() {
            Some(queued) => *queued.waits.get_or_insert(now),
            None => now,
        };
        let admits = self.settings.draining == Draining::AdmitsNew;
        self.closing = !admits || since + ADMITTED <= now;
        self.function.hurry(now);
        self.work(now);
        let idle = self.function.is_idle();
        if idle {
            // What found no memory is done again, perhaps by another device.
            self.function.give_up();
        }
        idle
    }

    fn needs(&self, request: &Request) -> Rest {
        match request {
            Request::DmaUnmap(_) | Request::Reset => Rest::Access,
            Request::DeviceFeature(_, flags, data) if *flags == features::SET_STATE => {
                let Some(value) = data.first_chunk().map(|value| u32::from_ne_bytes(*value)) else {
                    return Rest::Not;
                };
                let way = self.migration.way_to(value).unwrap_or_default();
                let stops = |to: &State| to.dma() == DmaAllowed::None;
                let peers = |to: &State| to.dma() == DmaAllowed::NoPeer;
                let last = way.last().copied();
                let skips = self.is(Mutant::StopUndrained) && last.as_ref().is_some_and(stops)
                    || self.is(Mutant::P2pUndrained) && last.as_ref().is_some_and(peers);
                match way.iter().any(|to| stops(to) || peers(to)) && !skips {
                    true => Rest::Idle,
                    false => Rest::Not,
                }
            }
            _ => Rest::Not,
        }
    }

    fn carry_out(&mut self, queued: Queued) {
        let Queued { header, request, mut fds, .. } = queued;
        if self.agreed.is_none() && header.command != Command::VERSION.number() {
            return self.close(Fault::NoVersion);
        }
        let request = match request {
            Ok(request) if request.command().sender() == Sender::Client => request,
            Ok(_) | Err(WireError::Command(_)) => return self.answer(header, Err(Errno::NOTSUP)),
            Err(_) => return self.answer(header, Err(Errno::INVAL)),
        };
        let takes = matches!(request, Request::DmaMap(_) | Request::SetIrqs(..));
        if !takes && !fds.is_empty() {
            return self.answer(header, Err(Errno::INVAL));
        }
        let reply = match request {
            Request::Version(version) => match self.negotiate(&version) {
                Ok(reply) => reply,
                Err(fault) => return self.close(fault),
            },
            Request::DmaMap(map) => match fds.len() {
                _ if self.is(Mutant::MapKept) && self.memory.knows(&map) => Ok(Reply::Empty),
                _ if self.is(Mutant::MapOverTaken) && self.memory.knows(&map) => Ok(Reply::Empty),
                0 | 1 => self.memory.map(&map, fds.pop()).map(|()| {
                    if self.is(Mutant::MapStops) && self.migration.state() == State::PRE_COPY {
                        self.migration.reset();
                    }
                    self.function.retry();
                    Reply::Empty
                }),
                _ => Err(Errno::INVAL),
            },
            Request::DmaUnmap(unmap) if self.is(Mutant::MapKept) || self.is(Mutant::UnmapLies) => {
                Ok(Reply::DmaUnmap(unmap))
            }
            Request::DmaUnmap(unmap) => self.memory.unmap(&unmap).map(|()| Reply::DmaUnmap(unmap)),
            Request::RegionInfo(info) if self.forgets_itself() => {
                let next = RegionInfo { index: info.index.wrapping_add(1), ..info };
                regions::region_info(&next).map(|reply| match reply {
                    Reply::RegionInfo(said, more) => {
                        Reply::RegionInfo(RegionInfo { index: info.index, ..said }, more)
                    }
                    other => other,
                })
            }
            Request::DeviceInfo(info) => {
                let less = self.is(Mutant::InfoOfFirst) && self.is_of_later_client();
                regions::device_info(&info, u32::from(less))
            }
            Request::RegionInfo(info) => regions::region_info(&info),
            Request::RegionIoFds(_) => Err(Errno::NOTSUP),
            Request::IrqInfo(info) => interrupts::irq_info(&info),
            Request::SetIrqs(set, booleans) => self.set_irqs(&set, &booleans, fds),
            Request::RegionRead(access) => self.region_read(access),
            Request::RegionWrite(access, data) => {
                let written = self.region_write(access, &data);
                written.map(|()| Reply::RegionWrite(access))
            }
            Request::RegionWriteMulti(count, writes) => self.write_multi(count, &writes),
            Request::Reset => {
                self.reset();
                Ok(Reply::Empty)
            }
            Request::DeviceFeature(argsz, flags, data) => self.feature(argsz, flags, data),
            Request::MigDataRead(read) => self.data_read(read),
            Request::MigDataWrite(write, data) => self.data_write(write, &data),
            // Sent by servers only, as was found above.
            Request::DmaRead(_) | Request::DmaWrite(..) => Err(Errno::NOTSUP),
        };
        self.answer(header, reply);
    }

    fn answer(&mut self, to: Header, reply: Result<Reply, Errno>) {
        if to.flags.wants_no_reply() {
            return;
        }
        let (header, payload) = match reply {
            Ok(reply) => {
                let payload = reply.encode();
                let flags = Flags::reply();
                let narrow = matches!(&reply, Reply::RegionRead(access, _) if access.count == 1);
                let other = u16::from(narrow && self.is(Mutant::ReplyIdWrong));
                (Header::new(to.id.wrapping_add(other), to.command, flags, payload.len()), payload)
            }
            Err(errno) => {
                let beyond = if self.is(Mutant::ErrorNumberWrong) { 0x1000 } else { 0 };
                let mut header = to.failed(errno.raw_os_error().unsigned_abs() + beyond);
                let feature = to.command == Command::DEVICE_FEATURE.number();
                let more = usize::from(feature && self.is(Mutant::ErrorWithPayload));
                header.size += more as u32;
                (header, vec![0; more])
            }
        };
        self.outputs.push_back(Output::Send { header, payload });
    }

    /// Whether a mutant says something else of itself than before.
    fn forgets_itself(&self) -> bool {
        self.is(Mutant::InfoWhileSaving) && self.migration.state() == State::STOP_COPY
    }

    fn reset(&mut self) {
        self.was_reset();
        if self.migration.state() != State::RESUMING || !self.is(Mutant::ResetKeepsSession) {
            self.function.reset();
        }
        self.migration.reset();
    }
}
