//! The VFIO devices of one host: the machine of [`crate::protocol::vfio`], once for each of them.
//!
//! ```text
//!   Event { host, Device(event) } --> vfio::Device 0, vfio::Device 1     all other events are no concern
//! ```
//!
//! **Invariant.** Nothing is said of a device here but whether it is there: its rules are asked where they stand.

use serde_json::{Map, Value};

use super::event::{Act, DEVICES, Event};
use crate::protocol::vfio::event::{DEVICE, Event as DeviceEvent};
use crate::protocol::vfio::machine::Device;
use crate::protocol::vfio::state::State;
use devmig_engine::machine::{
    Did, Machine, Obligation, Owed, Party, Reaction, Step, Stimulus, Verdict,
};
use devmig_engine::packed;
use devmig_engine::rules::{OpenChoice, RuleContext};

/// Obligations of one device.
const OWN: u32 = 2;
const MASK: u64 = (1 << OWN) - 1;

/// What the devices of a host remember.
#[packed]
pub struct DevicesState {
    /// Those that the VM has: bit `device`.
    #[bits(2)]
    pub attached: u64,
    /// Each of them.
    pub each: [State; DEVICES],
}

/// The devices of a host; at most [`DEVICES`].
#[derive(Clone, Debug)]
pub struct Devices {
    /// The host, 0 or 1.
    pub host: u8,
    /// Its devices, each with its number.
    pub machines: Vec<Device>,
    /// Those that the VM has at first: bit `device`.
    pub attached: u64,
}

impl Devices {
    fn each<'m>(
        &'m self,
        s: &'m DevicesState,
    ) -> impl Iterator<Item = (usize, &'m Device, &'m State)> {
        self.machines
            .iter()
            .zip(&s.each)
            .enumerate()
            .map(|(at, (machine, state))| (at, machine, state))
    }

    fn inner(&self, event: &Event) -> Option<DeviceEvent> {
        match event.act {
            Act::Device(inner) if event.host == self.host => Some(inner),
            _ => None,
        }
    }

    /// A device comes, or goes: it is new then, and its log held these pages.
    fn plugged(&self, s: &DevicesState, event: &Event) -> Reaction<DevicesState> {
        let mut next = *s;
        match event.act {
            Act::Plug(device) if s.attached >> device & 1 == 0 => next.attached |= 1 << device,
            Act::Unplug(device, pages) if s.attached >> device & 1 == 1 => {
                let at = usize::from(device);
                match self.machines.get(at) {
                    Some(machine) if s.each[at].log.dirty == pages => {
                        next.each[at] = machine.initial();
                    }
                    _ => return Reaction::Disabled,
                }
                next.attached &= !(1 << device);
            }
            _ => return Reaction::Disabled,
        }
        Reaction::To(next)
    }

    /// A device of this host as traces call it.
    fn called(&self, at: usize) -> String {
        format!("device {at} of {}", ["A", "B"][usize::from(self.host & 1)])
    }
}

impl Machine for Devices {
    type State = DevicesState;
    type Event = Event;

    fn name(&self) -> &'static str {
        if self.host == 0 { "devices of A" } else { "devices of B" }
    }

    fn plays(&self, party: Party) -> bool {
        party == DEVICE
    }

    fn initial(&self) -> Self::State {
        let state = |at: usize| self.machines.get(at).map_or(State::new(0), Machine::initial);
        DevicesState { attached: self.attached, each: std::array::from_fn(state) }
    }

    fn on(&self, s: &Self::State, event: &Event, judge: &mut RuleContext) -> Verdict<Self> {
        if matches!(event.act, Act::Plug(_) | Act::Unplug(..)) && event.host == self.host {
            return Ok(self.plugged(s, event));
        }
        let Some(inner) = self.inner(event) else { return Ok(Reaction::Ignore) };
        // A device that is not there does nothing.
        let at = usize::from(inner.device) % DEVICES;
        if inner.acts_by_itself() && s.attached >> at & 1 == 0 {
            return Ok(Reaction::Disabled);
        }
        let (mut next, mut verdict) = (*s, Reaction::Ignore);
        for (at, machine, state) in self.each(s) {
            match machine.on(state, &inner, judge)? {
                Reaction::Ignore => {}
                Reaction::To(to) => next.each[at] = to,
                Reaction::Disabled => return Ok(Reaction::Disabled),
                Reaction::Violation(clause) => verdict = Reaction::Violation(clause),
                Reaction::Unspecified(clause) => verdict = Reaction::Unspecified(clause),
            }
        }
        Ok(if verdict == Reaction::Ignore { Reaction::To(next) } else { verdict })
    }

    fn owes(&self, s: &Self::State, judge: &mut RuleContext) -> Result<Owed, OpenChoice> {
        let mut all = 0;
        for (at, machine, state) in self.each(s) {
            all |= machine.owes(state, judge)?.0 << (at as u32 * OWN);
        }
        Ok(Owed(all))
    }

    fn obligation(&self, index: u32) -> Obligation {
        match self.machines.get((index / OWN) as usize) {
            Some(machine) => machine.obligation(index % OWN),
            None => unreachable!("no device has obligation {index}"),
        }
    }

    fn discharges(&self, s: &Self::State, did: &Did<Event>) -> Owed {
        let inner = match did {
            Did::Event(event) => match self.inner(event) {
                Some(inner) => Did::Event(inner),
                None => return Owed::NONE,
            },
            Did::Hidden(step) => Did::Hidden(*step),
        };
        let own = |(at, machine, state): (usize, &Device, &State)| {
            (machine.discharges(state, &inner).0 & MASK) << (at as u32 * OWN)
        };
        Owed(self.each(s).map(own).fold(0, |all, own| all | own))
    }

    fn hidden(
        &self,
        s: &Self::State,
        judge: &mut RuleContext,
        f: &mut dyn FnMut(Step, Self::State),
    ) -> Result<(), OpenChoice> {
        for (at, machine, state) in self.each(s) {
            machine.hidden(state, judge, &mut |step, to| {
                let mut next = *s;
                next.each[at] = to;
                f(step, next);
            })?;
        }
        Ok(())
    }

    fn stimuli(&self, s: &Self::State, f: &mut dyn FnMut(Stimulus<Event>)) {
        for (_, machine, state) in self.each(s) {
            machine.stimuli(state, &mut |stimulus| {
                f(match stimulus {
                    Stimulus::Guarded(event) => Stimulus::Guarded(Event::device(event)),
                    Stimulus::Unguarded(event) => Stimulus::Unguarded(Event::device(event)),
                });
            });
        }
    }

    fn domain(&self, f: &mut dyn FnMut(Event)) {
        for machine in &self.machines {
            machine.domain(&mut |event| f(Event::device(event)));
        }
    }

    fn describe(&self, s: &Self::State) -> Map<String, Value> {
        let fields = |(at, machine, state): (usize, &Device, &State)| {
            machine.describe(state).into_iter().map(move |(_, fields)| (self.called(at), fields))
        };
        self.each(s).flat_map(fields).collect()
    }

    fn label(&self, event: &Event) -> Option<String> {
        let inner = self.inner(event)?;
        let at = self.machines.iter().position(|machine| machine.index == inner.device)?;
        let words = self.machines[at].label(&inner)?;
        let what = words.split_once(": ").map_or(words.as_str(), |(_, what)| what);
        Some(format!("{}: {what}", self.called(at)))
    }

    fn at_end(&self, s: &Self::State) -> bool {
        self.each(s).all(|(_, machine, state)| machine.at_end(state))
    }
}
