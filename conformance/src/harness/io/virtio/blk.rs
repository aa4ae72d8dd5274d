//! Requests for a block device: reads, now and then its name, and writes where data may go.
//!
//! ```text
//!   slot   | header 16 | status 16 | data 512 |    T_IN, T_OUT: 512 bytes     GET_ID: 20 bytes
//! ```
//!
//! Slots lie so that the data of the first of four, and nothing else of it, goes on in the next page:
//! whoever marks one page for a buffer is seen.

use virtio_bindings::bindings::virtio_blk::{
    VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};

use super::{SLOTS, UNTOUCHED, Workload};
use crate::harness::io::memory::{Arena, GuestMemory, MemoryError};
use crate::harness::io::ring::Buffer;

const HEADER: u32 = 16;
const SECTOR: u32 = 512;
const STATUS: u32 = 1;
const SLOT: u64 = 1024;
/// Where data begins in a slot.
const DATA: u64 = 32;
/// What a dirty log counts.
const PAGE: u64 = 4096;
/// Where the first slot is in its page.
const SHIFT: u64 = PAGE - 256;

/// How a block device is used.
#[derive(Clone, Copy, Debug)]
pub struct BlkOptions {
    /// Whether data may be destroyed: every fourth request is then a write.
    pub scratch: bool,
    /// How many sectors of 512 bytes to use, from the first on: at most as many as there are.
    pub sectors: u64,
}

impl Default for BlkOptions {
    /// Reads of the first sector.
    fn default() -> Self {
        BlkOptions { scratch: false, sectors: 1 }
    }
}

/// A block device.
#[derive(Debug)]
pub struct Blk {
    memory: GuestMemory,
    slots: u64,
    options: BlkOptions,
}

/// What one request does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Read,
    Write,
    Id,
}

impl Blk {
    /// A workload with its slots in memory from the arena.
    ///
    /// # Errors
    /// When the arena is used up.
    pub fn new(
        memory: &GuestMemory,
        arena: &mut Arena,
        options: BlkOptions,
    ) -> Result<Self, MemoryError> {
        let slots = arena.take(SHIFT + SLOT * SLOTS, PAGE)? + SHIFT;
        Ok(Blk { memory: memory.clone(), slots, options })
    }

    fn kind(&self, n: u64) -> Kind {
        match n % 4 {
            1 if self.options.scratch => Kind::Write,
            3 => Kind::Id,
            _ => Kind::Read,
        }
    }

    fn slot(&self, n: u64) -> u64 {
        self.slots + SLOT * (n % SLOTS)
    }

    /// What the data of request `n` is before the device writes it: nothing that any other request has.
    fn unwritten(n: u64) -> [u8; SECTOR as usize] {
        let word = (n ^ 0xa5a5_5a5a_a55a_5aa5).to_le_bytes();
        let mut data = [0; SECTOR as usize];
        data.chunks_exact_mut(word.len()).for_each(|chunk| chunk.copy_from_slice(&word));
        data
    }
}

impl Workload for Blk {
    fn name(&self) -> &'static str {
        "blk"
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
        self.memory.fill(slot, SLOT as u32, UNTOUCHED)?;
        self.memory.write(slot + DATA, &Self::unwritten(n))?;
        let (code, size, writable) = match self.kind(n) {
            Kind::Read => (VIRTIO_BLK_T_IN, SECTOR, true),
            Kind::Write => (VIRTIO_BLK_T_OUT, SECTOR, false),
            Kind::Id => (VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_ID_BYTES, true),
        };
        let sector = if code == VIRTIO_BLK_T_GET_ID { 0 } else { n % self.options.sectors.max(1) };
        let mut header = [0; HEADER as usize];
        for (to, from) in header.iter_mut().zip(code.to_le_bytes()) {
            *to = from;
        }
        for (to, from) in header.iter_mut().skip(8).zip(sector.to_le_bytes()) {
            *to = from;
        }
        self.memory.write(slot, &header)?;
        let (data, status) = (slot + DATA, slot + u64::from(HEADER));
        Ok(vec![
            Buffer { addr: slot, len: HEADER, writable: false },
            Buffer { addr: data, len: size, writable },
            Buffer { addr: status, len: STATUS, writable: true },
        ])
    }

    fn check(&self, n: u64, used: u32) -> Result<(), String> {
        let mut status = [0];
        let at = self.slot(n) + u64::from(HEADER);
        self.memory.read(at, &mut status).map_err(|error| error.to_string())?;
        let [status] = status;
        match u32::from(status) {
            VIRTIO_BLK_S_OK => {}
            VIRTIO_BLK_S_UNSUPP if self.kind(n) == Kind::Id => {}
            VIRTIO_BLK_S_IOERR => return Err("status is S_IOERR".into()),
            VIRTIO_BLK_S_UNSUPP => return Err("status is S_UNSUPP".into()),
            other if other == u32::from(UNTOUCHED) => {
                return Err("the request is used, but its status was not written".into());
            }
            other => return Err(format!("the status is {other}, which is not defined")),
        }
        let most = match self.kind(n) {
            Kind::Read => SECTOR + STATUS,
            Kind::Write => STATUS,
            Kind::Id => VIRTIO_BLK_ID_BYTES + STATUS,
        };
        if used > most {
            return Err(format!("the used length is {used}, but only {most} bytes are writable"));
        }
        let read = self.kind(n) == Kind::Read && u32::from(status) == VIRTIO_BLK_S_OK;
        if read && used == most {
            let mut data = [0; SECTOR as usize];
            let at = self.slot(n) + DATA;
            self.memory.read(at, &mut data).map_err(|error| error.to_string())?;
            if data == Self::unwritten(n) {
                return Err(format!("{SECTOR} bytes are said to be read, and none is written"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::io::memory::PAGE;

    fn blk(scratch: bool) -> Blk {
        let memory = GuestMemory::new(&[(0, 2 * PAGE)]).unwrap();
        let options = BlkOptions { scratch, sectors: 8 };
        Blk::new(&memory, &mut Arena::new(0, 2 * PAGE), options).unwrap()
    }

    #[test]
    fn nothing_is_written_to_the_device_unless_it_may_be() {
        let (mut careful, mut free) = (blk(false), blk(true));
        let writes =
            |blk: &mut Blk| (0..100).filter(|n| !blk.request(*n).unwrap()[1].writable).count();
        assert_eq!((writes(&mut careful), writes(&mut free)), (0, 25));
    }

    #[test]
    fn only_a_right_answer_is_right() {
        let mut blk = blk(false);
        for (n, most) in [(0, 513), (3, 21)] {
            let chain = blk.request(n).unwrap();
            assert_eq!(chain.iter().filter(|b| b.writable).map(|b| b.len).sum::<u32>(), most);
            let error = blk.check(n, most).unwrap_err();
            assert!(error.contains("was not written"), "{error}");
            if n == 0 {
                blk.memory.write(chain[2].addr, &[0]).unwrap();
                assert!(blk.check(n, most).unwrap_err().contains("none is written"));
                blk.memory.write(chain[1].addr, &[0]).unwrap();
            }
            for (status, right) in [(0, true), (1, false), (2, n == 3), (9, false)] {
                blk.memory.write(chain[2].addr, &[status]).unwrap();
                assert_eq!(blk.check(n, most).is_ok(), right);
            }
            blk.memory.write(chain[2].addr, &[0]).unwrap();
            assert!(blk.check(n, most + 1).is_err());
            assert!(blk.check(n, u32::MAX).is_err());
        }
    }

    #[test]
    fn requests_close_to_each_other_have_memory_of_their_own() {
        let mut blk = blk(false);
        let mut seen = std::collections::BTreeSet::new();
        for n in 1000..1000 + SLOTS {
            assert!(seen.insert(blk.request(n).unwrap()[0].addr));
        }
    }
}
