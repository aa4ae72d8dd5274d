//! Rules about payloads, which no state holds: whether a ring lies in the memory that was sent,
//! whether a log is long enough for it, and what a split ring's base holds.
//!
//! **Invariants.** Pure. Who cannot know is not accused: nothing is said of translated addresses
//! (VIRTIO_F_ACCESS_PLATFORM), a ring whose size was not set is looked for by its first byte, and a
//! base is that of a split ring only once SET_FEATURES was seen to say so. A log is measured when it
//! is given, not when memory grows behind it.

use super::wire::{Log, Payload, Region, VringAddr, VringState};
use crate::clause_ids;
use devmig_engine::clause::ClauseId;

clause_ids! {
    /// The clauses that are judged here.
    pub struct MappedLaws {
        /// `vhost-user.vring-addr.mapped`
        mapped: "vhost-user.vring-addr.mapped",
        /// `vhost-user.memory.no-overlap`
        no_overlap: "vhost-user.memory.no-overlap",
        /// `vhost-user.dirty-log.large-enough`
        large_enough: "vhost-user.dirty-log.large-enough",
        /// `vhost-user.set-vring-base.reserved`
        reserved: "vhost-user.set-vring-base.reserved",
    }
}

/// The most regions and rings that are followed; beyond them nothing is judged.
const MAX: usize = 512;
/// VIRTIO_F_ACCESS_PLATFORM: addresses are translated.
const TRANSLATED: u64 = 1 << 33;
/// VIRTIO_F_RING_PACKED: the parts of a ring have other lengths.
const PACKED: u64 = 1 << 34;

/// How much memory one byte of a log covers: eight pages of 4096 bytes.
const LOGGED_BY_A_BYTE: u64 = 8 * 4096;

/// What of a message matters here, by its name in the message table.
const SET_FEATURES: &str = "SET_FEATURES";
const SET_VRING_NUM: &str = "SET_VRING_NUM";
const SET_VRING_BASE: &str = "SET_VRING_BASE";
const REM_MEM_REG: &str = "REM_MEM_REG";

/// The memory that the front-end has sent.
#[derive(Clone, Debug, Default)]
pub struct Mapped {
    regions: Vec<Region>,
    sizes: Vec<(u32, u32)>,
    features: Option<u64>,
    lost: bool,
}

impl Mapped {
    /// Takes the front-end's next message; the clause that it breaks, and how.
    pub fn take(
        &mut self,
        laws: &MappedLaws,
        name: &str,
        payload: &Payload,
    ) -> Option<(ClauseId, String)> {
        match payload {
            Payload::Memory(memory) => {
                self.regions = memory.regions().to_vec();
                return self.overlapping().map(|wrong| (laws.no_overlap, wrong));
            }
            Payload::MemoryRegion(gone) if name == REM_MEM_REG => {
                let address = gone.region.user_address;
                self.regions.retain(|region| region.user_address != address);
            }
            Payload::MemoryRegion(added) => {
                self.lost |= self.regions.len() >= MAX;
                self.regions.extend((!self.lost).then_some(added.region));
                return self.overlapping().map(|wrong| (laws.no_overlap, wrong));
            }
            Payload::U64(features) if name == SET_FEATURES => self.features = Some(*features),
            Payload::VringState(state) if name == SET_VRING_NUM => {
                self.sizes.retain(|(ring, _)| *ring != state.index);
                self.lost |= self.sizes.len() >= MAX;
                self.sizes.extend((!self.lost).then_some((state.index, state.num)));
            }
            Payload::VringState(state) if name == SET_VRING_BASE => {
                return self.reserved(state).map(|wrong| (laws.reserved, wrong));
            }
            Payload::VringAddr(address) => {
                return self.outside(address).map(|wrong| (laws.mapped, wrong));
            }
            Payload::Log(log) => return self.short(log).map(|wrong| (laws.large_enough, wrong)),
            _ => {}
        }
        None
    }

    /// Two regions that share guest addresses, or addresses of the front-end.
    fn overlapping(&self) -> Option<String> {
        let guest = |region: &Region| (region.guest_address, region.size);
        let user = |region: &Region| (region.user_address, region.size);
        let shared = |of: &dyn Fn(&Region) -> (u64, u64)| {
            let mut all: Vec<_> =
                self.regions.iter().map(of).filter(|(_, size)| *size > 0).collect();
            all.sort_unstable();
            let overlap = |pair: &[(u64, u64)]| match pair {
                [(start, size), (next, _)] => start.saturating_add(*size) > *next,
                _ => false,
            };
            all.windows(2).find(|pair| overlap(pair)).map(|pair| pair[1].0)
        };
        let guest = shared(&guest).map(|at| format!("two regions have guest address {at:#x}"));
        guest.or_else(|| shared(&user).map(|at| format!("two regions have user address {at:#x}")))
    }

    /// What a split ring's base has beyond an index.
    fn reserved(&self, base: &VringState) -> Option<String> {
        let split = self.features.is_some_and(|features| features & PACKED == 0);
        (split && base.num >> 16 != 0).then(|| format!("ring {}: {:#x}", base.index, base.num))
    }

    /// The memory that a log leaves out.
    fn short(&self, log: &Log) -> Option<String> {
        let ends = self.regions.iter().map(|r| r.guest_address.saturating_add(r.size));
        let end = ends.max().filter(|_| !self.lost)?;
        let covered = log.size.saturating_mul(LOGGED_BY_A_BYTE);
        (covered < end).then(|| format!("a log up to {covered:#x} for memory up to {end:#x}"))
    }

    /// The part of a ring that is outside.
    fn outside(&self, ring: &VringAddr) -> Option<String> {
        let features = self.features.unwrap_or(0);
        if self.lost || features & TRANSLATED != 0 {
            return None;
        }
        let size = self.sizes.iter().find(|(index, _)| *index == ring.index);
        let size = u64::from(size.map_or(0, |(_, size)| *size));
        let packed = features & PACKED != 0;
        let length = |head: u64, each: u64| match (size, packed) {
            (0, _) => 1,
            (_, true) => 4,
            _ => head + each * size,
        };
        let parts = [
            ("descriptors", ring.descriptor, 16 * size.max(1)),
            ("available ring", ring.available, length(4, 2)),
            ("used ring", ring.used, length(4, 8)),
        ];
        let outside = parts.into_iter().find(|(_, start, length)| {
            let last = start.saturating_add(length - 1);
            !self.holds(*start) || !self.holds(last)
        });
        let (part, start, _) = outside?;
        Some(format!("ring {}: its {part} at {start:#x} in no region that was sent", ring.index))
    }

    fn holds(&self, address: u64) -> bool {
        self.regions.iter().any(|region| {
            address.checked_sub(region.user_address).is_some_and(|at| at < region.size)
        })
    }
}
