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
use devmig_engine::pack::Bits;
use devmig_model::protocol::vhost_user::event::Value;
use devmig_model::protocol::vhost_user::state::{Ring, State};
use devmig_model::protocol::vhost_user::systems::SystemDef;
use devmig_model::registry::Library;
use proptest::prelude::*;

use crate::common::{builtin, proposal};

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
    for name in ["resume-by-enable", "status-suspend", "status-suspend-broken"] {
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
    let who = |id: ClauseId| {
        for (library, def, with) in &systems {
            if library.spec.get(id).is_none() {
                continue;
            }
            let rules = library.rules(*def).without(id);
            let without = library.vhost_user().check(def, rules).check(&Options::default());
            let without = without.unwrap();
            let properties = laws::noticed(with, &without);
            if !properties.is_empty() {
                return format!("{}: {}", def.common.name, properties.join(", "));
            }
        }
        "NOBODY".to_owned()
    };
    let mut out = String::new();
    for id in enforced(&proposed) {
        let clause = proposed.spec.get(id).unwrap();
        if clause.droppable() {
            out += &format!("{:52} {}\n", clause.id, who(id));
        }
    }
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

/// A clause that is enforced without asking whether it is switched off says so, and why.
#[test]
fn what_cannot_be_dropped_is_marked() {
    let library = proposal("suspend");
    let structural: Vec<String> = enforced(&library)
        .into_iter()
        .filter_map(|id| {
            let clause = library.spec.get(id).unwrap();
            Some(format!("{}: {}", clause.id, clause.structural.as_ref()?))
        })
        .collect();
    insta::assert_snapshot!(structural.join("\n"));
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

/// A ring with any numbers: full width, as a tester sees them.
fn ring() -> impl Strategy<Value = Ring> {
    (any::<[bool; 8]>(), any::<[u16; 4]>(), any::<u64>(), any::<bool>()).prop_map(
        |(bits, numbers, open, small)| {
            let narrow = |n: u16, mask: u16| if small { n & mask } else { n };
            Ring {
                size: narrow(numbers[0], 3),
                addressed: bits[0],
                kick_set: bits[1],
                call_set: bits[2],
                started: bits[3],
                enabled: bits[4],
                kicked: bits[5],
                kick_fd_stale: bits[6],
                base: narrow(numbers[1], 7),
                available: narrow(numbers[2], 7),
                used: narrow(numbers[3], 7),
                open: if small { open & 15 } else { open },
                unnotified: bits[7],
                ..Ring::default()
            }
        },
    )
}

proptest! {
    #[test]
    fn any_state_packs_and_unpacks_or_overflows(
        rings in [ring(), ring()],
        (features, status, internal) in (any::<u64>(), any::<u8>(), any::<u8>()),
        regions in 0u16..6,
    ) {
        let mut state = State::<2>::new();
        state.rings = rings;
        state.features = Value(features);
        (state.status, state.internal, state.regions) = (status, internal, regions);
        prop_assert_eq!(laws::round_trips::<_, 4>(&state), None);
    }

    #[test]
    fn any_number_packs_and_unpacks_or_overflows(value in prop_oneof![0u64..600, any::<u64>()]) {
        prop_assert_eq!(laws::round_trips::<_, 1>(&Value(value)), None);
    }
}

/// Every number that a system's messages carry fits.
#[test]
fn small_numbers_and_feature_masks_fit() {
    for value in (0..256).chain([1 << 30, 1 << 3, 1 << 24, 1 << 30 | 1 << 19 | 1 << 16]) {
        assert_eq!(Bits::<1>::pack(&Value(value)).unwrap().unpack::<Value>(), Value(value));
    }
    assert_eq!(Bits::<1>::pack(&Value(1 << 31)).unwrap_err().field, "value");
}
