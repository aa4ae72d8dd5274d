//! What a message carries after its header, by kind.
//!
//! Numbers are kept as they came: an undefined direction of a transfer or a configuration size
//! that contradicts the bytes beside it is a meaning, and a rule elsewhere says what it is worth.
//! Only a length that leaves the fields undecided is an error.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::WireError;

mod extension;

pub use extension::{
    CryptoSession, Iotlb, MAX_CRYPTO, MAX_SHMEM, Mmap, SharedObject, ShmemConfig, VringArea,
    XenMemory, XenMemoryRegion, XenRegion,
};

/// The most regions that one memory table carries.
pub const MAX_REGIONS: usize = 8;

/// The most bytes of configuration space that one message carries.
pub const MAX_CONFIG: usize = 256;

/// The shape of a payload, named as the message table in `specs/` names it.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum PayloadKind {
    /// Nothing.
    None,
    /// One number.
    U64,
    /// A ring and a number.
    VringState,
    /// A ring and where its parts are.
    VringAddr,
    /// A table of memory regions.
    Memory,
    /// One memory region.
    MemoryRegion,
    /// A ring, and whether a descriptor comes along.
    VringFd,
    /// Which way device state goes, and in which phase.
    Transfer,
    /// How a transfer starts.
    TransferReply,
    /// A piece of configuration space.
    Config,
    /// A buffer that tracks requests in flight.
    Inflight,
    /// The dirty log's place in its descriptor.
    Log,
    /// That the dirty log was taken.
    LogTaken,
    /// An entry of the I/O translation.
    Iotlb,
    /// A ring, and where its host notifier is.
    VringArea,
    /// The description of a crypto session, which no text defines.
    CryptoSession,
    /// The UUID of a shared object.
    SharedObject,
    /// A table of memory regions with XEN_MMAP.
    MemoryXen,
    /// One memory region with XEN_MMAP.
    MemoryRegionXen,
    /// A piece of a shared memory region.
    Mmap,
    /// The sizes of the shared memory regions.
    ShmemConfig,
}

impl PayloadKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [PayloadKind; 21] = [
        PayloadKind::None,
        PayloadKind::U64,
        PayloadKind::VringState,
        PayloadKind::VringAddr,
        PayloadKind::Memory,
        PayloadKind::MemoryRegion,
        PayloadKind::VringFd,
        PayloadKind::Transfer,
        PayloadKind::TransferReply,
        PayloadKind::Config,
        PayloadKind::Inflight,
        PayloadKind::Log,
        PayloadKind::LogTaken,
        PayloadKind::Iotlb,
        PayloadKind::VringArea,
        PayloadKind::CryptoSession,
        PayloadKind::SharedObject,
        PayloadKind::MemoryXen,
        PayloadKind::MemoryRegionXen,
        PayloadKind::Mmap,
        PayloadKind::ShmemConfig,
    ];

    /// The lengths that a payload of this kind can have.
    #[must_use]
    pub const fn size(self) -> Sizes {
        match self {
            PayloadKind::None => Sizes::exactly(0),
            PayloadKind::U64
            | PayloadKind::VringState
            | PayloadKind::VringFd
            | PayloadKind::Transfer
            | PayloadKind::TransferReply => Sizes::exactly(8),
            PayloadKind::VringAddr | PayloadKind::MemoryRegion | PayloadKind::Mmap => {
                Sizes::exactly(40)
            }
            PayloadKind::Memory => {
                Sizes { least: 8, most: 8 + MAX_REGIONS * Region::LEN, step: Region::LEN }
            }
            PayloadKind::Config => Sizes { least: 12, most: 12 + MAX_CONFIG, step: 1 },
            PayloadKind::Inflight => Sizes { least: 20, most: 24, step: 4 },
            PayloadKind::Log | PayloadKind::SharedObject => Sizes::exactly(16),
            PayloadKind::LogTaken => Sizes { least: 0, most: 16, step: 8 },
            PayloadKind::Iotlb => Sizes { least: 26, most: 32, step: 6 },
            PayloadKind::VringArea => Sizes::exactly(24),
            PayloadKind::CryptoSession => Sizes { least: 8, most: MAX_CRYPTO, step: 1 },
            PayloadKind::MemoryXen => {
                Sizes { least: 8, most: 8 + MAX_REGIONS * XenRegion::LEN, step: XenRegion::LEN }
            }
            PayloadKind::MemoryRegionXen => Sizes::exactly(48),
            PayloadKind::ShmemConfig => Sizes { least: 8, most: 8 + MAX_SHMEM * 8, step: 8 },
        }
    }

    /// The kind that takes this one's place once XEN_MMAP was negotiated.
    #[must_use]
    pub const fn with_xen(self) -> Self {
        match self {
            PayloadKind::Memory => PayloadKind::MemoryXen,
            PayloadKind::MemoryRegion => PayloadKind::MemoryRegionXen,
            other => other,
        }
    }
}

impl fmt::Display for PayloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The lengths, in bytes, that a payload can have: `least`, then every `step` up to `most`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sizes {
    /// The shortest.
    pub least: usize,
    /// The longest.
    pub most: usize,
    /// From one length to the next, at least 1.
    pub step: usize,
}

impl Sizes {
    const fn exactly(size: usize) -> Self {
        Sizes { least: size, most: size, step: 1 }
    }

    /// Whether a payload can be this long.
    #[must_use]
    pub const fn admit(self, size: usize) -> bool {
        size >= self.least
            && size <= self.most
            && size.saturating_sub(self.least).is_multiple_of(self.step)
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sizes { least, most, step } = *self;
        match step {
            _ if least == most => write!(f, "{least}"),
            1 => write!(f, "{least} to {most}"),
            _ => write!(f, "{least} to {most} in steps of {step}"),
        }
    }
}

/// A ring and a number: its size, its base, or 0 and 1 for enabling.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct VringState {
    /// The ring.
    pub index: u32,
    /// The number.
    pub num: u32,
}

/// Where the parts of a ring are. Addresses are user addresses (see the memory regions), the log
/// address is a guest address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct VringAddr {
    /// The ring.
    pub index: u32,
    /// Bit 0: log writes to the used ring.
    pub flags: u32,
    /// The descriptor table.
    pub descriptor: u64,
    /// The used ring.
    pub used: u64,
    /// The available ring.
    pub available: u64,
    /// Where writes to the used ring are logged.
    pub log: u64,
}

/// A piece of guest memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Region {
    /// Guest address of its first byte.
    pub guest_address: u64,
    /// Its length in bytes.
    pub size: u64,
    /// Front-end address of its first byte.
    pub user_address: u64,
    /// Offset of its first byte in its descriptor.
    pub mmap_offset: u64,
}

impl Region {
    const LEN: usize = 32;
}

/// A table of at most [`MAX_REGIONS`] regions.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Memory {
    /// Reserved.
    pub padding: u32,
    regions: Vec<Region>,
}

impl Memory {
    /// A table of these regions.
    ///
    /// # Errors
    /// [`WireError::Regions`] for more than [`MAX_REGIONS`].
    pub fn new(regions: Vec<Region>) -> Result<Self, WireError> {
        if regions.len() > MAX_REGIONS {
            let announced = u32::try_from(regions.len()).unwrap_or(u32::MAX);
            return Err(WireError::Regions { announced, carried: MAX_REGIONS });
        }
        Ok(Memory { padding: 0, regions })
    }

    /// The regions, in order.
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }
}

/// One region, for adding or removing it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct MemoryRegion {
    /// Reserved.
    pub padding: u64,
    /// The region.
    pub region: Region,
}

/// A ring, and whether a descriptor for it comes along. Bits 9 to 63 are kept as they came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct VringFd(pub u64);

impl VringFd {
    /// This ring, with or without a descriptor.
    #[must_use]
    pub const fn new(index: u8, no_descriptor: bool) -> Self {
        VringFd(index as u64 | (no_descriptor as u64) << 8)
    }

    /// The ring.
    #[must_use]
    pub const fn index(self) -> u8 {
        self.0 as u8
    }

    /// Whether no descriptor comes along, so that the back-end polls.
    #[must_use]
    pub const fn no_descriptor(self) -> bool {
        self.0 & 1 << 8 != 0
    }
}

/// Which way device state goes, and what the guest does meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Transfer {
    /// [`Transfer::SAVE`] or [`Transfer::LOAD`]; other values are undefined.
    pub direction: u32,
    /// [`Transfer::STOPPED`]; other values are undefined.
    pub phase: u32,
}

impl Transfer {
    /// From the back-end to the front-end.
    pub const SAVE: u32 = 0;
    /// From the front-end to the back-end.
    pub const LOAD: u32 = 1;
    /// The guest and its devices are stopped.
    pub const STOPPED: u32 = 0;
}

/// How a transfer starts. Bits 9 to 63 are kept as they came.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct TransferReply(pub u64);

impl TransferReply {
    /// 0 for success.
    #[must_use]
    pub const fn error(self) -> u8 {
        self.0 as u8
    }

    /// Whether no descriptor comes along: the front-end's is used.
    #[must_use]
    pub const fn no_descriptor(self) -> bool {
        self.0 & 1 << 8 != 0
    }
}

/// A piece of configuration space: at most [`MAX_CONFIG`] bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Config {
    /// Where it begins, in bytes.
    pub offset: u32,
    /// Its length in bytes as announced, which need not be the number of bytes carried.
    pub size: u32,
    /// 0 for writable fields, 1 for live migration.
    pub flags: u32,
    bytes: Vec<u8>,
}

impl Config {
    /// A piece with an honest `size`.
    ///
    /// # Errors
    /// [`WireError::Size`] for more than [`MAX_CONFIG`] bytes.
    pub fn new(offset: u32, flags: u32, bytes: Vec<u8>) -> Result<Self, WireError> {
        let kind = PayloadKind::Config;
        let got = bytes.len().saturating_add(kind.size().least);
        match u32::try_from(bytes.len()) {
            Ok(size) if kind.size().admit(got) => Ok(Config { offset, size, flags, bytes }),
            _ => Err(WireError::Size { kind, expected: kind.size(), got }),
        }
    }

    /// The bytes carried.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A buffer that tracks requests in flight.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Inflight {
    /// Its length in bytes.
    pub mmap_size: u64,
    /// Offset of its first byte in its descriptor.
    pub mmap_offset: u64,
    /// The number of rings that it covers.
    pub num_queues: u16,
    /// The size of each.
    pub queue_size: u16,
    /// Four bytes at the end that the text does not have and that C's alignment adds: QEMU and
    /// rust-vmm send 24 bytes where the text describes 20.
    pub alignment: Option<[u8; 4]>,
}

/// The dirty log's place in its descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct Log {
    /// Length in bytes.
    pub size: u64,
    /// Offset of the byte for guest address 0.
    pub offset: u64,
}

/// That the dirty log was taken: what says so is a choice that the text leaves open.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogTaken {
    /// No payload.
    Nothing,
    /// A number.
    Number(u64),
    /// The request's own.
    Request(Log),
}

impl LogTaken {
    /// Its length in bytes, which tells one form from another.
    #[must_use]
    pub const fn length(self) -> u64 {
        match self {
            LogTaken::Nothing => 0,
            LogTaken::Number(_) => 8,
            LogTaken::Request(_) => 16,
        }
    }
}

/// The meaning of a payload.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // each variant is named as its `PayloadKind`, and described there
pub enum Payload {
    None,
    U64(u64),
    VringState(VringState),
    VringAddr(VringAddr),
    Memory(Memory),
    MemoryRegion(MemoryRegion),
    VringFd(VringFd),
    Transfer(Transfer),
    TransferReply(TransferReply),
    Config(Config),
    Inflight(Inflight),
    Log(Log),
    LogTaken(LogTaken),
    Iotlb(Iotlb),
    VringArea(VringArea),
    CryptoSession(CryptoSession),
    SharedObject(SharedObject),
    MemoryXen(XenMemory),
    MemoryRegionXen(XenMemoryRegion),
    Mmap(Mmap),
    ShmemConfig(ShmemConfig),
}

impl Payload {
    /// The meaning of these bytes as a payload of this kind.
    ///
    /// # Errors
    /// [`WireError::Size`] for a length that the kind does not have, and [`WireError::Regions`] for
    /// a table whose count contradicts its length. Every other input has a meaning.
    pub fn decode(kind: PayloadKind, bytes: &[u8]) -> Result<Payload, WireError> {
        let wrong_size = WireError::Size { kind, expected: kind.size(), got: bytes.len() };
        if !kind.size().admit(bytes.len()) {
            return Err(wrong_size);
        }
        let mut read = Reader(bytes);
        let payload = read.payload(kind).ok_or(wrong_size)?;
        let announced = bytes.first_chunk().map_or(0, |n| u32::from_ne_bytes(*n));
        let honest = |carried: usize| usize::try_from(announced) == Ok(carried);
        let (fits, carried) = match &payload {
            Payload::Memory(memory) => (honest(memory.regions.len()), memory.regions.len()),
            Payload::MemoryXen(memory) => (honest(memory.regions().len()), memory.regions().len()),
            // An array of fixed length is only used in part.
            Payload::ShmemConfig(config) => {
                let carried = config.sizes().len();
                (usize::try_from(announced).is_ok_and(|n| n <= carried), carried)
            }
            _ => (true, 0),
        };
        if fits { Ok(payload) } else { Err(WireError::Regions { announced, carried }) }
    }

    /// The bytes as sent: at most [`super::MAX_PAYLOAD`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.kind().size().least);
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
        match self {
            Payload::None | Payload::LogTaken(LogTaken::Nothing) => {}
            Payload::U64(n)
            | Payload::VringFd(VringFd(n))
            | Payload::LogTaken(LogTaken::Number(n)) => put(&n.to_ne_bytes()),
            Payload::TransferReply(TransferReply(n)) => put(&n.to_ne_bytes()),
            Payload::VringState(VringState { index, num }) => {
                put(&index.to_ne_bytes());
                put(&num.to_ne_bytes());
            }
            Payload::VringAddr(a) => {
                put(&a.index.to_ne_bytes());
                put(&a.flags.to_ne_bytes());
                for n in [a.descriptor, a.used, a.available, a.log] {
                    put(&n.to_ne_bytes());
                }
            }
            Payload::Memory(m) => {
                // At most MAX_REGIONS, by construction.
                put(&(m.regions.len() as u32).to_ne_bytes());
                put(&m.padding.to_ne_bytes());
                m.regions.iter().for_each(|r| put(&r.encode()));
            }
            Payload::MemoryRegion(MemoryRegion { padding, region }) => {
                put(&padding.to_ne_bytes());
                put(&region.encode());
            }
            Payload::Transfer(Transfer { direction, phase }) => {
                put(&direction.to_ne_bytes());
                put(&phase.to_ne_bytes());
            }
            Payload::Config(c) => {
                for n in [c.offset, c.size, c.flags] {
                    put(&n.to_ne_bytes());
                }
                put(&c.bytes);
            }
            Payload::Inflight(i) => {
                put(&i.mmap_size.to_ne_bytes());
                put(&i.mmap_offset.to_ne_bytes());
                put(&i.num_queues.to_ne_bytes());
                put(&i.queue_size.to_ne_bytes());
                put(i.alignment.as_ref().map_or(&[], |tail| &tail[..]));
            }
            Payload::Log(Log { size, offset })
            | Payload::LogTaken(LogTaken::Request(Log { size, offset })) => {
                put(&size.to_ne_bytes());
                put(&offset.to_ne_bytes());
            }
            Payload::Iotlb(entry) => entry.encode(put),
            Payload::VringArea(area) => area.encode(put),
            Payload::CryptoSession(session) => put(session.bytes()),
            Payload::SharedObject(SharedObject(uuid)) => put(uuid),
            Payload::MemoryXen(memory) => memory.encode(put),
            Payload::MemoryRegionXen(XenMemoryRegion { padding, region }) => {
                put(&padding.to_ne_bytes());
                region.encode(put);
            }
            Payload::Mmap(map) => map.encode(put),
            Payload::ShmemConfig(config) => config.encode(put),
        }
        out
    }

    /// The kind of this payload.
    #[must_use]
    pub fn kind(&self) -> PayloadKind {
        match self {
            Payload::None => PayloadKind::None,
            Payload::U64(_) => PayloadKind::U64,
            Payload::VringState(_) => PayloadKind::VringState,
            Payload::VringAddr(_) => PayloadKind::VringAddr,
            Payload::Memory(_) => PayloadKind::Memory,
            Payload::MemoryRegion(_) => PayloadKind::MemoryRegion,
            Payload::VringFd(_) => PayloadKind::VringFd,
            Payload::Transfer(_) => PayloadKind::Transfer,
            Payload::TransferReply(_) => PayloadKind::TransferReply,
            Payload::Config(_) => PayloadKind::Config,
            Payload::Inflight(_) => PayloadKind::Inflight,
            Payload::Log(_) => PayloadKind::Log,
            Payload::LogTaken(_) => PayloadKind::LogTaken,
            Payload::Iotlb(_) => PayloadKind::Iotlb,
            Payload::VringArea(_) => PayloadKind::VringArea,
            Payload::CryptoSession(_) => PayloadKind::CryptoSession,
            Payload::SharedObject(_) => PayloadKind::SharedObject,
            Payload::MemoryXen(_) => PayloadKind::MemoryXen,
            Payload::MemoryRegionXen(_) => PayloadKind::MemoryRegionXen,
            Payload::Mmap(_) => PayloadKind::Mmap,
            Payload::ShmemConfig(_) => PayloadKind::ShmemConfig,
        }
    }
}

impl Region {
    fn encode(&self) -> [u8; Region::LEN] {
        let mut out = [0; Region::LEN];
        let fields = [self.guest_address, self.size, self.user_address, self.mmap_offset];
        for (to, n) in out.chunks_exact_mut(8).zip(fields) {
            to.copy_from_slice(&n.to_ne_bytes());
        }
        out
    }
}

/// What is still to be read. `None` means that the bytes have ended.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    /// All that is left.
    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).to_vec()
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_ne_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_ne_bytes)
    }

    fn region(&mut self) -> Option<Region> {
        Some(Region {
            guest_address: self.u64()?,
            size: self.u64()?,
            user_address: self.u64()?,
            mmap_offset: self.u64()?,
        })
    }

    /// Fields are read in the order in which they are written here, which is the order on the wire.
    fn payload(&mut self, kind: PayloadKind) -> Option<Payload> {
        Some(match kind {
            PayloadKind::None => Payload::None,
            PayloadKind::U64 => Payload::U64(self.u64()?),
            PayloadKind::VringState => {
                Payload::VringState(VringState { index: self.u32()?, num: self.u32()? })
            }
            PayloadKind::VringAddr => Payload::VringAddr(VringAddr {
                index: self.u32()?,
                flags: self.u32()?,
                descriptor: self.u64()?,
                used: self.u64()?,
                available: self.u64()?,
                log: self.u64()?,
            }),
            PayloadKind::Memory => {
                let _announced = self.u32()?;
                let padding = self.u32()?;
                let regions = std::iter::from_fn(|| self.region()).collect();
                Payload::Memory(Memory { padding, regions })
            }
            PayloadKind::MemoryRegion => {
                Payload::MemoryRegion(MemoryRegion { padding: self.u64()?, region: self.region()? })
            }
            PayloadKind::VringFd => Payload::VringFd(VringFd(self.u64()?)),
            PayloadKind::Transfer => {
                Payload::Transfer(Transfer { direction: self.u32()?, phase: self.u32()? })
            }
            PayloadKind::TransferReply => Payload::TransferReply(TransferReply(self.u64()?)),
            PayloadKind::Config => Payload::Config(Config {
                offset: self.u32()?,
                size: self.u32()?,
                flags: self.u32()?,
                bytes: self.rest(),
            }),
            PayloadKind::Inflight => Payload::Inflight(Inflight {
                mmap_size: self.u64()?,
                mmap_offset: self.u64()?,
                num_queues: self.u16()?,
                queue_size: self.u16()?,
                alignment: self.take(),
            }),
            PayloadKind::Log => Payload::Log(Log { size: self.u64()?, offset: self.u64()? }),
            PayloadKind::LogTaken => Payload::LogTaken(match self.u64() {
                None => LogTaken::Nothing,
                Some(first) => match self.u64() {
                    None => LogTaken::Number(first),
                    Some(offset) => LogTaken::Request(Log { size: first, offset }),
                },
            }),
            PayloadKind::Iotlb => Payload::Iotlb(Iotlb::decode(self)?),
            PayloadKind::VringArea => Payload::VringArea(VringArea::decode(self)?),
            PayloadKind::CryptoSession => Payload::CryptoSession(CryptoSession::decode(self)),
            PayloadKind::SharedObject => Payload::SharedObject(SharedObject(self.take()?)),
            PayloadKind::MemoryXen => Payload::MemoryXen(XenMemory::decode(self)?),
            PayloadKind::MemoryRegionXen => Payload::MemoryRegionXen(XenMemoryRegion {
                padding: self.u64()?,
                region: XenRegion::decode(self)?,
            }),
            PayloadKind::Mmap => Payload::Mmap(Mmap::decode(self)?),
            PayloadKind::ShmemConfig => Payload::ShmemConfig(ShmemConfig::decode(self)?),
        })
    }
}
