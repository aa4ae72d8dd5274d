//! Waiting: for an answer, for what is owed, or to see that nothing comes.
//!
//! **Invariant.** Every wait has a limit, and the last look is one that began after it: judging may take
//! long.

use std::os::fd::AsFd;
use std::time::Instant;

use devmig_engine::machine::TimeClass;
use devmig_model::protocol::vhost_user::event::MessageId;
use devmig_model::protocol::vhost_user::program::Number;
use devmig_model::protocol::vhost_user::table::MessageDef;
use devmig_model::protocol::vhost_user::vocabulary::Answer;

use super::Session;
use crate::harness::verdict::TestEnd;
use crate::vhost_user::Deadline;

impl Session<'_> {
    pub(super) fn await_answer(&mut self, id: MessageId) -> Result<(), TestEnd> {
        self.negotiation.answer = None;
        let deadline = Deadline::after(self.limits.owed);
        loop {
            // Judging may take long: the last look is one that began after the limit.
            let late = deadline.passed();
            self.sample()?;
            let is_answered = self.negotiation.answer.is_some_and(|(to, _)| to == id);
            if is_answered || self.conversation.is_unspecified() {
                return Ok(());
            }
            if !self.link.is_open() {
                return Err(self.over());
            }
            if late {
                let name = &self.machine().message(id).name;
                let silence = format!("no reply to {name} within {:?}", self.limits.owed);
                self.conversation.silent(TimeClass::Reply, &silence)?;
                // Some interpretation allows it here, as was learned by it; the reply may come later.
                self.conversation.note(format!("<- nothing ({silence})"));
                return Ok(());
            }
            self.pause()?;
        }
    }

    /// Waits until something comes through a descriptor, or a little: nothing tells that memory was
    /// written, or a kick read.
    pub(super) fn pause(&self) -> Result<(), TestEnd> {
        let channel = self.back_end_channel.socket().map(AsFd::as_fd);
        self.link.pause(self.driver.notifications().chain(channel).chain(self.transfer.reads()))
    }

    /// Waits until nothing of this class is owed.
    pub(super) fn settle(&mut self, class: TimeClass) -> Result<(), TestEnd> {
        let deadline = Deadline::after(self.limits.owed);
        let end = Deadline::after(self.limits.owed.saturating_mul(4));
        let mut calm = Instant::now();
        loop {
            let late = deadline.passed();
            let came = self.sample()?;
            if came {
                calm = Instant::now();
            }
            if self.conversation.is_unspecified() {
                return Ok(());
            }
            if calm.elapsed() >= self.limits.quiet.div_f32(4.0)
                && self.conversation.may_be_silent(class)?
            {
                return Ok(());
            }
            // Nobody is waited for who never stops, either.
            if (late && !came) || end.passed() {
                let observed = format!("nothing more within {:?}", self.limits.owed);
                return self.conversation.silent(class, &observed);
            }
            self.pause()?;
        }
    }

    /// Waits until nothing is owed, and no longer: what comes later is judged at the next step.
    pub(super) fn completed(&mut self) -> Result<(), TestEnd> {
        let deadline = Deadline::after(self.limits.owed);
        loop {
            let late = deadline.passed();
            self.sample()?;
            let ended = self.conversation.is_unspecified() || !self.link.is_open();
            if ended || self.conversation.may_be_silent(TimeClass::Courtesy)? {
                return Ok(());
            }
            if late {
                // What a device may take its time for is told apart from what may come late.
                return self.settle(TimeClass::Io).and_then(|()| self.settle(TimeClass::Courtesy));
            }
            self.pause()?;
        }
    }

    /// Nothing is expected; what comes is judged.
    pub(super) fn quiet(&mut self) -> Result<(), TestEnd> {
        let before = if self.is_suspended()? { self.driver.contents()? } else { None };
        let deadline = Deadline::after(self.limits.quiet);
        while !deadline.passed() {
            self.sample()?;
            self.pause()?;
        }
        let Some(before) = before.filter(|_| self.link.is_open()) else { return Ok(()) };
        let Some(after) = self.driver.contents()? else { return Ok(()) };
        let Some(at) = before.iter().zip(&after).position(|(before, after)| before != after) else {
            return Ok(());
        };
        let observed = format!("guest memory at {at:#x} was written while every ring is stopped");
        self.conversation.unexpected(self.machine().laws.no_guest_writes, &observed)
    }

    /// Whether every ring was stopped, by each interpretation that is left.
    fn is_suspended(&mut self) -> Result<bool, TestEnd> {
        self.conversation.every(|state, _| Ok(state.ever_started && state.all_stopped()))
    }

    /// Nothing is expected for as long as a request may take: readings by which something is owed are
    /// excluded. Where that is all of them, a kick that was not read is no reason to say anything: who
    /// does not listen to a ring that it may not process owes nothing.
    pub(super) fn silence(&mut self) -> Result<(), TestEnd> {
        let end = Deadline::after(self.limits.silence.saturating_mul(4));
        let mut calm = Deadline::after(self.limits.silence);
        while !calm.passed() && !end.passed() {
            if self.sample()? {
                calm = Deadline::after(self.limits.silence);
            }
            self.pause()?;
        }
        if self.driver.is_kicked() && !self.conversation.may_be_silent(TimeClass::Io)? {
            return Ok(());
        }
        let observed = format!("nothing more within {:?}", self.limits.silence);
        self.conversation.silent(TimeClass::Io, &observed)
    }

    pub(super) fn barrier(&mut self) -> Result<(), TestEnd> {
        let wanted = |def: &MessageDef| def.answer == Some(Answer::Features);
        match self.machine().table.messages.iter().position(wanted) {
            Some(index) => self.send(MessageId(index as u8), 0, Number::Literal(0)),
            None => Err(TestEnd::Harness("no message of the table asks for features".into())),
        }
    }

    /// Waits until every message was read. A kick that overtakes the messages that set its ring up is
    /// a race that front-ends do run into; the tests here do not.
    pub(super) fn read_all(&mut self) -> Result<(), TestEnd> {
        if self.negotiation.unread && self.link.is_open() { self.barrier() } else { Ok(()) }
    }
}
