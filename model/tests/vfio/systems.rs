//! Every VFIO system: what is expected, how its counterexamples read, the laws, and what the detailed
//! machine is to the atomic one.
//!
//! A snapshot here is a claim about the texts on VFIO migration: read it before you accept it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use devmig_engine::clause::ClauseId;
use devmig_engine::explore::Options;
use devmig_engine::explore::behaviour::Seen;
use devmig_engine::explore::compare::{Comparison, Limits, Verdict, compare};
use devmig_engine::explore::report::{PropertyVerdict, Report, check};
use devmig_engine::laws::{self, Wrong};
use devmig_engine::rules::Rules;
use devmig_model::protocol::vfio::systems::SystemDef;
use devmig_model::registry::Library;

use crate::common::{Story, builtin, noticed_by, proposal, stories, violated};

fn run(library: &Library, def: &SystemDef, rules: Rules) -> Report {
    let clause = |id: ClauseId| library.spec.clause_name(id).to_owned();
    let options = Options { clause: &clause, ..Options::default() };
    check(&library.vfio().system(def, rules), &options).unwrap()
}

fn def<'a>(library: &'a Library, name: &str) -> &'a SystemDef {
    library.vfio().systems.iter().find(|def| def.common.name == name).unwrap()
}

fn all_as_expected(suffix: &str, library: &Library, defs: &[&SystemDef]) {
    let mut counts =
        format!("{:32} {:>9} {:>12} {:>6}\n", "system", "states", "transitions", "depth");
    for def in defs {
        let report = run(library, def, library.rules(*def));
        assert!(report.as_expected && report.incomplete.is_none(), "{}", report.text());
        let Report { system, states, transitions, depth, .. } = &report;
        counts += &format!("{system:32} {states:>9} {transitions:>12} {depth:>6}\n");
        let system = def.common.name.trim_start_matches("vfio/");
        for Story { name, text } in stories(violated(&report)) {
            insta::assert_snapshot!(format!("{suffix}{system}--{name}"), text);
        }
    }
    insta::assert_snapshot!(format!("{suffix}counts"), counts);
}

#[test]
fn every_built_in_system_is_as_expected() {
    let library = builtin();
    all_as_expected("", &library, &library.vfio().systems.iter().collect::<Vec<_>>());
}

#[test]
fn the_systems_of_the_proposal_are_as_expected() {
    let library = proposal("vfio-back-to-pre-copy");
    let names = ["vfio/back-to-pre-copy", "vfio/full"];
    all_as_expected("back--", &library, &names.map(|name| def(&library, name)));
}

/// What a device does that does not have the new feature, it did before.
#[test]
fn the_proposal_changes_no_device_without_its_feature() {
    let (base, library) = (builtin(), proposal("vfio-back-to-pre-copy"));
    for name in ["vfio/full", "vfio/migrate-full", "vfio/pre-copy"] {
        let counts = |library: &Library| {
            let def = def(library, name);
            let report = run(library, def, library.rules(def));
            (report.states, report.transitions)
        };
        assert_eq!(counts(&base), counts(&library), "{name}");
    }
}

/// ClauseIds 1, 2, 3, 5, 6 and 7, on each system.
#[test]
fn every_system_passes_the_laws() {
    let library = builtin();
    for def in &library.vfio().systems {
        let wrong = laws::all(library.vfio().system(def, library.rules(def)));
        assert_eq!(wrong, Wrong::new(), "{}", def.common.name);
    }
}

/// Law 4: who notices is a snapshot.
#[test]
fn dropping_any_droppable_clause_is_noticed() {
    let library = builtin();
    let defs: Vec<_> = library.vfio().systems.iter().collect();
    let with: Vec<Report> =
        defs.iter().map(|def| run(&library, def, library.rules(*def))).collect();
    let mut rows = Vec::new();
    for id in library.vfio().names.laws.all() {
        let clause = library.spec.get(id).unwrap();
        if !clause.droppable() {
            continue;
        }
        let who = defs.iter().zip(&with).find_map(|(def, before)| {
            let after = run(&library, def, library.rules(*def).without(id));
            let names = laws::noticed(before, &after).join(", ");
            (!names.is_empty()).then(|| format!("{}: {names}", def.common.name))
        });
        rows.push((clause.id.clone(), who));
    }
    let out = noticed_by(&rows);
    insta::assert_snapshot!(out);
    assert!(!out.contains("NOBODY"), "{out}");
}

fn compared(library: &Library, a: &str, b: &str) -> Comparison {
    let clause = |id: ClauseId| library.spec.clause_name(id).to_owned();
    let seen = Seen { refinement: None, reads: false, hidden: &|_| false, clause: &clause };
    let (one, two) = (library.find(a, &[]).unwrap(), library.find(b, &[]).unwrap());
    let (mut lower, mut upper) = (one.behaviour(seen).unwrap(), two.behaviour(seen).unwrap());
    compare((a, &mut *lower), (b, &mut *upper), &Limits::default()).unwrap()
}

/// Nobody outside can tell whether a device takes its arcs one by one or at once, as long as the jump is
/// a step of its own: what may begin until the jump, a detailed device begins before its first arc.
#[test]
fn the_detailed_set_and_the_atomic_one_are_the_same_from_outside() {
    let library = builtin();
    let all = compared(&library, "vfio/set-detailed", "vfio/set-atomic");
    assert_eq!(all.verdict, Verdict::Equal, "{}", all.text());
    assert!(all.pairs > 1000, "{}", all.text());
    insta::assert_snapshot!("detailed_and_atomic", all.text());
}

/// What each reading costs.
#[test]
fn every_decision_is_a_snapshot() {
    let library = builtin();
    let mut out = String::new();
    for question in library.decisions.iter().filter(|q| q.system.starts_with("vfio/")) {
        for id in &question.choices {
            let choice = library.spec.get_choice(*id).unwrap();
            let mut violated: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for (option, named) in choice.options.iter().enumerate() {
                let def = def(&library, &question.system);
                let report = run(&library, def, library.rules(def).fixing(*id, option as u8));
                assert!(report.incomplete.is_none());
                let bad = report.properties.iter();
                let bad = bad.filter(|p| p.verdict == PropertyVerdict::Violated);
                violated.insert(named.name.clone(), bad.map(|p| p.name.clone()).collect());
            }
            out += &format!("{} {}\n", question.system, choice.id);
            for (option, names) in violated {
                let names = if names.is_empty() { "nothing".into() } else { names.join(", ") };
                out += &format!("    {option:16} violates {names}\n");
            }
        }
    }
    insta::assert_snapshot!(out);
}

/// Law 6 in the large: a property that no system checks would say nothing.
#[test]
fn every_property_is_checked_somewhere() {
    let library = builtin();
    for (index, known) in devmig_model::protocol::vfio::properties::ALL.iter().enumerate() {
        let uses = |def: &SystemDef| {
            def.common.holds.contains(&index) || def.common.violated.contains(&index)
        };
        assert!(library.vfio().systems.iter().any(uses), "{}", known.name);
    }
}
