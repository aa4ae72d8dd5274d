//! The systems of whole migrations: each as expected, its counts and counterexamples pinned, and the laws.

use devmig_engine::clause::ClauseId;
use devmig_engine::explore::Options;
use devmig_engine::explore::report::{Report, check};
use devmig_engine::explore::search::Limits;
use devmig_engine::laws::{self, Wrong};
use devmig_model::protocol::definition::Definition;
use devmig_model::protocol::migration::systems::{Migration, SystemDef};
use devmig_model::protocol::size::Scale;
use devmig_model::registry::Library;

use crate::common::{builtin, refuted, stories, violated};

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

/// What a run saves that takes equal pages as interchangeable, as declared and with three pages: there, too,
/// verdicts and counts are held against those of the whole run.
#[test]
fn a_reduced_run_has_fewer_states() {
    let library = builtin();
    let (mut out, mut saved) = (String::new(), 0);
    for def in library.migration().systems.iter() {
        let mut row = format!("{:48}", def.common.name);
        let mut sizes = vec![def.clone()];
        let three: Scale = "pages=3".parse().unwrap();
        if let Ok(size) = three.resolve(&def.common.name, &def.bounds()) {
            sizes.extend(Some(def.scaled(&size)).filter(|scaled| scaled.pages != def.pages));
        }
        for def in sizes {
            let system = library.migration().system(&def, library.rules(&def));
            let whole = report(&library, &system);
            let limits = Limits { reduced: true, ..Limits::default() };
            let reduced = check(&system, &Options { limits, ..Options::default() }).unwrap();
            let equal = def.equal_pages() > 1;
            assert_eq!((reduced.reduced_by.is_some(), reduced.not_reduced), (equal, !equal));
            assert_eq!(reduced.incomplete, None, "{}", system.name);
            if def.pages == 3 {
                assert_eq!(laws::reduced_agrees(&system, &whole).unwrap(), Wrong::new(), "{row}");
            }
            saved += usize::from(reduced.states < whole.states);
            row += &format!(" {} pages {} of {};", def.pages, reduced.states, whole.states);
        }
        out += &format!("{}\n", row.trim_end_matches(';'));
    }
    assert!(saved > 40, "{saved} runs have fewer states");
    insta::assert_snapshot!("reduced", out);
}

/// A page that is never sent is not one of the others, and the law finds a symmetry that says so.
#[test]
fn a_symmetry_that_is_none_is_found() {
    let library = builtin();
    let def = library.migration().systems.named("migration/ram-not-sent").unwrap();
    assert_eq!((def.pages, def.equal_pages()), (3, 1));
    let equal = SystemDef { shared: 0, zero: 0, ..def.clone() };
    for shared in [0, 1] {
        let def = SystemDef { shared, zero: 1 - shared, ..def.clone() };
        let mut system = library.migration().system(&def, library.rules(&def));
        assert_eq!(system.symmetry.as_ref().unwrap().count, 2);
        system.symmetry = library.migration().system(&equal, library.rules(&def)).symmetry;
        let wrong = refuted(&system);
        assert!(wrong[0].starts_with("(\"page\", 1, 2) do not change places in"), "{}", wrong[0]);
    }
}

/// Parts that are not sorted by all that a state holds of them have several keys, and the law finds that.
#[test]
fn an_order_that_is_none_is_found() {
    let library = builtin();
    let def = library.migration().systems.named("migration/ram").unwrap();
    let mut system = library.migration().system(def, library.rules(def));
    let pages = system.symmetry.take().unwrap();
    system.symmetry = Some(pages.sorted_by(|state, page| state.parts.2.stale >> page & 1));
    refuted(&system);
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
