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
    let note = |name: &str, status: TestCaseStatus| {
        let mut case = TestCase::new(name, status);
        case.set_classname(suite);
        case
    };
    let error = |why: &str| {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(why);
        status
    };
    for result in &report.results {
        tests.add_test_case(case(suite, result, &clause_text(&result.clause)));
    }
    for stale in &report.stale_waivers {
        let mut case = note(&format!("waiver {stale}"), TestCaseStatus::success());
        case.set_system_out("stale: no finding matches it");
        tests.add_test_case(case);
    }
    if report.interrupted {
        let status = error("a signal ended the run: the other tests did not run");
        tests.add_test_case(note("interrupted", status));
    }
    if report.nothing_judged {
        let status = error("nothing that the implementation did was judged");
        tests.add_test_case(note("nothing judged", status));
    }
    if let Some(why) = &report.ended_early {
        let mut case = note("ended early", TestCaseStatus::success());
        case.set_system_out(why);
        tests.add_test_case(case);
    }
    let mut document = Report::new(format!("devmig test {suite}"));
    document.add_test_suite(tests);
    if let Some(around) = report.around.as_ref().filter(|around| !around.without.is_empty()) {
        let name = format!("{suite} {}", around.options());
        let mut tests = TestSuite::new(&name);
        for result in &around.results {
            tests.add_test_case(case(&name, result, &clause_text(&result.clause)));
        }
        document.add_test_suite(tests);
    }
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
    let skipped = |why: &str| {
        let mut status = TestCaseStatus::skipped();
        status.set_message(why);
        status
    };
    let status = match result.status {
        Status::Pass | Status::Warn => TestCaseStatus::success(),
        Status::Fail => with(NonSuccessKind::Failure, first),
        Status::Error => with(NonSuccessKind::Error, first),
        Status::Skip => skipped(&first),
        Status::Empty => skipped("nothing that the implementation did was judged"),
        Status::NotRun => skipped("not run: the run ended early"),
        Status::Waived => {
            let reasons: Vec<String> = result.waived.iter().map(|w| w.to_string()).collect();
            skipped(&reasons.join("; "))
        }
    };
    let mut case = TestCase::new(&result.test, status);
    case.set_classname(suite);
    if result.status == Status::Warn {
        case.set_system_out(result.detail(text));
    }
    case
}
