//! What is expected of a hand-over.

use super::event::{Actor, Event, Fault};
use super::outcome::{Outcome, Runs};
use super::program::Runner;
use super::world::{Phase, World, WorldState};
use crate::protocol::property::PropertyDefinition;
use devmig_engine::compose::GlobalStateOf;
use devmig_engine::system::{Test, Transition};

/// Who takes part.
pub type Parts = (World, Runner, Runner, Runner);
/// The state of them all.
pub type GlobalState = GlobalStateOf<Parts, 0, 0>;

/// What properties have to know of a system.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The VM has disks.
    pub disks: bool,
    /// The VM was paused before.
    pub paused: bool,
    /// From here on the destination may run.
    pub commit: Phase,
}

impl Facts {
    /// Whether the source has the VM as it was before the migration.
    fn as_before(self, s: &WorldState) -> bool {
        let source = s.process(Actor::Source);
        source.has && source.runs != self.paused && (!self.disks || s.locks(Actor::Source))
    }
}

type D = PropertyDefinition<Facts, GlobalState, Event>;
type Seen<'a> = Transition<'a, GlobalState, Event>;

fn implies(
    holds: impl Fn(&Seen<'_>) -> Option<bool> + Send + Sync + 'static,
) -> Test<GlobalState, Event> {
    Test::implies(holds)
}

fn at_end(
    holds: impl Fn(&WorldState) -> Option<bool> + Send + Sync + 'static,
) -> Test<GlobalState, Event> {
    Test::at_end_implies(move |state: &GlobalState| holds(&state.parts.0))
}

/// Every property.
pub const ALL: &[D] = &[
    D::of_system(
        "completes",
        "",
        "without a fault, the VM is at the destination in the end, and as it was before",
        |of, _| {
            at_end(move |s| {
                let destination = s.process(Actor::Destination);
                let there = destination.has && destination.runs != of.paused;
                (s.fault == Fault::None).then(|| there && !s.process(Actor::Source).runs)
            })
        },
    ),
    D::of_system(
        "never-two-runners",
        "hand-over.one-runner",
        "when the source or the destination begins to run, the other does not run",
        |_, _| {
            implies(|t| match t.event()? {
                Event::Run(actor) => {
                    let other = match actor {
                        Actor::Source => Actor::Destination,
                        _ => Actor::Source,
                    };
                    Some(!t.before.parts.0.process(other).runs)
                }
                _ => None,
            })
        },
    ),
    D::of_system(
        "runner-holds-lock",
        "hand-over.lock.runner-holds",
        "a VMM that begins to run holds the disk lock",
        |_, _| {
            implies(|t| match t.event()? {
                Event::Run(actor) => Some(t.before.parts.0.locks(*actor)),
                _ => None,
            })
        },
    ),
    D::of_system(
        "source-never-runs-after-destination",
        "hand-over.destination-ran.final",
        "the source does not begin to run after the destination has run",
        |_, _| {
            implies(|t| match t.event()? {
                Event::Run(Actor::Source) => Some(!t.before.parts.0.ran),
                _ => None,
            })
        },
    ),
    D::of_system(
        "failure-leaves-source",
        "hand-over.failure.source-as-before",
        "after a fault before the commit that the source survives, the source has the VM as before",
        |of, _| {
            at_end(move |s| {
                let early = s.fault != Fault::None && s.phase < of.commit;
                (early && s.fault != Fault::SourceKilled && !s.second).then(|| of.as_before(s))
            })
        },
    ),
    D::of_system(
        "paused-stays-paused",
        "hand-over.paused-stays",
        "a VM that was paused before the migration does not run at either host",
        |of, _| at_end(move |s| of.paused.then(|| Outcome::of(s, of.disks).runs == Runs::Nowhere)),
    ),
    D::of_system(
        "vm-survives",
        "hand-over.vm-survives",
        "one fault loses the VM only if it takes the only process that has it",
        |_, _| at_end(|s| (s.fault != Fault::None).then(|| s.is_held() || s.with_host || s.ran)),
    ),
    D::of_system(
        "loss-is-said",
        "hand-over.loss.said",
        "if the VM or its work is lost, or it runs nowhere, somebody reports it",
        |of, _| {
            at_end(move |s| {
                let outcome = Outcome::of(s, of.disks);
                (outcome.is_loss() && !of.paused).then(|| outcome.is_said())
            })
        },
    ),
    D::of_system(
        "runs-somewhere",
        "",
        "unless the VM is lost, it runs: no person has to decide where",
        |of, _| {
            at_end(move |s| {
                let outcome = Outcome::of(s, of.disks);
                (s.fault != Fault::None && s.is_held()).then(|| outcome.runs != Runs::Nowhere)
            })
        },
    ),
    D::of_system(
        "nothing-left-behind",
        "hand-over.next-attempt",
        "when a hand-over is tried once more, no old destination is left, and the source holds its lock",
        |of, _| {
            implies(move |t| match t.event()? {
                Event::Again => {
                    let s = &t.before.parts.0;
                    Some(!s.process(Actor::Destination).alive && of.as_before(s))
                }
                _ => None,
            })
        },
    ),
    D::of_system(
        "next-attempt-succeeds",
        "hand-over.next-attempt",
        "a second attempt without a fault succeeds",
        |of, _| {
            at_end(move |s| {
                let destination = s.process(Actor::Destination);
                let there = destination.has && destination.runs != of.paused;
                (s.second && !s.again_faulty).then(|| there && !s.process(Actor::Source).runs)
            })
        },
    ),
];
