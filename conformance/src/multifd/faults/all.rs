//! The faults.

use devmig_model::protocol::multifd::wire::{Buffer, MAGIC, command, flag};

use super::Fault;
use super::find::{at, flip, header, put, put_long};
use crate::multifd::pieces::{Item, Kind, Piece, Pieces};

macro_rules! faults {
    ($($name:literal, $about:literal, $clause:literal, |$m:ident| $change:expr;)*) => {
        /// All of them.
        pub const FAULTS: &[Fault] = &[$(Fault {
            name: $name,
            about: $about,
            clause: concat!("multifd.", $clause),
            visible: is_visible($clause),
            change: |$m| $change,
        }),*];
    };
}

/// Whether what violates a clause can be seen in a stream alone.
const fn is_visible(clause: &str) -> bool {
    !matches!(clause.as_bytes(), b"memory.as-source")
}

faults! {
    "sync-dropped", "A SYNC packet is not sent.", "sync.every-channel", |m| {
        let (channel, syncs) = m.having(3, |channel| channel.syncs())?;
        m.packets(channel)?.remove(*syncs.get(1)?);
        Some(())
    };
    "sync-dropped-first", "The first SYNC packet of a channel is not sent.", "sync.every-channel",
    |m| {
        let (channel, syncs) = m.having(1, |channel| channel.syncs())?;
        m.packets(channel)?.remove(*syncs.first()?);
        Some(())
    };
    "sync-dropped-last", "The last SYNC packet of a channel is not sent.", "sync.every-channel",
    |m| {
        let (channel, syncs) = m.having(1, |channel| channel.syncs())?;
        m.packets(channel)?.remove(*syncs.last()?);
        Some(())
    };
    "sync-added", "A SYNC packet is sent twice.", "sync.marked", |m| {
        let (channel, syncs) = m.having(2, |channel| channel.syncs())?;
        let place = *syncs.get(1)?;
        let again = m.piece((channel, place))?.clone();
        m.packets(channel)?.insert(place, again);
        Some(())
    };
    "sync-moved", "A SYNC packet is sent before the packets of its epoch.", "sync.page-once", |m| {
        // A page of the epoch after is then in the same epoch again.
        let moved = moved_sync(m)?;
        let (channel, from, to) = moved;
        let packets = m.packets(channel)?;
        let piece = packets.remove(from);
        packets.insert(to, piece);
        Some(())
    };
    "flush-dropped", "A mark on the main stream is not sent.", "sync.marked", |m| {
        m.main.remove(*m.items(Item::Flush).get(1)?);
        Some(())
    };
    "flush-dropped-last", "The last mark on the main stream is not sent.", "sync.marked", |m| {
        m.main.remove(*m.items(Item::Flush).last()?);
        Some(())
    };
    "flush-added", "A mark on the main stream is sent twice.", "sync.every-channel", |m| {
        let place = *m.items(Item::Flush).get(1)?;
        let again = m.main.get(place)?.clone();
        m.main.insert(place, again);
        Some(())
    };
    "packet-dropped", "A RAM packet is not sent.", "packet.numbers-whole", |m| {
        let (channel, place) = m.first_ram()?;
        m.packets(channel)?.remove(place);
        Some(())
    };
    "packet-twice", "A RAM packet is sent twice.", "sync.page-once", |m| {
        let (channel, place) = m.first_ram()?;
        let again = m.piece((channel, place))?.clone();
        m.packets(channel)?.insert(place, again);
        Some(())
    };
    "packet-on-two-channels", "A RAM packet is sent on two channels.", "sync.page-once", |m| {
        let (channel, place) = m.first_ram()?;
        let again = m.piece((channel, place))?.clone();
        let packets = &m.channels.get(channel)?.packets;
        let epoch = packets.get(..place)?.iter().filter(|piece| piece.kind == Kind::Sync).count();
        let other = (0..m.channels.len()).find(|other| *other != channel)?;
        let to = *m.channels.get(other)?.syncs().get(epoch)?;
        m.packets(other)?.insert(to, again);
        Some(())
    };
    "packet-late", "A RAM packet has a number below that of the packet before.",
    "packet.number-increases", |m| {
        let place = m.first_ram()?;
        put_long(m.piece(place)?, at::NUMBER, 0)
    };
    "packet-in-set-up", "A RAM packet is sent before the first SYNC.", "sync.setup-first", |m| {
        let (channel, place) = m.first_ram()?;
        let sync = *m.channels.get(channel)?.syncs().first()?;
        let packets = m.packets(channel)?;
        let packet = packets.remove(place);
        packets.insert(sync, packet);
        Some(())
    };
    "page-on-main", "A page is sent on a channel, and on the main stream in the same epoch.",
    "sync.page-once", |m| {
        let place = m.last_ram()?;
        m.page_on_main(place, 0)
    };
    "packet-after-last", "A RAM packet is sent after the last SYNC.", "sync.no-pages-after-last",
    |m| {
        let (channel, place) = m.first_ram()?;
        let number = m.next_number();
        let mut packet = m.piece((channel, place))?.clone();
        put_long(&mut packet, at::NUMBER, number)?;
        m.packets(channel)?.push(packet);
        Some(())
    };
    "sync-with-pages", "A packet with pages is a SYNC packet.", "sync.alone", |m| {
        let place = m.last_ram()?;
        m.with_flags(place, flag::SYNC)
    };
    "packet-empty", "A RAM packet that is not a SYNC packet has no pages.", "packet.has-pages", |m| {
        let (channel, syncs) = m.having(2, |channel| channel.syncs())?;
        put(m.piece((channel, *syncs.get(1)?))?, at::FLAGS, 0)
    };
    "init-magic", "A channel begins with another magic number.", "init.magic", |m| {
        put(m.piece((0, 0))?, at::MAGIC, MAGIC + 1)
    };
    "init-version", "The initial packet has another version.", "init.version", |m| {
        put(m.piece((0, 0))?, at::VERSION, 2)
    };
    "init-uuid", "The initial packet of a channel has another UUID.", "init.uuid", |m| {
        flip(m.piece((m.channels.len().checked_sub(1)?, 0))?, at::UUID, 0xff)
    };
    "init-id-large", "The id of a channel is the number of channels.", "init.id-below-channels",
    |m| {
        let count = m.channels.len();
        let piece = m.piece((count.checked_sub(1)?, 0))?;
        *piece.bytes.get_mut(at::ID)? = u8::try_from(count).ok()?;
        Some(())
    };
    "init-id-twice", "Two channels have the same id.", "init.id-once", |m| {
        let last = m.channels.len().checked_sub(1).filter(|last| *last > 0)?;
        let id = *m.piece((0, 0))?.bytes.get(at::ID)?;
        *m.piece((last, 0))?.bytes.get_mut(at::ID)? = id;
        Some(())
    };
    "packet-magic", "A RAM packet has another magic number.", "packet.followed", |m| {
        let place = m.first_ram()?;
        put(m.piece(place)?, at::MAGIC, 0)
    };
    "packet-version", "A RAM packet has another version.", "packet.version", |m| {
        let place = m.first_ram()?;
        put(m.piece(place)?, at::VERSION, 2)
    };
    "packet-room", "A RAM packet has room for 2^32 - 1 pages.", "packet.followed", |m| {
        let place = m.first_ram()?;
        put(m.piece(place)?, at::PAGES_ALLOC, u32::MAX)
    };
    "packet-pages", "A RAM packet has 2^32 - 1 pages.", "packet.followed", |m| {
        let place = m.first_ram()?;
        put(m.piece(place)?, at::NORMAL, u32::MAX)
    };
    "packet-flags", "A RAM packet has an unknown flag.", "packet.flags-known", |m| {
        let place = m.first_ram()?;
        m.with_flags(place, 0x80)
    };
    "packet-two-methods", "A RAM packet names two methods of compression.", "packet.compression",
    |m| {
        let place = m.last_ram()?;
        m.with_flags(place, 6)
    };
    "packet-other-method", "A RAM packet names another method of compression than those before.",
    "packet.compression", |m| {
        let place = m.last_ram()?;
        m.with_flags(place, 2)
    };
    "packet-not-compressed", "The data of a compressed packet is not compressed.",
    "packet.unpacked", |m| {
        let place = m.first_ram()?;
        m.with_flags(place, 2)
    };
    "packet-block", "A RAM packet has an unknown block.", "packet.block", |m| {
        let place = m.first_ram()?;
        flip(m.piece(place)?, at::BLOCK, 0x15)
    };
    "packet-offset-past", "A page begins at the end of its block.", "packet.offset", |m| {
        let place = m.first_ram()?;
        let name = header(m.piece(place)?).block().to_vec();
        let (_, length) = m.blocks.iter().find(|(block, _)| *block == name)?;
        let length = *length;
        put_long(m.piece(place)?, at::OFFSET, length)
    };
    "packet-offset-odd", "A page does not begin at a multiple of the size of a page.",
    "packet.offset", |m| {
        let place = m.first_ram()?;
        flip(m.piece(place)?, at::OFFSET + 7, 1)
    };
    "packet-size", "A RAM packet has another next_packet_size.", "packet.size", |m| {
        let place = m.first_ram()?;
        let size = header(m.piece(place)?).size.wrapping_add(m.page.bytes());
        put(m.piece(place)?, at::SIZE, size)
    };
    "end-inside", "A channel ends inside a packet.", "end.packet-boundary", |m| {
        m.channels.first_mut()?.packets.last_mut()?.bytes.pop()?;
        Some(())
    };
    "page-content", "A byte of a page is another one.", "memory.as-source", |m| {
        let piece = m.last_ram()?;
        let piece = m.piece(piece)?;
        let last = piece.bytes.len().checked_sub(1)?;
        flip(piece, last, 0xff)
    };
    "page-stale", "The last packet has content that one of its pages had before.",
    "memory.as-source", |m| stale(m);
    "main-section", "The main stream has an unknown section.", "main.followed", |m| {
        let place = *m.items(Item::Full).last()?;
        *m.main.get_mut(place)?.bytes.first_mut()? = 0x55;
        Some(())
    };
    "main-footer", "A section of the main stream ends as another one.", "main.followed", |m| {
        let footers = m.items(Item::Footer);
        let place = *footers.get(footers.len().checked_sub(2)?)?;
        *m.main.get_mut(place)?.bytes.get_mut(4)? ^= 0xff;
        Some(())
    };
    "main-offset", "A page on the main stream lies outside its block.", "main.block", |m| {
        let place = m.last_ram()?;
        m.page_on_main(place, 1 << 40)
    };
    "main-difference", "A page on the main stream is sent as a difference that ends inside a run.",
    "main.unpacked", |m| m.difference_on_main(&[0, 2, 9]);
    "main-command", "The main stream has the command ENABLE_COLO, which is no longer one.",
    "main.command", |m| m.command_on_main(command::ENABLE_COLO);
    "device-sync", "A packet with the state of a device is a SYNC packet.", "device.no-sync", |m| {
        let place = m.device(Kind::Data)?;
        put(m.piece(place)?, at::FLAGS, flag::DEVICE_STATE | flag::SYNC)
    };
    "device-short", "A packet with the state of a device has 8 bytes.", "device.buffer-whole", |m| {
        let place = m.device(Kind::Data)?;
        let piece = m.piece(place)?;
        piece.bytes.truncate(at::BUFFER + 8);
        put(piece, at::DEVICE_SIZE, 8)
    };
    "device-version", "The header before a device's data has another version.", "device.version",
    |m| {
        let place = m.device(Kind::Data)?;
        put(m.piece(place)?, at::BUFFER, 1)
    };
    "device-flags", "The header before a device's data has an unknown flag.", "device.flags-known",
    |m| {
        let place = m.device(Kind::Data)?;
        put(m.piece(place)?, at::BUFFER + 8, 2)
    };
    "device-index", "A buffer of a device has the index 2^32 - 1.", "device.index", |m| {
        let place = m.device(Kind::Data)?;
        put(m.piece(place)?, at::BUFFER + 4, u32::MAX)
    };
    "device-unknown", "A packet names an unknown device.", "device.known", |m| {
        let place = m.device(Kind::Data)?;
        flip(m.piece(place)?, at::DEVICE_NAME, 0x48)
    };
    "device-index-twice", "Two buffers of a device have the same index.", "device.index-once", |m| {
        let place = m.device(Kind::Data)?;
        let index = m.index(place)?;
        m.again(place, index, 0)
    };
    "device-config-twice", "A device has two buffers with its configuration.", "device.config-once",
    |m| {
        let place = m.device(Kind::Config)?;
        let index = m.index(place)?;
        m.again(place, index, Buffer::CONFIG)
    };
    "device-data-late", "A buffer with data has an index above that of the configuration.",
    "device.config-last", |m| {
        let config = m.device(Kind::Config)?;
        let index = m.index(config)?.checked_add(1)?;
        let data = m.device(Kind::Data)?;
        m.again(data, index, 0)
    };
    "device-config-early", "The configuration has an index below that of data.",
    "device.config-last", |m| {
        let (config, data) = (m.device(Kind::Config)?, m.device(Kind::Data)?);
        let (high, low) = (m.index(config)?, m.index(data)?);
        put(m.piece(config)?, at::BUFFER + 4, low)?;
        put(m.piece(data)?, at::BUFFER + 4, high)
    };
    "device-data-missing", "A buffer with data of a device is not sent.", "device.whole", |m| {
        let (channel, place) = m.device(Kind::Data)?;
        m.packets(channel)?.remove(place);
        Some(())
    };
    "device-config-missing", "The configuration of a device is not sent.", "device.whole", |m| {
        let (channel, place) = m.device(Kind::Config)?;
        m.packets(channel)?.remove(place);
        Some(())
    };
    "device-index-high", "A buffer with data has a high index.", "device.config-last", |m| {
        let place = m.device(Kind::Data)?;
        put(m.piece(place)?, at::BUFFER + 4, u32::MAX - 1)
    };
}

/// A channel, a SYNC packet of it, and a place before it such that a packet between them has a page of the epoch
/// that follows on this channel or another.
fn moved_sync(m: &Pieces) -> Option<(usize, usize, usize)> {
    m.channels.iter().enumerate().find_map(|(number, channel)| {
        let syncs = channel.syncs();
        (1..syncs.len().checked_sub(1)?).find_map(|epoch| {
            let (begin, end) = (*syncs.get(epoch.checked_sub(1)?)?, *syncs.get(epoch)?);
            let moved = pages(channel.packets.get(begin..end)?);
            let next = m.channels.iter().flat_map(|other| {
                let syncs = other.syncs();
                let ends = (syncs.get(epoch), syncs.get(epoch.saturating_add(1)));
                let (Some(begin), Some(end)) = ends else { return Vec::new() };
                pages(other.packets.get(*begin..*end).unwrap_or_default())
            });
            next.into_iter().any(|page| moved.contains(&page)).then_some((
                number,
                end,
                begin.saturating_add(1),
            ))
        })
    })
}

/// The pages of packets that are not compressed.
fn pages(packets: &[Piece<Kind>]) -> Vec<(Vec<u8>, u64)> {
    let ram = packets.iter().filter(|piece| piece.kind == Kind::Ram);
    let offsets = ram.flat_map(|piece| {
        let header = header(piece);
        let block = header.block().to_vec();
        let offsets = header.normal_offsets().chain(header.zero_offsets());
        offsets.map(|offset| (block.clone(), offset)).collect::<Vec<_>>()
    });
    offsets.collect()
}

/// Gives a page of the last packet the content that it had in an earlier one.
fn stale(m: &mut Pieces) -> Option<()> {
    let page = usize::try_from(m.page.bytes()).ok()?;
    let room = m.page.header();
    let last = m.last_ram()?;
    let now = m.piece(last)?.clone();
    let mut before = m.all_ram(|piece| header(piece).block() == header(&now).block());
    before.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    for (_, place) in before.into_iter().filter(|(_, place)| *place != last) {
        let earlier = m.piece(place)?.clone();
        for (to, offset) in header(&now).normal_offsets().enumerate() {
            let mut all = header(&earlier).normal_offsets();
            let Some(from) = all.position(|other| other == offset) else { continue };
            let content = |piece: &Piece<Kind>, number: usize| {
                let begin = number.checked_mul(page)?.checked_add(room)?;
                piece.bytes.get(begin..begin.checked_add(page)?).map(<[u8]>::to_vec)
            };
            let (old, new) = (content(&earlier, from)?, content(&now, to)?);
            if old != new {
                let begin = to.checked_mul(page)?.checked_add(room)?;
                let end = begin.checked_add(page)?;
                m.piece(last)?.bytes.get_mut(begin..end)?.copy_from_slice(&old);
                return Some(());
            }
        }
    }
    None
}
