//! The log of pages that the device writes.
//!
//! **Invariants.** A page is marked after it was written, so that a report between the two does not
//! lose it. At most [`MAX_PAGES`] pages are kept; beyond that everything counts as written. Which pages
//! are marked is kept at the smallest size that a report can be asked for.

use std::collections::BTreeSet;

use devmig_model::protocol::vfio_user::{LoggingReport, Range};

/// Bytes of a page, as the log counts them; also the smallest page that START gives.
pub const PAGE: u64 = 0x1000;

/// The largest page that START gives.
const LARGEST: u64 = 1 << 30;

/// The most pages that are kept.
pub const MAX_PAGES: usize = 1 << 18;

/// The most ranges that START takes: as many as a page has room for.
pub const MAX_RANGES: usize = 256;

/// The longest bitmap, in words of 64 bits.
pub const MAX_WORDS: u64 = 1 << 17;

/// Why the log does not do it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LogError {
    /// More ranges than a page has room for.
    #[error("there are more than {MAX_RANGES} ranges")]
    TooMany,
    /// A range ends beyond the last address.
    #[error("a range goes beyond all addresses")]
    Wraps,
    /// Not a power of two, or smaller than what the device keeps.
    #[error("no such page size")]
    PageSize,
    /// Ranges that are empty, misaligned, or overlap.
    #[error("the ranges make no sense")]
    Ranges,
    /// The bitmap would be longer than a message.
    #[error("the range is longer than a report")]
    TooLong,
}

/// A log that was started.
#[derive(Clone, Debug)]
pub struct Log {
    /// None for everything.
    ranges: Vec<Range>,
    pages: BTreeSet<u64>,
    overflowed: bool,
}

/// The last address of a range; `None` if it is empty or wraps.
fn last(range: Range) -> Option<u64> {
    range.length.checked_sub(1).and_then(|more| range.iova.checked_add(more))
}

impl Log {
    /// Starts one: the page size that it has, which is as near to the hint as can be.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn start(hint: u64, ranges: &[Range], overlapping: bool) -> Result<(Self, u64), LogError> {
        if ranges.len() > MAX_RANGES {
            return Err(LogError::TooMany);
        }
        let page = match hint.is_power_of_two() {
            true => hint.clamp(PAGE, LARGEST),
            false => PAGE,
        };
        if ranges.iter().any(|range| range.length > 0 && last(*range).is_none()) {
            return Err(LogError::Wraps);
        }
        let mut sorted = ranges.to_vec();
        sorted.sort_by_key(|range| range.iova);
        let aligned = |range: &Range| {
            range.iova.is_multiple_of(page) && range.length.is_multiple_of(page) && range.length > 0
        };
        let apart = |pair: &[Range]| match pair {
            [a, b] => last(*a).is_some_and(|last| last < b.iova),
            _ => true,
        };
        if !sorted.iter().all(aligned) || !overlapping && !sorted.windows(2).all(apart) {
            return Err(LogError::Ranges);
        }
        Ok((Log { ranges: sorted, pages: BTreeSet::new(), overflowed: false }, page))
    }

    fn covers(&self, first: u64, end: u64) -> bool {
        let meets =
            |range: &Range| last(*range).is_some_and(|last| range.iova <= end && first <= last);
        self.ranges.is_empty() || self.ranges.iter().any(meets)
    }

    /// These bytes were written.
    pub fn mark(&mut self, address: u64, length: u64) {
        let Some(more) = length.checked_sub(1) else { return };
        for page in address / PAGE..=address.saturating_add(more) / PAGE {
            let first = page * PAGE;
            if self.covers(first, first + (PAGE - 1)) {
                if self.pages.len() >= MAX_PAGES {
                    self.overflowed = true;
                    return;
                }
                self.pages.insert(page);
            }
        }
    }

    /// Forgets what was marked.
    pub fn clear(&mut self) {
        (self.pages, self.overflowed) = Default::default();
    }

    /// The pages of a range, as a bitmap, which are cleared if `clear` says so. An overflow is not:
    /// what was not kept could be anywhere.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn report(
        &mut self,
        asked: &LoggingReport,
        smallest: u64,
        clear: bool,
    ) -> Result<Vec<u64>, LogError> {
        let LoggingReport { iova, length, page_size, .. } = *asked;
        if !page_size.is_power_of_two() || page_size < smallest {
            return Err(LogError::PageSize);
        }
        let end = last(Range { iova, length });
        let end = end.ok_or(if length == 0 { LogError::Ranges } else { LogError::Wraps })?;
        if !iova.is_multiple_of(page_size) || !length.is_multiple_of(page_size) {
            return Err(LogError::Ranges);
        }
        let bits = length / page_size;
        if bits > MAX_WORDS * 64 {
            return Err(LogError::TooLong);
        }
        let mut bitmap = vec![0_u64; bits.div_ceil(64) as usize];
        let mut set = |bit: u64| {
            if let Some(word) = bitmap.get_mut((bit / 64) as usize) {
                *word |= 1 << (bit % 64);
            }
        };
        if self.overflowed {
            (0..bits).for_each(&mut set);
        }
        let reported: Vec<u64> = self.pages.range(iova / PAGE..=end / PAGE).copied().collect();
        for page in reported {
            let first = (page * PAGE).max(iova);
            let final_byte = (page * PAGE + (PAGE - 1)).min(end);
            ((first - iova) / page_size..=(final_byte - iova) / page_size).for_each(&mut set);
            // Of a page that is reported in part only, the rest is still to be reported.
            if clear && final_byte - first == PAGE - 1 {
                self.pages.remove(&page);
            }
        }
        Ok(bitmap)
    }
}
