//! A device in this process: the core, reached by messages that no socket carries.
//!
//! ```text
//!   client.rs --send--> Local --> Core --> outputs --receive--> client.rs
//!                                 time passes while it is waited for
//! ```
//!
//! **Invariants.** No thread: the core works while its client waits, and only then. Dropping a link is
//! a client that goes; the device stays, for the next.

use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use devmig_model::protocol::vfio_user::Header;

use super::client::Link;
use super::core::{Core, Output};
use crate::socket::Deadline;
use crate::socket::event::Event;
use crate::socket::transport::{ReceiveError, Received, SendError};

/// How often to look whether something is to be done.
const PAUSE: Duration = Duration::from_micros(200);

/// A device, for one client after the other.
#[derive(Clone, Debug)]
pub struct Local(Arc<Mutex<Core>>);

/// One client's end.
#[derive(Debug)]
pub struct LocalLink {
    device: Local,
    came: VecDeque<Received<Header>>,
    trigger: Option<Event>,
    closed: bool,
}

impl Local {
    /// This device.
    #[must_use]
    pub fn new(core: Core) -> Self {
        Local(Arc::new(Mutex::new(core)))
    }

    /// The device itself.
    pub fn core(&self) -> MutexGuard<'_, Core> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client comes.
    #[must_use]
    pub fn connect(&self) -> LocalLink {
        self.core().handle_connected();
        let (device, came) = (self.clone(), VecDeque::new());
        LocalLink { device, came, trigger: None, closed: false }
    }
}

impl LocalLink {
    /// Does what the core wants done.
    fn act(&mut self) {
        let device = self.device.clone();
        let mut core = device.core();
        while let Some(output) = core.poll_output().filter(|_| !self.closed) {
            match output {
                Output::Send { header, payload } => {
                    self.came.push_back(Received { header, payload, fds: Vec::new() });
                }
                Output::SetTrigger(fd) => self.trigger = fd.map(Event::from),
                Output::Trigger => {
                    if self.trigger.as_ref().is_some_and(|event| event.signal().is_err()) {
                        self.trigger = None;
                    }
                }
                Output::Close(_) => self.closed = true,
            }
        }
    }
}

impl Link for LocalLink {
    fn send(
        &mut self,
        header: Header,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
        _: Deadline,
    ) -> Result<(), SendError> {
        if self.closed {
            return Err(SendError::Closed { sent: 0 });
        }
        let fds = fds.iter().map(BorrowedFd::try_clone_to_owned);
        let fds = fds.collect::<Result<Vec<OwnedFd>, _>>().map_err(SendError::Io)?;
        self.device.core().handle_message(header, payload, fds, Instant::now());
        self.act();
        Ok(())
    }

    /// Whole messages only: there is no stream here that could be cut.
    fn send_raw(
        &mut self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        match bytes.split_first_chunk() {
            Some((header, payload)) => self.send(Header::decode(*header), payload, fds, deadline),
            None => Ok(()),
        }
    }

    fn receive(&mut self, deadline: Deadline) -> Result<Received<Header>, ReceiveError<Header>> {
        loop {
            self.device.core().handle_time(Instant::now());
            self.act();
            if let Some(message) = self.came.pop_front() {
                return Ok(message);
            }
            if self.closed {
                return Err(ReceiveError::Closed { after: 0 });
            }
            if deadline.passed() {
                return Err(ReceiveError::Timeout { got: 0 });
            }
            deadline.pause(PAUSE);
        }
    }
}

impl Drop for LocalLink {
    fn drop(&mut self) {
        self.device.core().handle_gone();
    }
}
