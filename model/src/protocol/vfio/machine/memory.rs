//! Accesses to the device, and the log of its writes.

use crate::protocol::vfio::names::{
    ErrorAnswers, Granularity, LogReport, ResumingAnswers, StopAnswers, ZeroRanges,
};
use devmig_engine::machine::{Reaction, Verdict};
use devmig_engine::rules::RuleContext;

use super::{Device, broken};
use crate::protocol::vfio::event::{Answer, Call, PageSize, Ranges, Region};
use crate::protocol::vfio::state::{Log, State};
use crate::protocol::vfio::table::Session;

impl Device {
    pub(super) fn accessed(
        &self,
        s: &State,
        done: &State,
        region: Region,
        answered: bool,
        judge: &mut RuleContext,
    ) -> Verdict<Self> {
        let config = region == Region::Config;
        let clause = match () {
            () if self.runs(s.at) => Some(self.laws.works),
            () if self.is_final(s.at) => {
                let open = self.readings.error_answers.taken(judge)? == ErrorAnswers::Open;
                (!open && config).then_some(self.laws.answers)
            }
            () if self.session(s.at) == Session::Resuming => {
                let open = self.readings.resuming_answers.taken(judge)? == ResumingAnswers::Open;
                (!open && config).then_some(self.laws.answers)
            }
            () if config => Some(self.laws.answers),
            () => {
                let all = self.readings.stop_answers.taken(judge)? != StopAnswers::Config;
                all.then_some(self.laws.answers)
            }
        };
        Ok(match clause {
            Some(clause) if !answered => broken(clause, judge, *done),
            _ => Reaction::To(*done),
        })
    }

    pub(super) fn log_answered(
        &self,
        s: &State,
        done: &State,
        (call, answer): (Call, Answer),
        judge: &mut RuleContext,
    ) -> Verdict<Self> {
        let laws = &self.laws;
        let begun = State { log: Log { on: true, ..Log::OFF }, ..*done };
        let refused = answer == Answer::Refused;
        Ok(match (call, answer) {
            (Call::LogStart(ranges), Answer::Done | Answer::Refused) => {
                let wanted = match ranges {
                    Ranges::All => true,
                    Ranges::Bad => false,
                    Ranges::None => self.readings.zero_ranges.taken(judge)? == ZeroRanges::All,
                };
                match (wanted, refused) {
                    (true, false) => Reaction::To(begun),
                    // A device need not have a log.
                    (true, true) if self.opaque => Reaction::To(*done),
                    (true, true) => Reaction::Disabled,
                    (false, true) => Reaction::To(*done),
                    (false, false) => broken(laws.bad_ranges, judge, begun),
                }
            }
            (Call::LogStop, Answer::Done) => Reaction::To(State { log: Log::OFF, ..*done }),
            (Call::LogStop, Answer::Refused) if !s.log.on => Reaction::To(*done),
            (Call::LogReport(size), Answer::Refused) => {
                let small = self.readings.granularity.taken(judge)? != Granularity::AnyPower;
                let may = self.bounds.reports_fail
                    || !s.log.on
                    || size == PageSize::Odd
                    || size == PageSize::Small && small;
                if may { Reaction::To(*done) } else { Reaction::Disabled }
            }
            (Call::LogReport(_), Answer::Pages(_)) if !s.log.on => {
                broken(laws.report_needs_start, judge, *done)
            }
            // It was the client's fault, and no text says what follows.
            (Call::LogReport(PageSize::Odd), Answer::Pages(_)) => {
                Reaction::Unspecified(laws.report_power_of_two)
            }
            (Call::LogReport(size), Answer::Pages(pages)) => {
                let small = self.readings.granularity.taken(judge)? != Granularity::AnyPower;
                if size == PageSize::Small && small {
                    return Ok(Reaction::Disabled);
                }
                let atomic = self.readings.report.taken(judge)? == LogReport::Atomic;
                if !atomic && !s.log.cleared {
                    return Ok(Reaction::Disabled);
                }
                let (due, left) =
                    if atomic { (s.log.dirty, 0) } else { (s.log.found, s.log.dirty) };
                let next = State { log: Log { on: true, dirty: left, ..Log::OFF }, ..*done };
                match () {
                    () if pages & due != due => broken(laws.no_write_lost, judge, next),
                    // In exploration nothing is marked without need.
                    () if pages != due && !self.opaque => Reaction::Disabled,
                    () => Reaction::To(next),
                }
            }
            _ => Reaction::Disabled,
        })
    }
}
