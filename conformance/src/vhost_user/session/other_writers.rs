//! What others than this front-end and this back-end do with the memory that the back-end shares:
//! another party marks pages in the same dirty log, and a back-end that died has left a record as no
//! test could time it.
//!
//! ```text
//!   mark of ours   set --- one look ---> still set?  --> taken back, and the next one set
//!   record         in flight, used index - 1  <-- as between the used ring's index and the record's
//! ```
//!
//! **Invariants.** A page that is marked here is one of which nothing of the back-end's is ever logged;
//! it stands in the same byte of the log as the back-end's own. What is written into the record is what
//! the text lets a back-end leave there.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, Ordering};

use devmig_model::protocol::vhost_user::wire::Inflight;
use vm_memory::{FileOffset, MmapRegion, VolatileMemory};

use super::driver::Driver;
use crate::harness::verdict::TestEnd;

/// Pages that a byte of the log stands for.
const PAGES: u64 = 8;

/// Bytes in front of a ring's descriptors in the record, and of each descriptor's state.
const PART: u64 = 16;
/// Where the record has what, from the beginning of a ring's part.
const LAST_BATCH: u64 = 12;
const USED: u64 = 14;

/// Another party that marks pages in the log.
#[derive(Default)]
pub(super) struct Others {
    /// The log, as that party has mapped it.
    map: Option<MmapRegion<()>>,
    /// The page that it has marked last.
    mark: Option<u64>,
}

impl Others {
    /// Its mark is gone, and not lost: the log was cleared.
    pub(super) fn cleared(&mut self) {
        self.mark = None;
    }

    /// Looks for the mark made last, and makes the next one among the pages from
    /// this one to the end of its byte of the log. Whether one was lost.
    pub(super) fn turn(
        &mut self,
        (log, from): (&OwnedFd, u64),
        length: u64,
        first: u64,
    ) -> Result<bool, TestEnd> {
        let free = first..first.next_multiple_of(PAGES);
        if free.is_empty() {
            return Ok(false);
        }
        if self.map.is_none() {
            let file = File::from(log.try_clone().map_err(TestEnd::harness)?);
            let map = MmapRegion::from_file(FileOffset::new(file, from), length as usize);
            self.map = Some(map.map_err(TestEnd::harness)?);
        }
        let Some(map) = &self.map else { return Ok(false) };
        let byte = |page: u64| {
            map.get_atomic_ref::<AtomicU8>((page / PAGES) as usize).map_err(TestEnd::harness)
        };
        let bit = |page: u64| 1_u8 << (page % PAGES);
        if let Some(page) = self.mark
            && byte(page)?.fetch_and(!bit(page), Ordering::SeqCst) & bit(page) == 0
        {
            return Ok(true);
        }
        let next = self.mark.map_or(free.start, |page| page.saturating_add(1));
        let next = if free.contains(&next) { next } else { free.start };
        byte(next)?.fetch_or(bit(next), Ordering::SeqCst);
        self.mark = Some(next);
        Ok(false)
    }
}

/// Has the record say what it said before the request that came back last was taken out of it.
///
/// # Errors
/// [`TestEnd::Harness`]; what is wrong with the record comes back as text.
pub(super) fn unsettle(
    driver: &Driver,
    ring: u8,
    record: Option<&(Inflight, OwnedFd)>,
) -> Result<Result<(), String>, TestEnd> {
    let Some((Inflight { mmap_offset, queue_size, .. }, fd)) = record else {
        return Err(TestEnd::Harness("there is no in-flight buffer".into()));
    };
    let line = &driver.line(ring)?.ring;
    let used = line.used_index().map_err(TestEnd::harness)?.wrapping_sub(1);
    let mut head = [0; 2];
    driver.memory.read(line.used_element(used), &mut head).map_err(TestEnd::harness)?;
    let slot = u16::from_le_bytes(head);
    let Some(places) = places(*mmap_offset, ring, *queue_size, slot) else {
        return Ok(Err(format!("the in-flight buffer begins at {mmap_offset:#x} of its file")));
    };
    let [batch, index, state] = places;
    for (at, bytes) in [(batch, &head[..]), (index, &used.to_le_bytes()[..]), (state, &[1][..])] {
        if let Err(error) = rustix::io::pwrite(fd, bytes, at) {
            return Ok(Err(format!("the in-flight buffer cannot be written at {at:#x}: {error}")));
        }
    }
    Ok(Ok(()))
}

/// Where a record has the last batch's head, the used index and the state of a descriptor of a ring.
fn places(from: u64, ring: u8, size: u16, slot: u16) -> Option<[u64; 3]> {
    let rings = u64::from(ring).checked_mul(u64::from(size).checked_add(1)?)?;
    let at = from.checked_add(PART.checked_mul(rings)?)?;
    let states = PART.checked_mul(u64::from(slot).checked_add(1)?)?;
    let state = at.checked_add(states)?;
    // An offset of the kernel's is signed.
    i64::try_from(state).ok()?;
    Some([at.checked_add(LAST_BATCH)?, at.checked_add(USED)?, state])
}

#[cfg(test)]
mod tests {
    use super::places;

    #[test]
    fn no_offset_of_a_back_end_s_record_overflows() {
        assert_eq!(places(0, 1, 3, 2), Some([64 + 12, 64 + 14, 64 + 48]));
        for from in [u64::MAX, u64::MAX - 15, i64::MAX as u64, 1 << 63] {
            assert_eq!(places(from, 0, 0, 0), None, "{from:#x}");
        }
        assert!(places(0, u8::MAX, u16::MAX, u16::MAX).is_some());
    }
}
