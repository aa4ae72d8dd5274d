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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::vhost_user::wire::{MemoryRegion, VringState};

    /// What is said of a message.
    fn wrong(mapped: &mut Mapped, name: &str, payload: &Payload) -> Option<(ClauseId, String)> {
        mapped.take(&laws(), name, payload)
    }

    fn laws() -> MappedLaws {
        MappedLaws::resolve(&crate::registry::Library::builtin().unwrap().spec).unwrap()
    }

    fn region(user_address: u64, size: u64) -> Payload {
        let guest_address = user_address;
        let region = Region { user_address, guest_address, size, ..Region::default() };
        Payload::MemoryRegion(MemoryRegion { padding: 0, region })
    }

    fn ring(descriptor: u64) -> Payload {
        let (available, used) = (0x1800, 0x1c00);
        Payload::VringAddr(VringAddr { descriptor, available, used, ..VringAddr::default() })
    }

    #[test]
    fn a_ring_lies_in_memory_with_all_of_its_length() {
        let mut mapped = Mapped::default();
        assert!(wrong(&mut mapped, "SET_VRING_ADDR", &ring(0x1000)).is_some());
        assert_eq!(wrong(&mut mapped, "ADD_MEM_REG", &region(0x1000, 0x1000)), None);
        assert_eq!(wrong(&mut mapped, "SET_VRING_ADDR", &ring(0x1000)), None);
        let size = Payload::VringState(VringState { index: 0, num: 256 });
        assert_eq!(wrong(&mut mapped, "SET_VRING_NUM", &size), None);
        // 4 + 8 * 256 bytes of used ring do not fit behind 0x1c00.
        let (clause, how) = wrong(&mut mapped, "SET_VRING_ADDR", &ring(0x1000)).unwrap();
        assert_eq!(clause, laws().mapped);
        assert!(how.contains("used ring at 0x1c00"), "{how}");
        assert_eq!(wrong(&mut mapped, "ADD_MEM_REG", &region(0x2000, 0x1000)), None);
        assert_eq!(wrong(&mut mapped, "SET_VRING_ADDR", &ring(0x1000)), None);
        assert_eq!(wrong(&mut mapped, "REM_MEM_REG", &region(0x1000, 0x1000)), None);
        assert!(wrong(&mut mapped, "SET_VRING_ADDR", &ring(0x1000)).is_some());
    }

    #[test]
    fn regions_overlap_in_neither_kind_of_address() {
        let mut mapped = Mapped::default();
        assert_eq!(wrong(&mut mapped, "ADD_MEM_REG", &region(0x1000, 0x1000)), None);
        assert_eq!(wrong(&mut mapped, "ADD_MEM_REG", &region(0x2000, 0x1000)), None);
        let (clause, how) = wrong(&mut mapped, "ADD_MEM_REG", &region(0x2fff, 0x1000)).unwrap();
        assert_eq!(clause, laws().no_overlap);
        assert!(how.contains("guest address 0x2fff"), "{how}");
        let mut mapped = Mapped::default();
        assert_eq!(wrong(&mut mapped, "ADD_MEM_REG", &region(0x1000, 0x1000)), None);
        let apart = Region { guest_address: 0x9000, user_address: 0x1800, size: 1, mmap_offset: 0 };
        let apart = Payload::MemoryRegion(MemoryRegion { padding: 0, region: apart });
        let (_, how) = wrong(&mut mapped, "ADD_MEM_REG", &apart).unwrap();
        assert!(how.contains("user address 0x1800"), "{how}");
    }

    #[test]
    fn nothing_is_said_of_translated_addresses() {
        let mut mapped = Mapped::default();
        assert_eq!(wrong(&mut mapped, "SET_FEATURES", &Payload::U64(TRANSLATED)), None);
        assert_eq!(wrong(&mut mapped, "SET_VRING_ADDR", &ring(u64::MAX)), None);
    }

    #[test]
    fn a_log_covers_all_memory_from_address_0() {
        let mut mapped = Mapped::default();
        let log = |size| Payload::Log(Log { size, offset: 0 });
        assert_eq!(wrong(&mut mapped, "SET_LOG_BASE", &log(0)), None, "no memory is known");
        let high = Region { guest_address: 0x10_0000, size: 0x1_0000, ..Region::default() };
        let high = Payload::MemoryRegion(MemoryRegion { padding: 0, region: high });
        assert_eq!(wrong(&mut mapped, "ADD_MEM_REG", &high), None);
        assert_eq!(wrong(&mut mapped, "SET_LOG_BASE", &log(0x22)), None);
        let (clause, how) = wrong(&mut mapped, "SET_LOG_BASE", &log(0x21)).unwrap();
        assert_eq!(clause, laws().large_enough);
        assert!(how.contains("up to 0x108000 for memory up to 0x110000"), "{how}");
        assert_eq!(wrong(&mut mapped, "SET_LOG_BASE", &log(u64::MAX)), None);
    }

    #[test]
    fn only_a_base_that_is_known_to_be_a_split_ring_s_has_reserved_bits() {
        let mut mapped = Mapped::default();
        let base = Payload::VringState(VringState { index: 0, num: 0x8001_0000 });
        assert_eq!(wrong(&mut mapped, "SET_VRING_BASE", &base), None, "no features are known");
        assert_eq!(wrong(&mut mapped, "SET_FEATURES", &Payload::U64(PACKED)), None);
        assert_eq!(wrong(&mut mapped, "SET_VRING_BASE", &base), None);
        assert_eq!(wrong(&mut mapped, "SET_FEATURES", &Payload::U64(0)), None);
        let (clause, _) = wrong(&mut mapped, "SET_VRING_BASE", &base).unwrap();
        assert_eq!(clause, laws().reserved);
        let base = Payload::VringState(VringState { index: 0, num: 0xffff });
        assert_eq!(wrong(&mut mapped, "SET_VRING_BASE", &base), None);
    }
}
