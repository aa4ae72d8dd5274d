//! The client's memory: mapped here, or reached by asking the client.
//!
//! **Invariants.** Mappings do not overlap. A descriptor is mapped only if its file is long enough when
//! it arrives; a client that shortens it afterwards kills this process: there is no guard against that
//! which needs no signal handler. An access lies within one mapping, or is denied.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use devmig_model::protocol::vfio_user::{DmaMap, DmaUnmap};
use rustix::io::Errno;
use vm_memory::{Bytes, MmapRegion, VolatileMemory};

use crate::pci::DmaError;
use crate::vhost_user::memory::map_file;

/// The most mappings at a time: what a client may assume if it is not told.
pub const MAX_MAPS: usize = 65535;

/// Bytes of a page: what a mapping is made of.
pub const PAGE: u64 = 0x1000;

const READABLE: u32 = 1;
const WRITEABLE: u32 = 1 << 1;

#[derive(Debug)]
struct Mapping {
    size: u64,
    flags: u32,
    /// None if the client must be asked.
    map: Option<MmapRegion<()>>,
}

/// Where an access goes.
#[derive(Debug)]
pub enum Place<'a> {
    /// Here, at this offset.
    Mapped(&'a MmapRegion<()>, usize),
    /// The client must be asked.
    Client,
}

impl Place<'_> {
    /// Reads so many bytes, if they are here.
    #[must_use]
    pub fn read(&self, length: usize) -> Option<Result<Vec<u8>, DmaError>> {
        let Place::Mapped(map, at) = self else { return None };
        let mut bytes = vec![0; length];
        let slice = map.get_slice(*at, length);
        let read = slice.map(|slice| slice.copy_to(&mut bytes));
        Some(read.map(|_| bytes).map_err(|_| DmaError::Denied))
    }

    /// Writes these bytes, if their place is here.
    #[must_use]
    pub fn write(&self, bytes: &[u8]) -> Option<Result<(), DmaError>> {
        let Place::Mapped(map, at) = self else { return None };
        let slice = map.get_slice(*at, bytes.len());
        let written = slice
            .map_err(|_| DmaError::Denied)
            .and_then(|slice| slice.write_slice(bytes, 0).map_err(|_| DmaError::Denied));
        Some(written)
    }
}

/// What is mapped now, by first address.
#[derive(Debug, Default)]
pub struct DmaTable(BTreeMap<u64, Mapping>);

impl DmaTable {
    /// One mapping more.
    ///
    /// # Errors
    /// The number that the client is told: EEXIST over one that there is, EINVAL for one that makes no
    /// sense or whose file is too short, ENOSPC for one too many.
    pub fn map(&mut self, asked: &DmaMap, fd: Option<OwnedFd>) -> Result<(), Errno> {
        let DmaMap { flags, offset, address, size, .. } = *asked;
        let aligned = address.is_multiple_of(PAGE) && size.is_multiple_of(PAGE);
        let last = size.checked_sub(1).and_then(|more| address.checked_add(more));
        let Some(last) = last.filter(|_| aligned && flags & !(READABLE | WRITEABLE) == 0) else {
            return Err(Errno::INVAL);
        };
        let before = self.0.range(..=last).next_back();
        if before.is_some_and(|(at, other)| *at + (other.size - 1) >= address) {
            return Err(Errno::EXIST);
        }
        if self.0.len() >= MAX_MAPS {
            return Err(Errno::NOSPC);
        }
        let map = fd.map(|fd| map_file(fd, offset, size).map_err(|_| Errno::INVAL)).transpose()?;
        self.0.insert(address, Mapping { size, flags, map });
        Ok(())
    }

    /// One mapping less, known by its first address and its size.
    ///
    /// # Errors
    /// ENOENT if there is none like that.
    pub fn unmap(&mut self, asked: &DmaUnmap) -> Result<(), Errno> {
        match self.0.get(&asked.address) {
            Some(mapping) if mapping.size == asked.size => {
                self.0.remove(&asked.address);
                Ok(())
            }
            _ => Err(Errno::NOENT),
        }
    }

    /// Whether this is mapped already, from its first address to its last.
    #[must_use]
    pub fn knows(&self, asked: &DmaMap) -> bool {
        self.0.get(&asked.address).is_some_and(|mapping| mapping.size == asked.size)
    }

    /// Whether this address is mapped.
    #[must_use]
    pub fn reaches(&self, address: u64) -> bool {
        self.0
            .range(..=address)
            .next_back()
            .is_some_and(|(at, mapping)| address - at < mapping.size)
    }

    /// What is mapped, without the memory itself.
    #[must_use]
    pub fn ranges(&self) -> Self {
        let range = |(at, mapping): (&u64, &Mapping)| {
            (*at, Mapping { size: mapping.size, flags: mapping.flags, map: None })
        };
        DmaTable(self.0.iter().map(range).collect())
    }

    /// Nothing is mapped any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Where such an access goes.
    ///
    /// # Errors
    /// See [`DmaError`].
    pub fn find(&self, address: u64, length: usize, write: bool) -> Result<Place<'_>, DmaError> {
        let (at, mapping) = self.0.range(..=address).next_back().ok_or(DmaError::Unmapped)?;
        let offset = address - at;
        if offset >= mapping.size {
            return Err(DmaError::Unmapped);
        }
        let allowed = mapping.flags & if write { WRITEABLE } else { READABLE } != 0;
        if !allowed || length as u64 > mapping.size - offset {
            return Err(DmaError::Denied);
        }
        Ok(match &mapping.map {
            Some(map) => Place::Mapped(map, offset as usize),
            None => Place::Client,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    fn map(address: u64, size: u64, flags: u32) -> DmaMap {
        DmaMap { argsz: 32, flags, offset: 0, address, size }
    }

    #[test]
    fn mappings_do_not_overlap_and_make_sense() {
        let mut table = DmaTable::default();
        table.map(&map(0x2000, 0x2000, 3), None).unwrap();
        for (address, size) in [(0x2000, 0x2000), (0x1000, 0x2000), (0x3000, 0x1000), (0, 0x9000)] {
            assert_eq!(table.map(&map(address, size, 3), None), Err(Errno::EXIST));
        }
        let last = u64::MAX - 0xfff;
        for (address, size, flags) in
            [(0, 0, 3), (1, 0x1000, 3), (0, 1, 3), (0, 0x1000, 4), (last, 0x2000, 3)]
        {
            assert_eq!(table.map(&map(address, size, flags), None), Err(Errno::INVAL));
        }
        table.map(&map(last, 0x1000, 3), None).unwrap();
        table.map(&map(0x1000, 0x1000, 3), None).unwrap();
        let unmap = |address, size| DmaUnmap { argsz: 24, flags: 0, address, size };
        assert_eq!(table.unmap(&unmap(0x2000, 0x1000)), Err(Errno::NOENT));
        assert_eq!(table.unmap(&unmap(0x3000, 0x1000)), Err(Errno::NOENT));
        assert_eq!(table.unmap(&unmap(0x2000, 0x2000)), Ok(()));
        assert_eq!(table.find(0x2000, 1, true).unwrap_err(), DmaError::Unmapped);
    }

    #[test]
    fn accesses_stay_within_a_mapping_and_its_rights() {
        let fd = memfd_create("dma", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, 0x2000).unwrap();
        let mut table = DmaTable::default();
        table.map(&map(0x1000, 0x2000, 3), Some(fd.try_clone().unwrap())).unwrap();
        table.map(&map(0x8000, 0x1000, 1), None).unwrap();
        let short = table.map(&map(0x1_0000, 0x3000, 3), Some(fd.try_clone().unwrap()));
        assert_eq!(short, Err(Errno::INVAL));
        assert_eq!(table.find(0x1ffe, 4, true).unwrap().write(b"abcd"), Some(Ok(())));
        assert_eq!(table.find(0x1fff, 2, false).unwrap().read(2), Some(Ok(b"bc".to_vec())));
        assert_eq!(table.find(0x2fff, 2, false).unwrap_err(), DmaError::Denied);
        assert_eq!(table.find(0x8000, 2, true).unwrap_err(), DmaError::Denied);
        assert!(matches!(table.find(0x8000, 2, false), Ok(Place::Client)));
        assert_eq!(table.find(0x9000, 0, false).unwrap_err(), DmaError::Unmapped);
        assert_eq!(table.find(0, 1, false).unwrap_err(), DmaError::Unmapped);
        let mut bytes = [0; 2];
        rustix::io::pread(&fd, &mut bytes, 0xffe).unwrap();
        assert_eq!(&bytes, b"ab");
    }
}
