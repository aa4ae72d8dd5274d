//! The file, and the destination that reads it.
//!
//! Each channel has at most one write under way. When it ends is up to the file system: writes of two channels
//! end in any order.

use devmig_engine::machine::{Machine, Party, Reaction, Stimulus, Verdict};
use devmig_engine::packed;
use devmig_engine::rules::RuleContext;

use serde_json::{Map, Value, json};

use super::event::{Event, FILE};
use super::{CHANNELS, PAGES};
use crate::protocol::multifd::event::DESTINATION;
use crate::protocol::multifd::threads::source::Switch;

/// What a page contains.
#[packed]
#[derive(Default)]
#[serde(transparent)]
pub struct Stored {
    /// 0: zeroes, as where nothing was written.
    #[bits(2)]
    pub content: u8,
}

/// A write that has begun.
#[packed]
#[derive(Default)]
pub struct UnderWay {
    /// There is one.
    pub is: bool,
    /// Its page.
    #[bits(1)]
    pub page: u8,
    /// What it writes.
    #[bits(2)]
    pub content: u8,
}

/// What the file holds.
#[packed]
pub struct FileState {
    /// The content of each page's place.
    pub pages: [Stored; PAGES],
    /// Writes that have begun.
    pub under_way: [UnderWay; CHANNELS],
    /// The bitmap.
    pub bitmap: [bool; PAGES],
    /// It has ended.
    pub ended: bool,
}

/// The file.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// How many channels write to it.
    pub channels: usize,
}

impl FileState {
    /// What a destination loads that looks at the bitmap, or not.
    #[must_use]
    pub fn loaded(&self, by_bitmap: bool) -> [u8; PAGES] {
        let page = |page: usize| match self.bitmap[page] || !by_bitmap {
            true => self.pages[page].content,
            false => 0,
        };
        std::array::from_fn(page)
    }
}

impl Machine for File {
    type State = FileState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "file"
    }

    fn plays(&self, party: Party) -> bool {
        party == FILE
    }

    fn on(&self, s: &FileState, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        let mut next = *s;
        match *event {
            Event::Begin(channel, page, content) => {
                let under_way = &mut next.under_way[usize::from(channel)];
                if under_way.is {
                    return Ok(Reaction::Disabled);
                }
                *under_way = UnderWay { is: true, page, content };
            }
            Event::Landed(channel) => {
                let UnderWay { is, page, content } = s.under_way[usize::from(channel)];
                if !is {
                    return Ok(Reaction::Disabled);
                }
                next.pages[usize::from(page)].content = content;
                next.under_way[usize::from(channel)] = UnderWay::default();
            }
            Event::Bitmap(bits) => next.bitmap = bits,
            Event::End => next.ended = true,
            Event::Load(memory) if memory != s.loaded(true) => return Ok(Reaction::Disabled),
            Event::LoadAll(memory) if memory != s.loaded(false) => return Ok(Reaction::Disabled),
            _ => return Ok(Reaction::Ignore),
        }
        Ok(Reaction::To(next))
    }

    fn stimuli(&self, s: &FileState, f: &mut dyn FnMut(Stimulus<Event>)) {
        let writes = (0..self.channels).filter(|channel| s.under_way[*channel].is);
        writes.for_each(|channel| f(Stimulus::Unguarded(Event::Landed(channel as u8))));
    }

    fn describe(&self, s: &FileState) -> Map<String, Value> {
        Map::from_iter([("file".to_owned(), json!({ "pages": s.pages, "bitmap": s.bitmap }))])
    }

    fn at_end(&self, s: &FileState) -> bool {
        s.under_way.iter().all(|under_way| !under_way.is)
    }
}

/// How a destination differs from QEMU 11.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Manner {
    /// It reads the file while the source writes it.
    pub reads_early: bool,
    /// It loads every page, whatever the bitmap says.
    pub ignores_bitmap: bool,
}

/// The switches of a destination (shown by `devmig proposal words`).
pub const MANNERS: &[Switch<Manner>] = &[
    ("reads early", "it reads the file before the source has ended it", |m| m.reads_early = true),
    ("ignores the bitmap", "it loads a page also if its bit is clear", |m| {
        m.ignores_bitmap = true;
    }),
];

/// What the destination remembers.
#[packed]
pub struct DestinationState {
    /// The file has ended.
    pub ended: bool,
    /// It has loaded the file, and the virtual machine runs.
    pub runs: bool,
    /// Its memory.
    pub memory: [Stored; PAGES],
}

/// The destination.
#[derive(Clone, Copy, Debug)]
pub struct Destination {
    /// How it differs.
    pub manner: Manner,
}

impl Destination {
    /// Whether it reads the file now.
    fn reads(&self, s: &DestinationState) -> bool {
        !s.runs && (s.ended || self.manner.reads_early)
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
        let mut next = *s;
        match *event {
            Event::End => next.ended = true,
            Event::Load(_) | Event::LoadAll(_) if !self.reads(s) => {
                return Ok(Reaction::Disabled);
            }
            Event::Load(_) if self.manner.ignores_bitmap => return Ok(Reaction::Disabled),
            Event::LoadAll(_) if !self.manner.ignores_bitmap => return Ok(Reaction::Disabled),
            Event::Load(memory) | Event::LoadAll(memory) => {
                next.runs = true;
                next.memory = memory.map(|content| Stored { content });
            }
            _ => return Ok(Reaction::Ignore),
        }
        Ok(Reaction::To(next))
    }

    fn stimuli(&self, s: &DestinationState, f: &mut dyn FnMut(Stimulus<Event>)) {
        if !self.reads(s) {
            return;
        }
        // The file decides which of them it is.
        for (first, second) in (0..4).flat_map(|first| (0..4).map(move |second| (first, second))) {
            let memory = [first, second];
            f(Stimulus::Guarded(match self.manner.ignores_bitmap {
                true => Event::LoadAll(memory),
                false => Event::Load(memory),
            }));
        }
    }

    fn domain(&self, f: &mut dyn FnMut(Event)) {
        for (first, second) in (0..4).flat_map(|first| (0..4).map(move |second| (first, second))) {
            f(Event::Load([first, second]));
            f(Event::LoadAll([first, second]));
        }
    }

    fn describe(&self, s: &DestinationState) -> Map<String, Value> {
        let shown = json!({ "memory": s.memory, "runs": s.runs });
        Map::from_iter([(self.name().to_owned(), shown)])
    }

    fn at_end(&self, s: &DestinationState) -> bool {
        s.runs
    }
}
