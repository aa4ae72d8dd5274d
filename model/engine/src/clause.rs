//! The identities of clauses and choices, as a loaded specification numbers them.
//!
//! The number is only an index into one loaded specification; what is stable and quoted is
//! the id in `specs/clauses/`, which is never positional and never reused.

use serde::Serialize;

/// One normative requirement, by its index in the loaded specification.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
pub struct ClauseId(u16);

impl ClauseId {
    /// No clause at all: what happens is not normative (a message is read).
    pub const NONE: ClauseId = ClauseId(u16::MAX);

    /// The clause at this index.
    #[must_use]
    pub const fn new(index: usize) -> Self {
        ClauseId(index as u16)
    }

    /// Its index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A point that the text leaves open, by its index in the loaded specification.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
pub struct ChoiceId(u8);

impl ChoiceId {
    /// The choice at this index.
    #[must_use]
    pub const fn new(index: usize) -> Self {
        ChoiceId(index as u8)
    }

    /// Its index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
