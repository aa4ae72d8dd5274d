//! A small RAM disk that speaks virtio-blk. Each sector is filled with its number at first.
//!
//! ```text
//!   request   | type, sector: 16 | data ... | status: 1 |     IN, OUT, FLUSH, GET_ID
//!
//!   state     | magic | kind | version | completed | sectors | changed: (number, 512)* | digest |
//! ```
//!
//! Requests can be made to take time, so that some are in flight when a ring stops, and to
//! overtake each other.
//!
//! **Invariants.** A request that cannot be executed is answered with a status if there is room for
//! one, and changes nothing. What a state does not say is not restored; what is no state of such a
//! disk changes nothing.

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::io::{Read, Write};
use std::time::Duration;

use fnv::FnvHasher;
use virtio_bindings::bindings::virtio_blk::{
    VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_ID_BYTES, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK,
    VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN,
    VIRTIO_BLK_T_OUT,
};
use virtio_queue::{Reader, Writer};

use crate::vhost_user::device::{Chain, Device, StateError};
use crate::vhost_user::{Mutant, Mutants};

/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// By how many sectors it grows when somebody enlarges it.
const GROWTH: u64 = 8;

/// What GET_ID answers with.
pub const ID: &[u8; VIRTIO_BLK_ID_BYTES as usize] = b"devmig-reference\0\0\0\0";

const MAGIC: &[u8; 8] = b"devmig\0\0";
const KIND: u32 = u32::from_le_bytes(*b"blk\0");
const VERSION: u32 = 1;

/// How a disk is made.
#[derive(Clone, Copy, Debug)]
pub struct BlockOptions {
    /// Its size in sectors.
    pub sectors: u64,
    /// How many rings it has, at least 1.
    pub rings: usize,
    /// How long a request takes.
    pub latency: Duration,
    /// Whether every other request takes three times as long, so that it is overtaken.
    pub out_of_order: bool,
}

impl Default for BlockOptions {
    /// 128 sectors, one ring, no delay.
    fn default() -> Self {
        BlockOptions { sectors: 128, rings: 1, latency: Duration::ZERO, out_of_order: false }
    }
}

/// The disk.
#[derive(Clone, Debug)]
pub struct Block {
    options: BlockOptions,
    mutants: Mutants,
    fetched: u64,
    completed: u64,
    /// Sectors that are not what they were at first.
    changed: BTreeMap<u64, [u8; SECTOR]>,
}

impl Block {
    /// A disk as new.
    #[must_use]
    pub fn new(options: BlockOptions) -> Self {
        Block {
            options,
            mutants: Mutants::default(),
            fetched: 0,
            completed: 0,
            changed: BTreeMap::new(),
        }
    }

    /// Requests executed since the last reset.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.completed
    }

    /// What is in a sector.
    #[must_use]
    pub fn sector(&self, number: u64) -> [u8; SECTOR] {
        self.changed.get(&number).copied().unwrap_or_else(|| initial(number))
    }

    /// Executes what was read of a request, and writes into the part before its status.
    fn perform<R: Read, W: Write>(
        &mut self,
        request: &mut R,
        data: &mut W,
        (readable, writable): (usize, usize),
    ) -> Result<u32, u32> {
        let mut header = [0; 16];
        request.read_exact(&mut header).map_err(|_| VIRTIO_BLK_S_IOERR)?;
        let [a, b, c, d, _, _, _, _, sector @ ..] = header;
        let (code, first) = (u32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(sector));
        let span = |bytes: usize| {
            let count = bytes.is_multiple_of(SECTOR).then_some((bytes / SECTOR) as u64);
            let end = count.and_then(|count| first.checked_add(count));
            end.filter(|end| *end <= self.options.sectors).map(|end| first..end)
        };
        match code {
            VIRTIO_BLK_T_IN => {
                let written = !self.mutants.has(Mutant::DataUnwritten);
                for number in span(writable).ok_or(VIRTIO_BLK_S_IOERR)?.filter(|_| written) {
                    data.write_all(&self.sector(number)).map_err(|_| VIRTIO_BLK_S_IOERR)?;
                }
                Ok(writable as u32)
            }
            VIRTIO_BLK_T_OUT => {
                let bytes = readable.saturating_sub(header.len());
                for number in span(bytes).ok_or(VIRTIO_BLK_S_IOERR)? {
                    let mut sector = [0; SECTOR];
                    request.read_exact(&mut sector).map_err(|_| VIRTIO_BLK_S_IOERR)?;
                    self.changed.insert(number, sector);
                }
                Ok(0)
            }
            VIRTIO_BLK_T_FLUSH => Ok(0),
            VIRTIO_BLK_T_GET_ID => {
                let id = ID.get(..writable.min(ID.len())).unwrap_or(ID);
                data.write_all(id).map_err(|_| VIRTIO_BLK_S_IOERR)?;
                Ok(id.len() as u32)
            }
            _ => Err(VIRTIO_BLK_S_UNSUPP),
        }
    }
}

/// What a sector of a new disk is filled with: its number, over and over.
fn initial(number: u64) -> [u8; SECTOR] {
    let mut sector = [0; SECTOR];
    for chunk in sector.chunks_exact_mut(8) {
        chunk.copy_from_slice(&number.to_le_bytes());
    }
    sector
}

impl Device for Block {
    fn features(&self) -> u64 {
        1 << VIRTIO_BLK_F_FLUSH
    }

    fn set_mutants(&mut self, mutants: Mutants) {
        self.mutants = mutants;
    }

    fn rings(&self) -> usize {
        self.options.rings.max(1)
    }

    fn config(&self) -> Vec<u8> {
        self.options.sectors.to_le_bytes().to_vec()
    }

    /// Every field is read-only: only a migration may set it, to what it is.
    fn set_config(&mut self, _: usize, _: &[u8], migrated: bool) -> bool {
        migrated
    }

    fn latency(&mut self, _: usize) -> Duration {
        self.fetched = self.fetched.wrapping_add(1);
        let slow = self.options.out_of_order && self.fetched % 2 == 1;
        self.options.latency.saturating_mul(if slow { 3 } else { 1 })
    }

    /// A discarded request is executed too: what one without effects would be, the text does not
    /// say of disks.
    fn execute(&mut self, _: usize, chain: Chain, _: bool) -> u32 {
        self.completed = self.completed.wrapping_add(1);
        let memory = chain.memory();
        let (Ok(mut request), Ok(mut data)) =
            (Reader::new(memory, chain.clone()), Writer::new(memory, chain.clone()))
        else {
            return 0;
        };
        let Some(writable) = data.available_bytes().checked_sub(1) else { return 0 };
        let Ok(mut status) = data.split_at(writable) else { return 0 };
        let readable = request.available_bytes();
        let (code, written) = match self.perform(&mut request, &mut data, (readable, writable)) {
            Ok(written) => (VIRTIO_BLK_S_OK, written),
            Err(code) => (code, 0),
        };
        match status.write_all(&[code as u8]) {
            Ok(()) => written.saturating_add(1),
            Err(_) => 0,
        }
    }

    /// It grows.
    fn change(&mut self) -> bool {
        let sectors = self.options.sectors.saturating_add(GROWTH);
        std::mem::replace(&mut self.options.sectors, sectors) != sectors
    }

    fn reset(&mut self) {
        self.completed = 0;
    }

    fn save(&self) -> Vec<u8> {
        let mut state = Vec::with_capacity(40 + self.changed.len() * (8 + SECTOR));
        state.extend(MAGIC);
        state.extend(KIND.to_le_bytes());
        state.extend(VERSION.to_le_bytes());
        state.extend(self.completed.to_le_bytes());
        state.extend(self.options.sectors.to_le_bytes());
        for (number, sector) in &self.changed {
            state.extend(number.to_le_bytes());
            state.extend(sector);
        }
        let digest = digest(&state);
        state.extend(digest.to_le_bytes());
        state
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let mut rest = state;
        if take::<8>(&mut rest)? != *MAGIC || u32::from_le_bytes(take(&mut rest)?) != KIND {
            return Err(StateError::Foreign);
        }
        let version = u32::from_le_bytes(take(&mut rest)?);
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let (body, end) = state.split_last_chunk().ok_or(StateError::Damaged)?;
        if u64::from_le_bytes(*end) != digest(body) {
            return Err(StateError::Damaged);
        }
        let completed = u64::from_le_bytes(take(&mut rest)?);
        let sectors = u64::from_le_bytes(take(&mut rest)?);
        if sectors != self.options.sectors {
            return Err(StateError::Shape(sectors));
        }
        let mut changed = BTreeMap::new();
        while rest.len() > size_of::<u64>() {
            let number = u64::from_le_bytes(take(&mut rest)?);
            if number >= sectors {
                return Err(StateError::Damaged);
            }
            changed.insert(number, take(&mut rest)?);
        }
        if rest.len() != size_of::<u64>() {
            return Err(StateError::Damaged);
        }
        (self.completed, self.changed) = (completed, changed);
        Ok(())
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], StateError> {
    let (head, tail) = rest.split_first_chunk().ok_or(StateError::Damaged)?;
    *rest = tail;
    Ok(*head)
}

/// FNV-1a: against accidents, not against intent.
fn digest(bytes: &[u8]) -> u64 {
    let mut digest = FnvHasher::default();
    digest.write(bytes);
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Block {
        Block::new(BlockOptions { sectors: 8, ..BlockOptions::default() })
    }

    #[test]
    fn a_saved_state_is_restored_and_nothing_else_is_taken() {
        let mut source = disk();
        source.completed = 7;
        source.changed.insert(3, [9; SECTOR]);
        let state = source.save();

        let mut target = disk();
        target.load(&state).unwrap();
        assert_eq!((target.completed(), target.sector(3)), (7, [9; SECTOR]));
        assert_eq!(target.save(), state);

        for length in 0..state.len() {
            assert!(target.load(&state[..length]).is_err(), "{length} bytes");
        }
        for at in 0..state.len() {
            let mut other = state.clone();
            other[at] ^= 1;
            assert!(target.load(&other).is_err(), "byte {at}");
        }
        assert_eq!(target.load(&[state.as_slice(), b"x"].concat()), Err(StateError::Damaged));
        assert_eq!(target.load(b"something else altogether"), Err(StateError::Foreign));
        let larger = Block::new(BlockOptions::default()).save();
        assert_eq!(target.load(&larger), Err(StateError::Shape(128)));
        assert_eq!(target.save(), state, "unchanged by all of these");
    }
}
