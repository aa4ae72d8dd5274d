//! The two ends of a multifd migration as their threads, to be explored.
//!
//! ```text
//!   guest --writes--> source: main thread --jobs--> a thread a channel ==channel c==> destination
//!                             main thread =========================main===========>   destination
//! ```
//!
//! The main thread of the source follows a program. It looks for dirty pages and hands each to a channel that
//! is idle; the channel's thread reads the page from memory when it writes the packet. A channel is a socket
//! with room for two packets. Rules are those by which recordings are judged too ([`super::machine`]);
//! [`judged`] asks them in the order in which a destination acts on what the source has written.
//!
//! | file | holds |
//! |---|---|
//! | `event.rs` | packets with the numbers of pages, their contents and epochs |
//! | `judged.rs` | the rules of a recording, asked while packets are written |
//! | `source.rs`, `destination.rs` | both ends; how versions differ is a switch of theirs |
//! | `source/words.rs` | the steps and the switches of a source, as a system names them |
//! | `guest.rs` | the vCPUs, which write pages |
//!
//! **Not here.** Bytes, blocks, compression, time, how connections are made. A packet has one page.

pub mod destination;
pub mod event;
pub mod guest;
pub mod judged;
pub mod source;

/// The most channels of a system.
pub const CHANNELS: usize = 3;
/// The most pages.
pub const PAGES: usize = 2;
/// The most buffers of the device.
pub const BUFFERS: usize = 8;
/// How many packets wait in a socket.
pub const ROOM: usize = 2;
/// Queues: the main stream, then the channels.
pub const QUEUES: usize = CHANNELS + 1;
