//! The end of a connection, and the next one.

use std::time::Duration;

use devmig_engine::clause::ClauseId;
use devmig_model::protocol::vhost_user::event::Event;
use devmig_model::protocol::vhost_user::vocabulary::Answer;
use devmig_model::protocol::vhost_user::wire::{Flags, Header};

use crate::harness::verdict::TestEnd;
use crate::vhost_user::Deadline;
use crate::vhost_user::session::back_end_channel::BackEndChannel;
use crate::vhost_user::session::{RINGS, Session};

/// Nothing was written where there is neither a ring nor a buffer.
pub(in super::super) fn strays(s: &mut Session<'_>) -> Result<(), TestEnd> {
    let Some(at) = s.driver.stray()? else { return Ok(()) };
    let observed = format!("guest memory at {at:#x} was written, outside of every buffer");
    s.conversation.unexpected(ClauseId::NONE, &observed)
}

/// The conversation ends, and another begins.
pub(super) fn again(s: &mut Session<'_>) -> Result<(), TestEnd> {
    s.link.hang_up(s.limits.quiet)?;
    fresh(s)?;
    s.conversation.begin_again();
    Ok(())
}

/// The conversation ends, and another begins: with the same process, if that serves front-ends one after
/// the other.
pub(super) fn again_here(s: &mut Session<'_>) -> Result<(), TestEnd> {
    let question =
        s.machine().table.messages.iter().find(|def| def.answer == Some(Answer::Features));
    let question = question.map(|def| Header { request: def.id, flags: Flags::request(), size: 0 });
    if question.is_some_and(|question| s.link.reconnect_here(question, s.limits)) {
        begin(s);
        s.conversation.begin_again();
        return Ok(());
    }
    again(s)
}

/// A fresh connection, over which nothing was said yet.
fn fresh(s: &mut Session<'_>) -> Result<(), TestEnd> {
    s.link.reconnect(s.limits.connect)?;
    begin(s);
    Ok(())
}

/// Nothing was said yet over this connection.
fn begin(s: &mut Session<'_>) {
    s.negotiation.begin_again();
    s.transfer.begin_again();
    s.back_end_channel = BackEndChannel::default();
    s.tracking.forget();
    s.conversation.note("-- a new connection");
}

/// The same guest, over a fresh connection.
pub(super) fn reconnect(s: &mut Session<'_>) -> Result<(), TestEnd> {
    again(s)?;
    same_guest(s)
}

/// The same guest, over a fresh connection to the process that served the last one.
pub(super) fn same_server(s: &mut Session<'_>) -> Result<(), TestEnd> {
    s.link.reconnect_to_same(s.limits.quiet.saturating_mul(5))?;
    begin(s);
    s.conversation.begin_again();
    same_guest(s)
}

/// The rings as the guest has them: what was completed, and what waits.
fn same_guest(s: &mut Session<'_>) -> Result<(), TestEnd> {
    for ring in 0..s.driver.rings() {
        let line = s.driver.line(ring)?;
        let (index, waiting) = (line.ring.next_used(), line.owed());
        s.did(&Event::Renew { ring, index })?;
        (0..waiting).try_for_each(|_| s.did(&Event::Available { ring }))?;
        // A kick that the last conversation left over would start the ring of this one.
        s.driver.forget_kick(ring)?;
    }
    Ok(())
}

/// A fresh connection, and a guest that boots anew, with memory of its own: until it notices that the
/// last conversation is over, a back-end may still write to what it was given in it.
pub(super) fn serves(s: &mut Session<'_>) -> Result<(), TestEnd> {
    again_here(s)?;
    strays(s)?;
    s.driver.reboot()?;
    for ring in 0..s.driver.rings() {
        s.did(&Event::Renew { ring, index: 0 })?;
    }
    s.negotiation.bases = [0; RINGS];
    Ok(())
}

/// The back-end dies with requests in flight, and another takes its place with the same memory.
pub(super) fn crash(s: &mut Session<'_>) -> Result<(), TestEnd> {
    s.read_all()?;
    s.link.hang_up(s.limits.quiet)?;
    // What it still had in hand is its own; the next one begins after that.
    let deadline = Deadline::after(s.limits.quiet);
    while !deadline.passed() {
        s.used()?;
        std::thread::sleep(Duration::from_millis(1));
    }
    fresh(s)?;
    s.did(&Event::Successor { died: true })?;
    (0..s.driver.rings()).try_for_each(|ring| s.driver.forget_kick(ring))
}
