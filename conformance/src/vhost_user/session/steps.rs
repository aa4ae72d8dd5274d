//! Steps of a program: the rings that one is for, and the numbers that it means.

use super::*;

impl Session<'_> {
    pub(super) fn program(&mut self, step: Step, which: Which) -> Result<(), TestEnd> {
        let Some(rings) = self.named(which) else {
            return Err(TestEnd::Skip("needs a device with more rings".into()));
        };
        for ring in rings {
            match step {
                Step::Send { id, number, need_reply, .. } => {
                    let all = self.acknowledged;
                    self.acknowledged |= need_reply;
                    let sent = self.send(id, ring, number);
                    self.acknowledged = all;
                    sent?;
                }
                Step::Kick { .. } => self.kick(ring, true)?,
                Step::Vcpus { .. } => {}
                Step::ReadState => self.read_state()?,
                Step::WriteState => self.write_state()?,
                Step::Successor { died: true } => self.crash()?,
                Step::Until { .. }
                | Step::Copy { .. }
                | Step::Renew { .. }
                | Step::Successor { died: false } => {
                    return Err(TestEnd::Harness("this step is only for exploration".into()));
                }
            }
        }
        Ok(())
    }

    /// The rings that a step is for, if the device has them.
    pub(super) fn named(&self, which: Which) -> Option<std::ops::Range<u8>> {
        Some(match which {
            Which::Requests => {
                let ring = self.workload.request_ring().unwrap_or(0);
                ring as u8..ring as u8 + 1
            }
            Which::Index(ring) if usize::from(ring) >= self.lines.len() => return None,
            Which::Index(ring) => ring..ring + 1,
            Which::Each => 0..self.lines.len() as u8,
        })
    }

    pub(super) fn request_ring(&self) -> Result<u8, TestEnd> {
        let ring = self.workload.request_ring();
        ring.and_then(|ring| u8::try_from(ring).ok()).ok_or_else(|| {
            TestEnd::Skip("needs requests: set the type of the device with --device".into())
        })
    }

    /// The number that a step means.
    pub(super) fn number(&self, ring: u8, number: Number) -> Result<u64, TestEnd> {
        Ok(match number {
            Number::Literal(value) => value,
            Number::Saved => u64::from(self.bases[ring as usize]),
            Number::Used => match self.lines.get(ring as usize) {
                Some(line) => u64::from(line.ring.used_index().map_err(harness)?),
                None => return Err(TestEnd::Harness(format!("there is no ring {ring}"))),
            },
            Number::Offered => self.offered & (F_PROTOCOL_FEATURES | self.driver_features()),
            Number::Logging => {
                self.offered & (F_PROTOCOL_FEATURES | 1 << LOG_ALL | self.driver_features())
            }
            Number::Plain => self.offered & self.driver_features() & !F_PROTOCOL_FEATURES,
            Number::ProtocolOffered => {
                let features = self.machine.table.features.iter().filter(|f| !f.opt_in);
                let known = features.map(|f| 1u64 << f.bit);
                self.protocol_offered & known.fold(0, |mask, bit| mask | bit) & !self.declined
            }
        })
    }

    /// What the driver accepts where it is offered.
    fn driver_features(&self) -> u64 {
        self.workload.features() | if self.events { EVENT_IDX } else { 0 }
    }

    /// The same, where the message itself says more.
    pub(super) fn value(&self, def: &MessageDef, ring: u8, number: Number) -> Result<u64, TestEnd> {
        match def.request {
            PayloadKind::Memory => Ok(1),
            _ if has(def, Effect::SetSize) => Ok(u64::from(self.workload.ring_size())),
            _ => self.number(ring, number),
        }
    }
}
