//! Which law each scheme breaks, and how: every cell is pinned.

use std::collections::BTreeSet;

use devmig_model::rivals::{Device, Law, Outcome, Scheme, judge, table, text};

#[test]
fn every_cell() {
    insta::assert_snapshot!(text(&table(), false));
}

/// A host that takes nobody, itself included: no scheme that was proposed is so careful.
struct Nobody;

impl Scheme for Nobody {
    fn name(&self) -> &'static str {
        "nobody"
    }

    fn about(&self) -> &'static str {
        "Nothing is accepted."
    }

    fn hosts(&self) -> Vec<String> {
        vec!["one".to_owned()]
    }

    fn devices(&self) -> Vec<Device> {
        vec![Device { host: 0, made: Default::default(), state: 0 }]
    }

    fn moves(&self, _: &Device, _: usize) -> Outcome {
        Outcome::Refused
    }
}

/// A law that nothing is held against, or that nothing breaks, would say little.
#[test]
fn every_law_is_held_against_something_and_broken_by_something() {
    let rows: Vec<_> = table().into_iter().chain([judge(&Nobody)]).collect();
    for law in Law::ALL {
        let cells = || rows.iter().flat_map(|row| &row.cells).filter(|cell| cell.law == law);
        assert!(cells().any(|cell| cell.holds == Some(true)), "{law}");
        assert!(cells().any(|cell| cell.holds == Some(false)), "{law}");
    }
}

/// What descriptions alone cannot tell, and nothing else, gets past the check.
#[test]
fn the_check_keeps_every_law_but_where_no_description_tells() {
    let broken: Vec<(&str, Law)> = table()
        .iter()
        .filter(|row| row.scheme.ends_with("devmig"))
        .flat_map(|row| row.cells.iter().map(|cell| (row.scheme, cell)))
        .filter(|(_, cell)| cell.holds == Some(false))
        .map(|(scheme, cell)| (scheme, cell.law))
        .collect();
    assert_eq!(broken, [("H6 devmig", Law::Made), ("H7 devmig", Law::Loads)]);
}

/// An opaque string is any relation: of the 64 on three devices that are reflexive, 5 are equivalences.
#[test]
fn most_relations_are_no_equivalence() {
    let pairs: Vec<(usize, usize)> =
        (0..3).flat_map(|a| (0..3).map(move |b| (a, b))).filter(|(a, b)| a != b).collect();
    let relations = (0..1_u32 << pairs.len()).map(|bits| -> BTreeSet<(usize, usize)> {
        let there = pairs.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
        there.map(|(_, pair)| *pair).chain((0..3).map(|a| (a, a))).collect()
    });
    let equivalence = |r: &BTreeSet<(usize, usize)>| {
        r.iter().all(|(a, b)| r.contains(&(*b, *a)))
            && r.iter()
                .all(|(a, b)| r.iter().filter(|(c, _)| c == b).all(|(_, d)| r.contains(&(*a, *d))))
    };
    assert_eq!(relations.clone().count(), 64);
    assert_eq!(relations.filter(equivalence).count(), 5);
}
