//! The shortest script that ends as a random walk did.

use super::attempt::{Ended, one};
use super::*;

/// The shortest script that ends as a walk did, and how it ended.
pub(super) fn shortest(
    run: &Run<'_>,
    machine: &TestMachine,
    test: &Test,
    rules: Rules,
    taken: &[(Act, StepOutcome)],
    first: Ended,
) -> (Vec<Act>, Ended) {
    let acts: Vec<Act> = taken.iter().map(|(act, _)| *act).collect();
    let kind = |stop: &TestEnd| match stop {
        TestEnd::Finding { clause, .. } => Some(*clause),
        TestEnd::Died(_) => Some(ClauseId::NONE),
        _ => None,
    };
    let Some(wanted) = kind(&first.stop) else { return (acts, first) };
    let mut last = first;
    let short = crate::harness::shorten::shorten(&acts, |acts| {
        let test = Test { acts: ending(acts), ..test.clone() };
        match one(run, machine, &test, None, rules, false, &mut None, &mut Vec::new()) {
            Err(ended) if kind(&ended.stop) == Some(wanted) => {
                last = ended;
                true
            }
            _ => false,
        }
    });
    (ending(&short), last)
}

/// A script that waits for what its last step leads to: whether it is seen is else a matter of time.
fn ending(acts: &[Act]) -> Vec<Act> {
    let waits = acts.last() == Some(&Act::Settle);
    let settle = (!waits).then_some(Act::Settle);
    acts.iter().copied().chain(settle).collect()
}
