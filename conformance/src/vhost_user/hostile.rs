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
    /// A descriptor that leads to itself.
    Itself,
    /// An indirect table of no bytes.
    IndirectEmpty,
    /// An indirect table in an indirect table.
    IndirectNested,
    /// An indirect table whose descriptors lead to each other.
    IndirectLoop,
    /// An indirect table with a descriptor that leads beyond it.
    IndirectNext,
    /// An indirect table whose buffer is outside of guest memory.
    IndirectBuffer,
    /// An indirect table that is followed by another descriptor.
    IndirectFollowed,
    /// A buffer for the device to read, after one for it to write.
    WriteFirst,
    /// One byte for the device to read, and one for it to write.
    Short,
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
        ("itself", Hostile::Itself),
        ("indirect-empty", Hostile::IndirectEmpty),
        ("indirect-nested", Hostile::IndirectNested),
        ("indirect-loop", Hostile::IndirectLoop),
        ("indirect-next", Hostile::IndirectNext),
        ("indirect-buffer", Hostile::IndirectBuffer),
        ("indirect-followed", Hostile::IndirectFollowed),
        ("write-first", Hostile::WriteFirst),
        ("short", Hostile::Short),
    ];
}

/// An address that no guest memory has.
const NOWHERE: u64 = 1 << 60;

/// Bytes of a descriptor.
const DESCRIPTOR: u32 = 16;

/// A chain as it is written.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The entry of the available ring.
    pub head: u16,
    /// The descriptors, from the first of the ring's table on.
    pub table: Vec<Descriptor>,
    /// What stands in guest memory where an indirect table may be.
    pub indirect: Vec<Descriptor>,
}

impl Hostile {
    /// The chain. `inside` is an address in guest memory, of an indirect table if there is one, and
    /// `size` the length of the ring.
    #[must_use]
    pub fn chain(self, inside: u64, size: u16) -> Chain {
        let (next, write) = (VRING_DESC_F_NEXT as u16, VRING_DESC_F_WRITE as u16);
        let indirect = VRING_DESC_F_INDIRECT as u16;
        let chain = |table| Chain { head: 0, table, indirect: Vec::new() };
        let one = |addr, len, flags, to| chain(vec![Descriptor::new(addr, len, flags, to)]);
        let table = |length: u32, flags, within| Chain {
            indirect: within,
            ..one(inside, DESCRIPTOR.wrapping_mul(length), indirect | flags, 1)
        };
        let to = |other| Descriptor::new(inside, 16, next, other);
        match self {
            Hostile::Outside => one(NOWHERE, 512, write, 0),
            Hostile::Wraps => one(u64::MAX - 15, 64, write, 0),
            Hostile::TooLong => one(inside, u32::MAX, write, 0),
            Hostile::Loop => chain(vec![to(1), to(0)]),
            Hostile::Itself => chain(vec![to(0)]),
            Hostile::NextOutside => one(inside, 16, next, size),
            Hostile::IndirectOutside => one(NOWHERE, 64, indirect, 0),
            Hostile::IndirectOdd => one(inside, 17, indirect, 0),
            Hostile::IndirectEmpty => table(0, 0, Vec::new()),
            Hostile::IndirectNested => {
                table(1, 0, vec![Descriptor::new(inside, DESCRIPTOR, indirect, 0)])
            }
            Hostile::IndirectLoop => table(2, 0, vec![to(1), to(0)]),
            Hostile::IndirectNext => table(1, 0, vec![to(1)]),
            Hostile::IndirectBuffer => table(1, 0, vec![Descriptor::new(NOWHERE, 512, write, 0)]),
            Hostile::IndirectFollowed => {
                let mut chain = table(1, next, vec![Descriptor::new(inside, 16, 0, 0)]);
                chain.table.push(Descriptor::new(inside, 16, write, 0));
                chain
            }
            Hostile::HeadOutside => Chain { head: size, ..one(inside, 16, 0, 0) },
            Hostile::Empty => one(inside, 0, write, 0),
            Hostile::WriteFirst => chain(vec![
                Descriptor::new(inside, 16, write | next, 1),
                Descriptor::new(inside, 16, 0, 0),
            ]),
            Hostile::Short => chain(vec![
                Descriptor::new(inside, 1, next, 1),
                Descriptor::new(inside, 1, write, 0),
            ]),
        }
    }
}
