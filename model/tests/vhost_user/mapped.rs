//! Rules about payloads: memory under rings, logs and bases.

#![allow(clippy::unwrap_used)] // a test says by panicking what is wrong

use devmig_engine::clause::ClauseId;
use devmig_model::protocol::vhost_user::mapped::{Mapped, MappedLaws};
use devmig_model::protocol::vhost_user::wire::{
    Log, MemoryRegion, Payload, Region, VringAddr, VringState,
};

use crate::common::builtin;

/// VIRTIO_F_ACCESS_PLATFORM.
const TRANSLATED: u64 = 1 << 33;
/// VIRTIO_F_RING_PACKED.
const PACKED: u64 = 1 << 34;

/// What is said of a message.
fn wrong(mapped: &mut Mapped, name: &str, payload: &Payload) -> Option<(ClauseId, String)> {
    mapped.take(&laws(), name, payload)
}

fn laws() -> MappedLaws {
    MappedLaws::resolve(&builtin().spec).unwrap()
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
