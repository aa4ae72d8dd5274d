//! The connection to a back-end, and how bytes go over it: whole, in pieces, or several messages at once.
//!
//! **Invariants.** Every wait has a limit. What comes is handed on as it came, and not judged here.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use devmig_model::protocol::vhost_user::wire::Header;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::harness::io::process::{Remains, words};
use crate::harness::io::target::{Live, Target, TargetError};
use crate::harness::verdict::TestEnd;
use crate::vhost_user::Deadline;
use crate::vhost_user::session::Limits;
use crate::vhost_user::transport::{Connection, ReceiveError, Received, SendError};

/// Between two pieces of a message.
const BETWEEN: Duration = Duration::from_micros(20);
/// A little while.
const BRIEFLY: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

/// How soon a process that serves one connection after the other replies over the second one.
const SOON: Duration = Duration::from_millis(500);

/// The part of a message that a piece cuts in two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Header,
    Payload,
}

/// Which part of a message is cut in two by a piece that ends there.
fn cut(at: usize) -> Option<Part> {
    match at {
        0 | Header::LEN => None,
        _ if at < Header::LEN => Some(Part::Header),
        _ => Some(Part::Payload),
    }
}

/// What became of bytes that were to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// They are on their way, or wait to be written with others.
    Done,
    /// There is no connection.
    NotConnected,
    /// The back-end has closed.
    Closed,
    /// The back-end does not read: how that shows.
    Blocked(String),
}

/// Messages that wait to be written together, and the descriptors of the first.
#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// A descriptor that comes with a message which has none, and of which the other end is watched.
#[derive(Default)]
struct Stray {
    /// The next message brings it.
    next: bool,
    /// This end of it, once it was sent.
    sent: Option<OwnedFd>,
}

/// The connection.
pub(super) struct Link<'m> {
    target: &'m Target,
    live: Live,
    connection: Option<Connection>,
    /// The back-end has closed it.
    lost: bool,
    /// It has, and may not.
    dying: bool,
    held: Option<Held>,
    /// Messages are sent in pieces of so many bytes; 0: whole.
    pieces: usize,
    /// How long the back-end has before the piece that is the first to cut a header or a payload.
    apart: Duration,
    /// Parts of which none was cut yet.
    whole: Vec<Part>,
    /// The implementation was not talked to before.
    first: bool,
    /// The process has served another connection.
    same: bool,
    /// It has said something over a further one: accepting it is what the kernel does.
    served_again: bool,
    /// The process accepts a second connection, and says nothing there.
    serves_once: bool,
    stray: Stray,
}

impl<'m> Link<'m> {
    /// Connects. `first` is false if the implementation was talked to before.
    pub(super) fn new(target: &'m Target, first: bool, limit: Duration) -> Result<Self, TestEnd> {
        let connected = target.connect(first, Deadline::after(limit));
        let (connection, live) = connected.map_err(TargetError::end)?;
        Ok(Link {
            target,
            live,
            connection: Some(connection),
            lost: false,
            dying: false,
            held: None,
            pieces: 0,
            apart: Duration::ZERO,
            whole: Vec::new(),
            first,
            same: false,
            served_again: false,
            serves_once: false,
            stray: Stray::default(),
        })
    }

    /// A fresh connection.
    pub(super) fn reconnect(&mut self, limit: Duration) -> Result<(), TestEnd> {
        let Link { live, connection, .. } = Link::new(self.target, false, limit)?;
        (self.live, self.served_again) = (live, false);
        self.begin(connection);
        Ok(())
    }

    /// Nothing was sent over this connection, and nothing is known of it.
    fn begin(&mut self, connection: Option<Connection>) {
        self.connection = connection;
        self.held = self.held.take().map(|_| Held::default());
        (self.lost, self.first, self.pieces, self.whole) = (false, false, 0, Vec::new());
    }

    /// A fresh connection to the process that served the last one.
    ///
    /// # Errors
    /// [`TestEnd::Skip`] if it serves no other, [`TestEnd::Died`] if it ended as no protocol explains.
    pub(super) fn reconnect_to_same(&mut self, limit: Duration) -> Result<(), TestEnd> {
        self.close();
        let path = self.socket()?.to_path_buf();
        match Connection::connect(&path, Deadline::after(limit)) {
            Ok(connection) => self.begin(Some(connection)),
            Err(_) => return Err(self.serves_no_other(limit)),
        }
        self.same = true;
        Ok(())
    }

    /// Whether this is a further connection to one process.
    pub(super) fn is_further(&self) -> bool {
        self.same
    }

    /// Why the process that served the last connection serves no other.
    pub(super) fn serves_no_other(&mut self, limit: Duration) -> TestEnd {
        match self.hang_up(limit) {
            Err(end) => end,
            Ok(()) if self.served_again => TestEnd::died(
                "the process served a further connection before, and serves none any more",
            ),
            Ok(()) => TestEnd::Skip(
                "needs a back-end that serves a further connection: it serves one only".into(),
            ),
        }
    }

    /// A fresh connection to the same process, if that serves one connection after the other: it replies
    /// to `question`. One that is on its way out may accept the connection and close it unread. Where
    /// this is false, there is no connection.
    pub(super) fn reconnect_here(&mut self, question: Header, limits: Limits) -> bool {
        self.close();
        let process = self.live.process.as_mut().filter(|_| !self.serves_once);
        let connected = process.map(|process| process.connect(Deadline::after(limits.quiet)));
        let Some(Ok(mut connection)) = connected else { return false };
        let limit = Deadline::after(limits.owed.min(SOON));
        let _ = connection.send_raw(&question.encode(), &[], limit);
        match connection.receive(limit) {
            Ok(reply) if reply.header.request == question.request => {
                self.begin(Some(connection));
                return true;
            }
            Err(ReceiveError::Timeout { .. }) => self.serves_once = true,
            _ => {}
        }
        false
    }

    /// The connection to a server that somebody else runs, if a question can be sent over it: nothing is
    /// held back, and messages go whole.
    pub(super) fn for_questions(&mut self) -> Option<&mut Connection> {
        let can = matches!(self.target, Target::Socket(_)) && self.held.is_none();
        self.connection.as_mut().filter(|_| can && self.pieces == 0)
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    pub(super) fn close(&mut self) {
        self.connection = None;
    }

    /// Messages are written together from now on.
    pub(super) fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Messages are sent in pieces of so many bytes from now on; 0: whole.
    pub(super) fn split(&mut self, size: usize, apart: Duration) {
        (self.pieces, self.apart) = (size, apart);
        self.whole = if size > 0 { vec![Part::Header, Part::Payload] } else { Vec::new() };
    }

    /// The parts of the next message that come in pieces, if its payload has so many bytes.
    pub(super) fn cuts(&self, payload: usize) -> Vec<Part> {
        let ends = (1..).map(|n: usize| n.saturating_mul(self.pieces));
        let inside = ends.take_while(|at| *at > 0 && *at < Header::LEN.saturating_add(payload));
        let cut: Vec<Part> = inside.filter_map(cut).collect();
        [Part::Header, Part::Payload].into_iter().filter(|part| cut.contains(part)).collect()
    }

    /// Sends a message, or keeps it to be written with the next ones.
    pub(super) fn send(
        &mut self,
        header: Header,
        payload: &[u8],
        fds: Vec<OwnedFd>,
        limit: Duration,
    ) -> Result<Sent, TestEnd> {
        if self.held.is_none() {
            return self.write(&[&header.encode()[..], payload].concat(), &fds, limit);
        }
        // Descriptors go with the first byte of a write.
        if !fds.is_empty() {
            let before = self.flush(limit)?;
            if before != Sent::Done {
                return Ok(before);
            }
        }
        if let Some(held) = &mut self.held {
            held.bytes.extend(header.encode());
            held.bytes.extend(payload);
            held.fds.extend(fds);
        }
        Ok(Sent::Done)
    }

    /// Writes what waits to be written together.
    pub(super) fn flush(&mut self, limit: Duration) -> Result<Sent, TestEnd> {
        match self.held.as_mut().map(std::mem::take) {
            Some(Held { bytes, fds }) if !bytes.is_empty() => self.write(&bytes, &fds, limit),
            _ => Ok(Sent::Done),
        }
    }

    fn write(&mut self, bytes: &[u8], fds: &[OwnedFd], limit: Duration) -> Result<Sent, TestEnd> {
        let deadline = Deadline::after(limit);
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let Some(connection) = &mut self.connection else { return Ok(Sent::NotConnected) };
        let sent = match self.pieces {
            0 => connection.send_raw(bytes, &fds, deadline),
            size => {
                let (mut fds, mut at) = (&fds[..], 0_usize);
                let (whole, apart) = (&mut self.whole, self.apart);
                bytes.chunks(size).try_for_each(|piece| {
                    // A back-end that reads as it comes sees each piece alone, and those for sure that
                    // are the first to cut a header or a payload.
                    let part = cut(at).and_then(|part| whole.iter().position(|one| *one == part));
                    std::thread::sleep(if part.is_some() { apart } else { BETWEEN });
                    part.map(|part| whole.remove(part));
                    at = at.saturating_add(piece.len());
                    connection.send_raw(piece, std::mem::take(&mut fds), deadline)
                })
            }
        };
        match sent {
            Ok(()) => Ok(Sent::Done),
            Err(SendError::Closed { .. }) => Ok(Sent::Closed),
            Err(error @ SendError::Timeout { .. }) => Ok(Sent::Blocked(error.to_string())),
            Err(error) => Err(TestEnd::harness(error)),
        }
    }

    /// Sends bytes as they are; whether they went.
    pub(super) fn send_raw(
        &mut self,
        bytes: &[u8],
        fds: &[BorrowedFd<'_>],
        limit: Duration,
    ) -> Result<bool, TestEnd> {
        let Some(connection) = &mut self.connection else { return Ok(false) };
        match connection.send_raw(bytes, fds, Deadline::after(limit)) {
            Ok(()) => Ok(true),
            Err(SendError::Closed { .. } | SendError::Timeout { .. }) => Ok(false),
            Err(error) => Err(TestEnd::harness(error)),
        }
    }

    /// The next message, if one comes by then and there is a connection.
    pub(super) fn receive(&mut self, until: Deadline) -> Option<Result<Received, ReceiveError>> {
        let received = self.connection.as_mut().map(|connection| connection.receive(until));
        self.served_again |= self.same && matches!(received, Some(Ok(_)));
        received
    }

    /// Waits a little, or until this connection or another descriptor has something.
    pub(super) fn pause<'f>(
        &'f self,
        others: impl Iterator<Item = BorrowedFd<'f>>,
    ) -> Result<(), TestEnd> {
        let all = self.connection.iter().map(AsFd::as_fd).chain(others);
        let mut fds: Vec<PollFd<'_>> =
            all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match poll(&mut fds, Some(&BRIEFLY)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(TestEnd::harness(error)),
        }
    }

    /// Whether the connection may have been taken by a server on its way out, which then closes it
    /// unread. What came in pieces is another matter: a back-end may close on that.
    pub(super) fn may_be_the_last(&self) -> bool {
        !self.first && self.pieces == 0 && matches!(self.target, Target::Socket(_))
    }

    /// Where the back-end listens.
    pub(super) fn socket(&self) -> Result<&Path, TestEnd> {
        match (self.target, &self.live.process) {
            (Target::Socket(path), _) => Ok(path.as_path()),
            (_, Some(process)) => Ok(process.socket()),
            (_, None) => Err(TestEnd::Harness("there is no process".into())),
        }
    }

    /// The back-end has closed the connection.
    pub(super) fn lose(&mut self) {
        self.close();
        self.lost = true;
    }

    /// It may not: its process is probably on its way out.
    pub(super) fn must_not_close(&mut self) {
        self.dying = true;
    }

    /// Whether its process is probably on its way out.
    pub(super) fn is_dying(&self) -> bool {
        self.dying
    }

    /// Whether the back-end has closed the connection.
    pub(super) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Ends the conversation and, if it does not end so within this limit, the process; and tells what is
    /// left of it.
    pub(super) fn remains(&mut self, limit: Duration) -> Remains {
        self.close();
        Remains::of(self.live.process.as_mut(), limit)
    }

    /// Ends the conversation, and says how the process took it.
    pub(super) fn hang_up(&mut self, limit: Duration) -> Result<(), TestEnd> {
        match self.remains(limit).crash() {
            Some(status) => Err(TestEnd::died(format!("the process ended: {}", words(status)))),
            None => Ok(()),
        }
    }

    /// The next message brings a descriptor that it has no use for.
    pub(super) fn bring_stray(&mut self) {
        self.stray.next = true;
    }

    /// The descriptor that this message brings besides its own.
    pub(super) fn stray(&mut self) -> Result<Option<OwnedFd>, TestEnd> {
        if !std::mem::take(&mut self.stray.next) {
            return Ok(None);
        }
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(TestEnd::harness)?;
        self.stray.sent = Some(ours);
        Ok(Some(theirs))
    }

    /// Waits a little for the back-end to close the stray descriptor; whether it has, or got none.
    pub(super) fn is_stray_closed(&mut self) -> Result<bool, TestEnd> {
        let Some(ours) = &self.stray.sent else { return Ok(true) };
        let mut fds = [PollFd::new(ours, PollFlags::IN)];
        match poll(&mut fds, Some(&BRIEFLY)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(TestEnd::harness(error)),
        }
        let closed = fds.iter().any(|fd| fd.revents().contains(PollFlags::HUP));
        if closed {
            self.stray.sent = None;
        }
        Ok(closed)
    }
}
