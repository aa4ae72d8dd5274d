//! What the back-end does with rings, without a message: takes requests, uses them, notifies, marks.

use crate::protocol::vhost_user::ids::{
    BeforeDriverOk, BrokenRing, CallAtSetup, DisabledRequests, KickAfterStop, WhoMarks,
};
use devmig_engine::clause::ClauseId;
use devmig_engine::machine::{Reaction, Verdict};
use devmig_engine::rules::{OpenChoice, RuleContext};

use super::VhostUser;
use crate::protocol::vhost_user::state::{BUFFERS, PendingReply, Ring, State, USED_RING};
use crate::protocol::vhost_user::vocabulary::{Answer, DRIVER_OK, SUSPEND};

impl<const R: usize> VhostUser<R> {
    /// The back-end puts a request into the used ring.
    pub(super) fn used(
        &self,
        s: &State<R>,
        ring: u8,
        request: u16,
        judge: &mut RuleContext,
    ) -> Verdict<Self> {
        let r = &s.rings[ring as usize];
        if self.bounds.in_order && r.is_open(request) && request != r.oldest_open() {
            return Ok(Reaction::Disabled);
        }
        let broken = if r.is_open(request) {
            if s.suspended {
                Some(self.laws.no_guest_writes)
            } else if !r.started && !self.draining(s, ring) {
                Some(self.laws.not_processed)
            } else if !r.enabled
                && self.readings.disabled_requests.taken(judge)? == DisabledRequests::Hold
            {
                Some(self.laws.no_side_effects)
            } else {
                None
            }
        } else if (request.wrapping_sub(r.base) as i16) < 0 {
            Some(self.laws.once)
        } else if (request.wrapping_sub(r.available) as i16) >= 0 {
            Some(self.laws.available_only)
        } else if !r.started {
            // Available, not fetched: nothing may be fetched from it now.
            Some(self.laws.not_processed)
        } else if !r.enabled {
            Some(self.laws.no_side_effects)
        } else {
            return Ok(Reaction::Disabled);
        };
        if let Some(clause) = broken
            && judge.enforces(clause)
        {
            return Ok(Reaction::Violation(clause));
        }
        let mut next = *s;
        let r = &mut next.rings[ring as usize];
        r.open &= !(1 << (request % 64));
        r.used = r.used.wrapping_add(1);
        r.unnotified = self.notifies(s, r);
        r.call_fresh = false;
        r.batch |= r.recorded & 1 << (request % 64);
        if s.logging() && self.readings.who_marks.taken(judge)? == WhoMarks::BackEnd {
            for (part, clause) in self.parts() {
                if (part == BUFFERS || r.log_used) && judge.enforces(clause) {
                    r.unmarked |= part;
                }
            }
        }
        next.internal = next.internal.wrapping_add(1);
        Ok(Reaction::To(next))
    }

    /// GET_VRING_BASE for this ring, or another message whose reply waits for the ring's in-flight
    /// requests, was read and is not answered yet.
    #[must_use]
    pub fn draining(&self, s: &State<R>, ring: u8) -> bool {
        let stops = |o: &PendingReply| {
            let (def, named) = (self.message(o.message.id), o.message.ring == ring);
            let row = def.rows.get(usize::from(o.row));
            (named && def.answer == Some(Answer::Base)) || row.is_some_and(|row| row.drains(named))
        };
        s.owed.iter().any(stops)
    }

    /// The back-end notifies the guest.
    pub(super) fn call(&self, s: &State<R>, ring: u8, judge: &mut RuleContext) -> Verdict<Self> {
        let r = &s.rings[ring as usize];
        let suspended = self.suspended(s);
        if r.call_polled && judge.enforces(self.laws.call_taken) {
            return Ok(Reaction::Violation(self.laws.call_taken));
        }
        if suspended
            && !(r.call_fresh && self.readings.call_at_setup.taken(judge)? == CallAtSetup::Signals)
            && judge.enforces(self.laws.no_notifications)
        {
            return Ok(Reaction::Violation(self.laws.no_notifications));
        }
        let mut next = *s;
        let r = &mut next.rings[ring as usize];
        if !r.unnotified && !suspended {
            return Ok(Reaction::Ignore); // one too many tells the guest nothing
        }
        r.unnotified = false;
        r.call_fresh &= !suspended;
        Ok(Reaction::To(next))
    }

    /// The two pages of a ring, and the clause by which writes to each are marked.
    pub(super) fn parts(&self) -> [(u8, ClauseId); 2] {
        [(BUFFERS, self.laws.marks_buffers), (USED_RING, self.laws.marks_used_ring)]
    }

    /// The back-end marks a page in the dirty log.
    pub(super) fn marked(
        &self,
        s: &State<R>,
        ring: u8,
        part: u8,
        log: u8,
        judge: &mut RuleContext,
    ) -> Verdict<Self> {
        if s.log != log {
            return Ok(Reaction::Disabled);
        }
        if s.rings[ring as usize].unmarked & part == 0 {
            // Once too often costs the front-end a page; but nothing changes once all is stopped.
            let late = self.suspended(s) && judge.enforces(self.laws.no_update);
            return Ok(if late {
                Reaction::Violation(self.laws.no_update)
            } else {
                Reaction::Ignore
            });
        }
        let mut next = *s;
        next.rings[ring as usize].unmarked &= !part;
        Ok(Reaction::To(next))
    }

    /// Whether the back-end takes up, again, what an earlier process left behind.
    pub(super) fn resubmits(&self, s: &State<R>, ring: &Ring, judge: &mut RuleContext) -> bool {
        let may = ring.started && ring.enabled && s.in_flight && !s.closed && !s.suspended;
        may && ring.left_behind() != 0 && judge.enforces(self.laws.resubmits)
    }

    /// Whether nothing stands in the way of being suspended as was asked.
    pub(super) fn finished(s: &State<R>) -> bool {
        s.suspending && s.rings.iter().all(|r| r.open == 0)
    }

    /// No ring runs any more, and every answer about it was given; or SUSPEND is in force.
    pub(in crate::protocol::vhost_user) fn suspended(&self, s: &State<R>) -> bool {
        let draining = || (0..R as u8).any(|r| self.draining(s, r));
        s.suspended || (s.ever_started && s.all_stopped() && !draining())
    }

    /// Whether the back-end may take a request from this ring now.
    pub(super) fn fetches(
        &self,
        s: &State<R>,
        ring: &Ring,
        judge: &mut RuleContext,
    ) -> Result<bool, OpenChoice> {
        if ring.waiting() == 0 || ring.is_open(ring.base) || s.closed {
            return Ok(false);
        }
        if (s.suspended || s.suspending) && judge.enforces(self.laws.no_guest_writes) {
            return Ok(false);
        }
        // An available index further ahead than the ring is long is no index of this ring's.
        if ring.is_broken() {
            return Ok(false);
        }
        if self.resubmits(s, ring, judge) {
            return Ok(false);
        }
        if !ring.started && judge.enforces(self.laws.not_processed) {
            return Ok(false);
        }
        Ok(ring.enabled
            || self.readings.disabled_requests.taken(judge)? == DisabledRequests::Process
            || !judge.enforces(self.laws.no_side_effects))
    }

    /// Whether the back-end has found an error after which it may close the connection: a message
    /// that is not there as a whole or is not taken, or a ring that the guest has broken.
    pub(super) fn may_close(
        &self,
        s: &State<R>,
        judge: &mut RuleContext,
    ) -> Result<bool, OpenChoice> {
        let broken = s.rings.iter().any(|ring| ring.started && ring.is_broken());
        Ok(s.partial_message
            || s.must_disconnect
            || (broken && self.readings.broken_ring.taken(judge)? == BrokenRing::Closes))
    }

    /// Whether no kick starts any ring yet, since the driver is not ready.
    pub(super) fn waits_for_driver(
        &self,
        s: &State<R>,
        judge: &mut RuleContext,
    ) -> Result<bool, OpenChoice> {
        let negotiated = self.table.status.is_some_and(|bit| s.protocol.0 >> bit & 1 == 1);
        Ok(u64::from(s.status) & (DRIVER_OK | SUSPEND) == 0
            && negotiated
            && self.readings.before_driver_ok.taken(judge)? == BeforeDriverOk::Waits)
    }

    /// Whether the back-end notices a kick on this ring's descriptor. Until GET_VRING_BASE is
    /// answered none starts the ring again: with the answer it is stopped.
    pub(super) fn notices(
        &self,
        s: &State<R>,
        index: usize,
        judge: &mut RuleContext,
    ) -> Result<bool, OpenChoice> {
        let ring = &s.rings[index];
        if !ring.kicked || !ring.kick_set || s.suspended || s.closed {
            return Ok(false);
        }
        if self.draining(s, index as u8) {
            return Ok(false);
        }
        if ring.kick_fd_stale && self.readings.kick_after_stop.taken(judge)? != KickAfterStop::Keeps
        {
            return Ok(false);
        }
        Ok(!self.waits_for_driver(s, judge)?)
    }
}
