//! The rules of VFIO migration, for a device and its client.
//!
//! ```text
//!             Call(SET to)          arc, arc, ... (hidden)           Answer
//!   at ---------------------> pending -----------------> at == to ----------> at == to
//!                                |  an arc fails (hidden)                Refused
//!                                +----------------------> anywhere on the way, or ERROR
//! ```
//!
//! Where a SET leads and what each arc brings about is the table's ([`super::path`]). An *atomic*
//! machine takes all arcs in one hidden step, a detailed one each by itself: nobody outside can tell
//! that a detailed device is not an atomic one.
//!
//! In exploration the machine knows what is inside the device. In a test it does not (`opaque`):
//! amounts and saved states are then what the device says they are, and only what contradicts an
//! earlier answer is a finding.
//!
//! **Invariants.** A call is answered before the next is made. Amounts never fall below 0: what was
//! read that was not there is a finding.
//!
//! **Not here.** Numbers of errors, argument checks, PROBE: a tester's matter (`vfio.feature.*`).

use std::sync::Arc;

use serde_json::{Map, Value};

use super::event::{
    Act, Answer, Call, DEVICE, Data, Event, For, PageSize, Pending, Ranges, Region,
};
use super::names::{Laws, Names, Readings};
use super::path::{NoPath, Paths};
use super::state::{Log, State, Stream};
use super::table::{Dma, Session, Table};
use crate::clause::ClauseId;
use crate::machine::{Did, Machine, Obligation, Offer, On, Owed, Party, Step, TimeClass, Verdict};
use crate::rules::{Ask, Judge};

/// What exploration tries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// The state inside advances to this number at most.
    pub inside: u8,
    /// Pages of guest memory that the device writes.
    pub pages: u8,
    /// The client writes for the device, which has no access to memory.
    pub by_client: bool,
    /// The device raises interrupts.
    pub interrupts: bool,
    /// The device has a peer, to which it starts DMA.
    pub peer: bool,
    /// Initial bytes begin anew.
    pub anew: bool,
}

/// One device, and what its client may ask of it.
#[derive(Clone, Debug)]
pub struct Device {
    /// Its number among the devices of a system.
    pub index: u8,
    /// The states and arcs.
    pub table: Arc<Table>,
    /// The features that it has, as bits of MIGRATION.
    pub flags: u64,
    /// Where each SET leads.
    pub paths: Arc<Paths>,
    /// The state in which it is found.
    pub begins: u8,
    /// What it is judged by.
    pub laws: Laws,
    /// What is asked.
    pub readings: Readings,
    /// What exploration tries.
    pub bounds: Bounds,
    /// What is inside is not known: a test.
    pub opaque: bool,
    /// A SET takes all of its arcs at once.
    pub atomic: bool,
    /// Data passes through descriptors, which a SET returns; over vfio-user there are none.
    pub descriptors: bool,
}

/// Options of choices, by their order in the file.
mod option {
    pub(super) const MAY_FAIL_ANY: u8 = 1;
    pub(super) const BAD_DATA_ERROR: u8 = 1;
    pub(super) const RESET_RUNNING: u8 = 0;
    pub(super) const RESET_SPLIT: u8 = 2;
    pub(super) const GONE_KEPT: u8 = 0;
    pub(super) const CONFIG: u8 = 0;
    pub(super) const OPEN: u8 = 0;
    pub(super) const NONE_NEW: u8 = 0;
    pub(super) const LANDS: u8 = 0;
    pub(super) const ATOMIC: u8 = 0;
    pub(super) const ANY_POWER: u8 = 0;
    pub(super) const ALL_RANGES: u8 = 1;
    pub(super) const BY_SERVER: u8 = 0;
}

/// The state inside is a number below this one; what changes it adds one.
pub const INSIDE: u8 = 4;

/// The states that a reset leads to and from, by their values in the header.
const ERROR: u8 = 0;
const RUNNING: u8 = 2;

/// Obligations, by index.
mod owed {
    pub(super) const ANSWER: u32 = 0;
    pub(super) const PEER: u32 = 1;
}

impl Device {
    /// A device of this table, as a tester judges one: nothing is known of what is inside.
    #[must_use]
    pub fn tester(table: Arc<Table>, names: Names, flags: u64, descriptors: bool) -> Self {
        let Names { laws, readings } = names;
        let bounds = Bounds { peer: true, pages: 64, ..Bounds::default() };
        let (index, begins) = (0, RUNNING);
        let (opaque, atomic) = (true, false);
        let paths = Arc::new(Paths::new(&table, flags));
        Device {
            index,
            table,
            flags,
            paths,
            begins,
            laws,
            readings,
            bounds,
            opaque,
            atomic,
            descriptors,
        }
    }

    fn dma(&self, at: u8) -> Dma {
        self.table.state(at).map_or(Dma::None, |state| state.dma)
    }

    fn session(&self, at: u8) -> Session {
        self.table.state(at).map_or(Session::None, |state| state.session)
    }

    fn runs(&self, at: u8) -> bool {
        self.table.state(at).is_some_and(|state| state.runs)
    }

    fn is_final(&self, at: u8) -> bool {
        self.table.state(at).is_some_and(|state| state.is_final)
    }

    /// The SET under way: where it leads.
    #[allow(clippy::type_complexity)]
    fn path(&self, s: &State, judge: &Judge) -> Result<Option<Result<&[u8], &NoPath>>, Ask> {
        let Some(Call::Set(to)) = s.pending.0 else { return Ok(None) };
        let rule = self.readings.rule(judge)?;
        Ok(Some(self.paths.get(rule, s.at, to)))
    }

    /// The clause by which a SET without a path must fail.
    fn forbids(&self, why: &NoPath) -> ClauseId {
        match why {
            NoPath::Unsupported => self.laws.optional,
            NoPath::Final => self.laws.error,
            NoPath::Blocked | NoPath::Unreachable | NoPath::Ambiguous(_) => self.laws.blocked,
        }
    }

    /// Whether what was written makes up what a device gave.
    const fn complete(stream: &Stream) -> bool {
        stream.last && !stream.wrong
    }

    /// The state after one arc, which nothing holds up.
    fn taken(&self, s: &State, to: u8, judge: &mut Judge) -> State {
        let effects = self.table.effects(s.at, to);
        let mut next = State { at: to, opened: effects.opens, ..*s };
        if effects.validates && judge.enforces(self.laws.restores) && !self.opaque {
            next.inside = s.stream.staged;
        }
        if effects.ends {
            next.stream = Stream { opted_in: s.stream.opted_in, ..Stream::NONE };
        }
        if effects.opens {
            let live = self.runs(to) && self.session(to) == Session::Saving;
            // In a test the first answer tells.
            let initial = if self.opaque { u64::MAX } else { u64::from(live) };
            let opted_in = s.stream.opted_in;
            next.stream = Stream { initial, fresh: true, opted_in, ..Stream::NONE };
        }
        next
    }

    /// The clause that an arc has to wait for, if DMA is outstanding that it drains.
    fn waits(&self, s: &State, to: u8) -> Option<ClauseId> {
        let effects = self.table.effects(s.at, to);
        match () {
            () if s.peer == 0 => None,
            () if effects.drains_peers && self.dma(to) == Dma::NoPeer => {
                Some(self.laws.peer_drains)
            }
            () if effects.drains_all || effects.drains_peers => Some(self.laws.drains),
            () => None,
        }
    }

    /// What may come of the next arc.
    fn arc(
        &self,
        s: &State,
        path: &[u8],
        judge: &mut Judge,
        f: &mut dyn FnMut(Step, State),
    ) -> Result<(), Ask> {
        let mut here = *s;
        let step = |name| Step { by: DEVICE, name, index: self.index };
        for to in path.iter().skip(1) {
            let fails = judge.choice(self.readings.may_fail)? == option::MAY_FAIL_ANY;
            if fails {
                f(step("arc fails"), State { failed: true, ..here });
                let (at, stream) = (ERROR, Stream::NONE);
                f(step("arc fails for good"), State { at, failed: true, stream, ..here });
            }
            if !judge.enforces(self.laws.failure_on_path) {
                let end = path.last().copied().unwrap_or(here.at);
                f(step("fails beside the way"), State { at: end, failed: true, ..here });
            }
            if let Some(clause) = self.waits(&here, *to)
                && judge.enforces(clause)
            {
                return Ok(());
            }
            let bad = self.table.effects(here.at, *to).validates && !Self::complete(&here.stream);
            if bad && judge.enforces(self.laws.validates) {
                let failed = match judge.choice(self.readings.bad_data)? {
                    option::BAD_DATA_ERROR => {
                        State { at: ERROR, failed: true, stream: Stream::NONE, ..here }
                    }
                    _ => State { failed: true, ..here },
                };
                f(step("data refused"), failed);
                return Ok(());
            }
            here = self.taken(&here, *to, judge);
            if !self.atomic {
                break;
            }
        }
        f(step(if self.atomic { "arcs" } else { "arc" }), here);
        Ok(())
    }

    /// The client calls.
    fn called(&self, s: &State, call: Call, judge: &mut Judge) -> Verdict<Self> {
        let mut next = State { pending: Pending(Some(call)), failed: false, opened: false, ..*s };
        if s.pending.0.is_some() {
            // Two calls at once: no text says in which order they take effect.
            return Ok(On::Undefined(self.laws.completes));
        }
        match call {
            Call::LogStart(_) if s.log.on && judge.enforces(self.laws.start_once) => {
                return Ok(On::Broken(self.laws.start_once));
            }
            Call::Access(Region::Registers)
                if self.dma(s.at) != Dma::Any
                    && self.session(s.at) != Session::Resuming
                    && !self.is_final(s.at)
                    && judge.choice(self.readings.stop_answers)? == option::CONFIG
                    && judge.enforces(self.laws.kept_off) =>
            {
                return Ok(On::Broken(self.laws.kept_off));
            }
            Call::Access(Region::Registers) => next.stream.changed = true,
            Call::Reset(whom) => next = self.reset(&next, whom, judge)?,
            Call::Reopen if judge.choice(self.readings.client_gone)? != option::GONE_KEPT => {
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
        Ok(On::To(next))
    }

    fn reset(&self, s: &State, whom: For, judge: &mut Judge) -> Result<State, Ask> {
        let target = judge.choice(self.readings.reset)?;
        let client = whom == For::Client || s.at == ERROR;
        let moves = target == option::RESET_RUNNING || client && target == option::RESET_SPLIT;
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
    fn answered(&self, s: &State, answer: Answer, judge: &mut Judge) -> Verdict<Self> {
        let Some(call) = s.pending.0 else { return Ok(On::Refuse) };
        let done = State { pending: Pending(None), failed: false, opened: false, ..*s };
        let laws = &self.laws;
        match (call, answer) {
            (Call::Set(_), _) => self.set_answered(s, &done, answer, judge),
            (Call::Get, Answer::State(at)) if at == s.at => {
                Ok(On::To(State { unsettled: false, ..done }))
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
                        On::To(done)
                    }
                    Session::Resuming => broken(laws.accepts, judge, done),
                    _ if taken => broken(laws.session_ends, judge, done),
                    _ => On::To(done),
                })
            }
            (Call::Info, Answer::Info(..) | Answer::Refused) => {
                Ok(self.informed(s, &done, answer, judge))
            }
            (Call::OptIn, Answer::Done) => {
                let stream = Stream { opted_in: true, ..s.stream };
                Ok(On::To(State { stream, ..done }))
            }
            // A device need not know of it.
            (Call::OptIn, Answer::Refused) => Ok(On::To(done)),
            (Call::Access(region), Answer::Done | Answer::Refused) => {
                self.accessed(s, &done, region, answer == Answer::Done, judge)
            }
            (Call::LogStart(_) | Call::LogStop | Call::LogReport(_), _) => {
                self.log_answered(s, &done, (call, answer), judge)
            }
            (Call::Reset(_) | Call::Reopen, Answer::Done) => Ok(On::To(done)),
            _ => Ok(On::Refuse),
        }
    }

    fn set_answered(
        &self,
        s: &State,
        done: &State,
        answer: Answer,
        judge: &mut Judge,
    ) -> Verdict<Self> {
        let (Some(way), Some(Call::Set(to))) = (self.path(s, judge)?, s.pending.0) else {
            return Ok(On::Refuse);
        };
        let descriptor = match answer {
            Answer::Done => false,
            Answer::DoneWithDescriptor => true,
            Answer::Refused => return self.set_refused(s, done, way.is_ok(), judge),
            _ => return Ok(On::Refuse),
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
            return Ok(if bad { broken(self.laws.validates, judge, *done) } else { On::Refuse });
        }
        let clause = if s.opened || self.session(s.at) == Session::None {
            self.laws.new_session
        } else {
            self.laws.goes_on
        };
        let opened = s.opened && self.descriptors;
        Ok(if descriptor == opened { On::To(*done) } else { broken(clause, judge, *done) })
    }

    fn set_refused(
        &self,
        s: &State,
        done: &State,
        possible: bool,
        judge: &mut Judge,
    ) -> Verdict<Self> {
        if s.failed || !possible {
            return Ok(On::To(State { unsettled: s.failed, ..*done }));
        }
        let sound = judge.choice(self.readings.may_fail)? != option::MAY_FAIL_ANY;
        let resumes = self.session(s.at) == Session::Resuming;
        if resumes && !Self::complete(&s.stream) || !sound {
            // The arc that fails comes first.
            return Ok(On::Refuse);
        }
        let clause = if resumes { self.laws.accepts } else { self.laws.completes };
        Ok(broken(clause, judge, *done))
    }

    /// A read of migration data returns.
    fn read(&self, s: &State, done: &State, answer: Answer, judge: &mut Judge) -> On<State> {
        let laws = &self.laws;
        let stream = &s.stream;
        let read =
            |stream| State { stream: Stream { told: false, fresh: false, ..stream }, ..*done };
        if self.session(s.at) != Session::Saving {
            return match answer {
                Answer::Refused => On::To(*done),
                Answer::Data(_) => broken(laws.session_ends, judge, *done),
                // The descriptor may also tell that there is no more.
                Answer::End => On::To(*done),
                _ => On::Refuse,
            };
        }
        let there = stream.initial > 0 || stream.dirty > 0;
        match (self.runs(s.at), answer) {
            (true, Answer::Data(_)) if self.opaque => On::To(read(Stream { ..*stream })),
            (true, Answer::Data(piece)) if there => {
                let mut next = *stream;
                match next.initial {
                    0 => next.dirty = 0,
                    // All that changed so far is in it.
                    _ => (next.initial, next.dirty) = (next.initial - 1, 0),
                }
                if piece == Data::Part(s.inside) { On::To(read(next)) } else { On::Refuse }
            }
            (true, Answer::Nothing) if !there || self.opaque && !stream.told => {
                On::To(read(*stream))
            }
            (true, Answer::Data(_) | Answer::Nothing | Answer::End) => {
                broken(laws.quiet, judge, *done)
            }
            (false, Answer::Data(_)) if stream.last => broken(laws.end, judge, *done),
            (false, Answer::Data(_)) if self.opaque => On::To(read(*stream)),
            (false, Answer::Data(Data::Last(value))) => {
                let next = read(Stream { last: true, initial: 0, dirty: 0, ..*stream });
                if value == s.inside { On::To(next) } else { broken(laws.whole, judge, next) }
            }
            (false, Answer::End) if stream.last || self.opaque => {
                On::To(read(Stream { last: true, ..*stream }))
            }
            (false, Answer::End) => {
                broken(laws.whole, judge, read(Stream { last: true, ..*stream }))
            }
            (false, Answer::Nothing) => broken(laws.end, judge, *done),
            _ => On::Refuse,
        }
    }

    /// What is still to be read was asked for.
    fn informed(&self, s: &State, done: &State, answer: Answer, judge: &mut Judge) -> On<State> {
        let laws = &self.laws;
        let stream = &s.stream;
        let live = self.runs(s.at) && self.session(s.at) == Session::Saving;
        let Answer::Info(initial, dirty, anew) = answer else {
            return if live { broken(laws.info, judge, *done) } else { On::To(*done) };
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
            Some(clause) if judge.enforces(clause) => On::Broken(clause),
            Some(_) if !live => On::To(*done),
            _ if self.opaque => On::To(next),
            // In exploration a device tells what is there.
            _ if (initial, dirty, anew) == (stream.initial, stream.dirty, stream.anew) => {
                On::To(next)
            }
            _ => On::Refuse,
        }
    }

    fn accessed(
        &self,
        s: &State,
        done: &State,
        region: Region,
        answered: bool,
        judge: &mut Judge,
    ) -> Verdict<Self> {
        let choice = |choice| judge.choice(choice);
        let config = region == Region::Config;
        let clause = match () {
            () if self.runs(s.at) => Some(self.laws.works),
            () if self.is_final(s.at) => {
                let open = choice(self.readings.error_answers)? == option::OPEN;
                (!open && config).then_some(self.laws.answers)
            }
            () if self.session(s.at) == Session::Resuming => {
                let open = choice(self.readings.resuming_answers)? == option::OPEN;
                (!open && config).then_some(self.laws.answers)
            }
            () if config => Some(self.laws.answers),
            () => {
                let all = choice(self.readings.stop_answers)? != option::CONFIG;
                all.then_some(self.laws.answers)
            }
        };
        Ok(match clause {
            Some(clause) if !answered => broken(clause, judge, *done),
            _ => On::To(*done),
        })
    }

    fn log_answered(
        &self,
        s: &State,
        done: &State,
        (call, answer): (Call, Answer),
        judge: &mut Judge,
    ) -> Verdict<Self> {
        let laws = &self.laws;
        let begun = State { log: Log { on: true, ..Log::OFF }, ..*done };
        let refused = answer == Answer::Refused;
        Ok(match (call, answer) {
            (Call::LogStart(ranges), Answer::Done | Answer::Refused) => {
                let wanted = match ranges {
                    Ranges::All => true,
                    Ranges::Bad => false,
                    Ranges::None => judge.choice(self.readings.zero_ranges)? == option::ALL_RANGES,
                };
                match (wanted, refused) {
                    (true, false) => On::To(begun),
                    // A device need not have a log.
                    (true, true) if self.opaque => On::To(*done),
                    (true, true) => On::Refuse,
                    (false, true) => On::To(*done),
                    (false, false) => broken(laws.bad_ranges, judge, begun),
                }
            }
            (Call::LogStop, Answer::Done) => On::To(State { log: Log::OFF, ..*done }),
            (Call::LogStop, Answer::Refused) if !s.log.on => On::To(*done),
            (Call::LogReport(size), Answer::Refused) => {
                let small = judge.choice(self.readings.granularity)? != option::ANY_POWER;
                let may = !s.log.on || size == PageSize::Odd || size == PageSize::Small && small;
                if may { On::To(*done) } else { On::Refuse }
            }
            (Call::LogReport(_), Answer::Pages(_)) if !s.log.on => {
                broken(laws.report_needs_start, judge, *done)
            }
            (Call::LogReport(size), Answer::Pages(pages)) => {
                let small = judge.choice(self.readings.granularity)? != option::ANY_POWER;
                if size == PageSize::Odd || size == PageSize::Small && small {
                    return Ok(On::Refuse);
                }
                let atomic = judge.choice(self.readings.report)? == option::ATOMIC;
                if !atomic && !s.log.cleared {
                    return Ok(On::Refuse);
                }
                let (due, left) =
                    if atomic { (s.log.dirty, 0) } else { (s.log.found, s.log.dirty) };
                let next = State { log: Log { on: true, dirty: left, ..Log::OFF }, ..*done };
                match () {
                    () if pages & due != due => broken(laws.no_write_lost, judge, next),
                    // In exploration nothing is marked without need.
                    () if pages != due && !self.opaque => On::Refuse,
                    () => On::To(next),
                }
            }
            _ => On::Refuse,
        })
    }

    /// What the device does by itself.
    fn acts(&self, s: &State, act: Act, judge: &mut Judge) -> Verdict<Self> {
        let laws = &self.laws;
        if self.is_final(s.at) && self.opaque {
            // Of a device that has failed the text says only that it must be reset.
            return Ok(On::Ignore);
        }
        let (dma, mut next) = (self.dma(s.at), *s);
        match act {
            Act::Works => {
                let known = self.runs(s.at) || self.session(s.at) == Session::Resuming;
                if !known && judge.enforces(laws.frozen) {
                    return Ok(On::Broken(laws.frozen));
                }
                if !self.opaque {
                    if s.inside >= self.bounds.inside {
                        return Ok(On::Refuse);
                    }
                    next.inside += 1;
                    next.stream.dirty = u64::from(self.session(s.at) == Session::Saving);
                }
                next.stream.changed = self.session(s.at) == Session::Saving;
            }
            Act::Interrupt if !self.runs(s.at) => return Ok(broken(laws.silent, judge, *s)),
            Act::Interrupt => {}
            Act::Write(page) | Act::WriteByClient(page) => {
                if dma == Dma::None && judge.enforces(laws.silent) {
                    return Ok(On::Broken(laws.silent));
                }
                let logs = match act {
                    Act::WriteByClient(_) => {
                        judge.choice(self.readings.client_writes)? == option::BY_SERVER
                    }
                    _ => true,
                };
                if s.log.on && logs {
                    next.log.dirty |= 1 << (page % 64);
                }
            }
            Act::PeerBegins => {
                let clause = match dma {
                    Dma::Any => None,
                    Dma::NoPeer => Some(laws.no_new_peer),
                    Dma::None => Some(laws.silent),
                };
                if let Some(clause) = clause
                    && judge.enforces(clause)
                {
                    return Ok(On::Broken(clause));
                }
                if let Some(Ok(path)) = self.path(s, judge)?
                    && path.windows(2).any(|arc| self.table.effects(arc[0], arc[1]).drains_peers)
                    && judge.choice(self.readings.draining)? == option::NONE_NEW
                    && judge.enforces(laws.peer_drains)
                {
                    return Ok(On::Broken(laws.peer_drains));
                }
                if s.peer > 0 && !self.opaque {
                    return Ok(On::Refuse);
                }
                next.peer = s.peer.saturating_add(1);
            }
            Act::PeerArrives => {
                let clause = match dma {
                    Dma::Any => None,
                    Dma::NoPeer => Some(laws.peer_drains),
                    Dma::None => Some(laws.drains),
                };
                if let Some(clause) = clause
                    && judge.enforces(clause)
                {
                    return Ok(On::Broken(clause));
                }
                if s.peer == 0 && !self.opaque {
                    return Ok(On::Refuse);
                }
                next.peer = s.peer.saturating_sub(1);
            }
            _ => return Ok(On::Ignore),
        }
        Ok(On::To(next))
    }

    /// DMA of the other device arrives here.
    fn struck(&self, s: &State, judge: &Judge) -> Verdict<Self> {
        let lands = self.runs(s.at) || judge.choice(self.readings.stopped_target)? == option::LANDS;
        if !lands || self.opaque {
            return Ok(On::Ignore);
        }
        let mut next = State { inside: (s.inside + 1) % INSIDE, ..*s };
        next.stream.dirty = u64::from(self.session(s.at) == Session::Saving);
        next.stream.changed = self.session(s.at) == Session::Saving;
        Ok(On::To(next))
    }
}

/// The clause is broken, unless it is switched off: then it goes on there.
fn broken(clause: ClauseId, judge: &mut Judge, next: State) -> On<State> {
    if judge.enforces(clause) { On::Broken(clause) } else { On::To(next) }
}

impl Machine for Device {
    type State = State;
    type Event = Event;

    fn name(&self) -> &'static str {
        if self.index == 0 { "device" } else { "other" }
    }

    fn plays(&self, party: Party) -> bool {
        party == DEVICE
    }

    fn initial(&self) -> State {
        State::new(self.begins)
    }

    fn on(&self, s: &State, event: &Event, judge: &mut Judge) -> Verdict<Self> {
        match event.act {
            Act::PeerArrives if event.device != self.index => self.struck(s, judge),
            _ if event.device != self.index => Ok(On::Ignore),
            Act::Call(call) => self.called(s, call, judge),
            Act::Answer(answer) => self.answered(s, answer, judge),
            Act::Copy(_) | Act::Reboot => Ok(On::Ignore),
            act => self.acts(s, act, judge),
        }
    }

    fn owes(&self, s: &State, _: &mut Judge) -> Result<Owed, Ask> {
        let answer = Owed::NONE.with_if(s.pending.0.is_some(), owed::ANSWER);
        Ok(answer.with_if(s.peer > 0, owed::PEER))
    }

    fn obligation(&self, index: u32) -> Obligation {
        let (clause, class, what) = match index {
            owed::PEER => (self.laws.drains, TimeClass::Io, "outstanding DMA arrives"),
            _ => (self.laws.completes, TimeClass::Reply, "call answered"),
        };
        Obligation { by: DEVICE, clause, class, what }
    }

    fn discharges(&self, _: &State, did: &Did<Event>) -> Owed {
        match did {
            Did::Event(event) if event.device == self.index => match event.act {
                Act::Answer(_) => Owed::NONE.with(owed::ANSWER),
                Act::PeerArrives => Owed::NONE.with(owed::PEER),
                _ => Owed::NONE,
            },
            // An arc is a step towards the answer.
            Did::Hidden(step) if step.index == self.index => Owed::NONE.with(owed::ANSWER),
            _ => Owed::NONE,
        }
    }

    fn hidden(
        &self,
        s: &State,
        judge: &mut Judge,
        f: &mut dyn FnMut(Step, State),
    ) -> Result<(), Ask> {
        let step = |name| Step { by: DEVICE, name, index: self.index };
        if !s.failed
            && let Some(Ok(path)) = self.path(s, judge)?
            && path.len() > 1
        {
            self.arc(s, path, judge, f)?;
        }
        if let Some(Call::LogReport(_)) = s.pending.0
            && s.log.on
            && judge.choice(self.readings.report)? != option::ATOMIC
        {
            if !s.log.read {
                let log = Log { read: true, found: s.log.dirty, ..s.log };
                f(step("log read"), State { log, ..*s });
            } else if !s.log.cleared {
                let log = Log { cleared: true, dirty: 0, ..s.log };
                f(step("log cleared"), State { log, ..*s });
            }
        }
        if self.opaque {
            return Ok(());
        }
        let live = self.runs(s.at) && self.session(s.at) == Session::Saving;
        let again = self.bounds.anew && live && !s.stream.fresh && s.stream.initial == 0;
        if again && !s.stream.anew && (s.stream.opted_in || !judge.enforces(self.laws.reinit)) {
            let stream = Stream { initial: 1, anew: true, told: false, ..s.stream };
            f(step("initial bytes begin anew"), State { stream, ..*s });
        }
        if live && !judge.enforces(self.laws.initial_falls) && s.stream.initial == 0 {
            let stream = Stream { initial: 1, told: false, ..s.stream };
            f(step("initial bytes rise"), State { stream, ..*s });
        }
        if live && s.stream.fresh && !judge.enforces(self.laws.initial_begins) {
            let stream = Stream { initial: 0, ..s.stream };
            f(step("no initial bytes"), State { stream, ..*s });
        }
        if live && s.stream.fresh && !judge.enforces(self.laws.dirty_begins) {
            let stream = Stream { dirty: 1, ..s.stream };
            f(step("dirty from the beginning"), State { stream, ..*s });
        }
        let idle = s.pending.0.is_none();
        if idle && !self.is_final(s.at) && !judge.enforces(self.laws.only_client) {
            for arc in self.table.arcs.iter().filter(|arc| arc.from == s.at) {
                if self.table.supports(self.flags, arc.to) {
                    f(step("another state"), self.taken(s, arc.to, judge));
                }
            }
        }
        Ok(())
    }

    fn offers(&self, s: &State, f: &mut dyn FnMut(Offer<Event>)) {
        let device = self.index;
        let mut may = |act| f(Offer::May(Event { device, act }));
        let Some(call) = s.pending.0 else {
            return self.by_itself(&mut may);
        };
        self.by_itself(&mut may);
        self.answers(call, &mut |answer| may(Act::Answer(answer)));
    }

    fn domain(&self, f: &mut dyn FnMut(Event)) {
        let device = self.index;
        let mut act = |act| f(Event { device, act });
        self.by_itself(&mut act);
        for call in [
            Call::Set(0),
            Call::Get,
            Call::Read,
            Call::Write(Data::Wrong),
            Call::Info,
            Call::LogReport(PageSize::Good),
        ] {
            self.answers(call, &mut |answer| act(Act::Answer(answer)));
        }
    }

    fn describe(&self, s: &State) -> Map<String, Value> {
        let mut fields = serde_json::to_value(s).unwrap_or_default();
        if let Some(at) = fields.get_mut("at") {
            *at = Value::from(self.table.name(s.at));
        }
        if let Some(pending) = fields.get_mut("pending") {
            let label = |call| {
                Event { device: self.index, act: Act::Call(call) }
                    .words(&|state| self.table.name(state))
                    .split_once(": ")
                    .map(|(_, call)| call.to_owned())
            };
            *pending = s.pending.0.and_then(label).map_or(Value::Null, Value::from);
        }
        Map::from_iter([(self.name().to_owned(), fields)])
    }

    fn label(&self, event: &Event) -> Option<String> {
        (event.device == self.index).then(|| event.words(&|state| self.table.name(state)))
    }

    fn at_end(&self, s: &State) -> bool {
        s.pending.0.is_none() && s.peer == 0
    }
}

impl Device {
    fn by_itself(&self, f: &mut dyn FnMut(Act)) {
        let bounds = &self.bounds;
        if bounds.inside > 0 {
            f(Act::Works);
        }
        if bounds.interrupts {
            f(Act::Interrupt);
        }
        for page in 0..bounds.pages {
            f(if bounds.by_client { Act::WriteByClient(page) } else { Act::Write(page) });
        }
        if bounds.peer {
            f(Act::PeerBegins);
            f(Act::PeerArrives);
        }
    }

    /// The answers to a call that exploration tries.
    fn answers(&self, call: Call, f: &mut dyn FnMut(Answer)) {
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
