//! The protocol, back-end's side, without sockets and clocks.
//!
//! ```text
//!   handle_message   a message, when wants_message()        poll_output   replies, calls, descriptors
//!   handle_kick      a kick descriptor was readable         poll_timeout  when handle_time is due
//!   handle_time      time has passed
//!   handle_outside   something outside has changed the device
//!   handle_saved, handle_loaded   a transfer has ended
//!   handle_told, handle_channel_gone   the back-end's channel
//!
//!   read a message --> its effects, at once --> its answer, when it is ready and its turn
//!
//!   backend/  one file a job, each with the messages that belong to it:
//!     negotiation   memory   rings (processing)   status   transfer   log   inflight   config   channel
//!     answers       what is owed, and how it is sent
//! ```
//!
//! **Invariants.** Answers leave in the order of their messages. No bytes, descriptors or guest
//! memory make it panic, and each call does a bounded amount of work. After [`Output::Close`]
//! nothing follows and nothing is taken.
//!
//! **Not here:** reading and writing descriptors, which are handed through; time, which is given.

mod answers;
mod channel;
mod config;
mod fault;
mod inflight;
mod log;
mod memory;
mod negotiation;
mod past;
mod processing;
mod rings;
mod status;
mod transfer;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use devmig_model::protocol::vhost_user::wire::{Flags, Header, Payload};

use self::answers::{Answer, Owed};
use self::channel::Channel;
pub use self::fault::Fault;
pub use self::past::Past;
use self::transfer::Transferring;
use super::device::{Device, StateError};
use super::ids::{self, Message, feature};
use super::log::DirtyLog;
use super::memory::{Confusion, MemoryTable};
use super::mutants::{Mutant, Mutants};
use super::ring::{Bell, Ring, RingError};
use super::settings::{LoadPending, ReadsAhead, Settings};

/// How many answers are owed before a back-end that reads ahead reads no further.
const OWED: usize = 2;

/// How often a ring that is polled is looked at.
const POLL: Duration = Duration::from_millis(1);

/// What the back-end does.
#[derive(Debug)]
pub enum Output {
    /// Sends this.
    Reply {
        /// With this header.
        header: Header,
        /// And this payload.
        payload: Vec<u8>,
        /// And these descriptors.
        descriptors: Vec<OwnedFd>,
    },
    /// Listens for kicks on this descriptor, or on none.
    Kick {
        /// The ring.
        ring: usize,
        /// The descriptor.
        descriptor: Option<OwnedFd>,
        /// Whether what was written into it before counts.
        pending_counts: bool,
    },
    /// Notifies the guest through this descriptor from now on, or not at all.
    SetCall {
        /// The ring.
        ring: usize,
        /// The descriptor.
        descriptor: Option<OwnedFd>,
        /// Notifies it through the last one as well: a mutant does.
        besides: bool,
    },
    /// Tells of broken rings through this descriptor from now on, or not at all.
    SetError {
        /// The ring.
        ring: usize,
        /// The descriptor.
        descriptor: Option<OwnedFd>,
    },
    /// Notifies the guest.
    Call(usize),
    /// Tells that a ring is broken.
    Error(usize),
    /// Writes this to the channel, then [`Backend::handle_saved`].
    Save {
        /// The channel.
        channel: OwnedFd,
        /// The device's state.
        state: Vec<u8>,
        /// Whether to close it at the end.
        close: bool,
    },
    /// Reads the channel to its end, then [`Backend::handle_loaded`].
    Load {
        /// The channel.
        channel: OwnedFd,
        /// Whether all of it is read; a mutant stops after a piece, and keeps the channel.
        whole: bool,
    },
    /// Sends requests over this socket from now on.
    OpenChannel(OwnedFd),
    /// Sends this over that socket.
    Tell {
        /// With this header.
        header: Header,
        /// And this payload.
        payload: Vec<u8>,
    },
    /// Closes the connection.
    Close(Fault),
}

/// A back-end with one front-end.
#[derive(Debug)]
pub struct Backend<D> {
    device: D,
    settings: Settings,
    mutants: Mutants,
    /// Feature bit 30 is not offered.
    plain: bool,
    features: u64,
    features_set: bool,
    protocol: u64,
    status: u64,
    memory: MemoryTable,
    rings: Vec<Ring>,
    log: Option<DirtyLog>,
    channel: Channel,
    transfer: Transferring,
    /// SET_OWNER came.
    owned: bool,
    owed: VecDeque<Owed>,
    outputs: VecDeque<Output>,
    late_calls: VecDeque<(Instant, usize)>,
    /// When a mutant writes what it must not.
    late_write: Option<Instant>,
    /// When a mutant writes into the used ring of a stopped ring, and of which.
    late_used: Option<(Instant, usize)>,
    /// Descriptors that a mutant does not close.
    kept: Vec<OwnedFd>,
    past: Past,
    /// The first states that were saved and loaded, which mutants keep to.
    first: [Option<Vec<u8>>; 2],
    /// The configuration space that a mutant keeps to.
    configuration: Option<Vec<u8>>,
    closed: bool,
}

impl<D: Device> Backend<D> {
    /// A back-end that nobody has talked to yet.
    ///
    /// # Errors
    /// Never, with the rings of today.
    pub fn new(
        mut device: D,
        settings: Settings,
        mutants: impl Into<Mutants>,
    ) -> Result<Self, RingError> {
        let mutants = mutants.into();
        device.set_mutants(mutants);
        let rings = (0..device.rings()).map(|_| Ring::new()).collect::<Result<Vec<_>, _>>()?;
        let mut backend = Backend {
            device,
            settings,
            mutants,
            plain: false,
            features: 0,
            features_set: false,
            protocol: 0,
            status: 0,
            memory: confused(mutants),
            rings,
            log: None,
            channel: Channel::default(),
            transfer: Transferring::None,
            owned: false,
            owed: VecDeque::new(),
            outputs: VecDeque::new(),
            late_calls: VecDeque::new(),
            late_write: None,
            late_used: None,
            kept: Vec::new(),
            past: Past::default(),
            first: [None, None],
            configuration: None,
            closed: false,
        };
        if backend.is(Mutant::StartsEnabled) {
            backend.enable_all(true);
        }
        if backend.is(Mutant::BornStarted) {
            backend.rings.iter_mut().for_each(|ring| ring.started = true);
        }
        Ok(backend)
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The same without feature bit 30: it knows nothing of protocol features, and its rings are
    /// enabled with SET_FEATURES.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// The same, of a process with this past.
    #[must_use]
    pub fn after(mut self, past: Past) -> Self {
        self.past = past;
        self
    }

    /// What has happened by now.
    #[must_use]
    pub fn past(&self) -> Past {
        self.past
    }

    /// The device, for what comes from outside: a frame, a link that goes down.
    pub fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// Whether the next message may be read now: not while an answer is owed.
    #[must_use]
    pub fn wants_message(&self) -> bool {
        let most = match self.settings.reads_ahead {
            ReadsAhead::Waits => 1,
            ReadsAhead::Reads => OWED,
        };
        let loads = self.transfer == Transferring::Loading
            && self.settings.load_pending == LoadPending::Waits;
        !self.closed && !loads && self.owed.len() < most
    }

    /// What to do next, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Backend::handle_time`] is due, if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let completing = self.completing().map(|request| request.due);
        let polls = (0..self.rings.len()).filter(|at| self.polls(*at)).map(|_| now + POLL);
        let late = self.late_calls.iter().map(|(at, _)| *at);
        let late = late.chain(self.late_write).chain(self.late_used.map(|(at, _)| at));
        completing.chain(polls).chain(late).chain(self.device.due()).min()
    }

    /// Time has passed.
    pub fn handle_time(&mut self, now: Instant) {
        self.advance(now);
    }

    /// Something outside changes the device.
    pub fn handle_outside(&mut self, now: Instant) {
        if self.device.change() {
            self.config_changed();
        }
        self.advance(now);
    }

    /// The kick descriptor of a ring was readable.
    pub fn handle_kick(&mut self, ring: usize, now: Instant) {
        let heard = self.rings.get(ring).is_some_and(|ring| ring.kick == Bell::Descriptor);
        if heard && !self.is(Mutant::NeverStarts) {
            self.start(ring);
        }
        self.advance(now);
    }

    /// A message was read.
    pub fn handle_message(
        &mut self,
        header: Header,
        payload: &[u8],
        descriptors: Vec<OwnedFd>,
        now: Instant,
    ) {
        if self.closed {
            return;
        }
        let request = header.request;
        let asked = header.flags.need_reply() && self.negotiated(feature::REPLY_ACK);
        let channel = request == Message::SET_BACKEND_REQ_FD.id();
        let mute = self.is(Mutant::NoAcknowledgement)
            || (channel && self.is(Mutant::ChannelUnacknowledged));
        let asked = asked && !mute;
        let success = u64::from(self.is(Mutant::AcknowledgesFailure));
        match self.follow(header, payload, descriptors, now) {
            Ok(Some(answer)) => {
                self.owed.push_back(Owed { request, answer });
                if asked && self.is(Mutant::AcknowledgesToo) {
                    self.acknowledge(request, 0);
                }
            }
            Ok(None) if asked || self.is(Mutant::AnswersUnasked) => {
                self.acknowledge(request, success);
            }
            Ok(None) => {}
            Err(fault) if asked && fault.acknowledged(request) => {
                let understood =
                    !matches!(fault, Fault::Unknown(_) | Fault::Wire(_) | Fault::NoRing(_));
                let lies = self.is(Mutant::AcknowledgesRefusal)
                    || (self.is(Mutant::AcknowledgesUnknown) && !understood);
                let failure = u64::from(!lies);
                self.acknowledge(request, failure);
            }
            Err(fault) => self.close(fault),
        }
        self.advance(now);
    }

    /// Everything that the front-end asks for, in the order of a session.
    fn follow(
        &mut self,
        header: Header,
        payload: &[u8],
        descriptors: Vec<OwnedFd>,
        now: Instant,
    ) -> Result<Option<Answer>, Fault> {
        if header.flags.version() != Flags::VERSION {
            return Err(Fault::Version(header.flags.version()));
        }
        if header.flags.is_reply() {
            return Err(Fault::NotARequest);
        }
        let definition = ids::find(header.request).ok_or(Fault::Unknown(header.request))?;
        let message = definition.message;
        if let Some(bit) = definition.gate.filter(|bit| !self.negotiated(*bit)) {
            return Err(Fault::Gated(message, bit));
        }
        let negotiates = matches!(
            message,
            Message::GET_PROTOCOL_FEATURES
                | Message::SET_PROTOCOL_FEATURES
                | Message::SET_VRING_ENABLE
        );
        if self.plain && negotiates {
            return Err(Fault::Unknown(header.request));
        }
        let payload = Payload::decode(definition.payload, payload)?;

        use Message as M;
        match (message, payload) {
            // Who, and what both sides know.
            (M::GET_FEATURES, _) => self.get_features(),
            (M::SET_FEATURES, Payload::U64(features)) => self.set_features(features),
            (M::GET_PROTOCOL_FEATURES, _) => self.get_protocol_features(),
            (M::SET_PROTOCOL_FEATURES, Payload::U64(bits)) => self.set_protocol_features(bits),
            (M::SET_OWNER, _) => self.set_owner(),
            (M::GET_QUEUE_NUM, _) => self.get_queue_num(),
            (M::SET_BACKEND_REQ_FD, _) => self.set_backend_req_fd(descriptors),
            (M::GET_CONFIG, Payload::Config(asked)) => self.get_config(&asked),
            (M::SET_CONFIG, Payload::Config(config)) => self.set_config(&config),
            (M::NET_SET_MTU, Payload::U64(mtu)) => self.net_set_mtu(mtu),

            // Memory, and what is recorded of its use.
            (M::GET_MAX_MEM_SLOTS, _) => self.get_max_mem_slots(),
            (M::SET_MEM_TABLE, Payload::Memory(table)) => self.set_mem_table(&table, descriptors),
            (M::ADD_MEM_REG, Payload::MemoryRegion(added)) => self.add_mem_reg(&added, descriptors),
            (M::REM_MEM_REG, Payload::MemoryRegion(removed)) => {
                self.rem_mem_reg(&removed, descriptors)
            }
            (M::SET_LOG_BASE, Payload::Log(place)) => self.set_log_base(place, descriptors),
            (M::SET_LOG_FD, _) => self.set_log_fd(descriptors),
            (M::GET_INFLIGHT_FD, Payload::Inflight(asked)) => self.get_inflight_fd(&asked),
            (M::SET_INFLIGHT_FD, Payload::Inflight(about)) => {
                self.set_inflight_fd(&about, descriptors)
            }

            // Rings.
            (M::SET_VRING_NUM, Payload::VringState(size)) => self.set_vring_num(size),
            (M::SET_VRING_BASE, Payload::VringState(base)) => self.set_vring_base(base),
            (M::SET_VRING_ADDR, Payload::VringAddr(addresses)) => self.set_vring_addr(addresses),
            (M::SET_VRING_CALL, Payload::VringFd(fd)) => self.set_vring_call(fd, descriptors),
            (M::SET_VRING_ERR, Payload::VringFd(fd)) => self.set_vring_err(fd, descriptors),
            (M::SET_VRING_KICK, Payload::VringFd(fd)) => self.set_vring_kick(fd, descriptors),
            (M::VRING_KICK, Payload::VringState(kick)) => self.vring_kick(kick),
            (M::SET_VRING_ENABLE, Payload::VringState(enable)) => self.set_vring_enable(enable),
            (M::GET_VRING_BASE, Payload::VringState(asked)) => self.get_vring_base(asked, now),

            // Status and resets.
            (M::SET_STATUS, Payload::U64(status)) => self.set_status(status, now),
            (M::GET_STATUS, _) => self.get_status(),
            (M::RESET_DEVICE, _) => self.reset_on_demand(),
            (M::RESET_OWNER, _) => self.reset_owner(),

            // Device state.
            (M::SET_DEVICE_STATE_FD, Payload::Transfer(transfer)) => {
                Ok(Some(self.set_device_state_fd(transfer, descriptors)))
            }
            (M::CHECK_DEVICE_STATE, _) => {
                let busy = matches!(self.transfer, Transferring::Saving | Transferring::Loading);
                self.past.ruined |= self.is(Mutant::CheckRuins) && busy;
                Ok(Some(Answer::Check))
            }
            (other, _) => Err(Fault::Unknown(other.id())),
        }
    }

    fn ring_index(&self, index: u32) -> Result<usize, Fault> {
        let at = usize::try_from(index).ok().filter(|at| *at < self.rings.len());
        at.ok_or(Fault::NoRing(index))
    }

    fn ring(&mut self, index: u32) -> Result<&mut Ring, Fault> {
        let at = self.ring_index(index)?;
        self.rings.get_mut(at).ok_or(Fault::NoRing(index))
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutants.has(mutant)
    }

    fn negotiated(&self, bit: u32) -> bool {
        self.protocol >> bit & 1 == 1
    }

    /// Whether some ring is started.
    fn runs(&self) -> bool {
        self.rings.iter().any(|ring| ring.started)
    }

    /// Whether every ring is stopped, and nothing of any is in flight.
    fn suspended(&self) -> bool {
        self.rings.iter().all(|ring| !ring.started && ring.in_flight.is_empty())
    }

    fn close(&mut self, fault: Fault) {
        self.outputs.push_back(Output::Close(fault));
        self.closed = true;
    }

    /// Does all that can be done now: requests, notifications, answers.
    fn advance(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        if self.device.pass(now) {
            self.config_changed();
        }
        self.process_all(now);
        if self.closed {
            return;
        }
        while let Some((_, ring)) = self.late_calls.pop_front_if(|(at, _)| *at <= now) {
            self.outputs.push_back(Output::Call(ring));
        }
        if self.late_write.take_if(|at| *at <= now).is_some() {
            self.memory.scribble();
        }
        if let Some((_, ring)) = self.late_used.take_if(|(at, _)| *at <= now) {
            self.needs_no_kick(ring);
        }
        self.tell();
        self.answer();
    }
}

/// No memory, and what a mutant takes for what once there is some.
fn confused(mutants: Mutants) -> MemoryTable {
    let confusion = match () {
        () if mutants.has(Mutant::RingsByGuestAddress) => Some(Confusion::Rings),
        () if mutants.has(Mutant::BuffersByUserAddress) => Some(Confusion::Buffers),
        () => None,
    };
    MemoryTable::default().confused(confusion)
}

/// The one descriptor that belongs to a message.
fn only(message: Message, descriptors: Vec<OwnedFd>) -> Result<OwnedFd, Fault> {
    let one = <[OwnedFd; 1]>::try_from(descriptors);
    one.map(|[descriptor]| descriptor).map_err(|_| Fault::NoDescriptor(message))
}

#[cfg(test)]
mod tests;
