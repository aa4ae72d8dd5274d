//! Whether a ring lies in the memory that was sent: a rule about payloads, which no state holds.
//!
//! **Invariants.** Pure. Who cannot know is not accused: nothing is said of translated addresses
//! (VIRTIO_F_ACCESS_PLATFORM), and a ring whose size was not set is looked for by its first byte.

use super::wire::{Payload, Region, VringAddr};
use crate::clause_ids;

clause_ids! {
    /// The clause that is judged here.
    pub struct MappedLaws {
        /// `vhost-user.vring-addr.mapped`
        mapped: "vhost-user.vring-addr.mapped",
    }
}

/// The most regions and rings that are followed; beyond them nothing is judged.
const MAX: usize = 512;
/// VIRTIO_F_ACCESS_PLATFORM: addresses are translated.
const TRANSLATED: u64 = 1 << 33;
/// VIRTIO_F_RING_PACKED: the parts of a ring have other lengths.
const PACKED: u64 = 1 << 34;

/// What of a message matters here, by its name in the message table.
const SET_FEATURES: &str = "SET_FEATURES";
const SET_VRING_NUM: &str = "SET_VRING_NUM";
const REM_MEM_REG: &str = "REM_MEM_REG";

/// The memory that the front-end has sent.
#[derive(Clone, Debug, Default)]
pub struct Mapped {
    regions: Vec<Region>,
    sizes: Vec<(u32, u32)>,
    features: u64,
    lost: bool,
}

impl Mapped {
    /// Takes the front-end's next message; what is wrong with it.
    pub fn take(&mut self, name: &str, payload: &Payload) -> Option<String> {
        match payload {
            Payload::Memory(memory) => self.regions = memory.regions().to_vec(),
            Payload::MemoryRegion(gone) if name == REM_MEM_REG => {
                let address = gone.region.user_address;
                self.regions.retain(|region| region.user_address != address);
            }
            Payload::MemoryRegion(added) => {
                self.lost |= self.regions.len() >= MAX;
                self.regions.extend((!self.lost).then_some(added.region));
            }
            Payload::U64(features) if name == SET_FEATURES => self.features = *features,
            Payload::VringState(state) if name == SET_VRING_NUM => {
                self.sizes.retain(|(ring, _)| *ring != state.index);
                self.lost |= self.sizes.len() >= MAX;
                self.sizes.extend((!self.lost).then_some((state.index, state.num)));
            }
            Payload::VringAddr(address) => return self.outside(address),
            _ => {}
        }
        None
    }

    /// The part of a ring that is outside.
    fn outside(&self, ring: &VringAddr) -> Option<String> {
        if self.lost || self.features & TRANSLATED != 0 {
            return None;
        }
        let size = self.sizes.iter().find(|(index, _)| *index == ring.index);
        let size = u64::from(size.map_or(0, |(_, size)| *size));
        let packed = self.features & PACKED != 0;
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
    use crate::vhost_user::wire::{MemoryRegion, VringState};

    fn region(user_address: u64, size: u64) -> Payload {
        let region = Region { user_address, size, ..Region::default() };
        Payload::MemoryRegion(MemoryRegion { padding: 0, region })
    }

    fn ring(descriptor: u64) -> Payload {
        let (available, used) = (0x1800, 0x1c00);
        Payload::VringAddr(VringAddr { descriptor, available, used, ..VringAddr::default() })
    }

    #[test]
    fn a_ring_lies_in_memory_with_all_of_its_length() {
        let mut mapped = Mapped::default();
        assert!(mapped.take("SET_VRING_ADDR", &ring(0x1000)).is_some());
        assert_eq!(mapped.take("ADD_MEM_REG", &region(0x1000, 0x1000)), None);
        assert_eq!(mapped.take("SET_VRING_ADDR", &ring(0x1000)), None);
        let size = Payload::VringState(VringState { index: 0, num: 256 });
        assert_eq!(mapped.take("SET_VRING_NUM", &size), None);
        // 4 + 8 * 256 bytes of used ring do not fit behind 0x1c00.
        let wrong = mapped.take("SET_VRING_ADDR", &ring(0x1000)).unwrap();
        assert!(wrong.contains("used ring at 0x1c00"), "{wrong}");
        assert_eq!(mapped.take("ADD_MEM_REG", &region(0x2000, 0x1000)), None);
        assert_eq!(mapped.take("SET_VRING_ADDR", &ring(0x1000)), None);
        assert_eq!(mapped.take("REM_MEM_REG", &region(0x1000, 0x1000)), None);
        assert!(mapped.take("SET_VRING_ADDR", &ring(0x1000)).is_some());
    }

    #[test]
    fn nothing_is_said_of_translated_addresses() {
        let mut mapped = Mapped::default();
        assert_eq!(mapped.take("SET_FEATURES", &Payload::U64(TRANSLATED)), None);
        assert_eq!(mapped.take("SET_VRING_ADDR", &ring(u64::MAX)), None);
    }
}
