//! Whether all that one behaviour can be seen to do another can do as well, both ways, and the
//! shortest trace that tells the two apart.
//!
//! ```text
//!  pair:   ( a state of A , the states of B after what was seen )     B's set is closed under
//!              |                         |                            hidden steps
//!              | hidden                  | stays
//!              | visible, or silence     | to all that it leads to; none: A did what B cannot
//!
//!  level k:  the pairs after k visible events      level by level, so the first difference is a
//!                                                  shortest one, counted in visible events
//! ```
//!
//! This is trace inclusion with silence observed: of everything that can be seen, one event after
//! the other, and of where nothing more need come. The subsets are made on the way, never all.
//!
//! **Invariants.** Two behaviours are called equal only if every pair was visited; a bound that cut
//! a run short is in the verdict. What outgrew its packing is never taken for a difference. The
//! same run gives the same trace.
//!
//! **Not here.** What a system can be seen to do ([`super::behaviour`]); branching (who could still
//! do what at which moment): an observer from outside cannot see it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Error;
use super::behaviour::{Behaviour, CHAOS, INITIAL, LOST, Label, Labels, Move, Node, Taken};
use super::trace::{self, Line};

/// More states than this in all sets together are not kept: 256 MiB.
const MAX_MEMBERS: usize = 1 << 26;
/// How many pairs are visited between two looks at the clock.
const LOOK: usize = 1 << 10;

/// How far along a comparison is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Pairs found, in this direction.
    pub pairs: usize,
    /// Visible events so far.
    pub depth: u32,
}

/// The bounds of a comparison, and who watches it.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// Stop when more pairs than this were found in one direction.
    pub max_pairs: usize,
    /// Do not look further than this many visible events.
    pub max_depth: Option<u32>,
    /// Stop after this time.
    pub deadline: Option<Duration>,
    /// Called now and then.
    pub progress: Option<&'a dyn Fn(&Progress)>,
}

impl Limits<'_> {
    /// As many pairs as a machine of today keeps without trouble.
    pub const PAIRS: usize = 2_000_000;
}

impl Default for Limits<'_> {
    fn default() -> Self {
        Limits { max_pairs: Self::PAIRS, max_depth: None, deadline: None, progress: None }
    }
}

/// Why not every pair was visited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Cut {
    /// [`Limits::max_pairs`].
    #[error("stopped at {0} pairs")]
    Pairs(usize),
    /// [`Limits::max_depth`].
    #[error("stopped at {0} observable events")]
    Depth(u32),
    /// [`Limits::deadline`].
    #[error("stopped after {} s", .0.as_secs())]
    Deadline(Duration),
    /// The sets of states grew too large.
    #[error("stopped at {MAX_MEMBERS} states in sets")]
    Members,
    /// A value outgrew the width that its field has in exploration.
    #[error("field `{0}` exceeds its packing")]
    Overflow(&'static str),
}

/// Something that one behaviour can be seen to do and the other not.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// Visible events, the last of which tells the two apart.
    pub events: u32,
    /// The whole path, hidden steps included.
    pub trace: Vec<Line>,
    /// What the other allows in place of the last event.
    pub instead: Vec<String>,
}

/// What came of one direction.
#[derive(Clone, PartialEq, Debug)]
pub struct Inclusion {
    /// Pairs found.
    pub pairs: usize,
    /// Visible events of the furthest pair.
    pub depth: u32,
    /// A shortest difference.
    pub difference: Option<Difference>,
    /// Why not every pair was visited; never beside a difference.
    pub incomplete: Option<Cut>,
}

impl Inclusion {
    /// Whether all is included; `None`: not known.
    #[must_use]
    pub fn holds(&self) -> Option<bool> {
        match (&self.difference, self.incomplete) {
            (Some(_), _) => Some(false),
            (None, None) => Some(true),
            (None, Some(_)) => None,
        }
    }
}

/// A set of B's states, by the order in which it was first met.
type SetId = u32;

/// B, made deterministic on the way.
struct Subsets<'b> {
    behaviour: &'b mut dyn Behaviour,
    sets: Vec<Box<[Node]>>,
    ids: HashMap<Box<[Node]>, SetId>,
    after: HashMap<(SetId, Label), SetId>,
    members: usize,
}

impl<'b> Subsets<'b> {
    fn new(behaviour: &'b mut dyn Behaviour) -> Self {
        let (sets, ids, after) = (Vec::new(), HashMap::new(), HashMap::new());
        Subsets { behaviour, sets, ids, after, members: 0 }
    }

    /// The set of these states, and of all that they lead to unseen.
    fn closed(&mut self, mut nodes: Vec<Node>, labels: &mut Labels) -> Result<SetId, Error> {
        nodes.sort_unstable();
        nodes.dedup();
        let mut known: HashSet<Node> = nodes.iter().copied().collect();
        let mut at = 0;
        while let Some(node) = nodes.get(at).copied() {
            at += 1;
            for step in self.behaviour.moves(node, labels)?.iter().filter(|m| m.label.is_none()) {
                if known.insert(step.to) {
                    nodes.push(step.to);
                }
            }
        }
        nodes.sort_unstable();
        let set: Box<[Node]> = nodes.into();
        Ok(match self.ids.entry(set) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                self.members += entry.key().len();
                self.sets.push(entry.key().clone());
                *entry.insert(self.sets.len() as SetId - 1)
            }
        })
    }

    /// Where a visible event leads; the empty set: it is not possible.
    fn after(&mut self, set: SetId, label: Label, labels: &mut Labels) -> Result<SetId, Error> {
        if let Some(after) = self.after.get(&(set, label)) {
            return Ok(*after);
        }
        let mut to = Vec::new();
        for index in 0..self.sets[set as usize].len() {
            let node = self.sets[set as usize][index];
            let moves = self.behaviour.moves(node, labels)?;
            to.extend(moves.iter().filter(|m| m.label == Some(label)).map(|m| m.to));
        }
        let after = self.closed(to, labels)?;
        self.after.insert((set, label), after);
        Ok(after)
    }

    /// Whether some state of the set allows everything, or may for all we know.
    fn allows_all(&self, set: SetId) -> bool {
        self.sets[set as usize].iter().any(|node| *node == CHAOS || *node == LOST)
    }

    fn is_empty(&self, set: SetId) -> bool {
        self.sets[set as usize].is_empty()
    }

    /// The words of all visible events that are possible.
    fn allowed(&mut self, set: SetId, labels: &mut Labels) -> Result<Vec<String>, Error> {
        let mut all: Vec<Label> = Vec::new();
        for index in 0..self.sets[set as usize].len() {
            let node = self.sets[set as usize][index];
            let moves = self.behaviour.moves(node, labels)?;
            all.extend(moves.iter().filter_map(|m| m.label));
        }
        all.sort_unstable();
        all.dedup();
        let mut words: Vec<_> = all.into_iter().map(|l| labels.name(l).to_owned()).collect();
        words.sort_unstable();
        Ok(words)
    }
}

/// A pair, and how it was reached.
struct Pair {
    node: Node,
    set: SetId,
    parent: usize,
    taken: Option<Taken>,
}

/// All pairs, in the order in which they were found.
struct Pairs {
    all: Vec<Pair>,
    known: HashSet<(Node, SetId)>,
}

impl Pairs {
    /// The pair that a move leads to, if it is a new one.
    fn add(&mut self, parent: usize, step: Move, set: SetId) -> Option<usize> {
        let from = self.all[parent].node;
        self.known.insert((step.to, set)).then(|| {
            let taken = Some(Taken { from, step });
            self.all.push(Pair { node: step.to, set, parent, taken });
            self.all.len() - 1
        })
    }

    /// The moves that led to a pair, and one more.
    fn path(&self, mut at: usize, last: Move) -> Vec<Taken> {
        let mut path = vec![Taken { from: self.all[at].node, step: last }];
        while let Some(taken) = self.all[at].taken {
            path.push(taken);
            at = self.all[at].parent;
        }
        path.reverse();
        path
    }
}

/// Whether all that `a` can be seen to do `b` can do as well.
///
/// # Errors
/// If a choice is open.
pub fn included(
    a: &mut dyn Behaviour,
    b: &mut dyn Behaviour,
    labels: &mut Labels,
    limits: &Limits<'_>,
) -> Result<Inclusion, Error> {
    let begun = Instant::now();
    let mut subsets = Subsets::new(b);
    let set = subsets.closed(vec![INITIAL], labels)?;
    let mut pairs = Pairs {
        all: vec![Pair { node: INITIAL, set, parent: 0, taken: None }],
        known: HashSet::from([(INITIAL, set)]),
    };
    let (mut depth, mut level) = (0, vec![0]);
    let mut incomplete = None;
    let mut visited = 0usize;
    'levels: while !level.is_empty() {
        // Hidden steps first: a pair that they reach is of this level, whatever else leads to it.
        let mut at = 0;
        while let Some(index) = level.get(at).copied() {
            at += 1;
            let Pair { node, set, .. } = pairs.all[index];
            if subsets.allows_all(set) {
                continue;
            }
            for step in a.moves(node, labels)?.iter().filter(|step| step.label.is_none()) {
                level.extend(pairs.add(index, *step, set));
            }
        }
        let mut next: Vec<usize> = Vec::new();
        for index in level {
            visited += 1;
            if visited.is_multiple_of(LOOK)
                && let Some(progress) = limits.progress
            {
                progress(&Progress { pairs: pairs.all.len(), depth });
            }
            let late =
                |deadline: &Duration| visited.is_multiple_of(LOOK) && begun.elapsed() >= *deadline;
            incomplete = match limits.deadline.filter(late) {
                Some(deadline) => Some(Cut::Deadline(deadline)),
                None if pairs.all.len() > limits.max_pairs => Some(Cut::Pairs(limits.max_pairs)),
                None if subsets.members > MAX_MEMBERS => Some(Cut::Members),
                None => incomplete,
            };
            if matches!(incomplete, Some(Cut::Deadline(_) | Cut::Pairs(_) | Cut::Members)) {
                break 'levels;
            }
            let Pair { node, set, .. } = pairs.all[index];
            if subsets.allows_all(set) {
                continue;
            }
            for step in a.moves(node, labels)?.to_vec() {
                let Some(label) = step.label else { continue };
                if limits.max_depth.is_some_and(|max| depth >= max) {
                    incomplete = Some(Cut::Depth(depth));
                    break;
                }
                let after = subsets.after(set, label, labels)?;
                if subsets.is_empty(after) {
                    let difference = Difference {
                        events: depth + 1,
                        trace: a.lines(&pairs.path(index, step), labels)?,
                        instead: subsets.allowed(set, labels)?,
                    };
                    return Ok(Inclusion {
                        pairs: pairs.all.len(),
                        depth: depth + 1,
                        difference: Some(difference),
                        incomplete: None,
                    });
                }
                next.extend(pairs.add(index, step, after));
            }
        }
        if next.is_empty() {
            break;
        }
        depth += 1;
        level = next;
    }
    let lost = a.overflow().or_else(|| subsets.behaviour.overflow()).map(Cut::Overflow);
    let incomplete = incomplete.or(lost);
    Ok(Inclusion { pairs: pairs.all.len(), depth, difference: None, incomplete })
}

/// How two behaviours are to each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nobody outside can tell them apart.
    Equal,
    /// B allows everything that A allows, and more.
    AInB,
    /// A allows everything that B allows, and more.
    BInA,
    /// Each can do what the other cannot.
    Different,
    /// A bound cut the run short before this was known.
    Incomplete,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Verdict::Equal => "equal",
            Verdict::AInB => "a-in-b",
            Verdict::BInA => "b-in-a",
            Verdict::Different => "different",
            Verdict::Incomplete => "incomplete",
        })
    }
}

/// What a comparison says.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// The version of this form: 1.
    pub schema: u32,
    /// What A is.
    pub a: String,
    /// What B is.
    pub b: String,
    /// How they are to each other.
    pub verdict: Verdict,
    /// Pairs found in both directions.
    pub pairs: usize,
    /// Visible events of the furthest pair.
    pub depth: u32,
    /// Why the run is incomplete, if it is.
    pub incomplete: Option<String>,
    /// A shortest trace of A that is none of B: the whole path, its last event the difference.
    pub only_a: Option<Vec<Line>>,
    /// What B allows in place of the last event of `only_a`.
    pub b_allows: Option<Vec<String>>,
    /// A shortest trace of B that is none of A.
    pub only_b: Option<Vec<Line>>,
    /// What A allows in place of the last event of `only_b`.
    pub a_allows: Option<Vec<String>>,
}

/// Compares two behaviours, both ways.
///
/// # Errors
/// If a choice is open.
pub fn compare(
    (name_a, a): (&str, &mut dyn Behaviour),
    (name_b, b): (&str, &mut dyn Behaviour),
    limits: &Limits<'_>,
) -> Result<Comparison, Error> {
    let mut labels = Labels::default();
    let a_in_b = included(a, b, &mut labels, limits)?;
    let b_in_a = included(b, a, &mut labels, limits)?;
    let verdict = match (a_in_b.holds(), b_in_a.holds()) {
        (Some(true), Some(true)) => Verdict::Equal,
        (Some(true), Some(false)) => Verdict::AInB,
        (Some(false), Some(true)) => Verdict::BInA,
        (Some(false), Some(false)) => Verdict::Different,
        (None, _) | (_, None) => Verdict::Incomplete,
    };
    let cut = a_in_b.incomplete.or(b_in_a.incomplete);
    let parts = |difference: Option<Difference>| difference.map(|d| (d.trace, d.instead)).unzip();
    let (pairs, depth) = (a_in_b.pairs + b_in_a.pairs, a_in_b.depth.max(b_in_a.depth));
    let (only_a, b_allows) = parts(a_in_b.difference);
    let (only_b, a_allows) = parts(b_in_a.difference);
    Ok(Comparison {
        schema: 1,
        a: name_a.to_owned(),
        b: name_b.to_owned(),
        verdict,
        pairs,
        depth,
        incomplete: cut.map(|cut| cut.to_string()),
        only_a,
        b_allows,
        only_b,
        a_allows,
    })
}

impl Comparison {
    /// For the console: the verdict, and the trace of each difference.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!("A  {}\nB  {}\n", self.a, self.b);
        let how = match self.verdict {
            Verdict::Equal => "equal: no observer can distinguish them",
            Verdict::AInB => "B allows everything that A allows, and more",
            Verdict::BInA => "A allows everything that B allows, and more",
            Verdict::Different => "different: each allows something that the other does not",
            Verdict::Incomplete => "incomplete",
        };
        let cut = self.incomplete.iter().map(|cut| format!(": {cut}")).collect::<String>();
        let (pairs, depth) = (self.pairs, self.depth);
        let _ = writeln!(out, "{how}{cut} ({pairs} pairs, depth {depth} in observable events)");
        let sides =
            [("A", "B", &self.only_a, &self.b_allows), ("B", "A", &self.only_b, &self.a_allows)];
        for (one, other, only, instead) in sides {
            if let (Some(lines), Some(instead)) = (only, instead) {
                let _ = writeln!(out, "\nonly {one}:");
                out += &trace::text(lines, None);
                let list = list(instead);
                let line = format!("{other} allows instead of the last event: {list}");
                let _ = writeln!(out, "{}", trace::wrapped(&line, 4));
            }
        }
        out
    }
}

/// How many alternatives are worth reading.
const ENOUGH: usize = 6;

fn list(words: &[String]) -> String {
    match words.len() {
        0 => "nothing".to_owned(),
        n if n > ENOUGH => format!("{}; and {} more", words[..ENOUGH].join("; "), n - ENOUGH),
        _ => words.join("; "),
    }
}
