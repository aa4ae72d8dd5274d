//! Looking: what the back-end has done since the last look, in the one order in which it is read and
//! reported.
//!
//! **Invariant.** Effects are read first (the socket, then event descriptors, then memory), causes are
//! reported first (memory, then notifications, then the answer). So whatever is seen in memory after
//! an answer was *read* may have been written before it was *sent*; only what the next sample finds
//! came after it.

use super::*;

impl Session<'_> {
    /// Reads effects first, reports causes first. Whether anything came.
    pub(super) fn sample(&mut self) -> Result<bool, TestEnd> {
        self.flush()?;
        let incoming = self.connection.as_mut().map(|c| c.receive(Deadline::now()));
        let own = self.own.receive()?;
        let (mut calls, mut errors) = (Vec::new(), Vec::new());
        for (index, line) in self.lines.iter().enumerate() {
            if line.ring.call.take().map_err(harness)? > 0 {
                calls.push(index as u8);
            }
            if line.error.take().map_err(harness)? > 0 {
                errors.push(index as u8);
            }
        }
        let noticed = self.noticed()?;
        let mut came = self.used()?;
        came |= self.marks()?;
        self.others_mark()?;
        for ring in noticed {
            self.observe(&Event::KickRead { ring })?;
        }
        for ring in calls {
            came = true;
            self.observe(&Event::Call { ring })?;
        }
        for ring in errors {
            came = true;
            self.observe(&Event::Error { ring })?;
        }
        came |= !own.is_empty();
        self.told(own)?;
        let read_more = self.read_channel()?;
        match incoming {
            None | Some(Err(ReceiveError::Timeout { .. })) => {}
            Some(Ok(received)) => {
                came = true;
                self.reply(received)?;
            }
            Some(Err(ReceiveError::Closed { after })) => {
                came = true;
                if after > 0 {
                    self.log.push(format!("<- {after} bytes of a message"));
                }
                self.saw_close()?;
            }
            Some(Err(ReceiveError::Io(error))) => return Err(harness(error)),
            Some(Err(error)) => {
                self.finding(self.machine.laws.reply_payload, &error.to_string())?
            }
        }
        // The state's end follows the answer that began the transfer, whichever is seen first.
        if read_more && self.state_ended && self.transfer_answered {
            self.transfer_answered = false;
            self.state_ended = false;
            self.channel = None;
            came = true;
            self.saved()?;
        }
        Ok(came)
    }

    /// The rings whose kick descriptor is no longer readable: what was written to it was read.
    pub(super) fn noticed(&mut self) -> Result<Vec<u8>, TestEnd> {
        let mut noticed = Vec::new();
        for (index, line) in self.lines.iter_mut().enumerate().filter(|(_, line)| line.kicked) {
            if !line.ring.kick.wait(Deadline::now()).map_err(harness)? {
                line.kicked = false;
                noticed.push(index as u8);
            }
        }
        Ok(noticed)
    }

    /// The requests that came back.
    pub(super) fn used(&mut self) -> Result<bool, TestEnd> {
        let mut came = false;
        for index in 0..self.lines.len() {
            let ring = index as u8;
            while !self.lines[index].broken {
                let line = &mut self.lines[index];
                let element = line.ring.next_used();
                let event = match line.ring.take_used() {
                    Ok(None) => break,
                    Ok(Some(used)) => {
                        let request = line.requests.get(&used.head).copied().unwrap_or_default();
                        Some((request, Some((used.head, used.len, element))))
                    }
                    // What was never out: either it came back before, or it never was available.
                    Err(RingError::UsedElement { id, .. }) => {
                        let head = u16::try_from(id).ok();
                        let known = head.and_then(|head| line.requests.get(&head)).copied();
                        Some((known.unwrap_or(line.ring.available_index()), None))
                    }
                    Err(error @ RingError::UsedIndex { .. }) => {
                        return self
                            .finding(self.machine.laws.available_only, &error.to_string())
                            .map(|()| true);
                    }
                    Err(error) => return Err(harness(error)),
                };
                let Some((request, len)) = event else { break };
                came = true;
                if !self.awaited(ring, element)? {
                    return Ok(true);
                }
                self.observe(&Event::Used { ring, request })?;
                let Some((head, len, element)) = len else { break };
                self.completed += 1;
                let buffers = self.lines[index].buffers.get(&head).cloned().unwrap_or_default();
                self.wrote(ring, &buffers, len, element);
                let Some(number) = self.numbers.get(&(ring, request)) else {
                    self.returned(ring, &buffers, len)?;
                    continue;
                };
                if let Err(wrong) = self.workload.check(*number, len) {
                    let observed = format!("request {request} on ring {ring}: {wrong}");
                    self.finding(self.machine.laws.processes, &observed)?;
                }
            }
        }
        Ok(came)
    }

    pub(super) fn reply(&mut self, received: Received) -> Result<(), TestEnd> {
        let laws = &self.machine.laws;
        let (header_law, payload_law) = (laws.reply_header, laws.reply_payload);
        let Received { header, payload, fds } = received;
        let flags = header.flags;
        let table = &self.machine.table;
        let Some(index) = table.messages.iter().position(|def| def.id == header.request) else {
            let observed = format!("a reply to message {}, which was not sent", header.request);
            return self.finding(header_law, &observed);
        };
        let def = &table.messages[index];
        if flags.version() != Flags::VERSION || !flags.is_reply() {
            let observed = format!("a reply to {} with flags {flags:?}", def.name);
            return self.finding(header_law, &observed);
        }
        let kind = def.reply.unwrap_or(PayloadKind::U64);
        let bare =
            matches!(kind, PayloadKind::U64 | PayloadKind::VringState | PayloadKind::LogTaken);
        if !fds.is_empty() && bare {
            let brought = fds.len();
            let observed =
                format!("a reply to {} with {brought} descriptors instead of none", def.name);
            return self.finding(payload_law, &observed);
        }
        let decoded = match Payload::decode(kind, &payload) {
            Ok(decoded) => decoded,
            // An error, by one reading of what is of zero length.
            Err(_) if kind == PayloadKind::Config && payload.is_empty() => Payload::None,
            Err(error) => {
                let observed = format!("a reply to {}: {error}", def.name);
                return self.finding(payload_law, &observed);
            }
        };
        if let Payload::Config(config) = &decoded {
            self.configured(config)?;
        }
        let record = if let Payload::Inflight(record) = decoded { Some(record) } else { None };
        let (ring, value) = match decoded {
            Payload::U64(value) => (0, value),
            Payload::VringState(state) => (state.index, u64::from(state.num)),
            Payload::TransferReply(reply) => (0, reply.0),
            Payload::Config(config) => (0, u64::from(config.size)),
            Payload::LogTaken(taken) => (0, taken.length()),
            Payload::None => (0, 0),
            Payload::Inflight(_) => (0, u64::from(!fds.is_empty())),
            other => {
                return Err(TestEnd::Harness(format!("no meaning for an answer of {other:?}")));
            }
        };
        let Some(ring) = u8::try_from(ring).ok().filter(|ring| usize::from(*ring) < RINGS) else {
            let observed = format!("a reply to {} for ring {ring}", def.name);
            return self.finding(payload_law, &observed);
        };
        let id = MessageId(index as u8);
        let answer = def.answer.unwrap_or(Answer::Ack);
        let name = def.name.clone();
        let event =
            Event::Reply { id, ring, value: Value(value), descriptors: fds.len().min(255) as u8 };
        self.observe(&event)?;
        self.answer = Some((id, Value(value)));
        match answer {
            Answer::InFlight => match (record, fds.into_iter().next()) {
                (Some(record), Some(fd)) => self.tracking.record = Some((record, fd)),
                _ => return Err(TestEnd::Refused(format!("the reply to {name} has no buffer"))),
            },
            Answer::Features => self.offered = value,
            Answer::ProtocolFeatures => {
                self.protocol_offered = value;
                self.asked = true;
            }
            Answer::Base => self.bases[ring as usize] = value as u16,
            Answer::Transfer if value & 0xff != 0 => {
                return Err(TestEnd::Refused(format!(
                    "the reply to {name} is error {:#x}",
                    value & 0xff
                )));
            }
            Answer::Transfer => {
                self.transfer_answered = true;
                if let Some(fd) = fds.into_iter().next() {
                    self.channel = Some(fd);
                }
            }
            // Where a refusal is in order, a text says what follows.
            Answer::Ack if value != 0 && self.possible.undefined() => {
                return Err(TestEnd::Refused(format!("{name} is acknowledged with {value:#x}")));
            }
            _ => {}
        }
        Ok(())
    }
}
