//! A ring is stopped while requests are processed, at a moment that is looked for.
//!
//! ```text
//!   requests, kick, --delay--> GET_VRING_BASE     used before, base in the answer
//!        ^                                                |
//!        +--- restart <--- a longer or a shorter delay <--+  none was done: too early; all: too late
//! ```
//!
//! How long requests take is the back-end's, and differs by powers of ten; so the delay is halved in
//! between, from attempt to attempt, until requests are caught in flight. What becomes of them is judged
//! as everything is: at the answer, shortly after it, and when the ring goes on.
//!
//! **Invariant.** The number of attempts is bounded, and so is their time: no attempt begins after twice the
//! time that a request may take.

use std::time::Duration;

use devmig_engine::clause::ClauseId;
use devmig_engine::machine::TimeClass;
use devmig_model::protocol::vhost_user::event::{Event, MessageId};
use devmig_model::protocol::vhost_user::program::Number;
use devmig_model::protocol::vhost_user::table::MessageDef;
use devmig_model::protocol::vhost_user::vocabulary::{Answer, Effect};

use super::guest;
use crate::harness::verdict::TestEnd;
use crate::vhost_user::Deadline;
use crate::vhost_user::session::Session;
use crate::vhost_user::session::driver::DelayedKick;

/// Attempts at the most.
const ATTEMPTS: u32 = 24;
/// With requests in flight, so often.
const HITS: u32 = 4;
/// As many that cannot be made earlier, all of them too late, exclude the race.
const EXCLUDED: u32 = 4;
/// The longest delay, in nanoseconds.
const LONGEST: u64 = 4_000_000;

/// Stops amid so many requests.
pub(super) fn take(s: &mut Session<'_>, count: u16) -> Result<(), TestEnd> {
    let ring = s.driver.request_ring()?;
    let (mut early, mut late, mut delay) = (0, LONGEST, 0);
    let (mut hits, mut at_once) = (0_u32, 0_u32);
    let deadline = Deadline::after(s.limits.owed.saturating_mul(2));
    for attempt in 0..ATTEMPTS {
        if deadline.passed() {
            break;
        }
        let (begin, used, base) = stop(s, ring, count, Duration::from_nanos(delay))?;
        if s.conversation.is_unspecified() {
            return Ok(());
        }
        restart(s, ring)?;
        if s.driver.line(ring)?.ring.outstanding() > 0 {
            // Nothing is owed, but it may still come: the next attempt needs the descriptors.
            s.settle(TimeClass::Io)?;
        }
        if s.driver.line(ring)?.ring.outstanding() > 0 {
            break;
        }
        let (before, all) = (used.wrapping_sub(begin), base.wrapping_sub(begin));
        if before < all {
            hits = hits.saturating_add(1);
            // Around it: the window is not always in the same place.
            let around = u64::from(attempt % 5).saturating_mul(20).saturating_add(60);
            delay = delay.saturating_mul(around) / 100;
        } else if before == 0 {
            early = delay;
            delay = delay.saturating_add(late).div_ceil(2);
        } else {
            at_once = if delay == 0 { at_once.saturating_add(1) } else { 0 };
            late = delay;
            delay = early.saturating_add(delay) / 2;
        }
        if late.saturating_sub(early) < 2_000 {
            (early, late) = (0, LONGEST.min(late.saturating_mul(4).saturating_add(20_000)));
        }
        if hits == HITS || at_once == EXCLUDED {
            break;
        }
    }
    s.conversation.note(format!("stopped amid requests {hits} times"));
    Ok(())
}

/// Every request has come back. Whether a back-end may drop what is in flight at a stop is a choice by
/// some versions of the text; a guest whose requests are dropped is the worse for it by all of them.
pub(super) fn none_lost(s: &mut Session<'_>) -> Result<(), TestEnd> {
    let ring = s.driver.request_ring()?;
    let lost = s.driver.line(ring)?.ring.outstanding();
    if lost == 0 || s.conversation.is_unspecified() || !s.link.is_open() {
        return Ok(());
    }
    let observed = format!("{lost} requests that were in flight at a stop never come back");
    Err(s.conversation.wrong(ClauseId::NONE, &observed, vec!["every request comes back".into()]))
}

/// Stops the ring so long after the kick. Where it was before, what was used just before the stop, and the
/// base in the answer.
fn stop(
    s: &mut Session<'_>,
    ring: u8,
    count: u16,
    before: Duration,
) -> Result<(u16, u16, u16), TestEnd> {
    guest::requests(s, count, false)?;
    let begin = s.driver.line(ring)?.ring.next_used();
    s.did(&Event::Kick { ring, front_end: false })?;
    s.driver.delayed_kick = Some(DelayedKick { ring, before });
    message(s, ring, |def| def.answer == Some(Answer::Base), Number::Literal(0))?;
    let used = s.driver.used_at_stop.unwrap_or(begin);
    let base = s.negotiation.bases.get(usize::from(ring)).copied().unwrap_or(begin);
    // What comes now came after the answer.
    let deadline = Deadline::after(s.limits.quiet.div_f32(8.0));
    while !deadline.passed() {
        s.sample()?;
        s.pause()?;
    }
    Ok((begin, used, base))
}

/// The ring goes on where it was stopped, and all that waits comes back.
fn restart(s: &mut Session<'_>, ring: u8) -> Result<(), TestEnd> {
    for (effect, number) in [
        (Effect::SetSize, Number::Literal(0)),
        (Effect::SetBase, Number::Saved),
        (Effect::SetAddresses, Number::Literal(0)),
        (Effect::SetCall, Number::Literal(0)),
        (Effect::SetKick, Number::Literal(0)),
    ] {
        message(s, ring, |def| def.has(effect), number)?;
    }
    s.kick(ring, true)?;
    s.completed()
}

/// Sends the message of which this is true.
fn message(
    s: &mut Session<'_>,
    ring: u8,
    is: impl Fn(&MessageDef) -> bool,
    number: Number,
) -> Result<(), TestEnd> {
    match s.machine().table.messages.iter().position(is) {
        Some(index) => s.send(MessageId(index as u8), ring, number),
        None => Err(TestEnd::Harness("the table has no such message".into())),
    }
}
