//! The VMM with a program, and the guest: who drives a vDPA device.

use serde_json::{Map, Value as Json};

use super::event::{Event, GUEST, VMM};
use super::machine::DRIVER_OK;
use crate::protocol::program::unknown_step;
use crate::spec::{Diagnostics, Item, Spanned};
use devmig_engine::machine::{Machine, Party, Reaction, Stimulus, Verdict};
use devmig_engine::packed;
use devmig_engine::rules::RuleContext;

/// One step of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Write the virtio status.
    SetStatus(u8),
    /// Enable the ring, or disable it.
    SetVringEnable(bool),
    /// Set the base to what was read last, 0 at first.
    SetVringBase,
    /// Read the base.
    GetVringBase,
    /// Suspend, and wait until the call returns.
    Suspend,
    /// Resume.
    Resume,
    /// Start or stop the virtual CPUs.
    Vcpus(bool),
}

/// What a step can be, and what it means (shown by `devmig proposal words`).
pub const STEPS: &[(&str, &str)] = &[
    ("SET_STATUS 0", "VHOST_VDPA_SET_STATUS: reset the device"),
    ("SET_STATUS DRIVER_OK", "the same: let the device run"),
    ("SET_VRING_ENABLE 1", "enable the ring"),
    ("SET_VRING_ENABLE 0", "disable the ring"),
    ("SET_VRING_BASE read", "set the base to what GET_VRING_BASE returned last, 0 at first"),
    ("GET_VRING_BASE", "read the base"),
    ("SUSPEND", "VHOST_VDPA_SUSPEND, and wait until it returns"),
    ("RESUME", "VHOST_VDPA_RESUME"),
    ("vcpus run", "the virtual CPUs run: requests can be made available"),
    ("vcpus stop", "the virtual CPUs stop"),
    ("run PROGRAM", "all steps of another program"),
];

/// Steps in all: what a VMM's program counter can hold.
pub const MAX_STEPS: usize = 31;

impl Step {
    /// The step of a line.
    pub fn compile<T>(item: &Item<T>, line: &Spanned<String>, d: &mut Diagnostics) -> Option<Step> {
        Some(match line.get_ref().as_str() {
            "SET_STATUS 0" => Step::SetStatus(0),
            "SET_STATUS DRIVER_OK" => Step::SetStatus(DRIVER_OK),
            "SET_VRING_ENABLE 1" => Step::SetVringEnable(true),
            "SET_VRING_ENABLE 0" => Step::SetVringEnable(false),
            "SET_VRING_BASE read" => Step::SetVringBase,
            "GET_VRING_BASE" => Step::GetVringBase,
            "SUSPEND" => Step::Suspend,
            "RESUME" => Step::Resume,
            "vcpus run" => Step::Vcpus(true),
            "vcpus stop" => Step::Vcpus(false),
            _ => {
                unknown_step(item, line, STEPS.iter().map(|(step, _)| *step), d);
                return None;
            }
        })
    }
}

/// How far the VMM is, and what it keeps.
#[packed]
pub struct VmmState {
    /// Steps done.
    #[bits(5)]
    pub step: u8,
    /// It waits for a call to return.
    pub waiting: bool,
    /// What GET_VRING_BASE returned last.
    #[bits(3)]
    pub base: u16,
}

/// A VMM that does these steps.
#[derive(Clone, Debug)]
pub struct Vmm {
    /// Its program.
    pub steps: Vec<Step>,
    /// Requests that there can be, for the bases that may come back.
    pub requests: u16,
}

impl Vmm {
    /// Whether this event is its next step.
    fn does(&self, s: &VmmState, event: &Event) -> bool {
        let Some(step) = self.steps.get(usize::from(s.step)).filter(|_| !s.waiting) else {
            return false;
        };
        match (*step, *event) {
            (Step::SetStatus(mine), Event::SetStatus(status)) => mine == status,
            (Step::SetVringEnable(mine), Event::SetVringEnable(enable)) => mine == enable,
            (Step::SetVringBase, Event::SetVringBase(base)) => base == s.base,
            (Step::Vcpus(mine), Event::Vcpus(run)) => mine == run,
            (Step::GetVringBase, Event::GetVringBase(_))
            | (Step::Suspend, Event::Suspend)
            | (Step::Resume, Event::Resume) => true,
            _ => false,
        }
    }
}

impl Machine for Vmm {
    type State = VmmState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "VMM"
    }

    fn plays(&self, party: Party) -> bool {
        party == VMM
    }

    fn initial(&self) -> VmmState {
        VmmState { step: 0, waiting: false, base: 0 }
    }

    fn on(&self, s: &VmmState, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        let mut next = *s;
        match *event {
            Event::Available | Event::Kick | Event::Used(_) => return Ok(Reaction::Ignore),
            Event::Suspended => {
                next.waiting = false;
                next.step += 1;
                return Ok(Reaction::To(next));
            }
            _ if !self.does(s, event) => return Ok(Reaction::Disabled),
            Event::GetVringBase(base) => next.base = base,
            Event::Suspend => {
                next.waiting = true;
                return Ok(Reaction::To(next));
            }
            _ => {}
        }
        next.step += 1;
        Ok(Reaction::To(next))
    }

    fn stimuli(&self, s: &VmmState, f: &mut dyn FnMut(Stimulus<Event>)) {
        if s.waiting {
            return;
        }
        match self.steps.get(usize::from(s.step)) {
            Some(Step::SetStatus(status)) => f(Stimulus::Unguarded(Event::SetStatus(*status))),
            Some(Step::SetVringEnable(enable)) => {
                f(Stimulus::Unguarded(Event::SetVringEnable(*enable)))
            }
            Some(Step::SetVringBase) => f(Stimulus::Unguarded(Event::SetVringBase(s.base))),
            // The device fixes what comes back.
            Some(Step::GetVringBase) => {
                (0..=self.requests)
                    .for_each(|base| f(Stimulus::Unguarded(Event::GetVringBase(base))));
            }
            Some(Step::Suspend) => f(Stimulus::Unguarded(Event::Suspend)),
            Some(Step::Resume) => f(Stimulus::Unguarded(Event::Resume)),
            Some(Step::Vcpus(run)) => f(Stimulus::Unguarded(Event::Vcpus(*run))),
            None => {}
        }
    }

    /// How far the program is, its calls tell.
    fn describe(&self, s: &VmmState) -> Map<String, Json> {
        Map::from_iter([(self.name().to_owned(), serde_json::json!({ "base": s.base }))])
    }

    fn at_end(&self, s: &VmmState) -> bool {
        usize::from(s.step) == self.steps.len()
    }
}

/// What the guest knows.
#[packed]
pub struct GuestState {
    /// The virtual CPUs run.
    pub running: bool,
    /// How many requests it made available.
    #[bits(3)]
    pub posted: u16,
    /// Which came back: bit `request`.
    #[bits(4)]
    pub done: u64,
    /// A request was made available, and its kick is due.
    pub kick_due: bool,
}

/// The guest, with at most `requests` requests.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// How many.
    pub requests: u16,
}

impl Machine for Guest {
    type State = GuestState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "guest"
    }

    fn plays(&self, party: Party) -> bool {
        party == GUEST
    }

    fn initial(&self) -> GuestState {
        GuestState { running: false, posted: 0, done: 0, kick_due: false }
    }

    fn on(&self, s: &GuestState, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        let mut next = *s;
        match *event {
            Event::Vcpus(run) => next.running = run,
            Event::Available if !s.running || s.kick_due || s.posted >= self.requests => {
                return Ok(Reaction::Disabled);
            }
            Event::Available => {
                next.posted += 1;
                next.kick_due = true;
            }
            Event::Kick if !s.running || !s.kick_due => return Ok(Reaction::Disabled),
            Event::Kick => next.kick_due = false,
            Event::Used(request) => next.done |= 1 << (request % 64),
            _ => return Ok(Reaction::Ignore),
        }
        Ok(Reaction::To(next))
    }

    fn stimuli(&self, _: &GuestState, f: &mut dyn FnMut(Stimulus<Event>)) {
        self.domain(&mut |event| f(Stimulus::Guarded(event)));
    }

    fn domain(&self, f: &mut dyn FnMut(Event)) {
        [Event::Available, Event::Kick].into_iter().for_each(f);
    }
}
