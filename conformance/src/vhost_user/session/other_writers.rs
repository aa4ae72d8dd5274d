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
use std::sync::atomic::{AtomicU8, Ordering};

use vm_memory::{FileOffset, MmapRegion, VolatileMemory};

use super::*;

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

    /// Looks for the mark made last, and makes the next one among these pages. Whether one was lost.
    fn turn(
        &mut self,
        log: &OwnedFd,
        length: u64,
        free: std::ops::Range<u64>,
    ) -> Result<bool, TestEnd> {
        if self.map.is_none() {
            let file = File::from(log.try_clone().map_err(harness)?);
            let map = MmapRegion::from_file(FileOffset::new(file, 0), length as usize);
            self.map = Some(map.map_err(harness)?);
        }
        let Some(map) = &self.map else { return Ok(false) };
        let byte =
            |page: u64| map.get_atomic_ref::<AtomicU8>((page / PAGES) as usize).map_err(harness);
        let bit = |page: u64| 1_u8 << (page % PAGES);
        if let Some(page) = self.mark
            && byte(page)?.fetch_and(!bit(page), Ordering::SeqCst) & bit(page) == 0
        {
            return Ok(true);
        }
        let next = self.mark.map_or(free.start, |page| page + 1);
        let next = if free.contains(&next) { next } else { free.start };
        byte(next)?.fetch_or(bit(next), Ordering::SeqCst);
        self.mark = Some(next);
        Ok(false)
    }
}

impl Session<'_> {
    /// The other party's turn, if there is one: none of its marks may be lost.
    pub(super) fn others_mark(&mut self) -> Result<(), TestEnd> {
        // Behind the places where writes to used rings are marked, up to the end of that byte.
        let first = tracking::log_address(self.lines.len() as u8, 0) / tracking::LOGGED;
        let free = first..first.next_multiple_of(PAGES);
        let Some(others) = self.tracking.others.as_mut().filter(|_| !free.is_empty()) else {
            return Ok(());
        };
        let Some((log, _)) = &self.tracking.log else { return Ok(()) };
        if !others.turn(log, tracking::LOG, free)? {
            return Ok(());
        }
        others.cleared();
        self.finding(ClauseId::NONE, "a mark of another party in the dirty log is lost")
    }

    /// The record says what it said before the request that came back last was taken out of it.
    pub(super) fn unsettle(&mut self) -> Result<(), TestEnd> {
        let ring = self.request_ring()?;
        let Some((Inflight { mmap_offset, queue_size, .. }, fd)) = &self.tracking.record else {
            return Err(TestEnd::Harness("there is no in-flight buffer".into()));
        };
        let line = &self.lines[ring as usize].ring;
        let used = line.used_index().map_err(harness)?.wrapping_sub(1);
        let slot = u64::from(used % line.size());
        let mut head = [0; 2];
        self.memory.read(line.layout().used + 4 + 8 * slot, &mut head).map_err(harness)?;
        let at = mmap_offset + u64::from(ring) * PART * (1 + u64::from(*queue_size));
        let state = at + PART * (1 + u64::from(u16::from_le_bytes(head)));
        for (at, bytes) in
            [(at + LAST_BATCH, &head[..]), (at + USED, &used.to_le_bytes()[..]), (state, &[1][..])]
        {
            rustix::io::pwrite(fd, bytes, at).map_err(harness)?;
        }
        self.log.push(format!("record of ring {ring}: the last request is still in it"));
        Ok(())
    }
}
