//! The front-end's messages, and the back-end's answers to them: by the table's rows.

use crate::protocol::vhost_user::ids::{Acknowledged, LoadPending, LogTaken, ReadsAhead};
use devmig_engine::clause::ClauseId;
use devmig_engine::machine::{Reaction, Verdict};
use devmig_engine::rules::{OpenChoice, RuleContext};

use super::{VhostUser, granted};
use crate::protocol::vhost_user::event::{Event, Message, MessageId, Value};
use crate::protocol::vhost_user::state::{PendingReply, State, Transfer};
use crate::protocol::vhost_user::table::{MessageDef, Row};
use crate::protocol::vhost_user::vocabulary::Answer;
use crate::protocol::vhost_user::wire::PayloadKind;

/// The length of what answers SET_LOG_BASE.
fn taken_log(payload: LogTaken) -> Value {
    match payload {
        LogTaken::Number => Value(8),
        LogTaken::Request => Value(16),
        LogTaken::Nothing => Value(0),
    }
}

impl<const R: usize> VhostUser<R> {
    /// The front-end's message is read.
    pub(super) fn read(&self, s: &State<R>, m: &Message, judge: &mut RuleContext) -> Verdict<Self> {
        let expelled = s.must_disconnect && judge.enforces(self.laws.expels);
        if s.closed || expelled || s.owed.is_full() {
            return Ok(Reaction::Disabled);
        }
        if !s.owed.is_empty() && self.readings.reads_ahead.taken(judge)? == ReadsAhead::Waits {
            return Ok(Reaction::Disabled);
        }
        if s.transfer.is_loading() && self.readings.load_pending.taken(judge)? == LoadPending::Waits
        {
            return Ok(Reaction::Disabled);
        }
        let def = self.message(m.id);
        let open = self.table.knows(def.since) && granted(s, def.gate.as_ref(), def.virtio);
        if !open && judge.enforces(self.laws.gated) {
            return Ok(Reaction::Violation(self.laws.gated));
        }
        let acknowledges = s.protocol.0 >> self.table.reply_ack & 1 == 1;
        if m.need_reply && !acknowledges && judge.enforces(self.laws.asks_unheard) {
            return Ok(Reaction::Violation(self.laws.asks_unheard));
        }
        let Some((index, row)) = self.row(def, s, m, judge)? else { return Ok(Reaction::To(*s)) };
        if let Some(clause) = row.breaks {
            return Ok(Reaction::Violation(clause));
        }
        if let Some(clause) = row.undefined {
            return Ok(Reaction::Unspecified(clause));
        }
        let mut next = *s;
        for effect in &row.receive {
            effect.apply(&mut next, m);
        }
        if def.reply.is_some() || self.acknowledges(s, m, judge)? {
            let owing = PendingReply { message: *m, row: index };
            next.owed = next.owed.push(owing).unwrap_or(next.owed);
        }
        Ok(Reaction::To(next))
    }

    /// The first row that applies, and its index; a row whose broken clause is switched off does not.
    ///
    /// # Errors
    /// [`OpenChoice`] if an open choice decides.
    pub fn row<'t>(
        &self,
        def: &'t MessageDef,
        s: &State<R>,
        m: &Message,
        judge: &mut RuleContext,
    ) -> Result<Option<(u8, &'t Row)>, OpenChoice> {
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
    pub(super) fn acknowledges(
        &self,
        s: &State<R>,
        m: &Message,
        judge: &mut RuleContext,
    ) -> Result<bool, OpenChoice> {
        if s.protocol.0 >> self.table.reply_ack & 1 == 0 {
            // Who was asked against the rules may answer.
            return Ok(m.need_reply && !judge.enforces(self.laws.asks_unheard));
        }
        Ok(m.need_reply
            || (self.message(m.id).acknowledged
                && self.readings.acknowledged_unasked.taken(judge)? == Acknowledged::Always))
    }

    /// The back-end answers.
    pub(super) fn reply(
        &self,
        s: &State<R>,
        (id, ring, value, descriptors): (MessageId, u8, Value, u8),
        judge: &mut RuleContext,
    ) -> Verdict<Self> {
        let Some(owing) = s.owed.head() else {
            let broken = judge.enforces(self.laws.unasked);
            return Ok(if broken {
                Reaction::Violation(self.laws.unasked)
            } else {
                Reaction::Ignore
            });
        };
        let m = &owing.message;
        if m.id != id && judge.enforces(self.laws.reply_header) {
            return Ok(Reaction::Violation(self.laws.reply_header));
        }
        let def = self.message(m.id);
        if answer_ring(def, m) != ring && judge.enforces(self.laws.reply_payload) {
            return Ok(Reaction::Violation(self.laws.reply_payload));
        }
        let row = &def.rows[owing.row as usize];
        if !row.ready.iter().all(|guard| guard.holds(s, m)) {
            let late = row.late.unwrap_or(self.laws.reply_must);
            if judge.enforces(late) {
                return Ok(Reaction::Violation(late));
            }
        }
        let answer = def.answer.unwrap_or(Answer::Ack);
        if answer == Answer::Base {
            // Once the ring is stopped nothing changes, so all that was written is marked by now.
            let unmarked = s.rings[m.ring as usize].unmarked;
            if let Some((_, clause)) = self.parts().iter().find(|(part, _)| unmarked & part != 0) {
                return Ok(Reaction::Violation(*clause));
            }
        }
        if answer == Answer::Log {
            let fits = value == taken_log(self.readings.log_taken.taken(judge)?);
            if !fits && judge.enforces(self.laws.reply_payload) {
                return Ok(Reaction::Violation(self.laws.reply_payload));
            }
        }
        let untrue = s.transfer == Transfer::Cut && answer == Answer::Check && value.0 == 0;
        if untrue && judge.enforces(self.laws.check_reports) {
            return Ok(Reaction::Violation(self.laws.check_reports));
        }
        let done = row.refused.filter(|_| answer == Answer::Ack && value.0 == 0);
        if let Some(clause) = done.or_else(|| self.wrong(s, m, answer, value, descriptors))
            && judge.enforces(clause)
        {
            return Ok(Reaction::Violation(clause));
        }
        let mut next = State { owed: s.owed.pop(), partial_message: false, ..*s };
        match answer {
            Answer::Features => next.offered = value,
            Answer::ProtocolFeatures => next.protocol_offered = value,
            Answer::Slots => next.slots = u16::try_from(value.0).unwrap_or(u16::MAX),
            Answer::Ack if value.0 != 0 && (row.refusable || row.refused.is_some()) => {}
            // What another refused command leaves behind, no text says.
            Answer::Ack if value.0 != 0 && judge.enforces(self.laws.ack_value) => {
                return Ok(Reaction::Unspecified(self.laws.ack_value));
            }
            _ => {}
        }
        if answer.succeeds(value) {
            row.reply.iter().for_each(|effect| effect.apply(&mut next, m));
        }
        Ok(Reaction::To(next))
    }

    /// The clause that this answer's content breaks.
    pub(super) fn wrong(
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

    /// The answer to a message with this number.
    pub(super) fn answer(&self, m: &Message, value: u64) -> Event {
        let ring = answer_ring(self.message(m.id), m);
        Event::Reply { id: m.id, ring, value: Value(value), descriptors: 0 }
    }

    /// The answers to a message that exploration tries, right and wrong.
    pub(super) fn answers(&self, m: &Message, f: &mut dyn FnMut(Event)) {
        let mut answer = |value: u64| f(self.answer(m, value));
        match self.message(m.id).answer.unwrap_or(Answer::Ack) {
            Answer::Features => answer(self.bounds.features),
            Answer::ProtocolFeatures => answer(self.bounds.protocol),
            Answer::Number => answer(R as u64),
            Answer::Slots => answer(2),
            Answer::Base => (0..=u64::from(self.bounds.requests)).for_each(answer),
            Answer::Status => (0..32).chain(64..96).for_each(answer),
            Answer::Transfer => answer(1 << 8),
            Answer::Config | Answer::Descriptor | Answer::Session => answer(0),
            Answer::Check | Answer::Ack => answer(0),
            Answer::Log => [LogTaken::Number, LogTaken::Request, LogTaken::Nothing]
                .into_iter()
                .for_each(|taken| answer(taken_log(taken).0)),
            Answer::InFlight => answer(1),
        }
    }
}

/// The ring that an answer names: that of its message if the answer has a place for one, else 0.
fn answer_ring(def: &MessageDef, m: &Message) -> u8 {
    if def.reply == Some(PayloadKind::VringState) { m.ring } else { 0 }
}
