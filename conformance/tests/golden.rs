//! The golden states of the reference NIC: the files are what is written today, every release and encoder
//! loads them and writes them again, and a change of how state is written fails here.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::path::{Path, PathBuf};

use devmig_conformance::device_model::golden::{Golden, builtin, read};
use devmig_conformance::device_model::transport::Transport;
use devmig_model::device_model::check;
use devmig_reference::nic::{
    Build, Encoder, Given, Link, Mutant, Nic, NicConfig, Order, Release, model,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../reference-impl/golden")
}

#[test]
fn the_files_are_what_is_written() {
    let (kept, now) = (read(&folder()).unwrap(), builtin().unwrap());
    assert_eq!(kept.len(), now.len());
    for golden in now {
        let same =
            |kept: &&Golden| Path::new(&kept.name).file_stem().unwrap() == golden.name.as_str();
        let kept = kept.iter().find(same).expect("a file for each");
        assert_eq!(
            (&kept.instance, &kept.states),
            (&golden.instance, &golden.states),
            "{}",
            golden.name
        );
    }
}

/// The vhost-user states that such a build does not load, or writes otherwise.
fn wrong(build: Build) -> Vec<String> {
    let host = model::implementation(build.release).unwrap();
    let mut wrong = Vec::new();
    let mut tried = 0;
    for golden in read(&folder()).unwrap() {
        let Ok(configuration) = check(&golden.instance, &host) else { continue };
        tried += 1;
        let given = configuration.parameters().iter();
        let given = given.map(|(name, value)| (name.to_string(), Given::Value(value.clone())));
        let model = configuration.model().to_string();
        let order = Order { model, version: None, given: given.collect(), build };
        let mut nic = Nic::new(NicConfig::make(&order).unwrap(), Link::Nobody);
        let state = &golden.states[&Transport::VhostUser];
        if nic.load(state).is_err() || nic.save() != *state {
            wrong.push(golden.name);
        }
    }
    assert!(tried >= 7, "{tried}");
    wrong
}

#[test]
fn every_release_and_encoder_loads_them_and_writes_them_again() {
    for release in Release::ALL {
        for encoder in [Encoder::First, Encoder::Second] {
            let wrong = wrong(Build { release, encoder, mutant: None });
            assert!(wrong.is_empty(), "{release} {encoder:?}: {wrong:?}");
        }
    }
}

/// What a device notices of itself is no help here: each of these reads what it wrote.
#[test]
fn another_way_of_writing_is_noticed() {
    let all = read(&folder()).unwrap().len();
    for (mutant, encoder) in [
        (Mutant::EncodersDiffer, Encoder::Second),
        (Mutant::NoIdentity, Encoder::First),
        (Mutant::LoadForgets, Encoder::First),
    ] {
        let wrong = wrong(Build { encoder, mutant: Some(mutant), ..Build::default() });
        assert_eq!(wrong.len(), all, "{mutant}: {wrong:?}");
    }
    let build = |mutant| Build { mutant: Some(mutant), ..Build::default() };
    assert!(!wrong(build(Mutant::AbsenceChanges)).is_empty());
}
