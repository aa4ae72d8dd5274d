//! A client: each command with its answer, and the server's wishes meanwhile.
//!
//! ```text
//!   call: command --> send ... DMA_READ, DMA_WRITE <-- served from `Memory` ... reply <-- checked
//! ```
//!
//! A server is not to be trusted: it may lie about sizes, close in mid-message, answer late, twice or
//! something else, or send descriptors that nobody asked for. Each is a [`ClientError`].
//!
//! | file | its one job |
//! |---|---|
//! | `client.rs` | a message out and its reply in, and what is served meanwhile |
//! | `client/commands.rs` | each command as a function |
//! | `client/link.rs` | the way to the server, and the memory that it asks for |
//! | `client/error.rs` | why a command was not carried out |
//!
//! **Invariants.** A call ends within the client's limit, whatever the server does. What is held for a
//! server is one message, and MAX_HELD of its accesses that wait. After an error that leaves the
//! conversation in doubt, the client is of no further use, and says so; a command that the server refuses
//! ([`ClientError::Refused`]) is none such.
//!
//! **Not here:** any judgement of what a device does: a suite's.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod commands;
mod error;
mod link;

use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use devmig_model::protocol::vfio_user::{
    Capabilities, Command, DmaAccess, DmaWritten, Flags, Header, Kind, MAX_DATA, MAX_DESCRIPTORS,
    MAX_PAYLOAD, Reply, Request, Sender, Version,
};
use rustix::io::Errno;

use crate::socket::Deadline;
use crate::socket::transport::{Channel, ReceiveError, Received};

pub use commands::Region;
pub use error::{ClientError, ErrorNumber};
pub use link::{Link, Memory, NoMemory};

/// The version that is proposed.
const MAJOR: u16 = 0;
const MINOR: u16 = 1;

/// The descriptors that a server takes in one message, if its VERSION says nothing of it.
const DEFAULT_DESCRIPTORS: u64 = 1;

/// The most accesses of a server's that wait to be served.
const MAX_HELD: usize = 64;

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

    /// The most bytes of data in one message to the server: what it takes, and what we do.
    ///
    /// # Errors
    /// [`ClientError::Limit`] if it takes none.
    fn most_data(&self, command: Command) -> Outcome<usize> {
        let theirs = self.theirs.max_data_xfer_size.unwrap_or(MAX_DATA as u64);
        match theirs.min(MAX_DATA as u64) as usize {
            0 => Err(ClientError::Limit { command, what: "any data" }),
            most => Ok(most),
        }
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
            return self.contradiction(Command::VERSION, "it is another kind of reply");
        };
        if theirs.major != MAJOR || theirs.minor > MINOR {
            return self.contradiction(Command::VERSION, "it is another version than was proposed");
        }
        let said = theirs.capabilities().inspect_err(|_| self.over = true)?;
        if said.twin_socket.is_some_and(|twin| twin.supported) {
            return self.contradiction(Command::VERSION, "it has a channel that was not asked for");
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
        if fds.len() as u64 > self.theirs.max_msg_fds.unwrap_or(DEFAULT_DESCRIPTORS) {
            return Err(ClientError::Limit { command, what: "a descriptor" });
        }
        let Answer { header, payload, fds } = self.exchange(command, &payload, fds)?;
        if header.flags.is_error() {
            if !payload.is_empty() || !fds.is_empty() {
                self.over = true;
                return Err(ClientError::ErrorAndMore { command });
            }
            return Err(ClientError::Refused { command, number: ErrorNumber(header.error) });
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
                    let (number, flags) = (header.command, header.flags);
                    return Err(ClientError::Unexpected { command, number, flags });
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
                    let Header { command: number, flags, .. } = message.header;
                    break Err(ClientError::Unasked { number, flags });
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
