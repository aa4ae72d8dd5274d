//! Requests for an entropy device: empty buffers, which come back with random bytes.
//!
//! ```text
//!   slot   | 64 bytes, all writable |
//! ```
//!
//! How many bytes come back is the device's affair (VIRTIO 5.4.6.2: at least one); how random they
//! are is not looked at, only that they were written.

use super::{SLOTS, UNTOUCHED, Workload};
use crate::harness::io::memory::{Arena, GuestMemory, MemoryError};
use crate::harness::io::ring::Buffer;

/// Long enough that random bytes are not taken for untouched ones: 64 of them are, once in 2^512.
const SLOT: u32 = 64;

/// From so few bytes nothing follows: random ones may look untouched.
const FEW: usize = 8;

/// An entropy device.
#[derive(Debug)]
pub struct Rng {
    memory: GuestMemory,
    slots: u64,
}

impl Rng {
    /// A workload with its slots in memory from the arena.
    ///
    /// # Errors
    /// When the arena is used up.
    pub fn new(memory: &GuestMemory, arena: &mut Arena) -> Result<Self, MemoryError> {
        let slots = arena.take(u64::from(SLOT) * SLOTS, SLOT.into())?;
        Ok(Rng { memory: memory.clone(), slots })
    }

    fn slot(&self, n: u64) -> u64 {
        self.slots + u64::from(SLOT) * (n % SLOTS)
    }
}

impl Workload for Rng {
    fn name(&self) -> &'static str {
        "rng"
    }

    fn rings(&self) -> u32 {
        1
    }

    fn request_ring(&self) -> Option<u32> {
        Some(0)
    }

    fn waits(&self, _: u64) -> bool {
        false
    }

    fn request(&mut self, n: u64) -> Result<Vec<Buffer>, MemoryError> {
        let slot = self.slot(n);
        self.memory.fill(slot, SLOT, UNTOUCHED)?;
        Ok(vec![Buffer { addr: slot, len: SLOT, writable: true }])
    }

    fn check(&self, n: u64, used: u32) -> Result<(), String> {
        if used == 0 || used > SLOT {
            return Err(format!("{used} bytes were written, expected 1 to {SLOT}"));
        }
        let mut bytes = [UNTOUCHED; SLOT as usize];
        self.memory.read(self.slot(n), &mut bytes).map_err(|error| error.to_string())?;
        // What lies beyond may have been written too: nothing is to be assumed of it.
        let (said, _) = bytes.split_at(used as usize);
        if said.len() >= FEW && said.iter().all(|byte| *byte == UNTOUCHED) {
            return Err("the request is used, but its buffer was not written".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::io::memory::PAGE;

    #[test]
    fn only_a_right_answer_is_right() {
        let memory = GuestMemory::new(&[(0, 2 * PAGE)]).unwrap();
        let mut rng = Rng::new(&memory, &mut Arena::new(0, 2 * PAGE)).unwrap();
        let mut answer = |written: usize, used: u32| {
            let chain = rng.request(7).unwrap();
            memory.write(chain[0].addr, &vec![0x11; written]).unwrap();
            rng.check(7, used)
        };
        assert_eq!(answer(64, 64), Ok(()));
        assert_eq!(answer(9, 9), Ok(()));
        assert_eq!(answer(1, 1), Ok(()));
        assert!(answer(0, 0).is_err(), "no byte");
        assert!(answer(64, 65).is_err(), "more than there is room for");
        assert!(answer(0, 64).unwrap_err().contains("not written"));
        assert_eq!(answer(64, 9), Ok(()), "what lies beyond is the device's");
        assert!(answer(64, u32::MAX).is_err());
    }

    #[test]
    fn requests_close_to_each_other_have_memory_of_their_own() {
        let memory = GuestMemory::new(&[(0, 2 * PAGE)]).unwrap();
        let mut rng = Rng::new(&memory, &mut Arena::new(0, 2 * PAGE)).unwrap();
        let slots: std::collections::BTreeSet<u64> =
            (100..100 + SLOTS).map(|n| rng.request(n).unwrap()[0].addr).collect();
        assert_eq!(slots.len() as u64, SLOTS);
    }
}
