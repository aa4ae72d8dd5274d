//! Every system of a hand-over: what is expected, how its counterexamples read, and the laws.
//!
//! A snapshot here is a claim about what comes of a fault: read it before you accept it.

#![allow(clippy::unwrap_used)]

use devmig_engine::clause::ClauseId;
use devmig_engine::explore::Options;
use devmig_engine::explore::report::{Report, check};
use devmig_engine::laws::{self, Wrong};
use devmig_engine::rules::Rules;
use devmig_model::protocol::hand_over::properties;
use devmig_model::protocol::hand_over::systems::SystemDef;
use devmig_model::registry::Library;

use crate::common::{Story, builtin, noticed_by, stories, violated};

fn run(library: &Library, def: &SystemDef, rules: Rules) -> Report {
    let clause = |id: ClauseId| library.spec.clause_name(id).to_owned();
    let options = Options { clause: &clause, ..Options::default() };
    check(&library.hand_over().system(def, rules), &options).unwrap()
}

#[test]
fn every_system_is_as_expected() {
    let library = builtin();
    let mut counts =
        format!("{:40} {:>9} {:>12} {:>6}\n", "system", "states", "transitions", "depth");
    for def in &library.hand_over().systems {
        let report = run(&library, def, library.rules(def));
        assert!(report.as_expected && report.incomplete.is_none(), "{}", report.text());
        let Report { system, states, transitions, depth, .. } = &report;
        counts += &format!("{system:40} {states:>9} {transitions:>12} {depth:>6}\n");
        let system = def.common.name.trim_start_matches("hand-over/");
        for Story { name, text } in stories(violated(&report)) {
            insta::assert_snapshot!(format!("{system}--{name}"), text);
        }
    }
    insta::assert_snapshot!("counts", counts);
}

/// Laws 1, 2, 3, 5, 6 and 7, on each system.
#[test]
fn every_system_passes_the_laws() {
    let library = builtin();
    for def in &library.hand_over().systems {
        let wrong = laws::all(library.hand_over().system(def, library.rules(def)));
        assert_eq!(wrong, Wrong::new(), "{}", def.common.name);
    }
}

/// Law 4: who notices is a snapshot.
#[test]
fn dropping_any_clause_is_noticed() {
    let library = builtin();
    let defs = &library.hand_over().systems;
    let with: Vec<Report> = defs.iter().map(|def| run(&library, def, library.rules(def))).collect();
    let mut rows = Vec::new();
    for id in library.hand_over().laws.all() {
        let clause = library.spec.get(id).unwrap();
        assert!(clause.droppable(), "{}", clause.id);
        let who = defs.iter().zip(&with).find_map(|(def, before)| {
            let after = run(&library, def, library.rules(def).without(id));
            let names = laws::noticed(before, &after).join(", ");
            (!names.is_empty()).then(|| format!("{}: {names}", def.common.name))
        });
        rows.push((clause.id.clone(), who));
    }
    let out = noticed_by(&rows);
    insta::assert_snapshot!(out);
    assert!(!out.contains("NOBODY"), "{out}");
}

/// Law 6 in the large: a property that no system checks would say nothing. Each but `completes` is also
/// violated somewhere, so that it can fail.
#[test]
fn every_property_is_checked_and_can_fail() {
    let library = builtin();
    let all = &library.hand_over().systems;
    for (index, known) in properties::ALL.iter().enumerate() {
        let holds = all.iter().any(|def| def.common.holds.contains(&index));
        let fails = all.iter().any(|def| def.common.violated.contains(&index));
        assert!(holds && (fails || known.name == "completes"), "{}", known.name);
    }
}
