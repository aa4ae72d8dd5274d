//! A bounded queue whose unused slots are always the default value, so that equal queues are equal
//! bit for bit.

use serde::Serialize;

use crate::pack::{Overflow, Pack, Reader, Writer};

/// At most `N` items, first in, first out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Queue<T, const N: usize> {
    len: u8,
    items: [T; N],
}

impl<T: Copy + Default, const N: usize> Default for Queue<T, N> {
    fn default() -> Self {
        Queue { len: 0, items: [T::default(); N] }
    }
}

impl<T: Copy + Default, const N: usize> Queue<T, N> {
    /// How many items wait.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether none waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is no room.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() == N
    }

    /// The item that leaves next.
    #[inline]
    #[must_use]
    pub fn head(&self) -> Option<&T> {
        self.iter().next()
    }

    /// Appends; `None` if there is no room.
    #[inline]
    #[must_use]
    pub fn push(mut self, item: T) -> Option<Self> {
        let end = self.len();
        *self.items.get_mut(end)? = item;
        self.len += 1;
        Some(self)
    }

    /// Without its head; unchanged if empty.
    #[inline]
    #[must_use]
    pub fn pop(mut self) -> Self {
        if !self.is_empty() {
            for n in 1..N {
                self.items[n - 1] = self.items[n];
            }
            self.items[N - 1] = T::default();
            self.len -= 1;
        }
        self
    }

    /// The same queue of other items.
    #[inline(always)]
    #[must_use]
    pub fn map(mut self, f: impl Fn(T) -> T) -> Self {
        for (n, item) in self.items.iter_mut().enumerate() {
            if n < self.len as usize {
                *item = f(*item);
            }
        }
        self
    }

    /// From head to tail.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items[..self.len()].iter()
    }
}

impl<T: Pack + Default, const N: usize> Pack for Queue<T, N> {
    const BITS: u32 = usize::BITS - N.leading_zeros() + T::BITS * N as u32;

    #[inline(always)]
    fn pack<const W: usize>(&self, into: &mut Writer<W>) -> Result<(), Overflow> {
        into.put(u64::from(self.len), usize::BITS - N.leading_zeros(), "queue")?;
        self.items.pack(into)
    }

    #[inline(always)]
    fn unpack<const W: usize>(from: &mut Reader<W>) -> Self {
        let len = from.get(usize::BITS - N.leading_zeros()) as u8;
        Queue { len, items: Pack::unpack(from) }
    }
}

impl<T: Copy + Default + Serialize, const N: usize> Serialize for Queue<T, N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}
