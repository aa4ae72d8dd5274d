//! Coverage of the clauses: every MUST is carried, or somebody said why not; and a gap, or an
//! exception without one, is noticed.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::collections::BTreeMap;

use devmig_conformance::coverage;
use devmig_model::registry::Library;
use devmig_model::spec::{Exception, Lack};

#[test]
fn every_must_is_carried_or_somebody_said_why_not() {
    let coverage = coverage::of(&Library::builtin().unwrap()).unwrap();
    let lacks = coverage.clauses.iter().filter(|clause| !clause.lacks.is_empty());
    let lacks: Vec<_> = lacks.map(|clause| (&clause.id, &clause.lacks)).collect();
    assert!(lacks.is_empty(), "{lacks:?}");
    assert!(coverage.stale.is_empty(), "{:?}", coverage.stale);
}

#[test]
fn a_gap_without_a_reason_is_noticed() {
    let library = Library::builtin().unwrap();
    let coverage = coverage::derive(&library, &[], &BTreeMap::new()).unwrap();
    let lacks = |id: &str| {
        let clause = coverage.clauses.iter().find(|clause| clause.id == id).unwrap();
        clause.lacks.clone()
    };
    assert_eq!(lacks("vhost-user.get-vring-base.packed"), [Lack::Test, Lack::Mutant]);
    assert_eq!(lacks("vhost-user.features.offered-only"), [Lack::Watch]);
    assert_eq!(lacks("vhost-user.reply.must"), []);
}

#[test]
fn an_exception_without_a_gap_is_noticed() {
    let library = Library::builtin().unwrap();
    let clauses = vec![library.spec.clause("vhost-user.reply.must").unwrap()];
    let exception = Exception { clauses, lacks: vec![Lack::Test], reason: "none".into() };
    let coverage = coverage::derive(&library, &[exception], &BTreeMap::new()).unwrap();
    assert_eq!(coverage.stale, ["vhost-user.reply.must lacks no test"]);
}

#[test]
fn a_recording_carries_a_clause() {
    let library = Library::builtin().unwrap();
    let id = "vhost-user.features.offered-only";
    let recordings = BTreeMap::from([(id.to_owned(), vec!["lies".to_owned()])]);
    let coverage = coverage::derive(&library, &[], &recordings).unwrap();
    let clause = coverage.clauses.iter().find(|clause| clause.id == id).unwrap();
    assert!(clause.lacks.is_empty());
}
