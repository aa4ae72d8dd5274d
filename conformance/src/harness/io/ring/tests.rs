//! The driver against a device of rust-vmm's, and against devices that lie.

use devmig_testing::Premises;
use quickcheck::QuickCheck;
use virtio_queue::{Queue, QueueT};
use vm_memory::GuestAddress;

use super::super::memory::PAGE;
use super::*;

const PART: Buffer = Buffer { addr: 0x8000, len: 16, writable: true };

fn ring(size: u16) -> Ring {
    let memory = GuestMemory::new(&[(0, PAGE)]).unwrap();
    Ring::new(&memory, &mut Arena::new(0, PAGE), size).unwrap()
}

/// rust-vmm's device side of the same ring, at the same base.
fn device(ring: &Ring) -> Queue {
    let mut queue = Queue::new(MAX_SIZE).unwrap();
    queue.set_size(ring.size);
    queue.try_set_desc_table_address(GuestAddress(ring.layout.descriptor)).unwrap();
    queue.try_set_avail_ring_address(GuestAddress(ring.layout.available)).unwrap();
    queue.try_set_used_ring_address(GuestAddress(ring.layout.used)).unwrap();
    queue.set_next_avail(ring.available);
    queue.set_next_used(ring.seen);
    queue.set_ready(true);
    queue
}

/// What a device that lies writes: an index, and the element before it.
fn write_used(ring: &Ring, idx: u16, id: u32) {
    let at = ring.layout.used + RING_HEADER + USED_ELEMENT * ring.slot(idx.wrapping_sub(1));
    ring.memory.write(at, &id.to_le_bytes()).unwrap();
    ring.memory.store_u16(ring.layout.used + 2, idx, Ordering::Release).unwrap();
}

#[test]
fn a_device_sees_chains_and_returns_them() {
    let mut ring = ring(8);
    let mut device = device(&ring);
    let read = Buffer { addr: 0x4000, len: 3, writable: false };
    let head = ring.publish(&[read, PART]).unwrap();
    let memory = ring.memory.clone();
    let map = memory.map();
    let chain = device.pop_descriptor_chain(&map).unwrap();
    assert_eq!(chain.head_index(), head);
    let seen: Vec<Buffer> = chain
        .map(|d| Buffer { addr: d.addr().0, len: d.len(), writable: d.is_write_only() })
        .collect();
    assert_eq!(seen, [read, PART]);
    assert!(ring.take_used().unwrap().is_none());
    device.add_used(&map, head, 16).unwrap();
    assert_eq!(ring.take_used().unwrap(), Some(Used { head, len: 16 }));
    assert!(ring.take_used().unwrap().is_none());
    assert_eq!(ring.outstanding(), 0);
}

/// Any base (the wrap at 65535 too), any order of publishing and returning.
#[test]
fn requests_come_back_over_the_wrap() {
    static PREMISES: Premises = Premises::new();
    fn law(near: u8, turns: Vec<(u8, bool)>) -> bool {
        let mut ring = ring(16);
        ring.start_at(0_u16.wrapping_sub(u16::from(near))).unwrap();
        let mut device = device(&ring);
        let (mut held, mut published, mut returned) = (Vec::new(), 0, 0);
        for (pick, publish) in turns.iter().cycle().take(200) {
            let parts = usize::from(pick % 3) + 1;
            if *publish && ring.publish(&vec![PART; parts]).is_ok() {
                published += 1;
            }
            while let Some(chain) = device.pop_descriptor_chain(&ring.memory.map()) {
                let head = chain.head_index();
                if chain.count() > 3 {
                    return false;
                }
                held.push(head);
            }
            if !publish && !held.is_empty() {
                let head = held.swap_remove(usize::from(*pick) % held.len());
                device.add_used(&ring.memory.map(), head, 7).unwrap();
                if ring.take_used().unwrap() != Some(Used { head, len: 7 }) {
                    return false;
                }
                returned += 1;
            }
        }
        PREMISES.holds("requests come back", returned > 0);
        PREMISES.holds("over the wrap", near > 0 && returned > usize::from(near));
        ring.outstanding() == published - returned && held.len() == ring.outstanding()
    }
    QuickCheck::new().tests(200).quickcheck(law as fn(u8, Vec<(u8, bool)>) -> bool);
    PREMISES.at_least("requests come back", 50);
    PREMISES.at_least("over the wrap", 10);
}

#[test]
fn the_whole_ring_can_be_outstanding_and_no_more() {
    let mut ring = ring(4);
    ring.start_at(65534).unwrap();
    for _ in 0..4 {
        ring.publish(&[PART]).unwrap();
    }
    assert_eq!(ring.available_index(), 2);
    assert!(matches!(ring.publish(&[PART]), Err(RingError::Full { wanted: 1, free: 0 })));
    assert!(matches!(ring.publish(&[]), Err(RingError::Empty)));
    let mut device = device(&ring);
    device.set_next_used(65534);
    for head in 0..4 {
        device.add_used(&ring.memory.map(), head, 0).unwrap();
    }
    for head in 0..4 {
        assert_eq!(ring.take_used().unwrap(), Some(Used { head, len: 0 }));
    }
    assert_eq!(ring.used_index().unwrap(), 2);
}

#[test]
fn an_index_that_moves_too_far_or_back_is_an_error() {
    let mut ring = ring(8);
    ring.publish(&[PART]).unwrap();
    for idx in [2, 9, 0x8000, 65535] {
        write_used(&ring, idx, 0);
        assert!(matches!(ring.take_used(), Err(RingError::UsedIndex { outstanding: 1, .. })));
    }
    write_used(&ring, 1, 0);
    ring.take_used().unwrap().unwrap();
    write_used(&ring, 0, 0);
    assert!(matches!(ring.take_used(), Err(RingError::UsedIndex { idx: 0, seen: 1, .. })));
}

#[test]
fn a_chain_that_is_not_outstanding_is_an_error() {
    let mut ring = ring(8);
    let head = ring.publish(&[PART, PART]).unwrap();
    ring.publish(&[PART]).unwrap();
    for id in [1, 7, 8, 65536, u32::MAX] {
        write_used(&ring, 1, id);
        assert!(
            matches!(ring.take_used(), Err(RingError::UsedElement { at: 0, id: i }) if i == id)
        );
    }
    write_used(&ring, 1, head.into());
    ring.take_used().unwrap().unwrap();
    write_used(&ring, 2, head.into());
    assert!(matches!(ring.take_used(), Err(RingError::UsedElement { at: 1, .. })), "twice");
    assert_eq!(ring.outstanding(), 1);
}

#[test]
fn starting_again_forgets_everything() {
    let mut ring = ring(8);
    ring.publish(&[PART; 8]).unwrap();
    write_used(&ring, 77, 77);
    ring.start_at(65535).unwrap();
    assert_eq!((ring.available_index(), ring.used_index().unwrap()), (65535, 65535));
    assert!(ring.take_used().unwrap().is_none());
    assert_eq!(ring.publish(&[PART; 8]).unwrap(), 0);
    assert_eq!(ring.memory.load_u16(ring.layout.available + 2, Ordering::Acquire).unwrap(), 0);
}

#[test]
fn sizes_and_alignment_are_the_specifications() {
    let memory = GuestMemory::new(&[(0, PAGE)]).unwrap();
    for size in [0, 3, 255, 512, 65535] {
        let ring = Ring::new(&memory, &mut Arena::new(0, PAGE), size);
        assert!(matches!(ring, Err(RingError::Size(_))));
    }
    assert!(matches!(
        Ring::new(&memory, &mut Arena::new(0, 100), 256),
        Err(RingError::Memory(MemoryError::Exhausted { .. }))
    ));
    for size in [1, 2, 256] {
        let ring = Ring::new(&memory, &mut Arena::new(1, PAGE - 1), size).unwrap();
        let Layout { descriptor, available, used } = ring.layout();
        assert_eq!((descriptor % 16, available % 2, used % 4), (0, 0, 0));
    }
}

#[test]
fn with_event_indices_each_side_is_woken_where_it_wants_to_be() {
    let mut ring = ring(8);
    ring.set_events(true);
    let mut device = device(&ring);
    device.set_event_idx(true);
    let memory = ring.memory.map();
    let serve = |device: &mut Queue, count: usize| {
        let heads: Vec<u16> = (0..count)
            .map(|_| device.pop_descriptor_chain(&memory).unwrap().head_index())
            .collect();
        heads.iter().for_each(|head| device.add_used(&memory, *head, 0).unwrap());
        device.needs_notification(&memory).unwrap()
    };
    ring.publish(&[PART]).unwrap();
    assert!(ring.wants_kick().unwrap(), "nobody has looked at the ring yet");
    assert!(serve(&mut device, 1), "the driver asked for its last request");
    // The device goes on by itself: it has not asked for a kick.
    ring.publish(&[PART]).unwrap();
    assert!(!ring.wants_kick().unwrap());
    ring.publish(&[PART]).unwrap();
    assert!(!serve(&mut device, 1), "one of two is not the last");
    assert!(serve(&mut device, 1));
    assert!(!device.enable_notification(&memory).unwrap());
    ring.publish(&[PART]).unwrap();
    assert!(ring.wants_kick().unwrap() && !ring.wants_kick().unwrap(), "once for each request");
}

#[test]
fn a_ring_that_is_moved_begins_anew_elsewhere() {
    let mut ring = ring(8);
    let before = ring.layout();
    ring.publish(&[PART]).unwrap();
    ring.relocate();
    ring.start_at(3).unwrap();
    let apart = |a: u64, b: u64| a != b;
    let now = ring.layout();
    assert!(apart(now.descriptor, before.descriptor) && apart(now.used, before.used));
    assert_eq!((ring.used_index().unwrap(), ring.outstanding()), (3, 0));
    let mut device = device(&ring);
    let head = ring.publish(&[PART]).unwrap();
    let seen = device.pop_descriptor_chain(&ring.memory.map()).map(|chain| chain.head_index());
    assert_eq!(seen, Some(head));
}
