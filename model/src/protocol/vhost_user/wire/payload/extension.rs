//! Payloads that belong to one protocol feature each: I/O translation, host notifiers, crypto
//! sessions, shared objects, Xen's memory, shared memory regions.
//!
//! **Not here:** the meaning of a crypto session. The text names its description and does not define
//! it, and implementations differ, so its bytes are kept and nothing is read into them.

use serde::Serialize;

use super::{MAX_REGIONS, PayloadKind, Reader, Region};
use crate::protocol::vhost_user::wire::WireError;

/// The most bytes of a crypto session's description: the longest known one has two keys of 1,024.
pub const MAX_CRYPTO: usize = 2304;

/// The most shared memory regions of a device.
pub const MAX_SHMEM: usize = 256;

/// An entry of the I/O translation, or a question about one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Iotlb {
    /// I/O virtual address.
    pub iova: u64,
    /// Length in bytes.
    pub size: u64,
    /// Front-end address.
    pub user_address: u64,
    /// Bit 0: may be read; bit 1: may be written.
    pub permissions: u8,
    /// [`Iotlb::MISS`] to [`Iotlb::ACCESS_FAIL`]; other values are undefined.
    pub kind: u8,
    /// Six bytes at the end that the text does not have and that C's alignment adds.
    pub alignment: Option<[u8; 6]>,
}

impl Iotlb {
    /// The back-end lacks an entry.
    pub const MISS: u8 = 1;
    /// The front-end gives one.
    pub const UPDATE: u8 = 2;
    /// The front-end takes it back.
    pub const INVALIDATE: u8 = 3;
    /// An access was refused.
    pub const ACCESS_FAIL: u8 = 4;

    pub(super) fn encode(&self, mut put: impl FnMut(&[u8])) {
        for n in [self.iova, self.size, self.user_address] {
            put(&n.to_ne_bytes());
        }
        put(&[self.permissions, self.kind]);
        put(self.alignment.as_ref().map_or(&[], |tail| &tail[..]));
    }

    pub(super) fn decode(read: &mut Reader<'_>) -> Option<Self> {
        Some(Iotlb {
            iova: read.u64()?,
            size: read.u64()?,
            user_address: read.u64()?,
            permissions: read.u8()?,
            kind: read.u8()?,
            alignment: read.take(),
        })
    }
}

/// Where a ring's host notifier is in its descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct VringArea {
    /// The ring in bits 0 to 7, and bit 8 if no descriptor comes along, as [`super::VringFd`] has them.
    pub ring: u64,
    /// Length in bytes.
    pub size: u64,
    /// Offset of its first byte in its descriptor.
    pub offset: u64,
}

impl VringArea {
    pub(super) fn encode(&self, mut put: impl FnMut(&[u8])) {
        for n in [self.ring, self.size, self.offset] {
            put(&n.to_ne_bytes());
        }
    }

    pub(super) fn decode(read: &mut Reader<'_>) -> Option<Self> {
        Some(VringArea { ring: read.u64()?, size: read.u64()?, offset: read.u64()? })
    }
}

/// The description of a crypto session, which the text leaves to implementations.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct CryptoSession(Vec<u8>);

impl CryptoSession {
    /// A description of these bytes.
    ///
    /// # Errors
    /// [`WireError::Size`] for fewer than a session id's 8, or more than [`MAX_CRYPTO`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, WireError> {
        let kind = PayloadKind::CryptoSession;
        if kind.size().admit(bytes.len()) {
            return Ok(CryptoSession(bytes));
        }
        Err(WireError::Size { kind, expected: kind.size(), got: bytes.len() })
    }

    /// The bytes carried.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The session id where QEMU and its library put it, in the last eight bytes: below 0 for failure.
    #[must_use]
    pub fn last_id(&self) -> i64 {
        self.0.last_chunk().map_or(0, |id| i64::from_ne_bytes(*id))
    }

    /// The session id where DPDK puts it, in the first eight bytes.
    #[must_use]
    pub fn first_id(&self) -> i64 {
        self.0.first_chunk().map_or(0, |id| i64::from_ne_bytes(*id))
    }

    pub(super) fn decode(read: &mut Reader<'_>) -> Self {
        CryptoSession(read.rest())
    }
}

/// The name of an object that devices share: a UUID, its first three parts in big endian.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct SharedObject(pub [u8; 16]);

/// A region with what Xen needs to map it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct XenRegion {
    /// The region.
    pub region: Region,
    /// Bit 0: foreign memory; bit 1: grants; bit 8: not to be mapped in advance.
    pub flags: u32,
    /// The domain.
    pub domid: u32,
}

impl XenRegion {
    /// Length in bytes.
    pub(super) const LEN: usize = Region::LEN + 8;

    pub(super) fn encode(&self, mut put: impl FnMut(&[u8])) {
        put(&self.region.encode());
        put(&self.flags.to_ne_bytes());
        put(&self.domid.to_ne_bytes());
    }

    pub(super) fn decode(read: &mut Reader<'_>) -> Option<Self> {
        Some(XenRegion { region: read.region()?, flags: read.u32()?, domid: read.u32()? })
    }
}

/// A table of at most [`MAX_REGIONS`] regions of a Xen guest.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct XenMemory {
    /// Reserved.
    pub padding: u32,
    regions: Vec<XenRegion>,
}

impl XenMemory {
    /// A table of these regions.
    ///
    /// # Errors
    /// [`WireError::Regions`] for more than [`MAX_REGIONS`].
    pub fn new(regions: Vec<XenRegion>) -> Result<Self, WireError> {
        if regions.len() > MAX_REGIONS {
            let announced = u32::try_from(regions.len()).unwrap_or(u32::MAX);
            return Err(WireError::Regions { announced, carried: MAX_REGIONS });
        }
        Ok(XenMemory { padding: 0, regions })
    }

    /// The regions, in order.
    #[must_use]
    pub fn regions(&self) -> &[XenRegion] {
        &self.regions
    }

    pub(super) fn encode(&self, mut put: impl FnMut(&[u8])) {
        // At most MAX_REGIONS, by construction.
        put(&(self.regions.len() as u32).to_ne_bytes());
        put(&self.padding.to_ne_bytes());
        self.regions.iter().for_each(|region| region.encode(&mut put));
    }

    pub(super) fn decode(read: &mut Reader<'_>) -> Option<Self> {
        let _announced = read.u32()?;
        let padding = read.u32()?;
        let regions = std::iter::from_fn(|| XenRegion::decode(read)).collect();
        Some(XenMemory { padding, regions })
    }
}

/// One region of a Xen guest, for adding or removing it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct XenMemoryRegion {
    /// Reserved.
    pub padding: u64,
    /// The region.
    pub region: XenRegion,
}

/// A piece of a descriptor that is to be part of a shared memory region.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Mmap {
    /// The shared memory region.
    pub shmid: u8,
    /// Reserved.
    pub padding: [u8; 7],
    /// Offset of the piece in its descriptor.
    pub fd_offset: u64,
    /// Offset of the piece in the region.
    pub shm_offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// Bit 0: may be written; the others are undefined.
    pub flags: u64,
}

impl Mmap {
    pub(super) fn encode(&self, mut put: impl FnMut(&[u8])) {
        put(&[self.shmid]);
        put(&self.padding);
        for n in [self.fd_offset, self.shm_offset, self.len, self.flags] {
            put(&n.to_ne_bytes());
        }
    }

    pub(super) fn decode(read: &mut Reader<'_>) -> Option<Self> {
        Some(Mmap {
            shmid: read.u8()?,
            padding: read.take()?,
            fd_offset: read.u64()?,
            shm_offset: read.u64()?,
            len: read.u64()?,
            flags: read.u64()?,
        })
    }
}

/// The sizes of a device's shared memory regions; the text's array has room for 256, of which
/// `num_regions` mean something.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct ShmemConfig {
    /// How many sizes mean something: at most as many as are carried.
    pub num_regions: u32,
    /// Reserved.
    pub padding: u32,
    sizes: Vec<u64>,
}

impl ShmemConfig {
    /// These sizes, and no more.
    ///
    /// # Errors
    /// [`WireError::Regions`] for more than [`MAX_SHMEM`].
    pub fn new(sizes: Vec<u64>) -> Result<Self, WireError> {
        let num_regions = u32::try_from(sizes.len()).unwrap_or(u32::MAX);
        if sizes.len() > MAX_SHMEM {
            return Err(WireError::Regions { announced: num_regions, carried: MAX_SHMEM });
        }
        Ok(ShmemConfig { num_regions, padding: 0, sizes })
    }

    /// All sizes that are carried, in bytes.
    #[must_use]
    pub fn sizes(&self) -> &[u64] {
        &self.sizes
    }

    pub(super) fn encode(&self, mut put: impl FnMut(&[u8])) {
        put(&self.num_regions.to_ne_bytes());
        put(&self.padding.to_ne_bytes());
        self.sizes.iter().for_each(|size| put(&size.to_ne_bytes()));
    }

    pub(super) fn decode(read: &mut Reader<'_>) -> Option<Self> {
        let (num_regions, padding) = (read.u32()?, read.u32()?);
        let sizes = std::iter::from_fn(|| read.u64()).collect();
        Some(ShmemConfig { num_regions, padding, sizes })
    }
}
