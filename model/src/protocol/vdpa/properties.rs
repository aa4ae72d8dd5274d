//! What is expected of a vDPA device: over what the guest sees and what the VMM reads.

use super::event::Event;
use super::machine::Device;
use super::vmm::{Guest, Vmm};
use crate::protocol::property::PropertyDefinition;
use devmig_engine::compose::GlobalStateOf;
use devmig_engine::system::{Test, Transition};

/// Who takes part.
pub type Parts = (Device, Guest, Vmm);
/// The state of them all.
pub type GlobalState = GlobalStateOf<Parts, 0, 0>;
type Seen<'a> = Transition<'a, GlobalState, Event>;

type D = PropertyDefinition<(), GlobalState, Event>;

fn implies(
    holds: impl Fn(&Seen<'_>) -> Option<bool> + Send + Sync + 'static,
) -> Test<GlobalState, Event> {
    Test::implies(holds)
}

/// Every property.
pub const ALL: &[D] = &[
    D::of_system(
        "nothing-processed-while-suspended",
        "vdpa.suspend.stops-processing",
        "a suspended device fetches nothing and completes nothing",
        // A reset takes the base back.
        |(), _| {
            implies(|t| {
                let (before, after) = (&t.before.parts.0, &t.after.parts.0);
                before.suspended.then(|| before.base >= after.base && used(t).is_none())
            })
        },
    ),
    D::of_system(
        "no-request-completed-twice",
        "vdpa.ring.request-completed-once",
        "no request is put into the used ring twice",
        |(), _| implies(|t| Some(t.before.parts.1.done >> used(t)? & 1 == 0)),
    ),
    D::of_system(
        "only-available-requests",
        "vdpa.ring.available-only",
        "only available requests are put into the used ring",
        |(), _| implies(|t| Some(used(t)? < t.before.parts.1.posted)),
    ),
    D::of_system(
        "base-is-next",
        "vdpa.suspend.keeps-base",
        "GET_VRING_BASE returns the index after the last request that was completed",
        |(), _| {
            implies(|t| match t.action.event()? {
                Event::GetVringBase(base) => Some(t.before.parts.1.done == (1 << base) - 1),
                _ => None,
            })
        },
    ),
    D::of_system(
        "no-request-lost",
        "",
        "in the end, every available request was completed",
        |(), _| {
            Test::at_end_implies(|w: &GlobalState| {
                let guest = &w.parts.1;
                (guest.posted > 0).then(|| guest.done.count_ones() == u32::from(guest.posted))
            })
        },
    ),
];

fn used(t: &Seen) -> Option<u16> {
    match t.action.event() {
        Some(Event::Used(request)) => Some(*request),
        _ => None,
    }
}
