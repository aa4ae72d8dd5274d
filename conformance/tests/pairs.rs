//! The tests in which two life-cycle actions meet, against the reference.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

mod common;

use devmig_conformance::harness::mutation::{hunt, side_by_side};
use devmig_conformance::harness::parallel::in_turn;
use devmig_conformance::harness::report::{Status, SuiteReport};
use devmig_conformance::vhost_user::mutants::{AT_ONCE, TestBed};
use devmig_conformance::vhost_user::suite::Test;
use devmig_reference::vhost_user::{Mutant, Settings};

use common::with_back_end;

fn complaints(report: &SuiteReport) -> Vec<String> {
    let wrong = report.results.iter().filter(|result| result.status != Status::Pass);
    wrong.map(|result| result.detail("")).collect()
}

#[test]
fn every_pair_passes_and_none_is_skipped() {
    with_back_end(|bench| {
        // Each two of 18 actions, and each with itself.
        assert_eq!(bench.pairs.len(), 18 * 19 / 2);
        for (bed, every) in [(TestBed::Disk, 1), (TestBed::Nic, 10)] {
            let pairs: Vec<&Test> = bench.pairs.iter().step_by(every).collect();
            let report = side_by_side(&pairs, 8, AT_ONCE, |part| {
                bench.run(bed, Settings::default(), None, part)
            });
            let wrong = complaints(&report.unwrap());
            assert!(wrong.is_empty(), "{}: {}", bed.name(), wrong.join("\n"));
        }
    });
}

/// Under every other reading some of the pairs, each of them under some.
#[test]
fn pairs_pass_under_every_reading() {
    const EVERY: usize = 12;
    with_back_end(|bench| {
        let settings: Vec<_> = Settings::each().into_iter().enumerate().collect();
        let wrong = in_turn(&settings, AT_ONCE, |(at, (name, settings))| {
            let some: Vec<&Test> = bench.pairs.iter().skip(at % EVERY).step_by(EVERY).collect();
            let report = bench.run(TestBed::Disk, *settings, None, &some).unwrap();
            complaints(&report)
                .into_iter()
                .map(|what| format!("{name}: {what}"))
                .collect::<Vec<_>>()
        });
        let wrong = wrong.concat();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// What is right the first time is found by pairs, and by nothing else in the suite.
#[test]
fn faults_of_the_second_time_are_found_by_pairs_alone() {
    with_back_end(|bench| {
        let faults: Vec<Mutant> = Mutant::ALL.iter().copied().filter(|m| m.meets()).collect();
        assert!(faults.len() >= 25, "{}", faults.len());
        let hunt = hunt(&bench, &faults, false, |fate| print!("{}", fate.text())).unwrap();
        let wrong: Vec<String> =
            hunt.mutants.iter().filter(|f| !f.wrong.is_empty()).map(|f| f.text()).collect();
        assert!(wrong.is_empty(), "{}", wrong.concat());
    });
}

#[test]
#[ignore = "takes minutes: the whole suite against each of these faults"]
fn no_single_test_finds_a_fault_of_the_second_time() {
    with_back_end(|bench| {
        let faults: Vec<Mutant> = Mutant::ALL.iter().copied().filter(|m| m.meets()).collect();
        let found = in_turn(&faults, AT_ONCE, |mutant| {
            let mut found = Vec::new();
            for test in bench.legal() {
                let bed = if TestBed::Disk.suits(test) { TestBed::Disk } else { TestBed::Nic };
                let report = bench.run(bed, Settings::default(), Some(*mutant), &[test]).unwrap();
                let findings = report.results.iter().filter(|result| result.is_finding());
                found.extend(findings.map(|result| format!("{mutant}: {}", result.detail(""))));
            }
            println!("{mutant}: {} tests find it", found.len());
            found
        });
        assert_eq!(found.concat(), Vec::<String>::new());
    });
}
