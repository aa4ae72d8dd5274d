//! The device's outside: what is sent comes back, and what the device is told has its effect.
//!
//! A chain of a held ring (room for what comes, a command) comes back only when it is due. It is in
//! guest memory from the first; the machine is told of it, as of a request that became available, once
//! it is due and the ring is enabled: then it is owed. What comes back before is a finding.

use super::*;
use crate::harness::io::virtio::Outside;
use crate::harness::io::virtio::outside::{Command, To, Unable};

/// A chain: the ring, and its buffers.
type Chain = (u8, Vec<Buffer>);

impl Session<'_> {
    fn outside(&mut self) -> Result<&mut dyn Outside, TestEnd> {
        self.workload.outside().ok_or_else(|| {
            let why = "needs a device whose outside returns what it receives: see --device";
            TestEnd::Skip(why.into())
        })
    }

    /// Room for so many in every ring that something can come through.
    pub(super) fn room(&mut self, count: u16) -> Result<(), TestEnd> {
        let mut chains = Vec::new();
        for ring in self.outside()?.receives() {
            for _ in 0..count {
                chains.push((ring, self.outside()?.room(ring).map_err(unable)?));
            }
        }
        self.offer(chains)
    }

    /// So many are sent, from the ring of a pair.
    pub(super) fn send_out(&mut self, count: u16, to: To, pair: u8) -> Result<(), TestEnd> {
        let ring = self.outside()?.sends(pair);
        let discarded = self.disabled(ring)?;
        let mut chains = Vec::new();
        for _ in 0..count {
            let (ring, sent) = self.outside()?.send(to, pair, discarded).map_err(unable)?;
            chains.extend(sent.into_iter().map(|chain| (ring, chain)));
        }
        self.offer(chains)
    }

    /// The device is told something.
    pub(super) fn tell(&mut self, command: Command) -> Result<(), TestEnd> {
        let (ring, chains) = self.outside()?.tell(command).map_err(unable)?;
        self.offer(chains.into_iter().map(|chain| (ring, chain)).collect())
    }

    /// Makes chains available, and kicks their rings.
    fn offer(&mut self, chains: Vec<Chain>) -> Result<(), TestEnd> {
        self.read_all()?;
        self.clear_log()?;
        let mut rings: Vec<u8> = Vec::new();
        // What is to come back is owed before what makes it come.
        self.announce()?;
        for (ring, chain) in chains {
            let held = self.outside()?.held(ring);
            let Some(line) = self.lines.get_mut(ring as usize) else {
                return Err(TestEnd::Harness(format!("there is no ring {ring}")));
            };
            let request = line.ring.available_index();
            let head = line.ring.publish(&chain).map_err(harness)?;
            line.requests.insert(head, request);
            line.buffers.insert(head, chain);
            self.numbers.remove(&(ring, request));
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
        for ring in 0..self.lines.len() as u8 {
            let Some(outside) = self.workload.outside() else { return Ok(()) };
            if !outside.held(ring) {
                continue;
            }
            let due = outside.due(ring);
            if due == 0 || self.disabled(ring)? {
                continue;
            }
            while let Some(line) = self.lines.get(ring as usize)
                && line.owed() < due.min(line.ring.outstanding())
            {
                self.did(&Event::Available { ring })?;
            }
        }
        Ok(())
    }

    /// Whether a ring is disabled once all that was sent is read.
    fn disabled(&mut self, ring: u8) -> Result<bool, TestEnd> {
        let enabled = |state: &devmig_model::protocol::vhost_user::state::State<RINGS>| {
            state.rings.get(ring as usize).is_some_and(|ring| ring.enabled)
        };
        self.possible.every(|state, _| Ok(!enabled(state))).map_err(harness)
    }

    /// A chain of this ring comes back, in the used ring's element of this index: whether it is due.
    pub(super) fn awaited(&mut self, ring: u8, element: u16) -> Result<bool, TestEnd> {
        let held = self.workload.outside().is_some_and(|outside| outside.held(ring));
        if !held || self.lines.get(ring as usize).is_none_or(|line| line.announced != element) {
            return Ok(true);
        }
        if self.disabled(ring)? {
            let observed = format!("a buffer is used in ring {ring}, which is disabled");
            self.finding(self.machine.laws.no_side_effects, &observed)?;
        } else {
            let observed = format!("a buffer of ring {ring} is used, and should stay empty");
            self.finding(ClauseId::NONE, &observed)?;
        }
        Ok(false)
    }

    /// A chain that is no request of the workload's came back.
    pub(super) fn returned(
        &mut self,
        ring: u8,
        chain: &[Buffer],
        used: u32,
    ) -> Result<(), TestEnd> {
        let Some(outside) = self.workload.outside() else { return Ok(()) };
        if let Err(wrong) = outside.returned(ring, chain, used) {
            let observed = format!("ring {ring}: {wrong}");
            self.finding(self.machine.laws.processes, &observed)?;
        }
        Ok(())
    }

    /// A part of the configuration space was read.
    pub(super) fn configured(&mut self, config: &Config) -> Result<(), TestEnd> {
        let Some(outside) = self.workload.outside() else { return Ok(()) };
        match outside.configured(config.offset, config.bytes()) {
            Ok(()) => Ok(()),
            Err(wrong) => self.finding(ClauseId::NONE, &format!("configuration space: {wrong}")),
        }
    }

    /// What SET_CONFIG writes.
    pub(super) fn write_config(&mut self, flags: u32) -> Result<Config, TestEnd> {
        const MIGRATED: u32 = 1;
        let (offset, bytes) = self.outside()?.config().ok_or_else(|| {
            TestEnd::Skip("needs a device with a known configuration space".into())
        })?;
        if flags == MIGRATED {
            self.outside()?.migrated();
        }
        Config::new(offset, flags, bytes).map_err(harness)
    }

    /// The device was reset, and its driver begins again.
    pub(super) fn anew(&mut self) {
        self.sent = 0;
        if let Some(outside) = self.workload.outside() {
            outside.forget();
        }
    }
}

impl Line {
    /// How many chains the machine was told of that have not come back.
    fn owed(&self) -> usize {
        self.announced.wrapping_sub(self.ring.next_used()).into()
    }
}

fn unable(error: Unable) -> TestEnd {
    match error {
        Unable::Lacks(_) => TestEnd::Skip(error.to_string()),
        other => harness(other),
    }
}
