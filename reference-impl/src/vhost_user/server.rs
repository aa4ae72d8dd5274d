//! The shell: it owns the socket and every descriptor, waits, and hands on.
//!
//! ```text
//!   serve --accept--> Session: poll(stop, socket, kicks, channel) --> Backend --> outputs
//!     ^                  |
//!     +-- disconnect ----+     a new device for the next one
//! ```
//!
//! **Invariants.** One thread, one front-end at a time. Every wait ends at the latest after
//! [`LONGEST`], and at once when told to [`Stop`]; a front-end that does not read its answers is
//! given up after [`PATIENCE`]. Guest memory and descriptors of a front-end are gone with it.
//!
//! **Not here:** any rule of the protocol.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::backend::{Backend, Output};
use super::mutants::Mutant;
use super::ring::RingError;
use super::settings::Settings;
use crate::block::{Block, BlockOptions};
use crate::socket::Deadline;
use crate::socket::event::Event;
use crate::socket::transport::{Connection, ReceiveError};

/// The longest wait for anything.
pub const LONGEST: Duration = Duration::from_secs(1);

/// How long an answer waits for a front-end that does not read.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// The most bytes of a state that are read.
pub const MAX_STATE: usize = 1 << 24;

/// What is read or written at once: a pipe that is ready takes as much without blocking.
const CHUNK: usize = 4096;

/// Why serving ended other than by being told to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket cannot be made or listened on.
    #[error("cannot listen at {path}: {error}")]
    Listen {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
    /// Accepting, waiting or making descriptors fails.
    #[error("cannot serve: {0}")]
    Kernel(#[from] Errno),
    /// The same, by the standard library.
    #[error("cannot serve: {0}")]
    Io(#[from] io::Error),
    /// No ring can be made.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The thread did not end in time.
    #[error("the back-end does not stop within {0:?}")]
    Stuck(Duration),
    /// The thread has panicked, which is a bug.
    #[error("the back-end has panicked")]
    Panicked,
}

/// How a back-end behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// What the protocol leaves open.
    pub settings: Settings,
    /// What it does wrong, if anything.
    pub mutant: Option<Mutant>,
    /// It does not offer feature bit 30, and so no protocol features.
    pub plain: bool,
    /// Its device.
    pub block: BlockOptions,
}

/// Tells a server to stop. Clones are the same.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Event>);

impl Stop {
    /// Not yet.
    ///
    /// # Errors
    /// When descriptors have run out.
    pub fn new() -> Result<Self, ServeError> {
        Ok(Stop(Arc::new(Event::new()?)))
    }

    /// Now.
    ///
    /// # Errors
    /// The kernel's.
    pub fn stop(&self) -> Result<(), ServeError> {
        Ok(self.0.signal()?)
    }

    fn requested(&self) -> Result<bool, Errno> {
        self.0.wait(Deadline::now())
    }
}

/// Serves one front-end after the other, each with a new disk, until told to stop.
///
/// # Errors
/// See [`ServeError`]: nothing that a front-end does.
pub fn serve(listener: &UnixListener, options: &Options, stop: &Stop) -> Result<(), ServeError> {
    listener.set_nonblocking(true)?;
    while !stop.requested()? {
        let mut waits = [
            PollFd::new(&*stop.0, PollFlags::IN),
            PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
        ];
        wait(&mut waits, LONGEST)?;
        match listener.accept() {
            Ok((socket, _)) => {
                let connection = Connection::from_socket(socket)?;
                Session::new(connection, options)?.run(stop)?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The front-end has gone again, or descriptors are short for a moment.
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    Ok(())
}

/// Waits for any of these; an interruption is a wait that was short.
fn wait(descriptors: &mut [PollFd<'_>], limit: Duration) -> Result<(), Errno> {
    let limit = Timespec::try_from(limit.min(LONGEST)).map_err(|_| Errno::INVAL)?;
    match poll(descriptors, Some(&limit)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What a channel for device state is used for.
#[derive(Debug)]
enum Channel {
    Save { fd: OwnedFd, state: Vec<u8>, written: usize, close: bool },
    Load { fd: OwnedFd, state: Vec<u8> },
}

impl Channel {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Channel::Save { fd, .. } | Channel::Load { fd, .. } => fd.as_fd(),
        }
    }
}

/// A ring's descriptors.
#[derive(Debug, Default)]
struct Doorbells {
    kick: Option<Event>,
    call: Option<Event>,
    error: Option<Event>,
}

/// What became ready.
#[derive(Clone, Copy, Debug)]
enum Ready {
    Socket,
    Kick(usize),
    Channel,
}

/// One front-end.
struct Session {
    connection: Connection,
    backend: Backend<Block>,
    rings: Vec<Doorbells>,
    channel: Option<Channel>,
    /// Channels that a mutant does not close.
    kept: Vec<OwnedFd>,
    over: bool,
}

impl Session {
    fn new(connection: Connection, options: &Options) -> Result<Self, ServeError> {
        let device = Block::new(options.block);
        let rings = (0..options.block.rings.max(1)).map(|_| Doorbells::default()).collect();
        let mut backend = Backend::new(device, options.settings, options.mutant)?;
        if options.plain {
            backend = backend.plain();
        }
        Ok(Session { connection, backend, rings, channel: None, kept: Vec::new(), over: false })
    }

    /// Until the front-end has gone, or was sent away, or we are told to stop.
    fn run(mut self, stop: &Stop) -> Result<(), ServeError> {
        while !self.over && !stop.requested()? {
            for ready in self.wait(stop)? {
                match ready {
                    Ready::Socket => self.receive(),
                    Ready::Kick(ring) => self.kicked(ring),
                    Ready::Channel => self.transfer(),
                }
                self.act();
            }
            self.backend.handle_time(Instant::now());
            self.act();
        }
        Ok(())
    }

    fn wait(&mut self, stop: &Stop) -> Result<Vec<Ready>, ServeError> {
        // Without a flag, a hang-up is seen all the same.
        let message = match self.backend.wants_message() {
            true => PollFlags::IN,
            false => PollFlags::empty(),
        };
        let mut polled = vec![PollFd::new(&*stop.0, PollFlags::IN)];
        let mut who = vec![None];
        for (at, ring) in self.rings.iter().enumerate() {
            if let Some(kick) = &ring.kick {
                polled.push(PollFd::new(kick, PollFlags::IN));
                who.push(Some(Ready::Kick(at)));
            }
        }
        if let Some(channel) = &self.channel {
            let flags = match channel {
                Channel::Save { .. } => PollFlags::OUT,
                Channel::Load { .. } => PollFlags::IN,
            };
            polled.push(PollFd::from_borrowed_fd(channel.fd(), flags));
            who.push(Some(Ready::Channel));
        }
        // Last: a kick from before a message counts before it.
        polled.push(PollFd::new(&self.connection, message));
        who.push(Some(Ready::Socket));
        let now = Instant::now();
        let until = self.backend.poll_timeout(now);
        wait(&mut polled, until.map_or(LONGEST, |until| until.saturating_duration_since(now)))?;
        let fired = polled.iter().zip(who).filter(|(fd, _)| !fd.revents().is_empty());
        Ok(fired.filter_map(|(_, who)| who).collect())
    }

    /// One message at most, so that nothing is read while an answer is owed.
    fn receive(&mut self) {
        if !self.backend.wants_message() {
            // Only a hang-up can have woken us.
            self.over = true;
            return;
        }
        match self.connection.receive(Deadline::now()) {
            Ok(message) => {
                let now = Instant::now();
                self.backend.handle_message(message.header, &message.payload, message.fds, now);
            }
            Err(ReceiveError::Timeout { .. }) => {}
            Err(_) => self.over = true,
        }
    }

    fn kicked(&mut self, at: usize) {
        let Some(ring) = self.rings.get_mut(at) else { return };
        match ring.kick.as_ref().map(Event::take) {
            Some(Ok(count)) if count > 0 => self.backend.handle_kick(at, Instant::now()),
            // Not readable after all.
            Some(Ok(_)) if ring.kick.as_ref().is_some_and(alive) => {}
            // Whatever it is, it is no event descriptor, or the front-end has broken it.
            _ => ring.kick = None,
        }
    }

    /// Moves what can be moved of the device's state.
    fn transfer(&mut self) {
        let now = Instant::now();
        match self.channel.take() {
            None => {}
            Some(Channel::Save { fd, state, mut written, close }) => {
                let rest = state.get(written..).unwrap_or(&[]);
                let chunk = rest.get(..CHUNK).unwrap_or(rest);
                match rustix::io::write(&fd, chunk) {
                    Ok(count) => written += count,
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    Err(_) => {
                        drop(fd);
                        self.backend.handle_saved(false, now);
                        return;
                    }
                }
                if written < state.len() {
                    self.channel = Some(Channel::Save { fd, state, written, close });
                    return;
                }
                if !close {
                    self.kept.push(fd);
                }
                self.backend.handle_saved(true, now);
            }
            Some(Channel::Load { fd, mut state }) => {
                let mut chunk = [0; CHUNK];
                let whole = match rustix::io::read(&fd, &mut chunk) {
                    Ok(0) => Some(state.as_slice()),
                    Ok(count) if state.len() + count <= MAX_STATE => {
                        state.extend(chunk.iter().take(count));
                        self.channel = Some(Channel::Load { fd, state });
                        return;
                    }
                    Err(Errno::INTR | Errno::AGAIN) => {
                        self.channel = Some(Channel::Load { fd, state });
                        return;
                    }
                    Ok(_) | Err(_) => None,
                };
                // Why it was refused, the front-end learns by CHECK_DEVICE_STATE.
                let _ = self.backend.handle_loaded(whole, now);
            }
        }
    }

    /// Does what the core wants done.
    fn act(&mut self) {
        while let Some(output) = self.backend.poll_output().filter(|_| !self.over) {
            match output {
                Output::Reply { header, payload, descriptors } => {
                    let fds: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
                    let limit = Deadline::after(PATIENCE);
                    self.over = self.connection.send(header, &payload, &fds, limit).is_err();
                }
                Output::Kick { ring, descriptor, pending_counts } => {
                    let kick = descriptor.map(Event::from);
                    if let Some(kick) = kick.as_ref().filter(|_| !pending_counts) {
                        // One that cannot be read is found out when it is waited for.
                        let _ = kick.take();
                    }
                    self.set(ring, |bells| bells.kick = kick);
                }
                Output::SetCall { ring, descriptor } => {
                    self.set(ring, |bells| bells.call = descriptor.map(Event::from));
                }
                Output::SetError { ring, descriptor } => {
                    self.set(ring, |bells| bells.error = descriptor.map(Event::from));
                }
                Output::Call(ring) => self.set(ring, |bells| signal(&mut bells.call)),
                Output::Error(ring) => self.set(ring, |bells| signal(&mut bells.error)),
                Output::Save { channel, state, close } => {
                    let written = 0;
                    self.open(Channel::Save { fd: channel, state, written, close });
                }
                Output::Load(fd) => self.open(Channel::Load { fd, state: Vec::new() }),
                Output::Close(_) => self.over = true,
            }
        }
    }

    fn open(&mut self, channel: Channel) {
        // Where it cannot be set, each use waits for readiness first, and takes small pieces.
        let _ = rustix::io::ioctl_fionbio(channel.fd(), true);
        self.channel = Some(channel);
    }

    fn set(&mut self, ring: usize, change: impl FnOnce(&mut Doorbells)) {
        if let Some(bells) = self.rings.get_mut(ring) {
            change(bells);
        }
    }
}

/// Whether a descriptor that was ready and gave nothing can be waited for again.
fn alive(event: &Event) -> bool {
    let mut polled = [PollFd::new(event, PollFlags::IN)];
    let broken = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL | PollFlags::IN;
    wait(&mut polled, Duration::ZERO).is_ok()
        && !polled.iter().any(|p| p.revents().intersects(broken))
}

/// Signals through a descriptor, if there is one; one that fails is given up.
fn signal(event: &mut Option<Event>) {
    if event.as_ref().is_some_and(|event| event.signal().is_err()) {
        *event = None;
    }
}

/// A back-end in a thread of its own, on a socket in a folder of its own. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    folder: tempfile::TempDir,
    stop: Stop,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Running {
    /// Starts one; its socket accepts when this returns.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub fn start(options: Options) -> Result<Self, ServeError> {
        let folder = tempfile::Builder::new().prefix("devmig-").tempdir()?;
        let path = folder.path().join("vhost.sock");
        let listener = UnixListener::bind(&path)
            .map_err(|error| ServeError::Listen { path: path.clone(), error })?;
        let stop = Stop::new()?;
        let theirs = stop.clone();
        let thread = std::thread::Builder::new()
            .name("reference back-end".into())
            .spawn(move || serve(&listener, &options, &theirs))?;
        Ok(Running { folder, stop, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder().join("vhost.sock")
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops it, and says how it ended.
    ///
    /// # Errors
    /// What [`serve`] ended with; [`ServeError::Stuck`] if it does not end within the limit.
    pub fn stop(mut self, limit: Duration) -> Result<(), ServeError> {
        self.end(limit)
    }

    fn end(&mut self, limit: Duration) -> Result<(), ServeError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.stop.stop()?;
        let deadline = Deadline::after(limit);
        while !thread.is_finished() {
            if deadline.passed() {
                return Err(ServeError::Stuck(limit));
            }
            deadline.pause(Duration::from_millis(1));
        }
        thread.join().map_err(|_| ServeError::Panicked)?
    }
}

impl Drop for Running {
    /// A thread that is stuck is left behind: a destructor can tell nobody.
    fn drop(&mut self) {
        let _ = self.end(Duration::from_secs(5));
    }
}

#[cfg(test)]
mod tests;
