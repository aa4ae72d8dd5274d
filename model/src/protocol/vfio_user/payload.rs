//! The plain structures that messages are made of.
//!
//! Fields are named as in the text; units are bytes. A list or data at the end of a structure is kept
//! as it came, whatever the structure's own count says.

use std::fmt;

use serde::Serialize;

use super::WireError;

/// The lengths that a payload may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sizes {
    /// This many bytes.
    Exactly(usize),
    /// At least as many.
    AtLeast(usize),
    /// So many, and then entries of the second length each.
    Entries(usize, usize),
    /// One of two.
    Either(usize, usize),
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sizes::Exactly(n) => write!(f, "exactly {n}"),
            Sizes::AtLeast(n) => write!(f, "at least {n}"),
            Sizes::Entries(n, each) => write!(f, "{n} and a multiple of {each}"),
            Sizes::Either(a, b) => write!(f, "{a} or {b}"),
        }
    }
}

/// What is still to be read of a payload.
pub(super) struct Reader<'a> {
    what: &'static str,
    expected: Sizes,
    all: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(what: &'static str, expected: Sizes, bytes: &'a [u8]) -> Self {
        Reader { what, expected, all: bytes.len(), rest: bytes }
    }

    fn size(&self) -> WireError {
        WireError::Size { what: self.what, expected: self.expected, got: self.all }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or_else(|| self.size())?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.take().map(u16::from_ne_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.take().map(u32::from_ne_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.take().map(u64::from_ne_bytes)
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Everything that is left.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest).to_vec()
    }

    /// Fails unless everything was read.
    pub(super) fn end<T>(self, value: T) -> Result<T, WireError> {
        if self.rest.is_empty() { Ok(value) } else { Err(self.size()) }
    }

    /// Entries to the end, each of `each` bytes.
    pub(super) fn entries<T>(
        &mut self,
        each: usize,
        mut one: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let count = self.left().checked_div(each).unwrap_or_default();
        if !self.left().is_multiple_of(each) {
            return Err(self.size());
        }
        (0..count).map(|_| one(self)).collect()
    }
}

/// Bytes to be sent.
#[derive(Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn u16(mut self, n: u16) -> Self {
        self.0.extend(n.to_ne_bytes());
        self
    }

    pub(super) fn u32(mut self, n: u32) -> Self {
        self.0.extend(n.to_ne_bytes());
        self
    }

    pub(super) fn u64(mut self, n: u64) -> Self {
        self.0.extend(n.to_ne_bytes());
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// A structure of integers only, its fields in order.
macro_rules! fixed {
    ($(
        $(#[$meta:meta])* $name:ident $what:literal $length:literal {
            $($(#[$field_meta:meta])* $field:ident: $type:ident,)+
        }
    )+) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)+ }

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $length;

            /// The meaning of these bytes.
            ///
            /// # Errors
            /// [`WireError::Size`].
            pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
                let mut from = Reader::new($what, Sizes::Exactly($length), bytes);
                let value = Self::read(&mut from)?;
                from.end(value)
            }

            /// The bytes as sent.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                self.write(Writer::default()).0
            }

            pub(super) fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
                Ok($name { $($field: from.$type()?,)+ })
            }

            pub(super) fn write(&self, to: Writer) -> Writer {
                to$(.$type(self.$field))+
            }
        }
    )+ };
}

fixed! {
    /// Memory of the client's that the server may access.
    DmaMap "DMA_MAP" 32 {
        /// Size of this structure.
        argsz: u32,
        /// Bit 0 readable, bit 1 writeable.
        flags: u32,
        /// Where it begins in the descriptor's file.
        offset: u64,
        /// Its first DMA address.
        address: u64,
        /// Its length.
        size: u64,
    }
    /// Memory that the server may not access any more.
    DmaUnmap "DMA_UNMAP" 24 {
        /// The longest reply payload.
        argsz: u32,
        /// Not used.
        flags: u32,
        /// Its first DMA address.
        address: u64,
        /// Its length.
        size: u64,
    }
    /// What a device has.
    DeviceInfo "DEVICE_GET_INFO" 16 {
        /// The longest reply payload; in a reply, the full payload's length.
        argsz: u32,
        /// Bit 0 can be reset, bit 1 PCI.
        flags: u32,
        /// Regions.
        num_regions: u32,
        /// Types of interrupts.
        num_irqs: u32,
    }
    /// A region, without its capabilities.
    RegionInfo "DEVICE_GET_REGION_INFO" 32 {
        /// The longest reply payload; in a reply, the full payload's length.
        argsz: u32,
        /// Bit 0 read, bit 1 write, bit 2 mmap, bit 3 capabilities.
        flags: u32,
        /// Which region.
        index: u32,
        /// Where capabilities begin, from the beginning of this structure.
        cap_offset: u32,
        /// Its length.
        size: u64,
        /// Where it begins in the descriptor's file.
        offset: u64,
    }
    /// Which region's accesses can be told by descriptors.
    IoFds "DEVICE_GET_REGION_IO_FDS" 16 {
        /// The longest reply payload; in a reply, the full payload's length.
        argsz: u32,
        /// Zero.
        flags: u32,
        /// Which region.
        index: u32,
        /// Sub-regions in the reply; zero in the request.
        count: u32,
    }
    /// A stretch of a region whose accesses a descriptor tells.
    SubRegion "a sub-region" 40 {
        /// Where it begins in the region.
        offset: u64,
        /// Its length; 0 if the size of an access does not matter.
        size: u64,
        /// Which of the message's descriptors.
        fd_index: u32,
        /// 0 an ioeventfd, 1 an ioregionfd.
        kind: u32,
        /// Those of KVM.
        flags: u32,
        /// Nothing.
        padding: u32,
        /// What is compared (ioeventfd), or handed back (ioregionfd).
        data: u64,
    }
    /// A type of interrupts.
    IrqInfo "DEVICE_GET_IRQ_INFO" 16 {
        /// The longest reply payload; in a reply, the full payload's length.
        argsz: u32,
        /// Bit 0 eventfd, bit 1 maskable, bit 2 masks itself, bit 3 as a set only.
        flags: u32,
        /// Which type.
        index: u32,
        /// How many there are of it.
        count: u32,
    }
    /// What to do with interrupts, without the booleans.
    IrqSet "DEVICE_SET_IRQS" 20 {
        /// Size of this structure and its data.
        argsz: u32,
        /// Bits 0 to 2 what the data is (none, booleans, eventfds), 3 to 5 what to do (mask, unmask,
        /// trigger).
        flags: u32,
        /// Which type.
        index: u32,
        /// The first of them.
        start: u32,
        /// How many.
        count: u32,
    }
    /// Part of a region, without data.
    Access "a region access" 16 {
        /// Where it begins in the region.
        offset: u64,
        /// Which region.
        region: u32,
        /// Bytes.
        count: u32,
    }
    /// Part of the client's memory, without data.
    DmaAccess "a DMA access" 16 {
        /// The first DMA address.
        address: u64,
        /// Bytes.
        count: u64,
    }
    /// One of several writes.
    Write "a coalesced write" 24 {
        /// Where it begins in the region.
        offset: u64,
        /// Which region.
        region: u32,
        /// Bytes, at most 8.
        count: u32,
        /// The bytes, as the host has them in memory, from the first.
        data: u64,
    }
    /// How much migration data, without the data.
    MigData "migration data" 8 {
        /// The longest reply payload; in a reply, this structure's and its data's length.
        argsz: u32,
        /// Bytes of data.
        size: u32,
    }
}

/// The answer to DMA_WRITE. The text gives its count four bytes where the request's has eight, and
/// servers and clients are seen to do either.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct DmaWritten {
    /// The first DMA address.
    pub address: u64,
    /// Bytes.
    pub count: u64,
    /// Whether the count has eight bytes.
    pub wide: bool,
}

impl DmaWritten {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader::new("the reply to DMA_WRITE", Sizes::Either(12, 16), bytes);
        let address = from.u64()?;
        let wide = from.left() != 4;
        let count = if wide { from.u64()? } else { from.u32()?.into() };
        from.end(DmaWritten { address, count, wide })
    }

    /// What does not fit into four bytes is sent in eight.
    pub(super) fn encode(self) -> Vec<u8> {
        let to = Writer::default().u64(self.address);
        match u32::try_from(self.count) {
            Ok(count) if !self.wide => to.u32(count).0,
            _ => to.u64(self.count).0,
        }
    }
}
