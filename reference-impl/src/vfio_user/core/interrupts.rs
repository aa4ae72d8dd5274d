//! The interrupt line: INTx, which masks itself each time.

use std::os::fd::OwnedFd;

use devmig_model::protocol::vfio_user::{IrqInfo, IrqSet, Reply};
use rustix::io::Errno;

use super::{Core, Output};
use crate::vfio_user::Mutant;

/// How many types of interrupts a PCI device has: of INTx one, of the others none here.
pub(super) const COUNT: u32 = 5;

const EVENTFD_MASKABLE_AUTOMASKED: u32 = 0b111;

const NONE: u32 = 1;
const BOOL: u32 = 1 << 1;
const EVENTFD: u32 = 1 << 2;
const MASK: u32 = 1 << 3;
const UNMASK: u32 = 1 << 4;
const TRIGGER: u32 = 1 << 5;

/// What the client has made of the line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    /// There is a descriptor.
    armed: bool,
    masked: bool,
}

pub(super) fn irq_info(asked: &IrqInfo) -> Result<Reply, Errno> {
    let zero = asked.flags == 0 && asked.count == 0;
    if asked.index >= COUNT || asked.argsz < IrqInfo::LEN as u32 || !zero {
        return Err(Errno::INVAL);
    }
    let (flags, count) = match asked.index {
        0 => (EVENTFD_MASKABLE_AUTOMASKED, 1),
        _ => (0, 0),
    };
    Ok(Reply::IrqInfo(IrqInfo { argsz: IrqInfo::LEN as u32, flags, index: asked.index, count }))
}

impl Core {
    pub(super) fn set_irqs(
        &mut self,
        set: &IrqSet,
        booleans: &[u8],
        mut fds: Vec<OwnedFd>,
    ) -> Result<Reply, Errno> {
        let IrqSet { flags, index, start, count, .. } = *set;
        let (data, action) = (flags & 0b111, flags & 0b11_1000);
        let one_each = data.count_ones() == 1 && action.count_ones() == 1 && flags < 1 << 6;
        let there = u32::from(index == 0);
        let inside = start.checked_add(count).is_some_and(|end| end <= there);
        let fits = match data {
            EVENTFD => action == TRIGGER && fds.len() <= count as usize && booleans.is_empty(),
            BOOL => fds.is_empty() && booleans.len() == count as usize,
            _ => fds.is_empty() && booleans.is_empty(),
        };
        if index >= COUNT || !one_each || !inside || !fits {
            return Err(Errno::INVAL);
        }
        let meant = data != BOOL || booleans.first().is_some_and(|byte| *byte != 0);
        match (data, action) {
            (NONE, TRIGGER) if count == 0 => self.arm(None),
            _ if count == 0 || !meant => {}
            (EVENTFD, _) => self.arm(fds.pop()),
            (_, MASK) => self.line.masked = true,
            (_, UNMASK) => self.line.masked = false,
            _ if self.line.armed => self.outputs.push_back(Output::Trigger),
            _ => {}
        }
        Ok(Reply::Empty)
    }

    fn arm(&mut self, fd: Option<OwnedFd>) {
        self.line = Line { armed: fd.is_some(), masked: false };
        self.outputs.push_back(Output::SetTrigger(fd));
    }

    /// Interrupts, if there is a reason and nothing against it.
    pub(super) fn interrupt(&mut self) {
        let may = self.migration.state().runs() || self.is(Mutant::InterruptsStopped);
        if may && self.function.interrupts() && self.line.armed && !self.line.masked {
            self.line.masked = true;
            if self.signals() {
                self.outputs.push_back(Output::Trigger);
            }
        }
    }
}
