//! A source under test: it migrates to nowhere, in several ways, and its stream is judged.
//!
//! ```text
//!   QEMU ==main, channels==> relay ====> a listener that reads and drops everything
//!    ^ QMP                    '-- recording --> judge
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `suite.toml`, `suite.rs` | the tests |
//! | `script.rs` | their steps |
//! | `session.rs` | one migration of a fresh source |
//! | `runner.rs` | the adapter |
//!
//! **Invariant.** No destination is needed: without the return path, a source waits for none.

pub mod runner;
pub mod script;
pub mod session;
pub mod suite;
