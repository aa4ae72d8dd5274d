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
//! **Invariants.** Every refusal of a back-end's or front-end's event names its clause. No rule
//! stands both here and in the table.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::event::{BACK_END, Event, FRONT_END, Message, MessageId, Value};
use super::laws::{Laws, Readings};
use super::state::{BUFFERS, Owing, Ring, State, Transfer, USED_RING};
use super::table::{Gate, MessageDef, Row, Table};
use super::vocabulary::{Answer, DRIVER_OK, Effect, SUSPEND, Signal};
use super::wire::PayloadKind;
use crate::clause::ClauseId;
use crate::machine::{
    Did, Event as _, Machine, Obligation, Offer, On, Owed, Party, Step, TimeClass, Verdict,
};
use crate::ring::Act;
use crate::rules::{Ask, Judge};

/// What the back-end offers, and how far it is explored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// GET_FEATURES' answer.
    pub features: u64,
    /// GET_PROTOCOL_FEATURES' answer.
    pub protocol: u64,
    /// Requests per ring.
    pub requests: u16,
}

/// The machine for `R` rings.
#[derive(Clone, Debug)]
pub struct VhostUser<const R: usize> {
    /// The messages.
    pub table: Arc<Table>,
    /// The clauses that are judged here.
    pub laws: Laws,
    /// The choices that are asked for here.
    pub readings: Readings,
    /// For exploration only.
    pub bounds: Bounds,
}

/// Obligations, by index.
mod owed {
    pub(super) const REPLY: u32 = 0;
    pub(super) const RING: u32 = 1;
    pub(super) const STATE: u32 = 9;
    pub(super) const NOTIFY: u32 = 10;
    pub(super) const ANSWER: u32 = 11;
    pub(super) const MARK: u32 = 12;
    pub(super) const SUSPEND: u32 = 13;
    pub(super) const MARK_USED_RING: u32 = 14;
    pub(super) const REPORT: u32 = 15;
    pub(super) const CHANGE: u32 = 16;
    pub(super) const CLOSE: u32 = 17;
}

/// Steps that nobody outside sees, by name.
mod step {
    pub(super) const RESUBMIT: &str = "resubmit";
    pub(super) const CLEAR: &str = "clear the record of";
    pub(super) const SUSPEND: &str = "suspended";
}

/// At most this many rings fit the obligations of one machine.
pub const MAX_RINGS: usize = 8;

/// Options of the choices that are asked for here, in the order of their file.
pub(super) mod option {
    pub(in crate::vhost_user) const HOLD: u8 = 0;
    pub(in crate::vhost_user) const PROCESS: u8 = 2;
    pub(in crate::vhost_user) const WAITS: u8 = 0;
    pub(in crate::vhost_user) const KEEPS: u8 = 1;
    pub(in crate::vhost_user) const SIGNALS: u8 = 1;
    pub(in crate::vhost_user) const ALWAYS: u8 = 1;
    pub(in crate::vhost_user) const BACK_END: u8 = 0;
    pub(in crate::vhost_user) const UNTOLD: u8 = 1;
    pub(in crate::vhost_user) const TOGETHER: u8 = 0;
    pub(in crate::vhost_user) const WHOLE: u8 = 2;
    pub(in crate::vhost_user) const CLOSES: u8 = 1;
    pub(in crate::vhost_user) const WAITS_FOR_DRIVER: u8 = 1;
}

/// The lengths of what answers SET_LOG_BASE, by the options of its choice.
const TAKEN: [Value; 3] = [Value(8), Value(16), Value(0)];

impl<const R: usize> VhostUser<R> {
    /// Where an obligation stands among those of a machine with so many rings: those of rings that it
    /// does not have leave no gap, since a composition has room for few.
    const fn slot(index: u32) -> u32 {
        let gap = (MAX_RINGS - R) as u32;
        if index > MAX_RINGS as u32 { index - gap } else { index }
    }

    /// The same, backwards.
    const fn of_slot(slot: u32) -> u32 {
        let gap = (MAX_RINGS - R) as u32;
        if slot > R as u32 { slot + gap } else { slot }
    }

    /// The definition of a message.
    #[must_use]
    pub fn message(&self, id: MessageId) -> &MessageDef {
        &self.table.messages[id.0 as usize]
    }

    /// The front-end's message is read.
    fn read(&self, s: &State<R>, m: &Message, judge: &mut Judge) -> Verdict<Self> {
        let expelled = s.expelled && judge.enforces(self.laws.expels);
        if s.closed || expelled || s.owed.is_full() {
            return Ok(On::Refuse);
        }
        if !s.owed.is_empty() && judge.choice(self.readings.reads_ahead)? == option::WAITS {
            return Ok(On::Refuse);
        }
        let def = self.message(m.id);
        let open = self.table.knows(def.since) && granted(s, def.gate.as_ref(), def.virtio);
        if !open && judge.enforces(self.laws.gated) {
            return Ok(On::Broken(self.laws.gated));
        }
        let acknowledges = s.protocol.0 >> self.table.reply_ack & 1 == 1;
        if m.need_reply && !acknowledges && judge.enforces(self.laws.asks_unheard) {
            return Ok(On::Broken(self.laws.asks_unheard));
        }
        let Some((index, row)) = self.row(def, s, m, judge)? else { return Ok(On::To(*s)) };
        if let Some(clause) = row.breaks {
            return Ok(On::Broken(clause));
        }
        if let Some(clause) = row.undefined {
            return Ok(On::Undefined(clause));
        }
        let mut next = *s;
        for effect in &row.receive {
            effect.apply(&mut next, m);
        }
        if def.reply.is_some() || self.acknowledges(s, m, judge)? {
            let owing = Owing { message: *m, row: index };
            next.owed = next.owed.push(owing).unwrap_or(next.owed);
        }
        Ok(On::To(next))
    }

    /// The first row that applies, and its index; a row whose broken clause is switched off does not.
    ///
    /// # Errors
    /// [`Ask`] if an open choice decides.
    pub fn row<'t>(
        &self,
        def: &'t MessageDef,
        s: &State<R>,
        m: &Message,
        judge: &mut Judge,
    ) -> Result<Option<(u8, &'t Row)>, Ask> {
        for (index, row) in def.rows.iter().enumerate() {
            let applies = row.when.iter().all(|guard| guard.holds(s, m))
                && match row.choice {
                    Some((choice, option)) => judge.choice(choice)? == option,
                    None => true,
                }
                && row.breaks.is_none_or(|clause| judge.enforces(clause));
            if applies {
                return Ok(Some((index as u8, row)));
            }
        }
        Ok(None)
    }

    /// Whether REPLY_ACK makes this message owe an answer.
    fn acknowledges(&self, s: &State<R>, m: &Message, judge: &mut Judge) -> Result<bool, Ask> {
        if s.protocol.0 >> self.table.reply_ack & 1 == 0 {
            return Ok(false);
        }
        Ok(m.need_reply
            || (self.message(m.id).acknowledged
                && judge.choice(self.readings.acknowledged_unasked)? == option::ALWAYS))
    }

    /// The back-end answers.
    fn reply(
        &self,
        s: &State<R>,
        (id, ring, value, descriptors): (MessageId, u8, Value, u8),
        judge: &mut Judge,
    ) -> Verdict<Self> {
        let Some(owing) = s.owed.head() else {
            let broken = judge.enforces(self.laws.unasked);
            return Ok(if broken { On::Broken(self.laws.unasked) } else { On::Ignore });
        };
        let m = &owing.message;
        if m.id != id && judge.enforces(self.laws.reply_header) {
            return Ok(On::Broken(self.laws.reply_header));
        }
        let def = self.message(m.id);
        if answer_ring(def, m) != ring && judge.enforces(self.laws.reply_payload) {
            return Ok(On::Broken(self.laws.reply_payload));
        }
        let row = &def.rows[owing.row as usize];
        if !row.ready.iter().all(|guard| guard.holds(s, m)) {
            let late = row.late.unwrap_or(self.laws.reply_must);
            if judge.enforces(late) {
                return Ok(On::Broken(late));
            }
        }
        let answer = def.answer.unwrap_or(Answer::Ack);
        if answer == Answer::Base {
            // Once the ring is stopped nothing changes, so all that was written is marked by now.
            let unmarked = s.rings[m.ring as usize].unmarked;
            if let Some((_, clause)) = self.parts().iter().find(|(part, _)| unmarked & part != 0) {
                return Ok(On::Broken(*clause));
            }
        }
        if answer == Answer::Log {
            let option = judge.choice(self.readings.log_taken)?;
            let fits = TAKEN.get(option as usize) == Some(&value);
            if !fits && judge.enforces(self.laws.reply_payload) {
                return Ok(On::Broken(self.laws.reply_payload));
            }
        }
        let done = row.refused.filter(|_| answer == Answer::Ack && value.0 == 0);
        if let Some(clause) = done.or_else(|| self.wrong(s, m, answer, value, descriptors))
            && judge.enforces(clause)
        {
            return Ok(On::Broken(clause));
        }
        let mut next = State { owed: s.owed.pop(), torn: false, ..*s };
        match answer {
            Answer::Features => next.offered = value,
            Answer::ProtocolFeatures => next.protocol_offered = value,
            Answer::Slots => next.slots = u16::try_from(value.0).unwrap_or(u16::MAX),
            Answer::Ack if value.0 != 0 && (row.refusable || row.refused.is_some()) => {}
            // What another refused command leaves behind, no text says.
            Answer::Ack if value.0 != 0 && judge.enforces(self.laws.ack_value) => {
                return Ok(On::Undefined(self.laws.ack_value));
            }
            _ => {}
        }
        if answer.succeeds(value) {
            row.reply.iter().for_each(|effect| effect.apply(&mut next, m));
        }
        Ok(On::To(next))
    }

    /// The clause that this answer's content breaks.
    fn wrong(
        &self,
        s: &State<R>,
        m: &Message,
        answer: Answer,
        value: Value,
        descriptors: u8,
    ) -> Option<ClauseId> {
        let clause = match answer {
            Answer::Base => self.laws.base,
            Answer::Status => self.laws.read_back,
            Answer::Transfer if value.0 & 0xff != 0 => {
                return (descriptors > 0).then_some(self.laws.error_and_descriptor);
            }
            Answer::Transfer => {
                let says_none = value.0 >> 8 & 1 == 1;
                return (says_none != (descriptors == 0)).then_some(self.laws.transfer_bits);
            }
            Answer::Config => {
                let fits = value == m.value || value == Value(0);
                return (!fits).then_some(self.laws.config_size);
            }
            // Whatever a queue is, there is a device only where there is one.
            Answer::Number => return (value.0 == 0).then_some(self.laws.queues),
            _ => return None,
        };
        (answer.demanded(s, m) != Some(value)).then_some(clause)
    }

    /// The back-end puts a request into the used ring.
    fn used(&self, s: &State<R>, ring: u8, request: u16, judge: &mut Judge) -> Verdict<Self> {
        let r = &s.rings[ring as usize];
        let broken = if r.is_open(request) {
            if s.suspended {
                Some(self.laws.no_guest_writes)
            } else if !r.started && !self.draining(s, ring) {
                Some(self.laws.not_processed)
            } else if !r.enabled && judge.choice(self.readings.disabled_requests)? == option::HOLD {
                Some(self.laws.no_side_effects)
            } else {
                None
            }
        } else if (request.wrapping_sub(r.base) as i16) < 0 {
            Some(self.laws.once)
        } else if (request.wrapping_sub(r.available) as i16) >= 0 {
            Some(self.laws.available_only)
        } else if !r.started {
            // Available, not fetched: nothing may be fetched from it now.
            Some(self.laws.not_processed)
        } else if !r.enabled {
            Some(self.laws.no_side_effects)
        } else {
            return Ok(On::Refuse);
        };
        if let Some(clause) = broken
            && judge.enforces(clause)
        {
            return Ok(On::Broken(clause));
        }
        let mut next = *s;
        let r = &mut next.rings[ring as usize];
        r.open &= !(1 << (request % 64));
        r.used = r.used.wrapping_add(1);
        r.unnotified = self.notifies(s, r);
        r.call_fresh = false;
        r.batch |= r.recorded & 1 << (request % 64);
        if s.logging() && judge.choice(self.readings.who_marks)? == option::BACK_END {
            for (part, clause) in self.parts() {
                if (part == BUFFERS || r.log_used) && judge.enforces(clause) {
                    r.unmarked |= part;
                }
            }
        }
        next.internal = next.internal.wrapping_add(1);
        Ok(On::To(next))
    }

    /// GET_VRING_BASE for this ring was read and is not answered yet.
    #[must_use]
    pub fn draining(&self, s: &State<R>, ring: u8) -> bool {
        let stops = |o: &Owing| {
            o.message.ring == ring && self.message(o.message.id).answer == Some(Answer::Base)
        };
        s.owed.iter().any(stops)
    }

    /// The back-end notifies the guest.
    fn call(&self, s: &State<R>, ring: u8, judge: &mut Judge) -> Verdict<Self> {
        let r = &s.rings[ring as usize];
        let suspended = self.suspended(s);
        if r.call_polled && judge.enforces(self.laws.call_taken) {
            return Ok(On::Broken(self.laws.call_taken));
        }
        if suspended
            && !(r.call_fresh && judge.choice(self.readings.call_at_setup)? == option::SIGNALS)
            && judge.enforces(self.laws.no_notifications)
        {
            return Ok(On::Broken(self.laws.no_notifications));
        }
        let mut next = *s;
        let r = &mut next.rings[ring as usize];
        if !r.unnotified && !suspended {
            return Ok(On::Ignore); // one too many tells the guest nothing
        }
        r.unnotified = false;
        r.call_fresh &= !suspended;
        Ok(On::To(next))
    }

    /// The two pages of a ring, and the clause by which writes to each are marked.
    fn parts(&self) -> [(u8, ClauseId); 2] {
        [(BUFFERS, self.laws.marks_buffers), (USED_RING, self.laws.marks_used_ring)]
    }

    /// The back-end marks a page in the dirty log.
    fn marked(
        &self,
        s: &State<R>,
        ring: u8,
        part: u8,
        log: u8,
        judge: &mut Judge,
    ) -> Verdict<Self> {
        if s.log != log {
            return Ok(On::Refuse);
        }
        if s.rings[ring as usize].unmarked & part == 0 {
            // Once too often costs the front-end a page; but nothing changes once all is stopped.
            let late = self.suspended(s) && judge.enforces(self.laws.no_update);
            return Ok(if late { On::Broken(self.laws.no_update) } else { On::Ignore });
        }
        let mut next = *s;
        next.rings[ring as usize].unmarked &= !part;
        Ok(On::To(next))
    }

    /// Whether the back-end takes up, again, what an earlier process left behind.
    fn resubmits(&self, s: &State<R>, ring: &Ring, judge: &mut Judge) -> bool {
        let may = ring.started && ring.enabled && s.in_flight && !s.closed && !s.suspended;
        may && ring.left_behind() != 0 && judge.enforces(self.laws.resubmits)
    }

    /// Whether nothing stands in the way of being suspended as was asked.
    fn finished(s: &State<R>) -> bool {
        s.suspending && s.rings.iter().all(|r| r.open == 0)
    }

    /// No ring runs any more, and every answer about it was given; or SUSPEND is in force.
    pub(super) fn suspended(&self, s: &State<R>) -> bool {
        let draining = || (0..R as u8).any(|r| self.draining(s, r));
        s.suspended || (s.born && s.all_stopped() && !draining())
    }

    /// Whether the back-end may take a request from this ring now.
    fn fetches(&self, s: &State<R>, ring: &Ring, judge: &mut Judge) -> Result<bool, Ask> {
        if ring.waiting() == 0 || ring.is_open(ring.base) || s.closed {
            return Ok(false);
        }
        if (s.suspended || s.suspending) && judge.enforces(self.laws.no_guest_writes) {
            return Ok(false);
        }
        // An available index further ahead than the ring is long is no index of this ring's.
        if ring.is_broken() {
            return Ok(false);
        }
        if self.resubmits(s, ring, judge) {
            return Ok(false);
        }
        if !ring.started && judge.enforces(self.laws.not_processed) {
            return Ok(false);
        }
        Ok(ring.enabled
            || judge.choice(self.readings.disabled_requests)? == option::PROCESS
            || !judge.enforces(self.laws.no_side_effects))
    }

    /// Whether the back-end has found an error after which it may close the connection: a message
    /// that is not there as a whole or is not taken, or a ring that the guest has broken.
    fn may_close(&self, s: &State<R>, judge: &mut Judge) -> Result<bool, Ask> {
        let broken = s.rings.iter().any(|ring| ring.started && ring.is_broken());
        Ok(s.torn
            || s.expelled
            || (broken && judge.choice(self.readings.broken_ring)? == option::CLOSES))
    }

    /// Whether no kick starts any ring yet, since the driver is not ready.
    fn waits_for_driver(&self, s: &State<R>, judge: &mut Judge) -> Result<bool, Ask> {
        let negotiated = self.table.status.is_some_and(|bit| s.protocol.0 >> bit & 1 == 1);
        Ok(u64::from(s.status) & (DRIVER_OK | SUSPEND) == 0
            && negotiated
            && judge.choice(self.readings.before_driver_ok)? == option::WAITS_FOR_DRIVER)
    }

    /// Whether the back-end notices a kick on this ring's descriptor. Until GET_VRING_BASE is
    /// answered none starts the ring again: with the answer it is stopped.
    fn notices(&self, s: &State<R>, index: usize, judge: &mut Judge) -> Result<bool, Ask> {
        let ring = &s.rings[index];
        if !ring.kicked || !ring.kick_set || s.suspended || s.closed {
            return Ok(false);
        }
        if self.draining(s, index as u8) {
            return Ok(false);
        }
        if ring.parked && judge.choice(self.readings.kick_after_stop)? != option::KEEPS {
            return Ok(false);
        }
        Ok(!self.waits_for_driver(s, judge)?)
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

/// The ring that an answer names: that of its message if the answer has a place for one, else 0.
fn answer_ring(def: &MessageDef, m: &Message) -> u8 {
    if def.reply == Some(PayloadKind::VringState) { m.ring } else { 0 }
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

    fn on(&self, s: &State<R>, event: &Event, judge: &mut Judge) -> Verdict<Self> {
        if s.closed {
            // It does and reads nothing more; what others do is theirs.
            let own = event.owner() == BACK_END || matches!(event, Event::Message(_));
            return Ok(if own { On::Refuse } else { On::Ignore });
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
                return Ok(if waits { On::Ignore } else { On::Refuse });
            }
            Event::KickRead { .. } => return Ok(On::Ignore),
            Event::Close if !self.may_close(s, judge)? && judge.enforces(self.laws.close) => {
                return Ok(On::Broken(self.laws.close));
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
            Event::Saved { value } if s.transfer != Transfer::Saving || value != s.internal => {
                return Ok(On::Refuse);
            }
            Event::Saved { value } => {
                next.transfer = Transfer::Saved;
                next.image = value;
            }
            Event::Loaded { .. } if s.transfer != Transfer::Loading => {
                return Ok(On::Undefined(self.laws.check_reports));
            }
            Event::Loaded { value } => {
                next.transfer = Transfer::Loaded;
                next.internal = value;
            }
            Event::Marked { ring, used_ring, log } => {
                let part = if used_ring { USED_RING } else { BUFFERS };
                return self.marked(s, ring, part, log, judge);
            }
            Event::Successor { .. } => next = s.successor(judge.enforces(self.laws.settles)),
            Event::Pieces { payload } => {
                next.torn |= match judge.choice(self.readings.pieces)? {
                    option::TOGETHER => false,
                    option::WHOLE => true,
                    _ => payload,
                };
            }
            Event::Vcpus { .. } | Event::Copied { .. } => return Ok(On::Ignore),
        }
        Ok(On::To(next))
    }

    fn owes(&self, s: &State<R>, judge: &mut Judge) -> Result<Owed, Ask> {
        if s.closed {
            return Ok(Owed::NONE);
        }
        let mut all = Owed::NONE
            .with_if(!s.owed.is_empty(), owed::REPLY)
            .with_if(s.transfer == Transfer::Saving, Self::slot(owed::STATE))
            .with_if(!s.asked.is_empty(), Self::slot(owed::ANSWER))
            .with_if(Self::finished(s), Self::slot(owed::SUSPEND))
            .with_if(s.changed && !s.all_stopped(), Self::slot(owed::CHANGE))
            .with_if(s.expelled, Self::slot(owed::CLOSE));
        for (index, ring) in s.rings.iter().enumerate() {
            let held = !ring.enabled
                && ring.open != 0
                && judge.choice(self.readings.disabled_requests)? == option::HOLD;
            let processing = ring.started || self.draining(s, index as u8);
            let due = self.resubmits(s, ring, judge)
                || (ring.open != 0 && processing && !s.suspended && !held)
                || (ring.started && self.fetches(s, ring, judge)?)
                // A kick asks for nothing further of a ring that cannot be processed.
                || (!(ring.started && ring.is_broken()) && self.notices(s, index, judge)?);
            all = all
                .with_if(due, owed::RING + index as u32)
                .with_if(ring.unnotified && ring.started, Self::slot(owed::NOTIFY))
                .with_if(self.owes_report(s, ring), Self::slot(owed::REPORT))
                .with_if(ring.unmarked & BUFFERS != 0, Self::slot(owed::MARK))
                .with_if(ring.unmarked & USED_RING != 0, Self::slot(owed::MARK_USED_RING));
        }
        Ok(all)
    }

    fn obligation(&self, slot: u32) -> Obligation {
        let index = Self::of_slot(slot);
        if index == owed::ANSWER {
            let (clause, class) = (self.laws.told_answered, TimeClass::Reply);
            return Obligation {
                by: FRONT_END,
                clause,
                class,
                what: "back-end's message answered",
            };
        }
        let (clause, class, what) = match index {
            owed::REPLY => (self.laws.reply_must, TimeClass::Reply, "answer"),
            owed::STATE => (self.laws.writer_closes, TimeClass::Io, "device state written"),
            owed::NOTIFY => (self.laws.notify, TimeClass::Courtesy, "notification"),
            owed::MARK => (self.laws.marks_buffers, TimeClass::Io, "write marked in the dirty log"),
            owed::MARK_USED_RING => {
                (self.laws.marks_used_ring, TimeClass::Io, "used ring marked in the dirty log")
            }
            owed::REPORT => (self.laws.reports, TimeClass::Courtesy, "broken ring reported"),
            owed::CHANGE => {
                (self.laws.tells_change, TimeClass::Courtesy, "change of configuration told")
            }
            owed::CLOSE => (self.laws.expels, TimeClass::Io, "connection closed"),
            owed::SUSPEND => (ClauseId::NONE, TimeClass::Io, "device suspended"),
            _ => (self.laws.processes, TimeClass::Io, "request processed"),
        };
        Obligation { by: BACK_END, clause, class, what }
    }

    fn discharges(&self, s: &State<R>, did: &Did<Event>) -> Owed {
        let index = match did {
            Did::Event(Event::Reply { .. }) => owed::REPLY,
            Did::Event(Event::Saved { .. }) => owed::STATE,
            Did::Event(Event::Call { .. }) => owed::NOTIFY,
            Did::Event(Event::Error { .. }) => owed::REPORT,
            Did::Event(Event::Close) if s.expelled => owed::CLOSE,
            Did::Event(Event::BackEndMessage(m)) => {
                match self.own_message(m.id).and_then(|def| def.signal) {
                    Some(Signal::Call) => owed::NOTIFY,
                    Some(Signal::Error) => owed::REPORT,
                    Some(Signal::Config) => owed::CHANGE,
                    None => return Owed::NONE,
                }
            }
            Did::Event(Event::BackEndAnswer { .. }) => owed::ANSWER,
            Did::Event(Event::Used { ring, .. }) => owed::RING + u32::from(*ring),
            // A mark too many brings nothing further.
            Did::Event(Event::Marked { ring, used_ring, .. }) => {
                let part = if *used_ring { USED_RING } else { BUFFERS };
                if s.rings[*ring as usize].unmarked & part == 0 {
                    return Owed::NONE;
                }
                if *used_ring { owed::MARK_USED_RING } else { owed::MARK }
            }
            Did::Hidden(Step { name: step::SUSPEND, .. }) => owed::SUSPEND,
            // It is no progress for the ring, which the record does not hold up.
            Did::Hidden(Step { name: step::CLEAR, .. }) => return Owed::NONE,
            Did::Hidden(step) => owed::RING + u32::from(step.index),
            Did::Event(_) => return Owed::NONE,
        };
        Owed::NONE.with(Self::slot(index))
    }

    fn hidden(
        &self,
        s: &State<R>,
        judge: &mut Judge,
        f: &mut dyn FnMut(Step, State<R>),
    ) -> Result<(), Ask> {
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
    fn offers(&self, s: &State<R>, f: &mut dyn FnMut(Offer<Event>)) {
        if let Some(Owing { message, .. }) = s.owed.head() {
            self.answers(message, &mut |event| f(Offer::May(event)));
        }
        for (index, ring) in s.rings.iter().enumerate() {
            let index = index as u8;
            for request in 0..self.bounds.requests {
                f(Offer::May(Event::Used { ring: index, request }));
            }
            if ring.unnotified || self.suspended(s) {
                f(Offer::May(Event::Call { ring: index }));
            }
            if s.log != 0 {
                for used_ring in [false, true] {
                    f(Offer::May(Event::Marked { ring: index, used_ring, log: s.log }));
                }
            }
        }
        if s.transfer == Transfer::Saving {
            f(Offer::May(Event::Saved { value: s.internal }));
        }
        if s.channel {
            self.messages_of_its_own(&mut |event| f(Offer::May(event)));
        }
        f(Offer::May(Event::Close));
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
        (0..8).for_each(|value| f(Event::Saved { value }));
    }

    /// Messages that are owed an answer are shown as in the socket.
    fn describe(&self, s: &State<R>) -> Map<String, Json> {
        let owed = |o: &Owing| self.label(&Event::Message(o.message)).unwrap_or_default();
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

    /// GET_VRING_BASE is what stops ring 0, and its answer tells where it stopped.
    fn as_ring(&self, event: &Event) -> Option<Act> {
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

    fn at_end(&self, s: &State<R>) -> bool {
        let resting = |r: &Ring| {
            let kick_due = r.kicked && r.kick_set && !r.parked;
            let waits = r.waiting() > 0 && (r.size == 0 || r.waiting() <= r.size);
            let left = s.in_flight && r.left_behind() != 0;
            let request_due = r.started && (r.open != 0 || (r.enabled && (waits || left)));
            !kick_due && !request_due && r.unmarked == 0
        };
        let idle = !matches!(s.transfer, Transfer::Saving | Transfer::Loading);
        s.owed.is_empty()
            && s.asked.is_empty()
            && !s.suspending
            && idle
            && (s.suspended || s.rings.iter().all(resting))
    }
}

impl<const R: usize> VhostUser<R> {
    /// The answers to a message that exploration tries, right and wrong.
    fn answers(&self, m: &Message, f: &mut dyn FnMut(Event)) {
        let mut answer = |value: u64| {
            let ring = answer_ring(self.message(m.id), m);
            f(Event::Reply { id: m.id, ring, value: Value(value), descriptors: 0 });
        };
        match self.message(m.id).answer.unwrap_or(Answer::Ack) {
            Answer::Features => answer(self.bounds.features),
            Answer::ProtocolFeatures => answer(self.bounds.protocol),
            Answer::Number => answer(R as u64),
            Answer::Slots => answer(2),
            Answer::Base => (0..=u64::from(self.bounds.requests)).for_each(answer),
            Answer::Status => (0..32).for_each(answer),
            Answer::Transfer => answer(1 << 8),
            Answer::Config | Answer::Descriptor | Answer::Session => answer(0),
            Answer::Check | Answer::Ack => answer(0),
            Answer::Log => TAKEN.iter().for_each(|taken| answer(taken.0)),
            Answer::InFlight => answer(1),
        }
    }
}
