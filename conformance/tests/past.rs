//! Tests go on past a deviation: a single fault is never told as another one besides, and of two faults
//! of which one hides the other both are found in one run.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use devmig_conformance::harness::parallel::in_turn;
use devmig_conformance::harness::report::{Status, SuiteReport};
use devmig_conformance::vfio;
use devmig_conformance::vhost_user::mutants::{AT_ONCE, MutationRun, TestBed};
use devmig_conformance::vhost_user::suite::Test;
use devmig_model::registry::Library;
use devmig_reference::vfio_user;
use devmig_reference::vhost_user::{Mutant, Settings};

/// What is found besides a fault, and is one: a feature that has no effect breaks the clauses of both
/// kinds of mark; a message that names another ring loses whatever it tells; in a ring of another size
/// the guest finds neither its notification nor its request.
const IS_ONE: [(&str, &str); 5] = [
    ("inband-wrong-ring", "vhost-user.err.signalled"),
    ("ring-size-ignored", "vhost-user.ring.started-processes"),
    ("features-fixed", "vhost-user.dirty-log.marks-used-ring"),
    ("features-ignored", "vhost-user.dirty-log.marks-used-ring"),
    ("features-of-first", "vhost-user.dirty-log.marks-used-ring"),
];

/// What a report says besides the first finding of each test, of other clauses than these.
fn besides(report: &SuiteReport, but: &[&str]) -> Vec<String> {
    let further = report.results.iter().flat_map(|result| {
        let told = result.further.iter().filter(|further| !but.contains(&&*further.clause));
        told.map(move |further| {
            let (test, first) = (&result.test, &result.clause);
            format!("{test}: {first}, then {}: {}", further.clause, further.observed)
        })
    });
    further.collect()
}

/// Whether a fault, by its number, meets a test, of which it meets one in `of`. A test is told by its name
/// alone, so that a new one moves none of the others.
fn meets(n: usize, of: usize, test: &str) -> bool {
    let sum: usize = test.bytes().map(usize::from).sum();
    (sum + n).is_multiple_of(of)
}

/// What is wrong with each, many of them at a time; what seems wrong is looked at once more, alone. On a busy
/// machine a back-end can be too slow for a limit of the suite, and nothing is confirmed here as it is in a run.
fn wrong<T: Sync>(all: &[T], look: impl Fn(&T) -> Vec<String> + Sync) -> Vec<String> {
    let first = in_turn(all, AT_ONCE, &look);
    let doubtful = all.iter().zip(first).filter(|(_, wrong)| !wrong.is_empty());
    doubtful.flat_map(|(one, _)| look(one)).collect()
}

/// The clauses that a report names.
fn clauses(report: &SuiteReport) -> BTreeSet<String> {
    let each = report.results.iter().flat_map(|result| result.each());
    each.filter(|result| result.is_finding()).map(|result| result.clause.clone()).collect()
}

fn with_back_end(work: impl FnOnce(MutationRun<'_>)) {
    common::with_back_end(|run| work(MutationRun { goes_past: true, ..run }));
}

#[test]
fn a_single_fault_of_a_back_end_is_not_told_as_two() {
    with_back_end(|bench| {
        // Every fault, and of the tests a few: each meets other states.
        let tests: Vec<&Test> = bench.legal();
        let faults: Vec<(usize, Mutant)> = Mutant::ALL.iter().copied().enumerate().collect();
        let wrong = wrong(&faults, |(n, mutant)| {
            let some: Vec<&Test> =
                tests.iter().copied().filter(|test| meets(*n, 19, &test.id)).collect();
            let settings = Settings::default();
            let report = bench.run(TestBed::Disk, settings, Some(*mutant), &some).unwrap();
            let known = IS_ONE.iter().filter(|(of, _)| *of == mutant.name());
            let mut but: Vec<&str> = known.map(|(_, clause)| *clause).collect();
            but.push(mutant.clause());
            let wrong = besides(&report, &but).into_iter();
            wrong.map(|line| format!("{mutant} in {line}")).collect()
        });
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Faults that nearly every test meets, and that hide what comes after.
const COMMON: [Mutant; 3] = [Mutant::ReplyTooLong, Mutant::NoReplyFlag, Mutant::WrongReplyVersion];

/// One that never replies shows nothing of its replies.
const HIDES: Mutant = Mutant::SilentGetFeatures;

#[test]
fn of_two_faults_of_a_back_end_both_are_found_in_one_run() {
    with_back_end(|bench| {
        let tests = bench.legal();
        let behind: Vec<(usize, Mutant)> =
            Mutant::ALL.iter().copied().step_by(2).enumerate().collect();
        let pairs = AtomicUsize::new(0);
        let hidden = wrong(&behind, |(n, behind)| {
            let common = COMMON[n % COMMON.len()];
            let is_about =
                |test: &&&Test| bench.library.spec.clause_name(test.clause) == behind.clause();
            let some: Vec<&Test> = tests.iter().filter(is_about).copied().collect();
            if COMMON.contains(behind) || *behind == HIDES || some.is_empty() {
                return Vec::new();
            }
            let pair = MutationRun {
                library: bench.library,
                suite: bench.suite,
                pairs: Vec::new(),
                rules: bench.rules,
                text: bench.text.clone(),
                expected: bench.expected.clone(),
                goes_past: true,
                behind: Some(common),
            };
            let (bed, settings) = (TestBed::Disk, Settings::default());
            let alone = clauses(&bench.run(bed, settings, Some(*behind), &some).unwrap());
            let both = clauses(&pair.run(bed, settings, Some(*behind), &some).unwrap());
            let found = both.contains(common.clause());
            let is_shown = alone.iter().any(|clause| both.contains(clause));
            if alone.is_empty() {
                return Vec::new();
            }
            pairs.fetch_add(1, Ordering::Relaxed);
            let said = format!("{common}, {behind}: alone {alone:?}, both {both:?}");
            if found && is_shown { Vec::new() } else { vec![said] }
        });
        let pairs = pairs.into_inner();
        assert!(pairs > 30, "{pairs} pairs");
        assert!(hidden.is_empty(), "{}", hidden.join("\n"));
    });
}

#[test]
fn a_single_fault_of_a_device_is_not_told_as_two() {
    let library = Library::builtin().unwrap();
    let suite = vfio::suite::builtin(&library).unwrap();
    let rules = library.spec.judged_by("linux-vfio", "7.1").unwrap();
    let mut bench = vfio::mutants::MutationRun::new(&library, &suite, rules, "7.1").unwrap();
    bench.goes_past = true;
    let faults: Vec<_> = vfio_user::Mutant::ALL.iter().copied().enumerate().collect();
    let wrong = wrong(&faults, |(n, mutant)| {
        let tests: Vec<_> = suite.iter().filter(|test| meets(*n, 3, &test.id)).collect();
        let (bed, settings) = (vfio::mutants::TestBed::Process, Default::default());
        let report = bench.run(bed, 7, settings, Some(*mutant), &tests).unwrap();
        let wrong = besides(&report, &[mutant.clause()]).into_iter();
        wrong.map(|line| format!("{mutant} in {line}")).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_test_that_passes_only_since_a_clause_is_not_enforced_has_failed() {
    with_back_end(|bench| {
        let tests = bench.legal();
        let some: Vec<&Test> = tests.into_iter().step_by(10).collect();
        let (bed, settings) = (TestBed::Disk, Settings::default());
        let report = bench.run(bed, settings, Some(Mutant::ReplyTooLong), &some).unwrap();
        let ran = report.results.iter().filter(|result| result.status != Status::Skip);
        for result in ran {
            // What a test finds that is a hint only is a warning.
            let is_hint = some.iter().any(|test| test.hint && test.id == result.test);
            let wanted = if is_hint { Status::Warn } else { Status::Fail };
            assert_eq!(result.clause, Mutant::ReplyTooLong.clause(), "{}", result.detail(""));
            assert_eq!(result.status, wanted, "{}", result.detail(""));
            assert_eq!(result.then.as_deref(), Some("nothing further"), "{}", result.detail(""));
        }
    });
}
