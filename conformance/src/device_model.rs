//! Device models under test: what an implementation says that it makes, held against what it makes.
//!
//! ```text
//!   description --> cases.rs --> a case: what is asked for, and what the model says of it
//!                                   |
//!   suite.toml --> script.rs --> session/ --> the program, started for each case: made, or refused
//!                                   |             way.rs      command line, or control socket
//!                                   |             state.rs    saved and loaded, over either transport
//!                                   '--> runner.rs --> report
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `subject.rs` | what is under test, and how it is told what to do: the contract of `--spawn` |
//! | `arguments.rs` | what is asked for, on a command line and in JSON |
//! | `covering.rs` | all configurations of a small space, some of a large one |
//! | `cases.rs` | for each kind of case, what is asked for and what should come of it |
//! | `control.rs` | a program that makes devices when it is told to over a socket |
//! | `state.rs`, `back_end.rs` | a device's state over vfio-user and vhost-user |
//! | `golden.rs` | states that were kept, as files |
//! | `suite.toml`, `suite.rs`, `script.rs` | the tests, and their steps |
//! | `session.rs`, `session/` | one case of one test |
//! | `runner.rs` | the adapter: a session for each case of a test |
//! | `mutants.rs`, `mutants.toml` | the suite held against the faults of the reference |
//!
//! **Invariants.** What should come of a case is computed by the model from the description, never
//! written in a test. Every wait has a limit; what was started is ended by its own id. What a program
//! prints or sends is bounded before it is read.
//!
//! **Not here:** what is a safe migration (`devmig_model::device_model`), and the protocols by which
//! state travels, which have suites of their own.

pub mod arguments;
pub mod back_end;
pub mod cases;
pub mod control;
pub mod covering;
pub mod golden;
pub mod mutants;
pub mod pairs;
pub mod runner;
pub mod script;
pub mod session;
pub mod state;
pub mod subject;
pub mod suite;
pub mod transport;
