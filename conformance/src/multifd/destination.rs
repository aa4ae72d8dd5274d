//! A destination under test: a recorded migration is sent to it, as it is or with one fault, and what becomes of
//! it is judged.
//!
//! ```text
//!   recording --fault--> connections ====> QEMU -incoming
//!                                            |-- completes: is its memory that of the source?
//!                                            |-- fails, or ends with an error: it has refused
//!                                            '-- neither, no answer of the monitor, a crash: a finding
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `suite.toml`, `suite.rs` | the tests: one for each fault |
//! | `script.rs` | their steps |
//! | `send.rs` | the connections: a thread writes each, and another reads it |
//! | `session.rs` | one migration to a fresh destination |
//! | `runner.rs` | the adapter |
//!
//! **Invariants.** Each test starts a destination anew. Every wait has a limit; a monitor that does not
//! answer is an outcome.

pub mod runner;
pub mod script;
pub mod send;
pub mod session;
pub mod suite;
