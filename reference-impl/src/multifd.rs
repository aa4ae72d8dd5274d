//! A migration with multifd: the memory of a guest that keeps writing, and the state of its devices, over
//! several connections.
//!
//! ```text
//!   image.rs --dirty pages--> source.rs ==main stream==> destination.rs --> image.rs
//!                                |                            |
//!                           hand_over.rs                  barrier.rs
//!                           |    |    |                   |    |    |
//!                         source/channel.rs ==packets==> destination/channel.rs --> device.rs
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `image.rs` | a block of RAM, with a bit for each page that was written |
//! | `guest.rs` | a guest that writes all the while |
//! | `stream.rs` | connections: Unix, TCP |
//! | `compression.rs`, `unpack.rs` | compressed packets, written and read |
//! | `hand_over.rs` | packets from whoever has one to the channel that is free |
//! | `source.rs`, `source/` | rounds, SYNC, the switchover; a thread for each channel |
//! | `destination.rs`, `destination/` | the main stream; a thread for each channel; devices in order |
//! | `mutants.rs` | what may be done wrong |
//!
//! **Invariants.** A connection is written to by one thread. What a packet is refused for stands in the model
//! (`protocol/multifd/form.rs`), not here. A side that fails ends all of its threads, and every wait has a
//! limit. No input of the other side makes one panic.
//!
//! **Not here:** postcopy, files; a source that is slowed down.

mod compression;
mod destination;
mod guest;
mod hand_over;
mod image;
pub mod mutants;
mod source;
mod stream;
pub mod unpack;

/// The locks of `hand_over.rs`, which a test runs with others.
mod sync {
    pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
}

use std::io;
use std::time::Duration;

pub use compression::Compression;
pub use destination::{Load, Received, receive};
pub use guest::Guest;
pub use image::{Image, PAGE};
pub use mutants::{Mutant, Mutants};
pub use source::{DeviceState, Sent, migrate};
pub use stream::{Stream, pairs};

use hand_over::Stopped;

/// How the ends of epochs are marked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SyncMode {
    /// By a FLUSH after each round.
    #[default]
    PerRound,
    /// By the end of each RAM section.
    PerSection,
}

/// Who looks for pages that are zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ZeroPages {
    /// The channels, in their packets.
    #[default]
    Channels,
    /// The main stream, as pages that are filled with 0.
    Main,
    /// Nobody: they are sent like any other.
    Sent,
}

/// What both sides of a migration are told.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many channels.
    pub channels: u8,
    /// The UUID of the virtual machine.
    pub uuid: [u8; 16],
    /// The machine type that the source names.
    pub machine: String,
    /// How epochs are marked.
    pub sync: SyncMode,
    /// Who looks for zero pages.
    pub zero: ZeroPages,
    /// How the channels compress pages.
    pub compression: Compression,
    /// With so few dirty pages left, the guest is stopped.
    pub threshold: usize,
    /// After so many rounds it is stopped in any case.
    pub rounds: usize,
    /// The length of a buffer with the state of a device.
    pub buffer: usize,
    /// The most bytes of device state that wait for a buffer before them.
    pub queued: usize,
    /// The longest wait for the other side.
    pub limit: Duration,
    /// Faults.
    pub mutants: Mutants,
}

impl Default for Options {
    /// Two channels, each round synchronised, at most 30 rounds.
    fn default() -> Self {
        Options {
            channels: 2,
            uuid: [0; 16],
            machine: "pc-q35-10.0".to_owned(),
            sync: SyncMode::default(),
            zero: ZeroPages::default(),
            compression: Compression::default(),
            threshold: 16,
            rounds: 30,
            buffer: 64 << 10,
            queued: 64 << 20,
            limit: Duration::from_secs(10),
            mutants: Mutants::default(),
        }
    }
}

/// Why a migration failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A connection.
    #[error(transparent)]
    Io(io::Error),
    /// What the other side sent breaks a clause.
    #[error("violates {clause}: {what}")]
    Refused {
        /// The clause.
        clause: String,
        /// What was seen.
        what: String,
    },
    /// A device does not take its state.
    #[error("{device}: {why}")]
    Device {
        /// Its name.
        device: String,
        /// Why.
        why: String,
    },
    /// Another part of this side failed first.
    #[error("ended, since another part failed")]
    Ended,
    /// The other side says that it failed.
    #[error("the destination failed: {0}")]
    Destination(u32),
    /// Something did not come in time.
    #[error("there was no {0} in time")]
    Late(&'static str),
    /// The model could not be read.
    #[error("the specification: {0}")]
    Specification(String),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Late("byte"),
            _ => Error::Io(error),
        }
    }
}

impl From<Stopped> for Error {
    fn from(_: Stopped) -> Self {
        Error::Ended
    }
}

/// The first error that is a cause, of those of all threads.
fn cause(errors: impl IntoIterator<Item = Error>) -> Option<Error> {
    let mut first = None;
    for error in errors {
        let is_cause = !matches!(error, Error::Ended);
        if first.is_none() || (is_cause && matches!(first, Some(Error::Ended))) {
            first = Some(error);
        }
    }
    first
}
