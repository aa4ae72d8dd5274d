//! vDPA systems: a device, its guest, and a VMM that stops and continues it in one of three ways.

use super::event::{Event, GUEST};
use super::machine::{ClauseIds, DRIVER_OK, Device};
use super::vmm::{Guest, Step, Vmm};
use crate::protocol::ring::{RING, Ring};
use crate::spec::{Spec, SpecErrors};
use devmig_engine::clause::ChoiceId;
use devmig_engine::compose::{Closed, GlobalStateOf};
use devmig_engine::rules::Rules;
use devmig_engine::system;
use devmig_engine::system::{Expect, Expected, Property, Refinement, System, Transition};

type Parts = (Device, Guest, Vmm);
/// A system of vDPA: no queue, every state in one word.
pub type Vdpa = system!(Parts);
type GlobalState = GlobalStateOf<Parts, 0, 0>;
type Seen<'a> = Transition<'a, GlobalState, Event>;

/// Requests in each system.
const REQUESTS: u16 = 2;

/// Setting up at the base that was read last, and running.
const START: [Step; 4] =
    [Step::SetVringBase, Step::SetVringEnable(true), Step::SetStatus(DRIVER_OK), Step::Vcpus(true)];

/// Clauses and choices of vDPA, resolved.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The clauses.
    pub laws: ClauseIds,
    /// `vdpa.suspend.in-flight`
    pub in_flight: ChoiceId,
}

impl Names {
    /// Finds them by their ids.
    ///
    /// # Errors
    /// What the specification lacks.
    pub fn resolve(spec: &Spec) -> Result<Self, SpecErrors> {
        let (laws, in_flight) = (ClauseIds::resolve(spec)?, spec.choice("vdpa.suspend.in-flight")?);
        Ok(Names { laws, in_flight })
    }
}

/// All of them.
#[must_use]
pub fn systems(names: Names, rules: Rules) -> [Vdpa; 3] {
    let [stop, run] = [Step::Vcpus(false), Step::Vcpus(true)];
    let (suspend, base, reset) = (Step::Suspend, Step::GetVringBase, Step::SetStatus(0));
    let resumed = [&START[..], &[stop, suspend, base, Step::Resume, run]].concat();
    let restarted = [&START[..], &[stop, suspend, base, reset], &START].concat();
    let unsuspended = [&START[..], &[stop, base, reset], &START].concat();
    let of = |name, about, steps| system(name, about, steps, (names, rules));
    let mut all = [
        of(
            "vdpa/suspend-resume",
            "The VMM suspends the device, reads the base and resumes: the device continues where \
             it was.",
            resumed,
        ),
        of(
            "vdpa/suspend-restart",
            "A VMM without RESUME suspends the device, reads the base, resets the device and sets \
             up the ring at that base.",
            restarted,
        ),
        of(
            "vdpa/base-without-suspend",
            "The VMM reads the index without stopping the device (question C5). The base is \
             unstable: unlike that of vhost-user, GET_VRING_BASE of vDPA does not stop the ring.",
            unsuspended,
        ),
    ];
    let [.., last] = &mut all;
    // Nothing is ever suspended in it.
    last.properties.retain(|property| property.name != SUSPENDED);
    for property in &mut last.properties {
        if ["no-request-completed-twice", "base-is-next", "no-request-lost"]
            .contains(&property.name)
        {
            property.expected = Expected::Violated;
        }
    }
    all
}

const SUSPENDED: &str = "nothing-processed-while-suspended";

fn system(name: &str, about: &str, steps: Vec<Step>, (names, rules): (Names, Rules)) -> Vdpa {
    let Names { laws, in_flight } = names;
    let device = Device { laws, in_flight, requests: REQUESTS };
    let vmm = Vmm { steps, requests: REQUESTS };
    let used = |t: &Seen| match t.action.event() {
        Some(Event::Used(request)) => Some(*request),
        _ => None,
    };
    let refinements = vec![Refinement::new::<Ring>(RING, device)];
    System {
        name: name.to_owned(),
        protocol: "vdpa",
        about: about.to_owned(),
        closed: Closed { machine: (device, Guest { requests: REQUESTS }, vmm), rules },
        properties: vec![
            // Nothing is fetched and nothing used; a reset takes the base back.
            Property::always(
                SUSPENDED,
                |t: &Seen| t.before.parts.0.suspended,
                |t: &Seen| t.before.parts.0.base >= t.after.parts.0.base && !is_used(t),
            )
            .by(laws.stops),
            Property::always(
                "no-request-completed-twice",
                move |t: &Seen| used(t).is_some(),
                move |t: &Seen| used(t).is_none_or(|r| t.before.parts.1.done >> r & 1 == 0),
            )
            .by(laws.once),
            Property::always(
                "only-available-requests",
                move |t: &Seen| used(t).is_some(),
                move |t: &Seen| used(t).is_none_or(|r| r < t.before.parts.1.posted),
            )
            .by(laws.available_only),
            Property::always(
                "base-is-next",
                |t: &Seen| matches!(t.action.event(), Some(Event::GetVringBase(_))),
                |t: &Seen| match t.action.event() {
                    Some(Event::GetVringBase(base)) => t.before.parts.1.done == (1 << base) - 1,
                    _ => true,
                },
            )
            .by(laws.base),
            Property::at_end("no-request-lost", |w: &GlobalState| {
                w.parts.1.done.count_ones() == u32::from(w.parts.1.posted)
            }),
        ],
        expect: Expect::default(),
        refinements,
        environment: vec![GUEST],
    }
}

fn is_used(t: &Seen) -> bool {
    matches!(t.action.event(), Some(Event::Used(_)))
}
