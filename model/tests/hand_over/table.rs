//! The hand-over table: its text, and that it agrees with the properties of the systems.

#![allow(clippy::unwrap_used)]

use devmig_engine::explore::Options;
use devmig_engine::explore::report::{PropertyVerdict, check};
use devmig_model::protocol::hand_over::outcome::{Outcome, Runs};
use devmig_model::protocol::hand_over::table::table;

use crate::common::builtin;

#[test]
fn the_table() {
    let library = builtin();
    let table = table(library.hand_over(), |def| library.rules(def)).unwrap();
    insta::assert_snapshot!(table.text(true));
}

/// The traces that the command shows: every wrong outcome has one, and no other has.
#[test]
fn every_wrong_outcome_has_a_trace() {
    let library = builtin();
    let table = table(library.hand_over(), |def| library.rules(def)).unwrap();
    let ends = table.systems.iter().flat_map(|row| &row.cells).flat_map(|cell| &cell.outcomes);
    let mut wrong = 0;
    for end in ends {
        assert_eq!(end.wrong, end.outcome.is_wrong());
        assert_eq!(end.trace.is_some(), end.wrong, "{}", end.words);
        wrong += usize::from(end.wrong);
    }
    assert!(wrong > 10, "{wrong}");
}

/// The table and the properties are two ways to the same answer.
#[test]
fn the_table_agrees_with_the_properties() {
    let library = builtin();
    let table = table(library.hand_over(), |def| library.rules(def)).unwrap();
    assert!(!table.systems.is_empty());
    for row in &table.systems {
        let def = library.hand_over().systems.named(&row.system).unwrap();
        let system = library.hand_over().system(def, library.rules(def));
        let report = check(&system, &Options::default()).unwrap();
        let can_end = |what: &dyn Fn(Outcome) -> bool| {
            row.cells.iter().flat_map(|cell| &cell.outcomes).any(|end| what(end.outcome))
        };
        for (name, violated) in [
            ("never-two-runners", can_end(&|outcome| outcome.runs == Runs::Both)),
            ("loss-is-said", can_end(&Outcome::is_silent)),
        ] {
            let found = report.properties.iter().find(|property| property.name == name).unwrap();
            let expected = found.verdict == PropertyVerdict::Violated;
            assert_eq!(violated, expected, "{}: {name}", row.system);
        }
    }
}
