//! The example which the book opens with: its counts, its counterexamples, and all laws.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use devmig_engine::clause::ClauseId;
use devmig_engine::explore::report::{PropertyVerdict, Report, check};
use devmig_engine::explore::search::Limits;
use devmig_engine::explore::{Check, Options};
use devmig_engine::laws;
use devmig_engine::pack::Bits;
use devmig_engine::rules::Rules;
use devmig_model::protocol::example::{Clauses, Copier, Copying, Device, Page, system};
use devmig_testing::Premises;
use proptest::prelude::*;

fn clauses() -> Clauses {
    Clauses { marks: ClauseId::new(0), silent: ClauseId::new(1) }
}

fn example(rules: Rules) -> Copying {
    system(clauses(), rules)
}

fn run(rules: Rules) -> Report {
    let name = |id: ClauseId| ["EXAMPLE-MARKS", "EXAMPLE-SILENT"][id.index()].to_owned();
    check(&example(rules), &Options { clause: &name, ..Options::default() }).unwrap()
}

fn without(clause: ClauseId) -> Report {
    run(Rules::default().without(clause))
}

#[test]
fn every_property_holds() {
    let report = run(Rules::default());
    insta::assert_snapshot!(report.text());
    assert!(report.as_expected);
}

#[test]
fn a_copier_that_does_not_track_copies_a_stale_page() {
    let report = without(clauses().marks);
    insta::assert_snapshot!(report.text());
    assert!(!report.as_expected);
    assert_eq!(
        report.property("the copy equals the page").unwrap().verdict,
        PropertyVerdict::Violated
    );
}

#[test]
fn a_device_that_is_not_silent_is_found() {
    insta::assert_snapshot!(without(clauses().silent).text());
}

#[test]
fn the_report_as_json() {
    let report = Report { seconds: 0.0, table_bytes: 0, ..without(clauses().marks) };
    insta::assert_json_snapshot!(report);
}

#[test]
fn a_bounded_run_is_no_proof() {
    for limits in [
        Limits { max_depth: Some(3), ..Limits::default() },
        Limits { max_states: Some(5), ..Limits::default() },
        Limits { deadline: Some(std::time::Duration::ZERO), ..Limits::default() },
    ] {
        let report = check(&example(Rules::default()), &Options { limits, ..Options::default() });
        let report = report.unwrap();
        assert!(report.incomplete.is_some() && !report.as_expected);
        let copy = report.property("the copy equals the page").unwrap();
        assert_eq!(copy.verdict, PropertyVerdict::Unknown);
        assert_eq!(report.property("no-starvation").unwrap().verdict, PropertyVerdict::Unknown);
    }
}

#[test]
fn it_passes_all_laws() {
    assert_eq!(laws::all(example(Rules::default())), laws::Wrong::new());
    assert_eq!(
        laws::agrees_with_stateright(Arc::new(example(Rules::default().without(clauses().silent)))),
        laws::Wrong::new()
    );
}

#[test]
fn dropping_a_clause_is_noticed() {
    let system = |rules| Box::new(example(rules)) as Box<dyn Check>;
    let droppable = [clauses().marks, clauses().silent];
    let wrong = laws::dropping_is_noticed(system, &Rules::default(), &droppable).unwrap();
    assert_eq!(wrong, laws::Wrong::new());
}

/// A number of two bits, or one that is too large for them.
fn number() -> impl Strategy<Value = u8> {
    prop_oneof![9 => 0u8..4, 1 => 4u8..8]
}

#[test]
fn any_state_packs_and_unpacks_or_overflows() {
    let premises = Premises::new();
    let numbers = [number(), number(), number(), number()];
    let flags = any::<(bool, bool, bool)>();
    proptest!(ProptestConfig::with_cases(1000), |(numbers in numbers, flags in flags)| {
        let ([fetched, buffer, value, copy], (stopped, dirty, done)) = (numbers, flags);
        let state = (
            Device { fetched, buffer, stopped },
            Page { value },
            Copier { value: copy, dirty, stopped, done },
        );
        let fits = premises.holds("it fits", numbers.iter().all(|number| *number < 4));
        premises.holds("it does not", !fits);
        prop_assert_eq!(Bits::<1>::pack(&state).is_ok(), fits);
        prop_assert_eq!(laws::round_trips::<_, 1>(&state), None);
    });
    premises.at_least("it fits", 50);
    premises.at_least("it does not", 20);
}
