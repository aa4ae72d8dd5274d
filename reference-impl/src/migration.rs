//! The migration of a device, whatever it is and however it is reached.
//!
//! ```text
//!   state.rs    states, arcs, and the way that a SET takes
//!   machine.rs  a device's state, and the session that is open: what each arc does
//!   stream.rs   what is read and written in a session
//!   log.rs      which pages the device wrote
//! ```
//!
//! **Invariants.** No I/O and no clock. The state changes by SET and RESET alone. A SET is asked for
//! once nothing is under way any more: waiting for that is up to whoever owns the device.
//!
//! **Not here:** the device, and the messages that ask for all this (`crate::vfio_user`).

pub mod log;
pub mod machine;
pub mod state;
pub mod stream;

pub use log::{Log, LogError};
pub use machine::{Device, Migration, PreCopyInfo, Read, Refused};
pub use state::{DmaAllowed, Flow, State};
