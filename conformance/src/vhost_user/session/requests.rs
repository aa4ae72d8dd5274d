//! Chains that become available, and kicks.
//!
//! A chain of a held ring (room for what comes, a command) comes back only when it is due. It is in
//! guest memory from the first; the machine is told of it, as of a request that became available, once
//! it is due and the ring is enabled: then it is owed. What comes back before is a finding.

use devmig_model::protocol::vhost_user::event::Event;

use super::Session;
use crate::harness::io::ring::Buffer;
use crate::harness::io::virtio::Outside;
use crate::harness::verdict::TestEnd;

/// A chain: the ring, and its buffers.
pub(super) type Chain = (u8, Vec<Buffer>);

impl Session<'_> {
    /// The tester does something that is seen at once.
    pub(super) fn did(&mut self, event: &Event) -> Result<(), TestEnd> {
        self.driver.told(event);
        self.conversation.did(event)
    }

    /// Writes a kick once every message was read.
    pub(super) fn kick(&mut self, ring: u8, front_end: bool) -> Result<(), TestEnd> {
        self.read_all()?;
        // Judging may take long, and what follows the kick should find requests in flight.
        self.did(&Event::Kick { ring, front_end })?;
        self.driver.kick(ring)
    }

    /// A ring begins anew, in both indices.
    pub(super) fn renew(&mut self, ring: u8, index: u16) -> Result<(), TestEnd> {
        self.driver.start_at(ring, index)?;
        if let Some(base) = self.negotiation.bases.get_mut(usize::from(ring)) {
            *base = index;
        }
        self.did(&Event::Renew { ring, index })
    }

    /// The device's outside.
    pub(super) fn outside(&mut self) -> Result<&mut dyn Outside, TestEnd> {
        self.driver.outside().ok_or_else(|| {
            let why = "needs a device whose outside returns what it receives: see --device";
            TestEnd::Skip(why.into())
        })
    }

    /// Makes chains available, and kicks their rings.
    pub(super) fn offer(&mut self, chains: Vec<Chain>) -> Result<(), TestEnd> {
        self.read_all()?;
        self.clear_log()?;
        let mut rings: Vec<u8> = Vec::new();
        // What is to come back is owed before what makes it come.
        self.announce()?;
        for (ring, chain) in chains {
            let held = self.outside()?.held(ring);
            self.driver.offer(ring, chain)?;
            if !held {
                self.did(&Event::Available { ring })?;
            }
            if rings.last() != Some(&ring) {
                rings.push(ring);
            }
        }
        self.announce()?;
        rings.into_iter().try_for_each(|ring| self.kick(ring, false))
    }

    /// Tells the machine of what is due.
    pub(super) fn announce(&mut self) -> Result<(), TestEnd> {
        for ring in 0..self.driver.rings() {
            let Some(outside) = self.driver.outside() else { return Ok(()) };
            if !outside.held(ring) {
                continue;
            }
            let due = outside.due(ring);
            if due == 0 || self.is_disabled(ring)? {
                continue;
            }
            loop {
                let line = self.driver.line(ring)?;
                if line.owed() >= due.min(line.ring.outstanding()) {
                    break;
                }
                self.did(&Event::Available { ring })?;
            }
        }
        Ok(())
    }

    /// Clears the dirty log between batches: not while a request is out, of which the marks may be in
    /// it already.
    pub(super) fn clear_log(&mut self) -> Result<(), TestEnd> {
        match self.driver.lines.iter().all(|line| line.owed() == 0) {
            true => self.tracking.clear(),
            false => Ok(()),
        }
    }

    /// Whether a ring is disabled once all that was sent is read.
    pub(super) fn is_disabled(&mut self, ring: u8) -> Result<bool, TestEnd> {
        self.conversation
            .every(|state, _| Ok(state.rings.get(ring as usize).is_none_or(|ring| !ring.enabled)))
    }
}
