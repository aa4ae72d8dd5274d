//! Past a deviation: a test that finds one is done again with the broken clause not enforced, and what it
//! finds then is reported too.
//!
//! ```text
//!   attempt --finding--> may it go on? --no--> the test ends
//!                            | yes
//!                            v
//!   again, the clause not enforced --> passes: nothing further | a finding: go on? ... up to MOST
//! ```
//!
//! **Invariants.** The first attempt enforces every clause, so going on changes no verdict but to a worse
//! one. Nothing is judged after a death, a closed connection, an answer that did not come, an answer that
//! cannot be assigned to a request, or where the adapter does not know in which state the implementation
//! is. What breaks a clause that is already known to be broken is not found twice.

use devmig_engine::clause::ClauseId;

use crate::harness::aftermath::Aftermath;
use crate::harness::report::{Further, Outcome, Status, fewest};
use crate::harness::verdict::level;
use devmig_model::registry::Library;

/// The most findings of one test.
pub(super) const MOST: usize = 8;

/// How far an attempt came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Reach {
    /// The index of its last step.
    pub(super) step: usize,
    /// Steps are left.
    pub(super) has_more: bool,
    /// The session knows what follows its finding.
    pub(super) may_go_on: bool,
    /// It found what only contradicts other tests.
    pub(super) contradicts: bool,
}

/// What a test has found, and where.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<(Outcome, Aftermath)>,
    /// Where the last was found.
    last: Option<(usize, Option<String>)>,
    /// How often the test has gone on.
    times: usize,
}

impl Findings {
    /// Whether nothing was gone past.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether a test goes on past this finding of a clause, which is then kept.
    pub(super) fn go_past(
        &mut self,
        outcome: &Outcome,
        aftermath: &Aftermath,
        reach: Reach,
        off: &[ClauseId],
    ) -> bool {
        let is_finding = matches!(outcome.status, Status::Fail | Status::Warn) && !outcome.died;
        let lives = !aftermath.closed && aftermath.remains.ended.is_none();
        let is_new = outcome.clause.is_some_and(|clause| !off.contains(&clause));
        let knows = reach.may_go_on && reach.has_more && lives;
        if !(is_finding && is_new && knows && self.times < MOST) {
            return false;
        }
        self.times += 1;
        // One event can break several clauses: it is one finding.
        let place = Some((reach.step, outcome.observed.clone()));
        if place != self.last {
            self.found.push((outcome.clone(), aftermath.clone()));
            self.last = place;
        }
        true
    }

    /// The worst of what was found, the others, and how the test ended at last.
    pub(super) fn with_last(
        mut self,
        library: &Library,
        about: ClauseId,
        last: Outcome,
        aftermath: Aftermath,
        reach: Reach,
        off: &[ClauseId],
    ) -> Combined {
        if self.is_empty() {
            return Combined { outcome: last, aftermath, further: Vec::new(), then: None };
        }
        let known = last.clause.is_some_and(|clause| off.contains(&clause));
        let place = Some((reach.step, last.observed.clone()));
        let then = match last.status {
            Status::Pass | Status::Empty | Status::Waived => Some(NOTHING.to_owned()),
            // What contradicts other tests may be what the deviation leads to.
            Status::Fail | Status::Warn if reach.contradicts => {
                Some(not_judged("what came contradicts other tests"))
            }
            Status::Fail | Status::Warn if (known && !last.died) || place == self.last => {
                Some(not_judged("the same clause is broken again"))
            }
            Status::Fail | Status::Warn => None,
            _ => Some(not_judged(last.observed.as_deref().unwrap_or_default())),
        };
        if then.is_none() {
            self.found.push((last, aftermath));
        }
        let clauses = self.found.iter().map(|(outcome, _)| named(library, about, outcome));
        let clauses: Vec<String> = clauses.collect();
        let is_failure = |(outcome, _): &(Outcome, Aftermath)| outcome.status == Status::Fail;
        let worst = self.found.iter().position(is_failure).unwrap_or_default();
        let all = self.found.iter().enumerate().filter(|(at, _)| *at != worst);
        let further = all.map(|(at, (outcome, _))| {
            further(library, about, outcome, clauses.get(..at).unwrap_or_default().to_vec())
        });
        let further = further.collect();
        let (outcome, aftermath) = self.found.swap_remove(worst);
        Combined { outcome, aftermath, further, then }
    }
}

/// What nothing further is called.
const NOTHING: &str = "nothing further";

fn not_judged(why: &str) -> String {
    format!("not judged further: {}", why.lines().next().unwrap_or_default())
}

fn named(library: &Library, about: ClauseId, outcome: &Outcome) -> String {
    library.spec.clause_name(outcome.clause.unwrap_or(about)).to_owned()
}

fn further(library: &Library, about: ClauseId, outcome: &Outcome, after: Vec<String>) -> Further {
    Further {
        clause: named(library, about, outcome),
        level: level(library, outcome.clause.unwrap_or(about)),
        status: outcome.status,
        observed: outcome.observed.clone().unwrap_or_default(),
        expected: fewest(&outcome.expected),
        after,
        log: outcome.log.clone(),
    }
}

/// What a test comes to.
#[derive(Debug)]
pub(super) struct Combined {
    /// The first of its worst findings, or how it ended.
    pub(super) outcome: Outcome,
    /// What was left of the implementation then.
    pub(super) aftermath: Aftermath,
    /// The other findings, in their order.
    pub(super) further: Vec<Further>,
    /// How it ended once it had gone on, if not by a finding.
    pub(super) then: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MORE: Reach = Reach { step: 1, has_more: true, may_go_on: true, contradicts: false };

    fn found(clause: usize, observed: &str, status: Status) -> Outcome {
        let (clause, observed) = (Some(ClauseId::new(clause)), Some(observed.to_owned()));
        Outcome { clause, observed, ..Outcome::new(status) }
    }

    fn goes(outcome: &Outcome, aftermath: &Aftermath, reach: Reach) -> bool {
        Findings::default().go_past(outcome, aftermath, reach, &[])
    }

    #[test]
    fn a_test_goes_on_only_where_it_is_known_what_follows() {
        let (fail, alive) = (found(1, "wrong", Status::Fail), Aftermath::default());
        assert!(goes(&fail, &alive, MORE));
        assert!(!goes(&fail, &Aftermath { closed: true, ..Aftermath::default() }, MORE));
        assert!(!goes(&Outcome { died: true, ..fail.clone() }, &alive, MORE));
        assert!(!goes(&Outcome { clause: None, ..fail.clone() }, &alive, MORE));
        assert!(!goes(&fail, &alive, Reach { may_go_on: false, ..MORE }));
        assert!(!goes(&fail, &alive, Reach { has_more: false, ..MORE }));
        assert!(!goes(&Outcome::new(Status::Error), &alive, MORE));
        assert!(!Findings::default().go_past(&fail, &alive, MORE, &[ClauseId::new(1)]));
    }

    #[test]
    fn a_test_ends_after_a_stated_number_of_findings() {
        let (mut findings, alive) = (Findings::default(), Aftermath::default());
        let goes = (0..20).take_while(|n| {
            let outcome = found(*n, &format!("wrong {n}"), Status::Fail);
            findings.go_past(&outcome, &alive, Reach { step: *n, ..MORE }, &[])
        });
        assert_eq!(goes.count(), MOST);
    }

    #[test]
    fn the_worst_comes_first_and_one_event_is_one_finding() {
        let library = Library::builtin().unwrap();
        let (mut findings, alive) = (Findings::default(), Aftermath::default());
        let warning = found(1, "odd", Status::Warn);
        assert!(findings.go_past(&warning, &alive, MORE, &[]));
        // The same event breaks another clause too.
        assert!(findings.go_past(&found(2, "odd", Status::Warn), &alive, MORE, &[]));
        let (last, at) = (found(3, "wrong", Status::Fail), Reach { step: 4, ..MORE });
        let all = findings.with_last(&library, ClauseId::NONE, last, alive, at, &[]);
        assert_eq!(all.outcome.status, Status::Fail);
        let further: Vec<_> = all.further.iter().map(|f| (f.status, &*f.observed)).collect();
        assert_eq!((further, all.then), (vec![(Status::Warn, "odd")], None));
    }

    #[test]
    fn what_passes_only_since_a_clause_is_not_enforced_has_failed() {
        let library = Library::builtin().unwrap();
        for (last, then) in [
            (Outcome::new(Status::Pass), "nothing further"),
            (Outcome::new(Status::Skip), "not judged further: "),
            (found(1, "wrong again", Status::Fail), "not judged further: the same clause"),
        ] {
            let (mut findings, alive) = (Findings::default(), Aftermath::default());
            assert!(findings.go_past(&found(1, "wrong", Status::Fail), &alive, MORE, &[]));
            let off = [ClauseId::new(1)];
            let all = findings.with_last(&library, ClauseId::NONE, last, alive, MORE, &off);
            assert_eq!(all.outcome.status, Status::Fail);
            assert!(all.further.is_empty());
            assert!(all.then.is_some_and(|said| said.starts_with(then)));
        }
    }
}
