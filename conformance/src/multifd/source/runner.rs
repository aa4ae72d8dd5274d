//! The adapter of sources: a fresh one for each test.

use devmig_engine::clause::ClauseId;
use devmig_engine::rules::Rules;
use devmig_model::registry::Library;

use super::session::{Session, Subject};
use super::suite::{Form, Test};
use crate::harness::report::{Result as TestResult, SuiteReport};
use crate::harness::runner;
use crate::harness::session::Hold;
use crate::harness::verdict::TestEnd;
use crate::harness::walk::Draws;

/// How to run.
pub type Run<'a> = runner::Run<'a, &'a Subject<'a>>;

/// Runs these tests. `done` is told of each result as it comes.
pub fn run(run: &Run<'_>, tests: &[&Test], done: impl FnMut(&TestResult)) -> SuiteReport {
    let adapter = Adapter { subject: run.subject, library: run.library };
    runner::play(run, &adapter, run.rules, tests, &[], done)
}

struct Adapter<'a> {
    subject: &'a Subject<'a>,
    library: &'a Library,
}

impl Draws for Adapter<'_> {
    type Form = Form;
}

impl runner::Adapter for Adapter<'_> {
    const SUPPRESSES: bool = false;

    fn converse(
        &self,
        _: &Test,
        _: Rules,
        _: &[ClauseId],
        hold: &mut Hold<'_, Form>,
    ) -> Result<(), TestEnd> {
        hold(&mut Session::new(self.subject, self.library)?)
    }
}
