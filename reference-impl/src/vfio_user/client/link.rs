//! What a client stands on: the way to the server, and the memory that the server asks for.

use std::fmt::Debug;
use std::os::fd::BorrowedFd;

use devmig_model::protocol::vfio_user::Header;

use crate::socket::Deadline;
use crate::socket::transport::{Channel, ReceiveError, Received, SendError};

/// Memory that the server reaches by asking. `false` refuses an access.
pub trait Memory: Debug + Send {
    /// Reads from this address on.
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> bool;
    /// Writes from this address on.
    fn write(&mut self, address: u64, bytes: &[u8]) -> bool;
    /// Such an access was asked for; it is served now, or later (see [`hold`](super::Client::hold)).
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
