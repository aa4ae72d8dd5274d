//! Level-synchronous breadth-first search over a closed system, and its safety properties.
//!
//! ```text
//!  level k:  | block | block | block |      a block is a fixed number of states of the frontier
//!              |
//!              +-- expand: each thread a contiguous chunk; only what a transition changes is packed
//!              +-- sort:   successors go to 64 buckets, in order, a thousand at a time
//!              +-- insert: each thread some shards; the buckets in the order of the chunks
//! ```
//!
//! The first violation of each property is a shortest one, and the same one for any number of
//! threads: blocks, chunks and successors are taken in order, and a shard receives its keys in the
//! order of the frontier.
//!
//! **Invariants.** [`Explored::incomplete`] is `None` only if every reachable state was expanded.
//! The frontier is not stored: it is the end of each shard. Edges are not stored.
//!
//! **Not here.** Cycles ([`super::liveness`]), traces ([`super::trace`]), words ([`super::report`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::Error;
use super::table::{Id, SHARDS, Shard, Table, hash, shard_of};
use crate::clause::ClauseId;
use crate::compose::{Action, Change, GlobalStateOf, Moved, Outcome};
use crate::machine::{Event, Machine};
use crate::pack::{Bits, Overflow};
use crate::rules::OpenChoice;
use crate::symmetry::Symmetry;
use crate::system::{PropertyKind, System, Test, Transition};

/// About as many transitions are generated between two insertions: many, so that a shard stays in the
/// cache while its bucket is inserted; not too many, since the buckets are memory too.
const BLOCK: u64 = 1 << 20;
/// The fewest and most states expanded between two insertions.
const BLOCK_STATES: (u64, u64) = (1 << 12, 1 << 18);
/// About as many successors are collected before they go to their buckets: few, so that they are still
/// in the innermost cache.
const FRESH: usize = 1 << 10;
/// Keys that are looked for at once.
const BATCH: usize = 32;
/// Below this many states a second thread costs more than it gives.
const WORTH_A_THREAD: usize = 1 << 11;

/// How far along a run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// States found.
    pub states: u64,
    /// Transitions generated.
    pub transitions: u64,
    /// The level being expanded.
    pub depth: u32,
    /// States of that level.
    pub frontier: u64,
}

/// The bounds of a run, and who watches it.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// How many threads; 0 counts as 1.
    pub threads: usize,
    /// Stop when this many states were found.
    pub max_states: Option<u64>,
    /// Do not expand states this many transitions away from the initial one.
    pub max_depth: Option<u32>,
    /// Stop after this time.
    pub deadline: Option<Duration>,
    /// Explore one of the states that differ in the order of interchangeable parts only, if the system has
    /// such parts.
    pub reduced: bool,
    /// Called once a block.
    pub progress: Option<&'a (dyn Fn(&Progress) + Sync)>,
}

impl Default for Limits<'_> {
    fn default() -> Self {
        Limits {
            threads: 1,
            max_states: None,
            max_depth: None,
            deadline: None,
            reduced: false,
            progress: None,
        }
    }
}

/// A state, or one of its transitions by its place in the order of successors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Witness {
    /// The state (before the transition).
    pub state: Id,
    /// Which of its successors, in order; `None` for the state itself.
    pub successor: Option<u32>,
}

/// Transitions of one sort: how many, and a first one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    /// How many transitions.
    pub count: u64,
    /// One with a shortest trace.
    pub first: Witness,
}

/// Why a run does not cover every reachable state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Incomplete {
    /// [`Limits::max_states`].
    States(u64),
    /// [`Limits::max_depth`].
    Depth(u32),
    /// [`Limits::deadline`].
    Deadline(Duration),
    /// A value outgrew the width that its field has in exploration.
    Overflow {
        /// The field's name.
        field: &'static str,
        /// The transition that did it.
        at: Witness,
    },
}

/// What was met on the way.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    /// By property of the system and instance of it: a transition or end that violates it; for a
    /// [`Test::Reachable`], one that satisfies it.
    pub witnesses: Vec<Vec<Option<Witness>>>,
    /// By property of the system: a transition in which the antecedent of an implication is met; for a
    /// [`Test::AtEnd`], an accepted end in which it is.
    pub twins: Vec<Option<Witness>>,
    /// Clauses broken.
    pub broken: BTreeMap<ClauseId, Tally>,
    /// Clauses after which the specification does not say what follows.
    pub undefined: BTreeMap<ClauseId, Tally>,
    /// A state that is no accepted end, where only free environment events are left.
    pub stuck: Option<Witness>,
    /// A transition to a state that does not fit.
    overflow: Option<(&'static str, Witness)>,
}

impl Findings {
    fn new<M: Machine, const Q: usize, const N: usize, const W: usize>(
        system: &System<M, Q, N, W>,
    ) -> Self {
        let properties = &system.properties;
        Findings {
            witnesses: properties.iter().map(|p| vec![None; p.tests.len()]).collect(),
            twins: vec![None; properties.len()],
            ..Findings::default()
        }
    }

    /// Adds what was found later.
    fn extend(&mut self, later: &Findings) {
        let theirs = later.witnesses.iter().flatten();
        for (mine, theirs) in self.witnesses.iter_mut().flatten().zip(theirs) {
            *mine = mine.or(*theirs);
        }
        for (mine, theirs) in self.twins.iter_mut().zip(&later.twins) {
            *mine = mine.or(*theirs);
        }
        for (mine, theirs) in
            [(&mut self.broken, &later.broken), (&mut self.undefined, &later.undefined)]
        {
            for (clause, tally) in theirs {
                mine.entry(*clause).and_modify(|t| t.count += tally.count).or_insert(*tally);
            }
        }
        self.stuck = self.stuck.or(later.stuck);
        self.overflow = self.overflow.or(later.overflow);
    }
}

/// A finished run.
#[derive(Debug)]
pub struct Explored<const W: usize> {
    /// All states found.
    pub table: Table<W>,
    /// Where each level begins in each shard.
    levels: Vec<[u32; SHARDS]>,
    /// Every transition to a state, duplicates included; broken and undefined ones are not.
    pub transitions: u64,
    /// Every transition leads to the next level: there is no cycle.
    pub layered: bool,
    /// Why not every reachable state was visited, if so.
    pub incomplete: Option<Incomplete>,
    /// What was met.
    pub findings: Findings,
    /// The run was reduced by the symmetry of the system.
    pub reduced: bool,
}

impl<const W: usize> Explored<W> {
    /// The key under which the table has a state of this system.
    ///
    /// # Errors
    /// [`Overflow`] if a value does not fit its declared width.
    pub fn key_of<M: Machine, const Q: usize, const N: usize>(
        &self,
        system: &System<M, Q, N, W>,
        state: &GlobalStateOf<M, Q, N>,
    ) -> Result<Bits<W>, Overflow> {
        match system.reduction(self.reduced) {
            Some(symmetry) => symmetry.key(state),
            None => Bits::pack(state),
        }
    }

    /// How many levels lie below the initial state.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.levels.len() as u32 - 1
    }

    /// How many transitions away from the initial state this one is.
    #[must_use]
    pub fn depth_of(&self, id: Id) -> u32 {
        let (shard, local) = (id.shard(), id.local() as u32);
        self.levels.partition_point(|starts| starts[shard] <= local) as u32 - 1
    }
}

/// A system, and what its run is reduced by.
type Reduced<'s, M, const Q: usize, const N: usize, const W: usize> =
    (&'s System<M, Q, N, W>, Option<&'s Symmetry<GlobalStateOf<M, Q, N>>>);

/// What one thread found in its chunk.
struct Worker<const W: usize> {
    /// The newest successors, not yet in their buckets.
    fresh: Vec<(Bits<W>, Id)>,
    buckets: Vec<Vec<(Bits<W>, Id)>>,
    transitions: u64,
    findings: Findings,
    error: Option<Error>,
}

/// The properties still to be decided.
struct Open {
    transitions: Vec<usize>,
    ends: Vec<usize>,
}

/// Explores a system.
///
/// # Errors
/// If a choice is open, or the initial state does not fit its packing.
pub fn explore<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: &System<M, Q, N, W>,
    limits: &Limits<'_>,
) -> Result<Explored<W>, Error> {
    let begun = Instant::now();
    let threads = limits.threads.clamp(1, SHARDS);
    let mut run = Explored {
        table: Table::default(),
        levels: Vec::new(),
        transitions: 0,
        layered: true,
        incomplete: None,
        findings: Findings::new(system),
        reduced: system.reduction(limits.reduced).is_some(),
    };
    let mut workers: Vec<Worker<W>> = (0..threads)
        .map(|_| Worker {
            fresh: Vec::new(),
            buckets: vec![Vec::new(); SHARDS],
            transitions: 0,
            findings: Findings::new(system),
            error: None,
        })
        .collect();

    let symmetry = system.reduction(limits.reduced);
    let first = run.key_of(system, &system.closed.initial());
    let first = first.map_err(|over| Error::Initial(over.field))?;
    run.table.insert(&first, Id::NONE);
    let (mut low, mut expanded) = ([0; SHARDS], 0u64);
    'levels: loop {
        let high = run.table.lengths();
        let frontier: usize = low.iter().zip(&high).map(|(l, h)| (h - l) as usize).sum();
        if frontier == 0 {
            break;
        }
        let depth = run.levels.len() as u32;
        run.levels.push(low);
        if limits.max_depth.is_some_and(|max| depth >= max) {
            run.incomplete = Some(Incomplete::Depth(depth));
            break;
        }
        let mut begin = 0;
        while begin < frontier {
            let states = run.table.len() as u64;
            let mut block = (BLOCK * expanded).checked_div(run.transitions).unwrap_or(1);
            block = block.clamp(BLOCK_STATES.0, BLOCK_STATES.1);
            if let Some(max) = limits.max_states {
                if states >= max {
                    run.incomplete = Some(Incomplete::States(max));
                    break 'levels;
                }
                block = block.min(max - states);
            }
            if let Some(deadline) = limits.deadline.filter(|d| begun.elapsed() >= *d) {
                run.incomplete = Some(Incomplete::Deadline(deadline));
                break 'levels;
            }
            if let Some(progress) = limits.progress {
                let (transitions, frontier) = (run.transitions, frontier as u64);
                progress(&Progress { states, transitions, depth, frontier });
            }
            let end = frontier.min(begin + block as usize);
            let open = run.findings.open(system);
            expand_block(
                (system, symmetry),
                &run.table,
                (&low, &high),
                begin..end,
                &open,
                &mut workers,
            );
            for worker in &mut workers {
                if let Some(error) = worker.error {
                    return Err(error);
                }
                run.transitions += std::mem::take(&mut worker.transitions);
                run.findings.extend(&worker.findings);
                worker.findings = Findings::new(system);
            }
            run.layered &= insert_block(&mut run.table, &mut workers, end - begin, &high)?;
            expanded += (end - begin) as u64;
            begin = end;
        }
        low = high;
    }
    if let (None, Some((field, at))) = (run.incomplete, run.findings.overflow) {
        run.incomplete = Some(Incomplete::Overflow { field, at });
    }
    Ok(run)
}

impl Findings {
    /// Notes what a transition says about these properties.
    fn look<M: Machine, const Q: usize, const N: usize, const W: usize>(
        &mut self,
        system: &System<M, Q, N, W>,
        properties: &[usize],
        transition: &Transition<'_, GlobalStateOf<M, Q, N>, M::Event>,
        at: Witness,
    ) {
        for property in properties {
            let tests = &system.properties[*property].tests;
            for (test, witness) in tests.iter().zip(&mut self.witnesses[*property]) {
                match test {
                    Test::Implies(holds) => {
                        let Some(holds) = holds(transition) else { continue };
                        self.twins[*property].get_or_insert(at);
                        if !holds {
                            witness.get_or_insert(at);
                        }
                    }
                    Test::Reachable(when) if witness.is_none() && when(transition) => {
                        *witness = Some(at);
                    }
                    _ => {}
                }
            }
        }
    }

    fn open<M: Machine, const Q: usize, const N: usize, const W: usize>(
        &self,
        system: &System<M, Q, N, W>,
    ) -> Open {
        let mut open = Open { transitions: Vec::new(), ends: Vec::new() };
        for (i, property) in system.properties.iter().enumerate() {
            let found = &self.witnesses[i];
            let clean = found.iter().all(Option::is_none);
            match property.kind {
                PropertyKind::Always if clean || self.twins[i].is_none() => {
                    open.transitions.push(i);
                }
                PropertyKind::Reachable if found.contains(&None) => open.transitions.push(i),
                PropertyKind::AtEnd if clean || self.twins[i].is_none() => open.ends.push(i),
                _ => {}
            }
        }
        open
    }
}

/// Expands some of the frontier, each worker a contiguous chunk of it.
fn expand_block<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: Reduced<'_, M, Q, N, W>,
    table: &Table<W>,
    level: (&[u32; SHARDS], &[u32; SHARDS]),
    block: std::ops::Range<usize>,
    open: &Open,
    workers: &mut [Worker<W>],
) {
    let threads = workers.len().min(block.len().div_ceil(WORTH_A_THREAD)).max(1);
    let size = block.len().div_ceil(threads);
    let chunk = |n: usize| {
        (block.start + n * size).min(block.end)..(block.start + (n + 1) * size).min(block.end)
    };
    if let ([only], 1) = (&mut workers[..1], threads) {
        expand_chunk(system, table, level, chunk(0), open, only);
        return;
    }
    std::thread::scope(|scope| {
        for (n, worker) in workers.iter_mut().enumerate().take(threads) {
            scope.spawn(move || expand_chunk(system, table, level, chunk(n), open, worker));
        }
    });
}

fn expand_chunk<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: Reduced<'_, M, Q, N, W>,
    table: &Table<W>,
    (low, high): (&[u32; SHARDS], &[u32; SHARDS]),
    chunk: std::ops::Range<usize>,
    open: &Open,
    worker: &mut Worker<W>,
) {
    // The frontier is the level's part of shard 0, then that of shard 1, and so on.
    let (mut skip, mut left) = (chunk.start, chunk.len());
    for (shard, (low, high)) in low.iter().zip(high).enumerate() {
        let here = (high - low) as usize;
        if skip >= here {
            skip -= here;
            continue;
        }
        let from = *low as usize + skip;
        let to = (*high as usize).min(from + left);
        skip = 0;
        left -= to - from;
        for (local, key) in (from..to).zip(&table.shards[shard].keys()[from..to]) {
            if let Err(ask) = expand(system, Id::new(shard, local), key, open, worker) {
                worker.error.get_or_insert(ask.into());
                return;
            }
            if worker.fresh.len() >= FRESH {
                worker.sort();
            }
        }
        if left == 0 {
            break;
        }
    }
    worker.sort();
}

impl<const W: usize> Worker<W> {
    /// Moves the newest successors into their buckets. In one go, since the buckets are too large for
    /// the cache: a machine that copies the state it has just written would wait for each of them.
    fn sort(&mut self) {
        for item in self.fresh.drain(..) {
            self.buckets[shard_of(hash(&item.0))].push(item);
        }
    }
}

/// One state: its successors into the buckets, and what it says about the properties.
#[inline]
fn expand<M: Machine, const Q: usize, const N: usize, const W: usize>(
    (system, symmetry): Reduced<'_, M, Q, N, W>,
    id: Id,
    key: &Bits<W>,
    open: &Open,
    worker: &mut Worker<W>,
) -> Result<(), OpenChoice> {
    let before = key.unpack();
    let mut successor = 0;
    let mut only_environment = true;
    system.closed.changes(&before, &mut |action, outcome| {
        let at = Witness { state: id, successor: Some(successor) };
        successor += 1;
        // What leaves everything as it is leads nowhere.
        let stays = matches!(outcome, Outcome::To(Change { parts: None, moved: Moved::Nothing }));
        only_environment = only_environment
            && match action {
                _ if stays => true,
                Action::Now(event) | Action::Send(event) => {
                    !system.environment.is_empty() && system.environment.contains(&event.owner())
                }
                Action::Read(_) | Action::Hidden(_) => false,
            };
        let findings = &mut worker.findings;
        let (endings, clause) = match outcome {
            Outcome::To(change) => {
                worker.transitions += 1;
                if !open.transitions.is_empty() {
                    let after = change.of(&before);
                    let transition = Transition { before: &before, action, after: &after };
                    findings.look(system, &open.transitions, &transition, at);
                }
                let key = match symmetry {
                    None => change.pack(&before, key),
                    Some(symmetry) => symmetry.key(&change.of(&before)),
                };
                match key {
                    Ok(key) => worker.fresh.push((key, id)),
                    Err(over) => {
                        findings.overflow.get_or_insert((over.field, at));
                    }
                }
                return;
            }
            Outcome::Violation(clause) => (&mut findings.broken, clause),
            Outcome::Unspecified(clause) => (&mut findings.undefined, clause),
        };
        endings.entry(clause).or_insert(Tally { count: 0, first: at }).count += 1;
    })?;
    if only_environment || !open.ends.is_empty() {
        let end = system.closed.at_end(&before);
        let at = Witness { state: id, successor: None };
        if only_environment && !end {
            worker.findings.stuck.get_or_insert(at);
        }
        for property in open.ends.iter().filter(|_| end) {
            let tests = &system.properties[*property].tests;
            for (test, witness) in tests.iter().zip(&mut worker.findings.witnesses[*property]) {
                let Test::AtEnd(holds) = test else { continue };
                let Some(holds) = holds(&before) else { continue };
                worker.findings.twins[*property].get_or_insert(at);
                if !holds {
                    witness.get_or_insert(at);
                }
            }
        }
    }
    Ok(())
}

/// Moves the buckets into the table, each thread some of the shards. Returns whether all of them
/// lead beyond `high`, the end of the level being expanded.
fn insert_block<const W: usize>(
    table: &mut Table<W>,
    workers: &mut [Worker<W>],
    states: usize,
    high: &[u32; SHARDS],
) -> Result<bool, Error> {
    let threads = workers.len().min(states.div_ceil(WORTH_A_THREAD)).max(1);
    let (full, back) = (AtomicBool::new(false), AtomicBool::new(false));
    let insert = |first: usize, shards: &mut [Shard<W>], workers: &[Worker<W>]| {
        for (n, shard) in shards.iter_mut().enumerate() {
            for worker in workers {
                match insert_bucket(shard, &worker.buckets[first + n]) {
                    Some(oldest) if oldest < high[first + n] => back.store(true, Relaxed),
                    Some(_) => {}
                    None => full.store(true, Relaxed),
                }
            }
        }
    };
    if threads == 1 {
        insert(0, &mut table.shards, workers);
    } else {
        let size = SHARDS.div_ceil(threads);
        let (insert, workers) = (&insert, &*workers);
        std::thread::scope(|scope| {
            for (n, shards) in table.shards.chunks_mut(size).enumerate() {
                scope.spawn(move || insert(n * size, shards, workers));
            }
        });
    }
    for bucket in workers.iter_mut().flat_map(|worker| &mut worker.buckets) {
        bucket.clear();
    }
    if full.into_inner() { Err(Error::Full) } else { Ok(!back.into_inner()) }
}

fn insert_bucket<const W: usize>(shard: &mut Shard<W>, bucket: &[(Bits<W>, Id)]) -> Option<u32> {
    let (batches, rest) = bucket.as_chunks::<BATCH>();
    let mut oldest = u32::MAX;
    for batch in batches {
        oldest = oldest.min(shard.insert(batch)?);
    }
    for item in rest {
        oldest = oldest.min(shard.insert(std::array::from_ref(item))?);
    }
    Some(oldest)
}
