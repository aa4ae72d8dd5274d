//! The suite against the reference back-end: as it is, under every reading that it can take, and
//! with every fault that it can have.
//!
//! ```text
//!   reference, each setting   --suite-->  every test passes
//!   reference, each mutant    --suite-->  some test fails, and names the clause
//! ```

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use devmig_conformance::report::{Status, SuiteReport};
use devmig_conformance::vhost_user::runner::{self, Run};
use devmig_conformance::vhost_user::session::{Device, Limits};
use devmig_conformance::vhost_user::suite::{self, Test};
use devmig_conformance::vhost_user::target::Target;
use devmig_model::library::Library;
use devmig_model::rules::Rules;
use devmig_reference::vhost_user::{Mutant, Options, Running, Settings};

/// Back-ends that are tested at once. Most of the time is spent waiting.
const AT_ONCE: usize = 8;

struct Bench {
    library: Library,
    suite: Vec<Test>,
    rules: Rules,
}

impl Bench {
    fn new() -> Self {
        let library = Library::builtin().unwrap();
        let suite = suite::builtin(&library).unwrap();
        let mut rules = Rules { off: library.spec.unobservable(), ..Rules::default() };
        rules.off.extend(&library.spec.not_in_force("vhost-user", "10.2").unwrap());
        Bench { library, suite, rules }
    }

    /// The tests whose script is legal: a malformed message ends what can be judged.
    fn legal(&self) -> Vec<&Test> {
        self.suite.iter().filter(|test| !test.id.starts_with("malformed.")).collect()
    }

    fn run(&self, settings: Settings, mutant: Option<Mutant>, tests: &[&Test]) -> SuiteReport {
        let mut options = Options { settings, mutant, ..Options::default() };
        // Slow enough that requests are in flight when a loaded machine gets round to the stop.
        let late = mutant == Some(Mutant::CompletesAfterStop);
        let (latency, quiet) = if late { (60, 200) } else { (4, 40) };
        options.block.latency = Duration::from_millis(latency);
        let running = Running::start(options).unwrap();
        let target = Target::Socket(running.socket());
        let run = Run {
            library: &self.library,
            target: &target,
            device: Device::Blk,
            scratch: false,
            limits: Limits {
                connect: Duration::from_secs(2),
                owed: Duration::from_millis(if late { 1500 } else { 400 }),
                quiet: Duration::from_millis(quiet),
            },
            seed: 1,
            pinned: Vec::new(),
            reproduce: "reference".into(),
            text: "10.2".into(),
            rules: self.rules,
        };
        let report = runner::run(&run, tests, |_| ());
        running.stop(Duration::from_secs(5)).unwrap();
        report
    }
}

/// Does something for each of them, a few at once; the results in order.
fn for_each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { break };
                    let result = work(item);
                    done.lock().unwrap().insert(at, result);
                }
            });
        }
    });
    done.into_inner().unwrap().into_values().collect()
}

/// What the reference does not offer, so that its tests are skipped.
const NOT_OFFERED: &[(&str, &str)] = &[("rings.one-of-two", "block requests go through one ring")];

/// The defaults, then each other option of each setting.
fn all_settings() -> Vec<(String, Settings)> {
    let mut all = vec![("the defaults".to_owned(), Settings::default())];
    for (name, options) in Settings::KNOWN {
        for option in *options {
            let text = format!("{name}={option}");
            let settings: Settings = text.parse().unwrap();
            if settings != Settings::default() {
                all.push((text, settings));
            }
        }
    }
    all
}

/// Where the reference itself may be found, and why. Whether it is, is a matter of time.
const MAY_FAIL: &[(&str, &str, &str)] = &[(
    "disabled.requests=hold",
    "stop.disable-first",
    "what a disabled ring holds is never drained: each rule is a fair reading, both together wait \
     for ever (see vhost-user/disable-before-stop)",
)];

/// What is wrong with a run that should find nothing.
fn complaints(bench: &Bench, settings: &Settings, report: &SuiteReport) -> Vec<String> {
    let mut wrong = Vec::new();
    for result in &report.results {
        let expected = match NOT_OFFERED.iter().any(|(test, _)| *test == result.test) {
            true => Status::Skip,
            false => Status::Pass,
        };
        let may_fail = |(setting, test, _): &(&str, &str, &str)| {
            *test == result.test && settings.list().any(|item| item == *setting)
        };
        if result.status != expected && !MAY_FAIL.iter().any(may_fail) {
            wrong.push(result.detail(""));
        }
    }
    if report.results.len() != bench.suite.len() {
        wrong.push(format!("only {} tests ran", report.results.len()));
    }
    // What was seen is consistent with what the back-end is set to do.
    for setting in settings.list() {
        let (name, option) = setting.split_once('=').unwrap();
        let name = format!("vhost-user.{name}");
        let reading = report.readings.iter().find(|(choice, _)| *choice == name);
        if let Some((_, options)) = reading
            && !options.iter().any(|possible| possible == option)
        {
            wrong.push(format!("{name} is {option}, and was read as {options:?}"));
        }
    }
    wrong
}

#[test]
fn the_reference_passes_under_every_reading() {
    let bench = Bench::new();
    let all = bench.suite.iter().collect::<Vec<_>>();
    let settings = all_settings();
    let wrong = for_each(&settings, |(name, settings)| {
        let report = bench.run(*settings, None, &all);
        println!("{name}: {:?}", report.readings);
        let wrong = complaints(&bench, settings, &report);
        wrong.into_iter().map(|what| format!("under {name}: {what}")).collect::<Vec<_>>()
    });
    let wrong = wrong.concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Faults that are found by another clause than the one they are named after, and why.
const FOUND_AS: &[(Mutant, &str, &str)] = &[
    (
        Mutant::CompletesAfterStop,
        "suspended.no-notifications",
        "where dropping what is in flight is a reading too, what comes late is what is wrong",
    ),
    (
        Mutant::CompletesAfterStop,
        "ring.stopped-not-processed",
        "where dropping what is in flight is a reading too, what comes late is what is wrong",
    ),
    (Mutant::ForgetsBase, "ring.available-only", "it takes requests that are long done with"),
    (Mutant::IgnoresSetBase, "ring.started-processes", "it finds nothing where it looks"),
    (Mutant::UsedFromZero, "ring.available-only", "the used ring jumps back"),
    (Mutant::SilentWhenStopped, "reply.must", "an answer that is missing is one thing everywhere"),
    (Mutant::CompletesTwice, "ring.available-only", "the used ring overtakes the available ring"),
    (Mutant::NeverStarts, "ring.started-processes", "a kick is seen by what follows"),
    (Mutant::StartsEnabled, "ring.enable-sets", "disabled rings are read in two ways"),
    (Mutant::IgnoresEnable, "ring.started-processes", "ENABLE is seen by what follows"),
    (Mutant::EnableNotTracked, "ring.started-processes", "ENABLE is seen by what follows"),
    (Mutant::Bit30EnablesNothing, "ring.started-processes", "enabling is seen by what follows"),
    (Mutant::Bit30Disables, "ring.started-processes", "enabling is seen by what follows"),
    (Mutant::ProtocolFeaturesLate, "connection.close-exceptional", "it refuses by closing"),
    (Mutant::ResetKeepsState, "status.read-back", "the status is the part that can be seen"),
    (Mutant::ResetClosesSession, "connection.close-exceptional", "the session ends by closing"),
    (Mutant::CheckFails, "device-state.writer-closes", "the test's own, which expects success"),
    (Mutant::CompletesWhileSaving, "suspended.no-guest-writes", "what is frozen cannot be seen"),
    (Mutant::CompletesWhileSaving, "ring.stopped-not-processed", "what is frozen cannot be seen"),
    (Mutant::AnswersUnasked, "reply.header", "it comes in the place of the answer that is owed"),
    (Mutant::AcknowledgesToo, "reply.header", "it comes in the place of the answer that is owed"),
    (Mutant::NoAcknowledgement, "reply.must", "an acknowledgement is an answer"),
    (Mutant::AcknowledgesFailure, "reply-ack.answers", "the test's own: the refusal is a warning"),
];

/// Faults that no test finds, and why.
const SURVIVORS: &[(Mutant, &str)] = &[
    (Mutant::ProcessesDisabled, "it is the option `process` of vhost-user.disabled.requests"),
    (
        Mutant::StatusZeroRuns,
        "what it resets is hidden, so that it looks like the option `keeps` of vhost-user.status.zero",
    ),
];

/// Tests that find none of the faults, and what they are for.
const FINDS_NONE: &[(&str, &str)] = &[("rings.one-of-two", "skipped: one ring carries requests")];

#[test]
fn every_mutant_is_found_and_every_test_finds_one() {
    let bench = Bench::new();
    let tests = bench.legal();
    let mut wrong = Vec::new();
    let mut useful: BTreeSet<String> = BTreeSet::new();
    let reports =
        for_each(Mutant::ALL, |mutant| bench.run(Settings::default(), Some(*mutant), &tests));
    for (mutant, report) in Mutant::ALL.iter().zip(&reports) {
        let found: Vec<_> = report
            .results
            .iter()
            .filter(|result| matches!(result.status, Status::Fail | Status::Warn))
            .collect();
        let declared = |clause: &str| {
            clause == mutant.clause()
                || FOUND_AS.iter().any(|(of, found, _)| {
                    of == mutant && clause.strip_prefix("vhost-user.") == Some(found)
                })
        };
        let killed = found.iter().any(|result| declared(&result.clause));
        let survives = SURVIVORS.iter().any(|(survivor, _)| survivor == mutant);
        let mut clauses: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for result in &found {
            clauses.entry(&result.clause).or_default().push(&result.test);
        }
        let errors = report.results.iter().filter(|result| result.status == Status::Error);
        for error in errors {
            wrong.push(format!("{mutant}: {}", error.detail("")));
        }
        println!("{mutant} ({}): {clauses:?}", mutant.clause());
        match (killed, survives) {
            (false, false) => {
                wrong.push(format!("{mutant} ({}) survives: {clauses:?}", mutant.clause()));
            }
            (true, true) => wrong.push(format!("{mutant} is found, and listed as a survivor")),
            _ => {}
        }
        useful.extend(found.iter().map(|result| result.test.clone()));
    }
    for test in tests {
        let listed = FINDS_NONE.iter().any(|(id, _)| *id == test.id);
        match (useful.contains(&test.id), listed) {
            (false, false) => wrong.push(format!("{} finds no mutant", test.id)),
            (true, true) => wrong.push(format!("{} finds a mutant, and is listed", test.id)),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
