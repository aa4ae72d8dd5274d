//! What a back-end shares with whoever comes after it: the dirty log and the record of what is in flight.
//!
//! ```text
//!   used element  -> pages that it wrote -> wanted
//!   log's bits    -> no longer wanted; when nothing is: Marked
//! ```
//!
//! **Invariants.** A write is wanted as soon as it is seen, and the log is looked at afterwards, so what
//! is marked before it is written counts too. The log is cleared only between batches, when nothing is
//! wanted. The record's content is the back-end's and is not looked at here.
//!
//! **Not here:** marks too many, which cost a front-end a page and break nothing.

use std::collections::BTreeSet;

use devmig_model::protocol::vhost_user::wire::{Inflight, Log};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::*;
use crate::harness::io::ring::Buffer;

/// Bytes of a page, as the log counts them.
pub(super) const LOGGED: u64 = 0x1000;
/// The log's length in bytes: a bit for each page of guest memory, and whole pages of it.
pub(super) const LOG: u64 = (MEMORY / LOGGED / 8).next_multiple_of(LOGGED);

/// The dirty log and the record.
#[derive(Default)]
pub(super) struct Tracking {
    /// The log that the back-end was given last, and its number.
    pub(super) log: Option<(OwnedFd, u8)>,
    /// Another party that marks pages in it, if there is one.
    pub(super) others: Option<other_writers::Others>,
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
        let fd = memfd_create("devmig-log", MemfdFlags::CLOEXEC).map_err(harness)?;
        ftruncate(&fd, LOG).map_err(harness)?;
        let theirs = fd.try_clone().map_err(harness)?;
        self.log = Some((fd, number));
        self.others = self.others.as_ref().map(|_| other_writers::Others::default());
        Ok((Log { size: LOG, offset: 0 }, theirs))
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
        *self = Tracking { record: self.record.take(), ..Tracking::default() };
    }

    fn want(&mut self, part: usize, ring: u8, at: u64, length: u64) {
        if let Some(last) = length.checked_sub(1) {
            let pages = at / LOGGED..=at.saturating_add(last) / LOGGED;
            self.wanted[part].extend(pages.map(|page| (ring, page)));
        }
    }
}

/// The address that a front-end gives for writes to a used ring: not the one at which it is, as behind
/// an IOMMU. It is in the first pages, where nothing else is logged; the place in the page is the same.
pub(super) fn log_address(ring: u8, used: u64) -> u64 {
    u64::from(ring) * 2 * LOGGED + used % LOGGED
}

impl Session<'_> {
    /// A request came back: what was written is wanted in the log.
    pub(super) fn wrote(&mut self, ring: u8, buffers: &[Buffer], length: u32, element: u16) {
        if !self.tracking.accepted || self.tracking.log.is_none() {
            return;
        }
        if length == 0 {
            self.tracking.unwritten.insert(ring);
        }
        let mut left = length;
        for buffer in buffers.iter().filter(|buffer| buffer.writable) {
            let length = buffer.len.min(left);
            left -= length;
            self.tracking.want(0, ring, buffer.addr, length.into());
        }
        if self.tracking.rings.contains(&ring)
            && let Some(line) = self.lines.get(ring as usize)
        {
            let at = log_address(ring, line.ring.layout().used);
            let slot = u64::from(element % line.ring.size());
            self.tracking.want(1, ring, at + 2, 2);
            self.tracking.want(1, ring, at + 4 + 8 * slot, 8);
        }
    }

    /// Looks at the log. Whether all of something is marked that was not before.
    pub(super) fn marks(&mut self) -> Result<bool, TestEnd> {
        let Some((log, number)) = &self.tracking.log else { return Ok(false) };
        let nothing_wanted = self.tracking.wanted.iter().all(BTreeSet::is_empty);
        if nothing_wanted && self.tracking.unwritten.is_empty() {
            return Ok(false);
        }
        let (mut bits, number) = ([0; LOG as usize], *number);
        rustix::io::pread(log, &mut bits, 0).map_err(harness)?;
        let clear = |page: &u64| {
            bits.get((page / 8) as usize).is_none_or(|byte| byte >> (page % 8) & 1 == 0)
        };
        let unwritten = std::mem::take(&mut self.tracking.unwritten);
        let mut marked = Vec::new();
        for (part, wanted) in self.tracking.wanted.iter_mut().enumerate() {
            let rings: BTreeSet<u8> = wanted.iter().map(|(ring, _)| *ring).collect();
            wanted.retain(|(_, page)| clear(page));
            let left = |ring: &u8| wanted.iter().any(|(other, _)| other == ring);
            let rings = if part == 0 { &rings | &unwritten } else { rings };
            marked.extend(rings.iter().filter(|ring| !left(ring)).map(|ring| (*ring, part == 1)));
        }
        for (ring, used_ring) in &marked {
            self.observe(&Event::Marked { ring: *ring, used_ring: *used_ring, log: number })?;
        }
        Ok(!marked.is_empty())
    }

    /// Clears the log, as a front-end does that has copied its pages.
    pub(super) fn clear_log(&mut self) -> Result<(), TestEnd> {
        if let Some((log, _)) = &self.tracking.log
            && self.tracking.wanted.iter().all(BTreeSet::is_empty)
        {
            rustix::io::pwrite(log, &[0; LOG as usize], 0).map(drop).map_err(harness)?;
            self.tracking.others.iter_mut().for_each(other_writers::Others::cleared);
        }
        Ok(())
    }

    /// The back-end dies with requests in flight, and another takes its place with the same memory.
    pub(super) fn crash(&mut self) -> Result<(), TestEnd> {
        self.read_all()?;
        self.hang_up()?;
        // What it still had in hand is its own; the next one begins after that.
        let deadline = Deadline::after(self.limits.quiet);
        while !deadline.passed() {
            self.used()?;
            std::thread::sleep(Duration::from_millis(1));
        }
        self.fresh()?;
        self.did(&Event::Successor { died: true })?;
        for ring in 0..self.lines.len() as u8 {
            self.forget_kick(ring)?;
        }
        Ok(())
    }

    /// Waits until something came back, for as long as a request may take.
    pub(super) fn first(&mut self) -> Result<(), TestEnd> {
        let deadline = Deadline::after(self.limits.owed);
        let before = self.completed;
        while self.completed == before && !self.possible.undefined() {
            if deadline.passed() {
                return self.settle(TimeClass::Io);
            }
            self.sample()?;
        }
        Ok(())
    }
}
