//! The states that an implementation may be in, given what was seen: the ioco tester's set.
//!
//! ```text
//!   send(e)     e waits in the socket: it may be read now or later
//!   did(e)      the tester itself did e, seen at once
//!   observe(e)  the implementation did e: states that refuse it drop out; none left is a finding
//!   silent()    nothing came within a class's limit: states that owe something drop out
//! ```
//!
//! A monitor that sends nothing itself watches both sides: the sender of a message is judged too,
//! by [`StateEstimate::offence`], once no state is left in which the message is, or may yet be, in order.
//!
//! Each candidate is a state, how many of the messages sent have been read, and the readings of the
//! text that are still possible. The set is closed under reading and hidden steps before each
//! judgement. A choice is split when first asked for, never as a product; an option that no
//! candidate has any more is excluded, and [`StateEstimate::readings`] tells.
//!
//! **Invariants.** Nothing here waits or reads a clock. The set is bounded: outgrowing
//! [`MAX_CANDIDATES`] is an error of the harness, never a verdict.

use std::cell::Cell;

use foldhash::HashSet;
use thiserror::Error;

use crate::clause::{ChoiceId, ClauseId};
use crate::explore::trace::label;
use crate::machine::{Machine, Owed, Reaction, Stimulus, TimeClass};
use crate::rules::{ChoiceSet, Choices, ClauseSet, OpenChoice, RuleContext, Rules};

/// More candidates than this are an error of the harness.
pub const MAX_CANDIDATES: usize = 50_000;

/// What an observation shows.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Fault {
    /// No candidate allows it.
    #[error("not allowed")]
    Broken {
        /// The clauses that candidates name, the one of the furthest candidate first. Empty if all
        /// of them only say that it is not possible.
        clauses: Vec<ClauseId>,
        /// What some candidate would have allowed instead.
        allowed: Vec<String>,
    },
    /// The tester's own script breaks a rule.
    #[error("the script itself breaks a clause")]
    Script {
        /// Which.
        clause: ClauseId,
    },
    /// The set grew beyond its bound.
    #[error("more than {MAX_CANDIDATES} states are possible")]
    TooMany,
}

/// How a list of what was allowed names it.
const SILENCE: &str = "silence";

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Candidate<S> {
    state: S,
    read: usize,
    choices: Choices,
    /// No text says what follows: everything is allowed from here on.
    undefined: bool,
}

/// The set.
#[derive(Debug)]
pub struct StateEstimate<'m, M: Machine> {
    machine: &'m M,
    rules: Rules,
    sent: Vec<M::Event>,
    candidates: Vec<Candidate<M::State>>,
    /// ChoiceIds under which the tester itself broke a rule: nothing was learned of them.
    unjudged: Vec<Choices>,
    closed: bool,
    /// The sender is a party under judgement, not a script of ours.
    watching: bool,
    /// Clauses that are switched off and were met.
    pub hits: ClauseSet,
    /// Open choices that the machine has asked for.
    asked: Cell<ChoiceSet>,
}

impl<M: Machine> Clone for StateEstimate<'_, M> {
    fn clone(&self) -> Self {
        StateEstimate {
            sent: self.sent.clone(),
            candidates: self.candidates.clone(),
            unjudged: self.unjudged.clone(),
            asked: self.asked.clone(),
            ..*self
        }
    }
}

/// What one step of a candidate leads to.
enum Leads<S> {
    Away,
    To(Vec<Candidate<S>>),
}

impl<'m, M: Machine> StateEstimate<'m, M> {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(machine: &'m M, rules: Rules) -> Self {
        let first = Candidate {
            state: machine.initial(),
            read: 0,
            choices: rules.choices,
            undefined: false,
        };
        StateEstimate {
            machine,
            rules,
            sent: Vec::new(),
            candidates: vec![first],
            unjudged: Vec::new(),
            closed: false,
            watching: false,
            hits: ClauseSet::default(),
            asked: Cell::default(),
        }
    }

    /// The same for a monitor, which sends nothing itself: what breaks a rule in the reading is not
    /// a wrong script but a question, that [`StateEstimate::offence`] answers.
    #[must_use]
    pub fn watching(machine: &'m M, rules: Rules) -> Self {
        StateEstimate { watching: true, ..Self::new(machine, rules) }
    }

    /// How many candidates there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Never: a set that would become empty is a [`Fault`], and stays as it was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// Whether every candidate has left what any text defines.
    #[must_use]
    pub fn undefined(&self) -> bool {
        self.candidates.iter().all(|c| c.undefined)
    }

    /// Whether some candidate has: it allows whatever comes.
    #[must_use]
    pub fn beyond(&self) -> bool {
        self.candidates.iter().any(|c| c.undefined)
    }

    /// The tester sent a queued event.
    pub fn send(&mut self, event: M::Event) {
        self.sent.push(event);
        self.closed = false;
    }

    /// The tester did something that is seen at once.
    ///
    /// # Errors
    /// If its own rules forbid it.
    pub fn did(&mut self, event: &M::Event) -> Result<(), Fault> {
        match self.observe(event) {
            Err(Fault::Broken { clauses, .. }) => {
                let clause = clauses.first().copied().unwrap_or(ClauseId::NONE);
                Err(Fault::Script { clause })
            }
            other => other,
        }
    }

    /// The implementation did something.
    ///
    /// # Errors
    /// If no candidate allows it; the set then stays as it was.
    pub fn observe(&mut self, event: &M::Event) -> Result<(), Fault> {
        self.observe_without(event, &ClauseSet::default())
    }

    /// The same, with some clauses switched off for this one event: what was found is found, and
    /// judgement goes on.
    ///
    /// # Errors
    /// As [`StateEstimate::observe`].
    pub fn observe_without(&mut self, event: &M::Event, off: &ClauseSet) -> Result<(), Fault> {
        self.close()?;
        let mut kept = Vec::new();
        let mut broken: Vec<(usize, ClauseId)> = Vec::new();
        let mut work = self.candidates.clone();
        work.reverse();
        while let Some(c) = work.pop() {
            if c.undefined {
                kept.push(c);
                continue;
            }
            let mut rules = Rules { choices: c.choices, ..self.rules };
            rules.off.extend(off);
            let mut judge = rules.judge_noting(&self.asked);
            match self.machine.on(&c.state, event, &mut judge) {
                Err(OpenChoice(choice)) => work.extend(split(&c, choice)),
                Ok(Reaction::To(state)) => kept.push(Candidate { state, ..c }),
                Ok(Reaction::Ignore) => kept.push(c),
                Ok(Reaction::Disabled) => {}
                Ok(Reaction::Violation(clause)) => broken.push((c.read, clause)),
                Ok(Reaction::Unspecified(_)) => kept.push(Candidate { undefined: true, ..c }),
            }
            self.hits.extend(&judge.hits);
        }
        if kept.is_empty() {
            return Err(self.fault(broken));
        }
        self.replace(kept);
        Ok(())
    }

    /// The clause that the sender of the furthest message to be read has broken; `None` while some
    /// state allows it, or may come to allow it once an answer that is owed was given.
    ///
    /// # Errors
    /// If the set grows beyond its bound.
    pub fn offence(&mut self) -> Result<Option<ClauseId>, Fault> {
        self.close()?;
        let furthest = self.furthest();
        let mut first = None;
        for c in &self.candidates {
            match self.reads(c, &ClauseSet::default()) {
                Err(_) | Ok(None | Some(Reaction::Disabled)) => return Ok(None),
                Ok(Some(Reaction::Violation(clause))) if c.read == furthest => {
                    first = first.or(Some(clause));
                }
                Ok(Some(_)) => {}
            }
        }
        Ok(first)
    }

    /// The message that [`StateEstimate::offence`] is about.
    #[must_use]
    pub fn furthest_message(&self) -> Option<&M::Event> {
        self.sent.get(self.furthest())
    }

    /// Goes on after an offence: the furthest message to be read is taken as read, with this clause
    /// (and whatever else it breaks) switched off or without any effect, since no text says what its
    /// reader made of it.
    pub fn excuse(&mut self, clause: ClauseId) {
        let furthest = self.furthest();
        let mut off = ClauseSet::default();
        off.insert(clause);
        let mut next = Vec::new();
        let furthest_ones = self.candidates.iter().rev().filter(|c| c.read == furthest);
        let mut work: Vec<_> = furthest_ones.map(|c| (*c, off)).collect();
        while let Some((c, mut off)) = work.pop() {
            let read = c.read + 1;
            match self.reads(&c, &off) {
                // What follows without the clause may depend on a choice that nobody asked for yet.
                Err(OpenChoice(choice)) => {
                    work.extend(split(&c, choice).into_iter().map(|c| (c, off)));
                    continue;
                }
                Ok(Some(Reaction::To(state))) => next.push(Candidate { state, read, ..c }),
                Ok(Some(Reaction::Violation(second))) if !off.contains(second) => {
                    off.insert(second);
                    work.push((c, off));
                    continue;
                }
                _ => {}
            }
            next.push(Candidate { read, ..c });
        }
        self.replace(next);
    }

    fn furthest(&self) -> usize {
        self.candidates.iter().map(|c| c.read).max().unwrap_or_default()
    }

    /// What reading the next message comes to; `None` if there is none, or the specification
    /// does not say what follows.
    fn reads(
        &self,
        c: &Candidate<M::State>,
        off: &ClauseSet,
    ) -> Result<Option<Reaction<M::State>>, OpenChoice> {
        let Some(event) = self.sent.get(c.read).filter(|_| !c.undefined) else { return Ok(None) };
        let mut rules = Rules { choices: c.choices, ..self.rules };
        rules.off.extend(off);
        self.machine.on(&c.state, event, &mut rules.judge_noting(&self.asked)).map(Some)
    }

    /// Nothing came for as long as obligations of this class (and more urgent ones) may take.
    ///
    /// # Errors
    /// If every candidate owes something; the set then stays as it was.
    pub fn silent(&mut self, class: TimeClass) -> Result<(), Fault> {
        self.close()?;
        let (kept, broken) = self.resting(class);
        if kept.is_empty() {
            return Err(self.overdue(class, broken));
        }
        self.replace(kept);
        Ok(())
    }

    /// Nothing came although something is owed: what is owed is what was expected, never silence.
    ///
    /// A candidate that can go on unseen does not stay where it is: what it owes says less than what is
    /// owed where it ends.
    fn overdue(&self, class: TimeClass, mut broken: Vec<(Candidate<M::State>, ClauseId)>) -> Fault {
        if broken.iter().any(|(c, _)| self.is_at_rest(c)) {
            broken.retain(|(c, _)| self.is_at_rest(c));
        }
        let by_place = broken.iter().map(|(c, clause)| (c.read, *clause)).collect();
        let Fault::Broken { clauses, allowed } = self.fault(by_place) else {
            return Fault::TooMany;
        };
        let mut expected: Vec<String> = Vec::new();
        for what in broken.iter().flat_map(|(c, _)| self.owed(c, class)) {
            let what = what.to_owned();
            if !expected.contains(&what) {
                expected.push(what);
            }
        }
        expected.extend(allowed.into_iter().filter(|one| one != SILENCE));
        Fault::Broken { clauses, allowed: expected }
    }

    /// What a candidate owes.
    fn owed(&self, c: &Candidate<M::State>, class: TimeClass) -> Vec<&'static str> {
        let rules = Rules { choices: c.choices, ..self.rules };
        let mut judge = rules.judge_noting(&self.asked);
        let owed = self.machine.owes(&c.state, &mut judge).unwrap_or(Owed::NONE);
        let due = owed.iter().map(|index| self.machine.obligation(index));
        due.filter(|o| o.class <= class && judge.enforces(o.clause)).map(|o| o.what).collect()
    }

    /// Whether some candidate owes nothing of this class: silence would be allowed.
    ///
    /// # Errors
    /// If the set grows beyond its bound.
    pub fn may_be_silent(&mut self, class: TimeClass) -> Result<bool, Fault> {
        self.close()?;
        Ok(!self.resting(class).0.is_empty())
    }

    /// The candidates that owe nothing of this class, and what the others owe.
    #[allow(clippy::type_complexity)]
    fn resting(
        &self,
        class: TimeClass,
    ) -> (Vec<Candidate<M::State>>, Vec<(Candidate<M::State>, ClauseId)>) {
        let (mut kept, mut broken) = (Vec::new(), Vec::new());
        let mut work = self.candidates.clone();
        work.reverse();
        while let Some(c) = work.pop() {
            match self.due(&c, class) {
                Err(OpenChoice(choice)) => work.extend(split(&c, choice)),
                Ok(None) => kept.push(c),
                Ok(Some(clause)) => broken.push((c, clause)),
            }
        }
        (kept, broken)
    }

    /// Whether nothing can happen unseen: no message is read, no hidden step is taken.
    fn is_at_rest(&self, c: &Candidate<M::State>) -> bool {
        let rules = Rules { choices: c.choices, ..self.rules };
        let mut steps = false;
        let mut step = |_, state| steps |= state != c.state;
        let judge = &mut rules.judge_noting(&self.asked);
        let known = self.machine.hidden(&c.state, judge, &mut step).is_ok();
        known && !steps && self.has_read_all(c)
    }

    /// The clause of what a candidate owes, a message to be read first.
    fn due(
        &self,
        c: &Candidate<M::State>,
        class: TimeClass,
    ) -> Result<Option<ClauseId>, OpenChoice> {
        if c.undefined {
            return Ok(None);
        }
        let rules = Rules { choices: c.choices, ..self.rules };
        let mut judge = rules.judge_noting(&self.asked);
        if let Some(next) = self.sent.get(c.read)
            && self.machine.on(&c.state, next, &mut judge)? != Reaction::Disabled
        {
            return Ok(Some(ClauseId::NONE));
        }
        let owed: Owed = self.machine.owes(&c.state, &mut judge)?;
        let due = owed.iter().map(|index| self.machine.obligation(index));
        Ok(due.filter(|o| o.class <= class && judge.enforces(o.clause)).map(|o| o.clause).next())
    }

    /// Whether this holds of every state that is possible once all that was sent is read. Where no
    /// text says what follows, nothing does.
    ///
    /// # Errors
    /// If the set grows beyond its bound.
    pub fn every(
        &mut self,
        mut holds: impl FnMut(&M::State, &mut RuleContext) -> Result<bool, OpenChoice>,
    ) -> Result<bool, Fault> {
        self.close()?;
        let mut work: Vec<_> = self
            .candidates
            .iter()
            .filter(|c| c.undefined || c.read == self.sent.len())
            .copied()
            .collect();
        let mut any = false;
        while let Some(c) = work.pop() {
            any = true;
            let rules = Rules { choices: c.choices, ..self.rules };
            match holds(&c.state, &mut rules.judge_noting(&self.asked)) {
                _ if c.undefined => return Ok(false),
                Err(OpenChoice(choice)) => work.extend(split(&c, choice)),
                Ok(true) => {}
                Ok(false) => return Ok(false),
            }
        }
        Ok(any)
    }

    /// For each choice that some candidate has fixed: the options that candidates still have, or that
    /// could not be judged.
    #[must_use]
    pub fn readings(&self, choices: usize) -> Vec<(ChoiceId, Vec<u8>)> {
        let met = |choice: &ChoiceId| {
            self.candidates.iter().any(|c| {
                c.choices.fixed(*choice).is_some() && self.rules.choices.fixed(*choice).is_none()
            })
        };
        let options = |choice: ChoiceId| {
            (0..8)
                .filter(|o| {
                    self.candidates.iter().any(|c| c.choices.allows(choice, *o))
                        || self.unjudged.iter().any(|c| c.fixed(choice) == Some(*o))
                })
                .collect()
        };
        (0..choices).map(ChoiceId::new).filter(met).map(|c| (c, options(c))).collect()
    }

    /// The choices of which more than one option was possible when the machine asked for them: whatever
    /// was said here would have been said by any rules in which only other choices differ.
    #[must_use]
    pub fn asked(&self) -> ChoiceSet {
        self.asked.get()
    }

    /// What some candidate would allow now, in the words of a trace.
    #[must_use]
    pub fn allowed(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for c in &self.candidates {
            if c.undefined {
                return vec!["anything: the specification does not say what follows".into()];
            }
            self.machine.stimuli(&c.state, &mut |offer| {
                let (Stimulus::Guarded(event) | Stimulus::Unguarded(event)) = offer;
                let rules = Rules { choices: c.choices, ..self.rules };
                let verdict =
                    self.machine.on(&c.state, &event, &mut rules.judge_noting(&self.asked));
                if matches!(verdict, Ok(Reaction::To(_) | Reaction::Unspecified(_))) {
                    let label = label(self.machine, &event);
                    if !all.contains(&label) {
                        all.push(label);
                    }
                }
            });
        }
        if !self.resting(TimeClass::Io).0.is_empty() {
            all.push(SILENCE.into());
        }
        all
    }

    fn fault(&self, mut broken: Vec<(usize, ClauseId)>) -> Fault {
        // The furthest candidate has read what the tester sent: its clause is the likeliest.
        broken.sort_by_key(|(read, _)| std::cmp::Reverse(*read));
        let mut clauses: Vec<ClauseId> = Vec::new();
        for (_, clause) in broken {
            if !clauses.contains(&clause) && clause != ClauseId::NONE {
                clauses.push(clause);
            }
        }
        Fault::Broken { clauses, allowed: self.allowed() }
    }

    fn replace(&mut self, candidates: Vec<Candidate<M::State>>) {
        let mut seen = HashSet::default();
        self.candidates = candidates.into_iter().filter(|c| seen.insert(*c)).collect();
        self.closed = false;
        if self.watching {
            self.forget();
        }
    }

    /// Lets go of messages that everybody has read: a monitor watches for long.
    fn forget(&mut self) {
        let read = self.candidates.iter().map(|c| c.read).min().unwrap_or_default();
        self.sent.drain(..read);
        self.candidates.iter_mut().for_each(|c| c.read -= read);
    }

    /// Adds all that can happen unseen.
    ///
    /// A reading under which what the tester sent breaks a rule says nothing about what comes: its
    /// candidates drop out. Only if that leaves nobody who has read what there is to read, the script
    /// is wrong.
    fn close(&mut self) -> Result<(), Fault> {
        if self.closed {
            return Ok(());
        }
        let mut forbidden: Vec<(Choices, ClauseId)> = Vec::new();
        let mut seen: HashSet<Candidate<M::State>> = HashSet::default();
        let mut kept = Vec::new();
        let mut work = self.candidates.clone();
        work.reverse();
        while let Some(c) = work.pop() {
            if !seen.insert(c) {
                continue;
            }
            if seen.len() > MAX_CANDIDATES {
                return Err(Fault::TooMany);
            }
            match self.unseen(&c) {
                Ok(Leads::Away) => kept.push(c),
                Ok(Leads::To(next)) => {
                    kept.push(c);
                    work.extend(next);
                }
                Err(Unseen::OpenChoice(OpenChoice(choice))) => work.extend(split(&c, choice)),
                Err(Unseen::Script(clause)) => forbidden.push((c.choices, clause)),
            }
        }
        if let Some((_, clause)) = forbidden.first().filter(|_| !self.watching) {
            kept.retain(|c| forbidden.iter().all(|(choices, _)| c.choices != *choices));
            if !kept.iter().any(|c| self.has_read_all(c)) {
                return Err(Fault::Script { clause: *clause });
            }
            for (choices, _) in &forbidden {
                if !self.unjudged.contains(choices) {
                    self.unjudged.push(*choices);
                }
            }
        }
        self.candidates = kept;
        self.closed = true;
        Ok(())
    }

    /// Whether a candidate waits for nothing in the socket that it could read now.
    fn has_read_all(&self, c: &Candidate<M::State>) -> bool {
        let rules = Rules { choices: c.choices, ..self.rules };
        let next = self.sent.get(c.read).filter(|_| !c.undefined);
        next.is_none_or(|event| {
            matches!(
                self.machine.on(&c.state, event, &mut rules.judge_noting(&self.asked)),
                Ok(Reaction::Disabled)
            )
        })
    }

    /// Where a candidate can go without being seen.
    fn unseen(&mut self, c: &Candidate<M::State>) -> Result<Leads<M::State>, Unseen> {
        if c.undefined {
            return Ok(Leads::Away);
        }
        let rules = Rules { choices: c.choices, ..self.rules };
        let mut judge: RuleContext = rules.judge_noting(&self.asked);
        let mut next = Vec::new();
        if let Some(event) = self.sent.get(c.read) {
            let read = c.read + 1;
            match self.machine.on(&c.state, event, &mut judge)? {
                Reaction::To(state) => next.push(Candidate { state, read, ..*c }),
                Reaction::Ignore => next.push(Candidate { read, ..*c }),
                Reaction::Disabled => {}
                // The sender is judged by all that is possible: what is hidden may still make it right.
                Reaction::Violation(_) if self.watching => {}
                Reaction::Violation(clause) => return Err(Unseen::Script(clause)),
                Reaction::Unspecified(_) => next.push(Candidate { read, undefined: true, ..*c }),
            }
        }
        self.machine.hidden(&c.state, &mut judge, &mut |_, state| {
            next.push(Candidate { state, ..*c });
        })?;
        self.hits.extend(&judge.hits);
        Ok(if next.is_empty() { Leads::Away } else { Leads::To(next) })
    }
}

enum Unseen {
    OpenChoice(OpenChoice),
    Script(ClauseId),
}

impl From<OpenChoice> for Unseen {
    fn from(ask: OpenChoice) -> Self {
        Unseen::OpenChoice(ask)
    }
}

/// One candidate for each option that is still possible.
fn split<S: Copy>(c: &Candidate<S>, choice: ChoiceId) -> Vec<Candidate<S>> {
    let option = |o| Candidate { choices: c.choices.with(choice, o), ..*c };
    (0..8).rev().filter(|o| c.choices.allows(choice, *o)).map(option).collect()
}
