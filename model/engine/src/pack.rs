//! Packing of plain structs and enums into a few 64-bit words, with widths known at compile time.
//!
//! A state keeps full-width fields (`u16` for an index that is 16 bits on the wire) and declares how
//! many bits each takes *in exploration*. A value that does not fit is an [`Overflow`], by the
//! field's name: the explorer ends as *incomplete* there. Nothing ever wraps.
//!
//! ```
//! use devmig_engine::pack::{Bits, Pack};
//! use devmig_engine::packed;
//!
//! /// A ring.
//! #[packed]
//! pub struct Ring {
//!     /// Next available index.
//!     #[bits(3)]
//!     pub base: u16,
//!     /// Whether it was started.
//!     pub started: bool,
//! }
//! assert_eq!(Ring::BITS, 4);
//! let ring = Ring { base: 5, started: true };
//! let key: Bits<1> = Bits::pack(&ring).unwrap();
//! assert_eq!(key.unpack::<Ring>(), ring);
//! assert_eq!(Bits::<1>::pack(&Ring { base: 8, started: true }).unwrap_err().field, "base");
//!
//! /// An event: a tag, and as many bits as its largest variant needs.
//! #[packed]
//! pub enum Event {
//!     Tick,
//!     Started(Ring),
//!     Moved { #[bits(2)] by: u8 },
//! }
//! assert_eq!(Event::BITS, 2 + 4);
//! ```

/// A field's value does not fit the width declared for exploration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overflow {
    /// The field's name.
    pub field: &'static str,
}

/// Something with a fixed width in bits.
pub trait Pack: Copy {
    /// How many bits it takes.
    const BITS: u32;

    /// Appends itself.
    ///
    /// # Errors
    /// [`Overflow`] if a value does not fit.
    fn pack<const W: usize>(&self, into: &mut Writer<W>) -> Result<(), Overflow>;

    /// Reads itself back.
    fn unpack<const W: usize>(from: &mut Reader<W>) -> Self;
}

/// Integers and the like, whose width is chosen by the field that holds them.
pub trait PackAs: Copy {
    /// As an unsigned number.
    fn to_bits(self) -> u64;
    /// Back from it.
    fn from_bits(bits: u64) -> Self;
}

macro_rules! pack_as_integer {
    ($($t:ty),*) => {$(
        impl PackAs for $t {
            #[inline(always)]
            fn to_bits(self) -> u64 { self as u64 }
            #[inline(always)]
            fn from_bits(bits: u64) -> Self { bits as $t }
        }
    )*};
}
pack_as_integer!(u8, u16, u32, u64);

macro_rules! pack_whole {
    ($($t:ty = $bits:literal),*) => {$(
        impl Pack for $t {
            const BITS: u32 = $bits;
            #[inline(always)]
            fn pack<const W: usize>(&self, into: &mut Writer<W>) -> Result<(), Overflow> {
                into.put(self.to_bits(), $bits, stringify!($t))
            }
            #[inline(always)]
            fn unpack<const W: usize>(from: &mut Reader<W>) -> Self {
                <$t as PackAs>::from_bits(from.get($bits))
            }
        }
    )*};
}
pack_whole!(bool = 1, u8 = 8, u16 = 16, u32 = 32, u64 = 64);

impl<T: Pack> Pack for Option<T> {
    const BITS: u32 = 1 + T::BITS;
    #[inline(always)]
    fn pack<const W: usize>(&self, into: &mut Writer<W>) -> Result<(), Overflow> {
        into.put(u64::from(self.is_some()), 1, "option")?;
        match self {
            Some(value) => value.pack(into),
            None => {
                into.skip(T::BITS);
                Ok(())
            }
        }
    }
    #[inline(always)]
    fn unpack<const W: usize>(from: &mut Reader<W>) -> Self {
        if from.get(1) == 1 {
            Some(T::unpack(from))
        } else {
            from.skip(T::BITS);
            None
        }
    }
}

impl PackAs for bool {
    #[inline(always)]
    fn to_bits(self) -> u64 {
        u64::from(self)
    }
    #[inline(always)]
    fn from_bits(bits: u64) -> Self {
        bits != 0
    }
}

/// A state packed into `W` words: the explorer's key. Exact, never a hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Bits<const W: usize>(pub [u64; W]);

impl<const W: usize> Bits<W> {
    /// Packs a value.
    ///
    /// # Errors
    /// [`Overflow`] if it does not fit its declared widths.
    #[inline(always)]
    pub fn pack<T: Pack>(value: &T) -> Result<Self, Overflow> {
        const { assert!(T::BITS as usize <= 64 * W, "the state needs more words") };
        let mut writer = Writer { words: [0; W], at: 0 };
        value.pack(&mut writer)?;
        Ok(Bits(writer.words))
    }

    /// Unpacks it again.
    #[inline(always)]
    #[must_use]
    pub fn unpack<T: Pack>(&self) -> T {
        T::unpack(&mut Reader { words: self.0, at: 0 })
    }

    /// The same bits but for `width` of them from `at` on, which are the first ones of `by`; what
    /// `by` holds beyond them must be zero.
    #[inline(always)]
    #[must_use]
    pub fn replace(mut self, at: u32, width: u32, by: Self) -> Self {
        let (first, shift) = ((at / 64) as usize, at % 64);
        for (n, word) in self.0.iter_mut().enumerate() {
            let begin = at.saturating_sub(n as u32 * 64).min(64);
            let end = (at + width).saturating_sub(n as u32 * 64).min(64);
            let below = |bits: u32| if bits < 64 { (1u64 << bits) - 1 } else { u64::MAX };
            *word &= !(below(end) & !below(begin));
            if n >= first {
                *word |= by.0[n - first] << shift;
                if shift > 0 && n > first {
                    *word |= by.0[n - first - 1] >> (64 - shift);
                }
            }
        }
        self
    }
}

/// Appends fields to words.
#[derive(Debug)]
pub struct Writer<const W: usize> {
    words: [u64; W],
    at: u32,
}

impl<const W: usize> Writer<W> {
    /// Leaves bits as they are, which is zero.
    #[inline(always)]
    pub fn skip(&mut self, bits: u32) {
        self.at += bits;
    }

    /// Appends the low `bits` bits of `value`.
    ///
    /// # Errors
    /// [`Overflow`] if the value needs more.
    #[inline(always)]
    pub fn put(&mut self, value: u64, bits: u32, field: &'static str) -> Result<(), Overflow> {
        if bits < 64 && value >> bits != 0 {
            return Err(Overflow { field });
        }
        if bits == 0 {
            return Ok(());
        }
        let (word, shift) = ((self.at / 64) as usize, self.at % 64);
        self.words[word] |= value << shift;
        if shift + bits > 64 {
            self.words[word + 1] |= value >> (64 - shift);
        }
        self.at += bits;
        Ok(())
    }
}

/// Reads fields from words.
#[derive(Debug)]
pub struct Reader<const W: usize> {
    words: [u64; W],
    at: u32,
}

impl<const W: usize> Reader<W> {
    /// Passes over bits.
    #[inline(always)]
    pub fn skip(&mut self, bits: u32) {
        self.at += bits;
    }

    /// The next `bits` bits.
    #[inline(always)]
    pub fn get(&mut self, bits: u32) -> u64 {
        if bits == 0 {
            return 0;
        }
        let (word, shift) = ((self.at / 64) as usize, self.at % 64);
        let mut value = self.words[word] >> shift;
        if shift + bits > 64 {
            value |= self.words[word + 1] << (64 - shift);
        }
        self.at += bits;
        if bits < 64 { value & ((1 << bits) - 1) } else { value }
    }
}

impl Pack for () {
    const BITS: u32 = 0;
    fn pack<const W: usize>(&self, _: &mut Writer<W>) -> Result<(), Overflow> {
        Ok(())
    }
    fn unpack<const W: usize>(_: &mut Reader<W>) {}
}

impl<T: Pack, const N: usize> Pack for [T; N] {
    const BITS: u32 = T::BITS * N as u32;
    #[inline(always)]
    fn pack<const W: usize>(&self, into: &mut Writer<W>) -> Result<(), Overflow> {
        for item in self {
            item.pack(into)?;
        }
        Ok(())
    }
    #[inline(always)]
    fn unpack<const W: usize>(from: &mut Reader<W>) -> Self {
        std::array::from_fn(|_| T::unpack(from))
    }
}

macro_rules! pack_tuple {
    ($($name:ident)+) => {
        impl<$($name: Pack),+> Pack for ($($name,)+) {
            const BITS: u32 = 0 $(+ $name::BITS)+;
            #[inline(always)]
            #[allow(non_snake_case)]
            fn pack<const W: usize>(&self, into: &mut Writer<W>) -> Result<(), Overflow> {
                let ($($name,)+) = self;
                $($name.pack(into)?;)+
                Ok(())
            }
            #[inline(always)]
            fn unpack<const W: usize>(from: &mut Reader<W>) -> Self {
                ($($name::unpack(from),)+)
            }
        }
    };
}
pack_tuple!(A);
pack_tuple!(A B);
pack_tuple!(A B C);
pack_tuple!(A B C D);
pack_tuple!(A B C D E);

/// The value whose bits are all zero.
pub(crate) fn zeroed<T: Pack>() -> T {
    // More words than any state has that can be explored.
    Bits([0; 64]).unpack()
}

/// How many words a value of `bits` bits takes; at least one.
#[must_use]
pub const fn words(bits: u32) -> usize {
    let words = bits.div_ceil(64) as usize;
    if words == 0 { 1 } else { words }
}

/// The number of the queue that an event waits in, as a part of the event. It takes no bits: the queue
/// knows it, and [`crate::machine::Event::on_queue`] puts it back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, serde::Serialize)]
#[serde(transparent)]
pub struct QueueNumber(pub u8);

impl Pack for QueueNumber {
    const BITS: u32 = 0;
    fn pack<const W: usize>(&self, _: &mut Writer<W>) -> Result<(), Overflow> {
        Ok(())
    }
    fn unpack<const W: usize>(_: &mut Reader<W>) -> Self {
        Self::default()
    }
}

/// Serializes an array of any length as a list (serde knows arrays up to 32 only).
///
/// # Errors
/// Those of the serializer.
pub fn as_list<T: serde::Serialize, S: serde::Serializer, const N: usize>(
    array: &[T; N],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(array)
}
