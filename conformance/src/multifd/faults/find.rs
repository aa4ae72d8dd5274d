//! The places that faults are about, and what is written there.

use std::collections::BTreeSet;

use devmig_model::protocol::multifd::wire::{Buffer, MainWriter, PageForm, RamHeader, flag};

use crate::multifd::pieces::{Channel, Item, Kind, Piece, Pieces};

/// Where the fields of packets are.
pub(super) mod at {
    pub(in super::super) const MAGIC: usize = 0;
    pub(in super::super) const VERSION: usize = 4;
    pub(in super::super) const FLAGS: usize = 8;
    pub(in super::super) const UUID: usize = 8;
    pub(in super::super) const ID: usize = 24;
    pub(in super::super) const PAGES_ALLOC: usize = 12;
    pub(in super::super) const NORMAL: usize = 16;
    pub(in super::super) const SIZE: usize = 20;
    pub(in super::super) const NUMBER: usize = 24;
    pub(in super::super) const BLOCK: usize = 64;
    pub(in super::super) const OFFSET: usize = 320;
    pub(in super::super) const DEVICE_NAME: usize = 12;
    pub(in super::super) const DEVICE_SIZE: usize = 272;
    /// What stands before a device's data.
    pub(in super::super) const BUFFER: usize = 276;
}

/// The channel of a piece, and its place there.
pub(super) type Place = (usize, usize);

/// Writes a number.
pub(super) fn put(piece: &mut Piece<Kind>, at: usize, value: u32) -> Option<()> {
    piece.bytes.get_mut(at..at.checked_add(4)?)?.copy_from_slice(&value.to_be_bytes());
    Some(())
}

/// Writes a long number.
pub(super) fn put_long(piece: &mut Piece<Kind>, at: usize, value: u64) -> Option<()> {
    piece.bytes.get_mut(at..at.checked_add(8)?)?.copy_from_slice(&value.to_be_bytes());
    Some(())
}

/// Changes one byte.
pub(super) fn flip(piece: &mut Piece<Kind>, at: usize, bits: u8) -> Option<()> {
    *piece.bytes.get_mut(at)? ^= bits;
    Some(())
}

/// The header of a RAM packet.
pub(super) fn header(piece: &Piece<Kind>) -> RamHeader<'_> {
    RamHeader::decode(&piece.bytes)
}

impl Channel {
    fn places(&self, is: impl Fn(&Piece<Kind>) -> bool) -> Vec<usize> {
        let all = self.packets.iter().enumerate();
        all.filter(|(_, piece)| is(piece)).map(|(place, _)| place).collect()
    }

    /// Its SYNC packets.
    pub(super) fn syncs(&self) -> Vec<usize> {
        self.places(|piece| piece.kind == Kind::Sync)
    }

    /// Its RAM packets whose pages are not compressed.
    pub(super) fn rams(&self) -> Vec<usize> {
        self.places(|piece| piece.kind == Kind::Ram && header(piece).compression() == 0)
    }
}

impl Pieces {
    /// The first channel with at least this many packets that `find` finds, and their places.
    pub(super) fn having(
        &self,
        least: usize,
        find: impl Fn(&Channel) -> Vec<usize>,
    ) -> Option<(usize, Vec<usize>)> {
        let mut all = self.channels.iter().map(find).enumerate();
        all.find(|(_, places)| places.len() >= least)
    }

    /// A piece.
    pub(super) fn piece(&mut self, (channel, place): Place) -> Option<&mut Piece<Kind>> {
        self.channels.get_mut(channel)?.packets.get_mut(place)
    }

    /// The packets of a channel.
    pub(super) fn packets(&mut self, channel: usize) -> Option<&mut Vec<Piece<Kind>>> {
        self.channels.get_mut(channel).map(|channel| &mut channel.packets)
    }

    /// The first packet with normal pages on any channel.
    pub(super) fn first_ram(&self) -> Option<Place> {
        let all = self.all_ram(|piece| header(piece).normal > 0);
        all.into_iter().min_by_key(|(number, _)| *number).map(|(_, place)| place)
    }

    /// The last packet with normal pages of all channels.
    pub(super) fn last_ram(&self) -> Option<Place> {
        let all = self.all_ram(|piece| header(piece).normal > 0);
        all.into_iter().max_by_key(|(number, _)| *number).map(|(_, place)| place)
    }

    /// RAM packets that are not compressed, each with its number.
    pub(super) fn all_ram(&self, is: impl Fn(&Piece<Kind>) -> bool) -> Vec<(u64, Place)> {
        let mut found = Vec::new();
        for (number, channel) in self.channels.iter().enumerate() {
            for place in channel.rams() {
                let Some(piece) = channel.packets.get(place).filter(|piece| is(piece)) else {
                    continue;
                };
                found.push((header(piece).number, (number, place)));
            }
        }
        found
    }

    /// The next number that no packet has.
    pub(super) fn next_number(&self) -> u64 {
        let all = self.channels.iter().flat_map(|channel| &channel.packets);
        let ram = all.filter(|piece| matches!(piece.kind, Kind::Ram | Kind::Sync));
        ram.map(|piece| header(piece).number).max().map_or(0, |last| last.saturating_add(1))
    }

    /// A buffer with data of a device, or with its configuration.
    pub(super) fn device(&self, kind: Kind) -> Option<Place> {
        let found = self.having(1, |channel| channel.places(|piece| piece.kind == kind));
        found.and_then(|(channel, places)| Some((channel, *places.first()?)))
    }

    /// A copy of a device's buffer with another index and other flags, after everything on its channel.
    pub(super) fn again(&mut self, of: Place, index: u32, flags: u32) -> Option<()> {
        let mut piece = self.piece(of)?.clone();
        put(&mut piece, at::BUFFER + 4, index)?;
        put(&mut piece, at::BUFFER + 8, flags)?;
        self.packets(of.0)?.push(piece);
        Some(())
    }

    /// The index in a device's buffer.
    pub(super) fn index(&mut self, of: Place) -> Option<u32> {
        let bytes = self.piece(of)?.bytes.get(at::BUFFER..at::BUFFER + Buffer::LEN)?;
        Some(Buffer::decode(bytes.try_into().ok()?).index)
    }

    /// The places of items of the main stream.
    pub(super) fn items(&self, item: Item) -> Vec<usize> {
        let all = self.main.iter().enumerate();
        all.filter(|(_, piece)| piece.kind == item).map(|(place, _)| place).collect()
    }

    /// A page on the main stream, of the epoch in which a packet is: before its mark.
    pub(super) fn page_on_main(&mut self, of: Place, past: u64) -> Option<()> {
        let (channel, place) = of;
        let before = self.channels.get(channel)?.packets.get(..place)?;
        let epoch = before.iter().filter(|piece| piece.kind == Kind::Sync).count();
        let mark = *self.items(Item::Flush).get(epoch)?;
        let piece = self.piece(of)?;
        let name = std::str::from_utf8(header(piece).block()).ok()?.to_owned();
        let offset = header(piece).normal_offsets().chain(header(piece).zero_offsets()).next()?;
        let mut writer = MainWriter::default();
        writer.page(Some(&name), offset.checked_add(past)?, PageForm::Fill(0));
        self.main.insert(mark, Piece { kind: Item::Other, bytes: writer.bytes });
        Some(())
    }

    /// Puts a difference on the main stream, for a page that no packet of the last epoch has.
    pub(super) fn difference_on_main(&mut self, difference: &[u8]) -> Option<()> {
        let last = self.last_ram()?;
        let name = header(self.piece(last)?).block().to_vec();
        let mut sent = BTreeSet::new();
        for channel in &self.channels {
            // After the SYNC before the last.
            let syncs = channel.syncs();
            let begin = syncs.len().checked_sub(2).and_then(|place| syncs.get(place));
            let begin = begin.copied().unwrap_or_default();
            for piece in channel.packets.get(begin..).unwrap_or_default() {
                if piece.kind == Kind::Ram && header(piece).block() == name {
                    let header = header(piece);
                    sent.extend(header.normal_offsets().chain(header.zero_offsets()));
                }
            }
        }
        let (_, length) = self.blocks.iter().find(|(block, _)| *block == name)?;
        let page = u64::from(self.page.bytes());
        let offsets = (1..=length.checked_div(page)?).rev().map(|n| n.saturating_sub(1));
        let free = offsets.map(|n| n.saturating_mul(page)).find(|n| !sent.contains(n))?;
        let name = String::from_utf8(name).ok()?;
        let mark = *self.items(Item::Flush).last()?;
        let mut writer = MainWriter::default();
        let length = u16::try_from(difference.len()).ok()?;
        writer.page(Some(&name), free, PageForm::Xbzrle(length)).raw(difference);
        self.main.insert(mark, Piece { kind: Item::Other, bytes: writer.bytes });
        Some(())
    }

    /// Puts a command on the main stream, before the first section in one piece.
    pub(super) fn command_on_main(&mut self, number: u16) -> Option<()> {
        let place = *self.items(Item::Full).first()?;
        let mut writer = MainWriter::default();
        writer.command(number, &[]);
        self.main.insert(place, Piece { kind: Item::Other, bytes: writer.bytes });
        Some(())
    }

    /// Packets without compression: those whose flags are what a fault changes.
    pub(super) fn with_flags(&mut self, of: Place, flags: u32) -> Option<()> {
        let piece = self.piece(of)?;
        let before = header(piece).flags & !flag::COMPRESSION;
        put(piece, at::FLAGS, before | flags)
    }
}
