//! The stream of a channel.

use devmig_model::protocol::multifd::wire::{
    Buffer, ChannelDecoder, ChannelError, ChannelEvent, DevicePacket, Init, PageSize, RamPacket,
    flag,
};
use proptest::prelude::*;

use super::follow;

const PAGE: PageSize = PageSize::FOUR_KIB;

fn golden() -> Vec<u8> {
    let mut bytes = Vec::new();
    Init::new([7; 16], 3).encode(&mut bytes);
    let (normal, zero) = ([0x1000, 0x5000], [0x2000]);
    RamPacket { size: 8192, number: 9, block: b"pc.ram", normal: &normal, zero: &zero, flags: 0 }
        .encode(PAGE, &mut bytes);
    bytes.extend([0xaa; 8192]);
    let blob =
        RamPacket { size: 5, flags: 4, block: b"pc.ram", normal: &[0], ..Default::default() };
    blob.encode(PAGE, &mut bytes);
    bytes.extend([0xbb; 5]);
    DevicePacket::new(b"0000:00:04.0/vfio", 1, 12 + 3).encode(&mut bytes);
    Buffer { version: 0, index: 2, flags: Buffer::CONFIG }.encode(&mut bytes);
    bytes.extend([1, 2, 3]);
    RamPacket { flags: flag::SYNC, ..Default::default() }.encode(PAGE, &mut bytes);
    bytes
}

#[test]
fn the_bytes_are_those_of_qemu() {
    let bytes = golden();
    assert_eq!(bytes[..9], [0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1, 7]);
    assert_eq!((bytes[23], bytes[24], bytes[25]), (7, 3, 0));
    let ram = &bytes[64..];
    assert_eq!(ram[..12], [0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(ram[12..24], [0, 0, 0, 128, 0, 0, 0, 2, 0, 0, 0x20, 0]);
    assert_eq!(ram[24..36], [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1]);
    assert_eq!(&ram[64..71], b"pc.ram\0");
    assert_eq!(ram[320..328], [0, 0, 0, 0, 0, 0, 0x10, 0]);
    assert_eq!(ram[336..344], [0, 0, 0, 0, 0, 0, 0x20, 0]);
    assert_eq!((ram[1343], ram[1344]), (0, 0xaa));
    let device = &ram[1344 + 8192 + 1344 + 5..];
    assert_eq!(device[8..12], [0, 0, 0, 0x40]);
    assert_eq!(&device[12..30], b"0000:00:04.0/vfio\0");
    assert_eq!(device[268..288], [0, 0, 0, 1, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1]);
    assert_eq!(bytes.len(), 64 + 1344 + 8192 + 1344 + 5 + 276 + 15 + 1344);
}

#[test]
fn a_channel_is_followed_wherever_it_is_cut() {
    let bytes = golden();
    let (whole, decoder) = follow::channel(PAGE, &[&bytes]);
    assert!(decoder.at_boundary());
    let lines = [
        "64 ram pc.ram 0 9 [4096, 20480, 8192]",
        "8192 bytes [aa, aa, aa, aa, aa, aa, aa, aa]",
        "9600 ram pc.ram 4 0 [0]",
        "5 bytes [bb, bb, bb, bb, bb]",
    ];
    assert_eq!(whole.lines[1..5], lines);
    assert!(whole.lines[5].starts_with("10949 Device"), "{:?}", whole.lines[5]);
    assert_eq!(whole.lines[6], "11225 Buffer(Buffer { version: 0, index: 2, flags: 1 })");
    assert_eq!(whole.lines[7..], ["3 bytes [1, 2, 3]", "11240 ram  1 0 []"]);
    for cut in 0..=bytes.len() {
        let (cut_up, _) = follow::channel(PAGE, &[&bytes[..cut], &bytes[cut..]]);
        assert_eq!(cut_up, whole, "cut at {cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(follow::channel(PAGE, &single).0, whole);
}

#[test]
fn a_channel_ends_between_packets_only() {
    let bytes = golden();
    let ends = [64, 64 + 1344 + 8192, 64 + 1344 + 8192 + 1344 + 5, 11240, bytes.len()];
    for length in 0..=bytes.len() {
        let (_, decoder) = follow::channel(PAGE, &[&bytes[..length]]);
        assert_eq!(decoder.at_boundary(), ends.contains(&length), "{length}");
    }
}

#[test]
fn what_cannot_be_followed_is_named_with_its_offset() {
    let second = 64 + 1344 + 8192;
    let broken = |at: usize, to: [u8; 4]| {
        let mut bytes = golden();
        bytes[at..at + 4].copy_from_slice(&to);
        let mut decoder = ChannelDecoder::new(PAGE);
        let mut rest = &bytes[..];
        loop {
            let (used, event) = decoder.next(rest);
            rest = &rest[used..];
            match event {
                Some(at) if let ChannelEvent::Error(error) = at.event => return (at.at, error),
                Some(_) => {}
                None => panic!("no error"),
            }
        }
    };
    let at = second as u64;
    assert_eq!(broken(second, [0; 4]), (at, ChannelError::Magic(0)));
    let claims = ChannelError::PagesAlloc { expected: 128, got: 0xffff_ffff };
    assert_eq!(broken(second + 12, [0xff; 4]), (at, claims));
    let most = ChannelError::PageCount { normal: u32::MAX, zero: 0, room: 128 };
    assert_eq!(broken(second + 16, [0xff; 4]), (at, most));
    let zero = ChannelError::PageCount { normal: 1, zero: 128, room: 128 };
    assert_eq!(broken(second + 32, [0, 0, 0, 128]), (at, zero));
}

/// QEMU 10.0 fills in nothing of a SYNC packet that is about pages.
#[test]
fn a_sync_packet_has_room_for_no_pages() {
    let mut bytes = Vec::new();
    Init::new([0; 16], 0).encode(&mut bytes);
    RamPacket { flags: flag::SYNC, number: 1, ..Default::default() }.encode(PAGE, &mut bytes);
    bytes[64 + 12..64 + 16].fill(0);
    let (events, decoder) = follow::channel(PAGE, &[&bytes]);
    assert!(decoder.at_boundary());
    assert_eq!(events.lines[1], "64 ram  1 1 []");
    bytes[64 + 12..64 + 16].fill(1);
    assert!(follow::channel(PAGE, &[&bytes]).1.is_over());
}

/// A device-state packet without room for a buffer's header has none.
#[test]
fn a_short_device_packet_has_no_buffer() {
    let mut bytes = Vec::new();
    Init::new([0; 16], 0).encode(&mut bytes);
    DevicePacket::new(b"d", 0, 8).encode(&mut bytes);
    bytes.extend([9; 8]);
    let (events, decoder) = follow::channel(PAGE, &[&bytes]);
    assert!(decoder.at_boundary());
    assert_eq!(events.lines[2], "8 bytes [9, 9, 9, 9, 9, 9, 9, 9]");
}

fn page() -> impl Strategy<Value = PageSize> {
    (10_u32..17).prop_map(|bits| PageSize::new(1 << bits).unwrap())
}

proptest! {
    #[test]
    fn what_was_sent_is_read(
        page in page(),
        (flags, size, number) in (0_u32..64, 0_u32..5000, any::<u64>()),
        block in "[a-z./]{0,255}",
        normal in prop::collection::vec(any::<u64>(), 0..5),
        zero in prop::collection::vec(any::<u64>(), 0..4),
        (name, instance, index) in ("[a-z0-9:./]{0,255}", any::<u32>(), any::<u32>()),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let block = block.as_bytes();
        let packet = RamPacket { flags, size, number, block, normal: &normal, zero: &zero };
        let mut bytes = Vec::new();
        Init::new([1; 16], 5).encode(&mut bytes);
        let begin = bytes.len();
        packet.encode(page, &mut bytes);
        prop_assert_eq!(bytes.len(), begin + page.header());
        let content = match (normal.len(), flags & flag::COMPRESSION) {
            (0, _) => 0,
            (pages, 0) => pages * page.bytes() as usize,
            _ => size as usize,
        };
        bytes.resize(bytes.len() + content, 0xcc);
        DevicePacket::new(name.as_bytes(), instance, 13).encode(&mut bytes);
        Buffer { version: 1, index, flags: 0 }.encode(&mut bytes);
        bytes.push(8);
        let (events, decoder) = follow::channel(page, &follow::pieces(&bytes, &cuts));
        prop_assert!(decoder.at_boundary());
        let all: Vec<_> = normal.iter().chain(&zero).collect();
        let block = block.escape_ascii();
        let line = format!("64 ram {block} {flags} {number} {all:?}");
        prop_assert_eq!(&events.lines[1], &line);
        let rest = if content == 0 { 2 } else { 3 };
        let buffer = format!("Buffer {{ version: 1, index: {index}, flags: 0 }}");
        prop_assert!(events.lines[rest + 1].contains(&buffer));
        prop_assert_eq!(events.lines.len(), rest + 3);
    }

    /// Any bytes at all, and bytes that are nearly a channel.
    #[test]
    fn any_bytes_are_followed_alike_however_they_are_cut(
        page in page(),
        noise in prop::collection::vec(any::<u8>(), 0..3000),
        (at, with) in (any::<usize>(), prop::collection::vec(any::<u8>(), 0..40)),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let mut near = golden();
        let at = at % near.len();
        for (byte, with) in near[at..].iter_mut().zip(&with) {
            *byte = *with;
        }
        for bytes in [&noise, &near] {
            let (whole, _) = follow::channel(page, &[bytes]);
            let (cut_up, _) = follow::channel(page, &follow::pieces(bytes, &cuts));
            prop_assert_eq!(whole, cut_up);
        }
    }
}
