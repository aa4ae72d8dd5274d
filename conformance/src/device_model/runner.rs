//! Runs the suite: a session for each case of each test.
//!
//! **Invariants.** A test that has no case is skipped, and says what it lacks. The first case that finds
//! something ends its test. A case that cannot be had (no such transport, no such way) is passed over.

use devmig_model::registry::Library;

use super::cases::{Case, Source};
use super::session::{Hosts, Session};
use super::subject::Subject;
use super::suite::Test;
use crate::harness::report::{Outcome, Result as TestResult, Status, SuiteReport, Waived};
use crate::harness::verdict::{Entry as _, TestEnd, accepted, outcome};
use crate::harness::waivers::Waiver;

/// The version of the text.
pub const TEXT: &str = "1";

/// How to run.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// Everything that is loaded.
    pub library: &'a Library,
    /// What is under test.
    pub subject: &'a Subject,
    /// The command that runs one test again, without `--only`.
    pub reproduce: String,
    /// Findings that are accepted.
    pub waivers: Vec<Waiver>,
}

/// Runs these tests. `done` is told of each result as it comes.
pub fn run(run: &Run<'_>, tests: &[&Test], mut done: impl FnMut(&TestResult)) -> SuiteReport {
    let hosts = Hosts::of(run.subject);
    let mut results = Vec::new();
    for test in tests {
        let result = judged(run, test, &hosts);
        done(&result);
        results.push(result);
    }
    SuiteReport::of(&run.reproduce, TEXT, run.subject.seed, results, &run.waivers)
}

/// One test, and what a waiver accepts of it.
fn judged(run: &Run<'_>, test: &Test, hosts: &Result<Hosts, TestEnd>) -> TestResult {
    let (ended, log) = match once(run, test, hosts) {
        Ok(()) => (None, Vec::new()),
        Err((stop, log)) => (Some(stop), log),
    };
    let found = match ended {
        None => Outcome::new(Status::Pass),
        Some(stop) => outcome(run.library, test.clause, stop, log),
    };
    let broken = found.clause.unwrap_or(test.clause);
    let waiver = accepted(run.library, &run.waivers, &test.id, &found, broken);
    let (found, waived): (Outcome, Vec<Waived>) = match waiver {
        Some(waiver) => (Outcome::new(Status::Waived), vec![waiver]),
        None => (found, Vec::new()),
    };
    let again = format!("{} --only {} --seed {}", run.reproduce, test.id, run.subject.seed);
    test.about().result(run.library, found, waived, again)
}

/// All cases of a test, until one finds something.
fn once(
    run: &Run<'_>,
    test: &Test,
    hosts: &Result<Hosts, TestEnd>,
) -> Result<(), (TestEnd, Vec<String>)> {
    let plain = |stop| (stop, Vec::new());
    let Some(kind) = test.each else {
        return steps(run, test, hosts.as_ref().ok(), None);
    };
    let hosts = match hosts {
        Ok(hosts) => hosts,
        Err(harness @ TestEnd::Harness(_)) => return Err(plain(harness.clone())),
        Err(_) => return Err(plain(TestEnd::Skip("needs a readable description".into()))),
    };
    let subject = run.subject;
    let source = Source {
        own: &hosts.own,
        peer: hosts.peer.as_ref(),
        golden: &subject.golden,
        most: subject.most,
        seed: subject.seed,
    };
    let cases = source.cases(kind);
    if cases.is_empty() {
        let what = kind.needs().unwrap_or("a case that its description provides");
        return Err(plain(TestEnd::Skip(format!("needs {what}"))));
    }
    let (mut tried, mut passed_over) = (false, None);
    for case in &cases {
        match steps(run, test, Some(hosts), Some(case)) {
            Err((TestEnd::Skip(why), _)) => passed_over = Some(why),
            Err(other) => return Err(other),
            Ok(()) => tried = true,
        }
    }
    match passed_over.filter(|_| !tried) {
        Some(why) => Err(plain(TestEnd::Skip(why))),
        None => Ok(()),
    }
}

/// The steps of a test, for a case.
fn steps(
    run: &Run<'_>,
    test: &Test,
    hosts: Option<&Hosts>,
    case: Option<&Case>,
) -> Result<(), (TestEnd, Vec<String>)> {
    let session = Session::new(run.subject, hosts, test, case);
    let mut session = session.map_err(|stop| (stop, Vec::new()))?;
    for step in &test.steps {
        if let Err(stop) = session.step(*step) {
            return Err((stop, std::mem::take(&mut session.log)));
        }
    }
    Ok(())
}
