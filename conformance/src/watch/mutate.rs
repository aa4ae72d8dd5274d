//! Recordings with one fault each: what a watch would see of a front-end that breaks a clause.
//!
//! ```text
//!   recordings/NAME.jsonl + one [[mutation]] --> events --judge--> the finding that it names
//! ```
//!
//! The list is data (`recordings/mutations.toml`). What a watch cannot show has its reason in
//! `specs/exceptions.toml`: together they are the evidence that every MUST on a front-end is judged.
//!
//! **Invariant.** A mutation that does not apply is an error, never a recording without a fault.

use std::io::Cursor;

use devmig_model::protocol::vhost_user::table::Table;
use devmig_model::protocol::vhost_user::wire::{Flags, Header};
use devmig_model::registry::Library;
use devmig_model::spec::{Diagnostics, Item, SourceFile, Spanned, SpecErrors};
use serde::Deserialize;

use super::record::{BadEvent, Channel, Event, ReadError, Reader, Said, Side, What, unhex};

/// The list.
const FILE: (&str, &str) =
    ("recordings/mutations.toml", include_str!("../../recordings/mutations.toml"));

macro_rules! recordings {
    ($($name:literal)*) => {
        /// The recordings that are built in: name and text.
        pub const RECORDINGS: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../recordings/", $name, ".jsonl")))),*];
    };
}
recordings! {
    "block-qemu-storage-daemon-destination"
    "block-qemu-storage-daemon-source"
    "block-reference-source"
    "net-reference-destination"
    "net-reference-source"
    "tester-add-region"
    "tester-device-state"
    "tester-in-band"
    "tester-reply-ack"
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMutation {
    name: Spanned<String>,
    clause: Spanned<String>,
    recording: Spanned<String>,
    at: Spanned<String>,
    #[serde(default = "one")]
    nth: usize,
    edit: Edit,
}

fn one() -> usize {
    1
}

/// What is changed, at a message of the front-end.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edit {
    /// It is left out.
    Drop,
    /// It changes places with the front-end's next.
    Swap,
    /// Other fields.
    Replace(Fields),
    /// One more before it.
    Insert(Inserted),
}

/// Fields of a message; those that are not given stay.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fields {
    /// The payload in hexadecimal; the header's size is made to fit.
    pub payload: Option<String>,
    /// The header's flags.
    pub flags: Option<u32>,
    /// How many descriptors come along.
    pub fds: Option<usize>,
}

/// A message of its own.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inserted {
    /// Its name.
    pub message: String,
    /// Its payload in hexadecimal.
    #[serde(default)]
    pub payload: String,
    /// How many descriptors come along.
    #[serde(default)]
    pub fds: usize,
    /// It is an answer, on the back-end's channel, to the back-end's message of this name.
    #[serde(default)]
    pub answers: bool,
}

/// A fault in a recording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mutation {
    /// Its name.
    pub name: String,
    /// The clause that the front-end breaks.
    pub clause: String,
    /// The recording that is changed.
    pub recording: String,
    /// The message where.
    pub at: String,
    /// Which of that name, from 1 on.
    pub nth: usize,
    /// How.
    pub edit: Edit,
}

/// Why a mutation came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum MutateError {
    /// No such recording.
    #[error("no recording is called `{0}`")]
    NoRecording(String),
    /// It cannot be read.
    #[error("recording {name}: {error}")]
    Read {
        /// Which.
        name: String,
        /// Why.
        error: ReadError,
    },
    /// It has no such message.
    #[error("{name}: the recording has no {at} number {nth} from the front-end")]
    NoMessage {
        /// The mutation.
        name: String,
        /// The message.
        at: String,
        /// Which.
        nth: usize,
    },
    /// A payload is no hexadecimal, or a message unknown.
    #[error("{name}: {message}")]
    Edit {
        /// The mutation.
        name: String,
        /// What is wrong.
        message: String,
    },
}

/// What is built in.
///
/// # Errors
/// Every problem of the file.
pub fn builtin(library: &Library) -> Result<Vec<Mutation>, SpecErrors> {
    let mut d = Diagnostics::default();
    let file = SourceFile::new(FILE.0, FILE.1);
    let mut tables = file.parse(&mut d);
    let all: Vec<Item<RawMutation>> = tables.items("mutation", &mut d);
    tables.finish(&["mutation"], &mut d);
    let all = all.iter().map(|item| {
        let raw = &item.value;
        library.spec.clause_at(item, &raw.clause, &mut d);
        if !RECORDINGS.iter().any(|(name, _)| name == raw.recording.get_ref()) {
            let message = format!("no recording is called `{}`", raw.recording.get_ref());
            d.push(item.error(raw.recording.span(), message, "unknown recording"));
        }
        if library.vhost_user().table.named(raw.at.get_ref()).is_none() {
            let message = format!("no message is called `{}`", raw.at.get_ref());
            d.push(item.error(raw.at.span(), message, "unknown message"));
        }
        Mutation {
            name: raw.name.get_ref().clone(),
            clause: raw.clause.get_ref().clone(),
            recording: raw.recording.get_ref().clone(),
            at: raw.at.get_ref().clone(),
            nth: raw.nth,
            edit: raw.edit.clone(),
        }
    });
    let all = all.collect();
    d.finish(all)
}

/// The events of a recording that is built in.
///
/// # Errors
/// If there is none, or it is none.
pub fn recording(name: &str) -> Result<Vec<Event>, MutateError> {
    let found = RECORDINGS.iter().find(|(known, _)| *known == name);
    let (_, text) = found.ok_or_else(|| MutateError::NoRecording(name.to_owned()))?;
    let wrong = |error| MutateError::Read { name: name.to_owned(), error };
    let mut reader = Reader::new(Cursor::new(text)).map_err(wrong)?;
    let mut events = Vec::new();
    while let Some(event) = reader.next_event().map_err(wrong)? {
        events.push(event);
    }
    Ok(events)
}

/// The events of a recording with a fault in it.
///
/// # Errors
/// If it does not apply.
pub fn mutated(table: &Table, mutation: &Mutation) -> Result<Vec<Event>, MutateError> {
    let mut events = recording(&mutation.recording)?;
    let missing = || MutateError::NoMessage {
        name: mutation.name.clone(),
        at: mutation.at.clone(),
        nth: mutation.nth,
    };
    let wrong = |message: String| MutateError::Edit { name: mutation.name.clone(), message };
    let id = |name: &str| {
        let id = table.named(name).and_then(|id| table.messages.get(usize::from(id.0)));
        id.map(|def| def.id).ok_or_else(|| wrong(format!("no message is called `{name}`")))
    };
    let wanted = id(&mutation.at)?;
    let places: Vec<usize> = events
        .iter()
        .enumerate()
        .filter(|(_, event)| request(event).is_some())
        .map(|(index, _)| index)
        .collect();
    let named = |index: &&usize| events.get(**index).and_then(request) == Some(wanted);
    let nth = mutation.nth.checked_sub(1).ok_or_else(missing)?;
    let at = *places.iter().filter(named).nth(nth).ok_or_else(missing)?;
    match &mutation.edit {
        Edit::Drop => {
            events.remove(at);
        }
        Edit::Swap => {
            let next = *places.iter().find(|place| **place > at).ok_or_else(missing)?;
            events.swap(at, next);
        }
        Edit::Replace(fields) => {
            if let Some(Event { what: What::Said(said), .. }) = events.get_mut(at) {
                replace(said, fields).map_err(|bad| wrong(bad.to_string()))?;
            }
        }
        Edit::Insert(inserted) => {
            let payload = unhex(&inserted.payload).map_err(|bad| wrong(bad.to_string()))?;
            let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
            let (request, flags, channel) = if inserted.answers {
                let own = table.back_end.iter().find(|def| def.name == inserted.message);
                let own = own.ok_or_else(|| wrong(format!("no `{}`", inserted.message)))?;
                (own.id, Flags::reply(), Channel::BackEnd)
            } else {
                (id(&inserted.message)?, Flags::request(), Channel::Main)
            };
            let header = Header { request, flags, size };
            let said = Said {
                from: Side::FrontEnd,
                channel,
                bytes: [&header.encode()[..], &payload].concat(),
                omitted: 0,
                fds: inserted.fds,
                late: 0,
            };
            let ms = events.get(at).map_or(0, |event| event.ms);
            events.insert(at, Event { ms, what: What::Said(said) });
        }
    }
    Ok(events)
}

/// The id of a message that the front-end sends on the main channel.
fn request(event: &Event) -> Option<u32> {
    match &event.what {
        What::Said(said) if said.from == Side::FrontEnd && said.channel == Channel::Main => {
            Some(Header::decode(*said.bytes.first_chunk()?).request)
        }
        _ => None,
    }
}

fn replace(said: &mut Said, fields: &Fields) -> Result<(), BadEvent> {
    let Some((head, payload)) = said.bytes.split_first_chunk::<{ Header::LEN }>() else {
        return Err(BadEvent::Incomplete);
    };
    let mut header = Header::decode(*head);
    let payload = match &fields.payload {
        Some(text) => unhex(text)?,
        None => payload.to_vec(),
    };
    header.size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    if let Some(flags) = fields.flags {
        header.flags = Flags::from_bits(flags);
    }
    said.bytes = [&header.encode()[..], &payload].concat();
    said.fds = fields.fds.unwrap_or(said.fds);
    Ok(())
}
