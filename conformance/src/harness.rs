//! What every suite shares: how a test ends, what is reported of it, and what is accepted.
//!
//! ```text
//!   suite.toml --suite--> tests, walks --runner--> TestEnd --verdict--> Outcome
//!                 |                       |  ^                             |
//!    a protocol: steps       its sessions +--+ shorten        waivers ---> report, junit
//!   mutants of the reference --mutation--> killed, survived, ...
//! ```
//!
//! **Invariant.** Nothing here knows a protocol.
pub mod aftermath;
pub mod around;
pub(crate) mod caught;
pub mod conversation;
pub mod io;
pub mod listed;
pub mod mutation;
pub mod pairs;
pub mod parallel;
pub mod random;
pub mod report;
pub mod runner;
pub mod session;
pub mod shorten;
pub mod steps;
pub mod suite;
pub(crate) mod suite_files;
pub mod verdict;
pub mod waivers;
pub mod walk;
pub mod without;
