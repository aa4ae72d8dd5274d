//! What a command carries.

use serde::Serialize;

use super::payload::{Reader, Sizes, Writer};
use super::{
    Access, Command, DeviceInfo, DmaAccess, DmaMap, DmaUnmap, FeatureFlags, IoFds, IrqInfo, IrqSet,
    MigData, RegionInfo, Version, WireError, Write,
};

/// A command with its payload.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub enum Request {
    /// What the client speaks.
    Version(Version),
    /// Memory that the server may access.
    DmaMap(DmaMap),
    /// Memory that it may not access any more.
    DmaUnmap(DmaUnmap),
    /// What is this device?
    DeviceInfo(DeviceInfo),
    /// What is this region?
    RegionInfo(RegionInfo),
    /// Which descriptors tell of accesses to this region?
    RegionIoFds(IoFds),
    /// What are these interrupts?
    IrqInfo(IrqInfo),
    /// Do this with interrupts; the booleans, if there are any.
    SetIrqs(IrqSet, Vec<u8>),
    /// Read part of a region.
    RegionRead(Access),
    /// Write part of a region.
    RegionWrite(Access, Vec<u8>),
    /// Read the client's memory.
    DmaRead(DmaAccess),
    /// Write the client's memory.
    DmaWrite(DmaAccess, Vec<u8>),
    /// Start afresh.
    Reset,
    /// Several writes at once; how many there are said to be.
    RegionWriteMulti(u64, Vec<Write>),
    /// Get, set or probe a feature: the longest reply payload, which one, and its data.
    DeviceFeature(u32, FeatureFlags, Vec<u8>),
    /// Read migration data.
    MigDataRead(MigData),
    /// Write migration data.
    MigDataWrite(MigData, Vec<u8>),
}

impl Request {
    /// Which command it is.
    #[must_use]
    pub const fn command(&self) -> Command {
        match self {
            Request::Version(_) => Command::VERSION,
            Request::DmaMap(_) => Command::DMA_MAP,
            Request::DmaUnmap(_) => Command::DMA_UNMAP,
            Request::DeviceInfo(_) => Command::DEVICE_GET_INFO,
            Request::RegionInfo(_) => Command::DEVICE_GET_REGION_INFO,
            Request::RegionIoFds(_) => Command::DEVICE_GET_REGION_IO_FDS,
            Request::IrqInfo(_) => Command::DEVICE_GET_IRQ_INFO,
            Request::SetIrqs(..) => Command::DEVICE_SET_IRQS,
            Request::RegionRead(_) => Command::REGION_READ,
            Request::RegionWrite(..) => Command::REGION_WRITE,
            Request::DmaRead(_) => Command::DMA_READ,
            Request::DmaWrite(..) => Command::DMA_WRITE,
            Request::Reset => Command::DEVICE_RESET,
            Request::RegionWriteMulti(..) => Command::REGION_WRITE_MULTI,
            Request::DeviceFeature(..) => Command::DEVICE_FEATURE,
            Request::MigDataRead(_) => Command::MIG_DATA_READ,
            Request::MigDataWrite(..) => Command::MIG_DATA_WRITE,
        }
    }

    /// The meaning of a command's payload.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(command: u16, bytes: &[u8]) -> Result<Self, WireError> {
        let known = Command::find(command).ok_or(WireError::Command(command))?;
        let with_data = |least| Reader::new(known.name(), Sizes::AtLeast(least), bytes);
        Ok(match known {
            Command::VERSION => Request::Version(Version::decode(bytes)?),
            Command::DMA_MAP => Request::DmaMap(DmaMap::decode(bytes)?),
            Command::DMA_UNMAP => Request::DmaUnmap(DmaUnmap::decode(bytes)?),
            Command::DEVICE_GET_INFO => Request::DeviceInfo(DeviceInfo::decode(bytes)?),
            Command::DEVICE_GET_REGION_INFO => Request::RegionInfo(RegionInfo::decode(bytes)?),
            Command::DEVICE_GET_REGION_IO_FDS => Request::RegionIoFds(IoFds::decode(bytes)?),
            Command::DEVICE_GET_IRQ_INFO => Request::IrqInfo(IrqInfo::decode(bytes)?),
            Command::DEVICE_SET_IRQS => {
                let mut from = with_data(IrqSet::LEN);
                Request::SetIrqs(IrqSet::read(&mut from)?, from.rest())
            }
            Command::REGION_READ => Request::RegionRead(Access::decode(bytes)?),
            Command::REGION_WRITE => {
                let mut from = with_data(Access::LEN);
                Request::RegionWrite(Access::read(&mut from)?, from.rest())
            }
            Command::DMA_READ => Request::DmaRead(DmaAccess::decode(bytes)?),
            Command::DMA_WRITE => {
                let mut from = with_data(DmaAccess::LEN);
                Request::DmaWrite(DmaAccess::read(&mut from)?, from.rest())
            }
            Command::DEVICE_RESET => {
                Reader::new(known.name(), Sizes::Exactly(0), bytes).end(Request::Reset)?
            }
            Command::REGION_WRITE_MULTI => {
                let sizes = Sizes::Entries(8, Write::LEN);
                let mut from = Reader::new(known.name(), sizes, bytes);
                let count = from.u64()?;
                Request::RegionWriteMulti(count, from.entries(Write::LEN, Write::read)?)
            }
            Command::DEVICE_FEATURE => {
                let mut from = with_data(8);
                Request::DeviceFeature(from.u32()?, FeatureFlags(from.u32()?), from.rest())
            }
            Command::MIG_DATA_READ => Request::MigDataRead(MigData::decode(bytes)?),
            Command::MIG_DATA_WRITE => {
                let mut from = with_data(MigData::LEN);
                Request::MigDataWrite(MigData::read(&mut from)?, from.rest())
            }
        })
    }

    /// The payload as sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let to = Writer::default();
        match self {
            Request::Version(version) => version.encode(),
            Request::DmaMap(map) => map.encode(),
            Request::DmaUnmap(unmap) => unmap.encode(),
            Request::DeviceInfo(info) => info.encode(),
            Request::RegionInfo(info) => info.encode(),
            Request::RegionIoFds(fds) => fds.encode(),
            Request::IrqInfo(info) => info.encode(),
            Request::SetIrqs(set, booleans) => set.write(to).bytes(booleans).0,
            Request::RegionRead(access) => access.encode(),
            Request::RegionWrite(access, data) => access.write(to).bytes(data).0,
            Request::DmaRead(access) => access.encode(),
            Request::DmaWrite(access, data) => access.write(to).bytes(data).0,
            Request::Reset => to.0,
            Request::RegionWriteMulti(count, writes) => {
                writes.iter().fold(to.u64(*count), |to, write| write.write(to)).0
            }
            Request::DeviceFeature(argsz, flags, data) => to.u32(*argsz).u32(flags.0).bytes(data).0,
            Request::MigDataRead(read) => read.encode(),
            Request::MigDataWrite(write, data) => write.write(to).bytes(data).0,
        }
    }
}
