//! The guest: memory, a driver for each ring, and work for the device.
//!
//! **Invariants.** What a device returns is looked up in what was published, never believed. A ring that
//! the guest itself has corrupted is not looked at any more.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use devmig_model::protocol::vhost_user::event::Event;
use devmig_model::protocol::vhost_user::wire::{Region, VringAddr};
use virtio_bindings::bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;

use super::Driven;
use super::setting::Device;
use crate::harness::io::memory::{Arena, GuestMemory, PAGE, user_address};
use crate::harness::io::ring::{Buffer, Ring, RingError};
use crate::harness::io::virtio::{
    Blk, BlkOptions, Console, Fs, Net, Nothing, Outside, Rng, Wire, Workload,
};
use crate::harness::verdict::TestEnd;
use crate::vhost_user::hostile::{Chain, Hostile};
use crate::vhost_user::{Deadline, event};

/// Guest memory, in bytes.
pub(super) const MEMORY: u64 = 64 * PAGE;

/// Where the memory is that a guest is given besides: the same bytes, at another address.
const FURTHER: u64 = 4 * MEMORY;

/// The part of guest memory that is [`FURTHER`].
const FURTHER_PART: u64 = 4;

/// `VIRTIO_RING_F_EVENT_IDX`.
const EVENT_IDX: u64 = 1 << VIRTIO_RING_F_EVENT_IDX;

/// One ring's driver.
pub(super) struct Line {
    pub(super) ring: Ring,
    /// The request of each chain that was ever published, by its head.
    requests: HashMap<u16, u16>,
    /// Its buffers.
    buffers: HashMap<u16, Vec<Buffer>>,
    /// A kick was written, and not yet seen to be read.
    kicked: bool,
    /// Up to which index the machine was told of chains.
    announced: u16,
    /// The guest has corrupted it: what is used there is not looked at any more.
    broken: bool,
    /// What tells the front-end that it cannot be processed.
    pub(super) error: event::Event,
    /// The call descriptor that another one has taken the place of.
    replaced: Option<Replaced>,
}

/// A call descriptor that another one has taken the place of.
struct Replaced {
    event: event::Event,
    /// The back-end was given the other one.
    given: bool,
    /// Nothing may come through it any more: what did come was seen.
    watched: bool,
}

impl Line {
    fn new(memory: &GuestMemory, arena: &mut Arena, size: u16) -> Result<Self, TestEnd> {
        Ok(Line {
            ring: Ring::new(memory, arena, size).map_err(TestEnd::harness)?,
            requests: HashMap::new(),
            buffers: HashMap::new(),
            kicked: false,
            announced: 0,
            broken: false,
            error: event::Event::new().map_err(TestEnd::harness)?,
            replaced: None,
        })
    }

    /// Has another call descriptor.
    pub(super) fn replace_call(&mut self) -> Result<(), TestEnd> {
        let new = event::Event::new().map_err(TestEnd::harness)?;
        let event = std::mem::replace(&mut self.ring.call, new);
        self.replaced = Some(Replaced { event, given: false, watched: false });
        Ok(())
    }

    /// The back-end was given the call descriptor.
    pub(super) fn call_given(&mut self) {
        self.replaced.iter_mut().for_each(|replaced| replaced.given = true);
    }

    /// How many chains the machine was told of that have not come back.
    pub(super) fn owed(&self) -> usize {
        self.announced.wrapping_sub(self.ring.next_used()).into()
    }

    /// Up to which index the machine was told of chains.
    pub(super) fn announced(&self) -> u16 {
        self.announced
    }

    /// Where its parts are, as a message says it.
    pub(super) fn address(&self, index: u8, flags: u32, log: u64) -> VringAddr {
        let layout = self.ring.layout();
        VringAddr {
            index: index.into(),
            flags,
            descriptor: user_address(layout.descriptor),
            used: user_address(layout.used),
            available: user_address(layout.available),
            log,
        }
    }
}

/// An element of a used ring.
pub(super) struct Returned {
    /// The request that it returns.
    pub(super) request: u16,
    /// The index of the element.
    pub(super) element: u16,
    /// The chain, and how many bytes of it the device says that it has written; none for a chain that
    /// was not out.
    pub(super) chain: Option<(Vec<Buffer>, u32)>,
}

/// A kick that is written just before the next message.
#[derive(Clone, Copy, Debug)]
pub(super) struct DelayedKick {
    pub(super) ring: u8,
    /// How long before it.
    pub(super) before: Duration,
}

impl DelayedKick {
    /// Waits, without giving the processor away: a wait of the kernel's is longer than the shortest ones.
    pub(super) fn pause(self) {
        let begun = Instant::now();
        while begun.elapsed() < self.before {
            std::hint::spin_loop();
        }
    }
}

/// The guest.
pub(super) struct Driver {
    device: Device,
    /// The device's data may be destroyed.
    scratch: bool,
    pub(super) memory: GuestMemory,
    pub(super) lines: Vec<Line>,
    workload: Box<dyn Workload>,
    /// Requests ever made.
    sent: u64,
    /// Which request of the workload a ring's request is.
    numbers: HashMap<(u8, u16), u64>,
    /// Requests that came back.
    pub(super) completed: u64,
    /// EVENT_IDX is accepted where it is offered.
    pub(super) wants_event_indices: bool,
    /// Where the rings begin in guest memory, and the buffers end.
    split: u64,
    /// A kick that waits for the next message.
    pub(super) delayed_kick: Option<DelayedKick>,
    /// The used index just before that message was sent.
    pub(super) used_at_stop: Option<u16>,
    /// How far from their place in the first region the device finds the buffers of new requests.
    shift: u64,
    /// Guest memory that nothing was put into: from one address to another.
    untouched: [(u64, u64); 2],
}

impl Driver {
    /// What the caller says that the device is, and whether its data may be destroyed.
    pub(super) fn chosen(&self) -> (Device, bool) {
        (self.device, self.scratch)
    }

    /// What it has.
    pub(super) fn driven(&mut self) -> Driven {
        Driven { rings: self.lines.len(), has_outside: self.outside().is_some() }
    }

    /// A guest that has just booted.
    pub(super) fn new(device: Device, scratch: bool) -> Result<Self, TestEnd> {
        let memory = GuestMemory::new(&[(0, MEMORY)]).map_err(TestEnd::harness)?;
        let mut arena = Arena::new(PAGE, MEMORY - PAGE);
        let workload = workload(device, scratch, &memory, &mut arena)?;
        // Rings are apart from buffers, so that they can be given as two regions.
        let split = arena.take(0, PAGE).map_err(TestEnd::harness)?;
        let line = |_| Line::new(&memory, &mut arena, workload.ring_size());
        let lines = (0..workload.rings()).map(line).collect::<Result<Vec<_>, TestEnd>>()?;
        Ok(Driver {
            device,
            scratch,
            untouched: [(0, PAGE), arena.rest()],
            memory,
            lines,
            workload,
            sent: 0,
            numbers: HashMap::new(),
            completed: 0,
            wants_event_indices: false,
            split,
            delayed_kick: None,
            used_at_stop: None,
            shift: 0,
        })
    }

    /// The guest boots anew, with other memory.
    pub(super) fn reboot(&mut self) -> Result<(), TestEnd> {
        let Driver { memory, lines, workload, split, untouched, .. } =
            Driver::new(self.device, self.scratch)?;
        (self.memory, self.lines, self.workload) = (memory, lines, workload);
        (self.split, self.untouched, self.sent) = (split, untouched, 0);
        Ok(())
    }

    /// The device was reset, and its driver begins again.
    pub(super) fn begin_again(&mut self) {
        self.sent = 0;
        if let Some(outside) = self.workload.outside() {
            outside.forget();
        }
    }

    /// How many rings there are.
    pub(super) fn rings(&self) -> u8 {
        self.lines.len() as u8
    }

    pub(super) fn line(&self, ring: u8) -> Result<&Line, TestEnd> {
        let line = self.lines.get(usize::from(ring));
        line.ok_or_else(|| TestEnd::Harness(format!("there is no ring {ring}")))
    }

    pub(super) fn line_mut(&mut self, ring: u8) -> Result<&mut Line, TestEnd> {
        let line = self.lines.get_mut(usize::from(ring));
        line.ok_or_else(|| TestEnd::Harness(format!("there is no ring {ring}")))
    }

    /// The ring that carries requests.
    pub(super) fn request_ring(&self) -> Result<u8, TestEnd> {
        let ring = self.workload.request_ring();
        ring.and_then(|ring| u8::try_from(ring).ok()).ok_or_else(|| {
            TestEnd::Skip("needs requests: set the type of the device with --device".into())
        })
    }

    /// How many descriptors each ring has.
    pub(super) fn ring_size(&self) -> u16 {
        self.workload.ring_size()
    }

    /// The device's outside, if the tester can drive it.
    pub(super) fn outside(&mut self) -> Option<&mut dyn Outside> {
        self.workload.outside()
    }

    /// The device features that are accepted where they are offered.
    pub(super) fn features(&self) -> u64 {
        self.workload.features() | if self.wants_event_indices { EVENT_IDX } else { 0 }
    }

    /// What the features that are accepted mean for the driver.
    pub(super) fn accept(&mut self, features: u64) -> Result<(), TestEnd> {
        let events = features & EVENT_IDX != 0;
        if self.wants_event_indices && !events {
            return Err(TestEnd::Skip("needs VIRTIO_RING_F_EVENT_IDX (feature bit 29)".into()));
        }
        self.lines.iter_mut().for_each(|line| line.ring.set_events(events));
        Ok(())
    }

    /// Whether the next request may be made only after all before it came back.
    pub(super) fn waits(&self) -> bool {
        self.workload.waits(self.sent)
    }

    /// Makes the workload's next request available; nobody is told of it.
    pub(super) fn request(&mut self, ring: u8) -> Result<(), TestEnd> {
        let chain = self.workload.request(self.sent).map_err(TestEnd::harness)?;
        let request = self.publish(ring, chain)?;
        self.numbers.insert((ring, request), self.sent);
        self.sent = self.sent.saturating_add(1);
        Ok(())
    }

    /// Makes a chain available that is no request of the workload's; nobody is told of it.
    pub(super) fn offer(&mut self, ring: u8, chain: Vec<Buffer>) -> Result<(), TestEnd> {
        let request = self.publish(ring, chain)?;
        self.numbers.remove(&(ring, request));
        Ok(())
    }

    fn publish(&mut self, ring: u8, mut chain: Vec<Buffer>) -> Result<u16, TestEnd> {
        chain.iter_mut().for_each(|buffer| buffer.addr = buffer.addr.wrapping_add(self.shift));
        let line = self.line_mut(ring)?;
        let request = line.ring.available_index();
        let head = line.ring.publish(&chain).map_err(TestEnd::harness)?;
        line.requests.insert(head, request);
        line.buffers.insert(head, chain);
        Ok(request)
    }

    /// The machine is told of this: of a chain that is available, or of a ring that begins anew.
    pub(super) fn told(&mut self, event: &Event) {
        let (Event::Available { ring } | Event::Renew { ring, .. }) = *event else { return };
        let Ok(line) = self.line_mut(ring) else { return };
        line.announced = match event {
            Event::Renew { index, .. } => *index,
            _ => line.announced.wrapping_add(1),
        };
    }

    /// A ring begins anew, in both indices.
    pub(super) fn start_at(&mut self, ring: u8, index: u16) -> Result<(), TestEnd> {
        let Ok(line) = self.line_mut(ring) else { return Ok(()) };
        line.ring.start_at(index).map_err(TestEnd::harness)?;
        line.requests.clear();
        line.broken = false;
        Ok(())
    }

    /// Writes a kick.
    pub(super) fn kick(&mut self, ring: u8) -> Result<(), TestEnd> {
        let Ok(line) = self.line_mut(ring) else { return Ok(()) };
        line.ring.kick.signal().map_err(TestEnd::harness)?;
        line.kicked = true;
        Ok(())
    }

    /// Takes back a kick that nobody has read.
    pub(super) fn forget_kick(&mut self, ring: u8) -> Result<(), TestEnd> {
        let line = self.line_mut(ring)?;
        line.kicked = false;
        line.ring.kick.take().map(drop).map_err(TestEnd::harness)
    }

    /// Whether a kick was written that is not yet seen to be read.
    pub(super) fn is_kicked(&self) -> bool {
        self.lines.iter().any(|line| line.kicked)
    }

    /// Writes an index that is further ahead than the ring is long. What the guest does to itself by that
    /// is its own: what is used in the ring, and where, is not looked at any more.
    pub(super) fn corrupt(&mut self, ring: u8) -> Result<(), TestEnd> {
        self.ignore_strays();
        let Ok(line) = self.line_mut(ring) else { return Ok(()) };
        line.broken = true;
        line.ring.run_ahead().map_err(TestEnd::harness)
    }

    /// Makes a chain available that no driver makes. What becomes of the ring is its own, as above.
    pub(super) fn hostile(&mut self, ring: u8, kind: Hostile) -> Result<(), TestEnd> {
        self.ignore_strays();
        let Ok(line) = self.line_mut(ring) else { return Ok(()) };
        line.broken = true;
        let Chain { head, table, indirect } = kind.chain(PAGE, line.ring.size());
        line.ring.write_table(PAGE, &indirect).map_err(TestEnd::harness)?;
        line.ring.publish_raw(head, &table).map_err(TestEnd::harness)
    }

    /// For waiting: what is read through [`Driver::notified`].
    pub(super) fn notifications(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.lines.iter().flat_map(|line| [line.ring.call.as_fd(), line.error.as_fd()])
    }

    /// The rings that were called, and those that were said to be in error.
    pub(super) fn notified(&mut self) -> Result<(Vec<u8>, Vec<u8>), TestEnd> {
        let (mut calls, mut errors) = (Vec::new(), Vec::new());
        for (ring, line) in self.lines.iter().enumerate() {
            if line.ring.call.take().map_err(TestEnd::harness)? > 0 {
                calls.push(ring as u8);
            }
            if line.error.take().map_err(TestEnd::harness)? > 0 {
                errors.push(ring as u8);
            }
        }
        Ok((calls, errors))
    }

    /// Nothing is out, and every message was read: from now on a call descriptor that was replaced is not
    /// used any more.
    pub(super) fn watch_replaced(&mut self) -> Result<(), TestEnd> {
        if self.lines.iter().any(|line| line.owed() > 0) {
            return Ok(());
        }
        for replaced in self.lines.iter_mut().filter_map(|line| line.replaced.as_mut()) {
            if replaced.given && !replaced.watched {
                replaced.event.take().map_err(TestEnd::harness)?;
                replaced.watched = true;
            }
        }
        Ok(())
    }

    /// A ring that was called through a descriptor that was replaced before.
    pub(super) fn called_replaced(&mut self) -> Result<Option<u8>, TestEnd> {
        for (ring, line) in self.lines.iter_mut().enumerate() {
            if let Some(replaced) = line.replaced.as_mut().filter(|replaced| replaced.watched)
                && replaced.event.take().map_err(TestEnd::harness)? > 0
            {
                return Ok(Some(ring as u8));
            }
        }
        Ok(None)
    }

    /// Guest memory as it is, unless the device may write anywhere.
    pub(super) fn contents(&self) -> Result<Option<Vec<u8>>, TestEnd> {
        if self.untouched == [(0, 0); 2] {
            return Ok(None);
        }
        let mut bytes = vec![0; MEMORY as usize];
        self.memory.read(0, &mut bytes).map_err(TestEnd::harness)?;
        Ok(Some(bytes))
    }

    /// The rings whose kick descriptor is no longer readable: what was written to it was read.
    pub(super) fn noticed(&mut self) -> Result<Vec<u8>, TestEnd> {
        let mut noticed = Vec::new();
        for (ring, line) in self.lines.iter_mut().enumerate().filter(|(_, line)| line.kicked) {
            if !line.ring.kick.wait(Deadline::now()).map_err(TestEnd::harness)? {
                line.kicked = false;
                noticed.push(ring as u8);
            }
        }
        Ok(noticed)
    }

    /// The next chain that came back through a ring.
    ///
    /// # Errors
    /// [`RingError::UsedIndex`] for an index that cannot be; any other is the harness's.
    pub(super) fn returned(&mut self, ring: u8) -> Result<Option<Returned>, RingError> {
        let line = self.lines.get_mut(usize::from(ring)).filter(|line| !line.broken);
        let Some(line) = line else { return Ok(None) };
        let element = line.ring.next_used();
        match line.ring.take_used() {
            Ok(None) => Ok(None),
            Ok(Some(used)) => {
                let request = line.requests.get(&used.head).copied().unwrap_or_default();
                let buffers = line.buffers.get(&used.head).cloned().unwrap_or_default();
                self.completed = self.completed.saturating_add(1);
                Ok(Some(Returned { request, element, chain: Some((buffers, used.len)) }))
            }
            // What was never out: either it came back before, or it never was available.
            Err(RingError::UsedElement { id, .. }) => {
                let head = u16::try_from(id).ok();
                let known = head.and_then(|head| line.requests.get(&head)).copied();
                let request = known.unwrap_or(line.ring.available_index());
                Ok(Some(Returned { request, element, chain: None }))
            }
            Err(error) => Err(error),
        }
    }

    /// Judges what is in a chain that came back.
    pub(super) fn check(
        &mut self,
        ring: u8,
        request: u16,
        buffers: &[Buffer],
        length: u32,
    ) -> Result<(), String> {
        if let Some(number) = self.numbers.get(&(ring, request)) {
            let checked = self.workload.check(*number, length);
            return checked.map_err(|wrong| format!("request {request} on ring {ring}: {wrong}"));
        }
        let Some(outside) = self.workload.outside() else { return Ok(()) };
        let near = |buffer: &Buffer| Buffer { addr: buffer.addr % FURTHER, ..*buffer };
        let buffers: Vec<Buffer> = buffers.iter().map(near).collect();
        let returned = outside.returned(ring, &buffers, length);
        returned.map_err(|wrong| format!("ring {ring}: {wrong}"))
    }

    /// The first address that was written where there is neither a ring nor a buffer.
    pub(super) fn stray(&self) -> Result<Option<u64>, TestEnd> {
        for (from, to) in self.untouched {
            let mut bytes = vec![0; to.saturating_sub(from) as usize];
            self.memory.read(from, &mut bytes).map_err(TestEnd::harness)?;
            // Nearly always there is none: a page at a time, all of it, is seen fastest.
            let is_written = |page: &[u8]| page.iter().fold(0, |all, byte| all | byte) != 0;
            if bytes.chunks(PAGE as usize).any(is_written)
                && let Some(at) = bytes.iter().position(|byte| *byte != 0)
            {
                return Ok(Some(from.saturating_add(at as u64)));
            }
        }
        Ok(None)
    }

    /// The device may write anywhere from now on.
    pub(super) fn ignore_strays(&mut self) {
        self.untouched = [(0, 0); 2];
    }

    /// A part of guest memory, as one region: 2 is the buffers, 3 the rings, 4 the buffers at another
    /// address, anything else all of it.
    pub(super) fn part(&self, part: u64) -> Region {
        let (address, size) = match part {
            2 => (0, self.split),
            3 => (self.split, MEMORY.saturating_sub(self.split)),
            FURTHER_PART => (FURTHER, self.split),
            _ => (0, MEMORY),
        };
        Region {
            guest_address: address,
            size,
            user_address: user_address(address),
            mmap_offset: (address % FURTHER).saturating_add(self.memory.file_offset()),
        }
    }

    /// The regions of a whole table: with 5, the fourth part besides all of it.
    pub(super) fn table(&self, part: u64) -> Vec<Region> {
        match part {
            5 => vec![self.part(1), self.part(FURTHER_PART)],
            part => vec![self.part(part)],
        }
    }

    /// New requests have their buffers in this part of guest memory.
    pub(super) fn buffers_in(&mut self, part: u64) {
        self.shift = if part == FURTHER_PART { FURTHER } else { 0 };
    }
}

/// What there is to do for a device.
fn workload(
    device: Device,
    scratch: bool,
    memory: &GuestMemory,
    arena: &mut Arena,
) -> Result<Box<dyn Workload>, TestEnd> {
    Ok(match device {
        Device::Blk => {
            let options = BlkOptions { scratch, ..BlkOptions::default() };
            Box::new(Blk::new(memory, arena, options).map_err(TestEnd::harness)?)
        }
        Device::Fs => Box::new(Fs::new(memory, arena).map_err(TestEnd::harness)?),
        Device::Net => Box::new(Net::new(memory, arena).map_err(TestEnd::harness)?),
        Device::NetLoopback => Box::new(Wire::new(memory, arena).map_err(TestEnd::harness)?),
        Device::Rng => Box::new(Rng::new(memory, arena).map_err(TestEnd::harness)?),
        Device::Console => Box::new(Console::new(memory, arena).map_err(TestEnd::harness)?),
        Device::None => Box::new(Nothing),
    })
}
