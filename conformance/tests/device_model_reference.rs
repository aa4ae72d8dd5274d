//! The suite for device models against the reference NIC, run as a program: as it is, in each release and
//! with each encoder, and with every fault that it can have.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use devmig_conformance::device_model::mutants::{AT_ONCE, FEW, MutationRun, TestBed};
use devmig_conformance::device_model::suite::{self, Way};
use devmig_conformance::harness::mutation::hunt;
use devmig_conformance::harness::parallel::in_turn;
use devmig_model::registry::Library;
use devmig_reference::nic::Mutant;

fn with_bench(work: impl FnOnce(&MutationRun<'_>)) {
    let library = Library::builtin().unwrap();
    let suite = suite::builtin(&library).unwrap();
    let program = env!("CARGO_BIN_EXE_devmig").to_owned();
    work(&MutationRun::new(&library, &suite, program).unwrap());
}

#[test]
fn the_reference_passes_in_every_release_with_every_encoder() {
    with_bench(|bench| {
        for bed in TestBed::ALL {
            let report = bench.as_it_is(bed, 24).unwrap();
            println!("{}: {:?}", bed.name(), report.summary);
            let wrong = MutationRun::complaints(&report);
            assert!(wrong.is_empty(), "{}:\n{}", bed.name(), wrong.join("\n"));
            // What the first release has no use for: joint constraints; the second: what it refuses.
            let skipped = report.results.iter().filter(|result| result.observed.is_some());
            let skipped: Vec<&str> = skipped.map(|result| result.test.as_str()).collect();
            let may = |id: &&&str| {
                !id.starts_with("refused.joint") && !id.starts_with("refused.peer-only")
            };
            assert_eq!(skipped.iter().filter(may).count(), 0, "{}: {skipped:?}", bed.name());
        }
    });
}

/// What is right the first time is found by pairs of life-cycle actions, and by nothing else in the suite.
#[test]
fn faults_of_the_second_time_are_found_by_pairs_alone() {
    with_bench(|bench| {
        // Each two of 11 actions, and each with itself.
        assert_eq!(bench.pairs.len(), 11 * 12 / 2);
        let faults: Vec<Mutant> = Mutant::ALL.iter().copied().filter(|m| m.meets()).collect();
        assert!(faults.len() >= 10, "{}", faults.len());
        // They are faults of the control program: no other way of creation shows them.
        let controls = bench.suite.iter().filter(|test| test.own.way == Way::Control);
        let (bed, tests) = (TestBed::ALL[1], controls.collect::<Vec<_>>());
        let found = in_turn(&faults, AT_ONCE, |mutant| {
            let pairs: Vec<_> = bench.pairs.iter().collect();
            let by_pairs = bench.run(bed, Some(*mutant), FEW, &pairs).unwrap();
            let by_others = bench.run(bed, Some(*mutant), FEW, &tests).unwrap();
            let others = MutationRun::complaints(&by_others).into_iter();
            let mut wrong: Vec<String> = others.map(|what| format!("{mutant}: {what}")).collect();
            if MutationRun::complaints(&by_pairs).is_empty() {
                wrong.push(format!("{mutant} is not found"));
            }
            wrong
        });
        assert_eq!(found.concat(), Vec::<String>::new());
    });
}

#[test]
fn every_mutant_is_found_and_every_test_finds_one() {
    with_bench(|bench| {
        let hunt = hunt(bench, Mutant::ALL, true, |fate| print!("{}", fate.text())).unwrap();
        let wrong = hunt.mutants.iter().filter(|fate| !fate.wrong.is_empty());
        let wrong: Vec<String> = wrong.map(|fate| fate.text()).chain(hunt.wrong.clone()).collect();
        assert!(hunt.as_expected, "{}", wrong.join("\n"));
    });
}
