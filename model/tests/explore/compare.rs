//! Comparison: against itself, against mutants, against a naive decider; what bounds and undefined
//! behaviour do to a verdict.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use devmig_engine::clause::ClauseId;
use devmig_engine::explore::behaviour::{
    ANYTHING, Behaviour, CHAOS, ENDED, INITIAL, LOST, Label, Labels, Move, Node, SILENCE, Seen,
    Taken,
};
use devmig_engine::explore::compare::{
    Comparison, Cut, Inclusion, Limits, Verdict, compare, included,
};
use devmig_engine::explore::trace::Line;
use devmig_engine::explore::{Check, Error};
use devmig_model::registry::Library;
use devmig_testing::Premises;
use proptest::prelude::*;

use crate::common::{builtin, proposal};

/// Everything is seen but hidden steps and the reading of messages.
fn set_side_by_side(
    (library_a, a): (&Library, &dyn Check),
    (library_b, b): (&Library, &dyn Check),
    hidden: &dyn Fn(&str) -> bool,
) -> Comparison {
    let clause_a = |id: ClauseId| library_a.spec.clause_name(id).to_owned();
    let clause_b = |id: ClauseId| library_b.spec.clause_name(id).to_owned();
    let seen = Seen { refinement: None, reads: false, hidden, clause: &clause_a };
    let mut left = a.behaviour(seen).unwrap();
    let mut right = b.behaviour(Seen { clause: &clause_b, ..seen }).unwrap();
    let limits = Limits::default();
    compare((a.name(), &mut *left), (b.name(), &mut *right), &limits).unwrap()
}

/// A system of a library under some options, against the same under others.
fn readings(library: &Library, system: &str, a: &[&str], b: &[&str]) -> Comparison {
    let side = |pins: &[&str]| {
        let pins: Vec<_> = pins.iter().map(|pin| library.spec.pin(pin).unwrap()).collect();
        library.find(system, &pins).unwrap()
    };
    set_side_by_side((library, &*side(a)), (library, &*side(b)), &|_| false)
}

#[test]
fn every_system_is_equal_to_itself() {
    for library in [builtin(), proposal("suspend")] {
        for system in library.catalogue(&[]) {
            let all = set_side_by_side((&library, &*system), (&library, &*system), &|_| false);
            assert_eq!(all.verdict, Verdict::Equal, "{}", all.text());
            assert!(all.pairs > 2, "{}", all.text());
        }
    }
}

/// What a base does a proposal does too where it changes nothing, though it knows more messages.
#[test]
fn a_proposal_leaves_alone_what_it_does_not_name() {
    let (base, proposed) = (builtin(), proposal("suspend"));
    assert!(proposed.vhost_user().table.messages.len() > base.vhost_user().table.messages.len());
    for name in ["vhost-user/ring", "vhost-user/two-rings", "vhost-user/save", "example/copy"] {
        let (a, b) = (base.find(name, &[]).unwrap(), proposed.find(name, &[]).unwrap());
        let all = set_side_by_side((&base, &*a), (&proposed, &*b), &|_| false);
        assert_eq!(all.verdict, Verdict::Equal, "{}", all.text());
    }
    let name = "vhost-user/stop-start-with-status";
    let (a, b) = (base.find(name, &[]).unwrap(), proposed.find(name, &[]).unwrap());
    let all = set_side_by_side((&base, &*a), (&proposed, &*b), &|_| false);
    insta::assert_snapshot!("base_against_proposal", all.text());
}

#[test]
fn a_dropped_clause_is_told_apart_by_its_shortest_trace() {
    let library = builtin();
    let (with, without) = ("example/copy", "example/copy-unmarked");
    let (a, b) = (library.find(with, &[]).unwrap(), library.find(without, &[]).unwrap());
    let all = set_side_by_side((&library, &*a), (&library, &*b), &|_| false);
    insta::assert_snapshot!("example_marks_dropped", all.text());
    // What only the copier does tells nothing of a copier that forgets, but that it ends.
    let hidden = |words: &str| words.starts_with("Read");
    let all = set_side_by_side((&library, &*a), (&library, &*b), &hidden);
    insta::assert_snapshot!("example_marks_dropped_unread", all.text());

    let def = library.vhost_user().systems.named("vhost-user/stop-start").unwrap();
    for clause in [
        "vhost-user.ring.stopped-not-processed",
        "vhost-user.get-vring-base.base-is-next-available",
    ] {
        let rules = library.rules(def).without(library.spec.clause(clause).unwrap());
        let mutant = library.vhost_user().check(def, rules);
        let all = set_side_by_side(
            (&library, &*library.find(&def.common.name, &[]).unwrap()),
            (&library, &*mutant),
            &|_| false,
        );
        assert!(all.only_a.is_none() && all.verdict == Verdict::AInB, "{}", all.text());
        insta::assert_snapshot!(format!("without_{clause}"), all.text());
    }
}

#[test]
fn readings_are_told_apart_by_their_shortest_trace() {
    let library = builtin();
    let choice = "vhost-user.get-vring-base.in-flight";
    let (drain, abandon) = (format!("{choice}=drain"), format!("{choice}=abandon"));
    let all = readings(&library, "vhost-user/stop-start", &[&drain], &[&abandon]);
    insta::assert_snapshot!("drain_against_abandon", all.text());
    let library = proposal("suspend");
    let zero = |option| format!("vhost-user.status.zero-while-suspended={option}");
    let [d1, d2, d3] = ["deferred", "stays-suspended", "resumes"].map(zero);
    let system = "vhost-user/suspend-status-0";
    insta::assert_snapshot!("d1_against_d2", readings(&library, system, &[&d1], &[&d2]).text());
    let all = readings(&library, system, &[&d2], &[&d3]);
    assert_eq!(all.verdict, Verdict::Equal, "{}", all.text());
    let system = "vhost-user/suspend-status-0-start";
    insta::assert_snapshot!("d2_against_d3", readings(&library, system, &[&d2], &[&d3]).text());
}

/// A behaviour as it is written down.
#[derive(Clone, Debug)]
struct Automaton(Vec<Vec<Move>>);

impl Automaton {
    /// Edges: from, what is seen, to.
    fn new(nodes: usize, edges: &[(Node, Option<Label>, Node)]) -> Self {
        let mut moves = vec![Vec::new(); nodes];
        for (from, label, to) in edges {
            let from = &mut moves[*from as usize];
            from.push(Move { label: *label, to: *to, successor: from.len() as u32 });
        }
        Automaton(moves)
    }
}

impl Behaviour for Automaton {
    fn moves(&mut self, node: Node, _: &mut Labels) -> Result<&[Move], Error> {
        const CHAOTIC: [Move; 1] = [Move { label: Some(ANYTHING), to: CHAOS, successor: 0 }];
        Ok(match node {
            CHAOS => &CHAOTIC,
            ENDED | LOST => &[],
            node => &self.0[node as usize],
        })
    }

    fn overflow(&self) -> Option<&'static str> {
        self.0.iter().flatten().any(|step| step.to == LOST).then_some("field")
    }

    /// The visible events, one a line.
    fn lines(&self, path: &[Taken], labels: &Labels) -> Result<Vec<Line>, Error> {
        let mut at = INITIAL;
        for Taken { from, step } in path {
            assert!(*from == at && (at == CHAOS || self.0[at as usize].contains(step)));
            at = step.to;
        }
        let visible = path.iter().filter_map(|taken| taken.step.label);
        let line = |label| Line { event: labels.name(label).to_owned(), ..Line::default() };
        Ok(visible.map(line).collect())
    }
}

fn run(a: &Automaton, b: &Automaton, labels: &mut Labels, limits: &Limits<'_>) -> Inclusion {
    included(&mut a.clone(), &mut b.clone(), labels, limits).unwrap()
}

fn words(inclusion: &Inclusion) -> Option<Vec<&str>> {
    let difference = inclusion.difference.as_ref()?;
    assert_eq!(difference.trace.len(), difference.events as usize);
    Some(difference.trace.iter().map(|line| line.event.as_str()).collect())
}

/// A device that hangs after a request does nothing that another does not do as well.
#[test]
fn without_silence_a_device_that_hangs_would_pass() {
    let mut labels = Labels::default();
    let (ask, answer) = (Some(labels.of("ask")), Some(labels.of("answer")));
    let answers = [(0, ask, 1), (1, answer, 0)];
    let quiet = |node| (node, Some(SILENCE), node);
    let good = Automaton::new(2, &[answers[0], answers[1], quiet(0)]);
    let hangs = Automaton::new(2, &[answers[0], quiet(0), quiet(1)]);
    let limits = Limits::default();
    assert_eq!(words(&run(&hangs, &good, &mut labels, &limits)), Some(vec!["ask", "silence"]));
    let deaf = |a: &Automaton| {
        let silent = |step: &Move| step.label == Some(SILENCE);
        let hear = |moves: &Vec<Move>| moves.iter().copied().filter(|m| !silent(m)).collect();
        Automaton(a.0.iter().map(hear).collect())
    };
    assert_eq!(run(&deaf(&hangs), &deaf(&good), &mut labels, &limits).holds(), Some(true));
}

/// After silence only those states are left that may be silent.
#[test]
fn silence_is_remembered() {
    let mut labels = Labels::default();
    let (a, b) = (Some(labels.of("a")), Some(labels.of("b")));
    // Both may be silent, both may do `a` or `b`; only one may do `a` after silence.
    let quiet = |node| (node, Some(SILENCE), node);
    let either = Automaton::new(4, &[(0, None, 1), (0, None, 2), (1, a, 3), (2, b, 3), quiet(2)]);
    let both = Automaton::new(4, &[(0, a, 3), (0, b, 3), quiet(0)]);
    let limits = Limits::default();
    assert_eq!(words(&run(&both, &either, &mut labels, &limits)), Some(vec!["silence", "a"]));
    assert_eq!(run(&either, &both, &mut labels, &limits).holds(), Some(true));
}

#[test]
fn where_no_text_says_what_follows_everything_is_included() {
    let mut labels = Labels::default();
    let (a, b) = (Some(labels.of("a")), Some(labels.of("b")));
    let undefined = Automaton::new(1, &[(0, a, CHAOS)]);
    let defined = Automaton::new(2, &[(0, a, 1), (1, b, 0)]);
    let limits = Limits::default();
    assert_eq!(run(&defined, &undefined, &mut labels, &limits).holds(), Some(true));
    assert_eq!(run(&undefined, &undefined, &mut labels, &limits).holds(), Some(true));
    let back = run(&undefined, &defined, &mut labels, &limits);
    assert_eq!(words(&back), Some(vec!["a", "anything"]));
    assert_eq!(back.difference.unwrap().instead, ["b"]);
}

#[test]
fn what_outgrew_its_packing_is_no_difference() {
    let mut labels = Labels::default();
    let (a, b) = (Some(labels.of("a")), Some(labels.of("b")));
    let lost = Automaton::new(1, &[(0, a, LOST)]);
    let whole = Automaton::new(2, &[(0, a, 1), (1, b, 0)]);
    for (one, other) in [(&lost, &whole), (&whole, &lost)] {
        let inclusion = run(one, other, &mut labels, &Limits::default());
        assert_eq!((inclusion.holds(), inclusion.incomplete), (None, Some(Cut::Overflow("field"))));
    }
}

#[test]
fn a_bound_is_named_and_is_no_proof() {
    let mut labels = Labels::default();
    let (a, b) = (Some(labels.of("a")), Some(labels.of("b")));
    let edges: Vec<_> = (0..9).map(|n| (n, a, n + 1)).collect();
    let long = Automaton::new(10, &edges);
    let other = Automaton::new(11, &[&edges[..], &[(9, b, 10)]].concat());
    let mut cut = |limits: Limits<'_>| run(&other, &long, &mut labels, &limits);
    let limits = Limits::default();
    assert_eq!(cut(Limits { max_pairs: 3, ..limits }).incomplete, Some(Cut::Pairs(3)));
    assert_eq!(cut(Limits { max_depth: Some(9), ..limits }).incomplete, Some(Cut::Depth(9)));
    assert_eq!(cut(Limits { max_depth: Some(9), ..limits }).holds(), None);
    assert_eq!(cut(Limits { max_depth: Some(10), ..limits }).holds(), Some(false));
    let back = run(&long, &other, &mut labels, &limits);
    assert_eq!((back.holds(), back.depth, back.pairs), (Some(true), 9, 10));
    // A cycle of hidden steps ends.
    let idles = Automaton::new(2, &[(0, None, 1), (1, None, 0)]);
    assert_eq!(run(&idles, &long, &mut labels, &limits).holds(), Some(true));

    let library = builtin();
    let system = library.find("vhost-user/ring", &[]).unwrap();
    let clause = |_| String::new();
    let seen = Seen { refinement: None, reads: false, hidden: &|_| false, clause: &clause };
    let (mut a, mut b) = (system.behaviour(seen).unwrap(), system.behaviour(seen).unwrap());
    let limits = Limits { max_pairs: 100, ..limits };
    let all = compare(("a", &mut *a), ("b", &mut *b), &limits).unwrap();
    assert_eq!(all.verdict, Verdict::Incomplete);
    assert_eq!(all.incomplete.as_deref(), Some("stopped at 100 pairs"));
}

/// Random automata are enumerated to this many visible events.
const LONGEST: usize = 6;

/// Every trace of at most [`LONGEST`] events, by walking all ways.
fn traces(automaton: &Automaton) -> BTreeSet<Vec<Label>> {
    let mut seen = BTreeSet::from([(INITIAL, Vec::new())]);
    let mut work: Vec<_> = seen.iter().cloned().collect();
    while let Some((node, trace)) = work.pop() {
        for step in &automaton.0[node as usize] {
            let mut trace = trace.clone();
            trace.extend(step.label);
            if trace.len() <= LONGEST && seen.insert((step.to, trace.clone())) {
                work.push((step.to, trace));
            }
        }
    }
    seen.into_iter().map(|(_, trace)| trace).collect()
}

prop_compose! {
    /// Up to six states; a quarter of the moves hidden.
    fn automata()(nodes in 1u32..6)(
        edges in prop::collection::vec((0..nodes, 0u8..4, 0..nodes), 0..14),
        silent in prop::collection::vec(any::<bool>(), nodes as usize),
    ) -> Automaton {
        let mut labels = Labels::default();
        let [a, b, c] = ["a", "b", "c"].map(|name| labels.of(name));
        let edge = |(from, n, to): &(Node, u8, Node)| {
            (*from, [None, Some(a), Some(b), Some(c)][*n as usize], *to)
        };
        // A path through all nodes: else most of them are never reached.
        let path = (1..silent.len() as Node)
            .map(|node| (node - 1, [Some(a), Some(b), Some(c)][node as usize % 3], node));
        let quiet = silent.iter().enumerate().filter(|(_, quiet)| **quiet);
        let quiet = quiet.map(|(node, _)| (node as Node, Some(SILENCE), node as Node));
        let edges: Vec<_> = edges.iter().map(edge).chain(path).chain(quiet).collect();
        Automaton::new(silent.len(), &edges)
    }
}

/// Two automata: independent of each other, the second with all moves of the first, or the second
/// without one of them; so that neither inclusion nor a difference far from the beginning is rare.
fn pairs() -> impl Strategy<Value = (Automaton, Automaton)> {
    let more = (automata(), automata()).prop_map(|(a, b)| {
        let both = both(&a, &b);
        (a, both)
    });
    let less = (automata(), any::<prop::sample::Index>()).prop_map(|(a, which)| {
        let less = without(&a, which);
        (a, less)
    });
    prop_oneof![1 => (automata(), automata()), 1 => more, 3 => less]
}

/// An automaton without one of its moves.
fn without(a: &Automaton, which: prop::sample::Index) -> Automaton {
    let mut a = a.clone();
    let count = a.0.iter().map(Vec::len).sum::<usize>();
    if count > 0 {
        let mut at = which.index(count);
        for moves in &mut a.0 {
            if at < moves.len() {
                moves.remove(at);
                break;
            }
            at -= moves.len();
        }
    }
    let edges = a.0.iter().enumerate();
    let edges: Vec<_> = edges
        .flat_map(|(from, moves)| moves.iter().map(move |m| (from as Node, m.label, m.to)))
        .collect();
    Automaton::new(a.0.len(), &edges)
}

/// An automaton that can do what one of two can do.
fn both(a: &Automaton, b: &Automaton) -> Automaton {
    let shift = a.0.len() as Node;
    let edges = |automaton: &Automaton, by: Node| -> Vec<(Node, Option<Label>, Node)> {
        let of = |(from, steps): (usize, &Vec<Move>)| -> Vec<(Node, Option<Label>, Node)> {
            steps.iter().map(|step| (from as Node + by, step.label, step.to + by)).collect()
        };
        automaton.0.iter().enumerate().flat_map(of).collect()
    };
    let into = edges(b, 0).into_iter().filter(|edge| edge.0 == INITIAL);
    let into = into.map(|(from, label, to)| (from, label, to + shift));
    let all: Vec<_> = edges(a, 0).into_iter().chain(edges(b, shift)).chain(into).collect();
    Automaton::new(a.0.len() + b.0.len(), &all)
}

#[test]
fn a_naive_decider_agrees() {
    let premises = Premises::new();
    proptest!(ProptestConfig::with_cases(400), |((a, b) in pairs())| {
        let mut labels = Labels::default();
        for name in ["a", "b", "c"] {
            labels.of(name);
        }
        let (mine, theirs) = (traces(&a), traces(&b));
        let shortest = mine.difference(&theirs).map(Vec::len).min();
        let inclusion = run(&a, &b, &mut labels, &Limits::default());
        prop_assert_eq!(inclusion.incomplete, None);
        premises.holds("a difference", inclusion.difference.is_some());
        premises.holds("no difference", inclusion.difference.is_none());
        match &inclusion.difference {
            Some(difference) if difference.events as usize <= LONGEST => {
                premises.met(format!("after {}", difference.events));
                prop_assert_eq!(Some(difference.events as usize), shortest);
                let names: Vec<_> = difference.trace.iter().map(|line| &*line.event).collect();
                let trace: Vec<Label> = names.iter().map(|name| labels.of(name)).collect();
                prop_assert!(mine.contains(&trace) && !theirs.contains(&trace));
            }
            _ => prop_assert_eq!(shortest, None),
        }
        prop_assert_eq!(run(&a, &a, &mut labels, &Limits::default()).holds(), Some(true));
    });
    premises.at_least("a difference", 20);
    premises.at_least("no difference", 20);
    premises.each(["after 1", "after 2", "after 3"], 10);
}
