//! A recorded migration in pieces: the packets of each channel and the items of the main stream, to be changed one
//! at a time.
//!
//! ```text
//!   connections --decoders--> pieces, each with what it is --a fault--> pieces --> connections
//! ```
//!
//! **Invariant.** The pieces, one after the other, are the bytes that were recorded.

use std::io;
use std::ops::Range;

use devmig_model::protocol::multifd::wire::{
    At, ChannelDecoder, ChannelEvent, MainDecoder, MainEvent, PageSize, SectionSize,
};

use super::recording::{Connection, Recording};
use super::stream::{Read, Stream};
use super::survey::survey;

/// The longest migration that is taken apart.
pub const LONGEST: u64 = 1 << 30;

/// What a piece of a channel is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The initial packet.
    Init,
    /// A SYNC packet without pages.
    Sync,
    /// Any other RAM packet.
    Ram,
    /// Data of a device.
    Data,
    /// The configuration of a device.
    Config,
    /// What cannot be followed.
    Other,
}

/// What a piece of the main stream is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    /// Everything that no fault is about.
    Other,
    /// The mark of an epoch.
    Flush,
    /// The end of a RAM section.
    EndOfSection,
    /// The beginning of a section in one piece.
    Full,
    /// The footer of a section.
    Footer,
}

/// A piece.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece<K> {
    /// What it is.
    pub kind: K,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A channel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Channel {
    /// Its packets.
    pub packets: Vec<Piece<Kind>>,
    /// Its connection has an end.
    pub ended: bool,
}

/// A migration in pieces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pieces {
    /// The main stream.
    pub main: Vec<Piece<Item>>,
    /// Its connection has an end.
    pub main_ended: bool,
    /// The migration has an end.
    pub complete: bool,
    /// The channels, in the order in which they were opened.
    pub channels: Vec<Channel>,
    /// The size of pages.
    pub page: PageSize,
    /// The blocks of RAM with their lengths.
    pub blocks: Vec<(Vec<u8>, u64)>,
}

impl Pieces {
    /// Takes a recording apart.
    ///
    /// # Errors
    /// If a file cannot be read, or the migration is longer than [`LONGEST`].
    pub fn of(recording: &Recording) -> io::Result<Self> {
        let Recording { main, channels, .. } = recording;
        let all = channels.iter().chain([main]);
        let total = all.fold(0_u64, |sum, of| sum.saturating_add(of.length));
        if total > LONGEST {
            let what = format!("a migration of {total} bytes; {LONGEST} can be taken apart");
            return Err(io::Error::other(what));
        }
        let survey = survey(main, channels.len(), &Read::default())?;
        let (pieces, blocks) = of_main(&bytes(main)?, survey.sizes);
        let channels = channels.iter().map(|channel| {
            let packets = of_channel(&bytes(channel)?, survey.page);
            Ok(Channel { packets, ended: channel.sent.ended })
        });
        Ok(Pieces {
            main: pieces,
            main_ended: main.sent.ended,
            complete: survey.whole,
            channels: channels.collect::<io::Result<_>>()?,
            page: survey.page,
            blocks,
        })
    }

    /// The bytes of each connection, the main one first, and whether it has an end.
    #[must_use]
    pub fn connections(&self) -> Vec<(Vec<u8>, bool)> {
        let main = self.main.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
        let channel = |channel: &Channel| {
            let bytes = channel.packets.iter().flat_map(|piece| piece.bytes.iter().copied());
            (bytes.collect(), channel.ended)
        };
        [(main, self.main_ended)].into_iter().chain(self.channels.iter().map(channel)).collect()
    }
}

/// All that was sent on a connection.
fn bytes(of: &Connection) -> io::Result<Vec<u8>> {
    super::rewind(&of.file)?;
    let mut stream = Stream::new(of.file.try_clone()?, &Read::default());
    let mut all = Vec::new();
    loop {
        let piece = stream.fill()?;
        if piece.is_empty() {
            return Ok(all);
        }
        let count = piece.len();
        all.extend_from_slice(piece);
        stream.take(count);
    }
}

/// Cuts bytes where pieces begin.
fn cut<K: Copy>(bytes: &[u8], begins: &[(u64, K)], before: K) -> Vec<Piece<K>> {
    let mut pieces = Vec::new();
    let mut add = |kind, range: Range<usize>| {
        if let Some(bytes) = bytes.get(range).filter(|bytes| !bytes.is_empty()) {
            pieces.push(Piece { kind, bytes: bytes.to_vec() });
        }
    };
    let (mut kind, mut from) = (before, 0);
    for (at, next) in begins {
        let at = usize::try_from(*at).unwrap_or(bytes.len());
        add(kind, from..at);
        (kind, from) = (*next, at);
    }
    add(kind, from..bytes.len());
    pieces
}

fn of_channel(bytes: &[u8], page: PageSize) -> Vec<Piece<Kind>> {
    let mut decoder = ChannelDecoder::new(page);
    let mut begins: Vec<(u64, Kind)> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (used, event) = decoder.next(rest);
        if let Some(At { at, event }) = event {
            match event {
                ChannelEvent::Init(_) => begins.push((at, Kind::Init)),
                ChannelEvent::Ram(header) => {
                    let empty = header.normal == 0 && header.zero == 0;
                    let kind = if header.is_sync() && empty { Kind::Sync } else { Kind::Ram };
                    begins.push((at, kind));
                }
                ChannelEvent::Device(_) => begins.push((at, Kind::Data)),
                ChannelEvent::Buffer(buffer) => {
                    if let Some((_, kind)) = begins.last_mut().filter(|_| buffer.is_config()) {
                        *kind = Kind::Config;
                    }
                }
                ChannelEvent::Data(_) => {}
                ChannelEvent::Error(_) => begins.push((at, Kind::Other)),
            }
        }
        rest = rest.get(used..).unwrap_or_default();
    }
    cut(bytes, &begins, Kind::Other)
}

type Blocks = Vec<(Vec<u8>, u64)>;

fn of_main(bytes: &[u8], sizes: Vec<SectionSize>) -> (Vec<Piece<Item>>, Blocks) {
    let mut decoder = MainDecoder::with_sizes(sizes);
    let (mut begins, mut blocks) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (used, event) = decoder.next(rest);
        if let Some(At { at, event }) = event {
            let item = match event {
                MainEvent::Flush => Some(Item::Flush),
                MainEvent::EndOfSection => Some(Item::EndOfSection),
                MainEvent::Footer(_) => Some(Item::Footer),
                MainEvent::Section { full: true, .. } => Some(Item::Full),
                MainEvent::Block { name, length } => {
                    blocks.push((name.as_bytes().to_vec(), length));
                    None
                }
                MainEvent::Data(_) => None,
                _ => Some(Item::Other),
            };
            begins.extend(item.map(|item| (at, item)));
        }
        rest = rest.get(used..).unwrap_or_default();
    }
    (cut(bytes, &begins, Item::Other), blocks)
}
