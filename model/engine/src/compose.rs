//! Composition: *an event happens if and only if no participant refuses it*.
//!
//! A tuple of machines over the same events is a machine. [`Closed`] adds the queues and turns it
//! into a transition relation:
//!
//! ```text
//!  offers --(May: only if the rules allow it)--> Now event:  on() of all, at once
//!                                         \----> queued:     sent() ... queue ... read: on() of all
//!  hidden steps of each participant
//! ```
//!
//! A driver is filtered by the rules when it *sends*: the messages before it in its queue are
//! played first, and what breaks a rule by being sent is not sent. A program or an implementation
//! is never filtered: the rule it breaks ends the branch as a finding ([`Outcome::Violation`]),
//! never as an event silently pruned.
//!
//! **Invariant.** There is no other place where participants meet.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::clause::ClauseId;
use crate::machine::{
    Channel, Did, Event, Machine, OBLIGATIONS, Obligation, Owed, Party, Reaction, Step, Stimulus,
    TimeClass, Verdict,
};
use crate::pack::{Bits, Overflow, Pack, Reader, Writer};
use crate::queue::Queue;
use crate::rules::{OpenChoice, RuleContext, Rules};

/// Bits of an obligation set that each participant of a tuple has for itself.
const OWN: u32 = OBLIGATIONS;
/// Obligations from here on are the composition's: a queued message is read.
const READ: u32 = 60;

macro_rules! machine_tuple {
    ($($name:ident $index:tt),+) => {
        impl<EV: Event, $($name: Machine<Event = EV>),+> Machine for ($($name,)+) {
            type State = ($($name::State,)+);
            type Event = EV;

            fn name(&self) -> &'static str {
                "system"
            }

            fn plays(&self, party: Party) -> bool {
                $(self.$index.plays(party))||+
            }

            fn initial(&self) -> Self::State {
                ($(self.$index.initial(),)+)
            }

            #[inline]
            fn on(&self, state: &Self::State, event: &EV, judge: &mut RuleContext) -> Verdict<Self> {
                let mut next = *state;
                let mut moved = false;
                // A refusal wins over a broken rule: what cannot happen breaks nothing.
                let mut verdict = None;
                $(match self.$index.on(&state.$index, event, judge)? {
                    Reaction::Ignore => {}
                    Reaction::To(to) => {
                        next.$index = to;
                        moved = true;
                    }
                    Reaction::Disabled => return Ok(Reaction::Disabled),
                    Reaction::Violation(clause) => verdict = verdict.or(Some(Reaction::Violation(clause))),
                    Reaction::Unspecified(clause) => verdict = verdict.or(Some(Reaction::Unspecified(clause))),
                })+
                Ok(verdict.unwrap_or(if moved { Reaction::To(next) } else { Reaction::Ignore }))
            }

            #[inline]
            fn sent(&self, state: &Self::State, event: &EV, judge: &mut RuleContext) -> Verdict<Self> {
                let mut next = *state;
                $(match self.$index.sent(&state.$index, event, judge)? {
                    Reaction::Ignore => {}
                    Reaction::To(to) => next.$index = to,
                    Reaction::Disabled => return Ok(Reaction::Disabled),
                    Reaction::Violation(clause) => return Ok(Reaction::Violation(clause)),
                    Reaction::Unspecified(clause) => return Ok(Reaction::Unspecified(clause)),
                })+
                Ok(Reaction::To(next))
            }

            fn owes(&self, state: &Self::State, judge: &mut RuleContext) -> Result<Owed, OpenChoice> {
                let mut all = 0;
                $(all |= self.$index.owes(&state.$index, judge)?.0 << ($index * OWN);)+
                Ok(Owed(all))
            }

            fn obligation(&self, index: u32) -> Obligation {
                match index / OWN {
                    $($index => self.$index.obligation(index % OWN),)+
                    _ => unreachable!("no participant has obligation {index}"),
                }
            }

            fn discharges(&self, state: &Self::State, did: &Did<EV>) -> Owed {
                Owed(0 $(| self.$index.discharges(&state.$index, did).0 << ($index * OWN))+)
            }

            #[inline]
            fn hidden(
                &self,
                state: &Self::State,
                judge: &mut RuleContext,
                f: &mut dyn FnMut(Step, Self::State),
            ) -> Result<(), OpenChoice> {
                $(self.$index.hidden(&state.$index, judge, &mut |step, to| {
                    let mut next = *state;
                    next.$index = to;
                    f(step, next);
                })?;)+
                Ok(())
            }

            #[inline]
            fn stimuli(&self, state: &Self::State, f: &mut dyn FnMut(Stimulus<EV>)) {
                $(self.$index.stimuli(&state.$index, f);)+
            }

            fn domain(&self, f: &mut dyn FnMut(EV)) {
                $(self.$index.domain(f);)+
            }

            fn violates_input_enabledness(
                &self,
                state: &Self::State,
                event: &EV,
                judge: &mut RuleContext,
            ) -> Result<Option<&'static str>, OpenChoice> {
                $(if let Some(name) = self.$index.violates_input_enabledness(&state.$index, event, judge)? {
                    return Ok(Some(name));
                })+
                Ok(None)
            }

            fn describe(&self, state: &Self::State) -> Map<String, Value> {
                let mut all = Map::new();
                $(all.extend(self.$index.describe(&state.$index));)+
                all
            }

            fn label(&self, event: &EV) -> Option<String> {
                None$(.or_else(|| self.$index.label(event)))+
            }

            fn at_end(&self, state: &Self::State) -> bool {
                $(self.$index.at_end(&state.$index))&&+
            }

            fn waits(&self, state: &Self::State, f: &mut dyn FnMut(String)) {
                $(self.$index.waits(&state.$index, f);)+
            }
        }
    };
}
machine_tuple!(A 0);
machine_tuple!(A 0, B 1);
machine_tuple!(A 0, B 1, C 2);
machine_tuple!(A 0, B 1, C 2, D 3);
machine_tuple!(A 0, B 1, C 2, D 3, E 4);

/// The state of a closed composition: its participants, and what is under way between them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct GlobalState<S, E, const Q: usize, const N: usize> {
    /// The participants' states.
    pub parts: S,
    /// The queues, by the number in [`Channel::Queue`].
    pub queues: [Queue<E, N>; Q],
}

impl<S: Pack, E: Event, const Q: usize, const N: usize> Pack for GlobalState<S, E, Q, N> {
    const BITS: u32 = S::BITS + <[Queue<E, N>; Q]>::BITS;
    #[inline(always)]
    fn pack<const W: usize>(&self, into: &mut Writer<W>) -> Result<(), Overflow> {
        self.parts.pack(into)?;
        self.queues.pack(into)
    }
    #[inline(always)]
    fn unpack<const W: usize>(from: &mut Reader<W>) -> Self {
        let parts = Pack::unpack(from);
        let queues = std::array::from_fn(|queue| {
            Queue::unpack(from).map(|event: E| event.on_queue(queue as u8))
        });
        GlobalState { parts, queues }
    }
}

/// One transition's label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action<E> {
    /// An event that all see at once.
    Now(E),
    /// A message put onto its queue.
    Send(E),
    /// A message read from its queue.
    Read(E),
    /// A step nobody sees.
    Hidden(Step),
}

impl<E: Event> Action<E> {
    /// What happened to the participants: `None` while a message only waits in a queue.
    #[must_use]
    pub fn did(&self) -> Option<Did<E>> {
        match self {
            Action::Now(e) | Action::Read(e) => Some(Did::Event(*e)),
            Action::Hidden(step) => Some(Did::Hidden(*step)),
            Action::Send(_) => None,
        }
    }

    /// The visible event that happens (is seen or read) in this transition.
    #[must_use]
    pub fn event(&self) -> Option<&E> {
        match self {
            Action::Now(e) | Action::Read(e) => Some(e),
            _ => None,
        }
    }
}

/// Where a transition leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome<W> {
    /// To another state.
    To(W),
    /// Its owner breaks a rule: the branch ends.
    Violation(ClauseId),
    /// No text says what follows: the branch ends.
    Unspecified(ClauseId),
}

impl<W> Outcome<W> {
    /// The same outcome with another form of the state.
    #[inline(always)]
    pub fn map<T>(self, f: impl FnOnce(W) -> T) -> Outcome<T> {
        match self {
            Outcome::To(to) => Outcome::To(f(to)),
            Outcome::Violation(clause) => Outcome::Violation(clause),
            Outcome::Unspecified(clause) => Outcome::Unspecified(clause),
        }
    }
}

/// What a transition does to the queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moved<E> {
    /// Nothing.
    Nothing,
    /// The head of this queue leaves it.
    Read(usize),
    /// An event enters this queue, which has room.
    Sent(usize, E),
}

/// Called for each transition, with what it changes.
pub type Visit<'f, S, E> = dyn FnMut(&Action<E>, Outcome<Change<'_, S, E>>) + 'f;

/// What a transition changes in a [`GlobalState`]; everything else stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change<'a, S, E> {
    /// The participants afterwards, if any of them moved.
    pub parts: Option<&'a S>,
    /// What becomes of the queues.
    pub moved: Moved<E>,
}

impl<S: Pack, E: Event> Change<'_, S, E> {
    /// The state after it.
    #[inline]
    #[must_use]
    pub fn of<const Q: usize, const N: usize>(
        &self,
        world: &GlobalState<S, E, Q, N>,
    ) -> GlobalState<S, E, Q, N> {
        let mut next =
            GlobalState { parts: *self.parts.unwrap_or(&world.parts), queues: world.queues };
        if let Some((queue, items)) = self.queue(world) {
            next.queues[queue] = items;
        }
        next
    }

    /// The key of the state after it, from that of the state before: only what changed is packed.
    ///
    /// # Errors
    /// [`Overflow`] if a value does not fit its declared width.
    #[inline(always)]
    pub fn pack<const Q: usize, const N: usize, const W: usize>(
        &self,
        world: &GlobalState<S, E, Q, N>,
        key: &Bits<W>,
    ) -> Result<Bits<W>, Overflow> {
        let mut next = *key;
        if let Some(parts) = self.parts {
            next = next.replace(0, S::BITS, Bits::pack(parts)?);
        }
        if let Some((queue, items)) = self.queue(world) {
            let width = Queue::<E, N>::BITS;
            next = next.replace(S::BITS + queue as u32 * width, width, Bits::pack(&items)?);
        }
        Ok(next)
    }

    /// The queue that changes, as it is afterwards.
    #[inline(always)]
    fn queue<const Q: usize, const N: usize>(
        &self,
        world: &GlobalState<S, E, Q, N>,
    ) -> Option<(usize, Queue<E, N>)> {
        match self.moved {
            Moved::Nothing => None,
            Moved::Read(queue) => Some((queue, world.queues[queue].pop())),
            Moved::Sent(queue, event) => Some((queue, world.queues[queue].push(event)?)),
        }
    }
}

/// Where a verdict leads; `None` if it is a refusal.
#[inline(always)]
fn outcome<S, E>(verdict: &Reaction<S>, moved: Moved<E>) -> Option<Outcome<Change<'_, S, E>>> {
    match verdict {
        Reaction::To(parts) => Some(Outcome::To(Change { parts: Some(parts), moved })),
        Reaction::Ignore => Some(Outcome::To(Change { parts: None, moved })),
        Reaction::Disabled => None,
        Reaction::Violation(clause) => Some(Outcome::Violation(*clause)),
        Reaction::Unspecified(clause) => Some(Outcome::Unspecified(*clause)),
    }
}

/// A composition that is closed: nothing comes from outside. `Q` queues of `N` messages.
#[derive(Clone, Debug)]
pub struct Closed<M, const Q: usize, const N: usize> {
    /// The participants, as a tuple.
    pub machine: M,
    /// The rules in force; every choice met is fixed.
    pub rules: Rules,
}

/// The state of a [`Closed`] composition of `M`.
pub type GlobalStateOf<M, const Q: usize, const N: usize> =
    GlobalState<<M as Machine>::State, <M as Machine>::Event, Q, N>;

impl<M: Machine, const Q: usize, const N: usize> Closed<M, Q, N> {
    /// The initial state.
    pub fn initial(&self) -> GlobalStateOf<M, Q, N> {
        GlobalState { parts: self.machine.initial(), queues: [Queue::default(); Q] }
    }

    /// All transitions from `world`, always in the same order, each with the state that it leads to.
    ///
    /// # Errors
    /// [`OpenChoice`] if a choice that decides is not fixed: an error in the system's definition.
    #[inline]
    pub fn successors(
        &self,
        world: &GlobalStateOf<M, Q, N>,
        f: &mut dyn FnMut(Action<M::Event>, Outcome<GlobalStateOf<M, Q, N>>),
    ) -> Result<(), OpenChoice> {
        self.changes(world, &mut |action, outcome| f(*action, outcome.map(|c| c.of(world))))
    }

    /// The same transitions in the same order, each with what it changes: most of a state stays as it
    /// is, and need be neither copied nor packed anew.
    ///
    /// # Errors
    /// As [`Closed::successors`].
    #[inline]
    pub fn changes(
        &self,
        world: &GlobalStateOf<M, Q, N>,
        f: &mut Visit<'_, M::State, M::Event>,
    ) -> Result<(), OpenChoice> {
        let mut asked = None;
        for queue in 0..Q {
            if let Some(event) = world.queues[queue].head() {
                let judge = &mut self.rules.judge();
                let verdict = self.machine.on(&world.parts, event, judge)?;
                if let Some(outcome) = outcome(&verdict, Moved::Read(queue)) {
                    f(&Action::Read(*event), outcome);
                }
            }
        }
        self.machine.stimuli(&world.parts, &mut |offer| {
            if let Err(ask) = self.offered(world, offer, f) {
                asked = asked.or(Some(ask));
            }
        });
        self.machine.hidden(&world.parts, &mut self.rules.judge(), &mut |step, parts| {
            let change = Change { parts: Some(&parts), moved: Moved::Nothing };
            f(&Action::Hidden(step), Outcome::To(change));
        })?;
        asked.map_or(Ok(()), Err)
    }

    /// What becomes of one offered event: calls `f` unless it does not happen.
    ///
    /// # Errors
    /// As [`Closed::successors`].
    #[inline]
    pub fn offered(
        &self,
        world: &GlobalStateOf<M, Q, N>,
        offer: Stimulus<M::Event>,
        f: &mut Visit<'_, M::State, M::Event>,
    ) -> Result<(), OpenChoice> {
        let (event, filtered) = match offer {
            Stimulus::Guarded(event) => (event, true),
            Stimulus::Unguarded(event) => (event, false),
        };
        let judge = &mut self.rules.judge();
        let (verdict, action, moved) = match event.channel() {
            Channel::Now => {
                let verdict = self.machine.on(&world.parts, &event, judge)?;
                if filtered && matches!(verdict, Reaction::Violation(_) | Reaction::Unspecified(_))
                {
                    return Ok(());
                }
                (verdict, Action::Now(event), Moved::Nothing)
            }
            Channel::Queue(queue) => {
                let queue = queue as usize;
                if world.queues[queue].is_full()
                    || filtered && !self.legal_behind(world, queue, &event)?
                {
                    return Ok(());
                }
                let verdict = self.machine.sent(&world.parts, &event, judge)?;
                if filtered && matches!(verdict, Reaction::Violation(_) | Reaction::Unspecified(_))
                {
                    return Ok(());
                }
                (verdict, Action::Send(event), Moved::Sent(queue, event))
            }
        };
        if let Some(outcome) = outcome(&verdict, moved) {
            f(&action, outcome);
        }
        Ok(())
    }

    /// Whether `event` would keep the rules if all before it in its queue had been read.
    fn legal_behind(
        &self,
        world: &GlobalStateOf<M, Q, N>,
        queue: usize,
        event: &M::Event,
    ) -> Result<bool, OpenChoice> {
        let mut parts = world.parts;
        for before in world.queues[queue].iter() {
            match self.machine.on(&parts, before, &mut self.rules.judge())? {
                Reaction::To(next) => parts = next,
                // Not read yet, since an answer is owed first: what follows is judged when read.
                Reaction::Disabled => return Ok(true),
                _ => {}
            }
        }
        let verdict = self.machine.on(&parts, event, &mut self.rules.judge())?;
        Ok(!matches!(verdict, Reaction::Violation(_) | Reaction::Unspecified(_)))
    }

    /// What is owed in this state: the participants' obligations, and that a message which can be
    /// read is read. What only a switched-off clause demands is not owed.
    ///
    /// # Errors
    /// As [`Closed::successors`].
    pub fn owes(&self, world: &GlobalStateOf<M, Q, N>) -> Result<Owed, OpenChoice> {
        let mut owed = self.machine.owes(&world.parts, &mut self.rules.judge())?;
        if !self.rules.off.is_empty() {
            let off = |index: &u32| self.rules.off.contains(self.obligation(*index).clause);
            owed = owed.iter().filter(|index| !off(index)).fold(Owed::NONE, Owed::with);
        }
        for queue in 0..Q {
            owed = owed.with_if(!world.queues[queue].is_empty(), READ + queue as u32);
        }
        Ok(owed)
    }

    /// Which obligations this transition discharges.
    #[must_use]
    pub fn discharges(&self, world: &GlobalStateOf<M, Q, N>, action: &Action<M::Event>) -> Owed {
        let read = match action {
            Action::Read(event) => match event.channel() {
                Channel::Queue(queue) => Owed::NONE.with(READ + u32::from(queue)),
                Channel::Now => Owed::NONE,
            },
            _ => Owed::NONE,
        };
        let by_parts =
            action.did().map_or(Owed::NONE, |did| self.machine.discharges(&world.parts, &did));
        Owed(read.0 | by_parts.0)
    }

    /// What obligation `index` is.
    #[must_use]
    pub fn obligation(&self, index: u32) -> Obligation {
        if index < READ {
            return self.machine.obligation(index);
        }
        Obligation {
            by: Party("reader"),
            clause: ClauseId::NONE,
            class: TimeClass::Reply,
            what: "message read",
        }
    }

    /// Whether this is an accepted end: every participant may rest, and nothing is under way.
    #[must_use]
    pub fn at_end(&self, world: &GlobalStateOf<M, Q, N>) -> bool {
        self.machine.at_end(&world.parts) && world.queues.iter().all(Queue::is_empty)
    }
}

impl<S: Serialize, E: Serialize + Copy + Default, const Q: usize, const N: usize> Serialize
    for GlobalState<S, E, Q, N>
{
    fn serialize<Z: serde::Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        use serde::ser::SerializeStruct;
        let mut out = serializer.serialize_struct("GlobalState", 2)?;
        out.serialize_field("parts", &self.parts)?;
        out.serialize_field("queues", &self.queues.as_slice())?;
        out.end()
    }
}
