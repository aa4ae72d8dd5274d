//! What is expected of VFIO migration: over what the client knows, what memory holds, and what the
//! device does; not over the rules that are meant to ensure it.

use std::sync::Arc;

use super::client::{Client, Guest, Memory, UNKNOWN};
use super::event::{Act, Answer, Call, Event, Ranges, Region};
use super::machine::Device;
use super::path::Reading;
use super::state::State;
use super::table::{Dma, Session, Table};
use devmig_engine::compose::GlobalStateOf;
use devmig_engine::system::{Property, Transition};

/// Who takes part: two devices, guest memory, the client, the guest.
pub type Parts = (Device, Device, Memory, Client, Guest);
/// The state of them all.
pub type GlobalState = GlobalStateOf<Parts, 0, 0>;
type Seen<'a> = Transition<'a, GlobalState, Event>;

/// Every property: its name, the clause behind it (or ``), and what it says.
pub const ALL: &[(&str, &str, &str)] = &[
    ("set-means-there", "vfio.set.completes", "a SET that succeeds ends in the requested state"),
    (
        "no-set-to-what-is-not-there",
        "vfio.set.optional-states",
        "a SET to an unsupported state fails",
    ),
    ("error-is-left-by-reset-alone", "vfio.set.error", "a SET to ERROR, or from it, fails"),
    (
        "no-way-back-into-pre-copy",
        "vfio.set.blocked",
        "a SET from STOP_COPY to a state of pre-copy fails",
    ),
    (
        "state-changes-by-set-alone",
        "vfio.set.only-client",
        "GET returns the state that the last SET led to",
    ),
    (
        "failed-set-is-on-the-way",
        "vfio.set.failure-on-path",
        "after a failed SET, GET returns a state on the path, or ERROR",
    ),
    (
        "descriptor-iff-session-begins",
        "vfio.session.new",
        "a SET returns a descriptor if and only if it begins a session",
    ),
    (
        "data-only-in-session",
        "vfio.session.ends",
        "data is read and written only while a session is open",
    ),
    ("answers-while-running", "vfio.running.works", "a device that runs answers every access"),
    (
        "config-answered-while-stopped",
        "vfio.stop.answers",
        "a stopped device answers accesses to configuration space",
    ),
    (
        "kept-off-while-stopped",
        "vfio.stop.kept-off",
        "no access to the registers of a stopped or partly stopped device",
    ),
    (
        "stopped-means-silent",
        "vfio.stop.silent",
        "a stopped device raises no interrupt and starts no DMA",
    ),
    (
        "stopped-means-frozen",
        "vfio.stop.frozen",
        "the internal state of a stopped device does not change",
    ),
    ("no-dma-after-stop", "vfio.stop.drains", "no DMA of a stopped device arrives"),
    ("no-peer-dma-begins", "vfio.p2p.no-new", "no peer DMA begins in a P2P state"),
    ("no-peer-dma-arrives", "vfio.p2p.drains", "no peer DMA of a device in a P2P state arrives"),
    (
        "bad-data-is-refused",
        "vfio.resume.validates",
        "no device leaves RESUMING with bad or incomplete data",
    ),
    ("good-data-is-accepted", "vfio.resume.accepts", "data that a device gave is accepted"),
    (
        "restored-is-saved",
        "vfio.resume.restores",
        "the internal state of the destination is that of the source",
    ),
    ("destination-runs", "", "the destination runs after it loaded the data"),
    ("reset-recovers", "vfio.reset.recovers", "a reset leads from ERROR to RUNNING"),
    ("reset-ends-session", "vfio.reset.aborts", "a reset ends a session"),
    (
        "info-in-pre-copy-alone",
        "vfio.pre-copy.info",
        "GET_PRECOPY_INFO is answered in states of pre-copy and nowhere else",
    ),
    (
        "initial-begins-above-0",
        "vfio.pre-copy.initial-begins",
        "the first initial_bytes of a session is greater than 0",
    ),
    ("initial-falls", "vfio.pre-copy.initial-falls", "initial_bytes increases only with REINIT"),
    (
        "dirty-begins-at-0",
        "vfio.pre-copy.dirty-begins",
        "the first dirty_bytes of a session is 0, if nothing changed",
    ),
    (
        "reinit-after-opt-in",
        "vfio.pre-copy.reinit",
        "REINIT is reported only to a client that opted in",
    ),
    (
        "quiet-means-quiet",
        "vfio.pre-copy.quiet",
        "in pre-copy a read returns nothing if and only if no data remains",
    ),
    (
        "end-is-for-ever",
        "vfio.stop-copy.end",
        "in STOP_COPY a read never returns ENOMSG, and after the end always the end",
    ),
    (
        "end-means-whole",
        "vfio.stop-copy.whole",
        "at the end of the stream the client has read the internal state",
    ),
    (
        "copy-is-whole",
        "vfio.log.no-write-lost",
        "at the end the copy of guest memory equals the memory",
    ),
    (
        "report-while-logging-alone",
        "vfio.log.report-needs-start",
        "a report fails unless writes are logged",
    ),
    ("bad-ranges-log-nothing", "vfio.log.bad-ranges", "START with bad ranges fails"),
    ("log-started-once", "vfio.log.start-once", "a log that is started is not started again"),
    ("client-knows-state", "", "the device is in the state that the client believes"),
    (
        "fresh-client-finds-it-running",
        "",
        "at the end a device that was reset for a new client runs",
    ),
    ("nothing-lands-after-save", "", "no peer DMA changes a device whose state was read out"),
    ("nothing-is-lost", "", "all peer DMA has its effect"),
];

/// The call of a device that is answered in this transition, and how.
fn answered(t: &Seen, device: u8) -> Option<(Call, Answer)> {
    let event = t.action.event().filter(|event| event.device == device)?;
    let Act::Answer(answer) = event.act else { return None };
    Some((of(t.before, device).pending?, answer))
}

fn set_answered(t: &Seen, device: u8) -> Option<(u8, bool)> {
    match answered(t, device)? {
        (Call::Set(to), answer) => Some((to, answer != Answer::Refused)),
        _ => None,
    }
}

fn called(t: &Seen) -> Option<Call> {
    match t.action.event()?.act {
        Act::Call(call) if t.action.event()?.device == 0 => Some(call),
        _ => None,
    }
}

fn is_reset(t: &Seen) -> bool {
    matches!(
        t.action.event().map(|event| event.act),
        Some(Act::Call(Call::Reset(_) | Call::Reopen))
    )
}

fn of(world: &GlobalState, device: u8) -> &State {
    if device == 0 { &world.parts.0 } else { &world.parts.1 }
}

/// The device that does this, and the one that it does it to.
fn pair<'a>(t: &Seen<'a>, act: Act) -> Option<(u8, &'a State, &'a State)> {
    let event = t.action.event().filter(|event| event.act == act)?;
    let target = 1 - event.device;
    Some((event.device, of(t.before, target), of(t.after, target)))
}

/// What a state is, by the table, to a device with these features.
#[derive(Clone, Debug)]
struct Look(Arc<Table>, u64);

impl Look {
    fn session(&self, at: u8) -> Session {
        self.0.state(at).map_or(Session::None, |state| state.session)
    }

    fn runs(&self, at: u8) -> bool {
        self.0.state(at).is_some_and(|state| state.runs)
    }

    fn dma(&self, at: u8) -> Dma {
        self.0.state(at).map_or(Dma::None, |state| state.dma)
    }

    fn is_final(&self, at: u8) -> bool {
        self.0.state(at).is_some_and(|state| state.is_final)
    }

    fn live(&self, at: u8) -> bool {
        self.runs(at) && self.session(at) == Session::Saving
    }

    /// STOP, STOP_COPY and their like.
    fn stands(&self, at: u8) -> bool {
        !self.runs(at) && !self.is_final(at) && self.session(at) != Session::Resuming
    }

    /// A device that leaves RESUMING as it should: which one.
    fn leaves(&self, t: &Seen) -> Option<u8> {
        (0..2).find(|device| {
            let (before, after) = (of(t.before, *device).at, of(t.after, *device).at);
            let resuming = |at| self.session(at) == Session::Resuming;
            resuming(before) && !resuming(after) && !self.is_final(after) && !is_reset(t)
        })
    }
}

const STOP_COPY: &str = "STOP_COPY";
const RUNNING: &str = "RUNNING";

/// The property of this name, for devices of this table; the first has these features.
#[must_use]
#[allow(clippy::too_many_lines)] // a list
pub fn named(table: &Arc<Table>, flags: u64, name: &str) -> Option<Property<GlobalState, Event>> {
    let (name, ..) = ALL.iter().find(|(known, ..)| *known == name)?;
    let look = Look(Arc::clone(table), flags);
    let running = table.named(RUNNING).map_or(u8::MAX, |state| state.value);
    let stop_copy = table.named(STOP_COPY).map_or(u8::MAX, |state| state.value);
    macro_rules! always {
        ($when:expr, $then:expr) => {{
            // Typed here, so that each closure need not be.
            let when: fn(&Look, &Seen) -> bool = $when;
            let then: fn(&Look, &Seen) -> bool = $then;
            let (one, two) = (look.clone(), look.clone());
            Property::always(name, move |t: &Seen| when(&one, t), move |t: &Seen| then(&two, t))
        }};
    }
    Some(match *name {
        "set-means-there" => always!(
            |_, t| set_answered(t, 0).is_some_and(|(_, done)| done),
            |_, t| set_answered(t, 0).is_none_or(|(to, _)| t.after.parts.0.at == to)
        ),
        "no-set-to-what-is-not-there" => {
            let (one, two) = (Arc::clone(table), Arc::clone(table));
            Property::always(
                name,
                move |t: &Seen| set_answered(t, 0).is_some_and(|(to, _)| !one.supports(flags, to)),
                move |t: &Seen| {
                    set_answered(t, 0).is_none_or(|(to, done)| !done || two.supports(flags, to))
                },
            )
        }
        "error-is-left-by-reset-alone" => always!(
            |look, t| set_answered(t, 0)
                .is_some_and(|(to, _)| look.is_final(to) || look.is_final(t.before.parts.3.origin)),
            |_, t| set_answered(t, 0).is_none_or(|(_, done)| !done)
        ),
        "no-way-back-into-pre-copy" => Property::always(
            name,
            {
                let look = look.clone();
                move |t: &Seen| {
                    t.before.parts.3.origin == stop_copy
                        && set_answered(t, 0).is_some_and(|(to, _)| look.live(to))
                }
            },
            |t: &Seen| set_answered(t, 0).is_none_or(|(_, done)| !done),
        ),
        "state-changes-by-set-alone" => always!(
            |_, t| matches!(answered(t, 0), Some((Call::Get, _)))
                && t.before.parts.3.belief != UNKNOWN,
            |_, t| match answered(t, 0) {
                Some((_, Answer::State(at))) => at == t.before.parts.3.belief,
                _ => true,
            }
        ),
        "failed-set-is-on-the-way" => {
            let table = Arc::clone(table);
            Property::always(
                name,
                |t: &Seen| {
                    let client = &t.before.parts.3;
                    matches!(answered(t, 0), Some((Call::Get, _)))
                        && client.failed
                        && client.belief == UNKNOWN
                        && client.origin != UNKNOWN
                },
                move |t: &Seen| {
                    let Some((_, Answer::State(at))) = answered(t, 0) else { return true };
                    let (from, to) = (t.before.parts.3.origin, t.before.parts.3.target);
                    let path = table.path(flags, Reading::Kernel, from, to);
                    let path = path.unwrap_or_else(|_| vec![from, to]);
                    let is_final = table.state(at).is_some_and(|state| state.is_final);
                    is_final || path.split_last().is_some_and(|(_, way)| way.contains(&at))
                },
            )
        }
        "descriptor-iff-session-begins" => always!(
            |_, t| set_answered(t, 0).is_some_and(|(_, done)| done)
                && t.before.parts.3.origin != UNKNOWN,
            |look, t| match answered(t, 0) {
                Some((Call::Set(to), answer)) => {
                    let (from, to) = (look.session(t.before.parts.3.origin), look.session(to));
                    let begins = to != Session::None && to != from;
                    begins == (answer == Answer::DoneWithDescriptor)
                }
                _ => true,
            }
        ),
        "data-only-in-session" => always!(
            |_, t| matches!(
                answered(t, 0),
                Some((Call::Read, Answer::Data(_)) | (Call::Write(_), Answer::Done))
            ),
            |look, t| match answered(t, 0) {
                Some((Call::Read, _)) => look.session(t.before.parts.0.at) == Session::Saving,
                Some(_) => look.session(t.before.parts.0.at) == Session::Resuming,
                None => true,
            }
        ),
        "answers-while-running" => always!(
            |look, t| matches!(answered(t, 0), Some((Call::Access(_), _)))
                && look.runs(t.before.parts.0.at),
            |_, t| answered(t, 0).is_none_or(|(_, answer)| answer == Answer::Done)
        ),
        "config-answered-while-stopped" => always!(
            |look, t| matches!(answered(t, 0), Some((Call::Access(Region::Config), _)))
                && look.stands(t.before.parts.0.at),
            |_, t| answered(t, 0).is_none_or(|(_, answer)| answer == Answer::Done)
        ),
        "kept-off-while-stopped" => {
            always!(|_, t| called(t) == Some(Call::Access(Region::Registers)), |look, t| {
                let at = t.before.parts.0.at;
                look.dma(at) == Dma::Any
                    || look.is_final(at)
                    || look.session(at) == Session::Resuming
            })
        }
        "stopped-means-silent" => always!(
            |_, t| matches!(
                t.action.event().map(|event| event.act),
                Some(Act::Interrupt | Act::Write(_) | Act::WriteByClient(_) | Act::PeerBegins)
            ),
            |look, t| t.action.event().is_none_or(|event| look.runs(of(t.before, event.device).at))
        ),
        "stopped-means-frozen" => {
            always!(|look, t| look.stands(t.before.parts.0.at), |_, t| is_reset(t)
                || t.before.parts.0.inside == t.after.parts.0.inside)
        }
        "no-dma-after-stop" => {
            always!(|_, t| pair(t, Act::PeerArrives).is_some(), |look, t| pair(t, Act::PeerArrives)
                .is_none_or(|(device, ..)| look.dma(of(t.before, device).at) != Dma::None))
        }
        "no-peer-dma-begins" => {
            always!(|_, t| pair(t, Act::PeerBegins).is_some(), |look, t| pair(t, Act::PeerBegins)
                .is_none_or(|(device, ..)| look.dma(of(t.before, device).at) != Dma::NoPeer))
        }
        "no-peer-dma-arrives" => {
            always!(|_, t| pair(t, Act::PeerArrives).is_some(), |look, t| pair(t, Act::PeerArrives)
                .is_none_or(|(device, ..)| look.dma(of(t.before, device).at) != Dma::NoPeer))
        }
        "bad-data-is-refused" => always!(
            |look, t| matches!(t.action.event().map(|e| (e.device, e.act)), Some((device, Act::Answer(_)))
                if matches!(of(t.before, device).pending, Some(Call::Set(_))))
                || look.leaves(t).is_some(),
            |look, t| look.leaves(t).is_none_or(|device| {
                let stream = &of(t.before, device).stream;
                stream.last && !stream.wrong
            })
        ),
        "good-data-is-accepted" => {
            always!(|_, t| (0..2).any(|device| set_answered(t, device).is_some()), |look, t| (0..2)
                .all(|device| match set_answered(t, device) {
                    Some((to, false)) => {
                        let State { at, stream, .. } = of(t.before, device);
                        let stays = look.session(*at) == Session::Resuming;
                        !stays
                            || !stream.last
                            || stream.wrong
                            || look.is_final(to)
                            || !look.0.supports(look.1, to)
                    }
                    _ => true,
                }))
        }
        "restored-is-saved" => {
            always!(|look, t| look.leaves(t) == Some(1), |look, t| look.leaves(t) != Some(1)
                || t.after.parts.1.inside == t.before.parts.0.inside)
        }
        "destination-runs" => Property::reachable(name, move |t: &Seen| {
            t.after.parts.1.at == running && t.before.parts.1.at != running
        }),
        "reset-recovers" => always!(
            |look, t| matches!(called(t), Some(Call::Reset(_)))
                && look.is_final(t.before.parts.0.at),
            |look, t| !look.is_final(t.after.parts.0.at)
        ),
        "reset-ends-session" => always!(
            |look, t| matches!(called(t), Some(Call::Reset(_)))
                && look.session(t.before.parts.0.at) != Session::None,
            |look, t| look.session(t.after.parts.0.at) == Session::None
        ),
        "info-in-pre-copy-alone" => always!(
            |_, t| matches!(answered(t, 0), Some((Call::Info, _))),
            |look, t| match answered(t, 0) {
                Some((_, answer)) => (answer != Answer::Refused) == look.live(t.before.parts.0.at),
                None => true,
            }
        ),
        "initial-begins-above-0" => always!(
            |_, t| matches!(answered(t, 0), Some((_, Answer::Info(..))))
                && !t.before.parts.3.told
                && !t.before.parts.3.has,
            |_, t| !matches!(answered(t, 0), Some((_, Answer::Info(0, ..))))
        ),
        "initial-falls" => always!(
            |_, t| matches!(answered(t, 0), Some((_, Answer::Info(..)))) && t.before.parts.3.told,
            |_, t| match answered(t, 0) {
                Some((_, Answer::Info(initial, _, anew))) => {
                    anew || initial <= t.before.parts.3.initial
                }
                _ => true,
            }
        ),
        "dirty-begins-at-0" => always!(
            |_, t| matches!(answered(t, 0), Some((_, Answer::Info(..))))
                && !t.before.parts.3.told
                && !t.before.parts.3.has
                && !t.before.parts.0.stream.changed,
            |_, t| matches!(answered(t, 0), Some((_, Answer::Info(_, 0, _))))
        ),
        "reinit-after-opt-in" => always!(
            |_, t| matches!(answered(t, 0), Some((_, Answer::Info(..)))),
            |_, t| !matches!(answered(t, 0), Some((_, Answer::Info(_, _, true))))
                || t.before.parts.0.stream.opted_in
        ),
        "quiet-means-quiet" => always!(
            |look, t| matches!(answered(t, 0), Some((Call::Read, _)))
                && look.live(t.before.parts.0.at),
            |_, t| match answered(t, 0) {
                Some((_, answer)) => {
                    let stream = &t.before.parts.0.stream;
                    let there = stream.initial > 0 || stream.dirty > 0;
                    there == matches!(answer, Answer::Data(_)) && answer != Answer::End
                }
                None => true,
            }
        ),
        "end-is-for-ever" => always!(
            |look, t| matches!(answered(t, 0), Some((Call::Read, _)))
                && look.stands(t.before.parts.0.at)
                && look.session(t.before.parts.0.at) == Session::Saving,
            |_, t| match answered(t, 0) {
                Some((_, Answer::Data(_))) => !t.before.parts.0.stream.last,
                Some((_, answer)) => answer == Answer::End,
                None => true,
            }
        ),
        "end-means-whole" => always!(
            |look, t| matches!(answered(t, 0), Some((Call::Read, Answer::End)))
                && look.session(t.before.parts.0.at) == Session::Saving,
            |_, t| t.before.parts.3.has && t.before.parts.3.got == t.before.parts.0.inside
        ),
        "copy-is-whole" => {
            Property::at_end(name, |w: &GlobalState| w.parts.3.failed || w.parts.2.stale == 0)
        }
        "report-while-logging-alone" => always!(
            |_, t| matches!(answered(t, 0), Some((Call::LogReport(_), _)))
                && !t.before.parts.0.log.on,
            |_, t| answered(t, 0).is_none_or(|(_, answer)| answer == Answer::Refused)
        ),
        "bad-ranges-log-nothing" => always!(
            |_, t| matches!(answered(t, 0), Some((Call::LogStart(Ranges::Bad), _))),
            |_, t| answered(t, 0).is_none_or(|(_, answer)| answer == Answer::Refused)
        ),
        "log-started-once" => {
            always!(|_, t| matches!(called(t), Some(Call::LogStart(_))), |_, t| !t
                .before
                .parts
                .0
                .log
                .on)
        }
        "client-knows-state" => always!(
            |_, t| {
                let (device, client) = (&t.after.parts.0, &t.after.parts.3);
                device.pending.is_none() && !client.reset_due && client.belief != UNKNOWN
            },
            |_, t| t.after.parts.3.belief == t.after.parts.0.at
        ),
        "fresh-client-finds-it-running" => Property::at_end(name, move |w: &GlobalState| {
            w.parts.3.failed || w.parts.0.at == running
        }),
        "nothing-lands-after-save" => {
            always!(|_, t| pair(t, Act::PeerArrives).is_some(), |look, t| pair(t, Act::PeerArrives)
                .is_none_or(|(_, before, after)| {
                    let saved = look.stands(before.at) && before.stream.last;
                    !saved || before.inside == after.inside
                }))
        }
        "nothing-is-lost" => {
            always!(|_, t| pair(t, Act::PeerArrives).is_some(), |_, t| pair(t, Act::PeerArrives)
                .is_none_or(|(_, before, after)| before.inside != after.inside))
        }
        _ => return None,
    })
}
