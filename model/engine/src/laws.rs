//! The laws that every machine and system passes, as functions for tests of any system.
//!
//! | law | here |
//! |---|---|
//! | 1: only the owner of an output may refuse it, in a call also the callee | [`nobody_meddles`] |
//! | 2: `stimuli` misses no event that `on` accepts in the bounded domain | [`stimuli_are_complete`] |
//! | 3: packing round-trips | [`packing_round_trips`] |
//! | 4: dropping a droppable clause is noticed by some property | [`dropping_is_noticed`] |
//! | 5: counts and safety verdicts are stateright's; liveness agrees with a naive decider | [`agrees_with_stateright`], [`liveness_agrees`] |
//! | 5, of a system with a symmetry: it is one, and a reduced run has the same verdicts and counts | [`symmetry_is_one`], [`reduced_agrees`] |
//! | 6: every `always` and every `at END` has a reachable twin | [`twins_can_happen`] |
//! | 7: programs keep the rules, or break exactly what they declare | [`programs_keep_the_rules`] |
//! | 8: verdicts do not depend on the size | [`differs_with_size`] |
//!
//! Each returns what it found wrong, in words; [`all`] applies those that need only a system.
//! They enumerate every reachable state several times: apply them to a small instance.
//!
//! ```text
//! assert_eq!(laws::all(system), Vec::<String>::new());
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clause::ClauseId;
use crate::compose::{Closed, GlobalStateOf, Outcome};
use crate::explore::liveness::{self, Graph, States};
use crate::explore::names::{NO_STARVATION, NON_VACUOUS, RULES_KEPT};
use crate::explore::report::{PropertyReport, PropertyVerdict, Report, check};
use crate::explore::search::{Explored, Limits, explore};
use crate::explore::{Check, Error, Options, naive, view};
use crate::machine::{Machine, Stimulus};
use crate::pack::{Bits, Pack};
use crate::rules::{OpenChoice, Rules};
use crate::system::{Expected, Property, PropertyKind, System, Test, Transition};

/// What is wrong, in words; empty if nothing is.
pub type Wrong = Vec<String>;

/// How many findings of one law are worth reading.
const ENOUGH: usize = 10;
/// Above this many states the naive decider is too slow.
const SMALL: usize = 20_000;

/// All laws that need only a system.
pub fn all<M, const Q: usize, const N: usize, const W: usize>(system: System<M, Q, N, W>) -> Wrong
where
    M: Machine + Send + 'static,
{
    every(&system)
        .unwrap_or_else(|error| vec![error.to_string()])
        .into_iter()
        .chain(agrees_with_stateright(Arc::new(system)))
        .collect()
}

fn every<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: &System<M, Q, N, W>,
) -> Result<Wrong, Error> {
    let explored = explore(system, &Limits::default())?;
    let report = check(system, &Options::default())?;
    let mut wrong = Wrong::new();
    if let Some(reason) = &report.incomplete {
        wrong.push(format!("the run is incomplete: {reason}"));
    }
    wrong.extend(nobody_meddles(system, &explored)?);
    wrong.extend(stimuli_are_complete(system, &explored)?);
    wrong.extend(packing_round_trips(system, &explored)?);
    wrong.extend(liveness_agrees(system, &explored, &report)?);
    wrong.extend(symmetry_is_one(system, &explored)?);
    wrong.extend(reduced_agrees(system, &report)?);
    wrong.extend(twins_can_happen(&report));
    wrong.extend(programs_keep_the_rules(&report));
    Ok(wrong)
}

/// Law 1, over all reachable states and all events offered or in a domain.
///
/// # Errors
/// If a choice is open.
pub fn nobody_meddles<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: &System<M, Q, N, W>,
    explored: &Explored<W>,
) -> Result<Wrong, Error> {
    let closed = &system.closed;
    let mut wrong = Wrong::new();
    for world in worlds::<M, Q, N, W>(explored) {
        let mut events = Vec::new();
        closed.machine.domain(&mut |event| events.push(event));
        closed.machine.stimuli(&world.parts, &mut |offer| match offer {
            Stimulus::Guarded(event) | Stimulus::Unguarded(event) => events.push(event),
        });
        for event in events {
            let judge = &mut closed.rules.judge();
            if let Some(name) =
                closed.machine.violates_input_enabledness(&world.parts, &event, judge)?
            {
                wrong.push(format!("{name} refuses {event:?}, which is not its own, in {world:?}"));
            }
        }
        if wrong.len() >= ENOUGH {
            break;
        }
    }
    Ok(wrong)
}

/// Law 2: no event of a participant's bounded domain leads anywhere that `stimuli` does not.
///
/// Participants without a domain (programs, memory) take part only by refusing.
///
/// # Errors
/// If a choice is open.
pub fn stimuli_are_complete<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: &System<M, Q, N, W>,
    explored: &Explored<W>,
) -> Result<Wrong, Error> {
    let closed = &system.closed;
    let mut domain = Vec::new();
    closed.machine.domain(&mut |event| domain.push(event));
    let mut wrong = Wrong::new();
    for world in worlds::<M, Q, N, W>(explored) {
        let offered = successors(closed, &world)?;
        for event in &domain {
            closed.offered(&world, Stimulus::Guarded(*event), &mut |action, outcome| {
                let outcome = outcome.map(|change| change.of(&world));
                let moves = matches!(outcome, Outcome::To(next) if next != world);
                if moves && !offered.contains(&(*action, outcome)) {
                    wrong.push(format!("{event:?} is accepted but not offered in {world:?}"));
                }
            })?;
        }
        if wrong.len() >= ENOUGH {
            break;
        }
    }
    Ok(wrong)
}

/// Law 3: every successor of every reachable state is itself again after packing and unpacking, and
/// has the same key whether it is packed whole or only what changed.
///
/// # Errors
/// If a choice is open.
pub fn packing_round_trips<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: &System<M, Q, N, W>,
    explored: &Explored<W>,
) -> Result<Wrong, Error> {
    let mut wrong = Wrong::new();
    for world in worlds::<M, Q, N, W>(explored) {
        let key = Bits::<W>::pack(&world);
        system.closed.changes(&world, &mut |action, outcome| {
            let Outcome::To(change) = outcome else { return };
            let next = change.of(&world);
            wrong.extend(round_trips::<_, W>(&next));
            if key.and_then(|key| change.pack(&world, &key)) != Bits::pack(&next) {
                wrong.push(format!("{action:?} packs another state than {next:?}"));
            }
        })?;
        if wrong.len() >= ENOUGH {
            break;
        }
    }
    Ok(wrong)
}

/// Law 3 for one value: it packs and unpacks to itself, or it is an overflow; nothing wraps.
#[must_use]
pub fn round_trips<T: Pack + PartialEq + std::fmt::Debug, const W: usize>(
    value: &T,
) -> Option<String> {
    let key = Bits::<W>::pack(value).ok()?;
    let back = key.unpack::<T>();
    (back != *value).then(|| format!("{value:?} unpacks as {back:?}"))
}

/// Law 4: without each of these clauses, some property's verdict is another one.
///
/// # Errors
/// If a choice is open, or an initial state does not fit.
pub fn dropping_is_noticed(
    mut system: impl FnMut(Rules) -> Box<dyn Check>,
    base: &Rules,
    droppable: &[ClauseId],
) -> Result<Wrong, Error> {
    let with = system(*base).check(&Options::default())?;
    let mut wrong = Wrong::new();
    for clause in droppable {
        let without = system(base.without(*clause)).check(&Options::default())?;
        if noticed(&with, &without).is_empty() {
            wrong.push(format!("nothing notices that clause {} is dropped", clause.index()));
        }
    }
    Ok(wrong)
}

/// Law 4 for one clause: the properties that notice that it was dropped. That a run without it is
/// incomplete says nothing.
#[must_use]
pub fn noticed<'a>(with: &'a Report, without: &Report) -> Vec<&'a str> {
    let pairs = with.properties.iter().zip(&without.properties);
    let differs = pairs.filter(|(before, after)| {
        after.verdict != PropertyVerdict::Unknown && before.verdict != after.verdict
    });
    differs.map(|(before, _)| before.name.as_str()).collect()
}

/// Law 5: stateright finds as many states, and the same verdicts.
pub fn agrees_with_stateright<M, const Q: usize, const N: usize, const W: usize>(
    system: Arc<System<M, Q, N, W>>,
) -> Wrong
where
    M: Machine + Send + 'static,
{
    let report = match check(&*system, &Options::default()) {
        Ok(report) => report,
        Err(error) => return vec![error.to_string()],
    };
    match view::run(system) {
        Ok(counts) => view::differences(&counts, &report),
        Err(error) => vec![error.to_string()],
    }
}

/// Law 5: `progress` and each `leads_to` are what the naive decider says, if the graph is small.
///
/// # Errors
/// If a choice is open.
pub fn liveness_agrees<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: &System<M, Q, N, W>,
    explored: &Explored<W>,
    report: &Report,
) -> Result<Wrong, Error> {
    let states = States::new(system, explored)?;
    if states.len() > SMALL {
        return Ok(Wrong::new());
    }
    let mut wrong = Wrong::new();
    let mut compare = |name: &str, bad: bool| {
        let ours = report.property(name).map(|property| property.verdict);
        if (ours == Some(PropertyVerdict::Violated)) != bad {
            wrong.push(format!("{name}: {ours:?}, but the naive decider says violated: {bad}"));
        }
    };
    compare(NO_STARVATION, starves(&states)?);
    let world = |node: usize| states.key(node).unpack();
    for property in &system.properties {
        let of = |f: &dyn Fn(&GlobalStateOf<M, Q, N>) -> bool| -> Vec<bool> {
            (0..states.len()).map(|node| f(&world(node))).collect()
        };
        let mut avoids = false;
        for test in &property.tests {
            if let Test::LeadsTo { from, to } = test {
                avoids |= naive::avoids(&states, &of(from), &of(to))?;
            }
        }
        if property.kind == PropertyKind::LeadsTo {
            compare(&property.name, avoids);
        }
    }
    Ok(wrong)
}

fn starves(graph: &impl Graph) -> Result<bool, Error> {
    let mut union = 0;
    for node in 0..graph.len() {
        union |= graph.owed(node)?;
    }
    for obligation in (0..64).filter(|o| union >> o & 1 == 1) {
        if naive::starves(graph, obligation)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Law 5 for any graph: both deciders say the same.
///
/// # Errors
/// If a choice is open.
pub fn deciders_agree(graph: &impl Graph) -> Result<bool, Error> {
    Ok(liveness::progress(graph)?.is_some() == starves(graph)?)
}

/// Law 5, the declaration: whatever parts change places in whatever reachable state, the same can happen
/// there, with the parts in their new places, and the properties say the same of it.
///
/// # Errors
/// If a choice is open.
pub fn symmetry_is_one<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: &System<M, Q, N, W>,
    explored: &Explored<W>,
) -> Result<Wrong, Error> {
    let mut wrong = Wrong::new();
    let Some(symmetry) = &system.symmetry else { return Ok(wrong) };
    let same = |state: &GlobalStateOf<M, Q, N>| *state;
    for world in worlds::<M, Q, N, W>(explored) {
        // Neighbours suffice: every other order is some of their swaps in a row.
        for one in 0..symmetry.count.saturating_sub(1) {
            let swap = |state: &GlobalStateOf<M, Q, N>| symmetry.swapped(state, one, one + 1);
            let there = seen::<M, Q, N, W>(system, &swap(&world), same)?;
            let key = |state: &_| symmetry.key::<W>(state).ok();
            if there != seen::<M, Q, N, W>(system, &world, swap)?
                || key(&swap(&world)) != key(&world)
            {
                let parts = (symmetry.of, one, one + 1);
                wrong.push(format!("{parts:?} do not change places in {world:?}"));
            }
        }
        if wrong.len() >= ENOUGH {
            break;
        }
    }
    Ok(wrong)
}

/// Where a transition leads (under some arrangement of the parts), or the clause at which it ends, what each
/// property says of it, and what it discharges.
type Seen<const W: usize> = (Result<Bits<W>, (bool, ClauseId)>, Vec<[bool; 2]>, u64);

/// All that is seen of a state.
#[derive(PartialEq)]
struct SeenOf<const W: usize> {
    /// What can happen, in some order that does not depend on the state.
    all: Vec<Seen<W>>,
    /// Whether it is an accepted end, and what properties say of that.
    at_end: (bool, Vec<[bool; 2]>),
    /// What is owed, if the parts owe nothing.
    owed: u64,
    /// What leads to something, and what it leads to, likewise.
    leads_to: Vec<[bool; 2]>,
}

fn seen<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: &System<M, Q, N, W>,
    world: &GlobalStateOf<M, Q, N>,
    arranged: impl Fn(&GlobalStateOf<M, Q, N>) -> GlobalStateOf<M, Q, N>,
) -> Result<SeenOf<W>, Error> {
    let closed = &system.closed;
    let owes_nothing = system.symmetry.as_ref().is_some_and(|symmetry| symmetry.owes_nothing);
    let ask = |on: &dyn Fn(&TestOf<M, Q, N>) -> Option<bool>| {
        let said = |property: &PropertyOf<M, Q, N>| {
            let mut answers = property.tests.iter().map(on);
            let met = answers.clone().any(|answer| answer.is_some());
            [met, answers.any(|answer| answer == Some(false))]
        };
        system.properties.iter().map(said).collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    for (action, outcome) in successors(closed, world)? {
        let did = if owes_nothing { closed.discharges(world, &action).0 } else { 0 };
        let (leads, said) = match outcome {
            Outcome::To(after) => {
                let transition = Transition { before: world, action: &action, after: &after };
                let said = ask(&|test| match test {
                    Test::Implies(holds) => holds(&transition),
                    Test::Reachable(when) => when(&transition).then_some(true),
                    _ => None,
                });
                let Ok(key) = Bits::pack(&arranged(&after)) else { continue };
                (Ok(key), said)
            }
            Outcome::Violation(clause) => (Err((true, clause)), Vec::new()),
            Outcome::Unspecified(clause) => (Err((false, clause)), Vec::new()),
        };
        all.push((leads, said, did));
    }
    all.sort_unstable();
    let at_end = ask(&|test| match test {
        Test::AtEnd(holds) => holds(world),
        _ => None,
    });
    let tests = system.properties.iter().flat_map(|property| &property.tests);
    let leads_to = tests.filter_map(|test| match test {
        Test::LeadsTo { from, to } if owes_nothing => Some([from(world), to(world)]),
        _ => None,
    });
    Ok(SeenOf {
        all,
        at_end: (closed.at_end(world), at_end),
        owed: if owes_nothing { closed.owes(world)?.0 } else { 0 },
        leads_to: leads_to.collect(),
    })
}

type TestOf<M, const Q: usize, const N: usize> =
    Test<GlobalStateOf<M, Q, N>, <M as Machine>::Event>;
type PropertyOf<M, const Q: usize, const N: usize> =
    Property<GlobalStateOf<M, Q, N>, <M as Machine>::Event>;

/// Law 5, the reduced run: it has the verdicts of the whole one, all of them if its parts owe nothing, and each
/// of its states stands for as many as there are arrangements of it. Traces that end are as long; one with a cycle
/// has one too, which may take some more turns. Each is a path of the system.
///
/// # Errors
/// If a choice is open.
pub fn reduced_agrees<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: &System<M, Q, N, W>,
    whole: &Report,
) -> Result<Wrong, Error> {
    let mut wrong = Wrong::new();
    let Some(symmetry) = &system.symmetry else { return Ok(wrong) };
    let limits = Limits { reduced: true, ..Limits::default() };
    let explored = explore(system, &limits)?;
    let mut stand_for = 0;
    for world in worlds::<M, Q, N, W>(&explored) {
        stand_for += symmetry.orbit::<W>(&world).unwrap_or(0) as u64;
    }
    if stand_for != whole.states {
        wrong.push(format!("reduced: for {stand_for} states, not for {}", whole.states));
    }
    let report = check(system, &Options { limits, ..Options::default() })?;
    for property in &whole.properties {
        let found = report.property(&property.name).map(|property| property.verdict);
        let open = found == Some(PropertyVerdict::Unknown) && !symmetry.owes_nothing;
        if !open && found != Some(property.verdict) {
            wrong.push(format!("reduced: `{}` is {found:?}", property.name));
        }
        let shown = |report: &Report| {
            let found = report.property(&property.name)?;
            let trace = found.trace.as_ref()?;
            Some(found.cycle_at.map_or_else(|| Ok(trace.len()), |_| Err("a cycle")))
        };
        let (there, here) = (shown(&report), shown(whole));
        if found == Some(property.verdict) && there != here {
            wrong.push(format!("reduced: `{}`: {there:?} steps, not {here:?}", property.name));
        }
        if report.property(&property.name).is_some_and(|found| !is_a_path(found)) {
            wrong.push(format!("reduced: the trace of `{}` is no path", property.name));
        }
    }
    Ok(wrong)
}

/// Whether each step of a trace begins where the last one ended, and its cycle ends where it began.
fn is_a_path(property: &PropertyReport) -> bool {
    let (mut now, mut begun) = (BTreeMap::new(), BTreeMap::new());
    let begins = property.cycle_at.unwrap_or(usize::MAX);
    let lines = property.trace.as_deref().unwrap_or_default();
    for line in lines {
        for (name, change) in &line.changed {
            let [old, new] = [0, 1].map(|side| change.get(side));
            if now.insert(name, new).is_some_and(|was| was != old) {
                return false;
            }
            if line.n >= begins {
                begun.entry(name).or_insert(old);
            }
        }
    }
    let is_there = property.cycle_at.is_none_or(|at| (1..=lines.len()).contains(&at));
    is_there && begun.iter().all(|(name, old)| now.get(name) == Some(old))
}

/// Law 6: no `always` holds because its antecedent never happens, and no `at END` because no accepted
/// end is reached in which its antecedent holds.
#[must_use]
pub fn twins_can_happen(report: &Report) -> Wrong {
    let named = |name: &str| report.property(&format!("{name}{NON_VACUOUS}"));
    let implications = report.properties.iter().filter(|p| p.kind.is_implication());
    implications
        .filter(|p| named(&p.name).is_none_or(|twin| twin.verdict != PropertyVerdict::Holds))
        .map(|p| format!("the antecedent of `{}` never happens", p.name))
        .collect()
}

/// Law 7: programs break exactly the clauses that the system declares.
#[must_use]
pub fn programs_keep_the_rules(report: &Report) -> Wrong {
    let rules = report.property(RULES_KEPT).filter(|p| p.expected == Expected::Holds);
    match rules.map(|p| (p.verdict, &p.note)) {
        Some((PropertyVerdict::Holds, _)) => Wrong::new(),
        other => {
            let broken: Vec<_> = report.broken.iter().map(|ending| &ending.clause).collect();
            vec![format!("programs break {broken:?} ({other:?})")]
        }
    }
}

/// What two instances of one system say of a property, where they differ: law 8 wants nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sizes {
    /// Verdicts that are others at the further size.
    pub differ: Wrong,
    /// Verdicts that a bound of the run leaves unknown: no proof of anything.
    pub unknown: Wrong,
}

/// Law 8: the verdicts of a system at a further size, against those of its own.
#[must_use]
pub fn differs_with_size(own: &Report, further: &Report) -> Sizes {
    let mut sizes = Sizes::default();
    for property in &own.properties {
        let name = &property.name;
        let there = further.property(name).map(|property| property.verdict);
        match there {
            Some(PropertyVerdict::Unknown) => sizes.unknown.push(name.clone()),
            there if there == Some(property.verdict) => {}
            there => {
                let there = there.map_or("missing".to_owned(), |verdict| verdict.to_string());
                sizes.differ.push(format!("{name}: {}, there {there}", property.verdict));
            }
        }
    }
    sizes
}

fn worlds<M: Machine, const Q: usize, const N: usize, const W: usize>(
    explored: &Explored<W>,
) -> impl Iterator<Item = GlobalStateOf<M, Q, N>> {
    explored.table.shards.iter().flat_map(|shard| shard.keys()).map(Bits::unpack)
}

#[allow(clippy::type_complexity)]
fn successors<M: Machine, const Q: usize, const N: usize>(
    closed: &Closed<M, Q, N>,
    world: &GlobalStateOf<M, Q, N>,
) -> Result<Vec<(crate::compose::Action<M::Event>, Outcome<GlobalStateOf<M, Q, N>>)>, OpenChoice> {
    let mut all = Vec::new();
    closed.successors(world, &mut |action, outcome| all.push((action, outcome)))?;
    Ok(all)
}
