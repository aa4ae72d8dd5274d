//! The encoding of vhost-user: bytes to meaning and back.
//!
//! ```text
//!   | request u32 | flags u32 | size u32 | payload: size bytes |      native byte order
//!   '------------ Header, 12 bytes ------'---- Payload, by kind '
//! ```
//!
//! **Invariants.** Every function is pure and total: no input panics, and what is allocated is at
//! most [`MAX_PAYLOAD`] bytes. Nothing is dropped: what decodes encodes to the same bytes again,
//! reserved bits and padding included, so that a rule about them can be written elsewhere.
//!
//! **Not here:** message ids and which payload belongs to which message (a table in `specs/`),
//! descriptors (the transport carries them beside the bytes), and any judgement of a value.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod header;
mod payload;

pub use header::{Flags, Header};
pub use payload::{
    Config, CryptoSession, Inflight, Iotlb, Log, LogTaken, MAX_CONFIG, MAX_CRYPTO, MAX_REGIONS,
    MAX_SHMEM, Memory, MemoryRegion, Mmap, Payload, PayloadKind, Region, SharedObject, ShmemConfig,
    Sizes, Transfer, TransferReply, VringAddr, VringArea, VringFd, VringState, XenMemory,
    XenMemoryRegion, XenRegion,
};

/// The longest payload, in bytes, that a peer is ever read for. The longest that the text defines
/// are the sizes of 256 shared memory regions, 8 + 2048 bytes; crypto sessions, which it does not
/// define, are longer; the rest is room for messages unknown to us.
pub const MAX_PAYLOAD: usize = 4096;

/// Why bytes have no meaning as a payload of the expected kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// The number of bytes fits no payload of this kind.
    #[error("a payload of kind {kind} has {expected} bytes, not {got}")]
    Size {
        /// The kind that was expected.
        kind: PayloadKind,
        /// The lengths that it allows.
        expected: Sizes,
        /// The length found, in bytes.
        got: usize,
    },
    /// A table announces more or fewer regions than it carries or may carry.
    #[error("a table announces {announced} regions and has bytes for {carried}")]
    Regions {
        /// The count in the payload.
        announced: u32,
        /// The count that the payload's length makes room for.
        carried: usize,
    },
}
