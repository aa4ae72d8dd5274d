//! Chains that no driver makes: what a guest can write into a ring to harm the back-end.

use virtio_bindings::bindings::virtio_ring::{
    VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE,
};
use virtio_queue::desc::split::Descriptor;

use crate::harness::steps::Named;

/// A way to be hostile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hostile {
    /// A buffer outside of guest memory.
    Outside,
    /// A buffer that goes on after the last address.
    Wraps,
    /// A buffer longer than guest memory.
    TooLong,
    /// Descriptors that lead to each other.
    Loop,
    /// A descriptor that leads to one beyond the table.
    NextOutside,
    /// An indirect table outside of guest memory.
    IndirectOutside,
    /// An indirect table whose length is not one of a table.
    IndirectOdd,
    /// A chain that begins beyond the table.
    HeadOutside,
    /// A buffer of no bytes.
    Empty,
}

impl Named for Hostile {
    const WHAT: &'static str = "hostile chain";
    const NAMES: &'static [(&'static str, Self)] = &[
        ("outside", Hostile::Outside),
        ("wraps", Hostile::Wraps),
        ("too-long", Hostile::TooLong),
        ("loop", Hostile::Loop),
        ("next-outside", Hostile::NextOutside),
        ("indirect-outside", Hostile::IndirectOutside),
        ("indirect-odd", Hostile::IndirectOdd),
        ("head-outside", Hostile::HeadOutside),
        ("empty", Hostile::Empty),
    ];
}

/// An address that no guest memory has.
const NOWHERE: u64 = 1 << 60;

impl Hostile {
    /// The head of the chain, and the descriptors from the first of the table on. `inside` is an address
    /// in guest memory.
    #[must_use]
    pub fn chain(self, inside: u64, size: u16) -> (u16, Vec<Descriptor>) {
        let (next, write) = (VRING_DESC_F_NEXT as u16, VRING_DESC_F_WRITE as u16);
        let indirect = VRING_DESC_F_INDIRECT as u16;
        let one = |addr, len, flags, to| vec![Descriptor::new(addr, len, flags, to)];
        match self {
            Hostile::Outside => (0, one(NOWHERE, 512, write, 0)),
            Hostile::Wraps => (0, one(u64::MAX - 15, 64, write, 0)),
            Hostile::TooLong => (0, one(inside, u32::MAX, write, 0)),
            Hostile::Loop => {
                let to = |other| Descriptor::new(inside, 16, next, other);
                (0, vec![to(1), to(0)])
            }
            Hostile::NextOutside => (0, one(inside, 16, next, size)),
            Hostile::IndirectOutside => (0, one(NOWHERE, 64, indirect, 0)),
            Hostile::IndirectOdd => (0, one(inside, 17, indirect, 0)),
            Hostile::HeadOutside => (size, one(inside, 16, 0, 0)),
            Hostile::Empty => (0, one(inside, 0, write, 0)),
        }
    }
}
