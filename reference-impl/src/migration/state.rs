//! The states of a device that migrates, the arcs between them, and the way that a SET takes.
//!
//! ```text
//!   arcs of a device with every feature --> states that this one lacks are skipped --> shortest way
//! ```
//!
//! **Invariants.** A way is found, never typed in. Between two states that save, it stays among states
//! that save; otherwise it leads through none: so nobody's data is begun or ended by the way.

use std::collections::VecDeque;
use std::fmt;

/// A bit of the features: data can be read while stopped. Every device has it.
pub const STOP_COPY: u64 = 1;
/// A bit of the features: states without DMA to peers.
pub const P2P: u64 = 1 << 1;
/// A bit of the features: data can be read while running.
pub const PRE_COPY: u64 = 1 << 2;

/// What the device may begin by itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DmaAllowed {
    /// No DMA.
    None,
    /// None to peers.
    NoPeer,
    /// Any.
    Any,
}

/// The data that flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// None.
    None,
    /// Out.
    Saving,
    /// In.
    Resuming,
}

macro_rules! states {
    ($($name:ident = $value:literal $needs:expr, $runs:literal, $dma:ident, $flow:ident;)+) => {
        /// A migration state, spelled as in `<linux/vfio.h>`.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[allow(non_camel_case_types, missing_docs)] // named as in the text
        pub enum State { $($name = $value,)+ }

        impl State {
            /// All of them, by value.
            pub const ALL: [State; 8] = [$(State::$name,)+];

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(State::$name => stringify!($name),)+ }
            }

            const fn needs(self) -> u64 {
                match self { $(State::$name => $needs,)+ }
            }

            /// Whether the device works.
            #[must_use]
            pub const fn runs(self) -> bool {
                match self { $(State::$name => $runs,)+ }
            }

            /// What it may begin.
            #[must_use]
            pub const fn dma(self) -> DmaAllowed {
                match self { $(State::$name => DmaAllowed::$dma,)+ }
            }

            /// Which data flows.
            #[must_use]
            pub const fn flow(self) -> Flow {
                match self { $(State::$name => Flow::$flow,)+ }
            }
        }
    };
}

states! {
    ERROR = 0 0, false, None, None;
    STOP = 1 0, false, None, None;
    RUNNING = 2 0, true, Any, None;
    STOP_COPY = 3 STOP_COPY, false, None, Saving;
    RESUMING = 4 STOP_COPY, false, None, Resuming;
    RUNNING_P2P = 5 P2P, true, NoPeer, None;
    PRE_COPY = 6 PRE_COPY, true, Any, Saving;
    PRE_COPY_P2P = 7 P2P | PRE_COPY, true, NoPeer, Saving;
}

/// The arcs of a device with every feature.
const ARCS: [(State, State); 15] = {
    use State::*;
    [
        (RUNNING_P2P, STOP),
        (STOP_COPY, STOP),
        (RESUMING, STOP),
        (PRE_COPY, RUNNING),
        (RUNNING_P2P, RUNNING),
        (PRE_COPY_P2P, RUNNING_P2P),
        (RUNNING, RUNNING_P2P),
        (STOP, RUNNING_P2P),
        (RUNNING, PRE_COPY),
        (RUNNING_P2P, PRE_COPY_P2P),
        (STOP, STOP_COPY),
        (PRE_COPY, PRE_COPY_P2P),
        (PRE_COPY_P2P, PRE_COPY),
        (PRE_COPY_P2P, STOP_COPY),
        (STOP, RESUMING),
    ]
};

impl State {
    /// The one with this value.
    #[must_use]
    pub fn find(value: u32) -> Option<State> {
        Self::ALL.into_iter().find(|state| *state as u32 == value)
    }

    /// Whether a device with these features has it.
    #[must_use]
    pub const fn is_in(self, features: u64) -> bool {
        self.needs() & !features == 0
    }

    /// The states that a SET leads through, from the first after this one to the one asked for; `None`
    /// if no way leads there.
    #[must_use]
    pub fn way_to(self, to: State, features: u64) -> Option<Vec<State>> {
        let sets = |state: State| state != State::ERROR && state.is_in(features);
        if !sets(self) || !sets(to) {
            return None;
        }
        let saving = |state: State| state.flow() == Flow::Saving;
        let inside = saving(self) && saving(to);
        let mut ways = VecDeque::from([vec![self]]);
        let mut seen = vec![self];
        while let Some(way) = ways.pop_front() {
            let here = way.last().copied()?;
            if here == to {
                return Some(way.into_iter().skip(1).filter(|state| sets(*state)).collect());
            }
            for (_, next) in ARCS.iter().filter(|(from, _)| *from == here) {
                let passes = *next == to || saving(*next) == inside;
                if passes && !seen.contains(next) {
                    seen.push(*next);
                    ways.push_back([way.as_slice(), &[*next]].concat());
                }
            }
        }
        None
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
