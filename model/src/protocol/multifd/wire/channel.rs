//! The stream of one channel.
//!
//! ```text
//!   Init --> Header --RAM--> Data... --> Header
//!                   --device--> Buffer --> Data... --> Header
//!                   --what cannot be followed--> Over
//! ```

use super::intake::{Fields, Intake, Item, clamp, length};
use super::{At, Buffer, DevicePacket, Init, MAGIC, PageSize, RamHeader, flag};

/// Why a channel cannot be followed any further.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChannelError {
    /// What should be a packet is something else.
    #[error("a packet begins with {0:#010x}, not with 0x11223344")]
    Magic(u32),
    /// The header has another length than the destination reads.
    #[error("the header has room for {got} pages, and a packet of this target for {expected}")]
    PagesAlloc {
        /// 512 KiB in pages.
        expected: u32,
        /// What the header says.
        got: u32,
    },
    /// More pages than the header has room for.
    #[error("{normal} normal and {zero} zero pages in a packet that has room for {room}")]
    PageCount {
        /// Pages whose content follows.
        normal: u32,
        /// Pages that are zero.
        zero: u32,
        /// Room.
        room: u32,
    },
}

/// What comes next in a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChannelEvent<'a> {
    /// The first packet.
    Init(Init),
    /// The header of a RAM packet; its data follows.
    Ram(RamHeader<'a>),
    /// The header of a device-state packet; a [`ChannelEvent::Buffer`] follows if there is room for it.
    Device(DevicePacket<'a>),
    /// What VFIO put before the data.
    Buffer(Buffer),
    /// Data, or a piece of it.
    Data(&'a [u8]),
    /// The rest of the channel cannot be followed.
    Error(ChannelError),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Init,
    Header,
    /// The payload of a device-state packet begins; so many bytes.
    Device(u64),
    Data(u64),
    Over,
}

/// Follows one channel.
#[derive(Clone, Debug)]
pub struct ChannelDecoder {
    page: PageSize,
    state: State,
    kept: Intake,
    /// How much was taken, and where the current item begins.
    taken: u64,
    begin: u64,
}

impl ChannelDecoder {
    /// A channel of a target with such pages, from its first byte on.
    #[must_use]
    pub fn new(page: PageSize) -> Self {
        ChannelDecoder { page, state: State::Init, kept: Intake::default(), taken: 0, begin: 0 }
    }

    /// How many bytes it has taken.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether the channel may end here: between two packets.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        matches!(self.state, State::Header | State::Data(0)) && self.kept.len() == 0
    }

    /// Whether the channel cannot be followed any further.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Takes bytes: how many, and what they came to. Without an event, all of them.
    pub fn next<'a>(&'a mut self, input: &'a [u8]) -> (usize, Option<At<ChannelEvent<'a>>>) {
        if let State::Data(0) = self.state {
            self.state = State::Header;
        }
        let item = match self.state {
            State::Over => return self.all(input),
            State::Data(left) => {
                let count = clamp(left).min(input.len());
                let data = input.get(..count).unwrap_or_default();
                self.state = State::Data(left.saturating_sub(length(data)));
                self.begin = self.taken;
                self.taken = self.taken.saturating_add(length(data));
                let event = At { at: self.begin, event: ChannelEvent::Data(data) };
                return (count, (count > 0).then_some(event));
            }
            State::Init => self.kept.take(Init::LEN, input),
            State::Device(_) => self.kept.take(Buffer::LEN, input),
            State::Header => match self.kept.peek::<12>(input) {
                None => self.kept.take(12, input),
                Some(head) => match self.header(head) {
                    Ok(need) => self.kept.take(need, input),
                    Err(error) => {
                        let at = self.start();
                        self.state = State::Over;
                        self.taken = self.taken.saturating_add(length(input));
                        let event = ChannelEvent::Error(error);
                        return (input.len(), Some(At { at, event }));
                    }
                },
            },
        };
        let used = match item {
            Item::Partial => return self.all(input),
            Item::Input(used) | Item::Kept(used) => used,
        };
        self.taken = self.taken.saturating_add(u64::try_from(used).unwrap_or(0));
        let bytes = self.kept.bytes(item, input);
        self.begin = self.taken.saturating_sub(length(bytes));
        let at = self.begin;
        let event = match self.state {
            State::Init => {
                self.state = State::Header;
                let init = bytes.first_chunk().map(Init::decode);
                init.map(ChannelEvent::Init)
            }
            State::Device(size) => {
                self.state = State::Data(size.saturating_sub(length(bytes)));
                bytes.first_chunk().map(|bytes| ChannelEvent::Buffer(Buffer::decode(bytes)))
            }
            _ if bytes.len() == DevicePacket::LEN => {
                let packet = DevicePacket::decode(bytes);
                let size = u64::from(packet.size);
                let whole = clamp(size) >= Buffer::LEN;
                self.state = if whole { State::Device(size) } else { State::Data(size) };
                Some(ChannelEvent::Device(packet))
            }
            _ => {
                let header = RamHeader::decode(bytes);
                let room = self.page.per_packet();
                let alloc = header.pages_alloc;
                let error = match header.normal.checked_add(header.zero) {
                    // Since 9.1, a SYNC packet says nothing of pages.
                    Some(0) if alloc == 0 => None,
                    _ if alloc != room => {
                        Some(ChannelError::PagesAlloc { expected: room, got: alloc })
                    }
                    Some(pages) if pages <= room => None,
                    _ => {
                        let RamHeader { normal, zero, .. } = header;
                        Some(ChannelError::PageCount { normal, zero, room })
                    }
                };
                self.state = match error {
                    Some(_) => State::Over,
                    None => State::Data(header.payload(self.page)),
                };
                Some(error.map_or(ChannelEvent::Ram(header), ChannelEvent::Error))
            }
        };
        (used, event.map(|event| At { at, event }))
    }

    /// Takes all of the input.
    fn all(&mut self, input: &[u8]) -> (usize, Option<At<ChannelEvent<'static>>>) {
        self.taken = self.taken.saturating_add(length(input));
        (input.len(), None)
    }

    /// Where the item begins of which some bytes may be kept.
    fn start(&self) -> u64 {
        self.taken.saturating_sub(u64::try_from(self.kept.len()).unwrap_or(0))
    }

    /// How long the header is that begins like this.
    fn header(&self, head: [u8; 12]) -> Result<usize, ChannelError> {
        let mut from = Fields(&head);
        let (magic, _version, flags) = (from.u32(), from.u32(), from.u32());
        match flags & flag::DEVICE_STATE {
            _ if magic != MAGIC => Err(ChannelError::Magic(magic)),
            0 => Ok(self.page.header()),
            _ => Ok(DevicePacket::LEN),
        }
    }
}
