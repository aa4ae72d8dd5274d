//! The thread of one channel: it follows the packets, loads pages, and waits after a SYNC.

use std::io::Read as _;
use std::net::Shutdown;

use devmig_model::protocol::multifd::wire::{
    Buffer, ChannelDecoder, ChannelEvent, DevicePacket, PageSize, RamHeader,
};

use super::Shared;
use super::device::Device;
use crate::multifd::image::PAGE;
use crate::multifd::unpack::Unpacking;
use crate::multifd::{Error, Mutant, Stream};

/// How much is read at once.
const PIECE: usize = 256 << 10;

/// What the data that follows belongs to.
enum Data<'s, 'd> {
    /// Nothing.
    None,
    /// These pages, and how many bytes of them were there.
    Pages(usize),
    /// The same, compressed: how many bytes of the data are still to come, and where the pages begin.
    Packed(u64, usize),
    /// A device's buffer: what there is, and how long it is.
    Device(&'s Device<'d>, Buffer, Vec<u8>, usize),
}

/// One channel.
pub(super) struct Channel<'s, 'd> {
    id: usize,
    stream: Stream,
    shared: &'s Shared<'d>,
    /// The pages of the current packet.
    pages: Vec<usize>,
    /// A page that came in pieces.
    part: Vec<u8>,
    data: Data<'s, 'd>,
    sync: bool,
    method: Option<u32>,
    unpacking: Unpacking,
    /// The packet's device, and the length of its buffer.
    device: Option<(&'s Device<'d>, usize)>,
}

impl<'s, 'd> Channel<'s, 'd> {
    pub(super) fn new(id: usize, stream: Stream, shared: &'s Shared<'d>) -> Self {
        Channel {
            id,
            stream,
            shared,
            pages: Vec::new(),
            part: Vec::with_capacity(PAGE),
            data: Data::None,
            sync: false,
            method: None,
            unpacking: Unpacking::default(),
            device: None,
        }
    }

    /// Reads to the end; `init` is what was read before.
    pub(super) fn work(&mut self, init: &[u8]) -> Result<(), Error> {
        let mut decoder = ChannelDecoder::new(PageSize::FOUR_KIB);
        self.follow(&mut decoder, init)?;
        let mut bytes = vec![0; PIECE];
        loop {
            let count = self.stream.read(&mut bytes)?;
            if count == 0 {
                break;
            }
            self.follow(&mut decoder, bytes.get(..count).unwrap_or_default())?;
        }
        self.shared.barrier.leave(self.id);
        self.stream.end(Shutdown::Both);
        let inside = self.shared.laws.machine.packet_boundary;
        match decoder.at_boundary() {
            true => Ok(()),
            false => Err(self
                .shared
                .refused(inside, format!("channel {} ends inside a packet", self.id))),
        }
    }

    fn follow(&mut self, decoder: &mut ChannelDecoder, mut input: &[u8]) -> Result<(), Error> {
        while !input.is_empty() {
            let (used, event) = decoder.next(input);
            match event.map(|at| at.event) {
                Some(ChannelEvent::Ram(packet)) => self.ram(&packet)?,
                Some(ChannelEvent::Device(packet)) => self.device(&packet)?,
                Some(ChannelEvent::Buffer(buffer)) => self.buffer(buffer)?,
                Some(ChannelEvent::Data(data)) => self.data(data)?,
                Some(ChannelEvent::Error(error)) => {
                    let followed = self.shared.laws.form.followed;
                    return Err(self.shared.refused(followed, error.to_string()));
                }
                Some(ChannelEvent::Init(_)) | None => {}
            }
            input = input.get(used..).unwrap_or_default();
        }
        Ok(())
    }

    fn ram(&mut self, packet: &RamHeader<'_>) -> Result<(), Error> {
        let Shared { image, options, .. } = self.shared;
        let is_ours = packet.block() == image.name().as_bytes();
        let length = is_ours.then_some((image.pages() * PAGE) as u64);
        let faults = self.shared.form().ram(packet, Some(length), &mut self.method);
        self.shared.first(faults)?;
        let page = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX) / PAGE;
        if !options.mutants.has(Mutant::ZeroKept) {
            packet.zero_offsets().for_each(|offset| image.clear(page(offset)));
        }
        self.pages.clear();
        self.pages.extend(packet.normal_offsets().map(page));
        self.part.clear();
        self.sync = packet.is_sync();
        let payload = packet.payload(PageSize::FOUR_KIB);
        if packet.normal > 0 {
            self.agreed(packet)?;
        }
        if packet.normal == 0 || packet.compression() == 0 {
            self.data = Data::Pages(0);
            self.arrive_if(payload == 0);
            return Ok(());
        }
        if options.mutants.has(Mutant::UnpacksAnew) {
            self.unpacking.restart();
        }
        let pages = (self.pages.len() * PAGE) as u64;
        self.unpacking.begin(options.compression.flag(), payload, pages);
        self.data = Data::Packed(payload, 0);
        if payload == 0 { self.packed(&[]) } else { Ok(()) }
    }

    /// The packet is compressed as was agreed on.
    fn agreed(&self, packet: &RamHeader<'_>) -> Result<(), Error> {
        let (agreed, named) = (self.shared.options.compression.flag(), packet.compression());
        if agreed == named || self.shared.options.mutants.has(Mutant::AcceptsMethod) {
            return Ok(());
        }
        let what = format!("the packet's compression is {named:#x}, and {agreed:#x} was agreed on");
        Err(self.shared.refused(self.shared.laws.form.compression, what))
    }

    /// Data of a compressed packet.
    fn packed(&mut self, data: &[u8]) -> Result<(), Error> {
        let Data::Packed(left, begin) = self.data else { return Ok(()) };
        let left = left.saturating_sub(data.len() as u64);
        let mut unpacking = std::mem::take(&mut self.unpacking);
        let mut at = begin;
        let done = unpacking.push(data, &mut |bytes| {
            self.load(at, bytes);
            at += bytes.len();
        });
        self.unpacking = unpacking;
        self.data = Data::Packed(left, at);
        match done {
            Err(why) if !self.shared.options.mutants.has(Mutant::AcceptsShort) => {
                Err(self.shared.refused(self.shared.laws.form.unpacked, why))
            }
            _ => {
                self.arrive_if(left == 0);
                Ok(())
            }
        }
    }

    /// Waits for the mark, if all of a SYNC packet is there.
    fn arrive_if(&mut self, whole: bool) {
        if whole && self.sync {
            self.sync = false;
            self.shared.barrier.arrive(self.id);
        }
    }

    fn device(&mut self, packet: &DevicePacket<'_>) -> Result<(), Error> {
        let is_it = |device: &&Device<'_>| {
            device.name.as_bytes() == packet.name() && device.instance == packet.instance
        };
        let device = self.shared.devices.iter().find(is_it);
        let faults = self.shared.form().device(packet, device.is_some());
        self.shared.first(faults)?;
        let length = usize::try_from(packet.size).unwrap_or(usize::MAX);
        if length > self.shared.options.queued {
            return Err(self.shared.full(length));
        }
        self.device = device.map(|device| (device, length.saturating_sub(Buffer::LEN)));
        Ok(())
    }

    fn buffer(&mut self, buffer: Buffer) -> Result<(), Error> {
        self.shared.first(self.shared.form().buffer(&buffer))?;
        if let Some((device, length)) = self.device.take() {
            self.data = Data::Device(device, buffer, Vec::new(), length);
        }
        self.data(&[])
    }

    fn data(&mut self, data: &[u8]) -> Result<(), Error> {
        match &mut self.data {
            Data::None => {}
            Data::Packed(..) => return self.packed(data),
            Data::Pages(got) => {
                let begin = *got;
                *got += data.len();
                let whole = *got == self.pages.len() * PAGE;
                self.load(begin, data);
                self.arrive_if(whole);
            }
            Data::Device(device, buffer, all, length) => {
                all.extend_from_slice(data);
                if all.len() == *length {
                    let (device, buffer, all) = (*device, *buffer, std::mem::take(all));
                    self.data = Data::None;
                    let Shared { laws, options, .. } = self.shared;
                    let taken = device.take(buffer, all, &laws.machine, options);
                    return taken.map_err(|why| self.shared.not_taken(device.name, why));
                }
            }
        }
        Ok(())
    }

    /// Loads a piece of the pages of a packet, which begins at this byte of them. A page is loaded whole.
    fn load(&mut self, begin: usize, mut data: &[u8]) {
        let Shared { image, options, .. } = self.shared;
        let mut at = begin;
        while !data.is_empty() {
            let (page, from) = (at / PAGE, at % PAGE);
            let (piece, rest) = data.split_at(data.len().min(PAGE - from));
            let bytes = match piece.len() {
                PAGE => piece,
                _ => {
                    self.part.extend_from_slice(piece);
                    &self.part
                }
            };
            let lost = page + 1 == self.pages.len() && options.mutants.has(Mutant::LastPageLost);
            if let (Some(page), PAGE, false) = (self.pages.get(page), bytes.len(), lost) {
                image.load(*page, bytes);
            }
            at += piece.len();
            if at.is_multiple_of(PAGE) {
                self.part.clear();
            }
            data = rest;
        }
    }
}
