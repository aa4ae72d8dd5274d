//! Device state: SET_DEVICE_STATE_FD and CHECK_DEVICE_STATE.

use std::os::fd::OwnedFd;
use std::time::Instant;

use devmig_model::protocol::vhost_user::wire::{Payload, Transfer};

use super::{Answer, Backend, Bell, Device, Mutant, Output, StateError};
use crate::vhost_user::settings::TransferBirth;

/// Where a transfer of the device's state stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Transferring {
    None,
    Saving,
    Loading,
    Done { well: bool },
}

impl<D: Device> Backend<D> {
    /// The state was written, or could not be.
    pub fn handle_saved(&mut self, well: bool, now: Instant) {
        if self.transfer == Transferring::Saving {
            let well = well && !(self.is(Mutant::SavesNotAfterLoad) && self.past.loads > 0);
            self.past.saves += 1;
            self.transfer = Transferring::Done { well };
            if self.is(Mutant::RunsAfterSave) {
                for ring in self.rings.iter_mut().filter(|ring| ring.ran) {
                    (ring.started, ring.kick) = (true, Bell::Polled);
                }
            }
        }
        self.advance(now);
    }

    /// The state was read to its end; `None` if it could not be.
    ///
    /// # Errors
    /// Why it was not taken over; the front-end learns of it by CHECK_DEVICE_STATE.
    pub fn handle_loaded(&mut self, state: Option<&[u8]>, now: Instant) -> Result<(), StateError> {
        if self.transfer != Transferring::Loading {
            return Ok(());
        }
        let loaded = match state {
            Some(_) if self.is(Mutant::LoadsNothing) => Ok(()),
            Some(_) if self.is(Mutant::LoadsOnce) && self.past.loads > 0 => {
                Err(StateError::Damaged)
            }
            Some(state) => {
                let state = self.first_of(Mutant::LoadsFirst, 1, state.to_vec());
                self.device.load(&state)
            }
            None => Err(StateError::Damaged),
        };
        self.past.loads += u32::from(loaded.is_ok());
        self.past.refused |= loaded.is_err();
        self.transfer =
            Transferring::Done { well: loaded.is_ok() || self.is(Mutant::LoadsAnything) };
        self.advance(now);
        loaded
    }

    /// SET_DEVICE_STATE_FD: bits 0 to 7 of the answer are an error, bit 8 says that it brings no
    /// descriptor. The front-end's own channel is always used.
    pub(super) fn set_device_state_fd(
        &mut self,
        transfer: Transfer,
        descriptors: Vec<OwnedFd>,
    ) -> Answer {
        const NO_DESCRIPTOR: u64 = 1 << 8;
        let busy = matches!(self.transfer, Transferring::Saving | Transferring::Loading);
        let newborn = !self.rings.iter().any(|ring| ring.ran);
        let suspended = self.suspended()
            && (!newborn || self.settings.transfer_birth == TransferBirth::Suspended);
        let known = (transfer.phase == Transfer::STOPPED || self.is(Mutant::AnyPhase))
            && (matches!(transfer.direction, Transfer::SAVE | Transfer::LOAD)
                || self.is(Mutant::AnyDirection));
        let channel = <[OwnedFd; 1]>::try_from(descriptors).ok().map(|[channel]| channel);
        self.past.ruined |= self.is(Mutant::TransferRuins) && (busy || !suspended);
        let value = match channel {
            Some(channel) if self.is(Mutant::TransferErrorWithDescriptor) => {
                return Answer::Is(Payload::U64(1).encode(), vec![channel]);
            }
            Some(channel) if known && suspended && !busy => {
                self.begin(transfer, channel);
                match self.is(Mutant::TransferBitClear) {
                    true => 0,
                    false => NO_DESCRIPTOR,
                }
            }
            _ => NO_DESCRIPTOR | 1,
        };
        Payload::U64(value).into()
    }

    /// The state, or the first of its kind where a mutant keeps to that.
    fn first_of(&mut self, mutant: Mutant, kind: usize, state: Vec<u8>) -> Vec<u8> {
        match self.first.get_mut(kind).filter(|_| self.mutants.has(mutant)) {
            Some(first) => first.get_or_insert(state).clone(),
            None => state,
        }
    }

    fn begin(&mut self, transfer: Transfer, channel: OwnedFd) {
        self.past.checked = false;
        if transfer.direction == Transfer::SAVE {
            self.transfer = Transferring::Saving;
            let close = !self.is(Mutant::TransferNeverCloses);
            let state = self.device.save();
            let state = self.first_of(Mutant::SavesFirst, 0, state);
            if self.is(Mutant::SaveResets) {
                self.device.reset();
            }
            self.outputs.push_back(Output::Save { channel, state, close });
        } else {
            self.transfer = Transferring::Loading;
            let whole = !self.is(Mutant::LoadStopsReading);
            self.outputs.push_back(Output::Load { channel, whole });
        }
    }
}
