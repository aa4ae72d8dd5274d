//! What management does with the VM before and after a migration: `stop` and `cont`, as monitors report them.
//!
//! ```text
//!   stop:  VFIO_MIGRATION running-p2p, then stop, of each device; STOP
//!   cont:  RESUME; VFIO_MIGRATION running-p2p, then running, of each device
//! ```
//!
//! A VM that is paused migrates as another system: [`super::PAUSED`]. So a VM that does not run when its monitor first
//! answers, and does not migrate, was paused before.
//!
//! **Not here.** `stop` and `cont` while a migration is under way: the machine's VMM does one thing at a time, and
//! this would be a second one, with devices that stop between two steps of its program.

use super::ends::Ends;
use super::report::{DESTINATION, Reported, SOURCE, Status};
use super::{Observed, State};
use crate::protocol::migration::vmm::Phase;
use devmig_engine::machine::Machine as _;

/// What groups reports, beside the steps of a VMM: devices that are prepared, and those that then stop or run.
const PREPARES: u8 = u8::MAX - 1;
const SETS: u8 = u8::MAX;

impl Observed {
    /// Management pauses the VM, or lets it go on, before a migration begins.
    pub(super) fn managed(&self, (inner, ends): &State) -> Option<State> {
        let vmm = &inner.3;
        let waits = ends.of[SOURCE].items().next().is_some() || ends.last.is_some();
        if vmm.phase != Phase::Migrates || vmm.step != 0 || waits {
            return None;
        }
        let ends = Ends { paused: !ends.paused, ..*ends };
        let said = match ends.paused {
            true => {
                self.sets(Some(ends), SOURCE, "STOP")?.with(SOURCE, Reported::Runs(false), None)
            }
            false => self.sets(ends.with(SOURCE, Reported::Runs(true), None), SOURCE, "RUNNING"),
        };
        Some((self.system(&ends).machine.initial(), said?))
    }

    /// Management lets a VM run at the destination that was paused when it migrated.
    pub(super) fn goes_on_there(&self, (inner, ends): &State) -> Option<Ends> {
        let there = &ends.of[DESTINATION];
        let has_come = inner.3.committed && there.said == Status::Completed;
        if !ends.paused || !has_come || there.runs || there.items().next().is_some() {
            return None;
        }
        self.sets(ends.with(DESTINATION, Reported::Runs(true), None), DESTINATION, "RUNNING")
    }

    /// All devices of an end are prepared, and then set to a state.
    fn sets(&self, ends: Option<Ends>, end: usize, state: &str) -> Option<Ends> {
        let value = |name: &str| Some(self.table.named(name)?.value);
        let (p2p, state) = (value("RUNNING_P2P")?, value(state)?);
        let each = |ends: Option<Ends>, to: u8, group: u8| {
            self.machines().iter().enumerate().try_fold(ends?, |ends, (at, device)| {
                let said = Reported::Device { at: at as u8, state: to };
                match self.table.supports(device.flags, to) {
                    true => ends.with(end, said, Some(group)),
                    false => Some(ends),
                }
            })
        };
        each(each(ends, p2p, PREPARES), state, SETS)
    }
}
