//! The sixteen bytes in front of every message.

use std::fmt;

use serde::Serialize;

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A command.
    Command,
    /// The answer to one.
    Reply,
    /// A type that the text does not define.
    Undefined(u8),
}

/// The flags of a message, with the bits that nobody has defined kept as they came.
///
/// ```text
///   31 ............ 6   5       4          3 .. 0
///   undefined           error   no_reply   type
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Flags(u32);

impl Flags {
    const TYPE: u32 = 0xf;
    const NO_REPLY: u32 = 1 << 4;
    const ERROR: u32 = 1 << 5;

    /// A command that wants a reply.
    #[must_use]
    pub const fn command() -> Self {
        Flags(0)
    }

    /// A command that wants none.
    #[must_use]
    pub const fn no_reply() -> Self {
        Flags(Self::NO_REPLY)
    }

    /// A reply to a command that was carried out.
    #[must_use]
    pub const fn reply() -> Self {
        Flags(1)
    }

    /// A reply to a command that failed.
    #[must_use]
    pub const fn error() -> Self {
        Flags(1 | Self::ERROR)
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

    /// What the message is.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self.0 & Self::TYPE {
            0 => Kind::Command,
            1 => Kind::Reply,
            other => Kind::Undefined(other as u8),
        }
    }

    /// Whether the sender of a command wants no reply.
    #[must_use]
    pub const fn wants_no_reply(self) -> bool {
        self.0 & Self::NO_REPLY != 0
    }

    /// Whether a reply says that its command failed.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.0 & Self::ERROR != 0
    }

    /// The bits that the text does not define, in place.
    #[must_use]
    pub const fn undefined(self) -> u32 {
        self.0 & !(Self::TYPE | Self::NO_REPLY | Self::ERROR)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            Kind::Command => f.write_str("command")?,
            Kind::Reply => f.write_str("reply")?,
            Kind::Undefined(kind) => write!(f, "type {kind}")?,
        }
        if self.wants_no_reply() {
            f.write_str("|no_reply")?;
        }
        if self.is_error() {
            f.write_str("|error")?;
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
    /// The sender's name for a command, echoed in its reply.
    pub id: u16,
    /// The command's number.
    pub command: u16,
    /// Length of the message in bytes, with these sixteen: any value, not bounded here.
    pub size: u32,
    /// Command or reply, and how it went.
    pub flags: Flags,
    /// In a reply that says so, an errno or 0; reserved otherwise.
    pub error: u32,
}

impl Header {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// The meaning of these bytes. All bytes have one.
    #[must_use]
    pub const fn decode(bytes: [u8; Self::LEN]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Header {
            id: u16::from_ne_bytes([a, b]),
            command: u16::from_ne_bytes([c, d]),
            size: u32::from_ne_bytes([e, f, g, h]),
            flags: Flags(u32::from_ne_bytes([i, j, k, l])),
            error: u32::from_ne_bytes([m, n, o, p]),
        }
    }

    /// The bytes as sent.
    #[must_use]
    pub const fn encode(self) -> [u8; Self::LEN] {
        let [a, b] = self.id.to_ne_bytes();
        let [c, d] = self.command.to_ne_bytes();
        let [e, f, g, h] = self.size.to_ne_bytes();
        let [i, j, k, l] = self.flags.0.to_ne_bytes();
        let [m, n, o, p] = self.error.to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// A header for a payload of this length.
    #[must_use]
    pub const fn new(id: u16, command: u16, flags: Flags, payload: usize) -> Self {
        let size = payload.saturating_add(Self::LEN);
        let size = if size > u32::MAX as usize { u32::MAX } else { size as u32 };
        Header { id, command, size, flags, error: 0 }
    }

    /// The header of a reply that says that this command failed: nothing follows it.
    #[must_use]
    pub const fn failed(self, errno: u32) -> Self {
        let header = Header::new(self.id, self.command, Flags::error(), 0);
        Header { error: errno, ..header }
    }

    /// The payload's length in bytes, or `None` if the size is less than a header's.
    #[must_use]
    pub const fn payload(self) -> Option<usize> {
        (self.size as usize).checked_sub(Self::LEN)
    }
}
