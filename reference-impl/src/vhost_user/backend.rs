//! The protocol, back-end's side, without sockets and clocks.
//!
//! ```text
//!   handle_message   a message, when wants_message()        poll_output   replies, calls, descriptors
//!   handle_kick      a kick descriptor was readable         poll_timeout  when handle_time is due
//!   handle_time      time has passed
//!   handle_saved, handle_loaded   a transfer has ended
//!
//!   read a message --> its effects, at once --> its answer, when it is ready and its turn
//! ```
//!
//! **Invariants.** Answers leave in the order of their messages. No bytes, descriptors or guest
//! memory make it panic, and each call does a bounded amount of work. After [`Output::Close`]
//! nothing follows and nothing is taken.
//!
//! **Not here:** reading and writing descriptors, which are handed through; time, which is given.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use devmig_model::vhost_user::wire::{
    Config, Flags, Header, MAX_CONFIG, Payload, Transfer, VringState, WireError,
};
use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;

use super::device::{Device, StateError};
use super::ids::{self, Message, OFFERED_PROTOCOL_FEATURES, PROTOCOL_FEATURES_BIT, feature};
use super::memory::{MAX_SLOTS, MemoryError, MemoryTable};
use super::mutants::Mutant;
use super::ring::{InFlight, Ring, RingError};
use super::settings::{
    Disabled, InFlight as InFlightSetting, KickAfterStop, KickPending, ReadsAhead, ResetRings,
    RingStart, Settings, StatusZero,
};

/// How many answers are owed before a back-end that reads ahead reads no further.
const OWED: usize = 2;

/// How often a ring without a kick descriptor is looked at.
const POLL: Duration = Duration::from_millis(1);

/// How long after its stop the guest is notified by [`Mutant::NotifiesAfterStop`].
const LATE: Duration = Duration::from_millis(20);

/// Why a message is not followed. Where an acknowledgement is asked for, most become its failure;
/// else the connection is closed, as the text permits.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Not version 1.
    #[error("a message has version {0}")]
    Version(u32),
    /// A reply where a request belongs.
    #[error("a reply came where nothing was asked")]
    NotARequest,
    /// No such message.
    #[error("message {0} is unknown")]
    Unknown(u32),
    /// Its protocol feature was not negotiated.
    #[error("{0:?} needs protocol feature {1}, which was not negotiated")]
    Gated(Message, u32),
    /// Its payload is none.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A ring beyond the last.
    #[error("there is no ring {0}")]
    NoRing(u32),
    /// A value that it cannot have.
    #[error("{0:?} with a value that it cannot have: {1:#x}")]
    Value(Message, u64),
    /// Bit 8 and the descriptors contradict each other.
    #[error("{0:?} without a descriptor, and without saying so")]
    NoDescriptor(Message),
    /// Memory cannot be mapped.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Ring addresses outside guest memory.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// Not a fault of the front-end's: a mutant.
    #[error("the mutant {0} closes the connection")]
    Mutant(Mutant),
}

impl Fault {
    /// Whether an acknowledgement can say it: the message was understood as one, and has no answer
    /// of its own that the front-end would take it for.
    fn acknowledged(&self, request: u32) -> bool {
        let replies = ids::find(request).is_some_and(|known| known.message.replies());
        !replies && !matches!(self, Fault::Version(_) | Fault::NotARequest | Fault::Mutant(_))
    }
}

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
    Load(OwnedFd),
    /// Closes the connection.
    Close(Fault),
}

/// An answer that is owed.
#[derive(Debug)]
struct Owed {
    request: u32,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Is(Vec<u8>, Vec<OwnedFd>),
    /// The ring's base, once nothing is in flight in it.
    Base(u32, usize),
    /// How the transfer ended, once it has.
    Check,
}

impl From<Payload> for Answer {
    fn from(payload: Payload) -> Self {
        Answer::Is(payload.encode(), Vec::new())
    }
}

fn number(n: u64) -> Result<Option<Answer>, Fault> {
    Ok(Some(Payload::U64(n).into()))
}

/// Where a transfer of the device's state stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Transferring {
    None,
    Saving,
    Loading,
    Done { well: bool },
}

/// A back-end with one front-end.
#[derive(Debug)]
pub struct Backend<D> {
    device: D,
    settings: Settings,
    mutant: Option<Mutant>,
    /// Feature bit 30 is not offered.
    plain: bool,
    features: u64,
    features_set: bool,
    protocol: u64,
    status: u64,
    memory: MemoryTable,
    rings: Vec<Ring>,
    transfer: Transferring,
    owed: VecDeque<Owed>,
    outputs: VecDeque<Output>,
    late_calls: VecDeque<(Instant, usize)>,
    closed: bool,
}

impl<D: Device> Backend<D> {
    /// A back-end that nobody has talked to yet.
    ///
    /// # Errors
    /// Never, with the rings of today.
    pub fn new(device: D, settings: Settings, mutant: Option<Mutant>) -> Result<Self, RingError> {
        let rings = (0..device.rings()).map(|_| Ring::new()).collect::<Result<Vec<_>, _>>()?;
        let mut backend = Backend {
            device,
            settings,
            mutant,
            plain: false,
            features: 0,
            features_set: false,
            protocol: 0,
            status: 0,
            memory: MemoryTable::default(),
            rings,
            transfer: Transferring::None,
            owed: VecDeque::new(),
            outputs: VecDeque::new(),
            late_calls: VecDeque::new(),
            closed: false,
        };
        if backend.is(Mutant::StartsEnabled) {
            backend.enable_all(true);
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

    /// The features offered.
    #[must_use]
    pub fn offered(&self) -> u64 {
        let protocol = u64::from(!self.plain) << PROTOCOL_FEATURES_BIT;
        self.device.features() | protocol | 1 << VIRTIO_F_VERSION_1
    }

    /// Whether the next message may be read now: not while an answer is owed.
    #[must_use]
    pub fn wants_message(&self) -> bool {
        let most = match self.settings.reads_ahead {
            ReadsAhead::Waits => 1,
            ReadsAhead::Reads => OWED,
        };
        !self.closed && self.owed.len() < most
    }

    /// What to do next, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Backend::handle_time`] is due, if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let completions = self.rings.iter().filter(|ring| self.completes(ring));
        let completions = completions.flat_map(|ring| ring.in_flight.iter().map(|r| r.due));
        let polls = self.rings.iter().filter(|ring| self.fetches(ring) && !ring.kick);
        let late = self.late_calls.iter().map(|(at, _)| *at);
        completions.chain(polls.map(|_| now + POLL)).chain(late).min()
    }

    /// Time has passed.
    pub fn handle_time(&mut self, now: Instant) {
        self.advance(now);
    }

    /// The kick descriptor of a ring was readable.
    pub fn handle_kick(&mut self, ring: usize, now: Instant) {
        if self.rings.get(ring).is_some_and(|ring| ring.kick) && !self.is(Mutant::NeverStarts) {
            self.start(ring);
        }
        self.advance(now);
    }

    /// The state was written, or could not be.
    pub fn handle_saved(&mut self, well: bool, now: Instant) {
        if self.transfer == Transferring::Saving {
            self.transfer = Transferring::Done { well };
        }
        self.advance(now);
    }

    /// The state was read to its end; `None` if it could not be.
    ///
    /// # Errors
    /// Why it was not taken over; the front-end learns of it by CHECK_DEVICE_STATE.
    pub fn handle_loaded(&mut self, state: Option<&[u8]>, now: Instant) -> Result<(), StateError> {
        if self.transfer != Transferring::Loading {
            return Ok(());
        }
        let loaded = state.ok_or(StateError::Damaged).and_then(|state| self.device.load(state));
        self.transfer =
            Transferring::Done { well: loaded.is_ok() || self.is(Mutant::LoadsAnything) };
        self.advance(now);
        loaded
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
        let asked = asked && !self.is(Mutant::NoAcknowledgement);
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
            Err(fault) if asked && fault.acknowledged(request) => self.acknowledge(request, 1),
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

        match (message, payload) {
            // Who, and what both sides know.
            (Message::GET_FEATURES, _) if self.is(Mutant::SilentGetFeatures) => Ok(None),
            (Message::GET_FEATURES, _) => number(self.offered()),
            (Message::SET_FEATURES, Payload::U64(features)) => {
                if features & !self.offered() != 0 {
                    return Err(Fault::Value(message, features));
                }
                self.features = features;
                self.features_set = true;
                if features >> PROTOCOL_FEATURES_BIT & 1 == 1 {
                    if self.is(Mutant::Bit30Disables) {
                        self.enable_all(false);
                    }
                } else if !self.is(Mutant::Bit30EnablesNothing) {
                    self.enable_all(true);
                }
                Ok(None)
            }
            (Message::GET_PROTOCOL_FEATURES, _) => {
                if !self.features_set && self.is(Mutant::ProtocolFeaturesLate) {
                    return Err(Fault::Mutant(Mutant::ProtocolFeaturesLate));
                }
                number(OFFERED_PROTOCOL_FEATURES)
            }
            (Message::SET_PROTOCOL_FEATURES, Payload::U64(features)) => {
                if features & !OFFERED_PROTOCOL_FEATURES != 0 {
                    return Err(Fault::Value(message, features));
                }
                self.protocol = features;
                Ok(None)
            }
            (Message::SET_OWNER, _) => Ok(None),
            (Message::GET_QUEUE_NUM, _) => number(self.rings.len() as u64),
            (Message::GET_CONFIG, Payload::Config(asked)) => Ok(Some(self.config(&asked))),
            // Every field is read-only: only a migration may set it, to what it is.
            (Message::SET_CONFIG, Payload::Config(config)) if config.flags == 1 => Ok(None),
            (Message::SET_CONFIG, Payload::Config(config)) => {
                Err(Fault::Value(message, config.offset.into()))
            }

            // Memory.
            (Message::GET_MAX_MEM_SLOTS, _) => number(MAX_SLOTS as u64),
            (Message::SET_MEM_TABLE, Payload::Memory(table)) => {
                self.memory.replace(table.regions(), descriptors)?;
                self.memory_moved()
            }
            (Message::ADD_MEM_REG, Payload::MemoryRegion(added)) => {
                self.memory.add(&added.region, descriptors)?;
                self.memory_moved()
            }
            (Message::REM_MEM_REG, Payload::MemoryRegion(removed)) => {
                self.memory.remove(&removed.region)?;
                self.memory_moved()
            }

            // Rings.
            (Message::SET_VRING_NUM, Payload::VringState(VringState { index, num })) => {
                match self.ring(index)?.set_size(num) {
                    true => Ok(None),
                    false => Err(Fault::Value(message, num.into())),
                }
            }
            (Message::SET_VRING_BASE, Payload::VringState(VringState { index, num })) => {
                let ignored = self.is(Mutant::IgnoresSetBase);
                let ring = self.ring(index)?;
                let base = u16::try_from(num).map_err(|_| Fault::Value(message, num.into()))?;
                if !ignored {
                    ring.set_base(base);
                }
                Ok(None)
            }
            (Message::SET_VRING_ADDR, Payload::VringAddr(addresses)) => {
                for user in [addresses.descriptor, addresses.available, addresses.used] {
                    self.memory.guest_address(user).ok_or(RingError::Unmapped)?;
                }
                let ring = self.ring(addresses.index)?;
                ring.addresses = Some(addresses);
                ring.moved();
                Ok(None)
            }
            (Message::SET_VRING_CALL, _) if self.is(Mutant::ClosesOnCall) => {
                Err(Fault::Mutant(Mutant::ClosesOnCall))
            }
            (Message::SET_VRING_CALL, Payload::VringFd(fd)) => {
                let ring = self.ring_index(fd.index().into())?;
                let descriptor = one(message, fd.no_descriptor(), descriptors)?;
                self.outputs.push_back(Output::SetCall { ring, descriptor });
                Ok(None)
            }
            (Message::SET_VRING_ERR, Payload::VringFd(fd)) => {
                let ring = self.ring_index(fd.index().into())?;
                let descriptor = one(message, fd.no_descriptor(), descriptors)?;
                self.outputs.push_back(Output::SetError { ring, descriptor });
                Ok(None)
            }
            (Message::SET_VRING_KICK, Payload::VringFd(fd)) => {
                let ring = self.ring_index(fd.index().into())?;
                let descriptor = one(message, fd.no_descriptor(), descriptors)?;
                self.ring(fd.index().into())?.kick = descriptor.is_some();
                if self.settings.ring_start == RingStart::Descriptor {
                    self.start(ring);
                }
                let pending_counts = self.settings.kick_pending == KickPending::Starts;
                self.outputs.push_back(Output::Kick { ring, descriptor, pending_counts });
                Ok(None)
            }
            (Message::SET_VRING_ENABLE, Payload::VringState(VringState { index, num })) => {
                let ignored = match num {
                    0 => self.is(Mutant::IgnoresDisable),
                    _ => self.is(Mutant::IgnoresEnable),
                };
                let untracked = self.is(Mutant::EnableNotTracked);
                let ring = self.ring(index)?;
                if !ignored && (ring.started || !untracked) {
                    ring.enabled = num != 0;
                }
                Ok(None)
            }
            (Message::GET_VRING_BASE, Payload::VringState(VringState { index, .. })) => {
                let ring = self.ring_index(index)?;
                self.stop(index, ring, now)
            }

            // Status and resets.
            (Message::SET_STATUS, Payload::U64(status)) => {
                if status > 0xff {
                    return Err(Fault::Value(message, status));
                }
                if status == 0 && self.settings.status_zero == StatusZero::Resets {
                    self.reset_device();
                    if !self.is(Mutant::StatusZeroRuns) {
                        self.reset_rings(true);
                        (0..self.rings.len()).for_each(|ring| self.forget_kick(ring));
                    }
                }
                self.status = status;
                Ok(None)
            }
            (Message::GET_STATUS, _) => {
                number(self.status ^ u64::from(self.is(Mutant::StatusWrong)))
            }
            (Message::RESET_DEVICE, _) if self.is(Mutant::ResetClosesSession) => {
                Err(Fault::Mutant(Mutant::ResetClosesSession))
            }
            (Message::RESET_DEVICE, _) => {
                if !self.is(Mutant::ResetKeepsState) {
                    self.reset_device();
                }
                if !self.is(Mutant::ResetDisablesNothing) {
                    self.reset_rings(self.settings.reset_rings == ResetRings::Stops);
                }
                Ok(None)
            }

            // Device state.
            (Message::SET_DEVICE_STATE_FD, Payload::Transfer(transfer)) => {
                Ok(Some(self.transfer(transfer, descriptors)))
            }
            (Message::CHECK_DEVICE_STATE, _) => Ok(Some(Answer::Check)),
            (other, _) => Err(Fault::Unknown(other.id())),
        }
    }

    /// GET_VRING_BASE: the ring stops now, and is answered once nothing of it is in flight.
    fn stop(&mut self, index: u32, at: usize, now: Instant) -> Result<Option<Answer>, Fault> {
        let (settings, mutant) = (self.settings, self.mutant);
        let ring = self.ring(index)?;
        if mutant != Some(Mutant::KeepsProcessing) {
            ring.started = false;
        }
        match settings.in_flight {
            _ if mutant == Some(Mutant::KeepsProcessing) => {}
            InFlightSetting::Drain => {}
            InFlightSetting::Abandon => ring.in_flight.clear(),
            InFlightSetting::Rewind => {
                if let Some(oldest) = ring.in_flight.first() {
                    ring.set_base(oldest.index);
                }
                ring.in_flight.clear();
            }
        }
        let forgets = settings.kick_after_stop == KickAfterStop::Forgets;
        if forgets && mutant != Some(Mutant::KeepsProcessing) {
            self.forget_kick(at);
        }
        if mutant == Some(Mutant::NotifiesAfterStop) {
            self.late_calls.push_back((now + LATE, at));
        }
        Ok(Some(Answer::Base(index, at)))
    }

    /// No kick on the descriptor that the ring has counts any more.
    fn forget_kick(&mut self, at: usize) {
        if let Some(ring) = self.rings.get_mut(at) {
            ring.kick = false;
        }
        self.outputs.push_back(Output::Kick { ring: at, descriptor: None, pending_counts: false });
    }

    /// SET_DEVICE_STATE_FD: bits 0 to 7 of the answer are an error, bit 8 says that it brings no
    /// descriptor. The front-end's own channel is always used.
    fn transfer(&mut self, transfer: Transfer, descriptors: Vec<OwnedFd>) -> Answer {
        const NO_DESCRIPTOR: u64 = 1 << 8;
        let busy = matches!(self.transfer, Transferring::Saving | Transferring::Loading);
        let suspended = self.rings.iter().all(|ring| !ring.started && ring.in_flight.is_empty());
        let known = transfer.phase == Transfer::STOPPED
            && matches!(transfer.direction, Transfer::SAVE | Transfer::LOAD);
        let channel = <[OwnedFd; 1]>::try_from(descriptors).ok().map(|[channel]| channel);
        let value = match channel {
            Some(channel) if self.is(Mutant::TransferErrorWithDescriptor) => {
                return Answer::Is(Payload::U64(1).encode(), vec![channel]);
            }
            Some(channel) if known && suspended && !busy => {
                self.begin(transfer, channel);
                match self.is(Mutant::TransferBitClear) {
                    true => 0,
                    false => NO_DESCRIPTOR,
                }
            }
            _ => NO_DESCRIPTOR | 1,
        };
        Payload::U64(value).into()
    }

    fn begin(&mut self, transfer: Transfer, channel: OwnedFd) {
        if transfer.direction == Transfer::SAVE {
            self.transfer = Transferring::Saving;
            let close = !self.is(Mutant::TransferNeverCloses);
            self.outputs.push_back(Output::Save { channel, state: self.device.save(), close });
        } else {
            self.transfer = Transferring::Loading;
            self.outputs.push_back(Output::Load(channel));
        }
    }

    /// GET_CONFIG: what was asked for, or nothing at all, which says that it cannot be had.
    fn config(&self, asked: &Config) -> Answer {
        let space = self.device.config();
        let (offset, size) = (asked.offset as usize, asked.size as usize);
        let inside = offset.checked_add(size).is_some_and(|end| end <= MAX_CONFIG) && size > 0;
        let bytes = space.into_iter().chain(std::iter::repeat(0)).skip(offset).take(size);
        match inside.then(|| Config::new(asked.offset, asked.flags, bytes.collect())) {
            Some(Ok(config)) => Payload::Config(config).into(),
            _ => Payload::None.into(),
        }
    }

    fn memory_moved(&mut self) -> Result<Option<Answer>, Fault> {
        self.rings.iter_mut().for_each(Ring::moved);
        Ok(None)
    }

    fn reset_device(&mut self) {
        self.device.reset();
        self.status = 0;
    }

    /// What both resets do to rings: they are disabled, and what was fetched is dropped.
    fn reset_rings(&mut self, stop: bool) {
        for ring in &mut self.rings {
            ring.started &= !stop;
            ring.enabled = false;
            ring.in_flight.clear();
        }
    }

    fn enable_all(&mut self, enabled: bool) {
        self.rings.iter_mut().for_each(|ring| ring.enabled = enabled);
    }

    /// A ring starts, or goes on.
    fn start(&mut self, at: usize) {
        let forgets = self.is(Mutant::ForgetsBase);
        if let Some(ring) = self.rings.get_mut(at) {
            let again = ring.start();
            if again && forgets {
                ring.set_base(0);
            }
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
        self.mutant == Some(mutant)
    }

    fn negotiated(&self, bit: u32) -> bool {
        self.protocol >> bit & 1 == 1
    }

    fn acknowledge(&mut self, request: u32, value: u64) {
        self.owed.push_back(Owed { request, answer: Payload::U64(value).into() });
    }

    fn close(&mut self, fault: Fault) {
        self.outputs.push_back(Output::Close(fault));
        self.closed = true;
    }

    /// Whether requests are fetched from this ring now.
    fn fetches(&self, ring: &Ring) -> bool {
        let enabled = ring.enabled
            || self.settings.disabled == Disabled::Process
            || self.is(Mutant::ProcessesDisabled);
        let unasked =
            self.is(Mutant::CompletesWhileSaving) && self.transfer == Transferring::Saving;
        let stuck = self.is(Mutant::IndexSticks) && ring.base() == u16::MAX;
        ((ring.started && enabled) || unasked) && ring.configured() && !ring.broken && !stuck
    }

    /// Whether requests in flight are completed in this ring now. In a stopped ring there are none
    /// but those which GET_VRING_BASE waits for.
    fn completes(&self, ring: &Ring) -> bool {
        ring.enabled || self.settings.disabled != Disabled::Hold
    }

    /// Does all that can be done now: requests, notifications, answers.
    fn advance(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        for at in 0..self.rings.len() {
            if self.process(at, now).is_err() {
                self.give_up(at);
            }
            self.notify(at);
        }
        while let Some((_, ring)) = self.late_calls.pop_front_if(|(at, _)| *at <= now) {
            self.outputs.push_back(Output::Call(ring));
        }
        while self.owed.front().is_some_and(|owed| self.is_ready(&owed.answer))
            && let Some(owed) = self.owed.pop_front()
        {
            self.send(owed);
        }
    }

    /// Fetches what is available and completes what is due.
    fn process(&mut self, at: usize, now: Instant) -> Result<(), RingError> {
        let used = self.is(Mutant::UsedFromZero).then_some(0);
        let (twice, unavailable) =
            (self.is(Mutant::CompletesTwice), self.is(Mutant::UsesUnavailable));

        let most = self.rings.get(at).map_or(0, Ring::size);
        for _ in 0..most {
            let fetches = self.rings.get(at).is_some_and(|ring| self.fetches(ring));
            let Some(ring) = self.rings.get_mut(at).filter(|_| fetches) else { break };
            let Some((index, chain)) = ring.fetch(&self.memory, used)? else { break };
            let due = now.checked_add(self.device.latency()).unwrap_or(now);
            ring.in_flight.push(InFlight { index, due, chain });
        }

        let completes = self.rings.get(at).is_some_and(|ring| self.completes(ring));
        let Some(ring) = self.rings.get_mut(at).filter(|_| completes) else { return Ok(()) };
        let mut due: Vec<InFlight> = ring.in_flight.extract_if(.., |r| r.due <= now).collect();
        due.sort_by_key(|request| request.due);
        for request in due {
            let head = request.chain.head_index();
            let written = self.device.execute(request.chain);
            ring.complete(&self.memory, head, written)?;
            if twice {
                ring.complete(&self.memory, head, written)?;
            }
            if unavailable {
                ring.complete(&self.memory, (head + ring.size() / 2) % ring.size(), 0)?;
            }
            ring.unnotified = true;
        }
        Ok(())
    }

    /// A ring makes no sense: nothing more is done in it, and the front-end is told.
    fn give_up(&mut self, at: usize) {
        if let Some(ring) = self.rings.get_mut(at) {
            ring.broken = true;
            ring.in_flight.clear();
            self.outputs.push_back(Output::Error(at));
        }
    }

    fn notify(&mut self, at: usize) {
        let silent = self.is(Mutant::NeverNotifies);
        if let Some(ring) = self.rings.get_mut(at).filter(|ring| ring.unnotified) {
            ring.unnotified = false;
            if !silent {
                self.outputs.push_back(Output::Call(at));
            }
        }
    }

    fn is_ready(&self, answer: &Answer) -> bool {
        match answer {
            Answer::Is(..) => true,
            Answer::Base(_, at) => {
                self.rings.get(*at).is_none_or(|ring| ring.in_flight.is_empty())
                    || self.is(Mutant::CompletesAfterStop)
                    || self.is(Mutant::KeepsProcessing)
            }
            Answer::Check => !matches!(self.transfer, Transferring::Saving | Transferring::Loading),
        }
    }

    fn send(&mut self, Owed { request, answer }: Owed) {
        let stops = matches!(answer, Answer::Base(..));
        let (mut payload, descriptors) = match answer {
            Answer::Is(payload, descriptors) => (payload, descriptors),
            Answer::Base(index, at) => (self.base(index, at).encode(), Vec::new()),
            Answer::Check => {
                let well = self.transfer == Transferring::Done { well: true };
                let failed = !well || self.is(Mutant::CheckFails);
                (Payload::U64(failed.into()).encode(), Vec::new())
            }
        };
        let suspended = self.rings.iter().any(|r| r.ran) && self.rings.iter().all(|r| !r.started);
        if self.is(Mutant::SilentWhenStopped) && suspended && !stops {
            return;
        }
        if self.is(Mutant::ReplyTooLong) {
            payload.extend([0; 8]);
        }
        let flags = match self.mutant {
            Some(Mutant::NoReplyFlag) => Flags::request(),
            Some(Mutant::WrongReplyVersion) => Flags::from_bits(0b110),
            _ => Flags::reply(),
        };
        let request = request.wrapping_add(self.is(Mutant::WrongReplyId).into());
        // At most a header's worth more than a configuration space.
        let header = Header { request, flags, size: payload.len() as u32 };
        if self.is(Mutant::AnswersTwice) {
            let (payload, descriptors) = (payload.clone(), Vec::new());
            self.outputs.push_back(Output::Reply { header, payload, descriptors });
        }
        self.outputs.push_back(Output::Reply { header, payload, descriptors });
    }

    /// GET_VRING_BASE's answer.
    fn base(&self, index: u32, at: usize) -> Payload {
        let (base, size) = self.rings.get(at).map_or((0, 1), |ring| (ring.base(), ring.size()));
        let num = match self.mutant {
            Some(Mutant::BaseZero) => 0,
            Some(Mutant::BaseLow) => base.wrapping_sub(1),
            Some(Mutant::BaseHigh) => base.wrapping_add(1),
            Some(Mutant::BaseModuloSize) => base % size,
            _ => base,
        };
        Payload::VringState(VringState { index, num: num.into() })
    }
}

/// The descriptor of SET_VRING_KICK and its like, or none if bit 8 says so.
fn one(message: Message, none: bool, descriptors: Vec<OwnedFd>) -> Result<Option<OwnedFd>, Fault> {
    match (none, <[OwnedFd; 1]>::try_from(descriptors)) {
        (true, _) => Ok(None),
        (false, Ok([descriptor])) => Ok(Some(descriptor)),
        (false, Err(_)) => Err(Fault::NoDescriptor(message)),
    }
}

#[cfg(test)]
mod tests;
