//! How the pages of a packet are compressed.
//!
//! All packets of a channel are one compressed stream, which is flushed at the end of each packet.

use std::io;

use devmig_model::protocol::multifd::wire::flag;
use flate2::{Compress, Compression as Level, FlushCompress};
use zstd::stream::raw::{Encoder, InBuffer, Operation as _, OutBuffer};

/// How much comes out at once.
const PIECE: usize = 64 << 10;

/// How the pages of packets are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// With zlib.
    Zlib,
    /// With zstd.
    Zstd,
}

impl Compression {
    /// The flag of its packets.
    pub(super) fn flag(self) -> u32 {
        match self {
            Compression::None => 0,
            Compression::Zlib => flag::ZLIB,
            Compression::Zstd => flag::ZSTD,
        }
    }
}

/// The compressed stream of one channel.
enum Stream {
    Zlib(Compress),
    Zstd(Encoder<'static>),
}

impl Stream {
    fn new(compression: Compression) -> io::Result<Option<Self>> {
        Ok(match compression {
            Compression::None => None,
            // The level that QEMU takes.
            Compression::Zlib => Some(Stream::Zlib(Compress::new(Level::new(1), true))),
            Compression::Zstd => Some(Stream::Zstd(Encoder::new(1)?)),
        })
    }

    /// Compresses all of this, and flushes it, unless it is not to be.
    fn pack(&mut self, mut data: &[u8], flush: bool, out: &mut Vec<u8>) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            let (taken, came, done) = self.run(data, flush, &mut piece)?;
            data = data.get(taken..).unwrap_or_default();
            out.extend_from_slice(piece.get(..came).unwrap_or_default());
            if data.is_empty() && done {
                return Ok(());
            }
        }
    }

    /// One call: how much it took, how much came out, and whether nothing is left to come.
    fn run(
        &mut self,
        data: &[u8],
        flush: bool,
        out: &mut [u8],
    ) -> io::Result<(usize, usize, bool)> {
        match self {
            Stream::Zlib(stream) => {
                let before = (stream.total_in(), stream.total_out());
                let how = if flush { FlushCompress::Sync } else { FlushCompress::None };
                stream.compress(data, out, how)?;
                let size = |after: u64, before| usize::try_from(after - before).unwrap_or(0);
                let taken = size(stream.total_in(), before.0);
                let came = size(stream.total_out(), before.1);
                // A call that fills its output may have more.
                Ok((taken, came, came < out.len()))
            }
            Stream::Zstd(stream) => {
                let room = out.len();
                let mut output = OutBuffer::around(out);
                if !data.is_empty() {
                    let mut input = InBuffer::around(data);
                    stream.run(&mut input, &mut output)?;
                    let taken = input.pos();
                    let done = !flush && output.pos() < room;
                    return Ok((taken, output.pos(), done));
                }
                let left = if flush { stream.flush(&mut output)? } else { 0 };
                Ok((0, output.pos(), left == 0))
            }
        }
    }
}

/// Compresses the packets of one channel.
pub(super) struct Packer {
    compression: Compression,
    stream: Option<Stream>,
}

impl Packer {
    /// For a channel that has sent nothing.
    pub(super) fn new(compression: Compression) -> io::Result<Self> {
        Ok(Packer { compression, stream: Stream::new(compression)? })
    }

    /// Whether packets are compressed.
    pub(super) fn is_on(&self) -> bool {
        self.stream.is_some()
    }

    /// Begins a new compressed stream.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.stream = Stream::new(self.compression)?;
        Ok(())
    }

    /// Compresses the pages of a packet.
    pub(super) fn pack(&mut self, pages: &[u8], flush: bool, out: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.stream {
            Some(stream) => stream.pack(pages, flush, out),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::multifd::unpack::Unpacking;

    /// Pages that compress badly, well, and not at all.
    fn packets() -> Vec<Vec<u8>> {
        let noise = (0..300_000_u32).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect();
        vec![vec![7; 4096], noise, (0..8192_u32).map(|n| (n / 100) as u8).collect(), vec![0; 4096]]
    }

    #[test]
    fn what_is_packed_is_unpacked_packet_by_packet() {
        for compression in [Compression::Zlib, Compression::Zstd] {
            let mut packer = Packer::new(compression).unwrap();
            let mut unpacking = Unpacking::default();
            for packet in packets() {
                let mut packed = Vec::new();
                packer.pack(&packet, true, &mut packed).unwrap();
                let mut came = Vec::new();
                let lengths = (packed.len() as u64, packet.len() as u64);
                assert!(unpacking.begin(compression.flag(), lengths.0, lengths.1));
                for piece in packed.chunks(1000) {
                    unpacking.push(piece, &mut |bytes| came.extend_from_slice(bytes)).unwrap();
                }
                assert!(came == packet, "{compression:?}: {} bytes", came.len());
            }
        }
    }
}
