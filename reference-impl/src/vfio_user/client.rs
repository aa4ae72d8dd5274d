//! A client: each command with its answer, and the server's wishes meanwhile.
//!
//! ```text
//!   call: command --> send ... DMA_READ, DMA_WRITE <-- served from `Memory` ... reply <-- checked
//! ```
//!
//! A server is not to be trusted: it may lie about sizes, close in mid-message, answer late, twice or
//! something else, or send descriptors that nobody asked for. Each is a [`ClientError`].
//!
//! **Invariants.** A call ends within the client's limit, whatever the server does. What is held for a
//! server is one message, and MAX_HELD of its accesses that wait. After an error that leaves the conversation in doubt, the client is of no
//! further use, and says so; a command that the server refuses ([`ClientError::Refused`]) is none such.
//!
//! **Not here:** any judgement of what a device does: a suite's.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use devmig_model::vfio_user::{
    Access, Capabilities, CapabilitiesError, Command, DeviceInfo, DeviceState, DmaAccess, DmaMap,
    DmaUnmap, DmaWritten, Feature, FeatureFlags, Flags, Header, IoFds, IrqInfo, IrqSet, Kind,
    LoggingReport, LoggingStart, MAX_DATA, MAX_DESCRIPTORS, MAX_PAYLOAD, MigData, MigrationFlags,
    RegionInfo, Reply, Request, Sender, SubRegion, Version, WireError, Write,
};
use rustix::io::Errno;

use crate::migration::State;
use crate::socket::Deadline;
use crate::socket::transport::{Channel, ConnectError, ReceiveError, Received, SendError};

/// The version that is proposed.
const MAJOR: u16 = 0;
const MINOR: u16 = 1;

/// The most accesses of a server's that wait to be served.
const MAX_HELD: usize = 64;

/// Why a command was not carried out, or nobody knows whether it was.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server does not take the command.
    #[error(transparent)]
    Send(#[from] SendError),
    /// No reply came.
    #[error("no reply to {command}: {error}")]
    Receive {
        /// To what.
        command: Command,
        /// Why.
        error: Box<ReceiveError<Header>>,
    },
    /// The server says no, which it may. An errno, or 0.
    #[error("{command} is refused: {}", match errno {
        0 => "no reason is given".into(),
        errno => std::io::Error::from_raw_os_error(errno.cast_signed()).to_string(),
    })]
    Refused {
        /// What.
        command: Command,
        /// Why.
        errno: u32,
    },
    /// Something came that is not the reply to what was asked.
    #[error("{command} is answered by message {id}, command {number}, {flags:?}")]
    Unexpected {
        /// What was asked.
        command: Command,
        /// The id that came.
        id: u16,
        /// The command that came.
        number: u16,
        /// The flags that came.
        flags: Flags,
    },
    /// The reply's payload is none of this command's.
    #[error("the reply to {command} makes no sense: {error}")]
    Payload {
        /// To what.
        command: Command,
        /// Why.
        error: WireError,
    },
    /// The reply contradicts the command, or itself.
    #[error("the reply to {command} contradicts it: {what}")]
    Contradiction {
        /// To what.
        command: Command,
        /// What does not fit.
        what: &'static str,
    },
    /// The capabilities make no sense.
    #[error(transparent)]
    Capabilities(#[from] CapabilitiesError),
    /// Descriptors came that nobody asked for, or not those that were promised.
    #[error("{got} descriptors came with the reply to {command}")]
    Descriptors {
        /// With the reply to what.
        command: Command,
        /// How many.
        got: usize,
    },
    /// The client was asked for more than a message holds.
    #[error("{0} bytes are more than a message holds")]
    TooLong(usize),
    /// An earlier error has ended the conversation.
    #[error("the conversation has ended by an earlier error")]
    Over,
}

impl ClientError {
    /// The number by which the server refused, if that is what it did.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            ClientError::Refused { errno, .. } => {
                Some(Errno::from_raw_os_error(errno.cast_signed() & 0xfff))
            }
            _ => None,
        }
    }
}

/// Memory that the server reaches by asking. `false` refuses an access.
pub trait Memory: Debug + Send {
    /// Reads from this address on.
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> bool;
    /// Writes from this address on.
    fn write(&mut self, address: u64, bytes: &[u8]) -> bool;
    /// Such an access was asked for; it is served now, or later (see [`Client::hold`]).
    fn asked(&mut self, _address: u64, _length: u64) {}
}

/// No memory.
#[derive(Clone, Copy, Debug)]
pub struct NoMemory;

impl Memory for NoMemory {
    fn read(&mut self, _: u64, _: &mut [u8]) -> bool {
        false
    }

    fn write(&mut self, _: u64, _: &[u8]) -> bool {
        false
    }
}

/// What carries messages to a server and back.
pub trait Link: Debug + Send {
    /// Sends a message as it is.
    ///
    /// # Errors
    /// See [`SendError`].
    fn send(
        &mut self,
        header: Header,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError>;

    /// Sends any bytes.
    ///
    /// # Errors
    /// See [`SendError`].
    fn send_raw(
        &mut self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError>;

    /// The next message.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    fn receive(&mut self, deadline: Deadline) -> Result<Received<Header>, ReceiveError<Header>>;
}

impl Link for Channel<Header> {
    fn send(
        &mut self,
        header: Header,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        Channel::send(self, header, payload, fds, deadline)
    }

    fn send_raw(
        &mut self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        Channel::send_raw(self, bytes, fds, deadline)
    }

    fn receive(&mut self, deadline: Deadline) -> Result<Received<Header>, ReceiveError<Header>> {
        Channel::receive(self, deadline)
    }
}

/// What came in answer to a command, not judged.
#[derive(Debug)]
pub struct Answer {
    /// Its header.
    pub header: Header,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Its descriptors.
    pub fds: Vec<OwnedFd>,
}

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

/// A client of one server.
#[derive(Debug)]
pub struct Client {
    channel: Box<dyn Link>,
    memory: Box<dyn Memory>,
    limit: Duration,
    next_id: u16,
    over: bool,
    /// How long an access waits to be served while a reply is awaited, and those that wait.
    hold: Duration,
    held: VecDeque<(Header, Vec<u8>)>,
    /// What the server said that it can do.
    theirs: Capabilities,
    version: (u16, u16),
}

type Outcome<T> = Result<T, ClientError>;

impl Client {
    /// Connects and agrees on a version. Each command, this included, ends within `limit`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn connect(path: &Path, memory: Box<dyn Memory>, limit: Duration) -> Outcome<Self> {
        let channel = Channel::connect(path, Deadline::after(limit))?;
        let mut client = Self::over(channel, memory, limit);
        client.negotiate()?;
        Ok(client)
    }

    /// A client over a link that is there already; no version is agreed on yet.
    #[must_use]
    pub fn over(link: impl Link + 'static, memory: Box<dyn Memory>, limit: Duration) -> Self {
        let channel = Box::new(link);
        let (theirs, version) = (Capabilities::default(), (MAJOR, MINOR));
        let (hold, held) = (Duration::ZERO, VecDeque::new());
        Client { channel, memory, limit, next_id: 0, over: false, hold, held, theirs, version }
    }

    /// The memory that the server asks for.
    pub fn memory_mut(&mut self) -> &mut dyn Memory {
        &mut *self.memory
    }

    /// From now on, accesses that come while a reply is awaited are served so much later; those that
    /// wait when the reply comes are served with the next command, or by [`Client::serve`].
    pub fn hold(&mut self, time: Duration) {
        self.hold = time;
    }

    /// What the server said that it can do.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.theirs
    }

    /// The version that was agreed on.
    #[must_use]
    pub fn version(&self) -> (u16, u16) {
        self.version
    }

    /// What is proposed.
    #[must_use]
    pub fn proposal() -> Capabilities {
        Capabilities {
            max_msg_fds: Some(MAX_DESCRIPTORS as u64),
            max_data_xfer_size: Some(MAX_DATA as u64),
            max_dma_maps: Some(65535),
            pgsizes: Some(0x1000),
            twin_socket: None,
            write_multiple: Some(true),
        }
    }

    /// Agrees on a version.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn negotiate(&mut self) -> Outcome<()> {
        let ours = Self::proposal();
        let reply = self.call(&Request::Version(Version::new(MAJOR, MINOR, ours)))?;
        let Reply::Version(theirs) = reply else {
            return self.contradiction(Command::VERSION, "another kind of reply");
        };
        if theirs.major != MAJOR || theirs.minor > MINOR {
            return self.contradiction(Command::VERSION, "another version than was proposed");
        }
        let said = theirs.capabilities().inspect_err(|_| self.over = true)?;
        if said.twin_socket.is_some_and(|twin| twin.supported) {
            return self.contradiction(Command::VERSION, "a channel that was not asked for");
        }
        (self.theirs, self.version) = (said, (theirs.major, theirs.minor));
        Ok(())
    }

    fn contradiction<T>(&mut self, command: Command, what: &'static str) -> Outcome<T> {
        self.over = true;
        Err(ClientError::Contradiction { command, what })
    }

    /// Sends a command and waits for its reply, which has the right form.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn call(&mut self, request: &Request) -> Outcome<Reply> {
        let (reply, fds) = self.call_with(request, &[])?;
        match fds.len() {
            0 => Ok(reply),
            got => {
                self.over = true;
                Err(ClientError::Descriptors { command: request.command(), got })
            }
        }
    }

    fn call_with(
        &mut self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Outcome<(Reply, Vec<OwnedFd>)> {
        let (command, payload) = (request.command(), request.encode());
        let Answer { header, payload, fds } = self.exchange(command, &payload, fds)?;
        if header.flags.is_error() {
            if !payload.is_empty() || !fds.is_empty() {
                return self.contradiction(command, "an error, and more than its header");
            }
            return Err(ClientError::Refused { command, errno: header.error });
        }
        match Reply::decode(header.command, &payload) {
            Ok(reply) => Ok((reply, fds)),
            Err(error) => {
                self.over = true;
                Err(ClientError::Payload { command, error })
            }
        }
    }

    /// Sends any payload as this command, and waits for what comes in answer: its id and command are
    /// checked, nothing else. What the server asks for meanwhile is served.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn exchange(
        &mut self,
        command: Command,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Outcome<Answer> {
        if payload.len() > MAX_PAYLOAD {
            return Err(ClientError::TooLong(payload.len()));
        }
        let deadline = Deadline::after(self.limit);
        let id = self.send(command, Flags::command(), payload, fds, deadline)?;
        self.await_reply(id, command, deadline).inspect_err(|_| self.over = true)
    }

    /// Sends a command that wants no reply.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn tell(&mut self, request: &Request) -> Outcome<()> {
        let deadline = Deadline::after(self.limit);
        let payload = request.encode();
        self.send(request.command(), Flags::no_reply(), &payload, &[], deadline).map(|_| ())
    }

    fn send(
        &mut self,
        command: Command,
        flags: Flags,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Outcome<u16> {
        if self.over {
            return Err(ClientError::Over);
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let header = Header::new(id, command.number(), flags, payload.len());
        let sent = self.channel.send(header, payload, fds, deadline);
        sent.inspect_err(|_| self.over = true)?;
        Ok(id)
    }

    fn await_reply(&mut self, id: u16, command: Command, deadline: Deadline) -> Outcome<Answer> {
        let mut held = Deadline::after(self.hold);
        loop {
            let waits = !self.held.is_empty() && !held.passed();
            if !waits {
                self.serve_held(deadline)?;
            }
            // A server that asks without end is given up like one that says nothing.
            let got = match self.channel.receive(if waits { held } else { deadline }) {
                Err(ReceiveError::Timeout { .. }) if waits => continue,
                Ok(_) if deadline.passed() => Err(ReceiveError::Timeout { got: 0 }),
                other => other,
            };
            let message =
                got.map_err(|error| ClientError::Receive { command, error: Box::new(error) })?;
            let header = message.header;
            match header.flags.kind() {
                Kind::Reply if header.id == id && header.command == command.number() => {
                    let (payload, fds) = (message.payload, message.fds);
                    return Ok(Answer { header, payload, fds });
                }
                Kind::Command if message.fds.is_empty() && self.held.len() < MAX_HELD => {
                    if self.held.is_empty() {
                        held = Deadline::after(self.hold);
                    }
                    self.note(&message);
                    self.held.push_back((header, message.payload));
                }
                _ => {
                    let (id, number, flags) = (header.id, header.command, header.flags);
                    return Err(ClientError::Unexpected { command, id, number, flags });
                }
            }
        }
    }

    /// Serves what the server asks for, for so long; for no time at all, what it has asked for before.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn serve(&mut self, time: Duration) -> Outcome<()> {
        if self.over {
            return Err(ClientError::Over);
        }
        let deadline = Deadline::after(time);
        let served = loop {
            if let Err(error) = self.serve_held(Deadline::after(self.limit)) {
                break Err(error);
            }
            if time.is_zero() {
                return Ok(());
            }
            match self.channel.receive(deadline) {
                Ok(message) if message.header.flags.kind() == Kind::Command => {
                    self.note(&message);
                    let limit = Deadline::after(self.limit);
                    if let Err(error) = self.serve_one(message.header, &message.payload, limit) {
                        break Err(error);
                    }
                    if deadline.passed() {
                        break Ok(());
                    }
                }
                Ok(message) => {
                    let Header { id, command: number, flags, .. } = message.header;
                    let command = Command::DMA_READ;
                    break Err(ClientError::Unexpected { command, id, number, flags });
                }
                Err(ReceiveError::Timeout { .. }) => return Ok(()),
                Err(error) => {
                    let (command, error) = (Command::DMA_READ, Box::new(error));
                    break Err(ClientError::Receive { command, error });
                }
            }
        };
        served.inspect_err(|_| self.over = true)
    }

    /// The memory learns of an access that was asked for.
    fn note(&mut self, message: &Received<Header>) {
        let asked = Request::decode(message.header.command, &message.payload);
        if let Ok(Request::DmaRead(access) | Request::DmaWrite(access, _)) = asked {
            self.memory.asked(access.address, access.count);
        }
    }

    fn serve_held(&mut self, deadline: Deadline) -> Outcome<()> {
        while let Some((header, payload)) = self.held.pop_front() {
            self.serve_one(header, &payload, deadline)?;
        }
        Ok(())
    }

    fn serve_one(&mut self, header: Header, payload: &[u8], deadline: Deadline) -> Outcome<()> {
        let reply = match Request::decode(header.command, payload) {
            Ok(Request::DmaRead(access)) if access.count <= MAX_DATA as u64 => {
                let mut bytes = vec![0; access.count as usize];
                let read = self.memory.read(access.address, &mut bytes);
                read.then_some(Reply::DmaRead(access, bytes)).ok_or(Errno::FAULT)
            }
            Ok(Request::DmaWrite(DmaAccess { address, count }, data))
                if count == data.len() as u64 =>
            {
                let written = DmaWritten { address, count, wide: false };
                let done = self.memory.write(address, &data);
                done.then_some(Reply::DmaWrite(written)).ok_or(Errno::FAULT)
            }
            Ok(request) if request.command().sender() == Sender::Client => Err(Errno::NOTSUP),
            _ => Err(Errno::INVAL),
        };
        if header.flags.wants_no_reply() {
            return Ok(());
        }
        let (header, payload) = match reply {
            Ok(reply) => {
                let payload = reply.encode();
                (Header::new(header.id, header.command, Flags::reply(), payload.len()), payload)
            }
            Err(errno) => (header.failed(errno.raw_os_error().unsigned_abs()), Vec::new()),
        };
        Ok(self.channel.send(header, &payload, &[], deadline)?)
    }

    /// Sends bytes as they are: what the protocol does not allow.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn send_raw(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Outcome<()> {
        Ok(self.channel.send_raw(bytes, fds, Deadline::after(self.limit))?)
    }

    /// The next message, whatever it is.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub fn receive_raw(&mut self, limit: Duration) -> Result<Answer, ReceiveError<Header>> {
        let message = self.channel.receive(Deadline::after(limit))?;
        Ok(Answer { header: message.header, payload: message.payload, fds: message.fds })
    }
}

/// The one kind of reply that fits, or a contradiction.
macro_rules! expect {
    ($self:ident, $request:expr, $pattern:pat => $value:expr) => {{
        let request = $request;
        match $self.call(&request)? {
            $pattern => $value,
            _ => return $self.contradiction(request.command(), "another kind of reply"),
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
            return self.contradiction(Command::DMA_UNMAP, "another range");
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
                return self.contradiction(command, "another kind of reply");
            };
            let mappable = info.flags & 1 << 2 != 0;
            if info.index != index {
                return self.contradiction(command, "another region");
            }
            if fds.len() > 1 || !mappable && !fds.is_empty() {
                return self.no_descriptors(command, &fds).and_then(|()| Err(ClientError::Over));
            }
            let needed = info.argsz as usize;
            if !(RegionInfo::LEN..=MAX_PAYLOAD).contains(&needed) {
                return self.contradiction(command, "a size that cannot be");
            }
            if needed == RegionInfo::LEN + capabilities.len() {
                return Ok(Region { info, capabilities, fd: fds.pop() });
            }
            argsz = info.argsz;
        }
        self.contradiction(command, "never as long as it is said to be")
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
            _ => self.contradiction(command, "sub-regions or descriptors that are not there"),
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
            return self.contradiction(Command::DEVICE_GET_IRQ_INFO, "another type");
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
        let argsz = (IrqSet::LEN + booleans.len()) as u32;
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

    /// Reads part of a region.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn region_read(&mut self, region: u32, offset: u64, length: u32) -> Outcome<Vec<u8>> {
        let asked = Access { offset, region, count: length };
        match expect!(self, Request::RegionRead(asked), Reply::RegionRead(a, data) => (a, data)) {
            (said, data) if said == asked && data.len() == length as usize => Ok(data),
            _ => self.contradiction(Command::REGION_READ, "another place or length"),
        }
    }

    /// Writes part of a region.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Outcome<()> {
        let count = u32::try_from(data.len()).map_err(|_| ClientError::TooLong(data.len()))?;
        let asked = Access { offset, region, count };
        let request = Request::RegionWrite(asked, data.to_vec());
        match expect!(self, request, Reply::RegionWrite(said) => said) == asked {
            true => Ok(()),
            false => self.contradiction(Command::REGION_WRITE, "another place or length"),
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
            _ => self.contradiction(Command::REGION_WRITE_MULTI, "more than were asked for"),
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
        let argsz = 8 + data.len().max(room);
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
            _ => self.contradiction(Command::DEVICE_FEATURE, "another feature"),
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
        let methods = (u32::from(get) * FeatureFlags::GET) | (u32::from(set) * FeatureFlags::SET);
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
            return self.contradiction(Command::DEVICE_FEATURE, "another state");
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
            return self.contradiction(Command::DEVICE_FEATURE, "other ranges, or no page size");
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
            return self.contradiction(Command::DEVICE_FEATURE, "another range or bitmap");
        }
        Ok(said)
    }

    /// Reads migration data: less than was asked for if there is no more.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn data_read(&mut self, size: u32) -> Outcome<Vec<u8>> {
        let argsz = size.saturating_add(MigData::LEN as u32);
        let request = Request::MigDataRead(MigData { argsz, size });
        match expect!(self, request, Reply::MigDataRead(said, data) => (said, data)) {
            (said, data) if said.size as usize == data.len() && said.size <= size => Ok(data),
            _ => {
                self.contradiction(Command::MIG_DATA_READ, "more than was asked for, or less data")
            }
        }
    }

    /// Writes migration data.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn data_write(&mut self, data: &[u8]) -> Outcome<()> {
        let size = u32::try_from(data.len()).map_err(|_| ClientError::TooLong(data.len()))?;
        let written = MigData { argsz: MigData::LEN as u32, size };
        expect!(self, Request::MigDataWrite(written, data.to_vec()), Reply::Empty => ());
        Ok(())
    }
}
