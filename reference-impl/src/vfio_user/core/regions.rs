//! What the device has, and accesses to its regions.

use devmig_model::protocol::vfio_user::{Access, DeviceInfo, RegionInfo, Reply, Write};
use rustix::io::Errno;

use super::{Core, interrupts};
use crate::migration::{Flow, State};
use crate::pci::{AccessError, Function, region};
use crate::vfio_user::Mutant;
use crate::vfio_user::settings::{StopAnswers, StoppedWrite};

const RESET_AND_PCI: u32 = 1 | 1 << 1;
const READ_AND_WRITE: u32 = 1 | 1 << 1;

pub(super) fn device_info(asked: &DeviceInfo, less: u32) -> Result<Reply, Errno> {
    let zero = asked.flags == 0 && asked.num_regions == 0 && asked.num_irqs == 0;
    if !zero || asked.argsz < DeviceInfo::LEN as u32 {
        return Err(Errno::INVAL);
    }
    let (num_regions, num_irqs) = (region::COUNT - less, interrupts::COUNT);
    let argsz = DeviceInfo::LEN as u32;
    Ok(Reply::DeviceInfo(DeviceInfo { argsz, flags: RESET_AND_PCI, num_regions, num_irqs }))
}

pub(super) fn region_info(asked: &RegionInfo) -> Result<Reply, Errno> {
    if asked.index >= region::COUNT || asked.argsz < RegionInfo::LEN as u32 {
        return Err(Errno::INVAL);
    }
    let size = Function::region_length(asked.index);
    let flags = if size > 0 { READ_AND_WRITE } else { 0 };
    let argsz = RegionInfo::LEN as u32;
    let (index, cap_offset, offset) = (asked.index, 0, 0);
    let info = RegionInfo { argsz, flags, index, cap_offset, size, offset };
    Ok(Reply::RegionInfo(info, Vec::new()))
}

impl Core {
    /// Whether the state that the device is in answers accesses to this region.
    fn answers(&self, index: u32) -> Result<(), Errno> {
        let state = self.migration.state();
        let config = index == region::CONFIG;
        let answers = match state.runs() {
            true if self.is(Mutant::PreCopyRefuses) => config || state.flow() != Flow::Saving,
            true => true,
            false if config => {
                let stopped = matches!(state, State::STOP | State::STOP_COPY);
                !(stopped && self.is(Mutant::ConfigRefused))
            }
            false => self.settings.stop_answers == StopAnswers::All,
        };
        if answers { Ok(()) } else { Err(Errno::BUSY) }
    }

    pub(super) fn region_read(&mut self, access: Access) -> Result<Reply, Errno> {
        let length = access.count as usize;
        if length > self.max_data {
            return Err(Errno::INVAL);
        }
        self.answers(access.region)?;
        let thaws = self.is(Mutant::ThawsOnRead) && !self.migration.state().runs();
        if thaws && access.region == region::BAR0 {
            let counters = &mut self.function.nic_mut().state_mut().counters;
            counters.dropped = counters.dropped.saturating_add(1);
        }
        let mut data = self.function.read(access.region, access.offset, length).map_err(errno)?;
        if self.is(Mutant::NarrowReadsZero) && length == 2 {
            data.fill(0);
        }
        if self.is(Mutant::ReplyTooLong) && length == 1 {
            data.push(0);
        }
        Ok(Reply::RegionRead(access, data))
    }

    pub(super) fn region_write(&mut self, access: Access, data: &[u8]) -> Result<(), Errno> {
        if data.len() != access.count as usize || data.len() > self.max_data {
            return Err(Errno::INVAL);
        }
        self.answers(access.region)?;
        let stopped = !self.migration.state().runs() && access.region != region::CONFIG;
        if stopped && self.settings.stopped_write == StoppedWrite::Lost {
            return Ok(());
        }
        self.function.write(access.region, access.offset, data).map_err(errno)
    }

    /// Writes up to the first that fails, and says how many were made.
    pub(super) fn write_multi(&mut self, count: u64, writes: &[Write]) -> Result<Reply, Errno> {
        let agreed = self.agreed.is_some_and(|agreed| agreed.write_multiple);
        if !agreed || count != writes.len() as u64 || writes.iter().any(|write| write.count > 8) {
            return Err(if agreed { Errno::INVAL } else { Errno::NOTSUP });
        }
        let mut done = 0;
        for write in writes {
            let access = Access { offset: write.offset, region: write.region, count: write.count };
            let bytes = write.data.to_ne_bytes();
            let data = bytes.get(..write.count as usize).unwrap_or(&[]);
            if self.region_write(access, data).is_err() {
                break;
            }
            done += 1;
        }
        Ok(Reply::RegionWriteMulti(done))
    }
}

fn errno(error: AccessError) -> Errno {
    match error {
        AccessError::Region(_) | AccessError::Beyond | AccessError::Unaligned => Errno::INVAL,
    }
}
