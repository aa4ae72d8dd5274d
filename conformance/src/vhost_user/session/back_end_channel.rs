//! The back-end's own channel: what it says there, and the answers that it gets.
//!
//! **Invariants.** At most [`AT_ONCE`] messages are read at a look and [`MOST`] in a conversation. An
//! answer is success.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use devmig_model::protocol::vhost_user::wire::{Flags, Header, Payload};

use crate::harness::verdict::TestEnd;
use crate::vhost_user::Deadline;
use crate::vhost_user::transport::{Connection, ReceiveError, Received};

/// The most messages that are read before something else is looked at.
const AT_ONCE: usize = 64;
/// The most messages of a conversation: no device has more to say while a test runs.
const MOST: usize = 2000;

/// The channel.
#[derive(Default)]
pub(super) struct BackEndChannel {
    connection: Option<Connection>,
    /// How many messages came.
    came: usize,
    /// What came instead of a message.
    wrong: Option<String>,
}

impl BackEndChannel {
    /// A new channel, and the end of it that the back-end gets.
    pub(super) fn open(&mut self) -> Result<OwnedFd, TestEnd> {
        let (ours, theirs) = UnixStream::pair().map_err(TestEnd::harness)?;
        self.connection = Some(Connection::from_socket(ours).map_err(TestEnd::harness)?);
        Ok(theirs.into())
    }

    /// For waiting.
    pub(super) fn socket(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    /// The messages that are there.
    pub(super) fn receive(&mut self) -> Result<Vec<Received>, TestEnd> {
        let mut all = Vec::new();
        while let Some(connection) = &mut self.connection
            && all.len() < AT_ONCE
        {
            match connection.receive(Deadline::now()) {
                Ok(received) => all.push(received),
                Err(ReceiveError::Timeout { .. }) => break,
                Err(ReceiveError::Closed { .. }) => self.connection = None,
                Err(ReceiveError::Io(error)) => return Err(TestEnd::harness(error)),
                Err(error) => {
                    self.wrong = Some(error.to_string());
                    self.connection = None;
                }
            }
        }
        self.came = self.came.saturating_add(all.len());
        Ok(all)
    }

    /// What came instead of a message, once.
    pub(super) fn take_wrong(&mut self) -> Option<String> {
        self.wrong.take()
    }

    /// How many messages came, if that is more than any device has to say.
    pub(super) fn too_many(&self) -> Option<usize> {
        (self.came > MOST).then_some(MOST)
    }

    /// Answers a request with success.
    pub(super) fn answer(&mut self, request: u32, deadline: Deadline) {
        let payload = Payload::U64(0).encode();
        let header = Header { request, flags: Flags::reply(), size: payload.len() as u32 };
        let sent = self.connection.as_mut().map(|c| c.send(header, &payload, &[], deadline));
        // Whoever does not read its answers is asked nothing more.
        if !matches!(sent, Some(Ok(()))) {
            self.connection = None;
        }
    }
}
