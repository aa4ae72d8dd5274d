//! Counterexamples: a path through the state table made into events and differences.
//!
//! ```text
//!  witness --parents--> path of states --recompute--> steps --describe--> lines
//!    1  front-end  SET_VRING_BASE ring 0 (sent)   socket [] -> ["SET_VRING_BASE ring 0"]
//! ```
//!
//! **Invariant.** A line shows what changed, never a whole state. Text is folded for a person to
//! read: what leads up to the environment's first act is one line, and so is a program that runs
//! again later; a message that is later read is not shown when it is sent, and what lies in the
//! socket is not shown at all. JSON keeps it all, and so does [`Look::full`].
//!
//! Text has at most [`Look::width`] columns: a longer line goes on with a hanging indent.
//!
//! **Not here.** Which path is shown ([`super::search`], [`super::liveness`]).

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Error;
use super::search::{Explored, Witness};
use super::table::Id;
use crate::clause::ClauseId;
use crate::compose::{Action, Closed, GlobalStateOf, Outcome};
use crate::machine::{Channel, Event, Machine, Party, Stimulus};
use crate::pack::Bits;
use crate::system::System;

/// The columns of a text for the console, in files and in a pipe.
pub const WIDTH: usize = 100;
/// The fewest columns of a text.
pub const NARROWEST: usize = 40;
/// An event that is longer than this moves what changed to the right, in its own line alone.
const EVENT: usize = 48;
/// Keeps the parts of one change together while lines are broken.
const NO_BREAK: char = '\u{a0}';

/// One transition of a trace.
#[derive(Clone, Copy, Debug)]
pub struct Step<S, E> {
    /// The state before.
    pub before: S,
    /// What happens.
    pub action: Action<E>,
    /// Where it leads.
    pub outcome: Outcome<S>,
}

/// A transition of a composition of `M`.
pub type StepOf<M, const Q: usize, const N: usize> =
    Step<GlobalStateOf<M, Q, N>, <M as Machine>::Event>;

/// How a trace is shown on the console.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The columns of a line.
    pub width: usize,
    /// Every step with every difference; nothing is folded.
    pub full: bool,
    /// Events that are left out, and fields of the state, by their text.
    pub hide: &'a dyn Fn(&str) -> bool,
}

impl Default for Look<'_> {
    fn default() -> Self {
        Look { width: WIDTH, full: false, hide: &|_| false }
    }
}

impl Look<'_> {
    /// The same with every step and every difference.
    #[must_use]
    pub fn full(self) -> Self {
        Look { full: true, ..self }
    }
}

/// One line of a trace.
#[derive(Clone, PartialEq, Debug, Default, Serialize, JsonSchema)]
pub struct Line {
    /// From 1.
    pub n: usize,
    /// Who does it; for a hidden step, the participant.
    pub party: String,
    /// What is done.
    pub event: String,
    /// Who is meant by it or reads it, if that is one party.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The clause that it breaks, or after which nothing says what follows.
    pub clause: Option<String>,
    /// What changed: dotted field names, old and new value.
    pub changed: Map<String, Value>,
    /// Whether a folded text leaves it out.
    #[serde(skip)]
    pub fold: Fold,
    /// The program that begins here, if it is shown by its name.
    #[serde(skip)]
    pub run: Option<Run>,
}

/// A program that runs in a trace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Its name, after `run `.
    pub name: String,
    /// How many messages it sends.
    pub messages: usize,
    /// The number of its last line.
    pub last: usize,
}

/// What becomes of a line when its trace is folded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Fold {
    /// It is shown.
    #[default]
    Shown,
    /// It comes before the environment's first act.
    SetUp(SetUp),
    /// A message is sent that is read later in the trace.
    Sent,
    /// It belongs to a program that is shown by its name.
    Inside,
}

/// What ends the set-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetUp {
    /// The party of the environment.
    pub party: Party,
    /// What it does then: `first acts`, `may act`.
    pub what: &'static str,
}

/// The field that shows a queue.
const SOCKET: &str = "socket";

/// The steps of the shortest path to a witness, and the witness's own transition. In a reduced run the path
/// is one of the system as it is: the parts keep their places.
///
/// # Errors
/// If a choice is open.
pub fn steps_to<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: &System<M, Q, N, W>,
    explored: &Explored<W>,
    witness: Witness,
) -> Result<Vec<StepOf<M, Q, N>>, Error> {
    let mut path = Path::to(system, explored, witness)?;
    if let Some(successor) = witness.successor {
        path.step(witness.state, successor)?;
    }
    Ok(path.steps)
}

/// A path of the system as it is, along states of a run that may be reduced: the parts keep their places.
pub struct Path<'a, M: Machine, const Q: usize, const N: usize, const W: usize> {
    system: &'a System<M, Q, N, W>,
    explored: &'a Explored<W>,
    /// Where it has come to.
    at: GlobalStateOf<M, Q, N>,
    /// The steps so far.
    pub steps: Vec<StepOf<M, Q, N>>,
}

impl<'a, M: Machine, const Q: usize, const N: usize, const W: usize> Path<'a, M, Q, N, W> {
    /// The shortest path to the state of a witness.
    ///
    /// # Errors
    /// If a choice is open.
    pub fn to(
        system: &'a System<M, Q, N, W>,
        explored: &'a Explored<W>,
        witness: Witness,
    ) -> Result<Self, Error> {
        let at = system.closed.initial();
        let mut path = Path { system, explored, at, steps: Vec::new() };
        for id in explored.table.path(witness.state).into_iter().skip(1) {
            let key = explored.table.key(id);
            let step = find(&system.closed, &path.at, |_, outcome| match outcome {
                Outcome::To(after) => {
                    explored.key_of(system, after).is_ok_and(|found| found == *key)
                }
                _ => false,
            })?;
            path.take(step);
        }
        Ok(path)
    }

    fn take(&mut self, step: Option<StepOf<M, Q, N>>) {
        if let Some(Step { outcome: Outcome::To(after), .. }) = &step {
            self.at = *after;
        }
        self.steps.extend(step);
    }

    /// The transition of a state of the run with this place in the order of its successors; the path has come
    /// to this state, whose parts may stand in another order here.
    ///
    /// # Errors
    /// If a choice is open.
    pub fn step(&mut self, state: Id, successor: u32) -> Result<(), Error> {
        let (system, explored) = (self.system, self.explored);
        let own = step_at(system, explored, state, successor)?;
        let step = match (system.reduction(explored.reduced), own) {
            (Some(symmetry), Some(own)) => {
                let key = Bits::<W>::pack(&self.at).ok();
                let outcome = match own.outcome {
                    Outcome::To(after) => key
                        .and_then(|key| symmetry.arranged(&own.before, &after, &key))
                        .map_or(own.outcome, Outcome::To),
                    ended => ended,
                };
                let same = |_, found: &_| is_same::<M, Q, N, W>(found, &outcome);
                find(&system.closed, &self.at, same)?
            }
            (_, own) => own,
        };
        self.take(step);
        Ok(())
    }

    /// A cycle, as often as it takes until the parts have the places that they had at the begin of some turn:
    /// once, if none of them changes places. With which step the last turn begins, if the cycle has any.
    ///
    /// # Errors
    /// If a choice is open.
    pub fn turns(&mut self, cycle: &[(Id, u32)]) -> Result<Option<usize>, Error> {
        let mut begun = Vec::new();
        while !cycle.is_empty() {
            let here = Bits::<W>::pack(&self.at).ok();
            if let Some((_, step)) = begun.iter().find(|(key, _)| *key == here) {
                return Ok(Some(*step));
            }
            begun.push((here, self.steps.len() + 1));
            for (state, successor) in cycle {
                self.step(*state, *successor)?;
            }
        }
        Ok(None)
    }
}

/// Whether two transitions lead to one state, or end at one clause.
fn is_same<M: Machine, const Q: usize, const N: usize, const W: usize>(
    one: &Outcome<GlobalStateOf<M, Q, N>>,
    other: &Outcome<GlobalStateOf<M, Q, N>>,
) -> bool {
    match (one, other) {
        (Outcome::To(one), Outcome::To(other)) => Bits::<W>::pack(one) == Bits::pack(other),
        (Outcome::Violation(one), Outcome::Violation(other))
        | (Outcome::Unspecified(one), Outcome::Unspecified(other)) => one == other,
        _ => false,
    }
}

/// The transition with this place in the order of successors.
///
/// # Errors
/// If a choice is open.
fn step_at<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: &System<M, Q, N, W>,
    explored: &Explored<W>,
    state: Id,
    successor: u32,
) -> Result<Option<StepOf<M, Q, N>>, Error> {
    find(&system.closed, &explored.table.key(state).unpack(), |n, _| n == successor)
}

fn find<M: Machine, const Q: usize, const N: usize>(
    closed: &Closed<M, Q, N>,
    before: &GlobalStateOf<M, Q, N>,
    wanted: impl Fn(u32, &Outcome<GlobalStateOf<M, Q, N>>) -> bool,
) -> Result<Option<StepOf<M, Q, N>>, Error> {
    let before = *before;
    let mut found = None;
    let mut n = 0;
    closed.successors(&before, &mut |action, outcome| {
        if found.is_none() && wanted(n, &outcome) {
            found = Some(Step { before, action, outcome });
        }
        n += 1;
    })?;
    Ok(found)
}

/// Makes steps readable. `environment`: the parties before whose first act all is set-up.
pub fn lines<M: Machine, const Q: usize, const N: usize>(
    machine: &M,
    steps: &[StepOf<M, Q, N>],
    environment: &[Party],
    clause: &dyn Fn(ClauseId) -> String,
) -> Vec<Line> {
    let acts = |step: &StepOf<M, Q, N>| match &step.action {
        Action::Now(event) | Action::Send(event) => {
            Some(event.owner()).filter(|owner| environment.contains(owner))
        }
        Action::Read(_) | Action::Hidden(_) => None,
    };
    let could = |step: &StepOf<M, Q, N>| {
        let mut party = None;
        machine.stimuli(&step.before.parts, &mut |offer| {
            let (Stimulus::Guarded(event) | Stimulus::Unguarded(event)) = offer;
            party = party.or(Some(event.owner()).filter(|owner| environment.contains(owner)));
        });
        party
    };
    let first = |party: &dyn Fn(&StepOf<M, Q, N>) -> Option<Party>, what| {
        steps
            .iter()
            .enumerate()
            .find_map(|(n, step)| Some((n, SetUp { party: party(step)?, what })))
    };
    // An environment that never acts has its part all the same: from when it could.
    let begin = first(&acts, "first acts").or_else(|| first(&could, "may act"));
    let queue = |event: &M::Event| match event.channel() {
        Channel::Queue(queue) => queue as usize,
        Channel::Now => 0,
    };
    let mut unread = [0usize; Q];
    for step in steps {
        if let Action::Read(event) = &step.action {
            unread[queue(event)] += 1;
        }
    }
    let fold = |(n, step): (usize, &StepOf<M, Q, N>)| {
        let mut line = line::<M, Q, N>(machine, n + 1, step, clause);
        let mut read_later = false;
        if let Action::Send(event) = &step.action {
            let reads = &mut unread[queue(event)];
            read_later = *reads > 0;
            *reads = reads.saturating_sub(1);
        }
        line.fold = match begin {
            _ if line.clause.is_some() => Fold::Shown,
            Some((begin, set_up)) if n < begin => Fold::SetUp(set_up),
            _ if read_later && line.changed.keys().all(|name| name.starts_with(SOCKET)) => {
                Fold::Sent
            }
            _ => Fold::Shown,
        };
        line
    };
    steps.iter().enumerate().map(fold).collect()
}

fn line<M: Machine, const Q: usize, const N: usize>(
    machine: &M,
    n: usize,
    step: &StepOf<M, Q, N>,
    clause: &dyn Fn(ClauseId) -> String,
) -> Line {
    let before = fields::<M, Q, N>(machine, &step.before);
    let (changed, broken) = match &step.outcome {
        Outcome::To(after) => (difference(&before, &fields::<M, Q, N>(machine, after)), None),
        Outcome::Violation(id) | Outcome::Unspecified(id) => (Map::new(), Some(*id)),
    };
    let (party, mut event) = said(machine, &step.action);
    event += match &step.outcome {
        Outcome::To(_) => "",
        Outcome::Violation(_) => " (violates a rule)",
        Outcome::Unspecified(_) => " (undefined)",
    };
    let to = match &step.action {
        Action::Now(event) | Action::Send(event) | Action::Read(event) => event.to(),
        Action::Hidden(_) => None,
    };
    let to = to.map(|party| party.to_string());
    let clause = broken.filter(|id| *id != ClauseId::NONE).map(clause);
    Line { n, party, event, to, clause, changed, ..Line::default() }
}

/// Who does something, and what, in words.
pub fn said<M: Machine>(machine: &M, action: &Action<M::Event>) -> (String, String) {
    match action {
        Action::Now(event) => (event.owner().to_string(), label(machine, event)),
        Action::Send(event) => (event.owner().to_string(), label(machine, event) + " (sent)"),
        Action::Read(event) => (event.owner().to_string(), label(machine, event) + " (read)"),
        Action::Hidden(step) => (step.by.to_string(), step.to_string()),
    }
}

/// An event in the words of the participant that knows it best.
pub fn label<M: Machine>(machine: &M, event: &M::Event) -> String {
    machine.label(event).unwrap_or_else(|| event.label())
}

/// A state as flat fields with dotted names.
pub(super) fn fields<M: Machine, const Q: usize, const N: usize>(
    machine: &M,
    world: &GlobalStateOf<M, Q, N>,
) -> Map<String, Value> {
    let mut flat = Map::new();
    for (participant, state) in machine.describe(&world.parts) {
        flatten(participant, state, &mut flat);
    }
    for (n, queue) in world.queues.iter().enumerate() {
        let name = if Q == 1 { SOCKET.to_owned() } else { format!("{SOCKET}.{n}") };
        flat.insert(name, queue.iter().map(|event| Value::from(label(machine, event))).collect());
    }
    flat
}

fn flatten(name: String, value: Value, into: &mut Map<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                flatten(format!("{name}.{key}"), value, into);
            }
        }
        Value::Array(items) if items.iter().any(|item| item.is_array() || item.is_object()) => {
            for (n, value) in items.into_iter().enumerate() {
                flatten(format!("{name}.{n}"), value, into);
            }
        }
        leaf => {
            into.insert(name, leaf);
        }
    }
}

fn difference(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let old = |name: &str| before.get(name).cloned().unwrap_or(Value::Null);
    let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
    after
        .iter()
        .filter(|(name, new)| before.get(*name) != Some(*new))
        .map(|(name, new)| (name.clone(), Value::from(vec![old(name), new.clone()])))
        .chain(gone.map(|(name, old)| (name.clone(), Value::from(vec![old.clone(), Value::Null]))))
        .collect()
}

/// Shows programs that run after the set-up by their names: `programs` are names with the messages that
/// each sends, in order, and only the longest that fits is named.
pub fn name_programs(
    lines: &mut [Line],
    programs: &[(String, Vec<String>)],
    cycle_at: Option<usize>,
) {
    let sent = |line: &Line| {
        let text = line.event.strip_suffix(" (sent)")?;
        Some(text.split(' ').next().unwrap_or(text).to_owned())
    };
    let after = lines.iter().take_while(|line| matches!(line.fold, Fold::SetUp(_))).count();
    // What is shown of a cycle begins with its first step.
    let end = cycle_at.map_or(lines.len(), |at| (at - 1).min(lines.len()));
    let sends: Vec<(usize, String)> =
        (after..end).filter_map(|at| Some((at, sent(&lines[at])?))).collect();
    let mut at = 0;
    while at < sends.len() {
        let names = || sends[at..].iter().map(|(_, name)| name.as_str());
        let left = sends.len() - at;
        let fits = |steps: &[String]| {
            left >= steps.len() && names().zip(steps).all(|(sent, step)| sent == step)
        };
        let found = programs.iter().filter(|(_, steps)| steps.len() >= FEWEST && fits(steps));
        // Of programs that send the same messages, the first.
        let Some((name, steps)) = found.rev().max_by_key(|(_, steps)| steps.len()) else {
            at += 1;
            continue;
        };
        let (first, last) = (sends[at].0, sends[at + steps.len() - 1].0);
        let until = sends.get(at + steps.len()).map_or(end, |(next, _)| *next);
        // What the last message comes to is the program's; its answer too.
        let message = sends[at + steps.len() - 1].1.clone();
        let own = |line: &Line| {
            let mut words = line.event.split(' ').map(|word| word.trim_end_matches(','));
            words.any(|word| word == message)
        };
        let last = (last..until).rev().find(|n| own(&lines[*n])).unwrap_or(last);
        let party = lines[first].party.clone();
        for line in &mut lines[first..=last] {
            // What it sends, what is read and answered of it, and what else its party does.
            let message = line.event.ends_with(" (sent)") || line.event.ends_with(" (read)");
            let its = line.event.split(' ').any(|word| steps.iter().any(|step| step == word));
            if line.clause.is_none() && (its || (line.party == party && !message)) {
                line.fold = Fold::Inside;
            }
        }
        let last = lines[last].n;
        lines[first].run = Some(Run { name: name.clone(), messages: steps.len(), last });
        at += steps.len();
    }
    // The last step is what a trace is about.
    if let Some(last) = lines.last_mut().filter(|line| line.fold == Fold::Inside) {
        last.fold = Fold::Shown;
    }
}

/// A program of fewer messages is shown step by step.
const FEWEST: usize = 4;

/// A folded trace for the console: one aligned line an event.
///
/// `cycle_at` is the number of the first event of a cycle that then repeats for ever.
#[must_use]
pub fn text(lines: &[Line], cycle_at: Option<usize>) -> String {
    shown(lines, cycle_at, &Look::default())
}

/// The whole trace for the console: every event, every difference.
#[must_use]
pub fn text_full(lines: &[Line], cycle_at: Option<usize>) -> String {
    shown(lines, cycle_at, &Look::default().full())
}

/// A trace for the console.
#[must_use]
pub fn shown(lines: &[Line], cycle_at: Option<usize>, look: &Look<'_>) -> String {
    let (out, lines) = folded(lines, cycle_at, look);
    out + &rows(&lines, cycle_at, look)
}

/// What is said of the set-up, and the lines that are shown after it.
#[must_use]
pub fn folded<'l>(
    lines: &'l [Line],
    cycle_at: Option<usize>,
    look: &Look<'_>,
) -> (String, Vec<&'l Line>) {
    let hidden = |line: &&Line| line.clause.is_some() || !(look.hide)(&line.event);
    if look.full {
        return (String::new(), lines.iter().filter(hidden).collect());
    }
    // A cycle is shown from its first event on, whatever comes before the environment acts.
    let begin = cycle_at.unwrap_or(usize::MAX);
    let set_up = |line: &&Line| matches!(line.fold, Fold::SetUp(_)) && line.n < begin;
    let (mut out, mut rest) = (String::new(), lines);
    if let [_, .., last] = lines.iter().take_while(set_up).collect::<Vec<_>>()[..]
        && let Fold::SetUp(SetUp { party, what }) = last.fold
    {
        out += &format!("1-{}  set-up: {} steps until the {party} {what}\n", last.n, last.n);
        rest = &lines[last.n..];
    }
    let is_shown = |line: &&Line| match line.fold {
        Fold::Sent => false,
        Fold::Inside => line.run.is_some(),
        _ => true,
    };
    (out, rest.iter().filter(is_shown).filter(hidden).collect())
}

/// What a step changed, in words, as far as it is shown.
#[must_use]
pub fn changes(line: &Line, look: &Look<'_>) -> Vec<String> {
    let is_shown = |name: &str| (look.full || !name.starts_with(SOCKET)) && !(look.hide)(name);
    let all = line.changed.iter().filter(|(name, _)| is_shown(name));
    all.map(|(name, values)| format!("{name} {} -> {}", plain(&values[0]), plain(&values[1])))
        .collect()
}

fn rows(lines: &[&Line], cycle_at: Option<usize>, look: &Look<'_>) -> String {
    let run = |line: &Line| line.run.as_ref().filter(|_| !look.full).cloned();
    let words = |line: &Line| match run(line) {
        Some(run) => format!("run {}, {} messages", run.name, run.messages),
        None => line.event.clone(),
    };
    let party = lines.iter().map(|line| line.party.chars().count()).max().unwrap_or(0);
    let event = lines.iter().map(|line| words(line).chars().count()).max().unwrap_or(0);
    let event = event.min(EVENT);
    let look_width = look.width.max(NARROWEST);
    let most = look_width * 3 / 5;
    let mut out = String::new();
    let mut cycle = cycle_at;
    for line in lines {
        if cycle.is_some_and(|at| line.n >= at) {
            out += "  -- repeats forever:\n";
            cycle = None;
        }
        let (number, mut what) = match run(line) {
            Some(run) => (format!("{}-{}", line.n, run.last), Vec::new()),
            None => (line.n.to_string(), changes(line, look)),
        };
        what.extend(line.clause.iter().map(|clause| format!("[{clause}]")));
        let words = words(line);
        let head = format!("{number:>4}  {:party$}  {words:event$}  ", line.party);
        let hang = Some(head.chars().count()).filter(|column| *column <= most).unwrap_or(10);
        let room = look_width - hang - 1;
        let fits = |item: &String| item.chars().count() <= room;
        let whole = |item: String| if fits(&item) { unbroken(&item) } else { item };
        let what: Vec<String> = what.into_iter().map(whole).collect();
        let row = format!("{head}{}", what.join(", "));
        out += &wrapped_at(row.trim_end(), hang, look_width);
        out.push('\n');
    }
    out
}

/// A part of a line that [`wrapped`] keeps in one line.
#[must_use]
pub fn unbroken(part: &str) -> String {
    part.replace(' ', &NO_BREAK.to_string())
}

/// A line that is too long for [`WIDTH`] as several, of which all but the first begin at this column.
#[must_use]
pub fn wrapped(line: &str, hang: usize) -> String {
    wrapped_at(line, hang, WIDTH)
}

/// [`wrapped`] to this number of columns.
#[must_use]
pub fn wrapped_at(line: &str, hang: usize, width: usize) -> String {
    let indent = " ".repeat(hang);
    // A name has hyphens: it stays whole, so that it can be found.
    let options = textwrap::Options::new(width)
        .subsequent_indent(&indent)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::fill(line, options).replace(NO_BREAK, " ")
}

/// A value of a field, in words.
#[must_use]
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Null => "-".to_owned(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
