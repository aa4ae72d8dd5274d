//! Guest memory: regions of one memfd, mapped here and shared with the back-end.
//!
//! ```text
//!   memfd      | region 0        | region 1 |          mmap offset: where a region begins here
//!   guest        0x0               0x10000000          chosen by the caller
//!   user         0x7000_0000_0000 + guest address      a name only: nothing of ours is there
//! ```
//!
//! User addresses are made up, so that a run can be repeated to the bit, and so that a back-end
//! which takes one kind of address for the other is noticed. The mapping is rust-vmm's.
//!
//! **Invariants.** The file cannot shrink (it is sealed), so no peer can take pages away from under
//! the mapping. Every access is checked against the regions. What is read may change at any time:
//! the other side writes here.
//!
//! **Not here:** what is in the memory (see [`super::ring`] and [`super::virtio`]).

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;
use vm_memory::{
    ByteValued, Bytes, FileOffset, GuestAddress, GuestMemoryError, GuestMemoryMmap,
    mmap::{FromRangesError, GuestRegionMmap},
};

/// Guest address 0 as a user address.
const USER_BASE: u64 = 0x7000_0000_0000;

/// What regions begin and end at: no page is larger than this on the machines that we run on,
/// huge pages apart.
pub const PAGE: u64 = 0x1_0000;

/// Why memory could not be made or accessed.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Regions must be some, not empty, ordered, apart from each other, and made of whole pages.
    #[error("guest memory cannot be laid out like this: {0}")]
    Layout(String),
    /// No more of it.
    #[error("guest memory is used up: {wanted} bytes are wanted and {left} are left")]
    Exhausted {
        /// Bytes asked for, with what alignment takes.
        wanted: u64,
        /// Bytes left.
        left: u64,
    },
    /// An address outside every region.
    #[error("no guest memory there: {0}")]
    Access(#[from] GuestMemoryError),
    /// The kernel gives no memory.
    #[error("cannot make guest memory: {0}")]
    Kernel(#[from] Errno),
    /// The file cannot be mapped.
    #[error("cannot map guest memory: {0}")]
    Map(#[from] FromRangesError),
}

/// A file of memory that keeps its size. A peer that could shorten it would end us by a signal, at the
/// next access to a mapping of it.
///
/// # Errors
/// The kernel's.
pub fn sealed(name: &str, size: u64) -> Result<OwnedFd, Errno> {
    let file = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, size)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

/// Memory shared with a back-end. Clones are the same memory, also after it has moved.
#[derive(Clone, Debug)]
pub struct GuestMemory {
    mapping: Arc<RwLock<Arc<Mapping>>>,
}

/// Where the memory is now.
#[derive(Debug)]
struct Mapping {
    map: GuestMemoryMmap<()>,
    file: Arc<File>,
    /// A guest address and a length for each region.
    regions: Vec<(u64, u64)>,
    /// Where the first region begins in the file.
    offset: u64,
}

impl GuestMemory {
    /// Zeroed memory: a guest address and a length in bytes for each region, in order.
    ///
    /// # Errors
    /// See [`MemoryError`].
    pub fn new(regions: &[(u64, u64)]) -> Result<Self, MemoryError> {
        Ok(GuestMemory { mapping: Arc::new(RwLock::new(Arc::new(Mapping::new(regions, 0)?))) })
    }

    /// Moves the contents to another file, in which the first region begins at this offset, with the same
    /// layout. A peer that holds the old descriptor does not see later writes. No party may write to the
    /// memory meanwhile.
    ///
    /// # Errors
    /// See [`MemoryError`].
    pub fn move_to_another_file(&self, offset: u64) -> Result<(), MemoryError> {
        let old = self.now();
        let new = Mapping::new(&old.regions, offset)?;
        let mut bytes = vec![0; PAGE as usize];
        for (at, size) in &old.regions {
            for at in (*at..at.saturating_add(*size)).step_by(bytes.len()) {
                old.map.read_slice(&mut bytes, GuestAddress(at))?;
                new.map.write_slice(&bytes, GuestAddress(at))?;
            }
        }
        *self.mapping.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(())
    }

    fn now(&self) -> Arc<Mapping> {
        Arc::clone(&self.mapping.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The memory's descriptor, to be sent once for each region.
    #[must_use]
    pub fn descriptor(&self) -> Arc<File> {
        Arc::clone(&self.now().file)
    }

    /// Where the first region begins in the file of that descriptor.
    #[must_use]
    pub fn file_offset(&self) -> u64 {
        self.now().offset
    }

    /// The mapping, for a device to use it.
    #[cfg(test)]
    pub(crate) fn map(&self) -> GuestMemoryMmap<()> {
        self.now().map.clone()
    }

    /// Copies from guest memory.
    ///
    /// # Errors
    /// [`MemoryError::Access`] if any byte is outside.
    pub fn read(&self, at: u64, bytes: &mut [u8]) -> Result<(), MemoryError> {
        Ok(self.now().map.read_slice(bytes, GuestAddress(at))?)
    }

    /// Copies into guest memory.
    ///
    /// # Errors
    /// [`MemoryError::Access`] if any byte is outside.
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        Ok(self.now().map.write_slice(bytes, GuestAddress(at))?)
    }

    /// Copies a plain structure into guest memory.
    ///
    /// # Errors
    /// [`MemoryError::Access`] if any byte is outside.
    pub fn write_object<T: ByteValued>(&self, at: u64, object: T) -> Result<(), MemoryError> {
        Ok(self.now().map.write_obj(object, GuestAddress(at))?)
    }

    /// Fills `len` bytes.
    ///
    /// # Errors
    /// [`MemoryError::Access`] if any byte is outside.
    pub fn fill(&self, at: u64, len: u32, byte: u8) -> Result<(), MemoryError> {
        // Bounded by a chunk, whatever `len` says.
        let chunk = [byte; 4096];
        let (mut at, mut left) = (at, len as usize);
        while left > 0 {
            let part = chunk.len().min(left);
            self.write(at, chunk.get(..part).unwrap_or(&chunk))?;
            (at, left) = (at.saturating_add(part as u64), left.saturating_sub(part));
        }
        Ok(())
    }

    /// Reads a little-endian 16-bit number in one piece.
    ///
    /// # Errors
    /// [`MemoryError::Access`] if it is outside or not aligned.
    pub fn load_u16(&self, at: u64, order: Ordering) -> Result<u16, MemoryError> {
        Ok(u16::from_le(self.now().map.load(GuestAddress(at), order)?))
    }

    /// Writes a little-endian 16-bit number in one piece.
    ///
    /// # Errors
    /// [`MemoryError::Access`] if it is outside or not aligned.
    pub fn store_u16(&self, at: u64, value: u16, order: Ordering) -> Result<(), MemoryError> {
        Ok(self.now().map.store(value.to_le(), GuestAddress(at), order)?)
    }
}

impl Mapping {
    fn new(regions: &[(u64, u64)], first: u64) -> Result<Self, MemoryError> {
        let layout = |what: &str| MemoryError::Layout(format!("{what} in {regions:x?}"));
        if regions.is_empty() {
            return Err(layout("no region"));
        }
        if regions.iter().any(|(at, size)| at % PAGE != 0 || size % PAGE != 0 || *size == 0) {
            return Err(layout("a region that is empty or not made of whole pages"));
        }
        if !first.is_multiple_of(PAGE) {
            return Err(layout("a file offset that is not made of whole pages"));
        }
        let total = regions.iter().try_fold(first, |sum, (_, size)| sum.checked_add(*size));
        let total = total.ok_or_else(|| layout("more than can be counted"))?;

        let file = Arc::new(File::from(sealed("devmig-guest-memory", total)?));
        let mut offset = first;
        let mut mapped = Vec::with_capacity(regions.len());
        for (at, size) in regions {
            let length = usize::try_from(*size).map_err(|_| layout("a region too long"))?;
            let part = FileOffset::from_arc(Arc::clone(&file), offset);
            mapped.push(GuestRegionMmap::from_range(GuestAddress(*at), length, Some(part))?);
            offset = offset.saturating_add(*size);
        }
        let map = GuestMemoryMmap::from_regions(mapped).map_err(FromRangesError::from)?;
        Ok(Mapping { map, file, regions: regions.to_vec(), offset: first })
    }
}

/// What a guest address is called in messages that carry user addresses.
#[must_use]
pub const fn user_address(guest_address: u64) -> u64 {
    USER_BASE.wrapping_add(guest_address)
}

/// Hands out pieces of a stretch of guest memory, one after the other. Nothing is given back.
#[derive(Clone, Debug)]
pub struct Arena {
    next: u64,
    end: u64,
}

impl Arena {
    /// A stretch of `size` bytes from this guest address on.
    #[must_use]
    pub const fn new(at: u64, size: u64) -> Self {
        Arena { next: at, end: at.saturating_add(size) }
    }

    /// What nobody has taken: from one guest address to another.
    #[must_use]
    pub const fn rest(&self) -> (u64, u64) {
        (self.next, self.end)
    }

    /// The guest address of `size` bytes, aligned to `align` (at least 1).
    ///
    /// # Errors
    /// [`MemoryError::Exhausted`].
    pub fn take(&mut self, size: u64, align: u64) -> Result<u64, MemoryError> {
        let left = self.end.saturating_sub(self.next);
        let exhausted = MemoryError::Exhausted { wanted: size, left };
        let at = self.next.checked_next_multiple_of(align.max(1));
        let next = at.and_then(|at| at.checked_add(size)).filter(|next| *next <= self.end);
        match (at, next) {
            (Some(at), Some(next)) => {
                self.next = next;
                Ok(at)
            }
            _ => Err(exhausted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_regions_lie_one_after_the_other_in_the_file() {
        let memory = GuestMemory::new(&[(0, PAGE), (0x1000_0000, 2 * PAGE)]).unwrap();
        assert_eq!(user_address(0x1000_0000), 0x7000_1000_0000);
        // What the other side sees through the descriptor.
        memory.write(0x1000_0010, b"hello").unwrap();
        let mut seen = [0; 5];
        rustix::io::pread(memory.descriptor(), &mut seen, PAGE + 0x10).unwrap();
        assert_eq!(&seen, b"hello");
        memory.store_u16(0, 0x1234, Ordering::Release).unwrap();
        rustix::io::pread(memory.descriptor(), &mut seen, 0).unwrap();
        assert_eq!(&seen[..2], [0x34, 0x12]);
        assert_eq!(memory.load_u16(0, Ordering::Acquire).unwrap(), 0x1234);
    }

    #[test]
    fn memory_moves_with_its_contents_and_to_an_offset() {
        let memory = GuestMemory::new(&[(0, PAGE)]).unwrap();
        memory.write(0x10, b"hello").unwrap();
        for offset in [PAGE, 0] {
            memory.move_to_another_file(offset).unwrap();
            assert_eq!(memory.file_offset(), offset);
            let mut seen = [0; 5];
            rustix::io::pread(memory.descriptor(), &mut seen, offset + 0x10).unwrap();
            assert_eq!(&seen, b"hello");
        }
        assert!(memory.move_to_another_file(1).is_err());
    }

    #[test]
    fn what_is_outside_is_an_error() {
        let memory = GuestMemory::new(&[(0, PAGE)]).unwrap();
        assert!(memory.read(PAGE - 1, &mut [0; 2]).is_err());
        assert!(memory.write(u64::MAX, &[0; 2]).is_err());
        assert!(memory.load_u16(PAGE, Ordering::Acquire).is_err());
        assert!(memory.load_u16(1, Ordering::Acquire).is_err(), "not aligned");
        assert!(memory.fill(0, u32::MAX, 1).is_err());
    }

    #[test]
    fn impossible_layouts_are_errors() {
        for regions in [
            &[][..],
            &[(0, 0)],
            &[(1, PAGE)],
            &[(0, PAGE + 1)],
            &[(0, 2 * PAGE), (PAGE, PAGE)],
            &[(PAGE, PAGE), (0, PAGE)],
            &[(0, u64::MAX - (PAGE - 1)), (0, PAGE)],
            &[(u64::MAX - (PAGE - 1), PAGE)],
        ] {
            assert!(GuestMemory::new(regions).is_err(), "{regions:x?}");
        }
    }

    #[test]
    fn a_peer_cannot_take_the_memory_away() {
        let memory = GuestMemory::new(&[(0, PAGE)]).unwrap();
        assert_eq!(ftruncate(memory.descriptor(), 0), Err(Errno::PERM));
    }

    #[test]
    fn an_arena_ends() {
        let mut arena = Arena::new(10, 100);
        assert_eq!(arena.take(1, 16).unwrap(), 16);
        assert_eq!(arena.take(90, 1).unwrap(), 17);
        assert!(matches!(arena.take(4, 1), Err(MemoryError::Exhausted { wanted: 4, left: 3 })));
        assert!(Arena::new(u64::MAX - 1, 100).take(1, 1 << 63).is_err());
        assert!(Arena::new(0, 100).take(u64::MAX, 2).is_err());
    }
}
