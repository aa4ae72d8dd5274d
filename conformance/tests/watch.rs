//! Watching, held against recordings: good ones of real parties, and faults in them.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::collections::BTreeSet;
use std::process::Command;

use devmig_conformance::watch::judge::{Judge, Law};
use devmig_conformance::watch::mutate::{self, RECORDINGS, mutated};
use devmig_conformance::watch::record::{Channel, Event, Said, Side, What};
use devmig_conformance::watch::report::Report;
use devmig_engine::rules::Rules;
use devmig_model::protocol::vhost_user::wire::{Flags, Header};
use devmig_model::registry::Library;

fn law() -> Law {
    let library = Library::builtin().unwrap();
    let mut off = library.spec.unobservable();
    off.extend(&library.spec.not_in_force("vhost-user", "10.2").unwrap());
    let rules = Rules { off, choices: library.spec.open() };
    Law::new(library, rules, "10.2").unwrap()
}

/// A kick after the stop may have started a ring again, unless that reading is excluded.
fn strict() -> Law {
    let law = law();
    let forgets = law.library.spec.pin("vhost-user.get-vring-base.kick=forgets").unwrap();
    let rules = law.rules.fixing(forgets.0, forgets.1);
    Law::new(law.library, rules, "10.2").unwrap()
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

/// A front-end acknowledges features on a new connection without asking for them; what its back-end
/// then does, it does because of that.
#[test]
fn a_back_end_is_not_accused_of_what_follows_from_its_front_end() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nothing-asked.jsonl");
    let run = Command::new(env!("CARGO_BIN_EXE_devmig")).args(["replay", file]).output().unwrap();
    let said = String::from_utf8(run.stdout).unwrap();
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.contains("FAIL front-end: vhost-user.protocol-features.gated"), "{said}");
    assert!(!said.contains("FAIL back-end"), "{said}");
}

#[test]
fn every_fault_is_found_first_with_its_clause() {
    let law = law();
    let mutations = mutate::builtin(&law.library).unwrap();
    let mut names = BTreeSet::new();
    for mutation in &mutations {
        assert!(names.insert(&mutation.name), "{} is defined twice", mutation.name);
        let events = mutated(&law.library.vhost_user().table, mutation).unwrap();
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
    let strict = strict();
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

/// A message on the back-end's own channel.
fn on_the_channel(from: Side, id: u32, flags: u32, payload: &[u8], ms: u64) -> Event {
    let size = u32::try_from(payload.len()).unwrap();
    let header = Header { request: id, flags: Flags::from_bits(flags), size };
    let bytes = [&header.encode()[..], payload].concat();
    let channel = Channel::BackEnd;
    Event { ms, what: What::Said(Said { from, channel, bytes, omitted: 0, fds: 0, late: 0 }) }
}

#[test]
fn the_back_end_s_own_messages_are_judged() {
    let law = law();
    // The 18th event answers GET_CONFIG; the 34th answers GET_VRING_BASE, and stops the only ring.
    let heard = |inserted: &[(usize, Event)]| {
        let mut events = mutate::recording("block-qemu-storage-daemon-source").unwrap();
        for (after, event) in inserted.iter().rev() {
            events.insert(*after, event.clone());
        }
        judged(&law, &events)
    };
    let changed = |flags| on_the_channel(Side::BackEnd, 2, flags, &[], 0);
    let answered = on_the_channel(Side::FrontEnd, 2, 5, &[0; 8], 0);
    // Running, with and without an answer; and while it stops, for nobody knows what came first.
    for good in [
        &[(29, changed(1))][..],
        &[(29, changed(9)), (30, answered.clone())],
        &[(32, changed(1))],
        &[(34, changed(1))],
        &[(37, changed(1))],
    ] {
        let report = heard(good);
        assert_eq!(found(&report), [], "{}", report.text());
    }
    let finds = |inserted: &[(usize, Event)], side: Side, clause: &str| {
        let report = heard(inserted);
        assert_eq!(found(&report), [(side, clause)], "{}", report.text());
    };
    // Before there is a channel, and of a feature that was not negotiated.
    let gated = "vhost-user.back-end-message.gated";
    finds(&[(9, changed(1))], Side::BackEnd, gated);
    let call = on_the_channel(Side::BackEnd, 4, 9, &[0; 8], 0);
    finds(&[(29, call)], Side::BackEnd, gated);
    // One answer too many, and one for another message.
    let unasked = "vhost-user.back-end-message.answer-unasked";
    let twice = [(29, changed(9)), (30, answered.clone()), (30, answered.clone())];
    finds(&twice, Side::FrontEnd, unasked);
    let other = on_the_channel(Side::FrontEnd, 3, 5, &[0; 8], 0);
    finds(&[(29, changed(9)), (29, other), (30, answered)], Side::FrontEnd, unasked);
    // A message that the table lacks is counted and not judged.
    let unknown = on_the_channel(Side::BackEnd, 99, 1, &[], 0);
    let report = heard(&[(29, unknown)]);
    assert_eq!(found(&report), []);
    let told = |(what, times): &(String, u64)| what.starts_with("message 99 on") && *times == 1;
    assert!(report.unjudged.iter().any(told), "{:?}", report.unjudged);
}

#[test]
fn a_suspended_back_end_that_speaks_is_found_once_it_has_answered_again() {
    let open = law();
    let law = strict();
    // The tester's, with a channel: BACKEND_REQ and CONFIG are offered and taken.
    let mut events = mutate::recording("tester-device-state").unwrap();
    answer(&mut events, 15, 0, &0xa_0a29_u64.to_ne_bytes());
    let said = |event: &mut Event, payload: u64| {
        if let What::Said(said) = &mut event.what {
            said.bytes.splice(Header::LEN.., payload.to_ne_bytes());
        }
    };
    said(&mut events[4], 0x8_0a29);
    let channel = Header { request: 21, flags: Flags::request(), size: 0 }.encode().to_vec();
    let (from, channel) = (Side::FrontEnd, Said { fds: 1, ..said_on_main(channel) });
    events.insert(7, Event { ms: 4, what: What::Said(Said { from, ..channel }) });
    // It is acknowledged, with REPLY_ACK.
    let reply = Header { request: 21, flags: Flags::reply(), size: 8 }.encode();
    let reply = said_on_main([&reply[..], &[0; 8]].concat());
    events.insert(8, Event { ms: 4, what: What::Said(Said { from: Side::BackEnd, ..reply }) });
    let speaks = |after: usize, flags| {
        let mut events = events.clone();
        events.insert(after, on_the_channel(Side::BackEnd, 2, flags, &[], 21));
        judged(&law, &events)
    };
    // GET_VRING_BASE is answered at 21, SET_DEVICE_STATE_FD at 23.
    for after in [20, 21, 22] {
        assert_eq!(found(&speaks(after, 1)), [], "{}", speaks(after, 1).text());
    }
    let mut spoke = events.clone();
    spoke.insert(23, on_the_channel(Side::BackEnd, 2, 1, &[], 21));
    assert_eq!(found(&judged(&open, &spoke)), [], "a kick may have started the ring again");
    let report = speaks(23, 1);
    let wanted = [(Side::BackEnd, "vhost-user.suspended.no-messages")];
    assert_eq!(found(&report), wanted, "{}", report.text());
    // Stopped and at rest, but for a message of its own that is never answered.
    events.truncate(21);
    events.push(on_the_channel(Side::BackEnd, 2, 9, &[], 21));
    let ends = |ms| Event { ms, what: What::Ends("the time is up".into()) };
    let with = |ms| judged(&law, &[&events[..], &[ends(ms)]].concat());
    assert_eq!(found(&with(1000)), []);
    let wanted = [(Side::FrontEnd, "vhost-user.back-end-message.answered")];
    assert_eq!(found(&with(60_000)), wanted, "{}", with(60_000).text());
}

fn said_on_main(bytes: Vec<u8>) -> Said {
    Said { from: Side::FrontEnd, channel: Channel::Main, bytes, omitted: 0, fds: 0, late: 0 }
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
    assert!(cut.contains("; the recording is truncated"), "{cut}");
    // SET_OWNER with version 2.
    let bad = path(&recording.replace("\"0300000001000000", "\"0300000002000000"));
    let bad = devmig(&["replay", &bad]);
    assert_eq!(bad.status.code(), Some(1));
    let text = String::from_utf8(bad.stdout).unwrap();
    assert!(text.starts_with("FAIL front-end: vhost-user.header.version (MUST)"), "{text}");
    let broken = devmig(&["replay", &path("no recording\n")]);
    assert_eq!(broken.status.code(), Some(2));
    let text = String::from_utf8(broken.stderr).unwrap();
    assert!(text.contains("line 1: not a recording"), "{text}");
    assert_eq!(devmig(&["replay", "/nowhere"]).status.code(), Some(2));
}

#[test]
fn a_report_reads_like_this() {
    let law = law();
    let mutations = mutate::builtin(&law.library).unwrap();
    let fault = mutations.iter().find(|m| m.name == "base-asked-for-with-a-number").unwrap();
    let report = judged(&law, &mutated(&law.library.vhost_user().table, fault).unwrap());
    insta::assert_snapshot!("watch_report", report.text());
    insta::assert_json_snapshot!("watch_report_json", report);
}
