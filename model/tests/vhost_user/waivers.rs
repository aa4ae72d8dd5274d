//! What is said of an answer's form can be waived like every other rule: the waiver masks this one
//! finding, is counted, and judgement goes on.

#![allow(clippy::unwrap_used)]

use devmig_engine::estimate::StateEstimate;
use devmig_engine::rules::Rules;
use devmig_model::protocol::vhost_user::event::{Event, Message, Value};

/// A message: its name, number, and need_reply.
type Sent<'a> = (&'a str, u64, bool);

#[derive(PartialEq, Eq, Debug)]
struct Judged {
    allowed: bool,
    undefined: bool,
    counted: bool,
}

/// What is made of a last answer (to what, for which ring, with what number). What asks for features
/// is answered at once with its own number.
fn judge(clause: &str, waived: bool, sent: &[Sent<'_>], last: (&str, u8, u64)) -> Judged {
    let library = crate::common::builtin();
    let machine = library.vhost_user().tester();
    let clause = library.spec.clause(clause).unwrap();
    let rules = if waived { Rules::default().without(clause) } else { Rules::default() };
    let mut possible = StateEstimate::new(&machine, rules);
    let reply = |(name, ring, value): (&str, u8, u64)| Event::Reply {
        id: library.vhost_user().table.named(name).unwrap(),
        ring,
        value: Value(value),
        descriptors: 0,
    };
    for (n, (name, value, need_reply)) in sent.iter().enumerate() {
        let id = library.vhost_user().table.named(name).unwrap();
        let (ring, value, need_reply) = (0, Value(*value), *need_reply);
        possible.send(Event::Message(Message { id, ring, value, need_reply }));
        if n + 1 < sent.len() && name.starts_with("GET_") {
            possible.observe(&reply((name, 0, value.0))).unwrap();
        }
    }
    let allowed = possible.observe(&reply(last)).is_ok();
    Judged { allowed, undefined: possible.undefined(), counted: possible.hits.contains(clause) }
}

#[test]
fn the_form_of_an_answer_can_be_waived() {
    let reply_ack = 1 << 3;
    let negotiated: &[Sent<'_>] = &[
        ("GET_FEATURES", 1 << 30, false),
        ("GET_PROTOCOL_FEATURES", reply_ack, false),
        ("SET_PROTOCOL_FEATURES", reply_ack, false),
        ("SET_OWNER", 0, true),
    ];
    for (clause, sent, last, defined) in [
        (
            "vhost-user.reply.header",
            &[("GET_FEATURES", 0, false)][..],
            ("GET_PROTOCOL_FEATURES", 0, 1 << 30),
            true,
        ),
        (
            "vhost-user.reply.payload",
            &[("GET_VRING_BASE", 0, false)],
            ("GET_VRING_BASE", 1, 0),
            true,
        ),
        ("vhost-user.reply-ack.value", negotiated, ("SET_OWNER", 0, 1), false),
    ] {
        let judged = judge(clause, false, sent, last);
        let (allowed, undefined, counted) = (!defined, !defined, false);
        assert_eq!(judged, Judged { allowed, undefined, counted }, "{clause}");
        let judged = judge(clause, true, sent, last);
        let waived = Judged { allowed: true, undefined: false, counted: true };
        assert_eq!(judged, waived, "{clause}, waived");
    }
}
