//! Both parties of a conversation that is to be watched: one connects, the other is connected to.
//!
//! **Invariant.** Every wait ends when its time is up, and when it is asked to stop.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

/// How long a back-end may take to accept a connection.
const ACCEPTS: Duration = Duration::from_secs(10);
/// How often it is tried.
const RETRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// The back-end; `None` if it accepted nothing in time, or something came at `stop`.
///
/// # Errors
/// The system's.
pub fn connect(
    path: &Path,
    until: Option<Instant>,
    stop: &UnixStream,
) -> io::Result<Option<OwnedFd>> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let latest = Instant::now() + ACCEPTS;
    let latest = until.map_or(latest, |until| until.min(latest));
    loop {
        match net::connect(&socket, &address) {
            Ok(()) => return Ok(Some(socket)),
            Err(Errno::INTR) => {}
            // Its backlog is full: a blocking call would wait for it, and for nothing else.
            Err(Errno::AGAIN) => {
                let mut asked = [PollFd::new(stop, PollFlags::IN)];
                match poll(&mut asked, Some(&RETRY)) {
                    Ok(0) | Err(Errno::INTR) if Instant::now() < latest => {}
                    Ok(_) | Err(Errno::INTR) => return Ok(None),
                    Err(errno) => return Err(errno.into()),
                }
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The front-end; `None` if none came in time, or something came at `stop`.
///
/// # Errors
/// The system's.
pub fn accept(
    listener: &UnixListener,
    until: Option<Instant>,
    stop: &UnixStream,
) -> io::Result<Option<UnixStream>> {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let wait = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [PollFd::new(listener, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        match poll(&mut fds, wait.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [came, asked] = fds.map(|fd| !fd.revents().is_empty());
        if came {
            return listener.accept().map(|(socket, _)| Some(socket));
        }
        if asked || until.is_some_and(|until| Instant::now() >= until) {
            return Ok(None);
        }
    }
}
