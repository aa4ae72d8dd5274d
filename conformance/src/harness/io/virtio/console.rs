//! Requests for a console: lines of text, which the device takes.
//!
//! ```text
//!   ring 0, receiveq    nothing is offered: what the far end types is not asked for
//!   ring 1, transmitq   | a line of 32 bytes, readable |
//! ```
//!
//! A line is processed when its buffer comes back. Nothing is written into it, so there is nothing
//! to compare; the line says its own number, for whoever reads the far end.

use super::{SLOTS, Workload};
use crate::harness::io::memory::{Arena, GuestMemory, MemoryError};
use crate::harness::io::ring::Buffer;

const SLOT: u32 = 32;

/// A console.
#[derive(Debug)]
pub struct Console {
    memory: GuestMemory,
    slots: u64,
}

impl Console {
    /// A workload with its slots in memory from the arena.
    ///
    /// # Errors
    /// When the arena is used up.
    pub fn new(memory: &GuestMemory, arena: &mut Arena) -> Result<Self, MemoryError> {
        let slots = arena.take(u64::from(SLOT) * SLOTS, SLOT.into())?;
        Ok(Console { memory: memory.clone(), slots })
    }
}

impl Workload for Console {
    fn name(&self) -> &'static str {
        "console"
    }

    fn rings(&self) -> u32 {
        2
    }

    /// As in QEMU: there are devices that take no more.
    fn ring_size(&self) -> u16 {
        128
    }

    fn request_ring(&self) -> Option<u32> {
        Some(1)
    }

    fn waits(&self, _: u64) -> bool {
        false
    }

    fn request(&mut self, n: u64) -> Result<Vec<Buffer>, MemoryError> {
        let slot = self.slots + u64::from(SLOT) * (n % SLOTS);
        let line = format!("devmig line {n:>18}\r\n");
        self.memory.write(slot, line.as_bytes())?;
        Ok(vec![Buffer { addr: slot, len: SLOT, writable: false }])
    }

    /// Devices differ in whether they say the length of what they took, though they wrote nothing.
    fn check(&self, _: u64, used: u32) -> Result<(), String> {
        match used <= SLOT {
            true => Ok(()),
            false => Err(format!("a line of {SLOT} bytes is returned with {used} bytes")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::io::memory::PAGE;

    #[test]
    fn a_line_fills_its_slot_whatever_its_number() {
        let memory = GuestMemory::new(&[(0, PAGE)]).unwrap();
        let mut console = Console::new(&memory, &mut Arena::new(0, PAGE)).unwrap();
        for n in [0, 63, 64, 999_999_999_999] {
            let chain = console.request(n).unwrap();
            let mut line = [0; SLOT as usize];
            memory.read(chain[0].addr, &mut line).unwrap();
            assert!(line.ends_with(format!(" {n}\r\n").as_bytes()));
        }
        let in_slot = |n: u64, console: &mut Console| console.request(n).unwrap()[0].addr;
        assert_eq!(in_slot(1, &mut console) + 32, in_slot(2, &mut console));
    }

    #[test]
    fn a_line_comes_back_no_longer_than_it_was() {
        let memory = GuestMemory::new(&[(0, PAGE)]).unwrap();
        let console = Console::new(&memory, &mut Arena::new(0, PAGE)).unwrap();
        assert!(console.check(0, 0).is_ok() && console.check(0, 32).is_ok());
        assert!(console.check(0, 33).is_err() && console.check(0, u32::MAX).is_err());
    }
}
