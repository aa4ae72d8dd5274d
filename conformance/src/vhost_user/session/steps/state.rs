//! The back-end's state is read, or written.

use devmig_engine::clause::ClauseId;
use devmig_engine::machine::TimeClass;
use devmig_model::protocol::vhost_user::event::{Event, RingImages};

use crate::harness::verdict::TestEnd;
use crate::vhost_user::Deadline;
use crate::vhost_user::drive::Move;
use crate::vhost_user::session::Session;

/// Reads the state to its end.
pub(super) fn read(s: &mut Session<'_>) -> Result<(), TestEnd> {
    let deadline = Deadline::after(s.limits.owed);
    while s.transfer.is_open() {
        let late = deadline.passed();
        s.sample()?;
        if late {
            let observed = format!("no end of the state within {:?}", s.limits.owed);
            return s.conversation.silent(TimeClass::Io, &observed);
        }
        s.pause()?;
    }
    Ok(())
}

/// Writes the state, and its end.
pub(super) fn write(s: &mut Session<'_>) -> Result<(), TestEnd> {
    if let Err(unread) = s.transfer.write(s.limits.owed)? {
        return s.conversation.unexpected(ClauseId::NONE, &unread);
    }
    s.negotiation.keeps.did(&s.machine().table, &Move::WriteState);
    s.did(&Event::Loaded { value: 0, rings: RingImages::default() })
}
