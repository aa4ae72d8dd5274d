//! The VFIO suite against the reference device: as it is, in every feature set, under every reading that
//! it can take, over a real socket and in this process.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use devmig_conformance::harness::mutation::hunt;
use devmig_conformance::harness::parallel::in_turn;
use devmig_conformance::vfio::mutants::{AT_ONCE, MutationRun, TestBed};
use devmig_conformance::vfio::suite;
use devmig_model::registry::Library;
use devmig_reference::vfio_user::{Mutant, Settings};

fn with_bench(work: impl FnOnce(&MutationRun<'_>)) {
    let library = Library::builtin().unwrap();
    let suite = suite::builtin(&library).unwrap();
    let rules = library.spec.judged_by("linux-vfio", "7.1").unwrap();
    work(&MutationRun::new(&library, &suite, rules, "7.1").unwrap());
}

#[test]
fn the_reference_passes_in_every_set_under_every_reading() {
    with_bench(|bench| {
        let all: Vec<_> = bench.suite.iter().collect();
        let mut runs = Vec::new();
        for flags in [1, 3, 5, 7] {
            runs.extend(
                TestBed::ALL.map(|bed| (bed, flags, "the defaults".into(), Default::default())),
            );
        }
        for (name, settings) in Settings::each() {
            runs.push((TestBed::Socket, 7, name, settings));
        }
        let wrong = in_turn(&runs, AT_ONCE, |(bed, flags, name, settings)| {
            let report = bench.run(*bed, *flags, *settings, None, &all).unwrap();
            println!("{} {flags} {name}: {:?} {:?}", bed.name(), report.summary, report.readings);
            let wrong = bench.complaints(settings, &report);
            let at = |what| format!("{} {flags} under {name}: {what}", bed.name());
            wrong.into_iter().map(at).collect::<Vec<_>>()
        });
        let wrong = wrong.concat();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn a_server_that_takes_less_data_in_a_message_passes() {
    with_bench(|bench| {
        let all: Vec<_> = bench.suite.iter().chain(&bench.pairs).collect();
        for max_data in [1000, 4096] {
            let bench = MutationRun::new(bench.library, bench.suite, bench.rules, "7.1");
            let mut bench = bench.unwrap();
            bench.max_data = max_data;
            let report = bench.run(TestBed::Socket, 5, Settings::default(), None, &all).unwrap();
            let wrong = bench.complaints(&Settings::default(), &report);
            assert!(wrong.is_empty(), "{max_data} bytes: {}", wrong.join("\n"));
        }
    });
}

#[test]
fn every_mutant_is_found_by_a_test_that_cites_its_clause_and_every_test_finds_one() {
    with_bench(|bench| {
        let hunt = hunt(bench, Mutant::ALL, true, |fate| print!("{}", fate.text())).unwrap();
        let wrong = hunt.mutants.iter().filter(|fate| !fate.wrong.is_empty());
        let wrong: Vec<String> = wrong.map(|fate| fate.text()).chain(hunt.wrong.clone()).collect();
        assert!(hunt.as_expected, "{}", wrong.join("\n"));
    });
}
