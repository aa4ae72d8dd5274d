//! What a message carries: the payload and the descriptors that its kind has.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use devmig_model::protocol::vhost_user::table::MessageDef;
use devmig_model::protocol::vhost_user::vocabulary::Effect;
use devmig_model::protocol::vhost_user::wire::{
    Config, Inflight, MAX_CONFIG, Memory, MemoryRegion, Payload, PayloadKind, Transfer, VringFd,
    VringState,
};

use super::{Session, tracking};
use crate::harness::verdict::TestEnd;

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
        let line = self.driver.line(ring);
        let mut fds: Vec<OwnedFd> = Vec::new();
        let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(TestEnd::harness);
        let has = |effect| def.has(effect);
        let payload = match def.request {
            PayloadKind::None if has(Effect::SetChannel) => {
                fds.push(self.back_end_channel.open()?);
                Payload::None
            }
            PayloadKind::None => Payload::None,
            PayloadKind::U64 => Payload::U64(*number),
            PayloadKind::VringState => {
                Payload::VringState(VringState { index: ring.into(), num: *number as u32 })
            }
            PayloadKind::VringAddr => {
                let line = line?;
                let log = tracking::log_address(ring, line.ring.layout().used);
                Payload::VringAddr(line.address(ring, *number as u32 & 1, log))
            }
            PayloadKind::Memory => {
                let regions = self.driver.table(part);
                for _ in &regions {
                    fds.push(copy(self.driver.memory.descriptor().as_fd())?);
                }
                *number = regions.len() as u64;
                let regions = Memory::new(regions);
                Payload::Memory(regions.map_err(TestEnd::harness)?)
            }
            PayloadKind::MemoryRegion => {
                if !has(Effect::RemoveRegion) {
                    fds.push(copy(self.driver.memory.descriptor().as_fd())?);
                }
                let region = self.driver.part(part);
                Payload::MemoryRegion(MemoryRegion { padding: 0, region })
            }
            PayloadKind::VringFd if *number & NO_DESCRIPTOR != 0 => {
                Payload::VringFd(VringFd::new(ring, true))
            }
            PayloadKind::VringFd => {
                if let Ok(line) = line {
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
                fds.push(self.transfer.open(direction)?);
                Payload::Transfer(Transfer { direction, phase: Transfer::STOPPED })
            }
            PayloadKind::Config => {
                let bytes = vec![0; (*number).min(MAX_CONFIG as u64) as usize];
                let offset = self.configuration.offset;
                Payload::Config(Config::new(offset, 0, bytes).map_err(TestEnd::harness)?)
            }
            PayloadKind::Log => {
                *number = (*number).max(1);
                let (log, fd) = self.tracking.renew(*number as u8)?;
                fds.push(fd);
                Payload::Log(log)
            }
            PayloadKind::Inflight if def.reply.is_some() => Payload::Inflight(Inflight {
                num_queues: self.driver.rings().into(),
                queue_size: self.driver.ring_size(),
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

    /// What SET_CONFIG writes.
    fn write_config(&mut self, flags: u32) -> Result<Config, TestEnd> {
        const MIGRATED: u32 = 1;
        let outside = self.outside()?;
        let (offset, bytes) = outside.config().ok_or_else(|| {
            TestEnd::Skip("needs a device with a known configuration space".into())
        })?;
        if flags == MIGRATED {
            outside.migrated();
        }
        Config::new(offset, flags, bytes).map_err(TestEnd::harness)
    }
}
