//! What is sent: a message, if what it needs was offered, whole or in pieces.

use super::*;

/// Between two pieces of a message.
const BETWEEN: Duration = Duration::from_micros(20);

/// The parts of a message.
const HEADER: usize = 0;
const PAYLOAD: usize = 1;

/// Which part of a message is cut in two by a piece that ends there.
fn cuts(at: usize) -> Option<usize> {
    match at {
        0 | Header::LEN => None,
        _ if at < Header::LEN => Some(HEADER),
        _ => Some(PAYLOAD),
    }
}

/// Messages that wait to be written together, and the descriptors of the first.
#[derive(Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Session<'_> {
    pub(super) fn send(&mut self, id: MessageId, ring: u8, number: Number) -> Result<(), TestEnd> {
        let def = self.machine.message(id);
        if let Some(gate) = &def.gate
            && (if gate.by_offer { self.protocol_offered } else { self.protocol }) >> gate.bit & 1
                == 0
        {
            return Err(TestEnd::Skip(format!("needs {}", gate.feature)));
        }
        if let Some(bit) = def.virtio.filter(|bit| self.features >> bit & 1 == 0) {
            return Err(TestEnd::Skip(format!("needs virtio feature {bit}")));
        }
        // Guest memory has parts: 0 or 1 is all of it, 2 the buffers, 3 the rings.
        let part = if let Number::Literal(part @ 2..) = number { part } else { 1 };
        if number == Number::Logging && self.offered >> LOG_ALL & 1 == 0 {
            return Err(TestEnd::Skip("needs VHOST_F_LOG_ALL (feature bit 26)".into()));
        }
        let mut number = self.value(def, ring, number)?;
        let has = |effect| has(def, effect);
        let needs_bit_30 = |row: &Row| {
            let without = Condition { guard: Guard::Bit30Offered, wanted: false };
            row.breaks.is_some() && row.when.contains(&without)
        };
        if self.offered & F_PROTOCOL_FEATURES == 0 && def.rows.iter().any(needs_bit_30) {
            // Without bit 30 there is nothing to negotiate, and rings are enabled from the start: a
            // front-end leaves out what would only say so.
            let idle = has(Effect::SetProtocolFeatures)
                || def.answer == Some(Answer::ProtocolFeatures)
                || (has(Effect::SetEnabled) && number == 1);
            let why = "needs protocol features (feature bit 30)";
            return if idle { Ok(()) } else { Err(TestEnd::Skip(why.to_owned())) };
        }
        if has(Effect::SetFeatures) {
            self.accept(number)?;
        }
        let (payload, mut fds) = self.payload(def, ring, &mut number, part)?;
        fds.extend(self.stray_descriptor()?);
        let ring = if def.names_ring() { ring } else { 0 };
        let reply_ack = self.protocol >> self.machine.table.reply_ack & 1 == 1;
        let need_reply = self.acknowledged && reply_ack;
        let message = Message { id, ring, value: Value(number), need_reply };
        if has(Effect::SetProtocolFeatures) {
            self.protocol = number;
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
        self.cuts(bytes.len())?;
        self.say("->", &Event::Message(message));
        self.records.push(Record::Sent(Event::Message(message)));
        self.possible.send(Event::Message(message));
        self.keeps.did(&self.machine.table, &Move::Message(message));
        self.transmit(header, &bytes, fds)?;
        self.unread = def.reply.is_none() && !need_reply;
        if !self.unread {
            self.await_answer(id)?;
        }
        // A ring that is enabled may now owe what it did not before.
        if has(Effect::SetEnabled) || has(Effect::SetFeatures) { self.announce() } else { Ok(()) }
    }

    /// What the features that are accepted mean for the driver.
    fn accept(&mut self, features: u64) -> Result<(), TestEnd> {
        if self.events && features & EVENT_IDX == 0 {
            return Err(TestEnd::Skip("needs VIRTIO_RING_F_EVENT_IDX (feature bit 29)".into()));
        }
        self.features = features;
        let events = features & EVENT_IDX != 0;
        self.lines.iter_mut().for_each(|line| line.ring.set_events(events));
        Ok(())
    }

    pub(super) fn transmit(
        &mut self,
        header: Header,
        payload: &[u8],
        fds: Vec<OwnedFd>,
    ) -> Result<(), TestEnd> {
        if self.held.is_none() {
            return self.write(&[&header.encode()[..], payload].concat(), &fds);
        }
        // Descriptors go with the first byte of a write.
        if !fds.is_empty() {
            self.flush()?;
        }
        if let Some(held) = &mut self.held {
            held.bytes.extend(header.encode());
            held.bytes.extend(payload);
            held.fds.extend(fds);
        }
        Ok(())
    }

    /// Writes what waits to be written together.
    pub(super) fn flush(&mut self) -> Result<(), TestEnd> {
        match self.held.as_mut().map(std::mem::take) {
            Some(Held { bytes, fds }) if !bytes.is_empty() => self.write(&bytes, &fds),
            _ => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8], fds: &[OwnedFd]) -> Result<(), TestEnd> {
        let deadline = Deadline::after(self.limits.owed);
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let Some(connection) = &mut self.connection else { return Err(self.over()) };
        let sent = match self.pieces {
            0 => connection.send_raw(bytes, &fds, deadline),
            size => {
                let mut fds = &fds[..];
                let (mut at, whole, quiet) = (0, &mut self.whole, self.limits.quiet);
                bytes.chunks(size).try_for_each(|piece| {
                    // A back-end that reads as it comes sees each piece alone, and those for sure that
                    // are the first to cut a header or a payload.
                    let first = cuts(at).is_some_and(|part| std::mem::take(&mut whole[part]));
                    std::thread::sleep(if first { quiet } else { BETWEEN });
                    at += piece.len();
                    connection.send_raw(piece, std::mem::take(&mut fds), deadline)
                })
            }
        };
        match sent {
            Ok(()) => Ok(()),
            Err(SendError::Closed { .. }) => self.saw_close(),
            Err(error @ SendError::Timeout { .. }) => {
                self.finding(self.machine.laws.reply_must, &error.to_string())
            }
            Err(error) => Err(harness(error)),
        }
    }

    /// Says what of the next message comes in pieces: the header, the payload.
    fn cuts(&mut self, payload: usize) -> Result<(), TestEnd> {
        let ends = (1..).map(|n| n * self.pieces);
        let inside = ends.take_while(|at| *at > 0 && *at < Header::LEN + payload);
        let parts: Vec<usize> = inside.filter_map(cuts).collect();
        for part in [HEADER, PAYLOAD].into_iter().filter(|part| parts.contains(part)) {
            self.did(&Event::Pieces { payload: part == PAYLOAD })?;
        }
        Ok(())
    }

    /// Why nothing more can be sent: the back-end has closed, and may.
    pub(super) fn over(&self) -> TestEnd {
        match self.possible.undefined() {
            true => TestEnd::Skip(
                "the connection was closed where the specification does not say what follows"
                    .into(),
            ),
            false => TestEnd::Over,
        }
    }
}
