//! Malformed messages, one alone or one after the other.
//!
//! **Invariants.** Each is sent over a connection that was negotiated; one that the back-end has
//! closed, or whose stream makes no sense any more, is followed by a fresh one. What it says is read
//! and not judged; that it dies is a finding. A process that serves front-ends one after the other gets
//! them all.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use devmig_model::protocol::vhost_user::program::Number;
use rustix::pipe::{PipeFlags, pipe_with};

use super::connection;
use crate::harness::io::memory::PAGE;
use crate::harness::verdict::TestEnd;
use crate::vhost_user::Deadline;
use crate::vhost_user::forms::{Case, Fds, Form};
use crate::vhost_user::malformed::{Bytes, Claim};
use crate::vhost_user::session::Session;
use crate::vhost_user::transport::ReceiveError;

/// How long a back-end may take to close after a malformed message before the next is sent.
const BRIEFLY: Duration = Duration::from_millis(3);

/// One malformed message, and what comes of it.
pub(super) fn malformed(
    s: &mut Session<'_>,
    Bytes { bytes, descriptors, channel, senseless }: &Bytes,
) -> Result<(), TestEnd> {
    s.conversation.note(format!("-> {} malformed bytes", bytes.len()));
    let memory = s.driver.memory.descriptor();
    let mut fds = vec![memory.as_fd(); *descriptors];
    let (_reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(TestEnd::harness)?;
    fds.extend(channel.then_some(writer.as_fd()));
    let acknowledges = s.negotiation.acknowledges(&s.machine().table);
    let senseless = senseless.filter(|said| acknowledges || *said != Claim::Acknowledged);
    s.link.send_raw(bytes, &fds, s.limits.owed)?;
    // Whatever comes now, no text forbids it.
    let deadline = Deadline::after(s.limits.quiet);
    while !deadline.passed() {
        match s.link.receive(Deadline::after(Duration::from_millis(2))) {
            None => break,
            Some(Ok(received)) => {
                s.conversation.note(format!("<- {:?}", received.header));
                if let Some(said) = senseless.filter(|said| said.is_said_by(&received.payload)) {
                    let laws = &s.machine().laws;
                    let (clause, observed) = match said {
                        Claim::Acknowledged => {
                            (laws.ack_value, "it is acknowledged with 0, which means success")
                        }
                        Claim::Transfer => {
                            (laws.transfer_bits, "bits 0 to 7 of the reply are 0: success")
                        }
                        Claim::Succeeded => (
                            laws.check_reports,
                            "it reports success, after a failure of that transfer",
                        ),
                        Claim::Failed => (
                            laws.check_reports,
                            "it reports a failure, after success of that transfer",
                        ),
                    };
                    let number = if said == Claim::Failed { "0" } else { "another number" };
                    let expected = [number, "the connection closes", "no reply"];
                    let expected = expected.map(str::to_owned).to_vec();
                    return s.conversation.finding(clause, observed, expected);
                }
            }
            Some(Err(ReceiveError::Timeout { .. })) => {}
            Some(Err(error)) => {
                s.conversation.note(format!("<- {error}"));
                s.link.close();
            }
        }
    }
    Ok(())
}

/// Every malformed message of a form.
pub(super) fn all(s: &mut Session<'_>, form: Form) -> Result<(), TestEnd> {
    let region = s.driver.part(0);
    let region = [region.guest_address, region.size, region.user_address, region.mmap_offset];
    let cases = form.cases(&s.machine().table, region);
    // Guest memory goes along as a log or a record too: what is written there then is no stray.
    s.driver.ignore_strays();
    // Whoever dies of one closes its socket by that: there is no need to wait long for each.
    let quiet = s.limits.quiet;
    s.limits.quiet = s.limits.quiet.div_f32(2.0);
    let done = one_by_one(s, &cases);
    s.limits.quiet = quiet;
    done
}

fn one_by_one(s: &mut Session<'_>, cases: &[Case]) -> Result<(), TestEnd> {
    for case in cases {
        if !s.link.is_open() {
            connection::again_here(s)?;
            negotiate(s)?;
        }
        s.conversation.note(format!("-> {}", case.what));
        malformed_case(s, case)?;
        if case.derails {
            s.link.close();
        }
    }
    Ok(())
}

/// What a front-end does before anything else.
fn negotiate(s: &mut Session<'_>) -> Result<(), TestEnd> {
    let steps = [
        ("GET_FEATURES", Number::Literal(0)),
        ("GET_PROTOCOL_FEATURES", Number::Literal(0)),
        ("SET_PROTOCOL_FEATURES", Number::ProtocolOffered),
        ("SET_OWNER", Number::Literal(0)),
        ("SET_FEATURES", Number::Offered),
    ];
    for (name, number) in steps {
        if let Some(id) = s.machine().table.named(name) {
            s.send(id, 0, number)?;
        }
    }
    Ok(())
}

fn malformed_case(s: &mut Session<'_>, case: &Case) -> Result<(), TestEnd> {
    let fds = bad_descriptors(s, case.fds)?;
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    if !s.link.send_raw(&case.bytes, &fds, s.limits.quiet)? {
        s.link.close();
    }
    let deadline = Deadline::after(BRIEFLY);
    loop {
        match s.link.receive(deadline) {
            Some(Ok(_)) if !deadline.passed() => {}
            None | Some(Ok(_) | Err(ReceiveError::Timeout { .. })) => return Ok(()),
            Some(Err(error)) => {
                s.conversation.note(format!("<- {error}"));
                s.link.close();
            }
        }
    }
}

fn bad_descriptors(s: &Session<'_>, fds: Fds) -> Result<Vec<OwnedFd>, TestEnd> {
    let file = s.driver.memory.descriptor();
    let memory = || file.as_fd().try_clone_to_owned().map_err(TestEnd::harness);
    Ok(match fds {
        Fds::Memory(count) => (0..count).map(|_| memory()).collect::<Result<_, _>>()?,
        Fds::ClosedPipe => {
            let (_, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(TestEnd::harness)?;
            vec![writer]
        }
        Fds::ReadOnly => {
            let number = s.driver.memory.descriptor().as_raw_fd();
            let file = File::open(format!("/proc/self/fd/{number}"));
            vec![file.map_err(TestEnd::harness)?.into()]
        }
        Fds::OnePage => {
            let file = tempfile::tempfile().map_err(TestEnd::harness)?;
            file.set_len(PAGE).map_err(TestEnd::harness)?;
            vec![file.into()]
        }
        Fds::Directory => vec![File::open("/").map_err(TestEnd::harness)?.into()],
    })
}
