//! How the state of devices passes from one host to the other, by whatever packets: the machine that lower ones
//! refine.
//!
//! ```text
//!   source:        written, written, ...
//!   destination:            received, received, ...   | taken over |
//!                  only what was written               only when all that was written was received;
//!                                                      nothing is written any more
//! ```
//!
//! A whole migration knows no channels: a piece of state is read at one host and written at the other. multifd
//! has threads, channels and a main stream for it. Both are held against this machine, so that a whole
//! migration stands for both ways ([`Refines<Transfer>`]).
//!
//! **Invariant.** As [`super::barrier`]: a refusal here is the abstract machine's whole opinion, and names no
//! clause.
//!
//! **Not here.** The order of pieces, which multifd's index and properties are about; what a piece contains.

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
/// Who receives, and takes over.
pub const DESTINATION: Party = Party("destination");

/// What bounds the system: pieces that are under way at once.
pub const BOUNDS: [Bound; 1] = [Bound::new("pieces", PIECES, (1, PIECES))];
/// As many as can be counted.
const PIECES: u16 = 7;

/// What happens.
#[packed(unqueued)]
#[derive(Default)]
pub enum Act {
    /// A piece is written.
    Written,
    /// A piece is received.
    Received,
    /// The destination takes over.
    #[default]
    TakenOver,
}

impl Event for Act {
    fn owner(&self) -> Party {
        match self {
            Act::Written => SOURCE,
            Act::Received | Act::TakenOver => DESTINATION,
        }
    }

    fn label(&self) -> String {
        match self {
            Act::Written => "piece written".into(),
            Act::Received => "piece received".into(),
            Act::TakenOver => "destination takes over".into(),
        }
    }
}

/// What is remembered.
#[packed]
pub struct TransferState {
    /// Pieces that were written and not received.
    #[bits(3)]
    pub under_way: u8,
    /// The destination has taken over.
    pub over: bool,
}

/// The rules of a transfer; it plays both ends.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// At most so many pieces are under way.
    pub pieces: u8,
}

impl Machine for Transfer {
    type State = TransferState;
    type Event = Act;

    fn name(&self) -> &'static str {
        TRANSFER
    }

    fn plays(&self, _: Party) -> bool {
        true
    }

    fn initial(&self) -> TransferState {
        TransferState { under_way: 0, over: false }
    }

    fn on(&self, s: &TransferState, act: &Act, _: &mut RuleContext) -> Verdict<Self> {
        let mut next = *s;
        match act {
            Act::Written if !s.over && s.under_way < self.pieces => next.under_way += 1,
            Act::Received if s.under_way > 0 => next.under_way -= 1,
            // It may say so again.
            Act::TakenOver if s.under_way == 0 => next.over = true,
            _ => return Ok(Reaction::Disabled),
        }
        Ok(Reaction::To(next))
    }

    fn stimuli(&self, _: &TransferState, f: &mut dyn FnMut(Stimulus<Act>)) {
        self.domain(&mut |act| f(Stimulus::Guarded(act)));
    }

    fn domain(&self, f: &mut dyn FnMut(Act)) {
        [Act::Written, Act::Received, Act::TakenOver].into_iter().for_each(f);
    }

    fn at_end(&self, s: &TransferState) -> bool {
        s.under_way == 0
    }
}

impl Refines<Transfer> for Transfer {
    fn refine(&self, act: &Act) -> Option<Act> {
        Some(*act)
    }
}

/// The transfer, registered.
pub type Loaded = abstraction::Loaded<Transfer>;

impl Abstraction for Transfer {
    const NAME: &'static str = TRANSFER;
    const SYSTEM: &'static str = SYSTEM;
    const BOUNDS: &'static [Bound] = &BOUNDS;

    fn check(def: &InCode) -> Box<dyn Check> {
        Box::new(system_with(Transfer { pieces: def.bound("pieces") as u8 }))
    }

    fn properties() -> Vec<&'static str> {
        system().properties.iter().filter_map(Property::static_name).collect()
    }
}

/// The name under which systems are compared as transfers.
pub const TRANSFER: &str = "transfer";
/// Its system.
const SYSTEM: &str = "transfer/abstract";

/// The abstract transfer as a system.
pub type Abstract = system!((Transfer,));
type GlobalState = GlobalStateOf<(Transfer,), 0, 0>;
type Seen<'a> = Transition<'a, GlobalState, Act>;

/// The transfer that others refine: everything that one may do.
#[must_use]
pub fn system() -> Abstract {
    system_with(Transfer { pieces: PIECES as u8 })
}

fn system_with(transfer: Transfer) -> Abstract {
    System {
        name: SYSTEM.to_owned(),
        protocol: TRANSFER,
        about:
            "The behaviour that every transfer of the state of devices has, by whatever packets. \
                Other systems are compared with it."
                .to_owned(),
        closed: Closed { machine: (transfer,), rules: Rules::default() },
        properties: vec![
            Property::implies(
                "everything was received when the destination takes over",
                |t: &Seen| {
                    let over = matches!(t.action.event(), Some(Act::TakenOver));
                    over.then_some(t.before.parts.0.under_way == 0)
                },
            ),
            Property::reachable("the destination takes over", |t: &Seen| t.after.parts.0.over),
        ],
        expect: Expect::default(),
        refinements: vec![Refinement::new::<Transfer>(TRANSFER, transfer)],
        environment: vec![],
        symmetry: None,
    }
}
