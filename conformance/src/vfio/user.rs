//! A device over vfio-user: at a socket, or a core in this process.
//!
//! ```text
//!   Socket, Spawn, Reference --open--> User { Client } --call--> a reply, or HarnessError
//!   Core --------------------open--> the same, without a socket; and what vfio-user cannot ask
//! ```
//!
//! **Invariants.** What a server does against the form of the protocol is [`HarnessError`], never a panic;
//! the client bounds what it keeps of it. What was started is ended when the device is dropped.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use devmig_model::protocol::vfio_user::{
    Command as WireCommand, Feature, FeatureFlags, Header, LoggingStart, Range as WireRange,
};
use devmig_reference::migration::Refused;
use devmig_reference::socket::Deadline;
use devmig_reference::socket::transport::{Channel, ReceiveError};
use devmig_reference::vfio_user::client::{Memory, Region as ClientRegion};
use devmig_reference::vfio_user::local::Local;
use devmig_reference::vfio_user::{
    Client, ClientError, Core, CoreOptions, Running, ServerOptions, server,
};
use rustix::io::Errno;

use super::data;
use super::device::{
    Described, Deviation, Device, DeviceInfo, ERROR_NUMBER, HarnessError, IrqInfo, Left, MAPPED,
    Place, Range, Read, RegionInfo, Said, Transport,
};
use super::session::last_words;
use crate::harness::io::process::{Command, DEATH, Process, Remains, SpawnError};

/// A server that somebody else runs.
#[derive(Debug)]
pub struct Socket {
    /// Where it listens.
    pub path: PathBuf,
    /// How long a call may take.
    pub limit: Duration,
    /// What starts another device, whose data this one must not take.
    pub foreign: Option<Command>,
}

/// A server that is started for each test.
#[derive(Debug)]
pub struct Spawn {
    /// What starts it.
    pub command: Command,
    /// How long it may take to listen.
    pub start: Duration,
    /// How long a call may take.
    pub limit: Duration,
    /// What starts another device, whose data this one must not take.
    pub foreign: Option<Command>,
}

/// The reference device, made for each test.
#[derive(Debug)]
pub struct Reference {
    /// What it is.
    pub core: CoreOptions,
    /// The same of another configuration.
    pub other: CoreOptions,
    /// Served over a real socket, or in this process.
    pub socket: bool,
    /// How long a call may take.
    pub limit: Duration,
}

/// Who serves.
#[derive(Debug)]
enum Server {
    Elsewhere,
    Process(Process),
    Thread(#[allow(dead_code)] Running), // kept: dropping it ends the server
    Here(Local),
}

/// An open device.
#[derive(Debug)]
pub struct User {
    client: Option<Client>,
    server: Server,
    path: PathBuf,
    memory: Shared,
    limit: Duration,
    /// The server has closed the connection.
    closed: bool,
    deviations: Vec<Deviation>,
}

/// Why there is no conversation.
enum Reach {
    /// Nothing listens.
    Unconnected(String),
    /// Something listens, and this came of it.
    Trouble(HarnessError),
}

/// Memory that outlives the clients that serve it.
#[derive(Clone, Debug)]
struct Shared(Arc<Mutex<Box<dyn Memory>>>);

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut dyn Memory) -> T) -> T {
        work(&mut **self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Memory for Shared {
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> bool {
        self.with(|memory| memory.read(address, bytes))
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> bool {
        self.with(|memory| memory.write(address, bytes))
    }

    fn asked(&mut self, address: u64, length: u64) {
        self.with(|memory| memory.asked(address, length));
    }
}

impl Place for Socket {
    fn open(&self, memory: Box<dyn Memory>) -> Result<Box<dyn Device>, HarnessError> {
        User::connect(Server::Elsewhere, self.path.clone(), memory, self.limit)
    }

    fn fresh(&self) -> bool {
        false
    }

    fn foreign(&self) -> Result<Option<Vec<u8>>, HarnessError> {
        self.foreign.as_ref().map(|command| another(command, START, self.limit)).transpose()
    }
}

impl Place for Spawn {
    fn open(&self, memory: Box<dyn Memory>) -> Result<Box<dyn Device>, HarnessError> {
        spawn(&self.command, memory, self.start, self.limit)
    }

    fn fresh(&self) -> bool {
        true
    }

    fn foreign(&self) -> Result<Option<Vec<u8>>, HarnessError> {
        self.foreign.as_ref().map(|command| another(command, self.start, self.limit)).transpose()
    }
}

impl Place for Reference {
    fn open(&self, memory: Box<dyn Memory>) -> Result<Box<dyn Device>, HarnessError> {
        self.start(&self.core, memory)
    }

    fn fresh(&self) -> bool {
        true
    }

    fn foreign(&self) -> Result<Option<Vec<u8>>, HarnessError> {
        let other =
            self.start(&self.other, Box::new(devmig_reference::vfio_user::client::NoMemory));
        given(other?).map(Some)
    }
}

impl Reference {
    fn start(
        &self,
        core: &CoreOptions,
        memory: Box<dyn Memory>,
    ) -> Result<Box<dyn Device>, HarnessError> {
        if !self.socket {
            let local = Local::new(Core::new(core));
            return User::connect(Server::Here(local), PathBuf::new(), memory, self.limit);
        }
        let running = server::start(ServerOptions { core: core.clone(), once: false });
        let running = running.map_err(harness)?;
        let path = running.socket();
        User::connect(Server::Thread(running), path, memory, self.limit)
    }
}

/// How long a process may take to listen, unless the caller says otherwise.
const START: Duration = Duration::from_secs(10);

/// What another device gives: it is not what is under test.
fn another(command: &Command, start: Duration, limit: Duration) -> Result<Vec<u8>, HarnessError> {
    let memory = Box::new(devmig_reference::vfio_user::client::NoMemory);
    given(spawn(command, memory, start, limit).map_err(|trouble| match trouble {
        HarnessError::Unreached { why, .. } => HarnessError::Harness(why),
        other => other,
    })?)
}

fn spawn(
    command: &Command,
    memory: Box<dyn Memory>,
    start: Duration,
    limit: Duration,
) -> Result<Box<dyn Device>, HarnessError> {
    let started_over = command.start_over(Deadline::after(start));
    let (process, channel) = started_over.map_err(|error| unstarted(&error))?;
    started(process, channel, memory, limit)
}

fn unstarted(error: &SpawnError) -> HarnessError {
    let ended = if let SpawnError::Exited { status, .. } = error { Some(*status) } else { None };
    HarnessError::Unreached { why: error.to_string(), ended, for_good: false }
}

/// The device of a server that was started, over its first connection.
///
/// # Errors
/// If the two do not agree on a version.
pub fn started(
    process: Process,
    channel: Channel<Header>,
    memory: Box<dyn Memory>,
    limit: Duration,
) -> Result<Box<dyn Device>, HarnessError> {
    let path = process.socket().to_owned();
    let memory = Shared(Arc::new(Mutex::new(memory)));
    let server = Server::Process(process);
    let memory = memory.clone();
    let mut user =
        User { client: None, server, path, memory, limit, closed: false, deviations: Vec::new() };
    user.agree(channel).map_err(|trouble| last_words(&mut user, trouble))?;
    Ok(Box::new(user))
}

/// What a device gives when it is saved.
fn given(mut device: Box<dyn Device>) -> Result<Vec<u8>, HarnessError> {
    let unable =
        |what: &str| HarnessError::Harness(format!("the other device cannot be saved: {what}"));
    data::saved(&mut *device)?.map_err(|errno| unable(&errno.to_string()))
}

fn malformed(clause: &'static str, said: String) -> HarnessError {
    HarnessError::Malformed { clause, said }
}

fn harness(error: impl std::fmt::Display) -> HarnessError {
    HarnessError::Harness(error.to_string())
}

impl User {
    fn connect(
        server: Server,
        path: PathBuf,
        memory: Box<dyn Memory>,
        limit: Duration,
    ) -> Result<Box<dyn Device>, HarnessError> {
        let memory = Shared(Arc::new(Mutex::new(memory)));
        let mut user = User {
            client: None,
            server,
            path,
            memory,
            limit,
            closed: false,
            deviations: Vec::new(),
        };
        user.reach().map_err(|trouble| match trouble {
            // Nobody was there: nothing that a device did.
            Reach::Unconnected(why) => HarnessError::Unreached { why, ended: None, for_good: true },
            Reach::Trouble(trouble) => last_words(&mut user, trouble),
        })?;
        Ok(Box::new(user))
    }

    fn agree(&mut self, channel: Channel<Header>) -> Result<(), HarnessError> {
        let mut client = Client::over(channel, Box::new(self.memory.clone()), self.limit);
        let agreed = client.negotiate();
        self.client = Some(client);
        agreed.map_err(|error| self.trouble(&error))
    }

    /// One command, and what came of it.
    fn ask<T>(&mut self, ask: impl FnOnce(&mut Client) -> Result<T, ClientError>) -> Said<T> {
        let Some(client) = &mut self.client else {
            return Err(HarnessError::Harness("there is no connection".into()));
        };
        match ask(client) {
            Ok(value) => Ok(Ok(value)),
            Err(error) => match error.number() {
                Some(number) => {
                    if !number.is_valid() {
                        self.deviations.push(Deviation {
                            clause: ERROR_NUMBER,
                            observed: error.to_string(),
                            expected: "an errno, or 0",
                        });
                    }
                    Ok(Err(number))
                }
                None => Err(self.trouble(&error)),
            },
        }
    }

    fn trouble(&mut self, error: &ClientError) -> HarnessError {
        let said = error.to_string();
        let silent = matches!(error, ClientError::Receive { error, .. }
            if matches!(**error, ReceiveError::Timeout { .. }));
        let ours = matches!(error, ClientError::TooLong(_) | ClientError::Over);
        match error {
            ClientError::Connect(_) => HarnessError::Gone(said),
            ClientError::Limit { .. } => HarnessError::Lacks(
                "a server that takes data and a descriptor in one message (max_data_xfer_size, \
                 max_msg_fds)",
            ),
            _ if ours => HarnessError::Harness(said),
            _ if silent => HarnessError::Silent(format!("{said} within {:?}", self.limit)),
            ClientError::Receive { .. } | ClientError::Send(_) => {
                self.closed = true;
                HarnessError::Gone(said)
            }
            ClientError::Unexpected { .. } => malformed("vfio-user.reply.echoes", said),
            ClientError::ErrorAndMore { .. } => malformed("vfio-user.reply.error-alone", said),
            ClientError::Capabilities(_)
            | ClientError::Contradiction { command: WireCommand::VERSION, .. } => {
                malformed("vfio-user.version.reply", said)
            }
            _ => malformed("vfio-user.reply.form", said),
        }
    }

    /// A fresh client of the same server.
    fn reach(&mut self) -> Result<(), Reach> {
        self.client = None;
        let memory = Box::new(self.memory.clone());
        if let Server::Here(local) = &self.server {
            let mut client = Client::over(local.connect(), memory, self.limit);
            let agreed = client.negotiate();
            self.client = Some(client);
            return agreed.map_err(|error| Reach::Trouble(self.trouble(&error)));
        }
        let channel = Channel::connect(&self.path, Deadline::after(self.limit));
        let channel = channel.map_err(|error| Reach::Unconnected(error.to_string()))?;
        self.agree(channel).map_err(Reach::Trouble)
    }
}

/// Regions and interrupts that are asked for, of however many a device says that it has.
const MOST_PARTS: u32 = 16;
/// The flag of a region that can be read.
const READABLE: u32 = 1;
/// Where nothing else is mapped.
const FURTHER: u64 = 0x4000_0000;
/// The type of interrupts that INTx is.
const INTX: u32 = 0;

/// Features that are only there in this process: vfio-user has no message for them.
const IN_PROCESS: Transport =
    Transport { name: "in-process", descriptors: false, p2p: false, kernel: false };
const VFIO_USER: Transport =
    Transport { name: "vfio-user", descriptors: false, p2p: false, kernel: false };

impl Device for User {
    fn transport(&self) -> Transport {
        if matches!(self.server, Server::Here(_)) { IN_PROCESS } else { VFIO_USER }
    }

    fn feature(&mut self, argsz: u32, flags: u32, data: &[u8]) -> Said<Vec<u8>> {
        self.ask(|client| client.feature_raw(argsz, FeatureFlags(flags), data.to_vec()))
    }

    fn flags(&mut self) -> Said<u64> {
        self.ask(Client::migration_flags)
    }

    fn set(&mut self, state: u32) -> Said<bool> {
        Ok(self.ask(|client| client.set_device_state_value(state))?.map(|()| false))
    }

    fn get(&mut self) -> Said<(u32, bool)> {
        Ok(self.ask(Client::device_state)?.map(|state| (state, false)))
    }

    fn read(&mut self, most: u32) -> Said<Read> {
        Ok(self.ask(|client| client.data_read(most))?.map(Read::Bytes))
    }

    fn write(&mut self, bytes: &[u8]) -> Said<usize> {
        Ok(self.ask(|client| client.data_write(bytes))?.map(|()| bytes.len()))
    }

    fn left(&mut self, argsz: u32) -> Said<Left> {
        let Server::Here(local) = &self.server else {
            return Err(HarnessError::Lacks(
                "a transport that reports the remaining data (GET_PRECOPY_INFO)",
            ));
        };
        if argsz < self.left_argsz() {
            return Ok(Err(Errno::INVAL.into()));
        }
        Ok(match local.core().pre_copy_info() {
            Ok(info) => Ok(Left {
                initial: info.initial_bytes,
                dirty: info.dirty_bytes,
                reinit: info.reinit,
            }),
            Err(Refused::NoData(_)) => Err(Errno::INVAL.into()),
            Err(_) => Err(Errno::IO.into()),
        })
    }

    fn opt_in(&mut self) -> Said<()> {
        let Server::Here(local) = &self.server else {
            return Err(HarnessError::Lacks("a transport that opts in to REINIT (PRECOPY_INFOv2)"));
        };
        local.core().opt_in();
        Ok(Ok(()))
    }

    fn info(&mut self) -> Said<DeviceInfo> {
        let said = self.ask(Client::device_info)?;
        Ok(said.map(|info| DeviceInfo {
            resets: info.flags & 1 != 0,
            is_pci: info.flags & 1 << 1 != 0,
        }))
    }

    fn region_info(&mut self, region: u32) -> Said<RegionInfo> {
        let said = self.ask(|client| client.region_info(region))?;
        Ok(said.map(|said| RegionInfo {
            size: said.info.size,
            is_readable: said.info.flags & 1 != 0,
            is_writable: said.info.flags & 1 << 1 != 0,
        }))
    }

    fn irq_info(&mut self) -> Said<IrqInfo> {
        let said = self.ask(|client| client.irq_info(INTX))?;
        Ok(said.map(|info| IrqInfo {
            count: info.count,
            is_signalled: info.flags & 1 != 0,
            is_maskable: info.flags & 1 << 1 != 0,
        }))
    }

    fn region_read(&mut self, region: u32, offset: u64, length: u32) -> Said<Vec<u8>> {
        self.ask(|client| client.region_read(region, offset, length))
    }

    fn region_write(&mut self, region: u32, offset: u64, bytes: &[u8]) -> Said<()> {
        self.ask(|client| client.region_write(region, offset, bytes))
    }

    fn log_start(&mut self, page_size: u64, ranges: &[Range]) -> Said<u64> {
        let wire = |range: &Range| WireRange { iova: range.iova, length: range.length };
        let start =
            LoggingStart { page_size, reserved: 0, ranges: ranges.iter().map(wire).collect() };
        self.ask(|client| client.logging_start(&start))
    }

    fn log_stop(&mut self) -> Said<()> {
        self.ask(Client::logging_stop)
    }

    fn log_report(&mut self, range: Range, page_size: u64, _: u64) -> Said<Vec<u64>> {
        let report =
            |client: &mut Client| client.logging_report(range.iova, range.length, page_size);
        Ok(self.ask(report)?.map(|said| said.bitmap))
    }

    fn reset(&mut self) -> Said<()> {
        self.ask(Client::reset)
    }

    fn reopen(&mut self) -> Result<(), HarnessError> {
        self.reach().map_err(|trouble| match trouble {
            Reach::Unconnected(why) => {
                self.closed = true;
                HarnessError::Gone(why)
            }
            Reach::Trouble(trouble) => trouble,
        })
    }

    fn remains(&mut self, limit: Duration) -> Remains {
        self.client = None;
        let limit = if self.closed { DEATH } else { limit };
        match &mut self.server {
            Server::Process(process) => process.remains(Deadline::after(limit)),
            _ => Remains::default(),
        }
    }

    fn map(&mut self, range: Range, from: Option<(BorrowedFd<'_>, u64)>) -> Said<()> {
        self.ask(|client| client.dma_map(range.iova, range.length, 0b11, from))
    }

    fn unmap(&mut self, range: Range) -> Said<()> {
        self.ask(|client| client.dma_unmap(range.iova, range.length))
    }

    fn commands(&mut self) -> Result<Vec<Described>, HarnessError> {
        let mut all = Vec::new();
        let info = self.ask(Client::device_info)?;
        let (regions, irqs) =
            info.as_ref().map_or((0, 0), |info| (info.num_regions, info.num_irqs));
        let info = info.map(|info| {
            let devmig_model::protocol::vfio_user::DeviceInfo {
                flags, num_regions, num_irqs, ..
            } = info;
            format!("flags {flags:#x}, {num_regions} regions, {num_irqs} types of interrupts")
        });
        all.push(("DEVICE_GET_INFO".to_owned(), info));
        for index in 0..irqs.min(MOST_PARTS) {
            let irq = self.ask(|client| client.irq_info(index))?;
            all.push((
                format!("DEVICE_GET_IRQ_INFO {index}"),
                irq.map(|irq| format!("flags {:#x}, {} interrupts", irq.flags, irq.count)),
            ));
        }
        for index in 0..regions.min(MOST_PARTS) {
            let region = self.ask(|client| client.region_info(index))?;
            let what = |region: &ClientRegion| (region.info.flags, region.info.size);
            let (flags, size) = region.as_ref().map_or((0, 0), what);
            let described = region.map(|_| format!("flags {flags:#x}, {size:#x} bytes"));
            all.push((format!("DEVICE_GET_REGION_INFO {index}"), described));
            if flags & READABLE == 0 {
                continue;
            }
            for width in [1, 2, 4, 8] {
                for offset in [0, size.saturating_sub(width)].into_iter().filter(|_| width <= size)
                {
                    let read = self.ask(|c| c.region_read(index, offset, width as u32))?;
                    let what = format!("REGION_READ of {width} bytes at {offset:#x} of {index}");
                    all.push((what, read.map(|_| String::new())));
                }
            }
        }
        let (iova, length) = (FURTHER, 0x1000);
        let mapped = self.ask(|client| client.dma_map(iova, length, 0b11, None))?;
        all.push((MAPPED.to_owned(), mapped.map(|()| String::new())));
        if mapped.is_ok() {
            let unmapped = self.ask(|client| client.dma_unmap(iova, length))?;
            all.push(("DMA_UNMAP".to_owned(), unmapped.map(|()| String::new())));
        }
        Ok(all)
    }

    fn trigger(&mut self, event: BorrowedFd<'_>) -> Said<()> {
        self.ask(|client| client.set_trigger(event))
    }

    fn unmask(&mut self) -> Said<()> {
        self.ask(Client::unmask)
    }

    fn hold(&mut self, time: Duration) {
        if let Some(client) = &mut self.client {
            client.hold(time);
        }
    }

    fn deviations(&mut self) -> Vec<Deviation> {
        std::mem::take(&mut self.deviations)
    }

    fn serve(&mut self, time: Duration) -> Result<(), HarnessError> {
        match self.ask(|client| client.serve(time))? {
            Ok(()) => Ok(()),
            Err(number) => {
                Err(malformed("vfio-user.reply.form", format!("an error came unasked: {number}")))
            }
        }
    }
}

/// DEVICE_FEATURE numbers that vfio-user has, for what asks about each.
#[must_use]
pub fn features() -> Vec<u16> {
    Feature::ALL.iter().map(|feature| *feature as u16).collect()
}
