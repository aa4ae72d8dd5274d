//! What nobody wrote: tours over the machine's arcs, random walks, and what is left of one that found
//! something.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::time::Duration;

use devmig_conformance::harness::io::target::Target;
use devmig_conformance::harness::report::{Status, SuiteReport};
use devmig_conformance::harness::suite::{load, script as script_file};
use devmig_conformance::harness::walk::Walk;
use devmig_conformance::vhost_user::runner::{self, Run};
use devmig_conformance::vhost_user::session::{Device, Limits, Subject};
use devmig_conformance::vhost_user::suite::{self, Test};
use devmig_conformance::vhost_user::tour::Tours;
use devmig_conformance::vhost_user::walk;
use devmig_conformance::vhost_user::without::Without;
use devmig_engine::clause::ChoiceId;
use devmig_engine::rules::Rules;
use devmig_model::registry::Library;
use devmig_model::spec::SourceFile;
use devmig_reference::vhost_user::{Mutant, Options, Running};

/// Against the reference with this fault.
fn run(library: &Library, mutant: Option<Mutant>, tests: &[&Test], walks: &[Walk]) -> SuiteReport {
    judged(library, mutant, tests, walks, Vec::new())
}

/// The same, with readings that are pinned.
fn judged(
    library: &Library,
    mutant: Option<Mutant>,
    tests: &[&Test],
    walks: &[Walk],
    pinned: Vec<(ChoiceId, u8)>,
) -> SuiteReport {
    let running = Running::start(Options { mutant, ..Options::default() }).unwrap();
    let target = Target::Socket(running.socket());
    let mut rules = Rules { off: library.spec.unobservable(), ..Rules::default() };
    rules.off.extend(&library.spec.not_in_force("vhost-user", "10.2").unwrap());
    let subject = Subject {
        target: &target,
        device: Device::Blk,
        scratch: false,
        limits: Limits {
            connect: Duration::from_secs(5),
            owed: Duration::from_secs(1),
            silence: Duration::from_millis(400),
            quiet: Duration::from_millis(40),
            confirms: false,
        },
        outside: None,
        without: Without::default(),
    };
    let run = Run {
        pinned,
        reproduce: "devmig test vhost-user".into(),
        ..Run::new(library, subject, "10.2", rules)
    };
    let report = runner::play(&run, tests, walks, |_| ());
    running.stop(Duration::from_secs(5)).unwrap();
    report
}

fn failures(report: &SuiteReport) -> Vec<String> {
    let bad = report.results.iter().filter(|result| result.status != Status::Pass);
    bad.map(|result| result.detail("")).collect()
}

#[test]
fn every_arc_is_driven_or_has_a_reason() {
    let library = Library::builtin().unwrap();
    let tours = Tours::of(&library);
    let tests: Vec<&Test> = tours.tests.iter().collect();
    // Tours follow the default readings: where no other is possible, nothing is passed over.
    let choices = library.spec.choices().iter().enumerate();
    let defaults = choices.map(|(n, choice)| (ChoiceId::new(n), choice.default)).collect();
    let report = judged(&library, None, &tests, &[], defaults);
    assert!(failures(&report).is_empty(), "{}", failures(&report).join("\n"));
    let coverage = tours.coverage(&report);
    let named: usize = coverage.not_driven.values().map(Vec::len).sum();
    assert_eq!(coverage.driven + named, coverage.arcs);
    // A few steps wait for a set-up that the session does not take for whole.
    assert!(coverage.driven + 16 >= tours.arcs(), "{}", coverage.text());
    assert!(coverage.driven > 1000, "{}", coverage.text());
}

#[test]
fn the_same_table_gives_the_same_tours() {
    let library = Library::builtin().unwrap();
    let text = |tours: &Tours| -> Vec<String> {
        let acts = tours.tests.iter().flat_map(|test| &test.steps);
        acts.map(|act| act.text(&library.vhost_user().table)).collect()
    };
    assert_eq!(text(&Tours::of(&library)), text(&Tours::of(&library)));
}

#[test]
fn what_was_not_run_was_not_driven() {
    let library = Library::builtin().unwrap();
    let tours = Tours::of(&library);
    let coverage = tours.coverage(&run(&library, None, &[], &[]));
    assert_eq!(coverage.driven, 0);
    assert!(coverage.not_driven.contains_key("its tour did not run"));
}

#[test]
fn walks_find_nothing_in_the_reference() {
    let library = Library::builtin().unwrap();
    let walks: Vec<Walk> = (1..=12).map(|seed| Walk { seed, steps: 60 }).collect();
    let report = run(&library, None, &[], &walks);
    assert_eq!(report.results.len(), walks.len());
    assert!(failures(&report).is_empty(), "{}", failures(&report).join("\n"));
}

#[test]
fn a_finding_is_shortened_and_can_be_played_again() {
    let library = Library::builtin().unwrap();
    let walks: Vec<Walk> = (1..=8).map(|seed| Walk { seed, steps: 60 }).collect();
    for mutant in [Mutant::BaseHigh, Mutant::CompletesTwice, Mutant::StatusWrong] {
        let report = run(&library, Some(mutant), &[], &walks);
        let found = report.results.iter().find(|result| result.status == Status::Fail);
        let found = found.unwrap_or_else(|| panic!("no walk finds {mutant}"));
        let words = shell_words::split(&found.reproduce).unwrap();
        let play = words.iter().position(|word| word == "--play").unwrap();
        let line = &words[play + 1];
        println!("{mutant}: {line}");
        let file = SourceFile::new("--play", script_file::<suite::Form>(line));
        let script = load::<suite::Form>(&library, &file).unwrap();
        assert!(script[0].steps.len() <= 20, "{line}");
        assert_eq!(walk::line(&script[0], &script[0].steps, &library.vhost_user().table), *line);
        let again = run(&library, Some(mutant), &[&script[0]], &[]);
        assert_eq!(again.results[0].clause, found.clause, "{}", again.results[0].detail(""));
        assert_eq!(again.results[0].status, Status::Fail);
        let sound = run(&library, None, &[&script[0]], &[]);
        assert!(failures(&sound).is_empty(), "{}", failures(&sound).join("\n"));
    }
}

/// One late finding after the other, each within the limit that was asked for.
#[test]
fn limits_stay_as_they_are_where_nothing_is_confirmed() {
    let library = Library::builtin().unwrap();
    let suite = suite::builtin(&library).unwrap();
    let late = ["dirty-log.buffers", "dirty-log.switched-on", "dirty-log.shared"];
    let tests: Vec<&Test> = suite.iter().filter(|test| late.contains(&&*test.id)).collect();
    let report = run(&library, Some(Mutant::LogsNothing), &tests, &[]);
    assert_eq!(report.results.len(), late.len());
    for result in &report.results {
        let observed = result.observed.as_deref().unwrap_or_default();
        assert!(observed.contains("within 1s"), "{}", result.detail(""));
    }
}
