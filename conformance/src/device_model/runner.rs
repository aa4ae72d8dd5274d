//! The adapter of device models: a session for each case of each test.
//!
//! **Invariants.** A test that has no case is skipped, and says what it lacks. The first case that finds
//! something ends its test. A case that cannot be had (no such transport, no such way) is passed over.

use devmig_engine::clause::ClauseId;
use devmig_engine::rules::Rules;

use super::cases::{Case, Source};
use super::script::Step;
use super::session::{Hosts, Session};
use super::subject::Subject;
use super::suite::{Form, Test};
use crate::harness::aftermath::Aftermath;
use crate::harness::report::{Result as TestResult, SuiteReport};
use crate::harness::runner;
use crate::harness::session::{self, Hold};
use crate::harness::verdict::TestEnd;
use crate::harness::walk::Draws;

/// The version of the text.
pub const TEXT: &str = "1";

/// How to run.
pub type Run<'a> = runner::Run<'a, &'a Subject>;

/// Runs these tests. `done` is told of each result as it comes.
pub fn run(run: &Run<'_>, tests: &[&Test], done: impl FnMut(&TestResult)) -> SuiteReport {
    let hosts = Hosts::of(run.subject);
    let adapter = Adapter { subject: run.subject, seed: run.seed, hosts };
    runner::play(run, &adapter, Rules::default(), tests, &[], done)
}

struct Adapter<'a> {
    subject: &'a Subject,
    seed: u64,
    hosts: Result<Hosts, TestEnd>,
}

impl Draws for Adapter<'_> {
    type Form = Form;
}

impl runner::Adapter for Adapter<'_> {
    const SUPPRESSES: bool = false;

    fn converse(
        &self,
        test: &Test,
        _: Rules,
        _: &[ClauseId],
        hold: &mut Hold<'_, Form>,
    ) -> Result<(), TestEnd> {
        let mut once = |hosts: Option<&Hosts>, case: Option<&Case>| {
            hold(&mut Session::new(self.subject, hosts, test, case)?)
        };
        let Some(kind) = test.own.each else { return once(self.hosts.as_ref().ok(), None) };
        let hosts = match &self.hosts {
            Ok(hosts) => hosts,
            Err(harness @ TestEnd::Harness(_)) => return Err(harness.clone()),
            Err(_) => return Err(TestEnd::Skip("needs a readable description".into())),
        };
        let source = Source {
            own: &hosts.own,
            peer: hosts.peer.as_ref(),
            golden: &self.subject.golden,
            most: self.subject.most,
            seed: self.seed,
        };
        let cases = source.cases(kind);
        if cases.is_empty() {
            let what = kind.needs().unwrap_or("a case that its description provides");
            return Err(TestEnd::Skip(format!("needs {what}")));
        }
        let (mut tried, mut passed_over) = (false, None);
        for case in &cases {
            match once(Some(hosts), Some(case)) {
                Err(TestEnd::Skip(why)) => passed_over = Some(why),
                Err(other) => return Err(other),
                Ok(()) => tried = true,
            }
        }
        passed_over.filter(|_| !tried).map_or(Ok(()), |why| Err(TestEnd::Skip(why)))
    }
}

impl session::Session<Form> for Session<'_> {
    fn step(&mut self, _: &Test, step: &Step) -> Result<(), TestEnd> {
        Session::step(self, *step)
    }

    fn aftermath(&mut self) -> Aftermath {
        Session::aftermath(self)
    }

    fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}
