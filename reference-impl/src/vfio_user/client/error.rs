//! Why a command was not carried out.

use devmig_model::protocol::vfio_user::{CapabilitiesError, Command, Flags, Header, WireError};
use rustix::io::Errno;

use crate::socket::transport::{ConnectError, ReceiveError, SendError};

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
    /// The server says no, which it may. An errno, or 0.
    #[error("{command} is refused: {}", match errno {
        0 => "no reason is given".into(),
        errno => std::io::Error::from_raw_os_error(errno.cast_signed()).to_string(),
    })]
    Refused {
        /// What.
        command: Command,
        /// Why.
        errno: u32,
    },
    /// Something came that is not the reply to what was asked.
    #[error("{command} is answered by message {id}, command {number}, {flags:?}")]
    Unexpected {
        /// What was asked.
        command: Command,
        /// The id that came.
        id: u16,
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
    /// The reply contradicts the command, or itself.
    #[error("the reply to {command} contradicts it: {what}")]
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
    /// An earlier error has ended the conversation.
    #[error("the conversation has ended by an earlier error")]
    Over,
}

impl ClientError {
    /// The number by which the server refused, if that is what it did.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            ClientError::Refused { errno, .. } => {
                Some(Errno::from_raw_os_error(errno.cast_signed() & 0xfff))
            }
            _ => None,
        }
    }
}
