//! A vfio-user device, and a client for any.
//!
//! ```text
//!                 messages, time                          settings.rs   what the texts leave open
//!    server.rs  ------------------>  core.rs              mutants.rs    what may be done wrong
//!    (socket,   <------------------  (the protocol)
//!    polling)    replies, DMA,          |      |   \
//!                interrupts, close    pci/  memory.rs  migration/
//!
//!    local.rs    the same core in this process, without a socket
//!    client.rs   commands, each with its answer; answers DMA_READ and DMA_WRITE meanwhile
//!    driver.rs   what a guest does with the NIC, and its memory
//! ```
//!
//! **Invariants.** `core.rs` owns the protocol's whole state and does no I/O of its own but to map the
//! client's memory and to work in it. `server.rs` owns every other descriptor and decides nothing. The
//! device outlives its clients.
//!
//! **Not here:** a channel of its own for what the server asks of the client (`twin_socket`), and
//! descriptors for doorbells (DEVICE_GET_REGION_IO_FDS, which is refused).

pub mod client;
pub mod core;
pub mod driver;
pub mod local;
pub mod memory;
pub mod mutants;
pub mod server;
pub mod settings;

pub use client::{Client, ClientError};
pub use core::{Core, CoreOptions, Fault, Output};
pub use local::Local;
pub use mutants::{Mutant, Mutants};
pub use server::{Running, ServerOptions, serve};
pub use settings::Settings;
