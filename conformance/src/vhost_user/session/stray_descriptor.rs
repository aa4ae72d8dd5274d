//! A descriptor that comes with a message which has none: it must not stay open.

use super::*;

/// A descriptor of which the other end is watched.
#[derive(Default)]
pub(super) struct Stray {
    /// The next message brings it.
    next: bool,
    /// This end of it, once it was sent.
    sent: Option<OwnedFd>,
}

impl Session<'_> {
    /// The next message brings a descriptor that it has no use for.
    pub(super) fn stray(&mut self) {
        self.stray.next = true;
    }

    /// The descriptor that this message brings besides its own.
    pub(super) fn stray_descriptor(&mut self) -> Result<Option<OwnedFd>, TestEnd> {
        if !std::mem::take(&mut self.stray.next) {
            return Ok(None);
        }
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(harness)?;
        self.stray.sent = Some(ours);
        Ok(Some(theirs))
    }

    /// The back-end holds it no more: nobody has the other end.
    pub(super) fn closed(&mut self) -> Result<(), TestEnd> {
        self.read_all()?;
        let Some(ours) = self.stray.sent.take() else { return Ok(()) };
        let deadline = Deadline::after(self.limits.owed);
        while !deadline.passed() {
            let mut fds = [PollFd::new(&ours, PollFlags::IN)];
            match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 1_000_000 })) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(harness(error)),
            }
            if fds.iter().any(|fd| fd.revents().contains(PollFlags::HUP)) {
                return Ok(());
            }
            self.sample()?;
        }
        let observed = format!("the descriptor is still open after {:?}", self.limits.owed);
        self.finding(ClauseId::NONE, &observed)
    }
}
