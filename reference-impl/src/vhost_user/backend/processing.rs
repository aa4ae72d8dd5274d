//! Rings at work: what is fetched, completed and told, and when.
//!
//! ```text
//!   rings of requests   fetch --> in flight --> when due: execute, used ring, notify
//!   receive rings       something waits --> fetch, fill, used ring, notify
//! ```
//!
//! **Invariants.** A stopped ring is not touched, but for what GET_VRING_BASE waits for. Requests are
//! executed before receive rings are filled, so that what comes back at once is seen at once.

use std::time::Instant;

use devmig_model::protocol::vhost_user::vocabulary::DRIVER_OK;

use vm_memory::GuestMemoryBackend as _;

use super::{Backend, Bell, Device, Fault, Mutant, Output, Ring, RingError, Transferring};
use crate::vhost_user::device::{Chain, Role};
use crate::vhost_user::ids::feature;
use crate::vhost_user::ring::InFlight;
use crate::vhost_user::settings::{BeforeDriverOk, BrokenRing, Disabled};

/// How far a ring gets at a time.
enum Progress {
    /// All that there is now.
    Done,
    /// There may be more.
    More,
}

impl<D: Device> Backend<D> {
    /// Whether requests are fetched from this ring now.
    fn fetches(&self, at: usize) -> bool {
        let Some(ring) = self.rings.get(at) else { return false };
        let enabled = ring.enabled
            || self.is(Mutant::ProcessesDisabled)
            || (self.is(Mutant::SuppliesDisabled) && self.device.role(at) == Role::Receive)
            || (self.settings.disabled == Disabled::Process
                && self.device.role(at) == Role::Requests);
        let unasked =
            self.is(Mutant::CompletesWhileSaving) && self.transfer == Transferring::Saving;
        let stuck = self.is(Mutant::IndexSticks) && ring.base() == u16::MAX
            || self.is(Mutant::LoadOutlivesReset) && self.past.reset_after_load
            || self.is(Mutant::ReadyOnce) && self.past.zeros > 1
            || self.is(Mutant::BrokenForever) && self.past.broke_before
            || self.past.stalled
            || self.is(Mutant::BrokenRingStopsAll) && self.past.broke;
        // Room that the guest has made is of use once something waits for it.
        let looks = ring.look || ring.kick == Bell::Polled || self.device.role(at) == Role::Receive;
        ((ring.started && enabled && looks) || unasked)
            && ring.configured()
            && !ring.broken
            && !stuck
    }

    /// Whether kicks are listened for: not before the driver is ready, by one reading.
    #[must_use]
    pub fn wants_kicks(&self) -> bool {
        self.settings.before_driver_ok == BeforeDriverOk::Processes
            || !self.negotiated(feature::STATUS)
            || self.status & DRIVER_OK != 0
    }

    /// Whether requests in flight are completed in this ring now. In a stopped ring there are none
    /// but those which GET_VRING_BASE waits for.
    fn completes(&self, ring: &Ring) -> bool {
        ring.enabled || self.settings.disabled != Disabled::Hold
    }

    /// Whether this ring is looked at again soon, since no kick will come.
    pub(super) fn polls(&self, at: usize) -> bool {
        let polled = |ring: &Ring| ring.kick == Bell::Polled || (ring.look && !ring.is_full());
        let polled = self.rings.get(at).is_some_and(polled);
        let wanted = self.device.role(at) != Role::Receive || self.device.waits(at);
        polled && wanted && self.fetches(at)
    }

    /// The requests that will be completed.
    pub(super) fn completing(&self) -> impl Iterator<Item = &InFlight> {
        self.rings.iter().filter(|ring| self.completes(ring)).flat_map(|ring| &ring.in_flight)
    }

    /// Does what can be done in every ring now.
    pub(super) fn process_all(&mut self, now: Instant) {
        let (room, requests): (Vec<usize>, Vec<usize>) =
            (0..self.rings.len()).partition(|at| self.device.role(*at) == Role::Receive);
        for at in requests.into_iter().chain(room) {
            let done = match self.device.role(at) {
                Role::Receive => self.fill(at),
                Role::Requests | Role::Control => self.process(at, now),
            };
            let notified = done.and_then(|()| self.notify(at));
            if let Err(error) = notified {
                self.give_up(at, error);
            }
            // Nothing follows a close.
            if self.closed {
                return;
            }
        }
    }

    /// Fetches what is available and completes what is due.
    fn process(&mut self, at: usize, now: Instant) -> Result<(), RingError> {
        if self.fetches(at) {
            // Twice: what is made available while it is asked for a kick needs none.
            let mut more = true;
            for _ in 0..2 {
                self.fetch_requests(at, now)?;
                if let Progress::Done = self.ask_for_kick(at)? {
                    more = false;
                    break;
                }
            }
            if let Some(ring) = self.rings.get_mut(at) {
                ring.look = more || ring.is_full();
            }
        }
        let completes = self.rings.get(at).is_some_and(|ring| self.completes(ring));
        let Some(ring) = self.rings.get_mut(at).filter(|_| completes) else { return Ok(()) };
        let mut due: Vec<InFlight> = ring.in_flight.extract_if(.., |r| r.due <= now).collect();
        due.sort_by_key(|request| request.due);
        for request in due {
            let head = request.chain.head_index();
            let chain = request.chain.clone();
            let written = self.device.execute(at, request.chain, request.discarded);
            let written = match self.is(Mutant::UsedTooLong) {
                true => room(&chain).saturating_add(4),
                false => written,
            };
            self.log_data(chain, u64::MAX);
            self.complete(at, head, written)?;
            if self.is(Mutant::CompletesTwice) {
                self.complete(at, head, written)?;
            }
            if self.is(Mutant::UsesUnavailable) {
                let size = self.rings.get(at).map_or(1, Ring::size);
                self.complete(at, (head + size / 2) % size, 0)?;
            }
        }
        Ok(())
    }

    fn fetch_requests(&mut self, at: usize, now: Instant) -> Result<(), RingError> {
        let most = self.rings.get(at).map_or(0, Ring::size);
        for _ in 0..most {
            let Some((index, chain)) = self.fetch(at)? else { break };
            self.past.ruined |= self.is(Mutant::HostileRuins) && !self.is_valid(&chain);
            let enabled = self.rings.get(at).is_some_and(|ring| ring.enabled);
            let discarded = !enabled && !self.is(Mutant::ProcessesDisabled);
            let due = now.checked_add(self.device.latency(at)).unwrap_or(now);
            if let Some(ring) = self.rings.get_mut(at) {
                ring.in_flight.push(InFlight { index, discarded, due, chain });
            }
        }
        Ok(())
    }

    /// Whether every descriptor of a chain is in memory, and the chain ends: for a mutant.
    fn is_valid(&self, chain: &Chain) -> bool {
        let memory = chain.memory();
        let parts: Vec<_> = chain.clone().collect();
        let inside = parts
            .iter()
            .all(|part| part.len() > 0 && memory.check_range(part.addr(), part.len() as usize));
        inside && parts.last().is_some_and(|last| !last.has_next())
    }

    /// Puts what waits into what room there is.
    fn fill(&mut self, at: usize) -> Result<(), RingError> {
        for _ in 0..2 {
            let most = self.rings.get(at).map_or(0, Ring::size);
            for _ in 0..most {
                let once = self.is(Mutant::ReceivesOnce);
                let full = once && self.rings.get(at).is_some_and(|ring| ring.base() > 0);
                if full || !self.device.waits(at) {
                    return Ok(());
                }
                let Some((_, chain)) = self.fetch(at)? else { break };
                let (head, filled) = (chain.head_index(), chain.clone());
                let written = self.device.deliver(at, chain);
                self.log_data(filled, written.into());
                self.complete(at, head, written)?;
            }
            if let Progress::Done = self.ask_for_kick(at)? {
                break;
            }
        }
        Ok(())
    }

    fn fetch(&mut self, at: usize) -> Result<Option<(u16, Chain)>, RingError> {
        let used = self.is(Mutant::UsedFromZero).then_some(0);
        let fetches = self.fetches(at);
        match self.rings.get_mut(at).filter(|_| fetches) {
            Some(ring) => ring.fetch(&self.memory, used),
            None => Ok(None),
        }
    }

    fn complete(&mut self, at: usize, head: u16, written: u32) -> Result<(), RingError> {
        let Some(ring) = self.rings.get_mut(at) else { return Ok(()) };
        ring.complete(&self.memory, head, written)?;
        ring.unnotified = true;
        let writes = ring.used_writes();
        self.log_used(at, &writes);
        Ok(())
    }

    fn ask_for_kick(&mut self, at: usize) -> Result<Progress, RingError> {
        let asks = self.fetches(at)
            && !self.is(Mutant::AsksForNoKick)
            && self.rings.get(at).is_some_and(|r| r.kick != Bell::Polled);
        let Some(ring) = self.rings.get_mut(at).filter(|_| asks) else {
            return Ok(Progress::Done);
        };
        let Some((write, more)) = ring.ask_for_kick(&self.memory)? else {
            return Ok(Progress::Done);
        };
        self.log_used(at, &[write]);
        Ok(if more { Progress::More } else { Progress::Done })
    }

    /// A ring makes no sense: nothing more is done in it, and the front-end is told, or left.
    fn give_up(&mut self, at: usize, error: RingError) {
        if let Some(ring) = self.rings.get_mut(at) {
            ring.broken = true;
            ring.forget_in_flight();
            self.past.broke = true;
            self.past.ruined |= self.is(Mutant::BrokenRingRuins);
            match self.settings.broken_ring {
                BrokenRing::Stays => self.report_error(at),
                BrokenRing::Closes => self.close(Fault::Ring(error)),
            }
        }
    }

    fn notify(&mut self, at: usize) -> Result<(), RingError> {
        let stays = self.is(Mutant::InterruptsStayOff);
        let Some(ring) = self.rings.get_mut(at).filter(|ring| ring.unnotified) else {
            return Ok(());
        };
        ring.unnotified = false;
        let wanted = ring.wants_call(&self.memory)?;
        let indexed = ring.has_event_idx();
        ring.hushed |= stays && !wanted;
        let table = std::mem::take(&mut self.past.table);
        let lost = self.is(Mutant::SilentAfterTable) && table
            || self.is(Mutant::SilentAfterSave) && self.past.saves > 0
            || self.is(Mutant::EventIndexOnce) && indexed && self.past.stops > 0
            || self.is(Mutant::SilentAfterDisable) && self.past.disabled;
        let hushed = self.rings.get(at).is_some_and(|ring| ring.hushed);
        if wanted && !hushed && !lost && !self.is(Mutant::NeverNotifies) {
            self.call(at);
        }
        Ok(())
    }

    /// Notifies the guest.
    fn call(&mut self, at: usize) {
        let bell = self.rings.get(at).map_or(Bell::Unset, |ring| ring.call);
        match bell {
            Bell::Unset if self.inband() => self.call_inband(at),
            _ => self.outputs.push_back(Output::Call(at)),
        }
    }

    fn report_error(&mut self, at: usize) {
        let bell = self.rings.get(at).map_or(Bell::Unset, |ring| ring.error);
        match bell {
            _ if self.is(Mutant::ErrorUnreported) => {}
            Bell::Unset if self.inband() => self.error_inband(at),
            _ => self.outputs.push_back(Output::Error(at)),
        }
    }
}

/// The room in a chain's buffers, in bytes.
fn room(chain: &Chain) -> u32 {
    chain.clone().writable().map(|part| part.len()).fold(0, u32::saturating_add)
}
