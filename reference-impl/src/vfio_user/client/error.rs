//! Why a command was not carried out.

use std::fmt;

use devmig_model::protocol::vfio_user::{
    CapabilitiesError, Command, Flags, Header, Kind, WireError,
};
use rustix::io::Errno;

use crate::socket::transport::{ConnectError, ReceiveError, SendError};

/// The number in an error reply: any number at all, since it is the server's. 0 says that it gives none,
/// which it may.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ErrorNumber(pub u32);

impl ErrorNumber {
    /// The largest that is an errno of UNIX.
    const LAST: u32 = 4095;

    /// Whether the server gives a number.
    #[must_use]
    pub const fn is_given(self) -> bool {
        self.0 != 0
    }

    /// Whether it is an errno, or none.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.0 <= Self::LAST
    }
}

impl From<Errno> for ErrorNumber {
    fn from(errno: Errno) -> Self {
        ErrorNumber(errno.raw_os_error().unsigned_abs())
    }
}

impl PartialEq<Errno> for ErrorNumber {
    fn eq(&self, errno: &Errno) -> bool {
        *self == ErrorNumber::from(*errno)
    }
}

impl fmt::Display for ErrorNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ErrorNumber(0) => f.write_str("no error number is given"),
            ErrorNumber(number) if self.is_valid() => {
                std::io::Error::from_raw_os_error(number.cast_signed()).fmt(f)
            }
            ErrorNumber(number) => write!(f, "error {number:#x}, which is not an errno"),
        }
    }
}

/// Why a command was not carried out, or nobody knows whether it was.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server does not take the command.
    #[error(transparent)]
    Send(#[from] SendError),
    /// No reply came.
    #[error("no reply to {command}: {error}")]
    Receive {
        /// To what.
        command: Command,
        /// Why.
        error: Box<ReceiveError<Header>>,
    },
    /// The server says no, which it may.
    #[error("{command} is refused: {number}")]
    Refused {
        /// What.
        command: Command,
        /// Why.
        number: ErrorNumber,
    },
    /// Something came that is not the reply to what was asked.
    #[error("the reply to {command} has {}", match flags.kind() {
        Kind::Undefined(kind) => format!("the type {kind}"),
        Kind::Command => "the type command, and descriptors or too many others before it".into(),
        Kind::Reply if *number != command.number() => format!("the command number {number}"),
        Kind::Reply => "another message id".into(),
    })]
    Unexpected {
        /// What was asked.
        command: Command,
        /// The command that came.
        number: u16,
        /// The flags that came.
        flags: Flags,
    },
    /// A message came that is neither a reply to a command nor a command.
    #[error("a message came that no command asked for: command number {number}, {flags:?}")]
    Unasked {
        /// The command that came.
        number: u16,
        /// The flags that came.
        flags: Flags,
    },
    /// The reply's payload is none of this command's.
    #[error("the reply to {command} makes no sense: {error}")]
    Payload {
        /// To what.
        command: Command,
        /// Why.
        error: WireError,
    },
    /// A reply says that the command failed, and has more than its header.
    #[error("the reply to {command} says that it failed, and has a payload or descriptors")]
    ErrorAndMore {
        /// To what.
        command: Command,
    },
    /// The reply contradicts the command, or itself.
    #[error("the reply to {command} does not fit it: {what}")]
    Contradiction {
        /// To what.
        command: Command,
        /// What does not fit.
        what: &'static str,
    },
    /// The capabilities make no sense.
    #[error(transparent)]
    Capabilities(#[from] CapabilitiesError),
    /// Descriptors came that nobody asked for, or not those that were promised.
    #[error("{got} descriptors came with the reply to {command}")]
    Descriptors {
        /// With the reply to what.
        command: Command,
        /// How many.
        got: usize,
    },
    /// The client was asked for more than a message holds.
    #[error("{0} bytes are more than a message holds")]
    TooLong(usize),
    /// The server said in its VERSION that it does not take this much.
    #[error("{command} with {what} is more than the server takes")]
    Limit {
        /// What was to be sent.
        command: Command,
        /// What is too much of it.
        what: &'static str,
    },
    /// An earlier error has ended the conversation.
    #[error("the conversation has ended by an earlier error")]
    Over,
}

impl ClientError {
    /// The number by which the server refused, if that is what it did.
    #[must_use]
    pub fn number(&self) -> Option<ErrorNumber> {
        match self {
            ClientError::Refused { number, .. } => Some(*number),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_a_server_has_a_text() {
        let said = |number| ErrorNumber(number).to_string();
        assert_eq!(said(0), "no error number is given");
        assert_eq!(said(17), "File exists (os error 17)");
        assert_eq!(ErrorNumber(17), Errno::EXIST);
        for number in [1, 4095, 4096, 0x1000, 0x1011, 0xffff, 0x8000_0000, u32::MAX] {
            assert_eq!(said(number).contains("not an errno"), number > 4095, "{number}");
        }
    }
}
