//! What every synchronisation of a migration does, by whatever packets: the machine that lower ones refine.
//!
//! ```text
//!   source:        written in epoch e ...                    written in epoch e + 1 ...
//!   destination:   received in epoch e ...   | passed |      received in epoch e + 1 ...
//!                  only when all of epoch e is received      only of the epoch that was passed last
//! ```
//!
//! It says two things: the barrier is passed when everything of its epoch was received, and nothing of
//! another epoch is received before or after. QEMU passes it at a mark on the main stream, for which every
//! channel has to have read a SYNC; cloud-hypervisor at a gate that opens when each chunk was acknowledged.
//! [`Refines<Barrier>`] is the map from their events to these; what has no place here is not seen.
//!
//! **Invariant.** Every refusal here is the abstract machine's whole opinion: it names no clause, since it is
//! no text of anybody's.
//!
//! **Not here.** Channels, what a page contains, and that anything ever arrives.

use super::abstraction::{self, Abstraction};
use super::definition::InCode;
use super::size::Bound;
use devmig_engine::compose::{Closed, GlobalStateOf};
use devmig_engine::explore::Check;
use devmig_engine::machine::{Event, Machine, Party, Reaction, Refines, Stimulus, Verdict};
use devmig_engine::packed;
use devmig_engine::rules::{RuleContext, Rules};
use devmig_engine::system;
use devmig_engine::system::{Expect, Property, Refinement, System, Transition};

/// Who writes.
pub const SOURCE: Party = Party("source");
/// Who receives, and who waits at the barrier.
pub const DESTINATION: Party = Party("destination");

/// The most epochs that are counted.
const EPOCHS: usize = 7;
/// As many epochs as a lower machine has at most, if nothing else is asked for.
const DEFAULT_EPOCHS: u16 = 4;
/// As many pages of an epoch as are under way at most.
const PAGES: u16 = 2;

/// What bounds the system.
pub const BOUNDS: [Bound; 2] =
    [Bound::new("epochs", DEFAULT_EPOCHS, (1, EPOCHS as u16)), Bound::new("pages", PAGES, (1, 3))];

/// What happens.
#[packed(unqueued)]
#[derive(Default)]
pub enum Act {
    /// A page of this epoch is written.
    Written(u8),
    /// A page of this epoch is received.
    Received(u8),
    /// The barrier is passed.
    #[default]
    Passed,
}

impl Event for Act {
    fn owner(&self) -> Party {
        match self {
            Act::Written(_) => SOURCE,
            Act::Received(_) | Act::Passed => DESTINATION,
        }
    }

    fn label(&self) -> String {
        match self {
            Act::Written(epoch) => format!("page written in epoch {epoch}"),
            Act::Received(epoch) => format!("page received of epoch {epoch}"),
            Act::Passed => "barrier passed".into(),
        }
    }
}

/// What is remembered.
#[packed]
pub struct BarrierState {
    /// How often the barrier was passed.
    #[bits(3)]
    pub passed: u8,
    /// Pages that were written and not received, by epoch.
    pub under_way: [UnderWay; EPOCHS],
}

/// How many pages of an epoch are under way.
#[packed]
#[derive(Default)]
#[serde(transparent)]
pub struct UnderWay {
    /// How many.
    #[bits(2)]
    pub pages: u8,
}

/// The rules of a barrier; it plays both ends.
#[derive(Clone, Copy, Debug)]
pub struct Barrier {
    /// Epochs.
    pub epochs: u8,
    /// At most so many pages of an epoch are under way.
    pub pages: u8,
}

impl Machine for Barrier {
    type State = BarrierState;
    type Event = Act;

    fn name(&self) -> &'static str {
        BARRIER
    }

    fn plays(&self, _: Party) -> bool {
        true
    }

    fn initial(&self) -> BarrierState {
        BarrierState { passed: 0, under_way: [UnderWay::default(); EPOCHS] }
    }

    fn on(&self, s: &BarrierState, act: &Act, _: &mut RuleContext) -> Verdict<Self> {
        let mut next = *s;
        let here = usize::from(s.passed);
        match *act {
            Act::Written(epoch) if epoch >= s.passed && epoch < self.epochs => {
                let under_way = &mut next.under_way[usize::from(epoch)];
                if under_way.pages >= self.pages {
                    return Ok(Reaction::Disabled);
                }
                under_way.pages += 1;
            }
            Act::Received(epoch) if epoch == s.passed => match next.under_way.get_mut(here) {
                Some(under_way) if under_way.pages > 0 => under_way.pages -= 1,
                _ => return Ok(Reaction::Disabled),
            },
            Act::Passed if s.passed < self.epochs => {
                if s.under_way[here].pages > 0 {
                    return Ok(Reaction::Disabled);
                }
                next.passed += 1;
            }
            _ => return Ok(Reaction::Disabled),
        }
        Ok(Reaction::To(next))
    }

    fn stimuli(&self, _: &BarrierState, f: &mut dyn FnMut(Stimulus<Act>)) {
        self.domain(&mut |act| f(Stimulus::Guarded(act)));
    }

    fn domain(&self, f: &mut dyn FnMut(Act)) {
        (0..self.epochs).for_each(|epoch| f(Act::Written(epoch)));
        (0..self.epochs).for_each(|epoch| f(Act::Received(epoch)));
        f(Act::Passed);
    }

    fn at_end(&self, s: &BarrierState) -> bool {
        s.under_way.iter().all(|epoch| epoch.pages == 0)
    }
}

impl Refines<Barrier> for Barrier {
    fn refine(&self, act: &Act) -> Option<Act> {
        Some(*act)
    }
}

/// The barrier, registered.
pub type Loaded = abstraction::Loaded<Barrier>;

impl Abstraction for Barrier {
    const NAME: &'static str = BARRIER;
    const SYSTEM: &'static str = SYSTEM;
    const BOUNDS: &'static [Bound] = &BOUNDS;

    fn check(def: &InCode) -> Box<dyn Check> {
        let bound = |name| def.bound(name) as u8;
        Box::new(system_with(Barrier { epochs: bound("epochs"), pages: bound("pages") }))
    }

    fn properties() -> Vec<&'static str> {
        system().properties.iter().filter_map(Property::static_name).collect()
    }
}

/// The name under which systems are compared as barriers.
pub const BARRIER: &str = "barrier";
/// Its system.
const SYSTEM: &str = "barrier/abstract";

/// The abstract barrier as a system.
pub type Abstract = system!((Barrier,));
type GlobalState = GlobalStateOf<(Barrier,), 0, 0>;
type Seen<'a> = Transition<'a, GlobalState, Act>;

/// The barrier that others refine: everything that one may do.
#[must_use]
pub fn system() -> Abstract {
    system_with(Barrier { epochs: DEFAULT_EPOCHS as u8, pages: PAGES as u8 })
}

fn system_with(barrier: Barrier) -> Abstract {
    System {
        name: SYSTEM.to_owned(),
        protocol: BARRIER,
        about: "The behaviour that every synchronisation of a migration has, by whatever packets. \
                Other systems are compared with it."
            .to_owned(),
        closed: Closed { machine: (barrier,), rules: Rules::default() },
        properties: vec![
            Property::implies("everything was received when the barrier is passed", |t: &Seen| {
                let passed = matches!(t.action.event(), Some(Act::Passed));
                let state = &t.before.parts.0;
                passed.then(|| state.under_way[usize::from(state.passed)].pages == 0)
            }),
            Property::implies("epochs do not overlap", |t: &Seen| match t.action.event() {
                Some(Act::Received(epoch)) => Some(*epoch == t.before.parts.0.passed),
                _ => None,
            }),
            Property::reachable("the last barrier is passed", move |t: &Seen| {
                t.after.parts.0.passed == barrier.epochs
            }),
        ],
        expect: Expect::default(),
        refinements: vec![Refinement::new::<Barrier>(BARRIER, barrier)],
        environment: vec![],
        symmetry: None,
    }
}
