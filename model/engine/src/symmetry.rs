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
//! only the table sees the order. A trace is one of the system as it is.
//!
//! **Cycles.** On a cycle of the reduced graph the parts may have changed places. After some more turns each has
//! its place again, so that it is a cycle of the system, but another one: what is owed to one part in the first
//! turn is owed to another one in the next. A system in which nothing is owed by a part says so
//! ([`Symmetry::owing_nothing`]), and its reduced run decides what cycles decide. Any other leaves that open.

use crate::pack::{Bits, Overflow, Pack};

/// Two parts change places in a state.
pub type Swap<S> = Box<dyn Fn(&S, usize, usize) -> S + Send + Sync>;
/// All that a state holds of a part, as a number.
pub type Column<S> = Box<dyn Fn(&S, usize) -> u64 + Send + Sync>;

/// Parts that may change places, in states `S`.
pub struct Symmetry<S> {
    /// What a part is, e.g. `channel`.
    pub of: &'static str,
    /// How many there are. Each further one multiplies the arrangements that are tried for a state: 24 of 4.
    pub count: usize,
    /// What is owed and done, and what leads to what, is the same in any order of the parts.
    pub owes_nothing: bool,
    swap: Swap<S>,
    column: Option<Column<S>>,
}

impl<S: Pack> Symmetry<S> {
    /// `count` parts that are called `of`; `swap` lets two of them change places, by their indices.
    pub fn new(
        of: &'static str,
        count: usize,
        swap: impl Fn(&S, usize, usize) -> S + Send + Sync + 'static,
    ) -> Self {
        Symmetry { of, count, owes_nothing: false, swap: Box::new(swap), column: None }
    }

    /// Parts are put in order by what a state holds of each, in place of trying every arrangement. If two parts
    /// have the same number, a state in which they have changed places must be the same state.
    #[must_use]
    pub fn sorted_by(mut self, column: impl Fn(&S, usize) -> u64 + Send + Sync + 'static) -> Self {
        self.column = Some(Box::new(column));
        self
    }

    /// No obligation is one of a part, and no state that a property names depends on their order.
    #[must_use]
    pub fn owing_nothing(mut self) -> Self {
        self.owes_nothing = true;
        self
    }

    /// The state in which two parts have changed places.
    #[must_use]
    pub fn swapped(&self, state: &S, one: usize, other: usize) -> S {
        (self.swap)(state, one, other)
    }

    /// The key that all arrangements of a state share: that of the sorted one, or the least of theirs.
    ///
    /// # Errors
    /// [`Overflow`] if a value does not fit its declared width.
    pub fn key<const W: usize>(&self, state: &S) -> Result<Bits<W>, Overflow> {
        let mut state = *state;
        if let Some(column) = &self.column {
            for at in 0..self.count {
                let least = (at..self.count).min_by_key(|part| column(&state, *part));
                if let Some(least) = least.filter(|least| *least != at) {
                    state = self.swapped(&state, at, least);
                }
            }
            return Bits::pack(&state);
        }
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

    /// Sorted parts have one key in all arrangements too, and that of the sorted state.
    #[test]
    fn parts_can_be_sorted() {
        let sorted = parts::<4>().sorted_by(|state, part| state[part].into());
        let key = |state| sorted.key::<1>(&state).unwrap();
        let same = Bits::pack(&[1u8, 2, 3, 3]).unwrap();
        assert!([[1, 2, 3, 3], [3, 3, 2, 1], [2, 3, 1, 3]].into_iter().all(|of| key(of) == same));
        assert_ne!(key([1, 2, 2, 3]), same);
    }

    #[test]
    fn a_state_is_arranged_along_with_another() {
        let parts = parts::<3>();
        let key = Bits::<1>::pack(&[3u8, 1, 2]).unwrap();
        assert_eq!(parts.arranged(&[1, 2, 3], &[10, 20, 30], &key), Some([30, 10, 20]));
        assert_eq!(parts.arranged(&[1, 2, 4], &[10, 20, 30], &key), None);
    }
}
