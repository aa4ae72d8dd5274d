//! What the answer to a command carries, if the command was carried out.

use serde::Serialize;

use super::payload::{Reader, Sizes, Writer};
use super::{
    Access, Command, DeviceInfo, DmaAccess, DmaUnmap, DmaWritten, FeatureFlags, IoFds, IrqInfo,
    MigData, RegionInfo, SubRegion, Version, WireError,
};

/// The payload of an answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize)]
pub enum Reply {
    /// What the server speaks.
    Version(Version),
    /// What was unmapped.
    DmaUnmap(DmaUnmap),
    /// The device.
    DeviceInfo(DeviceInfo),
    /// A region, and its capabilities as bytes.
    RegionInfo(RegionInfo, Vec<u8>),
    /// Which descriptors tell of which accesses.
    RegionIoFds(IoFds, Vec<SubRegion>),
    /// A type of interrupts.
    IrqInfo(IrqInfo),
    /// What was read of a region.
    RegionRead(Access, Vec<u8>),
    /// What was written of a region.
    RegionWrite(Access),
    /// What was read of the client's memory.
    DmaRead(DmaAccess, Vec<u8>),
    /// What was written of it.
    DmaWrite(DmaWritten),
    /// How many of the writes were made.
    RegionWriteMulti(u64),
    /// A feature: the full payload's length, which one and what was done, its data.
    DeviceFeature(u32, FeatureFlags, Vec<u8>),
    /// Migration data.
    MigDataRead(MigData, Vec<u8>),
    /// Nothing: DMA_MAP, DEVICE_SET_IRQS, DEVICE_RESET, MIG_DATA_WRITE.
    Empty,
}

impl Reply {
    /// The meaning of an answer's payload.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn decode(command: u16, bytes: &[u8]) -> Result<Self, WireError> {
        let known = Command::find(command).ok_or(WireError::Command(command))?;
        let with_data = |least| Reader::new(known.name(), Sizes::AtLeast(least), bytes);
        Ok(match known {
            Command::VERSION => Reply::Version(Version::decode(bytes)?),
            Command::DMA_UNMAP => Reply::DmaUnmap(DmaUnmap::decode(bytes)?),
            Command::DEVICE_GET_INFO => Reply::DeviceInfo(DeviceInfo::decode(bytes)?),
            Command::DEVICE_GET_REGION_INFO => {
                let mut from = with_data(RegionInfo::LEN);
                Reply::RegionInfo(RegionInfo::read(&mut from)?, from.rest())
            }
            Command::DEVICE_GET_REGION_IO_FDS => {
                let sizes = Sizes::Entries(IoFds::LEN, SubRegion::LEN);
                let mut from = Reader::new(known.name(), sizes, bytes);
                let fds = IoFds::read(&mut from)?;
                Reply::RegionIoFds(fds, from.entries(SubRegion::LEN, SubRegion::read)?)
            }
            Command::DEVICE_GET_IRQ_INFO => Reply::IrqInfo(IrqInfo::decode(bytes)?),
            Command::REGION_READ => {
                let mut from = with_data(Access::LEN);
                Reply::RegionRead(Access::read(&mut from)?, from.rest())
            }
            Command::REGION_WRITE => Reply::RegionWrite(Access::decode(bytes)?),
            Command::DMA_READ => {
                let mut from = with_data(DmaAccess::LEN);
                Reply::DmaRead(DmaAccess::read(&mut from)?, from.rest())
            }
            Command::DMA_WRITE => Reply::DmaWrite(DmaWritten::decode(bytes)?),
            Command::REGION_WRITE_MULTI => {
                let mut from = Reader::new(known.name(), Sizes::Exactly(8), bytes);
                let count = from.u64()?;
                from.end(Reply::RegionWriteMulti(count))?
            }
            Command::DEVICE_FEATURE => {
                let mut from = with_data(8);
                Reply::DeviceFeature(from.u32()?, FeatureFlags(from.u32()?), from.rest())
            }
            Command::MIG_DATA_READ => {
                let mut from = with_data(MigData::LEN);
                Reply::MigDataRead(MigData::read(&mut from)?, from.rest())
            }
            Command::DMA_MAP
            | Command::DEVICE_SET_IRQS
            | Command::DEVICE_RESET
            | Command::MIG_DATA_WRITE => {
                Reader::new(known.name(), Sizes::Exactly(0), bytes).end(Reply::Empty)?
            }
        })
    }

    /// The payload as sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let to = Writer::default();
        match self {
            Reply::Version(version) => version.encode(),
            Reply::DmaUnmap(unmap) => unmap.encode(),
            Reply::DeviceInfo(info) => info.encode(),
            Reply::RegionInfo(info, capabilities) => info.write(to).bytes(capabilities).0,
            Reply::RegionIoFds(fds, parts) => {
                parts.iter().fold(fds.write(to), |to, part| part.write(to)).0
            }
            Reply::IrqInfo(info) => info.encode(),
            Reply::RegionRead(access, data) => access.write(to).bytes(data).0,
            Reply::RegionWrite(access) => access.encode(),
            Reply::DmaRead(access, data) => access.write(to).bytes(data).0,
            Reply::DmaWrite(written) => written.encode(),
            Reply::RegionWriteMulti(count) => to.u64(*count).0,
            Reply::DeviceFeature(argsz, flags, data) => to.u32(*argsz).u32(flags.0).bytes(data).0,
            Reply::MigDataRead(read, data) => read.write(to).bytes(data).0,
            Reply::Empty => to.0,
        }
    }
}
