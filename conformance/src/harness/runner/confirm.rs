//! A finding about time is confirmed before it counts: the same script again, alone, with longer limits.
//!
//! ```text
//!   attempt --finding: nothing came in time--> again, patiently --the same--> it counts
//!                                                  |
//!                                                  +--another finding, not about time--> that one counts
//!                                                  |
//!                                                  +--passes, or ends otherwise--> once more
//!                                                        +--the same--> it counts
//!                                                        '--else--> "slow here, 1 of 3": a warning
//! ```
//!
//! A clause that was confirmed to be broken in [`ENOUGH`] tests is not confirmed in a further one: a run in
//! which most tests fail by one cause would take hours.
//!
//! **Invariant.** While a finding is confirmed no other conversation of this process goes on.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Adapter, Attempt, Learned, Runner};
use crate::harness::report::{Outcome, Status};
use crate::harness::suite::{StepOf, Test};
use crate::harness::verdict::TestEnd;
use devmig_engine::clause::ClauseId;

/// How many times longer the limits are.
const LONGER: u32 = 4;

/// The number of tests after which a clause counts as broken without another confirmation.
const ENOUGH: u32 = 3;

/// In how many tests each clause was confirmed to be broken.
#[derive(Default, Debug)]
pub(super) struct Confirmed(Mutex<BTreeMap<ClauseId, u32>>);

impl Confirmed {
    fn count(&self, clause: ClauseId) -> u32 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(&clause).copied().unwrap_or_default()
    }

    fn add(&self, clause: ClauseId) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(clause).or_default();
        *count = count.saturating_add(1);
    }
}

/// Held by each conversation, and by the one that is to be alone.
static ROOM: RwLock<()> = RwLock::new(());

/// A conversation beside others.
pub(super) fn beside_others() -> RwLockReadGuard<'static, ()> {
    ROOM.read().unwrap_or_else(PoisonError::into_inner)
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    ROOM.write().unwrap_or_else(PoisonError::into_inner)
}

/// A finding about time that was not there again is no failure.
pub(super) fn slow(outcome: Outcome) -> Outcome {
    let observed = outcome.observed.unwrap_or_default();
    let observed =
        format!("slow here, 1 of 3: {observed}; with {LONGER} times the limit it came (2 of 3)");
    Outcome { status: Status::Warn, observed: Some(observed), ..outcome }
}

/// What is said while a finding of this test is confirmed.
fn words(test: &str) -> String {
    format!("{test}: nothing came in time, so once more alone, with {LONGER} times the limit")
}

/// What the further attempts say.
pub(super) enum Confirmation<T> {
    /// The finding counts: it is not about time, or was there again.
    Counts,
    /// It does not: this attempt, with longer limits, found something else.
    Instead(Box<Attempt<T>>),
    /// It was not there again.
    Slow,
}

/// Whether two attempts found the same clause broken.
fn is_same(one: &TestEnd, other: &TestEnd) -> bool {
    match (one, other) {
        (TestEnd::Finding { clause, .. }, TestEnd::Finding { clause: again, .. }) => {
            clause == again
        }
        _ => false,
    }
}

impl<A: Adapter> Runner<'_, A> {
    /// Holds a finding about time against what the same script comes to with longer limits.
    pub(super) fn confirm(
        &self,
        test: &Test<A::Form>,
        off: &[ClauseId],
        learned: &mut Learned,
        first: &Attempt<StepOf<A::Form>>,
        is_walk: bool,
    ) -> Confirmation<StepOf<A::Form>> {
        let is_open = first.is_late && !first.met.died && self.adapter.confirms();
        let Some(end) = first.end.as_ref().filter(|_| is_open) else {
            return Confirmation::Counts;
        };
        let clause = match end {
            TestEnd::Finding { clause, .. } => Some(*clause),
            _ => None,
        };
        let script = match is_walk {
            true => Test { steps: first.steps_taken(), careful: true, ..test.clone() },
            false => test.clone(),
        };
        // What the tests before it have confirmed is known in its turn, whatever ran first.
        let has_turn = self.turns.wait_for(learned.place);
        let is_known = clause.is_some_and(|clause| self.confirmed.count(clause) >= ENOUGH);
        if !has_turn || is_known {
            return Confirmation::Counts;
        }
        let _alone = alone();
        self.aside.begins(&words(&test.id));
        self.adapter.wait_longer(LONGER);
        let mut again = || self.conversation(&script, None, off, learned);
        let second = again();
        let confirmation = match second.end {
            Some(ref second) if is_same(end, second) => {
                clause.into_iter().for_each(|clause| self.confirmed.add(clause));
                Confirmation::Counts
            }
            _ if second.says_nothing() => Confirmation::Counts,
            _ if second.is_another_finding() => Confirmation::Instead(Box::new(second)),
            _ => match again() {
                third if third.is_another_finding() => Confirmation::Instead(Box::new(third)),
                // Four times the limit were not enough, if not each time: that is no slow machine.
                Attempt { end: Some(third), .. } if is_same(end, &third) => Confirmation::Counts,
                _ => Confirmation::Slow,
            },
        };
        self.adapter.wait_longer(1);
        self.aside.ends();
        confirmation
    }
}

impl<T> Attempt<T> {
    /// An implementation that cannot be reached any more neither confirms nor refutes a finding.
    fn says_nothing(&self) -> bool {
        let Some(end) = &self.end else { return false };
        matches!(end, TestEnd::Harness(_) | TestEnd::Unreached { .. } | TestEnd::Illegal { .. })
            || (matches!(end, TestEnd::Died { .. }) && self.is_late)
    }

    /// A finding that no limit has to do with.
    fn is_another_finding(&self) -> bool {
        let is_finding = matches!(self.end, Some(TestEnd::Finding { .. } | TestEnd::Died { .. }));
        is_finding && !self.is_late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_at_last_is_a_warning_that_says_how_often() {
        let found = Outcome {
            observed: Some("no reply to GET_FEATURES within 3s".into()),
            ..Outcome::new(Status::Fail)
        };
        let outcome = slow(found);
        assert_eq!(outcome.status, Status::Warn);
        let observed = outcome.observed.unwrap_or_default();
        assert!(observed.starts_with("slow here, 1 of 3: no reply"), "{observed}");
        assert!(observed.ends_with("it came (2 of 3)"), "{observed}");
    }

    #[test]
    fn a_clause_is_confirmed_by_enough_tests() {
        let (confirmed, clause) = (Confirmed::default(), ClauseId::new(1));
        (0..ENOUGH).for_each(|_| confirmed.add(clause));
        assert_eq!(confirmed.count(clause), ENOUGH);
        assert_eq!(confirmed.count(ClauseId::new(2)), 0);
    }

    #[test]
    fn only_the_same_clause_confirms() {
        let found = |n| TestEnd::Finding {
            clause: ClauseId::new(n),
            observed: String::new(),
            expected: Vec::new(),
        };
        assert!(is_same(&found(1), &found(1)));
        assert!(!is_same(&found(1), &found(2)));
        assert!(!is_same(&found(1), &TestEnd::Over));
    }
}
