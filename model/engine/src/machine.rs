//! The one idea: parties, the events between them, and a pure machine that holds the rules.
//!
//! ```text
//!            offers            on / sent              owes
//!  Machine ---------> event --------------> verdict --------> obligations
//!     ^                                        |
//!     +---------------- next state ------------+
//! ```
//!
//! A protocol machine holds the rules of *all* its parties; guest memory, virtual CPUs, programs
//! and fault injectors are machines too. They are composed by tuples (see [`crate::compose`]): an
//! event happens if and only if no participant refuses it.
//!
//! **Invariants.** A machine is pure: no I/O, no clock, no randomness, no unordered collection.
//! A machine knows neither the queue that carries its messages nor the explorer or tester that
//! drives it.

use std::fmt::Debug;
use std::hash::Hash;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::clause::ClauseId;
use crate::pack::{Pack, zeroed};
use crate::rules::{OpenChoice, RuleContext};

/// Who takes part in a protocol, spelled as its specification spells it (`front-end`, `back-end`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct Party(pub &'static str);

impl std::fmt::Display for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// Whether an event is its owner's alone, or a call that another party answers in the same step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Only the owner decides whether it happens.
    Output,
    /// The owner asks; `callee` fixes what comes back.
    Call {
        /// The party whose state decides the data in the event.
        callee: Party,
    },
}

/// How an event travels from its owner to everybody else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// Seen by all at once: memory, a kick, a reply that its reader waits for.
    Now,
    /// Sent now, read later: the socket is part of the specification under test.
    Queue(u8),
}

/// Something that one party does and others see.
///
/// The `Default` value fills the unused slots of a queue; it need not be a meaningful event.
pub trait Event: Copy + Debug + Default + Eq + Hash + Pack + Send + Sync {
    /// The party that does it, and that is at fault if it breaks a rule.
    fn owner(&self) -> Party;
    /// An output, or a call.
    fn kind(&self) -> Kind {
        Kind::Output
    }
    /// The party that it is meant for: who is called, who reads it; `None` if it is no single one.
    fn to(&self) -> Option<Party> {
        match self.kind() {
            Kind::Call { callee } => Some(callee),
            Kind::Output => None,
        }
    }
    /// How it travels.
    fn channel(&self) -> Channel {
        Channel::Now
    }
    /// The same event, unpacked from this queue: an event whose queue is part of it need not spend
    /// bits on it.
    #[must_use]
    fn on_queue(self, _queue: u8) -> Self {
        self
    }
    /// One line for a trace, in the specification's own words.
    fn label(&self) -> String {
        format!("{self:?}")
    }
}

/// What one participant says to an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reaction<S> {
    /// No concern of this participant's.
    Ignore,
    /// It happens, and this is the next state.
    To(S),
    /// It cannot happen now: not this party's next step, other data, not being read.
    Disabled,
    /// It can happen, but its owner breaks this clause by it.
    Violation(ClauseId),
    /// It can happen, and the specification does not say what follows: judgement ends here.
    Unspecified(ClauseId),
}

/// A step that nobody outside sees, named for traces.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Step {
    /// Who does it.
    pub by: Party,
    /// What is done, e.g. `fetch`.
    pub name: &'static str,
    /// To what, e.g. a ring's index; [`Step::ALONE`] if there is only one.
    pub index: u8,
}

impl Step {
    /// The index of a step that needs none.
    pub const ALONE: u8 = u8::MAX;

    /// A step that needs no index.
    #[must_use]
    pub const fn alone(by: Party, name: &'static str) -> Self {
        Step { by, name, index: Step::ALONE }
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.index {
            Step::ALONE => f.write_str(self.name),
            index => write!(f, "{} {index}", self.name),
        }
    }
}

/// What happened in one transition, as far as a participant's obligations are concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Did<E> {
    /// A visible event.
    Event(E),
    /// A hidden step.
    Hidden(Step),
}

/// How soon an obligation is due, so that silence can be judged on a real clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeClass {
    /// An answer on a socket: it comes promptly.
    Reply,
    /// Work on real storage or a real network.
    Io,
    /// Would be kind; silence is no fault.
    Courtesy,
}

/// Something owed: by whom, under which clause, how soon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Obligation {
    /// Who owes it.
    pub by: Party,
    /// The clause that says so.
    pub clause: ClauseId,
    /// How soon.
    pub class: TimeClass,
    /// What, for traces: `reply`, `complete`.
    pub what: &'static str,
}

/// The most obligations that one machine has.
pub const OBLIGATIONS: u32 = 15;

/// A set of obligations, by their index within one machine (or one composition of machines).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Owed(pub u64);

impl Owed {
    /// Nothing owed: silence is allowed (ioco's quiescence).
    pub const NONE: Owed = Owed(0);

    /// Adds obligation `index`.
    #[must_use]
    pub const fn with(self, index: u32) -> Owed {
        Owed(self.0 | 1 << index)
    }

    /// Adds obligation `index` if `condition` holds.
    #[must_use]
    pub const fn with_if(self, condition: bool, index: u32) -> Owed {
        if condition { self.with(index) } else { self }
    }

    /// Whether obligation `index` is owed.
    #[must_use]
    pub const fn contains(self, index: u32) -> bool {
        self.0 >> index & 1 == 1
    }

    /// Whether nothing is owed.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The indices, ascending.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        (0..64).filter(move |i| self.contains(*i))
    }
}

/// An event that a participant brings into exploration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stimulus<E> {
    /// A permissive driver's: it is made only if the rules allow it.
    Guarded(E),
    /// A program's: it is made, and a rule that it breaks is a finding.
    Unguarded(E),
}

/// The rules of one participant: a pure function from states and events to states.
///
/// `stimuli` has no bounds argument: a machine for exploration carries its bounds (how many
/// requests, which values) in itself, so that two systems can bound it differently.
pub trait Machine: Sync {
    /// A plain struct; all of what this participant remembers.
    type State: Copy + Eq + Hash + Debug + Pack + Serialize + Send + Sync;
    /// The events of the protocol, shared by all participants.
    type Event: Event;

    /// The name under which this participant's fields appear in traces; that of its type, if it
    /// chooses no other.
    fn name(&self) -> &'static str {
        let name = std::any::type_name::<Self>();
        name.rsplit("::").next().unwrap_or(name)
    }

    /// Whether this participant is that party (and so may refuse its outputs). A protocol machine,
    /// which judges everybody, plays nobody.
    fn plays(&self, _party: Party) -> bool {
        false
    }

    /// Where it all begins: where every field is zero, if it says nothing else.
    fn initial(&self) -> Self::State {
        zeroed()
    }

    /// The only place for rules: what becomes of `state` when `event` happens (for a queued event:
    /// when it is *read*). A broken rule names its clause; the event's owner is the party at fault.
    ///
    /// # Errors
    /// [`OpenChoice`] if a choice that the text leaves open decides, and `judge` has not fixed it.
    fn on(
        &self,
        state: &Self::State,
        event: &Self::Event,
        judge: &mut RuleContext,
    ) -> Verdict<Self>;

    /// A queued event is *put onto its queue*. Only its owner minds: a program moves on.
    ///
    /// # Errors
    /// As [`Machine::on`].
    fn sent(
        &self,
        _state: &Self::State,
        _event: &Self::Event,
        _judge: &mut RuleContext,
    ) -> Verdict<Self> {
        Ok(Reaction::Ignore)
    }

    /// What is owed now.
    ///
    /// # Errors
    /// As [`Machine::on`].
    fn owes(&self, _state: &Self::State, _judge: &mut RuleContext) -> Result<Owed, OpenChoice> {
        Ok(Owed::NONE)
    }

    /// What obligation `index` of [`Machine::owes`] is. Indices are below 15. By default the party
    /// of this machine's name owes a reply, and no clause says so.
    fn obligation(&self, _index: u32) -> Obligation {
        let by = Party(self.name());
        Obligation { by, clause: ClauseId::NONE, class: TimeClass::Reply, what: "answer" }
    }

    /// Which of the obligations owed in `state` this step discharges (or visibly advances): by
    /// default every one, if it is an event of the party of this machine's name.
    fn discharges(&self, _state: &Self::State, did: &Did<Self::Event>) -> Owed {
        match did {
            Did::Event(event) if event.owner().0 == self.name() => Owed((1 << OBLIGATIONS) - 1),
            _ => Owed::NONE,
        }
    }

    /// Steps that nobody outside sees (a descriptor fetched, a kick noticed).
    ///
    /// # Errors
    /// As [`Machine::on`].
    fn hidden(
        &self,
        _state: &Self::State,
        _judge: &mut RuleContext,
        _f: &mut dyn FnMut(Step, Self::State),
    ) -> Result<(), OpenChoice> {
        Ok(())
    }

    /// Events worth trying in this state, within this machine's bounds, always in the same order.
    fn stimuli(&self, _state: &Self::State, _f: &mut dyn FnMut(Stimulus<Self::Event>)) {}

    /// Every event of this machine's bounded domain, whatever the state: the oracle for `stimuli`.
    fn domain(&self, _f: &mut dyn FnMut(Self::Event)) {}

    /// Law 1: who refuses this event without having the right to (`None`: nobody). Only the owner
    /// of an output may refuse it, in a call also the callee; whether a queued message is *read* is
    /// everybody's matter, but only its owner minds whether it is *sent*.
    ///
    /// # Errors
    /// As [`Machine::on`].
    fn violates_input_enabledness(
        &self,
        state: &Self::State,
        event: &Self::Event,
        judge: &mut RuleContext,
    ) -> Result<Option<&'static str>, OpenChoice> {
        let verdict = match event.channel() {
            Channel::Now => self.on(state, event, judge)?,
            Channel::Queue(_) => self.sent(state, event, judge)?,
        };
        let may = self.plays(event.owner())
            || matches!(event.kind(), Kind::Call { callee } if self.plays(callee));
        Ok((verdict == Reaction::Disabled && !may).then(|| self.name()))
    }

    /// The state for traces: participants by name, each with its fields.
    fn describe(&self, state: &Self::State) -> Map<String, Value> {
        let fields = serde_json::to_value(state).unwrap_or_default();
        Map::from_iter([(self.name().to_owned(), fields)])
    }

    /// One line for an event in a trace, if this participant knows it better than the event itself
    /// (the name of a message).
    fn label(&self, _event: &Self::Event) -> Option<String> {
        None
    }

    /// Whether this participant may rest here for ever.
    fn at_end(&self, _state: &Self::State) -> bool {
        true
    }

    /// What this participant waits for where it may not rest, in sentences without a full stop: who
    /// owes what, and which condition is not met.
    fn waits(&self, state: &Self::State, f: &mut dyn FnMut(String)) {
        if !self.at_end(state) {
            f(format!("the {} has not finished", self.name()));
        }
    }
}

/// A refinement mapping: the events of a lower machine as those of the abstract machine `A`.
pub trait Refines<A: Machine>: Machine {
    /// What `A` knows of an event when it is sent or seen; `None`: nothing.
    fn refine(&self, event: &Self::Event) -> Option<A::Event>;

    /// What `A` knows of an event when it is read from its queue; `None`: nothing.
    fn refine_read(&self, _event: &Self::Event) -> Option<A::Event> {
        None
    }
}

/// What [`Machine::on`] returns.
pub type Verdict<M> = Result<Reaction<<M as Machine>::State>, OpenChoice>;
