//! What is expected of a vDPA device: over what the guest sees and what the VMM reads.

use super::event::Event;
use super::machine::Device;
use super::vmm::{Guest, Vmm};
use devmig_engine::compose::GlobalStateOf;
use devmig_engine::system::{Property, Transition};

/// Who takes part.
pub type Parts = (Device, Guest, Vmm);
/// The state of them all.
pub type GlobalState = GlobalStateOf<Parts, 0, 0>;
type Seen<'a> = Transition<'a, GlobalState, Event>;

/// Every property: its name, the clause behind it (or ``), and what it says.
pub const ALL: &[(&str, &str, &str)] = &[
    (
        "nothing-processed-while-suspended",
        "vdpa.suspend.stops-processing",
        "a suspended device fetches nothing and completes nothing",
    ),
    (
        "no-request-completed-twice",
        "vdpa.ring.request-completed-once",
        "no request is put into the used ring twice",
    ),
    (
        "only-available-requests",
        "vdpa.ring.available-only",
        "only available requests are put into the used ring",
    ),
    (
        "base-is-next",
        "vdpa.suspend.keeps-base",
        "GET_VRING_BASE returns the index after the last request that was completed",
    ),
    ("no-request-lost", "", "in the end, every available request was completed"),
];

/// The property of this name.
#[must_use]
pub fn named(name: &str) -> Option<Property<GlobalState, Event>> {
    Some(match name {
        // Nothing is fetched and nothing used; a reset takes the base back.
        "nothing-processed-while-suspended" => Property::always(
            ALL[0].0,
            |t: &Seen| t.before.parts.0.suspended,
            |t: &Seen| t.before.parts.0.base >= t.after.parts.0.base && used(t).is_none(),
        ),
        "no-request-completed-twice" => Property::always(
            ALL[1].0,
            |t: &Seen| used(t).is_some(),
            |t: &Seen| used(t).is_none_or(|r| t.before.parts.1.done >> r & 1 == 0),
        ),
        "only-available-requests" => Property::always(
            ALL[2].0,
            |t: &Seen| used(t).is_some(),
            |t: &Seen| used(t).is_none_or(|r| r < t.before.parts.1.posted),
        ),
        "base-is-next" => Property::always(
            ALL[3].0,
            |t: &Seen| matches!(t.action.event(), Some(Event::GetVringBase(_))),
            |t: &Seen| match t.action.event() {
                Some(Event::GetVringBase(base)) => t.before.parts.1.done == (1 << base) - 1,
                _ => true,
            },
        ),
        "no-request-lost" => Property::at_end(ALL[4].0, |w: &GlobalState| {
            w.parts.1.done.count_ones() == u32::from(w.parts.1.posted)
        }),
        _ => return None,
    })
}

fn used(t: &Seen) -> Option<u16> {
    match t.action.event() {
        Some(Event::Used(request)) => Some(*request),
        _ => None,
    }
}
