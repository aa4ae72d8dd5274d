//! Waiting: for an answer, for what is owed, or to see that nothing comes.
//!
//! **Invariant.** Every wait has a limit, and the last look is one that began after it: judging may take
//! long.

use super::*;

impl Session<'_> {
    pub(super) fn await_answer(&mut self, id: MessageId) -> Result<(), TestEnd> {
        self.answer = None;
        let deadline = Deadline::after(self.limits.owed);
        loop {
            // Judging may take long: the last look is one that began after the limit.
            let late = deadline.passed();
            self.sample()?;
            if self.answer.is_some() || self.possible.undefined() {
                return Ok(());
            }
            if self.connection.is_none() {
                return Err(self.over());
            }
            if late {
                let name = &self.machine.message(id).name;
                let silence = format!("no reply to {name} within {:?}", self.limits.owed);
                return match self.silent(TimeClass::Reply) {
                    Ok(()) => Err(TestEnd::Harness(format!("{silence}, and the model allows it"))),
                    Err(fault) => self.fault(fault, silence),
                };
            }
            self.pause()?;
        }
    }

    /// Waits a little, or until the socket has something.
    pub(super) fn pause(&mut self) -> Result<(), TestEnd> {
        let wait = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        let sockets = self.connection.iter().chain(self.own.socket());
        let mut fds: Vec<PollFd<'_>> = sockets.map(|c| PollFd::new(c, PollFlags::IN)).collect();
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(harness(error)),
        }
    }

    /// Waits until nothing of this class is owed.
    pub(super) fn settle(&mut self, class: TimeClass) -> Result<(), TestEnd> {
        let deadline = Deadline::after(self.limits.owed);
        let end = Deadline::after(self.limits.owed * 4);
        let mut calm = Instant::now();
        loop {
            let late = deadline.passed();
            let came = self.sample()?;
            if came {
                calm = Instant::now();
            }
            if self.possible.undefined() {
                return Ok(());
            }
            let silent = self.possible.may_be_silent(class);
            if calm.elapsed() >= self.limits.quiet / 4
                && silent.or_else(|fault| self.fault(fault, String::new()).map(|()| false))?
            {
                return Ok(());
            }
            // Nobody is waited for who never stops, either.
            if (late && !came) || end.passed() {
                let observed = format!("nothing more within {:?}", self.limits.owed);
                return match self.silent(class) {
                    Ok(()) => Ok(()),
                    Err(fault) => self.fault(fault, observed),
                };
            }
            self.pause()?;
        }
    }

    /// Nothing is expected; what comes is judged.
    pub(super) fn quiet(&mut self) -> Result<(), TestEnd> {
        let deadline = Deadline::after(self.limits.quiet);
        while !deadline.passed() {
            self.sample()?;
            self.pause()?;
        }
        Ok(())
    }

    /// Nothing is expected for as long as a request may take: readings by which something is owed are
    /// excluded. Where that is all of them, a kick that was not read is no reason to say anything: who
    /// does not listen to a ring that it may not process owes nothing.
    pub(super) fn silence(&mut self) -> Result<(), TestEnd> {
        let end = Deadline::after(self.limits.silence * 4);
        let mut calm = Deadline::after(self.limits.silence);
        while !calm.passed() && !end.passed() {
            if self.sample()? {
                calm = Deadline::after(self.limits.silence);
            }
            self.pause()?;
        }
        match self.possible.silent(TimeClass::Io) {
            Ok(()) => {
                self.records.push(Record::Silent(TimeClass::Io));
                Ok(())
            }
            Err(_) if self.lines.iter().any(|line| line.kicked) => Ok(()),
            Err(fault) => {
                self.fault(fault, format!("nothing more within {:?}", self.limits.silence))
            }
        }
    }

    pub(super) fn barrier(&mut self) -> Result<(), TestEnd> {
        let wanted = |def: &MessageDef| def.answer == Some(Answer::Features);
        match self.machine.table.messages.iter().position(wanted) {
            Some(index) => self.send(MessageId(index as u8), 0, Number::Literal(0)),
            None => Err(TestEnd::Harness("no message of the table asks for features".into())),
        }
    }

    pub(super) fn answered(&mut self, success: bool) -> Result<(), TestEnd> {
        let Some((id, value)) = self.answer else { return Ok(()) };
        let def = self.machine.message(id);
        if def.answer.unwrap_or(Answer::Ack).succeeds(value) == success {
            return Ok(());
        }
        let observed = format!("the reply to {} is {:#x}", def.name, value.0);
        self.records.push(Record::Wrong);
        let expected = if success { "success" } else { "an error" };
        Err(TestEnd::Finding {
            clause: ClauseId::NONE,
            observed,
            expected: vec![expected.to_owned()],
        })
    }
}
