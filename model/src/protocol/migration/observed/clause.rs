//! The clause that a report violates which no possible state allows, from what was seen alone.

use super::report::{DESTINATION, Report, Reported, SOURCE, Status, What};
use super::{Observed, State};
use crate::protocol::vfio::path::Reading;
use devmig_engine::clause::ClauseId;
use devmig_engine::machine::Reaction;

impl Observed {
    /// Why a report is not allowed: it violates a clause, or simply cannot be.
    pub(super) fn refused(&self, s: &State, report: &Report) -> Reaction<State> {
        let clause = match report.what {
            What::Reports(said) => self.broken(s, usize::from(report.end & 1), said),
            What::Answers { .. } | What::Closes => None,
        };
        clause.map_or(Reaction::Disabled, Reaction::Violation)
    }

    fn broken(&self, (_, ends): &State, end: usize, said: Reported) -> Option<ClauseId> {
        let [source, destination] = &ends.of;
        let here = &ends.of[end];
        let laws = &self.clauses;
        match said {
            Reported::Runs(true) if ends.of[1 - end].runs => Some(laws.one),
            Reported::Status(Status::Failed) if end == DESTINATION => {
                (source.said == Status::Completed).then_some(laws.source)
            }
            Reported::Status(Status::Setup) if end == SOURCE && source.said.is_failure() => {
                let devices = here.devices().into_iter().take(self.count());
                let stands = devices.into_iter().any(|state| state != self.running);
                (!ends.paused && (!source.runs || stands)).then_some(laws.source)
            }
            Reported::Status(Status::Device | Status::PreSwitchover | Status::Completed)
            | Reported::Pass
                if end == SOURCE && source.runs && !source.said.is_failure() =>
            {
                Some(laws.vcpus_first)
            }
            Reported::Device { at, state } => {
                let from = *here.devices().get(usize::from(at))?;
                let others = here.devices().into_iter().take(self.count()).enumerate();
                let mut others = others.filter(|(other, _)| *other != usize::from(at));
                let starts_dma = |state: u8| state == self.running || self.is_pre_copy(state);
                match self.works(state) {
                    _ if self.paths.get(Reading::Kernel, from, state).is_err() => {
                        Some(laws.blocked)
                    }
                    true if end == DESTINATION && source.runs => Some(laws.one),
                    true if end == DESTINATION && !destination.runs => Some(laws.one),
                    false if others.any(|(_, other)| starts_dma(other)) => Some(laws.together),
                    true if starts_dma(state) && others.any(|(_, other)| !self.works(other)) => {
                        Some(laws.together)
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Whether this is PRE_COPY: a device does everything in it.
    fn is_pre_copy(&self, state: u8) -> bool {
        self.table.named("PRE_COPY").is_some_and(|known| known.value == state)
    }
}
