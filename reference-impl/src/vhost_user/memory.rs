//! Guest memory: the front-end's regions, mapped by rust-vmm, and the way from its addresses to ours.
//!
//! ```text
//!   user address  --table-->  guest address  --rust-vmm-->  bytes
//! ```
//!
//! **Invariants.** A region is mapped only if its file is long enough when it arrives, and all of a
//! change is made or nothing. A front-end that shortens the file afterwards kills this process:
//! there is no guard against it that needs no signal handler.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use devmig_model::protocol::vhost_user::wire::Region;
use rustix::io::Errno;
use vm_memory::mmap::{FromRangesError, GuestRegionMmap};
use vm_memory::{
    Bytes, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryRegion,
    GuestRegionCollectionError, MmapRegion,
};

use super::device::Memory;

/// The most regions at a time.
pub const MAX_SLOTS: usize = 32;

/// Why memory was not taken.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// A region needs exactly one descriptor.
    #[error("{regions} regions came with {descriptors} descriptors")]
    Descriptors {
        /// Regions.
        regions: usize,
        /// Descriptors.
        descriptors: usize,
    },
    /// More than [`MAX_SLOTS`].
    #[error("more than {MAX_SLOTS} memory regions")]
    TooMany,
    /// The file ends before the region does.
    #[error("a region goes beyond the end of its file")]
    BeyondFile,
    /// No such region to remove.
    #[error("there is no such region")]
    Unknown,
    /// The descriptor cannot be asked for its length.
    #[error("the descriptor of a region is of no use: {0}")]
    Descriptor(#[from] Errno),
    /// The kernel does not map it.
    #[error("a region cannot be mapped: {0}")]
    Map(#[from] FromRangesError),
    /// Regions overlap in guest addresses.
    #[error("the regions do not fit together: {0}")]
    Layout(#[from] GuestRegionCollectionError),
}

/// The regions known now.
#[derive(Debug, Default)]
pub struct MemoryTable {
    slots: Vec<(Region, Arc<GuestRegionMmap<()>>)>,
    map: Option<Arc<Memory>>,
    /// What is taken for what, by mistake.
    confusion: Option<Confusion>,
}

/// A mistake about addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Confusion {
    /// What names a ring is looked up as a guest address.
    Rings,
    /// What names a buffer is looked up as the front-end's own.
    Buffers,
}

impl MemoryTable {
    /// The same, with a mistake.
    #[must_use]
    pub fn confused(self, confusion: Option<Confusion>) -> Self {
        MemoryTable { confusion, ..self }
    }

    /// The mapping, or `None` while there is no region.
    #[must_use]
    pub fn map(&self) -> Option<&Arc<Memory>> {
        self.map.as_ref()
    }

    /// The end of the last region, as a guest address; 0 if there is none.
    #[must_use]
    pub fn end(&self) -> u64 {
        let ends = self.slots.iter().map(|(region, _)| region.guest_address + region.size);
        ends.max().unwrap_or(0)
    }

    /// The regions, in the order of their guest addresses.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.slots.iter().map(|(region, _)| region)
    }

    /// Writes where it must not: what a mutant does.
    pub fn scribble(&self) {
        if let Some(memory) = &self.map {
            let first = memory.iter().next().map_or(GuestAddress(0), |region| region.start_addr());
            // Without memory there is nothing to spoil.
            let _ = memory.write_obj(0xbad_u32, first);
        }
    }

    /// These regions instead of all others.
    ///
    /// # Errors
    /// See [`MemoryError`].
    pub fn replace(
        &mut self,
        regions: &[Region],
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), MemoryError> {
        let (r, d) = (regions.len(), descriptors.len());
        if r != d {
            return Err(MemoryError::Descriptors { regions: r, descriptors: d });
        }
        let pairs = regions.iter().zip(descriptors);
        let slots = pairs.map(|(region, fd)| {
            let region = self.known(region);
            Ok((region, map_region(&region, fd)?))
        });
        self.set(slots.collect::<Result<_, MemoryError>>()?)
    }

    /// One region more.
    ///
    /// # Errors
    /// See [`MemoryError`].
    pub fn add(&mut self, region: &Region, descriptors: Vec<OwnedFd>) -> Result<(), MemoryError> {
        let count = descriptors.len();
        let Ok([fd]) = <[OwnedFd; 1]>::try_from(descriptors) else {
            return Err(MemoryError::Descriptors { regions: 1, descriptors: count });
        };
        if self.slots.len() >= MAX_SLOTS {
            return Err(MemoryError::TooMany);
        }
        let region = self.known(region);
        let mut slots = self.slots.clone();
        slots.push((region, map_region(&region, fd)?));
        self.set(slots)
    }

    /// One region less, known by its addresses and size.
    ///
    /// # Errors
    /// [`MemoryError::Unknown`].
    pub fn remove(&mut self, region: &Region) -> Result<(), MemoryError> {
        let key = |r: &Region| (r.guest_address, r.user_address, r.size);
        let mut slots = self.slots.clone();
        let region = self.known(region);
        slots.retain(|(known, _)| key(known) != key(&region));
        if slots.len() == self.slots.len() {
            return Err(MemoryError::Unknown);
        }
        self.set(slots)
    }

    /// A region as it is kept.
    fn known(&self, region: &Region) -> Region {
        match self.confusion {
            Some(Confusion::Rings) => Region { user_address: region.guest_address, ..*region },
            Some(Confusion::Buffers) => Region { guest_address: region.user_address, ..*region },
            None => *region,
        }
    }

    fn set(
        &mut self,
        mut slots: Vec<(Region, Arc<GuestRegionMmap<()>>)>,
    ) -> Result<(), MemoryError> {
        slots.sort_by_key(|(region, _)| region.guest_address);
        let maps: Vec<_> = slots.iter().map(|(_, map)| Arc::clone(map)).collect();
        self.map = match maps.is_empty() {
            true => None,
            false => Some(Arc::new(Memory::from_arc_regions(maps)?)),
        };
        self.slots = slots;
        Ok(())
    }

    /// The mapping, with some room of our own behind it, zeroed, and where that is.
    ///
    /// # Errors
    /// See [`MemoryError`]: e.g. if guest memory goes up to the last address.
    pub fn with_page(&self, length: usize) -> Result<(Memory, GuestAddress), MemoryError> {
        let ends = self.slots.iter().map(|(region, _)| {
            region.guest_address.saturating_add(region.size).checked_next_multiple_of(0x1000)
        });
        let end = ends.max().flatten().map(GuestAddress).ok_or(MemoryError::BeyondFile)?;
        let page = GuestRegionMmap::from_range(end, length, None)?;
        let maps = self.slots.iter().map(|(_, map)| Arc::clone(map));
        Ok((Memory::from_arc_regions(maps.chain([Arc::new(page)]).collect())?, end))
    }

    /// The guest address that the front-end calls by this address of its own.
    #[must_use]
    pub fn guest_address(&self, user: u64) -> Option<GuestAddress> {
        self.slots.iter().find_map(|(region, _)| {
            let offset = user.checked_sub(region.user_address)?;
            let inside = offset < region.size;
            inside.then(|| region.guest_address.checked_add(offset)).flatten().map(GuestAddress)
        })
    }
}

fn map_region(region: &Region, fd: OwnedFd) -> Result<Arc<GuestRegionMmap<()>>, MemoryError> {
    let map = map_file(fd, region.mmap_offset, region.size)?;
    let region = GuestRegionMmap::new(map, GuestAddress(region.guest_address));
    Ok(Arc::new(region.ok_or(FromRangesError::InvalidGuestRegion)?))
}

/// Maps a stretch of a file that is long enough, shared with whoever else has it.
pub(crate) fn map_file(fd: OwnedFd, offset: u64, size: u64) -> Result<MmapRegion<()>, MemoryError> {
    let length = u64::try_from(rustix::fs::fstat(&fd)?.st_size).unwrap_or(0);
    let end = offset.checked_add(size).filter(|end| *end <= length);
    let (Some(_), Ok(size)) = (end, usize::try_from(size)) else {
        return Err(MemoryError::BeyondFile);
    };
    let file = FileOffset::new(File::from(fd), offset);
    Ok(MmapRegion::from_file(file, size).map_err(FromRangesError::from)?)
}
