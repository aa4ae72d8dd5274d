//! What is expected of a migration: over what the devices are and whether they run, not over what
//! management has heard.

use std::sync::Arc;

use super::event::{Act, Answer, Call, Event};
use super::host::{Host, HostState, Phase, Slot};
use super::manager::Managers;
use super::migration::Migration;
use devmig_engine::compose::GlobalStateOf;
use devmig_engine::system::{Property, Transition};

/// Who takes part: two hosts, the rules of a migration, management.
pub type Parts = (Host, Host, Migration, Managers);
/// The state of them all.
pub type GlobalState = GlobalStateOf<Parts, 0, 0>;
type Seen<'a> = Transition<'a, GlobalState, Event>;

/// Every property: its name, the clause behind it (or ``), and what it says.
pub const ALL: &[(&str, &str, &str)] = &[
    (
        "never-two-runners",
        "device-model.one-runner",
        "when a device begins to run, it runs at no other host",
    ),
    (
        "refused-before-stop",
        "device-model.refusal.early",
        "a check, a creation or a load that is refused finds the source running",
    ),
    (
        "made-as-asked",
        "device-model.create.all-or-nothing",
        "a created device is the requested device",
    ),
    (
        "completed-is-equal",
        "device-model.configuration.kept",
        "a loaded device that begins to run has the configuration of its source",
    ),
    (
        "completed-answers",
        "device-model.representation.parameter",
        "a loaded device that begins to run works",
    ),
    ("completed-has-all", "", "a loaded device that begins to run has all the work of its guest"),
    (
        "configuration-never-changes",
        "device-model.configuration.immutable",
        "a request to change a device does not change it",
    ),
    (
        "no-work-lost",
        "device-model.failure.asks",
        "no device is destroyed that has done more work than the other",
    ),
    (
        "failed-means-source-runs",
        "device-model.failure.source-runs",
        "after a failed migration the source runs, and no other device",
    ),
    ("one-runs", "device-model.one-runner", "in the end each device runs, at one host"),
    (
        "runs-again",
        "device-model.failure.source-runs",
        "a device that was stopped runs again in the end, here or there",
    ),
    ("all-moved", "", "in the end no migration has failed"),
    ("every-host-upgraded", "", "in the end every host has its last release"),
    (
        "can-be-upgraded",
        "",
        "in some order every host is upgraded to its last release while the device runs",
    ),
];

fn slots<'a>(w: &'a GlobalState, host: u8, device: u8) -> [&'a Slot; 2] {
    let hosts: [&'a HostState; 2] = [&w.parts.0, &w.parts.1];
    let of = |host: u8| &hosts[usize::from(host & 1)].slots[usize::from(device & 1)];
    [of(host), of(1 - (host & 1))]
}

/// The device at this host, and at the other.
fn here(t: &Seen<'_>, e: &Event) -> [Slot; 2] {
    slots(t.before, e.host, e.device).map(|slot| *slot)
}

fn called<'a>(t: &'a Seen<'_>) -> Option<(&'a Event, Call, Answer)> {
    let event = t.action.event()?;
    match event.act {
        Act::Call(call, answer) => Some((event, call, answer)),
        _ => None,
    }
}

/// A device begins to run: where, and what it was before.
fn begins<'a>(t: &'a Seen<'_>) -> Option<(&'a Event, Slot)> {
    let (event, call, answer) = called(t)?;
    let [own, _] = here(t, event);
    let effect = matches!(answer, Answer::Done | Answer::Unheard);
    (call == Call::Run && effect && !own.runs()).then_some((event, own))
}

/// A migration completes: a device begins to run where it was loaded.
fn completes<'a>(t: &'a Seen<'_>) -> Option<(&'a Event, Slot)> {
    begins(t).filter(|(_, own)| own.phase == Phase::Loaded)
}

/// Something is refused for what the device is.
fn refused<'a>(t: &'a Seen<'_>) -> Option<&'a Event> {
    let event = t.action.event()?;
    let no = match event.act {
        Act::Check(accepts) => !accepts,
        Act::Call(call, answer) => {
            let decides = matches!(call, Call::Create { .. } | Call::CreateShared | Call::Load(_));
            decides && answer == Answer::Refused
        }
        _ => false,
    };
    no.then_some(event)
}

fn running(w: &GlobalState, device: u8) -> usize {
    slots(w, 0, device).into_iter().filter(|slot| slot.runs()).count()
}

/// One of [`ALL`], for a system in which the devices are these.
#[must_use]
pub fn named(
    name: &str,
    devices: &[u8],
    hosts: &Arc<[Host; 2]>,
) -> Option<Property<GlobalState, Event>> {
    let (name, ..) = ALL.iter().find(|(known, ..)| *known == name)?;
    let configs = devices.to_vec();
    let config = move |device: u8| configs.get(usize::from(device)).copied().unwrap_or(0);
    let all = 0..devices.len() as u8;
    let hosts = Arc::clone(hosts);
    let upgraded = move |w: &GlobalState| {
        let [a, b] = &*hosts;
        a.is_last(&w.parts.0) && b.is_last(&w.parts.1)
    };
    Some(match *name {
        "never-two-runners" => Property::always(
            name,
            |t: &Seen| begins(t).is_some(),
            |t: &Seen| begins(t).is_none_or(|(e, _)| running(t.after, e.device) < 2),
        ),
        "refused-before-stop" => Property::always(
            name,
            |t: &Seen| refused(t).is_some(),
            |t: &Seen| refused(t).is_none_or(|e| running(t.before, e.device) > 0),
        ),
        "made-as-asked" => Property::always(
            name,
            |t: &Seen| matches!(called(t), Some((_, _, Answer::Made(_)))),
            move |t: &Seen| match called(t) {
                Some((e, _, Answer::Made(made))) => made == config(e.device),
                _ => true,
            },
        ),
        "completed-is-equal" => Property::always(
            name,
            |t: &Seen| completes(t).is_some(),
            move |t: &Seen| completes(t).is_none_or(|(e, own)| own.config == config(e.device)),
        ),
        "completed-answers" => Property::always(
            name,
            |t: &Seen| completes(t).is_some(),
            |t: &Seen| completes(t).is_none_or(|(_, own)| own.answers),
        ),
        "completed-has-all" => Property::always(
            name,
            |t: &Seen| completes(t).is_some(),
            |t: &Seen| {
                completes(t).is_none_or(|(e, own)| {
                    let [_, other] = here(t, e);
                    other.phase == Phase::Stopped && own.work == other.work
                })
            },
        ),
        "configuration-never-changes" => Property::always(
            name,
            |t: &Seen| {
                called(t).is_some_and(|(e, call, _)| {
                    matches!(call, Call::Set(_)) && here(t, e)[0].phase != Phase::Absent
                })
            },
            |t: &Seen| {
                called(t).is_none_or(|(e, ..)| {
                    slots(t.after, e.host, e.device)[0].config == here(t, e)[0].config
                })
            },
        ),
        "no-work-lost" => Property::always(
            name,
            |t: &Seen| destroyed(t).is_some(),
            |t: &Seen| {
                destroyed(t).is_none_or(|[own, other]| {
                    other.phase != Phase::Absent && other.work >= own.work
                })
            },
        ),
        "failed-means-source-runs" => Property::at_end(name, move |w: &GlobalState| {
            all.clone().all(|device| {
                let knows = &w.parts.3.of[usize::from(device & 1)];
                let [source, other] = slots(w, knows.from, device);
                !knows.failed || knows.committed || source.runs() && !other.runs()
            })
        }),
        "one-runs" => Property::at_end(name, move |w: &GlobalState| {
            all.clone().all(|device| running(w, device) == 1)
        }),
        "runs-again" => {
            let each = all.clone();
            Property::leads_to(
                name,
                move |w: &GlobalState| each.clone().any(|device| running(w, device) == 0),
                move |w: &GlobalState| all.clone().all(|device| running(w, device) > 0),
            )
        }
        "all-moved" => Property::at_end(name, move |w: &GlobalState| {
            all.clone().all(|device| !w.parts.3.of[usize::from(device & 1)].failed)
        }),
        "every-host-upgraded" => Property::at_end(name, upgraded),
        "can-be-upgraded" => Property::reachable(name, move |t: &Seen| {
            upgraded(t.after) && all.clone().all(|device| running(t.after, device) > 0)
        }),
        _ => return None,
    })
}

/// A device that is there is destroyed: it, and what the other host has.
fn destroyed(t: &Seen<'_>) -> Option<[Slot; 2]> {
    let (event, call, answer) = called(t)?;
    let both = here(t, event);
    let effect = matches!(answer, Answer::Done | Answer::Unheard);
    (call == Call::Destroy && effect && both[0].phase != Phase::Absent).then_some(both)
}
