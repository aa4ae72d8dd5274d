//! Which arcs a SET takes: the rule of combination transitions, in three readings.
//!
//! ```text
//!  arcs of the full table --shortest, by the rule--> path --states that the device lacks are skipped-->
//!      RUNNING, RUNNING_P2P, STOP                     a device without P2P: RUNNING, STOP
//! ```
//!
//! | reading | saving states in the interior | pairs of the table |
//! |---|---|---|
//! | literal | never | what the text blocks |
//! | kernel | never, but `through` | what the text and the kernel block |
//! | session | between two saving states only these, else never | none: blocked is what has no path |
//!
//! **Invariant.** Nothing here is typed in: no pair of states is named.

use std::fmt;

use serde::Serialize;

use super::table::{By, Dma, How, MAX_STATES, Session, Table};

/// How the rule of combination transitions is read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// As the header words it.
    Literal,
    /// As the kernel does it.
    Kernel,
    /// By the stream that is open.
    Session,
}

impl Reading {
    /// All of them.
    pub const ALL: [Reading; 3] = [Reading::Literal, Reading::Kernel, Reading::Session];

    /// Its name: that of the option.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Reading::Literal => "literal",
            Reading::Kernel => "kernel",
            Reading::Session => "session",
        }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a SET takes no path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoPath {
    /// The device has no such state (or it is no state at all).
    Unsupported,
    /// No SET leads there, or away.
    Final,
    /// It is said to be an error.
    Blocked,
    /// The arcs do not lead there by the rule.
    Unreachable,
    /// The rule leaves more than one path: these.
    Ambiguous(Vec<Vec<u8>>),
}

/// As many shortest paths are told apart; more is as bad.
const ENOUGH: usize = 8;

impl Table {
    /// The states that a SET goes through, both ends included, in a device with these features.
    ///
    /// # Errors
    /// If there is no such path, or more than one.
    pub fn path(&self, flags: u64, reading: Reading, from: u8, to: u8) -> Result<Vec<u8>, NoPath> {
        let (Some(first), Some(last)) = (self.state(from), self.state(to)) else {
            return Err(NoPath::Unsupported);
        };
        if !self.supports(flags, from) || !self.supports(flags, to) {
            return Err(NoPath::Unsupported);
        }
        if first.is_final || last.is_final {
            return Err(NoPath::Final);
        }
        if from == to {
            return Ok(vec![from]);
        }
        let said = self.pairs.iter().find(|pair| {
            (pair.from, pair.to) == (from, to)
                && (pair.unless == 0 || pair.unless & !flags != 0)
                && match reading {
                    Reading::Literal => pair.by == By::Text,
                    Reading::Kernel => true,
                    Reading::Session => false,
                }
        });
        if said.is_some_and(|pair| pair.how == How::Blocked) {
            return Err(NoPath::Blocked);
        }
        let through = said.is_some_and(|pair| pair.how == How::Through);
        let saving = |value: u8| self.state(value).is_some_and(|s| s.session == Session::Saving);
        let inside = reading == Reading::Session && saving(from) && saving(to);
        let may_pass = |value: u8| through || saving(value) == inside;
        let mut paths: Vec<Vec<u8>> = Vec::new();
        for path in self.shortest(flags, from, to, &may_pass) {
            let shown: Vec<u8> =
                path.into_iter().filter(|value| self.supports(flags, *value)).collect();
            if !paths.contains(&shown) {
                paths.push(shown);
            }
        }
        match paths.len() {
            0 => Err(NoPath::Unreachable),
            1 => Ok(paths.remove(0)),
            _ => Err(NoPath::Ambiguous(paths)),
        }
    }

    /// All shortest paths over the arcs that these features allow, whose interior `may_pass`.
    fn shortest(
        &self,
        flags: u64,
        from: u8,
        to: u8,
        may_pass: &dyn Fn(u8) -> bool,
    ) -> Vec<Vec<u8>> {
        let arcs: Vec<_> = self.arcs.iter().filter(|arc| arc.needs & !flags == 0).collect();
        let mut level = vec![vec![from]];
        let mut seen = vec![from];
        while !level.is_empty() {
            let mut next: Vec<Vec<u8>> = Vec::new();
            for path in &level {
                let here = path.last().copied().unwrap_or(from);
                for arc in arcs.iter().filter(|arc| arc.from == here) {
                    let goes_on = arc.to == to || may_pass(arc.to) && !seen.contains(&arc.to);
                    if goes_on && next.len() < ENOUGH * MAX_STATES {
                        next.push([path.as_slice(), &[arc.to]].concat());
                    }
                }
            }
            let mut found: Vec<_> =
                next.iter().filter(|path| path.last() == Some(&to)).cloned().collect();
            if !found.is_empty() {
                found.truncate(ENOUGH);
                return found;
            }
            seen.extend(next.iter().filter_map(|path| path.last()));
            level = next;
        }
        Vec::new()
    }

    /// Where a SET goes first: what the kernel's core answers for a pair.
    ///
    /// # Errors
    /// As [`Table::path`].
    pub fn first_step(&self, flags: u64, rule: Reading, from: u8, to: u8) -> Result<u8, NoPath> {
        let path = self.path(flags, rule, from, to)?;
        Ok(path.get(1).copied().unwrap_or(from))
    }

    /// The arcs that a device with these features takes: pairs of states with nothing in between.
    #[must_use]
    pub fn projected(&self, flags: u64, reading: Reading) -> Vec<(u8, u8)> {
        let values = || self.states.iter().map(|state| state.value);
        let pairs = values().flat_map(|from| values().map(move |to| (from, to)));
        pairs
            .filter(|(from, to)| {
                self.path(flags, reading, *from, *to).is_ok_and(|path| path.len() == 2)
            })
            .collect()
    }

    /// What one arc brings about, from the attributes of its ends.
    #[must_use]
    pub fn effects(&self, from: u8, to: u8) -> Effects {
        let (Some(from), Some(to)) = (self.state(from), self.state(to)) else {
            return Effects::default();
        };
        let other = from.session != to.session;
        Effects {
            opens: other && to.session != Session::None,
            goes_on: !other && to.session != Session::None,
            ends: other && from.session != Session::None,
            drains_peers: from.dma == Dma::Any && to.dma < Dma::Any,
            drains_all: from.dma > Dma::None && to.dma == Dma::None,
            freezes: from.runs && !to.runs,
            validates: other && from.session == Session::Resuming,
        }
    }
}

/// The path of every pair in one device, by every reading: looked up by who asks often.
#[derive(Clone, Debug)]
pub struct Paths(Vec<Result<Vec<u8>, NoPath>>);

impl Paths {
    /// Those of a device with these features.
    #[must_use]
    pub fn new(table: &Table, flags: u64) -> Self {
        let values = || 0..MAX_STATES as u8;
        let pairs = || values().flat_map(|from| values().map(move |to| (from, to)));
        let each = |reading| pairs().map(move |(from, to)| table.path(flags, reading, from, to));
        Paths(Reading::ALL.into_iter().flat_map(each).collect())
    }

    /// As [`Table::path`].
    ///
    /// # Errors
    /// As [`Table::path`].
    pub fn get(&self, reading: Reading, from: u8, to: u8) -> Result<&[u8], &NoPath> {
        let (from, to) = (usize::from(from), usize::from(to));
        if from.max(to) >= MAX_STATES {
            return Err(&NoPath::Unsupported);
        }
        let index = (reading as usize * MAX_STATES + from) * MAX_STATES + to;
        self.0.get(index).map_or(Err(&NoPath::Unsupported), |path| path.as_deref())
    }
}

/// What an arc brings about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Effects {
    /// A session begins: a new data descriptor.
    pub opens: bool,
    /// The session that is open goes on.
    pub goes_on: bool,
    /// The session that was open ends.
    pub ends: bool,
    /// Outstanding DMA to other devices ends before the arc does.
    pub drains_peers: bool,
    /// All outstanding DMA does.
    pub drains_all: bool,
    /// From here on the device's state does not change.
    pub freezes: bool,
    /// What was written is looked at, and taken or refused.
    pub validates: bool,
}

impl Effects {
    /// In words, joined by commas; empty if there is none.
    #[must_use]
    pub fn words(&self) -> String {
        let all = [
            (self.ends, "session ends"),
            (self.validates, "data is validated"),
            (self.opens, "new data descriptor"),
            (self.goes_on, "session goes on"),
            (self.drains_all, "DMA drains"),
            (self.drains_peers && !self.drains_all, "peer DMA drains"),
            (self.freezes, "device freezes"),
        ];
        let words: Vec<_> = all.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
        words.join(", ")
    }
}
