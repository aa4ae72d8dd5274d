//! The source: a main thread with a program, and a thread for each channel; and the guest.
//!
//! A page is read from memory when its write begins. What the guest writes since the last look at the dirty log
//! is written in the next round, to the same place.

use devmig_engine::machine::{Machine, Party, Reaction, Step as Hidden, Stimulus, Verdict};
use devmig_engine::packed;
use devmig_engine::rules::{OpenChoice, RuleContext};

use serde_json::{Map, Value, json};

use super::event::Event;
use super::file::Stored;
use super::{CHANNELS, PAGES};
use crate::protocol::multifd::event::SOURCE;
use crate::protocol::multifd::threads::event::GUEST;
use crate::protocol::multifd::threads::source::Switch;

/// One step of the main thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Write the header.
    Header,
    /// Read the dirty log, and hand over each dirty page.
    Round,
    /// Wait until every write has ended.
    Sync,
    /// Stop the vCPUs.
    Stop,
    /// Write the bitmap.
    Bitmap,
    /// End the file.
    End,
    /// Wait for an answer of the destination.
    WaitShut,
    /// Anything that the rules allow, as often as it likes.
    Anything,
}

/// What a step can be, and what it means (shown by `devmig proposal words`).
pub const STEPS: &[(&str, &str, Step)] = &[
    ("header", "write the header, which gives every page a place", Step::Header),
    ("round", "read the dirty log, and hand each dirty page to an idle channel", Step::Round),
    ("sync", "wait until every write has ended", Step::Sync),
    ("stop", "stop the vCPUs", Step::Stop),
    ("bitmap", "write the bitmap", Step::Bitmap),
    ("end", "end the file", Step::End),
    ("wait for SHUT", "wait until the destination reports that it has loaded", Step::WaitShut),
    ("anything", "write anything that the rules allow", Step::Anything),
];

/// Steps in all: what a program counter can hold.
pub const MAX_STEPS: usize = 15;

/// How a source differs from QEMU 11.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Manner {
    /// A page that becomes zero keeps its bit.
    pub zero_keeps_bit: bool,
    /// It has synchronised when every page was handed over.
    pub sync_does_not_wait: bool,
}

/// The switches of a source (shown by `devmig proposal words`).
pub const MANNERS: &[Switch<Manner>] = &[
    ("zero page keeps its bit", "9.0: a page that has become zero stays in the bitmap", |m| {
        m.zero_keeps_bit = true;
    }),
    ("sync does not wait", "it goes on while writes are under way", |m| {
        m.sync_does_not_wait = true;
    }),
];

/// A thread of a channel.
#[packed]
#[derive(Default)]
pub struct Thread {
    /// It has a page to write.
    pub busy: bool,
    /// Which.
    #[bits(1)]
    pub page: u8,
    /// Its write has begun.
    pub writes: bool,
}

/// What the source remembers.
#[packed]
pub struct SourceState {
    /// Steps done.
    #[bits(4)]
    pub step: u8,
    /// The current round has begun.
    pub began: bool,
    /// The content of each page.
    pub memory: [Stored; PAGES],
    /// Written since the log was read.
    pub log: [bool; PAGES],
    /// To be written in this round.
    pub dirty: [bool; PAGES],
    /// The threads.
    pub threads: [Thread; CHANNELS],
    /// The bitmap, which is written last.
    pub bitmap: [bool; PAGES],
    /// The vCPUs were stopped.
    pub stopped: bool,
}

/// A source with a program.
#[derive(Clone, Debug)]
pub struct Source {
    /// What the main thread does.
    pub steps: Vec<Step>,
    /// How it differs.
    pub manner: Manner,
    /// Channels.
    pub channels: usize,
    /// Pages.
    pub pages: usize,
}

const HAND_OVER: [&str; PAGES] = ["hand over page 0, channel", "hand over page 1, channel"];

impl Source {
    fn step(&self, s: &SourceState) -> Option<Step> {
        self.steps.get(usize::from(s.step)).copied()
    }

    fn threads<'s>(&self, s: &'s SourceState) -> &'s [Thread] {
        &s.threads[..self.channels]
    }

    fn next(s: &SourceState) -> SourceState {
        SourceState { step: s.step + 1, began: false, ..*s }
    }

    fn is_idle(&self, s: &SourceState) -> bool {
        self.threads(s).iter().all(|thread| !thread.busy)
    }

    /// What a thread does with its page.
    fn looks(s: &SourceState, channel: usize, page: u8) -> Event {
        match s.memory[usize::from(page)].content {
            0 => Event::Zero(channel as u8, page),
            content => Event::Begin(channel as u8, page, content),
        }
    }

    /// What the main thread does now.
    fn does(&self, s: &SourceState) -> Option<Event> {
        match self.step(s)? {
            Step::Header => Some(Event::Header),
            Step::Stop => Some(Event::Stop),
            Step::Bitmap => Some(Event::Bitmap(s.bitmap)),
            Step::End => Some(Event::End),
            Step::Sync if self.manner.sync_does_not_wait || self.is_idle(s) => Some(Event::Synced),
            Step::Sync | Step::Round | Step::WaitShut | Step::Anything => None,
        }
    }
}

impl Machine for Source {
    type State = SourceState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "source"
    }

    fn plays(&self, party: Party) -> bool {
        party == SOURCE
    }

    fn initial(&self) -> SourceState {
        let mut state = SourceState {
            step: 0,
            began: false,
            memory: [Stored::default(); PAGES],
            log: [false; PAGES],
            dirty: [false; PAGES],
            threads: [Thread::default(); CHANNELS],
            bitmap: [false; PAGES],
            stopped: false,
        };
        for page in 0..self.pages {
            (state.memory[page].content, state.log[page]) = (1, true);
        }
        state
    }

    fn on(&self, s: &SourceState, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        let anything = self.step(s) == Some(Step::Anything);
        let mut next = *s;
        match *event {
            Event::Write(page, content) => {
                next.memory[usize::from(page)].content = content;
                next.log[usize::from(page)] = true;
            }
            Event::Begin(channel, page, _) | Event::Zero(channel, page) => {
                let filled = matches!(event, Event::Begin(..));
                let thread = &mut next.threads[usize::from(channel)];
                let has = anything && !thread.busy || thread.busy && !thread.writes;
                if !has || Source::looks(s, usize::from(channel), page) != *event {
                    return Ok(Reaction::Disabled);
                }
                *thread = match filled {
                    true => Thread { busy: true, page, writes: true },
                    false => Thread::default(),
                };
                let bit = &mut next.bitmap[usize::from(page)];
                *bit = filled || *bit && self.manner.zero_keeps_bit;
                if anything {
                    next.log[usize::from(page)] = false;
                }
            }
            Event::Landed(channel) => next.threads[usize::from(channel)] = Thread::default(),
            Event::Stop if anything => next.stopped = true,
            Event::End if anything => next = Source::next(s),
            Event::Header | Event::Bitmap(_) | Event::Synced if anything => {}
            Event::Stop | Event::Header | Event::Bitmap(_) | Event::Synced | Event::End => {
                if self.does(s) != Some(*event) {
                    return Ok(Reaction::Disabled);
                }
                next = Source::next(s);
                next.stopped |= *event == Event::Stop;
            }
            Event::Load(_) | Event::LoadAll(_) => return Ok(Reaction::Ignore),
        }
        Ok(Reaction::To(next))
    }

    fn hidden(
        &self,
        s: &SourceState,
        _: &mut RuleContext,
        f: &mut dyn FnMut(Hidden, SourceState),
    ) -> Result<(), OpenChoice> {
        if self.step(s) != Some(Step::Round) {
            return Ok(());
        }
        if !s.began {
            let next = SourceState { began: true, dirty: s.log, log: [false; PAGES], ..*s };
            f(Hidden::alone(SOURCE, "read the dirty log"), next);
            return Ok(());
        }
        // Pages in the order of their addresses.
        let Some(page) = s.dirty.iter().position(|dirty| *dirty) else {
            f(Hidden::alone(SOURCE, "go on"), Source::next(s));
            return Ok(());
        };
        for channel in (0..self.channels).filter(|channel| !s.threads[*channel].busy) {
            let mut next = *s;
            next.dirty[page] = false;
            next.threads[channel] = Thread { busy: true, page: page as u8, writes: false };
            f(Hidden { by: SOURCE, name: HAND_OVER[page], index: channel as u8 }, next);
        }
        Ok(())
    }

    fn stimuli(&self, s: &SourceState, f: &mut dyn FnMut(Stimulus<Event>)) {
        if self.step(s) == Some(Step::Anything) {
            return self.anything(s, f);
        }
        if let Some(event) = self.does(s) {
            f(Stimulus::Unguarded(event));
        }
        for (channel, thread) in self.threads(s).iter().enumerate() {
            if thread.busy && !thread.writes {
                f(Stimulus::Unguarded(Source::looks(s, channel, thread.page)));
            }
        }
    }

    fn describe(&self, s: &SourceState) -> Map<String, Value> {
        let job = |thread: &Thread| match (thread.busy, thread.writes) {
            (false, _) => "-".to_owned(),
            (true, false) => format!("page {}", thread.page),
            (true, true) => format!("writes page {}", thread.page),
        };
        let shown = json!({
            "memory": s.memory,
            "log": s.log,
            "bitmap": s.bitmap,
            "jobs": self.threads(s).iter().map(job).collect::<Vec<_>>(),
        });
        Map::from_iter([(self.name().to_owned(), shown)])
    }

    fn at_end(&self, s: &SourceState) -> bool {
        usize::from(s.step) == self.steps.len() && self.is_idle(s)
    }
}

impl Source {
    /// Whatever there is to write: the rules say which of it is written. It ends when nothing is left to be
    /// written.
    fn anything(&self, s: &SourceState, f: &mut dyn FnMut(Stimulus<Event>)) {
        let mut offer = |event| f(Stimulus::Guarded(event));
        if !s.stopped {
            offer(Event::Stop);
        }
        offer(Event::Header);
        offer(Event::Synced);
        for channel in (0..self.channels).filter(|channel| !s.threads[*channel].busy) {
            for page in (0..self.pages).filter(|page| s.log[*page]) {
                offer(Source::looks(s, channel, page as u8));
            }
        }
        if s.stopped && s.log == [false; PAGES] {
            for bits in [[false, false], [true, false], [false, true], [true, true]] {
                offer(Event::Bitmap(bits));
            }
            offer(Event::End);
        }
    }
}

/// What the guest remembers.
#[packed]
pub struct GuestState {
    /// How often it has written.
    #[bits(2)]
    pub writes: u8,
    /// Its vCPUs are stopped.
    pub stopped: bool,
}

/// A guest that writes pages, with zeroes or with something else.
#[derive(Clone, Copy, Debug)]
pub struct Guest {
    /// Pages.
    pub pages: u8,
    /// How often it writes.
    pub writes: u8,
}

impl Machine for Guest {
    type State = GuestState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "guest"
    }

    fn plays(&self, party: Party) -> bool {
        party == GUEST
    }

    fn on(&self, s: &GuestState, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        Ok(match event {
            Event::Write(..) if s.stopped || s.writes >= self.writes => Reaction::Disabled,
            Event::Write(..) => Reaction::To(GuestState { writes: s.writes + 1, ..*s }),
            Event::Stop => Reaction::To(GuestState { stopped: true, ..*s }),
            _ => Reaction::Ignore,
        })
    }

    fn stimuli(&self, _: &GuestState, f: &mut dyn FnMut(Stimulus<Event>)) {
        self.domain(&mut |event| f(Stimulus::Guarded(event)));
    }

    fn domain(&self, f: &mut dyn FnMut(Event)) {
        for page in 0..self.pages {
            f(Event::Write(page, 0));
            f(Event::Write(page, 2));
        }
    }
}
