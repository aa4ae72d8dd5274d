//! Tests that run at the same time have the results of tests that run one after the other.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use devmig_conformance::device_model::script::Step;
use devmig_conformance::device_model::suite::{self, Form};
use devmig_conformance::harness::report::{Offers, Result as TestResult, Status, SuiteReport};
use devmig_conformance::harness::runner::{self, Adapter, Aside, Run};
use devmig_conformance::harness::session::{Hold, Session};
use devmig_conformance::harness::suite::Test;
use devmig_conformance::harness::verdict::{StepOutcome, TestEnd};
use devmig_conformance::harness::walk::Draws;
use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::rules::{ChoiceSet, Rules};
use devmig_model::registry::Library;
use serde_json::Value;

const DEVMIG: &str = env!("CARGO_BIN_EXE_devmig");

/// The JSON document of a run of so many jobs against a device, without what depends on time and place.
fn report(jobs: &str, device: &str, mutant: &[&str], only: &[&str]) -> Value {
    let mut spawn = vec![DEVMIG, "device", device, "--socket-path", "{socket}"];
    spawn.extend(mutant);
    let spawn = shell_words::join(spawn);
    let only = only.iter().flat_map(|test| ["--only", test]);
    let output = Command::new(DEVMIG)
        .args(["test", "vhost-user", "--format", "json", "--jobs", jobs, "--device"])
        .args([if device == "nic" { "net" } else { device }, "--spawn", &spawn])
        .args(only)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    // Whether there is a second run depends on how far the tests could go on, as below.
    report.as_object_mut().unwrap().remove("around");
    for result in report["results"].as_array_mut().unwrap() {
        let result = result.as_object_mut().unwrap();
        assert!(result["milliseconds"].is_u64());
        // What was said before a finding, and what could have been said in its place, depends on who was
        // faster; a process says where it listens.
        for key in ["milliseconds", "log", "expected", "further", "then", "process"] {
            result.remove(key);
        }
    }
    report
}

/// Each difference in a line.
fn differences(one: &Value, other: &Value) -> Vec<String> {
    let keys = one.as_object().unwrap().keys();
    let rest = keys.filter(|key| *key != "results" && one[*key] != other[*key]);
    let mut all: Vec<String> =
        rest.map(|key| format!("{key}: {} and {}", one[key], other[key])).collect();
    let results = [one, other].map(|report| report["results"].as_array().unwrap());
    assert_eq!(results[0].len(), results[1].len());
    let pairs = results[0].iter().zip(results[1]).filter(|(one, other)| one != other);
    all.extend(pairs.map(|(one, other)| format!("{one}\n    {other}")));
    all
}

/// Tests that learn choices, and tests that depend on them.
const LEARNING: [&str; 6] =
    ["enable.*", "dirty-log.*", "status.*", "reset-device.*", "negotiation.*", "ring.size"];

#[test]
fn the_reference_has_the_same_report_with_many_jobs_as_with_one() {
    let one = report("1", "blk", &[], &LEARNING);
    assert!(one["summary"]["pass"].as_u64() > Some(20), "{}", one["summary"]);
    assert!(one["readings"].as_object().unwrap().len() > 1, "{}", one["readings"]);
    let differ = differences(&one, &report("12", "blk", &[], &LEARNING));
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn a_mutant_has_the_same_findings_with_many_jobs_as_with_one() {
    for (mutant, tests) in [("base-high", "device-state.*"), ("closes-on-call", "*.re*")] {
        let run = |jobs| report(jobs, "blk", &["--mutant", mutant], &[tests]);
        let one = run("1");
        assert!(one["summary"]["fail"].as_u64() > Some(4), "{mutant}: {}", one["summary"]);
        let differ = differences(&one, &run("8"));
        assert!(differ.is_empty(), "{mutant}:\n{}", differ.join("\n"));
    }
}

/// An implementation of which the results depend on what tests before have learned.
struct Learns<'l> {
    tests: &'l [&'l Test<Form>],
    /// From this test on it cannot be reached.
    gone: usize,
    now: AtomicUsize,
    most: AtomicUsize,
}

/// The choice that is learned, and the test that learns it.
const CHOICE: ChoiceId = ChoiceId::new(0);
const LEARNED_AT: usize = 7;

struct Talk {
    place: usize,
    rules: Rules,
}

impl Draws for Learns<'_> {
    type Form = Form;
}

impl Adapter for Learns<'_> {
    fn converse(
        &self,
        test: &Test<Form>,
        rules: Rules,
        _: &[ClauseId],
        hold: &mut Hold<'_, Form>,
    ) -> Result<(), TestEnd> {
        let place = self.tests.iter().position(|one| one.id == test.id).unwrap();
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        // The later a test, the sooner it is over.
        std::thread::sleep(Duration::from_millis((60_u64.saturating_sub(place as u64)) / 2 % 17));
        let ended = match place >= self.gone {
            true => Err(TestEnd::Unreached { why: "gone".into(), ended: None, for_good: true }),
            false => hold(&mut Talk { place, rules }),
        };
        self.now.fetch_sub(1, Ordering::SeqCst);
        ended
    }
}

impl Session<Form> for Talk {
    fn step(&mut self, _: &Test<Form>, _: &Step) -> Result<(), TestEnd> {
        Ok(())
    }

    fn carefully(&mut self, _: &Test<Form>, _: &Step) -> Result<StepOutcome, TestEnd> {
        Ok(StepOutcome::Yes)
    }

    fn end(&mut self) -> Result<(), TestEnd> {
        match self.place % 3 {
            0 => Err(TestEnd::Skip(format!("knows {:?}", self.rules.choices.fixed(CHOICE)))),
            1 => Ok(()),
            _ => Err(TestEnd::Refused("as always".into())),
        }
    }

    fn log(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn learned(&self, _: usize) -> Vec<(ChoiceId, Vec<u8>)> {
        if self.place == LEARNED_AT { vec![(CHOICE, vec![1])] } else { Vec::new() }
    }

    fn asked(&self) -> ChoiceSet {
        let mut asked = ChoiceSet::default();
        if self.place.is_multiple_of(3) {
            asked.insert(CHOICE);
        }
        asked
    }
}

/// Runs 40 tests against it; also the tests that were told of, and how many ran at the same time.
fn learns(jobs: usize, gone: usize) -> (SuiteReport, Vec<String>, usize) {
    let library = Library::builtin().unwrap();
    let suite = suite::builtin(&library).unwrap();
    let tests: Vec<_> = suite.iter().take(40).collect();
    assert_eq!(tests.len(), 40);
    let adapter = Learns { tests: &tests, gone, now: Default::default(), most: Default::default() };
    let run = Run {
        ends_early: true,
        goes_past: true,
        jobs,
        ..Run::new(&library, (), "1", Rules::default())
    };
    let mut told = Vec::new();
    let open = run.open(&[]);
    let mut report =
        runner::play(&run, &adapter, open, &tests, &[], |result| told.push(result.test.clone()));
    report.results.iter_mut().for_each(|result| result.milliseconds = 0);
    (report, told, adapter.most.into_inner())
}

#[test]
fn what_earlier_tests_learn_counts_whatever_runs_first() {
    let (one, _, most) = learns(1, usize::MAX);
    assert_eq!(most, 1);
    let knows =
        |what: &str| one.results.iter().filter(|r| r.observed.as_deref() == Some(what)).count();
    assert_eq!((knows("knows None"), knows("knows Some(1)")), (3, 11));
    for jobs in [2, 8, 32] {
        let (many, told, most) = learns(jobs, usize::MAX);
        assert_eq!(many, one);
        let order: Vec<&str> = one.results.iter().map(|result| result.test.as_str()).collect();
        assert_eq!(told, order);
        // One that is judged again may run beside all others.
        assert!((2..=jobs + 1).contains(&most), "{most} of {jobs}");
    }
}

#[test]
fn a_run_that_ends_early_has_run_the_same_tests() {
    let (one, told, _) = learns(1, 20);
    assert_eq!(told.len(), 21);
    assert_eq!(one.ended_early.as_deref(), Some("gone"));
    assert!(one.results[21..].iter().all(|result| result.status == Status::NotRun));
    let (many, told_of_many, _) = learns(8, 20);
    assert_eq!((many, told_of_many), (one, told));
}

/// An implementation of which the first test takes long, and the second lacks something, in the end.
struct Slow<'l>(&'l [&'l Test<Form>]);

struct Lacks(bool);

impl Draws for Slow<'_> {
    type Form = Form;
}

impl Adapter for Slow<'_> {
    fn converse(
        &self,
        test: &Test<Form>,
        _: Rules,
        _: &[ClauseId],
        hold: &mut Hold<'_, Form>,
    ) -> Result<(), TestEnd> {
        let place = self.0.iter().position(|one| one.id == test.id).unwrap();
        if place == 1 {
            std::thread::sleep(Duration::from_millis(500));
        }
        hold(&mut Lacks(place == 2))
    }

    fn confirms(&self) -> bool {
        true
    }
}

impl Session<Form> for Lacks {
    fn step(&mut self, _: &Test<Form>, _: &Step) -> Result<(), TestEnd> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), TestEnd> {
        let (clause, expected) = (ClauseId::new(1), Vec::new());
        let lacks = TestEnd::Finding { clause, observed: "nothing came".into(), expected };
        if self.0 { Err(lacks) } else { Ok(()) }
    }

    fn is_late(&self) -> bool {
        true
    }

    fn log(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// What is told aside, in order.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn add(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }
}

impl Aside for Told {
    fn early(&self, place: usize, result: &TestResult) {
        self.add(format!("{place}: {}", result.test));
    }

    fn begins(&self, what: &str) {
        self.add(what.to_owned());
    }

    fn ends(&self) {
        self.add("over".to_owned());
    }
}

#[test]
fn what_is_over_before_its_turn_is_told_and_what_takes_time_besides() {
    let library = Library::builtin().unwrap();
    let suite = suite::builtin(&library).unwrap();
    let tests: Vec<_> = suite.iter().take(6).collect();
    let told = Told::default();
    let run = Run { jobs: 4, aside: &told, ..Run::new(&library, (), "1", Rules::default()) };
    let (adapter, open) = (Slow(&tests), run.open(&[]));
    let at_turn = Mutex::new(None);
    let report = runner::play(&run, &adapter, open, &tests, &[], |result| {
        if result.test == tests[1].id {
            *at_turn.lock().unwrap() = Some(told.0.lock().unwrap().clone());
        }
    });
    assert_eq!((report.summary.pass, report.summary.fail), (5, 1));
    // Those after the slow test and the one whose finding is to be confirmed in its turn were told.
    let before: Vec<String> = at_turn.into_inner().unwrap().unwrap();
    for place in [3, 4, 5] {
        let line = format!("{place}: {}", tests[place].id);
        assert!(before.contains(&line), "{line} in {before:?}");
    }
    let all = told.0.into_inner().unwrap();
    let (lacks, times) = (&tests[2].id, "with 4 times the limit");
    let begun = format!("{lacks}: nothing came in time, so once more alone, {times}");
    let at = all.iter().position(|line| *line == begun).unwrap();
    assert_eq!(all[at + 1], "over", "{all:?}");
    assert_eq!(all.iter().filter(|line| *line == "over").count(), 1, "{all:?}");
}

#[test]
fn a_test_that_needs_another_device_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    let script = format!("echo start >> {}; exec \"$@\"", starts.display());
    let spawn = ["sh", "-c", &script, "sh", DEVMIG, "device", "blk", "--socket-path", "{socket}"];
    let spawn = shell_words::join(spawn);
    let arguments =
        ["test", "vhost-user", "--format", "json", "--device", "blk", "--spawn", &spawn];
    let output =
        Command::new(DEVMIG).args(arguments).args(["--only", "receive.*"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report["summary"]["skip"].as_u64(), output.status.code()), (Some(4), Some(5)));
    assert!(!starts.exists());
    let only = ["--only", "ring.request"];
    let output = Command::new(DEVMIG).args(arguments).args(only).output().unwrap();
    assert!(output.status.success());
    assert_eq!(std::fs::read_to_string(&starts).unwrap(), "start\n");
}

/// An implementation that offers a feature of the tests' or not, and the tests that have reached it.
struct Offering {
    offers: &'static str,
    reached: AtomicUsize,
}

impl Draws for Offering {
    type Form = Form;
}

impl Adapter for Offering {
    fn converse(
        &self,
        _: &Test<Form>,
        _: Rules,
        _: &[ClauseId],
        hold: &mut Hold<'_, Form>,
    ) -> Result<(), TestEnd> {
        self.reached.fetch_add(1, Ordering::SeqCst);
        hold(&mut Offered(self.offers))
    }

    fn skips(&self, _: &Test<Form>, offers: Option<&Offers>) -> Option<String> {
        offers.filter(|offers| offers.protocol_bits() == 0).map(|_| "needs it".to_owned())
    }
}

struct Offered(&'static str);

impl Session<Form> for Offered {
    fn step(&mut self, _: &Test<Form>, _: &Step) -> Result<(), TestEnd> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), TestEnd> {
        Ok(())
    }

    fn offers(&self) -> Option<Offers> {
        let protocol_features = self.0.to_owned();
        Some(Offers { features: "0x0".to_owned(), protocol_features })
    }

    fn log(&mut self) -> Vec<String> {
        Vec::new()
    }
}

#[test]
fn what_one_test_learned_of_the_offers_spares_the_next_ones_a_conversation() {
    let library = Library::builtin().unwrap();
    let suite = suite::builtin(&library).unwrap();
    let tests: Vec<_> = suite.iter().take(6).collect();
    for (offers, jobs, passed, reached) in
        [("0x0", 1, 1, 1..=1), ("0x0", 3, 1, 1..=1), ("0x1", 3, 6, 6..=6)]
    {
        let adapter = Offering { offers, reached: AtomicUsize::new(0) };
        let run = Run { jobs, ..Run::new(&library, (), "1", Rules::default()) };
        let report = runner::play(&run, &adapter, run.open(&[]), &tests, &[], |_| ());
        assert_eq!((report.summary.pass, report.summary.skip), (passed, 6 - passed), "{jobs}");
        assert!(reached.contains(&adapter.reached.into_inner()), "{jobs}");
    }
}
