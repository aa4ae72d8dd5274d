//! The messages of the text, and judging by one version of it.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use devmig_engine::estimate::{Fault, StateEstimate};
use devmig_engine::machine::{Machine, Reaction, TimeClass};
use devmig_engine::rules::Rules;
use devmig_model::protocol::vhost_user::event::{BackEndMessage, Event, Message, MessageId, Value};
use devmig_model::protocol::vhost_user::machine::{MAX_RINGS, VhostUser};
use devmig_model::protocol::vhost_user::state::State;
use devmig_model::registry::Library;

use crate::common::builtin;

type Tester = VhostUser<MAX_RINGS>;

#[test]
fn every_message_of_the_text_has_a_place() {
    let library = builtin();
    let ids: BTreeSet<u32> = library.vhost_user().table.messages.iter().map(|m| m.id).collect();
    assert!(ids.into_iter().eq(1..=45));
    let own: Vec<u32> = library.vhost_user().table.back_end.iter().map(|m| m.id).collect();
    assert_eq!(own, (1..=10).collect::<Vec<_>>());
    let bits: Vec<u8> = library.vhost_user().table.features.iter().map(|f| f.bit).collect();
    assert_eq!(bits, (0..=23).collect::<Vec<_>>());
}

#[test]
fn a_text_knows_what_it_has() {
    let line = |version: &str| {
        let table = builtin().by_text("vhost-user", version).unwrap().vhost_user().table.clone();
        let known = |since: &usize| table.knows(*since);
        let messages = table.messages.iter().filter(|m| known(&m.since)).count();
        let own = table.back_end.iter().filter(|m| known(&m.since)).count();
        format!("{version:8} {messages:3} {own:3} {:3}", table.features.len())
    };
    let library = builtin();
    let source = library.spec.sources().iter().find(|s| s.id == "vhost-user").unwrap();
    let lines: Vec<_> = source.versions.iter().map(|v| line(&v.name)).collect();
    insta::assert_snapshot!(lines.join("\n"));
    insta::assert_snapshot!(
        builtin().by_text("vhost-user", "10.3").unwrap_err(),
        @"`vhost-user` has no version `10.3`"
    );
}

fn tester(version: &str) -> (Library, Rules) {
    let library = builtin().by_text("vhost-user", version).unwrap();
    let rules = library.spec.judged_by("vhost-user", version).unwrap();
    (library, rules)
}

/// A connection on which everything was offered and acknowledged.
fn negotiated() -> State<MAX_RINGS> {
    let all = Value(u64::MAX);
    let mut state = State::new();
    (state.offered, state.features) = (all, all);
    (state.protocol_offered, state.protocol) = (all, all);
    state
}

fn message(library: &Library, name: &str, value: u64) -> Message {
    let id = library.vhost_user().table.named(name).unwrap();
    Message { id, value: Value(value), ..Message::default() }
}

/// What a message comes to, as the clause that it breaks.
fn breaks(version: &str, name: &str, state: &State<MAX_RINGS>) -> Option<String> {
    let (library, rules) = tester(version);
    let event = Event::Message(message(&library, name, 0));
    let rules = Rules { choices: library.spec.defaults(), ..rules };
    match library.vhost_user().tester().on(state, &event, &mut rules.judge()).unwrap() {
        Reaction::Violation(clause) => Some(library.spec.clause_name(clause).to_owned()),
        _ => None,
    }
}

#[test]
fn a_message_that_is_newer_than_the_text_belongs_to_no_feature_of_it() {
    let gated = Some("vhost-user.message.gated".to_owned());
    let state = negotiated();
    assert_eq!(breaks("10.2", "GET_SHMEM_CONFIG", &state), gated);
    assert_eq!(breaks("posted", "GET_SHMEM_CONFIG", &state), None);
    assert_eq!(breaks("11.0", "GET_VRING_BASE_SKIP_DRAIN", &state), gated);
    assert_eq!(breaks("2022-05", "GET_SHARED_OBJECT", &state), gated);
    assert_eq!(breaks("2023-10", "GET_SHARED_OBJECT", &state), None);
}

/// Every message with a gate, without what opens it.
#[test]
fn no_message_passes_its_gate_unasked() {
    let library = builtin();
    let nothing = State::new();
    let gates = library
        .vhost_user()
        .table
        .messages
        .iter()
        .filter(|m| m.gate.is_some() || m.virtio.is_some());
    let names: Vec<_> = gates.map(|m| m.name.clone()).collect();
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        let broken = breaks("posted", &name, &nothing);
        assert_eq!(broken.as_deref(), Some("vhost-user.message.gated"), "{name}");
        assert_ne!(breaks("posted", &name, &negotiated()), broken, "{name}");
    }
}

#[test]
fn no_message_of_the_back_ends_own_passes_its_gate_unasked() {
    let library = builtin();
    let machine = library.vhost_user().tester();
    let rules = Rules { choices: library.spec.defaults(), ..Rules::default() };
    let mut open = negotiated();
    open.channel = true;
    let mut shut = State { channel: true, ..State::new() };
    for index in 0..library.vhost_user().table.back_end.len() as u8 {
        let id = MessageId(index);
        let event = Event::BackEndMessage(BackEndMessage { id, ..BackEndMessage::default() });
        let gated =
            Reaction::Violation(library.spec.clause("vhost-user.back-end-message.gated").unwrap());
        assert_eq!(machine.on(&shut, &event, &mut rules.judge()).unwrap(), gated);
        assert_ne!(machine.on(&open, &event, &mut rules.judge()).unwrap(), gated);
        // Without a channel there is nothing to say it on.
        let mute = State { channel: false, ..open };
        assert_eq!(machine.on(&mute, &event, &mut rules.judge()).unwrap(), gated);
    }
    // While the device is suspended it says nothing.
    shut = open;
    shut.ever_started = true;
    let event = Event::BackEndMessage(BackEndMessage { id: MessageId(1), ..Default::default() });
    let silent = library.spec.clause("vhost-user.suspended.no-messages").unwrap();
    assert_eq!(machine.on(&shut, &event, &mut rules.judge()).unwrap(), Reaction::Violation(silent));
}

/// A ring with a request in flight is stopped.
fn stopped<'m>(machine: &'m Tester, library: &Library, rules: Rules) -> StateEstimate<'m, Tester> {
    let mut possible = StateEstimate::new(machine, rules);
    let send = |possible: &mut StateEstimate<'m, Tester>, name: &str, value: u64| {
        possible.send(Event::Message(message(library, name, value)));
    };
    let features = Value(1 << 30);
    let id = library.vhost_user().table.named("GET_FEATURES").unwrap();
    send(&mut possible, "GET_FEATURES", 0);
    let answer = Event::Reply { id, ring: 0, value: features, descriptors: 0 };
    possible.observe(&answer).unwrap();
    send(&mut possible, "SET_FEATURES", 1 << 30);
    for (name, value) in [("SET_VRING_NUM", 2), ("SET_VRING_KICK", 0), ("SET_VRING_ENABLE", 1)] {
        send(&mut possible, name, value);
    }
    send(&mut possible, "GET_FEATURES", 0);
    possible.observe(&answer).unwrap();
    for _ in 0..2 {
        possible.did(&Event::Available { ring: 0 }).unwrap();
    }
    possible.did(&Event::Kick { ring: 0, front_end: false }).unwrap();
    // The second came back, so the first was fetched.
    possible.observe(&Event::Used { ring: 0, request: 1 }).unwrap();
    send(&mut possible, "GET_VRING_BASE", 0);
    possible
}

/// GET_VRING_BASE by its two texts: what is in flight may be dropped by the one, not by the other.
#[test]
fn get_vring_base_is_judged_by_the_text_that_was_chosen() {
    let judged = |version: &str, first: bool| {
        let (library, rules) = tester(version);
        let machine = library.vhost_user().tester();
        let mut possible = stopped(&machine, &library, rules);
        if first {
            possible.observe(&Event::Used { ring: 0, request: 0 }).unwrap();
        }
        let id = library.vhost_user().table.named("GET_VRING_BASE").unwrap();
        let reply = Event::Reply { id, ring: 0, value: Value(2), descriptors: 0 };
        match possible.observe(&reply) {
            Ok(()) => Vec::new(),
            Err(Fault::Broken { clauses, .. }) => {
                clauses.iter().map(|c| library.spec.clause_name(*c).to_owned()).collect()
            }
            Err(other) => panic!("{other}"),
        }
    };
    // Where the message was not read yet, an answer to it is one that nobody asked for.
    let expected = ["vhost-user.get-vring-base.in-flight-first", "vhost-user.reply.unasked"];
    assert_eq!(judged("11.0", false), expected);
    assert_eq!(judged("11.0", true), Vec::<String>::new());
    assert_eq!(judged("10.2", false), Vec::<String>::new());
    assert_eq!(judged("10.2", true), Vec::<String>::new());
}

/// The points at which the text demands an acknowledgement with no word of need_reply.
#[test]
fn an_acknowledgement_that_nobody_asked_for_tells_the_readings_apart() {
    let (library, rules) = tester("10.2");
    let machine = library.vhost_user().tester();
    let id = library.vhost_user().table.named("SET_BACKEND_REQ_FD").unwrap();
    let acknowledgement = Event::Reply { id, ring: 0, value: Value(0), descriptors: 0 };
    let mut conversation = StateEstimate::new(&machine, rules);
    let answer = |possible: &mut StateEstimate<'_, Tester>, name: &str, value: u64| {
        possible.send(Event::Message(message(&library, name, 0)));
        let id = library.vhost_user().table.named(name).unwrap();
        let reply = Event::Reply { id, ring: 0, value: Value(value), descriptors: 0 };
        possible.observe(&reply).unwrap();
    };
    answer(&mut conversation, "GET_FEATURES", 1 << 30);
    answer(&mut conversation, "GET_PROTOCOL_FEATURES", 1 << 3 | 1 << 5);
    let set = message(&library, "SET_PROTOCOL_FEATURES", 1 << 3 | 1 << 5);
    conversation.send(Event::Message(set));
    conversation.send(Event::Message(message(&library, "SET_BACKEND_REQ_FD", 0)));
    let choice = library.spec.choice("vhost-user.reply-ack.without-need-reply").unwrap();
    let asked = rules.fixing(choice, library.spec.option(choice, "asked").unwrap());
    // Silence is fine by one reading, so it is no fault while both are open.
    conversation.silent(TimeClass::Reply).unwrap();
    let mut other = StateEstimate::new(&machine, asked);
    answer(&mut other, "GET_FEATURES", 1 << 30);
    answer(&mut other, "GET_PROTOCOL_FEATURES", 1 << 3 | 1 << 5);
    other.send(Event::Message(set));
    other.send(Event::Message(message(&library, "SET_BACKEND_REQ_FD", 0)));
    assert!(other.observe(&acknowledgement).is_err());
}
