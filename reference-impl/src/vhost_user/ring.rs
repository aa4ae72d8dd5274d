//! One ring: what the front-end has said of it, and what was fetched from it. The queue itself is
//! rust-vmm's.
//!
//! ```text
//!   available --fetch--> in flight, due at some time --complete--> used
//! ```
//!
//! **Invariants.** No more is in flight than the ring has descriptors. A ring that cannot be found
//! in memory, or whose content is impossible, is *broken*: nothing is processed in it until it is
//! set up or started again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use devmig_model::vhost_user::wire::VringAddr;
use virtio_queue::{Queue, QueueOwnedT, QueueT};

use super::device::{Chain, Memory};
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
    /// When it is completed.
    pub due: Instant,
    /// The request.
    pub chain: Chain,
}

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
    /// There is a kick descriptor.
    pub kick: bool,
    /// It was started before.
    pub ran: bool,
    /// Nothing works until it is set up or started anew.
    pub broken: bool,
    /// Something was used since the guest was notified.
    pub unnotified: bool,
    /// Oldest first.
    pub in_flight: Vec<InFlight>,
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
            kick: false,
            ran: false,
            broken: false,
            unnotified: false,
            in_flight: Vec::new(),
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
    }

    /// Starts it, unless it is started. The used index is read from memory at the next use.
    /// Returns whether it had run before, and was stopped.
    pub fn start(&mut self) -> bool {
        let again = self.ran && !self.started;
        self.broken &= self.started;
        self.used_known &= self.started;
        self.started = true;
        self.ran = true;
        again
    }

    /// Whether it is known where it is.
    #[must_use]
    pub fn configured(&self) -> bool {
        self.sized && self.addresses.is_some()
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
        }
        Ok(Arc::clone(memory))
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
        if self.in_flight.len() >= usize::from(self.size()) {
            return Ok(None);
        }
        let memory = self.prepare(table, used)?;
        let index = self.base();
        Ok(self.queue.iter(memory)?.next().map(|chain| (index, chain)))
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
        Ok(self.queue.add_used(memory.as_ref(), head, written)?)
    }
}
