//! A point in time at which waiting ends.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// When a wait gives up. There is no way to wait without one.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// The longest wait, so that no arithmetic overflows.
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    /// This much from now, at most a day.
    #[must_use]
    pub fn after(wait: Duration) -> Self {
        Deadline(Instant::now() + wait.min(Self::LONGEST))
    }

    /// At once: what is there is taken, and nothing is waited for.
    #[must_use]
    pub fn now() -> Self {
        Self::after(Duration::ZERO)
    }

    /// What is left, zero when it has passed.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    #[must_use]
    pub fn passed(self) -> bool {
        self.left().is_zero()
    }

    /// This much from now, or this deadline if it comes first.
    #[must_use]
    pub fn sooner(self, wait: Duration) -> Self {
        Self::after(wait.min(self.left()))
    }

    /// Sleeps for `pause`, or less if the deadline comes first.
    pub fn pause(self, pause: Duration) {
        std::thread::sleep(pause.min(self.left()));
    }

    /// Waits until the descriptor is ready for one of `flags`, has failed or was hung up.
    /// `false` when the deadline came first.
    ///
    /// # Errors
    /// The kernel's.
    pub fn wait(self, fd: BorrowedFd<'_>, flags: PollFlags) -> Result<bool, Errno> {
        loop {
            let left = Timespec::try_from(self.left()).map_err(|_| Errno::INVAL)?;
            match poll(&mut [PollFd::from_borrowed_fd(fd, flags)], Some(&left)) {
                Ok(0) if self.passed() => return Ok(false),
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }
}
