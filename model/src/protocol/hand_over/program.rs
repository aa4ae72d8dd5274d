//! Programs: what an actor does, step by step, and which other program it continues with when it does
//! not hear what it waits for.

use serde_json::{Map, Value as Json};

use super::event::{Actor, Event, Fault, Message, Report};
use crate::protocol::program::{Programs, unknown_step};
use crate::spec::{Diagnostics, Item, Spanned};
use devmig_engine::machine::{Machine, Party, Reaction, Stimulus, Verdict};
use devmig_engine::packed;
use devmig_engine::rules::RuleContext;

/// What a step can be, and what it means (shown by `devmig proposal words`).
pub const STEPS: &[(&str, &str)] = &[
    (
        "copy RAM to ACTOR, else PROGRAM",
        "copy RAM while the VM runs, until little is left; if the connection breaks, PROGRAM follows",
    ),
    ("stop", "stop the virtual CPUs"),
    ("run", "run the virtual CPUs"),
    ("run as before", "run the virtual CPUs, unless the VM was paused before the migration"),
    ("release lock", "release the disk lock, if it is held"),
    ("take lock, else PROGRAM", "take the disk lock; if another process holds it, PROGRAM follows"),
    (
        "take lock back, else PROGRAM",
        "as above; PROGRAM follows also if another process has held the lock since it was released",
    ),
    (
        "send MESSAGE to ACTOR",
        "send `state`, `ready`, `go`, `answer`, `failed`, `perform`, `confirm`, `resume` or \
         `cancel` to the source, the destination or management; a message may be lost",
    ),
    (
        "send MESSAGE to ACTOR, else PROGRAM",
        "as above; if the connection is known to be broken, PROGRAM may follow instead",
    ),
    (
        "wait for MESSAGE from ACTOR, else PROGRAM",
        "wait; if another message comes, or the connection is broken, PROGRAM follows",
    ),
    (
        "wait for MESSAGE from ACTOR, on MESSAGE PROGRAM, else PROGRAM",
        "as above, with a program for one other message",
    ),
    ("report success", "report that the hand-over succeeded, and close all connections"),
    ("report failure", "report that it failed, and close all connections"),
    ("report unknown", "report that it is not known who may run, and close all connections"),
    ("end", "end the process, which frees its lock"),
];

/// One step of compiled programs; a number is the place of another step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// `copy RAM`
    Copy(Actor, u8),
    /// `stop`
    Stop,
    /// `run`; whether it only restores what was before the migration.
    Run(bool),
    /// `release lock`
    Release,
    /// `take lock`
    Take(u8),
    /// `take lock back`
    TakeBack(u8),
    /// `send`
    Send(Actor, Message, Option<u8>),
    /// `wait for`
    Wait(Actor, Message, Option<(Message, u8)>, u8),
    /// `report`
    Report(Report),
    /// `end`
    End,
    /// The program is over.
    Halt,
}

/// The most steps of an actor: what its program counter can hold.
const MOST: usize = 62;
/// Where a killed process is.
const DEAD: u8 = 63;

/// The programs of one actor, compiled: the one that it begins with, then those that it continues with.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Code(Vec<Op>);

/// A step with the names of the programs that may follow.
enum Named<'a> {
    Plain(Op),
    Copy(Actor, &'a str),
    Take(&'a str),
    TakeBack(&'a str),
    Send(Actor, Message, Option<&'a str>),
    Wait(Actor, Message, Option<(Message, &'a str)>, &'a str),
}

fn message(word: &str) -> Option<Message> {
    Message::ALL.iter().find(|(known, _)| *known == word).map(|(_, message)| *message)
}

/// `MESSAGE between ACTOR`
fn addressed(text: &str, between: &str) -> Option<(Message, Actor)> {
    let (word, actor) = text.split_once(between)?;
    Some((message(word)?, Actor::named(actor)?))
}

fn parse(text: &str) -> Option<Named<'_>> {
    let parts: Vec<&str> = text.split(", ").collect();
    let follows = |part: &&'_ str| part.starts_with("else ");
    let other = parts.last().filter(|last| follows(last)).and_then(|last| last.get(5..));
    Some(match (parts[0], other) {
        ("stop", None) => Named::Plain(Op::Stop),
        ("run", None) => Named::Plain(Op::Run(false)),
        ("run as before", None) => Named::Plain(Op::Run(true)),
        ("release lock", None) => Named::Plain(Op::Release),
        ("report success", None) => Named::Plain(Op::Report(Report::Success)),
        ("report failure", None) => Named::Plain(Op::Report(Report::Failure)),
        ("report unknown", None) => Named::Plain(Op::Report(Report::Unknown)),
        ("end", None) => Named::Plain(Op::End),
        ("take lock", Some(other)) if parts.len() == 2 => Named::Take(other),
        ("take lock back", Some(other)) if parts.len() == 2 => Named::TakeBack(other),
        (first, other) => {
            if let Some(to) = first.strip_prefix("copy RAM to ").filter(|_| parts.len() == 2) {
                return Some(Named::Copy(Actor::named(to)?, other?));
            }
            if let Some(send) = first.strip_prefix("send ").filter(|_| parts.len() < 3) {
                let (message, to) = addressed(send, " to ")?;
                return (parts.len() == 1 || other.is_some())
                    .then_some(Named::Send(to, message, other));
            }
            let (awaited, from) = addressed(first.strip_prefix("wait for ")?, " from ")?;
            let on = match parts[..] {
                [_, _] => None,
                [_, on, _] => {
                    let (word, program) = on.strip_prefix("on ")?.split_once(' ')?;
                    Some((message(word)?, program))
                }
                _ => return None,
            };
            Named::Wait(from, awaited, on, other?)
        }
    })
}

/// Complains about every step of every program that is not a step, or names a program that is not there.
pub fn check(programs: &Programs, d: &mut Diagnostics) {
    for item in programs.items() {
        let (name, steps) = (&item.value.name, &item.value.steps);
        for line in steps {
            let Some(named) = parse(line.get_ref()) else {
                unknown_step(item, line, STEPS.iter().map(|(step, _)| *step), d);
                continue;
            };
            for followed in named.follows() {
                if let Err((message, help)) = programs.steps(followed, 0) {
                    let error = item.error(line.span(), message, "named here");
                    d.push(crate::spec::with_help(error, help));
                }
            }
        }
        let ends = |last: &Spanned<String>| {
            last.get_ref().starts_with("report ") || last.get_ref() == "end"
        };
        if !steps.last().is_some_and(ends) {
            let message = "a program ends with `report ...` or with `end`";
            d.push(item.error(name.span(), message, "this one does not"));
        }
    }
}

impl Code {
    /// Compiles the program of this name, and all that may follow it; [`check`] has complained about
    /// what is wrong in them.
    pub fn compile<T>(
        programs: &Programs,
        item: &Item<T>,
        name: &Spanned<String>,
        d: &mut Diagnostics,
    ) -> Code {
        if let Err((message, help)) = programs.steps(name.get_ref(), 0) {
            let error = item.error(name.span(), message, "this program");
            d.push(crate::spec::with_help(error, help));
            return Code::default();
        }
        let mut names: Vec<&str> = vec![name.get_ref()];
        let mut places: Vec<u8> = Vec::new();
        let mut steps: Vec<Option<Named<'_>>> = Vec::new();
        while let Some(next) = names.get(places.len()) {
            places.push(steps.len() as u8);
            for named in programs.steps(next, 0).unwrap_or_default().into_iter().filter_map(parse) {
                for followed in named.follows() {
                    if !names.contains(&followed) {
                        names.push(followed);
                    }
                }
                steps.push(Some(named));
            }
            steps.push(None);
            if steps.len() > MOST {
                let message = format!("an actor has at most {MOST} steps");
                d.push(item.error(name.span(), message, "this one has more"));
                return Code::default();
            }
        }
        let place = |name: &str| {
            names.iter().position(|known| *known == name).map_or(0, |index| places[index])
        };
        let op = |step: &Option<Named<'_>>| match *step {
            None => Op::Halt,
            Some(Named::Plain(op)) => op,
            Some(Named::Copy(to, other)) => Op::Copy(to, place(other)),
            Some(Named::Take(other)) => Op::Take(place(other)),
            Some(Named::TakeBack(other)) => Op::TakeBack(place(other)),
            Some(Named::Send(to, message, other)) => Op::Send(to, message, other.map(place)),
            Some(Named::Wait(from, message, on, other)) => {
                let on = on.map(|(message, program)| (message, place(program)));
                Op::Wait(from, message, on, place(other))
            }
        };
        Code(steps.iter().map(op).collect())
    }

    /// Whether a step sends this message.
    #[must_use]
    pub fn sends(&self, message: Message) -> bool {
        self.0.iter().any(|op| matches!(op, Op::Send(_, sent, _) if *sent == message))
    }
}

impl<'a> Named<'a> {
    /// The programs that may follow.
    fn follows(&self) -> Vec<&'a str> {
        match self {
            Named::Plain(_) => vec![],
            Named::Copy(_, other) | Named::Take(other) | Named::TakeBack(other) => vec![*other],
            Named::Send(_, _, other) => other.iter().copied().collect(),
            Named::Wait(_, _, on, other) => {
                on.iter().map(|(_, program)| *program).chain([*other]).collect()
            }
        }
    }
}

/// How far an actor is.
#[packed]
pub struct RunnerState {
    /// The place of its next step.
    #[bits(6)]
    pub at: u8,
}

/// An actor that runs its programs.
#[derive(Clone, Debug)]
pub struct Runner {
    /// Who.
    pub actor: Actor,
    /// What.
    pub code: Code,
    /// The VM was paused before the migration.
    pub paused: bool,
}

impl Runner {
    fn op(&self, s: &RunnerState) -> Op {
        self.code.0.get(usize::from(s.at)).copied().unwrap_or(Op::Halt)
    }

    /// The state at a step that does something.
    fn settled(&self, at: u8) -> RunnerState {
        let skips = |at: u8| self.paused && self.op(&RunnerState { at }) == Op::Run(true);
        RunnerState { at: (at..=DEAD).find(|at| !skips(*at)).unwrap_or(DEAD) }
    }

    /// Where an event of its own leads; `None`, if it is not its next step.
    fn next(&self, s: &RunnerState, event: &Event) -> Option<u8> {
        let on = s.at + 1;
        match (self.op(s), *event) {
            (Op::Stop, Event::Stop(_))
            | (Op::Run(_), Event::Run(_))
            | (Op::Release, Event::Release(_))
            | (Op::Take(_), Event::Take(_, true))
            | (Op::TakeBack(_), Event::TakeBack(_, true))
            | (Op::End, Event::End(_)) => Some(on),
            (Op::Take(other), Event::Take(_, false))
            | (Op::TakeBack(other), Event::TakeBack(_, false)) => Some(other),
            (Op::Report(mine), Event::Report(_, report)) => (mine == report).then_some(on),
            (Op::Send(to, mine, _), Event::Send(_, peer, message)) => {
                ((to, mine) == (peer, message)).then_some(on)
            }
            (Op::Copy(to, _), Event::Copy(_, peer)) => (to == peer).then_some(on),
            (Op::Send(to, _, Some(other)) | Op::Copy(to, other), Event::GiveUp(_, peer)) => {
                (to == peer).then_some(other)
            }
            (Op::Wait(from, mine, other_message, other), Event::Receive(peer, _, message)) => {
                (from == peer).then_some(match other_message {
                    _ if message == mine => on,
                    Some((known, place)) if known == message => place,
                    _ => other,
                })
            }
            (Op::Wait(from, _, _, other), Event::GiveUp(_, peer)) => {
                (from == peer).then_some(other)
            }
            _ => None,
        }
    }
}

impl Machine for Runner {
    type State = RunnerState;
    type Event = Event;

    fn name(&self) -> &'static str {
        self.actor.name()
    }

    fn plays(&self, party: Party) -> bool {
        party == self.actor.party()
    }

    fn initial(&self) -> RunnerState {
        self.settled(0)
    }

    fn on(&self, s: &RunnerState, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        let killed = match event {
            Event::Fault(Fault::SourceKilled) => self.actor == Actor::Source,
            Event::Fault(Fault::DestinationKilled) => self.actor == Actor::Destination,
            Event::Fault(Fault::ManagementKilled) => self.actor == Actor::Management,
            _ => false,
        };
        Ok(match event {
            Event::Fault(_) if killed => Reaction::To(RunnerState { at: DEAD }),
            Event::Fault(_) => Reaction::Ignore,
            Event::Again if self.actor == Actor::Destination && !self.at_end(s) => {
                Reaction::Disabled
            }
            Event::Again => Reaction::To(self.initial()),
            _ if !self.plays(devmig_engine::machine::Event::owner(event)) => Reaction::Ignore,
            _ => match self.next(s, event) {
                Some(at) => Reaction::To(self.settled(at)),
                None => Reaction::Disabled,
            },
        })
    }

    fn stimuli(&self, s: &RunnerState, f: &mut dyn FnMut(Stimulus<Event>)) {
        let actor = self.actor;
        let mut does = |event| f(Stimulus::Unguarded(event));
        match self.op(s) {
            Op::Copy(to, _) => {
                does(Event::Copy(actor, to));
                does(Event::GiveUp(actor, to));
            }
            Op::Stop => does(Event::Stop(actor)),
            Op::Run(_) => does(Event::Run(actor)),
            Op::Release => does(Event::Release(actor)),
            Op::Take(_) => [true, false].into_iter().for_each(|got| does(Event::Take(actor, got))),
            Op::TakeBack(_) => {
                [true, false].into_iter().for_each(|got| does(Event::TakeBack(actor, got)));
            }
            Op::Send(to, message, other) => {
                does(Event::Send(actor, to, message));
                if other.is_some() {
                    does(Event::GiveUp(actor, to));
                }
            }
            Op::Wait(from, ..) => {
                for (_, message) in Message::ALL {
                    does(Event::Receive(from, actor, message));
                }
                does(Event::GiveUp(actor, from));
            }
            Op::Report(report) => does(Event::Report(actor, report)),
            Op::End => does(Event::End(actor)),
            Op::Halt => {}
        }
    }

    /// How far it is, its acts tell.
    fn describe(&self, _: &RunnerState) -> Map<String, Json> {
        Map::new()
    }

    fn at_end(&self, s: &RunnerState) -> bool {
        self.op(s) == Op::Halt
    }
}
