//! The encoding of vfio-user: bytes to meaning and back.
//!
//! ```text
//!   | id u16 | command u16 | size u32 | flags u32 | error u32 | payload: size - 16 bytes |
//!   '------------------- Header, 16 bytes -------------------'- Request or Reply, by command '
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `header.rs` | the sixteen bytes, and what their flags say |
//! | `command.rs` | commands by number, and who sends each |
//! | `payload.rs` | the plain structures, as `<linux/vfio.h>` and the text have them |
//! | `request.rs`, `reply.rs` | which structure belongs to which command, either way |
//! | `feature.rs` | what DEVICE_FEATURE carries: migration, device state, DMA logging |
//! | `version.rs` | the capabilities that VERSION carries as JSON |
//!
//! **Invariants.** Every function is pure and total: no input panics, and what is allocated is at most
//! a few times what came in. Nothing is dropped: what decodes encodes to the same bytes again, reserved
//! fields included, and a count that disagrees with its data is kept, so that a rule about it can be
//! written elsewhere. Everything is in the host's byte order, as the text has it.
//!
//! **Not here:** descriptors (the transport carries them beside the bytes), and any judgement of a
//! value.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod command;
mod feature;
mod header;
mod payload;
mod reply;
mod request;
mod version;

pub use command::{Command, Sender};
pub use feature::{
    DeviceState, Feature, FeatureFlags, LoggingReport, LoggingStart, MIGRATION_P2P,
    MIGRATION_PRE_COPY, MIGRATION_STOP_COPY, MigrationFlags, Range,
};
pub use header::{Flags, Header, Kind};
pub use payload::{
    Access, DeviceInfo, DmaAccess, DmaMap, DmaUnmap, DmaWritten, IoFds, IrqInfo, IrqSet, MigData,
    RegionInfo, Sizes, SubRegion, Write,
};
pub use reply::Reply;
pub use request::Request;
pub use version::{Capabilities, CapabilitiesError, TwinSocket, Version};

/// The most bytes of data in one message, unless negotiated otherwise: `max_data_xfer_size`.
pub const MAX_DATA: usize = 1 << 20;

/// The longest payload, in bytes, that a peer is ever read for: data, and what stands before it.
pub const MAX_PAYLOAD: usize = MAX_DATA + 4096;

/// The most descriptors that one message brings here: `max_msg_fds`.
pub const MAX_DESCRIPTORS: usize = 8;

/// Why bytes have no meaning as a payload of this command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// There is no such command, or none whose payload is known.
    #[error("there is no command {0}")]
    Command(u16),
    /// The number of bytes fits no payload of this command.
    #[error("{what} has {expected}, not {got} bytes")]
    Size {
        /// Which structure.
        what: &'static str,
        /// The lengths that it allows.
        expected: Sizes,
        /// The length found, in bytes.
        got: usize,
    },
    /// A list announces more or fewer entries than it carries.
    #[error("{what} announces {announced} entries and carries {carried}")]
    Count {
        /// Which list.
        what: &'static str,
        /// The count in the payload.
        announced: u64,
        /// The entries that there are bytes for.
        carried: u64,
    },
}
