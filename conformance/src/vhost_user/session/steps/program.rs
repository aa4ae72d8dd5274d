//! Steps of a program, and the rings that each is for.

use std::ops::Range;

use devmig_model::protocol::vhost_user::program::Step;

use super::{connection, state};
use crate::harness::verdict::TestEnd;
use crate::vhost_user::script::Which;
use crate::vhost_user::session::Session;

pub(super) fn take(s: &mut Session<'_>, step: Step, which: Which) -> Result<(), TestEnd> {
    let Some(rings) = named(s, which) else {
        return Err(TestEnd::Skip("needs a device with more rings".into()));
    };
    for ring in rings {
        match step {
            Step::Send { id, number, need_reply, .. } => {
                let all = s.negotiation.acknowledged;
                s.negotiation.acknowledged |= need_reply;
                let sent = s.send(id, ring, number);
                s.negotiation.acknowledged = all;
                sent?;
            }
            Step::Kick { .. } => s.kick(ring, true)?,
            Step::Vcpus { .. } => {}
            Step::ReadState => state::read(s)?,
            Step::WriteState => state::write(s)?,
            Step::Successor { died: true } => connection::crash(s)?,
            Step::Until { .. }
            | Step::Copy { .. }
            | Step::Renew { .. }
            | Step::WritePart
            | Step::HandOver
            | Step::Successor { died: false } => {
                return Err(TestEnd::Harness("this step is only for exploration".into()));
            }
        }
    }
    Ok(())
}

/// The rings that a step is for, if the device has them.
pub(super) fn named(s: &Session<'_>, which: Which) -> Option<Range<u8>> {
    Some(match which {
        Which::Requests => {
            let ring = s.driver.request_ring().unwrap_or(0);
            ring..ring.saturating_add(1)
        }
        Which::Index(ring) if ring >= s.driver.rings() => return None,
        Which::Index(ring) => ring..ring.saturating_add(1),
        Which::Each => 0..s.driver.rings(),
    })
}
