//! The end of a conversation, the next one, and malformed messages, after which only that matters.

use super::*;

impl Session<'_> {
    /// The last look, after the last step: what is still to come is judged, and a process that died
    /// is a finding.
    ///
    /// # Errors
    /// What is found.
    pub fn end(&mut self) -> Result<(), TestEnd> {
        if self.connection.is_some() && !self.possible.undefined() {
            self.sample()?;
        }
        self.hang_up()?;
        self.strays()
    }

    /// Whether something was written where there is neither a ring nor a buffer.
    fn strays(&mut self) -> Result<(), TestEnd> {
        for (from, to) in self.untouched {
            let mut bytes = vec![0; to.saturating_sub(from) as usize];
            self.memory.read(from, &mut bytes).map_err(harness)?;
            if let Some(at) = bytes.iter().position(|byte| *byte != 0) {
                let at = from + at as u64;
                let observed =
                    format!("guest memory at {at:#x} was written, outside of every buffer");
                return self.finding(ClauseId::NONE, &observed);
            }
        }
        Ok(())
    }

    pub(super) fn malformed(
        &mut self,
        Bytes { bytes, descriptors }: &Bytes,
    ) -> Result<(), TestEnd> {
        let deadline = Deadline::after(self.limits.owed);
        self.log.push(format!("-> {} malformed bytes", bytes.len()));
        let fds = vec![self.memory.descriptor(); *descriptors];
        if let Some(connection) = &mut self.connection {
            match connection.send_raw(bytes, &fds, deadline) {
                Ok(()) | Err(SendError::Closed { .. } | SendError::Timeout { .. }) => {}
                Err(error) => return Err(harness(error)),
            }
        }
        // Whatever comes now, no text forbids it.
        let deadline = Deadline::after(self.limits.quiet);
        while !deadline.passed() {
            let Some(connection) = &mut self.connection else { break };
            match connection.receive(Deadline::after(Duration::from_millis(2))) {
                Ok(received) => self.log.push(format!("<- {:?}", received.header)),
                Err(ReceiveError::Timeout { .. }) => {}
                Err(error) => {
                    self.log.push(format!("<- {error}"));
                    self.connection = None;
                }
            }
        }
        Ok(())
    }

    /// Ends the conversation, and says how the process took it.
    pub(super) fn hang_up(&mut self) -> Result<(), TestEnd> {
        self.connection = None;
        let Some(process) = &mut self.live.process else { return Ok(()) };
        let deadline = Deadline::after(self.limits.quiet);
        while process.exit_status().is_none() && !deadline.passed() {
            std::thread::sleep(Duration::from_millis(2));
        }
        match process.exit_status() {
            Some(status) if abnormal(status) => {
                Err(TestEnd::Died(format!("the process ended: {status}")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn again(&mut self) -> Result<(), TestEnd> {
        self.hang_up()?;
        self.fresh()?;
        self.possible = StateEstimate::new(self.machine, self.rules);
        self.records.push(Record::Fresh);
        Ok(())
    }

    /// A fresh connection, over which nothing was said yet.
    pub(super) fn fresh(&mut self) -> Result<(), TestEnd> {
        let deadline = Deadline::after(self.limits.connect);
        let (connection, live) = self.target.connect(false, deadline).map_err(harness)?;
        (self.connection, self.live) = (Some(connection), live);
        (self.offered, self.protocol_offered, self.protocol) = (0, 0, 0);
        self.features = 0;
        (self.answer, self.channel, self.asked) = (None, None, false);
        self.own = back_end_channel::Own::default();
        self.held = self.held.take().map(|_| send::Held::default());
        (self.state_ended, self.transfer_answered) = (false, false);
        (self.first, self.unread, self.keeps) = (false, false, Keeps::default());
        (self.pieces, self.whole) = (0, [false; 2]);
        self.tracking.forget();
        self.log.push("-- a new connection".into());
        Ok(())
    }

    pub(super) fn reconnect(&mut self) -> Result<(), TestEnd> {
        self.again()?;
        for ring in 0..self.lines.len() as u8 {
            let index = self.lines[ring as usize].announced;
            self.did(&Event::Renew { ring, index })?;
            // A kick that the last conversation left over would start the ring of this one.
            self.forget_kick(ring)?;
        }
        Ok(())
    }

    pub(super) fn forget_kick(&mut self, ring: u8) -> Result<(), TestEnd> {
        let line = &mut self.lines[ring as usize];
        line.kicked = false;
        line.ring.kick.take().map(drop).map_err(harness)
    }

    /// A fresh connection, and a guest that boots anew, with memory of its own: until it notices that
    /// the last conversation is over, a back-end may still write to what it was given in it.
    pub(super) fn serves(&mut self) -> Result<(), TestEnd> {
        self.again()?;
        self.strays()?;
        connect::Guest {
            memory: self.memory,
            workload: self.workload,
            lines: self.lines,
            split: self.split,
            untouched: self.untouched,
        } = connect::Guest::new(self.device, self.scratch)?;
        for ring in 0..self.lines.len() as u8 {
            self.did(&Event::Renew { ring, index: 0 })?;
        }
        self.bases = [0; RINGS];
        self.sent = 0;
        Ok(())
    }
}

/// Whether a process ended in a way that no protocol explains: by a signal, or by a panic.
fn abnormal(status: std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal().is_some() || status.code() == Some(101)
}
