//! Sockets with descriptors, event descriptors, and waiting that ends: for both sides of a
//! conversation.
//!
//! ```text
//!   transport.rs  messages and descriptors over a Unix stream socket
//!   event.rs      kick and call
//!   deadline.rs   when a wait gives up
//! ```
//!
//! **Invariants.** There is no way to wait without a [`Deadline`]. What a peer does wrong is a
//! value, never a panic, and what is held for a peer is bounded.
//!
//! **Not here:** what a message means.

pub mod event;
pub mod transport;

mod deadline;

pub use deadline::Deadline;
