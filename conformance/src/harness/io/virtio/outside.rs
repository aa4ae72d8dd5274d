//! A device whose outside the tester drives: what it transmits comes back.
//!
//! ```text
//!   send --> a transmit ring --> the device --> its wire --> the device --> room in a receive ring
//!                                                              ^                  |
//!   tell --> the ring of commands: filter, address, steering --+               returned, judged
//! ```
//!
//! A buffer of a receive ring is *room*, not a request: it comes back when there is something to put
//! into it, and not before. So [`Outside::due`] says how many of the buffers that a ring was offered
//! have to come back by now; whoever drives the ring tells the machine of so many, and of no more.
//!
//! **Invariant.** What is due follows from what was sent and told alone, never from what came.

use crate::harness::io::memory::MemoryError;
use crate::harness::io::ring::Buffer;

/// To whom something is sent, as far as a filter cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// Everybody: no filter stops it.
    All,
    /// A group, which is in the table of [`Command::Filter`] and in no other.
    Group,
    /// The address of [`Command::Address`].
    Us,
    /// A station that nobody is.
    Nobody,
}

impl To {
    /// All of them, by the name that they have in a test.
    pub const ALL: &'static [(&'static str, To)] =
        &[("all", To::All), ("group", To::Group), ("us", To::Us), ("nobody", To::Nobody)];
}

/// What a driver tells a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Only what is meant for us is to come: neither everything, nor every group.
    Strict,
    /// A table of groups, with one in it.
    Filter,
    /// An address.
    Address,
    /// All pairs of queues are used.
    Pairs,
    /// Only the first pair is.
    OnePair,
}

impl Command {
    /// All of them, by the name that they have in a test.
    pub const ALL: &'static [(&'static str, Command)] = &[
        ("strict", Command::Strict),
        ("filter", Command::Filter),
        ("address", Command::Address),
        ("pairs", Command::Pairs),
        ("one-pair", Command::OnePair),
    ];
}

/// Why something cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Unable {
    /// Such a device does not have it.
    #[error("needs {0}")]
    Lacks(&'static str),
    /// Guest memory cannot be written: a fault of the harness.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// What would follow is unknown: a fault of the test.
    #[error("{0}")]
    Unknown(&'static str),
}

/// Requests for a ring, and the ring.
pub type Chains = (u8, Vec<Vec<Buffer>>);

/// A device with such an outside.
pub trait Outside {
    /// The rings that room is offered in.
    fn receives(&self) -> Vec<u8>;

    /// Whether a chain of this ring comes back only when it is due, and not while the ring is disabled.
    fn held(&self, ring: u8) -> bool;

    /// How many of the chains in this ring are to come back by now, if there are so many.
    fn due(&self, ring: u8) -> usize;

    /// Room for one more.
    ///
    /// # Errors
    /// See [`Unable`].
    fn room(&mut self, ring: u8) -> Result<Vec<Buffer>, Unable>;

    /// Something to transmit through the ring of a pair. If it is `discarded` it does not come back.
    ///
    /// # Errors
    /// See [`Unable`].
    fn send(&mut self, to: To, pair: u8, discarded: bool) -> Result<Chains, Unable>;

    /// The ring that a pair transmits through.
    fn sends(&self, pair: u8) -> u8;

    /// What tells the device something.
    ///
    /// # Errors
    /// See [`Unable`].
    fn tell(&mut self, command: Command) -> Result<Chains, Unable>;

    /// Judges a chain that came back, into which the device says that it has written `used` bytes.
    ///
    /// # Errors
    /// What is wrong with it, for a reader.
    fn returned(&mut self, ring: u8, chain: &[Buffer], used: u32) -> Result<(), String>;

    /// The device was reset: what it was told is void, and what was under way is lost.
    fn forget(&mut self);

    /// What to write into the configuration space, and where.
    fn config(&self) -> Option<(u32, Vec<u8>)>;

    /// That was written by a migration, which may set what a driver may not.
    fn migrated(&mut self);

    /// Judges a part of the configuration space, as far as it is known.
    ///
    /// # Errors
    /// What is wrong with it, for a reader.
    fn configured(&self, offset: u32, bytes: &[u8]) -> Result<(), String>;
}
