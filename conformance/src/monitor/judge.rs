//! A log of events, judged line by line.
//!
//! ```text
//!   no device                 one estimate
//!   each device               one for each set of features that it may have: p2p, pre-copy
//!   each pair of devices      one for each two such sets
//!        |  Observed, StateEstimate
//!        v
//!   an event is allowed if each device and each pair has a set of features that allows it
//! ```
//!
//! A log says neither how many devices there are nor what they can do, so all that is possible is kept until an
//! event excludes it. When a device is reported for the first time, everything is judged anew with it.

use std::collections::BTreeMap;

use devmig_engine::clause::ClauseId;
use devmig_engine::estimate::{Fault, StateEstimate};
use devmig_engine::rules::Rules;
use devmig_model::protocol::migration::observed::report::{
    Report as Seen, Reported, Status, What as Said,
};
use devmig_model::protocol::migration::observed::{FEATURES, Missing, Observed};
use devmig_model::registry::Library;

use super::event::{self, BadEvent, Says};
use super::log::{End, Entry, What};
use super::report::{Device, DeviceState, Report, Triple, Verdict, Violation};

/// How many devices are told apart.
const DEVICES: usize = 8;
/// How many events may come of which devices are judged anew.
const MOST: usize = 200_000;
/// What an estimate calls it when nothing more need come.
const SILENCE: &str = "silence";

/// Why a log is not judged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library lacks something.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// A line is not what a monitor says.
    #[error("event {event}: {why}")]
    Event {
        /// The number of the line.
        event: u64,
        /// What is wrong.
        why: String,
    },
    /// More is possible than can be kept.
    #[error("event {0}: more is possible than can be kept")]
    TooMuch(u64),
    /// A device that was named is none.
    #[error("`{0}` is not NAME=FEATURES, with features from p2p and pre-copy, or none")]
    Device(String),
}

/// What judges a VM with these devices.
struct Candidate {
    features: Vec<Vec<String>>,
    machine: Observed,
}

/// What events are judged by.
pub struct Law {
    none: Candidate,
    one: Vec<Candidate>,
    two: Vec<Candidate>,
    texts: BTreeMap<String, String>,
    names: Vec<(ClauseId, String)>,
}

/// Every set of features that a device may have.
fn sets() -> Vec<Vec<String>> {
    let all = 0..1_usize << FEATURES.len();
    let has = |set: usize| {
        let names = FEATURES.iter().enumerate().filter(move |(at, _)| set >> at & 1 == 1);
        names.map(|(_, name)| (*name).to_owned()).collect()
    };
    all.rev().map(has).collect()
}

impl Law {
    /// The machine of whole migrations, with every set of devices.
    ///
    /// # Errors
    /// If the library lacks it.
    pub fn new(library: &Library) -> Result<Self, Error> {
        let candidate = |features: Vec<Vec<String>>| {
            let machine = Observed::new(library, &features)?;
            Ok::<_, Error>(Candidate { features, machine })
        };
        let mut two = Vec::new();
        for first in sets() {
            for second in sets() {
                two.push(candidate(vec![first.clone(), second])?);
            }
        }
        let names = library.spec.clauses().iter().enumerate();
        let names = names.map(|(at, clause)| (ClauseId::new(at), clause.id.clone())).collect();
        let texts = library.spec.clauses().iter();
        let texts = texts.map(|clause| (clause.id.clone(), clause.text.clone())).collect();
        Ok(Law {
            none: candidate(Vec::new())?,
            one: sets().into_iter().map(|set| candidate(vec![set])).collect::<Result<_, _>>()?,
            two,
            texts,
            names,
        })
    }
}

/// What is possible for some devices.
struct Part<'l> {
    /// Their numbers in the list of devices.
    devices: Vec<usize>,
    /// The sets of features that are possible, with the states.
    possible: Vec<(&'l Candidate, StateEstimate<'l, Observed>)>,
}

/// One line, as far as it is judged.
#[derive(Clone, Debug)]
struct Line {
    number: u64,
    us: u64,
    from: End,
    says: SaysMore,
}

#[derive(Clone, Debug)]
enum SaysMore {
    Event(Says),
    Answers(Status, bool),
    AnswersBeyond,
    Closes,
}

/// How things are at an end, as far as it was said.
#[derive(Clone, Debug)]
struct Shown {
    running: bool,
    migration: String,
    devices: BTreeMap<String, String>,
}

/// Judges a log.
pub struct Judge<'l> {
    law: &'l Law,
    known: BTreeMap<String, Vec<String>>,
    devices: Vec<String>,
    parts: Vec<Part<'l>>,
    lines: Vec<Line>,
    number: u64,
    migrations: u64,
    shown: BTreeMap<usize, Shown>,
    violation: Option<Violation>,
    beyond: Option<u64>,
    over: bool,
    last_us: u64,
}

/// A device with its features: `ID=p2p,pre-copy`.
///
/// # Errors
/// If it is not of that form.
pub fn device_and_features(text: &str) -> Result<(String, Vec<String>), Error> {
    let wrong = || Error::Device(text.to_owned());
    let (id, features) = text.split_once('=').ok_or_else(wrong)?;
    let mut named: Vec<String> =
        features.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    named.sort();
    named.dedup();
    let known = named.iter().all(|name| FEATURES.contains(&name.as_str()));
    if id.is_empty() || !known { Err(wrong()) } else { Ok((id.to_owned(), named)) }
}

impl<'l> Judge<'l> {
    /// Nothing was said yet. Of some devices the features may be known.
    #[must_use]
    pub fn new(law: &'l Law, known: &[(String, Vec<String>)]) -> Self {
        let mut judge = Judge {
            law,
            known: known.iter().cloned().collect(),
            devices: Vec::new(),
            parts: Vec::new(),
            lines: Vec::new(),
            number: 0,
            migrations: 0,
            shown: BTreeMap::new(),
            violation: None,
            beyond: None,
            over: false,
            last_us: 0,
        };
        judge.parts = judge.begin();
        judge
    }

    /// Every part at the beginning.
    fn begin(&self) -> Vec<Part<'l>> {
        let fits = |candidate: &&Candidate, devices: &[usize]| {
            devices.iter().zip(&candidate.features).all(|(device, features)| {
                let known = self.devices.get(*device).and_then(|id| self.known.get(id));
                known.is_none_or(|known| known == features)
            })
        };
        let part = |devices: Vec<usize>, of: &'l [Candidate]| {
            let candidates = of.iter().filter(|one| fits(one, &devices));
            let possible = candidates
                .map(|one| (one, StateEstimate::new(&one.machine, Rules::default())))
                .collect();
            Part { devices, possible }
        };
        let count = self.devices.len();
        let mut parts = vec![part(Vec::new(), std::slice::from_ref(&self.law.none))];
        match count {
            0 => {}
            1 => parts = vec![part(vec![0], &self.law.one)],
            _ => {
                let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| vec![a, b]));
                parts = pairs.map(|pair| part(pair, &self.law.two)).collect();
            }
        }
        parts
    }

    /// Takes a line: what it violates.
    ///
    /// # Errors
    /// If it is not what a monitor says, or more is possible than can be kept.
    pub fn take(&mut self, entry: &Entry) -> Result<Option<Violation>, Error> {
        self.number += 1;
        self.last_us = entry.us;
        let number = self.number;
        let wrong = |why: BadEvent| Error::Event { event: number, why: why.to_string() };
        let (from, says) = match &entry.what {
            What::Ends(_) => {
                self.over = true;
                return Ok(None);
            }
            What::Event(from, event) => {
                (*from, SaysMore::Event(event::says(event).map_err(wrong)?))
            }
            What::Closes(from) => (*from, SaysMore::Closes),
            What::Answers(from, answers) => {
                let status = event::status(&answers.status).map_err(wrong)?;
                let says = status.map_or(SaysMore::AnswersBeyond, |status| {
                    SaysMore::Answers(status, answers.running)
                });
                (*from, says)
            }
        };
        let end = from as usize;
        if matches!(says, SaysMore::Event(_)) && !self.shown.contains_key(&end) {
            let why = format!("the first line of the {from} is an answer");
            return Err(Error::Event { event: number, why });
        }
        if self.violation.is_some() || self.beyond.is_some() {
            return Ok(None);
        }
        if self.lines.len() >= MOST {
            return Err(Error::TooMuch(number));
        }
        let line = Line { number, us: entry.us, from, says };
        let mut is_new = false;
        if let SaysMore::Event(Says::Device { id, .. }) = &line.says
            && !self.devices.contains(id)
        {
            if self.devices.len() == DEVICES {
                let why = format!("more than {DEVICES} devices");
                return Err(Error::Event { event: number, why });
            }
            self.devices.push(id.clone());
            is_new = true;
        }
        self.lines.push(line.clone());
        let found = if is_new { self.anew()? } else { self.judged(&line)? };
        self.violation.clone_from(&found);
        Ok(found)
    }

    /// Judges everything anew.
    fn anew(&mut self) -> Result<Option<Violation>, Error> {
        self.parts = self.begin();
        self.shown.clear();
        self.migrations = 0;
        for line in self.lines.clone() {
            if let Some(found) = self.judged(&line)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Judges one line.
    fn judged(&mut self, line: &Line) -> Result<Option<Violation>, Error> {
        let end = line.from as u8;
        let beyond = |event: &SaysMore| {
            matches!(
                event,
                SaysMore::AnswersBeyond | SaysMore::Event(Says::Reports(Reported::Beyond))
            )
        };
        if beyond(&line.says) {
            self.beyond = Some(line.number);
            return Ok(None);
        }
        let mut found = None;
        let mut parts = std::mem::take(&mut self.parts);
        for part in &mut parts {
            let Some(first) = part.possible.first() else { continue };
            let what = match &line.says {
                SaysMore::Event(Says::Nothing) | SaysMore::AnswersBeyond => continue,
                SaysMore::Event(Says::Reports(said)) => Said::Reports(*said),
                SaysMore::Event(Says::Device { id, state }) => {
                    let at = part.devices.iter().position(|at| self.devices.get(*at) == Some(id));
                    let Some(at) = at else { continue };
                    let Some(state) = first.0.machine.state_called(state) else {
                        let why = format!("no device has the state `{state}`");
                        return Err(Error::Event { event: line.number, why });
                    };
                    Said::Reports(Reported::Device { at: at as u8, state })
                }
                SaysMore::Answers(status, runs) => Said::Answers { status: *status, runs: *runs },
                SaysMore::Closes => Said::Closes,
            };
            let seen = Seen { end, what };
            let mut refused = Vec::new();
            let before = std::mem::take(&mut part.possible);
            for (candidate, mut estimate) in before {
                match estimate.observe(&seen) {
                    Ok(()) => part.possible.push((candidate, estimate)),
                    Err(Fault::TooMany) => return Err(Error::TooMuch(line.number)),
                    Err(Fault::Broken { clauses, allowed }) => refused.push((clauses, allowed)),
                    Err(Fault::Script { clause }) => refused.push((vec![clause], Vec::new())),
                }
            }
            if part.possible.is_empty() && found.is_none() {
                let devices = part.devices.clone();
                found = Some(self.violation(line, &devices, refused));
            }
        }
        self.parts = parts;
        if found.is_none() {
            self.show(line);
        }
        Ok(found)
    }

    /// What is said when nothing allows a line.
    fn violation(
        &self,
        line: &Line,
        devices: &[usize],
        refused: Vec<(Vec<ClauseId>, Vec<String>)>,
    ) -> Violation {
        let named = |text: &String| {
            devices.iter().enumerate().fold(text.clone(), |text, (at, device)| {
                let id = self.devices.get(*device).map_or("", String::as_str);
                text.replace(&format!("device {at}"), id)
            })
        };
        let mut allowed: Vec<String> = Vec::new();
        for text in refused.iter().flat_map(|(_, allowed)| allowed).filter(|text| *text != SILENCE)
        {
            let text = named(text);
            if !allowed.contains(&text) {
                allowed.push(text);
            }
        }
        let clause = refused.iter().find_map(|(clauses, _)| clauses.first());
        let clause = clause.and_then(|id| self.law.names.iter().find(|(known, _)| known == id));
        let clause = clause.map(|(_, name)| name.clone());
        Violation {
            text: clause.as_ref().and_then(|id| self.law.texts.get(id)).cloned(),
            clause,
            event: line.number,
            from: line.from,
            us: line.us,
            observed: observed(line),
            allowed,
            triples: self.triples(),
        }
    }

    fn show(&mut self, line: &Line) {
        let end = line.from as usize;
        match &line.says {
            SaysMore::Answers(status, running) => {
                let shown = self.shown.entry(end).or_insert_with(|| Shown {
                    running: *running,
                    migration: String::new(),
                    devices: BTreeMap::new(),
                });
                (shown.running, shown.migration) = (*running, status.name().to_owned());
            }
            SaysMore::Closes => {
                self.shown.remove(&end);
            }
            SaysMore::Event(says) => {
                let Some(shown) = self.shown.get_mut(&end) else { return };
                match says {
                    Says::Reports(Reported::Status(status)) => {
                        shown.migration = status.name().to_owned();
                        let begins = *status == Status::Setup && line.from == End::Source;
                        self.migrations += u64::from(begins);
                    }
                    Says::Reports(Reported::Runs(running)) => shown.running = *running,
                    Says::Device { id, state } => {
                        shown.devices.insert(id.clone(), state.clone());
                    }
                    _ => {}
                }
            }
            SaysMore::AnswersBeyond => {}
        }
    }

    fn triples(&self) -> Vec<Triple> {
        let triple = |(end, shown): (&usize, &Shown)| Triple {
            end: if *end == 0 { End::Source } else { End::Destination },
            running: shown.running,
            migration: shown.migration.clone(),
            devices: shown
                .devices
                .iter()
                .map(|(id, state)| DeviceState { id: id.clone(), state: state.clone() })
                .collect(),
        };
        self.shown.iter().map(triple).collect()
    }

    /// Whether every part may be over: nothing more need come.
    fn rests(&mut self) -> Result<bool, Error> {
        let number = self.number;
        self.every_part(|machine, state| machine.rests(state)).map_err(|_| Error::TooMuch(number))
    }

    /// Whether each part has a candidate with a state of which this holds.
    fn every_part(
        &mut self,
        is: impl Fn(&Observed, &devmig_model::protocol::migration::observed::State) -> bool,
    ) -> Result<bool, Fault> {
        let mut all = true;
        for part in &mut self.parts {
            let mut any = false;
            for (candidate, estimate) in &mut part.possible {
                estimate.every(|state, _| {
                    any |= is(&candidate.machine, state);
                    Ok(true)
                })?;
            }
            all &= any;
        }
        Ok(all)
    }

    /// Whether the last migration has ended and nothing more need come: a watcher may go.
    ///
    /// # Errors
    /// If more is possible than can be kept.
    pub fn is_over(&mut self) -> Result<bool, Error> {
        Ok(self.violation.is_some() || self.migrations > 0 && self.rests()?)
    }

    /// Whether the last migration has failed: the source is to go on.
    ///
    /// # Errors
    /// If more is possible than can be kept.
    pub fn has_failed(&mut self) -> Result<bool, Error> {
        let number = self.number;
        let failed = self.every_part(Observed::came_to_nothing);
        Ok(self.migrations > 0 && failed.map_err(|_| Error::TooMuch(number))?)
    }

    /// The verdict on all that was taken.
    ///
    /// # Errors
    /// If more is possible than can be kept.
    pub fn report(&mut self) -> Result<Report, Error> {
        let mut violations: Vec<Violation> = self.violation.iter().cloned().collect();
        let mut notes = Vec::new();
        if let Some(event) = self.beyond {
            notes.push(format!(
                "event {event} is of a migration that is not modelled (postcopy, COLO, failover): not \
                 judged from there on"
            ));
        }
        let rests = self.migrations > 0 && self.rests()?;
        let failed = self.has_failed()?;
        // It was watched to its end, and the source has not said that it goes on.
        if violations.is_empty() && self.beyond.is_none() && self.over && failed && !rests {
            violations.push(self.missing());
        }
        let verdict = match (violations.is_empty(), self.beyond) {
            (false, _) => Verdict::Violated,
            (true, None) if rests => Verdict::Conformant,
            (true, Some(_)) if self.over => Verdict::Conformant,
            _ => Verdict::Truncated,
        };
        Ok(Report {
            schema: 1,
            verdict,
            events: self.number,
            migrations: self.migrations,
            devices: self.named_devices(),
            triples: self.triples(),
            violations,
            notes,
        })
    }

    /// What is missing at the end after a migration that failed.
    fn missing(&self) -> Violation {
        let clause = "migration.failure.source".to_owned();
        let mut allowed: Vec<String> = Vec::new();
        for (_, estimate) in self.parts.iter().flat_map(|part| &part.possible) {
            for text in estimate.allowed() {
                if text != SILENCE && !allowed.contains(&text) {
                    allowed.push(text);
                }
            }
        }
        Violation {
            text: self.law.texts.get(&clause).cloned(),
            clause: Some(clause),
            event: self.number,
            from: End::Source,
            us: self.last_us,
            observed: "source: nothing more".to_owned(),
            allowed,
            triples: self.triples(),
        }
    }

    fn named_devices(&self) -> Vec<Device> {
        let device = |(at, id): (usize, &String)| {
            let mut features: Vec<Vec<String>> = Vec::new();
            for part in &self.parts {
                let Some(place) = part.devices.iter().position(|device| *device == at) else {
                    continue;
                };
                for (candidate, _) in &part.possible {
                    let set = candidate.features.get(place).cloned().unwrap_or_default();
                    if !features.contains(&set) {
                        features.push(set);
                    }
                }
            }
            Device { id: id.clone(), features }
        };
        self.devices.iter().enumerate().map(device).collect()
    }
}

/// A line in words.
fn observed(line: &Line) -> String {
    let from = line.from;
    match &line.says {
        SaysMore::Event(Says::Reports(said)) => format!("{from}: {}", said.words()),
        SaysMore::Event(Says::Device { id, state }) => {
            format!("{from}: VFIO_MIGRATION {state} of {id}")
        }
        SaysMore::Event(Says::Nothing) | SaysMore::AnswersBeyond => format!("{from}: -"),
        SaysMore::Answers(status, running) => {
            let vm = if *running { "runs" } else { "does not run" };
            format!("{from} answers: migration {}, VM {vm}", status.name())
        }
        SaysMore::Closes => format!("{from}: the monitor is closed"),
    }
}
