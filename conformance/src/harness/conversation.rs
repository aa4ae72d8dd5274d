//! What was sent, done and seen in a conversation, and whether other rules would have allowed it.
//!
//! **Invariant.** What the tester did and what the implementation did are told apart, so a step that the
//! test itself gets wrong is never a finding.

use devmig_engine::clause::ClauseId;
use devmig_engine::estimate::{Fault, StateEstimate};
use devmig_engine::machine::{Machine, TimeClass};
use devmig_engine::rules::Rules;

use super::verdict::TestEnd;

/// One part of a conversation, for judging it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record<E> {
    /// The tester sent it; the implementation may read it later.
    Sent(E),
    /// The tester did it, seen at once.
    Did(E),
    /// The implementation did it.
    Seen(E),
    /// Nothing came for as long as this may take.
    Silent(TimeClass),
    /// A fresh conversation began.
    Fresh,
    /// Something that no interpretation of the text allows: a malformed answer, a wrong result.
    Wrong,
}

impl<E> Record<E> {
    /// Whether the implementation did something here that could have been wrong.
    pub fn is_judged(&self) -> bool {
        matches!(self, Record::Seen(_) | Record::Wrong)
    }
}

/// Judges a conversation by other rules.
///
/// # Errors
/// The first fault; [`Fault::Broken`] without a clause for what no interpretation allows.
pub fn replay<M: Machine>(
    machine: &M,
    rules: Rules,
    records: &[Record<M::Event>],
) -> Result<(), Fault> {
    let mut estimate = StateEstimate::new(machine, rules);
    for record in records {
        match record {
            Record::Sent(event) => estimate.send(*event),
            Record::Did(event) => estimate.did(event)?,
            Record::Seen(event) => estimate.observe(event)?,
            Record::Silent(class) => estimate.silent(*class)?,
            Record::Fresh => estimate = StateEstimate::new(machine, rules),
            Record::Wrong => {
                return Err(Fault::Broken { clauses: Vec::new(), allowed: Vec::new() });
            }
        }
    }
    match records.last() {
        // What was sent last is read, as far as that is legal.
        Some(Record::Sent(_)) => estimate.may_be_silent(TimeClass::Courtesy).map(|_| ()),
        _ => Ok(()),
    }
}

/// How a fault ends a test.
#[must_use]
pub fn ended(fault: Fault, observed: String) -> TestEnd {
    match fault {
        Fault::Broken { clauses, allowed } => TestEnd::Finding {
            clause: clauses.first().copied().unwrap_or(ClauseId::NONE),
            observed,
            expected: allowed,
        },
        Fault::Script { clause } => TestEnd::Illegal { clause },
        Fault::TooMany => TestEnd::Harness(fault.to_string()),
    }
}
