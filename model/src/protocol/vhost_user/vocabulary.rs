//! The words of the message table: guards, effects and answers. No expressions, no ifs.
//!
//! A row says *when* it is read, what happens on *receive*, when the back-end is *ready* to answer,
//! and what happens on *reply*. Each word is one line here: its name, its meaning (shown by
//! `devmig proposal words`), and what it does. Where an idea wants an effect of its own, this is the
//! place to add it.
//!
//! **Invariant.** A word looks at nothing but the state and the message.

use super::event::{Message, Value};
use super::state::{State, Transfer};

/// A word of the table, with its meaning.
pub trait Word: Sized + Copy + 'static {
    /// All words: name, meaning, value.
    const ALL: &'static [(&'static str, &'static str, Self)];

    /// The word of this name.
    fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(n, _, _)| *n == name).map(|(_, _, word)| *word)
    }
}

macro_rules! words {
    ($(#[$meta:meta])* $type:ident { $($variant:ident $name:literal $meaning:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $type {
            $(#[doc = $meaning] $variant,)+
        }

        impl Word for $type {
            const ALL: &'static [(&'static str, &'static str, Self)] =
                &[$(($name, $meaning, $type::$variant),)+];
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $($type::$variant => $name,)+ })
            }
        }
    };
}

words! {
    /// What must hold for a row to apply (`when`), or for an answer to be due (`ready`).
    /// `not WORD` is its negation.
    Guard {
        Started "started" "the named ring is started",
        Parked "parked" "GET_VRING_BASE stopped the named ring, and its kick descriptor was not set since",
        Enabled "enabled" "the named ring is enabled",
        Idle "idle" "the named ring has no in-flight requests",
        AllStopped "all-stopped" "every ring is stopped",
        AllIdle "all-idle" "no ring has in-flight requests",
        Suspended "suspended" "SUSPEND was read, and not yet RESUME",
        Halted "halted" "no ring is started or can be started by a kick, or the device is suspended",
        Owned "owned" "SET_OWNER was read",
        Zero "zero" "the message's number is 0",
        Mtu "mtu" "the number is a possible MTU: at least 68",
        Save "save" "the transfer's direction is save (0)",
        PhaseStopped "phase-stopped" "the transfer's phase is stopped (0)",
        Offered "offered" "all acknowledged features were offered",
        ProtocolOffered "protocol-offered" "all acknowledged protocol features were offered",
        Bit30 "bit-30" "the number has bit 30 (VHOST_USER_F_PROTOCOL_FEATURES)",
        Bit30Offered "bit-30-offered" "bit 30 was offered by GET_FEATURES",
        Bit30Acknowledged "bit-30-acknowledged" "bit 30 was acknowledged by SET_FEATURES",
        InBandAlone "in-band-alone" "the number has INBAND_NOTIFICATIONS (bit 14) without BACKEND_REQ (5) and REPLY_ACK (3)",
        SkipDrainAlone "skip-drain-alone" "the number has GET_VRING_BASE_INFLIGHT (bit 20) without INFLIGHT_SHMFD (12)",
        NoDescriptor "no-descriptor" "bit 8 says that the message has no descriptor",
        Born "born" "some ring was started before",
        Flag "flag" "the message's number is 0 or 1",
        Mapped "mapped" "a memory region is known",
        SlotsFull "slots-full" "as many memory regions are known as the reply to GET_MAX_MEM_SLOTS allows",
        Transferring "transferring" "a state transfer is in progress",
        Transferred "transferred" "a state transfer has ended",
        InFlightKept "in-flight-kept" "GET_VRING_BASE_INFLIGHT was negotiated, and the back-end has an in-flight buffer",
        Logged "logged" "there is a dirty log",
        SuspendBit "suspend-bit" "the message's number has bit 4, SUSPEND of the virtio status",
        DriverOkBit "driver-ok-bit" "the message's number has bit 2, DRIVER_OK of the virtio status",
        DriverOk "driver-ok" "the virtio status has DRIVER_OK",
        NeedsReset "needs-reset" "the virtio status has DEVICE_NEEDS_RESET",
    }
}

impl Guard {
    /// Whether it holds.
    #[must_use]
    pub fn holds<const R: usize>(self, s: &State<R>, m: &Message) -> bool {
        let ring = &s.rings[m.ring as usize];
        match self {
            Guard::Started => ring.started,
            Guard::Parked => ring.kick_fd_stale,
            Guard::Enabled => ring.enabled,
            Guard::Idle => ring.open == 0,
            Guard::AllStopped => s.all_stopped(),
            Guard::AllIdle => s.rings.iter().all(|r| r.open == 0),
            Guard::Suspended => s.suspended,
            Guard::Halted => s.suspended || s.rings.iter().all(super::state::Ring::halted),
            Guard::Owned => s.owned,
            Guard::Zero => m.value.0 == 0,
            Guard::Mtu => m.value.0 >= 68,
            Guard::Save => m.value.0 & 0xffff_ffff == 0,
            Guard::PhaseStopped => m.value.0 >> 32 == 0,
            Guard::Offered => m.value.0 & !s.offered.0 == 0,
            Guard::ProtocolOffered => m.value.0 & !s.protocol_offered.0 == 0,
            Guard::Bit30 => m.value.0 >> 30 & 1 == 1,
            Guard::Bit30Offered => s.offered.0 >> 30 & 1 == 1,
            Guard::Bit30Acknowledged => s.features.0 >> 30 & 1 == 1,
            Guard::InBandAlone => {
                let bit = |bit: u32| m.value.0 >> bit & 1 == 1;
                bit(14) && !(bit(3) && bit(5))
            }
            Guard::SkipDrainAlone => m.value.0 >> 20 & 1 == 1 && m.value.0 >> 12 & 1 == 0,
            Guard::NoDescriptor => m.value.0 & NO_DESCRIPTOR != 0,
            Guard::Born => s.ever_started,
            Guard::Flag => m.value.0 <= 1,
            Guard::Mapped => s.regions > 0,
            Guard::SlotsFull => s.slots > 0 && s.regions >= s.slots,
            Guard::Transferring => s.transfer.is_saving() || s.transfer.is_loading(),
            Guard::Transferred => s.transfer.has_ended(),
            Guard::InFlightKept => s.in_flight && s.protocol.0 >> BASE_IN_FLIGHT & 1 == 1,
            Guard::Logged => s.log != 0,
            Guard::SuspendBit => m.value.0 & SUSPEND != 0,
            Guard::DriverOkBit => m.value.0 & DRIVER_OK != 0,
            Guard::DriverOk => u64::from(s.status) & DRIVER_OK != 0,
            Guard::NeedsReset => u64::from(s.status) & NEEDS_RESET != 0,
        }
    }
}

words! {
    /// What a message does when it is read (`receive`) or answered (`reply`).
    Effect {
        Own "own" "take ownership of the session",
        SetFeatures "set-features" "set the acknowledged features to the number",
        SetProtocolFeatures "set-protocol-features" "set the acknowledged protocol features to the number",
        Expel "expel" "close the connection",
        SetMemory "set-memory" "set the number of memory regions to the number",
        AddRegion "add-region" "add a memory region",
        SetSize "set-size" "set the ring's size to the number",
        SetBase "set-base" "set the ring's next available index to the number",
        SetAddresses "set-addresses" "set the ring's addresses",
        SetKick "set-kick" "set the ring's kick descriptor, or remove it if bit 8 says so",
        SetCall "set-call" "set the ring's call descriptor, or remove it if bit 8 says so",
        SetErr "set-err" "set the ring's err descriptor, or remove it if bit 8 says so",
        SetChannel "set-channel" "set the back-end channel",
        RemoveRegion "remove-region" "remove a memory region",
        UnsetKicks "unset-kicks" "remove all kick descriptors: no ring starts until a new one is set",
        ForgetKick "forget-kick" "discard a kick that was written before",
        SetEnabled "set-enabled" "enable the ring if the number is 1, disable it if 0",
        EnableAll "enable-all" "enable every ring",
        DisableAll "disable-all" "disable every ring",
        Start "start" "start the ring",
        StartAll "start-all" "start every ring",
        Stop "stop" "stop the ring",
        Park "park" "a choice decides whether the ring's old kick descriptor can start it again",
        StopAll "stop-all" "stop every ring",
        StopAndDrain "stop-and-drain" "stop the ring; the reply waits until its in-flight requests are complete",
        StopAndDrainAll "stop-and-drain-all" "stop every ring; the reply waits until no ring has in-flight requests",
        Abandon "abandon" "drop the ring's in-flight requests",
        AbandonAll "abandon-all" "drop the in-flight requests of every ring",
        LeaveOnRecord "leave-on-record" "drop the ring's in-flight requests, but keep them in the in-flight buffer",
        Rewind "rewind" "set the ring's base back to the oldest in-flight request, which is fetched again",
        SetStatus "set-status" "set the virtio status to the number",
        ResetState "reset-state" "reset the internal state of the device, and set the virtio status to 0",
        ResetRing "reset-ring" "stop the ring, and discard its size, addresses, base and descriptors; it is disabled",
        ResetRings "reset-rings" "discard ring sizes, addresses and bases",
        Suspend "suspend" "suspend the device",
        Resume "resume" "resume the device",
        Defer "defer" "defer status 0 until RESUME",
        ApplyDeferred "apply-deferred" "apply a deferred status 0: reset the device, stop and disable its rings, remove their kick descriptors",
        BeginTransfer "begin-transfer" "begin a state transfer in the direction that the number says",
        BeginSave "begin-save" "begin a state transfer: the back-end writes its state",
        BeginLoad "begin-load" "begin a state transfer: the front-end writes a state",
        WithRings "with-rings" "the state that is transferred includes each ring's base, whether it is enabled, and whether it was kicked",
        EndTransfer "end-transfer" "end the state transfer",
        NewInFlight "new-in-flight" "create a new, empty in-flight buffer",
        SetInFlight "set-in-flight" "record in-flight requests in the buffer from now on",
        ForgetSlot0 "forget-slot-0" "a bug: discard the record of slot 0",
        SetLog "set-log" "set the dirty log to the one that the number names, 1 for the first",
        SetLogFlag "set-log-flag" "log writes to the ring's used ring if bit 0 is set",
        BeginSuspend "begin-suspend" "fetch no more requests; when in-flight requests are complete, suspend the device: set SUSPEND in the status, and clear DRIVER_OK",
        SetRunning "set-running" "set the virtio status to the number without SUSPEND",
        NeedReset "need-reset" "set DEVICE_NEEDS_RESET in the virtio status",
    }
}

/// The bit of GET_VRING_BASE_INFLIGHT.
const BASE_IN_FLIGHT: u8 = 20;
/// DRIVER_OK of the virtio status.
pub const DRIVER_OK: u64 = 4;
/// SUSPEND of the virtio status, since virtio 1.4.
pub const SUSPEND: u64 = 16;
/// DEVICE_NEEDS_RESET of the virtio status.
pub const NEEDS_RESET: u64 = 64;
/// Bit 0 of a ring's flags: writes to the used ring are logged.
const RING_LOG: u64 = 1;
/// Bit 8 of a descriptor message: no descriptor came with it.
const NO_DESCRIPTOR: u64 = 1 << 8;

impl Effect {
    /// Does it.
    pub fn apply<const R: usize>(self, s: &mut State<R>, m: &Message) {
        let ring = &mut s.rings[m.ring as usize];
        match self {
            Effect::Own => s.owned = true,
            Effect::SetFeatures => s.features = m.value,
            Effect::SetProtocolFeatures => s.protocol = m.value,
            Effect::Expel => s.must_disconnect = true,
            Effect::SetMemory => s.regions = m.value.0 as u16,
            Effect::AddRegion => s.regions += 1,
            Effect::SetSize => ring.size = m.value.0 as u16,
            Effect::SetBase => ring.base = m.value.0 as u16,
            Effect::SetAddresses => ring.addressed = true,
            Effect::SetKick => {
                ring.kick_set = m.value.0 & NO_DESCRIPTOR == 0;
                ring.kick_fd_stale = false;
            }
            Effect::SetCall => {
                ring.call_set = m.value.0 & NO_DESCRIPTOR == 0;
                ring.call_polled = !ring.call_set;
                ring.call_fresh = ring.call_set;
            }
            Effect::SetErr => ring.err_set = m.value.0 & NO_DESCRIPTOR == 0,
            Effect::SetChannel => s.channel = true,
            Effect::RemoveRegion => s.regions = s.regions.saturating_sub(1),
            Effect::UnsetKicks => s.rings.iter_mut().for_each(|r| r.kick_set = false),
            Effect::ForgetKick => ring.kicked = false,
            Effect::SetEnabled => ring.enabled = m.value.0 != 0,
            Effect::EnableAll => s.rings.iter_mut().for_each(|r| r.enabled = true),
            Effect::DisableAll => s.rings.iter_mut().for_each(|r| r.enabled = false),
            Effect::Start => {
                ring.kick_fd_stale = false;
                s.start(m.ring as usize);
            }
            Effect::StartAll => {
                for index in 0..R {
                    s.rings[index].kick_fd_stale = false;
                    s.start(index);
                }
            }
            Effect::Stop | Effect::StopAndDrain => ring.started = false,
            Effect::Park => ring.kick_fd_stale = true,
            Effect::SetLogFlag => ring.log_used = m.value.0 & RING_LOG != 0,
            Effect::StopAll | Effect::StopAndDrainAll => {
                s.rings.iter_mut().for_each(|r| r.started = false);
            }
            Effect::Abandon => {
                ring.recorded &= !ring.open;
                ring.open = 0;
            }
            Effect::LeaveOnRecord => ring.open = 0,
            Effect::AbandonAll => s.rings.iter_mut().for_each(|r| r.open = 0),
            Effect::Rewind => {
                ring.base = ring.oldest_open();
                ring.recorded &= !ring.open;
                ring.open = 0;
            }
            Effect::SetStatus => s.status = m.value.0 as u8,
            Effect::ResetState => {
                s.internal = 0;
                s.status = 0;
            }
            Effect::ResetRing => {
                (ring.size, ring.base, ring.addressed, ring.started) = (0, 0, false, false);
                (ring.kick_set, ring.call_set, ring.enabled) = (false, false, false);
            }
            Effect::ResetRings => {
                for r in &mut s.rings {
                    (r.size, r.base, r.addressed, r.kick_set) = (0, 0, false, false);
                }
            }
            Effect::Suspend => s.suspended = true,
            Effect::Resume => (s.suspended, s.suspending) = (false, false),
            Effect::Defer => s.deferred = true,
            Effect::ApplyDeferred if s.deferred => {
                s.deferred = false;
                for effect in [
                    Self::ResetState,
                    Self::StopAll,
                    Self::UnsetKicks,
                    Self::AbandonAll,
                    Self::DisableAll,
                ] {
                    effect.apply(s, m);
                }
            }
            Effect::ApplyDeferred => {}
            Effect::BeginTransfer if Guard::Save.holds(s, m) => s.transfer = Transfer::Saving,
            Effect::BeginTransfer | Effect::BeginLoad => s.transfer = Transfer::Loading,
            Effect::BeginSave => s.transfer = Transfer::Saving,
            Effect::WithRings if s.transfer.is_saving() => s.transfer = Transfer::SavingRings,
            Effect::WithRings if s.transfer.is_loading() => s.transfer = Transfer::LoadingRings,
            Effect::WithRings => {}
            Effect::EndTransfer => s.transfer = Transfer::None,
            Effect::NewInFlight => {
                s.rings.iter_mut().for_each(|r| (r.recorded, r.batch) = (0, 0));
                s.in_flight = false;
            }
            Effect::SetInFlight => s.in_flight = true,
            Effect::ForgetSlot0 => s.rings.iter_mut().for_each(|r| r.recorded &= !1),
            Effect::SetLog => s.log = m.value.0 as u8,
            Effect::BeginSuspend => s.suspending = true,
            Effect::SetRunning => s.status = (m.value.0 & !SUSPEND) as u8,
            Effect::NeedReset => s.status |= NEEDS_RESET as u8,
        }
    }

    /// Whether it begins a state transfer.
    #[must_use]
    pub fn begins_transfer(self) -> bool {
        matches!(self, Effect::BeginTransfer | Effect::BeginSave | Effect::BeginLoad)
    }
}

words! {
    /// What an answer carries, and so how its number is judged.
    Answer {
        Features "features" "the features that the back-end offers",
        ProtocolFeatures "protocol-features" "the protocol features that the back-end offers",
        Number "number" "a number that only the back-end knows",
        Slots "slots" "the number of memory regions that the back-end supports",
        Base "base" "the ring's next available index",
        Status "status" "the virtio device status",
        Transfer "transfer" "bits 0-7 an error or 0, bit 8 set if the reply has no descriptor",
        Check "check" "0 if the state was transferred successfully, otherwise not 0",
        Config "config" "the requested bytes of configuration space, or none for an error",
        Descriptor "descriptor" "a descriptor, or none for an error",
        Session "session" "the id of a session, negative for failure",
        Ack "ack" "0 for success, otherwise not 0",
        Log "log" "acknowledges the dirty log: a number, the request, or nothing (a choice)",
        InFlight "in-flight" "the size and place of an in-flight buffer, with its descriptor",
    }
}

impl Answer {
    /// The number that the state demands, or `None` if any is right.
    #[must_use]
    pub fn demanded<const R: usize>(self, s: &State<R>, m: &Message) -> Option<Value> {
        match self {
            Answer::Base => Some(Value(u64::from(s.rings[m.ring as usize].base))),
            Answer::Status => Some(Value(u64::from(s.status))),
            _ => None,
        }
    }

    /// Whether this number says that the back-end has done what it was asked: a refusal has no
    /// further effects.
    #[must_use]
    pub fn succeeds(self, value: Value) -> bool {
        match self {
            Answer::Transfer => value.0 & 0xff == 0,
            Answer::Check | Answer::Ack => value.0 == 0,
            _ => true,
        }
    }
}

words! {
    /// What a message of the back-end's own stands for: the first two take the place of a descriptor.
    Signal {
        Call "call" "a request was completed, as the call descriptor would signal",
        Error "error" "an error occurred, as the err descriptor would signal",
        Config "config" "the configuration space has changed",
    }
}
