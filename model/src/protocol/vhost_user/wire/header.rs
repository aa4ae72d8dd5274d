//! The twelve bytes in front of every message.

use std::fmt;

use serde::Serialize;

/// The flags of a message, with the bits that nobody has defined kept as they came.
///
/// ```text
///   31 ............ 4   3            2       1 0
///   undefined           need_reply   reply   version
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Flags(u32);

impl Flags {
    /// The only version there is.
    pub const VERSION: u32 = 1;

    const VERSION_MASK: u32 = 0b11;
    const REPLY: u32 = 1 << 2;
    const NEED_REPLY: u32 = 1 << 3;

    /// A request of the current version that asks for no acknowledgement.
    #[must_use]
    pub const fn request() -> Self {
        Flags(Self::VERSION)
    }

    /// An answer of the current version.
    #[must_use]
    pub const fn reply() -> Self {
        Flags(Self::VERSION | Self::REPLY)
    }

    /// The flags in this word, whatever they are.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Flags(bits)
    }

    /// The word as sent.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The same, asking for an acknowledgement (protocol feature `REPLY_ACK`).
    #[must_use]
    pub const fn with_need_reply(self) -> Self {
        Flags(self.0 | Self::NEED_REPLY)
    }

    /// The version, 0 to 3.
    #[must_use]
    pub const fn version(self) -> u32 {
        self.0 & Self::VERSION_MASK
    }

    /// Whether this is an answer.
    #[must_use]
    pub const fn is_reply(self) -> bool {
        self.0 & Self::REPLY != 0
    }

    /// Whether an acknowledgement is asked for.
    #[must_use]
    pub const fn need_reply(self) -> bool {
        self.0 & Self::NEED_REPLY != 0
    }

    /// The bits that the text does not define, in place.
    #[must_use]
    pub const fn undefined(self) -> u32 {
        self.0 & !(Self::VERSION_MASK | Self::REPLY | Self::NEED_REPLY)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.version())?;
        if self.is_reply() {
            f.write_str("|reply")?;
        }
        if self.need_reply() {
            f.write_str("|need_reply")?;
        }
        if self.undefined() != 0 {
            write!(f, "|{:#x}", self.undefined())?;
        }
        Ok(())
    }
}

/// What precedes a payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Header {
    /// The message's id.
    pub request: u32,
    /// Version, direction, and whether an acknowledgement is asked for.
    pub flags: Flags,
    /// Length of the payload in bytes, as announced: any value, not bounded here.
    pub size: u32,
}

impl Header {
    /// Length in bytes.
    pub const LEN: usize = 12;

    /// The meaning of these bytes. All bytes have one.
    #[must_use]
    pub const fn decode(bytes: [u8; Self::LEN]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Header {
            request: u32::from_ne_bytes([a, b, c, d]),
            flags: Flags(u32::from_ne_bytes([e, f, g, h])),
            size: u32::from_ne_bytes([i, j, k, l]),
        }
    }

    /// The bytes as sent.
    #[must_use]
    pub const fn encode(self) -> [u8; Self::LEN] {
        let [a, b, c, d] = self.request.to_ne_bytes();
        let [e, f, g, h] = self.flags.0.to_ne_bytes();
        let [i, j, k, l] = self.size.to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}
