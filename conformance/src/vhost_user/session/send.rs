//! What is sent: a message, if what it needs was offered.

use devmig_model::protocol::vhost_user::event::{Event, Message, MessageId, Value};
use devmig_model::protocol::vhost_user::program::Number;
use devmig_model::protocol::vhost_user::state::LOG_ALL;
use devmig_model::protocol::vhost_user::systems::F_PROTOCOL_FEATURES;
use devmig_model::protocol::vhost_user::table::{Condition, MessageDef, Row};
use devmig_model::protocol::vhost_user::vocabulary::{Answer, Effect, Guard};
use devmig_model::protocol::vhost_user::wire::{Flags, Header, PayloadKind};

use super::Session;
use super::link::{Part, Sent};
use crate::harness::verdict::TestEnd;
use crate::vhost_user::drive::Move;

impl Session<'_> {
    pub(super) fn send(&mut self, id: MessageId, ring: u8, number: Number) -> Result<(), TestEnd> {
        let machine = self.machine();
        let def = machine.message(id);
        if let Some(gate) = def.gate.as_ref().filter(|gate| self.negotiation.is_shut(gate)) {
            return Err(TestEnd::Skip(format!("needs {}", gate.feature)));
        }
        if let Some(bit) = def.virtio.filter(|bit| self.negotiation.features >> bit & 1 == 0) {
            return Err(TestEnd::Skip(format!("needs virtio feature {bit}")));
        }
        // Guest memory has parts: 0 or 1 is all of it, 2 the buffers, 3 the rings.
        let part = if let Number::Literal(part @ 2..) = number { part } else { 1 };
        if number == Number::Logging && self.negotiation.offered >> LOG_ALL & 1 == 0 {
            return Err(TestEnd::Skip("needs VHOST_F_LOG_ALL (feature bit 26)".into()));
        }
        let mut number = self.value(def, ring, number)?;
        let has = |effect| def.has(effect);
        let needs_bit_30 = |row: &Row| {
            let without = Condition { guard: Guard::Bit30Offered, wanted: false };
            row.breaks.is_some() && row.when.contains(&without)
        };
        if self.negotiation.offered & F_PROTOCOL_FEATURES == 0 && def.rows.iter().any(needs_bit_30)
        {
            // Without bit 30 there is nothing to negotiate, and rings are enabled from the start: a
            // front-end leaves out what would only say so.
            let idle = has(Effect::SetProtocolFeatures)
                || def.answer == Some(Answer::ProtocolFeatures)
                || (has(Effect::SetEnabled) && number == 1);
            let why = "needs protocol features (feature bit 30)";
            return if idle { Ok(()) } else { Err(TestEnd::Skip(why.to_owned())) };
        }
        if has(Effect::SetFeatures) {
            self.driver.accept(number)?;
            self.negotiation.features = number;
        }
        let (payload, mut fds) = self.payload(def, ring, &mut number, part)?;
        fds.extend(self.link.stray()?);
        let ring = if def.names_ring() { ring } else { 0 };
        let need_reply =
            self.negotiation.acknowledged && self.negotiation.acknowledges(&machine.table);
        let message = Message { id, ring, value: Value(number), need_reply };
        if has(Effect::SetProtocolFeatures) {
            self.negotiation.protocol = number;
        }
        if has(Effect::SetFeatures) {
            self.tracking.accepted = number >> LOG_ALL & 1 == 1;
        }
        if has(Effect::SetLogFlag) {
            self.tracking.flag(ring, number & 1 == 1);
        }
        let bytes = payload.encode();
        let flags = Flags::request();
        let flags = if need_reply { flags.with_need_reply() } else { flags };
        let header = Header { request: def.id, flags, size: bytes.len() as u32 };
        for part in self.link.cuts(bytes.len()) {
            self.did(&Event::Pieces { payload: part == Part::Payload })?;
        }
        self.conversation.send(Event::Message(message));
        self.negotiation.keeps.did(&machine.table, &Move::Message(message));
        // All that takes time is done: what is to come shortly before the message is now.
        if let Some(kick) = self.driver.delayed_kick.take() {
            self.driver.kick(kick.ring)?;
            kick.pause();
            self.driver.used_at_stop = self.driver.line(kick.ring)?.ring.used_index().ok();
        }
        let gives_call = has(Effect::SetCall) && !fds.is_empty();
        let sent = self.link.send(header, &bytes, fds, self.limits.owed)?;
        self.sent(sent)?;
        if gives_call {
            self.driver.line_mut(ring)?.call_given();
        }
        self.negotiation.unread = def.reply.is_none() && !need_reply;
        if !self.negotiation.unread {
            self.await_answer(id)?;
        }
        // A ring that is enabled may now owe what it did not before.
        if has(Effect::SetEnabled) || has(Effect::SetFeatures) { self.announce() } else { Ok(()) }
    }

    /// The number that a step means, where the message itself says more.
    pub(super) fn value(&self, def: &MessageDef, ring: u8, number: Number) -> Result<u64, TestEnd> {
        match def.request {
            PayloadKind::Memory => Ok(1),
            _ if def.has(Effect::SetSize) => Ok(u64::from(self.driver.line(ring)?.ring.size())),
            _ => self.negotiation.number(&self.machine().table, &self.driver, ring, number),
        }
    }

    /// What became of bytes that were to be sent.
    pub(super) fn sent(&mut self, sent: Sent) -> Result<(), TestEnd> {
        match sent {
            Sent::Done => Ok(()),
            Sent::NotConnected => Err(self.over()),
            Sent::Closed => self.saw_close(),
            Sent::Blocked(how) => {
                let clause = self.machine().laws.reply_must;
                self.conversation.unexpected(clause, &how)
            }
        }
    }

    /// Why nothing more can be sent: the back-end has closed, and may.
    pub(super) fn over(&self) -> TestEnd {
        match self.conversation.is_unspecified() {
            true => TestEnd::Skip(
                "the connection was closed where the specification does not say what follows"
                    .into(),
            ),
            false => TestEnd::Over,
        }
    }
}
