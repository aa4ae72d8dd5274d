//! RAM packets: their header, as a view of its bytes.

use super::intake::Fields;
use super::name::{put_field, until_nul};
use super::{MAGIC, VERSION, flag};

/// The bytes of all pages of one packet.
const PACKET: u32 = 512 << 10;
/// Where the offsets begin.
const FIXED: usize = 320;

/// The size of a page of the guest: a power of two from 1 KiB to 64 KiB.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PageSize(u32);

impl PageSize {
    /// 4 KiB.
    pub const FOUR_KIB: PageSize = PageSize(4096);

    /// A page of so many bytes; `None` if no target has such pages.
    #[must_use]
    pub const fn new(bytes: u32) -> Option<Self> {
        match bytes.is_power_of_two() && bytes >= 1024 && bytes <= 65536 {
            true => Some(PageSize(bytes)),
            false => None,
        }
    }

    /// The number of the page at an offset.
    #[must_use]
    pub fn number(self, offset: u64) -> u64 {
        offset.checked_div(u64::from(self.bytes())).unwrap_or_default()
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// How many pages a packet has room for.
    #[must_use]
    pub const fn per_packet(self) -> u32 {
        match PACKET.checked_div(self.0) {
            Some(pages) => pages,
            None => 0,
        }
    }

    /// The length of a RAM packet's header.
    #[must_use]
    pub fn header(self) -> usize {
        usize::try_from(self.per_packet()).unwrap_or(0).saturating_mul(8).saturating_add(FIXED)
    }
}

/// The header of a RAM packet, as it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RamHeader<'a> {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`VERSION`].
    pub version: u32,
    /// See [`flag`].
    pub flags: u32,
    /// How many offsets the header has room for.
    pub pages_alloc: u32,
    /// Pages whose content follows.
    pub normal: u32,
    /// The bytes that follow; an uncompressed packet is not read by it.
    pub size: u32,
    /// The packet's number.
    pub number: u64,
    /// Pages that are zero.
    pub zero: u32,
    /// All bytes.
    pub bytes: &'a [u8],
}

impl<'a> RamHeader<'a> {
    /// The meaning of these bytes, which are [`PageSize::header`] many.
    #[must_use]
    pub fn decode(bytes: &'a [u8]) -> Self {
        let mut from = Fields(bytes);
        RamHeader {
            magic: from.u32(),
            version: from.u32(),
            flags: from.u32(),
            pages_alloc: from.u32(),
            normal: from.u32(),
            size: from.u32(),
            number: from.u64(),
            zero: from.u32(),
            bytes,
        }
    }

    /// The name of the block of RAM that the pages belong to.
    #[must_use]
    pub fn block(&self) -> &'a [u8] {
        until_nul(self.field())
    }

    /// Whether the name ends with a NUL inside its field.
    #[must_use]
    pub fn block_ends(&self) -> bool {
        self.field().contains(&0)
    }

    fn field(&self) -> &'a [u8] {
        self.bytes.get(64..FIXED).unwrap_or_default()
    }

    /// The offsets of pages whose content follows, in that order.
    pub fn normal_offsets(&self) -> impl Iterator<Item = u64> + 'a {
        self.offsets(0, self.normal)
    }

    /// The offsets of pages that are zero.
    pub fn zero_offsets(&self) -> impl Iterator<Item = u64> + 'a {
        self.offsets(self.normal, self.zero)
    }

    fn offsets(&self, skip: u32, count: u32) -> impl Iterator<Item = u64> + 'a {
        let index = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let (all, _) = self.bytes.get(FIXED..).unwrap_or_default().as_chunks::<8>();
        let some = all.iter().skip(index(skip)).take(index(count));
        some.map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// Whether it is a SYNC packet.
    #[must_use]
    pub fn is_sync(&self) -> bool {
        self.flags & flag::SYNC != 0
    }

    /// The bits that say how the pages are compressed.
    #[must_use]
    pub fn compression(&self) -> u32 {
        self.flags & flag::COMPRESSION
    }

    /// The bytes that follow.
    #[must_use]
    pub fn payload(&self, page: PageSize) -> u64 {
        match (self.normal, self.compression()) {
            (0, _) => 0,
            (pages, 0) => u64::from(pages).saturating_mul(u64::from(page.bytes())),
            _ => u64::from(self.size),
        }
    }
}

/// The header of a RAM packet, to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RamPacket<'a> {
    /// See [`flag`].
    pub flags: u32,
    /// The bytes that follow.
    pub size: u32,
    /// The packet's number.
    pub number: u64,
    /// The name of the block of RAM.
    pub block: &'a [u8],
    /// Pages whose content follows.
    pub normal: &'a [u64],
    /// Pages that are zero.
    pub zero: &'a [u64],
}

impl RamPacket<'_> {
    /// Appends the bytes as sent. Offsets for which the header has no room are left out.
    pub fn encode(&self, page: PageSize, out: &mut Vec<u8>) {
        let begin = out.len();
        let count = |pages: &[u64]| u32::try_from(pages.len()).unwrap_or(u32::MAX).to_be_bytes();
        out.extend(MAGIC.to_be_bytes());
        out.extend(VERSION.to_be_bytes());
        out.extend(self.flags.to_be_bytes());
        out.extend(page.per_packet().to_be_bytes());
        out.extend(count(self.normal));
        out.extend(self.size.to_be_bytes());
        out.extend(self.number.to_be_bytes());
        out.extend(count(self.zero));
        out.extend([0; 28]);
        put_field(self.block, out);
        for offset in self.normal.iter().chain(self.zero) {
            out.extend(offset.to_be_bytes());
        }
        out.resize(begin.saturating_add(page.header()), 0);
    }
}
