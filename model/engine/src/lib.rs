//! devmig's engine: machines that hold rules, their composition, and every use of them.
//!
//! ```text
//!  Machine --compose--> Closed --properties--> System --explore--> verdicts, counterexamples
//!     |                                           |
//!     +--estimate--> which states are possible,   +--view--> stateright: a second opinion
//!                    given what was observed      +--laws--> what every machine and system passes
//! ```
//!
//! **Invariants.** The engine names no protocol. It reads no file, clock or random number, prints
//! nothing, and depends on no TOML, no diagnostics and no command line: what it needs to know of a
//! specification is a number for each clause and each choice.
//!
//! **Not here.** The text of a clause, the names of systems' files, sockets, and anything that
//! happens in real time.
extern crate self as devmig_engine;

/// Packs a struct or an enum: see [`pack`].
pub use devmig_engine_derive::packed;
#[doc(hidden)]
pub use serde;

/// What a machine and its system are written with.
pub mod prelude {
    pub use crate::explore::{Check, Options};
    pub use crate::machine::{
        Channel, Did, Event, Kind, Machine, Obligation, Owed, Party, Reaction, Step, Stimulus,
        TimeClass, Verdict,
    };
    pub use crate::rules::{OpenChoice, RuleContext};
    pub use crate::system::{Property, System};
    pub use crate::{packed, system};
}

pub mod clause;
pub mod columns;
pub mod compose;
pub mod estimate;
pub mod explore;
pub mod laws;
pub mod machine;
pub mod pack;
pub mod queue;
pub mod rules;
pub mod symmetry;
pub mod system;
