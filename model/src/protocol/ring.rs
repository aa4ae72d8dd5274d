//! What every ring of a device does, whatever protocol carries it: the machine that lower ones refine.
//!
//! ```text
//!            Continued(base), Resumed
//!   stopped ------------------------> running        available --fetch (hidden)--> open --Used--> done
//!      ^                                 |
//!      +------- Stop ... Stopped(base) --+            only when nothing is open: `base` is the next
//! ```
//!
//! It says three things: nothing is used while a ring is stopped, each request is used once, and the
//! base told at the stop is the one that is continued from. How a ring is stopped it does not say: a
//! vhost-user ring is stopped by GET_VRING_BASE, a vDPA ring by SUSPEND, after which GET_VRING_BASE
//! only reads. [`Refines<Ring>`] is the map from a lower
//! machine's events to these; what has no place here is not seen.
//!
//! **Invariant.** Every refusal here is the abstract machine's whole opinion: it names no clause,
//! since it is no text of anybody's.
//!
//! **Not here.** Features, status, set-up, enabling, notifications, more than one ring.

use super::abstraction::{self, Abstraction};
use super::definition::InCode;
use super::size::Bound;
use devmig_engine::clause::ClauseId;
use devmig_engine::compose::{Closed, GlobalStateOf};
use devmig_engine::explore::Check;
use devmig_engine::machine::{
    Did, Event, Machine, Obligation, Owed, Party, Reaction, Refines, Step, Stimulus, TimeClass,
    Verdict,
};
use devmig_engine::packed;
use devmig_engine::rules::{OpenChoice, RuleContext, Rules};
use devmig_engine::system;
use devmig_engine::system::{Expect, Property, Refinement, System, Transition};

/// Who makes requests.
pub const GUEST: Party = Party("guest");
/// Who stops a ring and continues it.
pub const USER: Party = Party("user");
/// Who processes requests.
pub const DEVICE: Party = Party("device");

/// As many requests as a lower machine makes available at most, if nothing else is asked for.
const REQUESTS: u16 = 2;

/// What bounds the system.
pub const BOUNDS: [Bound; 1] = [Bound::new("requests", REQUESTS, (1, 4))];

/// What happens to a ring.
#[packed(unqueued)]
#[derive(Default)]
pub enum Act {
    /// A request is made available.
    #[default]
    Available,
    /// The device is told that requests are there.
    Kick,
    /// A request is done.
    Used(u16),
    /// The ring is to stop.
    Stop,
    /// It has stopped, and this is the next request to fetch.
    Stopped(u16),
    /// It is set up at this request, and goes on.
    Continued(u16),
    /// It goes on where it stopped.
    Resumed,
}

impl Event for Act {
    fn owner(&self) -> Party {
        match self {
            Act::Available | Act::Kick => GUEST,
            Act::Stop | Act::Continued(_) | Act::Resumed => USER,
            Act::Used(_) | Act::Stopped(_) => DEVICE,
        }
    }

    fn label(&self) -> String {
        match self {
            Act::Available => "request available".into(),
            Act::Kick => "kick".into(),
            Act::Used(request) => format!("request {request} used"),
            Act::Stop => "stop".into(),
            Act::Stopped(base) => format!("stopped at {base}"),
            Act::Continued(base) => format!("continued at {base}"),
            Act::Resumed => "resumed".into(),
        }
    }
}

/// What is remembered of a ring.
#[packed]
pub struct RingState {
    /// Whether it runs.
    pub running: bool,
    /// Whether it is to stop.
    pub stopping: bool,
    /// How many requests were made available.
    #[bits(3)]
    pub available: u16,
    /// How many of them the device was told of.
    #[bits(3)]
    pub told: u16,
    /// The next to fetch.
    #[bits(3)]
    pub base: u16,
    /// Fetched and not used: bit `request`.
    #[bits(4)]
    pub open: u64,
}

/// Obligations, by index.
mod owed {
    pub(super) const RING: u32 = 0;
    pub(super) const STOP: u32 = 1;
}

/// The rules of a ring; it plays everybody.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    /// At most so many requests are made available.
    pub requests: u16,
}

impl Machine for Ring {
    type State = RingState;
    type Event = Act;

    fn name(&self) -> &'static str {
        "ring"
    }

    fn plays(&self, _: Party) -> bool {
        true
    }

    fn initial(&self) -> RingState {
        RingState { running: false, stopping: false, available: 0, told: 0, base: 0, open: 0 }
    }

    fn on(&self, s: &RingState, act: &Act, _: &mut RuleContext) -> Verdict<Self> {
        let mut next = *s;
        match *act {
            Act::Available if s.available < self.requests => next.available += 1,
            Act::Kick => next.told = s.available,
            Act::Used(request) if s.running && s.open >> (request % 64) & 1 == 1 => {
                next.open &= !(1 << (request % 64));
            }
            Act::Stop if !s.stopping => next.stopping = true,
            Act::Stopped(base) if s.open == 0 && base == s.base => {
                (next.running, next.stopping) = (false, false);
            }
            Act::Continued(base) if !s.running && base == s.base => next.running = true,
            Act::Resumed if !s.running => next.running = true,
            _ => return Ok(Reaction::Disabled),
        }
        Ok(Reaction::To(next))
    }

    fn owes(&self, s: &RingState, _: &mut RuleContext) -> Result<Owed, OpenChoice> {
        let due = s.running && (s.open != 0 || s.base < s.told);
        Ok(Owed::NONE.with_if(due, owed::RING).with_if(s.stopping, owed::STOP))
    }

    fn obligation(&self, index: u32) -> Obligation {
        let what = if index == owed::STOP { "stopped" } else { "request processed" };
        Obligation { by: DEVICE, clause: ClauseId::NONE, class: TimeClass::Io, what }
    }

    fn discharges(&self, _: &RingState, did: &Did<Act>) -> Owed {
        match did {
            Did::Event(Act::Used(_)) | Did::Hidden(_) => Owed::NONE.with(owed::RING),
            Did::Event(Act::Stopped(_)) => Owed::NONE.with(owed::STOP),
            Did::Event(_) => Owed::NONE,
        }
    }

    fn hidden(
        &self,
        s: &RingState,
        _: &mut RuleContext,
        f: &mut dyn FnMut(Step, RingState),
    ) -> Result<(), OpenChoice> {
        if s.running && s.base < s.available {
            let next = RingState { open: s.open | 1 << s.base, base: s.base + 1, ..*s };
            f(Step::alone(DEVICE, "fetch"), next);
        }
        Ok(())
    }

    fn stimuli(&self, _: &RingState, f: &mut dyn FnMut(Stimulus<Act>)) {
        self.domain(&mut |act| f(Stimulus::Guarded(act)));
    }

    fn domain(&self, f: &mut dyn FnMut(Act)) {
        [Act::Available, Act::Kick, Act::Stop, Act::Resumed].into_iter().for_each(&mut *f);
        (0..self.requests).for_each(|request| f(Act::Used(request)));
        (0..=self.requests).for_each(|base| f(Act::Stopped(base)));
        (0..=self.requests).for_each(|base| f(Act::Continued(base)));
    }

    fn at_end(&self, s: &RingState) -> bool {
        !s.stopping && s.open == 0 && (!s.running || s.base == s.available)
    }
}

impl Refines<Ring> for Ring {
    fn refine(&self, act: &Act) -> Option<Act> {
        Some(*act)
    }
}

/// The ring, registered.
pub type Loaded = abstraction::Loaded<Ring>;

impl Abstraction for Ring {
    const NAME: &'static str = RING;
    const SYSTEM: &'static str = SYSTEM;
    const BOUNDS: &'static [Bound] = &BOUNDS;

    fn check(def: &InCode) -> Box<dyn Check> {
        Box::new(system_with(def.bound("requests")))
    }

    fn properties() -> Vec<&'static str> {
        system().properties.iter().filter_map(Property::static_name).collect()
    }
}

/// The name under which systems are compared as rings.
pub const RING: &str = "ring";
/// Its system.
const SYSTEM: &str = "ring/abstract";

/// The abstract ring as a system.
pub type Abstract = system!((Ring,));
type GlobalState = GlobalStateOf<(Ring,), 0, 0>;
type Seen<'a> = Transition<'a, GlobalState, Act>;

/// The ring that others refine: everything that a ring may do.
#[must_use]
pub fn system() -> Abstract {
    system_with(REQUESTS)
}

fn system_with(requests: u16) -> Abstract {
    let used = |t: &Seen| matches!(t.action.event(), Some(Act::Used(_)));
    let stopped = |t: &Seen| matches!(t.action.event(), Some(Act::Stopped(_)));
    System {
        name: SYSTEM.to_owned(),
        protocol: "ring",
        about: "The behaviour that every ring has, in any protocol. Other systems are compared \
                with it."
            .to_owned(),
        closed: Closed { machine: (Ring { requests },), rules: Rules::default() },
        properties: vec![
            Property::implies("no request is used while the ring is stopped", move |t: &Seen| {
                used(t).then_some(t.before.parts.0.running)
            }),
            Property::implies("no request is in flight after a stop", move |t: &Seen| {
                stopped(t).then_some(t.after.parts.0.open == 0)
            }),
            Property::at_end("every fetched request is used", |w: &GlobalState| {
                w.parts.0.open == 0
            }),
            Property::reachable(
                "the last request is used",
                move |t: &Seen| matches!(t.action.event(), Some(Act::Used(request)) if request + 1 == requests),
            ),
            Property::leads_to(
                "a ring stops when requested",
                |w: &GlobalState| w.parts.0.stopping,
                |w: &GlobalState| !w.parts.0.stopping,
            ),
        ],
        expect: Expect::default(),
        refinements: vec![Refinement::new::<Ring>(RING, Ring { requests })],
        environment: vec![],
        symmetry: None,
    }
}
