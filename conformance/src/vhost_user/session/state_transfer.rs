//! The channel through which a back-end's state is saved or loaded.
//!
//! **Invariants.** The bytes are opaque. At most [`MAX_STATE`] of them are kept; every wait has a limit.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use devmig_model::protocol::vhost_user::wire::Transfer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::harness::verdict::TestEnd;
use crate::vhost_user::Deadline;

/// The most bytes of device state that are kept.
const MAX_STATE: usize = 64 << 20;
/// Less than a channel holds at a time.
const LITTLE: usize = 4096;
/// More than that, whatever the kernel gives a pipe.
const MUCH: usize = 2 << 20;

/// A transfer, and the state.
#[derive(Default)]
pub(super) struct StateTransfer {
    channel: Option<OwnedFd>,
    state: Vec<u8>,
    ended: bool,
    /// The answer that begins the transfer was seen.
    answered: bool,
}

impl StateTransfer {
    /// A fresh connection: the state is kept.
    pub(super) fn begin_again(&mut self) {
        *self = StateTransfer { state: std::mem::take(&mut self.state), ..Self::default() };
    }

    /// A new channel, and the end of it that the back-end gets.
    pub(super) fn open(&mut self, direction: u32) -> Result<OwnedFd, TestEnd> {
        let pipe = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK);
        let (reader, writer) = pipe.map_err(TestEnd::harness)?;
        let (ours, theirs) =
            if direction == Transfer::SAVE { (reader, writer) } else { (writer, reader) };
        // The back-end gets a channel that blocks, as a pipe does that nobody prepared.
        rustix::io::ioctl_fionbio(&theirs, false).map_err(TestEnd::harness)?;
        self.channel = Some(ours);
        (self.ended, self.answered) = (false, false);
        if direction == Transfer::SAVE {
            self.state.clear();
        }
        Ok(theirs)
    }

    /// The transfer has begun, through the back-end's own channel if it brings one.
    /// Reading and writing it never waits, whatever it is.
    pub(super) fn begin(&mut self, own: Option<OwnedFd>) -> Result<(), TestEnd> {
        self.answered = true;
        if let Some(own) = own {
            let flags = fcntl_getfl(&own).map_err(TestEnd::harness)?;
            fcntl_setfl(&own, flags | OFlags::NONBLOCK).map_err(TestEnd::harness)?;
            self.channel = Some(own);
        }
        Ok(())
    }

    pub(super) fn is_open(&self) -> bool {
        self.channel.is_some()
    }

    /// For waiting: the channel, if its reading end is ours and its end was not read.
    pub(super) fn reads(&self) -> Option<BorrowedFd<'_>> {
        let reads = |fd: &&OwnedFd| fcntl_getfl(fd).is_ok_and(|f| !f.contains(OFlags::WRONLY));
        self.channel.as_ref().filter(reads).filter(|_| !self.ended).map(AsFd::as_fd)
    }

    /// Reads what the channel has.
    pub(super) fn read(&mut self) -> Result<(), TestEnd> {
        let Some(channel) = self.channel.as_ref().filter(|_| !self.ended) else { return Ok(()) };
        let mut piece = vec![0; 1 << 16];
        loop {
            match rustix::io::read(channel, &mut piece[..]) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(());
                }
                Ok(n) => self.state.extend(piece.iter().take(n)),
                Err(Errno::INTR) => {}
                // Nothing now; or this is the writing end.
                Err(Errno::AGAIN | Errno::BADF) => return Ok(()),
                Err(error) => return Err(TestEnd::harness(error)),
            }
            if self.state.len() > MAX_STATE {
                let why = format!("more than {MAX_STATE} bytes of device state");
                return Err(TestEnd::Harness(why));
            }
        }
    }

    /// Closes the channel if the whole state was read. Its end follows the answer that began the
    /// transfer, whichever is seen first.
    pub(super) fn finish(&mut self) -> Option<usize> {
        if !self.ended || !self.answered {
            return None;
        }
        (self.ended, self.answered, self.channel) = (false, false, None);
        Some(self.state.len())
    }

    /// Writes the state, and its end.
    ///
    /// # Errors
    /// [`TestEnd::Harness`]. How much was not read in time comes back as text.
    pub(super) fn write(&mut self, limit: Duration) -> Result<Result<(), String>, TestEnd> {
        let deadline = Deadline::after(limit);
        let state = std::mem::take(&mut self.state);
        let mut rest = state.as_slice();
        let Some(channel) = self.channel.take() else {
            return Err(TestEnd::Harness("there is no state channel".into()));
        };
        while !rest.is_empty() {
            match rustix::io::write(&channel, rest) {
                Ok(n) => rest = rest.get(n..).unwrap_or_default(),
                Err(Errno::AGAIN) if !deadline.passed() => wait(&channel)?,
                Err(Errno::INTR) => {}
                // A reader that has seen enough says so in its answer to CHECK_DEVICE_STATE.
                Err(Errno::PIPE) => break,
                Err(Errno::AGAIN) => {
                    let (left, all) = (rest.len(), state.len());
                    let unread =
                        format!("{left} of {all} bytes of state were not read in {limit:?}");
                    return Ok(Err(unread));
                }
                Err(error) => return Err(TestEnd::harness(error)),
            }
        }
        Ok(Ok(()))
    }

    /// Bytes that are no state of any device: a fixed function of the seed.
    pub(super) fn fill_with_garbage(&mut self, seed: u64, much: bool) {
        let mut x = seed | 1;
        let byte = |_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        };
        self.state = (0..if much { MUCH } else { LITTLE }).map(byte).collect();
    }
}

/// Waits a little, or until the channel takes something.
fn wait(channel: &OwnedFd) -> Result<(), TestEnd> {
    let limit = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    match poll(&mut [PollFd::new(channel, PollFlags::OUT)], Some(&limit)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(TestEnd::harness(error)),
    }
}
