//! What a step does next: an event, or nothing, so that the next step is due.
//!
//! **Invariant.** [`Vmm::plan`] decides, `Vmm::candidates` only lists what it may decide for.

use super::super::event::{Act, Event, Why};
use super::super::memory::PAGES;
use super::super::names::{Acknowledge, Query, Recheck, Untracked};
use super::step::{SKIP, Side, Step, WHERE};
use super::{Known, OTHER_HOST, Outcome, Phase, Tracker, Vmm, VmmState};
use crate::protocol::vfio::event::{
    Act as DeviceAct, Call, Event as DeviceEvent, For, PageSize, Ranges,
};
use devmig_engine::rules::{OpenChoice, RuleContext};

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// This event.
    Do(Event),
    /// One of these pages is sent from this host: nothing says which.
    Send(u8, u64),
    /// Nothing that anybody sees.
    Next(VmmState),
    /// Nothing: the VMM waits for an answer, or has ended.
    Nothing,
}

impl Plan {
    /// Whether this event is planned; what pages and logs hold, memory knows.
    #[must_use]
    pub fn is(&self, event: &Event) -> bool {
        match self {
            Plan::Do(Event { act: Act::Sync(_), host }) => {
                *host == event.host && matches!(event.act, Act::Sync(_))
            }
            Plan::Do(Event { act: Act::MarkAll(_), host }) => {
                *host == event.host && matches!(event.act, Act::MarkAll(_))
            }
            Plan::Do(planned) => planned == event,
            Plan::Send(host, pages) => {
                let one = |page| pages >> page & 1 == 1;
                *host == event.host && matches!(event.act, Act::Send(page) if one(page))
            }
            Plan::Next(_) | Plan::Nothing => false,
        }
    }
}

/// A call at a device.
fn call(device: u8, call: Call) -> Event {
    Event::device(DeviceEvent { device, act: DeviceAct::Call(call) })
}

impl Vmm {
    /// The state in which something that others see is due, or nothing at all.
    ///
    /// # Errors
    /// [`OpenChoice`] if a choice decides that is not fixed.
    pub fn settled(&self, s: VmmState, judge: &RuleContext) -> Result<VmmState, OpenChoice> {
        let mut here = s;
        while let Plan::Next(next) = self.plan(&here, judge)? {
            here = next;
        }
        Ok(here)
    }

    /// What comes next.
    ///
    /// # Errors
    /// As [`Vmm::settled`].
    pub fn plan(&self, s: &VmmState, judge: &RuleContext) -> Result<Plan, OpenChoice> {
        let at_source = |act| Plan::Do(Event::new(s.source, act));
        if s.waits.is_some() {
            return Ok(Plan::Nothing);
        }
        if let Some(why) = s.failing {
            return Ok(at_source(Act::GiveUp(why)));
        }
        if s.back {
            return Ok(at_source(Act::Vcpus(true)));
        }
        if s.phase == Phase::Ended {
            let more = s.more > 0 && s.outcome != Outcome::Refused;
            return Ok(if more { at_source(Act::Again) } else { Plan::Nothing });
        }
        let Some(step) = self.steps(s).get(usize::from(s.step)) else {
            return Ok(at_source(Act::Failed));
        };
        let over = Plan::Next(Self::stepped(s));
        if step.is_of_each_device() && self.is_gone(s, s.at) {
            return Ok(Plan::Next(VmmState { at: s.at + 1, ..*s }));
        }
        let device = self.devices.get(usize::from(s.at));
        Ok(match step {
            Step::Check => at_source(match self.refuses(judge)? {
                true => Act::GiveUp(Why::Untracked),
                false => Act::Begin,
            }),
            Step::Log(on) => self.logs(s, *on),
            Step::MarkAll => at_source(Act::MarkAll(0)),
            Step::PreCopy => self.look(s, judge)?,
            Step::AskAgain | Step::OptIn(_) => match device {
                None => over,
                _ if self.readings.acknowledge.taken(judge)? == Acknowledge::Off => over,
                Some(known) if known.pre_copy => Plan::Do(Self::acknowledging(s, step)),
                Some(_) => Plan::Next(VmmState { at: s.at + 1, ..*s }),
            },
            Step::Sync => self.sync(s, judge)?,
            Step::Recheck => {
                let fails = self.readings.recheck.taken(judge)? == Recheck::Fail;
                match fails && !self.within(self.pending(s), s, false) {
                    true => at_source(Act::GiveUp(Why::Late)),
                    false => over,
                }
            }
            Step::SendAll => match s.marked {
                0 => over,
                pages => Plan::Send(s.source, pages),
            },
            Step::Set(side, only, states) => match device {
                None => over,
                Some(_) if only.is_some_and(|only| only != s.at) => {
                    Plan::Next(VmmState { at: s.at + 1, ..*s })
                }
                Some(known) => match self.first_of(known, states) {
                    Some(to) => Plan::Do(call(Self::number(s, *side, s.at), Call::Set(to))),
                    None => Plan::Next(VmmState { at: s.at + 1, ..*s }),
                },
            },
            Step::Reset(side) => match device {
                None => over,
                Some(_) => Plan::Do(call(Self::number(s, *side, s.at), Call::Reset(For::Client))),
            },
            // A VM that was paused stays so.
            Step::Vcpus(Side::Source, false) if !self.runs => {
                Plan::Next(VmmState { stopped: true, ..Self::stepped(s) })
            }
            Step::Vcpus(side, true) if !self.runs => {
                let committed = s.committed || *side == Side::Destination;
                Plan::Next(VmmState { committed, ..Self::stepped(s) })
            }
            Step::Vcpus(side, run) => Plan::Do(Event::new(Self::host(s, *side), Act::Vcpus(*run))),
            Step::Lock(..) if !self.lock => over,
            Step::Lock(side, take) => Plan::Do(Event::new(Self::host(s, *side), Act::Lock(*take))),
            Step::State(only) => match device {
                None => over,
                Some(_) if only.is_some_and(|only| only != s.at) => {
                    Plan::Next(VmmState { at: s.at + 1, ..*s })
                }
                Some(_) => self.transfer(s),
            },
            Step::Config => match device {
                None => over,
                Some(_) => {
                    let number = Self::number(s, Side::Destination, s.at);
                    Plan::Do(Event::new(1 - s.source, Act::Config(number)))
                }
            },
            Step::Complete => at_source(Act::Complete),
        })
    }

    /// Whether the device of this number is none of those that are migrated.
    pub(super) fn is_gone(&self, s: &VmmState, at: u8) -> bool {
        usize::from(at) < self.devices.len() && s.there >> at & 1 == 0
    }

    /// The call of a step about acknowledgement.
    fn acknowledging(s: &VmmState, step: &Step) -> Event {
        match step {
            Step::OptIn(side) => call(Self::number(s, *side, s.at), Call::OptIn),
            _ => call(Self::number(s, Side::Source, s.at), Call::Info),
        }
    }

    /// Whether a policy refuses the migration before it begins.
    fn refuses(&self, judge: &RuleContext) -> Result<bool, OpenChoice> {
        if !self.untracked() {
            return Ok(false);
        }
        Ok(match self.readings.untracked.taken(judge)? {
            Untracked::Block => true,
            Untracked::RefuseIfLimit => self.limit != super::Limit::Unlimited,
            _ => false,
        })
    }

    /// Whether there is a device whose writes nothing tracks.
    #[must_use]
    pub fn untracked(&self) -> bool {
        self.devices.iter().any(|device| device.tracker == Tracker::None)
    }

    /// The first of these states that a device has; none, if it is to be passed over.
    fn first_of(&self, known: &Known, states: &[u8]) -> Option<u8> {
        let has = |state: &&u8| **state != SKIP && self.table.supports(known.flags, **state);
        if let [to, on, other, WHERE] = states {
            return Some(if has(&on) { *to } else { *other });
        }
        let skips = states.contains(&SKIP);
        states.iter().find(has).or_else(|| states.first().filter(|_| !skips)).copied()
    }

    /// Logs on or off: those of KVM and the IOMMU first, then those of devices.
    fn logs(&self, s: &VmmState, on: bool) -> Plan {
        let Some(at) = s.at.checked_sub(1) else {
            return Plan::Do(Event::new(s.source, Act::Log(on)));
        };
        match self.devices.get(usize::from(at)) {
            None => Plan::Next(Self::stepped(s)),
            Some(known) if known.tracker == Tracker::Device && !self.is_gone(s, at) => {
                let what = if on { Call::LogStart(Ranges::All) } else { Call::LogStop };
                Plan::Do(call(Self::number(s, Side::Source, at), what))
            }
            Some(_) => Plan::Next(VmmState { at: s.at + 1, ..*s }),
        }
    }

    /// The logs are read: those of KVM and the IOMMU first, then those of devices.
    pub(super) fn sync(&self, s: &VmmState, judge: &RuleContext) -> Result<Plan, OpenChoice> {
        let Some(at) = s.at.checked_sub(1) else {
            return Ok(Plan::Do(Event::new(s.source, Act::Sync(0))));
        };
        if let Some(known) = self.devices.get(usize::from(at)) {
            let asks = known.tracker == Tracker::Device
                && !self.is_gone(s, at)
                && match self.readings.query.taken(judge)? {
                    Query::Always => true,
                    Query::AtStop => s.stopped,
                    Query::Never => false,
                };
            let device = Self::number(s, Side::Source, at);
            return Ok(match asks {
                true => Plan::Do(call(device, Call::LogReport(PageSize::Good))),
                false => Plan::Next(VmmState { at: s.at + 1, ..*s }),
            });
        }
        let mut next = VmmState { fresh: true, at: 0, syncing: false, ..*s };
        if self.untracked() {
            match self.readings.untracked.taken(judge)? {
                Untracked::MarkAll => next.marked = self.pages,
                Untracked::Abort => {
                    return Ok(Plan::Do(Event::new(s.source, Act::GiveUp(Why::Untracked))));
                }
                _ => {}
            }
        }
        Ok(Plan::Next(if s.syncing { next } else { Self::stepped(&next) }))
    }

    /// A piece of a device's state on its way.
    pub(super) fn transfer(&self, s: &VmmState) -> Plan {
        Plan::Do(match s.held {
            Some(piece) => call(Self::number(s, Side::Destination, s.at), Call::Write(piece)),
            None => call(Self::number(s, Side::Source, s.at), Call::Read),
        })
    }

    /// Every event that may be planned in this state, whatever policies say.
    pub(super) fn candidates(&self, s: &VmmState, f: &mut dyn FnMut(Event)) {
        let mut here = |act| f(Event::new(s.source, act));
        if let Some(why) = s.failing {
            return here(Act::GiveUp(why));
        }
        if s.back {
            return here(Act::Vcpus(true));
        }
        if s.phase == Phase::Ended {
            return if s.more > 0 {
                here(Act::Again)
            };
        }
        let Some(step) = self.steps(s).get(usize::from(s.step)) else {
            return here(Act::Failed);
        };
        let source = |at| Self::number(s, Side::Source, at);
        match step {
            Step::Check => {
                here(Act::Begin);
                here(Act::GiveUp(Why::Untracked));
            }
            Step::MarkAll => {
                let may_be = |empty: &u64| empty & !self.zero == 0;
                (0..1 << PAGES).filter(may_be).for_each(|empty| here(Act::MarkAll(empty)));
            }
            Step::Recheck => here(Act::GiveUp(Why::Late)),
            Step::Complete => here(Act::Complete),
            Step::AskAgain | Step::OptIn(_) => f(Self::acknowledging(s, step)),
            Step::State(_) => self.pieces(s, f),
            Step::PreCopy if !s.syncing => {
                here(Act::SwitchOver);
                here(Act::Slow);
                here(Act::Wait);
                self.sends(s, f);
                self.pieces(s, f);
            }
            Step::SendAll => self.sends(s, f),
            Step::PreCopy | Step::Sync => match s.at.checked_sub(1) {
                None => (0..1 << PAGES).for_each(|pages| here(Act::Sync(pages))),
                Some(at) => {
                    here(Act::GiveUp(Why::Untracked));
                    f(call(source(at), Call::LogReport(PageSize::Good)));
                }
            },
            // Nothing is open here.
            Step::Log(on) => {
                if let Plan::Do(event) = self.logs(s, *on) {
                    f(event);
                }
            }
            Step::Set(side, _, states) => {
                let known = self.devices.get(usize::from(s.at));
                if let Some(to) = known.and_then(|known| self.first_of(known, states)) {
                    f(call(Self::number(s, *side, s.at), Call::Set(to)));
                }
            }
            Step::Reset(side) => f(call(Self::number(s, *side, s.at), Call::Reset(For::Client))),
            Step::Vcpus(side, run) => f(Event::new(Self::host(s, *side), Act::Vcpus(*run))),
            Step::Lock(side, take) => f(Event::new(Self::host(s, *side), Act::Lock(*take))),
            Step::Config => {
                let number = Self::number(s, Side::Destination, s.at);
                f(Event::new(1 - s.source, Act::Config(number)));
            }
        }
    }

    fn sends(&self, s: &VmmState, f: &mut dyn FnMut(Event)) {
        let marked = (0..PAGES).filter(|page| s.marked >> page & 1 == 1);
        marked.for_each(|page| f(Event::new(s.source, Act::Send(page))));
    }

    fn pieces(&self, s: &VmmState, f: &mut dyn FnMut(Event)) {
        if usize::from(s.at) < self.devices.len()
            && let Plan::Do(event) = self.transfer(s)
        {
            f(event);
        }
    }
}

/// The other host has as many devices.
const _: () = assert!(OTHER_HOST as usize == super::super::event::DEVICES);
