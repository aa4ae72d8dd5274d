//! What the front-end says of rings: size, base, addresses, descriptors, enabling, stopping.

use std::os::fd::OwnedFd;
use std::time::Instant;

use devmig_model::protocol::vhost_user::wire::{Payload, VringAddr, VringFd, VringState};

use virtio_bindings::bindings::virtio_ring::VRING_USED_F_NO_NOTIFY;
use vm_memory::Bytes as _;

use super::answers::Answer;
use super::{
    Backend, Bell, Device, Duration, Fault, Message, Mutant, Output, RingError, feature, only,
};
use crate::vhost_user::ring::MAX_SIZE;
use crate::vhost_user::settings::{
    CallSignals, InFlight as InFlightSetting, KickAfterStop, KickPending, PolledStart, RingStart,
};

/// How long after a stop or a reset mutants do what they must not.
pub(super) const LATE: Duration = Duration::from_millis(20);

impl<D: Device> Backend<D> {
    pub(super) fn set_vring_num(&mut self, size: VringState) -> Result<Option<Answer>, Fault> {
        let wanted = if self.is(Mutant::RingSizeIgnored) { MAX_SIZE.into() } else { size.num };
        let first = self.is(Mutant::SizeOfFirst);
        let ring = self.ring(size.index)?;
        let wanted = if first && ring.sized { ring.size().into() } else { wanted };
        match ring.set_size(wanted) {
            true => Ok(None),
            false => Err(Fault::Value(Message::SET_VRING_NUM, size.num.into())),
        }
    }

    pub(super) fn set_vring_base(&mut self, base: VringState) -> Result<Option<Answer>, Fault> {
        let ignored = self.is(Mutant::IgnoresSetBase)
            || (self.is(Mutant::BaseOfFirstReset) && self.past.resets > 1);
        let ring = self.ring(base.index)?;
        let value = u16::try_from(base.num)
            .map_err(|_| Fault::Value(Message::SET_VRING_BASE, base.num.into()))?;
        if !ignored {
            ring.set_base(value);
        }
        Ok(None)
    }

    pub(super) fn set_vring_addr(&mut self, addresses: VringAddr) -> Result<Option<Answer>, Fault> {
        for user in [addresses.descriptor, addresses.available, addresses.used] {
            self.memory.guest_address(user).ok_or(RingError::Unmapped)?;
        }
        let keeps = self.is(Mutant::KeepsOldAddresses);
        let ring = self.ring(addresses.index)?;
        if !keeps || ring.addresses.is_none() {
            ring.addresses = Some(addresses);
        }
        ring.moved();
        Ok(None)
    }

    pub(super) fn set_vring_call(
        &mut self,
        fd: VringFd,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Option<Answer>, Fault> {
        if self.is(Mutant::ClosesOnCall) {
            return Err(Fault::Mutant(Mutant::ClosesOnCall));
        }
        let ring = self.ring_index(fd.index().into())?;
        let descriptor = one(Message::SET_VRING_CALL, fd, descriptors)?;
        if descriptor.is_none() && self.is(Mutant::CallsAnyway) {
            return Ok(None);
        }
        let (kept, first) = (self.is(Mutant::CallKept), self.is(Mutant::CallOfFirst));
        let further = self.past.further;
        let had = self.ring(fd.index().into())?;
        let kept = kept && had.started && had.call == Bell::Descriptor && descriptor.is_some();
        if kept || (first && further) {
            return Ok(None);
        }
        self.ring(fd.index().into())?.call = bell(&descriptor);
        let signals = descriptor.is_some() && self.settings.call_signals == CallSignals::Signals;
        let besides = self.is(Mutant::CallsReplaced);
        self.outputs.push_back(Output::SetCall { ring, descriptor, besides });
        if signals {
            self.outputs.push_back(Output::Call(ring));
        }
        Ok(None)
    }

    pub(super) fn set_vring_err(
        &mut self,
        fd: VringFd,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Option<Answer>, Fault> {
        let ring = self.ring_index(fd.index().into())?;
        let descriptor = one(Message::SET_VRING_ERR, fd, descriptors)?;
        if self.is(Mutant::ErrorNotAfterReset) && self.past.resets > 0 {
            return Ok(None);
        }
        self.ring(fd.index().into())?.error = bell(&descriptor);
        self.outputs.push_back(Output::SetError { ring, descriptor });
        Ok(None)
    }

    /// Without a descriptor no kick will ever come: the ring is polled, which starts it.
    pub(super) fn set_vring_kick(
        &mut self,
        fd: VringFd,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Option<Answer>, Fault> {
        let ring = self.ring_index(fd.index().into())?;
        let descriptor = one(Message::SET_VRING_KICK, fd, descriptors)?;
        if self.is(Mutant::KickKept)
            && descriptor.is_some()
            && self.ring(fd.index().into())?.kick == Bell::Descriptor
        {
            return Ok(None);
        }
        let polled = descriptor.is_none() && !self.is(Mutant::NeverPolls);
        self.ring(fd.index().into())?.kick = match polled || descriptor.is_some() {
            true => bell(&descriptor),
            false => Bell::Unset,
        };
        let polls = polled && self.settings.polled_start == PolledStart::AtOnce;
        if polls || self.settings.ring_start == RingStart::Descriptor {
            self.start(ring);
        }
        let pending_counts = self.settings.kick_pending == KickPending::Starts;
        self.outputs.push_back(Output::Kick { ring, descriptor, pending_counts });
        Ok(None)
    }

    /// A kick in a message.
    pub(super) fn vring_kick(&mut self, kick: VringState) -> Result<Option<Answer>, Fault> {
        let ring = self.ring_index(kick.index)?;
        if kick.num != 0 {
            return Err(Fault::Value(Message::VRING_KICK, kick.num.into()));
        }
        if !self.is(Mutant::InbandKickIgnored) {
            self.start(ring);
        }
        Ok(None)
    }

    pub(super) fn set_vring_enable(&mut self, enable: VringState) -> Result<Option<Answer>, Fault> {
        let ignored = match enable.num {
            0 => self.is(Mutant::IgnoresDisable),
            _ => self.is(Mutant::IgnoresEnable),
        };
        let untracked = self.is(Mutant::EnableNotTracked);
        let disables_all = enable.num == 0 && self.is(Mutant::DisablesAll);
        let ring = self.ring(enable.index)?;
        let disabled = ring.started && ring.enabled && enable.num == 0;
        if !ignored && (ring.started || !untracked) {
            ring.enable(enable.num != 0);
        }
        self.past.disabled |= disabled;
        if disables_all {
            self.enable_all(false);
        }
        Ok(None)
    }

    pub(super) fn enable_all(&mut self, enabled: bool) {
        self.rings.iter_mut().for_each(|ring| ring.enable(enabled));
    }

    /// A ring starts, or goes on.
    pub(super) fn start(&mut self, at: usize) {
        let forgets = self.is(Mutant::ForgetsBase);
        if let Some(ring) = self.rings.get_mut(at) {
            let again = ring.start();
            if again && forgets {
                ring.set_base(0);
            }
            if again && self.is(Mutant::RestartEndsLog) {
                self.log = None;
            }
            if again && self.is(Mutant::NoNotifySticks) {
                self.needs_no_kick(at);
            }
        }
    }

    /// Writes into the used ring that no kick is needed.
    pub(super) fn needs_no_kick(&self, at: usize) {
        let used = self.rings.get(at).and_then(|ring| ring.addresses).map(|ring| ring.used);
        let used = used.and_then(|used| self.memory.guest_address(used));
        if let (Some(memory), Some(used)) = (self.memory.map(), used) {
            // Without memory there is nobody to tell.
            let _ = memory.write_obj((VRING_USED_F_NO_NOTIFY as u16).to_le(), used);
        }
    }

    /// The ring stops now, and is answered once nothing of it is in flight.
    pub(super) fn get_vring_base(
        &mut self,
        VringState { index, .. }: VringState,
        now: Instant,
    ) -> Result<Option<Answer>, Fault> {
        let at = self.ring_index(index)?;
        if self.is(Mutant::KeepsProcessing) {
            return Ok(Some(Answer::Base(index, at)));
        }
        let (settings, records) =
            (self.settings, self.negotiated(feature::GET_VRING_BASE_INFLIGHT));
        let stops_all = self.is(Mutant::StopsAll);
        let loses = self.is(Mutant::StopLosesOne);
        self.past.stops += 1;
        let ring = self.ring(index)?;
        ring.stops += u32::from(ring.started);
        let again = ring.stops > 1;
        ring.started = false;
        if loses && ring.in_flight.len() > 1 {
            ring.in_flight.pop();
        }
        match settings.in_flight {
            // On record, for whoever starts the ring next.
            _ if records && ring.record.is_some() => ring.forget_in_flight(),
            InFlightSetting::Drain => {}
            InFlightSetting::Abandon => ring.drop_in_flight(),
            InFlightSetting::Rewind => {
                if let Some(oldest) = ring.in_flight.first() {
                    ring.set_base(oldest.index);
                }
                ring.drop_in_flight();
            }
        }
        if stops_all {
            self.rings.iter_mut().for_each(|ring| ring.started = false);
        }
        if settings.kick_after_stop == KickAfterStop::Forgets {
            self.forget_kick(at);
        }
        if self.is(Mutant::NotifiesAfterStop) {
            self.late_calls.push_back((now + LATE, at));
        }
        if self.is(Mutant::WritesAfterSecondStop) && again {
            self.late_used = Some((now + LATE, at));
        }
        if self.is(Mutant::WritesWhileSuspended) && self.rings.iter().all(|ring| !ring.started) {
            self.late_write = Some(now + LATE);
        }
        Ok(Some(Answer::Base(index, at)))
    }

    /// No kick on the descriptor that the ring has counts any more.
    pub(super) fn forget_kick(&mut self, at: usize) {
        if self.is(Mutant::KickKept) {
            return;
        }
        if let Some(ring) = self.rings.get_mut(at) {
            ring.kick = Bell::Unset;
        }
        self.outputs.push_back(Output::Kick { ring: at, descriptor: None, pending_counts: false });
    }

    /// GET_VRING_BASE's answer.
    pub(super) fn base(&self, index: u32, at: usize) -> Payload {
        let (base, size) = self.rings.get(at).map_or((0, 1), |ring| (ring.base(), ring.size()));
        let num = match () {
            () if self.is(Mutant::BaseZero) => 0,
            () if self.is(Mutant::BaseLow) => base.wrapping_sub(1),
            () if self.is(Mutant::BaseHigh) => base.wrapping_add(1),
            () if self.is(Mutant::BaseModuloSize) => base % size,
            () => base,
        };
        Payload::VringState(VringState { index, num: num.into() })
    }
}

fn bell(descriptor: &Option<OwnedFd>) -> Bell {
    match descriptor {
        Some(_) => Bell::Descriptor,
        None => Bell::Polled,
    }
}

/// The descriptor of SET_VRING_KICK and its like, or none if bit 8 says so.
fn one(message: Message, fd: VringFd, descriptors: Vec<OwnedFd>) -> Result<Option<OwnedFd>, Fault> {
    match fd.no_descriptor() {
        true => Ok(None),
        false => only(message, descriptors).map(Some),
    }
}
