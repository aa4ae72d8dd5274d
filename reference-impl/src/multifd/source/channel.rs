//! The thread of one channel: it fills a packet and writes it, job by job.

use std::io::Write as _;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use devmig_model::protocol::multifd::wire::{
    Buffer, DevicePacket, Init, MAGIC, PageSize, RamPacket, flag,
};

use crate::multifd::compression::{Compression, Packer};
use crate::multifd::hand_over::Crew;
use crate::multifd::image::PAGE;
use crate::multifd::{Error, Image, Mutant, Options, Stream, ZeroPages};

/// What a channel is given to send.
#[derive(Clone, Debug)]
pub(super) enum Job {
    /// These pages, at most as many as a packet has room for.
    Ram {
        /// By their numbers.
        pages: Vec<usize>,
        /// The packet is a SYNC packet too: that is a fault.
        sync: bool,
    },
    /// The end of an epoch.
    Sync,
    /// A buffer with the state of a device.
    Device {
        /// The name of the device's section.
        name: Arc<str>,
        /// The instance of its section.
        instance: u32,
        /// What stands before the data.
        buffer: Buffer,
        /// The data.
        data: Vec<u8>,
    },
}

/// One channel.
pub(super) struct Channel<'a> {
    pub(super) id: usize,
    pub(super) stream: Stream,
    pub(super) crew: &'a Crew<Job>,
    pub(super) image: &'a Image,
    pub(super) numbers: &'a AtomicU64,
    pub(super) options: &'a Options,
    pub(super) packer: Packer,
    /// The pages of a packet, and what they are compressed to.
    pub(super) scratch: (Vec<u8>, Vec<u8>),
}

/// Where fields of a packet are.
const VERSION: usize = 4;
const FLAGS: usize = 8;

fn put(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(field) = bytes.get_mut(at..at + 4) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

impl Channel<'_> {
    fn has(&self, mutant: Mutant) -> bool {
        self.options.mutants.has(mutant)
    }

    fn is_last(&self) -> bool {
        self.id + 1 == usize::from(self.options.channels)
    }

    /// Sends what it is given, until there is no more.
    pub(super) fn work(&mut self) -> Result<(), Error> {
        let mut bytes = Vec::new();
        self.init(&mut bytes);
        self.stream.write_all(&bytes)?;
        while let Some(job) = self.crew.take(self.id) {
            bytes.clear();
            match job {
                Job::Ram { pages, sync } => self.ram(&pages, sync, &mut bytes)?,
                Job::Sync => {
                    let packet = RamPacket {
                        flags: flag::SYNC,
                        number: self.number(),
                        ..RamPacket::default()
                    };
                    packet.encode(PageSize::FOUR_KIB, &mut bytes);
                }
                Job::Device { name, instance, buffer, data } => {
                    self.device(&name, instance, buffer, &data, &mut bytes);
                }
            }
            self.stream.write_all(&bytes)?;
            self.crew.done(self.id);
        }
        if self.is_last() && self.has(Mutant::EndsInside) {
            self.stream.write_all(&MAGIC.to_be_bytes())?;
        }
        self.stream.end(Shutdown::Write);
        Ok(())
    }

    fn init(&self, bytes: &mut Vec<u8>) {
        let mut init = Init::new(self.options.uuid, u8::try_from(self.id).unwrap_or(u8::MAX));
        if self.has(Mutant::IdTwice) {
            init.id = 0;
        }
        if self.is_last() {
            match () {
                () if self.has(Mutant::InitMagic) => init.magic += 1,
                () if self.has(Mutant::InitVersion) => init.version = 2,
                () if self.has(Mutant::OtherUuid) => init.uuid[0] ^= 0xff,
                () if self.has(Mutant::IdTooLarge) => init.id = self.options.channels,
                () => {}
            }
        }
        init.encode(bytes);
    }

    /// The number of the next packet.
    fn number(&self) -> u64 {
        match () {
            () if self.has(Mutant::NumberRepeats) => 0,
            () if self.has(Mutant::NumberSkips) => self.numbers.fetch_add(2, Ordering::Relaxed),
            () => self.numbers.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn ram(&mut self, pages: &[usize], sync: bool, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let looks = self.options.zero == ZeroPages::Channels;
        let is_zero = |page: &usize| looks && self.image.is_zero(*page);
        let (mut zero, mut normal): (Vec<usize>, Vec<usize>) =
            pages.iter().copied().partition(is_zero);
        if self.has(Mutant::ClaimsZero) {
            zero.extend(normal.pop());
        }
        let offsets = |pages: &[usize]| pages.iter().map(|page| (page * PAGE) as u64).collect();
        let (mut offset_of_normal, offset_of_zero): (Vec<u64>, Vec<u64>) =
            (offsets(&normal), offsets(&zero));
        if let (Some(first), true) = (offset_of_normal.first_mut(), self.has(Mutant::OffsetBeyond))
        {
            *first = (self.image.pages() * PAGE) as u64;
        }
        let beyond = usize::from(self.has(Mutant::WrongSize));
        let packed = self.packer.is_on() && !normal.is_empty();
        let size = match packed {
            true => self.pack(&normal)?,
            false => (normal.len() + beyond) * PAGE,
        };
        let number = self.number();
        let packet = RamPacket {
            flags: if sync { flag::SYNC } else { 0 } | if packed { self.method(number) } else { 0 },
            size: u32::try_from(size).unwrap_or(u32::MAX),
            number,
            block: if self.has(Mutant::OtherBlock) {
                b"other"
            } else {
                self.image.name().as_bytes()
            },
            normal: &offset_of_normal,
            zero: &offset_of_zero,
        };
        packet.encode(PageSize::FOUR_KIB, bytes);
        match () {
            () if self.has(Mutant::PacketMagic) => put(bytes, 0, 0),
            () if self.has(Mutant::PacketVersion) => put(bytes, VERSION, 2),
            () if self.has(Mutant::UnknownFlag) => put(bytes, FLAGS, packet.flags | 0x80),
            () => {}
        }
        // A page may change from here to there: then it is marked, and sent again.
        match packed {
            true => bytes.extend_from_slice(&self.scratch.1),
            false => normal.iter().for_each(|page| self.image.read(*page, bytes)),
        }
        Ok(())
    }

    /// The flag of a compressed packet.
    fn method(&self, number: u64) -> u32 {
        let other = self.has(Mutant::OtherMethod) && number.is_multiple_of(2);
        match (self.options.compression, other) {
            (Compression::Zlib, true) => Compression::Zstd.flag(),
            (Compression::Zstd, true) => Compression::Zlib.flag(),
            (compression, _) => compression.flag(),
        }
    }

    /// Compresses pages, as they are now: to how many bytes.
    fn pack(&mut self, pages: &[usize]) -> Result<usize, Error> {
        let short = usize::from(self.has(Mutant::PackedShort));
        let (restarts, plain) = (self.has(Mutant::PackedAnew), self.has(Mutant::PackedPlain));
        let flush = !self.has(Mutant::PackedUnflushed);
        let (raw, packed) = &mut self.scratch;
        raw.clear();
        packed.clear();
        let pages = pages.get(..pages.len().saturating_sub(short)).unwrap_or_default();
        pages.iter().for_each(|page| self.image.read(*page, raw));
        if restarts {
            self.packer.restart()?;
        }
        match plain {
            true => packed.extend_from_slice(raw),
            false => self.packer.pack(raw, flush, packed)?,
        }
        Ok(packed.len())
    }

    fn device(&self, name: &str, instance: u32, buffer: Buffer, data: &[u8], bytes: &mut Vec<u8>) {
        let data = if self.has(Mutant::DeviceShort) { &[] } else { data };
        let length = match self.has(Mutant::DeviceShort) {
            true => 8,
            false => Buffer::LEN + data.len(),
        };
        let size = u32::try_from(length).unwrap_or(u32::MAX);
        DevicePacket::new(name.as_bytes(), instance, size).encode(bytes);
        if self.has(Mutant::DeviceSync) {
            put(bytes, FLAGS, flag::DEVICE_STATE | flag::SYNC);
        }
        let begin = bytes.len();
        let version = u32::from(self.has(Mutant::DeviceVersion));
        let flags = buffer.flags | if self.has(Mutant::DeviceFlags) { 2 } else { 0 };
        Buffer { version, flags, ..buffer }.encode(bytes);
        bytes.truncate(begin + length.min(Buffer::LEN));
        bytes.extend(data);
    }
}
