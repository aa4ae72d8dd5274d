//! Every vhost-user system, built in or proposed: what is expected, and how its counterexamples read.
//!
//! A snapshot here is a claim about the text of vhost-user: read it before you accept it.

#![allow(clippy::unwrap_used)]

use devmig_engine::explore::report::Report;
use devmig_engine::explore::{Options, trace};
use devmig_engine::system::PropertyKind;
use devmig_model::protocol::vhost_user::systems::SystemDef;
use devmig_model::registry::Library;
use devmig_model::spec::traceability;

use crate::common::{Story, builtin, proposal, stories, violated};

fn run(library: &Library, def: &SystemDef) -> Report {
    let name = |id| library.spec.clause_name(id).to_owned();
    library
        .vhost_user()
        .check(def, library.rules(def))
        .check(&Options { clause: &name, ..Options::default() })
        .unwrap()
}

/// The systems that a proposal adds or replaces, and those of the base that it names.
fn concerned(library: &Library) -> Vec<&SystemDef> {
    let base = builtin();
    let named = &library.proposal.as_ref().unwrap().systems;
    let changed = |def: &&SystemDef| {
        let before = base
            .vhost_user()
            .systems
            .named(&def.common.name)
            .map(|before| (&before.common.about, before.bounds.protocol));
        named.contains(&def.common.name) || before != Some((&def.common.about, def.bounds.protocol))
    };
    library.vhost_user().systems.iter().filter(changed).collect()
}

fn table(reports: &[Report]) -> String {
    let mut out = format!("{:40} {:>9} {:>12} {:>6}\n", "system", "states", "transitions", "depth");
    for r in reports {
        out += &format!("{:40} {:>9} {:>12} {:>6}\n", r.system, r.states, r.transitions, r.depth);
    }
    out
}

/// One snapshot a counterexample; what breaks a declared clause counts as one.
fn all_stories(suffix: &str, reports: &[Report]) {
    for report in reports {
        let system = report.system.trim_start_matches("vhost-user/");
        for Story { name, text } in stories(violated(report)) {
            let text = format!("{}\n{text}", report.system);
            insta::assert_snapshot!(format!("{suffix}{system}--{name}"), text);
        }
        for ending in &report.broken {
            let trace = trace::text(&ending.trace, None);
            let clause = ending.clause.trim_start_matches("vhost-user.");
            let name = format!("{suffix}{system}--breaks-{clause}");
            insta::assert_snapshot!(name, format!("{}\n{trace}", report.system));
        }
    }
}

fn all_as_expected(reports: &[Report]) {
    for report in reports {
        assert!(report.as_expected && report.incomplete.is_none(), "{}", report.text());
    }
}

#[test]
fn every_built_in_system_is_as_expected() {
    let library = builtin();
    let reports: Vec<Report> =
        library.vhost_user().systems.iter().map(|def| run(&library, def)).collect();
    all_as_expected(&reports);
    insta::assert_snapshot!("counts", table(&reports));
    all_stories("", &reports);
}

fn every_system_of_a_proposal_is_as_expected(name: &str) {
    let library = proposal(name);
    let concerned = concerned(&library);
    let reports: Vec<Report> = concerned.into_iter().map(|def| run(&library, def)).collect();
    all_as_expected(&reports);
    insta::assert_snapshot!(format!("{name}--counts"), table(&reports));
    all_stories(&format!("{name}--"), &reports);
}

#[test]
fn every_system_of_the_proposal_is_as_expected() {
    every_system_of_a_proposal_is_as_expected("suspend");
}

#[test]
fn every_system_of_the_rivals_is_as_expected() {
    for name in ["resume-by-enable", "status-suspend", "status-suspend-broken"] {
        every_system_of_a_proposal_is_as_expected(name);
    }
}

#[test]
fn the_proposal_changes_no_system_that_does_not_offer_it() {
    let (base, library) = (builtin(), proposal("suspend"));
    for name in &library.proposal.as_ref().unwrap().systems {
        let (before, after) = (
            base.vhost_user().systems.named(name).unwrap(),
            library.vhost_user().systems.named(name).unwrap(),
        );
        if before.bounds.protocol == after.bounds.protocol {
            let (before, after) = (run(&base, before), run(&library, after));
            assert_eq!((before.states, before.transitions), (after.states, after.transitions));
        }
    }
}

#[test]
fn a_folded_trace_leaves_out_what_the_full_one_has() {
    let library = builtin();
    let report = run(
        &library,
        library.vhost_user().systems.named("vhost-user/save-without-stopping").unwrap(),
    );
    let property = report.property("nothing-processed-while-saved").unwrap();
    let lines = property.trace.as_deref().unwrap();
    let (folded, full) = (trace::text(lines, None), trace::text_full(lines, None));
    // A line that goes on has no number.
    let numbered = |line: &&str| line[..4].trim().parse::<usize>().is_ok();
    assert_eq!(full.lines().filter(numbered).count(), lines.len());
    assert!(folded.lines().filter(numbered).count() <= 20, "{folded}");
    assert!(full.contains("(sent)") && full.contains("socket ["), "{full}");
    assert!(!folded.contains("socket"), "{folded}");
    assert!(report.text().contains(&folded) && report.text_full().contains(&full));
    // JSON keeps every event, and no trace of the folding: number, party, event, reader, clause, change.
    let json = serde_json::to_value(lines).unwrap();
    assert_eq!(json[0].as_object().unwrap().keys().count(), 6);
}

#[test]
fn the_rows_of_the_discussion_name_systems_that_exist() {
    let library = proposal("suspend");
    let systems = library.catalogue(&[]);
    let names: Vec<&str> = systems.iter().map(|system| system.name()).collect();
    let rows = traceability::load(traceability::BUILTIN, &library.spec, Some(&names))
        .unwrap_or_else(|errors| panic!("{:?}", miette::Report::new(errors)));
    assert!(!rows.is_empty());
}

/// Law 6 in the large: an expectation that names no property of its kind would be vacuous.
#[test]
fn every_system_checks_something_of_its_own() {
    for library in [builtin(), proposal("suspend")] {
        for def in &library.vhost_user().systems {
            let own = |kind| {
                !matches!(kind, PropertyKind::Rules | PropertyKind::Stuck | PropertyKind::Progress)
            };
            let listed = library.vhost_user().check(def, library.rules(def)).properties();
            let declared = !def.common.expect.breaks.is_empty() || def.common.expect.stuck;
            assert!(declared || listed.iter().any(|p| own(p.kind)), "{}", def.common.name);
        }
    }
}
