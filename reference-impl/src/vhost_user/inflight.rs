//! The record of requests in flight, for split rings: memory that outlives a back-end, so that the
//! next one can finish what this one has begun.
//!
//! ```text
//!   ring 0  | features 8 | version 2 | desc_num 2 | last_batch_head 2 | used_idx 2 |
//!           | in flight 1 | - 5 | next 2 | counter 8 |  for each descriptor
//!   ring 1  ...
//!
//!   fetched    counter, in flight
//!   completed  next, last_batch_head --> the used index moves --> not in flight, used_idx
//! ```
//!
//! **Invariants.** What is in it may be anything: no index is used before it was checked, and no
//! list is followed for longer than a ring. Whatever it says, a descriptor is resubmitted at most
//! once.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use devmig_model::protocol::vhost_user::wire::Inflight;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use vm_memory::{Bytes, MmapRegion, VolatileMemory};

use super::memory::{MemoryError, map_file};
use super::mutants::{Mutant, Mutants};

/// Bytes in front of a ring's descriptors.
const HEAD: usize = 16;

/// Bytes of a descriptor's state.
const STATE: usize = 16;

/// The only version there is.
const VERSION: u16 = 1;

/// Bytes for so many rings of this size.
#[must_use]
pub const fn length(rings: u16, size: u16) -> u64 {
    rings as u64 * (HEAD + STATE * size as usize) as u64
}

/// A new record, all zero.
///
/// # Errors
/// When memory or descriptors have run out.
pub fn create(rings: u16, size: u16) -> Result<(Inflight, OwnedFd), MemoryError> {
    let mmap_size = length(rings, size);
    let fd = memfd_create("devmig-inflight", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&fd, mmap_size)?;
    fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    let about = Inflight {
        mmap_size,
        mmap_offset: 0,
        num_queues: rings,
        queue_size: size,
        alignment: None,
    };
    Ok((about, OwnedFd::from(File::from(fd))))
}

/// A record that the front-end has sent.
#[derive(Clone, Debug)]
pub struct Record {
    map: Arc<MmapRegion<()>>,
    rings: u16,
    size: u16,
}

impl Record {
    /// Maps it.
    ///
    /// # Errors
    /// See [`MemoryError`]: e.g. if it is too short for what it is said to hold.
    pub fn map(about: &Inflight, fd: OwnedFd) -> Result<Self, MemoryError> {
        let Inflight { mmap_size, mmap_offset, num_queues: rings, queue_size: size, .. } = *about;
        if mmap_size < length(rings, size) {
            return Err(MemoryError::BeyondFile);
        }
        let map = Arc::new(map_file(fd, mmap_offset, mmap_size)?);
        Ok(Record { map, rings, size })
    }

    /// The part of one ring, made usable if it is new; `None` if it has none.
    #[must_use]
    pub fn ring(&self, ring: usize, mutants: Mutants) -> Option<RingRecord> {
        let at = usize::from(u16::try_from(ring).ok().filter(|ring| *ring < self.rings)?);
        let at = at * (HEAD + STATE * usize::from(self.size));
        let record =
            RingRecord { map: Arc::clone(&self.map), at, size: self.size, counter: 0, mutants };
        if record.get::<u16>(Field::Version) == 0 {
            record.set(Field::Number, self.size);
            record.set(Field::Version, VERSION);
        }
        Some(record)
    }
}

/// What a ring's record has beside its descriptors.
#[derive(Clone, Copy)]
enum Field {
    Version = 8,
    Number = 10,
    LastBatch = 12,
    Used = 14,
}

/// The part of one ring.
#[derive(Debug)]
pub struct RingRecord {
    map: Arc<MmapRegion<()>>,
    at: usize,
    size: u16,
    counter: u64,
    mutants: Mutants,
}

/// Where a descriptor's state has what.
const IN_FLIGHT: usize = 0;
const NEXT: usize = 6;
const COUNTER: usize = 8;

impl RingRecord {
    fn load<T: vm_memory::AtomicAccess + Default>(&self, at: usize) -> T {
        // Inside by construction; what is not aligned reads as nothing.
        self.map.as_volatile_slice().load(at, Ordering::Acquire).unwrap_or_default()
    }

    fn store<T: vm_memory::AtomicAccess>(&self, at: usize, value: T) {
        // The same.
        let _ = self.map.as_volatile_slice().store(value, at, Ordering::Release);
    }

    fn get<T: vm_memory::AtomicAccess + Default>(&self, field: Field) -> T {
        self.load(self.at + field as usize)
    }

    fn set(&self, field: Field, value: u16) {
        self.store(self.at + field as usize, value);
    }

    fn descriptor(&self, head: u16, what: usize) -> Option<usize> {
        (head < self.size).then(|| self.at + HEAD + STATE * usize::from(head) + what)
    }

    fn in_flight(&self, head: u16) -> bool {
        self.descriptor(head, IN_FLIGHT).is_some_and(|at| self.load::<u8>(at) == 1)
    }

    /// This head was fetched.
    pub fn fetched(&mut self, head: u16) {
        if let Some(at) = self.descriptor(head, COUNTER) {
            self.store(at, self.counter);
            self.counter = self.counter.wrapping_add(1);
        }
        self.mark(head, true);
    }

    /// This head is about to be put into the used ring.
    pub fn completing(&self, head: u16) {
        if let Some(at) = self.descriptor(head, NEXT) {
            self.store(at, self.get::<u16>(Field::LastBatch));
            self.set(Field::LastBatch, head);
        }
    }

    /// The used index is this now, and the head is in the used ring.
    pub fn completed(&self, head: u16, used: u16) {
        if !self.mutants.has(Mutant::InflightStays) {
            self.mark(head, false);
        }
        self.set(Field::Used, used);
    }

    /// This head is in flight, or no longer.
    pub fn mark(&self, head: u16, in_flight: bool) {
        if let Some(at) = self.descriptor(head, IN_FLIGHT) {
            self.store(at, u8::from(in_flight));
        }
    }

    /// The heads in flight, oldest first. `used` is the used ring's index: what the record did not
    /// get to say of the last batch is put right first.
    pub fn recover(&mut self, used: u16) -> Vec<u16> {
        let batch = used.wrapping_sub(self.get(Field::Used));
        let mut head = self.get(Field::LastBatch);
        let batch = if self.mutants.has(Mutant::InflightLastBatch) { 0 } else { batch };
        for _ in 0..batch.min(self.size) {
            self.mark(head, false);
            head = self.descriptor(head, NEXT).map_or(u16::MAX, |at| self.load(at));
        }
        self.set(Field::Used, used);
        let counter =
            |head: &u16| -> u64 { self.descriptor(*head, COUNTER).map_or(0, |at| self.load(at)) };
        let heads = (0..self.size).filter(|head| self.in_flight(*head));
        let mut heads: Vec<u16> = heads.collect();
        heads.sort_by_key(counter);
        let last = heads.last().map(counter);
        self.counter = last.map_or(self.counter, |last| last.wrapping_add(1));
        heads
    }

    /// Those of them that are resubmitted: all.
    #[must_use]
    pub fn resubmitted(&self, mut heads: Vec<u16>) -> Vec<u16> {
        if self.mutants.has(Mutant::InflightForgotten) {
            heads.clear();
        }
        if self.mutants.has(Mutant::InflightNotFirst) {
            heads.retain(|head| *head != 0);
        }
        heads
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use devmig_testing::Premises;
    use quickcheck::{Arbitrary, Gen, QuickCheck};

    fn record(size: u16) -> (Record, OwnedFd) {
        let (about, fd) = create(2, size).unwrap();
        (Record::map(&about, fd.try_clone().unwrap()).unwrap(), fd)
    }

    #[test]
    fn what_was_fetched_and_not_completed_is_found_in_its_order() {
        let (first, fd) = record(8);
        let mut ring = first.ring(1, Mutants::default()).unwrap();
        for head in [5, 2, 7, 0] {
            ring.fetched(head);
        }
        ring.completing(2);
        ring.completed(2, 1);
        // One more got into the used ring, and the record was not told.
        ring.completing(7);

        let about = Inflight {
            mmap_size: length(2, 8),
            num_queues: 2,
            queue_size: 8,
            ..Inflight::default()
        };
        let next = Record::map(&about, fd).unwrap();
        let mut ring = next.ring(1, Mutants::default()).unwrap();
        assert_eq!(ring.recover(2), [5, 0]);
        assert_eq!(ring.recover(2), [5, 0], "and again");
        ring.fetched(3);
        assert_eq!(ring.recover(2), [5, 0, 3], "the counter goes on");
        assert_eq!(
            next.ring(0, Mutants::default()).unwrap().recover(9),
            [] as [u16; 0],
            "each its own"
        );
        assert!(next.ring(2, Mutants::default()).is_none());
    }

    #[test]
    fn a_record_lies_where_the_text_puts_it() {
        let (record, fd) = record(4);
        let mut ring = record.ring(1, Mutants::default()).unwrap();
        ring.fetched(1);
        ring.fetched(2);
        ring.completing(2);
        ring.completed(2, 0x0102);
        let mut bytes = [0; 160];
        rustix::io::pread(&fd, &mut bytes, 0).unwrap();
        assert_eq!(bytes[80..96], [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 4, 0, 2, 0, 2, 1]);
        assert_eq!(bytes[112..128], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[128..144], [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_record_that_is_too_short_is_none() {
        let (about, fd) = create(2, 8).unwrap();
        for (mmap_size, mmap_offset, num_queues, queue_size) in [
            (about.mmap_size - 1, 0, 2, 8),
            (about.mmap_size + 1, 0, 2, 8),
            (about.mmap_size, 0, u16::MAX, u16::MAX),
            (about.mmap_size, 0x1000, 2, 8),
            (0, 0, 0, 0),
        ] {
            let about =
                Inflight { mmap_size, mmap_offset, num_queues, queue_size, alignment: None };
            assert!(Record::map(&about, fd.try_clone().unwrap()).is_err(), "{about:?}");
        }
    }

    /// What lies in one ring's part of a record of four requests: any bytes, most of the time with
    /// numbers that such a record can have.
    #[derive(Clone, Debug)]
    struct Part(Vec<u8>);

    impl Arbitrary for Part {
        fn arbitrary(g: &mut Gen) -> Self {
            let mut bytes: Vec<u8> = (0..80).map(|_| u8::arbitrary(g)).collect();
            if u8::arbitrary(g) % 4 > 0 {
                bytes[8..16].copy_from_slice(&[1, 0, 4, 0, u8::arbitrary(g) % 4, 0, 0, 0]);
                for entry in bytes[16..].chunks_mut(16) {
                    entry[0] = u8::arbitrary(g) % 2;
                }
            }
            Part(bytes)
        }
    }

    #[test]
    fn any_record_is_read() {
        static PREMISES: Premises = Premises::new();
        fn law(Part(bytes): Part, used: u16, heads: Vec<u16>) -> bool {
            let (record, fd) = record(4);
            rustix::io::pwrite(&fd, &bytes, 0).unwrap();
            let mut ring = record.ring(0, Mutants::default()).unwrap();
            let found = ring.recover(used);
            PREMISES.holds("something is found", !found.is_empty());
            PREMISES.holds("several are found", found.len() > 1);
            for head in heads {
                ring.fetched(head);
                ring.completing(head);
                ring.completed(head, used);
            }
            let mut unique = found.clone();
            unique.sort_unstable();
            unique.dedup();
            unique.len() == found.len() && found.iter().all(|head| *head < 4)
        }
        QuickCheck::new().tests(500).quickcheck(law as fn(Part, u16, Vec<u16>) -> bool);
        PREMISES.at_least("something is found", 33);
        PREMISES.at_least("several are found", 33);
    }
}
