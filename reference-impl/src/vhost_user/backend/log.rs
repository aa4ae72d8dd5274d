//! The dirty log: SET_LOG_BASE, and which writes are marked.
//!
//! ```text
//!   LOG_ALL accepted, and a log     what requests write
//!   and the ring's own flag         the used ring, at the address given for it
//! ```

use std::os::fd::OwnedFd;
use std::time::Duration;

use devmig_model::protocol::vhost_user::wire::{Log, Payload};

use super::answers::{Answer, number};
use super::{Backend, Device, DirtyLog, Fault, Message, Mutant, only};
use crate::vhost_user::device::Chain;
use crate::vhost_user::ids::LOG_ALL_BIT;
use crate::vhost_user::settings::{LogBase, LogTaken};

/// The flag of SET_VRING_ADDR: writes to the used ring are logged.
const LOGS_USED: u32 = 1;

/// How far apart the steps of [`Mutant::MarksInTwoSteps`] are.
const APART: Duration = Duration::from_millis(5);

impl<D: Device> Backend<D> {
    pub(super) fn set_log_base(
        &mut self,
        place: Log,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Option<Answer>, Fault> {
        let from = if self.is(Mutant::LogOffsetIgnored) { 0 } else { place.offset };
        let log = DirtyLog::map(
            Log { offset: from, ..place },
            only(Message::SET_LOG_BASE, descriptors)?,
        )?;
        let log = log.slow(self.is(Mutant::MarksInTwoSteps).then_some(APART));
        let log = match self.memory.end() {
            0 => log,
            end => log.until(self.is(Mutant::LogLacksLater).then_some(end)),
        };
        let stopped = self.rings.iter().any(|ring| ring.ran) && !self.runs();
        let ignored = self.log.is_some()
            && (self.is(Mutant::KeepsOldLog)
                || (self.is(Mutant::LogsOnce) && self.past.logged)
                || (self.is(Mutant::LogsStoppedOnce) && stopped))
            || (self.is(Mutant::LogsNotAfterReset) && self.past.resets > 0);
        if !ignored {
            self.log = Some(log);
        }
        match (self.settings.log_base, self.settings.log_taken) {
            (LogBase::Silent, _) => Ok(None),
            (_, LogTaken::Number) => number(0),
            (_, LogTaken::Request) => Ok(Some(Payload::Log(place).into())),
            (_, LogTaken::Nothing) => Ok(Some(Payload::None.into())),
        }
    }

    /// The front-end may be told by it that the log was written; it is not, and looks for itself.
    pub(super) fn set_log_fd(
        &mut self,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Option<Answer>, Fault> {
        only(Message::SET_LOG_FD, descriptors).map(|_| None)
    }

    fn logs(&self) -> Option<&DirtyLog> {
        let accepted = self.features >> LOG_ALL_BIT & 1 == 1;
        self.log.as_ref().filter(|_| accepted && !self.is(Mutant::LogsNothing))
    }

    /// Marks what a request may have written: all of its room, or only the beginning of it.
    pub(super) fn log_data(&self, chain: Chain, most: u64) {
        let Some(log) = self.logs() else { return };
        let mut left = most;
        let only_first = self.is(Mutant::LogsFirstPage);
        for descriptor in chain.writable() {
            let length = u64::from(descriptor.len()).min(left);
            left -= length;
            let at = descriptor.addr().0;
            match only_first {
                false => log.mark(at, length),
                true => log.mark(at, length.min(1)),
            }
        }
    }

    /// Marks writes to a used ring: offsets from its beginning, and lengths.
    pub(super) fn log_used(&self, at: usize, writes: &[(u64, u64)]) {
        let addresses = self.rings.get(at).and_then(|ring| ring.addresses);
        let (Some(log), Some(addresses)) = (self.logs(), addresses) else { return };
        let once = self.is(Mutant::UsedRingOnce) && self.past.logged;
        if addresses.flags & LOGS_USED == 0 || self.is(Mutant::LogsNoUsedRing) || once {
            return;
        }
        let base = match self.is(Mutant::LogsUsedElsewhere) {
            false => addresses.log,
            true => self.memory.guest_address(addresses.used).map_or(0, |at| at.0),
        };
        for (offset, length) in writes {
            log.mark(base.saturating_add(*offset), *length);
        }
    }
}
