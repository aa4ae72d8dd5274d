//! The shell: it owns the socket and every descriptor, waits, and hands on.
//!
//! ```text
//!   serve --accept--> Session: poll(stop, socket, kicks, channels, outside) --> Backend --> outputs
//!     ^                  |
//!     +-- disconnect ----+     a new device for the next one
//!
//!   session.rs   one front-end        running.rs   a server in a thread of its own
//! ```
//!
//! **Invariants.** One thread, one front-end at a time. Every wait ends at the latest after
//! [`LONGEST`], and at once when told to [`Stop`]; a front-end that does not read its answers is
//! given up after [`PATIENCE`]. Guest memory and descriptors of a front-end are gone with it.
//!
//! **Not here:** any rule of the protocol.

mod running;
mod session;

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

pub use self::running::Running;
pub(crate) use self::running::Serving;
use self::session::Session;
use super::backend::Past;
use super::mutants::{Mutant, Mutants};
use super::net::{Net, NetOptions};
use super::ring::RingError;
use super::settings::{Disabled, Settings};
use crate::block::{Block, BlockOptions};
use crate::socket::Deadline;
use crate::socket::event::Event;
use crate::socket::transport::Connection;

/// The longest wait for anything.
pub const LONGEST: Duration = Duration::from_secs(1);

/// How long an answer waits for a front-end that does not read.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// The most bytes of a state that are read.
pub const MAX_STATE: usize = 1 << 24;

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
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What the protocol leaves open.
    pub settings: Settings,
    /// What it does wrong, if anything.
    pub mutant: Option<Mutant>,
    /// What it does wrong besides.
    pub behind: Option<Mutant>,
    /// It does not offer feature bit 30, and so no protocol features.
    pub plain: bool,
    /// Its device, if that is a disk.
    pub block: BlockOptions,
    /// Its device, if that is a NIC.
    pub net: Option<NetOptions>,
    /// Whether it ends with its first front-end.
    pub once: bool,
}

impl Options {
    /// All that it does wrong.
    #[must_use]
    pub fn mutants(&self) -> Mutants {
        Mutants::new(self.mutant, self.behind)
    }

    /// A NIC, which processes what is transmitted through a disabled ring and discards it: for
    /// network devices the text leaves no choice.
    #[must_use]
    pub fn nic(net: NetOptions) -> Self {
        let settings = Settings { disabled: Disabled::Process, ..Settings::default() };
        Options { settings, net: Some(net), ..Options::default() }
    }
}

/// Tells a server to stop. Clones are the same.
#[derive(Clone, Debug)]
pub struct Stop(pub(crate) Arc<Event>);

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

    pub(crate) fn requested(&self) -> Result<bool, Errno> {
        self.0.wait(Deadline::now())
    }

    /// Waits until it is now, or something comes here.
    pub(crate) fn wait_beside(&self, other: &impl AsFd) -> Result<(), Errno> {
        let other = PollFd::from_borrowed_fd(other.as_fd(), PollFlags::IN);
        wait(&mut [PollFd::new(&*self.0, PollFlags::IN), other], LONGEST)
    }
}

/// Serves one front-end after the other, each with a new device, until told to stop. Whoever connects
/// to `outside` changes the device that is being served, and is let go when it is changed.
///
/// # Errors
/// See [`ServeError`]: nothing that a front-end does.
pub fn serve(
    listener: &UnixListener,
    outside: Option<&UnixListener>,
    options: &Options,
    stop: &Stop,
) -> Result<(), ServeError> {
    listener.set_nonblocking(true)?;
    outside.map_or(Ok(()), |outside| outside.set_nonblocking(true))?;
    let mut past = Past::default();
    while !stop.requested()? {
        let mut waits = vec![
            PollFd::new(&*stop.0, PollFlags::IN),
            PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
        ];
        waits.extend(outside.map(|o| PollFd::from_borrowed_fd(o.as_fd(), PollFlags::IN)));
        wait(&mut waits, LONGEST)?;
        // There is no device now that could be changed.
        let _ = outside.map(UnixListener::accept);
        match listener.accept() {
            Ok((socket, _)) => {
                let connection = Connection::from_socket(socket)?;
                past = match &options.net {
                    Some(net) => {
                        let session = Session::new(connection, Net::new(net), options, past)?;
                        session.run(stop, outside)?
                    }
                    None => {
                        let disk = Block::new(options.block);
                        Session::new(connection, disk, options, past)?.run(stop, outside)?
                    }
                }
                .next();
                if options.once {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The front-end has gone again, or descriptors are short for a moment.
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    Ok(())
}

/// Waits for any of these; an interruption is a wait that was short.
pub(crate) fn wait(descriptors: &mut [PollFd<'_>], limit: Duration) -> Result<(), Errno> {
    let limit = Timespec::try_from(limit.min(LONGEST)).map_err(|_| Errno::INVAL)?;
    match poll(descriptors, Some(&limit)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
