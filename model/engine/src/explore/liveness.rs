//! Liveness on the explored graph: is there a fair cycle, or an end, where something stays owed?
//!
//! ```text
//!   -> o -> o -> o -> (o) -> ...     obligation o is owed in all states of a cycle that
//!           ^         |              no transition of it discharges
//!           +---------+
//! ```
//!
//! Fairness is per obligation: a cycle counts only if for every obligation p owed in *all* its
//! states some transition inside it discharges p, or in some state of it no enabled transition
//! discharges p. A cycle in which p merely waits although it could be discharged all along is the
//! scheduler's fault, not the rules'. Since this is a condition on sets of states and transitions,
//! a fair cycle exists if and only if a strongly connected component is fair as a whole.
//!
//! A state without any transition violates what it owes. A transition that breaks a rule or is
//! undefined is enabled but leads nowhere: judgement ends there.
//!
//! **Invariants.** Edges are recomputed, not stored. Obligations of [`TimeClass::Courtesy`] count
//! neither as owed nor as a promise. The answer does not depend on the number of threads.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};

use super::Error;
use super::search::Explored;
use super::table::{Id, SHARDS};
use crate::compose::Outcome;
use crate::machine::{Machine, TimeClass};
use crate::pack::Bits;
use crate::system::System;

/// A graph with obligations: nodes are `0..len`, edges have an order.
pub trait Graph {
    /// How many nodes.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The obligations owed in a node, as bits.
    ///
    /// # Errors
    /// If a choice is open.
    fn owed(&self, node: usize) -> Result<u64, Error>;

    /// Everything that is owed in some node.
    ///
    /// # Errors
    /// If a choice is open.
    fn owed_anywhere(&self) -> Result<u64, Error> {
        (0..self.len()).try_fold(0, |all, node| Ok(all | self.owed(node)?))
    }

    /// All enabled transitions: where they lead (`None`: nowhere that was explored) and which
    /// obligations they discharge.
    ///
    /// # Errors
    /// If a choice is open.
    fn edges(&self, node: usize, f: &mut dyn FnMut(Option<usize>, u64)) -> Result<(), Error>;

    /// Whether there is no transition from here at all.
    ///
    /// # Errors
    /// If a choice is open.
    fn is_end(&self, node: usize) -> Result<bool, Error> {
        let mut end = true;
        self.edges(node, &mut |_, _| end = false)?;
        Ok(end)
    }

    /// Whether it is known that there are no cycles.
    fn is_acyclic(&self) -> bool {
        false
    }

    /// Nodes with a smaller rank have a shorter trace.
    fn rank(&self, node: usize) -> u64;
}

/// An edge of a graph: its node and its place in the order of that node's edges.
pub type Edge = (usize, u32);

/// Something stays undone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Starvation {
    /// The obligation, unless the question was about states.
    pub obligation: Option<u32>,
    /// Reached by its shortest path.
    pub root: usize,
    /// From the root to the cycle.
    pub stem: Vec<Edge>,
    /// Repeats for ever; empty if the stem ends where nothing more can or need happen.
    pub cycle: Vec<Edge>,
}

/// Looks for an obligation that can be owed for ever.
///
/// # Errors
/// If a choice is open.
pub fn progress(graph: &impl Graph) -> Result<Option<Starvation>, Error> {
    if graph.owed_anywhere()? == 0 {
        return Ok(None);
    }
    if graph.is_acyclic() {
        return ends(graph);
    }
    // Only what is owed on some cycle, or in an end, matters: most graphs have few such nodes. It is
    // kept, since each edge asks for it.
    let (mut owed, mut union) = (vec![0; graph.len()], 0);
    components(graph, &mut |_| Ok(true), &mut |_| Ok(true), (0, false), &mut |found| {
        for node in found.nodes() {
            owed[*node] = graph.owed(*node)?;
            union |= owed[*node];
        }
        Ok(())
    })?;
    let mut best: Option<(u64, Starvation)> = None;
    for obligation in (0..64).filter(|o| union >> o & 1 == 1) {
        let mut inside = |node: usize| Ok(owed[node] >> obligation & 1 == 1);
        let worst = starving(graph, &mut inside.clone(), &mut inside, (1 << obligation, false))?;
        let Some((node, found)) = worst else { continue };
        let rank = graph.rank(node);
        if best.as_ref().is_none_or(|(least, _)| rank < *least) {
            let cycle = found.cycle(graph, node, 1 << obligation)?;
            let obligation = Some(obligation);
            best = Some((rank, Starvation { obligation, root: node, stem: Vec::new(), cycle }));
        }
    }
    Ok(best.map(|(_, violation)| violation))
}

/// Whether there is any cycle at all.
///
/// # Errors
/// If a choice is open.
pub fn has_cycle(graph: &impl Graph) -> Result<bool, Error> {
    let mut any = false;
    if !graph.is_acyclic() {
        components(graph, &mut |_| Ok(true), &mut |_| Ok(true), (0, false), &mut |found| {
            any |= matches!(found, Found::Component(_));
            Ok(())
        })?;
    }
    Ok(any)
}

/// What is owed in an end with the shortest trace.
fn ends(graph: &impl Graph) -> Result<Option<Starvation>, Error> {
    let mut best: Option<(u64, Starvation)> = None;
    for root in 0..graph.len() {
        let (owed, rank) = (graph.owed(root)?, graph.rank(root));
        let better = best.as_ref().is_none_or(|(least, _)| rank < *least);
        if owed != 0 && better && graph.is_end(root)? {
            let (obligation, stem, cycle) = (Some(owed.trailing_zeros()), Vec::new(), Vec::new());
            best = Some((rank, Starvation { obligation, root, stem, cycle }));
        }
    }
    Ok(best.map(|(_, violation)| violation))
}

/// Looks for a way never to reach `to` after `from`, while all obligations are met. Where nothing is
/// owed, nothing more need happen.
///
/// # Errors
/// If a choice is open.
pub fn leads_to(
    graph: &impl Graph,
    from: &mut dyn FnMut(usize) -> bool,
    to: &mut dyn FnMut(usize) -> bool,
) -> Result<Option<Starvation>, Error> {
    let not_yet: Vec<bool> = (0..graph.len()).map(|node| !to(node)).collect();
    let roots: Vec<bool> = (0..graph.len()).map(|node| not_yet[node] && from(node)).collect();
    let inside = &mut |node: usize| Ok(not_yet[node]);
    let worst = starving(graph, &mut |node| Ok(roots[node]), inside, (0, true))?;
    let Some((node, found)) = worst else { return Ok(None) };
    let mut starts: Vec<usize> = (0..graph.len()).filter(|n| roots[*n]).collect();
    starts.sort_by_key(|n| graph.rank(*n));
    let walk = walk(graph, &starts, &|n| not_yet[n], 0, &|_, n, _| n == Some(node))?;
    let (root, stem) = match walk {
        _ if roots[node] => (node, Vec::new()),
        Some(stem) => (stem.first().map_or(node, |edge| edge.0), stem),
        None => (node, Vec::new()),
    };
    let cycle = found.cycle(graph, node, 0)?;
    Ok(Some(Starvation { obligation: None, root, stem, cycle }))
}

/// A strongly connected component with a cycle, or an end.
#[derive(Clone, Debug)]
enum Found {
    Component(Vec<usize>),
    End(usize),
}

impl Found {
    fn nodes(&self) -> &[usize] {
        match self {
            Found::Component(nodes) => nodes,
            Found::End(node) => std::slice::from_ref(node),
        }
    }

    /// A cycle from `entry` that shows fairness: it meets each obligation's reason.
    fn cycle(&self, graph: &impl Graph, entry: usize, without: u64) -> Result<Vec<Edge>, Error> {
        let Found::Component(nodes) = self else { return Ok(Vec::new()) };
        let owed = nodes.iter().try_fold(0, |all, n| Ok::<_, Error>(all | graph.owed(*n)?))?;
        let reasons = Reasons::of(graph, nodes, without)?;
        let inside = |node: usize| nodes.binary_search(&node).is_ok();
        let (mut at, mut cycle) = (entry, Vec::new());
        let mut wanted = owed;
        loop {
            wanted &= !reasons.states[&at];
            if wanted == 0 {
                break;
            }
            let good = |_: usize, to: Option<usize>, discharged: u64| {
                let there = to.filter(|to| inside(*to)).map_or(0, |to| reasons.states[&to]);
                to.is_some() && wanted & (discharged | there) != 0
            };
            let Some(way) = walk(graph, &[at], &inside, without, &good)? else { break };
            for edge in &way {
                let (to, discharged) = edge_at(graph, *edge)?;
                at = to.unwrap_or(at);
                wanted &= !(discharged | reasons.states.get(&at).copied().unwrap_or(0));
            }
            cycle.extend(way);
        }
        if at != entry || cycle.is_empty() {
            let back = walk(graph, &[at], &inside, without, &|_, to, _| to == Some(entry))?;
            cycle.extend(back.unwrap_or_default());
        }
        Ok(cycle)
    }
}

/// Why a component is fair, obligation by obligation.
struct Reasons {
    /// For each state the obligations that are not owed there, or that nothing there discharges.
    states: BTreeMap<usize, u64>,
    /// Those discharged by a transition inside.
    discharged: u64,
}

impl Reasons {
    fn of(graph: &impl Graph, nodes: &[usize], without: u64) -> Result<Self, Error> {
        let mut reasons = Reasons { states: BTreeMap::new(), discharged: 0 };
        for node in nodes {
            let mut enabled = 0;
            graph.edges(*node, &mut |to, discharges| {
                enabled |= discharges;
                let stays = to.is_some_and(|to| nodes.binary_search(&to).is_ok());
                if stays && discharges & without == 0 {
                    reasons.discharged |= discharges;
                }
            })?;
            reasons.states.insert(*node, !(graph.owed(*node)? & enabled));
        }
        Ok(reasons)
    }

    fn fair(&self) -> bool {
        self.states.values().fold(self.discharged, |all, reason| all | reason) == u64::MAX
    }
}

fn edge_at(graph: &impl Graph, (node, place): Edge) -> Result<(Option<usize>, u64), Error> {
    let (mut found, mut n) = ((None, 0), 0);
    graph.edges(node, &mut |to, discharges| {
        if n == place {
            found = (to, discharges);
        }
        n += 1;
    })?;
    Ok(found)
}

/// The shortest way from one of `starts` inside, whose last edge is `good`: at least one edge.
fn walk(
    graph: &impl Graph,
    starts: &[usize],
    inside: &impl Fn(usize) -> bool,
    without: u64,
    good: &impl Fn(usize, Option<usize>, u64) -> bool,
) -> Result<Option<Vec<Edge>>, Error> {
    let mut came: BTreeMap<usize, Option<Edge>> = starts.iter().map(|n| (*n, None)).collect();
    let mut queue: VecDeque<usize> = starts.iter().copied().collect();
    while let Some(node) = queue.pop_front() {
        let (mut last, mut place) = (None, 0);
        graph.edges(node, &mut |to, discharges| {
            let edge = (node, place);
            place += 1;
            let Some(next) = to.filter(|to| inside(*to) && discharges & without == 0) else {
                return;
            };
            if last.is_none() && good(node, to, discharges) {
                last = Some(edge);
            }
            came.entry(next).or_insert_with(|| {
                queue.push_back(next);
                Some(edge)
            });
        })?;
        if let Some(edge) = last {
            let mut way = vec![edge];
            let mut at = node;
            while let Some(Some(edge)) = came.get(&at) {
                way.push(*edge);
                at = edge.0;
            }
            way.reverse();
            return Ok(Some(way));
        }
    }
    Ok(None)
}

/// The fair component or end with the shortest trace, and its entry, among the nodes reached from
/// `roots` while `inside`, over edges that discharge nothing of `without`; with `rests` a state where
/// nothing is owed is an end too.
fn starving<G: Graph>(
    graph: &G,
    roots: &mut dyn FnMut(usize) -> Result<bool, Error>,
    inside: &mut dyn FnMut(usize) -> Result<bool, Error>,
    (without, rests): (u64, bool),
) -> Result<Option<(usize, Found)>, Error> {
    let mut best: Option<(u64, usize, Found)> = None;
    components(graph, roots, inside, (without, rests), &mut |found| {
        let entry = found.nodes().iter().copied().min_by_key(|n| (graph.rank(*n), *n));
        let Some(entry) = entry else { return Ok(()) };
        let rank = graph.rank(entry);
        if best.as_ref().is_some_and(|(r, n, _)| (*r, *n) <= (rank, entry)) {
            return Ok(());
        }
        let fair = match &found {
            Found::End(_) => true,
            Found::Component(nodes) => Reasons::of(graph, nodes, without)?.fair(),
        };
        if fair {
            best = Some((rank, entry, found));
        }
        Ok(())
    })?;
    Ok(best.map(|(_, entry, found)| (entry, found)))
}

/// Tarjan's algorithm without recursion: calls `f` with every component that has a cycle, its nodes
/// ascending, and with every end.
fn components<G: Graph>(
    graph: &G,
    roots: &mut dyn FnMut(usize) -> Result<bool, Error>,
    inside: &mut dyn FnMut(usize) -> Result<bool, Error>,
    (without, rests): (u64, bool),
    f: &mut dyn FnMut(Found) -> Result<(), Error>,
) -> Result<(), Error> {
    const NEW: u32 = 0;
    const DONE: u32 = u32::MAX;
    struct Frame {
        node: usize,
        order: u32,
        targets: usize,
        next: usize,
        loops: bool,
    }
    // The lowest order reachable while a node is on the stack; then DONE.
    let mut low = vec![NEW; graph.len()];
    let (mut frames, mut stack, mut targets) = (Vec::<Frame>::new(), Vec::new(), Vec::new());
    let mut order = 0;
    for root in 0..graph.len() {
        if low[root] != NEW || !roots(root)? || !inside(root)? {
            continue;
        }
        let mut enter = Some(root);
        loop {
            if let Some(node) = enter.take() {
                let (begin, mut any, mut loops) = (targets.len(), false, false);
                graph.edges(node, &mut |to, discharges| {
                    any = true;
                    if let Some(to) = to.filter(|_| discharges & without == 0) {
                        loops |= to == node;
                        targets.push(to);
                    }
                })?;
                if !any || (rests && graph.owed(node)? == 0) {
                    f(Found::End(node))?;
                }
                order += 1;
                low[node] = order;
                stack.push(node);
                frames.push(Frame { node, order, targets: begin, next: begin, loops });
            }
            let Some(frame) = frames.last_mut() else { break };
            if let Some(to) = targets.get(frame.next).copied() {
                frame.next += 1;
                match low[to] {
                    NEW if inside(to)? => enter = Some(to),
                    NEW | DONE => {}
                    other => low[frame.node] = low[frame.node].min(other),
                }
                continue;
            }
            let Frame { node, order, targets: begin, loops, .. } = *frame;
            frames.pop();
            targets.truncate(begin);
            let lowest = low[node];
            if let Some(parent) = frames.last() {
                low[parent.node] = low[parent.node].min(lowest);
            }
            if lowest == order {
                let at = stack.iter().rposition(|n| *n == node).unwrap_or(0);
                let mut nodes = stack.split_off(at);
                for node in &nodes {
                    low[*node] = DONE;
                }
                if nodes.len() > 1 || loops {
                    nodes.sort_unstable();
                    f(Found::Component(nodes))?;
                }
            }
        }
    }
    Ok(())
}

/// The explored states of a system as a graph: nodes are numbered shard by shard.
pub struct States<'a, M: Machine, const Q: usize, const N: usize, const W: usize> {
    system: &'a System<M, Q, N, W>,
    explored: &'a Explored<W>,
    offsets: [usize; SHARDS],
    len: usize,
    /// Everything that is owed somewhere, courtesies apart.
    union: u64,
    courtesy: u64,
    /// The successors of one node, so that all are looked for at once.
    scratch: RefCell<Vec<(Option<Bits<W>>, u64)>>,
}

impl<'a, M: Machine, const Q: usize, const N: usize, const W: usize> States<'a, M, Q, N, W> {
    /// The graph of a finished run.
    ///
    /// # Errors
    /// If a choice is open.
    pub fn new(system: &'a System<M, Q, N, W>, explored: &'a Explored<W>) -> Result<Self, Error> {
        let mut len = 0;
        let offsets = explored.table.lengths().map(|n| {
            len += n as usize;
            len - n as usize
        });
        let scratch = RefCell::default();
        let mut states = States { system, explored, offsets, len, union: 0, courtesy: 0, scratch };
        let mut union = 0;
        for key in explored.table.shards.iter().flat_map(|shard| shard.keys()) {
            union |= system.closed.owes(&key.unpack())?.0;
        }
        for index in (0..64).filter(|index| union >> index & 1 == 1) {
            if system.closed.obligation(index).class == TimeClass::Courtesy {
                states.courtesy |= 1 << index;
            }
        }
        states.union = union & !states.courtesy;
        Ok(states)
    }

    /// The state of a node.
    #[must_use]
    pub fn id(&self, node: usize) -> Id {
        let shard = self.offsets.partition_point(|offset| *offset <= node) - 1;
        Id::new(shard, node - self.offsets[shard])
    }

    /// The key of a node.
    #[must_use]
    pub fn key(&self, node: usize) -> &Bits<W> {
        self.explored.table.key(self.id(node))
    }
}

impl<M: Machine, const Q: usize, const N: usize, const W: usize> Graph for States<'_, M, Q, N, W> {
    fn len(&self) -> usize {
        self.len
    }

    fn owed(&self, node: usize) -> Result<u64, Error> {
        Ok(self.system.closed.owes(&self.key(node).unpack())?.0 & !self.courtesy)
    }

    fn owed_anywhere(&self) -> Result<u64, Error> {
        Ok(self.union)
    }

    fn edges(&self, node: usize, f: &mut dyn FnMut(Option<usize>, u64)) -> Result<(), Error> {
        let before = self.key(node);
        let world = before.unpack();
        let mut found = self.scratch.take();
        let symmetry = self.system.reduction(self.explored.reduced);
        self.system.closed.changes(&world, &mut |action, outcome| {
            let key = match (outcome, symmetry) {
                (Outcome::To(change), None) => change.pack(&world, before).ok(),
                (Outcome::To(change), Some(symmetry)) => symmetry.key(&change.of(&world)).ok(),
                _ => None,
            };
            if let Some(key) = &key {
                self.explored.table.touch(key);
            }
            found.push((key, self.system.closed.discharges(&world, action).0));
        })?;
        for (key, discharges) in found.drain(..) {
            let id = key.and_then(|key| self.explored.table.find(&key));
            f(id.map(|id| self.offsets[id.shard()] + id.local()), discharges);
        }
        self.scratch.replace(found);
        Ok(())
    }

    fn is_end(&self, node: usize) -> Result<bool, Error> {
        let mut end = true;
        self.system.closed.changes(&self.key(node).unpack(), &mut |_, _| end = false)?;
        Ok(end)
    }

    fn is_acyclic(&self) -> bool {
        self.explored.layered
    }

    fn rank(&self, node: usize) -> u64 {
        u64::from(self.explored.depth_of(self.id(node)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::naive;
    use devmig_testing::Premises;
    use proptest::prelude::*;

    /// Edges with what they discharge; `None` leads out of the graph.
    #[derive(Clone, Debug)]
    struct Small {
        owed: Vec<u64>,
        edges: Vec<Vec<(Option<usize>, u64)>>,
    }

    impl Graph for Small {
        fn len(&self) -> usize {
            self.owed.len()
        }
        fn owed(&self, node: usize) -> Result<u64, Error> {
            Ok(self.owed[node])
        }
        fn edges(&self, node: usize, f: &mut dyn FnMut(Option<usize>, u64)) -> Result<(), Error> {
            self.edges[node].iter().for_each(|(to, discharges)| f(*to, *discharges));
            Ok(())
        }
        fn rank(&self, node: usize) -> u64 {
            node as u64
        }
    }

    /// Graphs in which little is discharged, and those in which most is and little is owed: so that
    /// both verdicts are met.
    fn small() -> impl Strategy<Value = Small> {
        (1..8usize, any::<bool>()).prop_flat_map(|(n, lazy)| {
            let (nothing, something) = if lazy { (3, 1) } else { (1, 4) };
            let discharged = prop_oneof![nothing => Just(0), something => 0..8u64];
            let edge = (proptest::option::weighted(0.95, 0..n), discharged);
            let edges = proptest::collection::vec(proptest::collection::vec(edge, 0..4), n);
            let owed = prop_oneof![something => Just(0), 1 => 0..8u64, nothing => Just(7)];
            let owed = proptest::collection::vec(owed, n);
            (owed, edges).prop_map(|(owed, edges)| Small { owed, edges })
        })
    }

    /// A cycle is one, stays where the obligation is owed, never discharges it, and gives every
    /// other obligation a reason.
    fn is_fair_cycle(graph: &Small, cycle: &[Edge], of: u64) {
        let owed = |n: usize| graph.owed[n];
        let mut reasons = 0;
        for (n, edge) in cycle.iter().enumerate() {
            let (to, discharges) = edge_at(graph, *edge).unwrap();
            assert_eq!(to, Some(cycle[(n + 1) % cycle.len()].0));
            assert_eq!(owed(edge.0) & of, of);
            assert_eq!(discharges & of, 0);
            let enabled = graph.edges[edge.0].iter().fold(0, |all, (_, d)| all | d);
            reasons |= discharges | !(owed(edge.0) & enabled);
        }
        assert_eq!(reasons, u64::MAX);
    }

    #[test]
    fn progress_is_what_the_naive_decider_says() {
        let premises = Premises::new();
        proptest!(ProptestConfig::with_cases(4000), |(graph in small())| {
            let naive = (0..3).any(|o| naive::starves(&graph, o).unwrap());
            let found = progress(&graph).unwrap();
            prop_assert_eq!(found.is_some(), naive);
            premises.holds("it starves", naive);
            premises.holds("it does not starve", !naive);
            if let Some(Starvation { obligation: Some(o), root, cycle, .. }) = found {
                premises.holds("in a cycle", !cycle.is_empty());
                premises.holds("at an end", cycle.is_empty());
                if cycle.is_empty() {
                    prop_assert!(graph.edges[root].is_empty() && graph.owed[root] >> o & 1 == 1);
                } else {
                    prop_assert_eq!(cycle[0].0, root);
                    is_fair_cycle(&graph, &cycle, 1 << o);
                }
            }
        });
        premises.at_least("it starves", 10);
        premises.at_least("it does not starve", 10);
        premises.at_least("in a cycle", 10);
        premises.at_least("at an end", 10);
    }

    #[test]
    fn leads_to_is_what_the_naive_decider_says() {
        let premises = Premises::new();
        let marks = any::<[u8; 2]>();
        proptest!(ProptestConfig::with_cases(4000), |(graph in small(), marks in marks)| {
            let of = |n: usize, bits: u8| bits >> n & 1 == 1;
            let [from, to] = marks.map(|m| (0..graph.len()).map(|n| of(n, m)).collect::<Vec<_>>());
            let found = leads_to(&graph, &mut |n| from[n], &mut |n| to[n]).unwrap();
            prop_assert_eq!(found.is_some(), naive::avoids(&graph, &from, &to).unwrap());
            premises.holds("it is avoided", found.is_some());
            premises.holds("it is not avoided", found.is_none());
            if let Some(Starvation { root, stem, cycle, .. }) = found {
                prop_assert!(from[root] && !to[root]);
                premises.holds("by a stem", !stem.is_empty());
                premises.holds("by a cycle", !cycle.is_empty());
                premises.holds("by an end", cycle.is_empty());
                let mut at = root;
                for edge in &stem {
                    prop_assert_eq!(edge.0, at);
                    at = edge_at(&graph, *edge).unwrap().0.unwrap();
                    prop_assert!(!to[at]);
                }
                match cycle.first() {
                    None => prop_assert!(graph.edges[at].is_empty() || graph.owed[at] == 0),
                    Some(first) => {
                        prop_assert_eq!(first.0, at);
                        prop_assert!(cycle.iter().all(|edge| !to[edge.0]));
                        is_fair_cycle(&graph, &cycle, 0);
                    }
                }
            }
        });
        premises.at_least("it is avoided", 10);
        premises.at_least("it is not avoided", 10);
        premises.at_least("by a stem", 5);
        premises.at_least("by a cycle", 10);
        premises.at_least("by an end", 10);
    }
}
