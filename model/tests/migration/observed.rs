//! What monitors report of a migration: the triples that the model allows, and that none has two runners.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use devmig_engine::estimate::StateEstimate;
use devmig_engine::machine::Machine as _;
use devmig_engine::rules::Rules;
use devmig_model::protocol::migration::observed::report::{
    DESTINATION, Report, Reported, SOURCE, Status, What,
};
use devmig_model::protocol::migration::observed::triples::Row;
use devmig_model::protocol::migration::observed::{Missing, Observed, State};

use crate::common::builtin;

fn machine(devices: &[&[&str]]) -> Observed {
    let devices: Vec<Vec<String>> = devices
        .iter()
        .map(|features| features.iter().map(|name| (*name).to_owned()).collect())
        .collect();
    Observed::new(&builtin(), &devices).unwrap()
}

fn table(machine: &Observed, rows: &[Row]) -> String {
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let runs = if row.triple.runs { "runs" } else { "stands" };
        let device = machine.name_of(row.triple.devices[0]);
        let status = row.triple.status.name();
        let _ = writeln!(text, "{number:<3} {runs:<7} {status:<15} {device}");
        for (said, to) in &row.next {
            let report = Report { end: 0, what: What::Reports(*said) };
            let label = machine.label(&report).unwrap();
            let _ = writeln!(text, "      {:<45} -> {to}", label.split_once(": ").unwrap().1);
        }
    }
    text
}

#[test]
fn the_triples_of_the_source() {
    let machine = machine(&[&["p2p", "pre-copy"]]);
    insta::assert_snapshot!(table(&machine, &machine.triples(SOURCE).unwrap()));
}

#[test]
fn the_triples_of_the_destination() {
    let machine = machine(&[&["p2p", "pre-copy"]]);
    insta::assert_snapshot!(table(&machine, &machine.triples(DESTINATION).unwrap()));
}

/// The VM is never seen to run at both ends, and is seen to run at each.
#[test]
fn both_ends_together() {
    for devices in [&[][..], &[&["p2p", "pre-copy"][..]][..]] {
        let all = machine(devices).together().unwrap();
        assert!(all.iter().all(|[source, destination]| !(source.0 && destination.0)));
        for end in [SOURCE, DESTINATION] {
            assert!(all.iter().any(|both| both[end].0));
        }
        let completed = |both: &&[(bool, Status); 2]| both[SOURCE].1 == Status::Completed;
        assert!(all.iter().filter(completed).all(|both| !both[SOURCE].0));
        assert!(all.iter().filter(completed).count() > 2);
    }
}

/// A device reports nothing that its features do not give it.
#[test]
fn states_are_those_of_the_features() {
    for (features, lacks) in [
        (&[][..], &["pre-copy", "pre-copy-p2p", "running-p2p"][..]),
        (&["p2p"][..], &["pre-copy", "pre-copy-p2p"][..]),
        (&["pre-copy"][..], &["pre-copy-p2p", "running-p2p"][..]),
    ] {
        let machine = machine(&[features]);
        let states = |end| {
            let rows = machine.triples(end).unwrap();
            let states = rows.iter().map(|row| machine.name_of(row.triple.devices[0]));
            states.collect::<Vec<_>>()
        };
        let source = states(SOURCE);
        assert!(source.iter().any(|state| state == "stop-copy"), "{features:?}");
        // A device without PRE_COPY stops with the vCPUs, and its state is due later.
        let stops_first = !features.contains(&"pre-copy");
        let stops = machine.triples(SOURCE).unwrap().iter().any(|row| {
            // That of a VM that is paused stood still before.
            let is_active = row.triple.runs && row.triple.status == Status::Active;
            machine.name_of(row.triple.devices[0]) == "stop" && is_active
        });
        assert_eq!(stops, stops_first, "{features:?}");
        for end in [source, states(DESTINATION)] {
            assert!(end.iter().all(|state| !lacks.contains(&state.as_str())), "{features:?}");
        }
    }
}

/// Two devices report in any order within a step, and not across steps.
#[test]
fn devices_report_in_any_order_within_a_step() {
    let machine = machine(&[&["p2p", "pre-copy"], &["p2p", "pre-copy"]]);
    let state = |name: &str| machine.state_called(name).unwrap();
    let source = |said| Report { end: 0, what: What::Reports(said) };
    let device = |at, name| source(Reported::Device { at, state: state(name) });
    let answers = |end, runs| Report { end, what: What::Answers { status: Status::None, runs } };
    let begin = [
        answers(0, true),
        source(Reported::Status(Status::Setup)),
        device(1, "pre-copy"),
        device(0, "pre-copy"),
        source(Reported::Status(Status::Active)),
        source(Reported::Pass),
        device(1, "pre-copy-p2p"),
    ];
    let mut estimate = StateEstimate::new(&machine, Rules::default());
    for report in begin {
        estimate.observe(&report).unwrap_or_else(|fault| panic!("{report:?}: {fault:?}"));
    }
    let mut across = estimate.clone();
    across.observe(&device(1, "stop-copy")).unwrap_err();
    for report in [
        device(0, "pre-copy-p2p"),
        device(1, "stop-copy"),
        device(0, "stop-copy"),
        source(Reported::Runs(false)),
    ] {
        estimate.observe(&report).unwrap_or_else(|fault| panic!("{report:?}: {fault:?}"));
    }
}

#[test]
fn what_there_is_not() {
    let library = builtin();
    let device = |name: &str| vec![name.to_owned()];
    let too_many = vec![Vec::new(); 3];
    assert_eq!(Observed::new(&library, &too_many).unwrap_err(), Missing::Devices(3));
    let unknown = Observed::new(&library, &[device("p3p")]).unwrap_err();
    assert_eq!(unknown, Missing::Feature("p3p".to_owned()));
}

/// A VM that management pauses migrates too: it never stops for the migration, and runs at the destination only when
/// management lets it.
#[test]
fn a_paused_vm_migrates() {
    let machine = machine(&[&["p2p", "pre-copy"]]);
    let reports = |goes_on: bool| {
        let is = |state: &State| {
            let [source, destination] = &state.1.of;
            let completed = [source, destination].iter().all(|end| end.said == Status::Completed);
            state.1.paused && completed && destination.runs == goes_on && machine.rests(state)
        };
        let reports = machine.reports_to(&is).unwrap().unwrap();
        reports.iter().map(|report| machine.label(report).unwrap() + "\n").collect::<String>()
    };
    assert!(!reports(false).contains("destination: RESUME"));
    insta::assert_snapshot!(reports(true));
}
