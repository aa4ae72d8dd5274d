//! Malformed messages: bytes that no front-end should send.
//!
//! The text says that a back-end *may* close the connection, and no more. So after one of these
//! nothing is judged but this: the back-end ends the conversation or goes on with it, and serves
//! the next one. Bytes only; what follows is the session's.

use devmig_model::protocol::vhost_user::wire::{Flags, Header, Payload, VringAddr, VringState};

use crate::harness::steps::Named;

macro_rules! malformed {
    ($($variant:ident $name:literal $what:literal,)+) => {
        /// A way to be malformed.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Malformed {
            $(#[doc = $what] $variant,)+
        }

        impl Named for Malformed {
            const WHAT: &'static str = "malformed message";
            const NAMES: &'static [(&'static str, Self)] = &[$(($name, Malformed::$variant),)+];
        }
    };
}

malformed! {
    UnknownMessage "unknown-message" "an undefined request code",
    UnknownAcknowledged "unknown-message-need-reply" "an undefined request code with need_reply",
    ShortPayload "short-payload" "SET_VRING_NUM with half its payload",
    LongPayload "long-payload" "SET_OWNER with a payload",
    HugeSize "huge-size" "a header that announces 4 GiB",
    HalfHeader "half-header" "six bytes of a header, then nothing",
    Version "version-2" "a header of another version",
    ReplyFlag "reply-flag" "a request with the reply flag",
    RingIndex "ring-index" "SET_VRING_NUM for ring 200",
    BaseOfNoRing "base-of-no-ring" "GET_VRING_BASE for ring 200",
    RingSize "ring-size" "SET_VRING_NUM with 3, which is not a power of two",
    Address "address" "SET_VRING_ADDR outside guest memory",
    NoDescriptor "no-descriptor" "SET_VRING_KICK without the descriptor that it promises",
    ManyDescriptors "many-descriptors" "SET_OWNER with 32 descriptors",
    ShortAcknowledged "short-payload-need-reply" "SET_VRING_NUM with half its payload and need_reply",
    NoRingAcknowledged "ring-index-need-reply" "SET_VRING_NUM for ring 65535 with need_reply",
    TransferNow "transfer" "SET_DEVICE_STATE_FD with a channel, whether or not the device is suspended",
    TransferPhase "transfer-phase" "SET_DEVICE_STATE_FD in a phase that is not defined",
    TransferDirection "transfer-direction" "SET_DEVICE_STATE_FD in a direction that is not defined",
    CheckNow "check" "CHECK_DEVICE_STATE, whether or not a transfer has ended",
    CheckAgain "check-again" "CHECK_DEVICE_STATE once more, after it has reported success",
    CheckFailedAgain "check-failed-again" "CHECK_DEVICE_STATE once more, after it has reported a failure",
    EmptyMemory "empty-memory" "a memory table of 200 regions in 8 bytes",
}

/// What goes out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bytes {
    /// The bytes, header included.
    pub bytes: Vec<u8>,
    /// How many descriptors go along.
    pub descriptors: usize,
    /// A channel for device state goes along.
    pub channel: bool,
    /// What no back-end can say in its reply: that it has done what it cannot do, or the contrary of what it
    /// has said before.
    pub senseless: Option<Claim>,
}

/// What a reply says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// An acknowledgement of 0.
    Acknowledged,
    /// The transfer has begun: the lower eight bits are 0.
    Transfer,
    /// The transfer has succeeded: it is 0.
    Succeeded,
    /// The transfer has failed: it is another number.
    Failed,
}

impl Claim {
    /// Whether a reply says it; one that is too long says what its beginning says.
    #[must_use]
    pub fn is_said_by(self, payload: &[u8]) -> bool {
        let Some(number) = payload.first_chunk().copied().map(u64::from_ne_bytes) else {
            return false;
        };
        match self {
            Claim::Acknowledged | Claim::Succeeded => number == 0,
            Claim::Transfer => number & 0xff == 0,
            Claim::Failed => number != 0,
        }
    }
}

/// A ring beyond what any back-end can have: some make a ring when it is first named, up to 256.
const BEYOND: u32 = 65535;

/// A ring that no device has.
const NO_RING: u32 = 200;

impl Malformed {
    /// Its bytes. `id` gives a message's number by its name.
    #[must_use]
    pub fn bytes(self, id: impl Fn(&str) -> u32) -> Bytes {
        let message = |request, flags, payload: &[u8]| {
            let header = Header { request, flags, size: payload.len() as u32 };
            [&header.encode()[..], payload].concat()
        };
        let plain = Flags::request();
        let state = |index, num| Payload::VringState(VringState { index, num }).encode();
        let nowhere = VringAddr {
            index: 0,
            flags: 0,
            descriptor: u64::MAX - 0xfff,
            used: u64::MAX - 0xfff,
            available: u64::MAX - 0xfff,
            log: 0,
        };
        let descriptors = if self == Malformed::ManyDescriptors { 32 } else { 0 };
        let bytes = match self {
            Malformed::UnknownMessage => message(9999, plain, &[]),
            Malformed::UnknownAcknowledged => message(9999, plain.with_need_reply(), &[]),
            Malformed::ShortPayload => message(id("SET_VRING_NUM"), plain, &[0; 4]),
            Malformed::LongPayload => message(id("SET_OWNER"), plain, &[0; 16]),
            Malformed::HugeSize => {
                let header = Header { request: id("SET_FEATURES"), flags: plain, size: u32::MAX };
                header.encode().to_vec()
            }
            Malformed::HalfHeader => message(id("GET_FEATURES"), plain, &[])[..6].to_vec(),
            Malformed::Version => message(id("GET_FEATURES"), Flags::from_bits(2), &[]),
            Malformed::ReplyFlag => message(id("GET_FEATURES"), Flags::reply(), &[]),
            Malformed::RingIndex => message(id("SET_VRING_NUM"), plain, &state(NO_RING, 8)),
            Malformed::BaseOfNoRing => message(id("GET_VRING_BASE"), plain, &state(NO_RING, 0)),
            Malformed::RingSize => message(id("SET_VRING_NUM"), plain, &state(0, 3)),
            Malformed::Address => {
                message(id("SET_VRING_ADDR"), plain, &Payload::VringAddr(nowhere).encode())
            }
            Malformed::NoDescriptor => message(id("SET_VRING_KICK"), plain, &[0; 8]),
            Malformed::ManyDescriptors => message(id("SET_OWNER"), plain, &[]),
            Malformed::ShortAcknowledged => {
                message(id("SET_VRING_NUM"), plain.with_need_reply(), &[0; 4])
            }
            Malformed::NoRingAcknowledged => {
                message(id("SET_VRING_NUM"), plain.with_need_reply(), &state(BEYOND, 8))
            }
            Malformed::TransferNow => message(id("SET_DEVICE_STATE_FD"), plain, &[0; 8]),
            Malformed::TransferPhase => {
                message(id("SET_DEVICE_STATE_FD"), plain, &[0, 0, 0, 0, 7, 0, 0, 0])
            }
            Malformed::TransferDirection => {
                message(id("SET_DEVICE_STATE_FD"), plain, &[9, 0, 0, 0, 0, 0, 0, 0])
            }
            Malformed::CheckNow | Malformed::CheckAgain | Malformed::CheckFailedAgain => {
                message(id("CHECK_DEVICE_STATE"), plain, &[])
            }
            Malformed::EmptyMemory => message(id("SET_MEM_TABLE"), plain, &200u64.to_ne_bytes()),
        };
        let senseless = match self {
            Malformed::UnknownAcknowledged
            | Malformed::ShortAcknowledged
            | Malformed::NoRingAcknowledged => Some(Claim::Acknowledged),
            Malformed::TransferPhase | Malformed::TransferDirection => Some(Claim::Transfer),
            Malformed::CheckAgain => Some(Claim::Failed),
            Malformed::CheckFailedAgain => Some(Claim::Succeeded),
            _ => None,
        };
        let channel = matches!(
            self,
            Malformed::TransferNow | Malformed::TransferPhase | Malformed::TransferDirection
        );
        Bytes { bytes, descriptors, channel, senseless }
    }
}
