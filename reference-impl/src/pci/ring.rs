//! A queue as its driver sees it: where its registers and its descriptors are.
//!
//! ```text
//!   set_up  --registers--> device        descriptor(n)  <-- made_available     (then doorbell)
//!                                        status_at(n)   --> what became of it
//! ```
//!
//! **Not here:** memory, and how a register is written: each driver has its own.

use super::engine::{DONE, FAILED};
use super::registers::{ENABLE, HEAD, QUEUE, QUEUES, RING, RING_HIGH, SIZE};

/// Bytes of a descriptor, and where what became of it begins in it.
const DESCRIPTOR: u64 = 16;
const STATUS: u64 = 12;

/// Bytes of what became of a descriptor.
pub const STATUS_LENGTH: usize = 4;

/// A ring of descriptors, for one queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DriverRing {
    /// The queue: 2p receives, 2p + 1 transmits.
    pub queue: u64,
    /// Where its descriptors are.
    pub address: u64,
    /// How many there are: a power of two.
    pub size: u16,
}

impl DriverRing {
    /// Bytes of it.
    #[must_use]
    pub fn length(&self) -> usize {
        DESCRIPTOR as usize * usize::from(self.size)
    }

    /// Where the `n`th descriptor is, counted without end.
    #[must_use]
    pub fn descriptor(&self, n: u16) -> u64 {
        self.address + DESCRIPTOR * u64::from(n % self.size)
    }

    /// Where the device writes what became of it.
    #[must_use]
    pub fn status_at(&self, n: u16) -> u64 {
        self.descriptor(n) + STATUS
    }

    /// The registers of BAR 0 that have the device use it, in order, each with its value.
    #[must_use]
    pub fn set_up(&self) -> [(u64, u32); 5] {
        [
            (self.register(ENABLE), 0),
            (self.register(RING), self.address as u32),
            (self.register(RING_HIGH), (self.address >> 32) as u32),
            (self.register(SIZE), self.size.into()),
            (self.register(ENABLE), 1),
        ]
    }

    /// The register of BAR 0 that says how many descriptors are available.
    #[must_use]
    pub fn doorbell(&self) -> u64 {
        self.register(HEAD)
    }

    fn register(&self, offset: usize) -> u64 {
        QUEUES as u64 + self.queue * QUEUE as u64 + offset as u64
    }
}

/// What became of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Nothing yet.
    Waiting,
    /// So many bytes were used.
    Done(u32),
    /// It failed.
    Failed,
}

impl Status {
    /// From the bytes at [`DriverRing::status_at`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let bytes = bytes.first_chunk::<STATUS_LENGTH>().copied().unwrap_or_default();
        match u32::from_le_bytes(bytes) {
            status if status & DONE == 0 => Status::Waiting,
            status if status & FAILED != 0 => Status::Failed,
            status => Status::Done(status & !DONE),
        }
    }

    /// What a device writes that has used so many bytes.
    #[must_use]
    pub fn done(bytes: u32) -> [u8; STATUS_LENGTH] {
        (DONE | bytes).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::registers::Queue;

    #[test]
    fn the_device_understands_what_the_driver_writes() {
        let ring = DriverRing { queue: 1, address: 0x1_2345_6000, size: 32 };
        let mut queue = Queue::default();
        let base = (QUEUES + QUEUE) as u64;
        for (register, value) in ring.set_up().into_iter().chain([(ring.doorbell(), 3)]) {
            queue.write((register - base) as usize, value);
        }
        assert_eq!((queue.ring, queue.size, queue.enabled), (ring.address, 32, true));
        assert_eq!((queue.waiting(), queue.descriptor()), (Some(3), Some(ring.descriptor(0))));
        assert_eq!(ring.descriptor(33), ring.descriptor(1));
    }

    #[test]
    fn what_became_of_a_descriptor_is_read_as_it_was_written() {
        assert_eq!(Status::from_bytes(&Status::done(64)), Status::Done(64));
        assert_eq!(Status::from_bytes(&(DONE | FAILED).to_le_bytes()), Status::Failed);
        assert_eq!(Status::from_bytes(&[0; 4]), Status::Waiting);
        assert_eq!(Status::from_bytes(&[]), Status::Waiting);
    }
}
