//! What a driver looks at before it uses a device: what the device says that it has.
//!
//! **Invariant.** No region is accessed, no interrupt taken and no RESET sent before the device has said
//! that it has them. What it does not have is a reason to skip, never a finding.

use std::collections::BTreeMap;

use devmig_reference::pci::region::{BAR0, CONFIG};

use super::Session;
use crate::harness::verdict::TestEnd;
use crate::vfio::device::{Device, DeviceInfo, IrqInfo, RegionInfo, Said};

/// What a device was found to have; asked for once.
#[derive(Clone, Debug, Default)]
pub(super) struct Looked {
    device: Option<DeviceInfo>,
    regions: BTreeMap<u32, RegionInfo>,
    interrupts: Option<IrqInfo>,
}

/// What is done to a region.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    Read,
    Write,
}

/// Whether an access lies in a region that allows it; if not, why.
fn fits(info: RegionInfo, access: Access, offset: u64, length: u64) -> Result<(), String> {
    let (is_allowed, verb) = match access {
        Access::Read => (info.is_readable, "readable"),
        Access::Write => (info.is_writable, "writable"),
    };
    match () {
        () if info.size == 0 => Err("the device does not have it".into()),
        () if !is_allowed => Err(format!("it is not {verb}")),
        () if offset.checked_add(length).is_none_or(|end| end > info.size) => {
            Err(format!("it has {} bytes", info.size))
        }
        () => Ok(()),
    }
}

impl Session<'_> {
    /// A question about what the device has; a device that refuses it does not have it.
    fn look_for<T: Default>(
        &mut self,
        ask: impl FnOnce(&mut dyn Device) -> Said<T>,
    ) -> Result<T, TestEnd> {
        match ask(self.device) {
            Ok(said) => Ok(said.unwrap_or_default()),
            Err(trouble) => self.trouble(trouble),
        }
    }

    /// Looks at everything that a test may use, as a driver does when it opens the device: a device
    /// that is stopped need not answer.
    pub(super) fn look_first(&mut self) -> Result<(), TestEnd> {
        if self.device_info()?.is_pci {
            self.region_info(CONFIG)?;
            self.region_info(BAR0)?;
            if !self.device.transport().kernel {
                self.irq_info()?;
            }
        }
        Ok(())
    }

    /// A device that refuses the question is taken for the usual one: what it is not is then seen by
    /// its regions and interrupts.
    fn device_info(&mut self) -> Result<DeviceInfo, TestEnd> {
        if let Some(info) = self.looked_at.device {
            return Ok(info);
        }
        let info = match self.device.info() {
            Ok(said) => said.unwrap_or(DeviceInfo { resets: true, is_pci: true }),
            Err(trouble) => return self.trouble(trouble),
        };
        self.looked_at.device = Some(info);
        Ok(info)
    }

    /// What the device says of a region.
    pub(super) fn region_info(&mut self, region: u32) -> Result<RegionInfo, TestEnd> {
        if let Some(info) = self.looked_at.regions.get(&region) {
            return Ok(*info);
        }
        let info = match self.device_info()?.is_pci {
            true => self.look_for(|device| device.region_info(region))?,
            false => RegionInfo::default(),
        };
        self.looked_at.regions.insert(region, info);
        Ok(info)
    }

    /// An access is skipped where REGION_INFO does not allow it.
    pub(super) fn may_access(
        &mut self,
        region: u32,
        access: Access,
        offset: u64,
        length: u64,
    ) -> Result<(), TestEnd> {
        let info = self.region_info(region)?;
        fits(info, access, offset, length).map_err(|why| {
            let verb = if access == Access::Read { "read" } else { "written" };
            let end = offset.saturating_add(length);
            TestEnd::Skip(format!(
                "needs bytes {offset:#x} to {end:#x} of region {region} to be {verb} \
                 (REGION_INFO: {why})"
            ))
        })
    }

    /// RESET is sent only to a device that supports it; for a kernel's see [`reset_if_possible`].
    pub(super) fn may_reset(&mut self) -> Result<(), TestEnd> {
        match self.device.transport().kernel || self.device_info()?.resets {
            true => Ok(()),
            false => Err(TestEnd::Skip("needs a device that supports RESET (GET_INFO)".into())),
        }
    }

    fn irq_info(&mut self) -> Result<IrqInfo, TestEnd> {
        let info = match (self.looked_at.interrupts, self.device_info()?.is_pci) {
            (Some(info), _) => info,
            (None, true) => self.look_for(|device| device.irq_info())?,
            (None, false) => IrqInfo::default(),
        };
        self.looked_at.interrupts = Some(info);
        Ok(info)
    }

    /// INTx is used only where the device has it.
    pub(super) fn may_interrupt(&mut self, unmasks: bool) -> Result<(), TestEnd> {
        let info = self.irq_info()?;
        match info.count > 0 && info.is_signalled && (info.is_maskable || !unmasks) {
            true => Ok(()),
            false => Err(TestEnd::Skip(format!(
                "needs a device with INTx{} (IRQ_INFO)",
                if unmasks { " that can be masked" } else { "" }
            ))),
        }
    }

    /// The log is asked only for memory that the device has.
    pub(super) fn may_report(&self) -> Result<(), TestEnd> {
        match self.guest.is_given() || self.device.transport().kernel {
            true => Ok(()),
            false => Err(TestEnd::Skip("needs memory that was mapped".into())),
        }
    }
}

/// Has a device that another client left in RUNNING, without RESET where there is none. A kernel's driver
/// is asked in any case: it refuses what it does not have, and one may have RESET and not say so.
pub(super) fn reset_if_possible(device: &mut dyn Device) -> Said<()> {
    let is_kernel = device.transport().kernel;
    match device.info()? {
        Ok(info) if !info.resets && !is_kernel => Ok(Ok(())),
        _ => device.reset(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_is_made_only_where_the_region_allows_all_of_it() {
        let info = RegionInfo { size: 16, is_readable: true, is_writable: false };
        assert_eq!(fits(info, Access::Read, 0, 16), Ok(()));
        assert_eq!(fits(info, Access::Read, 12, 4), Ok(()));
        assert!(fits(info, Access::Read, 13, 4).is_err_and(|why| why.contains("16 bytes")));
        assert!(fits(info, Access::Read, u64::MAX, 4).is_err());
        assert!(fits(info, Access::Write, 0, 1).is_err_and(|why| why.contains("writable")));
        let none = RegionInfo::default();
        assert!(fits(none, Access::Read, 0, 0).is_err_and(|why| why.contains("not have")));
    }
}
