//! The guest's side: requests that become available, and a driver that harms itself.

use devmig_engine::machine::TimeClass;
use devmig_model::protocol::vhost_user::event::Event;

use crate::harness::verdict::TestEnd;
use crate::vhost_user::Deadline;
use crate::vhost_user::session::Session;

/// Requests at once of a device to which they come back in another ring.
const MOST_TWICE: u16 = 5;

/// Makes requests available. What must wait for an answer is not sent before it: a ring that does not
/// run yet, or no more, carries fewer requests than asked for.
pub(super) fn requests(s: &mut Session<'_>, count: u16, kick: bool) -> Result<(), TestEnd> {
    let ring = s.driver.request_ring()?;
    s.read_all()?;
    s.tracking.clear()?;
    // What is sent comes back in another ring: each request is one of two rings, and what is possible
    // grows with their product.
    let count = if s.has_outside() { count.min(MOST_TWICE) } else { count };
    for _ in 0..count {
        if s.driver.waits() {
            s.settle(TimeClass::Io)?;
            if s.driver.line(ring)?.ring.outstanding() > 0 {
                break;
            }
        }
        s.driver.request(ring)?;
        s.did(&Event::Available { ring })?;
        if kick && s.driver.waits() {
            s.kick(ring, false)?;
        }
    }
    let wanted = s.driver.line_mut(ring)?.ring.wants_kick().map_err(TestEnd::harness)?;
    if kick && wanted { s.kick(ring, false) } else { Ok(()) }
}

/// Waits until something came back, for as long as a request may take.
pub(super) fn first(s: &mut Session<'_>) -> Result<(), TestEnd> {
    let deadline = Deadline::after(s.limits.owed);
    let before = s.driver.completed;
    while s.driver.completed == before && !s.conversation.is_unspecified() {
        if deadline.passed() {
            return s.settle(TimeClass::Io);
        }
        s.sample()?;
    }
    Ok(())
}

/// The driver wants to be notified of what comes back, or not to be.
pub(super) fn interrupts(s: &mut Session<'_>, on: bool) -> Result<(), TestEnd> {
    let ring = s.driver.request_ring()?;
    s.driver.line(ring)?.ring.interrupts(on).map_err(TestEnd::harness)
}

/// The guest writes an index that is further ahead than the ring is long.
pub(super) fn corrupt(s: &mut Session<'_>) -> Result<(), TestEnd> {
    let ring = s.driver.request_ring()?;
    s.read_all()?;
    s.driver.corrupt(ring)?;
    s.did(&Event::RunAhead { ring })?;
    s.kick(ring, false)
}
