//! Each command as a function: what is sent, and what a fitting reply is.

use std::os::fd::{BorrowedFd, OwnedFd};

use devmig_model::protocol::vfio_user::{
    Access, Command, DeviceInfo, DeviceState, DmaMap, DmaUnmap, Feature, FeatureFlags, IoFds,
    IrqInfo, IrqSet, LoggingReport, LoggingStart, MAX_PAYLOAD, MigData, MigrationFlags, RegionInfo,
    Reply, Request, SubRegion, WireError, Write,
};

use super::{Client, ClientError, Outcome};
use crate::migration::State;

/// A region, and how to map it.
#[derive(Debug)]
pub struct Region {
    /// What the server says of it.
    pub info: RegionInfo,
    /// Its capabilities, as they came.
    pub capabilities: Vec<u8>,
    /// What can be mapped, if it can.
    pub fd: Option<OwnedFd>,
}

/// The one kind of reply that fits, or a contradiction.
macro_rules! expect {
    ($self:ident, $request:expr, $pattern:pat => $value:expr) => {{
        let request = $request;
        match $self.call(&request)? {
            $pattern => $value,
            _ => return $self.contradiction(request.command(), "it is another kind of reply"),
        }
    }};
}

/// The commands.
impl Client {
    /// Gives the server memory: from this place of a descriptor, or by asking for it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn dma_map(
        &mut self,
        address: u64,
        size: u64,
        flags: u32,
        from: Option<(BorrowedFd<'_>, u64)>,
    ) -> Outcome<()> {
        let (fds, offset) = match from {
            Some((fd, offset)) => (vec![fd], offset),
            None => (Vec::new(), 0),
        };
        let map = DmaMap { argsz: DmaMap::LEN as u32, flags, offset, address, size };
        let (_, got) = self.call_with(&Request::DmaMap(map), &fds)?;
        self.no_descriptors(Command::DMA_MAP, &got)
    }

    fn no_descriptors(&mut self, command: Command, fds: &[OwnedFd]) -> Outcome<()> {
        if fds.is_empty() {
            return Ok(());
        }
        self.over = true;
        Err(ClientError::Descriptors { command, got: fds.len() })
    }

    /// Takes memory back.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn dma_unmap(&mut self, address: u64, size: u64) -> Outcome<()> {
        let unmap = DmaUnmap { argsz: DmaUnmap::LEN as u32, flags: 0, address, size };
        let done = expect!(self, Request::DmaUnmap(unmap), Reply::DmaUnmap(done) => done);
        if (done.address, done.size) != (address, size) {
            return self.contradiction(Command::DMA_UNMAP, "it has another range");
        }
        Ok(())
    }

    /// What the device has.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn device_info(&mut self) -> Outcome<DeviceInfo> {
        let asked = DeviceInfo { argsz: DeviceInfo::LEN as u32, ..DeviceInfo::default() };
        Ok(expect!(self, Request::DeviceInfo(asked), Reply::DeviceInfo(info) => info))
    }

    /// What a region is. If there is more to say of it than was expected, it is asked again.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn region_info(&mut self, index: u32) -> Outcome<Region> {
        let command = Command::DEVICE_GET_REGION_INFO;
        let mut argsz = RegionInfo::LEN as u32;
        for _ in 0..2 {
            let asked = RegionInfo { argsz, index, ..RegionInfo::default() };
            let (reply, mut fds) = self.call_with(&Request::RegionInfo(asked), &[])?;
            let Reply::RegionInfo(info, capabilities) = reply else {
                return self.contradiction(command, "it is another kind of reply");
            };
            let mappable = info.flags & 1 << 2 != 0;
            if info.index != index {
                return self.contradiction(command, "it has another region");
            }
            if fds.len() > 1 || !mappable && !fds.is_empty() {
                return self.no_descriptors(command, &fds).and_then(|()| Err(ClientError::Over));
            }
            let needed = info.argsz as usize;
            if !(RegionInfo::LEN..=MAX_PAYLOAD).contains(&needed) {
                return self.contradiction(command, "it has a size that cannot be");
            }
            if needed == RegionInfo::LEN.saturating_add(capabilities.len()) {
                return Ok(Region { info, capabilities, fd: fds.pop() });
            }
            argsz = info.argsz;
        }
        self.contradiction(command, "it is never as long as it says")
    }

    /// Which descriptors tell of accesses to a region.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn region_io_fds(&mut self, index: u32) -> Outcome<(Vec<SubRegion>, Vec<OwnedFd>)> {
        let command = Command::DEVICE_GET_REGION_IO_FDS;
        let asked = IoFds { argsz: MAX_PAYLOAD as u32, index, ..IoFds::default() };
        let (reply, fds) = self.call_with(&Request::RegionIoFds(asked), &[])?;
        match reply {
            Reply::RegionIoFds(said, parts)
                if said.count as usize == parts.len()
                    && parts.iter().all(|part| (part.fd_index as usize) < fds.len()) =>
            {
                Ok((parts, fds))
            }
            _ => {
                self.contradiction(command, "it has sub-regions or descriptors that are not there")
            }
        }
    }

    /// What a type of interrupts is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn irq_info(&mut self, index: u32) -> Outcome<IrqInfo> {
        let asked = IrqInfo { argsz: IrqInfo::LEN as u32, index, ..IrqInfo::default() };
        let info = expect!(self, Request::IrqInfo(asked), Reply::IrqInfo(info) => info);
        if info.index != index {
            return self.contradiction(Command::DEVICE_GET_IRQ_INFO, "it has another type");
        }
        Ok(info)
    }

    /// Does something with interrupts: `flags` as in the text.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        count: u32,
        booleans: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Outcome<()> {
        let argsz = IrqSet::LEN.saturating_add(booleans.len()) as u32;
        let set = IrqSet { argsz, flags, index, start, count };
        let (_, got) = self.call_with(&Request::SetIrqs(set, booleans.to_vec()), fds)?;
        self.no_descriptors(Command::DEVICE_SET_IRQS, &got)
    }

    /// Has INTx signalled through this descriptor.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn set_trigger(&mut self, fd: BorrowedFd<'_>) -> Outcome<()> {
        self.set_irqs(0, 1 << 2 | 1 << 5, 0, 1, &[], &[fd])
    }

    /// Unmasks INTx.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn unmask(&mut self) -> Outcome<()> {
        self.set_irqs(0, 1 | 1 << 4, 0, 1, &[], &[])
    }

    /// Reads part of a region, in pieces that the server gives.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn region_read(&mut self, region: u32, offset: u64, length: u32) -> Outcome<Vec<u8>> {
        let most = self.most_data(Command::REGION_READ)? as u32;
        if length <= most {
            return self.region_read_once(region, offset, length);
        }
        let mut all = Vec::new();
        for at in (0..length).step_by(most as usize) {
            let (offset, rest) = (offset.saturating_add(at.into()), length.saturating_sub(at));
            all.extend(self.region_read_once(region, offset, rest.min(most))?);
        }
        Ok(all)
    }

    fn region_read_once(&mut self, region: u32, offset: u64, length: u32) -> Outcome<Vec<u8>> {
        let asked = Access { offset, region, count: length };
        match expect!(self, Request::RegionRead(asked), Reply::RegionRead(a, data) => (a, data)) {
            (said, data) if said == asked && data.len() == length as usize => Ok(data),
            _ => self.contradiction(Command::REGION_READ, "it has another place or length"),
        }
    }

    /// Writes part of a region, in pieces that the server takes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Outcome<()> {
        let mut at = offset;
        let most = self.most_data(Command::REGION_WRITE)?;
        if data.len() <= most {
            return self.region_write_once(region, offset, data);
        }
        for piece in data.chunks(most) {
            self.region_write_once(region, at, piece)?;
            at = at.saturating_add(piece.len() as u64);
        }
        Ok(())
    }

    fn region_write_once(&mut self, region: u32, offset: u64, data: &[u8]) -> Outcome<()> {
        let count = u32::try_from(data.len()).map_err(|_| ClientError::TooLong(data.len()))?;
        let asked = Access { offset, region, count };
        let request = Request::RegionWrite(asked, data.to_vec());
        match expect!(self, request, Reply::RegionWrite(said) => said) == asked {
            true => Ok(()),
            false => self.contradiction(Command::REGION_WRITE, "it has another place or length"),
        }
    }

    /// Makes several writes, and says how many were made.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn write_multi(&mut self, writes: &[Write]) -> Outcome<u64> {
        let count = writes.len() as u64;
        let request = Request::RegionWriteMulti(count, writes.to_vec());
        match expect!(self, request, Reply::RegionWriteMulti(done) => done) {
            done if done <= count => Ok(done),
            _ => self.contradiction(
                Command::REGION_WRITE_MULTI,
                "it has more writes than were asked for",
            ),
        }
    }

    /// Resets the device.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn reset(&mut self) -> Outcome<()> {
        expect!(self, Request::Reset, Reply::Empty => ());
        Ok(())
    }

    /// Gets, sets or probes a feature, and says what came as its data. There is room for `room` bytes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn feature(&mut self, flags: FeatureFlags, data: Vec<u8>, room: usize) -> Outcome<Vec<u8>> {
        let argsz = data.len().max(room).saturating_add(8);
        let argsz = u32::try_from(argsz).map_err(|_| ClientError::TooLong(room))?;
        self.feature_raw(argsz, flags, data)
    }

    /// The same with any `argsz`, whatever follows: what comes back is as long as it is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn feature_raw(
        &mut self,
        argsz: u32,
        flags: FeatureFlags,
        data: Vec<u8>,
    ) -> Outcome<Vec<u8>> {
        let request = Request::DeviceFeature(argsz, flags, data);
        let reply = expect!(self, request, Reply::DeviceFeature(_, said, data) => (said, data));
        match reply {
            (said, data) if said == flags => Ok(data),
            _ => self.contradiction(Command::DEVICE_FEATURE, "it has another feature"),
        }
    }

    fn understood<T>(&mut self, decoded: Result<T, WireError>) -> Outcome<T> {
        decoded.map_err(|error| {
            self.over = true;
            ClientError::Payload { command: Command::DEVICE_FEATURE, error }
        })
    }

    /// Whether a feature can be had.
    ///
    /// # Errors
    /// See [`ClientError`]: [`ClientError::Refused`] if it cannot.
    pub fn probe(&mut self, feature: Feature, get: bool, set: bool) -> Outcome<()> {
        let methods =
            if get { FeatureFlags::GET } else { 0 } | if set { FeatureFlags::SET } else { 0 };
        let flags = FeatureFlags(feature as u32 | methods).probe();
        self.feature(flags, Vec::new(), 0).map(|_| ())
    }

    /// The migration features, as bits.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn migration_flags(&mut self) -> Outcome<u64> {
        let data = self.feature(FeatureFlags::get(Feature::MIGRATION), Vec::new(), 8)?;
        self.understood(MigrationFlags::decode(&data)).map(|flags| flags.0)
    }

    /// The migration state, as a value.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn device_state(&mut self) -> Outcome<u32> {
        let data = self.feature(FeatureFlags::get(Feature::MIG_DEVICE_STATE), Vec::new(), 8)?;
        self.understood(DeviceState::decode(&data)).map(|state| state.device_state)
    }

    /// Sets the migration state, by its value.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn set_device_state_value(&mut self, device_state: u32) -> Outcome<()> {
        let state = DeviceState { device_state, data_fd: -1 };
        let flags = FeatureFlags::set(Feature::MIG_DEVICE_STATE);
        let data = self.feature(flags, state.encode(), 8)?;
        if self.understood(DeviceState::decode(&data))?.device_state != device_state {
            return self.contradiction(Command::DEVICE_FEATURE, "it has another state");
        }
        Ok(())
    }

    /// Sets the migration state.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn set_device_state(&mut self, state: State) -> Outcome<()> {
        self.set_device_state_value(state as u32)
    }

    /// Has DMA logged, and says by which page size.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn logging_start(&mut self, start: &LoggingStart) -> Outcome<u64> {
        let flags = FeatureFlags::set(Feature::DMA_LOGGING_START);
        let data = self.feature(flags, start.encode(), 0)?;
        let said = self.understood(LoggingStart::decode(&data))?;
        if said.ranges != start.ranges || !said.page_size.is_power_of_two() {
            return self
                .contradiction(Command::DEVICE_FEATURE, "it has other ranges, or no page size");
        }
        Ok(said.page_size)
    }

    /// Has DMA logged no more.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn logging_stop(&mut self) -> Outcome<()> {
        let flags = FeatureFlags::set(Feature::DMA_LOGGING_STOP);
        self.feature(flags, Vec::new(), 0).map(|_| ())
    }

    /// The pages of a range that were written.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn logging_report(
        &mut self,
        iova: u64,
        length: u64,
        page_size: u64,
    ) -> Outcome<LoggingReport> {
        let words = length.checked_div(page_size).unwrap_or(0).div_ceil(64);
        let room = usize::try_from(words).unwrap_or(usize::MAX).saturating_mul(8);
        let room = room.saturating_add(24);
        if room > MAX_PAYLOAD - 8 {
            return Err(ClientError::TooLong(room));
        }
        let asked = LoggingReport { iova, length, page_size, bitmap: Vec::new() };
        let flags = FeatureFlags::get(Feature::DMA_LOGGING_REPORT);
        let data = self.feature(flags, asked.encode(), room)?;
        let said = self.understood(LoggingReport::decode(&data))?;
        let same = (said.iova, said.length, said.page_size) == (iova, length, page_size);
        if !same || said.bitmap.len() as u64 != words {
            return self.contradiction(Command::DEVICE_FEATURE, "it has another range or bitmap");
        }
        Ok(said)
    }

    /// Reads migration data: less than was asked for if there is no more. What is more than the server
    /// gives in one message is read in several.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn data_read(&mut self, size: u32) -> Outcome<Vec<u8>> {
        let most = self.most_data(Command::MIG_DATA_READ)? as u32;
        let mut all = self.data_read_once(size.min(most))?;
        let mut asked = size.min(most);
        while all.len() == asked as usize && asked < size {
            let more = size.saturating_sub(asked).min(most);
            all.extend(self.data_read_once(more)?);
            asked = asked.saturating_add(more);
        }
        Ok(all)
    }

    fn data_read_once(&mut self, size: u32) -> Outcome<Vec<u8>> {
        let argsz = size.saturating_add(MigData::LEN as u32);
        let request = Request::MigDataRead(MigData { argsz, size });
        match expect!(self, request, Reply::MigDataRead(said, data) => (said, data)) {
            (said, data) if said.size as usize != data.len() => {
                self.contradiction(Command::MIG_DATA_READ, "its size is not that of its data")
            }
            (said, _) if said.size > size => {
                self.contradiction(Command::MIG_DATA_READ, "it has more data than was requested")
            }
            (_, data) => Ok(data),
        }
    }

    /// Writes migration data, in pieces that the server takes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn data_write(&mut self, data: &[u8]) -> Outcome<()> {
        let most = self.most_data(Command::MIG_DATA_WRITE)?;
        if data.len() <= most {
            return self.data_write_once(data);
        }
        data.chunks(most).try_for_each(|piece| self.data_write_once(piece))
    }

    fn data_write_once(&mut self, data: &[u8]) -> Outcome<()> {
        let size = u32::try_from(data.len()).map_err(|_| ClientError::TooLong(data.len()))?;
        let written = MigData { argsz: MigData::LEN as u32, size };
        expect!(self, Request::MigDataWrite(written, data.to_vec()), Reply::Empty => ());
        Ok(())
    }
}
