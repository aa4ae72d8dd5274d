//! A host: which release it is, what is in its shared attributes, and the devices that it has.
//!
//! ```text
//!   absent --create--> made --load--> loaded --run--> running <--run, stop--> stopped
//!      ^-------------------------- destroy ---------------------------------'
//! ```
//!
//! **Invariant.** A host does what it is asked or says why not; `Failed` and `Unheard` are bounded.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::event::{Act, Answer, Call, Data, Event, HOSTS};
use super::universe::{ChoiceIds, Universe};
use devmig_engine::machine::{Machine, Party, Reaction, Stimulus, Verdict};
use devmig_engine::packed;
use devmig_engine::rules::{OpenChoice, RuleContext};

crate::clause_ids! {
    /// What hosts are judged by.
    pub struct ClauseIds {
        /// `device-model.create.all-or-nothing`
        all_or_nothing: "device-model.create.all-or-nothing",
        /// `device-model.create.resets`
        resets: "device-model.create.resets",
        /// `device-model.description.epoch`
        epoch: "device-model.description.epoch",
        /// `device-model.load.checks`
        checks: "device-model.load.checks",
        /// `device-model.configuration.immutable`
        immutable: "device-model.configuration.immutable",
    }
}

/// Where a device is in its life.
#[packed]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// There is none.
    Absent,
    /// It was made, and has no state.
    Made,
    /// It has taken state, and has not run.
    Loaded,
    /// It runs.
    Running,
    /// It ran, and was stopped.
    Stopped,
}

/// A device.
#[packed]
pub struct Slot {
    /// Where it is in its life.
    pub phase: Phase,
    /// What it is.
    #[bits(4)]
    pub config: u8,
    /// What its guest has done.
    #[bits(2)]
    pub work: u8,
    /// Whether it does what a device does.
    pub answers: bool,
}

impl Slot {
    const NONE: Slot = Slot { phase: Phase::Absent, config: 0, work: 0, answers: false };

    /// Whether it runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.phase == Phase::Running
    }
}

/// What a host remembers.
#[packed]
pub struct HostState {
    /// Its place in its history.
    #[bits(2)]
    pub now: u8,
    /// How often a call may still go wrong.
    #[bits(2)]
    pub faults: u8,
    /// The shared attributes: a configuration.
    #[bits(4)]
    pub attributes: u8,
    /// The release whose parameters were written there.
    #[bits(2)]
    pub written_of: u8,
    /// Whether anything was.
    pub written: bool,
    /// The devices.
    pub slots: [Slot; 2],
}

/// One of the two hosts.
#[derive(Clone, Debug)]
pub struct Host {
    /// Which: 0 or 1.
    pub index: u8,
    /// What it is judged by.
    pub laws: ClauseIds,
    /// What it asks.
    pub readings: ChoiceIds,
    /// What can be made, and where.
    pub universe: Arc<Universe>,
    /// The releases that it is, one after the other.
    pub history: Vec<usize>,
    /// Whether it becomes the next by itself, at any time.
    pub changes: bool,
    /// How many calls may go wrong.
    pub faults: u8,
    /// How much guests do.
    pub work: u8,
    /// The devices that run here at first.
    pub devices: Vec<u8>,
}

/// What may come of a call, and the host afterwards.
type Outcomes = Vec<(Answer, HostState)>;

impl Host {
    fn release(&self, place: u8) -> usize {
        self.history[usize::from(place).min(self.history.len() - 1)]
    }

    /// Whether it is the last of its releases.
    #[must_use]
    pub fn is_last(&self, s: &HostState) -> bool {
        usize::from(s.now) + 1 == self.history.len()
    }

    fn representation(&self, s: &HostState) -> u8 {
        self.universe.releases[self.release(s.now)].representation
    }

    /// Whatever may come of a call that does not go wrong.
    fn outcomes(
        &self,
        s: &HostState,
        device: u8,
        call: Call,
        judge: &mut RuleContext,
    ) -> Result<Outcomes, OpenChoice> {
        let slot = s.slots[usize::from(device & 1)];
        let with = |slot: Slot| {
            let mut next = *s;
            next.slots[usize::from(device & 1)] = slot;
            next
        };
        let refused = |answer| Ok(vec![(answer, *s)]);
        let one = |slot: Slot| Ok(vec![(Answer::Done, with(slot))]);
        match call {
            Call::Describe => refused(Answer::Told(s.now)),
            Call::Create { dated: true, of, .. }
                if of != s.now && judge.enforces(self.laws.epoch) =>
            {
                refused(Answer::Refused)
            }
            Call::Create { config, of, .. } => self.create(s, device, (config, of), judge),
            Call::Write { config, of } => {
                let next = HostState { attributes: config, written_of: of, written: true, ..*s };
                Ok(vec![(Answer::Done, next)])
            }
            Call::CreateShared if !s.written => refused(Answer::Refused),
            Call::CreateShared => self.create(s, device, (s.attributes, s.written_of), judge),
            Call::Read if slot.phase == Phase::Absent => refused(Answer::Absent),
            Call::Read => refused(Answer::Is(slot.config, slot.runs())),
            Call::Stop if matches!(slot.phase, Phase::Running | Phase::Stopped) => {
                one(Slot { phase: Phase::Stopped, ..slot })
            }
            Call::Save if slot.phase == Phase::Stopped => {
                let Slot { config, work, .. } = slot;
                let data = Data { config, work, representation: self.representation(s) };
                refused(Answer::Saved(data))
            }
            Call::Load(data) if slot.phase == Phase::Made => {
                let fits = data.config == slot.config;
                if !fits && judge.enforces(self.laws.checks) {
                    return refused(Answer::Refused);
                }
                let answers = fits && data.representation == self.representation(s);
                one(Slot { phase: Phase::Loaded, work: data.work, answers, ..slot })
            }
            Call::Run if !matches!(slot.phase, Phase::Absent | Phase::Made) => {
                one(Slot { phase: Phase::Running, ..slot })
            }
            Call::Destroy => one(Slot::NONE),
            Call::Set(config) if slot.phase != Phase::Absent => {
                match judge.enforces(self.laws.immutable) {
                    true => refused(Answer::Refused),
                    false => one(Slot { config, ..slot }),
                }
            }
            Call::Upgrade
                if s.slots.iter().all(|slot| slot.phase == Phase::Absent) && !self.is_last(s) =>
            {
                Ok(vec![(Answer::Done, HostState { now: s.now + 1, ..*s })])
            }
            Call::Stop | Call::Save | Call::Load(_) | Call::Run | Call::Set(_) | Call::Upgrade => {
                refused(Answer::NotNow)
            }
        }
    }

    /// A device is made as it is asked for, or not at all.
    fn create(
        &self,
        s: &HostState,
        device: u8,
        (config, of): (u8, u8),
        judge: &mut RuleContext,
    ) -> Result<Outcomes, OpenChoice> {
        let slot = usize::from(device & 1);
        if s.slots[slot].phase != Phase::Absent {
            return Ok(vec![(Answer::NotNow, *s)]);
        }
        let (named, now) = (self.release(of), self.release(s.now));
        let reading = self.readings.mandatory.taken(judge)?;
        let made = self.universe.made(reading, named, now, config);
        let mut all: Vec<u8> = made.into_iter().collect();
        if made.is_none() && !judge.enforces(self.laws.all_or_nothing) {
            all.extend(self.universe.initial(now));
        }
        if made.is_some() && !judge.enforces(self.laws.resets) {
            // What was left in the pool: whatever this host can make.
            let left = self.universe.configs().filter(|c| self.universe.makes(now, *c));
            all.extend(left.filter(|left| Some(*left) != made));
        }
        let with = |config: u8| {
            let mut next = *s;
            next.slots[slot] = Slot { phase: Phase::Made, config, ..Slot::NONE };
            (Answer::Made(config), next)
        };
        match all.is_empty() {
            true => Ok(vec![(Answer::Refused, *s)]),
            false => Ok(all.into_iter().map(with).collect()),
        }
    }

    fn called(
        &self,
        s: &HostState,
        device: u8,
        (call, answer): (Call, Answer),
        judge: &mut RuleContext,
    ) -> Verdict<Self> {
        if !answer.heard() && s.faults == 0 {
            return Ok(Reaction::Disabled);
        }
        if answer == Answer::Failed {
            return Ok(Reaction::To(HostState { faults: s.faults - 1, ..*s }));
        }
        let mut outcomes = self.outcomes(s, device, call, judge)?.into_iter();
        if answer == Answer::Unheard {
            // What has no effect is as good as failed.
            let effect = outcomes.find(|(_, next)| next != s);
            let unheard = effect.map(|(_, next)| HostState { faults: s.faults - 1, ..next });
            return Ok(unheard.map_or(Reaction::Disabled, Reaction::To));
        }
        let found = outcomes.find(|(given, _)| *given == answer);
        Ok(found.map_or(Reaction::Disabled, |(_, next)| Reaction::To(next)))
    }
}

impl Machine for Host {
    type State = HostState;
    type Event = Event;

    fn name(&self) -> &'static str {
        HOSTS[usize::from(self.index)].0
    }

    fn plays(&self, party: Party) -> bool {
        party == HOSTS[usize::from(self.index)]
    }

    fn initial(&self) -> HostState {
        let mut slots = [Slot::NONE; 2];
        for (slot, config) in slots.iter_mut().zip(&self.devices) {
            *slot = Slot { phase: Phase::Running, config: *config, work: 0, answers: true };
        }
        let faults = self.faults;
        HostState { now: 0, faults, attributes: 0, written_of: 0, written: false, slots }
    }

    fn on(&self, s: &HostState, event: &Event, judge: &mut RuleContext) -> Verdict<Self> {
        if event.host != self.index {
            return Ok(Reaction::Ignore);
        }
        let slot = s.slots[usize::from(event.device & 1)];
        Ok(match event.act {
            Act::Call(call, answer) => return self.called(s, event.device, (call, answer), judge),
            Act::Check(_) => Reaction::Ignore,
            Act::Work if slot.runs() && slot.answers && slot.work < self.work => {
                let mut next = *s;
                next.slots[usize::from(event.device & 1)].work += 1;
                Reaction::To(next)
            }
            Act::Change if self.changes && !self.is_last(s) => {
                Reaction::To(HostState { now: s.now + 1, ..*s })
            }
            Act::Work | Act::Change => Reaction::Disabled,
        })
    }

    fn stimuli(&self, _: &HostState, f: &mut dyn FnMut(Stimulus<Event>)) {
        self.domain(&mut |event| f(Stimulus::Guarded(event)));
    }

    fn domain(&self, f: &mut dyn FnMut(Event)) {
        let host = self.index;
        for device in 0..2 {
            f(Event { device, host, act: Act::Work });
        }
        f(Event { device: 0, host, act: Act::Change });
    }

    fn describe(&self, s: &HostState) -> Map<String, Json> {
        let slot = |slot: &Slot| {
            let phase = match slot.phase {
                Phase::Absent => return "absent".to_owned(),
                Phase::Made => "made",
                Phase::Loaded => "loaded",
                Phase::Running => "runs",
                Phase::Stopped => "stopped",
            };
            let work = if slot.work > 0 { format!(", work {}", slot.work) } else { String::new() };
            let dead = if slot.phase == Phase::Made || slot.answers { "" } else { ", dead" };
            format!("{phase} ({}{work}{dead})", self.universe.label(slot.config))
        };
        let release = &self.universe.releases[self.release(s.now)].name;
        let mut all = json!({ "release": release, "device": slot(&s.slots[0]) });
        if let Some(all) = all.as_object_mut() {
            if s.slots[1].phase != Phase::Absent {
                all.insert("other device".into(), slot(&s.slots[1]).into());
            }
            if s.written {
                all.insert("attributes".into(), self.universe.label(s.attributes).into());
            }
        }
        Map::from_iter([(self.name().to_owned(), all)])
    }
}
