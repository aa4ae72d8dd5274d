//! Every system of a whole migration: what is expected, how its counterexamples read, and the laws.
//!
//! A snapshot here is a claim about what has to be done when a device moves: read it before you accept it.

#![allow(clippy::unwrap_used)]

use devmig_engine::clause::ClauseId;
use devmig_engine::explore::Options;
use devmig_engine::explore::report::{Report, check};
use devmig_engine::laws::{self, Wrong};
use devmig_engine::rules::Rules;
use devmig_model::protocol::orchestration::properties;
use devmig_model::protocol::orchestration::systems::SystemDef;
use devmig_model::registry::Library;

use crate::common::{Story, builtin, noticed_by, stories, violated};

fn run(library: &Library, def: &SystemDef, rules: Rules) -> Report {
    let clause = |id: ClauseId| library.spec.clause_name(id).to_owned();
    let options = Options { clause: &clause, ..Options::default() };
    check(&library.orchestration().system(def, rules), &options).unwrap()
}

#[test]
fn every_system_is_as_expected() {
    let library = builtin();
    let mut counts =
        format!("{:40} {:>9} {:>12} {:>6}\n", "system", "states", "transitions", "depth");
    for def in &library.orchestration().systems {
        let report = run(&library, def, library.rules(def));
        assert!(report.as_expected && report.incomplete.is_none(), "{}", report.text());
        let Report { system, states, transitions, depth, .. } = &report;
        counts += &format!("{system:40} {states:>9} {transitions:>12} {depth:>6}\n");
        let system = def.common.name.trim_start_matches("device-model/");
        for Story { name, text } in stories(violated(&report)) {
            insta::assert_snapshot!(format!("{system}--{name}"), text);
        }
    }
    insta::assert_snapshot!("counts", counts);
}

/// ClauseIds 1, 2, 3, 5, 6 and 7, on each system.
#[test]
fn every_system_passes_the_laws() {
    let library = builtin();
    for def in &library.orchestration().systems {
        let wrong = laws::all(library.orchestration().system(def, library.rules(def)));
        assert_eq!(wrong, Wrong::new(), "{}", def.common.name);
    }
}

/// Law 4: who notices is a snapshot.
#[test]
fn dropping_any_clause_is_noticed() {
    let library = builtin();
    let defs = &library.orchestration().systems;
    let with: Vec<Report> = defs.iter().map(|def| run(&library, def, library.rules(def))).collect();
    let mut rows = Vec::new();
    for id in library.orchestration().laws() {
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

/// S1-28: management that has read everything back leaves the driver's own check nothing to find.
const NOT_NEEDED: (&str, &str) = ("device-model/load-unchecked", "device-model.load.checks");

/// Law 7: with any one clause that a system switches off switched on again, something is another: a
/// program breaks it, or a property notices. So what such a system shows is not shown of one that keeps
/// the rules.
#[test]
fn nothing_is_switched_off_in_vain() {
    let library = builtin();
    for def in &library.orchestration().systems {
        let before = run(&library, def, library.rules(def));
        for id in &def.common.without {
            let others = def.common.without.iter().copied().filter(|other| other != id).collect();
            let mut other = def.clone();
            other.common.without = others;
            let rules = library.rules(&other);
            let after = run(&library, def, rules);
            let clause = library.spec.clause_name(*id);
            let broken: Vec<&str> = after.broken.iter().map(|ending| &*ending.clause).collect();
            let noticed = !laws::noticed(&before, &after).is_empty();
            // That it is not needed is what this system shows.
            let redundant = (&*def.common.name, clause) == NOT_NEEDED;
            match broken[..] {
                [] => assert_eq!(noticed, !redundant, "{}: {clause}", def.common.name),
                _ => assert_eq!(broken, [clause], "{}", def.common.name),
            }
        }
    }
}

/// Law 6 in the large: a property that no system checks would say nothing.
#[test]
fn every_property_is_checked_somewhere() {
    let library = builtin();
    for (index, known) in properties::ALL.iter().enumerate() {
        let uses = |def: &SystemDef| {
            def.common.holds.contains(&index) || def.common.violated.contains(&index)
        };
        assert!(library.orchestration().systems.iter().any(uses), "{}", known.name);
    }
}
