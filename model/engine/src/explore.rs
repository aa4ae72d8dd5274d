//! The explorer: every reachable state of a closed system, and what that says about its properties.
//!
//! ```text
//!  System --search--> table + findings --liveness--> verdicts --report--> JSON, text
//!    |                                                  ^
//!    +---view---> stateright (second opinion) ---------+  compared by the laws
//! ```
//!
//! | module | its one job |
//! |---|---|
//! | [`table`] | the exact set of states, with parents |
//! | [`search`] | level-synchronous breadth-first search, safety |
//! | [`liveness`] | cycles and ends where something stays owed |
//! | [`naive`] | the same decided in another way, for small graphs |
//! | [`trace`] | a counterexample, as differences |
//! | [`report`] | what a run says, as JSON and text |
//! | [`decide`] | the options of open choices against the properties |
//! | [`behaviour`] | what of a system can be seen from outside |
//! | [`compare`] | which of two behaviours includes the other, and what tells them apart |
//! | [`check`] | one object-safe face for all systems |
//! | [`view`] | every system as a `stateright::Model` |
//!
//! **Invariants.** Numbering, counts, verdicts and counterexamples do not depend on the number of
//! threads. A run says *complete* only if it visited every reachable state; any bound that cut it
//! short is in its verdict.

pub mod behaviour;
pub mod check;
pub mod compare;
pub mod decide;
pub mod liveness;
pub mod naive;
pub mod names;
mod options;
pub mod report;
pub mod search;
pub mod table;
pub mod trace;
pub mod view;

pub use check::Check;
pub use options::{Listed, Options};
pub use report::Report;

use crate::clause::ChoiceId;

/// Why a system cannot be explored at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Error {
    /// The system left a choice open that decides what can happen.
    #[error("choice {} is not fixed by the system", .0.index())]
    Open(ChoiceId),
    /// The initial state does not fit the widths declared for exploration.
    #[error("the initial state does not fit its packing: field `{0}`")]
    Initial(&'static str),
    /// The system does not refine the abstract machine that was named; the one that it does refine.
    #[error("the system is not mapped to that abstract machine{}", refined(.0))]
    NoRefinement(Option<&'static str>),
    /// More than 26 bits of states in one shard: about four thousand million states.
    #[error("the state table is full")]
    Full,
}

/// What a system refines, as the end of a message.
fn refined(of: &Option<&'static str>) -> String {
    of.map_or(", nor to any other".to_owned(), |of| format!(", but to `{of}`"))
}

impl From<crate::rules::OpenChoice> for Error {
    fn from(ask: crate::rules::OpenChoice) -> Self {
        Error::Open(ask.0)
    }
}
