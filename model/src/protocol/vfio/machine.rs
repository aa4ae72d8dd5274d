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
//! | file | its one job |
//! |---|---|
//! | `machine.rs` | which rule an event meets, hidden steps, what exploration tries |
//! | `machine/arcs.rs` | the way of a SET |
//! | `machine/calls.rs` | calls and their answers |
//! | `machine/memory.rs` | accesses, and the log of writes |
//! | `machine/acts.rs` | what the device and its peer do without a call |
//!
//! **Invariants.** A call is answered before the next is made. Amounts never fall below 0: what was
//! read that was not there is a finding.
//!
//! **Not here.** Numbers of errors, argument checks, PROBE: a tester's matter (`vfio.feature.*`).

mod acts;
mod arcs;
mod calls;
mod memory;

use std::sync::Arc;

use serde_json::{Map, Value};

use super::event::{Act, Call, DEVICE, Data, Event, PageSize};
use super::names::{ChoiceIds, ClauseIds, LogReport, Names};
use super::path::Paths;
use super::state::{Log, State, Stream};
use super::table::{Session, Table};
use devmig_engine::clause::ClauseId;
use devmig_engine::machine::{
    Did, Machine, Obligation, Owed, Party, Reaction, Step, Stimulus, TimeClass, Verdict,
};
use devmig_engine::rules::{OpenChoice, RuleContext};

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
    /// A report of the log may fail.
    pub reports_fail: bool,
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
    pub laws: ClauseIds,
    /// What is asked.
    pub readings: ChoiceIds,
    /// What exploration tries.
    pub bounds: Bounds,
    /// What is inside is not known: a test.
    pub opaque: bool,
    /// A SET takes all of its arcs at once.
    pub atomic: bool,
    /// Data passes through descriptors, which a SET returns; over vfio-user there are none.
    pub descriptors: bool,
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
}

/// The clause is broken, unless it is switched off: then it goes on there.
fn broken(clause: ClauseId, judge: &mut RuleContext, next: State) -> Reaction<State> {
    if judge.enforces(clause) { Reaction::Violation(clause) } else { Reaction::To(next) }
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

    fn on(&self, s: &State, event: &Event, judge: &mut RuleContext) -> Verdict<Self> {
        match event.act {
            Act::PeerArrives if event.device != self.index => self.struck(s, judge),
            _ if event.device != self.index => Ok(Reaction::Ignore),
            Act::Call(call) => self.called(s, call, judge),
            Act::Answer(answer) => self.answered(s, answer, judge),
            Act::Copy(_) | Act::Reboot => Ok(Reaction::Ignore),
            act => self.acts(s, act, judge),
        }
    }

    fn owes(&self, s: &State, _: &mut RuleContext) -> Result<Owed, OpenChoice> {
        let answer = Owed::NONE.with_if(s.pending.is_some(), owed::ANSWER);
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
        judge: &mut RuleContext,
        f: &mut dyn FnMut(Step, State),
    ) -> Result<(), OpenChoice> {
        let step = |name| Step { by: DEVICE, name, index: self.index };
        if !s.failed
            && let Some(Ok(path)) = self.path(s, judge)?
            && path.len() > 1
        {
            self.arc(s, path, judge, f)?;
        }
        if let Some(Call::LogReport(_)) = s.pending
            && s.log.on
            && self.readings.report.taken(judge)? != LogReport::Atomic
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
        let idle = s.pending.is_none();
        if idle && !self.is_final(s.at) && !judge.enforces(self.laws.only_client) {
            for arc in self.table.arcs.iter().filter(|arc| arc.from == s.at) {
                if self.table.supports(self.flags, arc.to) {
                    f(step("another state"), self.taken(s, arc.to, judge));
                }
            }
        }
        Ok(())
    }

    fn stimuli(&self, s: &State, f: &mut dyn FnMut(Stimulus<Event>)) {
        let device = self.index;
        let mut may = |act| f(Stimulus::Guarded(Event { device, act }));
        let Some(call) = s.pending else {
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
            *pending = s.pending.and_then(label).map_or(Value::Null, Value::from);
        }
        Map::from_iter([(self.name().to_owned(), fields)])
    }

    fn label(&self, event: &Event) -> Option<String> {
        (event.device == self.index).then(|| event.words(&|state| self.table.name(state)))
    }

    fn at_end(&self, s: &State) -> bool {
        s.pending.is_none() && s.peer == 0
    }
}
