//! What is owed: by whom, under which clause, until when, and by what it is discharged.

use crate::protocol::vhost_user::ids::DisabledRequests;
use devmig_engine::clause::ClauseId;
use devmig_engine::machine::{Did, Obligation, Owed, Step, TimeClass};
use devmig_engine::rules::{OpenChoice, RuleContext};

use super::{MAX_RINGS, VhostUser, step};
use crate::protocol::vhost_user::event::{BACK_END, Event, FRONT_END};
use crate::protocol::vhost_user::state::{BUFFERS, State, USED_RING};
use crate::protocol::vhost_user::vocabulary::Signal;

// Obligations, by index: one a ring from RING on.
const REPLY: u32 = 0;
const RING: u32 = 1;
const STATE: u32 = 9;
const NOTIFY: u32 = 10;
const ANSWER: u32 = 11;
const MARK: u32 = 12;
const SUSPEND: u32 = 13;
const MARK_USED_RING: u32 = 14;
const REPORT: u32 = 15;
const CHANGE: u32 = 16;
const CLOSE: u32 = 17;

impl<const R: usize> VhostUser<R> {
    /// Where an obligation stands among those of a machine with so many rings: those of rings that it
    /// does not have leave no gap, since a composition has room for few.
    const fn slot(index: u32) -> u32 {
        let gap = (MAX_RINGS - R) as u32;
        if index > MAX_RINGS as u32 { index - gap } else { index }
    }

    /// The same, backwards.
    const fn of_slot(slot: u32) -> u32 {
        let gap = (MAX_RINGS - R) as u32;
        if slot > R as u32 { slot + gap } else { slot }
    }

    /// What is owed now.
    pub(super) fn owes_now(
        &self,
        s: &State<R>,
        judge: &mut RuleContext,
    ) -> Result<Owed, OpenChoice> {
        if s.closed {
            return Ok(Owed::NONE);
        }
        let mut all = Owed::NONE
            .with_if(!s.owed.is_empty(), REPLY)
            .with_if(s.transfer.is_saving(), Self::slot(STATE))
            .with_if(!s.asked.is_empty(), Self::slot(ANSWER))
            .with_if(Self::finished(s), Self::slot(SUSPEND))
            .with_if(s.changed && !s.all_stopped() && !s.suspended, Self::slot(CHANGE))
            .with_if(s.must_disconnect, Self::slot(CLOSE));
        for (index, ring) in s.rings.iter().enumerate() {
            let held = !ring.enabled
                && ring.open != 0
                && self.readings.disabled_requests.taken(judge)? == DisabledRequests::Hold;
            let processing = ring.started || self.draining(s, index as u8);
            let due = self.resubmits(s, ring, judge)
                || (ring.open != 0 && processing && !s.suspended && !held)
                // Whatever has started the ring, the driver may not be ready yet. (Status 0 is no step
                // on its way: whether it stops rings is another choice.)
                || (ring.started
                    && self.fetches(s, ring, judge)?
                    && (s.status == 0 || !self.waits_for_driver(s, judge)?))
                // A kick asks for nothing further of a ring that cannot be processed.
                || (!(ring.started && ring.is_broken()) && self.notices(s, index, judge)?);
            all = all
                .with_if(due, RING + index as u32)
                .with_if(ring.unnotified && ring.started, Self::slot(NOTIFY))
                .with_if(self.owes_report(s, ring), Self::slot(REPORT))
                .with_if(ring.unmarked & BUFFERS != 0, Self::slot(MARK))
                .with_if(ring.unmarked & USED_RING != 0, Self::slot(MARK_USED_RING));
        }
        Ok(all)
    }

    /// What an obligation is.
    pub(super) fn owes_what(&self, slot: u32) -> Obligation {
        let index = Self::of_slot(slot);
        if index == ANSWER {
            let (clause, class) = (self.laws.told_answered, TimeClass::Reply);
            return Obligation { by: FRONT_END, clause, class, what: "back-end request answered" };
        }
        let (clause, class, what) = match index {
            REPLY => (self.laws.reply_must, TimeClass::Reply, "answer"),
            STATE => (self.laws.writer_closes, TimeClass::Io, "device state written"),
            NOTIFY => (self.laws.notify, TimeClass::Courtesy, "notification"),
            MARK => (self.laws.marks_buffers, TimeClass::Io, "write marked in the dirty log"),
            MARK_USED_RING => {
                (self.laws.marks_used_ring, TimeClass::Io, "used ring marked in the dirty log")
            }
            REPORT => (self.laws.reports, TimeClass::Courtesy, "corrupted ring reported"),
            CHANGE => {
                (self.laws.tells_change, TimeClass::Courtesy, "configuration change reported")
            }
            CLOSE => (self.laws.expels, TimeClass::Io, "connection closed"),
            SUSPEND => (ClauseId::NONE, TimeClass::Io, "device suspended"),
            _ => (self.laws.processes, TimeClass::Io, "request processed"),
        };
        Obligation { by: BACK_END, clause, class, what }
    }

    /// What a step discharges.
    pub(super) fn discharged(&self, s: &State<R>, did: &Did<Event>) -> Owed {
        let index = match did {
            Did::Event(Event::Reply { .. }) => REPLY,
            Did::Event(Event::Saved { .. }) => STATE,
            Did::Event(Event::Call { .. }) => NOTIFY,
            Did::Event(Event::Error { .. }) => REPORT,
            Did::Event(Event::Close) if s.must_disconnect => CLOSE,
            Did::Event(Event::BackEndMessage(m)) => {
                match self.own_message(m.id).and_then(|def| def.signal) {
                    Some(Signal::Call) => NOTIFY,
                    Some(Signal::Error) => REPORT,
                    Some(Signal::Config) => CHANGE,
                    None => return Owed::NONE,
                }
            }
            Did::Event(Event::BackEndAnswer { .. }) => ANSWER,
            Did::Event(Event::Used { ring, .. }) => RING + u32::from(*ring),
            // A mark too many brings nothing further.
            Did::Event(Event::Marked { ring, used_ring, .. }) => {
                let part = if *used_ring { USED_RING } else { BUFFERS };
                if s.rings[*ring as usize].unmarked & part == 0 {
                    return Owed::NONE;
                }
                if *used_ring { MARK_USED_RING } else { MARK }
            }
            Did::Hidden(Step { name: step::SUSPEND, .. }) => SUSPEND,
            // It is no progress for the ring, which the record does not hold up.
            Did::Hidden(Step { name: step::CLEAR, .. }) => return Owed::NONE,
            Did::Hidden(step) => RING + u32::from(step.index),
            Did::Event(_) => return Owed::NONE,
        };
        Owed::NONE.with(Self::slot(index))
    }
}
