//! The questions that the specification asks: options against properties, as tables.
//!
//! A snapshot here is an answer that people will quote: read it before you accept it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use devmig_engine::explore::Options;
use devmig_engine::explore::decide::{self, Choice, Decision, Row};
use devmig_engine::explore::report::PropertyVerdict;
use devmig_model::registry::{Decision as Question, Library};

use crate::common::{builtin, proposal};

fn decision(library: &Library, question: &Question) -> Decision {
    let def = library.vhost_user().systems.named(&question.system).unwrap();
    let choices: Vec<Choice> = question
        .choices
        .iter()
        .map(|id| {
            let choice = &library.spec.choices()[id.index()];
            let options = choice.options.iter().map(|option| option.name.clone()).collect();
            Choice { id: *id, name: choice.id.clone(), options }
        })
        .collect();
    let name = |id| library.spec.clause_name(id).to_owned();
    let options = Options { clause: &name, ..Options::default() };
    let system = |rules| library.vhost_user().check(def, rules);
    let decision = decide::decide(system, &library.rules(def), &choices, &options).unwrap();
    assert!(decision.rows.iter().all(|row| row.report.incomplete.is_none()));
    decision
}

fn of(library: &Library, system: &str) -> Decision {
    let question = library.decisions.iter().find(|question| question.system == system).unwrap();
    decision(library, question)
}

fn violated(row: &Row) -> BTreeSet<&str> {
    let violated = |p: &&_| -> bool {
        let p: &devmig_engine::explore::report::PropertyReport = p;
        p.verdict == PropertyVerdict::Violated
    };
    row.report.properties.iter().filter(violated).map(|p| p.name.as_str()).collect()
}

fn snapshots(prefix: &str, library: &Library) {
    let ours = library.decisions.iter().filter(|q| q.system.starts_with("vhost-user/"));
    for question in ours {
        let name = question.system.trim_start_matches("vhost-user/");
        insta::assert_snapshot!(format!("{prefix}{name}"), decision(library, question).text());
    }
}

#[test]
fn the_questions_of_the_base() {
    snapshots("", &builtin());
}

#[test]
fn the_questions_under_the_proposal() {
    let (base, library) = (builtin(), proposal("suspend"));
    let mut changed = library.clone();
    // A question about a system that the proposal leaves alone has the same answer.
    changed.decisions.retain(|question| {
        if library.vhost_user().systems.named(&question.system).is_none() {
            return false; // another protocol's
        }
        let steps = |library: &Library| {
            Some(library.vhost_user().systems.named(&question.system)?.steps.clone())
        };
        let same = steps(&base) == steps(&library);
        if same {
            let before = of(&base, &question.system).text();
            assert_eq!(before, decision(&library, question).text());
        }
        !same
    });
    snapshots("suspend--", &changed);
}

/// A back-end that must complete what it fetched before it answers, and that holds it while its ring
/// is disabled, waits for ever; every other combination of readings goes on.
#[test]
fn disabling_before_stopping_waits_for_ever_only_if_held_and_drained() {
    let decision = of(&builtin(), "vhost-user/disable-before-stop");
    assert_eq!(decision.rows.len(), 9);
    for row in &decision.rows {
        let waits = row.options == ["hold", "drain"];
        let stuck = BTreeSet::from(["deadlock-free", "no-starvation"]);
        assert_eq!(violated(row).is_superset(&stuck), waits, "{:?}", row.options);
        assert_eq!(violated(row).is_disjoint(&stuck), !waits, "{:?}", row.options);
    }
}

/// C4: what the device remembers is lost if a status of 0 resets it, and kept if it does not.
#[test]
fn a_status_of_0_that_keeps_loses_nothing() {
    let decision = of(&builtin(), "vhost-user/stop-start-with-status");
    let rows: Vec<_> = decision.rows.iter().map(|row| (&*row.options[0], violated(row))).collect();
    assert_eq!(
        rows,
        [("keeps", BTreeSet::new()), ("resets", BTreeSet::from(["remembers-every-request"])),]
    );
}

/// D1 to D3: each reading violates what the proposal says that it violates, and nothing else.
#[test]
fn the_proposal_expects_what_happens() {
    let library = proposal("suspend");
    let expects = &library.proposal.as_ref().unwrap().expects;
    assert_eq!(expects.len(), 3);
    for expected in expects {
        let system = library.find(&expected.system, &expected.under).unwrap();
        let report = system.check(&Options::default()).unwrap();
        let violated: BTreeSet<&str> = report
            .properties
            .iter()
            .filter(|p| p.verdict == PropertyVerdict::Violated)
            .map(|p| p.name.as_str())
            .collect();
        let said: BTreeSet<&str> = expected.violated.iter().map(String::as_str).collect();
        assert_eq!(violated, said, "{:?}", expected.under);
        assert!(report.incomplete.is_none());
    }
}
