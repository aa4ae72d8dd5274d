//! vhost-user back-ends under test: the suite, its steps, and the front-end that takes them.
//!
//! ```text
//!   suite.toml --script--> steps --runner--> session --transport--> back-end
//!   drive, tour, walk: generated steps         |
//!                                              +--> judged by the machine
//! ```
//!
//! **Invariants.** Every wait has a [`Deadline`]; memory taken on behalf of a back-end is bounded;
//! what a back-end does wrong is a value, never a panic.

pub mod drive;
pub mod forms;
pub mod hostile;
pub mod length;
pub mod malformed;
pub mod mutants;
pub mod pairs;
pub mod probe;
pub mod reference;
pub mod runner;
pub mod script;
pub mod session;
pub mod suite;
pub mod tour;
pub mod walk;
pub mod without;

pub use devmig_reference::socket::{Deadline, event, transport};
