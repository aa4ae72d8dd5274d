//! Migrations with multifd: recordings, judged.
//!
//! ```text
//!   conn0.bin, conn1.bin, ...   --streams--> events --form, machine--> violations --report--> text, JSON
//!   index.csv                                   '--> epochs: pages sent, memory
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `recording.rs` | a folder with connections and their index, and which of them is what |
//! | `stream.rs` | one connection, read piece by piece |
//! | `survey.rs` | the main stream, read once to its end before anything is judged |
//! | `pages.rs` | which pages an epoch has, block by block |
//! | `indices.rs` | which buffers a device has |
//! | `memory.rs` | the memory that results, against that of the source |
//! | `judge.rs` | all of it, in the order in which a destination acts on it |
//! | `live.rs` | a recording that is judged while it grows |
//! | `pieces.rs`, `faults.rs` | a recording taken apart, and what can be wrong with one |
//! | `mapped_ram.rs` | a migration to a file with a place for each page |
//! | `relay.rs` | two sides connected, and what passes recorded |
//! | `parameters.rs` | with which parameters a monitor refuses a capability |
//! | `capabilities.rs` | which capabilities a monitor refuses together |
//! | `destination.rs`, `source.rs` | the suites for either end of a migration |
//! | `report.rs` | the verdict, as text and JSON |
//!
//! **Invariants.** Memory does not depend on the length of a recording. Data is never copied, unless memory is
//! to be compared. Where a recording has no end, what is missing is not a violation.

// The numbers of both ends come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

pub mod capabilities;
pub mod destination;
pub mod faults;
pub mod indices;
pub mod judge;
pub mod live;
pub mod mapped_ram;
pub mod memory;
pub mod pages;
pub mod parameters;
pub mod pieces;
pub mod recording;
pub mod relay;
pub mod report;
pub mod source;
pub mod stream;
pub mod survey;
pub mod transports;

use std::fs::File;
use std::io::{self, Seek as _};

/// A file that is read again.
fn rewind(file: &File) -> io::Result<()> {
    let mut file = file;
    file.rewind()
}

/// Counts up, to the largest number at most.
fn count(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}
