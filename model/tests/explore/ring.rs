//! The abstract ring, the two machines that refine it, and the laws on vDPA.

#![allow(clippy::unwrap_used)]

use devmig_engine::clause::ClauseId;
use devmig_engine::explore::behaviour::Seen;
use devmig_engine::explore::compare::{Comparison, Limits, Verdict, compare};
use devmig_engine::explore::report::{Report, check};
use devmig_engine::explore::{Check, Options};
use devmig_engine::laws::{self, Wrong};
use devmig_engine::rules::Rules;
use devmig_model::protocol::ring;
use devmig_model::protocol::vdpa::machine::InFlight;
use devmig_model::protocol::vdpa::systems::Vdpa;
use devmig_model::registry::Library;

use crate::common::{builtin, noticed_by, stories, violated};

fn defaults(library: &Library) -> Rules {
    Rules { choices: library.spec.defaults(), ..Rules::default() }
}

fn vdpa(library: &Library, rules: Rules) -> Vec<Vdpa> {
    let systems = library.vdpa().systems.iter();
    systems.map(|def| library.vdpa().system(def, rules)).collect()
}

fn report(library: &Library, system: &Vdpa) -> Report {
    let clause = |id: ClauseId| library.spec.clause_name(id).to_owned();
    check(system, &Options { clause: &clause, ..Options::default() }).unwrap()
}

/// Whether a system keeps to the abstract ring, as far as that knows its events.
fn refines(library: &Library, system: &dyn Check) -> Comparison {
    let clause = |id: ClauseId| library.spec.clause_name(id).to_owned();
    let seen =
        Seen { refinement: Some(ring::RING), reads: false, hidden: &|_| false, clause: &clause };
    let ring = ring::system();
    let mut lower = system.behaviour(seen).unwrap();
    let mut upper = Check::behaviour(&ring, seen).unwrap();
    let limits = Limits::default();
    compare((system.name(), &mut *lower), ("ring/abstract", &mut *upper), &limits).unwrap()
}

#[test]
fn the_abstract_ring_passes_the_laws() {
    assert_eq!(laws::all(ring::system()), Wrong::new());
    let report = check(&ring::system(), &Options::default()).unwrap();
    assert!(report.as_expected && report.incomplete.is_none(), "{}", report.text());
}

#[test]
fn vdpa_passes_the_laws() {
    let library = builtin();
    for option in [InFlight::Drain, InFlight::Hold] {
        let (choice, option) = library.vdpa().readings.in_flight.as_option(option);
        for system in vdpa(&library, defaults(&library).fixing(choice, option)) {
            let name = system.name.clone();
            assert_eq!(laws::all(system), Wrong::new(), "{name}");
        }
    }
}

/// Law 4: who notices is a snapshot.
#[test]
fn dropping_any_droppable_clause_of_vdpa_is_noticed() {
    let library = builtin();
    let rules = defaults(&library);
    let with: Vec<Report> = vdpa(&library, rules).iter().map(|s| report(&library, s)).collect();
    let mut rows = Vec::new();
    for id in library.vdpa().laws.all() {
        let clause = library.spec.get(id).unwrap();
        if !clause.droppable() {
            continue;
        }
        let without = vdpa(&library, rules.without(id));
        let who = with.iter().zip(&without).find_map(|(before, system)| {
            let after = report(&library, system);
            let names = laws::noticed(before, &after).join(", ");
            (!names.is_empty()).then(|| format!("{}: {names}", before.system))
        });
        rows.push((clause.id.clone(), who));
    }
    let out = noticed_by(&rows);
    insta::assert_snapshot!(out);
    assert!(!out.contains("NOBODY"), "{out}");
}

#[test]
fn vdpa_systems_are_as_expected() {
    let library = builtin();
    let mut counts = String::new();
    for system in vdpa(&library, defaults(&library)) {
        let report = report(&library, &system);
        assert!(report.as_expected && report.incomplete.is_none(), "{}", report.text());
        let (states, transitions) = (report.states, report.transitions);
        counts += &format!("{:28} {states} states, {transitions} transitions\n", report.system);
        for story in stories(violated(&report)) {
            counts += &format!("\n{}\n{}", report.system, story.text);
        }
    }
    insta::assert_snapshot!(counts);
}

#[test]
fn both_lower_machines_refine_the_ring() {
    let library = builtin();
    let names = [
        "vhost-user/stop-start",
        "vhost-user/stop-start-without-status",
        "vhost-user/stop-start-with-status",
        "vdpa/suspend-resume",
        "vdpa/suspend-restart",
    ];
    for name in names {
        let all = refines(&library, &*library.find(name, &[]).unwrap());
        assert_eq!(all.verdict, Verdict::AInB, "{}", all.text());
        // The ring can do more than any one program lets it do.
        assert!(all.only_b.is_some() && all.pairs > 50, "{}", all.text());
    }
}

/// vhost-user's rule that GET_VRING_BASE stops a ring, taken for vDPA's.
#[test]
fn what_stops_no_ring_refines_none() {
    let library = builtin();
    let without = library.find("vdpa/base-without-suspend", &[]).unwrap();
    insta::assert_snapshot!("vdpa_base_without_suspend", refines(&library, &*without).text());
    let pin = |pin| library.spec.pin(pin).unwrap();
    let abandon = pin("vhost-user.get-vring-base.in-flight=abandon");
    let abandons = library.find("vhost-user/stop-start", &[abandon]).unwrap();
    insta::assert_snapshot!("vhost_user_abandons", refines(&library, &*abandons).text());
    let hold = pin("vdpa.suspend.in-flight=hold");
    let holds = library.find("vdpa/suspend-restart", &[hold]).unwrap();
    insta::assert_snapshot!("vdpa_holds", refines(&library, &*holds).text());
    // A ring that waits for ever keeps a silence that the abstract one does not.
    let stuck = library.find("vhost-user/disable-before-stop", &[]).unwrap();
    insta::assert_snapshot!("vhost_user_waits", refines(&library, &*stuck).text());
}
