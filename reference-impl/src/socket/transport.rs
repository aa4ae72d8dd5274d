//! Messages and descriptors over a Unix stream socket.
//!
//! ```text
//!   send      header + payload, one sendmsg, descriptors on the first bytes
//!   send_raw  any bytes, for what the protocol does not allow
//!   receive   header, then exactly `size` bytes; a message cut by a deadline is kept, and goes on
//! ```
//!
//! A [`Frame`] says how a protocol's messages begin and how long they may be: vhost-user's by default,
//! and vfio-user's.
//!
//! **Invariants.** Never more is read than the message at hand, so nothing of the next one is taken
//! early. At most a header and the payload that its frame allows are held, and [`MAX_DESCRIPTORS`]
//! descriptors; what goes beyond is closed. The socket is non-blocking, and every wait has a deadline.
//!
//! **Not here:** what bytes mean beyond their length, and which answer belongs to which request.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::fmt::Debug;
use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use devmig_model::protocol::vfio_user;
use devmig_model::protocol::vhost_user::wire::{Header, MAX_PAYLOAD};
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

/// The most bytes that are read at once, so that no room is made for what may never come.
const CHUNK: usize = 1 << 16;

/// How a protocol's messages begin.
pub trait Frame: Copy + Debug {
    /// The header's length in bytes.
    const LEN: usize;
    /// The longest payload that is read.
    const MAX_PAYLOAD: usize;

    /// The header in the first [`Frame::LEN`] bytes; `None` if there are fewer.
    fn first(bytes: &[u8]) -> Option<Self>;

    /// The bytes as sent.
    fn bytes(self) -> Vec<u8>;

    /// What kind of message it is, as a number.
    fn message(self) -> u32;

    /// How long the payload is said to be; `None` if that cannot be.
    fn announced(self) -> Option<usize>;
}

impl Frame for Header {
    const LEN: usize = Header::LEN;
    const MAX_PAYLOAD: usize = MAX_PAYLOAD;

    fn first(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().map(|bytes| Header::decode(*bytes))
    }

    fn bytes(self) -> Vec<u8> {
        self.encode().to_vec()
    }

    fn message(self) -> u32 {
        self.request
    }

    fn announced(self) -> Option<usize> {
        usize::try_from(self.size).ok()
    }
}

impl Frame for vfio_user::Header {
    const LEN: usize = vfio_user::Header::LEN;
    const MAX_PAYLOAD: usize = vfio_user::MAX_PAYLOAD;

    fn first(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().map(|bytes| vfio_user::Header::decode(*bytes))
    }

    fn bytes(self) -> Vec<u8> {
        self.encode().to_vec()
    }

    fn message(self) -> u32 {
        self.command.into()
    }

    fn announced(self) -> Option<usize> {
        self.payload()
    }
}

/// How long to wait before trying again to connect.
const RETRY: Duration = Duration::from_millis(5);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing is there.
    #[error("there is no socket at {0}: check the path, and that its server has been started")]
    NoSuchSocket(PathBuf),
    /// A file is there, and nobody listens.
    #[error("nothing listens at {0}: its server has ended, or it is not a socket")]
    Refused(PathBuf),
    /// The file's mode or one of its folders forbids it.
    #[error("connecting to {0} is not permitted: check the socket's owner and mode")]
    Permission(PathBuf),
    /// Longer than a socket's address can be.
    #[error("{0} is too long for a socket's path: 107 bytes are the most")]
    PathTooLong(PathBuf),
    /// Somebody listens, and does not accept.
    #[error("the server at {0} listens and does not accept: it may be serving another client")]
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
pub enum ReceiveError<H: Frame = Header> {
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
    /// A payload beyond all bounds is announced, or a message shorter than its header; it was not
    /// read.
    #[error(
        "message {} announces {}, and the most is {}",
        .header.message(),
        match .header.announced() {
            Some(size) => format!("{size} bytes of payload"),
            None => "fewer bytes than it has".into(),
        },
        H::MAX_PAYLOAD
    )]
    TooLarge {
        /// The header which says so.
        header: H,
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
pub struct Received<H = Header> {
    /// Its header; the size that it announces is the payload's length.
    pub header: H,
    /// Its payload, at most as long as the frame allows.
    pub payload: Vec<u8>,
    /// The descriptors that came with any of its bytes, at most [`MAX_DESCRIPTORS`]. Those which
    /// nobody takes are closed.
    pub fds: Vec<OwnedFd>,
}

/// One end of a conversation in vhost-user.
pub type Connection = Channel<Header>;

/// One end of a conversation.
#[derive(Debug)]
pub struct Channel<H> {
    socket: OwnedFd,
    incoming: Vec<u8>,
    fds: Vec<OwnedFd>,
    frame: PhantomData<H>,
}

impl<H: Frame> Channel<H> {
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
        Channel { socket, incoming: Vec::new(), fds: Vec::new(), frame: PhantomData }
    }

    /// Sends a message as it is: nothing checks that `header.size` is the payload's length.
    ///
    /// # Errors
    /// See [`SendError`].
    pub fn send(
        &mut self,
        header: H,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), SendError> {
        self.send_raw(&[&header.bytes()[..], payload].concat(), fds, deadline)
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
                Ok(count) => sent = sent.saturating_add(count),
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
    pub fn receive(&mut self, deadline: Deadline) -> Result<Received<H>, ReceiveError<H>> {
        loop {
            let header = H::first(&self.incoming);
            let missing = match header {
                None => H::LEN.saturating_sub(self.incoming.len()),
                Some(header) => match header.announced() {
                    Some(size) if size <= H::MAX_PAYLOAD => {
                        H::LEN.saturating_add(size).saturating_sub(self.incoming.len())
                    }
                    _ => return Err(ReceiveError::TooLarge { header }),
                },
            };
            if let Some(header) = header.filter(|_| missing == 0) {
                let payload = self.incoming.split_off(H::LEN);
                self.incoming.clear();
                return Ok(Received { header, payload, fds: std::mem::take(&mut self.fds) });
            }
            match self.receive_some(missing) {
                Ok(Got::Bytes) => {}
                Ok(Got::TooManyDescriptors) => {
                    self.fds.clear();
                    return Err(ReceiveError::TooManyDescriptors);
                }
                Ok(Got::End) | Err(Errno::CONNRESET) => {
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

    /// Adds at most `most` bytes of the message at hand, and the descriptors on them.
    fn receive_some(&mut self, most: usize) -> Result<Got, Errno> {
        let mut bytes = vec![0; most.min(CHUNK)];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let iov = &mut [IoSliceMut::new(&mut bytes)];
        let got = recvmsg(&self.socket, iov, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        let cut = got.flags.contains(ReturnFlags::CTRUNC);
        if cut && self.fds.len() < MAX_DESCRIPTORS {
            // There was room for more here, and none in our table: that is no fault of the sender's.
            return Err(Errno::MFILE);
        }
        if self.fds.len() > MAX_DESCRIPTORS || cut {
            return Ok(Got::TooManyDescriptors);
        }
        self.incoming.extend(bytes.iter().take(got.bytes));
        Ok(if got.bytes == 0 { Got::End } else { Got::Bytes })
    }
}

impl<H> AsFd for Channel<H> {
    /// The socket, for waiting on several channels at once.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What one read brought.
enum Got {
    Bytes,
    TooManyDescriptors,
    End,
}

#[cfg(test)]
mod tests;
