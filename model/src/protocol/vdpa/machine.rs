//! The rules of a vDPA device, for one ring.
//!
//! ```text
//!             DRIVER_OK, enabled              SUSPEND ... returns
//!   reset ---------------------------> runs <---------------------> suspended
//!     ^                                  |         RESUME               |
//!     +-------- SET_STATUS 0 ------------+------------------------------+
//! ```
//!
//! **Invariant.** GET_VRING_BASE has no effect.

use crate::protocol::ring::{Act, Ring};
use devmig_engine::machine::{
    Did, Machine, Obligation, Owed, Party, Reaction, Refines, Step, Stimulus, TimeClass, Verdict,
};
use devmig_engine::packed;
use devmig_engine::rules::{OpenChoice, RuleContext};

use super::event::{DEVICE, Event};

/// The virtio status bit that lets a device run.
pub const DRIVER_OK: u8 = 4;

crate::clause_ids! {
    /// The clauses that are judged here.
    pub struct ClauseIds {
        /// `vdpa.suspend.stops-processing`
        stops: "vdpa.suspend.stops-processing",
        /// `vdpa.suspend.keeps-base`
        base: "vdpa.suspend.keeps-base",
        /// `vdpa.resume.goes-on`
        processes: "vdpa.resume.goes-on",
        /// `vdpa.ring.available-only`
        available_only: "vdpa.ring.available-only",
        /// `vdpa.ring.request-completed-once`
        once: "vdpa.ring.request-completed-once",
    }
}

crate::choice_ids! {
    /// The choices that are asked here.
    pub struct ChoiceIds {
        /// What becomes of requests that were not completed when SUSPEND is called.
        in_flight: "vdpa.suspend.in-flight" as InFlight { Drain = "drain", Hold = "hold" },
    }
}

/// What the device remembers, and the guest's index in memory.
#[packed]
pub struct DeviceState {
    /// The virtio status.
    #[bits(4)]
    pub status: u8,
    /// The ring is enabled.
    pub enabled: bool,
    /// SUSPEND was called and has not returned.
    pub suspending: bool,
    /// It has returned.
    pub suspended: bool,
    /// The next request to fetch.
    #[bits(3)]
    pub base: u16,
    /// Fetched and not used: bit `request`.
    #[bits(4)]
    pub open: u64,
    /// The guest's index in the available ring.
    #[bits(3)]
    pub available: u16,
    /// What it was when the device was last told.
    #[bits(3)]
    pub told: u16,
}

impl DeviceState {
    /// Whether requests are processed, but for SUSPEND.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.status & DRIVER_OK != 0 && self.enabled
    }
}

/// Obligations, by index.
mod owed {
    pub(super) const RING: u32 = 0;
    pub(super) const SUSPEND: u32 = 1;
}

/// The device, with at most `requests` requests.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    /// What it is judged by.
    pub laws: ClauseIds,
    /// What it asks.
    pub readings: ChoiceIds,
    /// Requests that exploration tries.
    pub requests: u16,
}

impl Device {
    fn processes(&self, s: &DeviceState, judge: &mut RuleContext) -> bool {
        s.runs() && !(s.suspended && judge.enforces(self.laws.stops))
    }

    fn used(
        &self,
        s: &DeviceState,
        request: u16,
        judge: &mut RuleContext,
    ) -> Reaction<DeviceState> {
        let open = s.open >> (request % 64) & 1 == 1;
        let broken = match () {
            () if open && s.suspended => Some(self.laws.stops),
            () if open => None,
            () if request < s.base => Some(self.laws.once),
            () if request >= s.available => Some(self.laws.available_only),
            // Available, and not fetched yet.
            () => return Reaction::Disabled,
        };
        match broken {
            Some(clause) if judge.enforces(clause) => Reaction::Violation(clause),
            _ if !s.runs() => Reaction::Disabled,
            _ => Reaction::To(DeviceState { open: s.open & !(1 << (request % 64)), ..*s }),
        }
    }
}

impl Machine for Device {
    type State = DeviceState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "device"
    }

    fn plays(&self, party: Party) -> bool {
        party == DEVICE
    }

    fn initial(&self) -> DeviceState {
        DeviceState {
            status: 0,
            enabled: false,
            suspending: false,
            suspended: false,
            base: 0,
            open: 0,
            available: 0,
            told: 0,
        }
    }

    fn on(&self, s: &DeviceState, event: &Event, judge: &mut RuleContext) -> Verdict<Self> {
        let mut next = *s;
        match *event {
            // A reset forgets all but what lies in the guest's memory.
            Event::SetStatus(0) => {
                next = DeviceState { available: s.available, told: s.told, ..self.initial() };
            }
            Event::SetStatus(status) => next.status = status,
            Event::SetVringEnable(enable) => next.enabled = enable,
            Event::SetVringBase(base) => next.base = base,
            Event::GetVringBase(base) if base != s.base && judge.enforces(self.laws.base) => {
                return Ok(Reaction::Disabled);
            }
            Event::GetVringBase(_) | Event::Vcpus(_) => return Ok(Reaction::Ignore),
            Event::Suspend => next.suspending = true,
            Event::Suspended if !s.suspending => return Ok(Reaction::Disabled),
            Event::Suspended => {
                if s.open != 0 && self.readings.in_flight.taken(judge)? == InFlight::Drain {
                    return Ok(Reaction::Disabled);
                }
                (next.suspending, next.suspended) = (false, true);
            }
            Event::Resume => next.suspended = false,
            Event::Available => next.available += 1,
            Event::Kick => next.told = s.available,
            Event::Used(request) => return Ok(self.used(s, request, judge)),
        }
        Ok(Reaction::To(next))
    }

    fn owes(&self, s: &DeviceState, _: &mut RuleContext) -> Result<Owed, OpenChoice> {
        let due = s.runs() && !s.suspended && (s.open != 0 || s.base < s.told);
        Ok(Owed::NONE.with_if(due, owed::RING).with_if(s.suspending, owed::SUSPEND))
    }

    fn obligation(&self, index: u32) -> Obligation {
        let (clause, what) = match index {
            owed::SUSPEND => (self.laws.stops, "SUSPEND returns"),
            _ => (self.laws.processes, "request processed"),
        };
        Obligation { by: DEVICE, clause, class: TimeClass::Io, what }
    }

    fn discharges(&self, _: &DeviceState, did: &Did<Event>) -> Owed {
        match did {
            Did::Event(Event::Used(_)) | Did::Hidden(_) => Owed::NONE.with(owed::RING),
            Did::Event(Event::Suspended) => Owed::NONE.with(owed::SUSPEND),
            Did::Event(_) => Owed::NONE,
        }
    }

    fn hidden(
        &self,
        s: &DeviceState,
        judge: &mut RuleContext,
        f: &mut dyn FnMut(Step, DeviceState),
    ) -> Result<(), OpenChoice> {
        if s.base < s.available && self.processes(s, judge) {
            let next = DeviceState { open: s.open | 1 << (s.base % 64), base: s.base + 1, ..*s };
            f(Step::alone(DEVICE, "fetch"), next);
        }
        Ok(())
    }

    fn stimuli(&self, s: &DeviceState, f: &mut dyn FnMut(Stimulus<Event>)) {
        (0..self.requests).for_each(|request| f(Stimulus::Guarded(Event::Used(request))));
        if s.suspending {
            f(Stimulus::Guarded(Event::Suspended));
        }
    }

    fn domain(&self, f: &mut dyn FnMut(Event)) {
        (0..self.requests).for_each(|request| f(Event::Used(request)));
        f(Event::Suspended);
    }

    /// SUSPEND is what stops a ring, and GET_VRING_BASE tells where it stopped.
    fn at_end(&self, s: &DeviceState) -> bool {
        let waiting = s.open != 0 || s.base < s.available;
        !s.suspending && (s.suspended || !s.runs() || !waiting)
    }
}

impl Refines<Ring> for Device {
    fn refine(&self, event: &Event) -> Option<Act> {
        Some(match *event {
            Event::Suspend => Act::Stop,
            Event::GetVringBase(base) => Act::Stopped(base),
            Event::SetVringBase(base) => Act::Continued(base),
            Event::Resume => Act::Resumed,
            Event::Available => Act::Available,
            Event::Kick => Act::Kick,
            Event::Used(request) => Act::Used(request),
            _ => return None,
        })
    }
}
