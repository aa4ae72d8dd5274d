//! The return path.

use devmig_model::protocol::multifd::wire::{Name, ReturnMessage};
use proptest::prelude::*;

use super::follow;

/// What a destination says that acknowledges the switchover, as it was seen.
#[test]
fn a_good_migration() {
    let bytes = [0, 2, 0, 4, 0, 0, 0, 1, 0, 7, 0, 0, 0, 1, 0, 4, 0, 0, 0, 0];
    let (events, decoder) = follow::return_path(&[&bytes]);
    let lines = ["0 Message(Pong(1))", "8 Message(SwitchoverAck)", "12 Message(Shut(0))"];
    assert_eq!(events.lines, lines);
    assert!(decoder.at_boundary());
}

/// A bitmap follows its message, and what is not a message ends it all.
#[test]
fn a_bitmap_and_an_error() {
    let mut bytes = Vec::new();
    ReturnMessage::ReceivedBitmap(Name::new(b"pc.ram")).encode(&mut bytes);
    bytes.extend(3_u64.to_be_bytes());
    bytes.extend([1, 2, 3]);
    bytes.extend(0x0123_4567_89ab_cdef_u64.to_be_bytes());
    bytes.extend([0, 9, 0, 0]);
    for cut in 0..bytes.len() {
        let (events, _) = follow::return_path(&[&bytes[..cut], &bytes[cut..]]);
        let lines = [
            "0 Message(ReceivedBitmap(\"pc.ram\"))",
            "3 bytes [1, 2, 3]",
            "30 Error(Message { kind: 9, length: 0 })",
        ];
        assert_eq!(events.lines, lines);
    }
}

fn message() -> impl Strategy<Value = ReturnMessage> {
    let name = || "[a-z.]{0,255}".prop_map(|name| Name::new(name.as_bytes()));
    prop_oneof![
        any::<u32>().prop_map(ReturnMessage::Shut),
        any::<u32>().prop_map(ReturnMessage::Pong),
        (prop::option::of(name()), any::<u64>(), any::<u32>()).prop_map(
            |(block, start, length)| ReturnMessage::RequestPages { block, start, length }
        ),
        any::<u32>().prop_map(ReturnMessage::ResumeAck),
        Just(ReturnMessage::SwitchoverAck),
    ]
}

proptest! {
    #[test]
    fn what_was_sent_is_read(
        messages in prop::collection::vec(message(), 0..5),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.encode(&mut bytes));
        let (events, _) = follow::return_path(&follow::pieces(&bytes, &cuts));
        prop_assert_eq!(events.lines.len(), messages.len());
        for (line, message) in events.lines.iter().zip(&messages) {
            let message = format!("Message({message:?})");
            prop_assert!(line.ends_with(&message));
        }
    }

    #[test]
    fn any_bytes_are_followed_alike_however_they_are_cut(
        bytes in prop::collection::vec(prop_oneof![0_u8..8, any::<u8>()], 0..300),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let (whole, _) = follow::return_path(&[&bytes]);
        let (cut_up, _) = follow::return_path(&follow::pieces(&bytes, &cuts));
        prop_assert_eq!(whole, cut_up);
    }
}
