//! Several tests at once, with the results of a run of one after the other.
//!
//! ```text
//!   worker   test n, with what is known when it begins --> result, what it learned, what it rests on
//!                                                            |
//!   caller   in the order of the tests: has that changed? ---+--no---> the result counts
//!                                                            +--yes--> again, with what is known now
//! ```
//!
//! **Invariants.** Results are taken in the order of the tests, by the caller's thread. A result counts
//! only if it rests on nothing that earlier tests have changed since its test began; but what was found
//! counts even if it is not found again. Until the implementation was reached, one test runs after the
//! other. A finding about time is confirmed in its turn, so that a run which ends early confirms nothing in
//! vain. No more conversations than jobs go on, and one more that is repeated; no test begins more than
//! [`AHEAD`] times as many places before its turn.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use devmig_engine::rules::ChoiceSet;
use devmig_model::registry::Library;

use super::early_end::Met;
use super::{Adapter, Learned, Runner};
use crate::harness::report::{Result as TestResult, Status};
use crate::harness::suite::Test;
use crate::harness::walk::Walk;

/// How far the tests may run ahead of the one whose turn it is, for each job.
const AHEAD: usize = 8;

/// What a result rests on, of what was learned before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Basis {
    /// Choices of which more than one option was possible.
    pub(super) asked: ChoiceSet,
    /// Whatever was learned of any choice.
    pub(super) every_choice: bool,
}

impl Learned {
    /// Whether a result that rests on this would be the same with what is known `now`.
    fn is_as_good_as(&self, now: &Learned, basis: Basis) -> bool {
        let differing = self.known.choices.differing(&now.known.choices);
        match basis.every_choice {
            true => differing == ChoiceSet::default(),
            false => !differing.meets(&basis.asked),
        }
    }

    /// Adds what a test of this name has learned that began with less.
    fn add(&mut self, library: &Library, test: Learned, name: &str) {
        self.know(library, self.known.choices.and(&test.known.choices), name);
        self.offers = self.offers.take().or(test.offers);
        self.reached |= test.reached;
        self.answered |= test.answered;
    }
}

/// A test that was judged before its turn.
struct Early {
    before: Learned,
    after: Learned,
    judged: (TestResult, Met),
}

/// Whose turn it is.
#[derive(Default)]
pub(super) struct Turns {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    /// What was learned by the tests before the one whose turn it is.
    known: Option<Learned>,
    /// The test that begins next.
    next: usize,
    /// The test whose result is taken next.
    turn: usize,
    /// No further test begins or is confirmed.
    over: bool,
    done: BTreeMap<usize, thread::Result<Early>>,
}

impl Turns {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waited(&self, is_no_reason: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waits = |state: &mut State| !is_no_reason(state);
        self.moved.wait_while(self.state(), waits).unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.moved.notify_all();
    }

    /// Waits for the turn of a test; false if it does not come, since the run is over.
    pub(super) fn wait_for(&self, place: usize) -> bool {
        !self.waited(|state| state.over || state.turn >= place).over
    }

    /// The next test to begin, and what is known.
    fn begin(&self, tests: usize, jobs: usize) -> Option<(usize, Learned)> {
        let ahead = jobs.saturating_mul(AHEAD);
        let is_near = |state: &State| state.next < state.turn.saturating_add(ahead);
        let mut state = self.waited(|state| state.over || state.next >= tests || is_near(state));
        let place = state.next;
        let known = state.known.clone().filter(|_| !state.over && place < tests)?;
        state.next += 1;
        Some((place, known))
    }

    fn take(&self, place: usize) -> thread::Result<Early> {
        let mut state = self.waited(|state| state.done.contains_key(&place));
        state.done.remove(&place).unwrap_or_else(|| Err(Box::new("a result is lost")))
    }
}

/// Has the workers end when the caller does.
struct Over<'t>(&'t Turns);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.over = true);
    }
}

/// A test, or a walk.
pub(super) type Item<'t, F> = (&'t Test<F>, Option<Walk>);

impl<A: Adapter> Runner<'_, A> {
    /// Judges these, at most `jobs` at a time, until `take` says of a result that nothing follows.
    pub(super) fn side_by_side(
        &self,
        items: &[Item<'_, A::Form>],
        jobs: usize,
        learned: &mut Learned,
        mut take: impl FnMut(TestResult, Met) -> bool,
    ) {
        let mut alone = 0;
        while let Some((test, walk)) = items.get(alone).filter(|_| jobs <= 1 || !learned.reached) {
            alone += 1;
            learned.place = 0;
            let (result, met) = self.timed(test, *walk, learned);
            if !take(result, met) {
                return;
            }
        }
        let items = &items[alone..];
        if items.is_empty() {
            return;
        }
        thread::scope(|scope| {
            let _over = Over(&self.turns);
            self.turns.change(|state| state.known = Some(learned.clone()));
            for _ in 0..jobs.min(items.len()) {
                scope.spawn(|| self.work(items, alone, jobs));
            }
            for (place, (test, walk)) in items.iter().enumerate() {
                let early = self.turns.take(place).unwrap_or_else(|panic| resume_unwind(panic));
                let (result, met) = match early.before.is_as_good_as(learned, early.after.basis) {
                    true => {
                        learned.add(self.library, early.after, &early.judged.0.test);
                        early.judged
                    }
                    false => {
                        learned.place = place;
                        let again = self.timed(test, *walk, learned);
                        found(early.judged, again)
                    }
                };
                self.turns.change(|state| {
                    state.known = Some(learned.clone());
                    state.turn = place + 1;
                });
                if !take(result, met) {
                    break;
                }
            }
        });
    }

    /// Judges a test, and says how long that took.
    fn timed(
        &self,
        test: &Test<A::Form>,
        walk: Option<Walk>,
        learned: &mut Learned,
    ) -> (TestResult, Met) {
        let began = Instant::now();
        let (result, met) = self.judged(test, walk, learned);
        let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        (TestResult { milliseconds, ..result }, met)
    }

    /// Judges tests before their turn; `alone` tests of the run are before them.
    fn work(&self, items: &[Item<'_, A::Form>], alone: usize, jobs: usize) {
        while let Some((place, before)) = self.turns.begin(items.len(), jobs) {
            let Some((test, walk)) = items.get(place) else { break };
            let early = catch_unwind(AssertUnwindSafe(|| {
                let mut after = Learned { place, basis: Basis::default(), ..before.clone() };
                let judged = self.timed(test, *walk, &mut after);
                self.aside.early(alone + place, &judged.0);
                Early { before, after, judged }
            }));
            self.turns.change(|state| {
                state.done.insert(place, early);
            });
        }
    }
}

/// What counts of a test that was judged again since more is known: what was found before, if the test now
/// passes. It was found by all interpretations, and what happens now and then has happened.
fn found(before: (TestResult, Met), again: (TestResult, Met)) -> (TestResult, Met) {
    let passes = matches!(again.0.status, Status::Pass | Status::Empty);
    if passes && before.0.is_finding() { before } else { again }
}
