//! VFIO devices under test.
//!
//! | file | its one job |
//! |---|---|
//! | `device.rs` | what the suite asks of every transport |
//! | `user.rs` | a device over vfio-user, at a socket or in this process |
//! | `suite.toml`, `suite.rs`, `script.rs` | the tests, and their steps, as data |
//! | `session/` | one conversation, judged by the machine |
//! | `runner.rs`, `walk.rs` | the adapter, and what random walks draw from |
//! | `data.rs` | migration data as a whole |
//! | `kernel/` | a device that a kernel's driver serves, over its ioctls |
//! | `guest/` | a kernel of our own to run such a driver in: the host's side, and the first process |

pub mod data;
pub mod device;
pub mod guest;
pub mod kernel;
pub mod mutants;
pub mod pairs;
pub mod runner;
pub mod script;
pub mod session;
pub mod suite;
pub mod user;
pub mod walk;
pub mod without;
