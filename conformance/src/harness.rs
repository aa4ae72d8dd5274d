//! What every suite shares: how a test ends, what is reported of it, and what is accepted.
//!
//! ```text
//!   suite.toml --suite_files--> tests --a protocol's runner--> TestEnd --verdict--> Outcome
//!                                                                |                    |
//!                                                    shorten (walks)     waivers ---> report, junit
//!   mutants of the reference --mutation--> killed, survived, ...
//! ```
//!
//! **Invariant.** Nothing here knows a protocol.
pub mod io;
pub mod mutation;
pub mod parallel;
pub mod random;
pub mod report;
pub mod shorten;
pub(crate) mod suite_files;
pub mod verdict;
pub mod waivers;
