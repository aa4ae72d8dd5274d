//! The encoding of a migration with multifd: bytes to meaning and back.
//!
//! ```text
//!   channel:  Init (64 bytes), then packets
//!               RAM:    header (320 + 8 x pages), then whole pages or one compressed blob
//!               device: header (276), then version, index, flags (12), then data
//!   main:     QEVM, configuration, sections (RAM: items up to EOS), EOF, VMDESC
//!   return:   type, length, data
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `init.rs`, `ram.rs`, `device.rs` | the packets of a channel |
//! | `channel.rs` | the stream of one channel |
//! | `main_stream.rs`, `section.rs` | the main stream: its state machine, what it reports |
//! | `vmdesc.rs` | how long each section is, by the description at the end |
//! | `xbzrle.rs` | pages of the main stream that are sent as differences |
//! | `main_writer.rs` | the main stream, written |
//! | `return_path.rs` | the messages of the destination |
//! | `intake.rs`, `name.rs` | what the decoders share |
//!
//! A decoder is given the bytes that are there and returns how many it took, and at most one event. Data (pages,
//! device state) is passed on as slices of what was given, and never copied.
//!
//! **Invariants.** Every function is pure and total: no input panics. A decoder holds at most one header,
//! whatever a header says. However the bytes are cut into pieces, the events are the same, except that data
//! comes in other pieces. Numbers are big-endian.
//!
//! **Not here:** any judgement of a value with which the stream can still be followed.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod channel;
mod device;
mod init;
mod intake;
mod main_stream;
mod main_writer;
mod name;
mod ram;
mod return_path;
mod section;
mod vmdesc;
mod xbzrle;

pub use channel::{ChannelDecoder, ChannelError, ChannelEvent};
pub use device::{Buffer, DevicePacket};
pub use init::Init;
pub use main_stream::MainDecoder;
pub use main_writer::MainWriter;
pub use name::Name;
pub use ram::{PageSize, RamHeader, RamPacket};
pub use return_path::{ReturnDecoder, ReturnError, ReturnEvent, ReturnMessage};
pub use section::{MainError, MainEvent, PageForm, command, ram_flag, vfio_tag};
pub use vmdesc::{SectionSize, section_sizes};
pub use xbzrle::{XbzrleDecoder, XbzrleError};

/// The first four bytes of a channel, and of each of its packets.
pub const MAGIC: u32 = 0x1122_3344;
/// The version of the channels' packets.
pub const VERSION: u32 = 1;
/// The first four bytes of the main stream: `QEVM`.
pub const MAIN_MAGIC: u32 = 0x5145_564d;
/// The version of the main stream.
pub const MAIN_VERSION: u32 = 3;

/// The flags of a packet.
pub mod flag {
    /// The channel has sent all of this epoch.
    pub const SYNC: u32 = 0x1;
    /// How the pages are compressed; none of these bits: not at all.
    pub const COMPRESSION: u32 = 0x3e;
    /// The packet has the state of a device.
    pub const DEVICE_STATE: u32 = 0x40;
    /// Every bit that has a meaning.
    pub const KNOWN: u32 = SYNC | COMPRESSION | DEVICE_STATE;
    /// The pages are compressed with zlib.
    pub const ZLIB: u32 = 0x2;
    /// The pages are compressed with zstd.
    pub const ZSTD: u32 = 0x4;
    /// The methods of compression: their bit, and their name.
    pub const METHODS: [(u32, &str); 5] =
        [(ZLIB, "zlib"), (ZSTD, "zstd"), (8, "qpl"), (0x10, "uadk"), (0x20, "qatzip")];
}

/// Something in a stream, and where it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct At<E> {
    /// The offset of its first byte in the stream.
    pub at: u64,
    /// What it is.
    pub event: E,
}
