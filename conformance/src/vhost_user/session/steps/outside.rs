//! The device's outside: what is sent there comes back, and what the device is told has its effect.

use devmig_model::protocol::vhost_user::event::Event;

use crate::harness::io::virtio::outside::{Command, To, Unable};
use crate::harness::verdict::TestEnd;
use crate::vhost_user::Deadline;
use crate::vhost_user::session::Session;
use crate::vhost_user::transport::{Connection, ReceiveError};

/// Room for so many in every ring that something can come through.
pub(super) fn room(s: &mut Session<'_>, count: u16) -> Result<(), TestEnd> {
    let mut chains = Vec::new();
    for ring in s.outside()?.receives() {
        for _ in 0..count {
            chains.push((ring, s.outside()?.room(ring).map_err(unable)?));
        }
    }
    s.offer(chains)
}

/// So many are sent, from the ring of a pair.
pub(super) fn send(s: &mut Session<'_>, count: u16, to: To, pair: u8) -> Result<(), TestEnd> {
    let ring = s.outside()?.sends(pair);
    let discarded = s.is_disabled(ring)?;
    let mut chains = Vec::new();
    for _ in 0..count {
        let (ring, sent) = s.outside()?.send(to, pair, discarded).map_err(unable)?;
        chains.extend(sent.into_iter().map(|chain| (ring, chain)));
    }
    s.offer(chains)
}

/// The device is told something.
pub(super) fn tell(s: &mut Session<'_>, command: Command) -> Result<(), TestEnd> {
    let (ring, chains) = s.outside()?.tell(command).map_err(unable)?;
    s.offer(chains.into_iter().map(|chain| (ring, chain)).collect())
}

/// Has the configuration space changed, and waits until it is.
pub(super) fn change(s: &mut Session<'_>) -> Result<(), TestEnd> {
    let Some(outside) = s.outside else {
        let why = "needs a way to change the device from outside: see --outside";
        return Err(TestEnd::Skip(why.into()));
    };
    s.read_all()?;
    let path = outside.replace("{socket}", &s.link.socket()?.to_string_lossy());
    s.did(&Event::Changed)?;
    let deadline = Deadline::after(s.limits.owed);
    let mut caller = Connection::connect(path.as_ref(), deadline).map_err(TestEnd::harness)?;
    match caller.receive(deadline) {
        Err(ReceiveError::Closed { after: 0 }) => Ok(()),
        other => Err(TestEnd::Harness(format!("{path} does not close the connection: {other:?}"))),
    }
}

fn unable(error: Unable) -> TestEnd {
    match error {
        Unable::Lacks(_) => TestEnd::Skip(error.to_string()),
        other => TestEnd::harness(other),
    }
}
