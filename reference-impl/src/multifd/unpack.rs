//! Compressed pages, unpacked: by the destination here, and by the judge of recordings.
//!
//! All packets of a channel are one compressed stream, which is flushed at the end of each packet.
//!
//! **Invariant.** A packet is never unpacked to more than its pages.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::io;

use devmig_model::protocol::multifd::wire::flag;
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder, InBuffer, Operation as _, OutBuffer};

/// How much is unpacked at once.
const PIECE: usize = 64 << 10;

/// The compressed stream of one channel.
enum Stream {
    Zlib(Decompress),
    Zstd(Decoder<'static>),
}

impl Stream {
    /// That of a method of compression, by its flag.
    fn new(method: u32) -> Option<Self> {
        match method {
            flag::ZLIB => Some(Stream::Zlib(Decompress::new(true))),
            flag::ZSTD => Decoder::new().ok().map(Stream::Zstd),
            _ => None,
        }
    }

    /// Unpacks: how much was taken, and how much came out.
    fn run(&mut self, input: &[u8], output: &mut [u8]) -> io::Result<(usize, usize)> {
        match self {
            Stream::Zlib(stream) => {
                let before = (stream.total_in(), stream.total_out());
                match stream.decompress(input, output, FlushDecompress::Sync) {
                    Ok(Status::Ok | Status::BufError | Status::StreamEnd) => {}
                    Err(error) => return Err(error.into()),
                }
                let after = (
                    stream.total_in().saturating_sub(before.0),
                    stream.total_out().saturating_sub(before.1),
                );
                Ok((usize::try_from(after.0).unwrap_or(0), usize::try_from(after.1).unwrap_or(0)))
            }
            Stream::Zstd(stream) => {
                let mut input = InBuffer::around(input);
                let mut output = OutBuffer::around(output);
                stream.run(&mut input, &mut output)?;
                Ok((input.pos(), output.pos()))
            }
        }
    }
}

/// What is unpacked of one channel.
#[derive(Default)]
pub struct Unpacking {
    stream: Option<(u32, Stream)>,
    /// Bytes of the current packet that have not come.
    packed: u64,
    /// Bytes of its pages that have not come out.
    pages: u64,
    /// The stream was broken: nothing is unpacked any more.
    failed: bool,
    piece: Vec<u8>,
}

impl Unpacking {
    /// A packet of so many bytes, with pages of so many. Whether it can be unpacked.
    pub fn begin(&mut self, method: u32, packed: u64, pages: u64) -> bool {
        (self.packed, self.pages) = (0, 0);
        if self.stream.as_ref().is_none_or(|(of, _)| *of != method) {
            self.stream = Stream::new(method).map(|stream| (method, stream));
        }
        let can = self.stream.is_some() && !self.failed;
        if can {
            (self.packed, self.pages) = (packed, pages);
        }
        can
    }

    /// No compressed packet.
    pub fn none(&mut self) {
        (self.packed, self.pages) = (0, 0);
    }

    /// Begins a new compressed stream, whatever is left of the one before.
    pub(super) fn restart(&mut self) {
        self.stream = None;
    }

    /// Whether the data that comes is compressed.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.packed > 0
    }

    /// Unpacks data of a packet.
    ///
    /// # Errors
    /// If it is not compressed, or is not as many pages as the packet has.
    pub fn push(&mut self, mut data: &[u8], f: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        let result = self.unpack(&mut data, f);
        self.failed |= result.is_err();
        if self.failed {
            self.packed = 0;
        }
        result
    }

    fn unpack(&mut self, data: &mut &[u8], f: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        let Some((_, stream)) = &mut self.stream else { return Ok(()) };
        self.piece.resize(PIECE, 0);
        self.packed = self.packed.saturating_sub(data.len() as u64);
        loop {
            // One byte more than there may be, so that it is noticed.
            let room = usize::try_from(self.pages).unwrap_or(PIECE).saturating_add(1).min(PIECE);
            let piece = self.piece.get_mut(..room).unwrap_or_default();
            let (taken, came) = stream.run(data, piece).map_err(|error| error.to_string())?;
            *data = data.get(taken..).unwrap_or_default();
            let out = piece.get(..came).unwrap_or_default();
            match self.pages.checked_sub(came as u64) {
                Some(left) => self.pages = left,
                None => return Err("it has more bytes than its pages".to_owned()),
            }
            f(out);
            if taken == 0 && came == 0 {
                break;
            }
        }
        match (self.packed, self.pages) {
            (0, 1..) => Err(format!("{} bytes of its pages are missing", self.pages)),
            _ if !data.is_empty() => Err("bytes follow its pages".to_owned()),
            _ => Ok(()),
        }
    }
}
