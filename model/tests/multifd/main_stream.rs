//! The main stream.

use devmig_model::protocol::multifd::wire::{
    MainDecoder, MainWriter, PageForm, SectionSize, command, section_sizes, vfio_tag,
};
use proptest::prelude::*;

use super::follow;

/// The content of a section that looks as if it ended in the middle of it.
const TRAP: [u8; 7] = [9, 0x7e, 0, 0, 0, 4, 0];

const DESCRIPTION: &[u8] = br#"{"page_size": 4096, "devices": [
    {"name": "timer", "instance_id": 0, "vmsd_name": "timer", "version": 2, "fields":
        [{"name": "data", "type": "buffer", "size": 3},
         {"name": "list", "array_len": 2, "type": "uint16", "size": 2}]},
    {"name": "cpu", "instance_id": 1, "fields": [],
     "subsections": [{"vmsd_name": "cpu/x", "version": 1, "fields": [{"name": "x", "size": 4}]}]}]}"#;

/// A migration as QEMU sends it.
fn golden() -> Vec<u8> {
    let mut main = MainWriter::new("pc-q35-10.0");
    main.page_bits(12).capabilities(&["x-ignored"]).uuid([5; 16]);
    main.command(command::OPEN_RETURN_PATH, &[]).command(command::PING, &[0, 0, 0, 1]);
    main.start(2, ("ram", 0), 4).blocks(&[("pc.ram", 0x80_0000), ("rom", 0x2000)]);
    main.flush().end_of_section().footer(2);
    main.start(7, ("0000:00:04.0/vfio", 0), 1).vfio(vfio_tag::DEV_SETUP_STATE);
    main.vfio(vfio_tag::END_OF_STATE).footer(7);
    main.part(2).page(Some("rom"), 0x1000, PageForm::Fill(0)).page(None, 0, PageForm::Raw);
    main.raw(&[0x5a; 4096]).page(Some("pc.ram"), 0x3000, PageForm::Xbzrle(3)).raw(&[1, 2, 3]);
    main.page(None, 0x4000, PageForm::Compressed(2)).raw(&[8, 9]);
    main.flush().end_of_section().footer(2);
    main.part(7).vfio(vfio_tag::DEV_DATA_STATE).raw(&2_u64.to_be_bytes()).raw(&[6, 6]);
    main.vfio(vfio_tag::DEV_INIT_DATA_SENT).footer(7);
    main.command(command::SWITCHOVER_START, &[]);
    main.end(2).end_of_section().footer(2);
    main.full(4, ("timer", 0), 2).raw(&TRAP).footer(4);
    main.full(5, ("cpu", 1), 1).raw(b"\x05\x05cpu/x\0\0\0\x01abcd").footer(5);
    main.full(7, ("0000:00:04.0/vfio", 0), 1).vfio(vfio_tag::DEV_CONFIG_STATE).raw(b"config");
    main.vfio(vfio_tag::END_OF_STATE).footer(7);
    main.eof().description(DESCRIPTION);
    main.bytes
}

#[test]
fn lengths_come_from_the_description() {
    let size = |name: &str, instance, bytes| SectionSize { name: name.into(), instance, bytes };
    assert_eq!(section_sizes(DESCRIPTION), [size("timer", 0, 7), size("cpu", 1, 15)]);
    assert_eq!(section_sizes(b"{"), []);
    assert_eq!(
        section_sizes(br#"{"devices": [{"name": "x", "instance_id": 0, "fields": [{}]}]}"#),
        []
    );
}

#[test]
fn a_migration_is_followed_wherever_it_is_cut() {
    let bytes = golden();
    let sized = || MainDecoder::with_sizes(section_sizes(DESCRIPTION));
    let (whole, decoder) = follow::main_stream(sized(), &[&bytes]);
    assert!(decoder.is_complete() && decoder.at_boundary());
    insta::assert_snapshot!(whole.lines.join("\n"));
    for cut in 0..=bytes.len() {
        let (cut_up, _) = follow::main_stream(sized(), &[&bytes[..cut], &bytes[cut..]]);
        assert_eq!(cut_up, whole, "cut at {cut}");
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(follow::main_stream(sized(), &single).0, whole);
}

/// Without lengths, the trap is taken for the end of the section.
#[test]
fn a_footer_inside_data_needs_the_description() {
    let bytes = golden();
    let (guessed, decoder) = follow::main_stream(MainDecoder::new(), &[&bytes]);
    assert!(guessed.lines.iter().any(|line| line.contains("Error")), "{guessed:?}");
    assert!(decoder.is_over());
    let trap = bytes.windows(TRAP.len()).position(|window| window == TRAP).unwrap();
    let mut without = bytes;
    without[trap + 1] = 0;
    let (guessed, decoder) = follow::main_stream(MainDecoder::new(), &[&without]);
    assert!(decoder.is_complete() && decoder.at_boundary(), "{guessed:?}");
}

#[test]
fn a_length_that_is_wrong_is_found() {
    let sizes = vec![SectionSize { name: "timer".into(), instance: 0, bytes: 6 }];
    let (_, decoder) = follow::main_stream(MainDecoder::with_sizes(sizes), &[&golden()]);
    assert!(decoder.is_over() || !decoder.is_complete());
}

/// With postcopy, a block whose pages have another size than the target's says so.
#[test]
fn blocks_of_huge_pages_under_postcopy() {
    for huge_first in [false, true] {
        let mut main = MainWriter::new("m");
        let pages = [(1_u64 << 21 | 4096).to_be_bytes(), 4096_u64.to_be_bytes()].concat();
        main.command(command::POSTCOPY_ADVISE, &pages).start(2, ("ram", 0), 4);
        let (huge, small) = (("huge", 1_u64 << 21), ("small", 8192_u64));
        let list = if huge_first { [huge, small] } else { [small, huge] };
        main.raw(&(((1_u64 << 21) + 8192) | 4).to_be_bytes());
        for (name, length) in list {
            main.raw(&[name.len() as u8]).raw(name.as_bytes()).raw(&length.to_be_bytes());
            if name == "huge" {
                main.raw(&(1_u64 << 21).to_be_bytes());
            }
        }
        main.flush().end_of_section().footer(2).eof();
        let (events, decoder) = follow::main_stream(MainDecoder::new(), &[&main.bytes]);
        assert!(decoder.is_complete(), "{events:?}");
        assert_eq!(events.lines.iter().filter(|line| line.contains("Block")).count(), 2);
        assert!(events.lines.iter().any(|line| line.ends_with("Flush")), "{events:?}");
        for cut in 0..main.bytes.len() {
            let cut_up = [&main.bytes[..cut], &main.bytes[cut..]];
            assert_eq!(follow::main_stream(MainDecoder::new(), &cut_up).0, events);
        }
    }
}

proptest! {
    /// Any bytes after a good beginning, and a good stream with other bytes in it.
    #[test]
    fn any_bytes_are_followed_alike_however_they_are_cut(
        noise in prop::collection::vec(prop_oneof![0_u8..9, any::<u8>()], 0..2000),
        keep in 0_usize..400,
        (at, with) in (any::<usize>(), prop::collection::vec(any::<u8>(), 0..20)),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let golden = golden();
        let begun = [&golden[..keep], &noise].concat();
        let mut near = golden;
        let at = at % near.len();
        for (byte, with) in near[at..].iter_mut().zip(&with) {
            *byte = *with;
        }
        for bytes in [&noise, &begun, &near] {
            for decoder in [MainDecoder::new(), MainDecoder::with_sizes(section_sizes(DESCRIPTION))] {
                let (whole, _) = follow::main_stream(decoder.clone(), &[bytes]);
                let (cut_up, _) = follow::main_stream(decoder, &follow::pieces(bytes, &cuts));
                prop_assert_eq!(whole, cut_up);
            }
        }
    }

    /// A section is found to begin as often as one was written.
    #[test]
    fn what_was_written_is_read(
        machine in "[a-z0-9.-]{1,255}",
        blocks in prop::collection::vec(("[a-z./@]{1,255}", 0_u64..1000), 1..5),
        parts in prop::collection::vec(prop::option::of((0_u64..9, any::<u8>())), 0..9),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let listed: Vec<_> = blocks.iter().map(|(name, n)| (name.as_str(), n << 12)).collect();
        let mut main = MainWriter::new(&machine);
        main.start(1, ("ram", 0), 4);
        // A list of no bytes at all has no blocks.
        prop_assume!(listed.iter().take(listed.len() - 1).any(|(_, n)| *n > 0) || listed.len() == 1);
        prop_assume!(listed.last().unwrap().1 > 0);
        main.blocks(&listed).end_of_section().footer(1);
        for part in &parts {
            main.part(1);
            match part {
                Some((page, fill)) => main.page(Some("b"), page << 12, PageForm::Fill(*fill)),
                None => main.flush(),
            };
            main.end_of_section().footer(1);
        }
        main.eof();
        let pieces = follow::pieces(&main.bytes, &cuts);
        let (events, decoder) = follow::main_stream(MainDecoder::new(), &pieces);
        prop_assert!(decoder.is_complete() && decoder.at_boundary());
        let count = |what: &str| events.lines.iter().filter(|line| line.contains(what)).count();
        prop_assert_eq!(count(" Machine("), 1);
        prop_assert_eq!(count(" Block "), blocks.len());
        prop_assert_eq!(count(" More "), parts.len());
        prop_assert_eq!(count(" Footer("), parts.len() + 1);
        prop_assert_eq!(count(" Page ") + count(" Flush"), parts.len());
    }
}
