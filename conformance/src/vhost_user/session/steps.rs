//! The steps of a test, each a function of a session.

mod amid;
mod announced;
pub(super) mod careful;
pub(super) mod connection;
mod forms;
mod guest;
mod outside;
mod program;
mod state;

use std::time::Duration;

use devmig_engine::clause::ClauseId;
use devmig_engine::machine::TimeClass;
use devmig_model::protocol::vhost_user::program::Number;
use devmig_model::protocol::vhost_user::vocabulary::Answer;

use super::{Session, other_writers};
use crate::harness::io::memory::PAGE;
use crate::harness::verdict::TestEnd;
use crate::vhost_user::Deadline;
use crate::vhost_user::script::Act;

/// Does one step.
pub(super) fn take(s: &mut Session<'_>, act: &Act) -> Result<(), TestEnd> {
    match *act {
        Act::Program(step, which) => program::take(s, step, which),
        Act::Request(count) => guest::requests(s, count, true),
        Act::Publish(count) => guest::requests(s, count, false),
        Act::Settle => s.settle(TimeClass::Io),
        Act::Notified => s.settle(TimeClass::Courtesy),
        Act::Completed => s.completed(),
        Act::Quiet => s.quiet(),
        Act::Silence => s.silence(),
        Act::Pause(micros) => {
            std::thread::sleep(Duration::from_micros(micros.into()));
            Ok(())
        }
        Act::Barrier => s.barrier(),
        Act::Renew(index) => s.renew(s.driver.request_ring()?, index),
        Act::RingsAnew => guest::rings_anew(s),
        Act::RingOf(size) => {
            let ring = s.driver.request_ring()?;
            s.driver.line_mut(ring)?.ring.resize(size).map_err(TestEnd::harness)
        }
        Act::Heed => {
            s.driver.lines.iter_mut().for_each(|line| line.ring.heed());
            Ok(())
        }
        Act::MemoryMoves => {
            s.read_all()?;
            s.driver.memory.move_to_another_file(0).map_err(TestEnd::harness)
        }
        Act::MemoryFurther => {
            s.read_all()?;
            s.driver.memory.move_to_another_file(PAGE).map_err(TestEnd::harness)
        }
        Act::BuffersIn(part) => {
            s.read_all()?;
            s.driver.buffers_in(part.into());
            Ok(())
        }
        Act::Calls => guest::fresh_calls(s),
        Act::Kicks => guest::fresh_kicks(s),
        Act::Anew => {
            s.driver.begin_again();
            Ok(())
        }
        Act::Elsewhere(index) => {
            let ring = s.driver.request_ring()?;
            s.driver.line_mut(ring)?.ring.relocate();
            s.renew(ring, index)
        }
        Act::Room(count) => outside::room(s, count),
        Act::SendOut(count, to, pair) => outside::send(s, count, to, pair.0),
        Act::Tell(command) => outside::tell(s, command),
        Act::Events => {
            s.driver.wants_event_indices = true;
            Ok(())
        }
        Act::InterruptsOn => guest::interrupts(s, true),
        Act::InterruptsOff => guest::interrupts(s, false),
        Act::Stray => {
            s.link.bring_stray();
            Ok(())
        }
        Act::Closed => stray_closed(s),
        Act::Reconnect => connection::reconnect(s),
        Act::SameServer => connection::same_server(s),
        Act::Serves => connection::serves(s),
        Act::NoneLost => amid::none_lost(s),
        Act::Amid(count) => amid::take(s, count),
        Act::First => guest::first(s),
        Act::WriteGarbage | Act::WriteMuchGarbage => {
            s.transfer.fill_with_garbage(s.seed, *act == Act::WriteMuchGarbage);
            state::write(s)
        }
        Act::Unsettled => unsettle(s),
        Act::OthersMark => {
            s.tracking.share();
            Ok(())
        }
        Act::LogFurther => {
            s.tracking.begin_further();
            Ok(())
        }
        Act::LogCleared => s.clear_log(),
        Act::LogUnmarked => log_unmarked(s),
        Act::ConfigPart(size, offset) => config_part(s, size, offset),
        Act::ConfigDiffers => config_differs(s),
        Act::LastQueue => announced::last_queue(s),
        Act::EverySlot => announced::every_slot(s),
        Act::Succeeds => answered(s, true),
        Act::Fails => answered(s, false),
        Act::Forms(form) => forms::all(s, form),
        Act::Pieces(size) => {
            s.link.split(size.into(), s.limits.quiet);
            Ok(())
        }
        Act::Joined => {
            s.link.hold();
            Ok(())
        }
        Act::Change => outside::change(s),
        Act::Break => guest::corrupt(s),
        Act::Hostile(kind) => guest::hostile(s, kind),
        Act::Malformed(kind) => {
            let table = &s.machine().table;
            let id = |name: &str| table.named(name).map_or(0, |id| s.machine().message(id).id);
            forms::malformed(s, &kind.bytes(id))
        }
    }
}

/// The last answer was success, or was not.
fn answered(s: &mut Session<'_>, success: bool) -> Result<(), TestEnd> {
    let Some((id, value)) = s.negotiation.answer else { return Ok(()) };
    let def = s.machine().message(id);
    if def.answer.unwrap_or(Answer::Ack).succeeds(value) == success {
        return Ok(());
    }
    let observed = format!("the reply to {} is {:#x}", def.name, value.0);
    let expected = if success { "success" } else { "an error" };
    Err(s.conversation.wrong(ClauseId::NONE, &observed, vec![expected.to_owned()]))
}

/// Nothing was marked in the log, although the back-end wrote: it is not to be marked any more.
fn log_unmarked(s: &mut Session<'_>) -> Result<(), TestEnd> {
    let Some(page) = s.tracking.first_mark()? else { return Ok(()) };
    let observed = format!("page {page} is marked in the dirty log, although logging is off");
    s.conversation.unexpected(ClauseId::NONE, &observed)
}

/// Reads a part of the configuration space.
fn config_part(s: &mut Session<'_>, size: u16, offset: u16) -> Result<(), TestEnd> {
    let table = &s.machine().table;
    let Some(id) = table.named("GET_CONFIG") else {
        return Err(TestEnd::Harness("the table has no GET_CONFIG".into()));
    };
    s.configuration.offset = offset.into();
    let sent = s.send(id, 0, Number::Literal(size.into()));
    s.configuration.offset = 0;
    sent
}

/// The configuration space is not what it was when it was read before.
fn config_differs(s: &mut Session<'_>) -> Result<(), TestEnd> {
    if s.configuration.differs() != Some(false) {
        return Ok(());
    }
    let observed = "GET_CONFIG returns what it returned before the change";
    s.conversation.finding(ClauseId::NONE, observed, vec!["the configuration as changed".into()])
}

/// The stray descriptor is held no more: nobody has the other end.
fn stray_closed(s: &mut Session<'_>) -> Result<(), TestEnd> {
    s.read_all()?;
    let deadline = Deadline::after(s.limits.owed);
    while !deadline.passed() {
        if s.link.is_stray_closed()? {
            return Ok(());
        }
        s.sample()?;
    }
    let observed = format!("the descriptor is still open after {:?}", s.limits.owed);
    s.conversation.unexpected(ClauseId::NONE, &observed)
}

/// The record says what it said before the request that came back last was taken out of it.
fn unsettle(s: &mut Session<'_>) -> Result<(), TestEnd> {
    let ring = s.driver.request_ring()?;
    let done = other_writers::unsettle(&s.driver, ring, s.tracking.record.as_ref())?;
    if let Err(wrong) = done {
        return s.conversation.unexpected(ClauseId::NONE, &wrong);
    }
    s.conversation.note(format!("record of ring {ring}: the last request is still in it"));
    Ok(())
}
