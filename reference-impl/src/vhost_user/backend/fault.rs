//! Why a message is not followed.

use devmig_model::protocol::vhost_user::wire::WireError;

use crate::vhost_user::ids::{self, Message};
use crate::vhost_user::memory::MemoryError;
use crate::vhost_user::mutants::Mutant;
use crate::vhost_user::ring::RingError;

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
    /// A second SET_OWNER, by one reading.
    #[error("the session has its owner already")]
    Owned,
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
    /// Bit 8 and the descriptors contradict each other, or one is missing that belongs to it.
    #[error("{0:?} without the one descriptor that belongs to it")]
    NoDescriptor(Message),
    /// Memory cannot be mapped.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Ring addresses outside guest memory.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// In-band notifications without what they need.
    #[error("in-band notifications were negotiated without BACKEND_REQ and REPLY_ACK")]
    Inband,
    /// Not a fault of the front-end's: a mutant.
    #[error("the mutant {0} closes the connection")]
    Mutant(Mutant),
}

impl Fault {
    /// Whether an acknowledgement can say it: the message was understood as one, and has no answer
    /// of its own that the front-end would take it for.
    pub(super) fn acknowledged(&self, request: u32) -> bool {
        let replies = ids::find(request).is_some_and(|known| known.message.replies());
        !replies
            && !matches!(
                self,
                Fault::Version(_) | Fault::NotARequest | Fault::Inband | Fault::Mutant(_)
            )
    }
}
