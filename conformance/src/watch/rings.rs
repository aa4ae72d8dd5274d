//! The indices of split rings, read through the descriptors of guest memory that pass by.
//!
//! They are read when the front-end learns or says where a ring stands: just after the answer to
//! GET_VRING_BASE was read, and just after SET_VRING_BASE was. The used index is read first, so that
//! it is never ahead of the available one for being older.
//!
//! **Invariants.** Memory is read with `pread` and never mapped: no peer can take pages away from
//! under us. What cannot be read is left out. At most `MAX_REGIONS` descriptors are kept.
//!
//! **Not here:** packed rings and translated addresses (no indices are read), and what the numbers
//! mean.

use std::os::fd::OwnedFd;

use devmig_model::protocol::vhost_user::machine::MAX_RINGS;
use devmig_model::protocol::vhost_user::wire::{Header, Payload, PayloadKind, Region, VringAddr};

use super::record::{Side, What};

/// The most regions that are kept; those beyond are not looked into.
const MAX_REGIONS: usize = 64;
/// VIRTIO_F_ACCESS_PLATFORM and VIRTIO_F_RING_PACKED: no index is where we look.
const ELSEWHERE: u64 = 1 << 33 | 1 << 34;

/// Message ids, as in the text.
mod id {
    pub(super) const SET_FEATURES: u32 = 2;
    pub(super) const SET_MEM_TABLE: u32 = 5;
    pub(super) const SET_VRING_ADDR: u32 = 9;
    pub(super) const SET_VRING_BASE: u32 = 10;
    pub(super) const GET_VRING_BASE: u32 = 11;
    pub(super) const ADD_MEM_REG: u32 = 37;
    pub(super) const REM_MEM_REG: u32 = 38;
}

/// Where rings are.
#[derive(Debug, Default)]
pub struct Rings {
    regions: Vec<(Region, OwnedFd)>,
    addresses: [Option<VringAddr>; MAX_RINGS],
    features: u64,
}

impl Rings {
    /// A message passed; what is to be said before and after it.
    pub fn look(
        &mut self,
        from: Side,
        header: Header,
        payload: &[u8],
        fds: Vec<OwnedFd>,
    ) -> (Option<What>, Option<What>) {
        let decoded = |kind| Payload::decode(kind, payload).ok();
        match (from, header.request) {
            (Side::BackEnd, id::GET_VRING_BASE) => {
                if let Some(Payload::VringState(state)) = decoded(PayloadKind::VringState) {
                    return (self.indices(state.index, None), None);
                }
            }
            (Side::FrontEnd, id::SET_VRING_BASE) => {
                if let Some(Payload::VringState(state)) = decoded(PayloadKind::VringState) {
                    return (None, self.indices(state.index, u16::try_from(state.num).ok()));
                }
            }
            (Side::FrontEnd, id::SET_FEATURES) => {
                if let Some(Payload::U64(features)) = decoded(PayloadKind::U64) {
                    self.features = features;
                }
            }
            (Side::FrontEnd, id::SET_MEM_TABLE) => {
                if let Some(Payload::Memory(memory)) = decoded(PayloadKind::Memory) {
                    self.regions = memory.regions().iter().copied().zip(fds).collect();
                }
            }
            (Side::FrontEnd, id::ADD_MEM_REG) => {
                if let Some(Payload::MemoryRegion(added)) = decoded(PayloadKind::MemoryRegion)
                    && self.regions.len() < MAX_REGIONS
                {
                    self.regions.extend(fds.into_iter().next().map(|fd| (added.region, fd)));
                }
            }
            (Side::FrontEnd, id::REM_MEM_REG) => {
                if let Some(Payload::MemoryRegion(gone)) = decoded(PayloadKind::MemoryRegion) {
                    let address = gone.region.user_address;
                    self.regions.retain(|(region, _)| region.user_address != address);
                }
            }
            (Side::FrontEnd, id::SET_VRING_ADDR) => {
                if let Some(Payload::VringAddr(address)) = decoded(PayloadKind::VringAddr)
                    && let Some(place) = self.addresses.get_mut(address.index as usize)
                {
                    *place = Some(address);
                }
            }
            _ => {}
        }
        (None, None)
    }

    fn indices(&self, ring: u32, resumes: Option<u16>) -> Option<What> {
        if self.features & ELSEWHERE != 0 {
            return None;
        }
        let address = (*self.addresses.get(ring as usize)?)?;
        // Behind the flags, two bytes each.
        let used = self.read(address.used.checked_add(2)?)?;
        let available = self.read(address.available.checked_add(2)?)?;
        Some(What::Indices { ring: u8::try_from(ring).ok()?, available, used, resumes })
    }

    /// Two bytes of guest memory, found the same twice: they may be written while they are read.
    fn read(&self, address: u64) -> Option<u16> {
        let inside = |region: &Region| {
            address
                .checked_sub(region.user_address)
                .filter(|at| at.saturating_add(2) <= region.size)
        };
        let mut regions = self.regions.iter();
        let (at, fd) = regions.find_map(|(region, fd)| {
            Some((region.mmap_offset.checked_add(inside(region)?)?, fd))
        })?;
        let once = || {
            let mut bytes = [0; 2];
            let got = rustix::io::pread(fd, &mut bytes, at).ok()?;
            (got == 2).then(|| u16::from_le_bytes(bytes))
        };
        let mut found = once()?;
        for _ in 0..8 {
            let again = once()?;
            if again == found {
                return Some(found);
            }
            found = again;
        }
        None
    }
}
