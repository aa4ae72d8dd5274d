//! What a back-end shares with whoever comes after it: the dirty log and the record of what is in flight.
//!
//! ```text
//!   used element  -> pages that it wrote -> wanted
//!   log's bits    -> no longer wanted; when nothing is: Marked
//! ```
//!
//! **Invariants.** A write is wanted as soon as it is seen, and the log is looked at afterwards, so what
//! is marked before it is written counts too. The log keeps its size, whatever the back-end does to it. It
//! is cleared only between batches, when nothing is wanted. The record's content is the back-end's and is
//! not looked at here.
//!
//! **Not here:** marks too many, which cost a front-end a page and break nothing.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use devmig_model::protocol::vhost_user::wire::{Inflight, Log};

use super::driver::{Driver, MEMORY};
use super::other_writers::Others;
use crate::harness::io::memory::sealed;
use crate::harness::io::ring::Buffer;
use crate::harness::verdict::TestEnd;

/// Bytes of a page, as the log counts them.
const LOGGED: u64 = 0x1000;
/// The log's length in bytes: a bit for each page of guest memory, and whole pages of it.
const LOG: u64 = (MEMORY / LOGGED / 8).next_multiple_of(LOGGED);

/// The end of a batch of marks.
pub(super) struct Marked {
    pub(super) ring: u8,
    /// Of the used ring, not of buffers.
    pub(super) used_ring: bool,
    /// The number of the log.
    pub(super) log: u8,
}

/// The dirty log and the record.
#[derive(Default)]
pub(super) struct Tracking {
    /// The log that the back-end was given last, and its number.
    log: Option<(OwnedFd, u8)>,
    /// Where logs begin in their files.
    offset: u64,
    /// Another party that marks pages in it, if there is one.
    others: Option<Others>,
    /// LOG_ALL was accepted.
    pub(super) accepted: bool,
    /// Rings whose writes to the used ring are logged.
    rings: BTreeSet<u8>,
    /// Pages that are written and not seen to be marked, of buffers and of used rings.
    wanted: [BTreeSet<(u8, u64)>; 2],
    /// Rings in which a request came back into which nothing was written: there is nothing to mark.
    unwritten: BTreeSet<u8>,
    /// The back-end's record of what is in flight.
    pub(super) record: Option<(Inflight, OwnedFd)>,
}

impl Tracking {
    /// A new log, all clear, which takes the place of the one before.
    pub(super) fn renew(&mut self, number: u8) -> Result<(Log, OwnedFd), TestEnd> {
        let length = LOG.saturating_add(self.offset);
        let fd = sealed("devmig-log", length).map_err(TestEnd::harness)?;
        let theirs = fd.try_clone().map_err(TestEnd::harness)?;
        self.log = Some((fd, number));
        self.others = self.others.as_ref().map(|_| Others::default());
        Ok((Log { size: LOG, offset: self.offset }, theirs))
    }

    /// Whether writes to this ring's used ring are logged from now on.
    pub(super) fn flag(&mut self, ring: u8, logged: bool) {
        if logged {
            self.rings.insert(ring);
        } else {
            self.rings.remove(&ring);
        }
    }

    /// The back-end is another, or what it was told is void: only what was handed out stays.
    pub(super) fn forget(&mut self) {
        let (record, offset) = (self.record.take(), self.offset);
        *self = Tracking { record, offset, ..Tracking::default() };
    }

    /// Logs begin one page into their files from now on.
    pub(super) fn begin_further(&mut self) {
        self.offset = LOGGED;
    }

    /// The first page that is marked in the log, if there is one.
    pub(super) fn first_mark(&self) -> Result<Option<u64>, TestEnd> {
        let Some((log, _)) = &self.log else { return Ok(None) };
        let mut bits = [0_u8; LOG as usize];
        rustix::io::pread(log, &mut bits, self.offset).map_err(TestEnd::harness)?;
        let marked = (0_u64..).zip(bits).find(|(_, byte)| *byte != 0);
        Ok(marked
            .map(|(at, byte)| at.saturating_mul(8).saturating_add(byte.trailing_zeros().into())))
    }

    /// A request came back: what was written is wanted in the log.
    pub(super) fn wrote(
        &mut self,
        driver: &Driver,
        ring: u8,
        buffers: &[Buffer],
        length: u32,
        element: u16,
    ) {
        if !self.accepted || self.log.is_none() {
            return;
        }
        if length == 0 {
            self.unwritten.insert(ring);
        }
        let mut left = length;
        for buffer in buffers.iter().filter(|buffer| buffer.writable) {
            let length = buffer.len.min(left);
            left = left.saturating_sub(length);
            self.want(0, ring, buffer.addr, length.into());
        }
        if self.rings.contains(&ring)
            && let Ok(line) = driver.line(ring)
        {
            let at = log_address(ring, line.ring.layout().used);
            self.want(1, ring, at.saturating_add(2), 2);
            let element = line.ring.used_element(element).saturating_sub(line.ring.layout().used);
            self.want(1, ring, at.saturating_add(element), 8);
        }
    }

    /// Looks at the log: of what all is marked now that was not before.
    pub(super) fn marks(&mut self) -> Result<Vec<Marked>, TestEnd> {
        let Some((log, number)) = &self.log else { return Ok(Vec::new()) };
        let nothing_wanted = self.wanted.iter().all(BTreeSet::is_empty);
        if nothing_wanted && self.unwritten.is_empty() {
            return Ok(Vec::new());
        }
        let (mut bits, log_number) = ([0; LOG as usize], *number);
        rustix::io::pread(log, &mut bits, self.offset).map_err(TestEnd::harness)?;
        let clear = |page: &u64| {
            bits.get((page / 8) as usize).is_none_or(|byte| byte >> (page % 8) & 1 == 0)
        };
        let unwritten = std::mem::take(&mut self.unwritten);
        let mut marked = Vec::new();
        for (part, wanted) in self.wanted.iter_mut().enumerate() {
            let rings: BTreeSet<u8> = wanted.iter().map(|(ring, _)| *ring).collect();
            wanted.retain(|(_, page)| clear(page));
            let left = |ring: &u8| wanted.iter().any(|(other, _)| other == ring);
            let rings = if part == 0 { &rings | &unwritten } else { rings };
            let all = rings.iter().filter(|ring| !left(ring));
            let (used_ring, log) = (part == 1, log_number);
            marked.extend(all.map(|ring| Marked { ring: *ring, used_ring, log }));
        }
        Ok(marked)
    }

    /// Clears the log, as a front-end does that has copied its pages.
    pub(super) fn clear(&mut self) -> Result<(), TestEnd> {
        if let Some((log, _)) = &self.log
            && self.wanted.iter().all(BTreeSet::is_empty)
        {
            let zeros = [0; LOG as usize];
            rustix::io::pwrite(log, &zeros, self.offset).map(drop).map_err(TestEnd::harness)?;
            self.others.iter_mut().for_each(Others::cleared);
        }
        Ok(())
    }

    /// Another party marks pages in the log from now on.
    pub(super) fn share(&mut self) {
        self.others = Some(Others::default());
    }

    /// The other party's turn, if there is one. Whether one of its marks was lost.
    pub(super) fn others_turn(&mut self, rings: u8) -> Result<bool, TestEnd> {
        let (Some(others), Some((log, _))) = (&mut self.others, &self.log) else {
            return Ok(false);
        };
        // Behind the places where writes to used rings are marked, up to the end of that byte.
        let lost = others.turn((log, self.offset), LOG, log_address(rings, 0) / LOGGED)?;
        if lost {
            others.cleared();
        }
        Ok(lost)
    }

    fn want(&mut self, part: usize, ring: u8, at: u64, length: u64) {
        if let Some(last) = length.checked_sub(1) {
            let pages = at / LOGGED..=at.saturating_add(last) / LOGGED;
            if let Some(wanted) = self.wanted.get_mut(part) {
                wanted.extend(pages.map(|page| (ring, page)));
            }
        }
    }
}

/// The address that a front-end gives for writes to a used ring: not the one at which it is, as behind
/// an IOMMU. It is in the first pages, where nothing else is logged; the place in the page is the same.
pub(super) fn log_address(ring: u8, used: u64) -> u64 {
    u64::from(ring).saturating_mul(2 * LOGGED).saturating_add(used % LOGGED)
}
