//! The front-end half of a vhost-user conversation, without any opinion about it.
//!
//! ```text
//!   process.rs    the implementation under test, started and ended
//!   transport     messages and descriptors over its socket, event: kick and call
//!                 (both are the reference implementation's too, and live there)
//!   memory.rs     guest memory that it maps
//!   ring.rs       the driver's side of a split ring in that memory
//!   workload/     requests that such a ring carries, and what a right answer is
//! ```
//!
//! **Invariants.** Every wait has a [`Deadline`]; memory taken on behalf of a peer is bounded; what
//! a peer does wrong is a value, never a panic. Nothing here judges a peer by a clause: that is the
//! model's part.

pub mod drive;
pub mod forms;
pub mod malformed;
pub mod memory;
pub mod mutants;
pub mod process;
pub mod ring;
pub mod runner;
pub mod script;
pub mod session;
pub mod suite;
pub mod target;
pub mod tour;
pub mod walk;
pub mod workload;

pub use devmig_reference::socket::{Deadline, event, transport};
