//! Management: who does the steps of a program, knows what it has heard, and undoes what it can.
//!
//! ```text
//!   run:      1 2 3 ... run | destroy the source          from the bar on, what fails is done again
//!                  \ fails
//!   failure:        1 2 3                                 what fails is done again, too
//! ```
//!
//! **Invariant.** What it does depends on what it has heard alone: an answer that does not come is the
//! same whether there was an effect or not.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::event::{Act, Answer, Call, Data, Event, MANAGEMENT, OTHER};
use super::program::{Part, Program, Step};
use super::universe::Universe;
use devmig_engine::clause::ClauseId;
use devmig_engine::machine::{
    Did, Machine, Obligation, Owed, Party, Reaction, Stimulus, TimeClass, Verdict,
};
use devmig_engine::packed;
use devmig_engine::rules::{OpenChoice, RuleContext};

/// What one of them remembers.
#[packed]
pub struct Knows {
    /// Steps done: of the program, or of what follows a failure.
    #[bits(5)]
    pub step: u8,
    /// A step failed, and what follows a failure is being done.
    pub failing: bool,
    /// It has failed.
    pub failed: bool,
    /// The destination has run: nothing is undone any more.
    pub committed: bool,
    /// Which host is the source.
    #[bits(1)]
    pub from: u8,
    /// Where the destination was in its history when it was described.
    #[bits(2)]
    pub of: u8,
    /// Something may have been made at the destination.
    pub made: bool,
    /// The source was told to stop.
    pub stopping: bool,
    /// The destination was told to run.
    pub told: bool,
    /// There is saved state.
    pub saved: bool,
    /// It.
    pub data: Data,
}

/// What they remember.
#[packed]
pub struct ManagersState {
    /// One for each device.
    pub of: [Knows; 2],
}

/// Who moves the devices: one program each, and none knows of the other.
#[derive(Clone, Debug)]
pub struct Managers {
    /// What they do.
    pub program: Program,
    /// What there is to be made.
    pub universe: Arc<Universe>,
    /// Where the hosts are in their histories, release by release.
    pub histories: [Vec<usize>; 2],
    /// What each device is.
    pub devices: Vec<u8>,
    /// `device-model.failure.source-runs`
    pub source_runs: ClauseId,
}

impl Managers {
    fn config(&self, device: u8) -> u8 {
        self.devices.get(usize::from(device)).copied().unwrap_or(0)
    }

    fn release(&self, host: u8, place: u8) -> usize {
        let history = &self.histories[usize::from(host & 1)];
        history[usize::from(place).min(history.len() - 1)]
    }

    fn host(s: &Knows, part: Part) -> u8 {
        match part {
            Part::Source => s.from,
            Part::Destination => 1 - s.from,
        }
    }

    /// The step that is to be done.
    fn step(&self, s: &Knows) -> Option<Step> {
        let steps = if s.failing { &self.program.failure } else { &self.program.run };
        steps.get(usize::from(s.step)).copied()
    }

    /// Whether a step is nothing at all, or is not needed.
    fn skips(s: &Knows, step: Step) -> bool {
        match step {
            Step::Turn => true,
            Step::OpenChoice => !s.told,
            Step::Destroy(Part::Destination) => !s.made,
            Step::Run(Part::Source) => !s.stopping,
            _ => false,
        }
    }

    /// The same at a step that does something.
    fn settled(&self, mut s: Knows) -> Knows {
        while let Some(step) = self.step(&s).filter(|step| Self::skips(&s, *step)) {
            if step == Step::Turn {
                s = Knows { step: s.step, from: 1 - s.from, ..Self::fresh() };
            }
            s.step += 1;
        }
        if s.failing && self.step(&s).is_none() {
            s.failed = true;
        }
        s
    }

    fn fresh() -> Knows {
        Knows {
            step: 0,
            failing: false,
            failed: false,
            committed: false,
            from: 0,
            of: 0,
            made: false,
            stopping: false,
            told: false,
            saved: false,
            data: Data::default(),
        }
    }

    fn over(&self, s: &Knows) -> bool {
        self.step(s).is_none()
    }

    /// What it calls, at which host; none where it only looks at what it knows.
    fn call(&self, s: &Knows, device: u8, step: Step) -> Option<(u8, Call)> {
        let config = self.config(device);
        let call = match step {
            Step::Describe(Part::Source) | Step::ReadBack(_) | Step::OpenChoice => Call::Read,
            Step::Describe(Part::Destination) => Call::Describe,
            Step::Create(dated) => Call::Create { config, of: s.of, dated },
            Step::Write => Call::Write { config, of: s.of },
            Step::CreateShared => Call::CreateShared,
            Step::Stop => Call::Stop,
            Step::Save => Call::Save,
            Step::Load => Call::Load(s.data),
            Step::Run(_) => Call::Run,
            Step::Destroy(_) => Call::Destroy,
            Step::Upgrade(_) => Call::Upgrade,
            Step::Check | Step::Turn => return None,
        };
        Some((Self::host(s, step.part()), call))
    }

    /// What is allowed when the program is over.
    fn anything(&self, s: &Knows, device: u8, f: &mut dyn FnMut(u8, Call)) {
        let config = self.config(device);
        for what in &self.program.then {
            for host in 0..2 {
                let destination = host != s.from;
                match *what {
                    "describe" if destination => f(host, Call::Describe),
                    "create" if destination => {
                        f(host, Call::Create { config, of: s.of, dated: true });
                    }
                    "create-undated" if destination => {
                        f(host, Call::Create { config, of: s.of, dated: false });
                    }
                    "write" if destination => {
                        f(host, Call::Write { config, of: s.of });
                        f(host, Call::CreateShared);
                    }
                    "read" => f(host, Call::Read),
                    "stop" => f(host, Call::Stop),
                    "save" => f(host, Call::Save),
                    "load" if s.saved => f(host, Call::Load(s.data)),
                    "run" => f(host, Call::Run),
                    "destroy" => f(host, Call::Destroy),
                    "set" => {
                        let others = self.universe.configs().filter(|other| *other != config);
                        others.for_each(|other| f(host, Call::Set(other)));
                    }
                    "upgrade" => f(host, Call::Upgrade),
                    _ => {}
                }
            }
        }
    }

    /// Whether what it knows says that the destination accepts the device.
    fn accepts(&self, s: &Knows, device: u8) -> bool {
        self.universe.accepts(self.release(1 - s.from, s.of), self.config(device))
    }

    fn checks(&self, s: &Knows) -> bool {
        match self.step(s) {
            Some(step) => step == Step::Check,
            None => self.program.then.contains(&"check"),
        }
    }

    fn checked(&self, s: &Knows, device: u8, host: u8, accepts: bool) -> Reaction<Knows> {
        if !self.checks(s) || host == s.from || accepts != self.accepts(s, device) {
            return Reaction::Disabled;
        }
        Reaction::To(match (self.step(s), accepts) {
            (None, _) => return Reaction::Ignore,
            (Some(_), true) => self.settled(Knows { step: s.step + 1, ..*s }),
            (Some(_), false) => self.settled(self.fails(s)),
        })
    }

    /// A step has failed.
    fn fails(&self, s: &Knows) -> Knows {
        match s.failing || s.committed {
            // Once more.
            true => *s,
            false => Knows { step: 0, failing: true, ..*s },
        }
    }

    fn called(
        &self,
        s: &Knows,
        device: u8,
        host: u8,
        (call, answer): (Call, Answer),
    ) -> Reaction<Knows> {
        let Some(step) = self.step(s) else { return self.freely(s, device, host, (call, answer)) };
        if self.call(s, device, step) != Some((host, call)) {
            return Reaction::Disabled;
        }
        let mut next = *s;
        match step {
            Step::Create(_) | Step::CreateShared if answer != Answer::Refused => next.made = true,
            Step::Stop => next.stopping = true,
            Step::Run(Part::Destination) => next.told = true,
            _ => {}
        }
        let good = match (step, answer) {
            (Step::Describe(Part::Destination), Answer::Told(place)) => {
                next.of = place;
                true
            }
            (Step::Describe(_), Answer::Is(..))
            | (Step::Create(_) | Step::CreateShared, Answer::Made(_)) => true,
            (Step::ReadBack(whole), Answer::Is(found, _)) => {
                let named = self.release(1 - s.from, s.of);
                let config = self.config(device);
                found == config || !whole && self.universe.alike(named, found, config)
            }
            (Step::Save, Answer::Saved(data)) => {
                (next.saved, next.data) = (true, data);
                true
            }
            (Step::Run(Part::Destination), Answer::Done) => {
                next.committed = true;
                true
            }
            (Step::Destroy(Part::Destination), Answer::Done) => {
                next.made = false;
                true
            }
            (Step::Run(Part::Source), Answer::Done) => {
                next.stopping = false;
                true
            }
            (Step::OpenChoice, Answer::Is(_, true)) => {
                // It runs: the program goes on behind the step that was not heard.
                let run = self.program.run.iter().position(|s| *s == Step::Run(Part::Destination));
                next.step = run.unwrap_or(0) as u8;
                (next.failing, next.committed) = (false, true);
                true
            }
            // What follows a failure has its answer, whatever it is.
            (_, answer) => answer == Answer::Done || s.failing && answer.heard(),
        };
        let again = !good && (s.failing || s.committed) && answer.heard();
        Reaction::To(self.settled(match () {
            () if good => Knows { step: next.step + 1, ..next },
            // A host that says no will say no again.
            () if again => Knows { step: self.program.run.len() as u8, failed: true, ..next },
            () => self.fails(&next),
        }))
    }

    /// A call that no program makes.
    fn freely(&self, s: &Knows, device: u8, host: u8, made: (Call, Answer)) -> Reaction<Knows> {
        let (call, answer) = made;
        let mut expected = false;
        self.anything(s, device, &mut |at, mine| expected |= (at, mine) == (host, call));
        if !expected {
            return Reaction::Disabled;
        }
        let away = host != s.from;
        Reaction::To(match (call, answer) {
            (Call::Describe, Answer::Told(place)) => Knows { of: place, ..*s },
            (Call::Save, Answer::Saved(data)) => Knows { saved: true, data, ..*s },
            (Call::Stop, _) if !away => Knows { stopping: true, ..*s },
            (Call::Run, Answer::Done) if !away => Knows { stopping: false, ..*s },
            (Call::Run, Answer::Failed | Answer::Unheard) if away => Knows { told: true, ..*s },
            (Call::Read, Answer::Is(_, true)) if away && s.told => Self::arrived(s),
            (Call::Read, Answer::Is(..) | Answer::Absent) if away => Knows { told: false, ..*s },
            (Call::Run, Answer::Done) => Self::arrived(s),
            _ => return Reaction::Ignore,
        })
    }

    fn arrived(s: &Knows) -> Knows {
        Knows { step: s.step, from: 1 - s.from, ..Self::fresh() }
    }

    /// Everything that could come of a call.
    fn answers(&self, device: u8, call: Call, f: &mut dyn FnMut(Answer)) {
        let each = |of: &dyn Fn(u8) -> Answer, f: &mut dyn FnMut(Answer)| {
            self.universe.configs().map(of).for_each(f);
        };
        match call {
            Call::Describe => {
                let places = self.histories.iter().map(Vec::len).max().unwrap_or(1);
                (0..places as u8).for_each(|place| f(Answer::Told(place)));
            }
            Call::Create { .. } | Call::CreateShared => {
                each(&Answer::Made, f);
                [Answer::Refused, Answer::NotNow, Answer::Unheard].into_iter().for_each(&mut *f);
            }
            Call::Read => {
                each(&|config| Answer::Is(config, false), f);
                each(&|config| Answer::Is(config, true), f);
                f(Answer::Absent);
            }
            Call::Save => {
                for work in 0..3 {
                    for representation in 0..2 {
                        let config = self.config(device);
                        f(Answer::Saved(Data { config, work, representation }));
                    }
                }
                f(Answer::NotNow);
            }
            Call::Write { .. } => f(Answer::Done),
            Call::Stop
            | Call::Load(_)
            | Call::Run
            | Call::Destroy
            | Call::Set(_)
            | Call::Upgrade => {
                [Answer::Done, Answer::Refused, Answer::NotNow, Answer::Unheard]
                    .into_iter()
                    .for_each(&mut *f);
            }
        }
        f(Answer::Failed);
    }
}

impl Machine for Managers {
    type State = ManagersState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "management"
    }

    fn plays(&self, party: Party) -> bool {
        party == MANAGEMENT || party == OTHER
    }

    fn initial(&self) -> ManagersState {
        ManagersState { of: [self.settled(Self::fresh()); 2] }
    }

    fn on(&self, s: &ManagersState, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        let Event { device, host, act } = *event;
        let index = usize::from(device & 1);
        let own = &s.of[index];
        let verdict = match act {
            Act::Work | Act::Change => return Ok(Reaction::Ignore),
            _ if index >= self.devices.len() => return Ok(Reaction::Disabled),
            Act::Check(accepts) => self.checked(own, device, host, accepts),
            Act::Call(call, answer) => self.called(own, device, host, (call, answer)),
        };
        Ok(match verdict {
            Reaction::To(knows) => {
                let mut next = *s;
                next.of[index] = knows;
                Reaction::To(next)
            }
            Reaction::Disabled => Reaction::Disabled,
            _ => Reaction::Ignore,
        })
    }

    fn owes(&self, s: &ManagersState, judge: &mut RuleContext) -> Result<Owed, OpenChoice> {
        let mut owed = Owed::NONE;
        for device in 0..self.devices.len() {
            let (own, index) = (&s.of[device], device as u32);
            let due = !self.over(own) || own.stopping && !own.committed;
            owed = owed.with_if(due && judge.enforces(self.source_runs), index);
        }
        Ok(owed)
    }

    fn obligation(&self, index: u32) -> Obligation {
        let by = if index == 0 { MANAGEMENT } else { OTHER };
        Obligation { by, clause: self.source_runs, class: TimeClass::Io, what: "the next step" }
    }

    fn discharges(&self, _: &ManagersState, did: &Did<Event>) -> Owed {
        match did {
            Did::Event(Event { act: Act::Call(..) | Act::Check(_), device, .. }) => {
                Owed::NONE.with(u32::from(*device))
            }
            _ => Owed::NONE,
        }
    }

    fn stimuli(&self, s: &ManagersState, f: &mut dyn FnMut(Stimulus<Event>)) {
        for device in 0..self.devices.len() as u8 {
            let own = &s.of[usize::from(device)];
            if self.checks(own) {
                let (host, act) = (1 - own.from, Act::Check(self.accepts(own, device)));
                let event = Event { device, host, act };
                f(if self.over(own) {
                    Stimulus::Guarded(event)
                } else {
                    Stimulus::Unguarded(event)
                });
            }
            let mut each = |host: u8, call: Call, does: bool| {
                self.answers(device, call, &mut |answer| {
                    let event = Event { device, host, act: Act::Call(call, answer) };
                    f(if does { Stimulus::Unguarded(event) } else { Stimulus::Guarded(event) });
                });
            };
            match self.step(own) {
                Some(step) => {
                    if let Some((host, call)) = self.call(own, device, step) {
                        each(host, call, true);
                    }
                }
                None => self.anything(own, device, &mut |host, call| each(host, call, false)),
            }
        }
    }

    /// How far the programs are, their calls tell.
    fn describe(&self, s: &ManagersState) -> Map<String, Json> {
        let mut all = Map::new();
        let names = [MANAGEMENT.0, OTHER.0];
        for (name, own) in names.into_iter().zip(&s.of).take(self.devices.len()) {
            all.insert(name.to_owned(), json!({ "failed": own.failing || own.failed }));
        }
        all
    }

    fn label(&self, event: &Event) -> Option<String> {
        let name = |config: u8| self.universe.label(config);
        let at = ["A", "B"][usize::from(event.host & 1)];
        let release = |place: u8| {
            let release = self.release(event.host, place);
            self.universe.releases[release].name.clone()
        };
        let (call, answer) = match event.act {
            Act::Check(true) => return Some(format!("check: {at} accepts it")),
            Act::Check(false) => return Some(format!("check: {at} does not accept it")),
            Act::Work => return Some("the device works for its guest".to_owned()),
            Act::Change => return Some("becomes its next release".to_owned()),
            Act::Call(call, answer) => (call, answer),
        };
        let data = |data: Data| format!("state of {}, work {}", name(data.config), data.work);
        let asked = match call {
            Call::Describe => format!("describe {at}"),
            Call::Create { config, of, dated } => {
                let of = if dated { format!(" by {}", release(of)) } else { String::new() };
                format!("create at {at} with {}{of}", name(config))
            }
            Call::Write { config, .. } => format!("write {} into attributes of {at}", name(config)),
            Call::CreateShared => format!("create at {at} from its attributes"),
            Call::Read => format!("read at {at}"),
            Call::Stop => format!("stop at {at}"),
            Call::Save => format!("save at {at}"),
            Call::Load(state) => format!("load at {at}: {}", data(state)),
            Call::Run => format!("run at {at}"),
            Call::Destroy => format!("destroy at {at}"),
            Call::Set(config) => format!("set at {at} to {}", name(config)),
            Call::Upgrade => format!("upgrade {at}"),
        };
        Some(match answer {
            Answer::Done => asked,
            Answer::Made(config) => format!("{asked}: made with {}", name(config)),
            Answer::Told(place) => format!("{asked}: {}", release(place)),
            Answer::Is(config, true) => format!("{asked}: {}, runs", name(config)),
            Answer::Is(config, false) => format!("{asked}: {}", name(config)),
            Answer::Absent => format!("{asked}: no device"),
            Answer::Saved(state) => format!("{asked}: {}", data(state)),
            Answer::Refused => format!("{asked}: refused"),
            Answer::NotNow => format!("{asked}: not now"),
            Answer::Failed => format!("{asked}: fails, no answer"),
            Answer::Unheard => format!("{asked}: done, no answer"),
        })
    }

    fn at_end(&self, s: &ManagersState) -> bool {
        s.of.iter().take(self.devices.len()).all(|own| self.over(own))
    }
}
