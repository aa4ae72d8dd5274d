//! The hand-over table: its text, and that it agrees with the properties of the systems.

#![allow(clippy::unwrap_used)]

use devmig_engine::explore::Options;
use devmig_engine::explore::report::{PropertyVerdict, check};
use devmig_engine::explore::search::Limits;
use devmig_model::protocol::hand_over::outcome::{Outcome, Runs};

use crate::common::builtin;
use crate::{hand_overs, hand_overs_within};

#[test]
fn the_table() {
    let library = builtin();
    let table = hand_overs(&library);
    insta::assert_snapshot!(table.text(true));
}

/// The traces that the command shows: every wrong outcome has one, and no other has.
#[test]
fn every_wrong_outcome_has_a_trace() {
    let library = builtin();
    let table = hand_overs(&library);
    let ends = table.systems.iter().flat_map(|row| &row.cells).flat_map(|cell| &cell.outcomes);
    let mut wrong = 0;
    for end in ends {
        assert_eq!(end.wrong, end.outcome.is_wrong());
        assert_eq!(end.trace.is_some(), end.wrong, "{}", end.words);
        wrong += usize::from(end.wrong);
    }
    assert!(wrong > 10, "{wrong}");
}

/// A run that a bound cuts short says so for each system, and is no proof that an outcome does not exist.
#[test]
fn a_run_that_is_cut_short_says_so() {
    let library = builtin();
    assert!(!hand_overs(&library).is_cut());
    let cut = hand_overs_within(&library, Limits { max_states: Some(20), ..Limits::default() });
    assert!(cut.is_cut());
    let said = cut.text(true).matches("other outcomes may exist").count();
    assert_eq!(said, cut.systems.len());
}

/// The table and the properties are two ways to the same answer.
#[test]
fn the_table_agrees_with_the_properties() {
    let library = builtin();
    let table = hand_overs(&library);
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
