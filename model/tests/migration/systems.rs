//! The systems of whole migrations: each as expected, its counts and counterexamples pinned, and the laws.

use devmig_engine::clause::ClauseId;
use devmig_engine::explore::Options;
use devmig_engine::explore::report::{Report, check};
use devmig_engine::laws::{self, Wrong};
use devmig_model::protocol::migration::systems::Migration;
use devmig_model::registry::Library;

use crate::common::{builtin, stories, violated};

fn all(library: &Library) -> Vec<Migration> {
    let systems = library.migration().systems.iter();
    systems.map(|def| library.migration().system(def, library.rules(def))).collect()
}

fn report(library: &Library, system: &Migration) -> Report {
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
        counts += &format!("{:56} {states} states, {transitions} transitions\n", report.system);
        let name = report.system.trim_start_matches("migration/").to_owned();
        for story in stories(violated(&report)) {
            insta::assert_snapshot!(
                format!("{name}--{}", story.name.replace(": ", "-")),
                story.text
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    insta::assert_snapshot!("counts", counts);
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

/// What is expected of a migration is violated somewhere: each property has a system that shows what it is
/// there for, except those that say what can be reached.
#[test]
fn every_property_is_violated_somewhere() {
    let library = builtin();
    let mut never: Vec<&str> = library
        .protocols()
        .into_iter()
        .filter(|(name, _)| *name == "migration")
        .flat_map(|(_, protocol)| protocol.properties())
        .collect();
    for def in library.migration().systems.iter() {
        for index in &def.common.violated {
            let name = devmig_model::protocol::migration::properties::ALL[*index].name;
            never.retain(|known| *known != name);
        }
    }
    assert_eq!(never, Vec::<&str>::new());
}
