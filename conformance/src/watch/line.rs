//! One direction of one socket: bytes and descriptors that were read and not yet written.
//!
//! ```text
//!   socket --fill--> header | payload --> chunks --drain--> socket
//!                       |
//!                     a whole message, for whoever listens
//! ```
//!
//! Never more is read at once than is left of the header or payload at hand, so it is known to which
//! message a descriptor belongs. A header is passed on when it is whole, a payload as it comes; a
//! descriptor goes with the first byte of what it was read with.
//!
//! **Invariants.** The bytes that go out are those that came in. A descriptor that did not fit into our
//! table is an error, and never passed over: the message would be another. At most [`MAX_HELD`] bytes and
//! [`MAX_FDS`] descriptors wait here: the line is not read while they do.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use devmig_model::protocol::vhost_user::wire::Header;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::record::MAX_BYTES;

/// The most bytes that wait to be written.
pub const MAX_HELD: usize = 64 * 1024;
/// The most descriptors that wait: what one message can bring at the utmost.
pub const MAX_FDS: usize = 253;
/// The most bytes that are read at once.
const READ: usize = 16 * 1024;

/// Bytes, and the descriptors that go with the first of them.
#[derive(Debug, Default)]
struct Chunk {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// A message of which something was read.
#[derive(Debug, Default)]
pub struct Passing {
    /// Header and payload, as far as they are kept.
    pub bytes: Vec<u8>,
    /// Payload that is still to come.
    pub missing: u64,
    /// Payload that was announced and is not kept.
    pub omitted: u64,
    /// Copies of its descriptors, for looking through.
    pub fds: Vec<OwnedFd>,
    /// Descriptors that came with it.
    pub count: usize,
    /// Those that came after the first byte.
    pub late: usize,
}

/// What one read brought.
#[derive(Debug)]
pub enum Came {
    /// Nothing is there.
    Nothing,
    /// A part of a message.
    Part,
    /// The rest of a message.
    Message(Passing),
    /// The end, with what there was of a message.
    End(Option<Passing>),
}

/// One direction.
#[derive(Debug, Default)]
pub struct Line {
    waiting: VecDeque<Chunk>,
    passing: Passing,
    /// A header that is not whole, and its descriptors.
    head: Chunk,
    /// Nothing more comes.
    pub ended: bool,
    /// Nobody takes what comes.
    pub broken: bool,
}

impl Line {
    /// Whether there is room for more.
    #[must_use]
    pub fn wants(&self) -> bool {
        let held: usize = self.waiting.iter().map(|chunk| chunk.bytes.len()).sum();
        let fds: usize = self.waiting.iter().map(|chunk| chunk.fds.len()).sum();
        !self.ended && held < MAX_HELD && fds < MAX_FDS
    }

    /// Whether something waits to be written.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.broken && !self.waiting.is_empty()
    }

    /// Reads once. `swap` sees each header with its descriptors before they are passed on, and may
    /// put others in their place.
    ///
    /// # Errors
    /// The socket's.
    pub fn fill(
        &mut self,
        socket: BorrowedFd<'_>,
        swap: &mut dyn FnMut(Header, &mut Vec<OwnedFd>),
    ) -> Result<Came, Errno> {
        let headed = self.passing.bytes.len();
        let want = if headed < Header::LEN {
            Header::LEN - headed
        } else {
            usize::try_from(self.passing.missing).unwrap_or(READ).min(READ)
        };
        let mut bytes = vec![0; want];
        let mut fds = Vec::new();
        let got = match receive(socket, &mut bytes, &mut fds) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Came::Nothing),
            Ok(0) | Err(Errno::CONNRESET) => {
                self.ended = true;
                self.flush_head();
                let passing = std::mem::take(&mut self.passing);
                return Ok(Came::End((!passing.bytes.is_empty()).then_some(passing)));
            }
            other => other?,
        };
        bytes.truncate(got);
        self.passing.count += fds.len();
        if headed > 0 {
            self.passing.late += fds.len();
        }
        for fd in fds.iter().take(MAX_FDS - self.passing.fds.len().min(MAX_FDS)) {
            self.passing.fds.push(rustix::io::fcntl_dupfd_cloexec(fd, 0)?);
        }
        if headed < Header::LEN {
            self.passing.bytes.extend(&bytes);
            self.head.bytes.append(&mut bytes);
            self.head.fds.append(&mut fds);
            let Some(head) = self.passing.bytes.first_chunk().copied() else {
                return Ok(Came::Part);
            };
            let header = Header::decode(head);
            swap(header, &mut self.head.fds);
            self.flush_head();
            self.passing.missing = header.size.into();
        } else {
            self.passing.missing -= got as u64;
            let room = MAX_BYTES - self.passing.bytes.len().min(MAX_BYTES);
            self.passing.bytes.extend(bytes.iter().take(room));
            self.passing.omitted += got.saturating_sub(room) as u64;
            self.push(Chunk { bytes, fds });
        }
        if self.passing.missing > 0 {
            return Ok(Came::Part);
        }
        Ok(Came::Message(std::mem::take(&mut self.passing)))
    }

    fn flush_head(&mut self) {
        let head = std::mem::take(&mut self.head);
        if !head.bytes.is_empty() {
            self.push(head);
        }
    }

    /// Bytes without descriptors join what waits already.
    fn push(&mut self, mut chunk: Chunk) {
        if self.broken {
            return;
        }
        match self.waiting.back_mut() {
            Some(last) if chunk.fds.is_empty() => last.bytes.append(&mut chunk.bytes),
            _ => self.waiting.push_back(chunk),
        }
    }

    /// Writes what the socket takes.
    ///
    /// # Errors
    /// The socket's, unless its other end is gone: then what waits is dropped.
    pub fn drain(&mut self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        while let Some(chunk) = self.waiting.front_mut() {
            match send(socket, &chunk.bytes, &chunk.fds) {
                Ok(sent) => {
                    chunk.bytes.drain(..sent);
                    chunk.fds.clear();
                    if chunk.bytes.is_empty() {
                        self.waiting.pop_front();
                    }
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => {
                    self.broken = true;
                    self.waiting.clear();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn receive(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let iov = &mut [IoSliceMut::new(bytes)];
    let got = recvmsg(socket, iov, &mut control, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    // There is room for all that one message can bring: what is lost did not fit into our table.
    if got.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Errno::MFILE);
    }
    Ok(got.bytes)
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[OwnedFd]) -> Result<usize, Errno> {
    let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    let rights = SendAncillaryMessage::ScmRights(&fds);
    let mut space = vec![MaybeUninit::uninit(); rights.size()];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(rights) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags)
}
