//! A migration as the monitors of both ends report it: the machine of a whole migration, of which only its events
//! are seen.
//!
//! ```text
//!   (devices of A, devices of B, memory, VMM)   every step is hidden; what QEMU reports of it, say.rs says
//!              |                     |
//!        queue of the source    queue of the destination        reported, and not yet seen
//!              |                     |
//!          Report { end: 0 }     Report { end: 1 }              what a log holds
//! ```
//!
//! The two ends are processes of their own. What the destination reports may come late, as the destination acts on
//! what the source has sent; what the source reports comes before anything that it does afterwards.
//!
//! | file | its one job |
//! |---|---|
//! | `report.rs` | what a monitor reports |
//! | `ends.rs` | what was reported at each end, and is still to be seen |
//! | `say.rs` | which reports follow from a step: the projection |
//! | `clause.rs` | which clause a report violates that no state allows |
//! | `managed.rs` | what management does with the VM before and after a migration |
//! | `rest.rs` | whether a migration is over |
//! | `triples.rs` | every triple (VM, migration, devices) of an end, with what follows it |
//!
//! **Invariant.** What can follow what is decided by the machine of the migration. `say` names reports, and no
//! order of steps.

mod clause;
pub mod ends;
mod managed;
pub mod report;
pub mod rest;
mod say;
pub mod triples;

use std::sync::Arc;

use self::ends::Ends;
use self::report::{Report, Reported, SOURCE, What, party};
use super::Loaded;
use super::event::{Act, DEVICES, Event};
use super::properties::Parts;
use super::systems::SystemDef;
use super::vmm::{Outcome, Phase};
use crate::protocol::vfio::machine::Device;
use crate::protocol::vfio::path::Paths;
use crate::protocol::vfio::table::Table;
use crate::registry::Library;
use devmig_engine::clause::ClauseId;
use devmig_engine::compose::{Action, Closed, GlobalState, Outcome as Leads};
use devmig_engine::machine::{Machine, Party, Reaction, Step, Stimulus, Verdict};
use devmig_engine::rules::{OpenChoice, RuleContext};

/// The system whose devices stand for those of a log.
pub const SYSTEM: &str = "migration/watched";
/// The same for a VM that management has paused.
pub const PAUSED: &str = "migration/watched-paused";
/// The features that a device may have beside those that every device has.
pub const FEATURES: [&str; 2] = ["p2p", "pre-copy"];

/// The clauses that reports can violate.
#[derive(Clone, Copy, Debug)]
pub struct Clauses {
    /// `migration.run.one`
    pub one: ClauseId,
    /// `migration.stop.vcpus-first`
    pub vcpus_first: ClauseId,
    /// `migration.stop.together`
    pub together: ClauseId,
    /// `migration.failure.source`
    pub source: ClauseId,
    /// `vfio.set.blocked`
    pub blocked: ClauseId,
}

/// A migration whose reports alone are seen.
#[derive(Debug)]
pub struct Observed {
    /// The system: of a VM that runs, and of one that management has paused.
    closed: [Closed<Parts, 0, 0>; 2],
    /// The states of devices.
    table: Arc<Table>,
    /// The paths between them, for a device with every feature.
    paths: Paths,
    /// The clauses.
    clauses: Clauses,
    /// The state in which devices run.
    running: u8,
}

/// The state of the system.
pub type Inner = <Parts as Machine>::State;
/// ... and what its monitors report.
pub type State = (Inner, Ends);

/// Why there is no such machine.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Missing {
    /// A proposal took something away that it needs.
    #[error("there is no `{0}`")]
    Item(&'static str),
    /// A feature that no device has.
    #[error("a device has no feature `{0}`: it may have p2p and pre-copy")]
    Feature(String),
    /// More than the machine has.
    #[error("a machine has at most {DEVICES} devices, not {0}")]
    Devices(usize),
}

impl Observed {
    /// A migration of a VM with these devices, each with its features.
    ///
    /// # Errors
    /// If the library lacks something.
    pub fn new(library: &Library, devices: &[Vec<String>]) -> Result<Self, Missing> {
        let loaded = library.migration();
        let closed = |name: &'static str| {
            let def = loaded.systems.iter().find(|def| def.common.name == name);
            let def = with(loaded, def.ok_or(Missing::Item(name))?, devices)?;
            Ok::<_, Missing>(loaded.system(&def, library.rules(&def)).closed)
        };
        let clause = |id: &'static str| library.spec.clause(id).map_err(|_| Missing::Item(id));
        let running = loaded.table.named("RUNNING").ok_or(Missing::Item("RUNNING"))?.value;
        let every = loaded.table.features.iter().fold(0, |bits, feature| bits | 1 << feature.bit);
        Ok(Observed {
            closed: [closed(SYSTEM)?, closed(PAUSED)?],
            table: Arc::clone(&loaded.table),
            paths: Paths::new(&loaded.table, every),
            clauses: Clauses {
                one: clause("migration.run.one")?,
                vcpus_first: clause("migration.stop.vcpus-first")?,
                together: clause("migration.stop.together")?,
                source: clause("migration.failure.source")?,
                blocked: clause("vfio.set.blocked")?,
            },
            running,
        })
    }

    /// The system of a VM that is paused, or is not.
    fn system(&self, ends: &Ends) -> &Closed<Parts, 0, 0> {
        &self.closed[usize::from(ends.paused)]
    }

    /// The devices that the VM has.
    fn machines(&self) -> &[Device] {
        &self.closed[0].machine.0.machines
    }

    /// How many devices the VM has.
    fn count(&self) -> usize {
        self.machines().len()
    }

    /// The state of devices that a monitor calls so, e.g. `pre-copy-p2p`.
    #[must_use]
    pub fn state_called(&self, name: &str) -> Option<u8> {
        let state = self.table.named(&name.to_ascii_uppercase().replace('-', "_"))?;
        Some(state.value)
    }

    /// A state of devices as monitors call it.
    #[must_use]
    pub fn name_of(&self, state: u8) -> String {
        self.table.name(state).to_ascii_lowercase().replace('_', "-")
    }

    /// Whether a device in this state works.
    fn works(&self, state: u8) -> bool {
        self.table.state(state).is_some_and(|state| state.runs)
    }

    /// Steps of the migration after which what the source has reported is seen, or nothing was.
    fn steps(&self, s: &State, f: &mut dyn FnMut(Step, State)) -> Result<(), OpenChoice> {
        let (inner, ends) = s;
        let world = GlobalState { parts: *inner, queues: [] };
        let name = |action: &Action<Event>| match action {
            Action::Hidden(step) => *step,
            _ => Step::alone(Party("VMM"), "step"),
        };
        self.system(ends).successors(&world, &mut |action, leads| {
            let Leads::To(next) = leads else { return };
            let act = action.event().map(|event| event.act);
            let over = inner.3.outcome == Outcome::Completed;
            // A log is of one migration to its end; the next hop has a log of its own.
            if matches!(act, Some(Act::Again)) && over
                || matches!(act, Some(Act::Write(_) | Act::Slow))
            {
                return;
            }
            let mut after = next.parts;
            if matches!(act, Some(Act::Again)) {
                // As many attempts as there are.
                (after.3.faults, after.3.more) = (inner.3.faults.max(1), inner.3.more);
            }
            for said in self.say((inner, ends), action.event(), &after) {
                f(name(&action), (after, said));
            }
        })
    }
}

/// The system with other devices.
fn with(loaded: &Loaded, def: &SystemDef, devices: &[Vec<String>]) -> Result<SystemDef, Missing> {
    if devices.len() > DEVICES {
        return Err(Missing::Devices(devices.len()));
    }
    let model = *def.devices.first().ok_or(Missing::Item(SYSTEM))?;
    let pre_copy = loaded.table.named("PRE_COPY");
    let mut def = def.clone();
    def.devices.clear();
    for features in devices {
        let always = loaded.table.features.iter().filter(|feature| feature.mandatory);
        let names = always.map(|feature| feature.name.as_str());
        let names = names.chain(features.iter().map(String::as_str));
        let unknown = features.iter().find(|name| !FEATURES.contains(&name.as_str()));
        let flags = match (loaded.table.flags(names), unknown) {
            (Ok(flags), None) => flags,
            (_, unknown) => {
                return Err(Missing::Feature(unknown.cloned().unwrap_or_default()));
            }
        };
        let has = pre_copy.is_some_and(|state| loaded.table.supports(flags, state.value));
        def.devices.push(super::vmm::Known { flags, pre_copy: has, ..model });
    }
    Ok(def)
}

impl Machine for Observed {
    type State = State;
    type Event = Report;

    fn name(&self) -> &'static str {
        "monitors"
    }

    fn initial(&self) -> State {
        (self.closed[0].machine.initial(), Ends::new(self.running))
    }

    fn on(&self, s: &State, event: &Report, _: &mut RuleContext) -> Verdict<Self> {
        let (inner, ends) = s;
        let end = usize::from(event.end & 1);
        let seen = |ends: Option<Ends>| {
            ends.map_or_else(|| self.refused(s, event), |ends| Reaction::To((*inner, ends)))
        };
        Ok(match event.what {
            What::Closes => Reaction::To((*inner, ends.closed(end, self.running))),
            What::Answers { status, runs } => {
                let is = inner.2.runs[end];
                seen(ends.answered(end, (status, runs), is))
            }
            What::Reports(Reported::Beyond) => Reaction::Unspecified(ClauseId::NONE),
            What::Reports(_) if !ends.of[end].heard => Reaction::Disabled,
            What::Reports(Reported::Pass) => match self.may_pass(s, end) {
                true => Reaction::Ignore,
                false => self.refused(s, event),
            },
            What::Reports(said) if ends.repeats(end, said) => Reaction::Ignore,
            What::Reports(said) => seen(ends.seen(end, said)),
        })
    }

    fn hidden(
        &self,
        s: &State,
        _: &mut RuleContext,
        f: &mut dyn FnMut(Step, State),
    ) -> Result<(), OpenChoice> {
        let (inner, _) = s;
        let alone = |name| Step::alone(Party("monitor"), name);
        let said = self.ends_at_last(s).into_iter().chain(self.goes_on(s));
        for ends in said.chain(self.gives_up_early(s)) {
            f(alone("status"), (*inner, ends));
        }
        for ends in self.begins_at_the_destination(s) {
            f(alone("destination"), (*inner, ends));
        }
        if let Some(next) = self.managed(s) {
            f(alone("management"), next);
        }
        if let Some(ends) = self.goes_on_there(s) {
            f(alone("management"), (*inner, ends));
        }
        self.steps(s, f)
    }

    /// What may be seen next: for a list of what was allowed.
    fn stimuli(&self, s: &State, f: &mut dyn FnMut(Stimulus<Report>)) {
        for end in 0..2 {
            for said in s.1.next(end) {
                let what = What::Reports(said);
                f(Stimulus::Guarded(Report { end: end as u8, what }));
            }
        }
    }

    fn label(&self, event: &Report) -> Option<String> {
        let who = party(event.end);
        Some(match event.what {
            What::Reports(Reported::Device { at, state }) => {
                format!("{who}: VFIO_MIGRATION {} of device {at}", self.name_of(state))
            }
            What::Reports(said) => format!("{who}: {}", said.words()),
            What::Answers { status, runs } => {
                let vm = if runs { "runs" } else { "does not run" };
                format!("{who} answers: migration {}, VM {vm}", status.name())
            }
            What::Closes => format!("{who}: the monitor is closed"),
        })
    }

    fn at_end(&self, s: &State) -> bool {
        self.rests(s)
    }
}

impl Observed {
    /// Whether a new round may be reported: a migration is under way, and its source has not stopped.
    fn may_pass(&self, (inner, ends): &State, end: usize) -> bool {
        let under_way = inner.3.phase == Phase::Migrates && inner.3.step > 0;
        let stops = ends.of[end].items().any(|item| item.said == Reported::Runs(false));
        end == SOURCE && under_way && !ends.stopping && !stops
    }
}
