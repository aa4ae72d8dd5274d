//! What a message carries: the payload and the descriptors that its kind has.

use super::*;

/// Bit 8 of what sets a descriptor: there is none.
const NO_DESCRIPTOR: u64 = 1 << 8;

impl Session<'_> {
    /// The payload and the descriptors of a message, and the number that it says in the end.
    pub(super) fn payload(
        &mut self,
        def: &MessageDef,
        ring: u8,
        number: &mut u64,
        part: u64,
    ) -> Result<(Payload, Vec<OwnedFd>), TestEnd> {
        if def.request == PayloadKind::Config && def.reply.is_none() {
            let config = self.write_config(*number as u32)?;
            return Ok((Payload::Config(config), Vec::new()));
        }
        let line = self.lines.get(ring as usize);
        let mut fds: Vec<OwnedFd> = Vec::new();
        let copy = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned().map_err(harness);
        let has = |effect| has(def, effect);
        let payload = match def.request {
            PayloadKind::None if has(Effect::SetChannel) => {
                fds.push(self.own.open()?);
                Payload::None
            }
            PayloadKind::None => Payload::None,
            PayloadKind::U64 => Payload::U64(*number),
            PayloadKind::VringState => {
                Payload::VringState(VringState { index: ring.into(), num: *number as u32 })
            }
            PayloadKind::VringAddr => match line {
                Some(line) => {
                    let used = line.ring.layout().used;
                    let (flags, log) = (*number as u32 & 1, tracking::log_address(ring, used));
                    Payload::VringAddr(VringAddr { flags, log, ..line.ring.address(ring.into()) })
                }
                None => return Err(TestEnd::Harness(format!("there is no ring {ring}"))),
            },
            PayloadKind::Memory => {
                fds.push(copy(self.memory.descriptor())?);
                let regions = Memory::new(vec![self.part(part)]);
                Payload::Memory(regions.map_err(harness)?)
            }
            PayloadKind::MemoryRegion => {
                if !has(Effect::RemoveRegion) {
                    fds.push(copy(self.memory.descriptor())?);
                }
                let region = self.part(part);
                Payload::MemoryRegion(MemoryRegion { padding: 0, region })
            }
            PayloadKind::VringFd if *number & NO_DESCRIPTOR != 0 => {
                Payload::VringFd(VringFd::new(ring, true))
            }
            PayloadKind::VringFd => {
                if let Some(line) = line {
                    let event = match () {
                        () if has(Effect::SetKick) => &line.ring.kick,
                        () if has(Effect::SetErr) => &line.error,
                        () => &line.ring.call,
                    };
                    fds.push(copy(event.as_fd())?);
                }
                Payload::VringFd(VringFd::new(ring, false))
            }
            PayloadKind::Transfer => {
                let direction = *number as u32;
                fds.push(self.open_channel(direction)?);
                Payload::Transfer(Transfer { direction, phase: Transfer::STOPPED })
            }
            PayloadKind::Config => {
                let bytes = vec![0; (*number).min(MAX_CONFIG as u64) as usize];
                Payload::Config(Config::new(0, 0, bytes).map_err(harness)?)
            }
            PayloadKind::Log => {
                *number = (*number).max(1);
                let (log, fd) = self.tracking.renew(*number as u8)?;
                fds.push(fd);
                Payload::Log(log)
            }
            PayloadKind::Inflight if def.reply.is_some() => Payload::Inflight(Inflight {
                num_queues: self.lines.len() as u16,
                queue_size: self.workload.ring_size(),
                alignment: Some([0; 4]),
                ..Inflight::default()
            }),
            PayloadKind::Inflight => {
                let Some((record, fd)) = &self.tracking.record else {
                    return Err(TestEnd::Harness("there is no in-flight buffer".into()));
                };
                fds.push(copy(fd.as_fd())?);
                Payload::Inflight(*record)
            }
            other => {
                return Err(TestEnd::Harness(format!("no way to make a payload of kind {other}")));
            }
        };
        Ok((payload, fds))
    }

    /// A part of guest memory, as one region.
    fn part(&self, part: u64) -> Region {
        let whole = self.memory.regions().next().unwrap_or_default();
        match part {
            2 => Region { size: self.split, ..whole },
            3 => Region {
                guest_address: whole.guest_address + self.split,
                size: whole.size - self.split,
                user_address: whole.user_address + self.split,
                mmap_offset: whole.mmap_offset + self.split,
            },
            _ => whole,
        }
    }
}
