//! One channel: its packets, as events of the machine.

use std::io;

use devmig_model::protocol::multifd::event::{Buffer as BufferEvent, Event, Ram};
use devmig_model::protocol::multifd::form::Form;
use devmig_model::protocol::multifd::machine::MAX_DEVICES;
use devmig_model::protocol::multifd::wire::{
    At, Buffer, ChannelDecoder, ChannelEvent, DevicePacket, RamHeader,
};
use devmig_reference::multifd::unpack::Unpacking;

use super::{Device, Judge};
use crate::multifd::indices::Indices;
use crate::multifd::memory::Memory;
use crate::multifd::recording::Connection;
use crate::multifd::stream::{Read, Stream};
use crate::multifd::{count, rewind};

/// A channel that is read.
pub(super) struct Channel {
    pub(super) place: usize,
    pub(super) connection: Connection,
    stream: Stream,
    pub(super) decoder: ChannelDecoder,
    pub(super) id: Option<u8>,
    last: Option<u64>,
    pub(super) syncs: u64,
    pub(super) packets: u64,
    pub(super) device_packets: u64,
    /// The block of the current packet, the offsets of its pages, and how many bytes of them came.
    block: Vec<u8>,
    offsets: Vec<u64>,
    came: u64,
    unpacking: Unpacking,
    device: usize,
    pub(super) ended: bool,
}

impl Channel {
    pub(super) fn open(
        place: usize,
        connection: Connection,
        page: Form<'_>,
        read: &Read,
    ) -> io::Result<Self> {
        rewind(&connection.file)?;
        Ok(Channel {
            place,
            stream: Stream::new(connection.file.try_clone()?, read),
            connection,
            decoder: ChannelDecoder::new(page.page),
            id: None,
            last: None,
            syncs: 0,
            packets: 0,
            device_packets: 0,
            block: Vec::new(),
            offsets: Vec::new(),
            came: 0,
            unpacking: Unpacking::default(),
            device: 0,
            ended: false,
        })
    }

    /// Whether the recording lacks its end.
    pub(super) fn is_cut(&self) -> bool {
        let whole = self.decoder.at_boundary();
        self.ended && (!self.connection.sent.ended || !whole && self.connection.is_cut())
    }

    /// Reads to the next SYNC, or to the end.
    pub(super) fn run(&mut self, judge: &mut Judge<'_>) -> io::Result<()> {
        let mut sync = false;
        while !self.ended {
            let input = self.stream.fill()?;
            if input.is_empty() {
                self.ended = true;
                break;
            }
            let (used, event) = self.decoder.next(input);
            if let Some(At { at, event }) = event {
                let part = Part {
                    place: self.place,
                    conn: self.connection.number,
                    last: &mut self.last,
                    block: &mut self.block,
                    offsets: &mut self.offsets,
                    came: &mut self.came,
                    unpacking: &mut self.unpacking,
                    device: &mut self.device,
                };
                match event {
                    ChannelEvent::Init(init) => {
                        self.id = Some(init.id);
                        // A recording that ends in set-up may lack channels.
                        let set_up = judge.survey.complete || judge.survey.marks() > 0;
                        let channels = if set_up { judge.channels } else { usize::MAX };
                        let faults = judge.form.init(&init, channels, judge.uuid);
                        judge.uuid.get_or_insert(init.uuid);
                        judge.faults(part.conn, at, faults);
                        let again = !judge.ids.insert(init.id);
                        let event = Event::Init(part.channel(), again);
                        let what = format!("another channel has the id {}", init.id);
                        judge.event(event, part.conn, at, |_, _| what.clone());
                    }
                    ChannelEvent::Ram(header) => {
                        count(&mut self.packets, 1);
                        sync |= header.is_sync();
                        count(&mut self.syncs, u64::from(header.is_sync()));
                        judge.ram(part, at, &header);
                    }
                    ChannelEvent::Device(packet) => {
                        count(&mut self.device_packets, 1);
                        judge.device(part, at, &packet);
                    }
                    ChannelEvent::Buffer(buffer) => judge.buffer(part, at, buffer),
                    ChannelEvent::Data(data) => judge.data(part, at, data),
                    ChannelEvent::Error(error) => {
                        let fault = (judge.form.laws.followed, error.to_string());
                        judge.faults(part.conn, at, vec![fault]);
                        judge.lost = true;
                        self.ended = true;
                    }
                }
            }
            self.stream.take(used);
            if sync && self.decoder.at_boundary() {
                break;
            }
        }
        Ok(())
    }
}

/// What a channel knows of its current packet.
struct Part<'a> {
    place: usize,
    conn: u32,
    last: &'a mut Option<u64>,
    block: &'a mut Vec<u8>,
    offsets: &'a mut Vec<u64>,
    came: &'a mut u64,
    unpacking: &'a mut Unpacking,
    device: &'a mut usize,
}

impl Part<'_> {
    fn channel(&self) -> u8 {
        u8::try_from(self.place).unwrap_or(u8::MAX)
    }
}

impl Judge<'_> {
    fn ram(&mut self, part: Part<'_>, at: u64, header: &RamHeader<'_>) {
        count(&mut self.counted.packets, 1);
        let pages = u64::from(header.normal).saturating_add(u64::from(header.zero));
        count(&mut self.counted.pages, pages);
        count(&mut self.counted.zero, u64::from(header.zero));
        if pages > 0 && part.block.as_slice() != header.block() {
            part.block.clear();
            part.block.extend_from_slice(header.block());
        }
        let place = self.places.get(part.block).copied().filter(|_| pages > 0);
        let length = place.and_then(|place| self.blocks.get(place)).map(|(_, length)| *length);
        let faults = self.form.ram(header, self.listed.then_some(length), &mut self.method);
        self.faults(part.conn, at, faults);
        let page = u64::from(self.form.page.bytes());
        let mut again = None;
        if let Some(place) = place {
            for offset in header.normal_offsets().chain(header.zero_offsets()) {
                if self.pages.insert(place, self.form.page.number(offset)) {
                    count(&mut self.counted.duplicates, 1);
                    again.get_or_insert(offset);
                }
            }
        }
        part.offsets.clear();
        *part.came = 0;
        if !self.memory.is_empty() && pages > 0 {
            for offset in header.zero_offsets() {
                self.memory.fill(part.block, offset, page, 0);
            }
            part.offsets.extend(header.normal_offsets());
        }
        part.unpacking.none();
        if header.compression() != 0 && header.normal > 0 {
            let bytes = u64::from(header.normal).saturating_mul(page);
            let size = u64::from(header.size);
            let can = part.unpacking.begin(header.compression(), size, bytes);
            self.replayed &= can;
            // Nothing follows that could be judged.
            if can && size == 0 {
                let what = format!("the packet has {} pages, and no data", header.normal);
                self.faults(part.conn, at, vec![(self.form.laws.unpacked, what)]);
                self.replayed = false;
            }
        }
        let number = header.number;
        let late = part.last.filter(|last| number <= *last);
        *part.last = Some(number);
        self.numbers.take(number);
        let (pages, sync) = (pages > 0, header.is_sync());
        let ram = Ram { pages, again: again.is_some(), sync, late: late.is_some() };
        let (block, epoch) = (part.block.escape_ascii().to_string(), self.epoch());
        self.event(Event::Ram(part.channel(), ram), part.conn, at, |laws, clause| match () {
            () if clause == laws.page_once => {
                let offset = again.unwrap_or_default();
                format!("page {offset:#x} of \"{block}\" was sent before in epoch {epoch}")
            }
            () if clause == laws.number_increases => {
                let last = late.unwrap_or_default();
                format!("packet_num {number} after {last}")
            }
            () if clause == laws.marked => format!("SYNC packet {number} has no mark"),
            () if clause == laws.alone => format!("SYNC packet {number} has pages"),
            () if clause == laws.has_pages => format!("packet {number} has no pages"),
            () if clause == laws.setup_first => format!("packet {number} has pages in set-up"),
            () => format!("packet {number} has pages after the last SYNC"),
        });
    }

    fn device(&mut self, part: Part<'_>, at: u64, packet: &DevicePacket<'_>) {
        count(&mut self.counted.packets, 1);
        part.offsets.clear();
        let (name, instance) = (packet.name(), packet.instance);
        let known = self.survey.sections.contains(&(name.to_vec(), instance));
        let known = known || !self.survey.complete;
        let faults = self.form.device(packet, known);
        self.faults(part.conn, at, faults);
        let is = |device: &Device| device.instance == instance && device.name == name;
        *part.device = match self.devices.iter().position(is) {
            Some(place) => place,
            None if self.devices.len() < MAX_DEVICES => {
                self.devices.push(Device {
                    name: name.to_vec(),
                    instance,
                    indices: Indices::default(),
                    buffers: 0,
                    config: None,
                    data: None,
                });
                self.devices.len().saturating_sub(1)
            }
            None => {
                let what = format!("more than {MAX_DEVICES} devices: not all are judged");
                if !self.notes.contains(&what) {
                    self.notes.push(what);
                }
                MAX_DEVICES
            }
        };
    }

    fn buffer(&mut self, part: Part<'_>, at: u64, buffer: Buffer) {
        let faults = self.form.buffer(&buffer);
        self.faults(part.conn, at, faults);
        let Some(device) = self.devices.get_mut(*part.device) else { return };
        count(&mut device.buffers, 1);
        let (index, config) = (buffer.index, buffer.is_config());
        let name = device.name.escape_ascii().to_string();
        let again = index != u32::MAX && device.indices.insert(index);
        let (before, data) = (device.config, device.data);
        let beyond = match config {
            true => data.is_some_and(|data| data > index),
            false => before.is_some_and(|config| index > config),
        };
        match config {
            true => device.config = device.config.or(Some(index)),
            false => device.data = device.data.max(Some(index)),
        }
        let event = BufferEvent {
            device: u8::try_from(*part.device).unwrap_or(u8::MAX),
            config,
            again,
            beyond,
        };
        self.event(Event::Device(part.channel(), event), part.conn, at, |laws, clause| match () {
            () if clause == laws.index_once => format!("{name}: index {index} was sent before"),
            () if clause == laws.config_once => {
                let before = before.unwrap_or_default();
                format!("{name}: a configuration at index {index}, after one at {before}")
            }
            () if config => {
                let data = data.unwrap_or_default();
                format!("{name}: the configuration has index {index}, and data has {data}")
            }
            () => {
                let before = before.unwrap_or_default();
                format!("{name}: data has index {index}, and the configuration has {before}")
            }
        });
    }

    /// Data of a channel.
    fn data(&mut self, part: Part<'_>, at: u64, data: &[u8]) {
        let page = u64::from(self.form.page.bytes());
        let Part { conn, block, offsets, came, unpacking, .. } = part;
        let memory = &mut self.memory;
        let mut place = |data: &[u8]| write(memory, block, offsets, page, came, data);
        if !unpacking.is_on() {
            place(data);
        } else if let Err(why) = unpacking.push(data, &mut place) {
            let what = format!("the packet cannot be unpacked: {why}");
            let clause = self.form.laws.unpacked;
            self.faults(conn, at, vec![(clause, what)]);
            self.replayed = false;
        }
    }
}

/// Writes pages, one after the other, to their offsets; `came` is how many bytes of them came before.
fn write(
    memory: &mut Memory,
    block: &[u8],
    offsets: &[u64],
    page: u64,
    came: &mut u64,
    mut data: &[u8],
) {
    while !data.is_empty() && !offsets.is_empty() {
        let number = came.checked_div(page).unwrap_or_default();
        let inside = came.checked_rem(page).unwrap_or_default();
        let room = usize::try_from(page.saturating_sub(inside)).unwrap_or(data.len());
        let (now, rest) = data.split_at_checked(room).unwrap_or((data, &[]));
        let offset = usize::try_from(number).ok().and_then(|n| offsets.get(n));
        if let Some(offset) = offset {
            memory.write(block, offset.saturating_add(inside), now);
        }
        count(came, now.len() as u64);
        data = rest;
    }
}
