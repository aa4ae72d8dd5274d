//! Sets of indices, as ranges.

use std::collections::BTreeMap;

/// The most ranges that are kept apart.
const RANGES: usize = 1 << 16;

/// The indices of the buffers of a device. An index takes no more room for being large.
#[derive(Clone, Debug, Default)]
pub struct Indices {
    /// From the first of a range to its last.
    ranges: BTreeMap<u32, u32>,
    /// There were more ranges than are kept.
    pub overflow: bool,
}

impl Indices {
    /// Adds one; whether it was there before.
    pub fn insert(&mut self, index: u32) -> bool {
        let before = self.ranges.range(..=index).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| index <= last) {
            return true;
        }
        let joins = before.filter(|(_, last)| last.checked_add(1) == Some(index));
        let next = index.checked_add(1).and_then(|next| self.ranges.remove(&next));
        let (first, last) = (joins.map_or(index, |(first, _)| first), next.unwrap_or(index));
        if joins.is_none() && self.ranges.len() >= RANGES {
            self.overflow = true;
        } else {
            self.ranges.insert(first, last);
        }
        false
    }

    /// The largest.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        self.ranges.last_key_value().map(|(_, last)| *last)
    }

    /// The smallest that is missing.
    #[must_use]
    pub fn first_missing(&self) -> u32 {
        match self.ranges.first_key_value() {
            Some((0, last)) => last.saturating_add(1),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Indices;
    use std::collections::BTreeSet;

    #[test]
    fn it_is_a_set() {
        let (mut indices, mut set) = (Indices::default(), BTreeSet::new());
        let mut seed = 1_u32;
        for _ in 0..5000 {
            seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12345);
            let index =
                [seed >> 16 & 0xff, u32::MAX - (seed >> 16 & 3)][usize::from(seed >> 8 & 31 == 0)];
            assert_eq!(indices.insert(index), !set.insert(index));
            assert_eq!(indices.last(), set.last().copied());
            let missing = (0..).find(|index| !set.contains(index));
            assert_eq!(Some(indices.first_missing()), missing);
        }
    }
}
