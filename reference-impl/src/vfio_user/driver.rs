//! A driver of the NIC: what a guest does with the device, and the memory in which both work.
//!
//! ```text
//!   page 0   transmit ring    page 1   receive ring    page 2 ...   buffers, one a descriptor
//!
//!   send --frames, descriptors, doorbells--> device --same frames, what became of each--> memory
//!     '--what memory has to hold afterwards--> image   <--compared, byte for byte-- settle
//! ```
//!
//! A driver is part of its guest: when the guest moves, it goes on with another client and other
//! memory, and notices nothing. That is why both are arguments of each call.
//!
//! **Invariants.** What memory has to hold is computed from what was sent alone, never read back. A
//! descriptor is used again only after the device is done with it.
//!
//! **Not here:** the filter, interrupts and errors, which a suite drives.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use rustix::fs::MemfdFlags;

use super::client::Client;
use crate::pci::config_space::{COMMAND, MEMORY_AND_MASTER};
use crate::pci::engine::made_available;
use crate::pci::region;
use crate::pci::registers::{CONTROL, GO};
use crate::pci::ring::{DriverRing, STATUS_LENGTH, Status};
use crate::socket::Deadline;

/// Bytes of a page.
pub const PAGE: u64 = 0x1000;

/// Descriptors of a ring, and bytes of the buffer of each.
const SIZE: u16 = 64;
const BUFFER: u64 = 2048;
/// Where buffers begin. A frame of an odd descriptor goes from one page into the next.
const BUFFERS: u64 = 2 * PAGE + BUFFER / 2;
/// How many pages all of that takes.
const PAGES: u64 = 2 + 2 * SIZE as u64 * BUFFER / PAGE + 1;

/// Any client's error.
pub type BoxedError = Box<dyn std::error::Error + Send + Sync>;

/// What a driver asks of a client, whoever wrote it.
pub trait Registers {
    /// Writes part of a region, numbered as VFIO numbers those of a PCI device.
    ///
    /// # Errors
    /// The client's.
    fn write(&mut self, region: u32, offset: u64, bytes: &[u8]) -> Result<(), BoxedError>;
}

impl Registers for Client {
    fn write(&mut self, region: u32, offset: u64, bytes: &[u8]) -> Result<(), BoxedError> {
        Ok(self.region_write(region, offset, bytes)?)
    }
}

/// Why a driver gave up.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A register could not be written.
    #[error("a register cannot be written: {0}")]
    Register(BoxedError),
    /// Memory could not be made or reached.
    #[error("guest memory: {0}")]
    Memory(#[from] io::Error),
    /// The device is not done in time.
    #[error("{done} of {sent} frames came back within {limit:?}")]
    Slow {
        /// How many came.
        done: u16,
        /// How many were sent.
        sent: u16,
        /// How long it had.
        limit: Duration,
    },
    /// Memory is not what the frames make of it.
    #[error("byte {at:#x} of memory is {is:#04x}, and has to be {due:#04x}")]
    Differs {
        /// The first byte that differs.
        at: usize,
        /// What it is.
        is: u8,
        /// What it has to be.
        due: u8,
    },
}

/// Memory that a device can be given, from address 0 on.
#[derive(Debug)]
pub struct GuestMemory(File);

impl GuestMemory {
    /// So much as a driver needs, each byte the same.
    ///
    /// # Errors
    /// The kernel's.
    pub fn filled(byte: u8) -> io::Result<Self> {
        let file = File::from(rustix::fs::memfd_create("guest", MemfdFlags::CLOEXEC)?);
        file.write_all_at(&vec![byte; Self::LENGTH as usize], 0)?;
        Ok(GuestMemory(file))
    }

    /// Bytes of it.
    pub const LENGTH: u64 = PAGES * PAGE;

    /// How many pages it has.
    pub const PAGES: u64 = PAGES;

    /// A page.
    ///
    /// # Errors
    /// The kernel's.
    pub fn page(&self, page: u64) -> io::Result<Vec<u8>> {
        self.read(page * PAGE, PAGE as usize)
    }

    fn read(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Writes from this address on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }
}

impl AsFd for GuestMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The driver.
#[derive(Clone, Debug)]
pub struct Driver {
    sent: u16,
    done: u16,
    /// What memory has to hold once all that was sent has come back.
    image: Vec<u8>,
    touched: BTreeSet<u64>,
}

impl Driver {
    /// Sets the device up: rings of 64 descriptors in this memory, which it was given, and may use.
    ///
    /// # Errors
    /// See [`DriverError`].
    pub fn set_up(client: &mut impl Registers, memory: &GuestMemory) -> Result<Self, DriverError> {
        let image = memory.read(0, GuestMemory::LENGTH as usize)?;
        let mut driver = Driver { sent: 0, done: 0, image, touched: BTreeSet::new() };
        let master = client.write(region::CONFIG, COMMAND as u64, &MEMORY_AND_MASTER);
        master.map_err(DriverError::Register)?;
        for queue in [0, 1] {
            let ring = ring(queue);
            driver.put(memory, ring.address, &vec![0; ring.length()])?;
            for (register, value) in ring.set_up() {
                write(client, register, value)?;
            }
        }
        write(client, CONTROL as u64, GO)?;
        Ok(driver)
    }

    /// Sends so many frames and makes room for them, as far as there are free descriptors; returns how
    /// many were sent.
    ///
    /// # Errors
    /// See [`DriverError`].
    pub fn send(
        &mut self,
        client: &mut impl Registers,
        memory: &GuestMemory,
        count: u16,
    ) -> Result<u16, DriverError> {
        self.look(memory)?;
        let free = SIZE - self.sent.wrapping_sub(self.done);
        let count = count.min(free);
        for _ in 0..count {
            let n = self.sent;
            let frame = frame(n);
            self.put(memory, buffer(1, n), &frame)?;
            self.describe(memory, 1, n, frame.len() as u32)?;
            self.describe(memory, 0, n, BUFFER as u32)?;
            self.expect(n, &frame);
            self.sent = self.sent.wrapping_add(1);
        }
        for queue in [0, 1] {
            write(client, ring(queue).doorbell(), self.sent.into())?;
        }
        Ok(count)
    }

    /// Waits until all that was sent has come back, at most for `limit`, and compares memory with what
    /// it has to hold: all of it, byte for byte.
    ///
    /// # Errors
    /// See [`DriverError`].
    pub fn settle(&mut self, memory: &GuestMemory, limit: Duration) -> Result<(), DriverError> {
        let deadline = Deadline::after(limit);
        while self.look(memory)? != self.sent {
            if deadline.passed() {
                return Err(DriverError::Slow { done: self.done, sent: self.sent, limit });
            }
            deadline.pause(Duration::from_millis(1));
        }
        let bytes = memory.read(0, GuestMemory::LENGTH as usize)?;
        let differs = |(_, (is, due)): &(usize, (&u8, &u8))| is != due;
        match bytes.iter().zip(&self.image).enumerate().find(differs) {
            None => Ok(()),
            Some((at, (is, due))) => Err(DriverError::Differs { at, is: *is, due: *due }),
        }
    }

    /// How many frames have come back.
    ///
    /// # Errors
    /// See [`DriverError`].
    pub fn look(&mut self, memory: &GuestMemory) -> Result<u16, DriverError> {
        // The device reports what it sent before it delivers it.
        while self.done != self.sent {
            let status = memory.read(ring(0).status_at(self.done), STATUS_LENGTH)?;
            if Status::from_bytes(&status) == Status::Waiting {
                break;
            }
            self.done = self.done.wrapping_add(1);
        }
        Ok(self.done)
    }

    /// The pages that the guest itself has written since this was asked last: what a hypervisor's own
    /// dirty log tells.
    pub fn take_touched(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.touched)
    }

    fn describe(
        &mut self,
        memory: &GuestMemory,
        queue: u64,
        n: u16,
        length: u32,
    ) -> Result<(), DriverError> {
        self.put(memory, ring(queue).descriptor(n), &made_available(buffer(queue, n), length))
    }

    /// The guest writes.
    fn put(&mut self, memory: &GuestMemory, at: u64, bytes: &[u8]) -> Result<(), DriverError> {
        memory.write(at, bytes)?;
        self.touched.extend(at / PAGE..=(at + bytes.len() as u64 - 1) / PAGE);
        self.image(at, bytes);
        Ok(())
    }

    /// What the device is going to write.
    fn expect(&mut self, n: u16, frame: &[u8]) {
        let status = Status::done(frame.len() as u32);
        for queue in [0, 1] {
            self.image(ring(queue).status_at(n), &status);
        }
        self.image(buffer(0, n), frame);
    }

    fn image(&mut self, at: u64, bytes: &[u8]) {
        let at = at as usize;
        if let Some(place) = self.image.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

/// Queue 1 transmits, queue 0 receives.
const fn ring(queue: u64) -> DriverRing {
    DriverRing { queue, address: (1 - queue) * PAGE, size: SIZE }
}

fn buffer(queue: u64, n: u16) -> u64 {
    BUFFERS + (u64::from(n % SIZE) + (1 - queue) * u64::from(SIZE)) * BUFFER
}

/// A frame that no other is like: its length and its bytes follow from its number.
fn frame(n: u16) -> Vec<u8> {
    let length = 60 + usize::from(n).wrapping_mul(37) % 1440;
    let byte = |at: usize| (at as u16).wrapping_mul(151).wrapping_add(n.wrapping_mul(29)) as u8;
    let mut frame: Vec<u8> = (0..length).map(byte).collect();
    // To everybody, from a station of its own, of a kind that is for experiments.
    let head = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5];
    frame.iter_mut().zip(head).for_each(|(byte, head)| *byte = head);
    frame
}

fn write(client: &mut impl Registers, register: u64, value: u32) -> Result<(), DriverError> {
    let written = client.write(region::BAR0, register, &value.to_le_bytes());
    written.map_err(DriverError::Register)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overlaps_and_everything_is_within() {
        let mut places = Vec::new();
        for queue in [0, 1] {
            for n in 0..SIZE {
                places.push((ring(queue).descriptor(n), 16));
                places.push((buffer(queue, n), BUFFER));
            }
        }
        places.sort_unstable();
        assert!(places.windows(2).all(|two| two[0].0 + two[0].1 <= two[1].0));
        let (last, length) = places[places.len() - 1];
        assert!(last + length <= GuestMemory::LENGTH);
    }

    #[test]
    fn frames_fit_their_buffers_and_differ() {
        let frames: Vec<_> = (0..SIZE).map(frame).collect();
        assert!(frames.iter().all(|frame| (60..=1514).contains(&frame.len())));
        assert!((1..frames.len()).all(|n| frames[n] != frames[n - 1]));
    }
}
