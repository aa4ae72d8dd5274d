//! The properties that a system's file can name.
//!
//! Each is stated over what the *guest* knows and what the parties do, not over the rule that is
//! meant to ensure it: that is how a dropped clause is noticed. Each is an implication, so each has
//! a twin: that its antecedent can happen.

use std::sync::Arc;

use super::event::{BackEndMessage, Event, Message, MessageId};
use super::front_end::{FrontEnd, FrontState};
use super::guest::{Guest, GuestState, Requests};
use super::machine::VhostUser;
use super::state::{Ring, State, Transfer};
use super::systems::F_PROTOCOL_FEATURES;
use super::table::Table;
use super::vocabulary::{Answer, Effect, SUSPEND};
use devmig_engine::compose::{Action, GlobalState};
use devmig_engine::system::{Property, Transition};

/// The participants of every vhost-user system.
pub type Parts<const R: usize> = (VhostUser<R>, Guest<R>, FrontEnd<R>);
/// Their states, and the socket with room for `N` messages.
pub type VhostWorld<const R: usize, const N: usize> =
    GlobalState<(State<R>, GuestState<R>, FrontState<R>), Event, 1, N>;

type P<const R: usize, const N: usize> = Property<VhostWorld<R, N>, Event>;
type T<'a, const R: usize, const N: usize> = Transition<'a, VhostWorld<R, N>, Event>;

/// What a property needs to know of the message table.
#[derive(Clone, Debug)]
struct Names {
    table: Arc<Table>,
    resume: Option<MessageId>,
}

impl Names {
    /// Whether a message's answer carries this.
    fn answers(&self, id: MessageId, answer: Answer) -> bool {
        self.table.messages[id.0 as usize].answer == Some(answer)
    }

    /// Whether some row of a message has this effect when read.
    fn receives(&self, m: &Message, effect: Effect) -> bool {
        let rows = &self.table.messages[m.id.0 as usize].rows;
        rows.iter().any(|row| row.receive.contains(&effect))
    }

    /// GET_VRING_BASE for this ring was read, and not answered.
    fn draining<const R: usize>(&self, s: &State<R>, ring: u8) -> bool {
        s.owed.iter().any(|o| o.message.ring == ring && self.answers(o.message.id, Answer::Base))
    }

    /// Every ring is stopped and every answer given, after some ring ran; or SUSPEND is in force.
    fn suspended<const R: usize>(&self, s: &State<R>) -> bool {
        s.suspended || (s.ever_started && s.all_stopped() && s.owed.is_empty())
    }
}

fn used<const R: usize, const N: usize>(t: &T<'_, R, N>) -> Option<(u8, u16)> {
    match t.action {
        Action::Now(Event::Used { ring, request }) => Some((*ring, *request)),
        _ => None,
    }
}

fn read<'a, const R: usize, const N: usize>(t: &'a T<'_, R, N>) -> Option<&'a Message> {
    match t.action {
        Action::Read(Event::Message(m)) => Some(m),
        _ => None,
    }
}

fn reply<const R: usize, const N: usize>(t: &T<'_, R, N>) -> Option<(MessageId, u8, u64)> {
    match t.action {
        Action::Now(Event::Reply { id, ring, value, .. }) => Some((*id, *ring, value.0)),
        _ => None,
    }
}

fn own<'a, const R: usize, const N: usize>(t: &'a T<'_, R, N>) -> Option<&'a BackEndMessage> {
    match t.action {
        Action::Now(Event::BackEndMessage(m)) => Some(m),
        _ => None,
    }
}

fn transferred<const R: usize>(s: &State<R>) -> bool {
    matches!(s.transfer, Transfer::Saved | Transfer::Loaded)
}

/// Some request waits in a ring that runs.
fn waits<const R: usize, const N: usize>(w: &VhostWorld<R, N>) -> bool {
    let (s, guest, _) = &w.parts;
    let mut rings = s.rings.iter().zip(&guest.rings);
    !s.suspended
        && rings.any(|(ring, requests)| {
            let open = u32::from(requests.posted) > requests.done.count_ones();
            ring.started && ring.enabled && open
        })
}

/// A property's name, the clause behind it (or none), and what it says.
pub const ALL: &[(&str, &str, &str)] = &[
    (
        "nothing-processed-while-stopped",
        "vhost-user.ring.stopped-not-processed",
        "a request is used only while its ring is started, or its GET_VRING_BASE is pending",
    ),
    (
        "nothing-fetched-while-disabled",
        "vhost-user.ring.disabled-no-side-effects",
        "a request is fetched only while its ring is enabled",
    ),
    (
        "no-request-completed-twice",
        "vhost-user.ring.request-completed-once",
        "a used request is not used again",
    ),
    (
        "only-available-requests",
        "vhost-user.ring.available-only",
        "a request is used only after the guest made it available",
    ),
    ("no-request-lost", "", "in the end every request before the ring's base was used"),
    (
        "base-is-next",
        "vhost-user.get-vring-base.base-is-next-available",
        "GET_VRING_BASE returns the first request that was not used",
    ),
    (
        "silent-while-suspended",
        "vhost-user.suspended.no-notifications",
        "while the device is suspended, nothing is used and the guest is not notified",
    ),
    (
        "nothing-processed-while-saved",
        "vhost-user.device-state.frozen",
        "no request is used while the device's state is saved",
    ),
    ("saved-state-is-whole", "", "the saved state contains every used request"),
    (
        "remembers-every-request",
        "",
        "when a request is used, the device remembers every request that was used before",
    ),
    (
        "transfer-while-suspended",
        "vhost-user.device-state.suspended-first",
        "a transfer begins only while the device is suspended",
    ),
    (
        "only-offered-features",
        "vhost-user.features.offered-only",
        "the front-end acknowledges only offered features",
    ),
    (
        "protocol-features-where-there-are",
        "vhost-user.protocol-features.gated",
        "the messages about protocol features are read only once bit 30 was offered",
    ),
    (
        "only-negotiated-messages",
        "vhost-user.message.gated",
        "a message that needs a protocol feature is read only after the feature was negotiated",
    ),
    (
        "status-reads-back",
        "vhost-user.status.read-back",
        "GET_STATUS returns the last written status",
    ),
    (
        "status-0-resets-at-once",
        "vhost-user.status.zero-resets",
        "after status 0 was read, the device is in its initial state and no ring runs",
    ),
    (
        "frozen-while-suspended",
        "",
        "while the device is suspended by SUSPEND, its state does not change",
    ),
    ("suspended-until-resume", "", "only RESUME ends the suspension that SUSPEND began"),
    (
        "suspend-and-resume-alternate",
        "",
        "RESUME is read only while the device is suspended by SUSPEND",
    ),
    (
        "messages-are-answered",
        "vhost-user.reply.must",
        "a message that has a reply gets it eventually",
    ),
    (
        "requests-are-completed",
        "vhost-user.ring.started-processes",
        "in the end every request was used, or its ring does not run",
    ),
    (
        "state-is-written",
        "vhost-user.device-state.writer-closes",
        "when the back-end begins to write its state, it finishes eventually",
    ),
    (
        "check-tells-the-end",
        "vhost-user.device-state.check-reports",
        "the back-end replies to CHECK_DEVICE_STATE only after the transfer has ended",
    ),
    (
        "check-follows-the-data",
        "vhost-user.device-state.check-after-transfer",
        "CHECK_DEVICE_STATE is read only when the transfer has ended",
    ),
    (
        "only-negotiated-own-messages",
        "vhost-user.back-end-message.gated",
        "a back-end request is sent only after its feature was negotiated",
    ),
    (
        "asks-only-who-acknowledges",
        "vhost-user.back-end-message.need-reply-negotiated",
        "the back-end asks for an acknowledgement only once REPLY_ACK was negotiated",
    ),
    (
        "own-messages-are-answered",
        "vhost-user.back-end-message.answered",
        "of two back-end requests that ask for a reply, the older gets it",
    ),
    (
        "features-come-with-what-they-need",
        "vhost-user.in-band.needs-channel-and-acknowledgements",
        "in-band notifications are negotiated with a channel and acknowledgements, recording with \
         a buffer",
    ),
    (
        "no-more-regions-than-slots",
        "vhost-user.memory.within-slots",
        "the back-end never has more memory regions than it reported",
    ),
    (
        "only-known-regions-removed",
        "vhost-user.memory.removed-was-added",
        "a memory region is removed only if one exists",
    ),
    (
        "kicked-requests-come-back",
        "",
        "in the end, while the virtual CPUs run, every kicked request was used",
    ),
    (
        "copy-is-whole",
        "vhost-user.dirty-log.marks-buffers",
        "in the end, the copy of guest memory equals the memory",
    ),
    (
        "log-is-quiet-while-suspended",
        "vhost-user.migration.no-update-until-restart",
        "while the device is suspended, the dirty log does not change",
    ),
    (
        "says-nothing-while-suspended",
        "vhost-user.suspended.no-messages",
        "while all rings are stopped the back-end sends no back-end request",
    ),
    (
        "suspended-means-idle",
        "",
        "when the status is read with SUSPEND set, no request is in flight",
    ),
    (
        "left-behind-is-taken-up",
        "vhost-user.in-flight.resubmits",
        "requests that an earlier process recorded are resubmitted when their ring runs",
    ),
    (
        "acknowledgements-negotiated",
        "vhost-user.reply-ack.asked-when-negotiated",
        "the front-end asks for an acknowledgement only once REPLY_ACK was negotiated",
    ),
];

/// The property of this name; `None` if there is none.
#[must_use]
#[allow(clippy::too_many_lines)] // one arm a property: a list, not a procedure
pub fn named<const R: usize, const N: usize>(table: &Arc<Table>, name: &str) -> Option<P<R, N>> {
    let resume = table.named("RESUME");
    let names = Names { table: Arc::clone(table), resume };
    let n = names.clone();
    let name = ALL.iter().find(|(known, _, _)| *known == name)?.0;
    Some(match name {
        "nothing-processed-while-stopped" => P::always(
            name,
            |t| used(t).is_some(),
            move |t| {
                let s = &t.before.parts.0;
                used(t)
                    .is_none_or(|(ring, _)| s.rings[ring as usize].started || n.draining(s, ring))
            },
        ),
        "nothing-fetched-while-disabled" => P::always(
            name,
            |t| matches!(t.action, Action::Hidden(step) if step.name == "fetch"),
            |t| match t.action {
                Action::Hidden(step) => t.before.parts.0.rings[step.index as usize].enabled,
                _ => true,
            },
        ),
        "no-request-completed-twice" => P::always(
            name,
            |t| used(t).is_some(),
            |t| {
                used(t).is_none_or(|(ring, request)| {
                    t.before.parts.1.rings[ring as usize].done >> (request % 64) & 1 == 0
                })
            },
        ),
        "only-available-requests" => P::always(
            name,
            |t| used(t).is_some(),
            |t| {
                used(t).is_none_or(|(ring, request)| {
                    request < t.before.parts.1.rings[ring as usize].posted
                })
            },
        ),
        "no-request-lost" => P::at_end(name, |w| {
            let rings = w.parts.0.rings.iter().zip(&w.parts.1.rings);
            rings.into_iter().all(|(ring, guest)| {
                (0..ring.base).all(|request| guest.done >> (request % 64) & 1 == 1)
            })
        }),
        "base-is-next" => {
            let m = names.clone();
            P::always(
                name,
                move |t| reply(t).is_some_and(|(id, ..)| n.answers(id, Answer::Base)),
                move |t| match reply(t) {
                    Some((id, ring, base)) if m.answers(id, Answer::Base) => {
                        let done = t.before.parts.1.rings[ring as usize].done;
                        u64::from(done.trailing_ones()) == base
                    }
                    _ => true,
                },
            )
        }
        "silent-while-suspended" => {
            let m = names.clone();
            P::always(
                name,
                move |t| n.suspended(&t.before.parts.0),
                move |t| {
                    !(m.suspended(&t.before.parts.0)
                        && matches!(
                            t.action,
                            Action::Now(
                                Event::Used { .. } | Event::Call { .. } | Event::BackEndMessage(_)
                            )
                        ))
                },
            )
        }
        "nothing-processed-while-saved" => P::always(
            name,
            |t| t.before.parts.0.transfer == Transfer::Saving,
            |t| t.before.parts.0.transfer != Transfer::Saving || used(t).is_none(),
        ),
        "saved-state-is-whole" => P::always(
            name,
            |t| matches!(t.action, Action::Now(Event::Saved { .. })),
            |t| match t.action {
                Action::Now(Event::Saved { value }) => {
                    u32::from(*value) == t.before.parts.1.completed()
                }
                _ => true,
            },
        ),
        "remembers-every-request" => P::always(
            name,
            |t| used(t).is_some() && t.before.parts.1.completed() > 0,
            |t| {
                let (s, guest, _) = &t.before.parts;
                used(t).is_none() || u32::from(s.internal) == guest.completed()
            },
        ),
        "transfer-while-suspended" => P::always(
            name,
            |t| t.after.parts.0.transfer == Transfer::Saving,
            |t| {
                let s = &t.after.parts.0;
                s.transfer != Transfer::Saving || s.suspended || s.all_stopped()
            },
        ),
        "only-offered-features" => P::always(
            name,
            move |t| read(t).is_some_and(|m| n.receives(m, Effect::SetFeatures)),
            |t| {
                let s = &t.after.parts.0;
                s.features.0 & !s.offered.0 == 0 && s.protocol.0 & !s.protocol_offered.0 == 0
            },
        ),
        "protocol-features-where-there-are" => {
            let m = names.clone();
            let about = |names: &Names, m: &Message| {
                names.answers(m.id, Answer::ProtocolFeatures)
                    || names.receives(m, Effect::SetProtocolFeatures)
            };
            P::always(
                name,
                move |t| read(t).is_some_and(|m| about(&n, m)),
                move |t| {
                    let offered = t.before.parts.0.offered.0 & F_PROTOCOL_FEATURES != 0;
                    offered || !read(t).is_some_and(|message| about(&m, message))
                },
            )
        }
        "only-negotiated-messages" => {
            let gate = move |t: &T<'_, R, N>| {
                let m = read(t)?;
                let gate = n.table.messages[m.id.0 as usize].gate.clone()?;
                Some(t.before.parts.0.protocol.0 >> gate.bit & 1 == 1)
            };
            let open = gate.clone();
            P::always(name, move |t| gate(t).is_some(), move |t| open(t).unwrap_or(true))
        }
        "status-reads-back" => {
            let m = names.clone();
            P::always(
                name,
                move |t| reply(t).is_some_and(|(id, ..)| n.answers(id, Answer::Status)),
                move |t| match reply(t) {
                    Some((id, _, value)) if m.answers(id, Answer::Status) => {
                        value == u64::from(t.before.parts.2.status)
                    }
                    _ => true,
                },
            )
        }
        "status-0-resets-at-once" => {
            let zero = move |t: &T<'_, R, N>| {
                read(t).is_some_and(|m| m.value.0 == 0 && n.receives(m, Effect::SetStatus))
            };
            let read_zero = zero.clone();
            P::always(name, zero, move |t| {
                let s = &t.after.parts.0;
                !read_zero(t) || (s.internal == 0 && s.all_stopped())
            })
        }
        "frozen-while-suspended" => P::always(
            name,
            |t| t.before.parts.0.suspended,
            |t| {
                let (before, after) = (&t.before.parts.0, &t.after.parts.0);
                !before.suspended || before.internal == after.internal || !after.suspended
            },
        ),
        "suspended-until-resume" => P::always(
            name,
            |t| t.before.parts.0.suspended,
            move |t| {
                let (before, after) = (&t.before.parts.0, &t.after.parts.0);
                let resumed = read(t).is_some_and(|m| Some(m.id) == n.resume);
                !before.suspended || after.suspended || resumed
            },
        ),
        "suspend-and-resume-alternate" => P::always(
            name,
            move |t| read(t).is_some_and(|m| Some(m.id) == n.resume),
            move |t| {
                let resumed = read(t).is_some_and(|m| Some(m.id) == names.resume);
                !resumed || t.before.parts.0.suspended
            },
        ),
        "features-come-with-what-they-need" => P::always(
            name,
            move |t| read(t).is_some_and(|m| n.receives(m, Effect::SetProtocolFeatures)),
            |t| {
                let has = |bit: u32| t.after.parts.0.protocol.0 >> bit & 1 == 1;
                (!has(14) || (has(3) && has(5))) && (!has(20) || has(12))
            },
        ),
        "acknowledgements-negotiated" => P::always(
            name,
            |t| read(t).is_some(),
            move |t| {
                let negotiated = t.before.parts.0.protocol.0 >> n.table.reply_ack & 1 == 1;
                negotiated || read(t).is_none_or(|m| !m.need_reply)
            },
        ),
        "no-more-regions-than-slots" => P::always(
            name,
            move |t| read(t).is_some_and(|m| n.receives(m, Effect::AddRegion)),
            |t| {
                let s = &t.after.parts.0;
                s.slots == 0 || s.regions <= s.slots
            },
        ),
        "only-known-regions-removed" => {
            let m = names.clone();
            P::always(
                name,
                move |t| read(t).is_some_and(|r| n.receives(r, Effect::RemoveRegion)),
                move |t| {
                    !read(t).is_some_and(|r| m.receives(r, Effect::RemoveRegion))
                        || t.before.parts.0.regions > 0
                },
            )
        }
        "only-negotiated-own-messages" => {
            let m = names.clone();
            let needs = move |t: &T<'_, R, N>| {
                let Action::Now(Event::BackEndMessage(m)) = t.action else { return None };
                n.table.back_end.get(m.id.0 as usize)?.gate.clone()
            };
            P::always(
                name,
                |t| own(t).is_some(),
                move |t| {
                    let protocol = t.before.parts.0.protocol.0;
                    needs(t).is_none_or(|gate| protocol >> gate.bit & 1 == 1)
                        && own(t).is_none_or(|sent| {
                            let def = m.table.back_end.get(sent.id.0 as usize);
                            let virtio = def.and_then(|def| def.virtio);
                            virtio.is_none_or(|bit| t.before.parts.0.features.0 >> bit & 1 == 1)
                        })
                },
            )
        }
        "asks-only-who-acknowledges" => P::always(
            name,
            |t| own(t).is_some(),
            move |t| {
                let acknowledges = t.before.parts.0.protocol.0 >> n.table.reply_ack & 1 == 1;
                acknowledges || own(t).is_none_or(|sent| !sent.need_reply)
            },
        ),
        "own-messages-are-answered" => {
            P::leads_to(name, |w| w.parts.0.asked.is_full(), |w| !w.parts.0.asked.is_full())
        }
        "messages-are-answered" => {
            P::leads_to(name, |w| !w.parts.0.owed.is_empty(), |w| w.parts.0.owed.is_empty())
        }
        "requests-are-completed" => P::leads_to(name, waits, |w| !waits(w)),
        "state-is-written" => P::leads_to(
            name,
            |w| w.parts.0.transfer == Transfer::Saving,
            |w| w.parts.0.transfer != Transfer::Saving,
        ),
        "check-tells-the-end" => {
            let m = names.clone();
            P::always(
                name,
                move |t| reply(t).is_some_and(|(id, ..)| n.answers(id, Answer::Check)),
                move |t| {
                    !reply(t).is_some_and(|(id, ..)| m.answers(id, Answer::Check))
                        || transferred(&t.before.parts.0)
                },
            )
        }
        "check-follows-the-data" => {
            let m = names.clone();
            P::always(
                name,
                move |t| read(t).is_some_and(|message| n.answers(message.id, Answer::Check)),
                move |t| {
                    !read(t).is_some_and(|message| m.answers(message.id, Answer::Check))
                        || transferred(&t.before.parts.0)
                },
            )
        }
        "kicked-requests-come-back" => P::at_end(name, |w| {
            let guest = &w.parts.1;
            let back = |r: &Requests| r.kick_due || u32::from(r.posted) == r.done.count_ones();
            !guest.running || guest.rings.iter().all(back)
        }),
        "copy-is-whole" => P::at_end(name, |w| w.parts.1.copy_is_whole()),
        "log-is-quiet-while-suspended" => {
            let m = names.clone();
            P::always(
                name,
                move |t| t.before.parts.0.log != 0 && n.suspended(&t.before.parts.0),
                move |t| {
                    let marks = matches!(t.action, Action::Now(Event::Marked { .. }));
                    !marks || !m.suspended(&t.before.parts.0)
                },
            )
        }
        "says-nothing-while-suspended" => {
            let m = names.clone();
            P::always(
                name,
                move |t| n.suspended(&t.before.parts.0),
                move |t| {
                    let says = matches!(t.action, Action::Now(Event::BackEndMessage(_)));
                    !says || !m.suspended(&t.before.parts.0)
                },
            )
        }
        "suspended-means-idle" => {
            let shown = move |t: &T<'_, R, N>| {
                reply(t).is_some_and(|(id, _, value)| {
                    n.answers(id, Answer::Status) && value & SUSPEND != 0
                })
            };
            let read = shown.clone();
            P::always(name, shown, move |t| {
                !read(t) || t.before.parts.0.rings.iter().all(|r| r.open == 0)
            })
        }
        "left-behind-is-taken-up" => {
            let left = |w: &VhostWorld<R, N>| {
                let s = &w.parts.0;
                let runs = |r: &Ring| r.started && r.enabled && r.left_behind() != 0;
                s.in_flight && !s.suspended && s.rings.iter().any(runs)
            };
            P::leads_to(name, left, move |w| !left(w))
        }
        _ => return None,
    })
}
