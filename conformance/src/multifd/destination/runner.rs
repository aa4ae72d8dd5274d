//! The adapter of destinations: a fresh one for each test.

use devmig_engine::clause::ClauseId;
use devmig_engine::rules::Rules;
use devmig_model::spec::{Spec, SpecErrors};

use super::session::{Clauses, Session, Subject};
use super::suite::{Form, Test};
use crate::harness::report::{Result as TestResult, Status, SuiteReport};
use crate::harness::runner::{self, Next};
use crate::harness::session::Hold;
use crate::harness::verdict::TestEnd;
use crate::harness::walk::Draws;
use crate::multifd::faults::FAULTS;

/// How to run.
pub type Run<'a> = runner::Run<'a, &'a Subject<'a>>;

/// Runs these tests. `done` is told of each result as it comes.
///
/// # Errors
/// If a clause is missing.
pub fn run(
    run: &Run<'_>,
    tests: &[&Test],
    done: impl FnMut(&TestResult),
) -> Result<SuiteReport, SpecErrors> {
    let clauses = Clauses::resolve(&run.library.spec)?;
    let adapter = Adapter { subject: run.subject, clauses, spec: &run.library.spec };
    Ok(runner::play(run, &adapter, run.rules, tests, &[], done))
}

struct Adapter<'a> {
    subject: &'a Subject<'a>,
    clauses: Clauses,
    spec: &'a Spec,
}

impl Adapter<'_> {
    /// Clauses of faults that the version by which a destination is judged does not have yet.
    fn later(&self, rules: &Rules) -> Vec<&'static str> {
        let unseen = self.spec.unobservable();
        let is_later = |clause: ClauseId| rules.off.contains(clause) && !unseen.contains(clause);
        let all = FAULTS.iter().map(|fault| fault.clause);
        all.filter(|id| self.spec.clause(id).is_ok_and(is_later)).collect()
    }
}

impl Draws for Adapter<'_> {
    type Form = Form;
}

impl runner::Adapter for Adapter<'_> {
    const SUPPRESSES: bool = false;

    fn converse(
        &self,
        _: &Test,
        rules: Rules,
        _: &[ClauseId],
        hold: &mut Hold<'_, Form>,
    ) -> Result<(), TestEnd> {
        hold(&mut Session::new(self.subject, self.clauses, self.later(&rules))?)
    }

    fn next(&self, result: &TestResult) -> Next {
        match result.test == "healthy" && result.status != Status::Pass {
            true => Next::End("the migration does not complete as it was recorded".to_owned()),
            false => Next::GoOn,
        }
    }
}
