//! The number in a message, and how exploration packs it: any number, in few bits.
//!
//! ```text
//!   0..256                             as it is
//!   a mask of the bits in MASK_BITS    a bit for each
//!   any other                          its place in a table of all numbers that were met
//! ```
//!
//! A system has few numbers, but each can be any: a mask of features that a proposal takes, a phase of a
//! transfer. So they are numbered as they are met. The table is one for the whole process, and a number
//! keeps its place: the place depends on the number alone unless two numbers claim the same one.
//!
//! **Invariant.** What is unpacked is what was packed. A number that finds no place overflows.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use devmig_engine::pack::{Overflow, Pack, Reader, Writer};

/// The number in a message: a base, a status, a feature mask, an enable flag, a direction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Value(pub u64);

/// The feature bits, virtio's and the protocol's, that most systems have: their masks need no table.
const MASK_BITS: [u8; 16] = [30, 24, 26, 33, 1, 3, 5, 9, 12, 13, 14, 15, 16, 19, 20, 25];
/// Set in front of a mask.
const IS_MASK: u64 = 1 << MASK_BITS.len();
/// Numbers below this one are packed as they are.
const SMALL: u64 = 256;
/// The other places that there are in front of the masks.
const PLACES: u64 = IS_MASK - SMALL;
/// As many places are tried.
const TRIES: u64 = 64;

/// The numbers that were met, each at its place; 0: none yet.
static MET: [AtomicU64; PLACES as usize] = [const { AtomicU64::new(0) }; PLACES as usize];

/// The place of a number that is not small.
fn place(number: u64) -> Option<u64> {
    let first = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    (first..first + TRIES).map(|at| at % PLACES).find(|at| {
        let known = &MET[*at as usize];
        let before = known.compare_exchange(0, number, Relaxed, Relaxed).unwrap_or_else(|it| it);
        before == 0 || before == number
    })
}

impl Pack for Value {
    const BITS: u32 = 1 + MASK_BITS.len() as u32;

    #[inline]
    fn pack<const W: usize>(&self, into: &mut Writer<W>) -> Result<(), Overflow> {
        if self.0 < SMALL {
            return into.put(self.0, Self::BITS, "value");
        }
        let mut mask = 0;
        let mut rest = self.0;
        for (i, bit) in MASK_BITS.iter().enumerate() {
            if rest >> bit & 1 == 1 {
                mask |= 1 << i;
                rest &= !(1 << bit);
            }
        }
        if rest == 0 {
            return into.put(IS_MASK | mask, Self::BITS, "value");
        }
        let place = place(self.0).ok_or(Overflow { field: "value" })?;
        into.put(SMALL + place, Self::BITS, "value")
    }

    #[inline]
    fn unpack<const W: usize>(from: &mut Reader<W>) -> Self {
        let bits = from.get(Self::BITS);
        if bits < SMALL {
            return Value(bits);
        }
        if bits & IS_MASK == 0 {
            return Value(MET[(bits - SMALL) as usize].load(Relaxed));
        }
        let set = MASK_BITS.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
        Value(set.map(|(_, bit)| 1 << bit).sum())
    }
}
