//! One ring: what the front-end has said of it, and what was fetched from it. The queue itself is
//! rust-vmm's.
//!
//! ```text
//!   available --fetch--> in flight, due at some time --complete--> used
//!                           ^
//!   the record of a back-end before this one: fetched again, in its order
//! ```
//!
//! **Invariants.** No more is in flight than the ring has descriptors. A ring that cannot be found
//! in memory, or whose content is impossible, is *broken*: nothing is processed in it until it is
//! set up or started again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use devmig_model::protocol::vhost_user::wire::VringAddr;
use virtio_bindings::bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress};

use super::device::{Chain, Memory};
use super::inflight::RingRecord;
use super::memory::MemoryTable;

/// The most descriptors that a ring can have.
pub const MAX_SIZE: u16 = 1024;

/// Why a ring cannot be processed.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// A part of it is outside guest memory, or not aligned.
    #[error("a part of the ring is not in guest memory, or not aligned")]
    Unmapped,
    /// What is in it makes no sense.
    #[error("the ring cannot be processed: {0}")]
    Queue(#[from] virtio_queue::Error),
}

/// A request that was fetched and not completed.
#[derive(Debug)]
pub struct InFlight {
    /// Which entry of the available ring it was, free running.
    pub index: u16,
    /// Whether it comes back as if it had been executed, and is not.
    pub discarded: bool,
    /// When it is completed.
    pub due: Instant,
    /// The request.
    pub chain: Chain,
}

/// How the other side is told of something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Bell {
    /// Nobody has said it.
    #[default]
    Unset,
    /// It looks for itself.
    Polled,
    /// By a descriptor.
    Descriptor,
}

/// A place in the used ring, from its beginning, and a length, in bytes.
pub type Span = (u64, u64);

/// One ring.
#[derive(Debug)]
pub struct Ring {
    /// SET_VRING_NUM was received.
    pub sized: bool,
    /// SET_VRING_ADDR.
    pub addresses: Option<VringAddr>,
    /// Requests are fetched once it is enabled.
    pub started: bool,
    /// SET_VRING_ENABLE.
    pub enabled: bool,
    /// How it is kicked.
    pub kick: Bell,
    /// How the guest is notified.
    pub call: Bell,
    /// How the front-end learns that it is broken.
    pub error: Bell,
    /// It was started before.
    pub ran: bool,
    /// How often it was stopped.
    pub stops: u32,
    /// Nothing works until it is set up or started anew.
    pub broken: bool,
    /// Something may be available that was not fetched: it was kicked, or it may be processed now.
    pub look: bool,
    /// Something was used since the guest was notified.
    pub unnotified: bool,
    /// The guest is never notified again: a mutant's.
    pub hushed: bool,
    /// Oldest first.
    pub in_flight: Vec<InFlight>,
    /// What it shares with the next back-end.
    pub record: Option<RingRecord>,
    /// What a back-end before this one has begun.
    again: VecDeque<u16>,
    queue: Queue,
    mapped: bool,
    used_known: bool,
}

impl Ring {
    /// Stopped and disabled.
    ///
    /// # Errors
    /// Never: the size is right.
    pub fn new() -> Result<Self, RingError> {
        Ok(Ring {
            sized: false,
            addresses: None,
            started: false,
            enabled: false,
            kick: Bell::Unset,
            call: Bell::Unset,
            error: Bell::Unset,
            ran: false,
            stops: 0,
            broken: false,
            look: false,
            unnotified: false,
            hushed: false,
            in_flight: Vec::new(),
            record: None,
            again: VecDeque::new(),
            queue: Queue::new(MAX_SIZE)?,
            mapped: false,
            used_known: false,
        })
    }

    /// The index of the next entry of the available ring to fetch.
    #[must_use]
    pub fn base(&self) -> u16 {
        self.queue.next_avail()
    }

    /// Fetches from there next.
    pub fn set_base(&mut self, base: u16) {
        self.queue.set_next_avail(base);
        self.broken = false;
    }

    /// The number of descriptors.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.queue.size()
    }

    /// Sets the number of descriptors; `false` if no ring can have so many.
    #[must_use]
    pub fn set_size(&mut self, size: u32) -> bool {
        let fits = u16::try_from(size).is_ok_and(|size| self.queue.try_set_size(size).is_ok());
        self.sized |= fits;
        self.moved();
        fits
    }

    /// Addresses or memory are others now: they are looked up again at the next use.
    pub fn moved(&mut self) {
        self.mapped = false;
        self.broken = false;
        self.look |= self.started;
    }

    /// Starts it, unless it is started. The used index is read from memory at the next use.
    /// Returns whether it had run before, and was stopped.
    pub fn start(&mut self) -> bool {
        let again = self.ran && !self.started;
        self.broken &= self.started;
        self.used_known &= self.started;
        self.started = true;
        self.look = true;
        self.ran = true;
        again
    }

    /// Enables or disables it. What waits in one that is enabled is looked at without a further kick.
    pub fn enable(&mut self, enabled: bool) {
        self.look |= enabled;
        self.enabled = enabled;
    }

    /// Whether there is no room for another request in flight.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.in_flight.len() >= usize::from(self.size())
    }

    /// Whether it is known where it is.
    #[must_use]
    pub fn configured(&self) -> bool {
        self.sized && self.addresses.is_some()
    }

    /// Whether anything that was fetched, here or by a back-end before, is not completed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.again.is_empty()
    }

    /// Drops what is in flight, and no trace of it is left.
    pub fn drop_in_flight(&mut self) {
        if let Some(record) = &self.record {
            let heads = self.in_flight.iter().map(|request| request.chain.head_index());
            heads.chain(self.again.iter().copied()).for_each(|head| record.mark(head, false));
        }
        self.forget_in_flight();
    }

    /// Drops what is in flight; what is on record stays there.
    pub fn forget_in_flight(&mut self) {
        self.in_flight.clear();
        self.again.clear();
    }

    /// `VIRTIO_RING_F_EVENT_IDX` was accepted, or not.
    pub fn set_event_idx(&mut self, on: bool) {
        self.queue.set_event_idx(on);
    }

    /// Whether it was.
    #[must_use]
    pub fn has_event_idx(&self) -> bool {
        self.queue.event_idx_enabled()
    }

    /// Makes it usable; `used` is what the next used index is instead of that in memory.
    fn prepare(
        &mut self,
        table: &MemoryTable,
        used: Option<u16>,
    ) -> Result<Arc<Memory>, RingError> {
        let (Some(memory), Some(addresses)) = (table.map(), self.addresses) else {
            return Err(RingError::Unmapped);
        };
        let find = |user| table.guest_address(user).ok_or(RingError::Unmapped);
        if !self.mapped {
            self.queue.try_set_desc_table_address(find(addresses.descriptor)?)?;
            self.queue.try_set_avail_ring_address(find(addresses.available)?)?;
            self.queue.try_set_used_ring_address(find(addresses.used)?)?;
            self.queue.set_ready(true);
            if !self.queue.is_valid(memory.as_ref()) {
                return Err(RingError::Unmapped);
            }
            self.mapped = true;
        }
        if !self.used_known {
            let used = match used {
                Some(used) => used,
                None => self.queue.used_idx(memory.as_ref(), Ordering::Acquire)?.0,
            };
            self.queue.set_next_used(used);
            self.used_known = true;
            self.recover(used);
        }
        Ok(Arc::clone(memory))
    }

    /// What is on record was fetched before, so that what is fetched next comes after it.
    fn recover(&mut self, used: u16) {
        let Some(record) = self.record.as_mut().filter(|_| self.in_flight.is_empty()) else {
            return;
        };
        let mut heads = record.recover(used);
        heads.retain(|head| *head < self.queue.size());
        if !heads.is_empty() {
            // No more than the ring has descriptors.
            self.queue.set_next_avail(used.wrapping_add(heads.len() as u16));
        }
        self.again = record.resubmitted(heads).into();
    }

    /// The next request, if one is available, and the index at which it was.
    ///
    /// # Errors
    /// See [`RingError`].
    pub fn fetch(
        &mut self,
        table: &MemoryTable,
        used: Option<u16>,
    ) -> Result<Option<(u16, Chain)>, RingError> {
        if self.is_full() {
            return Ok(None);
        }
        let memory = self.prepare(table, used)?;
        if let Some(head) = self.again.pop_front() {
            let index = self.base().wrapping_sub(self.again.len() as u16).wrapping_sub(1);
            return Ok(self.chain_at(table, head)?.map(|chain| (index, chain)));
        }
        let index = self.base();
        let chain = self.queue.iter(memory)?.next();
        if let (Some(chain), Some(record)) = (&chain, &mut self.record) {
            record.fetched(chain.head_index());
        }
        Ok(chain.map(|chain| (index, chain)))
    }

    /// The request that begins with this descriptor. rust-vmm makes chains of what an available
    /// ring holds, so one is made that holds it, in a page of its own behind guest memory.
    fn chain_at(&self, table: &MemoryTable, head: u16) -> Result<Option<Chain>, RingError> {
        let size = usize::from(self.size());
        let (memory, at) = table.with_page(6 + 2 * size).map_err(|_| RingError::Unmapped)?;
        let mut queue = Queue::new(self.size())?;
        queue.try_set_desc_table_address(GuestAddress(self.queue.desc_table()))?;
        queue.try_set_avail_ring_address(at)?;
        queue.set_ready(true);
        let fill = [0, 1_u16.to_le(), head.to_le()];
        memory.write_obj(fill, at).map_err(|_| RingError::Unmapped)?;
        Ok(queue.iter(Arc::new(memory))?.next())
    }

    /// Puts a request into the used ring.
    ///
    /// # Errors
    /// See [`RingError`].
    pub fn complete(
        &mut self,
        table: &MemoryTable,
        head: u16,
        written: u32,
    ) -> Result<(), RingError> {
        let memory = self.prepare(table, None)?;
        if let Some(record) = &self.record {
            record.completing(head);
        }
        self.queue.add_used(memory.as_ref(), head, written)?;
        if let Some(record) = &self.record {
            record.completed(head, self.queue.next_used());
        }
        Ok(())
    }

    /// What the last completion wrote into the used ring: where, from its beginning, and how much.
    #[must_use]
    pub fn used_writes(&self) -> [Span; 2] {
        let last = self.queue.next_used().wrapping_sub(1) % self.size();
        [(4 + 8 * u64::from(last), 8), (2, 2)]
    }

    /// Whether the guest wants to be notified of what was completed since it was last.
    ///
    /// # Errors
    /// See [`RingError`].
    pub fn wants_call(&mut self, table: &MemoryTable) -> Result<bool, RingError> {
        let memory = self.prepare(table, None)?;
        if self.queue.event_idx_enabled() {
            return Ok(self.queue.needs_notification(memory.as_ref())?);
        }
        let flags = GuestAddress(self.queue.avail_ring());
        let flags: u16 = memory.load(flags, Ordering::Acquire).map_err(|_| RingError::Unmapped)?;
        Ok(u32::from(u16::from_le(flags)) & VRING_AVAIL_F_NO_INTERRUPT == 0)
    }

    /// Asks for a kick with the next request: where that was written, as in
    /// [`Ring::used_writes`], and whether one is there already. `None` if kicks always come.
    ///
    /// # Errors
    /// See [`RingError`].
    pub fn ask_for_kick(&mut self, table: &MemoryTable) -> Result<Option<(Span, bool)>, RingError> {
        let memory = self.prepare(table, None)?;
        if !self.queue.event_idx_enabled() {
            return Ok(None);
        }
        let more = self.queue.enable_notification(memory.as_ref())?;
        Ok(Some(((4 + 8 * u64::from(self.size()), 2), more)))
    }
}
