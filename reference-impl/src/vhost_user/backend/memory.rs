//! Guest memory: a table at once, or slot by slot.

use std::os::fd::OwnedFd;

use devmig_model::protocol::vhost_user::wire::{Memory, MemoryRegion, Region};

use super::answers::{Answer, number};
use super::{Backend, Device, Fault, Mutant};
use crate::vhost_user::memory::MAX_SLOTS;
use crate::vhost_user::ring::Ring;

impl<D: Device> Backend<D> {
    pub(super) fn get_max_mem_slots(&self) -> Result<Option<Answer>, Fault> {
        let slots = MAX_SLOTS as u64;
        number(if self.is(Mutant::SlotsOvertold) { 4 * slots } else { slots })
    }

    pub(super) fn set_mem_table(
        &mut self,
        table: &Memory,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Option<Answer>, Fault> {
        if self.is(Mutant::KeepsOldTable) && self.memory.map().is_some() {
            return Ok(None);
        }
        let (regions, runs) = (table.regions(), self.runs());
        let same = regions.iter().eq(self.memory.regions());
        let grows = self.memory.end() > 0 && regions.len() > self.memory.regions().count();
        if self.is(Mutant::SameLayoutIgnored) && same
            || self.is(Mutant::GrownTableIgnored) && grows && runs
        {
            return Ok(None);
        }
        self.past.table |= runs;
        if self.is(Mutant::TableEndsLog) && runs {
            self.log = None;
        }
        let further = self.memory.map().is_some();
        let ignored = further && self.is(Mutant::TableOffsetIgnored);
        let at_0 = |region: &Region| Region { mmap_offset: 0, ..*region };
        match ignored {
            true => {
                let regions: Vec<Region> = regions.iter().map(at_0).collect();
                self.memory.replace(&regions, descriptors)?;
            }
            false => self.memory.replace(regions, descriptors)?,
        }
        self.memory_moved()
    }

    pub(super) fn add_mem_reg(
        &mut self,
        added: &MemoryRegion,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Option<Answer>, Fault> {
        if self.is(Mutant::AddedWhileRunning) && self.runs() {
            return Ok(None);
        }
        if self.is(Mutant::AddReplaces) {
            self.memory.replace(&[added.region], descriptors)?;
        } else {
            self.memory.add(&added.region, descriptors)?;
        }
        self.memory_moved()
    }

    /// A descriptor may come along, of front-ends that do not know better: it is closed unused.
    pub(super) fn rem_mem_reg(
        &mut self,
        removed: &MemoryRegion,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Option<Answer>, Fault> {
        if self.is(Mutant::RemoveKeepsDescriptor) {
            self.kept.extend(descriptors);
        }
        if !self.is(Mutant::RemoveKeeps) {
            self.memory.remove(&removed.region)?;
        }
        self.memory_moved()?;
        if self.is(Mutant::RemoveBreaksRings) {
            self.rings.iter_mut().for_each(|ring| ring.broken = ring.started);
        }
        Ok(None)
    }

    /// Rings are looked up again at their next use.
    fn memory_moved(&mut self) -> Result<Option<Answer>, Fault> {
        self.rings.iter_mut().for_each(Ring::moved);
        Ok(None)
    }
}
