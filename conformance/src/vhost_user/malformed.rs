//! Malformed messages: bytes that no front-end should send.
//!
//! The text says that a back-end *may* close the connection, and no more. So after one of these
//! nothing is judged but this: the back-end ends the conversation or goes on with it, and serves
//! the next one. Bytes only; what follows is the session's.

use devmig_model::protocol::vhost_user::wire::{Flags, Header, Payload, VringAddr, VringState};

macro_rules! malformed {
    ($($variant:ident $name:literal $what:literal,)+) => {
        /// A way to be malformed.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Malformed {
            $(#[doc = $what] $variant,)+
        }

        impl Malformed {
            /// All of them: name, meaning, value.
            pub const ALL: &'static [(&'static str, &'static str, Malformed)] =
                &[$(($name, $what, Malformed::$variant),)+];
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
    EmptyMemory "empty-memory" "a memory table of 200 regions in 8 bytes",
}

/// What goes out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bytes {
    /// The bytes, header included.
    pub bytes: Vec<u8>,
    /// How many descriptors go along.
    pub descriptors: usize,
}

/// A ring that no device has.
const NO_RING: u32 = 200;

impl Malformed {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(n, ..)| *n == name).map(|(.., value)| *value)
    }

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
            Malformed::EmptyMemory => message(id("SET_MEM_TABLE"), plain, &200u64.to_ne_bytes()),
        };
        Bytes { bytes, descriptors }
    }
}
