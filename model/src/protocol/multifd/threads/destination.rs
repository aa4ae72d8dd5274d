//! The destination: a thread that reads the main stream, one for each channel, and one that loads the device.
//!
//! ```text
//!   channel thread: reads packets; at a SYNC it counts itself as arrived, and sleeps until it is released
//!   main thread:    at a mark it waits until all have arrived, and then releases each
//!   load thread:    loads the device's buffers in the order of their indices, the configuration last
//! ```
//!
//! A packet is read when nothing keeps its thread from reading. After an error everything is read and thrown
//! away, as by who closes a socket.

use devmig_engine::machine::{
    Machine, Party, Reaction, Refines, Step as Hidden, Stimulus, Verdict,
};
use devmig_engine::packed;
use devmig_engine::rules::{OpenChoice, RuleContext};

use serde_json::{Map, Value};

use super::event::{Content, Event, Main, Packet, Page, channel_of};
use super::source::Switch;
use super::{BUFFERS, CHANNELS, PAGES};
use crate::protocol::barrier::{Act, Barrier};
use crate::protocol::multifd::event::DESTINATION;
use crate::protocol::transfer::{self, Transfer};

/// How a destination differs from QEMU 11.1 with machine type 8.1 or later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Manner {
    /// The end of each RAM section is a mark (machine types up to 8.0).
    pub per_section: bool,
    /// Multifd is off.
    pub off: bool,
    /// It does not wait at a mark.
    pub mark_does_not_wait: bool,
    /// A channel goes on once it has arrived.
    pub released_at_once: bool,
    /// At a mark, the next channel is released for each one that has arrived.
    pub released_one_by_one: bool,
    /// What has arrived is not taken off the count.
    pub count_stays: bool,
    /// The pages in a SYNC packet are not read (9.2.0).
    pub sync_data_ignored: bool,
    /// The configuration is loaded without waiting for other devices.
    pub no_interlock: bool,
    /// Buffers are loaded in the order in which they come.
    pub loads_as_they_come: bool,
    /// The load thread starts at SWITCHOVER_START.
    pub starts_late: bool,
    /// The two locks are taken: that of the buffers, and the big lock.
    pub locks: bool,
    /// The main thread keeps the big lock while it waits for the load thread.
    pub big_lock_kept: bool,
    /// It reports that it has loaded.
    pub reports: bool,
    /// It answers each chunk (cloud-hypervisor).
    pub acknowledges: bool,
    /// The end of a channel without a bye is an error (TLS).
    pub checks_bye: bool,
    /// It keeps pages aside until a checkpoint is whole, and can take over then (COLO).
    pub colo: bool,
    /// It does not keep them aside.
    pub no_cache: bool,
}

/// The switches of a destination (shown by `devmig proposal words`).
pub const MANNERS: &[Switch<Manner>] = &[
    ("per section", "machine type 8.0: the end of each RAM section is a mark too", |m| {
        m.per_section = true;
    }),
    ("multifd is off", "it reads the main stream only", |m| m.off = true),
    ("mark does not wait", "it acts on a mark before each channel has read its SYNC", |m| {
        m.mark_does_not_wait = true;
    }),
    ("channels do not wait", "a channel goes on after its SYNC", |m| m.released_at_once = true),
    ("channels are released one by one", "each channel's release follows one arrival", |m| {
        m.released_one_by_one = true;
    }),
    ("count stays", "a SYNC is not taken off the count at its mark", |m| m.count_stays = true),
    ("SYNC data is ignored", "9.2.0: the pages in a SYNC packet are not read", |m| {
        m.sync_data_ignored = true;
    }),
    ("no interlock", "10.0: the configuration does not wait for other devices", |m| {
        m.no_interlock = true;
    }),
    ("loads as they come", "buffers are loaded in the order of their arrival", |m| {
        m.loads_as_they_come = true;
    }),
    ("starts at SWITCHOVER_START", "the load thread starts when SWITCHOVER_START is read", |m| {
        m.starts_late = true;
    }),
    (
        "takes locks",
        "the load thread and the main thread take the two locks of 10.0 to 11.1",
        |m| {
            m.locks = true;
        },
    ),
    ("big lock is kept", "the main thread waits for the load thread with the big lock held", |m| {
        m.big_lock_kept = true;
    }),
    ("reports SHUT", "it reports on the return path that it has loaded", |m| m.reports = true),
    ("acknowledges", "cloud-hypervisor: it answers each chunk", |m| m.acknowledges = true),
    ("checks the bye", "with TLS, since 10.0: an end without a bye is an error", |m| {
        m.checks_bye = true;
    }),
    ("COLO", "pages wait in a cache for the checkpoint, with which it can take over", |m| {
        m.colo = true;
    }),
    ("COLO without a cache", "pages of a checkpoint go to memory as they come", |m| {
        (m.colo, m.no_cache) = (true, true);
    }),
];

/// What bounds the buffers that wait to be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cap {
    /// Nothing: the default.
    None,
    /// Their number.
    Count(u8),
    /// Their size: two units for an even index, one for an odd one.
    Size(u8),
}

/// The size of a buffer.
#[must_use]
pub fn size_of(index: usize) -> usize {
    if index.is_multiple_of(2) { 2 } else { 1 }
}

/// What is remembered of a channel's thread.
#[packed]
#[derive(Default)]
pub struct Reader {
    /// It has read a SYNC, and sleeps.
    pub waits: bool,
    /// How often it was released while it did not sleep.
    #[bits(2)]
    pub released: u8,
    /// It owes the answer for a chunk.
    pub owes: bool,
    /// It has ended.
    pub ended: bool,
}

impl Reader {
    /// A semaphore: what is released before it sleeps does not sleep.
    fn release(&mut self) {
        match self.waits {
            true => self.waits = false,
            false => self.released = (self.released + 1).min(3),
        }
    }
}

/// Where the main thread is that waits for the load thread, once the main stream has ended.
#[packed]
#[derive(Default)]
pub enum Joins {
    /// It reads the main stream, with the big lock held.
    #[default]
    Reads,
    /// It has released the big lock.
    Released,
    /// It looks whether all was loaded, with the lock of the buffers held.
    Looks,
    /// It waits to be told that all was loaded; the lock of the buffers is free meanwhile.
    Waits,
    /// The load thread has ended.
    Joined,
}

/// Who holds which lock.
#[packed]
#[derive(Default)]
pub struct Locks {
    /// The main thread.
    pub main: Joins,
    /// The load thread holds the lock of the buffers.
    pub buffers: bool,
    /// The load thread holds the big lock.
    pub big: bool,
}

/// What the destination remembers.
#[packed]
pub struct DestinationState {
    /// The list of blocks was read.
    pub list: bool,
    /// The content of each page.
    pub memory: [Content; PAGES],
    /// What waits for the next checkpoint.
    pub cache: [Content; PAGES],
    /// How many checkpoints were loaded.
    #[bits(2)]
    pub checkpoints: u8,
    /// It owes the answer to one.
    pub owes: bool,
    /// How many channels have arrived at a SYNC.
    #[bits(4)]
    pub arrived: u8,
    /// The threads.
    pub readers: [Reader; CHANNELS],
    /// Releases that the mark still has to make, if they are made one by one.
    #[bits(2)]
    pub collecting: u8,
    /// How many marks it has acted on.
    #[bits(3)]
    pub marks: u8,
    /// Buffers that wait to be loaded.
    pub queued: [bool; BUFFERS],
    /// The next one to load.
    #[bits(4)]
    pub next: u8,
    /// The index of the configuration, once it came, counted from 1.
    #[bits(4)]
    pub last: u8,
    /// How many buffers were loaded.
    #[bits(4)]
    pub loaded: u8,
    /// The configuration was loaded.
    pub configured: bool,
    /// SWITCHOVER_START was read.
    pub started: bool,
    /// The locks, if they are looked at.
    pub locks: Locks,
    /// All other devices were loaded.
    pub iterables: bool,
    /// The main stream has ended.
    pub ended: bool,
    /// The virtual machine runs here.
    pub runs: bool,
    /// It has reported that.
    pub reported: bool,
    /// A channel's thread has met an error.
    pub failed: bool,
    /// How many have.
    #[bits(1)]
    pub faults: u8,
    /// The main thread has ended without the virtual machine.
    pub gave_up: bool,
}

/// The destination.
#[derive(Clone, Copy, Debug)]
pub struct Destination {
    /// How it differs from QEMU 11.1.
    pub manner: Manner,
    /// Channels that it waits for.
    pub channels: u8,
    /// What bounds the queue of buffers.
    pub cap: Cap,
    /// Whether the device's state comes over channels.
    pub device: bool,
    /// How many channels may fail.
    pub faults: u8,
}

impl Destination {
    fn readers(&self) -> std::ops::Range<usize> {
        0..usize::from(self.channels)
    }

    fn is_mark(&self, main: Main) -> bool {
        main == Main::Flush || main == Main::Eos && self.manner.per_section
    }

    /// A mark on the main stream; none, while it waits.
    fn mark(&self, s: &DestinationState) -> Option<DestinationState> {
        let mut next = *s;
        if self.manner.off || self.manner.acknowledges {
            return Some(next);
        }
        if self.manner.released_one_by_one {
            next.collecting = self.channels;
            return Some(next);
        }
        if s.arrived < self.channels && !self.manner.mark_does_not_wait {
            return None;
        }
        if !self.manner.count_stays {
            next.arrived = s.arrived.saturating_sub(self.channels);
        }
        self.readers().for_each(|reader| next.readers[reader].release());
        next.marks += 1;
        Some(next)
    }

    fn page(&self, next: &mut DestinationState, page: Page) {
        let at = usize::from(page.page);
        next.cache[at].version = page.version;
        // Until the first checkpoint, memory and cache are the same.
        if next.checkpoints == 0 || !self.manner.colo || self.manner.no_cache {
            next.memory[at].version = page.version;
        }
        if !self.manner.colo {
            next.cache[at] = Content::default();
        }
    }

    fn main(&self, s: &DestinationState, main: Main) -> Option<DestinationState> {
        let mut next = *s;
        match main {
            Main::List => next.list = true,
            Main::Flush | Main::Eos if self.is_mark(main) => return self.mark(s),
            Main::Flush | Main::Eos => {}
            Main::Page(page) => self.page(&mut next, page),
            Main::Checkpoint => {
                next.memory = s.cache;
                (next.checkpoints, next.owes) = (s.checkpoints + 1, true);
            }
            Main::SwitchoverStart => next.started = true,
            Main::Iterables => next.iterables = true,
            Main::End => next.ended = true,
            Main::Closed => (next.failed, next.gave_up) = (true, true),
        }
        Some(next)
    }

    fn packet(&self, s: &DestinationState, channel: usize, packet: Packet) -> DestinationState {
        let mut next = *s;
        let mut sync = false;
        match packet {
            Packet::Ram(page, rides) => {
                if !(rides && self.manner.sync_data_ignored) {
                    self.page(&mut next, page);
                }
                next.readers[channel].owes = self.manner.acknowledges;
                sync = rides;
            }
            Packet::Sync => sync = true,
            Packet::Device(buffer) => {
                let index = usize::from(buffer.index);
                if buffer.config {
                    next.last = buffer.index + 1;
                }
                let queued = (0..BUFFERS).filter(|at| s.queued[*at]);
                let over = match self.cap {
                    Cap::None => false,
                    Cap::Count(most) => queued.count() + 1 > usize::from(most),
                    Cap::Size(most) => {
                        queued.map(size_of).sum::<usize>() + size_of(index) > usize::from(most)
                    }
                };
                // An index that was loaded is as much a duplicate as one that waits.
                let passed = index < usize::from(s.next) && !self.manner.loads_as_they_come;
                if s.queued[index] || passed || over {
                    next.failed = true;
                } else {
                    next.queued[index] = true;
                }
            }
            Packet::Closed => next.readers[channel].ended = true,
            Packet::Cut | Packet::Lost => {
                next.readers[channel].ended = true;
                if self.manner.checks_bye {
                    // The others are released; the count is not touched.
                    next.readers.iter_mut().for_each(|reader| reader.waits = false);
                    next.failed = true;
                }
            }
        }
        if sync {
            next.arrived += 1;
            let reader = &mut next.readers[channel];
            if !self.manner.released_at_once {
                match reader.released {
                    0 => reader.waits = true,
                    _ => reader.released -= 1,
                }
            }
        }
        next
    }

    /// The load thread's next step.
    fn loads(&self, s: &DestinationState) -> Option<(&'static str, DestinationState)> {
        if !self.device || s.failed || self.manner.starts_late && !s.started {
            return None;
        }
        let mut next = *s;
        let index = match self.manner.loads_as_they_come {
            true => s.queued.iter().position(|queued| *queued)?,
            false => usize::from(s.next),
        };
        let ready = s.queued.get(index).copied().unwrap_or(false) && !s.configured;
        let config = usize::from(s.last) == index + 1;
        if !ready || config && !(s.iterables || self.manner.no_interlock) {
            return None;
        }
        if config && self.manner.locks {
            // The lock of the buffers first, then the big lock.
            let locks = &mut next.locks;
            if !locks.buffers {
                locks.buffers = true;
                return (locks.main != Joins::Looks).then_some(("take the buffers' lock", next));
            }
            if !locks.big {
                locks.big = true;
                return (!self.main_has_big_lock(s)).then_some(("take the big lock", next));
            }
            (locks.buffers, locks.big) = (false, false);
        }
        next.queued[index] = false;
        next.next = index as u8 + 1;
        next.loaded += 1;
        next.configured = config;
        Some((if config { "load the configuration" } else { "load a buffer" }, next))
    }

    fn main_has_big_lock(&self, s: &DestinationState) -> bool {
        s.locks.main == Joins::Reads || self.manner.big_lock_kept && s.locks.main != Joins::Joined
    }

    /// The next step of the main thread, which waits for the load thread.
    fn joins(&self, s: &DestinationState) -> Option<(&'static str, DestinationState)> {
        let to = |main| DestinationState { locks: Locks { main, ..s.locks }, ..*s };
        let kept = self.manner.big_lock_kept;
        match s.locks.main {
            _ if !self.manner.locks || !s.ended || s.failed => None,
            Joins::Reads if !kept => Some(("release the big lock", to(Joins::Released))),
            Joins::Reads | Joins::Released if !s.locks.buffers => {
                Some(("take the buffers' lock", to(Joins::Looks)))
            }
            Joins::Looks if !s.configured => Some(("wait for the load thread", to(Joins::Waits))),
            Joins::Looks => Some(("join the load thread", to(Joins::Joined))),
            Joins::Waits if s.configured => Some(("join the load thread", to(Joins::Joined))),
            _ => None,
        }
    }

    /// Whether a channel's thread reads its next packet.
    #[must_use]
    pub fn reads(&self, s: &DestinationState, channel: usize) -> bool {
        let reader = &s.readers[channel];
        s.failed || !reader.waits && !reader.owes
    }
}

impl Machine for Destination {
    type State = DestinationState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "destination"
    }

    fn plays(&self, party: Party) -> bool {
        party == DESTINATION
    }

    fn on(&self, s: &DestinationState, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        Ok(match *event {
            Event::Write(_) | Event::Stop | Event::Resume | Event::Passed => Reaction::Ignore,
            Event::Loaded if !s.owes => Reaction::Disabled,
            Event::Loaded => Reaction::To(DestinationState { owes: false, ..*s }),
            // It has taken over: what the source still sends means nothing.
            Event::Main(Main::Checkpoint) if s.runs => {
                Reaction::To(DestinationState { owes: true, ..*s })
            }
            Event::Main(_) | Event::Channel(..) if self.manner.colo && s.runs => Reaction::Ignore,
            // The main thread that waits at a mark does not learn of an error.
            Event::Main(_) if s.gave_up => Reaction::Ignore,
            Event::Main(_) if s.collecting > 0 => Reaction::Disabled,
            Event::Main(main) if s.failed && self.is_mark(main) && self.mark(s).is_none() => {
                Reaction::Disabled
            }
            Event::Main(_) if s.failed => Reaction::To(DestinationState { gave_up: true, ..*s }),
            Event::Main(main) => self.main(s, main).map_or(Reaction::Disabled, Reaction::To),
            Event::Channel(queue, packet) => {
                let channel = channel_of(queue);
                let mut next = *s;
                match packet {
                    Packet::Closed => next.readers[channel].ended = true,
                    Packet::Cut | Packet::Lost if s.failed => next.readers[channel].ended = true,
                    _ if s.failed => return Ok(Reaction::Ignore),
                    _ if self.manner.off || !self.reads(s, channel) => {
                        return Ok(Reaction::Disabled);
                    }
                    _ => next = self.packet(s, channel, packet),
                }
                Reaction::To(next)
            }
            Event::Shut if !(s.runs || s.gave_up) || s.reported => Reaction::Disabled,
            Event::Shut => Reaction::To(DestinationState { reported: true, ..*s }),
            Event::Acknowledged(channel) => {
                let mut next = *s;
                let reader = &mut next.readers[usize::from(channel)];
                if !reader.owes {
                    return Ok(Reaction::Disabled);
                }
                reader.owes = false;
                Reaction::To(next)
            }
        })
    }

    fn hidden(
        &self,
        s: &DestinationState,
        _: &mut RuleContext,
        f: &mut dyn FnMut(Hidden, DestinationState),
    ) -> Result<(), OpenChoice> {
        if let Some((name, next)) = self.loads(s) {
            f(Hidden::alone(DESTINATION, name), next);
        }
        if let Some((name, next)) = self.joins(s) {
            f(Hidden::alone(DESTINATION, name), next);
        }
        if s.collecting > 0 && s.arrived > 0 {
            let mut next = *s;
            let channel = self.channels - s.collecting;
            next.readers[usize::from(channel)].release();
            (next.arrived, next.collecting) = (s.arrived - 1, s.collecting - 1);
            next.marks += u8::from(next.collecting == 0);
            f(Hidden { by: DESTINATION, name: "release, channel", index: channel }, next);
        }
        if self.manner.colo && s.checkpoints > 0 && !s.runs {
            let next = DestinationState { runs: true, ..*s };
            f(Hidden::alone(DESTINATION, "take over"), next);
        }
        if s.ended && s.failed && !s.runs && !s.gave_up {
            let next = DestinationState { gave_up: true, ..*s };
            f(Hidden::alone(DESTINATION, "give up"), next);
        }
        let joined = !self.manner.locks || s.locks.main == Joins::Joined;
        let loaded = !self.device || s.configured && joined;
        if s.ended && loaded && !s.runs && !s.failed {
            let next = DestinationState { runs: true, ..*s };
            f(Hidden::alone(DESTINATION, "run the virtual machine"), next);
        }
        for channel in self.readers() {
            let reader = &s.readers[channel];
            if s.faults < self.faults && !reader.ended && !s.failed {
                let mut next = *s;
                next.readers[channel].ended = true;
                // The others are released; the count is not touched.
                next.readers.iter_mut().for_each(|reader| reader.waits = false);
                (next.failed, next.faults) = (true, s.faults + 1);
                f(Hidden { by: DESTINATION, name: "fail, channel", index: channel as u8 }, next);
            }
        }
        Ok(())
    }

    fn stimuli(&self, s: &DestinationState, f: &mut dyn FnMut(Stimulus<Event>)) {
        if s.owes {
            f(Stimulus::Unguarded(Event::Loaded));
        }
        if self.manner.reports && (s.runs || s.gave_up) && !s.reported {
            f(Stimulus::Unguarded(Event::Shut));
        }
        for channel in self.readers().filter(|channel| s.readers[*channel].owes) {
            f(Stimulus::Unguarded(Event::Acknowledged(channel as u8)));
        }
    }

    fn describe(&self, s: &DestinationState) -> Map<String, Value> {
        let channels = &s.readers[self.readers()];
        let mut shown = serde_json::json!({
            "memory": s.memory,
            "marks": s.marks,
            "arrived": s.arrived,
            "waits": channels.iter().map(|reader| reader.waits).collect::<Vec<_>>(),
            "runs": s.runs,
            "failed": s.failed,
            "gave up": s.gave_up,
        });
        if let (true, Some(shown)) = (self.manner.colo, shown.as_object_mut()) {
            shown.insert("cache".into(), serde_json::json!(s.cache));
            shown.insert("checkpoints".into(), s.checkpoints.into());
        }
        if let (true, Some(shown)) = (self.device, shown.as_object_mut()) {
            let queued: Vec<_> = (0..BUFFERS).filter(|index| s.queued[*index]).collect();
            shown.insert("queued".into(), queued.into());
            shown.insert("loaded".into(), s.loaded.into());
            shown.insert("others loaded".into(), s.iterables.into());
        }
        if let (true, Some(shown)) = (self.manner.locks, shown.as_object_mut()) {
            let holder = |main, load| {
                if main {
                    "main"
                } else if load {
                    "load"
                } else {
                    "nobody"
                }
            };
            let buffers = holder(s.locks.main == Joins::Looks, s.locks.buffers);
            let big = holder(self.main_has_big_lock(s), s.locks.big);
            shown.insert("buffers' lock".into(), buffers.into());
            shown.insert("big lock".into(), big.into());
        }
        Map::from_iter([(self.name().to_owned(), shown)])
    }

    fn at_end(&self, s: &DestinationState) -> bool {
        s.runs || s.gave_up
    }
}

/// A barrier is passed where the destination acts on a mark, or the source passes a gate.
impl Refines<Barrier> for Destination {
    fn refine(&self, event: &Event) -> Option<Act> {
        match *event {
            Event::Channel(_, Packet::Ram(page, _)) | Event::Main(Main::Page(page)) => {
                Some(Act::Written(page.epoch))
            }
            Event::Passed => Some(Act::Passed),
            _ => None,
        }
    }

    fn refine_read(&self, event: &Event) -> Option<Act> {
        match *event {
            Event::Channel(_, Packet::Ram(page, _)) | Event::Main(Main::Page(page)) => {
                Some(Act::Received(page.epoch))
            }
            Event::Main(main) if self.is_mark(main) => Some(Act::Passed),
            _ => None,
        }
    }
}

/// State is taken over when the destination reports that everything was loaded.
impl Refines<Transfer> for Destination {
    fn refine(&self, event: &Event) -> Option<transfer::Act> {
        match event {
            Event::Channel(_, Packet::Device(_)) => Some(transfer::Act::Written),
            Event::Shut => Some(transfer::Act::TakenOver),
            _ => None,
        }
    }

    fn refine_read(&self, event: &Event) -> Option<transfer::Act> {
        match event {
            Event::Channel(_, Packet::Device(_)) => Some(transfer::Act::Received),
            _ => None,
        }
    }
}
