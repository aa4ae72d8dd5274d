//! The vhost-user machine: the rules of both parties, once.
//!
//! ```text
//!              SET_VRING_KICK + kick                     rings
//!   stopped ------------------------> started      disabled <--> enabled
//!      ^                                 |              SET_VRING_ENABLE
//!      +---------------------------------+
//!               GET_VRING_BASE
//!
//!   available --fetch (hidden)--> open --Used--> completed
//! ```
//!
//! What a *message* does stands in the message table (`specs/vhost-user/messages.toml`); what the
//! back-end may do *without* a message (use a request, notify, answer, close) stands here.
//!
//! | file | its one job |
//! |---|---|
//! | `machine.rs` | which rule an event meets, hidden steps, what exploration tries |
//! | `machine/messages.rs` | messages and their answers |
//! | `machine/rings.rs` | requests, notifications, marks in the log |
//! | `machine/owed.rs` | what is owed |
//!
//! **Invariants.** Every refusal of a back-end's or front-end's event names its clause. No rule
//! stands both here and in the table.

mod messages;
mod owed;
mod rings;

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::event::{BACK_END, Event, Message, MessageId, RingImages, Value};
use super::ids::{ChoiceIds, ClauseIds, Pieces};
use super::state::{BUFFERS, PendingReply, Ring, State, Transfer, USED_RING};
use super::table::{Gate, MessageDef, Table};
use super::vocabulary::{Answer, DRIVER_OK, Effect, SUSPEND};
use super::wire::PayloadKind;
use crate::protocol::ring::{Act, Ring as AbstractRing};
use devmig_engine::machine::{
    Did, Event as _, Machine, Obligation, Owed, Party, Reaction, Refines, Step, Stimulus, Verdict,
};
use devmig_engine::rules::{OpenChoice, RuleContext};

/// What the back-end offers, and how far it is explored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// GET_FEATURES' answer.
    pub features: u64,
    /// GET_PROTOCOL_FEATURES' answer.
    pub protocol: u64,
    /// Requests per ring.
    pub requests: u16,
    /// The back-end completes requests in the order in which they were made available.
    pub in_order: bool,
}

/// The machine for `R` rings.
#[derive(Clone, Debug)]
pub struct VhostUser<const R: usize> {
    /// The messages.
    pub table: Arc<Table>,
    /// The clauses that are judged here.
    pub laws: ClauseIds,
    /// The choices that are asked for here.
    pub readings: ChoiceIds,
    /// For exploration only.
    pub bounds: Bounds,
}

/// Steps that nobody outside sees, by name.
mod step {
    pub(super) const RESUBMIT: &str = "resubmit";
    pub(super) const CLEAR: &str = "clear the record of";
    pub(super) const SUSPEND: &str = "suspended";
}

/// At most this many rings fit the obligations of one machine.
pub const MAX_RINGS: usize = 8;

impl<const R: usize> VhostUser<R> {
    /// The whole state of the device, as it is saved.
    fn whole(s: &State<R>) -> (u8, RingImages) {
        let with_rings = s.transfer == Transfer::SavingRings;
        (s.internal, if with_rings { s.images() } else { RingImages::default() })
    }

    /// The definition of a message.
    #[must_use]
    pub fn message(&self, id: MessageId) -> &MessageDef {
        &self.table.messages[id.0 as usize]
    }
}

/// Whether the features that a message needs are there.
pub(super) fn granted<const R: usize>(
    s: &State<R>,
    gate: Option<&Gate>,
    virtio: Option<u8>,
) -> bool {
    let protocol = gate.is_none_or(|gate| {
        let mask = if gate.by_offer { s.protocol_offered } else { s.protocol };
        mask.0 >> gate.bit & 1 == 1
    });
    protocol && virtio.is_none_or(|bit| s.features.0 >> bit & 1 == 1)
}

impl<const R: usize> Machine for VhostUser<R> {
    type State = State<R>;
    type Event = Event;

    fn name(&self) -> &'static str {
        "vhost-user"
    }

    /// The hidden half of the back-end is part of this machine: what was fetched.
    fn plays(&self, party: Party) -> bool {
        party == BACK_END
    }

    fn initial(&self) -> State<R> {
        State::new()
    }

    fn on(&self, s: &State<R>, event: &Event, judge: &mut RuleContext) -> Verdict<Self> {
        if s.closed {
            // It does and reads nothing more; what others do is theirs.
            let own = event.owner() == BACK_END || matches!(event, Event::Message(_));
            return Ok(if own { Reaction::Disabled } else { Reaction::Ignore });
        }
        let mut next = *s;
        match *event {
            Event::Message(m) => return self.read(s, &m, judge),
            Event::Reply { id, ring, value, descriptors } => {
                return self.reply(s, (id, ring, value, descriptors), judge);
            }
            Event::Used { ring, request } => return self.used(s, ring, request, judge),
            Event::Call { ring } => return self.call(s, ring, judge),
            Event::Error { ring } => return self.error(s, ring, judge),
            Event::BackEndMessage(m) => return self.tells(s, &m, judge),
            Event::BackEndAnswer { id, value, descriptors } => {
                return self.told(s, id, value, descriptors, judge);
            }
            // A kick may be read, and remembered until the driver is ready.
            Event::KickRead { ring } if s.rings[ring as usize].kicked => {
                let waits = self.waits_for_driver(s, judge)?;
                return Ok(if waits { Reaction::Ignore } else { Reaction::Disabled });
            }
            Event::KickRead { .. } => return Ok(Reaction::Ignore),
            Event::Close if !self.may_close(s, judge)? && judge.enforces(self.laws.close) => {
                return Ok(Reaction::Violation(self.laws.close));
            }
            Event::Close => next.closed = true,
            Event::Available { ring } => {
                let r = &mut next.rings[ring as usize];
                r.available = r.available.wrapping_add(1);
            }
            Event::RunAhead { ring } => {
                let r = &mut next.rings[ring as usize];
                r.available = r.base.wrapping_add(r.size).wrapping_add(1);
            }
            Event::Changed => return self.changes(s, judge),
            Event::Renew { ring, index } => {
                let r = &mut next.rings[ring as usize];
                (r.available, r.used) = (index, index);
            }
            Event::Kick { ring, .. } => next.rings[ring as usize].kicked = true,
            // Only a tester that looks into the bytes could tell a wrong state: it has none to compare.
            Event::Saved { value, rings } if (value, rings) != Self::whole(s) => {
                return Ok(Reaction::Disabled);
            }
            Event::Saved { .. } if !s.transfer.is_saving() => return Ok(Reaction::Disabled),
            Event::Saved { value, .. } => {
                next.transfer = Transfer::Saved;
                next.image = value;
            }
            Event::Loaded { .. } | Event::Cut if !s.transfer.is_loading() => {
                return Ok(Reaction::Unspecified(self.laws.check_reports));
            }
            Event::Loaded { value, rings } => {
                let images = rings.rings::<R>().filter(|_| s.transfer == Transfer::LoadingRings);
                for (ring, image) in next.rings.iter_mut().zip(images.into_iter().flatten()) {
                    ring.restore(image);
                }
                next.transfer = Transfer::Loaded;
                next.internal = value;
            }
            Event::Cut => next.transfer = Transfer::Cut,
            Event::Forgotten { ring } => next.forget(ring as usize),
            Event::Marked { ring, used_ring, log } => {
                let part = if used_ring { USED_RING } else { BUFFERS };
                return self.marked(s, ring, part, log, judge);
            }
            Event::Successor { .. } => next = s.successor(judge.enforces(self.laws.settles)),
            Event::Pieces { payload } => {
                next.partial_message |= match self.readings.pieces.taken(judge)? {
                    Pieces::Together => false,
                    Pieces::Header => payload,
                    Pieces::Whole => true,
                };
            }
            Event::Vcpus { .. } | Event::Copied { .. } | Event::HandedOver => {
                return Ok(Reaction::Ignore);
            }
        }
        Ok(Reaction::To(next))
    }

    fn owes(&self, s: &State<R>, judge: &mut RuleContext) -> Result<Owed, OpenChoice> {
        self.owes_now(s, judge)
    }

    fn obligation(&self, slot: u32) -> Obligation {
        self.owes_what(slot)
    }

    fn discharges(&self, s: &State<R>, did: &Did<Event>) -> Owed {
        self.discharged(s, did)
    }

    fn hidden(
        &self,
        s: &State<R>,
        judge: &mut RuleContext,
        f: &mut dyn FnMut(Step, State<R>),
    ) -> Result<(), OpenChoice> {
        if Self::finished(s) {
            let mut next = State { suspending: false, suspended: true, ..*s };
            next.status = (u64::from(s.status) & !DRIVER_OK | SUSPEND) as u8;
            f(Step::alone(BACK_END, step::SUSPEND), next);
        }
        for (index, ring) in s.rings.iter().enumerate() {
            if self.resubmits(s, ring, judge) {
                let mut next = *s;
                let r = &mut next.rings[index];
                r.open |= 1 << (r.oldest(r.left_behind()) % 64);
                f(Step { by: BACK_END, name: step::RESUBMIT, index: index as u8 }, next);
            }
            if ring.batch != 0 {
                let mut next = *s;
                let r = &mut next.rings[index];
                (r.recorded, r.batch) = (r.recorded & !r.batch, 0);
                f(Step { by: BACK_END, name: step::CLEAR, index: index as u8 }, next);
            }
            if self.fetches(s, ring, judge)? {
                let mut next = *s;
                let r = &mut next.rings[index];
                r.open |= 1 << (r.base % 64);
                if s.in_flight && judge.enforces(self.laws.records) {
                    r.recorded |= 1 << (r.base % 64);
                }
                r.base = r.base.wrapping_add(1);
                f(Step { by: BACK_END, name: "fetch", index: index as u8 }, next);
            }
            if self.notices(s, index, judge)? {
                let mut next = *s;
                next.rings[index].kicked = false;
                next.start(index);
                f(Step { by: BACK_END, name: "notice kick", index: index as u8 }, next);
            }
        }
        Ok(())
    }

    /// What the back-end might do of itself; the rules filter it.
    fn stimuli(&self, s: &State<R>, f: &mut dyn FnMut(Stimulus<Event>)) {
        if let Some(PendingReply { message, .. }) = s.owed.head() {
            self.answers(message, &mut |event| f(Stimulus::Guarded(event)));
            if s.transfer == Transfer::Cut && self.message(message.id).answer == Some(Answer::Check)
            {
                f(Stimulus::Guarded(self.answer(message, 1)));
            }
        }
        for (index, ring) in s.rings.iter().enumerate() {
            let index = index as u8;
            for request in 0..self.bounds.requests {
                f(Stimulus::Guarded(Event::Used { ring: index, request }));
            }
            if ring.unnotified || self.suspended(s) {
                f(Stimulus::Guarded(Event::Call { ring: index }));
            }
            if s.log != 0 {
                for used_ring in [false, true] {
                    f(Stimulus::Guarded(Event::Marked { ring: index, used_ring, log: s.log }));
                }
            }
        }
        if s.transfer.is_saving() {
            let (value, rings) = Self::whole(s);
            f(Stimulus::Guarded(Event::Saved { value, rings }));
        }
        if s.channel {
            self.messages_of_its_own(&mut |event| f(Stimulus::Guarded(event)));
        }
        f(Stimulus::Guarded(Event::Close));
    }

    fn domain(&self, f: &mut dyn FnMut(Event)) {
        for (id, def) in self.table.messages.iter().enumerate() {
            if def.reply.is_none() {
                continue;
            }
            for ring in 0..R as u8 {
                let id = MessageId(id as u8);
                self.answers(&Message { id, ring, ..Message::default() }, f);
            }
        }
        for ring in 0..R as u8 {
            (0..self.bounds.requests).for_each(|request| f(Event::Used { ring, request }));
            f(Event::Call { ring });
            for used_ring in [false, true] {
                (1..=2).for_each(|log| f(Event::Marked { ring, used_ring, log }));
            }
        }
        self.messages_of_its_own(f);
        f(Event::Close);
        let rings = RingImages::default();
        (0..8).for_each(|value| f(Event::Saved { value, rings }));
    }

    /// Messages that are owed an answer are shown as in the socket.
    fn describe(&self, s: &State<R>) -> Map<String, Json> {
        let owed = |o: &PendingReply| self.label(&Event::Message(o.message)).unwrap_or_default();
        let mut fields = serde_json::to_value(s).unwrap_or_default();
        fields["owed"] = s.owed.iter().map(owed).collect();
        // Housekeeping of one choice: it would stand in every other line.
        for ring in fields["rings"].as_array_mut().into_iter().flatten() {
            ring.as_object_mut().map(|ring| ring.remove("call_fresh"));
        }
        Map::from_iter([(self.name().to_owned(), fields)])
    }

    fn label(&self, event: &Event) -> Option<String> {
        let named = |what: &str, id: MessageId, ring: u8, value: Value| {
            let def = self.message(id);
            let ring = if def.names_ring() { format!(" ring {ring}") } else { String::new() };
            let numbered = def.request != PayloadKind::None || value.0 != 0;
            let value = if numbered { format!(" {:#x}", value.0) } else { String::new() };
            format!("{what}{}{ring}{value}", def.name)
        };
        match *event {
            Event::Message(m) => Some(named("", m.id, m.ring, m.value)),
            Event::Reply { id, ring, value, .. } => Some(named("answers ", id, ring, value)),
            Event::BackEndMessage(m) => Some(self.names_own(&m)),
            Event::BackEndAnswer { id, value, .. } => {
                let name = self.table.back_end.get(id.0 as usize).map_or("", |def| &def.name);
                Some(format!("answers {name} {:#x}", value.0))
            }
            _ => None,
        }
    }

    fn waits(&self, s: &State<R>, f: &mut dyn FnMut(String)) {
        let Some(PendingReply { message, row }) = s.owed.head() else { return };
        let name = &self.message(message.id).name;
        let rows = &self.message(message.id).rows;
        let ready = rows.get(*row as usize).map_or(&[][..], |row| &row.ready);
        for condition in ready.iter().filter(|condition| !condition.holds(s, message)) {
            f(format!("the reply to {name} waits until `{condition}`, which is not met"));
        }
    }

    fn at_end(&self, s: &State<R>) -> bool {
        let resting = |r: &Ring| {
            let kick_due = r.kicked && r.kick_set && !r.kick_fd_stale;
            let waits = r.waiting() > 0 && (r.size == 0 || r.waiting() <= r.size);
            let left = s.in_flight && r.left_behind() != 0;
            let request_due = r.started && (r.open != 0 || (r.enabled && (waits || left)));
            !kick_due && !request_due && r.unmarked == 0
        };
        let idle = !s.transfer.is_saving() && !s.transfer.is_loading();
        s.owed.is_empty()
            && s.asked.is_empty()
            && !s.suspending
            && idle
            && (s.suspended || s.rings.iter().all(resting))
    }
}

impl<const R: usize> Refines<AbstractRing> for VhostUser<R> {
    /// GET_VRING_BASE is what stops ring 0, and its answer tells where it stopped.
    fn refine(&self, event: &Event) -> Option<Act> {
        Some(match *event {
            Event::Message(m) if m.ring == 0 => {
                let def = self.message(m.id);
                let sets = def.rows.iter().any(|row| row.receive.contains(&Effect::SetBase));
                match def.answer {
                    Some(Answer::Base) => Act::Stop,
                    _ if sets => Act::Continued(m.value.0 as u16),
                    _ => return None,
                }
            }
            Event::Reply { id, ring: 0, value, .. } => match self.message(id).answer {
                Some(Answer::Base) => Act::Stopped(value.0 as u16),
                _ => return None,
            },
            Event::Available { ring: 0 } => Act::Available,
            Event::Kick { ring: 0, .. } => Act::Kick,
            Event::Used { ring: 0, request } => Act::Used(request),
            _ => return None,
        })
    }
}
