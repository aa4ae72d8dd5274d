//! The driver's side of a split virtqueue in guest memory.
//!
//! ```text
//!   publish -> descriptors, available ring, available idx    (then kick)
//!   take_used <- used idx, used element                      (call may tell)
//!   start_at     both indices at a base, everything forgotten
//! ```
//!
//! Indices are 16 bits wide and wrap; a ring's size is a power of two, so they wrap with it.
//!
//! **Invariants.** Memory is written before the index that publishes it, and an index is read
//! before what it publishes. What the back-end writes is believed only as far as it is possible:
//! an index that moves by more than is outstanding, or an element that names no outstanding chain,
//! is a value of [`RingError`]. Neither `NEXT` nor any other field is read back from memory.
//!
//! **Not here:** the device's side, in any form; indirect tables, packed rings. Kept
//! libraries model the device's side; virtio-queue's mock driver borrows its memory, panics on an
//! address outside, and does not wrap, so of that crate only the descriptor's layout is used.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::collections::BTreeMap;
use std::sync::atomic::{Ordering, fence};

use rustix::io::Errno;
use virtio_bindings::bindings::virtio_ring::{
    VRING_AVAIL_ALIGN_SIZE, VRING_AVAIL_F_NO_INTERRUPT, VRING_DESC_ALIGN_SIZE, VRING_DESC_F_NEXT,
    VRING_DESC_F_WRITE, VRING_USED_ALIGN_SIZE, VRING_USED_F_NO_NOTIFY,
};
use virtio_queue::desc::split::Descriptor;

use super::memory::{Arena, GuestMemory, MemoryError};
use devmig_reference::socket::event::Event;

/// The most descriptors of a ring.
pub const MAX_SIZE: u16 = 256;

/// Flags and index, in front of the elements of both rings.
const RING_HEADER: u64 = 4;
const DESCRIPTOR: u64 = size_of::<Descriptor>() as u64;
const USED_ELEMENT: u64 = 8;

/// A piece of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Buffer {
    /// Guest address.
    pub addr: u64,
    /// Length in bytes.
    pub len: u32,
    /// Whether the device writes it (and does not read it).
    pub writable: bool,
}

/// A chain that the device has returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Used {
    /// The chain's head, as [`Ring::publish`] gave it.
    pub head: u16,
    /// How many bytes the device says that it has written.
    pub len: u32,
}

/// What is wrong with a ring, or with what the back-end did to it.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// Not a size that a ring can have.
    #[error("a ring's size is a power of two up to {MAX_SIZE}, not {0}")]
    Size(u16),
    /// Not enough descriptors are free.
    #[error("a chain of {wanted} descriptors, and {free} are free")]
    Full {
        /// Descriptors wanted.
        wanted: usize,
        /// Descriptors free.
        free: usize,
    },
    /// An empty request.
    #[error("a chain has at least one descriptor")]
    Empty,
    /// The back-end's index has moved further than there are requests.
    #[error("used index {idx}: {outstanding} requests are outstanding since {seen}")]
    UsedIndex {
        /// What the used ring says.
        idx: u16,
        /// Up to where it was read.
        seen: u16,
        /// How many chains are outstanding.
        outstanding: usize,
    },
    /// The back-end returns what it does not have: never published, or returned before.
    #[error("used element {at} returns chain {id}, which is not outstanding")]
    UsedElement {
        /// Which element, as a free-running index.
        at: u16,
        /// The id in it.
        id: u32,
    },
    /// Outside guest memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// An event descriptor fails.
    #[error("an event descriptor fails: {0}")]
    Event(#[from] Errno),
}

/// Where the parts of a ring are, as guest addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The descriptor table.
    pub descriptor: u64,
    /// The available ring.
    pub available: u64,
    /// The used ring.
    pub used: u64,
}

/// A ring, seen by its driver.
#[derive(Debug)]
pub struct Ring {
    memory: GuestMemory,
    layout: Layout,
    size: u16,
    /// The number of descriptors for which the memory has room.
    most: u16,
    available: u16,
    seen: u16,
    free: Vec<u16>,
    /// The descriptors of each outstanding chain, by its head.
    outstanding: BTreeMap<u16, Vec<u16>>,
    /// What tells the back-end of new requests.
    pub kick: Event,
    /// What tells the driver of returned ones.
    pub call: Event,
    /// Another place for all of it.
    spare: Layout,
    /// Each side says at which index it wants to be woken, and is not woken otherwise.
    events: bool,
    /// Without event indices: the back-end is not kicked while it says that it needs no kick.
    heeds: bool,
    /// Up to where the back-end was told of requests, or needed not to be.
    told: u16,
}

impl Ring {
    /// An empty ring at base 0, in memory from the arena.
    ///
    /// # Errors
    /// For a size that is no power of two up to [`MAX_SIZE`]; when memory or descriptors run out.
    pub fn new(memory: &GuestMemory, arena: &mut Arena, size: u16) -> Result<Self, RingError> {
        if !size.is_power_of_two() || size > MAX_SIZE {
            return Err(RingError::Size(size));
        }
        let n = u64::from(size);
        // Two bytes after each ring are the event index's, whether it is negotiated or not.
        let mut place = || -> Result<Layout, MemoryError> {
            Ok(Layout {
                descriptor: arena
                    .take(DESCRIPTOR.saturating_mul(n), VRING_DESC_ALIGN_SIZE.into())?,
                available: arena.take(length(2, n), VRING_AVAIL_ALIGN_SIZE.into())?,
                used: arena.take(length(USED_ELEMENT, n), VRING_USED_ALIGN_SIZE.into())?,
            })
        };
        let (layout, spare) = (place()?, place()?);
        let mut ring = Ring {
            memory: memory.clone(),
            layout,
            size,
            most: size,
            available: 0,
            seen: 0,
            free: Vec::new(),
            outstanding: BTreeMap::new(),
            kick: Event::new()?,
            call: Event::new()?,
            spare,
            events: false,
            heeds: false,
            told: 0,
        };
        ring.start_at(0)?;
        Ok(ring)
    }

    /// Forgets every request and begins at this index, in both rings. Only for a ring that the
    /// back-end does not look at.
    ///
    /// # Errors
    /// [`RingError::Memory`].
    pub fn start_at(&mut self, base: u16) -> Result<(), RingError> {
        (self.available, self.seen, self.told) = (base, base, base);
        self.free = (0..self.size).rev().collect();
        self.outstanding.clear();
        let n = u64::from(self.size);
        let descriptors = DESCRIPTOR.saturating_mul(n);
        self.memory.fill(self.layout.descriptor, descriptors as u32, 0)?;
        self.memory.fill(self.layout.available, length(2, n) as u32, 0)?;
        self.memory.fill(self.layout.used, length(USED_ELEMENT, n) as u32, 0)?;
        self.memory.store_u16(index(self.layout.available), base, Ordering::Release)?;
        self.memory.store_u16(index(self.layout.used), base, Ordering::Release)?;
        Ok(())
    }

    /// Takes its other place in memory. It has to be started there.
    pub fn relocate(&mut self) {
        std::mem::swap(&mut self.layout, &mut self.spare);
    }

    /// Has so many descriptors from the next [`Ring::start_at`] on, at the place where it is.
    ///
    /// # Errors
    /// [`RingError::Size`] for a size that a ring cannot have, or that does not fit there.
    pub fn resize(&mut self, size: u16) -> Result<(), RingError> {
        if !size.is_power_of_two() || size > self.most {
            return Err(RingError::Size(size));
        }
        self.size = size;
        Ok(())
    }

    /// Without event indices: kicks only if the back-end has not said that it needs none.
    pub fn heed(&mut self) {
        self.heeds = true;
    }

    /// `VIRTIO_RING_F_EVENT_IDX` was accepted, or not: the driver asks to be notified of the last
    /// request that it has made available.
    pub fn set_events(&mut self, on: bool) {
        self.events = on;
    }

    /// Asks not to be notified of what comes back, or to be again: without event indices.
    ///
    /// # Errors
    /// [`RingError::Memory`].
    pub fn interrupts(&self, on: bool) -> Result<(), RingError> {
        let flags = if on { 0 } else { VRING_AVAIL_F_NO_INTERRUPT as u16 };
        Ok(self.memory.store_u16(self.layout.available, flags, Ordering::Release)?)
    }

    /// Whether the back-end wants to be kicked for what became available since this was last asked.
    ///
    /// # Errors
    /// [`RingError::Memory`].
    pub fn wants_kick(&mut self) -> Result<bool, RingError> {
        let told = std::mem::replace(&mut self.told, self.available);
        if !self.events && !self.heeds {
            return Ok(true);
        }
        // The index is published before the other side's wish is read, which it writes before it looks
        // at the index.
        fence(Ordering::SeqCst);
        if !self.events {
            let flags = self.memory.load_u16(self.layout.used, Ordering::Acquire)?;
            return Ok(u32::from(flags) & VRING_USED_F_NO_NOTIFY == 0);
        }
        let at = element(self.layout.used, USED_ELEMENT, self.size.into());
        let wish = self.memory.load_u16(at, Ordering::Acquire)?;
        let since = self.available.wrapping_sub(told);
        Ok(self.available.wrapping_sub(wish).wrapping_sub(1) < since)
    }

    /// Makes a request available. The back-end is not kicked.
    ///
    /// # Errors
    /// [`RingError::Full`], [`RingError::Empty`], [`RingError::Memory`].
    pub fn publish(&mut self, chain: &[Buffer]) -> Result<u16, RingError> {
        let (wanted, free) = (chain.len(), self.free.len());
        let rest = free.checked_sub(wanted).ok_or(RingError::Full { wanted, free })?;
        let head = *self.free.last().filter(|_| wanted > 0).ok_or(RingError::Empty)?;
        // The last ones first: a ring with nothing outstanding fills from descriptor 0 on.
        let indices: Vec<u16> = self.free.drain(rest..).rev().collect();
        let nexts = indices.iter().skip(1).map(Some).chain([None]);
        for ((at, next), buffer) in indices.iter().zip(nexts).zip(chain) {
            let next_flag = next.map_or(0, |_| VRING_DESC_F_NEXT);
            let write_flag = if buffer.writable { VRING_DESC_F_WRITE } else { 0 };
            let flags = (next_flag | write_flag) as u16;
            let next = next.copied().unwrap_or(0);
            let descriptor = Descriptor::new(buffer.addr, buffer.len, flags, next);
            let at = self.layout.descriptor.saturating_add(DESCRIPTOR.saturating_mul((*at).into()));
            self.memory.write_object(at, descriptor)?;
        }
        self.make_available(head)?;
        self.outstanding.insert(head, indices);
        Ok(head)
    }

    /// Writes descriptors to an address in guest memory, one after the other.
    ///
    /// # Errors
    /// [`RingError::Memory`].
    pub fn write_table(&mut self, at: u64, descriptors: &[Descriptor]) -> Result<(), RingError> {
        (0..).zip(descriptors).try_for_each(|(index, descriptor)| {
            let at = at.wrapping_add(DESCRIPTOR.wrapping_mul(index));
            Ok(self.memory.write_object(at, *descriptor)?)
        })
    }

    /// Makes a chain available, whatever it is: these descriptors, from the first of the table on, and
    /// this head. Nothing that is used from then on means anything.
    ///
    /// # Errors
    /// [`RingError::Memory`].
    pub fn publish_raw(&mut self, head: u16, descriptors: &[Descriptor]) -> Result<(), RingError> {
        self.write_table(self.layout.descriptor, descriptors)?;
        self.make_available(head)
    }

    /// Puts the head of a chain into the available ring.
    fn make_available(&mut self, head: u16) -> Result<(), RingError> {
        let at = element(self.layout.available, 2, self.slot(self.available));
        self.memory.store_u16(at, head, Ordering::Relaxed)?;
        if self.events {
            let wish = element(self.layout.available, 2, self.size.into());
            self.memory.store_u16(wish, self.available, Ordering::Release)?;
        }
        self.available = self.available.wrapping_add(1);
        self.memory.store_u16(index(self.layout.available), self.available, Ordering::Release)?;
        Ok(())
    }

    /// Writes an index of the available ring that no ring of this length can have. Nothing that is used
    /// from then on means anything.
    ///
    /// # Errors
    /// [`RingError::Memory`].
    pub fn run_ahead(&mut self) -> Result<(), RingError> {
        let ahead = self.available.wrapping_add(self.size).wrapping_add(1);
        self.memory.store_u16(index(self.layout.available), ahead, Ordering::Release)?;
        Ok(())
    }

    /// The next chain that the device has returned, if any; its descriptors are free again.
    ///
    /// # Errors
    /// [`RingError::UsedIndex`] and [`RingError::UsedElement`] for what cannot be. The ring then
    /// stays as it is: the same is found again, until [`Ring::start_at`].
    pub fn take_used(&mut self) -> Result<Option<Used>, RingError> {
        let (idx, seen, outstanding) = (self.used_index()?, self.seen, self.outstanding.len());
        if usize::from(idx.wrapping_sub(seen)) > outstanding {
            return Err(RingError::UsedIndex { idx, seen, outstanding });
        }
        if idx == seen {
            return Ok(None);
        }
        let mut element = [0; USED_ELEMENT as usize];
        self.memory.read(self.used_element(seen), &mut element)?;
        let [a, b, c, d, e, f, g, h] = element;
        let (id, len) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let chain = u16::try_from(id).ok().and_then(|head| self.outstanding.remove_entry(&head));
        let Some((head, indices)) = chain else {
            return Err(RingError::UsedElement { at: seen, id });
        };
        self.free.extend(indices.into_iter().rev());
        self.seen = seen.wrapping_add(1);
        Ok(Some(Used { head, len }))
    }

    /// The used index as the back-end has written it, plausible or not.
    ///
    /// # Errors
    /// [`RingError::Memory`].
    pub fn used_index(&self) -> Result<u16, RingError> {
        Ok(self.memory.load_u16(index(self.layout.used), Ordering::Acquire)?)
    }

    /// The index of the next request to be published: how many there were, from the base on.
    #[must_use]
    pub fn available_index(&self) -> u16 {
        self.available
    }

    /// The index of the used element that is taken next.
    #[must_use]
    pub fn next_used(&self) -> u16 {
        self.seen
    }

    /// Where the used element of this index is.
    #[must_use]
    pub fn used_element(&self, index: u16) -> u64 {
        element(self.layout.used, USED_ELEMENT, self.slot(index))
    }

    /// How many requests have been published and not taken back.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// The number of descriptors.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.size
    }

    /// Where its parts are.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    fn slot(&self, index: u16) -> u64 {
        u64::from(index.checked_rem(self.size).unwrap_or_default())
    }
}

/// Where the index of an available or used ring is.
const fn index(ring: u64) -> u64 {
    ring.saturating_add(2)
}

/// Where an entry of an available or used ring is.
const fn element(ring: u64, each: u64, n: u64) -> u64 {
    ring.saturating_add(RING_HEADER).saturating_add(each.saturating_mul(n))
}

/// How long an available or used ring is, with the event index behind it.
const fn length(each: u64, n: u64) -> u64 {
    element(0, each, n).saturating_add(2)
}

#[cfg(test)]
mod tests;
