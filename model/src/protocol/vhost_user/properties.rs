//! The properties that a system's file can name.
//!
//! Each is stated over what the *guest* knows and what the parties do, not over the rule that is
//! meant to ensure it: that is how a dropped clause is noticed. One that speaks of a ring is stated of
//! one ring; the engine asks it of each.

use std::sync::Arc;

use super::event::{BackEndMessage, Event, Message, MessageId};
use super::front_end::{FrontEnd, FrontState};
use super::guest::{Guest, GuestState};
use super::machine::VhostUser;
use super::state::{F_PROTOCOL_FEATURES, PendingReply, State, Transfer};
use super::table::{Row, Table};
use super::vocabulary::{Answer, Effect, SUSPEND};
use crate::protocol::property::{Per, PropertyDefinition};
use devmig_engine::compose::{Action, GlobalState};
use devmig_engine::system::{Test, Transition};

/// The participants of every vhost-user system.
pub type Parts<const R: usize> = (VhostUser<R>, Guest<R>, FrontEnd<R>);
/// Their states, and the socket with room for `N` messages.
pub type VhostWorld<const R: usize, const N: usize> =
    GlobalState<(State<R>, GuestState<R>, FrontState<R>), Event, 1, N>;

type W<const R: usize, const N: usize> = VhostWorld<R, N>;
type T<'a, const R: usize, const N: usize> = Transition<'a, W<R, N>, Event>;
type D<const R: usize, const N: usize> = PropertyDefinition<Names, W<R, N>, Event>;

/// What a property needs to know of the message table.
#[derive(Clone, Debug)]
pub struct Names {
    table: Arc<Table>,
    endless: bool,
}

impl Names {
    /// Those of a table.
    #[must_use]
    pub fn new(table: &Arc<Table>, endless: bool) -> Self {
        Names { table: Arc::clone(table), endless }
    }

    /// Whether a message's answer carries this.
    fn answers(&self, id: MessageId, answer: Answer) -> bool {
        self.table.messages[id.0 as usize].answer == Some(answer)
    }

    /// Whether some row of a message has this effect when read.
    fn receives(&self, m: &Message, effect: Effect) -> bool {
        let rows = &self.table.messages[m.id.0 as usize].rows;
        rows.iter().any(|row| row.receive.contains(&effect))
    }

    /// The message that is read, and is there to resume the device: each row of it that breaks nothing
    /// resumes it, or suspends it.
    fn resumes<'a, const R: usize, const N: usize>(
        &self,
        t: &'a T<'_, R, N>,
    ) -> Option<&'a Message> {
        let has = |row: &Row, effect| row.receive.contains(&effect) || row.reply.contains(&effect);
        read(t).filter(|m| {
            let rows = self.table.messages[m.id.0 as usize].rows.iter();
            let mut lawful = rows.filter(|row| row.breaks.is_none() && row.undefined.is_none());
            lawful.clone().any(|row| has(row, Effect::Resume))
                && lawful.all(|row| has(row, Effect::Resume) || has(row, Effect::Suspend))
        })
    }

    /// The message that is read and has this effect.
    fn read_with<'a, const R: usize, const N: usize>(
        &self,
        t: &'a T<'_, R, N>,
        effect: Effect,
    ) -> Option<&'a Message> {
        read(t).filter(|m| self.receives(m, effect))
    }

    /// The ring and value of the answer that carries this.
    fn replies<const R: usize, const N: usize>(
        &self,
        t: &T<'_, R, N>,
        answer: Answer,
    ) -> Option<(usize, u64)> {
        match t.action {
            Action::Now(Event::Reply { id, ring, value, .. }) if self.answers(*id, answer) => {
                Some((*ring as usize, value.0))
            }
            _ => None,
        }
    }

    /// GET_VRING_BASE for this ring was read, or another message whose reply waits for what is in flight
    /// there, and not answered.
    fn draining<const R: usize>(&self, s: &State<R>, ring: usize) -> bool {
        let stops = |o: &PendingReply| {
            let named = o.message.ring as usize == ring;
            let row = self.table.messages[o.message.id.0 as usize].rows.get(o.row as usize);
            (named && self.answers(o.message.id, Answer::Base))
                || row.is_some_and(|row| row.drains(named))
        };
        s.owed.iter().any(stops)
    }

    /// Every ring is stopped and every answer given, after some ring ran; or SUSPEND is in force.
    fn suspended<const R: usize>(&self, s: &State<R>) -> bool {
        s.suspended || (s.ever_started && s.all_stopped() && s.owed.is_empty())
    }
}

/// The request that is used in this ring.
fn used<const R: usize, const N: usize>(t: &T<'_, R, N>, of: usize) -> Option<u16> {
    match t.action {
        Action::Now(Event::Used { ring, request }) if *ring as usize == of => Some(*request),
        _ => None,
    }
}

fn is_used<const R: usize, const N: usize>(t: &T<'_, R, N>) -> bool {
    matches!(t.action, Action::Now(Event::Used { .. }))
}

fn read<'a, const R: usize, const N: usize>(t: &'a T<'_, R, N>) -> Option<&'a Message> {
    match t.action {
        Action::Read(Event::Message(m)) => Some(m),
        _ => None,
    }
}

/// The message of the back-end's own that is sent.
fn own<'a, const R: usize, const N: usize>(t: &'a T<'_, R, N>) -> Option<&'a BackEndMessage> {
    match t.action {
        Action::Now(Event::BackEndMessage(m)) => Some(m),
        _ => None,
    }
}

/// Some request waits in this ring, and it runs. Of a guest that never stops it is the oldest request:
/// there is always a newer one.
fn waits<const R: usize, const N: usize>(n: &Names, w: &W<R, N>, ring: usize) -> bool {
    let (s, guest, _) = &w.parts;
    let (r, requests) = (&s.rings[ring], &guest.rings[ring]);
    let oldest = !n.endless || requests.done & 1 == 0;
    !s.suspended && r.started && r.enabled && requests.in_flight() > 0 && oldest
}

/// What an earlier process left behind in this ring waits, and the ring runs.
fn is_left<const R: usize, const N: usize>(w: &W<R, N>, ring: usize) -> bool {
    let s = &w.parts.0;
    let r = &s.rings[ring];
    s.in_flight && !s.suspended && r.started && r.enabled && r.left_behind() != 0
}

fn implies<const R: usize, const N: usize>(
    holds: impl Fn(&T<'_, R, N>) -> Option<bool> + Send + Sync + 'static,
) -> Test<W<R, N>, Event> {
    Test::implies(holds)
}

fn at_end_implies<const R: usize, const N: usize>(
    holds: impl Fn(&W<R, N>) -> Option<bool> + Send + Sync + 'static,
) -> Test<W<R, N>, Event> {
    Test::at_end_implies(holds)
}

fn leads_to<const R: usize, const N: usize>(
    from: impl Fn(&W<R, N>) -> bool + Send + Sync + 'static,
    to: impl Fn(&W<R, N>) -> bool + Send + Sync + 'static,
) -> Test<W<R, N>, Event> {
    Test::leads_to(from, to)
}

/// The properties, for `R` rings and room for `N` messages in the socket.
pub struct Properties<const R: usize, const N: usize>;

/// Their names, clauses and meanings.
pub const ALL: &[D<1, 1>] = Properties::<1, 1>::ALL;

impl<const R: usize, const N: usize> Properties<R, N> {
    const RING: Per<Names> = Per { each: "ring", count: |_| R };

    /// Every property.
    pub const ALL: &'static [D<R, N>] = &[
        PropertyDefinition::of_each(
            "nothing-processed-while-stopped",
            "vhost-user.ring.stopped-not-processed",
            "a request is used only while its ring is started, or a reply waits for it",
            Self::RING,
            |n, ring| {
                implies(move |t| {
                    used(t, ring)?;
                    let s = &t.before.parts.0;
                    Some(s.rings[ring].started || n.draining(s, ring))
                })
            },
        ),
        PropertyDefinition::of_each(
            "nothing-fetched-while-disabled",
            "vhost-user.ring.disabled-no-side-effects",
            "a request is fetched only while its ring is enabled",
            Self::RING,
            |_, ring| {
                implies(move |t| match t.action {
                    Action::Hidden(step) if step.name == "fetch" && step.index as usize == ring => {
                        Some(t.before.parts.0.rings[ring].enabled)
                    }
                    _ => None,
                })
            },
        ),
        PropertyDefinition::of_each(
            "no-request-completed-twice",
            "vhost-user.ring.request-completed-once",
            "a used request is not used again",
            Self::RING,
            |_, ring| {
                implies(move |t| {
                    let request = used(t, ring)?;
                    Some(t.before.parts.1.rings[ring].done >> (request % 64) & 1 == 0)
                })
            },
        ),
        PropertyDefinition::of_each(
            "only-available-requests",
            "vhost-user.ring.available-only",
            "a request is used only after the guest made it available",
            Self::RING,
            |_, ring| implies(move |t| Some(used(t, ring)? < t.before.parts.1.rings[ring].posted)),
        ),
        PropertyDefinition::of_each(
            "no-request-lost",
            "",
            "in the end every request before the ring's base was used",
            Self::RING,
            |_, ring| {
                at_end_implies(move |w| {
                    let (base, done) = (w.parts.0.rings[ring].base, w.parts.1.rings[ring].done);
                    (base > 0).then(|| (0..base).all(|request| done >> (request % 64) & 1 == 1))
                })
            },
        ),
        PropertyDefinition::of_each(
            "base-is-next",
            "vhost-user.get-vring-base.base-is-next-available",
            "GET_VRING_BASE returns the first request that was not used",
            Self::RING,
            |n, ring| {
                implies(move |t| {
                    let (of, base) = n.replies(t, Answer::Base)?;
                    let done = t.before.parts.1.rings[ring].done;
                    (of == ring).then(|| u64::from(done.trailing_ones()) == base)
                })
            },
        ),
        PropertyDefinition::of_system(
            "silent-while-suspended",
            "vhost-user.suspended.no-notifications",
            "while the device is suspended, nothing is used and the guest is not notified",
            |n, _| {
                implies(move |t| {
                    let seen = matches!(
                        t.action,
                        Action::Now(
                            Event::Used { .. } | Event::Call { .. } | Event::BackEndMessage(_)
                        )
                    );
                    n.suspended(&t.before.parts.0).then_some(!seen)
                })
            },
        ),
        PropertyDefinition::of_system(
            "nothing-processed-while-saved",
            "vhost-user.device-state.frozen",
            "no request is used while the device's state is saved",
            |_, _| implies(|t| t.before.parts.0.transfer.is_saving().then(|| !is_used(t))),
        ),
        PropertyDefinition::of_system(
            "saved-state-is-whole",
            "",
            "the saved state contains every used request",
            |_, _| {
                implies(|t| match t.action {
                    Action::Now(Event::Saved { value, .. }) => {
                        Some(u32::from(*value) == t.before.parts.1.completed())
                    }
                    _ => None,
                })
            },
        ),
        PropertyDefinition::of_system(
            "remembers-every-request",
            "",
            "when a request is used, the device remembers every request that was used before",
            |_, _| {
                implies(|t| {
                    let (s, guest, _) = &t.before.parts;
                    let completed = guest.completed();
                    (is_used(t) && completed > 0).then(|| u32::from(s.internal) == completed)
                })
            },
        ),
        PropertyDefinition::of_system(
            "transfer-while-suspended",
            "vhost-user.device-state.suspended-first",
            "a transfer begins only while the device is suspended",
            |_, _| {
                implies(|t| {
                    let s = &t.after.parts.0;
                    s.transfer.is_saving().then(|| s.suspended || s.all_stopped())
                })
            },
        ),
        PropertyDefinition::of_system(
            "only-offered-features",
            "vhost-user.features.offered-only",
            "the front-end acknowledges only offered features",
            |n, _| {
                implies(move |t| {
                    n.read_with(t, Effect::SetFeatures)?;
                    let s = &t.after.parts.0;
                    let features = s.features.0 & !s.offered.0 == 0;
                    Some(features && s.protocol.0 & !s.protocol_offered.0 == 0)
                })
            },
        ),
        PropertyDefinition::of_system(
            "protocol-features-where-there-are",
            "vhost-user.protocol-features.gated",
            "the messages about protocol features are read only once bit 30 was offered",
            |n, _| {
                implies(move |t| {
                    let m = read(t)?;
                    let about = n.answers(m.id, Answer::ProtocolFeatures)
                        || n.receives(m, Effect::SetProtocolFeatures);
                    about.then_some(t.before.parts.0.offered.0 & F_PROTOCOL_FEATURES != 0)
                })
            },
        ),
        PropertyDefinition::of_system(
            "only-negotiated-messages",
            "vhost-user.message.gated",
            "a message that needs a protocol feature is read only after the feature was negotiated",
            |n, _| {
                implies(move |t| {
                    let gate = n.table.messages[read(t)?.id.0 as usize].gate.as_ref()?;
                    Some(t.before.parts.0.protocol.0 >> gate.bit & 1 == 1)
                })
            },
        ),
        PropertyDefinition::of_system(
            "status-reads-back",
            "vhost-user.status.read-back",
            "GET_STATUS returns the last written status",
            |n, _| {
                implies(move |t| {
                    let (_, value) = n.replies(t, Answer::Status)?;
                    Some(value == u64::from(t.before.parts.2.status))
                })
            },
        ),
        PropertyDefinition::of_system(
            "status-0-resets-at-once",
            "vhost-user.status.zero-resets",
            "after status 0 was read, the device is in its initial state and no ring runs",
            |n, _| {
                implies(move |t| {
                    let m = n.read_with(t, Effect::SetStatus)?;
                    let s = &t.after.parts.0;
                    (m.value.0 == 0).then(|| s.internal == 0 && s.all_stopped())
                })
            },
        ),
        PropertyDefinition::of_system(
            "frozen-while-suspended",
            "",
            "while the device is suspended by SUSPEND, its state does not change",
            |_, _| {
                implies(|t| {
                    let (before, after) = (&t.before.parts.0, &t.after.parts.0);
                    let same = before.internal == after.internal;
                    before.suspended.then_some(same || !after.suspended)
                })
            },
        ),
        PropertyDefinition::of_system(
            "suspended-until-resume",
            "",
            "only a message that is there to resume the device ends a suspension",
            |n, _| {
                implies(move |t| {
                    let resumed = n.resumes(t).is_some();
                    t.before.parts.0.suspended.then_some(t.after.parts.0.suspended || resumed)
                })
            },
        ),
        PropertyDefinition::of_system(
            "suspend-and-resume-alternate",
            "",
            "a message that is there to resume the device is read only while it is suspended",
            |n, _| {
                implies(move |t| {
                    n.resumes(t)?;
                    Some(t.before.parts.0.suspended)
                })
            },
        ),
        PropertyDefinition::of_system(
            "messages-are-answered",
            "vhost-user.reply.must",
            "a message that has a reply gets it eventually",
            |_, _| leads_to(|w| !w.parts.0.owed.is_empty(), |w| w.parts.0.owed.is_empty()),
        ),
        PropertyDefinition::of_each(
            "requests-are-completed",
            "vhost-user.ring.started-processes",
            "in the end every request was used, or its ring does not run",
            Self::RING,
            |n, ring| {
                let of = n.clone();
                leads_to(move |w| waits(&n, w, ring), move |w| !waits(&of, w, ring))
            },
        ),
        PropertyDefinition::of_system(
            "state-is-written",
            "vhost-user.device-state.writer-closes",
            "when the back-end begins to write its state, it finishes eventually",
            |_, _| {
                let saving = |w: &W<R, N>| w.parts.0.transfer.is_saving();
                leads_to(saving, move |w| !saving(w))
            },
        ),
        PropertyDefinition::of_system(
            "check-tells-the-end",
            "vhost-user.device-state.check-reports",
            "the back-end replies to CHECK_DEVICE_STATE only after the transfer has ended",
            |n, _| {
                implies(move |t| {
                    n.replies(t, Answer::Check)?;
                    Some(t.before.parts.0.transfer.has_ended())
                })
            },
        ),
        PropertyDefinition::of_system(
            "check-follows-the-data",
            "vhost-user.device-state.check-after-transfer",
            "CHECK_DEVICE_STATE is read only when the transfer has ended",
            |n, _| {
                implies(move |t| {
                    let m = read(t)?;
                    n.answers(m.id, Answer::Check).then(|| t.before.parts.0.transfer.has_ended())
                })
            },
        ),
        PropertyDefinition::of_system(
            "only-negotiated-own-messages",
            "vhost-user.back-end-message.gated",
            "a back-end request is sent only after its feature was negotiated",
            |n, _| {
                implies(move |t| {
                    let def = n.table.back_end.get(own(t)?.id.0 as usize);
                    let s = &t.before.parts.0;
                    let gate = def.and_then(|def| def.gate.as_ref());
                    let virtio = def.and_then(|def| def.virtio);
                    let negotiated = gate.is_none_or(|gate| s.protocol.0 >> gate.bit & 1 == 1);
                    Some(negotiated && virtio.is_none_or(|bit| s.features.0 >> bit & 1 == 1))
                })
            },
        ),
        PropertyDefinition::of_system(
            "asks-only-who-acknowledges",
            "vhost-user.back-end-message.need-reply-negotiated",
            "the back-end asks for an acknowledgement only once REPLY_ACK was negotiated",
            |n, _| {
                implies(move |t| {
                    let sent = own(t)?;
                    let negotiated = t.before.parts.0.protocol.0 >> n.table.reply_ack & 1 == 1;
                    Some(negotiated || !sent.need_reply)
                })
            },
        ),
        PropertyDefinition::of_system(
            "own-messages-are-answered",
            "vhost-user.back-end-message.answered",
            "of two back-end requests that ask for a reply, the older gets it",
            |_, _| leads_to(|w| w.parts.0.asked.is_full(), |w| !w.parts.0.asked.is_full()),
        ),
        PropertyDefinition::of_system(
            "features-come-with-what-they-need",
            "vhost-user.in-band.needs-channel-and-acknowledgements",
            "in-band notifications are negotiated with a channel and acknowledgements, recording with \
             a buffer",
            |n, _| {
                implies(move |t| {
                    n.read_with(t, Effect::SetProtocolFeatures)?;
                    let has = |bit: u32| t.after.parts.0.protocol.0 >> bit & 1 == 1;
                    Some((!has(14) || (has(3) && has(5))) && (!has(20) || has(12)))
                })
            },
        ),
        PropertyDefinition::of_system(
            "no-more-regions-than-slots",
            "vhost-user.memory.within-slots",
            "the back-end never has more memory regions than it reported",
            |n, _| {
                implies(move |t| {
                    n.read_with(t, Effect::AddRegion)?;
                    let s = &t.after.parts.0;
                    Some(s.slots == 0 || s.regions <= s.slots)
                })
            },
        ),
        PropertyDefinition::of_system(
            "only-known-regions-removed",
            "vhost-user.memory.removed-was-added",
            "a memory region is removed only if one exists",
            |n, _| {
                implies(move |t| {
                    n.read_with(t, Effect::RemoveRegion)?;
                    Some(t.before.parts.0.regions > 0)
                })
            },
        ),
        PropertyDefinition::of_each(
            "kicked-requests-come-back",
            "",
            "in the end, while the virtual CPUs run, every kicked request was used",
            Self::RING,
            |_, ring| {
                at_end_implies(move |w| {
                    let r = &w.parts.1.rings[ring];
                    let kicked = r.posted > 0 && !r.kick_due;
                    (w.parts.1.running && kicked).then(|| r.in_flight() == 0)
                })
            },
        ),
        PropertyDefinition::of_each(
            "copy-is-whole",
            "vhost-user.dirty-log.marks-buffers",
            "in the end, the copy of guest memory equals the memory",
            Self::RING,
            |_, ring| at_end_implies(move |w| Some(w.parts.1.rings[ring].stale == 0)),
        ),
        PropertyDefinition::of_system(
            "log-is-quiet-while-suspended",
            "vhost-user.migration.no-update-until-restart",
            "while the device is suspended, the dirty log does not change",
            |n, _| {
                implies(move |t| {
                    let s = &t.before.parts.0;
                    let marks = matches!(t.action, Action::Now(Event::Marked { .. }));
                    (s.log != 0 && n.suspended(s)).then_some(!marks)
                })
            },
        ),
        PropertyDefinition::of_system(
            "says-nothing-while-suspended",
            "vhost-user.suspended.no-messages",
            "while all rings are stopped the back-end sends no back-end request",
            |n, _| implies(move |t| n.suspended(&t.before.parts.0).then(|| own(t).is_none())),
        ),
        PropertyDefinition::of_system(
            "suspended-means-idle",
            "",
            "when the status is read with SUSPEND set, no request is in flight",
            |n, _| {
                implies(move |t| {
                    let (_, status) = n.replies(t, Answer::Status)?;
                    let idle = t.before.parts.0.rings.iter().all(|r| r.open == 0);
                    (status & SUSPEND != 0).then_some(idle)
                })
            },
        ),
        PropertyDefinition::of_each(
            "left-behind-is-taken-up",
            "vhost-user.in-flight.resubmits",
            "requests that an earlier process recorded are resubmitted when their ring runs",
            Self::RING,
            |_, ring| leads_to(move |w| is_left(w, ring), move |w| !is_left(w, ring)),
        ),
        PropertyDefinition::of_system(
            "failed-load-is-reported",
            "vhost-user.device-state.check-reports",
            "when the state was not whole, the reply to CHECK_DEVICE_STATE reports an error",
            |n, _| {
                implies(move |t| {
                    let (_, error) = n.replies(t, Answer::Check)?;
                    (t.before.parts.0.transfer == Transfer::Cut).then_some(error != 0)
                })
            },
        ),
        PropertyDefinition::of_system(
            "no-change-forgotten",
            "vhost-user.config-change.notifies",
            "a change of the configuration space is yet to be reported, also one that comes while the \
             device is suspended",
            |_, _| {
                implies(|t| match t.action {
                    Action::Now(Event::Changed) if t.before.parts.0.channel => {
                        Some(t.after.parts.0.changed)
                    }
                    _ => None,
                })
            },
        ),
        PropertyDefinition::of_system(
            "acknowledgements-negotiated",
            "vhost-user.reply-ack.asked-when-negotiated",
            "the front-end asks for an acknowledgement only once REPLY_ACK was negotiated",
            |n, _| {
                implies(move |t| {
                    let m = read(t)?;
                    let negotiated = t.before.parts.0.protocol.0 >> n.table.reply_ack & 1 == 1;
                    Some(negotiated || !m.need_reply)
                })
            },
        ),
    ];
}
