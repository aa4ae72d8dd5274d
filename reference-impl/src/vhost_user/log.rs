//! The dirty log: one bit for each page of guest memory, shared with the front-end.
//!
//! ```text
//!   byte  page / 8,  bit  page % 8,   page = guest address / 4096
//! ```
//!
//! **Invariants.** Bits are set, each in one atomic step, and never cleared here. What is beyond the
//! log is not marked. A page is marked after it was written: what is marked before could be copied,
//! and cleared, before the write.
//!
//! **Not here:** which writes are logged.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use devmig_model::protocol::vhost_user::wire::Log;
use vm_memory::{MmapRegion, VolatileMemory};

use super::memory::{MemoryError, map_file};

/// Bytes of a page, as the log counts them.
pub const PAGE: u64 = 0x1000;

/// The log, mapped.
#[derive(Debug)]
pub struct DirtyLog {
    map: MmapRegion<()>,
    /// A mutant marks in two steps, so long apart.
    apart: Option<Duration>,
    /// A mutant marks nothing from this address on.
    until: Option<u64>,
}

impl DirtyLog {
    /// The log at this place of a descriptor.
    ///
    /// # Errors
    /// See [`MemoryError`].
    pub fn map(place: Log, fd: OwnedFd) -> Result<Self, MemoryError> {
        map_file(fd, place.offset, place.size).map(|map| DirtyLog { map, apart: None, until: None })
    }

    /// The same, with marks that are made in two steps.
    #[must_use]
    pub fn slow(self, apart: Option<Duration>) -> Self {
        DirtyLog { apart, ..self }
    }

    /// The same, with no marks from this address on.
    #[must_use]
    pub fn until(self, until: Option<u64>) -> Self {
        DirtyLog { until, ..self }
    }

    /// Marks the pages of these bytes.
    pub fn mark(&self, at: u64, length: u64) {
        if self.until.is_some_and(|until| at >= until) {
            return;
        }
        let Some(last) = length.checked_sub(1) else { return };
        let end = at.saturating_add(last) / PAGE;
        let pages = (self.map.size() as u64).saturating_mul(8);
        for page in at / PAGE..=end.min(pages.saturating_sub(1)) {
            // Within the log, so that it fits.
            let Ok(byte) = self.map.get_atomic_ref::<AtomicU8>((page / 8) as usize) else {
                continue;
            };
            let bit = 1 << (page % 8);
            let Some(apart) = self.apart else {
                byte.fetch_or(bit, Ordering::SeqCst);
                continue;
            };
            let before = byte.load(Ordering::SeqCst);
            std::thread::sleep(apart);
            byte.store(before | bit, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    #[test]
    fn pages_are_marked_and_nothing_beyond_the_log() {
        let fd = memfd_create("log", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&fd, 0x2000).unwrap();
        let theirs = fd.try_clone().unwrap();
        let log = DirtyLog::map(Log { size: 4, offset: 0x1000 }, fd).unwrap();
        for (at, length) in
            [(0, 1), (0x1fff, 2), (0x9000, 0), (31 * PAGE, u64::MAX), (u64::MAX, 9), (1 << 40, 1)]
        {
            log.mark(at, length);
        }
        let mut bytes = [0; 8];
        rustix::io::pread(&theirs, &mut bytes, 0x1000).unwrap();
        assert_eq!(bytes, [0b111, 0, 0, 0x80, 0, 0, 0, 0]);
        for (size, offset) in [(0x1001, 0x1000), (1, 1), (0, 0), (u64::MAX, 1), (1, u64::MAX)] {
            let fd = theirs.try_clone().unwrap();
            assert!(DirtyLog::map(Log { size, offset }, fd).is_err(), "{size} {offset}");
        }
    }
}
