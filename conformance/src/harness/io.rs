//! What a virtio driver has in its hands: processes, guest memory, rings, and requests for them.
//!
//! | Module | Its one job |
//! |---|---|
//! | [`process`] | the implementation under test, started and ended |
//! | [`target`] | where it is: a socket, or a command that opens one |
//! | [`files`] | files that a user names, within limits |
//! | [`memory`] | guest memory that it maps |
//! | [`ring`] | the driver's side of a split ring in that memory |
//! | [`virtio`] | requests that such a ring carries, and what a right answer is |
//!
//! **Invariants.** Every wait has a deadline; memory taken on behalf of a peer is bounded; what a peer
//! does wrong is a value, never a panic. Nothing here judges a peer by a clause.

pub mod files;
pub mod memory;
pub mod process;
pub mod ring;
pub mod target;
pub mod virtio;
