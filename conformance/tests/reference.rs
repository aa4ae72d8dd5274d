//! The suite against the reference back-end: as it is, under every reading that it can take, and
//! with every fault that it can have. What is expected stands in `vhost_user/mutants.toml`.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

mod common;

use devmig_conformance::harness::mutation::hunt;
use devmig_conformance::harness::parallel::in_turn;
use devmig_conformance::vhost_user::mutants::{AT_ONCE, TestBed};
use devmig_reference::vhost_user::{Mutant, Settings};

use common::with_back_end;

#[test]
fn the_reference_passes_under_every_reading() {
    with_back_end(|bench| {
        let all = bench.suite.iter().collect::<Vec<_>>();
        // What a disk cannot be put to is what the settings can matter for on a NIC.
        let beyond: Vec<_> =
            all.iter().copied().filter(|test| !TestBed::Disk.suits(test)).collect();
        let mut runs = Vec::new();
        for (name, settings) in Settings::each() {
            runs.push((TestBed::Disk, name.clone(), settings, &all));
            runs.push((TestBed::Nic, name, settings, &beyond));
        }
        let wrong = in_turn(&runs, AT_ONCE, |(bed, name, settings, tests)| {
            let report = bench.run(*bed, *settings, None, tests).unwrap();
            println!("{} {name}: {:?}", bed.name(), report.readings);
            let wrong = bench.complaints(*bed, settings, tests, &report);
            let at = |what| format!("{} under {name}: {what}", bed.name());
            wrong.into_iter().map(at).collect::<Vec<_>>()
        });
        let wrong = wrong.concat();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn every_mutant_is_found_and_every_test_finds_one() {
    with_back_end(|bench| {
        let hunt = hunt(&bench, Mutant::ALL, true, |fate| print!("{}", fate.text()));
        let hunt = hunt.unwrap();
        let wrong = hunt.mutants.iter().filter(|fate| !fate.wrong.is_empty());
        let wrong: Vec<String> = wrong.map(|fate| fate.text()).chain(hunt.wrong.clone()).collect();
        assert!(hunt.as_expected, "{}", wrong.join("\n"));
    });
}
