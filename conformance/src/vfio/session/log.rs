//! The log of writes.
//!
//! **Invariant.** A write that is found while a report is made may have come before it or after: if the
//! report has it, before; else after, so that the next one owes it.

use std::collections::BTreeSet;
use std::time::Duration;

use devmig_model::protocol::vfio::event::{Act, Answer, Call, PageSize, Ranges, pages_in_words};
use devmig_reference::socket::Deadline;
use rustix::io::Errno;

use super::Session;
use super::memory::{BASE, PAGE, PAGES};
use crate::harness::verdict::TestEnd;
use crate::vfio::device::{HarnessError, Range};
use crate::vfio::script::Log;

/// The feature's number with PROBE and SET.
const PROBE_START: u32 = 6 | 1 << 17 | 1 << 18;

const ALL: Range = Range { iova: BASE, length: PAGES * PAGE };

/// 2 MiB in which guest memory is: what begins and ends at a page of that size.
const WIDE: Range = Range { iova: 0, length: 0x20_0000 };

impl Log {
    fn ranges(self) -> Vec<Range> {
        let range = |iova, length| Range { iova, length };
        match self {
            Log::All => vec![ALL],
            Log::Halves => {
                vec![range(BASE, 16 * PAGE), range(BASE + 16 * PAGE, (PAGES - 16) * PAGE)]
            }
            Log::Wide => vec![WIDE],
            Log::None => Vec::new(),
            Log::Overlapping => vec![range(BASE, 4 * PAGE), range(BASE + 2 * PAGE, 4 * PAGE)],
            Log::Misaligned => vec![range(BASE + 0x10, PAGE)],
            Log::Wrapping => vec![range(u64::MAX - PAGE + 1, 4 * PAGE)],
            Log::Many => (BASE..)
                .step_by(PAGE as usize)
                .step_by(2)
                .take(300)
                .map(|at| range(at, PAGE))
                .collect(),
        }
    }

    /// The number by which every core of the kernel refuses it.
    fn refused_by(self) -> Option<Errno> {
        match self {
            Log::All | Log::Halves | Log::Wide | Log::None => None,
            Log::Overlapping | Log::Misaligned => Some(Errno::INVAL),
            Log::Wrapping => Some(Errno::OVERFLOW),
            Log::Many => Some(Errno::TOOBIG),
        }
    }
}

impl Session<'_> {
    pub(super) fn has_log(&mut self) -> Result<bool, TestEnd> {
        match self.device.feature(8, PROBE_START, &[]) {
            Ok(said) => Ok(said.is_ok()),
            Err(HarnessError::Lacks(_)) => Ok(false),
            Err(trouble) => self.trouble(trouble),
        }
    }

    pub(super) fn log_start(&mut self, which: Log) -> Result<(), TestEnd> {
        let kind = match which {
            // A client may try more ranges than a device takes.
            Log::All | Log::Halves | Log::Wide | Log::Many => Ranges::All,
            Log::None => Ranges::None,
            _ => Ranges::Bad,
        };
        let ranges = which.ranges();
        let said = self.ask(
            Call::LogStart(kind),
            |device| device.log_start(PAGE, &ranges),
            |_| Answer::Done,
        )?;
        match (said, which.refused_by()) {
            (Ok(size), _) if !size.is_power_of_two() => {
                let clause = self.clause("vfio.log.page-size")?;
                let observed = format!("START returns a page size of {size}");
                self.finding_of(clause, observed, vec!["a power of two".into()])
            }
            // With which number a second START is refused, no text says.
            (Err(number), Some(due))
                if number.is_given() && number != due && self.may_start()? =>
            {
                let clause = self.clause("vfio.log.ranges")?;
                let observed = format!("it is refused with {number}");
                self.finding_of(clause, observed, vec![due.to_string()])
            }
            _ => Ok(()),
        }
    }

    fn may_start(&mut self) -> Result<bool, TestEnd> {
        self.conversation.every(|state, _| Ok(!state.log.on))
    }

    pub(super) fn log_stop(&mut self) -> Result<(), TestEnd> {
        self.ask(Call::LogStop, |device| device.log_stop(), |()| Answer::Done).map(|_| ())
    }

    /// Asks for what was written; none if that is refused.
    pub(super) fn report(&mut self, size: PageSize) -> Result<Option<u64>, TestEnd> {
        let bytes = match size {
            PageSize::Good => PAGE,
            PageSize::Small => PAGE / 2,
            PageSize::Odd => PAGE * 3,
        };
        self.report_as(size, bytes, ALL)
    }

    /// The same by larger pages, each of which stands for several.
    pub(super) fn report_by(&mut self, bytes: u64) -> Result<(), TestEnd> {
        self.report_as(PageSize::Good, bytes, ALL).map(|_| ())
    }

    /// The same of more than guest memory: its pages are not in the first word.
    pub(super) fn report_wide(&mut self, bytes: u64) -> Result<(), TestEnd> {
        self.report_as(PageSize::Good, bytes, WIDE).map(|_| ())
    }

    fn report_as(
        &mut self,
        size: PageSize,
        bytes: u64,
        range: Range,
    ) -> Result<Option<u64>, TestEnd> {
        self.may_report()?;
        self.sample()?;
        self.call(Call::LogReport(size))?;
        let said = match self.device.log_report(range, bytes, 0) {
            Ok(said) => said,
            Err(trouble) => return self.trouble(trouble),
        };
        let found = self.looked_for()?;
        let Ok(words) = said else {
            self.see(Act::Answer(Answer::Refused))?;
            for act in found {
                self.see(act)?;
            }
            return Ok(None);
        };
        let pages = pages(&words, bytes, range) | std::mem::take(&mut self.partly);
        let (before, after): (Vec<_>, Vec<_>) = found.into_iter().partition(|act| match act {
            Act::Write(page) | Act::WriteByClient(page) => pages >> (page % 64) & 1 == 1,
            _ => true,
        });
        for act in before {
            self.see(act)?;
        }
        let due = self.due()?;
        let seen = self.see(Act::Answer(Answer::Pages(pages)));
        seen.map_err(|end| expecting(end, &due))?;
        for act in after {
            self.see(act)?;
        }
        // Part of a larger page may be written, and the rest only read.
        if bytes <= PAGE {
            self.only_writes(pages)?;
        }
        Ok(Some(pages))
    }

    /// The pages that a report owes, by every interpretation that is left.
    fn due(&mut self) -> Result<BTreeSet<u64>, TestEnd> {
        let mut due = BTreeSet::new();
        self.conversation.every(|state, _| {
            due.insert(state.log.dirty | state.log.found);
            Ok(true)
        })?;
        Ok(due)
    }

    /// One access of the device's at a time is served, and the log asked for in between.
    pub(super) fn trickle(&mut self) -> Result<(), TestEnd> {
        let deadline = Deadline::after(self.limits.work);
        while !self.is_done()? && !deadline.passed() {
            self.report(PageSize::Good)?;
            // Only what was asked for before the report was made is served.
            if let Err(trouble) = self.device.serve(Duration::ZERO) {
                return self.trouble(trouble);
            }
            self.sample()?;
            deadline.pause(Duration::from_micros(200));
        }
        Ok(())
    }

    /// Of a range whose pages do not fill a word, the rest of the word is left as it was.
    pub(super) fn report_part(&mut self, first: u16, count: u16) -> Result<(), TestEnd> {
        self.may_report()?;
        self.sample()?;
        let (from, length) = (u64::from(first), u64::from(count).saturating_mul(PAGE));
        let part = Range { iova: BASE.saturating_add(from.saturating_mul(PAGE)), length };
        let inside = 1u64.checked_shl(count.into()).map_or(u64::MAX, |end| end.wrapping_sub(1));
        let said = match self.device.log_report(part, PAGE, 0) {
            Ok(said) => said,
            Err(trouble) => return self.trouble(trouble),
        };
        let Ok(words) = said else { return Ok(()) };
        let outside = words
            .iter()
            .enumerate()
            .any(|(n, word)| word & !(if n == 0 { inside } else { 0 }) != 0);
        let reported = words.first().copied().unwrap_or_default() & inside;
        self.partly |= reported.checked_shl(first.into()).unwrap_or_default();
        if outside {
            let id = match self.device.transport().descriptors {
                true => "vfio.log.only-sets",
                false => "vfio-user.log.outside-zero",
            };
            let clause = self.clause(id)?;
            let observed = format!("{count} pages were requested: {words:x?}");
            return self.finding_of(
                clause,
                observed,
                vec![format!("no bit beyond the first {count}")],
            );
        }
        Ok(())
    }

    /// Two reports with nothing in between: the second has nothing of the first.
    pub(super) fn report_again(&mut self) -> Result<(), TestEnd> {
        let first = self.report(PageSize::Good)?;
        let second = self.report(PageSize::Good)?;
        let (Some(first), Some(second)) = (first, second) else { return Ok(()) };
        if first & second != 0 {
            let clause = self.clause("vfio.log.report-clears")?;
            let observed = format!("reports {} twice", pages_in_words(first & second));
            return self.finding_of(clause, observed, vec!["the first report clears them".into()]);
        }
        Ok(())
    }
}

/// The same finding, if it is that a page is missing: what was expected is the report, and nothing else.
fn expecting(end: TestEnd, due: &BTreeSet<u64>) -> TestEnd {
    match end {
        TestEnd::Finding { clause, observed, .. } if due.iter().any(|pages| *pages != 0) => {
            let owed = due.iter().map(|pages| format!("at least {}", pages_in_words(*pages)));
            TestEnd::Finding { clause, observed, expected: owed.collect() }
        }
        end => end,
    }
}

/// A bitmap of a range by pages of `bytes` as the machine's: a bit for each page of guest memory, whatever
/// the size of the others is.
fn pages(words: &[u64], bytes: u64, range: Range) -> u64 {
    let first = BASE.saturating_sub(range.iova) / PAGE;
    let each = PAGE.checked_div(bytes.min(PAGE)).unwrap_or(1);
    let together = bytes.checked_div(PAGE).unwrap_or(1).max(1);
    let bit = |n: u64| words.get((n / 64) as usize).is_some_and(|word| word >> (n % 64) & 1 == 1);
    let at = |page: u64| {
        let page = first.saturating_add(page);
        page.checked_div(together).unwrap_or(page).saturating_mul(each)
    };
    (0..PAGES)
        .filter(|page| (0..each).any(|part| bit(at(*page).saturating_add(part))))
        .fold(0, |all, page| all | 1 << page)
}
