//! Parts of a system that may change places: of the states that differ in their order only, one is explored.
//!
//! ```text
//!   channels (idle, busy, idle) --canonical--> least key of all arrangements <--canonical-- (busy, idle, idle)
//! ```
//!
//! A system declares its parts once ([`Symmetry::of`], how many, and how two of them change places);
//! [`crate::laws::symmetry_is_one`] holds the declaration against every reachable state, and
//! [`crate::laws::reduced_agrees`] the verdicts and the count of the reduced run against the whole one.
//!
//! **Invariants.** Properties and events are those of the state that was reached, before it is put in order:
//! nobody but the table sees the order. A trace is one of the system as it is.
//!
//! **Not here.** Cycles: one of the reduced graph may be none of the system, since the parts may have changed
//! places on the way. A reduced run with a cycle leaves open what cycles decide.

use crate::pack::{Bits, Overflow, Pack};

/// Two parts change places in a state.
pub type Swap<S> = Box<dyn Fn(&S, usize, usize) -> S + Send + Sync>;

/// Parts that may change places, in states `S`.
pub struct Symmetry<S> {
    /// What a part is, e.g. `channel`.
    pub of: &'static str,
    /// How many there are. Each further one multiplies the arrangements that are tried for a state: 24 of 4.
    pub count: usize,
    swap: Swap<S>,
}

impl<S: Pack> Symmetry<S> {
    /// `count` parts that are called `of`; `swap` lets two of them change places, by their indices.
    pub fn new(
        of: &'static str,
        count: usize,
        swap: impl Fn(&S, usize, usize) -> S + Send + Sync + 'static,
    ) -> Self {
        Symmetry { of, count, swap: Box::new(swap) }
    }

    /// The state in which two parts have changed places.
    #[must_use]
    pub fn swapped(&self, state: &S, one: usize, other: usize) -> S {
        (self.swap)(state, one, other)
    }

    /// The key that all arrangements of a state share: the least of theirs.
    ///
    /// # Errors
    /// [`Overflow`] if a value does not fit its declared width.
    pub fn key<const W: usize>(&self, state: &S) -> Result<Bits<W>, Overflow> {
        let mut state = *state;
        let mut least = Bits::pack(&state)?;
        for (one, other) in self.arrangements() {
            state = self.swapped(&state, one, other);
            least = least.min(Bits::pack(&state)?);
        }
        Ok(least)
    }

    /// `state` and `other` in the same arrangement, the one in which `state` has this key; none, if it has it
    /// in no arrangement.
    pub fn arranged<const W: usize>(&self, state: &S, other: &S, key: &Bits<W>) -> Option<S> {
        let is_it = |state: &S| Bits::pack(state).is_ok_and(|at| at == *key);
        let (mut state, mut along) = (*state, *other);
        if is_it(&state) {
            return Some(along);
        }
        for (one, other) in self.arrangements() {
            state = self.swapped(&state, one, other);
            along = self.swapped(&along, one, other);
            if is_it(&state) {
                return Some(along);
            }
        }
        None
    }

    /// How many different states the arrangements of this one are.
    ///
    /// # Errors
    /// [`Overflow`] if a value does not fit its declared width.
    pub fn orbit<const W: usize>(&self, state: &S) -> Result<usize, Overflow> {
        let mut state = *state;
        let mut keys = vec![Bits::<W>::pack(&state)?];
        for (one, other) in self.arrangements() {
            state = self.swapped(&state, one, other);
            keys.push(Bits::pack(&state)?);
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys.len())
    }

    /// Swaps that lead through every arrangement, each once: Heap's algorithm.
    fn arrangements(&self) -> impl Iterator<Item = (usize, usize)> {
        let mut counters = vec![0; self.count];
        let mut at = 1;
        std::iter::from_fn(move || {
            while at < counters.len() {
                if counters[at] < at {
                    let with = if at % 2 == 0 { 0 } else { counters[at] };
                    let swap = (with, at);
                    counters[at] += 1;
                    at = 1;
                    return Some(swap);
                }
                counters[at] = 0;
                at += 1;
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

    use super::*;

    fn parts<const N: usize>() -> Symmetry<[u8; N]> {
        Symmetry::new("part", N, |state: &[u8; N], one, other| {
            let mut next = *state;
            next.swap(one, other);
            next
        })
    }

    /// Different parts have as many arrangements as there are, and all of them one key.
    #[test]
    fn every_arrangement_is_met_once() {
        fn counted<const N: usize>() -> usize {
            let distinct = std::array::from_fn(|n| n as u8);
            parts::<N>().orbit::<1>(&distinct).unwrap()
        }
        let counts =
            [counted::<1>(), counted::<2>(), counted::<3>(), counted::<4>(), counted::<5>()];
        assert_eq!(counts, [1, 2, 6, 24, 120]);
        let swaps = parts::<5>().arrangements().count();
        assert_eq!(swaps, 119, "each arrangement once");
        assert_eq!(parts::<4>().orbit::<1>(&[7, 7, 2, 7]).unwrap(), 4);
    }

    #[test]
    fn arrangements_of_one_state_share_a_key_and_others_do_not() {
        let key = |state| parts::<3>().key::<1>(state).unwrap();
        assert_eq!(key(&[1, 2, 3]), key(&[3, 1, 2]));
        assert_eq!(key(&[1, 1, 3]), key(&[3, 1, 1]));
        assert_ne!(key(&[1, 1, 3]), key(&[1, 3, 3]));
    }

    #[test]
    fn a_state_is_arranged_along_with_another() {
        let parts = parts::<3>();
        let key = Bits::<1>::pack(&[3u8, 1, 2]).unwrap();
        assert_eq!(parts.arranged(&[1, 2, 3], &[10, 20, 30], &key), Some([30, 10, 20]));
        assert_eq!(parts.arranged(&[1, 2, 4], &[10, 20, 30], &key), None);
    }
}
