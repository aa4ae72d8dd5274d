//! The shell: it owns the socket and every descriptor, waits, and hands on.
//!
//! ```text
//!   serve --accept--> Session: poll(stop, socket) --> Core --> outputs
//!     ^                  |
//!     +-- disconnect ----+     the same device for the next client
//! ```
//!
//! **Invariants.** One thread, one client at a time. Every wait ends at the latest after [`LONGEST`],
//! and at once when told to [`Stop`]; a client that does not read its answers is given up after
//! [`PATIENCE`]. Memory and descriptors of a client are gone with it; the device is not.
//!
//! **Not here:** any rule of the protocol.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use devmig_model::protocol::vfio_user::Header;
use rustix::event::{PollFd, PollFlags};

use super::core::{Core, CoreOptions, Output};
use crate::socket::Deadline;
use crate::socket::event::Event;
use crate::socket::transport::{Channel, ReceiveError};
use crate::vhost_user::server::{LONGEST, PATIENCE, wait};
pub use crate::vhost_user::server::{Running, ServeError, Stop};

/// How a server behaves.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Its device.
    pub core: CoreOptions,
    /// Whether it ends with its first client.
    pub once: bool,
}

/// Serves one client after the other with one device, until told to stop.
///
/// # Errors
/// See [`ServeError`]: nothing that a client does.
pub fn serve(
    listener: &UnixListener,
    options: &ServerOptions,
    stop: &Stop,
) -> Result<(), ServeError> {
    listener.set_nonblocking(true)?;
    let mut core = Core::new(&options.core);
    while !stop.requested()? {
        stop.wait_beside(listener)?;
        match listener.accept() {
            Ok((socket, _)) => {
                let channel = Channel::from_socket(socket)?;
                Session { channel, core: &mut core, trigger: None, over: false }.run(stop)?;
                if options.once {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The client has gone again, or descriptors are short for a moment.
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    Ok(())
}

/// A server in a thread of its own, on a socket in a folder of its own, for tests.
///
/// # Errors
/// See [`ServeError`].
pub fn start(options: ServerOptions) -> Result<Running, ServeError> {
    Running::start_with(move |listener, _, stop| serve(listener, &options, stop))
}

/// One client.
struct Session<'a> {
    channel: Channel<Header>,
    core: &'a mut Core,
    trigger: Option<Event>,
    over: bool,
}

impl Session<'_> {
    /// Until the client has gone, or was sent away, or we are told to stop.
    fn run(mut self, stop: &Stop) -> Result<(), ServeError> {
        self.core.handle_connected();
        while !self.over && !stop.requested()? {
            let now = Instant::now();
            let until = self.core.poll_timeout(now);
            let limit = until.map_or(LONGEST, |until| until.saturating_duration_since(now));
            let mut polled =
                [PollFd::new(&*stop.0, PollFlags::IN), PollFd::new(&self.channel, PollFlags::IN)];
            wait(&mut polled, limit)?;
            if polled.iter().skip(1).any(|fd| !fd.revents().is_empty()) {
                self.receive();
            }
            self.core.handle_time(Instant::now());
            self.act();
        }
        self.core.handle_gone();
        Ok(())
    }

    fn receive(&mut self) {
        match self.channel.receive(Deadline::now()) {
            Ok(message) => {
                let now = Instant::now();
                self.core.handle_message(message.header, &message.payload, message.fds, now);
            }
            Err(ReceiveError::Timeout { .. }) => {}
            Err(_) => self.over = true,
        }
    }

    /// Does what the core wants done.
    fn act(&mut self) {
        while let Some(output) = self.core.poll_output().filter(|_| !self.over) {
            match output {
                Output::Send { header, payload } => {
                    let none: [BorrowedFd<'_>; 0] = [];
                    let limit = Deadline::after(PATIENCE);
                    self.over = self.channel.send(header, &payload, &none, limit).is_err();
                }
                Output::SetTrigger(fd) => self.trigger = fd.map(Event::from),
                // A descriptor that fails is given up.
                Output::Trigger => {
                    if self.trigger.as_ref().is_some_and(|event| event.signal().is_err()) {
                        self.trigger = None;
                    }
                }
                Output::Close(_) => self.over = true,
            }
        }
    }
}
