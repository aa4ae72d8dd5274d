//! Every system as a `stateright::Model`: the second opinion, and the interactive view.
//!
//! ```text
//!   At(key) --action--> At(key)
//!      |
//!      +--the same action, if it violates an `always` (or satisfies a `reachable`)--> Seen(i)
//! ```
//!
//! stateright knows properties of states only, as plain functions. A transition that matters to a
//! property leads, in addition, to an absorbing state that says so, and the property looks for it.
//! Counts leave those states out.
//!
//! **Traps that are stepped around.** Without an open property stateright stops early: one that
//! nothing decides is added. A successor's state travels in the action, since it is asked for twice.
//! 0.31 does not report shortest traces: only counts and verdicts are compared. `eventually` is
//! unsound on cycles: not used.

use std::fmt::{Debug, Formatter};
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;

use stateright::{Checker, Model};

use super::Error;
use super::names::NON_VACUOUS;
use super::report::{PropertyVerdict, Report};
use crate::compose::{Action, GlobalStateOf, Outcome};
use crate::machine::Machine;
use crate::pack::{Bits, Overflow, Pack};
use crate::system::{PropertyKind, System, Test, Transition};

/// The most properties (twins counted apart) that stateright can be shown.
pub const MAX_SEEN: usize = 64;

/// A system, as stateright sees it.
pub struct View<M: Machine, const Q: usize, const N: usize, const W: usize>(
    pub Arc<System<M, Q, N, W>>,
);

/// A state of a [`View`]: `T` is what a key unpacks to, for the Explorer's page.
pub enum State<T, const W: usize> {
    /// A state of the system.
    At(Bits<W>, PhantomData<fn() -> T>),
    /// A transition that property `i` looks for has happened: an odd `i` is an `always`'s twin.
    Seen(u8),
    /// A state did not fit its packing.
    Overflow(&'static str),
}

impl<T, const W: usize> Clone for State<T, W> {
    fn clone(&self) -> Self {
        match self {
            State::At(key, _) => State::At(*key, PhantomData),
            State::Seen(i) => State::Seen(*i),
            State::Overflow(field) => State::Overflow(field),
        }
    }
}

impl<T, const W: usize> PartialEq for State<T, W> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (State::At(a, _), State::At(b, _)) => a == b,
            (State::Seen(a), State::Seen(b)) => a == b,
            (State::Overflow(a), State::Overflow(b)) => a == b,
            _ => false,
        }
    }
}

impl<T, const W: usize> Hash for State<T, W> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            State::At(key, _) => key.0.iter().for_each(|word| state.write_u64(*word)),
            State::Seen(i) => (u64::MAX, *i).hash(state),
            State::Overflow(field) => field.hash(state),
        }
    }
}

impl<T: Pack + Debug, const W: usize> Debug for State<T, W> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            State::At(key, _) => key.unpack::<T>().fmt(f),
            State::Seen(i) => write!(f, "seen by property {}", i / 2),
            State::Overflow(field) => write!(f, "`{field}` exceeds its packing"),
        }
    }
}

/// An action of a [`View`], with the state that it leads to.
#[derive(Clone, PartialEq)]
pub struct Lead<E, T, const W: usize> {
    action: Action<E>,
    to: State<T, W>,
}

impl<E: Debug, T, const W: usize> Debug for Lead<E, T, W> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.action.fmt(f)
    }
}

impl<M, const Q: usize, const N: usize, const W: usize> Model for View<M, Q, N, W>
where
    M: Machine + Send + 'static,
{
    type State = State<GlobalStateOf<M, Q, N>, W>;
    type Action = Lead<M::Event, GlobalStateOf<M, Q, N>, W>;

    fn init_states(&self) -> Vec<Self::State> {
        vec![Bits::pack(&self.0.closed.initial()).into()]
    }

    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>) {
        let State::At(key, _) = state else { return };
        let before: GlobalStateOf<M, Q, N> = key.unpack();
        // An open choice is found by our own explorer first: see `run`.
        let _ = self.0.closed.changes(&before, &mut |action, outcome| {
            let Outcome::To(change) = outcome else { return };
            if self.0.properties.iter().any(|property| looks(property.kind) > 0) {
                let after = change.of(&before);
                let transition = Transition { before: &before, action, after: &after };
                self.seen(&transition, actions);
            }
            let to = change.pack(&before, key).into();
            actions.push(Lead { action: *action, to });
        });
    }

    fn next_state(&self, _: &Self::State, action: Self::Action) -> Option<Self::State> {
        Some(action.to)
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        let mut all = vec![stateright::Property::always("nothing stops the search", |_, _| true)];
        let seen = seen_properties::<Self, _, W>();
        for (i, property) in self.0.properties.iter().enumerate() {
            all.extend(seen.iter().skip(2 * i).take(looks(property.kind)).cloned());
        }
        all
    }
}

impl<M, const Q: usize, const N: usize, const W: usize> View<M, Q, N, W>
where
    M: Machine,
{
    /// Leads to what the properties see in this transition.
    fn seen(
        &self,
        transition: &Transition<'_, GlobalStateOf<M, Q, N>, M::Event>,
        actions: &mut Vec<Lead<M::Event, GlobalStateOf<M, Q, N>, W>>,
    ) {
        for (i, property) in self.0.properties.iter().enumerate() {
            let (mut seen, mut twin) = (false, false);
            for test in &property.tests {
                match test {
                    Test::Implies(holds) => {
                        let holds = holds(transition);
                        (seen, twin) = (seen || holds == Some(false), twin || holds.is_some());
                    }
                    Test::Reachable(when) => seen = seen || when(transition),
                    Test::AtEnd(_) | Test::LeadsTo { .. } => {}
                }
            }
            for (seen, i) in [(seen, 2 * i), (twin, 2 * i + 1)] {
                if seen {
                    let action = *transition.action;
                    actions.push(Lead { action, to: State::Seen(i as u8) });
                }
            }
        }
    }
}

/// How many things a property looks for in transitions.
fn looks(kind: PropertyKind) -> usize {
    match kind {
        PropertyKind::Always => 2,
        PropertyKind::Reachable => 1,
        _ => 0,
    }
}

impl<T, const W: usize> From<Result<Bits<W>, Overflow>> for State<T, W> {
    fn from(packed: Result<Bits<W>, Overflow>) -> Self {
        match packed {
            Ok(key) => State::At(key, PhantomData),
            Err(over) => State::Overflow(over.field),
        }
    }
}

macro_rules! seen {
    ($($i:literal)+) => {
        /// Stateright wants plain functions and static names: one for each number.
        fn seen_properties<V, T, const W: usize>() -> Vec<stateright::Property<V>>
        where
            V: Model<State = State<T, W>>,
        {
            vec![$(stateright::Property::sometimes(concat!("seen ", $i), |_, state| {
                matches!(state, State::Seen($i))
            })),+]
        }
        const SEEN: [&str; MAX_SEEN] = [$(concat!("seen ", $i)),+];
    };
}
seen!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
    32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63);

/// What stateright finds.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Counts {
    /// Distinct states, without those that only say that something was seen.
    pub states: u64,
    /// Transitions to a state, duplicates included; only known if no property looks at transitions.
    pub transitions: Option<u64>,
    /// The verdict on each `always`, its twin, and each `reachable`, by name.
    pub verdicts: Vec<(String, bool)>,
}

/// Lets stateright search a system to the end.
///
/// # Errors
/// If the initial state does not fit, or an open choice is met at once.
pub fn run<M, const Q: usize, const N: usize, const W: usize>(
    system: Arc<System<M, Q, N, W>>,
) -> Result<Counts, Error>
where
    M: Machine + Send + 'static,
{
    possible(&system)?;
    let checker = View(Arc::clone(&system)).checker().spawn_bfs().join();
    let seen = checker.discoveries();
    let seen = |i: usize| SEEN.get(i).is_some_and(|name| seen.contains_key(name));
    let mut verdicts = Vec::new();
    let (mut extra, mut looks) = (0, false);
    for (i, property) in system.properties.iter().enumerate() {
        match property.kind {
            PropertyKind::Always => {
                verdicts.push((property.name.to_string(), !seen(2 * i)));
                verdicts.push((format!("{}{NON_VACUOUS}", property.name), seen(2 * i + 1)));
            }
            // Several things that are to be reached cannot be told apart here.
            PropertyKind::Reachable if property.tests.len() == 1 => {
                verdicts.push((property.name.to_string(), seen(2 * i)));
            }
            PropertyKind::Reachable => {}
            _ => continue,
        }
        looks = true;
        extra += u64::from(seen(2 * i)) + u64::from(seen(2 * i + 1));
    }
    Ok(Counts {
        states: checker.unique_state_count() as u64 - extra,
        transitions: (!looks).then(|| checker.state_count() as u64 - 1),
        verdicts,
    })
}

/// Serves the Explorer, until its server ends.
///
/// # Errors
/// As [`run`].
pub fn serve<M, const Q: usize, const N: usize, const W: usize>(
    system: Arc<System<M, Q, N, W>>,
    address: SocketAddr,
) -> Result<(), Error>
where
    M: Machine + Send + 'static,
{
    possible(&system)?;
    View(system).checker().serve(address);
    Ok(())
}

/// Finds at once what stateright could only panic at.
fn possible<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: &System<M, Q, N, W>,
) -> Result<(), Error> {
    let initial = system.closed.initial();
    Bits::<W>::pack(&initial).map_err(|over| Error::Initial(over.field))?;
    Ok(system.closed.successors(&initial, &mut |_, _| {})?)
}

/// How stateright's findings differ from a report's, if they do.
#[must_use]
pub fn differences(counts: &Counts, report: &Report) -> Vec<String> {
    let mut all = Vec::new();
    if counts.states != report.states {
        all.push(format!("{} states, here {}", counts.states, report.states));
    }
    if let Some(transitions) = counts.transitions.filter(|n| *n != report.transitions) {
        all.push(format!("{transitions} transitions, here {}", report.transitions));
    }
    for (name, holds) in &counts.verdicts {
        let ours = report.property(name).map(|property| property.verdict);
        let theirs = if *holds { PropertyVerdict::Holds } else { PropertyVerdict::Violated };
        if ours != Some(theirs) {
            all.push(format!("{name}: {theirs}, here {ours:?}"));
        }
    }
    all
}
