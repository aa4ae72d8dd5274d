//! Looking: what the back-end has done since the last look, in the one order in which it is read and
//! reported.
//!
//! **Invariant.** Effects are read first (the socket, then event descriptors, then memory), causes are
//! reported first (memory, then notifications, then the answer). So whatever is seen in memory after
//! an answer was *read* may have been written before it was *sent*; only what the next sample finds
//! came after it.

use devmig_engine::clause::ClauseId;
use devmig_model::protocol::vhost_user::event::{
    BACK_END, BackEndMessage, Event, RingImages, Value,
};
use devmig_model::protocol::vhost_user::form::{Raw, own};

use super::driver::Returned;
use super::{RINGS, Session};
use crate::harness::conversation::Record;
use crate::harness::io::ring::RingError;
use crate::harness::io::target::TargetError;
use crate::harness::verdict::TestEnd;
use crate::vhost_user::Deadline;
use crate::vhost_user::drive::Move;
use crate::vhost_user::transport::{ReceiveError, Received};

impl Session<'_> {
    /// Reads effects first, reports causes first. Whether anything came.
    pub(super) fn sample(&mut self) -> Result<bool, TestEnd> {
        let flushed = self.link.flush(self.limits.owed)?;
        self.sent(flushed)?;
        let incoming = self.link.receive(Deadline::now());
        let own = self.back_end_channel.receive()?;
        let (calls, errors) = self.driver.notified()?;
        let noticed = self.driver.noticed()?;
        let mut came = self.used()?;
        for marked in self.tracking.marks()? {
            came = true;
            let (ring, used_ring, log) = (marked.ring, marked.used_ring, marked.log);
            self.conversation.observe(&Event::Marked { ring, used_ring, log })?;
        }
        if self.tracking.others_turn(self.driver.rings())? {
            let observed = "a mark of another party in the dirty log is lost";
            self.conversation.unexpected(ClauseId::NONE, observed)?;
        }
        for ring in noticed {
            self.conversation.observe(&Event::KickRead { ring })?;
        }
        if let Some(ring) = self.driver.called_replaced()? {
            let observed = format!("ring {ring} is called through a descriptor that was replaced");
            self.conversation.unexpected(self.machine().laws.on_the_fly, &observed)?;
        }
        for ring in calls {
            came = true;
            self.conversation.observe(&Event::Call { ring })?;
        }
        for ring in errors {
            came = true;
            self.conversation.observe(&Event::Error { ring })?;
        }
        came |= !own.is_empty();
        self.back_end_said(own)?;
        self.transfer.read()?;
        match incoming {
            None | Some(Err(ReceiveError::Timeout { .. })) => {}
            Some(Ok(received)) => {
                came = true;
                self.reply(received)?;
            }
            Some(Err(ReceiveError::Closed { after })) => {
                came = true;
                if after > 0 {
                    self.conversation.note(format!("<- {after} bytes of a message"));
                }
                self.saw_close()?;
            }
            Some(Err(ReceiveError::Io(error))) => return Err(TestEnd::harness(error)),
            Some(Err(error)) => {
                let clause = self.machine().laws.reply_payload;
                self.unusable(clause, &error.to_string())?;
            }
        }
        if let Some(length) = self.transfer.finish() {
            came = true;
            self.saved(length)?;
        }
        Ok(came)
    }

    /// The requests that came back.
    pub(super) fn used(&mut self) -> Result<bool, TestEnd> {
        let laws = &self.machine().laws;
        let mut came = false;
        for ring in 0..self.driver.rings() {
            loop {
                let returned = match self.driver.returned(ring) {
                    Ok(None) => break,
                    Ok(Some(returned)) => returned,
                    Err(error @ RingError::UsedIndex { .. }) => {
                        self.conversation.unexpected(laws.available_only, &error.to_string())?;
                        return Ok(true);
                    }
                    Err(error) => return Err(TestEnd::harness(error)),
                };
                came = true;
                let Returned { request, element, chain } = returned;
                if !self.awaited(ring, element)? {
                    return Ok(true);
                }
                self.conversation.observe(&Event::Used { ring, request })?;
                let Some((buffers, length)) = chain else { break };
                self.tracking.wrote(&self.driver, ring, &buffers, length, element);
                if let Err(wrong) = self.driver.check(ring, request, &buffers, length) {
                    self.conversation.unexpected(laws.processes, &wrong)?;
                }
            }
        }
        Ok(came)
    }

    /// A chain of this ring comes back, in the used ring's element of this index: whether it is due.
    fn awaited(&mut self, ring: u8, element: u16) -> Result<bool, TestEnd> {
        let held = self.driver.outside().is_some_and(|outside| outside.held(ring));
        if !held || self.driver.line(ring)?.announced() != element {
            return Ok(true);
        }
        let (clause, observed) = match self.is_disabled(ring)? {
            true => (
                self.machine().laws.no_side_effects,
                format!("a buffer is used in ring {ring}, which is disabled"),
            ),
            false => {
                (ClauseId::NONE, format!("a buffer of ring {ring} is used, and should stay empty"))
            }
        };
        self.conversation.unexpected(clause, &observed)?;
        Ok(false)
    }

    /// The back-end has closed the connection.
    pub(super) fn saw_close(&mut self) -> Result<(), TestEnd> {
        self.link.lose();
        let is_reply = |record: &Record<Event>| matches!(record, Record::Seen(Event::Reply { .. }));
        let records = self.conversation.records();
        let begun = records.iter().rposition(|record| matches!(record, Record::Fresh));
        let served = records.iter().skip(begun.unwrap_or(0)).any(is_reply);
        if !served && self.link.is_further() {
            return Err(self.link.serves_no_other(self.limits.quiet));
        }
        if !served && self.link.may_be_the_last() {
            let error = "the connection is closed before any reply".to_owned();
            return Err(TargetError::Gone { error }.end());
        }
        match self.conversation.observe(&Event::Close) {
            Err(TestEnd::Finding { clause, expected, .. }) => {
                self.link.must_not_close();
                let observed = "the connection is closed".to_owned();
                Err(TestEnd::Finding { clause, observed, expected })
            }
            other => other,
        }
    }

    /// What the back-end said on its own channel is judged, and answered at once.
    fn back_end_said(&mut self, all: Vec<Received>) -> Result<(), TestEnd> {
        let (table, laws) = (&self.machine().table, &self.machine().laws);
        for Received { header, payload, fds } in all {
            let sends_descriptors = table
                .feature("BACKEND_SEND_FD")
                .is_some_and(|bit| self.negotiation.protocol >> bit & 1 == 1);
            if !fds.is_empty() && !sends_descriptors {
                let observed = format!("{} descriptors on the back-end channel", fds.len());
                return self.conversation.unexpected(laws.told_descriptors, &observed);
            }
            let raw = Raw { header, payload: &payload, descriptors: fds.len(), late: 0 };
            let event = own(table, RINGS, BACK_END, raw);
            let Some(Event::BackEndMessage(message)) = event else {
                let observed = format!(
                    "message {} with {} bytes on the back-end channel, which does not have it",
                    header.request, header.size
                );
                return self.conversation.unexpected(laws.told_gated, &observed);
            };
            self.conversation.observe(&Event::BackEndMessage(message))?;
            self.acknowledge(message)?;
        }
        if let Some(wrong) = self.back_end_channel.take_wrong() {
            let observed = format!("on the back-end channel: {wrong}");
            return self.conversation.unexpected(laws.told_gated, &observed);
        }
        if let Some(most) = self.back_end_channel.too_many() {
            let observed = format!("more than {most} messages on the back-end channel");
            return self.conversation.unexpected(ClauseId::NONE, &observed);
        }
        Ok(())
    }

    /// Answers a message of the back-end's, if an answer is owed.
    fn acknowledge(&mut self, message: BackEndMessage) -> Result<(), TestEnd> {
        let machine = self.machine();
        let Some(def) = machine.own_message(message.id) else { return Ok(()) };
        let acknowledges = self.negotiation.acknowledges(&machine.table);
        let owed = def.reply.is_some() || (message.need_reply && acknowledges);
        if !owed || self.conversation.is_unspecified() {
            return Ok(());
        }
        let id = message.id;
        self.did(&Event::BackEndAnswer { id, value: Value(0), descriptors: 0 })?;
        self.back_end_channel.answer(def.id, Deadline::after(self.limits.quiet));
        Ok(())
    }

    /// The whole state is here. Its bytes are opaque: the model's number is what it says itself.
    fn saved(&mut self, length: usize) -> Result<(), TestEnd> {
        self.conversation.note(format!("<- {length} bytes of device state, and their end"));
        // What the device remembers cannot be seen, so any number that the model allows will do.
        let rings = RingImages::default();
        let any = (0..=u8::MAX).map(|value| Event::Saved { value, rings });
        self.conversation.observe_any(any, "the state channel ended")?;
        self.negotiation.keeps.did(&self.machine().table, &Move::ReadState);
        Ok(())
    }
}
