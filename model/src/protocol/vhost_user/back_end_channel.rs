//! The rules of back-end requests: what it says on the channel that SET_BACKEND_REQ_FD gave
//! it, and with the err descriptors, and how the front-end answers.
//!
//! ```text
//!  front-end <--BackEndMessage-- back-end      its feature negotiated, some ring running
//!  front-end --BackEndAnswer---> back-end      if need_reply asked for one, or it always has one
//! ```
//!
//! **Invariant.** No rule here names a message: what differs between them stands in the table.

use super::event::{BackEndMessage, Event, MessageId, Value};
use super::ids::LateChange;
use super::machine::{VhostUser, granted};
use super::state::{Asked, Ring, State};
use super::table::BackEndMessageDef;
use super::vocabulary::Signal;
use super::wire::PayloadKind;
use devmig_engine::machine::{Event as _, Reaction, Verdict};
use devmig_engine::rules::RuleContext;

impl<const R: usize> VhostUser<R> {
    /// The definition of a message of the back-end's own.
    #[must_use]
    pub fn own_message(&self, id: MessageId) -> Option<&BackEndMessageDef> {
        self.table.back_end.get(id.0 as usize)
    }

    /// The configuration space is another now: whether the front-end is to be told depends on what
    /// was negotiated, and on when that is.
    pub(super) fn changes(&self, s: &State<R>, judge: &mut RuleContext) -> Verdict<Self> {
        if !self.may_tell(s, Signal::Config) {
            return Ok(Reaction::Ignore);
        }
        if (s.all_stopped() || s.suspended)
            && self.readings.late_change.taken(judge)? == LateChange::Never
        {
            return Ok(Reaction::Ignore);
        }
        Ok(Reaction::To(State { changed: true, ..*s }))
    }

    /// Whether there is a channel, and what was negotiated has a message for this.
    fn may_tell(&self, s: &State<R>, signal: Signal) -> bool {
        let tells = |def: &BackEndMessageDef| {
            def.signal == Some(signal)
                && self.table.knows(def.since)
                && granted(s, def.gate.as_ref(), def.virtio)
        };
        s.channel && self.table.back_end.iter().any(tells)
    }

    /// Whether the guest is notified of what comes back on this ring: by its descriptor, or in
    /// messages where it has none and nobody said that the guest polls.
    pub(super) fn notifies(&self, s: &State<R>, ring: &Ring) -> bool {
        ring.call_set || (!ring.call_polled && self.may_tell(s, Signal::Call))
    }

    /// Whether it is to be said that this ring is broken, and was not.
    pub(super) fn owes_report(&self, s: &State<R>, ring: &Ring) -> bool {
        let broken = ring.started && ring.enabled && ring.is_broken() && !ring.reported;
        broken && (ring.err_set || self.may_tell(s, Signal::Error))
    }

    /// The back-end sends a message of its own.
    pub(super) fn tells(
        &self,
        s: &State<R>,
        m: &BackEndMessage,
        judge: &mut RuleContext,
    ) -> Verdict<Self> {
        let Some(def) = self.own_message(m.id) else {
            return Ok(Reaction::Violation(self.laws.told_gated));
        };
        let laws = &self.laws;
        let acknowledged = s.protocol.0 >> self.table.reply_ack & 1 == 1;
        let open = self.table.knows(def.since) && granted(s, def.gate.as_ref(), def.virtio);
        let number = def.request == PayloadKind::VringState && m.value != Value(0);
        let in_band = matches!(def.signal, Some(Signal::Call | Signal::Error));
        let broken = [
            (!s.channel || !open, laws.told_gated),
            (self.suspended(s), laws.told_while_suspended),
            (m.need_reply && !acknowledged, laws.told_need_reply),
            (number, laws.told_num_zero),
            (in_band && !m.need_reply, laws.told_in_band_unasked),
        ];
        for (breaks, clause) in broken {
            if breaks && judge.enforces(clause) {
                return Ok(Reaction::Violation(clause));
            }
        }
        let mut next = *s;
        if (m.need_reply && acknowledged) || def.reply.is_some() {
            match s.asked.push(Asked { id: m.id }) {
                Some(asked) => next.asked = asked,
                // More than this many at once are not followed.
                None => return Ok(Reaction::Disabled),
            }
        }
        match def.signal {
            Some(Signal::Call) => next.rings[m.ring as usize].unnotified = false,
            Some(Signal::Error) => next.rings[m.ring as usize].report(),
            Some(Signal::Config) => next.changed = false,
            None => {}
        }
        Ok(if next == *s { Reaction::Ignore } else { Reaction::To(next) })
    }

    /// The front-end answers a message of the back-end's own.
    pub(super) fn told(
        &self,
        s: &State<R>,
        id: MessageId,
        value: Value,
        descriptors: u8,
        judge: &mut RuleContext,
    ) -> Verdict<Self> {
        if s.asked.head().is_none_or(|asked| asked.id != id) {
            // It belongs to no message, so nothing follows from it.
            let broken = judge.enforces(self.laws.told_answer_unasked);
            return Ok(if broken {
                Reaction::Violation(self.laws.told_answer_unasked)
            } else {
                Reaction::Ignore
            });
        }
        let failed = value != Value(0) && descriptors > 0;
        if failed && judge.enforces(self.laws.told_failure_without_descriptor) {
            return Ok(Reaction::Violation(self.laws.told_failure_without_descriptor));
        }
        Ok(Reaction::To(State { asked: s.asked.pop(), ..*s }))
    }

    /// The back-end writes to an err descriptor.
    pub(super) fn error(&self, s: &State<R>, ring: u8, judge: &mut RuleContext) -> Verdict<Self> {
        if !s.rings[ring as usize].err_set {
            return Ok(Reaction::Disabled); // there is nothing to write to
        }
        if self.suspended(s) && judge.enforces(self.laws.no_notifications) {
            return Ok(Reaction::Violation(self.laws.no_notifications));
        }
        let mut next = *s;
        next.rings[ring as usize].report();
        Ok(if next == *s { Reaction::Ignore } else { Reaction::To(next) })
    }

    /// Every message of its own that exploration tries, right and wrong.
    pub(super) fn messages_of_its_own(&self, f: &mut dyn FnMut(Event)) {
        for (index, def) in self.table.back_end.iter().enumerate() {
            let rings = if def.names_ring() { R as u8 } else { 1 };
            for ring in 0..rings {
                for need_reply in [false, true] {
                    let id = MessageId(index as u8);
                    let value = Value(0);
                    f(Event::BackEndMessage(BackEndMessage { id, ring, value, need_reply }));
                }
            }
        }
    }

    /// One line for a trace.
    pub(super) fn names_own(&self, m: &BackEndMessage) -> String {
        let Some(def) = self.own_message(m.id) else { return Event::BackEndMessage(*m).label() };
        let ring = if def.names_ring() { format!(" ring {}", m.ring) } else { String::new() };
        let asks = if m.need_reply { ", needs an answer" } else { "" };
        format!("back-end sends {}{ring}{asks}", def.name)
    }
}
