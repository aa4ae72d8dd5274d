//! The exact set of visited states, each with the state it was first reached from.
//!
//! ```text
//!  hash of the key:  | shard (6 bits) | place in the shard's index ... | tag (6 bits) |
//!
//!  shard:  index  [ tag | local ] [  empty   ] [ tag | local ] ...   open addressing, any size
//!          keys    key 0, key 1, key 2 ...                           in order of discovery
//!          parents     -,     7,     7 ...                           ids
//!
//!  id of a state = local number in its shard * 64 + shard
//! ```
//!
//! A key is stored itself, never a hash of it. The number of shards is fixed, and each shard
//! receives its keys in the order of the search, so ids do not depend on the number of threads.
//! The tag makes a probe that meets another key read the key itself only once in 64 times.
//!
//! **Bytes.** `8 W + 4` for key and parent, with at most a quarter more for growth, and 5 to 10 for
//! the index: 17 to 25 bytes a state for one word.
//!
//! **Not here.** No edges, no order of levels (see [`super::search`]), no deletion.

use crate::pack::Bits;

/// How many shards there are, whatever the number of threads.
pub const SHARDS: usize = 64;
const SHARD_BITS: u32 = SHARDS.trailing_zeros();
/// Bits of an index entry that hold the local number; the rest are the tag.
const LOCAL_BITS: u32 = 32 - SHARD_BITS;
const LOCAL_MASK: u32 = (1 << LOCAL_BITS) - 1;
const EMPTY: u32 = u32::MAX;

/// A state's number: exact, and the same for any number of threads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Id(u32);

impl Id {
    /// No state: the parent of the initial one.
    pub const NONE: Id = Id(u32::MAX);

    /// The state with this number in this shard.
    #[inline(always)]
    #[must_use]
    pub fn new(shard: usize, local: usize) -> Self {
        Id((local << SHARD_BITS | shard) as u32)
    }

    /// Its shard.
    #[inline(always)]
    #[must_use]
    pub fn shard(self) -> usize {
        self.0 as usize % SHARDS
    }

    /// Its number in that shard.
    #[inline(always)]
    #[must_use]
    pub fn local(self) -> usize {
        self.0 as usize / SHARDS
    }
}

/// A well mixed hash of a key.
#[inline(always)]
#[must_use]
pub fn hash<const W: usize>(key: &Bits<W>) -> u64 {
    let mut h = 0u64;
    for word in key.0 {
        h = (h ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        h ^= h >> 32;
    }
    h = h.wrapping_mul(0xD6E8_FEB8_6659_FD93);
    h ^ h >> 32
}

/// The shard of a hash.
#[inline(always)]
#[must_use]
pub fn shard_of(hash: u64) -> usize {
    (hash >> (64 - SHARD_BITS)) as usize
}

/// The states whose hash begins with this shard's number.
#[derive(Debug)]
pub struct Shard<const W: usize> {
    index: Vec<u32>,
    keys: Vec<Bits<W>>,
    parents: Vec<Id>,
}

impl<const W: usize> Shard<W> {
    fn new() -> Self {
        Shard { index: vec![EMPTY; 16], keys: Vec::new(), parents: Vec::new() }
    }

    /// How many states it holds.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Its keys, in order of discovery.
    #[inline]
    #[must_use]
    pub fn keys(&self) -> &[Bits<W>] {
        &self.keys
    }

    /// Where in the index a hash begins to be looked for.
    #[inline(always)]
    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash << SHARD_BITS) * self.index.len() as u128) >> 64) as usize
    }

    #[inline(always)]
    fn tag(hash: u64) -> u32 {
        (hash as u32) << LOCAL_BITS
    }

    /// The key's local number, or the free place in the index, looking on from this place.
    #[inline(always)]
    fn probe(&self, key: &Bits<W>, hash: u64, mut at: usize) -> Result<u32, usize> {
        loop {
            at = self.likely(hash, at);
            let entry = self.index[at];
            if entry == EMPTY {
                return Err(at);
            }
            let local = entry & LOCAL_MASK;
            if self.keys[local as usize] == *key {
                return Ok(local);
            }
            at = self.next(at);
        }
    }

    /// The first place from here on that is free or has the tag of this hash.
    #[inline(always)]
    fn likely(&self, hash: u64, mut at: usize) -> usize {
        let tag = Self::tag(hash);
        loop {
            let entry = self.index[at];
            if entry == EMPTY || entry & !LOCAL_MASK == tag {
                return at;
            }
            at = self.next(at);
        }
    }

    #[inline(always)]
    fn next(&self, at: usize) -> usize {
        if at + 1 == self.index.len() { 0 } else { at + 1 }
    }

    /// Adds states unless they are there, each with its parent. Returns the least local number of
    /// those that are there already; `None` if the shard is full.
    ///
    /// First all places in the index are read, then all keys that are likely to be equal, then they
    /// are compared: so the processor waits for many of them at once, not for one after the other.
    #[inline]
    pub fn insert<const B: usize>(&mut self, batch: &[(Bits<W>, Id); B]) -> Option<u32> {
        if !self.make_room(B) {
            return None;
        }
        let mut hashes = [0; B];
        let mut places = [0; B];
        let mut seen = 0;
        for (i, (key, _)) in batch.iter().enumerate() {
            hashes[i] = hash(key);
            places[i] = self.home(hashes[i]);
            seen ^= self.index[places[i]];
        }
        std::hint::black_box(seen);
        let mut seen = 0;
        for (hash, place) in hashes.iter().zip(&mut places) {
            *place = self.likely(*hash, *place);
            let local = self.index[*place] & LOCAL_MASK;
            seen ^= self.keys.get(local as usize).map_or(0, |key| key.0[0]);
        }
        std::hint::black_box(seen);
        let mut oldest = u32::MAX;
        for (i, (key, parent)) in batch.iter().enumerate() {
            match self.probe(key, hashes[i], places[i]) {
                Ok(local) => oldest = oldest.min(local),
                Err(place) => {
                    self.index[place] = Self::tag(hashes[i]) | self.keys.len() as u32;
                    self.keys.push(*key);
                    self.parents.push(*parent);
                }
            }
        }
        Some(oldest)
    }

    /// Makes room for more states. `false` if there cannot be so many.
    #[inline]
    fn make_room(&mut self, more: usize) -> bool {
        let len = self.keys.len() + more;
        if len > LOCAL_MASK as usize {
            return false;
        }
        if len > self.keys.capacity() {
            let more = more.max(self.keys.len() / 4);
            self.keys.reserve_exact(more);
            self.parents.reserve_exact(more);
        }
        while len * 8 > self.index.len() * 5 {
            self.grow();
        }
        true
    }

    #[cold]
    fn grow(&mut self) {
        let size = self.index.len() * 3 / 2;
        self.index = Vec::new();
        self.index.resize(size, EMPTY);
        for local in 0..self.keys.len() {
            let hash = hash(&self.keys[local]);
            let mut at = self.home(hash);
            while self.index[at] != EMPTY {
                at = self.next(at);
            }
            self.index[at] = Self::tag(hash) | local as u32;
        }
    }

    fn bytes(&self) -> usize {
        self.index.capacity() * size_of::<u32>()
            + self.keys.capacity() * size_of::<Bits<W>>()
            + self.parents.capacity() * size_of::<Id>()
    }
}

/// All visited states.
#[derive(Debug)]
pub struct Table<const W: usize> {
    /// By the first bits of the hash.
    pub shards: Vec<Shard<W>>,
}

impl<const W: usize> Default for Table<W> {
    fn default() -> Self {
        Table { shards: (0..SHARDS).map(|_| Shard::new()).collect() }
    }
}

impl<const W: usize> Table<W> {
    /// How many states.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(Shard::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds one state unless it is there. `false` if its shard is full.
    pub fn insert(&mut self, key: &Bits<W>, parent: Id) -> bool {
        self.shards[shard_of(hash(key))].insert(&[(*key, parent)]).is_some()
    }

    /// The state's number.
    #[inline]
    #[must_use]
    pub fn find(&self, key: &Bits<W>) -> Option<Id> {
        let hash = hash(key);
        let shard = shard_of(hash);
        let found = self.shards[shard].probe(key, hash, self.shards[shard].home(hash));
        found.ok().map(|local| Id::new(shard, local as usize))
    }

    /// Reads the places where this key will be looked for: a hint, if others are looked for first.
    #[inline]
    pub fn touch(&self, key: &Bits<W>) {
        let hash = hash(key);
        let shard = &self.shards[shard_of(hash)];
        std::hint::black_box(shard.index[shard.home(hash)]);
    }

    /// The state with this number.
    #[inline]
    #[must_use]
    pub fn key(&self, id: Id) -> &Bits<W> {
        &self.shards[id.shard()].keys[id.local()]
    }

    /// The state from which this one was first reached.
    #[must_use]
    pub fn parent(&self, id: Id) -> Option<Id> {
        let parent = self.shards[id.shard()].parents[id.local()];
        (parent != Id::NONE).then_some(parent)
    }

    /// The path of first discovery, from the initial state to this one.
    #[must_use]
    pub fn path(&self, id: Id) -> Vec<Id> {
        let mut path: Vec<Id> = std::iter::successors(Some(id), |id| self.parent(*id)).collect();
        path.reverse();
        path
    }

    /// How many states each shard holds.
    #[must_use]
    pub fn lengths(&self) -> [u32; SHARDS] {
        std::array::from_fn(|shard| self.shards[shard].len() as u32)
    }

    /// The bytes actually allocated.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(Shard::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_again_under_the_number_of_their_first_insertion() {
        let mut table = Table::<2>::default();
        let keys: Vec<_> = (0..10_000u64).map(|n| Bits([n % 7, n / 7])).collect();
        for key in &keys {
            assert!(table.insert(key, Id::NONE));
        }
        let ids: Vec<_> = keys.iter().map(|key| table.find(key).unwrap()).collect();
        for (key, id) in keys.iter().zip(&ids) {
            assert!(table.insert(key, *id));
            assert_eq!(table.key(*id), key);
            assert_eq!(table.parent(*id), None);
        }
        assert_eq!(table.find(&Bits([8, 0])), None);
        assert_eq!(table.len(), keys.len());
    }

    #[test]
    fn one_word_states_take_at_most_25_bytes() {
        let mut table = Table::<1>::default();
        let mut worst = 0.0f64;
        for n in 0..2_000_000u64 {
            assert!(table.insert(&Bits([n * n]), Id::NONE));
            if n > 100_000 && n % 1000 == 0 {
                worst = worst.max(table.bytes() as f64 / n as f64);
            }
        }
        assert!(worst < 25.5, "{worst}");
    }

    #[test]
    fn shards_fill_evenly() {
        let mut table = Table::<1>::default();
        for n in 0..640_000u64 {
            assert!(table.insert(&Bits([n << 20]), Id::NONE));
        }
        let lengths = table.lengths();
        assert!(lengths.iter().all(|n| (9_000..11_000).contains(n)), "{lengths:?}");
    }
}
