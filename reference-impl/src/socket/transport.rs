//! Messages and descriptors over a Unix stream socket.
//!
//! ```text
//!   send      header + payload, one sendmsg, descriptors on the first bytes
//!   send_raw  any bytes, for what the protocol does not allow
//!   receive   header, then exactly `size` bytes; a message cut by a deadline is kept, and goes on
//! ```
//!
//! **Invariants.** Never more is read than the message at hand, so nothing of the next one is taken
//! early. At most a header and [`MAX_PAYLOAD`] bytes are held, and [`MAX_DESCRIPTORS`] descriptors;
//! what goes beyond is closed. The socket is non-blocking, and every wait has a deadline.
//!
//! **Not here:** what bytes mean beyond their length, and which answer belongs to which request.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use devmig_model::vhost_user::wire::{Header, MAX_PAYLOAD};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, recvmsg, sendmsg, socket_with,
};

use super::Deadline;

/// The most descriptors that one message brings: the protocol's most.
pub const MAX_DESCRIPTORS: usize = 8;

/// How long to wait before trying again to connect.
const RETRY: Duration = Duration::from_millis(5);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing is there.
    #[error("there is no socket at {0}: check the path, and that the back-end has been started")]
    NoSuchSocket(PathBuf),
    /// A file is there, and nobody listens.
    #[error("nobody listens at {0}: the back-end has ended, or this is no socket")]
    Refused(PathBuf),
    /// The file's mode or one of its folders forbids it.
    #[error("connecting to {0} is not permitted: check the socket's owner and mode")]
    Permission(PathBuf),
    /// Longer than a socket's address can be.
    #[error("{0} is too long for a socket's path: 107 bytes are the most")]
    PathTooLong(PathBuf),
    /// Somebody listens, and does not accept.
    #[error("the back-end at {0} listens and does not accept: it may be serving somebody else")]
    Timeout(PathBuf),
    /// Something else.
    #[error("cannot connect to {path}: {error}")]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// What the kernel said.
        error: io::Error,
    },
}

/// Why bytes were not all sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The peer does not read, and the socket's buffer is full.
    #[error("the peer does not read: {sent} bytes of the message went out")]
    Timeout {
        /// How many bytes went out.
        sent: usize,
    },
    /// The peer has closed its end.
    #[error("the peer has closed the connection: {sent} bytes of the message went out")]
    Closed {
        /// How many bytes went out.
        sent: usize,
    },
    /// Something else: a fault of ours, such as more descriptors than the kernel takes.
    #[error("cannot send: {0}")]
    Io(io::Error),
}

/// Why no message was received.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Silence. What came is kept, and the next call goes on from there.
    #[error("no whole message in time: {got} bytes of it came")]
    Timeout {
        /// How many bytes of the message have come.
        got: usize,
    },
    /// The peer has closed its end.
    #[error("the peer closed the connection after {after} bytes of a message")]
    Closed {
        /// How many bytes of an unfinished message had come: 0 for a clean end.
        after: usize,
    },
    /// A payload beyond all bounds is announced; it was not read.
    #[error("message {} announces {} bytes of payload, and the most is {MAX_PAYLOAD}", .header.request, .header.size)]
    TooLarge {
        /// The header which says so.
        header: Header,
    },
    /// More descriptors came than a message may bring; all were closed.
    #[error("more than {MAX_DESCRIPTORS} descriptors came with one message")]
    TooManyDescriptors,
    /// Something else.
    #[error("cannot receive: {0}")]
    Io(io::Error),
}

/// A message as it came.
#[derive(Debug)]
pub struct Received {
    /// Its header; `size` is the payload's length.
    pub header: Header,
    /// Its payload, at most [`MAX_PAYLOAD`] bytes.
    pub payload: Vec<u8>,
    /// The descriptors that came with any of its bytes, at most [`MAX_DESCRIPTORS`]. Those which
    /// nobody takes are closed.
    pub fds: Vec<OwnedFd>,
}

/// One end of a conversation.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    incoming: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Connection {
    /// Connects to a listening socket. While somebody listens and does not accept, it is tried
    /// again until the deadline; every other failure is final.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn connect(path: &Path, deadline: Deadline) -> Result<Self, ConnectError> {
        let error = |errno: Errno| match errno {
            Errno::NOENT | Errno::NOTDIR => ConnectError::NoSuchSocket(path.into()),
            Errno::CONNREFUSED | Errno::NOTSOCK => ConnectError::Refused(path.into()),
            Errno::ACCESS | Errno::PERM => ConnectError::Permission(path.into()),
            Errno::NAMETOOLONG => ConnectError::PathTooLong(path.into()),
            Errno::AGAIN => ConnectError::Timeout(path.into()),
            _ => ConnectError::Io { path: path.into(), error: errno.into() },
        };
        let address = SocketAddrUnix::new(path).map_err(error)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(error)?;
        loop {
            match connect(&socket, &address) {
                Ok(()) => return Ok(Self::over(socket)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !deadline.passed() => deadline.pause(RETRY),
                Err(errno) => return Err(error(errno)),
            }
        }
    }

    /// A conversation over a stream socket that is connected already.
    ///
    /// # Errors
    /// If it cannot be made non-blocking.
    pub fn from_socket(socket: impl Into<OwnedFd>) -> Result<Self, io::Error> {
        let socket = socket.into();
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self::over(socket))
    }

    fn over(socket: OwnedFd) -> Self {
        Connection { socket, incoming: Vec::new(), fds: Vec::new() }
    }

    /// Sends a message as it is: nothing checks that `header.size` is the payload's length.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(
        &mut self,
        header: Header,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        self.send_raw(&[&header.encode()[..], payload].concat(), fds, deadline)
    }

    /// Sends any bytes: half a message, several, or none that is one. The descriptors go with the
    /// first of them; without bytes there is nothing that could carry descriptors, and nothing is
    /// sent.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send_raw(
        &mut self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            let fds = if sent == 0 { fds } else { &[] };
            match self.send_some(rest, fds) {
                Ok(count) => sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let ready = deadline.wait(self.socket.as_fd(), PollFlags::OUT);
                    if !ready.map_err(|errno| SendError::Io(errno.into()))? {
                        return Err(SendError::Timeout { sent });
                    }
                }
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(SendError::Closed { sent }),
                Err(errno) => return Err(SendError::Io(errno.into())),
            }
        }
        Ok(())
    }

    fn send_some(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        let rights = SendAncillaryMessage::ScmRights(fds);
        let mut space = vec![MaybeUninit::uninit(); rights.size()];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(rights) {
            return Err(Errno::INVAL);
        }
        sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
    }

    /// The next message.
    ///
    /// # Errors
    /// See [`ReceiveError`]. After any but [`ReceiveError::Timeout`] the connection is of no use.
    pub fn receive(&mut self, deadline: Deadline) -> Result<Received, ReceiveError> {
        loop {
            let missing = match self.incoming.first_chunk().map(|bytes| Header::decode(*bytes)) {
                None => Header::LEN - self.incoming.len(),
                Some(header) => match usize::try_from(header.size) {
                    Ok(size) if size <= MAX_PAYLOAD => Header::LEN + size - self.incoming.len(),
                    _ => return Err(ReceiveError::TooLarge { header }),
                },
            };
            if missing == 0 {
                return self.take_message();
            }
            match self.receive_some(missing) {
                Ok(Chunk::Bytes) => {}
                Ok(Chunk::TooManyDescriptors) => {
                    self.fds.clear();
                    return Err(ReceiveError::TooManyDescriptors);
                }
                Ok(Chunk::End) | Err(Errno::CONNRESET) => {
                    return Err(ReceiveError::Closed { after: self.incoming.len() });
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let ready = deadline.wait(self.socket.as_fd(), PollFlags::IN);
                    if !ready.map_err(|errno| ReceiveError::Io(errno.into()))? {
                        return Err(ReceiveError::Timeout { got: self.incoming.len() });
                    }
                }
                Err(errno) => return Err(ReceiveError::Io(errno.into())),
            }
        }
    }

    fn take_message(&mut self) -> Result<Received, ReceiveError> {
        let bytes = std::mem::take(&mut self.incoming);
        let fds = std::mem::take(&mut self.fds);
        match bytes.split_first_chunk() {
            Some((header, payload)) => {
                Ok(Received { header: Header::decode(*header), payload: payload.to_vec(), fds })
            }
            None => Err(ReceiveError::Closed { after: bytes.len() }),
        }
    }

    /// Adds at most `most` bytes of the message at hand, and the descriptors on them.
    fn receive_some(&mut self, most: usize) -> Result<Chunk, Errno> {
        let mut bytes = vec![0; most];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let iov = &mut [IoSliceMut::new(&mut bytes)];
        let got = recvmsg(&self.socket, iov, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        if self.fds.len() > MAX_DESCRIPTORS || got.flags.contains(ReturnFlags::CTRUNC) {
            return Ok(Chunk::TooManyDescriptors);
        }
        self.incoming.extend(bytes.iter().take(got.bytes));
        Ok(if got.bytes == 0 { Chunk::End } else { Chunk::Bytes })
    }
}

impl AsFd for Connection {
    /// The socket, for waiting on several channels at once.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What one read brought.
enum Chunk {
    Bytes,
    TooManyDescriptors,
    End,
}

#[cfg(test)]
mod tests;
