//! A guest with block requests and frames, for tests.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use devmig_model::protocol::vhost_user::wire::{Memory, Payload, Region, VringAddr};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use virtio_bindings::bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};

pub(crate) const GUEST: u64 = 0x10_0000;
pub(crate) const USER: u64 = 0x7000_0000_0000;
pub(crate) const LENGTH: u64 = 0x10_0000;
pub(crate) const SIZE: u16 = 16;

/// Where data begins; before it, each ring has 0x4000 bytes.
const DATA: u64 = GUEST + 0x4_0000;

pub(crate) struct Guest {
    pub(crate) map: GuestMemoryMmap<()>,
    file: File,
}

impl Guest {
    pub(crate) fn new() -> Self {
        let file = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
        ftruncate(&file, LENGTH).unwrap();
        let part = FileOffset::new(file.try_clone().unwrap(), 0);
        let ranges = [(GuestAddress(GUEST), LENGTH as usize, Some(part))];
        Guest { map: GuestMemoryMmap::from_ranges_with_files(ranges).unwrap(), file }
    }

    pub(crate) fn descriptor(&self) -> OwnedFd {
        self.file.try_clone().unwrap().into()
    }

    pub(crate) fn region() -> Region {
        Region { guest_address: GUEST, size: LENGTH, user_address: USER, mmap_offset: 0 }
    }

    pub(crate) fn table() -> Payload {
        Payload::Memory(Memory::new(vec![Self::region()]).unwrap())
    }

    pub(crate) fn addresses(index: u32) -> Payload {
        let at = USER + 0x4000 * u64::from(index);
        Payload::VringAddr(VringAddr {
            index,
            flags: 0,
            descriptor: at,
            available: at + 0x1000,
            used: at + 0x2000,
            log: 0,
        })
    }

    fn ring(index: u32) -> u64 {
        GUEST + 0x4000 * u64::from(index)
    }

    /// Makes entry `n` of the available ring a request, and the index say so.
    pub(crate) fn publish(&self, ring: u32, n: u16, code: u32, sector: u64) {
        let at = Self::ring(ring);
        let head = n % (SIZE / 4) * 4;
        let slot = DATA + u64::from(n % SIZE) * 0x400;
        self.map.write_obj([u64::from(code), sector], GuestAddress(slot)).unwrap();
        self.map.write_slice(&[0xee], GuestAddress(slot + 528)).unwrap();
        let write = if code == 1 { 0 } else { VRING_DESC_F_WRITE };
        for (index, (addr, len, flags)) in [
            (slot, 16, VRING_DESC_F_NEXT),
            (slot + 16, 512, VRING_DESC_F_NEXT | write),
            (slot + 528, 1, VRING_DESC_F_WRITE),
        ]
        .into_iter()
        .enumerate()
        {
            let index = head + index as u16;
            let descriptor = Descriptor::new(addr, len, flags as u16, index + 1);
            self.descriptor_is(ring, index, descriptor);
        }
        let element = GuestAddress(at + 0x1004 + u64::from(n % SIZE) * 2);
        self.map.write_obj(head, element).unwrap();
        self.available(ring, n.wrapping_add(1));
    }

    /// Makes entry `n` of the available ring one buffer, and the index say so.
    pub(crate) fn publish_buffer(&self, ring: u32, n: u16, bytes: &[u8], writable: usize) {
        let at = Self::ring(ring);
        let slot = Self::buffer(ring, n);
        let head = n % (SIZE / 2) * 2;
        self.map.write_slice(bytes, GuestAddress(slot)).unwrap();
        let (write, next) = (VRING_DESC_F_WRITE as u16, VRING_DESC_F_NEXT as u16);
        let room = Descriptor::new(slot + 0x1000, writable as u32, write, 0);
        if bytes.is_empty() {
            self.descriptor_is(ring, head, room);
        } else {
            let flags = if writable > 0 { next } else { 0 };
            let first = Descriptor::new(slot, bytes.len() as u32, flags, head + 1);
            self.descriptor_is(ring, head, first);
            self.descriptor_is(ring, head + 1, room);
        }
        let element = GuestAddress(at + 0x1004 + u64::from(n % SIZE) * 2);
        self.map.write_obj(head, element).unwrap();
        self.available(ring, n.wrapping_add(1));
    }

    /// Where the buffer of entry `n` begins; its room begins a page later.
    pub(crate) fn buffer(ring: u32, n: u16) -> u64 {
        DATA + u64::from(ring) * 0x1_8000 + u64::from(n % (SIZE / 2)) * 0x3000
    }

    /// What was written into the room of entry `n`.
    pub(crate) fn room(&self, ring: u32, n: u16, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let at = GuestAddress(Self::buffer(ring, n) + 0x1000);
        self.map.read_slice(&mut bytes, at).unwrap();
        bytes
    }

    pub(crate) fn descriptor_is(&self, ring: u32, index: u16, descriptor: Descriptor) {
        let at = GuestAddress(Self::ring(ring) + 16 * u64::from(index));
        self.map.write_obj(descriptor, at).unwrap();
    }

    pub(crate) fn available(&self, ring: u32, index: u16) {
        let at = GuestAddress(Self::ring(ring) + 0x1002);
        self.map.store(index, at, Ordering::Release).unwrap();
    }

    pub(crate) fn set_used(&self, ring: u32, index: u16) {
        let at = GuestAddress(Self::ring(ring) + 0x2002);
        self.map.store(index, at, Ordering::Release).unwrap();
    }

    pub(crate) fn used(&self, ring: u32) -> u16 {
        self.map.load(GuestAddress(Self::ring(ring) + 0x2002), Ordering::Acquire).unwrap()
    }

    /// Head and length of a used element.
    pub(crate) fn used_element(&self, ring: u32, n: u16) -> (u32, u32) {
        let at = Self::ring(ring) + 0x2004 + u64::from(n % SIZE) * 8;
        let [head, len]: [u32; 2] = self.map.read_obj(GuestAddress(at)).unwrap();
        (head, len)
    }

    /// Data and status of a request.
    pub(crate) fn result(&self, n: u16) -> (Vec<u8>, u8) {
        let mut bytes = vec![0; 513];
        let at = GuestAddress(DATA + u64::from(n % SIZE) * 0x400 + 16);
        self.map.read_slice(&mut bytes, at).unwrap();
        let status = bytes.pop().unwrap();
        (bytes, status)
    }

    pub(crate) fn write_data(&self, n: u16, bytes: &[u8]) {
        let at = GuestAddress(DATA + u64::from(n % SIZE) * 0x400 + 16);
        self.map.write_slice(bytes, at).unwrap();
    }
}
