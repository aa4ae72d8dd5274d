//! What a run says, as JSON (schema 1) and as text.
//!
//! ```text
//!  verdict of a property:  holds | violated | unknown     (unknown: only if the run is incomplete)
//!  verdict of the system:  holds | violated | incomplete
//!  as expected          =  every property as expected, and the run complete
//! ```
//!
//! **Invariant.** A bounded run never reads as a proof: what it did not find is `unknown`.

use std::fmt::Write as _;
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use super::Error;
use super::liveness::{self, Starvation, States};
use super::names::{RULES_KEPT, says};
use super::options::{Listed, Options, listed};
use super::search::{Explored, Incomplete, Tally, Witness, explore};
use super::trace::{self, Line, Look, Path, StepOf, lines, steps_to};
use crate::clause::ClauseId;
use crate::compose::{GlobalStateOf, Outcome};
use crate::machine::Machine;
use crate::system::{Expected, OnState, Property, PropertyKind, System, Test};

/// The verdict on one property.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PropertyVerdict {
    /// Every reachable state was visited, and it holds.
    Holds,
    /// There is a counterexample (or, for what should happen, every reachable state was visited).
    Violated,
    /// Not violated in the part that was visited.
    Unknown,
}

impl std::fmt::Display for PropertyVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            PropertyVerdict::Holds => "holds",
            PropertyVerdict::Violated => "violated",
            PropertyVerdict::Unknown => "unknown",
        })
    }
}

/// The verdict on a system.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every property holds in every reachable state.
    Holds,
    /// Some property is violated.
    Violated,
    /// Nothing is violated in the part that was visited.
    Incomplete,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Verdict::Holds => "holds",
            Verdict::Violated => "violated",
            Verdict::Incomplete => "incomplete",
        })
    }
}

/// What is said about one property.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct PropertyReport {
    /// Its name, unique in its system.
    pub name: String,
    /// The clause behind it.
    pub clause: Option<String>,
    /// What it says.
    pub kind: PropertyKind,
    /// What was found.
    pub verdict: PropertyVerdict,
    /// What is expected.
    pub expected: Expected,
    /// Whether they agree.
    pub as_expected: bool,
    /// A shortest counterexample; of a `reachable` that holds, an example.
    pub trace: Option<Vec<Line>>,
    /// The number of the first event of a cycle that then repeats for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycle_at: Option<usize>,
    /// What stays undone, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Of which instance the trace speaks, e.g. `ring 1`, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// What it says, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
    /// Why the trace violates it: what its last step does, who then owes what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl PropertyReport {
    /// Beside a verdict: whether it was to be expected, where that needs saying.
    #[must_use]
    pub fn mark(&self) -> &'static str {
        match (self.as_expected, self.verdict) {
            (false, _) => " (NOT as expected)",
            (true, PropertyVerdict::Violated) => " (as expected)",
            (true, _) => "",
        }
    }

    /// What it says and why its trace violates it, for the console, each in a paragraph.
    #[must_use]
    pub fn explained(&self, width: usize) -> String {
        let mut out = String::new();
        if self.verdict == PropertyVerdict::Violated {
            for (title, text) in [("says", &self.says), ("why", &self.why)] {
                let text = text.as_ref().map(|text| format!("      {title}: {text}"));
                let line = text.map(|text| trace::wrapped_at(&text, 8, width) + "\n");
                out.extend(line);
            }
        }
        if let Some(note) = &self.note {
            out += &(trace::wrapped_at(&format!("      {note}"), 8, width) + "\n");
        }
        out
    }
}

/// A clause at which branches end, because it is broken or because nothing says what follows.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Ending {
    /// The clause.
    pub clause: String,
    /// How many transitions end there.
    pub count: u64,
    /// Whether the system declares that its programs break it.
    pub declared: bool,
    /// A shortest trace.
    pub trace: Vec<Line>,
}

impl Ending {
    /// What programs break, in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let (count, plural) = (self.count, if self.count == 1 { "" } else { "s" });
        let how = if self.declared { "as declared" } else { "NOT declared" };
        format!(
            "breaks {}, {how}: {count} transition{plural} end{} there",
            self.clause,
            ends(plural)
        )
    }
}

/// `ends` of one, `end` of several.
fn ends(plural: &str) -> &'static str {
    if plural.is_empty() { "s" } else { "" }
}

/// What one run over one system says.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Report {
    /// The version of this form: 2. In version 1 the properties `rules-kept`, `deadlock-free` and
    /// `no-starvation` were called `rules`, `stuck` and `progress`, and `X: non-vacuous` was called
    /// `X: can happen`; all else is the same.
    pub schema: u32,
    /// The system's name.
    pub system: String,
    /// The verdict.
    pub verdict: Verdict,
    /// What is expected: violated if any property is.
    pub expected: Expected,
    /// Every property is as expected, and the run was complete.
    pub as_expected: bool,
    /// Distinct states.
    pub states: u64,
    /// Transitions to a state, duplicates included.
    pub transitions: u64,
    /// Levels below the initial state.
    pub depth: u32,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Bytes that the state table took.
    pub table_bytes: u64,
    /// What the run was reduced by, e.g. `3 interchangeable channels`: states that differ in their order only
    /// are counted once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reduced_by: Option<String>,
    /// The run was to be reduced, and the system has no interchangeable parts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_reduced: bool,
    /// Why not every reachable state was visited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
    /// How the run came to its end, if a value outgrew its field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow: Option<Vec<Line>>,
    /// The system's own properties, their twins, and those checked of every system.
    pub properties: Vec<PropertyReport>,
    /// Clauses that programs break.
    pub broken: Vec<Ending>,
    /// Clauses after which nothing says what follows.
    pub undefined: Vec<Ending>,
}

impl Report {
    /// The property of that name.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&PropertyReport> {
        self.properties.iter().find(|property| property.name == name)
    }

    /// For the console: the verdicts, and each counterexample as one line an event, folded.
    #[must_use]
    pub fn text(&self) -> String {
        self.shown(&Look::default())
    }

    /// The same with every event of each counterexample.
    #[must_use]
    pub fn text_full(&self) -> String {
        self.shown(&Look::default().full())
    }

    /// The same as it is to look.
    #[must_use]
    pub fn shown(&self, look: &Look<'_>) -> String {
        let text = |lines: &[Line], cycle_at| trace::shown(lines, cycle_at, look);
        let mut out = String::new();
        let as_expected = |yes| if yes { "" } else { " (NOT as expected)" };
        let _ = writeln!(
            out,
            "{}: {}{}, {} states, {} transitions, depth {}",
            self.system,
            self.verdict,
            as_expected(self.as_expected),
            self.states,
            self.transitions,
            self.depth
        );
        if let Some(parts) = &self.reduced_by {
            let _ =
                writeln!(out, "  reduced by {parts}: states that differ in their order count once");
        }
        if self.not_reduced {
            out += "  not reduced: the system has no interchangeable parts\n";
        }
        if let Some(reason) = &self.incomplete {
            let _ = writeln!(out, "  incomplete: {reason}");
            out += &self.overflow.as_deref().map_or_else(String::new, |t| text(t, None));
        }
        for property in &self.properties {
            let clause = property.clause.iter().map(|clause| format!(" [{clause}]"));
            let instance = property.instance.iter().map(|instance| format!(" ({instance})"));
            let line = format!(
                "  {:8}  {}{}{}{}",
                property.verdict,
                property.name,
                clause.collect::<String>(),
                instance.collect::<String>(),
                trace::unbroken(property.mark())
            );
            out += &(trace::wrapped_at(&line, 12, look.width.max(trace::NARROWEST)) + "\n");
            if let (PropertyVerdict::Violated, Some(lines)) = (property.verdict, &property.trace) {
                out += &text(lines, property.cycle_at);
            }
            out += &property.explained(look.width);
            if property.name == RULES_KEPT {
                let declared = self.broken.iter().filter(|ending| ending.declared);
                out.extend(declared.map(|ending| format!("  {}\n", ending.line())));
            }
        }
        for ending in &self.undefined {
            let Ending { clause, count, .. } = ending;
            let _ = writeln!(out, "  unspecified after {clause}: {count} transitions end there");
        }
        out
    }
}

/// Explores a system and says what was found.
///
/// # Errors
/// If a choice is open, or the initial state does not fit its packing.
pub fn check<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: &System<M, Q, N, W>,
    options: &Options<'_>,
) -> Result<Report, Error> {
    let begun = Instant::now();
    let explored = explore(system, &options.limits)?;
    let states = match explored.incomplete {
        Some(Incomplete::Deadline(_)) => None,
        _ => Some(States::new(system, &explored)?),
    };
    // On a cycle of a reduced graph the parts may change places: if one of them can owe something, what cycles
    // decide stays open.
    let symmetry = system.reduction(explored.reduced);
    let may_decide = |states: &States<'_, M, Q, N, W>| {
        let may = symmetry.is_none_or(|symmetry| symmetry.owes_nothing);
        Ok::<_, Error>(may || !liveness::has_cycle(states)?)
    };
    let cycles = match &states {
        Some(states) if !may_decide(states)? => Cycles::Open,
        Some(states) => Cycles::Decide(states),
        None => Cycles::Open,
    };
    let is_open = matches!(cycles, Cycles::Open);
    let writer = Writer { system, explored: &explored, options, cycles };
    let properties = writer.properties()?;
    let complete = explored.incomplete.is_none() && !is_open;
    let violated = |p: &PropertyReport| p.verdict == PropertyVerdict::Violated;
    let expects = |p: &PropertyReport| p.expected == Expected::Violated;
    Ok(Report {
        schema: 2,
        system: system.name.clone(),
        verdict: match properties.iter().any(violated) {
            true => Verdict::Violated,
            false if complete => Verdict::Holds,
            false => Verdict::Incomplete,
        },
        expected: match properties.iter().any(expects) {
            true => Expected::Violated,
            false => Expected::Holds,
        },
        as_expected: complete && properties.iter().all(|p| p.as_expected),
        states: explored.table.len() as u64,
        transitions: explored.transitions,
        depth: explored.depth(),
        seconds: begun.elapsed().as_secs_f64(),
        table_bytes: explored.table.bytes() as u64,
        reduced_by: symmetry
            .map(|symmetry| format!("{} interchangeable {}s", symmetry.count, symmetry.of)),
        not_reduced: options.limits.reduced && !explored.reduced,
        incomplete: explored
            .incomplete
            .map(|reason| match reason {
                Incomplete::States(n) => format!("stopped at {n} states"),
                Incomplete::Depth(n) => format!("stopped at depth {n}"),
                Incomplete::Deadline(time) => format!("stopped after {} s", time.as_secs_f64()),
                Incomplete::Overflow { field, .. } => format!("`{field}` exceeds its packing"),
            })
            .or_else(|| is_open.then(|| UNREDUCED.to_owned())),
        overflow: match explored.incomplete {
            Some(Incomplete::Overflow { at, .. }) => Some(writer.trace(at)?),
            _ => None,
        },
        properties,
        broken: writer.endings(&explored.findings.broken)?,
        undefined: writer.endings(&explored.findings.undefined)?,
    })
}

/// Why a reduced run leaves something open.
const UNREDUCED: &str = "the reduced run has a cycle, which may be none of the system: \
                         only a run that is not reduced decides what can be owed for ever";

/// What decides what cycles can show.
enum Cycles<'a, M: Machine, const Q: usize, const N: usize, const W: usize> {
    /// The states as a graph.
    Decide(&'a States<'a, M, Q, N, W>),
    /// Nothing.
    Open,
}

struct Writer<'a, M: Machine, const Q: usize, const N: usize, const W: usize> {
    system: &'a System<M, Q, N, W>,
    explored: &'a Explored<W>,
    options: &'a Options<'a>,
    cycles: Cycles<'a, M, Q, N, W>,
}

type PropertyOf<M, const Q: usize, const N: usize> =
    Property<GlobalStateOf<M, Q, N>, <M as Machine>::Event>;
type OnStateOf<M, const Q: usize, const N: usize> = OnState<GlobalStateOf<M, Q, N>>;

/// A verdict with what shows it.
#[derive(Default)]
struct Found {
    violated: Option<bool>,
    /// Nothing decides it.
    is_open: bool,
    trace: Option<Vec<Line>>,
    cycle_at: Option<usize>,
    note: Option<String>,
    instance: Option<String>,
    /// Where no party can go on: who owes what, what is waited for.
    waits: Vec<String>,
}

impl Found {
    const OPEN: Found = Found {
        violated: None,
        is_open: true,
        trace: None,
        cycle_at: None,
        note: None,
        instance: None,
        waits: Vec::new(),
    };
}

/// A sentence begins with a capital.
fn capital(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

impl<M: Machine, const Q: usize, const N: usize, const W: usize> Writer<'_, M, Q, N, W> {
    fn properties(&self) -> Result<Vec<PropertyReport>, Error> {
        let findings = &self.explored.findings;
        let listed = listed(self.system);
        let mut found = Vec::new();
        for (n, property) in self.system.properties.iter().enumerate() {
            let witnesses = &findings.witnesses[n];
            found.push(match (property.kind, &self.cycles) {
                (PropertyKind::Reachable, _) => self.all_reached(property, witnesses)?,
                (PropertyKind::LeadsTo, Cycles::Decide(states)) => {
                    self.leads_to(property, states)?
                }
                (PropertyKind::LeadsTo, Cycles::Open) => Found::OPEN,
                _ => self.none_of(property, witnesses)?,
            });
            if property.kind.is_implication() {
                found.push(self.reached(findings.twins[n], false)?);
            }
        }
        found.push(self.rules()?);
        found.push(self.stuck(findings.stuck)?);
        found.push(match &self.cycles {
            Cycles::Open => Found::OPEN,
            Cycles::Decide(states) => self.starves(states, liveness::progress(*states)?)?,
        });
        Ok(listed
            .into_iter()
            .zip(found)
            .map(|(listed, found)| self.property(listed, found))
            .collect())
    }

    fn property(&self, listed: Listed, found: Found) -> PropertyReport {
        let verdict = match (found.violated, self.explored.incomplete) {
            _ if found.is_open => PropertyVerdict::Unknown,
            (Some(true), _) => PropertyVerdict::Violated,
            (Some(false), _) | (None, None) => PropertyVerdict::Holds,
            (None, Some(_)) => PropertyVerdict::Unknown,
        };
        let as_expected = matches!(
            (verdict, listed.expected),
            (PropertyVerdict::Holds, Expected::Holds)
                | (PropertyVerdict::Violated, Expected::Violated)
        );
        let why = (verdict == PropertyVerdict::Violated).then(|| self.why(listed.kind, &found));
        let why = why.filter(|why| !why.is_empty());
        PropertyReport {
            says: says(&listed.name).map(str::to_owned),
            name: listed.name,
            why,
            clause: listed.clause.and_then(|clause| self.clause(clause)),
            kind: listed.kind,
            verdict,
            expected: listed.expected,
            as_expected,
            trace: found.trace,
            cycle_at: found.cycle_at,
            note: found.note,
            instance: found.instance,
        }
    }

    /// Why a trace violates a property of this kind: what its last step does.
    fn why(&self, kind: PropertyKind, found: &Found) -> String {
        let lines = found.trace.as_deref().unwrap_or_default();
        let Some(last) = lines.last() else {
            return match kind {
                PropertyKind::Reachable => {
                    format!("In {} states it never happens.", self.explored.table.len())
                }
                PropertyKind::Rules => String::new(),
                _ => "It is so from the beginning.".to_owned(),
            };
        };
        let step = format!("step {} ({}: {})", last.n, last.party, last.event);
        let changed = trace::changes(last, &Look::default());
        let changed = match &changed[..] {
            [] => "The step changes nothing.".to_owned(),
            some => format!("The step changes {}.", some.join(", ")),
        };
        match kind {
            PropertyKind::Always => {
                format!("The property applies to {step}, and is false of it. {changed}")
            }
            PropertyKind::AtEnd => {
                format!(
                    "After {step} every party has finished, and the property is false. {changed}"
                )
            }
            PropertyKind::Rules => match &last.clause {
                Some(clause) => format!("The {} breaks {clause} by {step}.", last.party),
                None => format!("A rule is broken by {step}."),
            },
            PropertyKind::Stuck => {
                let free: Vec<_> =
                    self.system.environment.iter().map(|p| format!("the {p}")).collect();
                let but = match free.is_empty() {
                    true => String::new(),
                    false => format!(" but {}", free.join(" and ")),
                };
                let waits: String =
                    found.waits.iter().map(|w| format!(" {}.", capital(w))).collect();
                format!("After {step} no party can act{but}.{waits}")
            }
            PropertyKind::Progress | PropertyKind::LeadsTo => {
                let what = match kind {
                    PropertyKind::Progress => "what is owed stays undone",
                    _ => "what should follow does not",
                };
                match found.cycle_at {
                    Some(at) if at < last.n => {
                        format!("Steps {at} to {} can repeat forever, and {what}.", last.n)
                    }
                    Some(at) => format!("Step {at} can repeat forever, and {what}."),
                    None => format!("After {step} nothing more need happen, and {what}."),
                }
            }
            PropertyKind::Reachable => String::new(),
        }
    }

    /// A state in which no party can go on: who owes what there, and what is waited for.
    fn stuck(&self, witness: Option<Witness>) -> Result<Found, Error> {
        let Some(at) = witness else { return self.never(None) };
        let steps = steps_to(self.system, self.explored, at)?;
        let closed = &self.system.closed;
        let state = steps.last().map_or_else(
            || closed.initial(),
            |step| match step.outcome {
                Outcome::To(after) => after,
                _ => step.before,
            },
        );
        let mut waits = Vec::new();
        for index in closed.owes(&state)?.iter() {
            let owed = closed.obligation(index);
            let clause = self.clause(owed.clause).map(|c| format!(" [{c}]")).unwrap_or_default();
            waits.push(format!("the {} owes: {}{clause}", owed.by, owed.what));
        }
        closed.machine.waits(&state.parts, &mut |sentence| waits.push(sentence));
        for message in state.queues.iter().filter_map(crate::queue::Queue::head) {
            waits.push(format!("`{}` is not read", trace::label(&closed.machine, message)));
        }
        let trace = Some(self.lines(&steps));
        Ok(Found { violated: Some(true), trace, waits, ..Found::default() })
    }

    /// What must not happen: violated by a witness.
    fn never(&self, witness: Option<Witness>) -> Result<Found, Error> {
        let trace = witness.map(|at| self.trace(at)).transpose()?;
        let violated = witness.map(|_| true);
        Ok(Found { violated, trace, ..Found::default() })
    }

    /// What must not happen to any instance: the shortest trace.
    fn none_of(
        &self,
        property: &PropertyOf<M, Q, N>,
        witnesses: &[Option<Witness>],
    ) -> Result<Found, Error> {
        let found = witnesses.iter().enumerate().filter_map(|(n, at)| Some((n, (*at)?)));
        let first = found.min_by_key(|(n, at)| (self.explored.depth_of(at.state), *n));
        let found = self.never(first.map(|(_, at)| at))?;
        Ok(Found { instance: first.and_then(|(n, _)| property.instance(n)), ..found })
    }

    /// What must happen to every instance.
    fn all_reached(
        &self,
        property: &PropertyOf<M, Q, N>,
        witnesses: &[Option<Witness>],
    ) -> Result<Found, Error> {
        let missing = witnesses.iter().position(Option::is_none);
        let found = self.reached(witnesses[missing.unwrap_or(0)], true)?;
        Ok(Found { instance: missing.and_then(|n| property.instance(n)), ..found })
    }

    /// What must follow for every instance: the shortest way never to get there.
    fn leads_to(
        &self,
        property: &PropertyOf<M, Q, N>,
        states: &States<'_, M, Q, N, W>,
    ) -> Result<Found, Error> {
        let mut shortest: Option<(usize, Starvation)> = None;
        for (n, test) in property.tests.iter().enumerate() {
            let Test::LeadsTo { from, to } = test else { continue };
            let of = |f: &OnStateOf<M, Q, N>, node: usize| f(&states.key(node).unpack());
            let violation = liveness::leads_to(states, &mut |n| of(from, n), &mut |n| of(to, n))?;
            let length = |v: &Starvation| {
                let root = self.explored.depth_of(states.id(v.root)) as usize;
                root + v.stem.len() + v.cycle.len()
            };
            let best = shortest.as_ref().map_or(usize::MAX, |(_, best)| length(best));
            if let Some(violation) = violation.filter(|v| length(v) < best) {
                shortest = Some((n, violation));
            }
        }
        let (n, violation) = shortest.unzip();
        let found = self.starves(states, violation)?;
        Ok(Found { instance: n.and_then(|n| property.instance(n)), ..found })
    }

    /// What must happen: holds by a witness, even in an incomplete run.
    fn reached(&self, witness: Option<Witness>, show: bool) -> Result<Found, Error> {
        let trace = witness.filter(|_| show).map(|at| self.trace(at)).transpose()?;
        let violated = match (witness, self.explored.incomplete) {
            (Some(_), _) => Some(false),
            (None, None) => Some(true),
            (None, Some(_)) => None,
        };
        Ok(Found { violated, trace, ..Found::default() })
    }

    /// Programs break exactly the clauses that they declare.
    fn rules(&self) -> Result<Found, Error> {
        let declared = &self.system.expect.breaks;
        let broken = &self.explored.findings.broken;
        let undeclared = broken.iter().filter(|(clause, _)| !declared.contains(clause));
        let first = undeclared.min_by_key(|(_, tally)| self.explored.depth_of(tally.first.state));
        if let Some((_, tally)) = first {
            return self.never(Some(tally.first));
        }
        let mut found = self.never(None)?;
        let unmet: Vec<String> = declared
            .iter()
            .filter(|clause| !broken.contains_key(clause))
            .map(|clause| (self.options.clause)(*clause))
            .collect();
        if !unmet.is_empty() && self.explored.incomplete.is_none() {
            found.violated = Some(true);
            found.note = Some(format!("declared, but not violated: {}", unmet.join(", ")));
        }
        Ok(found)
    }

    fn starves(
        &self,
        states: &States<'_, M, Q, N, W>,
        violation: Option<Starvation>,
    ) -> Result<Found, Error> {
        let Some(violation) = violation else { return self.never(None) };
        let closed = &self.system.closed;
        let root = Witness { state: states.id(violation.root), successor: None };
        let mut path = Path::to(self.system, self.explored, root)?;
        for (node, place) in &violation.stem {
            path.step(states.id(*node), *place)?;
        }
        let cycle: Vec<_> =
            violation.cycle.iter().map(|(node, at)| (states.id(*node), *at)).collect();
        let cycle_at = path.turns(&cycle)?;
        let steps = path.steps;
        let note = violation.obligation.map(|index| {
            let owed = closed.obligation(index);
            let clause = self.clause(owed.clause).map(|c| format!(" ({c})")).unwrap_or_default();
            format!("owed forever: {} by {}{clause}", owed.what, owed.by)
        });
        let trace = Some(self.lines(&steps));
        Ok(Found { violated: Some(true), trace, cycle_at, note, ..Found::default() })
    }

    fn endings(
        &self,
        tallies: &std::collections::BTreeMap<ClauseId, Tally>,
    ) -> Result<Vec<Ending>, Error> {
        let ending = |(clause, tally): (&ClauseId, &Tally)| {
            Ok(Ending {
                clause: (self.options.clause)(*clause),
                count: tally.count,
                declared: self.system.expect.breaks.contains(clause),
                trace: self.trace(tally.first)?,
            })
        };
        tallies.iter().map(ending).collect()
    }

    fn clause(&self, clause: ClauseId) -> Option<String> {
        (clause != ClauseId::NONE).then(|| (self.options.clause)(clause))
    }

    fn trace(&self, at: Witness) -> Result<Vec<Line>, Error> {
        Ok(self.lines(&steps_to(self.system, self.explored, at)?))
    }

    fn lines(&self, steps: &[StepOf<M, Q, N>]) -> Vec<Line> {
        let System { closed, environment, .. } = self.system;
        lines::<M, Q, N>(&closed.machine, steps, environment, self.options.clause)
    }
}
