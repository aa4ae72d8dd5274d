//! Waiting for the end of a process: a descriptor becomes readable with it.
//!
//! **Invariant.** The process is not reaped here, so its id stays its own.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use devmig_reference::socket::Deadline;
use rustix::event::PollFlags;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

/// How often to look where there is no descriptor: too many are open.
const PAUSE: Duration = Duration::from_millis(1);

/// The end of a child.
#[derive(Debug)]
pub(super) struct Ending {
    process: Pid,
    descriptor: Option<OwnedFd>,
}

impl Ending {
    /// Of this child, which was not reaped yet.
    pub(super) fn of(process: Pid) -> Self {
        Ending { process, descriptor: pidfd_open(process, PidfdFlags::empty()).ok() }
    }

    /// Waits for it; false at the deadline.
    pub(super) fn wait(&self, deadline: Deadline) -> bool {
        loop {
            if self.has_come() {
                return true;
            }
            if deadline.passed() {
                return false;
            }
            let waited =
                self.descriptor.as_ref().map(|fd| deadline.wait(fd.as_fd(), PollFlags::IN));
            if !matches!(waited, Some(Ok(_))) {
                deadline.pause(PAUSE);
            }
        }
    }

    fn has_come(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.process), options), Ok(None))
    }
}
