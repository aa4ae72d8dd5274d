//! Memory that the device reaches, and what it did there.
//!
//! ```text
//!   pages 0 to 47    the guest's     a change, or a DMA_WRITE: the device writes
//!   pages 48 to 63   a peer's        the same, and DMA to the peer arrives; asked for: it begins
//! ```
//!
//! **Invariants.** What the tester writes itself is no change. What is remembered of what a device asks
//! for is bounded: [`MOST`] accesses between two looks, of [`PAGES`] pages.

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use devmig_engine::clause::ClauseId;
use devmig_model::protocol::vfio::event::Act;

use super::Session;
use crate::harness::io::memory::{GuestMemory, MemoryError};
use crate::harness::verdict::TestEnd;
use crate::vfio::device::{ErrorNumber, Memory, Range};

/// Bytes of a page, as the machine counts them.
pub(super) const PAGE: u64 = 0x1000;
/// How many there are.
pub(super) const PAGES: u64 = 64;
/// The first page of the peer's.
pub(super) const PEER: u64 = 48;
/// Where the memory is.
pub(super) const BASE: u64 = 0x10_0000;

/// The most accesses that are remembered between two looks; who makes more is judged by the first.
const MOST: usize = 1 << 16;

/// What the device did by messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    Asked(u64),
    Read(u64),
    Wrote(u64),
}

/// The memory, and what was seen in it.
#[derive(Debug)]
pub(super) struct Guest {
    memory: GuestMemory,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// What was in it when it was last looked at.
    before: Vec<u8>,
    given: bool,
    mapped: bool,
    /// The device took it before.
    taken: bool,
}

/// The same memory, for who serves it.
#[derive(Debug)]
struct Shared {
    memory: GuestMemory,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Shared {
    fn note(&self, address: u64, length: u64, seen: fn(u64) -> Seen) {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(first) = address.checked_sub(BASE).map(|at| at / PAGE) else { return };
        let last = address.saturating_add(length.saturating_sub(1)).saturating_sub(BASE) / PAGE;
        for page in first..=last.min(PAGES) {
            if page < PAGES && all.len() < MOST {
                all.push(seen(page));
            }
        }
    }
}

impl Memory for Shared {
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> bool {
        let read = self.memory.read(address, bytes).is_ok();
        if read {
            self.note(address, bytes.len() as u64, Seen::Read);
        }
        read
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        let written = self.memory.write(address, bytes).is_ok();
        if written {
            self.note(address, bytes.len() as u64, Seen::Wrote);
        }
        written
    }

    fn asked(&mut self, address: u64, length: u64) {
        self.note(address, length, Seen::Asked);
    }
}

impl Guest {
    pub(super) fn new() -> Result<Self, MemoryError> {
        let memory = GuestMemory::new(&[(BASE, PAGES * PAGE)])?;
        let before = vec![0; (PAGES * PAGE) as usize];
        let seen = Arc::new(Mutex::new(Vec::new()));
        Ok(Guest { memory, seen, before, given: false, mapped: false, taken: false })
    }

    pub(super) fn shared(&self) -> Box<dyn Memory> {
        Box::new(Shared { memory: self.memory.clone(), seen: Arc::clone(&self.seen) })
    }

    /// Whether the device has it.
    pub(super) fn is_given(&self) -> bool {
        self.given
    }

    /// A client that goes takes its memory with it.
    pub(super) fn taken_back(&mut self) {
        (self.given, self.mapped) = (false, false);
    }

    /// The tester writes.
    pub(super) fn put(&mut self, at: u64, bytes: &[u8]) -> Result<(), TestEnd> {
        let harness = |error: MemoryError| TestEnd::Harness(error.to_string());
        self.memory.write(at, bytes).map_err(harness)?;
        let from = at.saturating_sub(BASE) as usize;
        if let Some(place) = self.before.get_mut(from..from.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
        Ok(())
    }

    pub(super) fn get(&self, at: u64, length: usize) -> Result<Vec<u8>, TestEnd> {
        let mut bytes = vec![0; length];
        let read = self.memory.read(at, &mut bytes);
        read.map(|()| bytes).map_err(|error| TestEnd::Harness(error.to_string()))
    }

    /// What the device did since it was last looked at.
    fn acts(&mut self) -> Result<Vec<Act>, TestEnd> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let mut acts = Vec::new();
        for one in &seen {
            match *one {
                Seen::Asked(page) if page >= PEER => acts.push(Act::PeerBegins),
                Seen::Read(page) if page >= PEER => acts.push(Act::PeerArrives),
                Seen::Wrote(page) => {
                    if page >= PEER {
                        acts.push(Act::PeerArrives);
                    }
                    acts.push(Act::WriteByClient(page as u8));
                }
                Seen::Asked(_) | Seen::Read(_) => {}
            }
        }
        if !self.given {
            return Ok(acts);
        }
        let now = self.get(BASE, (PAGES * PAGE) as usize)?;
        if self.mapped {
            let pages = now.chunks(PAGE as usize).zip(self.before.chunks(PAGE as usize));
            for (page, (now, before)) in pages.enumerate() {
                if now != before {
                    if page as u64 >= PEER {
                        acts.push(Act::PeerArrives);
                    }
                    acts.push(Act::Write(page as u8));
                }
            }
        }
        self.before = now;
        Ok(acts)
    }
}

impl Session<'_> {
    /// Gives the device memory.
    pub(super) fn give_memory(&mut self, mapped: bool) -> Result<(), TestEnd> {
        let range = Range { iova: BASE, length: PAGES * PAGE };
        let fd = self.guest.memory.descriptor();
        let from = mapped.then_some((fd.as_fd(), 0));
        match self.device.map(range, from) {
            Ok(Ok(())) => {
                (self.guest.given, self.guest.mapped, self.guest.taken) = (true, mapped, true);
                Ok(())
            }
            Ok(Err(number)) if self.guest.taken => self.not_released(number),
            Ok(Err(errno)) => {
                Err(TestEnd::Skip(format!("needs a device that takes memory ({errno})")))
            }
            Err(trouble) => self.trouble(trouble),
        }
    }

    /// A device that took a region before, which was taken back, does not take it again.
    pub(super) fn not_released(&mut self, number: ErrorNumber) -> Result<(), TestEnd> {
        let clause = self.clause("vfio-user.dma-unmap.releases")?;
        let observed =
            format!("DMA_MAP of a region that was mapped before and is not now fails: {number}");
        self.finding_of(clause, observed, vec!["success".into()])?;
        Err(TestEnd::Skip("needs memory, which the device does not take a second time".into()))
    }

    /// Memory where there is some already.
    pub(super) fn map_over(&mut self) -> Result<(), TestEnd> {
        self.may_report()?;
        let range = Range { iova: BASE, length: PAGES * PAGE };
        let fd = self.guest.memory.descriptor();
        match self.device.map(range, Some((fd.as_fd(), 0))) {
            Ok(Err(_)) => Ok(()),
            Ok(Ok(())) => {
                let clause = self.clause("vfio-user.dma-map.exists")?;
                let observed = "DMA_MAP over a region that is mapped succeeds".to_owned();
                self.finding_of(clause, observed, vec!["an error, such as EEXIST".into()])
            }
            Err(trouble) => self.trouble(trouble),
        }
    }

    /// Takes the device's memory away. What it was given is of no use to anybody from then on.
    pub(super) fn take_memory(&mut self) -> Result<(), TestEnd> {
        self.sample()?;
        match self.device.unmap(Range { iova: BASE, length: PAGES * PAGE }) {
            Ok(Ok(())) => {
                self.guest.given = false;
                self.guest.memory.move_to_another_file(0).map_err(TestEnd::harness)
            }
            Ok(Err(errno)) => {
                let observed = format!("DMA_UNMAP of what was mapped is refused ({errno})");
                self.finding_of(ClauseId::NONE, observed, vec!["success".into()])
            }
            Err(trouble) => self.trouble(trouble),
        }
    }

    /// What the device did by itself is looked for, and judged.
    pub(super) fn sample(&mut self) -> Result<(), TestEnd> {
        self.deviations()?;
        for act in self.looked_for()? {
            self.see(act)?;
        }
        Ok(())
    }

    /// What it did by itself since it was last looked at.
    pub(super) fn looked_for(&mut self) -> Result<Vec<Act>, TestEnd> {
        let mut acts = self.guest.acts()?;
        if let Some(event) = &self.interrupts
            && event.take().unwrap_or(0) > 0
        {
            self.interrupted = self.interrupted.saturating_add(1);
            acts.push(Act::Interrupt);
        }
        Ok(acts)
    }
}
