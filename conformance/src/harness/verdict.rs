//! What ends a test, and what that means: shared by every suite.
//!
//! ```text
//!   conversation --TestEnd--> outcome --> a waiver accepts it, or it is reported
//! ```
//!
//! **Not here:** any conversation.

use std::process::ExitStatus;

use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::rules::Choices;
use devmig_model::registry::Library;
use devmig_model::spec::{Level, Spec};

use crate::harness::aftermath::Aftermath;
use crate::harness::io::process::{SpawnError, is_crash, words};
pub use crate::harness::report::StepOutcome;
use crate::harness::report::{Outcome, Result as TestResult, Status, Waived, fewest};
use crate::harness::waivers::Waiver;

/// What is expected of a process that died.
const ALIVE: &str = "the process keeps running, whatever it is sent";

/// What ends a test before its last step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TestEnd {
    /// The implementation broke a clause.
    Finding {
        /// Which; [`ClauseId::NONE`] for the test's own.
        clause: ClauseId,
        /// What came.
        observed: String,
        /// What was allowed.
        expected: Vec<String>,
    },
    /// The test itself broke a clause.
    Illegal {
        /// Which.
        clause: ClauseId,
    },
    /// Something that the test needs is not there.
    Skip(String),
    /// The implementation refused a legal command in the way that the text provides.
    Refused(String),
    /// The implementation has closed the connection, and may: there is nobody left to talk to.
    Over,
    /// The process died, or the connection was closed where an answer was pending: a failure, whatever
    /// the test is about.
    Died {
        /// The clause that was broken; [`ClauseId::NONE`] if none says more than this.
        clause: ClauseId,
        /// What came.
        observed: String,
        /// What was allowed.
        expected: Vec<String>,
    },
    /// The implementation cannot be reached.
    Unreached {
        /// Why.
        why: String,
        /// How its process ended before it listened, if it did.
        ended: Option<ExitStatus>,
        /// A later test cannot reach it either.
        for_good: bool,
    },
    /// The harness cannot go on.
    Harness(String),
}

impl TestEnd {
    /// A death that breaks no clause but that processes live.
    #[must_use]
    pub fn died(observed: impl Into<String>) -> Self {
        let expected = vec![ALIVE.to_owned()];
        TestEnd::Died { clause: ClauseId::NONE, observed: observed.into(), expected }
    }

    /// The process of a command was not started, or ended before it listened.
    #[must_use]
    pub fn unstarted(error: &SpawnError) -> Self {
        let ended =
            if let SpawnError::Exited { status, .. } = error { Some(*status) } else { None };
        TestEnd::Unreached { why: error.to_string(), ended, for_good: false }
    }

    /// The harness cannot go on because of this.
    #[must_use]
    pub fn harness(why: impl std::fmt::Display) -> Self {
        TestEnd::Harness(why.to_string())
    }
}

/// A test, and what is said about it in a report.
#[derive(Clone, Copy, Debug)]
pub struct TestInfo<'a> {
    /// Its id.
    pub test: &'a str,
    /// What it is for.
    pub purpose: &'a str,
    /// The clause that it is about.
    pub clause: ClauseId,
}

impl TestInfo<'_> {
    /// What came of it; `again` is the command that runs it again.
    #[must_use]
    pub fn result(
        self,
        library: &Library,
        outcome: Outcome,
        waived: Vec<Waived>,
        again: String,
    ) -> TestResult {
        let broken = outcome.clause.unwrap_or(self.clause);
        TestResult {
            test: self.test.to_owned(),
            clause: library.spec.clause_name(broken).to_owned(),
            level: level(library, broken),
            about: (broken != self.clause)
                .then(|| library.spec.clause_name(self.clause).to_owned()),
            status: outcome.status,
            expected: fewest(&outcome.expected),
            observed: outcome.observed,
            reproduce: again,
            log: outcome.log,
            further: Vec::new(),
            then: None,
            waived,
            process: None,
            milliseconds: 0,
            died: outcome.died,
            purpose: self.purpose.to_owned(),
            taken: Vec::new(),
        }
    }
}

/// The finding, if somebody has given a reason for it.
#[must_use]
pub fn accepted(
    library: &Library,
    waivers: &[Waiver],
    test: &str,
    outcome: &Outcome,
    broken: ClauseId,
) -> Option<Waived> {
    if !matches!(outcome.status, Status::Fail | Status::Warn) {
        return None;
    }
    let clause = library.spec.clause_name(broken).to_owned();
    let waiver = waivers.iter().find(|waiver| waiver.covers(test, &clause))?;
    let observed = outcome.observed.clone().unwrap_or_default();
    Some(Waived { clause, observed, reason: waiver.reason.clone() })
}

/// The end of a test once it is known what is left of the implementation: a crash is a failure whatever
/// ended the test, and an exit explains a closed connection.
///
/// # Errors
/// What ends the test.
pub fn with_aftermath(ended: Result<(), TestEnd>, aftermath: &Aftermath) -> Result<(), TestEnd> {
    let Some(status) = aftermath.remains.ended else { return ended };
    let how = format!("the process ended: {}", words(status));
    let crashed = is_crash(status);
    match ended {
        Err(TestEnd::Finding { clause, observed, expected }) if crashed => {
            Err(TestEnd::Died { clause, observed: format!("{observed}; {how}"), expected })
        }
        Err(TestEnd::Finding { clause, observed, expected }) => {
            Err(TestEnd::Finding { clause, observed: format!("{observed}; {how}"), expected })
        }
        Err(TestEnd::Died { clause, observed, expected }) if !observed.contains(&how) => {
            Err(TestEnd::Died { clause, observed: format!("{observed}; {how}"), expected })
        }
        Err(end @ (TestEnd::Died { .. } | TestEnd::Unreached { .. })) => Err(end),
        Err(TestEnd::Harness(why)) if crashed => Err(TestEnd::died(format!("{why}; {how}"))),
        _ if crashed => Err(TestEnd::died(how)),
        ended => ended,
    }
}

/// A connection that was closed where no text gives a reason to is a failure, whatever the level of the
/// clause.
#[must_use]
pub fn fatal(end: TestEnd, aftermath: &Aftermath) -> TestEnd {
    match end {
        TestEnd::Finding { clause, observed, expected } if aftermath.wrongly => {
            TestEnd::Died { clause, observed, expected }
        }
        other => other,
    }
}

/// The end of a test whose implementation was not reached. One that crashed before it listened died; so
/// did one that exited where an earlier test has reached it (`before`): its command is right.
#[must_use]
pub fn with_start(end: TestEnd, before: bool) -> TestEnd {
    match end {
        TestEnd::Unreached { why, ended: Some(status), .. } if before || is_crash(status) => {
            let expected = vec!["the process listens".to_owned()];
            TestEnd::Died { clause: ClauseId::NONE, observed: why, expected }
        }
        other => other,
    }
}

/// What the end of a test about this clause comes to.
#[must_use]
pub fn outcome(library: &Library, about: ClauseId, stop: TestEnd, log: Vec<String>) -> Outcome {
    match stop {
        TestEnd::Finding { clause, observed, expected } => {
            let clause = if clause == ClauseId::NONE { about } else { clause };
            let status = match library.spec.get(clause).map(|c| c.level) {
                Some(Level::Must) | None => Status::Fail,
                Some(_) => Status::Warn,
            };
            // Every failure says what was expected: at least what the clause wants.
            let wanted = || library.spec.get(clause).map(|c| c.text.clone()).into_iter().collect();
            let expected = if expected.is_empty() { wanted() } else { expected };
            let observed = Some(observed);
            Outcome { clause: Some(clause), observed, expected, log, ..Outcome::new(status) }
        }
        TestEnd::Refused(observed) => {
            let expected = vec!["the command succeeds".to_owned()];
            Outcome { observed: Some(observed), expected, log, ..Outcome::new(Status::Warn) }
        }
        // No clause says that a process may die, whatever it was sent.
        TestEnd::Died { clause, observed, expected } => {
            let clause = (clause != ClauseId::NONE).then_some(clause);
            let observed = Some(observed);
            Outcome { clause, observed, expected, log, died: true, ..Outcome::new(Status::Fail) }
        }
        TestEnd::Unreached { why, .. } => {
            Outcome { observed: Some(why), log, ..Outcome::new(Status::Error) }
        }
        TestEnd::Illegal { clause } => {
            let why = format!("the test itself breaks {}", library.spec.clause_name(clause));
            Outcome { observed: Some(why), log, ..Outcome::new(Status::Error) }
        }
        TestEnd::Over => Outcome::new(Status::Pass),
        TestEnd::Skip(why) => Outcome { observed: Some(why), ..Outcome::new(Status::Skip) },
        TestEnd::Harness(why) => {
            Outcome { observed: Some(why), log, ..Outcome::new(Status::Error) }
        }
    }
}

/// MUST, SHOULD or MAY; empty for a clause that is none.
#[must_use]
pub fn level(library: &Library, clause: ClauseId) -> String {
    library.spec.get(clause).map(|c| c.level.to_string()).unwrap_or_default()
}

/// The options of a choice that are still possible.
#[must_use]
pub fn options(spec: &Spec, choice: ChoiceId, choices: &Choices) -> Vec<u8> {
    let count = spec.get_choice(choice).map_or(0, |c| c.options.len()) as u8;
    (0..count).filter(|option| choices.allows(choice, *option)).collect()
}

/// The choices that were met, with the options that are still possible.
#[must_use]
pub fn readings(library: &Library, known: &Choices, open: &Choices) -> Vec<(String, Vec<String>)> {
    let spec = &library.spec;
    (0..spec.choices().len())
        .map(ChoiceId::new)
        .filter(|choice| options(spec, *choice, known) != options(spec, *choice, open))
        .map(|choice| {
            let names = options(spec, choice, known);
            let names = names.into_iter().map(|o| spec.option_name(choice, o).to_owned());
            (spec.choice_name(choice).to_owned(), names.collect())
        })
        .collect()
}
