use std::io::Cursor;

use devmig_testing::Premises;
use quickcheck::{Arbitrary, Gen, QuickCheck};

use super::*;

fn events() -> Vec<Event> {
    let said = |from, channel, omitted| {
        let bytes = vec![1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        Event { ms: 3, what: What::Said(Said { from, channel, bytes, omitted, fds: 2, late: 1 }) }
    };
    let indices = What::Indices { ring: 1, available: 65_535, used: 0, resumes: Some(7) };
    vec![
        said(Side::FrontEnd, Channel::Main, 0),
        said(Side::BackEnd, Channel::BackEnd, 70_000),
        Event { ms: 4, what: indices },
        Event { ms: 5, what: What::Closed(Side::BackEnd) },
        Event { ms: u64::MAX, what: What::Ends("the \"time\" is up\n".into()) },
    ]
}

fn written(events: &[Event]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes).unwrap();
    events.iter().for_each(|event| writer.write(event).unwrap());
    bytes
}

fn read(bytes: &[u8]) -> Result<(Vec<Event>, bool), ReadError> {
    let mut reader = Reader::new(Cursor::new(bytes))?;
    let mut events = Vec::new();
    while let Some(event) = reader.next_event()? {
        events.push(event);
    }
    Ok((events, reader.cut))
}

#[test]
fn what_is_written_is_read_again() {
    assert_eq!(read(&written(&events())).unwrap(), (events(), false));
}

#[test]
fn a_file_cut_anywhere_is_the_events_before_the_cut() {
    let bytes = written(&events());
    let head = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for end in head..bytes.len() {
        let (found, cut) = read(&bytes[..end]).unwrap();
        let lines = bytes[head..end].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(found, events()[..lines]);
        assert_eq!(cut, bytes[end - 1] != b'\n', "at {end}");
    }
    // Without a whole head it is nothing.
    assert!(read(&bytes[..head - 1]).is_err());
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let head = r#"{"recording":"vhost-user","schema":1,"devmig":"0"}"#;
    let of = |line: &str| read(format!("{head}\n{line}\n").as_bytes()).unwrap_err().to_string();
    for (line, wrong) in [
        ("nonsense", "line 2: not an event: "),
        (r#"{"n":2,"closes":"front-end"}"#, "line 2: event 2 instead of event 1"),
        (r#"{"n":1}"#, "line 2: an event has exactly one of"),
        (r#"{"n":1,"closes":"front-end","ends":"x"}"#, "line 2: an event has exactly one of"),
        (r#"{"n":1,"from":"front-end"}"#, "line 2: a message has `bytes`"),
        (r#"{"n":1,"from":"front-end","bytes":""}"#, "line 2: a message has 1 to"),
        (r#"{"n":1,"from":"front-end","bytes":"0"}"#, "line 2: 1 hexadecimal digits"),
        (r#"{"n":1,"from":"front-end","bytes":"0g"}"#, "line 2: not hexadecimal"),
        (r#"{"n":1,"from":"front-end","bytes":"00","late":1}"#, "line 2: 1 of 0 descriptors"),
        (r#"{"n":1,"from":"front-end","bytes":"00","fds":9999}"#, "line 2: more than 1024"),
        (r#"{"n":1,"ring":0,"used":1}"#, "line 2: a ring has"),
        (r#"{"n":1,"ring":0,"used":70000,"available":0}"#, "line 2: not an event: "),
        (r#"{"n":1,"colour":"red"}"#, "line 2: not an event: unknown field"),
    ] {
        let error = of(line);
        assert!(error.starts_with(wrong), "{line}: {error}");
    }
    let long = of(&"x".repeat(MAX_LINE + 1));
    assert_eq!(long, format!("line 2: longer than {MAX_LINE} bytes"));
    for (head, wrong) in [
        ("", "line 1: not a recording"),
        ("{}\n", "line 1: not a recording"),
        (
            "{\"recording\":\"vdpa\",\"schema\":1,\"devmig\":\"0\"}\n",
            "line 1: a recording of `vdpa`",
        ),
        (
            "{\"recording\":\"vhost-user\",\"schema\":2,\"devmig\":\"0\"}\n",
            "line 1: schema 2 is not known",
        ),
    ] {
        let error = read(head.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(wrong), "{error}");
    }
}

impl Arbitrary for Side {
    fn arbitrary(g: &mut Gen) -> Self {
        if bool::arbitrary(g) { Side::FrontEnd } else { Side::BackEnd }
    }
}

impl Arbitrary for Event {
    fn arbitrary(g: &mut Gen) -> Self {
        let what = match u8::arbitrary(g) % 4 {
            0 => {
                let fds = usize::arbitrary(g) % 1025;
                let mut bytes: Vec<u8> = Vec::arbitrary(g);
                bytes.push(u8::arbitrary(g));
                What::Said(Said {
                    from: Side::arbitrary(g),
                    channel: if bool::arbitrary(g) { Channel::Main } else { Channel::BackEnd },
                    bytes,
                    omitted: u64::arbitrary(g),
                    fds,
                    late: usize::arbitrary(g) % (fds + 1),
                })
            }
            1 => What::Indices {
                ring: u8::arbitrary(g),
                available: u16::arbitrary(g),
                used: u16::arbitrary(g),
                resumes: Option::arbitrary(g),
            },
            2 => What::Closed(Side::arbitrary(g)),
            _ => What::Ends(String::arbitrary(g)),
        };
        Event { ms: u64::arbitrary(g), what }
    }
}

fn variant(event: &Event) -> &'static str {
    match event.what {
        What::Said(_) => "said",
        What::Indices { .. } => "indices",
        What::Closed(_) => "closed",
        What::Ends(_) => "ends",
    }
}

#[test]
fn any_events_are_read_as_they_were_written() {
    static PREMISES: Premises = Premises::new();
    fn law(events: Vec<Event>) -> bool {
        events.iter().for_each(|event| PREMISES.met(variant(event)));
        read(&written(&events)).unwrap() == (events, false)
    }
    QuickCheck::new().tests(200).quickcheck(law as fn(Vec<Event>) -> bool);
    PREMISES.each(["said", "indices", "closed", "ends"], 200);
}

/// The events before the damage are read as they were, and no earlier line is called wrong.
#[test]
fn damage_is_found_at_its_line_or_after_it() {
    static PREMISES: Premises = Premises::new();
    fn law(events: Vec<Event>, at: usize, byte: u8, only: bool) -> bool {
        let mut bytes = written(&events);
        let at = at % bytes.len();
        bytes[at] = byte;
        if only {
            bytes.truncate(at + 1);
        }
        let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count();
        let mut came = Vec::new();
        let mut reader = match Reader::new(Cursor::new(&bytes)) {
            Ok(reader) => reader,
            Err(error) => {
                PREMISES.met("no head");
                return line == 0 && error.to_string().starts_with("line 1: ");
            }
        };
        let error = loop {
            match reader.next_event() {
                Ok(Some(event)) => came.push(event),
                Ok(None) => break None,
                Err(ReadError::Line { line, .. } | ReadError::Io { line, .. }) => break Some(line),
            }
        };
        let before = line.saturating_sub(1).min(events.len());
        PREMISES.holds("events before", before > 0);
        PREMISES.holds("an error", error.is_some());
        PREMISES.holds("cut", reader.cut);
        came.get(..before) == events.get(..before) && error.is_none_or(|found| found > line as u64)
    }
    let law = law as fn(Vec<Event>, usize, u8, bool) -> bool;
    QuickCheck::new().tests(1000).quickcheck(law);
    PREMISES.each(["no head"], 5);
    PREMISES.at_least("events before", 50);
    PREMISES.at_least("an error", 20);
    PREMISES.at_least("cut", 20);
}

quickcheck::quickcheck! {
    fn hexadecimal_survives_a_round_trip(bytes: Vec<u8>) -> bool {
        unhex(&hex(&bytes)) == Ok(bytes)
    }
}
