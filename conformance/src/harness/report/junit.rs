//! A report as JUnit XML, for continuous integration.
//!
//! | status | element |
//! |---|---|
//! | pass | a test case, and nothing in it |
//! | warn | the same, with what was seen as its output: a SHOULD fails no build |
//! | fail | `failure`, whose type is the clause |
//! | error | `error`: the harness is at fault |
//! | skip, waived, empty, not run | `skipped`, with why |
//!
//! **Invariant.** No time stands in it: the same results give the same bytes.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{Result as TestResult, Status, SuiteReport};

/// The document. `clause_text` gives what a clause says.
#[must_use]
pub fn junit(suite: &str, report: &SuiteReport, clause_text: impl Fn(&str) -> String) -> String {
    let mut tests = TestSuite::new(suite);
    for result in &report.results {
        tests.add_test_case(case(suite, result, &clause_text(&result.clause)));
    }
    for stale in &report.stale_waivers {
        let status = TestCaseStatus::success();
        let mut case = TestCase::new(format!("waiver {stale}"), status);
        case.set_classname(suite).set_system_out("stale: no finding matches it");
        tests.add_test_case(case);
    }
    if report.interrupted {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message("a signal ended the run: the other tests did not run");
        let mut case = TestCase::new("interrupted", status);
        case.set_classname(suite);
        tests.add_test_case(case);
    }
    if report.nothing_judged {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message("nothing that the implementation did was judged");
        let mut case = TestCase::new("nothing judged", status);
        case.set_classname(suite);
        tests.add_test_case(case);
    }
    if let Some(why) = &report.ended_early {
        let mut case = TestCase::new("ended early", TestCaseStatus::success());
        case.set_classname(suite).set_system_out(why);
        tests.add_test_case(case);
    }
    let mut document = Report::new(format!("devmig test {suite}"));
    document.add_test_suite(tests);
    // Only writing can fail, and nothing is written but to memory.
    document.to_string().unwrap_or_default()
}

fn case(suite: &str, result: &TestResult, text: &str) -> TestCase {
    let observed = result.observed.clone().unwrap_or_default();
    let first = observed.lines().next().unwrap_or_default().to_owned();
    let with = |kind, message: String| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_message(message).set_type(&result.clause).set_description(result.detail(text));
        status
    };
    let status = match result.status {
        Status::Pass | Status::Warn => TestCaseStatus::success(),
        Status::Fail => with(NonSuccessKind::Failure, first),
        Status::Error => with(NonSuccessKind::Error, first),
        Status::Skip => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(first);
            status
        }
        Status::Empty => {
            let mut status = TestCaseStatus::skipped();
            status.set_message("nothing that the implementation did was judged");
            status
        }
        Status::NotRun => {
            let mut status = TestCaseStatus::skipped();
            status.set_message("not run: the run ended early");
            status
        }
        Status::Waived => {
            let reasons: Vec<String> = result.waived.iter().map(|w| w.to_string()).collect();
            let mut status = TestCaseStatus::skipped();
            status.set_message(reasons.join("; "));
            status
        }
    };
    let mut case = TestCase::new(&result.test, status);
    case.set_classname(suite);
    if result.status == Status::Warn {
        case.set_system_out(result.detail(text));
    }
    case
}
