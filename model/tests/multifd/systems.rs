//! The systems of multifd: each as expected, its counts and counterexamples pinned, and the laws.

use devmig_engine::clause::ClauseId;
use devmig_engine::explore::Options;
use devmig_engine::explore::report::{Report, check};
use devmig_engine::explore::search::{Limits, explore};
use devmig_engine::laws::{self, Wrong};
use devmig_engine::symmetry::Symmetry;
use devmig_model::protocol::multifd::systems::{Migration, SystemDef};
use devmig_model::protocol::multifd::threads::source::Step;
use devmig_model::registry::Library;

use crate::common::{builtin, noticed_by, refuted, stories, violated};

fn all(library: &Library) -> Vec<Migration> {
    let systems = library.multifd().systems.iter();
    systems.map(|def| library.multifd().system(def, library.rules(def))).collect()
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
        if std::env::var("ONLY").is_ok_and(|only| !system.name.contains(&only)) {
            continue;
        }
        let report = report(&library, &system);
        if !report.as_expected || report.incomplete.is_some() {
            wrong += &report.text();
        }
        let (states, transitions) = (report.states, report.transitions);
        counts += &format!("{:44} {states} states, {transitions} transitions\n", report.system);
        let name = report.system.trim_start_matches("multifd/").to_owned();
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

/// What a run that takes channels as interchangeable saves, with two channels and with three: the laws hold
/// its verdicts and counts against those of the whole run at its own size.
#[test]
fn a_reduced_run_has_fewer_states() {
    let library = builtin();
    let (mut out, mut saved) = (String::new(), 0);
    for def in library.multifd().systems.iter() {
        let states = |channels: u8, reduced: bool| {
            let def = SystemDef { channels, ..def.clone() };
            let system = library.multifd().system(&def, library.rules(&def));
            let limits = Limits { reduced, ..Limits::default() };
            let report = check(&system, &Options { limits, ..Options::default() }).unwrap();
            assert_eq!(report.reduced_by.is_some(), reduced && def.has_equal_channels());
            assert_eq!(report.not_reduced, reduced && !def.has_equal_channels());
            assert_eq!(report.incomplete, None, "{}", report.system);
            report.states
        };
        let [whole, two, three] = [states(2, false), states(2, true), states(3, true)];
        saved += usize::from(two < whole);
        out += &format!("{:44} {whole}, reduced {two}, three channels {three}\n", def.common.name);
    }
    assert!(saved > 40, "{saved} systems have fewer states");
    insta::assert_snapshot!("reduced", out);
}

/// A system that knows a channel by its number has no symmetry, and the law finds one that is declared.
#[test]
fn a_symmetry_that_is_none_is_found() {
    let library = builtin();
    let def = library.multifd().systems.named("multifd/channel-left-out").unwrap();
    let equal = SystemDef { steps: vec![Step::Sync(u8::MAX)], ..def.clone() };
    let mut system = library.multifd().system(def, library.rules(def));
    assert!(system.symmetry.is_none());
    system.symmetry = library.multifd().system(&equal, library.rules(def)).symmetry;
    let wrong = refuted(&system);
    assert!(wrong[0].starts_with("(\"channel\", 0, 1) do not change places in"), "{}", wrong[0]);
}

/// A thread of a channel owes its next step: the law finds a system that says that channels owe nothing.
#[test]
fn channels_that_owe_nothing_are_found() {
    let library = builtin();
    let def = library.multifd().systems.named("multifd/one-owner").unwrap();
    let mut system = library.multifd().system(def, library.rules(def));
    let explored = explore(&system, &Limits::default()).unwrap();
    assert_eq!(laws::symmetry_is_one(&system, &explored).unwrap(), Wrong::new());
    system.symmetry = system.symmetry.take().map(Symmetry::owing_nothing);
    assert_ne!(laws::symmetry_is_one(&system, &explored).unwrap(), Wrong::new());
}

/// What only a recording breaks: packets without pages, numbers, ids, ends inside a packet.
const OF_RECORDINGS: [&str; 4] = [
    "multifd.init.id-once",
    "multifd.packet.has-pages",
    "multifd.packet.number-increases",
    "multifd.end.packet-boundary",
];

/// Law 4: who notices is a snapshot.
#[test]
fn dropping_any_rule_is_noticed() {
    let library = builtin();
    let any: Vec<_> = ["multifd/any-source", "multifd/any-device", "multifd/any-checkpoint"]
        .iter()
        .filter_map(|name| library.multifd().systems.named(name))
        .collect();
    let mut rows = Vec::new();
    for id in library.multifd().laws.all().into_iter().chain(library.multifd().order.all()) {
        let clause = &library.spec.get(id).unwrap().id;
        if OF_RECORDINGS.contains(&clause.as_str()) {
            continue;
        }
        let who = any.iter().find_map(|def| {
            let rules = library.rules(*def);
            let before = report(&library, &library.multifd().system(def, rules));
            let after = report(&library, &library.multifd().system(def, rules.without(id)));
            let names = laws::noticed(&before, &after).join(", ");
            (!names.is_empty()).then(|| format!("{}: {names}", before.system))
        });
        rows.push((clause.clone(), who));
    }
    let out = noticed_by(&rows);
    insta::assert_snapshot!("dropped", out);
    assert!(!out.contains("NOBODY"), "{out}");
}
