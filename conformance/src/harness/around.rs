//! A second run around one cause: where nearly every test fails alike, and no test could go on past it,
//! the same tests run again without the feature that the cause depends on.
//!
//! ```text
//!   report --nearly all alike?--> the tests that failed, without every optional feature: still alike? --> none
//!                                       | no
//!                                       v
//!                                  without each one alone --> the first that is enough, or all of them
//!                                       |
//!                                       v
//!                                  every test again, without it --> reported beside the first run
//! ```
//!
//! **Invariants.** The first run stands as it is, and its exit code is the run's. A trial runs few tests.

use std::collections::BTreeMap;

use super::report::{Around, Result as TestResult, Status, SuiteReport, alike};

/// The fewest tests that fail alike for a second run.
const LEAST: usize = 3;

/// The fewest of ten judged tests that fail alike for a second run.
const OF_TEN: usize = 9;

/// Tests of a trial.
const TRIED: usize = 2;

/// The tests that nearly all fail alike, if nearly all do and none went on past it; and how many were
/// judged.
fn nearly_all(report: &SuiteReport) -> Option<(Vec<&TestResult>, usize)> {
    let judged = |result: &&TestResult| {
        !matches!(result.status, Status::Skip | Status::NotRun | Status::Empty)
    };
    let judged: Vec<&TestResult> = report.results.iter().filter(judged).collect();
    let mut by_cause: BTreeMap<_, Vec<&TestResult>> = BTreeMap::new();
    for result in judged.iter().filter(|result| result.status == Status::Fail) {
        by_cause.entry(alike(result)).or_default().push(result);
    }
    let most = by_cause.into_values().max_by_key(Vec::len)?;
    let nearly_all = most.len() >= LEAST && most.len() * 10 >= judged.len() * OF_TEN;
    // Who went on has seen what comes after.
    let went_on = most.iter().any(|result| result.then.is_some() || !result.further.is_empty());
    (nearly_all && !went_on).then_some((most, judged.len()))
}

/// The report with what the tests show without the feature that a common cause depends on, if there is
/// one. `again` runs these tests (all, if none are named) without these features.
///
/// # Errors
/// Those of `again`.
pub fn around<E>(
    report: SuiteReport,
    optional: &[String],
    again: impl Fn(&[String], &[&str]) -> Result<SuiteReport, E>,
) -> Result<SuiteReport, E> {
    let Some((alike_ones, judged)) = nearly_all(&report) else { return Ok(report) };
    let Some(first) = alike_ones.first() else { return Ok(report) };
    let cause = alike(first);
    let tried: Vec<&str> = alike_ones.iter().take(TRIED).map(|result| &*result.test).collect();
    let avoids = |left_out: &[String]| -> Result<bool, E> {
        let trial = again(left_out, &tried)?;
        // A test that needs what is left out shows nothing.
        let ran = trial.results.iter().filter(|result| result.status != Status::Skip);
        let (ran, same): (Vec<_>, Vec<_>) = ran.partition(|result| alike(result) != cause);
        Ok(!ran.is_empty() && same.is_empty())
    };
    let mut left_out = Vec::new();
    if !optional.is_empty() && avoids(optional)? {
        left_out = optional.to_vec();
        for one in optional {
            let one = std::slice::from_ref(one);
            if avoids(one)? {
                left_out = one.to_vec();
                break;
            }
        }
    }
    let second = if left_out.is_empty() { None } else { Some(again(&left_out, &[])?) };
    let around = Around {
        clause: first.clause.clone(),
        observed: first.observed.clone().unwrap_or_default(),
        count: alike_ones.len(),
        judged,
        without: left_out,
        summary: second.as_ref().map(|second| second.summary).unwrap_or_default(),
        results: second.map(|second| second.results).unwrap_or_default(),
    };
    Ok(SuiteReport { around: Some(Box::new(around)), ..report })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::convert::Infallible;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn report(results: Vec<TestResult>) -> SuiteReport {
        SuiteReport::of("devmig test", "1", 1, results, &[])
    }

    fn fails(count: usize) -> Vec<TestResult> {
        let one = |n| {
            let observed = format!("no reply to SET_LOG_BASE within {n}s");
            TestResult::example(&format!("t{n}"), Status::Fail, "reply.must", &observed)
        };
        (0..count).map(one).collect()
    }

    /// The second run of an implementation whose tests all fail unless one of these is left out.
    fn tried(
        first: Vec<TestResult>,
        optional: &[&str],
        enough: &[&str],
    ) -> (Option<Around>, usize) {
        let runs = RefCell::new(0);
        let again = |left_out: &[String], tests: &[&str]| {
            *runs.borrow_mut() += 1;
            let avoided = enough.iter().all(|name| left_out.iter().any(|out| out == name));
            let all = first.iter().filter(|one| tests.is_empty() || tests.contains(&&*one.test));
            let results = all.cloned().map(|one| match avoided {
                true if one.test == "t1" => {
                    TestResult::example("t1", Status::Fail, "dirty-log.marks", "nothing is marked")
                }
                true => TestResult::example(&one.test, Status::Pass, "reply.must", ""),
                false => one,
            });
            Ok::<_, Infallible>(report(results.collect()))
        };
        let Ok(around) = around(report(first.clone()), &names(optional), again);
        (around.around.map(|around| *around), runs.into_inner())
    }

    #[test]
    fn what_all_have_in_common_is_left_out_and_the_fault_behind_it_is_found() {
        let (around, _) = tried(fails(9), &["CONFIG", "LOG_SHMFD", "MQ"], &["LOG_SHMFD"]);
        let around = around.unwrap();
        assert_eq!((around.count, around.judged), (9, 9));
        assert_eq!(around.without, ["LOG_SHMFD"]);
        assert_eq!((around.summary.pass, around.summary.fail), (8, 1));
        assert!(around.results.iter().any(|result| result.clause == "dirty-log.marks"));
    }

    #[test]
    fn several_features_are_left_out_where_no_single_one_is_enough() {
        let (around, _) = tried(fails(9), &["CONFIG", "LOG_SHMFD", "MQ"], &["CONFIG", "MQ"]);
        assert_eq!(around.unwrap().without.len(), 3);
    }

    #[test]
    fn what_depends_on_no_feature_costs_one_trial() {
        let (around, runs) = tried(fails(9), &["CONFIG", "MQ"], &["another"]);
        assert_eq!((around.map(|around| around.without.len()), runs), (Some(0), 1));
    }

    #[test]
    fn a_few_failures_and_tests_that_went_on_are_no_reason_to_run_again() {
        let mut mixed = fails(8);
        mixed.push(TestResult::example("p", Status::Pass, "reply.must", ""));
        assert_eq!(tried(mixed, &["MQ"], &["MQ"]), (None, 0));
        assert_eq!(tried(fails(2), &["MQ"], &["MQ"]), (None, 0));
        let went_on = fails(9)
            .into_iter()
            .map(|result| TestResult { then: Some("nothing further".to_owned()), ..result });
        assert_eq!(tried(went_on.collect(), &["MQ"], &["MQ"]), (None, 0));
        let mut skipped = fails(3);
        skipped.push(TestResult::example("s", Status::Skip, "reply.must", "needs a NIC"));
        assert!(tried(skipped, &["MQ"], &["MQ"]).0.is_some());
    }
}
