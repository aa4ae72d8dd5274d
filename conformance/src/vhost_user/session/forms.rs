//! Malformed messages, one after the other.
//!
//! **Invariants.** Each is sent over a connection that was negotiated; one that the back-end has
//! closed, or whose stream makes no sense any more, is followed by a fresh one. What it says is read
//! and not judged; that it dies is a finding.

use super::*;
use crate::vhost_user::forms::{Case, Fds, Form};

/// How long a back-end may take to close after a malformed message before the next is sent.
const BRIEFLY: Duration = Duration::from_millis(3);

impl Session<'_> {
    pub(super) fn forms(&mut self, form: Form) -> Result<(), TestEnd> {
        let region = self.memory.regions().next().unwrap_or_default();
        let region = [region.guest_address, region.size, region.user_address, region.mmap_offset];
        let cases = form.cases(&self.machine.table, region);
        // Guest memory goes along as a log or a record too: what is written there then is no stray.
        self.untouched = [(0, 0); 2];
        // Whoever dies of one closes its socket by that: there is no need to wait long for each.
        let quiet = self.limits.quiet;
        self.limits.quiet /= 2;
        let done = self.one_by_one(&cases);
        self.limits.quiet = quiet;
        done
    }

    fn one_by_one(&mut self, cases: &[Case]) -> Result<(), TestEnd> {
        for case in cases {
            if self.connection.is_none() {
                self.again()?;
                self.negotiate()?;
            }
            self.log.push(format!("-> {}", case.what));
            self.malformed_case(case)?;
            if case.derails {
                self.connection = None;
            }
        }
        Ok(())
    }

    /// What a front-end does before anything else.
    fn negotiate(&mut self) -> Result<(), TestEnd> {
        let steps = [
            ("GET_FEATURES", Number::Literal(0)),
            ("GET_PROTOCOL_FEATURES", Number::Literal(0)),
            ("SET_PROTOCOL_FEATURES", Number::ProtocolOffered),
            ("SET_OWNER", Number::Literal(0)),
            ("SET_FEATURES", Number::Offered),
        ];
        for (name, number) in steps {
            if let Some(id) = self.machine.table.named(name) {
                self.send(id, 0, number)?;
            }
        }
        Ok(())
    }

    fn malformed_case(&mut self, case: &Case) -> Result<(), TestEnd> {
        let deadline = Deadline::after(self.limits.quiet);
        let fds = self.bad_descriptors(case.fds)?;
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        let Some(connection) = &mut self.connection else { return Ok(()) };
        match connection.send_raw(&case.bytes, &fds, deadline) {
            Ok(()) => {}
            Err(SendError::Closed { .. } | SendError::Timeout { .. }) => {
                self.connection = None;
                return Ok(());
            }
            Err(error) => return Err(harness(error)),
        }
        let deadline = Deadline::after(BRIEFLY);
        loop {
            let Some(connection) = &mut self.connection else { return Ok(()) };
            match connection.receive(deadline) {
                Ok(_) if !deadline.passed() => {}
                Ok(_) | Err(ReceiveError::Timeout { .. }) => return Ok(()),
                Err(error) => {
                    self.log.push(format!("<- {error}"));
                    self.connection = None;
                }
            }
        }
    }

    fn bad_descriptors(&self, fds: Fds) -> Result<Vec<OwnedFd>, TestEnd> {
        let memory = || self.memory.descriptor().try_clone_to_owned().map_err(harness);
        Ok(match fds {
            Fds::Memory(count) => (0..count).map(|_| memory()).collect::<Result<_, _>>()?,
            Fds::ClosedPipe => {
                let (_, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(harness)?;
                vec![writer]
            }
            Fds::ReadOnly => {
                let number = std::os::fd::AsRawFd::as_raw_fd(&self.memory.descriptor());
                let file = std::fs::File::open(format!("/proc/self/fd/{number}"));
                vec![file.map_err(harness)?.into()]
            }
            Fds::OnePage => {
                let file = tempfile::tempfile().map_err(harness)?;
                file.set_len(PAGE).map_err(harness)?;
                vec![file.into()]
            }
            Fds::Directory => vec![std::fs::File::open("/").map_err(harness)?.into()],
        })
    }
}
