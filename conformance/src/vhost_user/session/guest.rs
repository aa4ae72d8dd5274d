//! The guest's side: requests that become available, kicks, and a driver that begins anew.

use super::*;

impl Session<'_> {
    /// What must wait for an answer is not sent before it: a ring that does not run yet, or no more,
    /// carries fewer requests than asked for.
    pub(super) fn requests(&mut self, count: u16, kick: bool) -> Result<(), TestEnd> {
        let ring = self.request_ring()?;
        self.read_all()?;
        self.clear_log()?;
        for _ in 0..count {
            if self.workload.waits(self.sent) {
                self.settle(TimeClass::Io)?;
                if self.lines[ring as usize].ring.outstanding() > 0 {
                    break;
                }
            }
            let chain = self.workload.request(self.sent).map_err(harness)?;
            let line = &mut self.lines[ring as usize];
            let request = line.ring.available_index();
            let head = line.ring.publish(&chain).map_err(harness)?;
            line.requests.insert(head, request);
            line.buffers.insert(head, chain);
            self.numbers.insert((ring, request), self.sent);
            self.sent += 1;
            self.did(&Event::Available { ring })?;
            if kick && self.workload.waits(self.sent) {
                self.kick(ring, false)?;
            }
        }
        let wanted = self.lines[ring as usize].ring.wants_kick().map_err(harness)?;
        if kick && wanted { self.kick(ring, false) } else { Ok(()) }
    }

    /// The driver wants to be notified of what comes back, or not to be.
    pub(super) fn interrupts(&mut self, on: bool) -> Result<(), TestEnd> {
        let ring = self.request_ring()?;
        self.lines[ring as usize].ring.interrupts(on).map_err(harness)
    }

    /// Waits until every message was read. A kick that overtakes the messages that set its ring up is
    /// a race that front-ends do run into; the tests here do not.
    pub(super) fn read_all(&mut self) -> Result<(), TestEnd> {
        if self.unread && self.connection.is_some() { self.barrier() } else { Ok(()) }
    }

    pub(super) fn kick(&mut self, ring: u8, front_end: bool) -> Result<(), TestEnd> {
        self.read_all()?;
        // Judging may take long, and what follows the kick should find requests in flight.
        self.did(&Event::Kick { ring, front_end })?;
        if let Some(line) = self.lines.get_mut(ring as usize) {
            line.ring.kick.signal().map_err(harness)?;
            line.kicked = true;
        }
        Ok(())
    }

    /// The guest writes an index that is further ahead than the ring is long. What it does to itself by
    /// that is its own: what is used in the ring, and where, is not looked at any more.
    pub(super) fn break_ring(&mut self, ring: u8) -> Result<(), TestEnd> {
        self.read_all()?;
        if let Some(line) = self.lines.get_mut(ring as usize) {
            line.ring.run_ahead().map_err(harness)?;
            line.broken = true;
        }
        self.untouched = [(0, 0); 2];
        self.did(&Event::RunAhead { ring })?;
        self.kick(ring, false)
    }

    pub(super) fn renew(&mut self, ring: u8, index: u16) -> Result<(), TestEnd> {
        if let Some(line) = self.lines.get_mut(ring as usize) {
            line.ring.start_at(index).map_err(harness)?;
            line.requests.clear();
        }
        self.did(&Event::Renew { ring, index })
    }
}
