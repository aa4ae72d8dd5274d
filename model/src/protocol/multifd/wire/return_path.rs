//! The return path: what the destination says.

use super::intake::{Fields, Intake, Item, clamp, length};
use super::{At, Name};

/// The longest message that is looked into.
const LONGEST: u16 = 512;

/// A message of the destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReturnMessage {
    /// The end; 0: all is well.
    Shut(u32),
    /// The answer to a PING.
    Pong(u32),
    /// Pages are needed, of a block that is named or of the one before.
    RequestPages {
        /// The block.
        block: Option<Name>,
        /// Where.
        start: u64,
        /// How many bytes.
        length: u32,
    },
    /// Which pages of this block came: a bitmap of so many bytes follows.
    ReceivedBitmap(Name),
    /// Postcopy goes on after an interruption.
    ResumeAck(u32),
    /// A device is ready for the switchover.
    SwitchoverAck,
}

impl ReturnMessage {
    /// Appends the bytes as sent.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut data = Vec::new();
        let kind: u16 = match self {
            ReturnMessage::Shut(value) => {
                data.extend(value.to_be_bytes());
                1
            }
            ReturnMessage::Pong(value) => {
                data.extend(value.to_be_bytes());
                2
            }
            ReturnMessage::RequestPages { block, start, length } => {
                data.extend(start.to_be_bytes());
                data.extend(length.to_be_bytes());
                if let Some(name) = block {
                    put(name, &mut data);
                }
                if block.is_some() { 3 } else { 4 }
            }
            ReturnMessage::ReceivedBitmap(name) => {
                put(name, &mut data);
                5
            }
            ReturnMessage::ResumeAck(value) => {
                data.extend(value.to_be_bytes());
                6
            }
            ReturnMessage::SwitchoverAck => 7,
        };
        out.extend(kind.to_be_bytes());
        out.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(data);
    }

    fn decode(kind: u16, data: &[u8]) -> Option<Self> {
        let mut from = Fields(data);
        let message = match kind {
            1 => ReturnMessage::Shut(from.u32()),
            2 => ReturnMessage::Pong(from.u32()),
            3 | 4 => {
                let (start, length) = (from.u64(), from.u32());
                let block = (kind == 3).then(|| name(&mut from));
                ReturnMessage::RequestPages { block, start, length }
            }
            5 => ReturnMessage::ReceivedBitmap(name(&mut from)),
            6 => ReturnMessage::ResumeAck(from.u32()),
            7 => ReturnMessage::SwitchoverAck,
            _ => return None,
        };
        // The length is that of the same message, written again.
        let mut again = Vec::new();
        message.encode(&mut again);
        (again.get(4..) == Some(data)).then_some(message)
    }
}

fn put(name: &Name, out: &mut Vec<u8>) {
    out.push(u8::try_from(name.as_bytes().len()).unwrap_or(u8::MAX));
    out.extend_from_slice(name.as_bytes());
}

fn name(from: &mut Fields<'_>) -> Name {
    let length = from.u8();
    Name::new(from.take(usize::from(length)))
}

/// Why the return path cannot be followed any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReturnError {
    /// No message has this type, or none of this type has such data.
    #[error("no message has type {kind} and these {length} bytes of data")]
    Message {
        /// The type.
        kind: u16,
        /// How long its data is.
        length: u16,
    },
    /// What follows a bitmap is missing.
    #[error("a bitmap ends with {0:#018x}")]
    BitmapEnd(u64),
}

/// What comes next on the return path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::large_enum_variant, reason = "names are kept in place: nothing is allocated")]
pub enum ReturnEvent<'a> {
    /// A message.
    Message(ReturnMessage),
    /// A bitmap, or a piece of it.
    Data(&'a [u8]),
    /// The rest cannot be followed.
    Error(ReturnError),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Message,
    BitmapLength,
    Bitmap(u64),
    BitmapEnd,
    Over,
}

/// After a bitmap.
const BITMAP_END: u64 = 0x0123_4567_89ab_cdef;

/// Follows the return path.
#[derive(Clone, Debug)]
pub struct ReturnDecoder {
    state: State,
    kept: Intake,
    taken: u64,
}

impl Default for ReturnDecoder {
    fn default() -> Self {
        ReturnDecoder::new()
    }
}

impl ReturnDecoder {
    /// From the first byte on.
    #[must_use]
    pub fn new() -> Self {
        ReturnDecoder { state: State::Message, kept: Intake::default(), taken: 0 }
    }

    /// Whether no message is open.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.state == State::Message && self.kept.len() == 0
    }

    /// Takes bytes: how many, and what they came to. Without an event, all of them.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> (usize, Option<At<ReturnEvent<'a>>>) {
        let mut rest = input;
        loop {
            if rest.is_empty() || self.state == State::Over {
                self.taken = self.taken.saturating_add(length(rest));
                return (input.len(), None);
            }
            if let State::Bitmap(left) = self.state {
                let count = clamp(left).min(rest.len());
                let (data, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
                let at = self.taken;
                self.taken = self.taken.saturating_add(length(data));
                self.state = match left.saturating_sub(length(data)) {
                    0 => State::BitmapEnd,
                    left => State::Bitmap(left),
                };
                let used = input.len().saturating_sub(after.len());
                if count > 0 {
                    return (used, Some(At { at, event: ReturnEvent::Data(data) }));
                }
                continue;
            }
            let need = match self.state {
                State::Message => match self.kept.peek::<4>(rest) {
                    None => 4,
                    Some(head) => {
                        let mut from = Fields(&head);
                        let (kind, length) = (from.u16(), from.u16());
                        if length > LONGEST {
                            return self.error(input, ReturnError::Message { kind, length });
                        }
                        usize::from(length).saturating_add(4)
                    }
                },
                _ => 8,
            };
            let item = self.kept.take(need, rest);
            let used = match item {
                Item::Partial => rest.len(),
                Item::Input(used) | Item::Kept(used) => used,
            };
            let (eaten, after) = rest.split_at_checked(used).unwrap_or((rest, &[]));
            self.taken = self.taken.saturating_add(length(eaten));
            if item == Item::Partial {
                return (input.len(), None);
            }
            let bytes = self.kept.bytes(item, rest);
            let at = self.taken.saturating_sub(length(bytes));
            let mut from = Fields(bytes);
            rest = after;
            let used = input.len().saturating_sub(rest.len());
            match self.state {
                State::BitmapLength => self.state = State::Bitmap(from.u64()),
                State::BitmapEnd => {
                    let end = from.u64();
                    self.state = State::Message;
                    if end != BITMAP_END {
                        self.state = State::Over;
                        let event = ReturnEvent::Error(ReturnError::BitmapEnd(end));
                        return (used, Some(At { at, event }));
                    }
                }
                _ => {
                    let (kind, length) = (from.u16(), from.u16());
                    let event = match ReturnMessage::decode(kind, from.0) {
                        Some(message) => {
                            if let ReturnMessage::ReceivedBitmap(_) = message {
                                self.state = State::BitmapLength;
                            }
                            ReturnEvent::Message(message)
                        }
                        None => {
                            self.state = State::Over;
                            ReturnEvent::Error(ReturnError::Message { kind, length })
                        }
                    };
                    return (used, Some(At { at, event }));
                }
            }
        }
    }

    fn error<'a>(
        &mut self,
        input: &[u8],
        error: ReturnError,
    ) -> (usize, Option<At<ReturnEvent<'a>>>) {
        let kept = u64::try_from(self.kept.len()).unwrap_or(0);
        let at = self.taken.saturating_sub(kept);
        self.state = State::Over;
        self.taken = self.taken.saturating_add(length(input));
        (input.len(), Some(At { at, event: ReturnEvent::Error(error) }))
    }
}
