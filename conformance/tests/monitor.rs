//! Logs of what the monitors of a migration report: healthy ones, made from the model, are conformant, and each fault
//! is violated at its event.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use devmig_conformance::monitor::judge::{Judge, Law, device_and_features};
use devmig_conformance::monitor::log::{Answers, End, Entry, MAX_LINE, Reader, What, Writer};
use devmig_conformance::monitor::report::{Report, Verdict};
use devmig_model::protocol::migration::observed::Observed;
use devmig_model::protocol::migration::observed::report::{
    DESTINATION, Report as Seen, Reported, SOURCE, Status, What as Said,
};
use devmig_model::registry::Library;
use proptest::prelude::{any, prop};
use proptest::{prop_assert, proptest};
use serde_json::{Value, json};

static LIBRARY: LazyLock<Library> = LazyLock::new(|| Library::builtin().unwrap());
static LAW: LazyLock<Law> = LazyLock::new(|| Law::new(&LIBRARY).unwrap());

const BOTH: &[&str] = &["p2p", "pre-copy"];

fn entry(end: usize, what: Value) -> Entry {
    let end = if end == SOURCE { End::Source } else { End::Destination };
    Entry { us: 0, what: What::Event(end, what) }
}

fn status(end: usize, status: &str) -> Entry {
    entry(end, json!({ "event": "MIGRATION", "data": { "status": status } }))
}

fn vm(end: usize, runs: bool) -> Entry {
    entry(end, json!({ "event": if runs { "RESUME" } else { "STOP" } }))
}

fn device(end: usize, id: &str, state: &str) -> Entry {
    let data = json!({ "device-id": id, "qom-path": "/machine/x", "device-state": state });
    entry(end, json!({ "event": "VFIO_MIGRATION", "data": data }))
}

fn answers(end: End, running: bool) -> Entry {
    Entry { us: 0, what: What::Answers(end, Answers { status: "none".into(), running }) }
}

fn ends() -> Entry {
    Entry { us: 0, what: What::Ends("the migration has ended".into()) }
}

/// A walk through the model, as a log.
fn walk(devices: &[&[&str]], goal: &dyn Fn(&Observed, &Goal) -> bool) -> Vec<Entry> {
    let features: Vec<Vec<String>> =
        devices.iter().map(|names| names.iter().map(|name| (*name).to_owned()).collect()).collect();
    let machine = Observed::new(&LIBRARY, &features).unwrap();
    let reports = machine.reports_to(&|state| goal(&machine, state)).unwrap().unwrap();
    let mut log = vec![answers(End::Source, true), answers(End::Destination, false)];
    for Seen { end, what } in reports {
        let end = usize::from(end);
        let Said::Reports(said) = what else { continue };
        log.push(match said {
            Reported::Status(of) => status(end, of.name()),
            Reported::Runs(runs) => vm(end, runs),
            Reported::Device { at, state } => {
                device(end, &format!("v{at}"), &machine.name_of(state))
            }
            Reported::Pass | Reported::Beyond => unreachable!("not offered"),
        });
    }
    log.push(ends());
    log
}

type Goal = devmig_model::protocol::migration::observed::State;

/// Logs of migrations that complete, by the features of their devices: a walk is looked for once.
static COMPLETE: Mutex<BTreeMap<String, Vec<Entry>>> = Mutex::new(BTreeMap::new());

/// It completes, the destination runs, and the source reports every status on the way.
fn completes(devices: &[&[&str]]) -> Vec<Entry> {
    let mut known = COMPLETE.lock().unwrap_or_else(PoisonError::into_inner);
    let walked = || {
        walk(devices, &|machine, state| {
            let [source, destination] = &state.1.of;
            let ends = source.said == Status::Completed && destination.said == Status::Completed;
            !state.1.paused
                && ends
                && destination.runs
                && machine.rests(state)
                && destination.items().next().is_none()
        })
    };
    known.entry(format!("{devices:?}")).or_insert_with(walked).clone()
}

/// It fails after the stop, and the source goes on.
fn fails(devices: &[&[&str]]) -> Vec<Entry> {
    let mut log = completes(devices);
    let stop = at(&log, &vm(SOURCE, false));
    log.truncate(stop + 1);
    log.push(status(SOURCE, "failed"));
    log.push(vm(SOURCE, true));
    let ids = (0..devices.len()).map(|at| format!("v{at}"));
    let ids: Vec<String> = ids.collect();
    log.extend(ids.iter().map(|id| device(SOURCE, id, "running-p2p")));
    log.extend(ids.iter().map(|id| device(SOURCE, id, "running")));
    log.push(ends());
    log
}

/// Where a line is.
fn at(log: &[Entry], wanted: &Entry) -> usize {
    log.iter().position(|line| line == wanted).unwrap_or_else(|| panic!("no {wanted:?}"))
}

fn judged_with(log: &[Entry], features: &[(String, Vec<String>)]) -> Report {
    let mut judge = Judge::new(&LAW, features);
    for line in log {
        judge.take(line).unwrap();
    }
    judge.report().unwrap()
}

fn judged(log: &[Entry]) -> Report {
    judged_with(log, &[])
}

#[test]
fn healthy_logs_are_conformant() {
    let sets: [&[&[&str]]; 6] =
        [&[], &[BOTH], &[&["p2p"]], &[&["pre-copy"]], &[&[]], &[BOTH, BOTH]];
    for devices in sets {
        let log = completes(devices);
        let report = judged(&log);
        assert_eq!(report.verdict, Verdict::Conformant, "{devices:?} {}", report.text());
        assert_eq!(report.devices.len(), devices.len());
        for (device, features) in report.devices.iter().zip(devices) {
            let features: Vec<String> = features.iter().map(|name| (*name).to_owned()).collect();
            assert!(device.features.contains(&features), "{device:?}");
        }
        // Every beginning of it is truncated: nothing is wrong yet.
        for length in 2..log.len() - 2 {
            let report = judged(&log[..length]);
            assert!(report.violations.is_empty(), "{length} {}", report.text());
        }
    }
    let report = judged(&fails(&[BOTH]));
    assert_eq!(report.verdict, Verdict::Conformant, "{}", report.text());
    let report = judged(&completes(&[BOTH])[..8]);
    assert_eq!(report.verdict, Verdict::Truncated);
}

/// A change of a log.
type Change = fn(&mut Vec<Entry>);

fn moved(log: &mut Vec<Entry>, line: &Entry, to: &Entry) {
    let line = log.remove(at(log, line));
    let place = at(log, to);
    log.insert(place, line);
}

const FAULTS: &[(&str, bool, Change)] = &[
    ("a device runs at the destination before the VM does", true, |log| {
        moved(log, &device(DESTINATION, "v0", "running"), &vm(DESTINATION, true));
    }),
    ("a device runs at the destination while the source runs", true, |log| {
        moved(
            log,
            &device(DESTINATION, "v0", "running-p2p"),
            &device(SOURCE, "v0", "pre-copy-p2p"),
        );
    }),
    ("the destination runs while the source does", true, |log| {
        moved(log, &vm(DESTINATION, true), &vm(SOURCE, false));
    }),
    ("the source is not said to stop", true, |log| {
        let stop = at(log, &vm(SOURCE, false));
        log.remove(stop);
    }),
    ("STOP before the devices have stopped", true, |log| {
        moved(log, &vm(SOURCE, false), &device(SOURCE, "v0", "stop-copy"));
    }),
    ("a round after a device has stopped, before the VM is said to", true, |log| {
        let stop = at(log, &vm(SOURCE, false));
        log.insert(
            stop,
            entry(SOURCE, json!({ "event": "MIGRATION_PASS", "data": { "pass": 9 } })),
        );
    }),
    ("a device stops without P2P", true, |log| {
        let place = at(log, &device(SOURCE, "v0", "pre-copy-p2p"));
        log.remove(place);
    }),
    ("a device stops while the other one starts DMA", true, |log| {
        moved(log, &device(SOURCE, "v0", "stop-copy"), &device(SOURCE, "v1", "pre-copy-p2p"));
    }),
    ("a device runs while the other one stands still", true, |log| {
        moved(
            log,
            &device(DESTINATION, "v0", "running"),
            &device(DESTINATION, "v1", "running-p2p"),
        );
    }),
    ("complete before the state was sent", true, |log| {
        moved(log, &status(SOURCE, "completed"), &device(SOURCE, "v0", "pre-copy-p2p"));
    }),
    ("the source goes on after it has completed", true, |log| {
        let end = log.len() - 1;
        log.insert(end, vm(SOURCE, true));
    }),
    ("the destination fails after the source has completed", true, |log| {
        let run = at(log, &vm(DESTINATION, true));
        log.truncate(run);
        if !log.contains(&status(SOURCE, "completed")) {
            log.push(status(SOURCE, "completed"));
        }
        log.push(status(DESTINATION, "failed"));
    }),
    ("a device goes back to PRE_COPY", true, |log| {
        let stop = at(log, &vm(SOURCE, false));
        log.insert(stop + 1, device(SOURCE, "v0", "pre-copy"));
    }),
    ("a device begins to save before the migration begins", true, |log| {
        moved(log, &device(SOURCE, "v0", "pre-copy"), &status(SOURCE, "setup"));
    }),
    ("the destination receives before the source begins", true, |log| {
        moved(log, &device(DESTINATION, "v0", "resuming"), &status(SOURCE, "setup"));
    }),
    ("after a failure the source does not run again", false, |log| {
        let runs = at(log, &vm(SOURCE, true));
        log.truncate(runs);
        log.push(ends());
    }),
    ("after a failure a device does not run again", false, |log| {
        let runs = at(log, &device(SOURCE, "v0", "running"));
        log.remove(runs);
    }),
    ("a second attempt before the source runs again", false, |log| {
        let runs = at(log, &vm(SOURCE, true));
        log.truncate(runs);
        log.push(status(SOURCE, "setup"));
    }),
    ("devices run before the VM is said to, after a failure", false, |log| {
        moved(log, &device(SOURCE, "v0", "running-p2p"), &vm(SOURCE, true));
    }),
];

#[test]
fn each_fault_is_found_at_its_event() {
    let devices: &[&[&str]] = &[BOTH, BOTH];
    let (whole, failed) = (completes(devices), fails(devices));
    let known: Vec<_> =
        ["v0", "v1"].map(|id| device_and_features(&format!("{id}=p2p,pre-copy")).unwrap()).to_vec();
    let mut found = String::new();
    for (name, completes_at_first, change) in FAULTS {
        let mut log = if *completes_at_first { whole.clone() } else { failed.clone() };
        let before = log.clone();
        change(&mut log);
        assert_ne!(before, log, "{name}: nothing is changed");
        let report = judged_with(&log, &known);
        assert_eq!(report.verdict, Verdict::Violated, "{name} {}", report.text());
        let violation = &report.violations[0];
        // What is unchanged before it is allowed.
        let same = before.iter().zip(&log).take_while(|(before, after)| before == after).count();
        assert!(violation.event > same as u64, "{name} {}", report.text());
        let clause = violation.clause.as_deref().unwrap_or("no clause");
        let late = violation.event - same as u64;
        found += &format!("{name}: {clause}, +{late}\n");
    }
    insta::assert_snapshot!(found);
}

/// Management has paused the VM, which completes its migration; `goes_on`: management lets it run there.
fn paused(devices: &[&[&str]], goes_on: bool) -> Vec<Entry> {
    walk(devices, &|machine, state| {
        let [source, destination] = &state.1.of;
        let ends = source.said == Status::Completed && destination.said == Status::Completed;
        let runs = destination.in_truth().runs == goes_on && destination.runs == goes_on;
        let seen = destination.items().next().is_none();
        state.1.paused && ends && runs && seen && machine.rests(state)
    })
}

/// The same log, watched from when the VM was paused.
fn begun_late(log: &[Entry]) -> Vec<Entry> {
    let stop = at(log, &vm(SOURCE, false));
    let of_source = |line: &Entry| matches!(line.what, What::Event(End::Source, _));
    let rest = log.iter().enumerate().skip(1).filter(|(at, line)| *at > stop || !of_source(line));
    let mut late = vec![answers(End::Source, false)];
    late.extend(rest.map(|(_, line)| line.clone()));
    late
}

/// A VM that management pauses before its migration is judged from the beginning to the end, whether or not the
/// pause was watched.
#[test]
fn a_paused_vm_is_judged() {
    let sets: [&[&[&str]]; 6] =
        [&[], &[BOTH], &[&["p2p"]], &[&["pre-copy"]], &[&[]], &[BOTH, &["p2p"]]];
    for devices in sets {
        for goes_on in [false, true] {
            let whole = paused(devices, goes_on);
            assert_eq!(whole.contains(&vm(DESTINATION, true)), goes_on);
            for log in [begun_late(&whole), whole] {
                let report = judged(&log);
                assert_eq!(report.verdict, Verdict::Conformant, "{devices:?} {}", report.text());
                assert_eq!((report.devices.len(), report.notes.len()), (devices.len(), 0));
            }
        }
    }
    // The migration fails: the VM stays paused until management sends `cont`.
    let whole = paused(&[BOTH], false);
    let mut log = whole.clone();
    log.truncate(at(&log, &device(SOURCE, "v0", "stop-copy")));
    log.push(status(SOURCE, "failed"));
    let mut goes_on = log.clone();
    goes_on.push(vm(SOURCE, true));
    goes_on.extend(["running-p2p", "running"].map(|state| device(SOURCE, "v0", state)));
    for mut log in [log, goes_on] {
        log.push(ends());
        for log in [begun_late(&log), log] {
            let report = judged(&log);
            assert_eq!(report.verdict, Verdict::Conformant, "{}", report.text());
        }
    }
}

const FAULTS_IF_PAUSED: &[(&str, Change)] = &[
    ("a device stops without P2P when the VM is paused", |log| {
        let place = at(log, &device(SOURCE, "v0", "running-p2p"));
        log.remove(place);
    }),
    ("the VM is said to be paused before its device stands still", |log| {
        moved(log, &vm(SOURCE, false), &device(SOURCE, "v0", "stop"));
    }),
    ("a device of a paused VM begins to save", |log| {
        let active = at(log, &status(SOURCE, "active"));
        log.insert(active, device(SOURCE, "v0", "pre-copy"));
    }),
    ("the source of a paused VM runs while it migrates", |log| {
        let active = at(log, &status(SOURCE, "active"));
        log.insert(active + 1, vm(SOURCE, true));
    }),
    ("a paused VM stops once more", |log| {
        let active = at(log, &status(SOURCE, "active"));
        log.insert(active + 1, vm(SOURCE, false));
    }),
    ("a paused VM runs at the destination before it has completed", |log| {
        let completed = at(log, &status(DESTINATION, "completed"));
        log.insert(completed, vm(DESTINATION, true));
    }),
    ("a device of the destination runs, and its VM is not said to", |log| {
        let end = log.len() - 1;
        log.insert(end, device(DESTINATION, "v0", "running-p2p"));
    }),
    ("a device of the source runs again after the migration", |log| {
        let end = log.len() - 1;
        log.insert(end, device(SOURCE, "v0", "running"));
    }),
];

#[test]
fn each_fault_of_a_paused_vm_is_found_at_its_event() {
    let known = [device_and_features("v0=p2p,pre-copy").unwrap()];
    let whole = paused(&[BOTH], false);
    let mut found = String::new();
    for (name, change) in FAULTS_IF_PAUSED {
        let mut log = whole.clone();
        change(&mut log);
        let report = judged_with(&log, &known);
        assert_eq!(report.verdict, Verdict::Violated, "{name} {}", report.text());
        let violation = &report.violations[0];
        let same = whole.iter().zip(&log).take_while(|(before, after)| before == after).count();
        assert!(violation.event > same as u64, "{name} {}", report.text());
        let clause = violation.clause.as_deref().unwrap_or("no clause");
        found += &format!("{name}: {clause}, +{}\n", violation.event - same as u64);
    }
    // What was paused does not run when its monitor first answers.
    let mut runs = begun_late(&whole);
    runs[0] = answers(End::Source, true);
    assert_eq!(judged_with(&runs, &known).verdict, Verdict::Violated);
    insta::assert_snapshot!(found);
}

/// Three devices, made from a log of two: what is said of the first or of the second is said of the third after it.
fn of_three(log: &[Entry], like: &str) -> Vec<Entry> {
    let says = |line: &Entry| match &line.what {
        What::Event(end, event) if event["data"]["device-id"] == like => {
            let state = event["data"]["device-state"].as_str().unwrap();
            Some(device(*end as usize, "v2", state))
        }
        _ => None,
    };
    log.iter().flat_map(|line| [Some(line.clone()), says(line)]).flatten().collect()
}

/// A log of three devices is judged pair by pair: each pair finds what goes wrong between its two.
#[test]
fn a_fault_between_any_two_of_three_devices_is_found() {
    let known: Vec<_> = ["v0", "v1", "v2"]
        .map(|id| device_and_features(&format!("{id}=p2p,pre-copy")).unwrap())
        .to_vec();
    let mut found = String::new();
    let whole = of_three(&completes(&[BOTH, BOTH]), "v0");
    for log in [whole.clone(), of_three(&fails(&[BOTH, BOTH]), "v1")] {
        for features in [&known[..], &[]] {
            let report = judged_with(&log, features);
            assert_eq!(report.verdict, Verdict::Conformant, "{}", report.text());
            let ids: Vec<_> = report.devices.iter().map(|device| device.id.as_str()).collect();
            assert!(ids.len() == 3 && ["v0", "v1", "v2"].iter().all(|id| ids.contains(id)));
        }
    }
    // One stops while another one starts DMA; the third is prepared, so that nothing is wrong with it.
    for (early, late, third) in [
        ("v0", "v1", "v2"),
        ("v1", "v0", "v2"),
        ("v0", "v2", "v1"),
        ("v2", "v0", "v1"),
        ("v1", "v2", "v0"),
        ("v2", "v1", "v0"),
    ] {
        let mut log = whole.clone();
        let stops = device(SOURCE, early, "stop-copy");
        moved(&mut log, &stops, &device(SOURCE, late, "pre-copy-p2p"));
        for id in [third, early] {
            moved(&mut log, &device(SOURCE, id, "pre-copy-p2p"), &stops);
        }
        let report = judged_with(&log, &known);
        assert_eq!(report.verdict, Verdict::Violated, "{early} {late} {}", report.text());
        let violation = &report.violations[0];
        assert_eq!(violation.event as usize, at(&log, &stops) + 1, "{}", report.text());
        // Without either of the two nothing is wrong; without the third one it still is.
        for id in [early, late, third] {
            let is = |line: &&Entry| match &line.what {
                What::Event(_, event) => event["data"]["device-id"] != id,
                _ => true,
            };
            let without: Vec<_> = log.iter().filter(is).cloned().collect();
            let report = judged_with(&without, &known);
            let wanted = if id == third { Verdict::Violated } else { Verdict::Conformant };
            assert_eq!(report.verdict, wanted, "{early} {late}, no {id} {}", report.text());
        }
        let clause = violation.clause.as_deref().unwrap_or("no clause");
        found +=
            &format!("{early} stops before {late} is prepared: {clause}, {}\n", violation.observed);
    }
    insta::assert_snapshot!(found);
}

#[test]
fn a_violation_says_what_was_allowed() {
    let mut log = completes(&[BOTH]);
    moved(&mut log, &vm(DESTINATION, true), &vm(SOURCE, false));
    insta::assert_snapshot!(judged(&log).text());
}

/// QEMU 11.1 says that a state is about to be set, too.
#[test]
fn an_announcement_is_passed_over() {
    let mut log = completes(&[BOTH]);
    let place = at(&log, &device(SOURCE, "v0", "stop-copy"));
    log.insert(place, device(SOURCE, "v0", "stop-copy-prepare"));
    assert_eq!(judged(&log).verdict, Verdict::Conformant);
}

/// Each thread of a source that notices a failure reports it. Nothing else may be said twice.
#[test]
fn a_failure_may_be_said_again() {
    let log = fails(&[BOTH]);
    let again = |line: &Entry| {
        let mut log = log.clone();
        log.insert(at(&log, line) + 1, line.clone());
        judged(&log).verdict
    };
    assert_eq!(again(&status(SOURCE, "failed")), Verdict::Conformant);
    assert_eq!(again(&status(SOURCE, "setup")), Verdict::Violated);
    assert_eq!(again(&status(SOURCE, "active")), Verdict::Violated);
}

/// What was sent may be whole when a migration is cancelled: the destination has completed, and does not run.
#[test]
fn a_destination_may_have_all_of_what_is_cancelled() {
    let mut log = completes(&[]);
    log.truncate(at(&log, &vm(SOURCE, false)) + 1);
    log.retain(|line| !matches!(&line.what, What::Event(End::Destination, _)));
    log.extend([status(DESTINATION, "setup"), status(DESTINATION, "active")]);
    log.push(status(SOURCE, "cancelling"));
    let with = |further: &[Entry]| {
        let mut log = log.clone();
        log.extend(further.iter().cloned().chain([ends()]));
        judged(&log)
    };
    let source = [vm(SOURCE, true), status(SOURCE, "cancelled")];
    let has_all = [&[status(DESTINATION, "completed")], &source[..]].concat();
    let report = with(&has_all);
    assert_eq!(report.verdict, Verdict::Conformant, "{}", report.text());
    // It must not run.
    let report = with(&[&has_all[..], &[vm(DESTINATION, true)]].concat());
    assert_eq!(report.violations[0].clause.as_deref(), Some("migration.run.one"));
    // A source that still runs has not sent everything.
    let mut early = completes(&[]);
    early.truncate(at(&early, &vm(SOURCE, false)));
    early.retain(|line| !matches!(&line.what, What::Event(End::Destination, _)));
    early.extend([status(DESTINATION, "setup"), status(DESTINATION, "active")]);
    assert_eq!(judged(&early).violations, []);
    early.extend([status(SOURCE, "cancelling"), status(DESTINATION, "completed"), ends()]);
    assert_eq!(judged(&early).verdict, Verdict::Violated);
}

/// What is not modelled ends judgement, and is said to.
#[test]
fn postcopy_is_not_judged() {
    let mut log = completes(&[]);
    let stop = at(&log, &vm(SOURCE, false));
    log.truncate(stop);
    log.push(status(SOURCE, "postcopy-active"));
    log.push(vm(DESTINATION, true));
    log.push(ends());
    let report = judged(&log);
    assert_eq!(report.verdict, Verdict::Conformant);
    assert!(report.notes[0].contains("not modelled"), "{:?}", report.notes);
}

/// A log that begins in the middle of a migration.
#[test]
fn a_log_may_begin_late() {
    let log = completes(&[]);
    let from = at(&log, &status(SOURCE, "active"));
    let first = Entry {
        us: 0,
        what: What::Answers(End::Source, Answers { status: "active".into(), running: true }),
    };
    let of_source =
        |line: &&Entry| matches!(&line.what, What::Event(End::Source, _) | What::Ends(_));
    let mut late = vec![first];
    late.extend(log[from + 1..].iter().filter(of_source).cloned());
    // A migration that was not seen to begin is none that ended.
    let report = judged(&late);
    assert!(report.violations.is_empty(), "{}", report.text());
    assert_eq!(report.triples[0].migration, "completed");
}

fn written(log: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes).unwrap();
    log.iter().for_each(|line| writer.write(line).unwrap());
    bytes
}

/// Reads and judges bytes: nothing but an error may come of them.
fn taken(bytes: &[u8]) -> Result<Report, String> {
    let mut reader = Reader::new(bytes).map_err(|error| error.to_string())?;
    let mut judge = Judge::new(&LAW, &[]);
    while let Some(line) = reader.next_entry().map_err(|error| error.to_string())? {
        judge.take(&line).map_err(|error| error.to_string())?;
    }
    judge.report().map_err(|error| error.to_string())
}

#[test]
fn a_log_is_read_as_it_was_written() {
    let log = completes(&[BOTH]);
    let bytes = written(&log);
    let mut reader = Reader::new(bytes.as_slice()).unwrap();
    let mut read = Vec::new();
    while let Some(line) = reader.next_entry().unwrap() {
        read.push(line);
    }
    assert_eq!(read, log);
    assert_eq!(taken(&bytes).unwrap().verdict, Verdict::Conformant);
}

proptest! {
    #[test]
    fn no_bytes_end_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(taken(&bytes).is_err());
    }

    #[test]
    fn no_damage_ends_the_judge(at in any::<usize>(), byte in any::<u8>(), cut in any::<usize>()) {
        let mut bytes = written(&completes(&[]));
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(cut % length + 1);
        let _ = taken(&bytes);
    }

    #[test]
    fn no_order_ends_the_judge(
        order in prop::collection::vec((any::<bool>(), 0..12_usize), 0..40)
    ) {
        let kinds = ["setup", "active", "device", "completed", "failed", "cancelling", "cancelled"];
        let mut log = vec![answers(End::Source, true), answers(End::Destination, false)];
        log.extend(order.into_iter().map(|(end, kind)| {
            let end = usize::from(end);
            match kinds.get(kind) {
                Some(name) => status(end, name),
                None if kind < 9 => vm(end, kind == 8),
                None => device(end, "v0", ["pre-copy", "stop-copy", "running"][kind - 9]),
            }
        }));
        let report = judged(&log);
        prop_assert!(report.violations.len() <= 1);
    }
}

/// What is no log is an error that says why.
#[test]
fn what_is_no_log() {
    let head = r#"{"log":"migration-events","schema":1,"devmig":"0.1.0"}"#;
    let answers = r#"{"n":1,"us":0,"from":"source","answers":{"status":"none","running":true}}"#;
    let event =
        |n: u32, event: &str| format!(r#"{{"n":{n},"us":0,"from":"source","event":{event}}}"#);
    let long = format!("{head}\n{}", "x".repeat(MAX_LINE + 1));
    let cases = [
        (String::new(), "no first line"),
        ("{}\n".to_owned(), "not a log of events"),
        (head.replace("migration-events", "vhost-user") + "\n", "not migration-events"),
        (head.replace(":1,", ":2,") + "\n", "schema 2"),
        (long, "longer than"),
        (format!("{head}\n{{\"n\":2,\"us\":0,\"ends\":\"\"}}\n"), "instead of event 1"),
        (format!("{head}\n{{\"n\":1,\"us\":0}}\n"), "`from`"),
        (format!("{head}\n{}\n", event(1, "{}")), "has a name"),
        (format!("{head}\n{}\n", event(1, r#"{"event":"STOP"}"#)), "first line of the source"),
        (format!("{head}\n{answers}\n{}\n", event(2, r#"{"event":"MIGRATION"}"#)), "no `status`"),
        (
            format!(
                "{head}\n{answers}\n{}\n",
                event(2, r#"{"event":"MIGRATION","data":{"status":"x"}}"#)
            ),
            "status `x`",
        ),
        (
            format!(
                "{head}\n{answers}\n{}\n",
                event(
                    2,
                    r#"{"event":"VFIO_MIGRATION","data":{"device-id":"v","device-state":"x"}}"#
                )
            ),
            "state `x`",
        ),
    ];
    for (text, wanted) in cases {
        let error = taken(text.as_bytes()).unwrap_err();
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
    for wrong in ["v0", "=p2p", "v0=p3p"] {
        assert!(device_and_features(wrong).is_err(), "{wrong}");
    }
}

/// What is behind a socket that is no monitor's.
#[test]
fn what_is_no_monitor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qmp");
    let watch = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
        command.args(["watch", "migration", "--for", "20", "--source"]).arg(&path);
        command.output().unwrap()
    };
    let output = watch();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot connect"));
    let greeting = b"{\"QMP\":{}}\n".to_vec();
    let endless = vec![b'x'; (1 << 20) + 1];
    let garbage = [&greeting[..], b"{\"return\":{}}\n", b"no json\n"].concat();
    let cases: [(&str, Vec<u8>, bool, &str); 5] = [
        ("garbage instead of a greeting", b"hello\n".to_vec(), true, "does not greet"),
        ("closed at once", Vec::new(), false, "is closed"),
        ("an endless line", endless, true, "says too much"),
        ("garbage instead of an answer", garbage, true, "answer to"),
        ("no greeting", Vec::new(), true, "does not answer"),
    ];
    for (name, says, stays, wanted) in cases {
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            // The other end may have gone before all was sent.
            let _ = socket.write_all(&says);
            if stays {
                let lines = BufReader::new(socket).lines();
                lines.take_while(Result::is_ok).for_each(drop);
            }
        });
        let output = watch();
        server.join().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{name}: {error}");
        assert!(error.contains(wanted), "{name}: {error}");
    }
}

/// A monitor that is played: what comes is judged and kept, also when the watcher's time is up.
#[test]
fn a_migration_is_watched() {
    let folder = tempfile::tempdir().unwrap();
    let (path, record) = (folder.path().join("qmp"), folder.path().join("events.jsonl"));
    for (events, code, verdict) in [
        (&["setup", "active"][..], 3, "truncated"),
        (&["setup", "active", "STOP", "device", "completed"][..], 0, "conformant"),
        (&["setup", "active", "completed"][..], 1, "violated: migration.stop.vcpus-first"),
    ] {
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let mut write = socket.try_clone().unwrap();
            writeln!(write, r#"{{"QMP":{{"version":{{}}}}}}"#).unwrap();
            for line in BufReader::new(socket).lines().map_while(Result::ok) {
                let command: Value = serde_json::from_str(&line).unwrap();
                let answer = match command["execute"].as_str().unwrap() {
                    "query-status" => json!({ "running": true }),
                    "query-migrate-capabilities" => json!([]),
                    _ => json!({}),
                };
                writeln!(write, "{}", json!({ "return": answer })).unwrap();
                if command["execute"] == "query-status" {
                    std::thread::sleep(std::time::Duration::from_millis(200));
                    for name in events {
                        let event = match *name {
                            "STOP" => json!({ "event": "STOP" }),
                            name => json!({ "event": "MIGRATION", "data": { "status": name } }),
                        };
                        let _ = writeln!(write, "{event}");
                    }
                }
            }
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
        command.args(["watch", "migration", "--for", "3", "--source"]).arg(&path);
        let output = command.arg("--record").arg(&record).output().unwrap();
        server.join().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(verdict), "{text}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
        let again = command.args(["replay", "migration"]).arg(&record).output().unwrap();
        assert_eq!(again.status.code(), Some(code));
        let again = String::from_utf8_lossy(&again.stdout).into_owned();
        assert!(text.ends_with(&again), "{text}\n{again}");
    }
}
