//! Kick and call: a counter that the other side sees become readable.
//!
//! The descriptor's open file is shared with the peer, which may clear its non-blocking flag. So
//! every use looks first whether it would block, and does not rely on the flag.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::io::Errno;

use super::Deadline;

/// An eventfd shared with a peer.
#[derive(Debug)]
pub struct Event(OwnedFd);

impl From<OwnedFd> for Event {
    /// A descriptor that a peer has sent, which need not be an eventfd.
    fn from(fd: OwnedFd) -> Self {
        Event(fd)
    }
}

impl Event {
    /// A counter at 0.
    ///
    /// # Errors
    /// The kernel's, e.g. when descriptors have run out.
    pub fn new() -> Result<Self, Errno> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Event)
    }

    /// Adds 1. A counter that the peer has filled up is readable anyhow, and left alone.
    ///
    /// # Errors
    /// The kernel's.
    pub fn signal(&self) -> Result<(), Errno> {
        if !Deadline::now().wait(self.as_fd(), PollFlags::OUT)? {
            return Ok(());
        }
        match rustix::io::write(self, &1_u64.to_ne_bytes()) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes what has been added since the last time: 0 for nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take(&self) -> Result<u64, Errno> {
        if !Deadline::now().wait(self.as_fd(), PollFlags::IN)? {
            return Ok(0);
        }
        let mut count = [0; 8];
        match rustix::io::read(self, &mut count) {
            Ok(_) => Ok(u64::from_ne_bytes(count)),
            Err(Errno::AGAIN) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Waits until something was added, without taking it. `false` at the deadline.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait(&self, deadline: Deadline) -> Result<bool, Errno> {
        deadline.wait(self.as_fd(), PollFlags::IN)
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{OFlags, fcntl_setfl};

    #[test]
    fn a_count_is_taken_once() {
        let event = Event::new().unwrap();
        assert_eq!(event.take(), Ok(0));
        event.signal().unwrap();
        event.signal().unwrap();
        assert_eq!(event.wait(Deadline::now()), Ok(true));
        assert_eq!((event.take(), event.take()), (Ok(2), Ok(0)));
    }

    #[test]
    fn a_peer_that_fills_the_counter_or_makes_it_block_stops_nobody() {
        let event = Event::new().unwrap();
        let theirs = event.as_fd().try_clone_to_owned().unwrap();
        rustix::io::write(&theirs, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        fcntl_setfl(&theirs, OFlags::empty()).unwrap();
        event.signal().unwrap();
        assert_eq!(event.take(), Ok(u64::MAX - 1));
        assert_eq!(event.take(), Ok(0));
    }
}
