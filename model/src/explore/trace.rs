//! Counterexamples: a path through the state table made into events and differences.
//!
//! ```text
//!  witness --parents--> path of states --recompute--> steps --describe--> lines
//!    1  front-end  SET_VRING_BASE ring 0 (sent)   socket [] -> ["SET_VRING_BASE ring 0"]
//! ```
//!
//! **Invariant.** A line shows what changed, never a whole state.
//!
//! **Not here.** Which path is shown ([`super::search`], [`super::liveness`]).

use serde::Serialize;
use serde_json::{Map, Value};

use super::Error;
use super::search::Witness;
use super::table::{Id, Table};
use crate::clause::ClauseId;
use crate::compose::{Action, Closed, Outcome, WorldOf};
use crate::machine::{Event, Machine};
use crate::pack::Bits;

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
pub type StepOf<M, const Q: usize, const N: usize> = Step<WorldOf<M, Q, N>, <M as Machine>::Event>;

/// One line of a trace.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Line {
    /// From 1.
    pub n: usize,
    /// Who does it; for a hidden step, the participant.
    pub party: String,
    /// What is done.
    pub event: String,
    /// The clause that it breaks, or after which nothing says what follows.
    pub clause: Option<String>,
    /// What changed: dotted field names, old and new value.
    pub changed: Map<String, Value>,
}

/// The steps of the shortest path to a witness, and the witness's own transition.
///
/// # Errors
/// If a choice is open.
pub fn steps_to<M: Machine, const Q: usize, const N: usize, const W: usize>(
    closed: &Closed<M, Q, N>,
    table: &Table<W>,
    witness: Witness,
) -> Result<Vec<StepOf<M, Q, N>>, Error> {
    let path = table.path(witness.state);
    let mut steps = Vec::new();
    for pair in path.windows(2) {
        let to = table.key(pair[1]);
        steps.extend(find(closed, table, pair[0], |_, outcome| match outcome {
            Outcome::To(after) => Bits::pack(after).is_ok_and(|key| key == *to),
            _ => false,
        })?);
    }
    if let Some(successor) = witness.successor {
        steps.extend(step_at(closed, table, witness.state, successor)?);
    }
    Ok(steps)
}

/// The transition with this place in the order of successors.
///
/// # Errors
/// If a choice is open.
pub fn step_at<M: Machine, const Q: usize, const N: usize, const W: usize>(
    closed: &Closed<M, Q, N>,
    table: &Table<W>,
    state: Id,
    successor: u32,
) -> Result<Option<StepOf<M, Q, N>>, Error> {
    find(closed, table, state, |n, _| n == successor)
}

fn find<M: Machine, const Q: usize, const N: usize, const W: usize>(
    closed: &Closed<M, Q, N>,
    table: &Table<W>,
    state: Id,
    wanted: impl Fn(u32, &Outcome<WorldOf<M, Q, N>>) -> bool,
) -> Result<Option<StepOf<M, Q, N>>, Error> {
    let before: WorldOf<M, Q, N> = table.key(state).unpack();
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

/// Makes steps readable.
pub fn lines<M: Machine, const Q: usize, const N: usize>(
    machine: &M,
    steps: &[StepOf<M, Q, N>],
    clause: &dyn Fn(ClauseId) -> String,
) -> Vec<Line> {
    steps
        .iter()
        .enumerate()
        .map(|(n, step)| line::<M, Q, N>(machine, n + 1, step, clause))
        .collect()
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
        Outcome::Broken(id) | Outcome::Undefined(id) => (Map::new(), Some(*id)),
    };
    let (party, mut event) = match &step.action {
        Action::Now(event) => (event.owner().to_string(), event.label()),
        Action::Send(event) => (event.owner().to_string(), format!("{} (sent)", event.label())),
        Action::Read(event) => (event.owner().to_string(), format!("{} (read)", event.label())),
        Action::Hidden(step) => {
            let participant = changed.keys().next().and_then(|name| name.split('.').next());
            (participant.unwrap_or_default().to_owned(), step.to_string())
        }
    };
    event += match &step.outcome {
        Outcome::To(_) => "",
        Outcome::Broken(_) => " (breaks a rule)",
        Outcome::Undefined(_) => " (undefined)",
    };
    let clause = broken.filter(|id| *id != ClauseId::NONE).map(clause);
    Line { n, party, event, clause, changed }
}

/// A state as flat fields with dotted names.
fn fields<M: Machine, const Q: usize, const N: usize>(
    machine: &M,
    world: &WorldOf<M, Q, N>,
) -> Map<String, Value> {
    let mut flat = Map::new();
    for (participant, state) in machine.describe(&world.parts) {
        flatten(participant, state, &mut flat);
    }
    for (n, queue) in world.queues.iter().enumerate() {
        let name = if Q == 1 { "socket".to_owned() } else { format!("socket.{n}") };
        flat.insert(name, queue.iter().map(|event| Value::from(event.label())).collect());
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
        Value::Array(items) if !items.is_empty() => {
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

/// A trace for the console: one aligned line an event.
///
/// `cycle_at` is the number of the first event of a cycle that then repeats for ever.
#[must_use]
pub fn text(lines: &[Line], cycle_at: Option<usize>) -> String {
    let width = |f: fn(&Line) -> usize| lines.iter().map(f).max().unwrap_or(0);
    let (party, event) = (width(|l| l.party.chars().count()), width(|l| l.event.chars().count()));
    let mut out = String::new();
    for line in lines {
        if cycle_at == Some(line.n) {
            out += "  -- for ever:\n";
        }
        let mut what: Vec<String> = line
            .changed
            .iter()
            .map(|(name, values)| format!("{name} {} -> {}", plain(&values[0]), plain(&values[1])))
            .collect();
        what.extend(line.clause.iter().map(|clause| format!("[{clause}]")));
        let row = format!(
            "{:>4}  {:party$}  {:event$}  {}",
            line.n,
            line.party,
            line.event,
            what.join(", ")
        );
        out += row.trim_end();
        out.push('\n');
    }
    out
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Null => "-".to_owned(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
