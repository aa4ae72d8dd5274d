//! The VMM: source and destination of a migration, with a program.
//!
//! ```text
//!   check, log start, SET PRE_COPY, mark all
//!      pre-copy:   look --sync--> look --send--> look ... --> switch over
//!   vCPUs stop, SET ..._P2P, SET STOP_COPY, sync, send all, device state, config
//!   destination: SET RUNNING, vCPUs run; complete
//!      anything fails: the steps of `failure`
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `vmm.rs` | what the VMM remembers; its events, answers and failures |
//! | `vmm/step.rs` | the steps of a program |
//! | `vmm/plan.rs` | what a step does next |
//! | `vmm/decide.rs` | the rounds of pre-copy: when logs are read, and when to switch over |
//!
//! **Invariant.** The VMM does one thing at a time, and a call is answered before the next thing is done.
//! It sees what logs and devices answer, and nothing else.
//!
//! **Not here.** Both ends as two processes that may lose each other (`hand-over`), channels (`multifd`).

pub mod decide;
pub mod plan;
pub mod step;

use std::sync::Arc;

use serde_json::{Map, Value};

use self::step::{Side, Step};
use super::event::{Act, Event, OUTSIDE, VMM, Why};
use super::memory::PAGES;
use super::names::{ChoiceIds, ClauseIds, Plug, Report, Revoked, Unmap};
use crate::protocol::transfer::{self, Transfer};
use crate::protocol::vfio::event::{
    Act as DeviceAct, Answer, Call, Data, Event as DeviceEvent, pages_in_words,
};
use crate::protocol::vfio::table::Table;
use devmig_engine::machine::{
    Did, Event as _, Machine, Obligation, Owed, Party, Reaction, Refines, Stimulus, TimeClass,
    Verdict,
};
use devmig_engine::packed;
use devmig_engine::rules::{OpenChoice, RuleContext};

/// How far a migration is.
#[packed]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The program of the migration.
    Migrates,
    /// That of its failure.
    RollsBack,
    /// Neither.
    Ended,
}

/// How it ended.
#[packed]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It has not.
    Open,
    /// The destination runs.
    Completed,
    /// It failed, and the source is as before.
    Failed,
    /// It did not begin.
    Refused,
}

/// What the VMM remembers.
#[packed]
pub struct VmmState {
    /// How far the migration is.
    pub phase: Phase,
    /// How it ended.
    pub outcome: Outcome,
    /// The host of the source.
    #[bits(1)]
    pub source: u8,
    /// Steps done.
    #[bits(5)]
    pub step: u8,
    /// Devices done in this step.
    #[bits(2)]
    pub at: u8,
    /// The call that it waits for.
    pub waits: Option<Call>,
    /// Migration data that was read and is to be written.
    pub held: Option<Data>,
    /// Pages that are to be sent.
    #[bits(4)]
    pub marked: u64,
    /// Pages were marked once: from then on what is not marked need not be sent.
    pub copying: bool,
    /// A round reads the logs.
    pub syncing: bool,
    /// The logs were read, and nothing was sent since.
    pub fresh: bool,
    /// Something was sent, so that the bandwidth is known.
    pub measured: bool,
    /// vCPUs were made slower.
    pub slowed: bool,
    /// Devices whose initial bytes the destination has loaded.
    #[bits(2)]
    pub loaded: u64,
    /// The configuration of these devices was loaded.
    #[bits(2)]
    pub configured: u64,
    /// Devices that the source had when the migration began.
    #[bits(2)]
    pub began: u64,
    /// Devices that it migrates: of these, those that are still there.
    #[bits(2)]
    pub there: u64,
    /// The vCPUs were stopped for the migration.
    pub stopped: bool,
    /// What was sent since then, in pages; at most 7.
    #[bits(3)]
    pub spent: u8,
    /// A migration goes back to pre-copy: its vCPUs are to run again.
    pub back: bool,
    /// The destination runs, or may: there is no way back.
    pub committed: bool,
    /// It is to be given up.
    pub failing: Option<Why>,
    /// Faults that may still happen.
    #[bits(1)]
    pub faults: u8,
    /// Migrations that may still follow.
    #[bits(1)]
    pub more: u8,
}

/// The longest downtime that is allowed, as what can be sent in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Limit {
    /// So many pages.
    Pages(u8),
    /// Any.
    Unlimited,
}

/// What tracks the writes of a device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Tracker {
    /// Nothing.
    None,
    /// The IOMMU: its log is read with KVM's.
    Iommu,
    /// The device itself.
    Device,
}

/// What the VMM knows of a device before it migrates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// Its features, as bits of MIGRATION.
    pub flags: u64,
    /// Whether it has PRE_COPY.
    pub pre_copy: bool,
    /// What tracks its writes.
    pub tracker: Tracker,
    /// How large its state is that can only be sent after the stop, in pages; if it says so.
    pub size: Option<u8>,
}

/// A VMM with a program.
#[derive(Clone, Debug)]
pub struct Vmm {
    /// The states of devices.
    pub table: Arc<Table>,
    /// What it owes.
    pub laws: ClauseIds,
    /// What it does where VMMs differ.
    pub readings: ChoiceIds,
    /// The steps of a migration.
    pub run: Vec<Step>,
    /// The steps after a failure.
    pub failure: Vec<Step>,
    /// The devices.
    pub devices: Vec<Known>,
    /// Devices that the source has at first: bit `device`.
    pub attached: u64,
    /// Devices are plugged and unplugged.
    pub plugs: (bool, bool),
    /// Pages that are sent at all.
    pub pages: u64,
    /// Of these, pages that may hold zeroes, of which nothing need be sent.
    pub zero: u64,
    /// The longest downtime.
    pub limit: Limit,
    /// There is something that only one host may hold.
    pub lock: bool,
    /// Pages can be sent after the switchover, so that they need not fit into the limit.
    pub postcopy: bool,
    /// vCPUs are slowed when a round does not reach the threshold.
    pub throttles: bool,
    /// The vCPUs run at first.
    pub runs: bool,
    /// How many faults there are at most: none or one.
    pub faults: u8,
    /// How many migrations follow.
    pub more: u8,
}

/// The most that [`VmmState::spent`] counts.
pub const SPENT: u8 = 7;

/// A device of one host as that of the other.
const OTHER_HOST: u8 = 2;

impl Vmm {
    /// The steps that it does now.
    fn steps(&self, s: &VmmState) -> &[Step] {
        match s.phase {
            Phase::Migrates => &self.run,
            Phase::RollsBack => &self.failure,
            Phase::Ended => &[],
        }
    }

    /// The host of a side.
    fn host(s: &VmmState, side: Side) -> u8 {
        if side == Side::Source { s.source } else { 1 - s.source }
    }

    /// The number of a side's device.
    fn number(s: &VmmState, side: Side, at: u8) -> u8 {
        Self::host(s, side) * OTHER_HOST + at
    }

    /// The state after the present step.
    fn stepped(s: &VmmState) -> VmmState {
        VmmState { step: s.step + 1, at: 0, syncing: false, ..*s }
    }

    /// The state after a failure.
    fn failed(s: &VmmState) -> VmmState {
        VmmState {
            phase: Phase::RollsBack,
            outcome: Outcome::Failed,
            step: 0,
            at: 0,
            waits: None,
            held: None,
            marked: 0,
            copying: false,
            syncing: false,
            fresh: false,
            measured: false,
            slowed: false,
            loaded: 0,
            configured: 0,
            spent: 0,
            back: false,
            failing: None,
            ..*s
        }
    }

    /// What the VMM's own event leads to; it is what [`Vmm::plan`] says.
    fn did(&self, s: VmmState, event: &Event) -> VmmState {
        let here = self.steps(&s).get(usize::from(s.step));
        match event.act {
            Act::Device(DeviceEvent { act: DeviceAct::Call(call), .. }) => {
                VmmState { waits: Some(call), ..s }
            }
            Act::Begin => Self::stepped(&VmmState { began: s.there, ..s }),
            Act::Sync(pages) => VmmState { marked: s.marked | pages & self.pages, at: 1, ..s },
            Act::Log(_) => VmmState { at: 1, ..s },
            Act::MarkAll(empty) => {
                Self::stepped(&VmmState { marked: self.pages & !empty, copying: true, ..s })
            }
            Act::Send(page) => VmmState {
                marked: s.marked & !(1 << page),
                measured: true,
                fresh: false,
                spent: self.spent(&s, 1),
                ..s
            },
            Act::Slow => VmmState { slowed: true, ..s },
            Act::SwitchOver => Self::stepped(&s),
            Act::Vcpus(true) if s.back => {
                let again = self.run.iter().position(|step| *step == Step::PreCopy);
                let step = again.unwrap_or_default() as u8;
                VmmState { step, at: 0, back: false, stopped: false, fresh: false, spent: 0, ..s }
            }
            Act::Vcpus(run) => {
                let stopped = matches!(here, Some(Step::Vcpus(Side::Source, _))) && !run;
                let committed = matches!(here, Some(Step::Vcpus(Side::Destination, true)));
                Self::stepped(&VmmState {
                    stopped: stopped || s.stopped,
                    committed: committed || s.committed,
                    ..s
                })
            }
            Act::Config(device) => VmmState {
                configured: s.configured | 1 << (device % OTHER_HOST),
                at: s.at + 1,
                ..s
            },
            Act::Lock(_) => Self::stepped(&s),
            Act::GiveUp(Why::Untracked) if matches!(here, Some(Step::Check)) => {
                VmmState { phase: Phase::Ended, outcome: Outcome::Refused, ..s }
            }
            Act::GiveUp(_) => Self::failed(&s),
            Act::Complete => VmmState { phase: Phase::Ended, outcome: Outcome::Completed, ..s },
            Act::Failed => VmmState { phase: Phase::Ended, ..s },
            Act::Again => {
                let source = if s.outcome == Outcome::Completed { 1 - s.source } else { s.source };
                VmmState { source, faults: s.faults, more: s.more - 1, ..self.initial() }
            }
            Act::Wait => VmmState { fresh: false, ..s },
            Act::Device(_) | Act::Write(_) | Act::Unmap(..) | Act::Fault => s,
            Act::Plug(_) | Act::Unplug(..) => s,
        }
    }

    /// What was sent in the downtime.
    fn spent(&self, s: &VmmState, pages: u8) -> u8 {
        if s.stopped && !s.committed { (s.spent + pages).min(SPENT) } else { s.spent }
    }

    /// What an answer of a device leads to.
    fn answered(
        &self,
        s: &VmmState,
        answer: Answer,
        judge: &RuleContext,
    ) -> Result<VmmState, OpenChoice> {
        let Some(call) = s.waits else { return Ok(*s) };
        let next = VmmState { waits: None, ..*s };
        let done = VmmState { at: s.at + 1, ..next };
        Ok(match (call, answer) {
            (Call::Read, Answer::Data(piece)) => {
                let known = self.devices.get(usize::from(s.at)).and_then(|device| device.size);
                let size = if matches!(piece, Data::Last(_)) { known.unwrap_or(1) } else { 0 };
                VmmState { held: Some(piece), spent: self.spent(s, size), ..next }
            }
            (Call::Write(_), Answer::Done) => VmmState {
                held: None,
                loaded: s.loaded | 1 << s.at,
                measured: true,
                fresh: false,
                ..next
            },
            // All that there is was read.
            (Call::Read, Answer::Nothing | Answer::End) if s.phase == Phase::Migrates => {
                match self.steps(s).get(usize::from(s.step)) {
                    Some(Step::PreCopy) => VmmState { loaded: s.loaded | 1 << s.at, at: 0, ..next },
                    _ => done,
                }
            }
            (Call::LogReport(_), Answer::Pages(pages)) => {
                VmmState { marked: s.marked | pages & self.pages, ..done }
            }
            (Call::Info, Answer::Info(initial, ..)) if initial > 0 => {
                match self.readings.revoked.taken(judge)? {
                    Revoked::GoOn => done,
                    Revoked::Fail => VmmState { failing: Some(Why::Revoked), ..next },
                    Revoked::GoBack => {
                        VmmState { back: true, loaded: s.loaded & !(1 << s.at), ..done }
                    }
                }
            }
            (Call::LogReport(_), Answer::Refused) => match self.readings.report.taken(judge)? {
                Report::Fail => VmmState { failing: Some(Why::Failed), ..next },
                Report::MarkAll => VmmState { marked: self.pages, ..done },
                Report::Ignore => done,
            },
            (_, Answer::Refused)
                if s.phase == Phase::Migrates && !matches!(call, Call::LogStop | Call::OptIn) =>
            {
                VmmState { failing: Some(Why::Failed), ..next }
            }
            _ => done,
        })
    }
}

impl Vmm {
    /// What it makes of a device that is plugged or unplugged; none, if it refuses.
    fn plugged(
        &self,
        s: &VmmState,
        act: Act,
        judge: &RuleContext,
    ) -> Result<Option<VmmState>, OpenChoice> {
        let begun = s.step > 0;
        let busy = s.waits.is_some() || s.held.is_some() || s.stopped;
        if busy || s.phase != Phase::Migrates {
            return Ok(None);
        }
        let policy = self.readings.plug.taken(judge)?;
        Ok(match act {
            _ if begun && policy == Plug::Refuse => None,
            // It is none of those that were set up.
            Act::Plug(_) if begun => Some(*s),
            Act::Plug(device) => Some(VmmState { there: s.there | 1 << device, ..*s }),
            Act::Unplug(device, pages) => {
                let found = if s.copying && policy == Plug::ReadFirst { pages } else { 0 };
                let there = s.there & !(1 << device);
                Some(VmmState { there, marked: s.marked | found & self.pages, ..*s })
            }
            _ => None,
        })
    }

    /// Every device that may be plugged or unplugged, with whatever its log holds.
    fn plugs(&self, f: &mut dyn FnMut(Act)) {
        for device in 0..self.devices.len() as u8 {
            if self.plugs.0 {
                f(Act::Plug(device));
            }
            if self.plugs.1 {
                (0..1 << PAGES).for_each(|pages| f(Act::Unplug(device, pages)));
            }
        }
    }
}

/// Obligations, by index.
const GOES_ON: u32 = 0;

impl Machine for Vmm {
    type State = VmmState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "VMM"
    }

    fn plays(&self, party: Party) -> bool {
        party == VMM || party == OUTSIDE
    }

    fn initial(&self) -> VmmState {
        VmmState {
            phase: Phase::Migrates,
            outcome: Outcome::Open,
            source: 0,
            step: 0,
            at: 0,
            waits: None,
            held: None,
            marked: 0,
            copying: false,
            syncing: false,
            fresh: false,
            measured: false,
            slowed: false,
            loaded: 0,
            configured: 0,
            began: self.attached,
            there: self.attached,
            stopped: false,
            spent: 0,
            back: false,
            failing: None,
            committed: false,
            faults: self.faults,
            more: self.more,
        }
    }

    fn on(&self, s: &VmmState, event: &Event, judge: &mut RuleContext) -> Verdict<Self> {
        let owner = event.owner();
        Ok(match event.act {
            Act::Device(DeviceEvent { act: DeviceAct::Answer(answer), .. }) => {
                Reaction::To(self.settled(self.answered(s, answer, judge)?, judge)?)
            }
            Act::Unmap(page, true) if s.copying => match self.readings.unmap.taken(judge)? {
                Unmap::ReadFirst => {
                    let marked = s.marked | 1 << page & self.pages;
                    Reaction::To(self.settled(VmmState { marked, ..*s }, judge)?)
                }
                Unmap::Forget => Reaction::Ignore,
            },
            Act::Plug(_) | Act::Unplug(..) => match self.plugged(s, event.act, judge)? {
                Some(next) => Reaction::To(self.settled(next, judge)?),
                None => Reaction::Disabled,
            },
            Act::Fault if s.faults == 0 || s.waits.is_some() || s.phase != Phase::Migrates => {
                Reaction::Disabled
            }
            Act::Fault if s.committed => Reaction::Disabled,
            Act::Fault => {
                let next = Self::failed(&VmmState { faults: s.faults - 1, ..*s });
                Reaction::To(self.settled(next, judge)?)
            }
            _ if owner == VMM => match self.plan(s, judge)?.is(event) {
                true => Reaction::To(self.settled(self.did(*s, event), judge)?),
                false => Reaction::Disabled,
            },
            _ => Reaction::Ignore,
        })
    }

    fn owes(&self, s: &VmmState, _: &mut RuleContext) -> Result<Owed, OpenChoice> {
        let over = self.at_end(s);
        Ok(Owed::NONE.with_if(!over && s.waits.is_none(), GOES_ON))
    }

    fn obligation(&self, _: u32) -> Obligation {
        let (clause, class) = (self.laws.goes_on, TimeClass::Io);
        Obligation { by: VMM, clause, class, what: "next step" }
    }

    fn discharges(&self, _: &VmmState, did: &Did<Event>) -> Owed {
        match did {
            Did::Event(event) if event.owner() == VMM => Owed::NONE.with(GOES_ON),
            _ => Owed::NONE,
        }
    }

    fn stimuli(&self, s: &VmmState, f: &mut dyn FnMut(Stimulus<Event>)) {
        if s.waits.is_some() {
            return;
        }
        self.candidates(s, &mut |event| f(Stimulus::Unguarded(event)));
        if s.faults > 0 {
            f(Stimulus::Guarded(Event::new(0, Act::Fault)));
        }
        self.plugs(&mut |act| f(Stimulus::Guarded(Event::new(s.source, act))));
    }

    fn domain(&self, f: &mut dyn FnMut(Event)) {
        if self.faults > 0 {
            f(Event::new(0, Act::Fault));
        }
        self.plugs(&mut |act| f(Event::new(0, act)));
    }

    /// How far the program is, its events tell.
    fn describe(&self, s: &VmmState) -> Map<String, Value> {
        let mut fields = serde_json::to_value(s).unwrap_or_default();
        if let Some(fields) = fields.as_object_mut() {
            for hidden in ["step", "at", "waits", "held", "syncing", "source", "began", "there"] {
                fields.remove(hidden);
            }
            fields.insert("marked".to_owned(), pages_in_words(s.marked).into());
        }
        Map::from_iter([(self.name().to_owned(), fields)])
    }

    fn at_end(&self, s: &VmmState) -> bool {
        s.phase == Phase::Ended && (s.more == 0 || s.outcome == Outcome::Refused)
    }
}

/// A piece is under way between the answer of the source's device and the call at the destination's; vCPUs that
/// run at the destination have taken over. Of migrations to a second host nothing is said.
impl Refines<Transfer> for Vmm {
    fn refine(&self, event: &Event) -> Option<transfer::Act> {
        match event.act {
            Act::Device(DeviceEvent { act: DeviceAct::Answer(Answer::Data(_)), .. }) => {
                Some(transfer::Act::Written)
            }
            Act::Device(DeviceEvent { act: DeviceAct::Call(Call::Write(_)), .. }) => {
                Some(transfer::Act::Received)
            }
            Act::Vcpus(true) if event.host == 1 => Some(transfer::Act::TakenOver),
            _ => None,
        }
    }
}
