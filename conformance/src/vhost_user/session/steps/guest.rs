//! The guest's side: requests that become available, and a driver that harms itself.

use devmig_engine::machine::TimeClass;
use devmig_model::protocol::vhost_user::event::Event as Seen;

use crate::harness::verdict::TestEnd;
use crate::vhost_user::Deadline;
use crate::vhost_user::event::Event;
use crate::vhost_user::hostile::Hostile;
use crate::vhost_user::session::Session;
use crate::vhost_user::session::driver::Line;

/// Requests at once of a device to which they come back in another ring.
const MOST_TWICE: u16 = 5;

/// Makes requests available. What must wait for an answer is not sent before it: a ring that does not
/// run yet, or no more, carries fewer requests than asked for.
pub(super) fn requests(s: &mut Session<'_>, count: u16, kick: bool) -> Result<(), TestEnd> {
    let ring = s.driver.request_ring()?;
    s.read_all()?;
    s.clear_log()?;
    s.driver.watch_replaced()?;
    // What is sent comes back in another ring: each request is one of two rings, and what is possible
    // grows with their product.
    let count = if s.driven().has_outside { count.min(MOST_TWICE) } else { count };
    for _ in 0..count {
        if s.driver.waits() {
            s.settle(TimeClass::Io)?;
            if s.driver.line(ring)?.ring.outstanding() > 0 {
                break;
            }
        }
        s.driver.request(ring)?;
        s.did(&Seen::Available { ring })?;
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

/// The driver of a device that was reset sets its rings up again, from their first entry on.
pub(super) fn rings_anew(s: &mut Session<'_>) -> Result<(), TestEnd> {
    s.read_all()?;
    s.driver.begin_again();
    (0..s.driver.rings()).try_for_each(|ring| s.renew(ring, 0))
}

/// The driver has new call descriptors. What was called so far is seen first.
pub(super) fn fresh_calls(s: &mut Session<'_>) -> Result<(), TestEnd> {
    s.read_all()?;
    s.sample()?;
    s.driver.lines.iter_mut().try_for_each(Line::replace_call)
}

/// The driver has new kick descriptors. A kick that nobody read is lost with the old one.
pub(super) fn fresh_kicks(s: &mut Session<'_>) -> Result<(), TestEnd> {
    s.read_all()?;
    for ring in 0..s.driver.rings() {
        s.driver.forget_kick(ring)?;
        s.driver.line_mut(ring)?.ring.kick = Event::new().map_err(TestEnd::harness)?;
    }
    Ok(())
}

/// The guest makes a chain available that no driver makes.
pub(super) fn hostile(s: &mut Session<'_>, kind: Hostile) -> Result<(), TestEnd> {
    let ring = s.driver.request_ring()?;
    s.read_all()?;
    s.driver.hostile(ring, kind)?;
    s.did(&Seen::RunAhead { ring })?;
    s.kick(ring, false)
}

/// The guest writes an index that is further ahead than the ring is long.
pub(super) fn corrupt(s: &mut Session<'_>) -> Result<(), TestEnd> {
    let ring = s.driver.request_ring()?;
    s.read_all()?;
    s.driver.corrupt(ring)?;
    s.did(&Seen::RunAhead { ring })?;
    s.kick(ring, false)
}
