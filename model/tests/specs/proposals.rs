//! The built-in proposals are as expected, and each of them could be otherwise.

#![allow(clippy::unwrap_used)]

use devmig_engine::explore::search::Limits;
use devmig_model::analysis::change::Examined;
use devmig_model::analysis::corpus::{Corpus, builtin as examined};
use devmig_model::analysis::{Explorer, Outcome};
use devmig_model::protocol::size::Scale;
use devmig_model::registry::Library;
use devmig_model::rivals;
use devmig_model::spec::builtin_proposals;

use crate::common::{builtin, errors, proposal};

fn examine(library: &Library) -> Examined {
    let (base, explorer) = (builtin(), Explorer::new(Limits::default(), &|_| ()));
    let proposal = library.proposal.as_ref().unwrap();
    Examined::of(&explorer, (&base, library), proposal, None, (&[], &Scale::default())).unwrap()
}

#[test]
fn every_built_in_proposal_is_as_expected() {
    let explorer = Explorer::new(Limits::default(), &|_| ());
    let corpus = Corpus::of(&explorer, &builtin()).unwrap();
    assert_eq!(corpus.outcome(), Outcome::Expected, "{}", corpus.text());
    assert!(corpus.as_expected);
    insta::assert_snapshot!("corpus", corpus.text());
    // What is cut short is no proof.
    let cut = Limits { max_states: Some(10), ..Limits::default() };
    let corpus = Corpus::of(&Explorer::new(cut, &|_| ()), &builtin()).unwrap();
    assert_eq!(corpus.outcome(), Outcome::Incomplete);
    assert!(corpus.text().contains("NOT as expected"), "{}", corpus.text());
}

/// A proposal that expects nothing could not fail: each has a property that is violated or holds, a clause
/// that is broken, or an answer.
#[test]
fn every_built_in_proposal_expects_something() {
    for (name, text) in builtin_proposals() {
        let library = Library::with_proposal(&name, &text).unwrap();
        let own = library.protocols().into_iter().any(|(_, protocol)| {
            let systems = protocol.systems();
            let proposed = systems.definitions().into_iter();
            let mut proposed =
                proposed.filter(|def| systems.proposed().iter().any(|n| n == def.name()));
            proposed.any(|def| {
                let common = def.common();
                !(common.holds.is_empty()
                    && common.violated.is_empty()
                    && common.expect.breaks.is_empty())
            })
        });
        let proposal = library.proposal.as_ref().unwrap();
        let said = proposal.expects.len() + proposal.schemes.len() + proposal.descriptions.len();
        assert!(own || said > 0 || library.vfio().expect.is_some(), "{name}");
    }
}

/// Turned round, the expectations about schemes and descriptions of every proposal are not met.
#[test]
fn an_expectation_of_a_scheme_or_a_description_can_fail() {
    let mut turned = 0;
    for (name, text) in builtin_proposals() {
        let mut library = Library::with_proposal(&name, &text).unwrap();
        let proposal = library.proposal.as_mut().unwrap();
        for scheme in &mut proposal.schemes {
            match scheme.violated.pop() {
                Some(_) => {}
                None => scheme.violated.push(rivals::Law::Reflexive),
            }
        }
        for description in &mut proposal.descriptions {
            std::mem::swap(&mut description.source, &mut description.destination);
        }
        let found = examine(&library);
        let met = found.schemes.iter().filter(|scheme| scheme.met).count();
        assert_eq!(met, 0, "{name}");
        turned += found.schemes.len();
        // Where both are not descriptions, the answer stays.
        let safe = found.descriptions.iter().filter(|found| found.expected == "safe");
        for description in safe.filter(|found| !SYMMETRIC.contains(&found.about.as_str())) {
            assert!(!description.met, "{name}: {}", description.about);
            turned += 1;
        }
    }
    assert!(turned > 20, "{turned}");
}

/// Cases whose two descriptions are one.
const SYMMETRIC: [&str; 3] = [
    "Equal strings",
    "Two vendors, the same string: taken for compatible",
    "Forward: the new release is on the list of the old one",
];

/// What the program of a system breaks is named, with how often, also where no trace is shown.
#[test]
fn what_is_broken_as_declared_is_named() {
    let text = examine(&proposal("suspend")).text();
    let line = "  breaks vhost-user.suspend.no-reset-device, as declared: 32 transitions end there";
    assert!(text.contains(line), "{text}");
    assert!(!examine(&proposal("status-suspend")).text().contains("  breaks "));
}

#[test]
fn all_proposals_are_found_by_their_files() {
    let explorer = Explorer::new(Limits::default(), &|_| ());
    let names: Vec<String> = builtin_proposals().into_iter().map(|(name, _)| name).collect();
    let found = examined(&explorer, &builtin()).unwrap();
    let found: Vec<(String, String)> =
        found.into_iter().map(|(name, one)| (name, one.proposal)).collect();
    assert_eq!(found.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), names);
    for (name, id) in found {
        assert_eq!(name, format!("proposals/{id}.toml"));
    }
}

#[test]
fn what_can_be_wrong_with_one() {
    let text = "\
[[proposal]]
id = \"one\"
title = \"One\"
about = \"One.\"
rows = [\"S3-99\"]

[[scheme-expect]]
scheme = \"A7 opaque strings\"
violated = [\"roll-back\"]

[[compat-expect]]
about = \"A refusal without a reason.\"
source = \"\"
destination = \"\"
answer = \"refused\"

[[compat-expect]]
about = \"A clause that is no reason.\"
source = \"\"
destination = \"\"
answer = \"refused\"
refused_for = [\"device-model.refusal.early\"]
";
    let found = Library::with_proposal("one.toml", text).unwrap_err();
    insta::assert_snapshot!("what_can_be_wrong_with_a_proposal", errors(&found));
}
