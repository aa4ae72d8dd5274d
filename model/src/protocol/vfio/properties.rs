//! What is expected of VFIO migration: over what the client knows, what memory holds, and what the
//! device does; not over the rules that are meant to ensure it.

use std::sync::Arc;

use super::client::{Client, Guest, Memory, UNKNOWN};
use super::event::{Act, Answer, Call, Event, Ranges, Region};
use super::machine::Device;
use super::path::Reading;
use super::state::State;
use super::table::{Dma, Session, Table};
use crate::protocol::property::{Per, PropertyDefinition};
use devmig_engine::compose::GlobalStateOf;
use devmig_engine::system::{Test, Transition};

/// Who takes part: two devices, guest memory, the client, the guest.
pub type Parts = (Device, Device, Memory, Client, Guest);
/// The state of them all.
pub type GlobalState = GlobalStateOf<Parts, 0, 0>;
type Seen<'a> = Transition<'a, GlobalState, Event>;

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

/// What GET_PRECOPY_INFO tells of the first device: initial and dirty bytes, and whether they begin anew.
fn told(t: &Seen) -> Option<(u64, u64, bool)> {
    match answered(t, 0)? {
        (_, Answer::Info(initial, dirty, anew)) => Some((initial, dirty, anew)),
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

/// What a property needs to know of its system.
#[derive(Clone, Debug)]
pub struct Names {
    /// The states and arcs.
    pub table: Arc<Table>,
    /// The features of the first device.
    pub flags: u64,
    /// How many pages guest memory has.
    pub pages: u8,
}

impl Names {
    /// What a state is, by the table.
    fn session(&self, at: u8) -> Session {
        self.table.state(at).map_or(Session::None, |state| state.session)
    }

    fn runs(&self, at: u8) -> bool {
        self.table.state(at).is_some_and(|state| state.runs)
    }

    fn dma(&self, at: u8) -> Dma {
        self.table.state(at).map_or(Dma::None, |state| state.dma)
    }

    fn is_final(&self, at: u8) -> bool {
        self.table.state(at).is_some_and(|state| state.is_final)
    }

    fn live(&self, at: u8) -> bool {
        self.runs(at) && self.session(at) == Session::Saving
    }

    /// STOP, STOP_COPY and their like.
    fn stands(&self, at: u8) -> bool {
        !self.runs(at) && !self.is_final(at) && self.session(at) != Session::Resuming
    }

    fn named(&self, name: &str) -> u8 {
        self.table.named(name).map_or(u8::MAX, |state| state.value)
    }

    fn is_running(&self, at: u8) -> bool {
        at == self.named("RUNNING")
    }

    /// Whether this device leaves RESUMING as it should.
    fn leaves(&self, t: &Seen, device: u8) -> bool {
        let (before, after) = (of(t.before, device).at, of(t.after, device).at);
        let resuming = |at| self.session(at) == Session::Resuming;
        resuming(before) && !resuming(after) && !self.is_final(after) && !is_reset(t)
    }
}

type D = PropertyDefinition<Names, GlobalState, Event>;

const DEVICE: Per<Names> = Per { each: "device", count: |_| 2 };
const PAGE: Per<Names> = Per { each: "page", count: |names| usize::from(names.pages) };

fn implies(
    holds: impl Fn(&Seen) -> Option<bool> + Send + Sync + 'static,
) -> Test<GlobalState, Event> {
    Test::implies(holds)
}

/// The same as a function of the first device, of which most properties are.
fn first(names: Names, holds: fn(&Names, &Seen) -> Option<bool>) -> Test<GlobalState, Event> {
    implies(move |t| holds(&names, t))
}

/// Every property.
pub const ALL: &[D] = &[
    D::of_system(
        "set-means-there",
        "vfio.set.completes",
        "a SET that succeeds ends in the requested state",
        |names, _| {
            first(names, |_, t| {
                let (to, done) = set_answered(t, 0)?;
                done.then_some(t.after.parts.0.at == to)
            })
        },
    ),
    D::of_system(
        "no-set-to-what-is-not-there",
        "vfio.set.optional-states",
        "a SET to an unsupported state fails",
        |names, _| {
            first(names, |names, t| {
                let (to, done) = set_answered(t, 0)?;
                (!names.table.supports(names.flags, to)).then_some(!done)
            })
        },
    ),
    D::of_system(
        "error-is-left-by-reset-alone",
        "vfio.set.error",
        "a SET to ERROR, or from it, fails",
        |names, _| {
            first(names, |names, t| {
                let (to, done) = set_answered(t, 0)?;
                (names.is_final(to) || names.is_final(t.before.parts.3.origin)).then_some(!done)
            })
        },
    ),
    D::of_system(
        "no-way-back-into-pre-copy",
        "vfio.set.blocked",
        "a SET from STOP_COPY to a state of pre-copy fails",
        |names, _| {
            first(names, |names, t| {
                let (to, done) = set_answered(t, 0)?;
                let stop_copy = names.named("STOP_COPY");
                (t.before.parts.3.origin == stop_copy && names.live(to)).then_some(!done)
            })
        },
    ),
    D::of_system(
        "state-changes-by-set-alone",
        "vfio.set.only-client",
        "GET returns the state that the last SET led to",
        |names, _| {
            first(names, |_, t| {
                let (Call::Get, answer) = answered(t, 0)? else { return None };
                let belief = t.before.parts.3.belief;
                let same = match answer {
                    Answer::State(at) => at == belief,
                    _ => true,
                };
                (belief != UNKNOWN).then_some(same)
            })
        },
    ),
    D::of_system(
        "failed-set-is-on-the-way",
        "vfio.set.failure-on-path",
        "after a failed SET, GET returns a state on the path, or ERROR",
        |names, _| {
            first(names, |names, t| {
                let (Call::Get, answer) = answered(t, 0)? else { return None };
                let client = &t.before.parts.3;
                if !client.failed || client.belief != UNKNOWN || client.origin == UNKNOWN {
                    return None;
                }
                let Answer::State(at) = answer else { return Some(true) };
                let (from, to) = (client.origin, client.target);
                let path = names.table.path(names.flags, Reading::Kernel, from, to);
                let path = path.unwrap_or_else(|_| vec![from, to]);
                Some(
                    names.is_final(at)
                        || path.split_last().is_some_and(|(_, way)| way.contains(&at)),
                )
            })
        },
    ),
    D::of_system(
        "descriptor-iff-session-begins",
        "vfio.session.new",
        "a SET returns a descriptor if and only if it begins a session",
        |names, _| {
            first(names, |names, t| {
                let (Call::Set(to), answer) = answered(t, 0)? else { return None };
                let origin = t.before.parts.3.origin;
                let (from, to) = (names.session(origin), names.session(to));
                let begins = to != Session::None && to != from;
                (answer != Answer::Refused && origin != UNKNOWN)
                    .then(|| begins == (answer == Answer::DoneWithDescriptor))
            })
        },
    ),
    D::of_system(
        "data-only-in-session",
        "vfio.session.ends",
        "data is read and written only while a session is open",
        |names, _| {
            first(names, |names, t| {
                let session = names.session(t.before.parts.0.at);
                match answered(t, 0)? {
                    (Call::Read, Answer::Data(_)) => Some(session == Session::Saving),
                    (Call::Write(_), Answer::Done) => Some(session == Session::Resuming),
                    _ => None,
                }
            })
        },
    ),
    D::of_system(
        "answers-while-running",
        "vfio.running.works",
        "a device that runs answers every access",
        |names, _| {
            first(names, |names, t| {
                let (Call::Access(_), answer) = answered(t, 0)? else { return None };
                names.runs(t.before.parts.0.at).then(|| answer == Answer::Done)
            })
        },
    ),
    D::of_system(
        "config-answered-while-stopped",
        "vfio.stop.answers",
        "a stopped device answers accesses to configuration space",
        |names, _| {
            first(names, |names, t| {
                let (Call::Access(Region::Config), answer) = answered(t, 0)? else { return None };
                names.stands(t.before.parts.0.at).then(|| answer == Answer::Done)
            })
        },
    ),
    D::of_system(
        "kept-off-while-stopped",
        "vfio.stop.kept-off",
        "no access to the registers of a stopped or partly stopped device",
        |names, _| {
            first(names, |names, t| {
                let at = t.before.parts.0.at;
                (called(t)? == Call::Access(Region::Registers)).then(|| {
                    names.dma(at) == Dma::Any
                        || names.is_final(at)
                        || names.session(at) == Session::Resuming
                })
            })
        },
    ),
    D::of_each(
        "stopped-means-silent",
        "vfio.stop.silent",
        "a stopped device raises no interrupt and starts no DMA",
        DEVICE,
        |names, device| {
            implies(move |t| {
                let event = t.action.event().filter(|event| usize::from(event.device) == device)?;
                let acts = matches!(
                    event.act,
                    Act::Interrupt | Act::Write(_) | Act::WriteByClient(_) | Act::PeerBegins
                );
                acts.then(|| names.runs(of(t.before, event.device).at))
            })
        },
    ),
    D::of_system(
        "stopped-means-frozen",
        "vfio.stop.frozen",
        "the internal state of a stopped device does not change",
        |names, _| {
            first(names, |names, t| {
                let (before, after) = (&t.before.parts.0, &t.after.parts.0);
                names.stands(before.at).then(|| is_reset(t) || before.inside == after.inside)
            })
        },
    ),
    D::of_system(
        "no-dma-after-stop",
        "vfio.stop.drains",
        "no DMA of a stopped device arrives",
        |names, _| {
            first(names, |names, t| {
                let (device, ..) = pair(t, Act::PeerArrives)?;
                Some(names.dma(of(t.before, device).at) != Dma::None)
            })
        },
    ),
    D::of_system(
        "no-peer-dma-begins",
        "vfio.p2p.no-new",
        "no peer DMA begins in a P2P state",
        |names, _| {
            first(names, |names, t| {
                let (device, ..) = pair(t, Act::PeerBegins)?;
                Some(names.dma(of(t.before, device).at) != Dma::NoPeer)
            })
        },
    ),
    D::of_system(
        "no-peer-dma-arrives",
        "vfio.p2p.drains",
        "no peer DMA of a device in a P2P state arrives",
        |names, _| {
            first(names, |names, t| {
                let (device, ..) = pair(t, Act::PeerArrives)?;
                Some(names.dma(of(t.before, device).at) != Dma::NoPeer)
            })
        },
    ),
    D::of_each(
        "bad-data-is-refused",
        "vfio.resume.validates",
        "no device leaves RESUMING with bad or incomplete data",
        DEVICE,
        |names, device| {
            implies(move |t| {
                let device = device as u8;
                let leaves = names.leaves(t, device);
                let stream = &of(t.before, device).stream;
                (set_answered(t, device).is_some() || leaves)
                    .then_some(!leaves || stream.last && !stream.wrong)
            })
        },
    ),
    D::of_each(
        "good-data-is-accepted",
        "vfio.resume.accepts",
        "data that a device gave is accepted",
        DEVICE,
        |names, device| {
            implies(move |t| {
                let device = device as u8;
                let (to, done) = set_answered(t, device)?;
                let State { at, stream, .. } = of(t.before, device);
                let stays = names.session(*at) == Session::Resuming;
                let good = stream.last && !stream.wrong;
                let there = !names.is_final(to) && names.table.supports(names.flags, to);
                Some(done || !stays || !good || !there)
            })
        },
    ),
    D::of_system(
        "restored-is-saved",
        "vfio.resume.restores",
        "the internal state of the destination is that of the source",
        |names, _| {
            first(names, |names, t| {
                names.leaves(t, 1).then_some(t.after.parts.1.inside == t.before.parts.0.inside)
            })
        },
    ),
    D::of_system(
        "destination-runs",
        "",
        "the destination runs after it loaded the data",
        |names, _| {
            Test::reachable(move |t: &Seen| {
                names.is_running(t.after.parts.1.at) && !names.is_running(t.before.parts.1.at)
            })
        },
    ),
    D::of_system(
        "reset-recovers",
        "vfio.reset.recovers",
        "a reset leads from ERROR to RUNNING",
        |names, _| {
            first(names, |names, t| {
                let reset = matches!(called(t)?, Call::Reset(_));
                (reset && names.is_final(t.before.parts.0.at))
                    .then(|| !names.is_final(t.after.parts.0.at))
            })
        },
    ),
    D::of_system(
        "reset-ends-session",
        "vfio.reset.aborts",
        "a reset ends a session",
        |names, _| {
            first(names, |names, t| {
                let reset = matches!(called(t)?, Call::Reset(_));
                let session = |at| names.session(at) != Session::None;
                (reset && session(t.before.parts.0.at)).then(|| !session(t.after.parts.0.at))
            })
        },
    ),
    D::of_system(
        "info-in-pre-copy-alone",
        "vfio.pre-copy.info",
        "GET_PRECOPY_INFO is answered in states of pre-copy and nowhere else",
        |names, _| {
            first(names, |names, t| {
                let (Call::Info, answer) = answered(t, 0)? else { return None };
                Some((answer != Answer::Refused) == names.live(t.before.parts.0.at))
            })
        },
    ),
    D::of_system(
        "initial-begins-above-0",
        "vfio.pre-copy.initial-begins",
        "the first initial_bytes of a session is greater than 0",
        |names, _| {
            first(names, |_, t| {
                let (initial, ..) = told(t)?;
                let client = &t.before.parts.3;
                (!client.told && !client.has).then_some(initial != 0)
            })
        },
    ),
    D::of_system(
        "initial-falls",
        "vfio.pre-copy.initial-falls",
        "initial_bytes increases only with REINIT",
        |names, _| {
            first(names, |_, t| {
                let (initial, _, anew) = told(t)?;
                let client = &t.before.parts.3;
                client.told.then_some(anew || initial <= client.initial)
            })
        },
    ),
    D::of_system(
        "dirty-begins-at-0",
        "vfio.pre-copy.dirty-begins",
        "the first dirty_bytes of a session is 0, if nothing changed",
        |names, _| {
            first(names, |_, t| {
                let (_, dirty, _) = told(t)?;
                let client = &t.before.parts.3;
                (!client.told && !client.has && !t.before.parts.0.stream.changed)
                    .then_some(dirty == 0)
            })
        },
    ),
    D::of_system(
        "reinit-after-opt-in",
        "vfio.pre-copy.reinit",
        "REINIT is reported only to a client that opted in",
        |names, _| {
            first(names, |_, t| {
                let (.., anew) = told(t)?;
                Some(!anew || t.before.parts.0.stream.opted_in)
            })
        },
    ),
    D::of_system(
        "quiet-means-quiet",
        "vfio.pre-copy.quiet",
        "in pre-copy a read returns nothing if and only if no data remains",
        |names, _| {
            first(names, |names, t| {
                let (Call::Read, answer) = answered(t, 0)? else { return None };
                let State { at, stream, .. } = &t.before.parts.0;
                let there = stream.initial > 0 || stream.dirty > 0;
                names
                    .live(*at)
                    .then(|| there == matches!(answer, Answer::Data(_)) && answer != Answer::End)
            })
        },
    ),
    D::of_system(
        "end-is-for-ever",
        "vfio.stop-copy.end",
        "in STOP_COPY a read never returns ENOMSG, and after the end always the end",
        |names, _| {
            first(names, |names, t| {
                let (Call::Read, answer) = answered(t, 0)? else { return None };
                let State { at, stream, .. } = &t.before.parts.0;
                (names.stands(*at) && names.session(*at) == Session::Saving).then(|| match answer {
                    Answer::Data(_) => !stream.last,
                    answer => answer == Answer::End,
                })
            })
        },
    ),
    D::of_system(
        "end-means-whole",
        "vfio.stop-copy.whole",
        "at the end of the stream the client has read the internal state",
        |names, _| {
            first(names, |names, t| {
                let (Call::Read, Answer::End) = answered(t, 0)? else { return None };
                let (device, client) = (&t.before.parts.0, &t.before.parts.3);
                (names.session(device.at) == Session::Saving)
                    .then_some(client.has && client.got == device.inside)
            })
        },
    ),
    D::of_each(
        "copy-is-whole",
        "vfio.log.no-write-lost",
        "at the end the copy of guest memory equals the memory",
        PAGE,
        |_, page| {
            Test::at_end_implies(move |w: &GlobalState| {
                (!w.parts.3.failed).then_some(w.parts.2.stale >> page & 1 == 0)
            })
        },
    ),
    D::of_each(
        "copied-page-is-written",
        "",
        "each page is written after it was copied, in some run",
        PAGE,
        |_, page| {
            Test::reachable(move |t: &Seen| {
                t.after.parts.2.stale & !t.before.parts.2.stale & 1 << page != 0
            })
        },
    ),
    D::of_system(
        "report-while-logging-alone",
        "vfio.log.report-needs-start",
        "a report fails unless writes are logged",
        |names, _| {
            first(names, |_, t| {
                let (Call::LogReport(_), answer) = answered(t, 0)? else { return None };
                (!t.before.parts.0.log.on).then_some(answer == Answer::Refused)
            })
        },
    ),
    D::of_system(
        "bad-ranges-log-nothing",
        "vfio.log.bad-ranges",
        "START with bad ranges fails",
        |names, _| {
            first(names, |_, t| {
                let (Call::LogStart(Ranges::Bad), answer) = answered(t, 0)? else { return None };
                Some(answer == Answer::Refused)
            })
        },
    ),
    D::of_system(
        "log-started-once",
        "vfio.log.start-once",
        "a log that is started is not started again",
        |names, _| {
            first(names, |_, t| {
                let Call::LogStart(_) = called(t)? else { return None };
                Some(!t.before.parts.0.log.on)
            })
        },
    ),
    D::of_system(
        "client-knows-state",
        "",
        "the device is in the state that the client believes",
        |names, _| {
            first(names, |_, t| {
                let (device, client) = (&t.after.parts.0, &t.after.parts.3);
                let knows =
                    device.pending.is_none() && !client.reset_due && client.belief != UNKNOWN;
                knows.then_some(client.belief == device.at)
            })
        },
    ),
    D::of_system(
        "fresh-client-finds-it-running",
        "",
        "at the end a device that was reset for a new client runs",
        |names, _| {
            Test::at_end_implies(move |w: &GlobalState| {
                (!w.parts.3.failed).then_some(names.is_running(w.parts.0.at))
            })
        },
    ),
    D::of_system(
        "nothing-lands-after-save",
        "",
        "no peer DMA changes a device whose state was read out",
        |names, _| {
            first(names, |names, t| {
                let (_, before, after) = pair(t, Act::PeerArrives)?;
                let saved = names.stands(before.at) && before.stream.last;
                Some(!saved || before.inside == after.inside)
            })
        },
    ),
    D::of_system("nothing-is-lost", "", "all peer DMA has its effect", |names, _| {
        first(names, |_, t| {
            let (_, before, after) = pair(t, Act::PeerArrives)?;
            Some(before.inside != after.inside)
        })
    }),
];
