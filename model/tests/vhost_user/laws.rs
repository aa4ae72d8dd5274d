//! The laws on every vhost-user system, built in and proposed.
//!
//! The systems are small (58 to 7,000 states), so each is its own small instance.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use devmig_engine::clause::ClauseId;
use devmig_engine::explore::report::{Report, check};
use devmig_engine::explore::search::explore;
use devmig_engine::explore::{Error, Options};
use devmig_engine::laws::{self, Wrong};
use devmig_engine::pack::{Bits, Pack};
use devmig_model::protocol::vhost_user::event::Value;
use devmig_model::protocol::vhost_user::state::{Ring, State};
use devmig_model::protocol::vhost_user::systems::SystemDef;
use devmig_model::registry::Library;
use devmig_testing::Premises;
use proptest::prelude::*;

use crate::common::{builtin, noticed_by, proposal};

/// ClauseIds 1, 2, 3, 5, 6 and 7.
fn all(library: &Library, def: &SystemDef) -> Wrong {
    let (builder, rules) = (library.vhost_user(), library.rules(def));
    match def.rings {
        1 => laws::all(builder.system::<1, 2, 5>(def, rules)),
        _ => laws::all(builder.system::<2, 2, 7>(def, rules)),
    }
}

fn every_system_passes(library: &Library, wanted: impl Fn(&SystemDef) -> bool) {
    let systems: Vec<_> = library.vhost_user().systems.iter().filter(|def| wanted(def)).collect();
    assert!(!systems.is_empty());
    let wrong: Vec<_> = systems
        .into_iter()
        .map(|def| (def.common.name.as_str(), all(library, def)))
        .filter(|(_, wrong)| !wrong.is_empty())
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_built_in_system_passes_the_laws() {
    every_system_passes(&builtin(), |_| true);
}

#[test]
fn every_system_passes_the_laws_under_the_proposal() {
    every_system_passes(&proposal("suspend"), |_| true);
    let rivals = ["resume-by-enable", "status-suspend", "status-suspend-broken"];
    let others = [
        "skip-drain",
        "resumed-by-message",
        "state-again",
        "stop-all",
        "reset-vring",
        "snapshot-restore",
        "live-back-end",
        "state-while-running",
        "suspend-may-fail",
        "device-parts",
        "reconnect-at-index",
        "unlike-interpretations",
        "log-base-when-idle",
        "num-says-drain",
    ];
    for name in rivals.into_iter().chain(others) {
        let base = builtin();
        let before = |def: &SystemDef| base.vhost_user().systems.named(&def.common.name);
        every_system_passes(&proposal(name), |def| {
            before(def).is_none_or(|before| before.common.about != def.common.about)
        });
    }
}

/// The laws hold under every reading of the text, not only under the default one.
#[test]
fn the_ring_passes_the_laws_under_every_option() {
    let library = builtin();
    let def = library.vhost_user().systems.named("vhost-user/ring").unwrap();
    for (index, choice) in library.spec.choices().iter().enumerate() {
        let id = library.spec.choice(&choice.id).unwrap();
        assert_eq!(id.index(), index);
        for (option, named) in choice.options.iter().enumerate() {
            if option == choice.default as usize {
                continue;
            }
            let rules = library.rules(def).fixing(id, option as u8);
            let system = library.vhost_user().system::<1, 2, 5>(def, rules);
            // Properties may well be violated under it; what a law says may not.
            let explored = explore(&system, &Default::default()).unwrap();
            let report = check(&system, &Options::default()).unwrap();
            let mut wrong = laws::nobody_meddles(&system, &explored).unwrap();
            wrong.extend(laws::stimuli_are_complete(&system, &explored).unwrap());
            wrong.extend(laws::packing_round_trips(&system, &explored).unwrap());
            wrong.extend(laws::liveness_agrees(&system, &explored, &report).unwrap());
            assert!(report.incomplete.is_none(), "{}", report.text());
            assert_eq!(wrong, Wrong::new(), "{} = {}", choice.id, named.name);
        }
    }
}

/// Every clause that the machine or the table enforces.
fn enforced(library: &Library) -> BTreeSet<ClauseId> {
    let rows = library.vhost_user().table.messages.iter().flat_map(|message| &message.rows);
    let in_rows = rows.flat_map(|row| row.breaks.into_iter().chain(row.late));
    library.vhost_user().laws.all().into_iter().chain(in_rows).collect()
}

/// Law 4: who notices is a snapshot, so that nobody relies on an accident.
#[test]
fn dropping_any_droppable_clause_is_noticed() {
    let (base, proposed) = (builtin(), proposal("suspend"));
    // The base knows systems that the proposal replaces.
    let systems: Vec<(&Library, &SystemDef, Report)> = [&base, &proposed]
        .into_iter()
        .flat_map(|library| library.vhost_user().systems.iter().map(move |def| (library, def)))
        .filter(|(library, def)| library.proposal.is_none() || uses_proposal(&base, def))
        .map(|(library, def)| {
            let system = library.vhost_user().check(def, library.rules(def));
            (library, def, system.check(&Options::default()).unwrap())
        })
        .collect();
    let who = |id: ClauseId| -> Option<String> {
        for (library, def, with) in &systems {
            if library.spec.get(id).is_none() {
                continue;
            }
            let rules = library.rules(*def).without(id);
            let without = library.vhost_user().check(def, rules).check(&Options::default());
            let without = without.unwrap();
            let properties = laws::noticed(with, &without);
            if !properties.is_empty() {
                return Some(format!("{}: {}", def.common.name, properties.join(", ")));
            }
        }
        None
    };
    let clauses = enforced(&proposed).into_iter().map(|id| (id, proposed.spec.get(id).unwrap()));
    let droppable = clauses.filter(|(_, clause)| clause.droppable());
    let rows: Vec<_> = droppable.map(|(id, clause)| (clause.id.clone(), who(id))).collect();
    let out = noticed_by(&rows);
    insta::assert_snapshot!(out);
    assert!(!out.contains("NOBODY"), "{out}");
}

/// Whether a system is new or another one under the proposal.
fn uses_proposal(base: &Library, def: &SystemDef) -> bool {
    base.vhost_user()
        .systems
        .named(&def.common.name)
        .is_none_or(|before| before.steps.len() != def.steps.len())
}

/// Law 4 the other way round: of a clause that is marked as structural, no property notices that it is
/// dropped. With all of them switched off, every verdict of every system is as it was.
#[test]
fn what_cannot_be_dropped_is_marked() {
    let library = proposal("suspend");
    let marked = |id: &ClauseId| !library.spec.get(*id).unwrap().droppable();
    let structural: Vec<ClauseId> = enforced(&library).into_iter().filter(marked).collect();
    assert!(structural.len() > 10, "{} clauses", structural.len());
    for def in &library.vhost_user().systems {
        let run =
            |rules| library.vhost_user().check(def, rules).check(&Options::default()).unwrap();
        let rules = library.rules(def);
        let without = run(structural.iter().fold(rules, |rules, id| rules.without(*id)));
        let with = run(rules);
        assert!(without.incomplete.is_none(), "{}", def.common.name);
        assert_eq!(laws::noticed(&with, &without), Vec::<&str>::new(), "{}", def.common.name);
    }
}

/// A choice that says why no rule asks for it is not asked for: left open, it stops no system.
#[test]
fn what_nobody_asks_for_may_stay_open() {
    let library = builtin();
    let choices = library.spec.choices().iter().filter(|choice| choice.unasked.is_some());
    let unasked: Vec<_> = choices.map(|c| library.spec.choice(&c.id).unwrap()).collect();
    assert!(unasked.len() > 4, "{} choices", unasked.len());
    for def in &library.vhost_user().systems {
        let mut rules = library.rules(def);
        rules.choices = unasked.iter().fold(rules.choices, |all, choice| all.opened(*choice));
        let open = library.vhost_user().check(def, rules).check(&Options::default());
        assert!(open.is_ok(), "{}: {:?}", def.common.name, open.map(drop));
    }
}

fn with_requests(requests: u16) -> Report {
    let library = builtin();
    let mut def = library.vhost_user().systems.named("vhost-user/stop-start").unwrap().clone();
    def.bounds.requests = requests;
    let rules = library.rules(&def);
    library.vhost_user().check(&def, rules).check(&Options::default()).unwrap()
}

/// Law 3: what does not fit is said, with a trace; nothing wraps.
#[test]
fn a_value_that_outgrows_its_field_makes_a_run_incomplete() {
    assert!(with_requests(3).incomplete.is_none());
    let report = with_requests(8);
    assert!(report.incomplete.as_ref().unwrap().contains("exceeds its packing"));
    assert!(!report.as_expected);
    let trace = report.overflow.unwrap();
    // The fifth request has no bit in the record of what is fetched.
    let events: Vec<&str> = trace.iter().map(|line| line.event.as_str()).collect();
    assert_eq!(events.last(), Some(&"fetch 0"), "{events:#?}");
}

/// Law 5: a choice that decides and is not fixed is an error, never a guess.
#[test]
fn an_open_choice_is_an_error() {
    let library = builtin();
    let def = library.vhost_user().systems.named("vhost-user/stop-start").unwrap();
    let choice = library.spec.choice("vhost-user.get-vring-base.in-flight").unwrap();
    let mut rules = library.rules(def);
    rules.choices = library.spec.open();
    let open = |rules| library.vhost_user().check(def, rules).check(&Options::default());
    assert!(matches!(open(rules), Err(Error::Open(_))));
    let mut rules = library.rules(def);
    rules.choices = rules.choices.opened(choice);
    assert_eq!(open(rules).unwrap_err(), Error::Open(choice));
}

/// A number of that many bits; one time of sixty-four any number.
fn bits(width: u32) -> impl Strategy<Value = u64> {
    prop_oneof![63 => 0..1u64 << width, 1 => any::<u64>()]
}

/// A ring with numbers that fit its packing, now and then with one of full width, as a tester sees it.
fn ring() -> impl Strategy<Value = Ring> {
    let numbers = [bits(2), bits(3), bits(3), bits(3), bits(4), bits(4), bits(4), bits(2)];
    (any::<[bool; 12]>(), numbers).prop_map(|(flags, numbers)| {
        let [size, base, available, used, unmarked] =
            [0, 1, 2, 3, 7].map(|n: usize| numbers[n] as u16);
        Ring {
            size,
            addressed: flags[0],
            kick_set: flags[1],
            call_set: flags[2],
            started: flags[3],
            enabled: flags[4],
            kicked: flags[5],
            kick_fd_stale: flags[6],
            base,
            available,
            used,
            open: numbers[4],
            unnotified: flags[7],
            call_polled: flags[8],
            err_set: flags[9],
            call_fresh: flags[10],
            recorded: numbers[5],
            batch: numbers[6],
            log_used: flags[11],
            unmarked: unmarked as u8,
            ..Ring::default()
        }
    })
}

/// A number of a message: small, a mask of feature bits that a system can have, or any.
fn value() -> impl Strategy<Value = u64> {
    let bit = prop::sample::select(&[30, 3, 24, 19, 16][..]);
    let mask = prop::collection::vec(bit, 1..4)
        .prop_map(|bits| bits.into_iter().fold(0, |mask: u64, bit| mask | 1 << bit));
    prop_oneof![6 => 0u64..256, 6 => mask, 2 => any::<u64>()]
}

/// Whether it packs; law 3 holds either way.
fn packs<T: Pack + PartialEq + std::fmt::Debug, const W: usize>(value: &T) -> bool {
    assert_eq!(laws::round_trips::<_, W>(value), None);
    Bits::<W>::pack(value).is_ok()
}

#[test]
fn any_state_packs_and_unpacks_or_overflows() {
    let premises = Premises::new();
    let numbers = (value(), bits(7), bits(3), bits(2));
    proptest!(ProptestConfig::with_cases(2000), |(rings in [ring(), ring()], numbers in numbers)| {
        let mut state = State::<2>::new();
        state.rings = rings;
        state.features = Value(numbers.0);
        (state.status, state.internal) = (numbers.1 as u8, numbers.2 as u8);
        state.regions = numbers.3 as u16;
        let packed = premises.holds("a state packs", packs::<_, 4>(&state));
        premises.holds("a state overflows", !packed);
    });
    premises.at_least("a state packs", 50);
    premises.at_least("a state overflows", 10);
}

#[test]
fn any_number_packs_and_unpacks() {
    let premises = Premises::new();
    proptest!(ProptestConfig::with_cases(1000), |(number in value())| {
        prop_assert!(packs::<_, 1>(&Value(number)));
        premises.holds("it is small", number < 256);
        premises.holds("it has bits that no built-in system has", number >> 31 != 0);
    });
    premises.at_least("it is small", 30);
    premises.at_least("it has bits that no built-in system has", 8);
}

/// Every feature bit can be explored, alone and with any other, and so can a phase of a transfer.
#[test]
fn every_feature_bit_fits() {
    let pairs = (0..64).flat_map(|one| (0..=one).map(move |other| 1u64 << one | 1 << other));
    let mut places = BTreeSet::new();
    for value in (0..256).chain(pairs.filter(|value| *value > 255)).chain([3 << 32 | 1]) {
        let packed = Bits::<1>::pack(&Value(value)).unwrap();
        assert_eq!(packed.unpack::<Value>(), Value(value));
        assert!(places.insert(packed), "{value:#x}");
    }
}
