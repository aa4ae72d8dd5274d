//! The log of writes.
//!
//! **Invariant.** A write that is found while a report is made may have come before it or after: if the
//! report has it, before; else after, so that the next one owes it.

use std::time::Duration;

use devmig_model::protocol::vfio::event::{Act, Answer, Call, PageSize, Ranges};
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

impl Log {
    fn ranges(self) -> Vec<Range> {
        let range = |iova, length| Range { iova, length };
        match self {
            Log::All => vec![ALL],
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
            Log::All | Log::None => None,
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
            Log::All | Log::Many => Ranges::All,
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
            (Err(errno), Some(due)) if errno != due && self.may_start()? => {
                let clause = self.clause("vfio.log.ranges")?;
                let observed = format!("it is refused with {errno}");
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
        self.may_report()?;
        self.sample()?;
        self.call(Call::LogReport(size))?;
        let said = match self.device.log_report(ALL, bytes, 0) {
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
        let pages = pages(&words, PAGE.checked_div(bytes.min(PAGE)).unwrap_or(1))
            | std::mem::take(&mut self.partly);
        let (before, after): (Vec<_>, Vec<_>) = found.into_iter().partition(|act| match act {
            Act::Write(page) | Act::WriteByClient(page) => pages >> (page % 64) & 1 == 1,
            _ => true,
        });
        for act in before {
            self.see(act)?;
        }
        self.see(Act::Answer(Answer::Pages(pages)))?;
        for act in after {
            self.see(act)?;
        }
        self.only_writes(pages)?;
        Ok(Some(pages))
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
    pub(super) fn report_part(&mut self) -> Result<(), TestEnd> {
        self.may_report()?;
        self.sample()?;
        let part = Range { iova: BASE, length: 5 * PAGE };
        let inside = (1 << 5) - 1;
        let said = match self.device.log_report(part, PAGE, 0) {
            Ok(said) => said,
            Err(trouble) => return self.trouble(trouble),
        };
        let Ok(words) = said else { return Ok(()) };
        let outside = words
            .iter()
            .enumerate()
            .any(|(n, word)| word & !(if n == 0 { inside } else { 0 }) != 0);
        self.partly |= words.first().copied().unwrap_or_default() & inside;
        if outside {
            let id = match self.device.transport().descriptors {
                true => "vfio.log.only-sets",
                false => "vfio-user.log.outside-zero",
            };
            let clause = self.clause(id)?;
            let observed = format!("five pages were requested: {words:x?}");
            return self.finding_of(clause, observed, vec!["no bit beyond the fifth".into()]);
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
            let observed = format!("pages {:#x} are reported twice", first & second);
            return self.finding_of(clause, observed, vec!["the first report clears them".into()]);
        }
        Ok(())
    }
}

/// A bitmap as the machine's: a bit for each page, however many bits the device has for one.
fn pages(words: &[u64], each: u64) -> u64 {
    let bit = |n: u64| words.get((n / 64) as usize).is_some_and(|word| word >> (n % 64) & 1 == 1);
    (0..PAGES)
        .filter(|page| (0..each).any(|part| bit(page.saturating_mul(each).saturating_add(part))))
        .fold(0, |all, page| all | 1 << page)
}
