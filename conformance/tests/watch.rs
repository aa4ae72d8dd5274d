//! Watching, held against recordings: good ones of real parties, and faults in them.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::collections::BTreeSet;
use std::process::Command;

use devmig_conformance::watch::judge::{Judge, Law};
use devmig_conformance::watch::mutate::{self, RECORDINGS, mutated};
use devmig_conformance::watch::record::{Event, Side, What};
use devmig_conformance::watch::report::Report;
use devmig_model::library::Library;
use devmig_model::rules::Rules;
use devmig_model::vhost_user::wire::Header;

fn law() -> Law {
    let library = Library::builtin().unwrap();
    let mut off = library.spec.unobservable();
    off.extend(&library.spec.not_in_force("vhost-user", "10.2").unwrap());
    let rules = Rules { off, choices: library.spec.open() };
    Law::new(library, rules, "10.2").unwrap()
}

fn judged(law: &Law, events: &[Event]) -> Report {
    let mut judge = Judge::new(law);
    events.iter().for_each(|event| judge.take(event));
    judge.report()
}

/// Who broke what, in the order in which it was found.
fn found(report: &Report) -> Vec<(Side, &str)> {
    report.findings.iter().map(|f| (f.party, f.clause.as_str())).collect()
}

#[test]
fn nothing_is_found_in_what_real_parties_said() {
    let law = law();
    for (name, _) in RECORDINGS {
        let report = judged(&law, &mutate::recording(name).unwrap());
        assert_eq!(found(&report), [], "{name}: {}", report.text());
        assert!(report.over.is_none(), "{name}: {:?}", report.over);
        assert!(report.messages > 10, "{name}");
    }
}

#[test]
fn every_fault_is_found_first_with_its_clause() {
    let law = law();
    let mutations = mutate::builtin(&law.library).unwrap();
    let mut names = BTreeSet::new();
    for mutation in &mutations {
        assert!(names.insert(&mutation.name), "{} is there twice", mutation.name);
        let events = mutated(&law.library.table, mutation).unwrap();
        let report = judged(&law, &events);
        let first = found(&report).first().copied();
        let wanted = Some((Side::FrontEnd, mutation.clause.as_str()));
        assert_eq!(first, wanted, "{}: {}", mutation.name, report.text());
        let about = report.findings.iter().filter(|f| f.party == Side::BackEnd).count();
        assert_eq!(about, 0, "{} is held against the back-end: {}", mutation.name, report.text());
    }
}

/// Changes the payload of the nth answer to a message.
fn answer(events: &mut [Event], id: u32, nth: usize, payload: &[u8]) {
    let answers = events.iter_mut().filter_map(|event| match &mut event.what {
        What::Said(said) if said.from == Side::BackEnd => {
            let header = Header::decode(*said.bytes.first_chunk().unwrap());
            (header.request == id).then_some(said)
        }
        _ => None,
    });
    let said = answers.into_iter().nth(nth).unwrap();
    let head = Header::decode(*said.bytes.first_chunk().unwrap());
    let size = u32::try_from(payload.len()).unwrap();
    said.bytes = [&Header { size, ..head }.encode()[..], payload].concat();
}

#[test]
fn a_back_end_is_judged_too() {
    let law = law();
    let good = || mutate::recording("tester-device-state").unwrap();
    let finds = |events: &[Event], clause: &str| {
        let report = judged(&law, events);
        assert_eq!(found(&report).first(), Some(&(Side::BackEnd, clause)), "{}", report.text());
    };
    // A base beyond what the guest made available, as the memory shows.
    let mut events = good();
    answer(&mut events, 11, 0, &[0, 0, 0, 0, 9, 0, 0, 0]);
    finds(&events, "vhost-user.get-vring-base.base-is-next-available");
    // An answer for another ring, and one of the wrong length.
    let mut events = good();
    answer(&mut events, 11, 0, &[1, 0, 0, 0, 2, 0, 0, 0]);
    finds(&events, "vhost-user.reply.payload");
    let mut events = good();
    answer(&mut events, 11, 0, &[0; 4]);
    finds(&events, "vhost-user.reply.payload");
    // An answer twice.
    let mut events = good();
    let at =
        events.iter().position(|e| matches!(&e.what, What::Said(s) if s.from == Side::BackEnd));
    let again = events[at.unwrap()].clone();
    events.insert(at.unwrap() + 1, again);
    finds(&events, "vhost-user.reply.unasked");
    // It goes away in the middle.
    let mut events = good();
    events.truncate(12);
    events.push(Event { ms: 30, what: What::Closed(Side::BackEnd) });
    finds(&events, "vhost-user.connection.close-exceptional");
    assert!(!judged(&law, &events).fails(), "closing is advised against, no more");
}

#[test]
fn a_write_after_the_stop_is_seen_when_the_ring_goes_on() {
    let law = law();
    let mut events = mutate::recording("tester-device-state").unwrap();
    let indices = events.iter_mut().filter_map(|event| match &mut event.what {
        What::Indices { used, resumes: Some(_), .. } => Some(used),
        _ => None,
    });
    // The first is that of a ring that was never stopped before.
    for used in indices {
        *used += 1;
    }
    // A kick after the stop may have started the ring again, unless that reading is excluded.
    let forgets = law.library.spec.pin("vhost-user.get-vring-base.kick=forgets").unwrap();
    let rules = law.rules.fixing(forgets.0, forgets.1);
    let strict = Law::new(Library::builtin().unwrap(), rules, "10.2").unwrap();
    let report = judged(&strict, &events);
    let clauses: Vec<&str> = report.findings.iter().map(|f| f.clause.as_str()).collect();
    assert!(clauses.contains(&"vhost-user.ring.available-only"), "{}", report.text());
    // A guest that had more to offer: only the stop forbids it then, unless a kick after the stop
    // may have started the ring again.
    let mut events = mutate::recording("tester-device-state").unwrap();
    for event in &mut events {
        if let What::Indices { available, used, resumes, .. } = &mut event.what {
            *available += 5;
            *used += u16::from(resumes.is_some_and(|base| base > 0));
        }
    }
    let report = judged(&strict, &events);
    let wanted = [(Side::BackEnd, "vhost-user.ring.stopped-not-processed")];
    assert_eq!(found(&report), wanted, "{}", report.text());
    assert_eq!(found(&judged(&law, &events)), [], "a reading that allows it is left");
}

#[test]
fn an_answer_that_never_comes_is_found_once_patience_is_over() {
    let law = law();
    let mut events = mutate::recording("tester-device-state").unwrap();
    events.truncate(3);
    let ends = |ms| Event { ms, what: What::Ends("the time is up".into()) };
    events.push(ends(1000));
    assert_eq!(found(&judged(&law, &events)), []);
    events.pop();
    events.push(ends(60_000));
    assert_eq!(found(&judged(&law, &events)), [(Side::BackEnd, "vhost-user.reply.must")]);
}

#[test]
fn replay_gives_the_verdict_as_its_exit_code() {
    let devmig = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_devmig")).args(arguments).output().unwrap()
    };
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/recordings/tester-device-state.jsonl");
    let good = devmig(&["replay", file]);
    assert_eq!(good.status.code(), Some(0));
    let text = String::from_utf8(good.stdout).unwrap();
    assert!(
        text.ends_with("the front-end closed the connection; 0 findings, 0 warnings\n"),
        "{text}"
    );
    let json = devmig(&["replay", file, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((json["schema"].as_u64(), json["messages"].as_u64()), (Some(1), Some(34)));
    let folder = tempfile::tempdir().unwrap();
    let path = |text: &str| {
        let path = folder.path().join("r.jsonl");
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let recording = std::fs::read_to_string(file).unwrap();
    let cut = path(&recording[..recording.len() - 9]);
    let cut = String::from_utf8(devmig(&["replay", &cut]).stdout).unwrap();
    assert!(cut.contains("; the recording is cut off"), "{cut}");
    // SET_OWNER with version 2.
    let bad = path(&recording.replace("\"0300000001000000", "\"0300000002000000"));
    let bad = devmig(&["replay", &bad]);
    assert_eq!(bad.status.code(), Some(1));
    let text = String::from_utf8(bad.stdout).unwrap();
    assert!(text.starts_with("FAIL front-end: vhost-user.header.version (MUST)"), "{text}");
    let broken = devmig(&["replay", &path("no recording\n")]);
    assert_eq!(broken.status.code(), Some(2));
    let text = String::from_utf8(broken.stderr).unwrap();
    assert!(text.contains("line 1: no head of a recording"), "{text}");
    assert_eq!(devmig(&["replay", "/nowhere"]).status.code(), Some(2));
}
