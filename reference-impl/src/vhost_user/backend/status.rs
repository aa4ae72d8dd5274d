//! Status, and the three resets.

use std::time::Instant;

use super::answers::{Answer, number};
use super::rings::LATE;
use super::{Backend, Device, Fault, Message, Mutant, Output};
use crate::vhost_user::memory::MemoryTable;
use crate::vhost_user::settings::{ResetOwner, ResetRings, SetOwnerAgain, StatusZero};

impl<D: Device> Backend<D> {
    pub(super) fn set_status(
        &mut self,
        status: u64,
        now: Instant,
    ) -> Result<Option<Answer>, Fault> {
        if status > 0xff {
            return Err(Fault::Value(Message::SET_STATUS, status));
        }
        if status == 0 && self.settings.status_zero == StatusZero::Resets {
            self.past.zeros += 1;
            self.reset_device();
            let one = self.is(Mutant::StatusZeroOneRing);
            let reset = if one { 1 } else { self.rings.len() };
            self.reset_first(reset, true);
            (0..reset).for_each(|ring| self.forget_kick(ring));
            if self.is(Mutant::StatusZeroNotifies) {
                self.late_calls.push_back((now + LATE, 0));
            }
        }
        if !self.is(Mutant::StatusIgnored) {
            self.status = status;
        }
        Ok(None)
    }

    pub(super) fn get_status(&self) -> Result<Option<Answer>, Fault> {
        number(self.status ^ u64::from(self.is(Mutant::StatusWrong)))
    }

    /// RESET_DEVICE.
    pub(super) fn reset_on_demand(&mut self) -> Result<Option<Answer>, Fault> {
        if self.is(Mutant::ResetClosesSession) {
            return Err(Fault::Mutant(Mutant::ResetClosesSession));
        }
        self.past.resets += 1;
        if self.is(Mutant::ResetOnce) && self.past.resets > 1 {
            return Ok(None);
        }
        self.past.reset_after_load |= self.past.loads > 0;
        if self.is(Mutant::ErrorNotAfterReset) {
            (0..self.rings.len()).for_each(|ring| {
                self.outputs.push_back(Output::SetError { ring, descriptor: None });
            });
        }
        if !self.is(Mutant::ResetKeepsState) {
            self.reset_device();
        }
        if !self.is(Mutant::ResetDisablesNothing) {
            self.reset_rings(self.settings.reset_rings == ResetRings::Stops);
        }
        Ok(None)
    }

    /// SET_OWNER, the start of a session.
    pub(super) fn set_owner(&mut self) -> Result<Option<Answer>, Fault> {
        let again = std::mem::replace(&mut self.owned, true);
        match again && self.settings.set_owner_again == SetOwnerAgain::Closes {
            true => Err(Fault::Owned),
            false => Ok(None),
        }
    }

    /// RESET_OWNER, which nobody should send.
    pub(super) fn reset_owner(&mut self) -> Result<Option<Answer>, Fault> {
        if self.is(Mutant::ResetOwnerResets) {
            self.reset_device();
            self.reset_rings(true);
        }
        match self.settings.reset_owner {
            ResetOwner::Ignores => {}
            ResetOwner::Disables => self.enable_all(false),
            ResetOwner::Discards => {
                self.owned = false;
                self.reset_rings(true);
                (0..self.rings.len()).for_each(|ring| self.forget_kick(ring));
                self.memory = MemoryTable::default();
                (self.log, self.features, self.features_set, self.protocol) = (None, 0, false, 0);
            }
        }
        Ok(None)
    }

    fn reset_device(&mut self) {
        self.device.reset();
        self.status = 0;
    }

    fn reset_rings(&mut self, stop: bool) {
        self.reset_first(self.rings.len(), stop);
    }

    /// What resets do to rings: they are disabled, and what was fetched is dropped.
    fn reset_first(&mut self, count: usize, stop: bool) {
        let count = if self.is(Mutant::ResetsOneRing) { 1 } else { count };
        for ring in self.rings.iter_mut().take(count) {
            ring.started &= !stop;
            ring.enabled = false;
            ring.drop_in_flight();
        }
    }
}
