//! A closed system with the properties that are expected of it.
//!
//! ```text
//!  participants + queues + rules  =  Closed      (what can happen)
//!  Closed + properties + expectation = System    (what should hold, and what is known not to)
//! ```
//!
//! Four properties are checked of every system without being written down:
//!
//! | property | kind | violated by |
//! |---|---|---|
//! | `rules-kept` | [`PropertyKind::Rules`] | a program that breaks a clause which it does not declare |
//! | `deadlock-free` | [`PropertyKind::Stuck`] | a state that is no accepted end, where only free environment events are left |
//! | `no-starvation` | [`PropertyKind::Progress`] | an obligation that can be owed for ever |
//! | `…: non-vacuous` | [`PropertyKind::Reachable`] | an `always` or `at END` whose antecedent is never met |
//!
//! **Invariants.** An implication, over transitions or at accepted ends, says its antecedent once
//! ([`Property::implies`], [`Property::at_end_implies`]), and the check that the antecedent is met asks
//! the same predicate: a check that cannot fail cannot be written. A property of one ring, channel,
//! device or page is quantified here ([`Property::for_each`]), never by its predicate.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;

use crate::clause::ClauseId;
use crate::compose::{Action, Closed, GlobalStateOf};
use crate::machine::{Event, Machine, Party, Refines};
use crate::pack::{Pack, words};
use crate::rules::Rules;
use crate::symmetry::Symmetry;

/// What a property says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PropertyKind {
    /// In every transition: if the antecedent, then the consequent.
    Always,
    /// In every accepted end.
    AtEnd,
    /// In some transition.
    Reachable,
    /// Whenever P, then later Q.
    LeadsTo,
    /// Programs break exactly the clauses that they declare.
    Rules,
    /// No state without a way on that is not an accepted end.
    Stuck,
    /// No obligation is owed for ever.
    Progress,
}

impl PropertyKind {
    /// Whether it has an antecedent, so that a vacuity check follows it in a report.
    #[must_use]
    pub fn is_implication(self) -> bool {
        matches!(self, PropertyKind::Always | PropertyKind::AtEnd)
    }
}

/// Whether a property is expected to hold: a founding counterexample is *expected* to be found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// It holds.
    Holds,
    /// It is violated, and the counterexample is the point.
    Violated,
}

/// One transition, as properties see it.
#[derive(Debug)]
pub struct Transition<'a, W, E> {
    /// The state before.
    pub before: &'a W,
    /// What happens.
    pub action: &'a Action<E>,
    /// The state after.
    pub after: &'a W,
}

impl<W, E: Event> Transition<'_, W, E> {
    /// The visible event that happens (is seen or read) in it.
    #[must_use]
    pub fn event(&self) -> Option<&E> {
        self.action.event()
    }
}

/// A predicate over transitions.
pub type OnTransition<W, E> = Box<dyn Fn(&Transition<'_, W, E>) -> bool + Send + Sync>;
/// A predicate over states.
pub type OnState<W> = Box<dyn Fn(&W) -> bool + Send + Sync>;
/// An implication over transitions: whether the consequent holds; `None` where the antecedent does not.
pub type OnImplication<W, E> = Box<dyn Fn(&Transition<'_, W, E>) -> Option<bool> + Send + Sync>;
/// An implication at an accepted end, in the same form.
pub type AtEndImplication<W> = Box<dyn Fn(&W) -> Option<bool> + Send + Sync>;

/// How a property is decided, of one of its instances.
pub enum Test<W, E> {
    /// In every transition in which the antecedent is met, which must happen somewhere.
    Implies(OnImplication<W, E>),
    /// In every accepted end in which the antecedent is met; one such end must be reached.
    AtEnd(AtEndImplication<W>),
    /// In some transition.
    Reachable(OnTransition<W, E>),
    /// After `from`, `to` in the end, given that obligations are met.
    LeadsTo {
        /// P.
        from: OnState<W>,
        /// Q.
        to: OnState<W>,
    },
}

impl<W, E> Test<W, E> {
    /// In every transition for which `holds` returns a truth value, it is true; `None` says that the
    /// antecedent is not met.
    pub fn implies(
        holds: impl Fn(&Transition<'_, W, E>) -> Option<bool> + Send + Sync + 'static,
    ) -> Self {
        Test::Implies(Box::new(holds))
    }

    /// In every accepted end, one of which must be reached.
    pub fn at_end(holds: impl Fn(&W) -> bool + Send + Sync + 'static) -> Self {
        Self::at_end_implies(move |state| Some(holds(state)))
    }

    /// In every accepted end for which `holds` returns a truth value, it is true; `None` says that the
    /// antecedent is not met.
    pub fn at_end_implies(holds: impl Fn(&W) -> Option<bool> + Send + Sync + 'static) -> Self {
        Test::AtEnd(Box::new(holds))
    }

    /// In some transition.
    pub fn reachable(when: impl Fn(&Transition<'_, W, E>) -> bool + Send + Sync + 'static) -> Self {
        Test::Reachable(Box::new(when))
    }

    /// After `from`, `to` in the end, given that obligations are met.
    pub fn leads_to(
        from: impl Fn(&W) -> bool + Send + Sync + 'static,
        to: impl Fn(&W) -> bool + Send + Sync + 'static,
    ) -> Self {
        Test::LeadsTo { from: Box::new(from), to: Box::new(to) }
    }

    /// What it says.
    #[must_use]
    pub fn kind(&self) -> PropertyKind {
        match self {
            Test::Implies(_) => PropertyKind::Always,
            Test::AtEnd(_) => PropertyKind::AtEnd,
            Test::Reachable(_) => PropertyKind::Reachable,
            Test::LeadsTo { .. } => PropertyKind::LeadsTo,
        }
    }
}

/// A named property: one test, or the same test of each instance (each ring, each page). It holds if
/// it holds of every instance; an antecedent need be met by one of them only.
pub struct Property<W, E> {
    /// Short and unique in its system, e.g. `nothing-processed-while-stopped`.
    pub name: Cow<'static, str>,
    /// The clause behind it, if one is.
    pub clause: Option<ClauseId>,
    /// What is expected.
    pub expected: Expected,
    /// What it says.
    pub kind: PropertyKind,
    /// What an instance is, e.g. `ring`; nothing, if there is only one test.
    pub each: Cow<'static, str>,
    /// How it is decided, by instance.
    pub tests: Vec<Test<W, E>>,
}

impl<W, E> Property<W, E> {
    /// A property with one test.
    pub fn new(name: impl Into<Cow<'static, str>>, test: Test<W, E>) -> Self {
        let kind = test.kind();
        let (name, each) = (name.into(), "".into());
        Property { name, clause: None, expected: Expected::Holds, kind, each, tests: vec![test] }
    }

    /// The same test of each of `count` instances, which are called `each` (`ring`): the property has
    /// one verdict, and a counterexample names its instance.
    pub fn for_each(
        name: impl Into<Cow<'static, str>>,
        each: impl Into<Cow<'static, str>>,
        count: usize,
        test: impl Fn(usize) -> Test<W, E>,
    ) -> Self {
        let first = Property::new(name, test(0));
        let each = each.into();
        Property { each, tests: (0..count).map(test).collect(), ..first }
    }

    /// [`Test::implies`] as a property.
    pub fn implies(
        name: &'static str,
        holds: impl Fn(&Transition<'_, W, E>) -> Option<bool> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, Test::implies(holds))
    }

    /// [`Test::at_end`] as a property.
    pub fn at_end(name: &'static str, holds: impl Fn(&W) -> bool + Send + Sync + 'static) -> Self {
        Self::new(name, Test::at_end(holds))
    }

    /// [`Test::at_end_implies`] as a property.
    pub fn at_end_implies(
        name: &'static str,
        holds: impl Fn(&W) -> Option<bool> + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, Test::at_end_implies(holds))
    }

    /// [`Test::reachable`] as a property.
    pub fn reachable(
        name: &'static str,
        when: impl Fn(&Transition<'_, W, E>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, Test::reachable(when))
    }

    /// [`Test::leads_to`] as a property.
    pub fn leads_to(
        name: &'static str,
        from: impl Fn(&W) -> bool + Send + Sync + 'static,
        to: impl Fn(&W) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, Test::leads_to(from, to))
    }

    /// Its name, if that stands in code.
    #[must_use]
    pub fn static_name(&self) -> Option<&'static str> {
        match self.name {
            Cow::Borrowed(name) => Some(name),
            Cow::Owned(_) => None,
        }
    }

    /// Names the clause behind it.
    #[must_use]
    pub fn by(mut self, clause: ClauseId) -> Self {
        self.clause = Some(clause);
        self
    }

    /// The counterexample is the point.
    #[must_use]
    pub fn violated(mut self) -> Self {
        self.expected = Expected::Violated;
        self
    }

    /// An instance in words, e.g. `ring 1`; `None` if there is only one.
    #[must_use]
    pub fn instance(&self, index: usize) -> Option<String> {
        (self.tests.len() > 1).then(|| format!("{} {index}", self.each))
    }
}

/// A closed system and what is expected of it. `Q` queues of `N` messages, packed into `W` words.
pub struct System<M: Machine, const Q: usize, const N: usize, const W: usize> {
    /// Its name on the command line, e.g. `vhost-user/stop-start`.
    pub name: String,
    /// The protocol that it is about.
    pub protocol: &'static str,
    /// One sentence: what it shows.
    pub about: String,
    /// What can happen.
    pub closed: Closed<M, Q, N>,
    /// What should hold.
    pub properties: Vec<Property<GlobalStateOf<M, Q, N>, M::Event>>,
    /// What is expected of the built-in properties, where it is not `Holds`.
    pub expect: Expect,
    /// Abstract machines that this system's events can be mapped to.
    pub refinements: Vec<Refinement<M::Event>>,
    /// Parties whose outputs are free environment events: if only these are left, the system is stuck.
    pub environment: Vec<Party>,
    /// Parts that may change places, if it has such: a run can be reduced by them.
    pub symmetry: Option<Symmetry<GlobalStateOf<M, Q, N>>>,
}

/// The type of the closed system of a machine (or of a tuple of machines): without queues, or with
/// `queues` of them that have `room` for so many events each. How many words a state takes is
/// computed.
///
/// ```
/// # use devmig_engine::prelude::*;
/// # #[packed(unqueued)] #[derive(Default)] pub enum Tick { #[default] Tick }
/// # impl Event for Tick { fn owner(&self) -> Party { Party("clock") } }
/// pub struct Clock;
/// impl Machine for Clock {
///     type State = bool;
///     type Event = Tick;
///     fn on(&self, state: &bool, _: &Tick, _: &mut RuleContext) -> Verdict<Self> {
///         Ok(Reaction::To(!state))
///     }
/// }
/// fn clock() -> system!(Clock) {
///     System::new("clock", Clock)
/// }
/// assert_eq!(clock().name, "clock");
/// ```
#[macro_export]
macro_rules! system {
    ($machine:ty) => {
        $crate::system!($machine, queues = 0, room = 0)
    };
    ($machine:ty, queues = $queues:expr, room = $room:expr) => {
        $crate::system::System<
            $machine,
            { $queues },
            { $room },
            { $crate::system::words_of::<$machine, { $queues }, { $room }>() },
        >
    };
}

/// How many words a state of a system takes.
#[must_use]
pub const fn words_of<M: Machine, const Q: usize, const N: usize>() -> usize {
    words(<GlobalStateOf<M, Q, N> as Pack>::BITS)
}

impl<M: Machine, const Q: usize, const N: usize, const W: usize> System<M, Q, N, W> {
    /// A system of this machine under every rule, without properties of its own. What it is about
    /// stands before the `/` of its name, if there is one.
    #[must_use]
    pub fn new(name: &str, machine: M) -> Self {
        System {
            name: name.to_owned(),
            protocol: "",
            about: String::new(),
            closed: Closed { machine, rules: Rules::default() },
            properties: Vec::new(),
            expect: Expect::default(),
            refinements: Vec::new(),
            environment: Vec::new(),
            symmetry: None,
        }
    }

    /// What a run over it is reduced by, if it is to be `reduced` and there is anything.
    #[must_use]
    pub fn reduction(&self, reduced: bool) -> Option<&Symmetry<GlobalStateOf<M, Q, N>>> {
        self.symmetry.as_ref().filter(|_| reduced)
    }

    /// With a property that holds in every transition in which `holds` says something.
    #[must_use]
    pub fn always(
        mut self,
        name: &'static str,
        holds: impl Fn(&Transition<'_, GlobalStateOf<M, Q, N>, M::Event>) -> Option<bool>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.properties.push(Property::implies(name, holds));
        self
    }

    /// With a property by which `to` follows `from` in the end, given that obligations are met.
    #[must_use]
    pub fn leads_to(
        mut self,
        name: &'static str,
        from: impl Fn(&GlobalStateOf<M, Q, N>) -> bool + Send + Sync + 'static,
        to: impl Fn(&GlobalStateOf<M, Q, N>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.properties.push(Property::leads_to(name, from, to));
        self
    }
}

/// Who does an event at the abstract machine, and its words there; `None`: it is not known there.
pub type EventMap<E> = Box<dyn Fn(&E) -> Option<(Party, String)> + Send + Sync>;

/// A refinement mapping by the name of its abstract machine.
pub struct Refinement<E> {
    /// The abstract machine, e.g. `ring`.
    pub of: &'static str,
    /// Who does an event that is sent or seen, and its words there; `None`: the abstract machine does not
    /// know it.
    pub map: EventMap<E>,
    /// The same of an event that is read from its queue.
    pub read: EventMap<E>,
}

impl<E> Refinement<E> {
    /// The mapping of `lower` to the abstract machine `A`, which goes by the name `of`.
    pub fn new<A: Machine>(
        of: &'static str,
        lower: impl Refines<A, Event = E> + Clone + Send + 'static,
    ) -> Self {
        let said = |event: A::Event| (event.owner(), event.label());
        let reader = lower.clone();
        Refinement {
            of,
            map: Box::new(move |event| lower.refine(event).map(said)),
            read: Box::new(move |event| reader.refine_read(event).map(said)),
        }
    }
}

/// Expectations of the built-in properties.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// The clauses that the programs declare to break: these and no others.
    pub breaks: Vec<ClauseId>,
    /// The system is expected to get stuck.
    pub stuck: bool,
    /// Some obligation is expected to be owed for ever.
    pub starves: bool,
}
