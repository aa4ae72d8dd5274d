//! A vhost-user back-end.
//!
//! ```text
//!                 messages, kicks, time                          settings.rs   what the text leaves open
//!    server.rs  ------------------------>  backend.rs            mutants.rs    what may be done wrong
//!    (socket,   <------------------------  (the protocol)
//!    polling)    replies, calls, close       |        |
//!                                         ring.rs   memory.rs    virtqueues and guest memory, by rust-vmm
//!                                            |
//!                                         device.rs              what executes a request
//! ```
//!
//! **Invariants.** `backend.rs` owns the protocol's whole state and does no I/O of its own but to
//! map guest memory and to work in it. `server.rs` owns every other descriptor and decides nothing.
//!
//! **Not here:** packed rings, `EVENT_IDX`, dirty logging, in-flight tracking, the back-end's own
//! requests, and polling in place of a kick before the ring was started.

pub mod backend;
pub mod device;
pub mod ids;
pub mod inflight;
pub mod log;
pub mod memory;
pub mod mutants;
pub mod net;
pub mod ring;
pub mod server;
pub mod settings;

#[cfg(test)]
mod testing;

pub use backend::{Backend, Output};
pub use device::Device;
pub use mutants::{Mutant, Mutants};
pub use server::{Options, Running, ServeError, Stop, serve};
pub use settings::Settings;
