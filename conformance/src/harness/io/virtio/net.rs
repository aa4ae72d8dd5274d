//! Requests for a network device: Ethernet frames to nobody, which the device takes.
//!
//! ```text
//!   ring 0, receiveq1    nothing is offered: nobody knows what the outside sends (see `wire.rs`)
//!   ring 1, transmitq1   | header 12 | Ethernet 14 | data 46, readable |
//! ```
//!
//! A device of the current version has a header of 12 bytes, with `num_buffers`, whether or not
//! buffers may be merged (VIRTIO 5.1.6). A frame is from and to locally administered addresses, and
//! of the type that is set aside for experiments, so that a device which sends it on harms nobody.

use super::{SLOTS, Workload};
use crate::harness::io::memory::{Arena, GuestMemory, MemoryError};
use crate::harness::io::ring::Buffer;

pub(crate) const HEADER: u32 = 12;
/// Without its checksum: the shortest that there is.
pub(crate) const FRAME: u32 = 60;
const SLOT: u64 = 128;

const TO: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];
const FROM: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];
/// IEEE 802, local experimental EtherType 1.
const TYPE: [u8; 2] = [0x88, 0xb5];

/// Frame `n`, to this address.
pub(crate) fn frame(n: u64, to: [u8; 6]) -> Vec<u8> {
    let mut bytes = [&to[..], &FROM, &TYPE, &n.to_be_bytes()].concat();
    bytes.resize(FRAME as usize, 0);
    bytes
}

/// Devices differ in whether they say the length of what they took, though they wrote nothing.
pub(crate) fn taken(used: u32) -> Result<(), String> {
    match used <= HEADER + FRAME {
        true => Ok(()),
        false => Err(format!("a frame of {FRAME} bytes is returned with {used} bytes")),
    }
}

/// A network device.
#[derive(Debug)]
pub struct Net {
    memory: GuestMemory,
    slots: u64,
}

impl Net {
    /// A workload with its slots in memory from the arena.
    ///
    /// # Errors
    /// When the arena is used up.
    pub fn new(memory: &GuestMemory, arena: &mut Arena) -> Result<Self, MemoryError> {
        let slots = arena.take(SLOT * SLOTS, SLOT)?;
        Ok(Net { memory: memory.clone(), slots })
    }
}

impl Workload for Net {
    fn name(&self) -> &'static str {
        "net"
    }

    fn rings(&self) -> u32 {
        2
    }

    fn request_ring(&self) -> Option<u32> {
        Some(1)
    }

    fn waits(&self, _: u64) -> bool {
        false
    }

    fn request(&mut self, n: u64) -> Result<Vec<Buffer>, MemoryError> {
        let slot = self.slots + SLOT * (n % SLOTS);
        // No checksum to fill in, no segments.
        let bytes = [vec![0; HEADER as usize], frame(n, TO)].concat();
        self.memory.write(slot, &bytes)?;
        Ok(vec![
            Buffer { addr: slot, len: HEADER, writable: false },
            Buffer { addr: slot + u64::from(HEADER), len: FRAME, writable: false },
        ])
    }

    fn check(&self, _: u64, used: u32) -> Result<(), String> {
        taken(used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::io::memory::PAGE;

    #[test]
    fn a_frame_is_whole_and_has_its_slot() {
        let memory = GuestMemory::new(&[(0, PAGE)]).unwrap();
        let mut net = Net::new(&memory, &mut Arena::new(0, PAGE)).unwrap();
        let mut slots = std::collections::BTreeSet::new();
        for n in 5..5 + SLOTS {
            let chain = net.request(n).unwrap();
            assert!(chain.iter().all(|buffer| !buffer.writable));
            assert_eq!(chain.iter().map(|buffer| buffer.len).sum::<u32>(), 72);
            let mut frame = [0; FRAME as usize];
            memory.read(chain[1].addr, &mut frame).unwrap();
            assert_eq!(frame[12..14], TYPE);
            assert_eq!(frame[14..22], n.to_be_bytes());
            assert!(slots.insert(chain[0].addr));
        }
    }

    #[test]
    fn a_frame_comes_back_no_longer_than_it_was() {
        let memory = GuestMemory::new(&[(0, PAGE)]).unwrap();
        let net = Net::new(&memory, &mut Arena::new(0, PAGE)).unwrap();
        assert!(net.check(0, 0).is_ok() && net.check(0, 72).is_ok());
        assert!(net.check(0, 73).is_err() && net.check(0, u32::MAX).is_err());
    }
}
