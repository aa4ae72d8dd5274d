//! The events of vhost-user: messages through the socket, and what both sides do in shared memory
//! and with event descriptors.
//!
//! ```text
//!  front-end --Message--> [socket] --> back-end          Queue(0): sent now, read later
//!  front-end <--Reply, Close---------- back-end          seen when read
//!  guest     --Available, Kick-------> back-end          memory and eventfd: seen at once
//!  guest     <--Used, Call------------ back-end
//!  front-end <--Saved | Loaded, Cut--> back-end          the state channel, whole or not
//!  front-end <--Error----------------- back-end          the err descriptor
//!  front-end <--BackEndMessage-------- back-end          the back-end's own channel, seen when read
//!  front-end --BackEndAnswer---------> back-end
//!  front-end --Vcpus, Copied---------> guest
//!  guest     <--Marked--------------- back-end          the dirty log, in shared memory
//!  front-end --Pieces---------------> back-end          how messages are written, not what they say
//!                 Changed             the device itself: its configuration space is another
//!                 Successor           another back-end process takes this one's place
//!                 HandedOver          another front-end takes over the connection
//! ```
//!
//! A message's payload is reduced to the ring it names and one number (its *value*); the bytes are
//! the wire codec's. **Invariant:** nothing here depends on the message table.

use serde::Serialize;

pub use super::image::{RingImage, RingImages};
pub use super::number::Value;
use devmig_engine::machine::{Channel, Party};
use devmig_engine::packed;

/// The front-end: a VMM such as QEMU.
pub const FRONT_END: Party = Party("front-end");
/// The back-end: the process that serves the device.
pub const BACK_END: Party = Party("back-end");
/// The guest's driver.
pub const GUEST: Party = Party("guest");

/// The guest's driver as it sets a ring up, which is no matter of chance as its requests are.
pub const DRIVER: Party = Party("driver");
/// What befalls the parties from outside.
pub const FAULT: Party = Party("fault");
/// Whoever changes the device itself: an administrator, a cable.
pub const OUTSIDE: Party = Party("outside");

/// A message, by its row in the message table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct MessageId(pub u8);

/// A message from the front-end.
#[packed]
#[derive(Default)]
pub struct Message {
    /// Which.
    #[bits(6)]
    pub id: MessageId,
    /// The ring that it names, 0 if none.
    #[bits(1)]
    pub ring: u8,
    /// Its number.
    pub value: Value,
    /// The need_reply flag (bit 3 of the header).
    pub need_reply: bool,
}

/// A message of the back-end's own, on the channel that SET_BACKEND_REQ_FD gave it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
pub struct BackEndMessage {
    /// Which, by its place in the table of the back-end's messages.
    pub id: MessageId,
    /// The ring that it names, 0 if none.
    pub ring: u8,
    /// Its number, 0 if it has none.
    pub value: Value,
    /// The need_reply flag (bit 3 of the header).
    pub need_reply: bool,
}

impl devmig_engine::pack::PackAs for MessageId {
    fn to_bits(self) -> u64 {
        u64::from(self.0)
    }
    fn from_bits(bits: u64) -> Self {
        MessageId(bits as u8)
    }
}

/// What happens between the parties.
#[packed(queued(Message))]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The front-end's message.
    Message(Message),
    /// The back-end answers the oldest message that is owed an answer.
    Reply {
        /// The message answered.
        id: MessageId,
        /// The ring named in the answer.
        ring: u8,
        /// The number in the answer.
        value: Value,
        /// How many descriptors came with it.
        descriptors: u8,
    },
    /// The back-end closes the connection.
    Close,
    /// The guest makes its next request available.
    Available {
        /// On this ring.
        ring: u8,
    },
    /// The guest's index in the available ring is further ahead than the ring is long: it has made
    /// nonsense of it.
    RunAhead {
        /// Of this ring.
        ring: u8,
    },
    /// The guest sets a ring up anew: both indices in its memory are `index`.
    Renew {
        /// This ring.
        ring: u8,
        /// The next request's index.
        index: u16,
    },
    /// The guest, or the front-end when it starts a ring, writes to the kick descriptor.
    Kick {
        /// Of this ring.
        ring: u8,
        /// Whether it is the front-end.
        front_end: bool,
    },
    /// The kick descriptor is seen to be no longer readable: every kick written to it was noticed.
    /// Only a tester says so; it is an observation, not a step.
    KickRead {
        /// Of this ring.
        ring: u8,
    },
    /// The back-end puts a request into the used ring.
    Used {
        /// Of this ring.
        ring: u8,
        /// Which: its index among all requests ever made available there, modulo 65536.
        request: u16,
    },
    /// The back-end writes to the call descriptor.
    Call {
        /// Of this ring.
        ring: u8,
    },
    /// The back-end has written its whole state to the state channel and closed it.
    Saved {
        /// The state, as the model counts it: how many requests it remembers.
        value: u8,
        /// The rings, if the state includes them.
        rings: RingImages,
    },
    /// The front-end has written a whole state to the state channel and closed it.
    Loaded {
        /// The state, as in `Saved`.
        value: u8,
        /// The rings, as in `Saved`.
        rings: RingImages,
    },
    /// The front-end has closed the state channel before the state was whole.
    Cut,
    /// Another front-end takes over the connection, and knows nothing that the first one knew.
    HandedOver,
    /// The guest forgets its oldest request, which came back: indices are counted from the next one,
    /// so that there is room for another request.
    Forgotten {
        /// Of this ring.
        ring: u8,
    },
    /// The back-end writes to the err descriptor.
    Error {
        /// Of this ring.
        ring: u8,
    },
    /// The back-end sends a message of its own; it is seen when the front-end reads it.
    BackEndMessage(BackEndMessage),
    /// The front-end answers the oldest message of the back-end's own that is owed an answer.
    BackEndAnswer {
        /// The message answered.
        id: MessageId,
        /// The number in the answer: 0 for success.
        value: Value,
        /// How many descriptors came with it.
        descriptors: u8,
    },
    /// The front-end stops or starts the virtual CPUs.
    Vcpus {
        /// Whether they run.
        run: bool,
    },
    /// The back-end marks a page as dirty in the log. Each ring has two: its buffers are on one, its
    /// used ring is on the other.
    Marked {
        /// The page belongs to this ring.
        ring: u8,
        /// It is the used ring's.
        used_ring: bool,
        /// In which log: 1 for the first that SET_LOG_BASE gave, 2 for the next.
        log: u8,
    },
    /// The front-end sends its next message in pieces, each piece alone.
    Pieces {
        /// Its payload is cut; if not, its header alone is.
        payload: bool,
    },
    /// The front-end copies pages of guest memory to the destination.
    Copied {
        /// Those that this log marks, which is cleared; 0: all of them, with every log cleared.
        log: u8,
    },
    /// The device's configuration space is another from now on: it grew, its link went down. Only a
    /// tester that has brought it about says so.
    Changed,
    /// Another back-end process takes the place of this one, and knows nothing of the connection.
    /// Guest memory stays, and so does the in-flight buffer.
    Successor {
        /// Whether the first one died; if not, the front-end has turned to another (a migration).
        died: bool,
    },
}

impl Default for Event {
    fn default() -> Self {
        Event::Message(Message::default())
    }
}

impl devmig_engine::machine::Event for Event {
    fn owner(&self) -> Party {
        match self {
            Event::Message(_)
            | Event::Loaded { .. }
            | Event::Cut
            | Event::HandedOver
            | Event::Vcpus { .. }
            | Event::BackEndAnswer { .. }
            | Event::Copied { .. }
            | Event::Pieces { .. }
            | Event::Successor { died: false }
            | Event::Kick { front_end: true, .. } => FRONT_END,
            Event::Successor { died: true } => FAULT,
            Event::Changed => OUTSIDE,
            Event::Available { .. }
            | Event::RunAhead { .. }
            | Event::Kick { .. }
            | Event::Forgotten { .. } => GUEST,
            Event::Renew { .. } => DRIVER,
            _ => BACK_END,
        }
    }

    fn to(&self) -> Option<Party> {
        match self {
            Event::Message(_)
            | Event::Available { .. }
            | Event::Kick { .. }
            | Event::Loaded { .. }
            | Event::BackEndAnswer { .. } => Some(BACK_END),
            Event::Reply { .. }
            | Event::Close
            | Event::Saved { .. }
            | Event::Error { .. }
            | Event::BackEndMessage(_) => Some(FRONT_END),
            Event::Used { .. } | Event::Call { .. } | Event::Vcpus { .. } => Some(GUEST),
            _ => None,
        }
    }

    fn channel(&self) -> Channel {
        match self {
            Event::Message(_) => Channel::Queue(0),
            _ => Channel::Now,
        }
    }

    fn label(&self) -> String {
        match self {
            Event::Message(m) => {
                format!("message {} ring {} value {:#x}", m.id.0, m.ring, m.value.0)
            }
            Event::Reply { id, ring, value, .. } => {
                format!("reply {} ring {ring} value {:#x}", id.0, value.0)
            }
            Event::Close => "closes the connection".into(),
            Event::Available { ring } => format!("request available on ring {ring}"),
            Event::RunAhead { ring } => format!("ring {ring} runs ahead of its length"),
            Event::Renew { ring, index } => format!("ring {ring} set up anew at {index}"),
            Event::Kick { ring, .. } => format!("kick ring {ring}"),
            Event::KickRead { ring } => format!("kick of ring {ring} noticed"),
            Event::Used { ring, request } => format!("request {request} used on ring {ring}"),
            Event::Call { ring } => format!("call ring {ring}"),
            Event::Saved { value, rings } => format!("state saved: {value}{rings}"),
            Event::Loaded { value, rings } => format!("state loaded: {value}{rings}"),
            Event::Cut => "state channel closed before the end of the state".into(),
            Event::HandedOver => "another front-end takes over the connection".into(),
            Event::Forgotten { ring } => format!("oldest request of ring {ring} forgotten"),
            Event::Error { ring } => format!("error on ring {ring}"),
            Event::BackEndMessage(m) => {
                format!("back-end message {} ring {} value {:#x}", m.id.0, m.ring, m.value.0)
            }
            Event::BackEndAnswer { id, value, .. } => {
                format!("back-end message {} answered with {:#x}", id.0, value.0)
            }
            Event::Vcpus { run: true } => "vCPUs run".into(),
            Event::Vcpus { run: false } => "vCPUs stop".into(),
            Event::Marked { ring, used_ring: false, log } => {
                format!("marks the buffers of ring {ring} in log {log}")
            }
            Event::Marked { ring, used_ring: true, log } => {
                format!("marks the used ring {ring} in log {log}")
            }
            Event::Pieces { payload: false } => "a header comes in pieces".into(),
            Event::Pieces { payload: true } => "a payload comes in pieces".into(),
            Event::Copied { log: 0 } => "copies all pages".into(),
            Event::Copied { log } => format!("copies the pages that log {log} marks"),
            Event::Changed => "the configuration space changes".into(),
            Event::Successor { died: true } => "back-end dies, another takes its place".into(),
            Event::Successor { died: false } => "turns to another back-end".into(),
        }
    }
}
