//! Messages as they come: what their bytes and descriptors mean as an event, and what is wrong with
//! them whatever the conversation.
//!
//! ```text
//!   header, payload, descriptors --request, reply--> event + what is wrong with the form
//! ```
//!
//! **Invariants.** Pure and total. A form with a fault that leaves its meaning open has no event.
//!
//! **Not here:** what depends on the conversation; that is the machine's.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use super::event::{BackEndMessage, Event, FRONT_END, Message, MessageId, Value};
use super::table::{MessageDef, Table};
use super::vocabulary::Effect;
use super::wire::{Flags, Header, Payload, PayloadKind, Transfer, VringFd};
use crate::clause_ids;
use devmig_engine::clause::ClauseId;
use devmig_engine::machine::Party;

clause_ids! {
    /// The clauses that are judged here.
    pub struct FormLaws {
        /// `vhost-user.header.version`
        version: "vhost-user.header.version",
        /// `vhost-user.header.size`
        size: "vhost-user.header.size",
        /// `vhost-user.header.request-flags`
        request_flags: "vhost-user.header.request-flags",
        /// `vhost-user.header.fds-with-first-byte`
        first_byte: "vhost-user.header.fds-with-first-byte",
        /// `vhost-user.memory.fds-match`
        memory_fds: "vhost-user.memory.fds-match",
        /// `vhost-user.memory.region-fd`
        region_fd: "vhost-user.memory.region-fd",
        /// `vhost-user.kick.valid-fd`
        kick_fd: "vhost-user.kick.valid-fd",
        /// `vhost-user.call.valid-fd`
        call_fd: "vhost-user.call.valid-fd",
        /// `vhost-user.err.valid-fd`
        err_fd: "vhost-user.err.valid-fd",
        /// `vhost-user.set-backend-req-fd.fd`
        channel_fd: "vhost-user.set-backend-req-fd.fd",
        /// `vhost-user.memory.remove-without-fd`
        removed_fd: "vhost-user.memory.remove-without-fd",
        /// `vhost-user.device-state.fd`
        state_fd: "vhost-user.device-state.fd",
        /// `vhost-user.device-state.phase-known`
        phase: "vhost-user.device-state.phase-known",
        /// `vhost-user.device-state.direction-known`
        direction: "vhost-user.device-state.direction-known",
        /// `vhost-user.dirty-log.fd`
        log_fd: "vhost-user.dirty-log.fd",
        /// `vhost-user.reply.header`
        reply_header: "vhost-user.reply.header",
        /// `vhost-user.reply.payload`
        reply_payload: "vhost-user.reply.payload",
    }
}

/// A message as it came.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    /// Its header.
    pub header: Header,
    /// What came after it: as many bytes as the header says, unless that is more than anybody reads.
    pub payload: &'a [u8],
    /// How many descriptors came with it.
    pub descriptors: usize,
    /// How many of them came after its first byte.
    pub late: usize,
}

/// What a message comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Form<E> {
    /// Its meaning; `None` if it has none.
    pub event: Option<E>,
    /// What is wrong: the clause that its sender breaks, and how.
    pub faults: Vec<(ClauseId, String)>,
}

impl<E> Form<E> {
    fn nothing(faults: Vec<(ClauseId, String)>) -> Self {
        Form { event: None, faults }
    }
}

/// The definition of a message id, if the table has it.
#[must_use]
pub fn definition(table: &Table, id: u32) -> Option<(MessageId, &MessageDef)> {
    let index = table.messages.iter().position(|def| def.id == id)?;
    Some((MessageId(u8::try_from(index).ok()?), table.messages.get(index)?))
}

/// The front-end's message. `rings` is how many the machine holds: an event names none beyond.
#[must_use]
pub fn request(table: &Table, laws: &FormLaws, rings: usize, raw: Raw<'_>) -> Form<Message> {
    let mut faults = Vec::new();
    let flags = raw.header.flags;
    let name = match definition(table, raw.header.request) {
        Some((_, def)) => def.name.clone(),
        None => format!("message {}", raw.header.request),
    };
    if flags.version() != Flags::VERSION {
        faults.push((laws.version, format!("{name} with version {}", flags.version())));
    }
    if flags.is_reply() {
        faults.push((laws.request_flags, format!("{name} with flags {flags:?}")));
    }
    if !faults.is_empty() {
        return Form::nothing(faults);
    }
    if raw.late > 0 {
        let came = format!("{name}: {} of its descriptors came after its first byte", raw.late);
        faults.push((laws.first_byte, came));
    }
    let Some((id, def)) = definition(table, raw.header.request) else {
        return Form::nothing(faults);
    };
    let payload = match Payload::decode(def.request, raw.payload) {
        Ok(payload) => payload,
        Err(error) => {
            faults.push((laws.size, format!("{name}: {error}")));
            return Form::nothing(faults);
        }
    };
    let meant = faults.len();
    faults.extend(wrong_descriptors(laws, def, &payload, raw.descriptors));
    if let Payload::Transfer(Transfer { direction, phase }) = payload {
        if phase != Transfer::STOPPED {
            faults.push((laws.phase, format!("{name} in phase {phase}")));
        }
        if direction != Transfer::SAVE && direction != Transfer::LOAD {
            faults.push((laws.direction, format!("{name} in direction {direction}")));
        }
    }
    let (ring, value) = match &payload {
        // What is written is the device's affair; its flags are the protocol's.
        Payload::Config(config) if def.reply.is_none() => (0, config.flags.into()),
        payload => number(payload),
    };
    let ring = u8::try_from(ring).ok().filter(|ring| usize::from(*ring) < rings);
    let event = ring.filter(|_| faults.len() == meant).map(|ring| Message {
        id,
        ring,
        value: Value(value),
        need_reply: flags.need_reply(),
    });
    Form { event, faults }
}

/// The clause that this number of descriptors breaks.
fn wrong_descriptors(
    laws: &FormLaws,
    def: &MessageDef,
    payload: &Payload,
    descriptors: usize,
) -> Option<(ClauseId, String)> {
    let sets = |effect| def.rows.iter().any(|row| row.receive.contains(&effect));
    let (wanted, clause) = match payload {
        Payload::Memory(memory) => (memory.regions().len(), laws.memory_fds),
        Payload::MemoryRegion(_) if sets(Effect::AddRegion) => (1, laws.region_fd),
        Payload::VringFd(fd) if sets(Effect::SetKick) => {
            (usize::from(!fd.no_descriptor()), laws.kick_fd)
        }
        Payload::VringFd(fd) if sets(Effect::SetCall) => {
            (usize::from(!fd.no_descriptor()), laws.call_fd)
        }
        Payload::VringFd(fd) if sets(Effect::SetErr) => {
            (usize::from(!fd.no_descriptor()), laws.err_fd)
        }
        Payload::MemoryRegion(_) if sets(Effect::RemoveRegion) => (0, laws.removed_fd),
        Payload::None if sets(Effect::SetChannel) => (1, laws.channel_fd),
        Payload::Transfer(_) => (1, laws.state_fd),
        Payload::Log(_) => (1, laws.log_fd),
        _ => return None,
    };
    (descriptors != wanted)
        .then(|| (clause, format!("{} with {descriptors} descriptors, not {wanted}", def.name)))
}

/// The back-end's answer.
#[must_use]
pub fn reply(table: &Table, laws: &FormLaws, rings: usize, raw: Raw<'_>) -> Form<Event> {
    let flags = raw.header.flags;
    let Some((id, def)) = definition(table, raw.header.request) else {
        let came = format!("a reply to message {}, which was not sent", raw.header.request);
        return Form::nothing(vec![(laws.reply_header, came)]);
    };
    if flags.version() != Flags::VERSION || !flags.is_reply() {
        let came = format!("a reply to {} with flags {flags:?}", def.name);
        return Form::nothing(vec![(laws.reply_header, came)]);
    }
    let kind = def.reply.unwrap_or(PayloadKind::U64);
    let payload = match Payload::decode(kind, raw.payload) {
        Ok(payload) => payload,
        // An error, by one reading of what is of zero length.
        Err(_) if kind == PayloadKind::Config && raw.payload.is_empty() => Payload::None,
        Err(error) => {
            let came = format!("a reply to {}: {error}", def.name);
            return Form::nothing(vec![(laws.reply_payload, came)]);
        }
    };
    let (ring, value) = number(&payload);
    let Some(ring) = u8::try_from(ring).ok().filter(|ring| usize::from(*ring) < rings) else {
        let came = format!("a reply to {} for ring {ring}", def.name);
        return Form::nothing(vec![(laws.reply_payload, came)]);
    };
    let descriptors = u8::try_from(raw.descriptors).unwrap_or(u8::MAX);
    let event = Event::Reply { id, ring, value: Value(value), descriptors };
    Form { event: Some(event), faults: Vec::new() }
}

/// A message on the back-end's own channel; its faults are not judged: no clause binds their form.
///
/// `None` if the table lacks it, or if its header or payload has no meaning here.
#[must_use]
pub fn own(table: &Table, rings: usize, from: Party, raw: Raw<'_>) -> Option<Event> {
    let flags = raw.header.flags;
    let index = table.back_end.iter().position(|def| def.id == raw.header.request)?;
    let def = table.back_end.get(index)?;
    let id = MessageId(u8::try_from(index).ok()?);
    let answers = from == FRONT_END;
    if flags.version() != Flags::VERSION || flags.is_reply() != answers {
        return None;
    }
    if answers {
        let kind = def.reply.unwrap_or(PayloadKind::U64);
        let (_, value) = number(&Payload::decode(kind, raw.payload).ok()?);
        let descriptors = u8::try_from(raw.descriptors).unwrap_or(u8::MAX);
        return Some(Event::BackEndAnswer { id, value: Value(value), descriptors });
    }
    let (ring, value) = number(&Payload::decode(def.request, raw.payload).ok()?);
    let ring = u8::try_from(ring).ok().filter(|ring| usize::from(*ring) < rings)?;
    let (value, need_reply) = (Value(value), flags.need_reply());
    Some(Event::BackEndMessage(BackEndMessage { id, ring, value, need_reply }))
}

/// The ring that a payload names, and its number.
fn number(payload: &Payload) -> (u32, u64) {
    match payload {
        Payload::U64(value) => (0, *value),
        Payload::VringState(state) => (state.index, u64::from(state.num)),
        Payload::VringAddr(address) => (address.index, u64::from(address.flags)),
        Payload::VringFd(fd) => (u32::from(fd.index()), u64::from(fd.no_descriptor()) << 8),
        Payload::Memory(memory) => (0, memory.regions().len() as u64),
        Payload::Transfer(t) => (0, u64::from(t.direction) | u64::from(t.phase) << 32),
        Payload::TransferReply(reply) => (0, reply.0),
        Payload::Config(config) => (0, u64::from(config.size)),
        Payload::LogTaken(taken) => (0, taken.length()),
        Payload::VringArea(area) => (u32::from(VringFd(area.ring).index()), 0),
        _ => (0, 0),
    }
}
