//! What of a system can be seen from outside: labelled moves between numbered states.
//!
//! ```text
//!  System --successors--> transitions --Seen--> moves:  "front-end SET_STATUS 0x0 (sent)"  visible
//!                                                       a step that nobody sees            hidden
//!                                                       silence                            visible
//! ```
//!
//! Labels are words, so that systems of different machines, or of libraries that number their
//! messages differently, can be set side by side ([`super::compare`]).
//!
//! **Silence.** A state may be silent if nothing is owed there that silence would break (a message
//! to be read included) and no program has a step to make; what a permissive driver *may* do is no
//! reason to wait for it. It is silent, whatever is owed, if only the environment can act. Silence
//! is an observation like any other: without it, a device that hangs would do nothing that another
//! device does not do as well.
//!
//! **Unspecified, violation.** Where the specification does not say what follows, anything may
//! ([`CHAOS`]). An event that breaks a rule is another event than one that does not, and the branch
//! ends with it ([`ENDED`]).
//!
//! **Not here.** Which behaviour includes which.

use std::collections::HashMap;

use super::Error;
use super::trace::{self, Line, StepOf, label};
use crate::clause::ClauseId;
use crate::compose::{Action, GlobalStateOf, Outcome};
use crate::machine::{Event, Machine, Stimulus, TimeClass};
use crate::pack::Bits;
use crate::system::System;

/// A visible event, by the place of its words in [`Labels`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Label(u32);

/// Nothing happens any more unless somebody else acts.
pub const SILENCE: Label = Label(0);
/// No text says what happens: everything may.
pub const ANYTHING: Label = Label(1);

/// A state, numbered in the order in which its behaviour was asked for it.
pub type Node = u32;
/// Where every behaviour begins.
pub const INITIAL: Node = 0;
/// No text says what follows: everything is possible.
pub const CHAOS: Node = u32::MAX;
/// The branch has ended with a broken rule.
pub const ENDED: Node = u32::MAX - 1;
/// A state that outgrew its packing: what is possible there is not known.
pub const LOST: Node = u32::MAX - 2;

/// The words of visible events, shared by the behaviours that are compared.
#[derive(Debug)]
pub struct Labels {
    names: Vec<String>,
    ids: HashMap<String, Label>,
}

impl Default for Labels {
    fn default() -> Self {
        let mut labels = Labels { names: Vec::new(), ids: HashMap::new() };
        labels.of("silence");
        labels.of("anything");
        labels
    }
}

impl Labels {
    /// The label of these words.
    pub fn of(&mut self, name: &str) -> Label {
        if let Some(label) = self.ids.get(name) {
            return *label;
        }
        let label = Label(self.names.len() as u32);
        self.names.push(name.to_owned());
        self.ids.insert(name.to_owned(), label);
        label
    }

    /// The words of a label.
    #[must_use]
    pub fn name(&self, label: Label) -> &str {
        &self.names[label.0 as usize]
    }
}

/// One move from a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Move {
    /// What is seen of it; `None`: nothing.
    pub label: Option<Label>,
    /// Where it leads: a state, [`CHAOS`], [`ENDED`] or [`LOST`].
    pub to: Node,
    /// Which of the system's transitions it is, in their order.
    pub successor: u32,
}

/// One step of a path, for [`Behaviour::lines`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    /// The state before.
    pub from: Node,
    /// The move.
    pub step: Move,
}

/// Something that can be seen to behave.
pub trait Behaviour {
    /// The moves from a state, always in the same order.
    ///
    /// # Errors
    /// If a choice is open, or the initial state does not fit its packing.
    fn moves(&mut self, node: Node, labels: &mut Labels) -> Result<&[Move], Error>;

    /// The field that outgrew its packing, if one did.
    fn overflow(&self) -> Option<&'static str> {
        None
    }

    /// A path, from the initial state, for a person to read.
    ///
    /// # Errors
    /// If a choice is open.
    fn lines(&self, path: &[Taken], labels: &Labels) -> Result<Vec<Line>, Error>;
}

/// What is seen of a system.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// Only what this abstract machine knows is seen ([`crate::system::Refinement`]).
    pub refinement: Option<&'a str>,
    /// Whether it is seen when a message is read, too.
    pub reads: bool,
    /// Which events are hidden, by the words of a trace, without who does them.
    pub hidden: &'a dyn Fn(&str) -> bool,
    /// The id under which a clause is quoted.
    pub clause: &'a dyn Fn(ClauseId) -> String,
}

/// How a system's transitions are named: `None` for one that is not seen.
pub type View<'a, E> = Box<dyn Fn(&Action<E>, &str) -> Option<String> + 'a>;

/// A system's behaviour.
pub struct Behaving<'a, M: Machine, const Q: usize, const N: usize, const W: usize> {
    system: &'a System<M, Q, N, W>,
    view: View<'a, M::Event>,
    clause: &'a dyn Fn(ClauseId) -> String,
    keys: Vec<Bits<W>>,
    nodes: HashMap<Bits<W>, Node>,
    moves: Vec<Option<Box<[Move]>>>,
    /// What is seen of a transition that breaks nothing.
    names: HashMap<Action<M::Event>, Option<Label>>,
    overflow: Option<&'static str>,
}

impl<'a, M: Machine, const Q: usize, const N: usize, const W: usize> Behaving<'a, M, Q, N, W> {
    /// Sees of a system what `view` names.
    ///
    /// # Errors
    /// If the initial state does not fit its packing.
    pub fn viewed(
        system: &'a System<M, Q, N, W>,
        clause: &'a dyn Fn(ClauseId) -> String,
        view: View<'a, M::Event>,
    ) -> Result<Self, Error> {
        let first = Bits::pack(&system.closed.initial()).map_err(|o| Error::Initial(o.field))?;
        Ok(Behaving {
            system,
            view,
            clause,
            keys: vec![first],
            nodes: HashMap::from([(first, INITIAL)]),
            moves: vec![None],
            names: HashMap::new(),
            overflow: None,
        })
    }

    /// Sees everything of a system but hidden steps and what [`Seen`] leaves out.
    ///
    /// # Errors
    /// As [`Behaving::viewed`], and if the system has no such refinement.
    pub fn new(system: &'a System<M, Q, N, W>, seen: Seen<'a>) -> Result<Self, Error> {
        let abstractly = |name| {
            let all = &system.refinements;
            let has = all.first().map(|refinement| refinement.of);
            all.iter().find(|one| one.of == name).ok_or(Error::NoRefinement(has))
        };
        let refinement = seen.refinement.map(abstractly).transpose()?;
        let view = move |action: &Action<M::Event>, words: &str| {
            let (party, words) = match (action, refinement) {
                (Action::Hidden(_), _) => None,
                (Action::Now(e) | Action::Send(e), Some(refinement)) => (refinement.map)(e),
                (Action::Read(e), Some(refinement)) => (refinement.read)(e),
                (Action::Read(_), None) if !seen.reads => None,
                (Action::Now(e) | Action::Send(e) | Action::Read(e), None) => {
                    Some((e.owner(), words.to_owned()))
                }
            }?;
            (!(seen.hidden)(&words)).then(|| format!("{party} {words}"))
        };
        Self::viewed(system, seen.clause, Box::new(view))
    }

    fn node(&mut self, world: &GlobalStateOf<M, Q, N>) -> Node {
        let key = match Bits::pack(world) {
            Ok(key) => key,
            Err(over) => {
                self.overflow.get_or_insert(over.field);
                return LOST;
            }
        };
        *self.nodes.entry(key).or_insert_with(|| {
            self.keys.push(key);
            self.moves.push(None);
            self.keys.len() as Node - 1
        })
    }

    /// What is seen of a transition that breaks nothing.
    fn name(&mut self, action: &Action<M::Event>, labels: &mut Labels) -> Option<Label> {
        if let Some(name) = self.names.get(action) {
            return *name;
        }
        let name = (self.view)(action, &self.words(action)).map(|name| labels.of(&name));
        self.names.insert(*action, name);
        name
    }

    /// A transition in the words of a trace.
    fn words(&self, action: &Action<M::Event>) -> String {
        let machine = &self.system.closed.machine;
        match action {
            Action::Now(event) => label(machine, event),
            Action::Send(event) => label(machine, event) + " (sent)",
            Action::Read(event) => label(machine, event) + " (read)",
            Action::Hidden(step) => step.to_string(),
        }
    }

    fn expand(&mut self, node: Node, labels: &mut Labels) -> Result<Box<[Move]>, Error> {
        let closed = &self.system.closed;
        let world: GlobalStateOf<M, Q, N> = self.keys[node as usize].unpack();
        let mut found = Vec::new();
        closed.successors(&world, &mut |action, outcome| found.push((action, outcome)))?;
        let environment = &self.system.environment;
        let waits = found.iter().all(|(action, _)| match action {
            Action::Now(event) | Action::Send(event) => environment.contains(&event.owner()),
            Action::Read(_) | Action::Hidden(_) => false,
        });
        let silent = waits || self.may_be_silent(&world)?;
        let mut moves = Vec::new();
        for (successor, (action, outcome)) in found.into_iter().enumerate() {
            let (label, to) = match outcome {
                Outcome::To(next) => (self.name(&action, labels), self.node(&next)),
                Outcome::Unspecified(_) => (self.name(&action, labels), CHAOS),
                Outcome::Violation(id) => {
                    let who = action.event().map(|event| event.owner().0).unwrap_or_default();
                    let words = self.words(&action);
                    let words = format!("{who} {words} breaks {}", (self.clause)(id));
                    (Some(labels.of(&words)), ENDED)
                }
            };
            moves.push(Move { label, to, successor: successor as u32 });
        }
        if silent {
            moves.push(Move { label: Some(SILENCE), to: node, successor: u32::MAX });
        }
        Ok(moves.into())
    }

    /// Whether silence breaks nothing here, and no program goes on by itself.
    fn may_be_silent(&self, world: &GlobalStateOf<M, Q, N>) -> Result<bool, Error> {
        let closed = &self.system.closed;
        let due = |index| closed.obligation(index).class != TimeClass::Courtesy;
        if closed.owes(world)?.iter().any(due) {
            return Ok(false);
        }
        let mut does = Vec::new();
        closed.machine.stimuli(&world.parts, &mut |offer| {
            if let Stimulus::Unguarded(_) = offer {
                does.push(offer);
            }
        });
        let mut goes_on = false;
        for offer in does {
            closed.offered(world, offer, &mut |_, _| goes_on = true)?;
        }
        Ok(!goes_on)
    }
}

impl<M: Machine, const Q: usize, const N: usize, const W: usize> Behaviour
    for Behaving<'_, M, Q, N, W>
{
    fn moves(&mut self, node: Node, labels: &mut Labels) -> Result<&[Move], Error> {
        let index = match node {
            CHAOS => return Ok(&CHAOTIC),
            ENDED | LOST => return Ok(&[]),
            node => node as usize,
        };
        if self.moves[index].is_none() {
            let moves = self.expand(node, labels)?;
            self.moves[index] = Some(moves);
        }
        Ok(self.moves[index].as_deref().unwrap_or_default())
    }

    fn overflow(&self) -> Option<&'static str> {
        self.overflow
    }

    fn lines(&self, path: &[Taken], labels: &Labels) -> Result<Vec<Line>, Error> {
        let closed = &self.system.closed;
        let mut steps: Vec<StepOf<M, Q, N>> = Vec::new();
        // What is no transition of the system: after how many of them it stands.
        let mut apart = Vec::new();
        for Taken { from, step } in path {
            if matches!(step.label, Some(SILENCE | ANYTHING)) {
                apart.push((steps.len(), step.label));
                continue;
            }
            let before: GlobalStateOf<M, Q, N> = self.keys[*from as usize].unpack();
            let mut n = 0;
            closed.successors(&before, &mut |action, outcome| {
                if n == step.successor {
                    steps.push(trace::Step { before, action, outcome });
                }
                n += 1;
            })?;
        }
        let mut lines =
            trace::lines::<M, Q, N>(&closed.machine, &steps, &self.system.environment, self.clause);
        for (at, label) in apart.into_iter().rev() {
            let event = label.map(|label| labels.name(label).to_owned()).unwrap_or_default();
            lines.insert(at, Line { event, ..Line::default() });
        }
        for (n, line) in lines.iter_mut().enumerate() {
            line.n = n + 1;
        }
        Ok(lines)
    }
}

/// All that can be said of where everything is possible.
const CHAOTIC: [Move; 1] = [Move { label: Some(ANYTHING), to: CHAOS, successor: u32::MAX }];
