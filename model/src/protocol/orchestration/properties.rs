//! What is expected of a migration: over what the devices are and whether they run, not over what
//! management has heard.

use std::sync::Arc;

use super::event::{Act, Answer, Call, Event};
use super::host::{Host, HostState, Phase, Slot};
use super::manager::Managers;
use super::migration::Migration;
use crate::protocol::property::{Per, PropertyDefinition};
use devmig_engine::compose::GlobalStateOf;
use devmig_engine::system::{Test, Transition};

/// Who takes part: two hosts, the rules of a migration, management.
pub type Parts = (Host, Host, Migration, Managers);
/// The state of them all.
pub type GlobalState = GlobalStateOf<Parts, 0, 0>;
type Seen<'a> = Transition<'a, GlobalState, Event>;

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

/// A device that is there is destroyed: it, and what the other host has.
fn destroyed(t: &Seen<'_>) -> Option<[Slot; 2]> {
    let (event, call, answer) = called(t)?;
    let both = here(t, event);
    let effect = matches!(answer, Answer::Done | Answer::Unheard);
    (call == Call::Destroy && effect && both[0].phase != Phase::Absent).then_some(both)
}

/// What a property needs to know of its system.
#[derive(Clone, Debug)]
pub struct Names {
    /// The configurations of the devices.
    pub devices: Vec<u8>,
    /// The hosts.
    pub hosts: Arc<[Host; 2]>,
}

impl Names {
    fn config(&self, device: u8) -> u8 {
        self.devices.get(usize::from(device)).copied().unwrap_or(0)
    }

    /// Every host is its last release.
    fn is_upgraded(&self, w: &GlobalState) -> bool {
        let [a, b] = &*self.hosts;
        a.is_last(&w.parts.0) && b.is_last(&w.parts.1)
    }
}

type D = PropertyDefinition<Names, GlobalState, Event>;

const DEVICE: Per<Names> = Per { each: "device", count: |names| names.devices.len() };

fn implies(
    holds: impl Fn(&Seen<'_>) -> Option<bool> + Send + Sync + 'static,
) -> Test<GlobalState, Event> {
    Test::implies(holds)
}

/// Every property.
pub const ALL: &[D] = &[
    D::of_system(
        "never-two-runners",
        "device-model.one-runner",
        "when a device begins to run, it runs at no other host",
        |_, _| {
            implies(|t| {
                let (e, _) = begins(t)?;
                Some(running(t.after, e.device) < 2)
            })
        },
    ),
    D::of_system(
        "refused-before-stop",
        "device-model.refusal.early",
        "a check, a creation or a load that is refused finds the source running",
        |_, _| implies(|t| Some(running(t.before, refused(t)?.device) > 0)),
    ),
    D::of_system(
        "made-as-asked",
        "device-model.create.all-or-nothing",
        "a created device is the requested device",
        |names, _| {
            implies(move |t| match called(t)? {
                (e, _, Answer::Made(made)) => Some(made == names.config(e.device)),
                _ => None,
            })
        },
    ),
    D::of_system(
        "completed-is-equal",
        "device-model.configuration.kept",
        "a loaded device that begins to run has the configuration of its source",
        |names, _| {
            implies(move |t| {
                let (e, own) = completes(t)?;
                Some(own.config == names.config(e.device))
            })
        },
    ),
    D::of_system(
        "completed-answers",
        "device-model.representation.parameter",
        "a loaded device that begins to run works",
        |_, _| implies(|t| Some(completes(t)?.1.answers)),
    ),
    D::of_system(
        "completed-has-all",
        "",
        "a loaded device that begins to run has all the work of its guest",
        |_, _| {
            implies(|t| {
                let (e, own) = completes(t)?;
                let [_, other] = here(t, e);
                Some(other.phase == Phase::Stopped && own.work == other.work)
            })
        },
    ),
    D::of_system(
        "configuration-never-changes",
        "device-model.configuration.immutable",
        "a request to change a device does not change it",
        |_, _| {
            implies(|t| {
                let (e, call, _) = called(t)?;
                let [own, _] = here(t, e);
                let asked = matches!(call, Call::Set(_)) && own.phase != Phase::Absent;
                asked.then(|| slots(t.after, e.host, e.device)[0].config == own.config)
            })
        },
    ),
    D::of_system(
        "no-work-lost",
        "device-model.failure.asks",
        "no device is destroyed that has done more work than the other",
        |_, _| {
            implies(|t| {
                let [own, other] = destroyed(t)?;
                Some(other.phase != Phase::Absent && other.work >= own.work)
            })
        },
    ),
    D::of_each(
        "failed-means-source-runs",
        "device-model.failure.source-runs",
        "after a failed migration the source runs, and no other device",
        DEVICE,
        |_, device| {
            Test::at_end_implies(move |w: &GlobalState| {
                let knows = &w.parts.3.of[device & 1];
                let [source, other] = slots(w, knows.from, device as u8);
                (knows.failed && !knows.committed).then(|| source.runs() && !other.runs())
            })
        },
    ),
    D::of_each(
        "one-runs",
        "device-model.one-runner",
        "in the end each device runs, at one host",
        DEVICE,
        |_, device| Test::at_end(move |w: &GlobalState| running(w, device as u8) == 1),
    ),
    D::of_each(
        "runs-again",
        "device-model.failure.source-runs",
        "a device that was stopped runs again in the end, here or there",
        DEVICE,
        |_, device| {
            Test::leads_to(
                move |w: &GlobalState| running(w, device as u8) == 0,
                move |w: &GlobalState| running(w, device as u8) > 0,
            )
        },
    ),
    D::of_each("all-moved", "", "in the end no migration has failed", DEVICE, |_, device| {
        Test::at_end(move |w: &GlobalState| !w.parts.3.of[device & 1].failed)
    }),
    D::of_system(
        "every-host-upgraded",
        "",
        "in the end every host has its last release",
        |names, _| Test::at_end(move |w: &GlobalState| names.is_upgraded(w)),
    ),
    D::of_system(
        "can-be-upgraded",
        "",
        "in some order every host is upgraded to its last release while the device runs",
        |names, _| {
            Test::reachable(move |t: &Seen| {
                let mut all = 0..names.devices.len() as u8;
                names.is_upgraded(t.after) && all.all(|device| running(t.after, device) > 0)
            })
        },
    ),
];
