//! The systems of a migration to a file: each as expected, its counts and counterexamples pinned, and the laws.

use devmig_engine::clause::ClauseId;
use devmig_engine::explore::Options;
use devmig_engine::explore::report::{Report, check};
use devmig_engine::laws::{self, Wrong};
use devmig_model::protocol::mapped_ram::systems::ToFile;
use devmig_model::registry::Library;

use crate::common::{builtin, noticed_by, stories, violated};

fn all(library: &Library) -> Vec<ToFile> {
    let systems = library.mapped_ram().systems.iter();
    systems.map(|def| library.mapped_ram().system(def, library.rules(def))).collect()
}

fn report(library: &Library, system: &ToFile) -> Report {
    let clause = |id: ClauseId| library.spec.clause_name(id).to_owned();
    check(system, &Options { clause: &clause, ..Options::default() }).unwrap()
}

#[test]
fn every_system_is_as_expected() {
    let library = builtin();
    let (mut counts, mut wrong) = (String::new(), String::new());
    for system in all(&library) {
        let report = report(&library, &system);
        if !report.as_expected || report.incomplete.is_some() {
            wrong += &report.text();
        }
        let (states, transitions) = (report.states, report.transitions);
        counts += &format!("{:44} {states} states, {transitions} transitions\n", report.system);
        let name = report.system.replace('/', "--");
        for story in stories(violated(&report)) {
            insta::assert_snapshot!(
                format!("{name}--{}", story.name.replace(": ", "-")),
                story.text
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    insta::assert_snapshot!("mapped-ram--counts", counts);
}

/// Laws 1, 2, 3, 5, 6 and 7, of each system.
#[test]
fn every_system_passes_the_laws() {
    let library = builtin();
    for system in all(&library) {
        let name = system.name.clone();
        assert_eq!(laws::all(system), Wrong::new(), "{name}");
    }
}

/// Law 4: who notices is a snapshot.
#[test]
fn dropping_any_rule_is_noticed() {
    let library = builtin();
    let any = library.mapped_ram().systems.named("mapped-ram/any-source").unwrap();
    let mut rows = Vec::new();
    for id in library.mapped_ram().laws.all() {
        let rules = library.rules(any);
        let before = report(&library, &library.mapped_ram().system(any, rules));
        let after = report(&library, &library.mapped_ram().system(any, rules.without(id)));
        let names = laws::noticed(&before, &after).join(", ");
        let who = (!names.is_empty()).then(|| format!("{}: {names}", before.system));
        rows.push((library.spec.get(id).unwrap().id.clone(), who));
    }
    let out = noticed_by(&rows);
    insta::assert_snapshot!("mapped-ram--dropped", out);
    assert!(!out.contains("NOBODY"), "{out}");
}
