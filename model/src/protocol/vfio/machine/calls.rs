//! Calls and their answers: SET, RESET, the data of a session, what is still to be read.

use crate::protocol::vfio::names::{ClientGone, MayFail, ResetTarget, StopAnswers};
use devmig_engine::machine::{Reaction, Verdict};
use devmig_engine::rules::{OpenChoice, RuleContext};

use super::{Device, ERROR, INSIDE, RUNNING, broken};
use crate::protocol::vfio::event::{Answer, Call, Data, For, PageSize, Region};
use crate::protocol::vfio::state::{Log, State, Stream};
use crate::protocol::vfio::table::{Dma, Session};

impl Device {
    /// The client calls.
    pub(super) fn called(&self, s: &State, call: Call, judge: &mut RuleContext) -> Verdict<Self> {
        let mut next = State { pending: Some(call), failed: false, opened: false, ..*s };
        if s.pending.is_some() {
            // Two calls at once: no text says in which order they take effect.
            return Ok(Reaction::Unspecified(self.laws.completes));
        }
        match call {
            Call::LogStart(_) if s.log.on && judge.enforces(self.laws.start_once) => {
                return Ok(Reaction::Violation(self.laws.start_once));
            }
            Call::LogReport(PageSize::Odd) if judge.enforces(self.laws.report_power_of_two) => {
                return Ok(Reaction::Violation(self.laws.report_power_of_two));
            }
            Call::Access(Region::Registers)
                if self.dma(s.at) != Dma::Any
                    && self.session(s.at) != Session::Resuming
                    && !self.is_final(s.at)
                    && self.readings.stop_answers.taken(judge)? == StopAnswers::Config
                    && judge.enforces(self.laws.kept_off) =>
            {
                return Ok(Reaction::Violation(self.laws.kept_off));
            }
            Call::Access(Region::Registers) => next.stream.changed = true,
            Call::Reset(whom) => next = self.reset(&next, whom, judge)?,
            Call::Reopen if self.readings.client_gone.taken(judge)? != ClientGone::Kept => {
                next = State { pending: next.pending, log: Log::OFF, ..State::new(RUNNING) };
            }
            Call::Write(piece) if self.session(s.at) == Session::Resuming => {
                let stream = &mut next.stream;
                // What comes after the last piece is too much.
                stream.wrong |= stream.last || piece == Data::Wrong;
                if let Data::Part(value) | Data::Last(value) = piece {
                    stream.staged = value;
                }
                stream.last |= matches!(piece, Data::Last(_));
            }
            _ => {}
        }
        Ok(Reaction::To(next))
    }

    pub(super) fn reset(
        &self,
        s: &State,
        whom: For,
        judge: &mut RuleContext,
    ) -> Result<State, OpenChoice> {
        let target = self.readings.reset.taken(judge)?;
        let client = whom == For::Client || s.at == ERROR;
        let moves = target == ResetTarget::Running || client && target == ResetTarget::Split;
        let mut next = State { inside: 0, peer: 0, unsettled: false, ..*s };
        if s.at == ERROR && !judge.enforces(self.laws.recovers) {
            return Ok(next);
        }
        let open = self.session(s.at) != Session::None;
        if moves && open && s.at != ERROR && !judge.enforces(self.laws.aborts) {
            return Ok(next);
        }
        if moves || s.at == ERROR {
            next.at = RUNNING;
            next.stream = Stream::NONE;
        } else if self.session(s.at) == Session::Saving && self.runs(s.at) {
            (next.stream.dirty, next.stream.changed) = (1, true);
        }
        Ok(next)
    }

    /// The device answers.
    pub(super) fn answered(
        &self,
        s: &State,
        answer: Answer,
        judge: &mut RuleContext,
    ) -> Verdict<Self> {
        let Some(call) = s.pending else { return Ok(Reaction::Disabled) };
        let done = State { pending: None, failed: false, opened: false, ..*s };
        let laws = &self.laws;
        match (call, answer) {
            (Call::Set(_), _) => self.set_answered(s, &done, answer, judge),
            (Call::Get, Answer::State(at)) if at == s.at => {
                Ok(Reaction::To(State { unsettled: false, ..done }))
            }
            (Call::Get, Answer::State(_)) => {
                let clause = if s.unsettled { laws.failure_on_path } else { laws.get };
                Ok(broken(clause, judge, done))
            }
            (Call::Read, _) => Ok(self.read(s, &done, answer, judge)),
            (Call::Write(piece), Answer::Done | Answer::Refused) => {
                let taken = answer == Answer::Done;
                Ok(match self.session(s.at) {
                    Session::Resuming if taken || piece == Data::Wrong || s.stream.wrong => {
                        Reaction::To(done)
                    }
                    Session::Resuming => broken(laws.accepts, judge, done),
                    _ if taken => broken(laws.session_ends, judge, done),
                    _ => Reaction::To(done),
                })
            }
            (Call::Info, Answer::Info(..) | Answer::Refused) => {
                Ok(self.informed(s, &done, answer, judge))
            }
            (Call::OptIn, Answer::Done) => {
                let stream = Stream { opted_in: true, ..s.stream };
                Ok(Reaction::To(State { stream, ..done }))
            }
            // A device need not know of it.
            (Call::OptIn, Answer::Refused) => Ok(Reaction::To(done)),
            (Call::Access(region), Answer::Done | Answer::Refused) => {
                self.accessed(s, &done, region, answer == Answer::Done, judge)
            }
            (Call::LogStart(_) | Call::LogStop | Call::LogReport(_), _) => {
                self.log_answered(s, &done, (call, answer), judge)
            }
            (Call::Reset(_) | Call::Reopen, Answer::Done) => Ok(Reaction::To(done)),
            _ => Ok(Reaction::Disabled),
        }
    }

    pub(super) fn set_answered(
        &self,
        s: &State,
        done: &State,
        answer: Answer,
        judge: &mut RuleContext,
    ) -> Verdict<Self> {
        let (Some(way), Some(Call::Set(to))) = (self.path(s, judge)?, s.pending) else {
            return Ok(Reaction::Disabled);
        };
        let descriptor = match answer {
            Answer::Done => false,
            Answer::DoneWithDescriptor => true,
            Answer::Refused => return self.set_refused(s, done, way.is_ok(), judge),
            _ => return Ok(Reaction::Disabled),
        };
        let path = match way {
            Err(why) => {
                let to = if self.table.state(to).is_some() { to } else { s.at };
                return Ok(broken(self.forbids(why), judge, State { at: to, ..*done }));
            }
            Ok(path) => path,
        };
        if s.failed || path.len() > 1 {
            let bad = self.session(s.at) == Session::Resuming && !Self::complete(&s.stream);
            // Not there, so it is not done; if it never gets there, that is the finding.
            return Ok(if bad {
                broken(self.laws.validates, judge, *done)
            } else {
                Reaction::Disabled
            });
        }
        let clause = if s.opened || self.session(s.at) == Session::None {
            self.laws.new_session
        } else {
            self.laws.goes_on
        };
        let opened = s.opened && self.descriptors;
        Ok(if descriptor == opened { Reaction::To(*done) } else { broken(clause, judge, *done) })
    }

    pub(super) fn set_refused(
        &self,
        s: &State,
        done: &State,
        possible: bool,
        judge: &mut RuleContext,
    ) -> Verdict<Self> {
        if s.failed || !possible {
            return Ok(Reaction::To(State { unsettled: s.failed, ..*done }));
        }
        let sound = self.readings.may_fail.taken(judge)? != MayFail::Any;
        let resumes = self.session(s.at) == Session::Resuming;
        if resumes && !Self::complete(&s.stream) || !sound {
            // The arc that fails comes first.
            return Ok(Reaction::Disabled);
        }
        let clause = if resumes { self.laws.accepts } else { self.laws.completes };
        Ok(broken(clause, judge, *done))
    }

    /// A read of migration data returns.
    pub(super) fn read(
        &self,
        s: &State,
        done: &State,
        answer: Answer,
        judge: &mut RuleContext,
    ) -> Reaction<State> {
        let laws = &self.laws;
        let stream = &s.stream;
        let read =
            |stream| State { stream: Stream { told: false, fresh: false, ..stream }, ..*done };
        if self.session(s.at) != Session::Saving {
            return match answer {
                Answer::Refused => Reaction::To(*done),
                Answer::Data(_) => broken(laws.session_ends, judge, *done),
                // The descriptor may also tell that there is no more.
                Answer::End => Reaction::To(*done),
                _ => Reaction::Disabled,
            };
        }
        let there = stream.initial > 0 || stream.dirty > 0;
        match (self.runs(s.at), answer) {
            (true, Answer::Data(_)) if self.opaque => Reaction::To(read(*stream)),
            (true, Answer::Data(piece)) if there => {
                let mut next = *stream;
                match next.initial {
                    0 => next.dirty = 0,
                    // All that changed so far is in it.
                    _ => (next.initial, next.dirty) = (next.initial - 1, 0),
                }
                if piece == Data::Part(s.inside) {
                    Reaction::To(read(next))
                } else {
                    Reaction::Disabled
                }
            }
            (true, Answer::Nothing) if !there || self.opaque && !stream.told => {
                Reaction::To(read(*stream))
            }
            (true, Answer::Data(_) | Answer::Nothing | Answer::End) => {
                broken(laws.quiet, judge, *done)
            }
            (false, Answer::Data(_)) if stream.last => broken(laws.end, judge, *done),
            (false, Answer::Data(_)) if self.opaque => Reaction::To(read(*stream)),
            (false, Answer::Data(Data::Last(value))) => {
                let next = read(Stream { last: true, initial: 0, dirty: 0, ..*stream });
                if value == s.inside { Reaction::To(next) } else { broken(laws.whole, judge, next) }
            }
            (false, Answer::End) if stream.last || self.opaque => {
                Reaction::To(read(Stream { last: true, ..*stream }))
            }
            (false, Answer::End) => {
                broken(laws.whole, judge, read(Stream { last: true, ..*stream }))
            }
            (false, Answer::Nothing) => broken(laws.end, judge, *done),
            _ => Reaction::Disabled,
        }
    }

    /// What is still to be read was asked for.
    pub(super) fn informed(
        &self,
        s: &State,
        done: &State,
        answer: Answer,
        judge: &mut RuleContext,
    ) -> Reaction<State> {
        let laws = &self.laws;
        let stream = &s.stream;
        let live = self.runs(s.at) && self.session(s.at) == Session::Saving;
        let Answer::Info(initial, dirty, anew) = answer else {
            return if live { broken(laws.info, judge, *done) } else { Reaction::To(*done) };
        };
        let next = Stream { initial, dirty, fresh: false, told: true, anew: false, ..*stream };
        let next = State { stream: next, ..*done };
        let rises = !stream.fresh && initial > stream.initial;
        let clause = match () {
            () if !live => Some(laws.info),
            () if anew && !stream.opted_in => Some(laws.reinit),
            () if stream.fresh && initial == 0 => Some(laws.initial_begins),
            () if stream.fresh && dirty > 0 && !stream.changed => Some(laws.dirty_begins),
            () if self.opaque && rises && !anew => Some(laws.initial_falls),
            () => None,
        };
        match clause {
            Some(clause) if judge.enforces(clause) => Reaction::Violation(clause),
            Some(_) if !live => Reaction::To(*done),
            _ if self.opaque => Reaction::To(next),
            // In exploration a device tells what is there.
            _ if (initial, dirty, anew) == (stream.initial, stream.dirty, stream.anew) => {
                Reaction::To(next)
            }
            _ => Reaction::Disabled,
        }
    }

    /// The answers to a call that exploration tries.
    pub(super) fn answers(&self, call: Call, f: &mut dyn FnMut(Answer)) {
        let values = || 0..INSIDE;
        match call {
            Call::Set(_) => {
                [Answer::Done, Answer::DoneWithDescriptor, Answer::Refused].into_iter().for_each(f);
            }
            Call::Get => {
                for state in &self.table.states {
                    f(Answer::State(state.value));
                }
            }
            Call::Read => {
                for value in values() {
                    f(Answer::Data(Data::Part(value)));
                    f(Answer::Data(Data::Last(value)));
                }
                [Answer::Nothing, Answer::End, Answer::Refused].into_iter().for_each(f);
            }
            Call::Info => {
                for (initial, dirty) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    f(Answer::Info(initial, dirty, false));
                    f(Answer::Info(initial, dirty, true));
                }
                f(Answer::Refused);
            }
            Call::LogReport(_) => {
                for pages in 0..1u64 << self.bounds.pages.min(4) {
                    f(Answer::Pages(pages));
                }
                f(Answer::Refused);
            }
            _ => {
                f(Answer::Done);
                f(Answer::Refused);
            }
        }
    }
}
