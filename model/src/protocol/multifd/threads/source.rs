//! The source: a main thread with a program, and a thread for each channel.
//!
//! ```text
//!   main thread: list | sync | flush | round ... | stop | devices | end
//!        | a job (a page, or a buffer of the device) to a channel without one
//!        v
//!   channel thread: writes the job's packet; then, if one was asked for, a SYNC packet
//! ```
//!
//! A page is read from memory when its packet is written, not when it is handed over. What the guest writes
//! since the last look at the dirty log is sent in the next round.

mod words;

use devmig_engine::machine::{Machine, Party, Reaction, Step as Hidden, Stimulus, Verdict};
use devmig_engine::packed;
use devmig_engine::rules::{OpenChoice, RuleContext};

use serde_json::{Map, Value};

use super::event::{Buffer, Content, Event, Main, Packet, Page, channel_of};
use super::{CHANNELS, PAGES};
use crate::protocol::multifd::event::SOURCE;
pub use words::{MANNERS, MAX_STEPS, Manner, STEPS, Step, Switch};

/// A job of a channel.
#[packed]
#[derive(Default)]
pub enum Job {
    /// None.
    #[default]
    None,
    /// A page.
    Page(Which),
    /// A buffer of the device.
    Buffer(Buffer),
}

/// A page, and the epoch of its round.
#[packed]
#[derive(Default)]
pub struct Which {
    /// The page.
    #[bits(1)]
    pub page: u8,
    /// The epoch.
    #[bits(3)]
    pub epoch: u8,
}

/// A thread of a channel.
#[packed]
#[derive(Default)]
pub struct Thread {
    /// Its job.
    pub job: Job,
    /// A SYNC is asked for.
    pub sync: bool,
    /// It has found nothing to do, and is about to sleep.
    pub drowsy: bool,
    /// It sleeps until it is woken.
    pub asleep: bool,
    /// Its job was written before.
    pub written: bool,
    /// It has ended.
    pub ended: bool,
    /// An answer is due (cloud-hypervisor).
    pub unanswered: bool,
    /// Its end was sent.
    pub closed: bool,
}

/// What the source remembers.
#[packed]
pub struct SourceState {
    /// Steps done.
    #[bits(5)]
    pub step: u8,
    /// The current one has begun.
    pub began: bool,
    /// The content of each page.
    pub memory: [Content; PAGES],
    /// Written since the log was read.
    pub log: [bool; PAGES],
    /// To be sent in this round.
    pub dirty: [bool; PAGES],
    /// The threads.
    pub threads: [Thread; CHANNELS],
    /// Marks that were sent.
    #[bits(3)]
    pub epoch: u8,
    /// Buffers of the device that were handed over.
    #[bits(4)]
    pub buffers: u8,
    /// The object that the main thread fills is this channel's too, counted from 1.
    #[bits(2)]
    pub shared: u8,
    /// A channel has failed.
    pub failed: bool,
    /// How many channels have failed.
    #[bits(1)]
    pub faults: u8,
    /// The main thread has given up.
    pub gave_up: bool,
    /// SHUT came.
    pub shut: bool,
    /// The vCPUs are stopped.
    pub stopped: bool,
    /// How many connections were cut.
    #[bits(1)]
    pub cuts: u8,
    /// What each page contained at each checkpoint that was sent.
    pub checkpoints: [Checkpoint; CHECKPOINTS],
    /// How many these are.
    #[bits(2)]
    pub sent: u8,
    /// How many of them the destination has loaded.
    #[bits(2)]
    pub acknowledged: u8,
}

/// The most checkpoints of a migration.
pub const CHECKPOINTS: usize = 2;

/// What each page contained.
#[packed]
#[derive(Default)]
#[serde(transparent)]
pub struct Checkpoint {
    /// By page.
    pub memory: [Content; PAGES],
}

/// A source with a program.
#[derive(Clone, Debug)]
pub struct Source {
    /// What the main thread does.
    pub steps: Vec<Step>,
    /// How it differs from QEMU 11.1.
    pub manner: Manner,
    /// Channels.
    pub channels: u8,
    /// Pages.
    pub pages: u8,
    /// The device's buffers, in the order in which they are handed over.
    pub buffers: Vec<Buffer>,
    /// How many channels may fail.
    pub faults: u8,
    /// How many connections may be cut, once the vCPUs are stopped.
    pub cuts: u8,
}

/// The last epoch of a source that sends anything.
const LAST_EPOCH: u8 = 2;
const QUEUE_PAGE: [&str; PAGES] = ["hand over page 0, channel", "hand over page 1, channel"];

impl Source {
    fn step(&self, s: &SourceState) -> Option<Step> {
        self.steps.get(usize::from(s.step)).copied().filter(|_| !s.gave_up)
    }

    fn channels(&self) -> std::ops::Range<usize> {
        0..usize::from(self.channels)
    }

    fn pages(&self) -> std::ops::Range<usize> {
        0..usize::from(self.pages)
    }

    fn threads<'s>(&self, s: &'s SourceState) -> &'s [Thread] {
        &s.threads[self.channels()]
    }

    fn next(s: &SourceState) -> SourceState {
        SourceState { step: s.step + 1, began: false, ..*s }
    }

    /// Whether a channel takes a job.
    fn is_idle(&self, thread: &Thread) -> bool {
        (thread.job == Job::None || thread.written) && !thread.ended
    }

    /// The threads, one of which is given something to do.
    fn give(&self, s: &SourceState, channel: usize, f: impl FnOnce(&mut Thread)) -> SourceState {
        let mut next = *s;
        let thread = &mut next.threads[channel];
        f(thread);
        thread.written = false;
        // A semaphore remembers; a signal does not.
        if thread.asleep || !self.manner.signal_is_lost {
            (thread.asleep, thread.drowsy) = (false, false);
        }
        next
    }

    /// A page for a channel, from the object that the main thread fills.
    fn hand_over(&self, s: &SourceState, channel: usize, page: usize) -> SourceState {
        let job = Job::Page(Which { page: page as u8, epoch: s.epoch });
        let mut next = *s;
        next.dirty[page] = false;
        if let Some(shared) = usize::from(s.shared).checked_sub(1) {
            // The packet that waits is filled anew.
            if matches!(s.threads[shared].job, Job::Page(_)) {
                next.threads[shared].job = job;
            }
        }
        if self.manner.object_is_shared {
            next.shared = channel as u8 + 1;
        }
        self.give(&next, channel, |thread| thread.job = job)
    }

    /// Whether the thread may do something.
    fn is_awake(thread: &Thread) -> bool {
        !thread.asleep && !thread.drowsy && !thread.ended
    }

    /// What a thread writes next, if there is still a connection.
    fn packet(&self, s: &SourceState, thread: &Thread) -> Option<Packet> {
        self.pending(s, thread).filter(|_| !thread.closed)
    }

    /// What a thread has to write next.
    fn pending(&self, s: &SourceState, thread: &Thread) -> Option<Packet> {
        let stops = s.failed && !self.manner.acknowledged;
        if !Source::is_awake(thread) || thread.unanswered || stops {
            return None;
        }
        let job = if thread.written { Job::None } else { thread.job };
        Some(match job {
            Job::Page(which) => {
                let version = s.memory[usize::from(which.page)].version;
                let page = Page { page: which.page, version, epoch: which.epoch };
                Packet::Ram(page, self.manner.sync_rides && thread.sync)
            }
            Job::Buffer(buffer) => Packet::Device(buffer),
            Job::None if thread.sync => Packet::Sync,
            Job::None => return None,
        })
    }

    /// What the main thread sends now.
    fn sends(&self, s: &SourceState) -> Option<Main> {
        if s.failed {
            let joined = !self.manner.acknowledged || self.threads(s).iter().all(|t| t.ended);
            return (s.gave_up && !s.began && joined).then_some(Main::Closed);
        }
        Some(match self.step(s)? {
            Step::Main(main) => main,
            Step::MainPage => {
                Main::Page(Page { page: 0, version: s.memory[0].version, epoch: s.epoch })
            }
            _ => return None,
        })
    }

    /// Whether it passes a gate now.
    fn passes(&self, s: &SourceState) -> bool {
        let answered = |thread: &Thread| thread.job == Job::None && !thread.unanswered;
        self.step(s) == Some(Step::Gate) && !s.failed && self.threads(s).iter().all(answered)
    }

    /// Whether the current step is done.
    fn is_done(&self, s: &SourceState, step: Step) -> bool {
        let mut threads = self.threads(s).iter();
        match step {
            Step::Sync(_) => s.began && threads.all(|thread| !thread.sync),
            Step::Round | Step::Again => s.began && s.dirty == [false; PAGES],
            Step::Devices => usize::from(s.buffers) == self.buffers.len(),
            Step::WaitShut => s.shut,
            Step::Close | Step::Shutdown => threads.all(|thread| thread.closed),
            Step::Anything => s.began && threads.all(|thread| thread.closed),
            Step::WaitLoaded => s.acknowledged == s.sent,
            Step::Main(_) | Step::MainPage | Step::StopGuest | Step::Resume | Step::Gate => false,
        }
    }
}

impl SourceState {
    /// A checkpoint is sent, of this state.
    fn checkpoint(&mut self, of: &SourceState) {
        if let Some(checkpoint) = self.checkpoints.get_mut(usize::from(of.sent)) {
            checkpoint.memory = of.memory;
            self.sent += 1;
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
        let mut state: SourceState = SourceState {
            step: 0,
            began: false,
            memory: [Content::default(); PAGES],
            log: [false; PAGES],
            dirty: [false; PAGES],
            threads: [Thread::default(); CHANNELS],
            epoch: 0,
            buffers: 0,
            shared: 0,
            failed: false,
            faults: 0,
            gave_up: false,
            shut: false,
            stopped: false,
            cuts: 0,
            checkpoints: [Checkpoint::default(); CHECKPOINTS],
            sent: 0,
            acknowledged: 0,
        };
        // Content 0 is that of a page that never came.
        for page in self.pages() {
            (state.memory[page].version, state.log[page]) = (1, true);
        }
        state
    }

    fn on(&self, s: &SourceState, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        let mut next = *s;
        match *event {
            Event::Write(page) => {
                let page = usize::from(page);
                next.memory[page].version += 1;
                next.log[page] = true;
            }
            Event::Stop => {
                next = match self.step(s) {
                    Some(Step::StopGuest) => Source::next(s),
                    Some(Step::Anything) => next,
                    _ => return Ok(Reaction::Disabled),
                };
                next.stopped = true;
            }
            Event::Resume => {
                if self.step(s) != Some(Step::Resume) {
                    return Ok(Reaction::Disabled);
                }
                next = Source::next(s);
                next.stopped = false;
            }
            Event::Loaded => next.acknowledged = s.sent,
            Event::Shut => next.shut = true,
            Event::Acknowledged(channel) => {
                next.threads[usize::from(channel)].unanswered = false;
            }
            Event::Passed if !self.passes(s) => return Ok(Reaction::Disabled),
            Event::Passed => {
                next = Source::next(s);
                next.epoch += 1;
            }
            Event::Channel(..) | Event::Main(_) => return Ok(Reaction::Ignore),
        }
        Ok(Reaction::To(next))
    }

    fn sent(&self, s: &SourceState, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        let anything = self.step(s) == Some(Step::Anything);
        let mut next = *s;
        match *event {
            Event::Main(Main::Flush) if anything => next.epoch += 1,
            Event::Main(Main::End) if anything && self.buffers.is_empty() => {
                next = Source::next(s);
            }
            Event::Main(Main::Checkpoint) if anything => {
                next = Source::next(s);
                next.checkpoint(s);
            }
            Event::Main(Main::End) if anything => next.began = true,
            Event::Main(main) if self.sends(s) != Some(main) => return Ok(Reaction::Disabled),
            Event::Main(Main::Closed) => next.began = true,
            Event::Main(main) => {
                next = Source::next(s);
                let mark = if self.manner.per_section { Main::Eos } else { Main::Flush };
                next.epoch += u8::from(main == mark);
                if main == Main::Checkpoint {
                    next.checkpoint(s);
                }
            }
            Event::Channel(queue, packet) => {
                let channel = channel_of(queue);
                let thread = &mut next.threads[channel];
                match packet {
                    Packet::Closed | Packet::Cut | Packet::Lost if thread.closed => {
                        return Ok(Reaction::Disabled);
                    }
                    Packet::Closed | Packet::Cut => (thread.closed, thread.ended) = (true, true),
                    Packet::Lost => {
                        thread.closed = true;
                        next.cuts += 1;
                    }
                    Packet::Ram(page, _) if anything => next.log[usize::from(page.page)] = false,
                    Packet::Sync | Packet::Device(_) if anything => {}
                    _ if self.packet(s, &s.threads[channel]) != Some(packet) => {
                        return Ok(Reaction::Disabled);
                    }
                    Packet::Ram(_, sync) => {
                        thread.unanswered = self.manner.acknowledged;
                        if sync {
                            thread.sync = false;
                        }
                        match self.manner.job_stays && !sync {
                            true => thread.written = true,
                            false => thread.job = Job::None,
                        }
                        if usize::from(s.shared) == channel + 1 {
                            next.shared = 0;
                        }
                    }
                    Packet::Device(_) => thread.job = Job::None,
                    Packet::Sync => thread.sync = false,
                }
            }
            _ => return Ok(Reaction::Ignore),
        }
        Ok(Reaction::To(next))
    }

    fn hidden(
        &self,
        s: &SourceState,
        _: &mut RuleContext,
        f: &mut dyn FnMut(Hidden, SourceState),
    ) -> Result<(), OpenChoice> {
        self.main_thread(s, f);
        for channel in self.channels() {
            self.channel_thread(s, channel, f);
        }
        Ok(())
    }

    fn stimuli(&self, s: &SourceState, f: &mut dyn FnMut(Stimulus<Event>)) {
        if self.step(s) == Some(Step::StopGuest) && !s.failed {
            f(Stimulus::Unguarded(Event::Stop));
        }
        if self.step(s) == Some(Step::Resume) && !s.failed {
            f(Stimulus::Unguarded(Event::Resume));
        }
        if self.step(s) == Some(Step::Anything) {
            return self.anything(s, f);
        }
        if self.passes(s) {
            f(Stimulus::Unguarded(Event::Passed));
        }
        if let Some(main) = self.sends(s) {
            f(Stimulus::Unguarded(Event::Main(main)));
        }
        for channel in self.channels() {
            let thread = &s.threads[channel];
            if let Some(packet) = self.packet(s, thread) {
                f(Stimulus::Unguarded(Event::on_channel(channel, packet)));
            }
            if !thread.closed && self.closes(s, thread) {
                let end = if self.manner.no_bye { Packet::Cut } else { Packet::Closed };
                f(Stimulus::Unguarded(Event::on_channel(channel, end)));
            }
            if !thread.closed && s.stopped && s.cuts < self.cuts {
                f(Stimulus::Unguarded(Event::on_channel(channel, Packet::Lost)));
            }
        }
    }

    fn describe(&self, s: &SourceState) -> Map<String, Value> {
        let job = |thread: &Thread| match thread.job {
            Job::None => "-".to_owned(),
            Job::Page(which) => format!("page {}", which.page),
            Job::Buffer(buffer) => format!("buffer {}", buffer.index),
        };
        let shown = serde_json::json!({
            "memory": s.memory,
            "log": s.log,
            "jobs": self.threads(s).iter().map(job).collect::<Vec<_>>(),
            "sync asked": self.threads(s).iter().map(|thread| thread.sync).collect::<Vec<_>>(),
            "failed": s.failed,
            "gave up": s.gave_up,
        });
        Map::from_iter([(self.name().to_owned(), shown)])
    }

    fn at_end(&self, s: &SourceState) -> bool {
        let threads = self.threads(s);
        match s.failed {
            true => s.gave_up && s.began && threads.iter().all(|thread| thread.closed),
            false => {
                let left = |t: &Thread| (t.job == Job::None || t.ended || t.written) && !t.sync;
                usize::from(s.step) == self.steps.len() && threads.iter().all(left)
            }
        }
    }
}

impl Source {
    /// Whatever there is to send: the rules say which of it is sent.
    ///
    /// The last epoch begins once the vCPUs are stopped, and ends when all was sent: a source that waits
    /// longer has no epoch left.
    fn anything(&self, s: &SourceState, f: &mut dyn FnMut(Stimulus<Event>)) {
        let mut offer = |event| f(Stimulus::Guarded(event));
        let open = || self.channels().filter(|channel| !s.threads[*channel].closed);
        if !s.stopped {
            offer(Event::Stop);
        }
        if !self.buffers.is_empty() {
            if s.stopped && !s.began {
                offer(Event::Main(Main::End));
            }
            for channel in open() {
                let highest = self.buffers.iter().map(|buffer| buffer.index).max();
                for index in self.buffers.iter().map(|buffer| buffer.index) {
                    // The highest index is left for the configuration.
                    for config in [false, true].into_iter().filter(|c| *c || Some(index) < highest)
                    {
                        let packet = Packet::Device(Buffer { index, config });
                        offer(Event::on_channel(channel, packet));
                    }
                }
                if s.began {
                    offer(Event::on_channel(channel, Packet::Closed));
                    offer(Event::on_channel(channel, Packet::Cut));
                }
            }
            return;
        }
        let clean = s.log == [false; PAGES];
        let last = s.epoch >= LAST_EPOCH;
        if s.stopped && clean {
            let checkpoints = self.manner.checkpoints;
            offer(Event::Main(if checkpoints { Main::Checkpoint } else { Main::End }));
        }
        if s.epoch <= LAST_EPOCH {
            offer(Event::Main(Main::Flush));
        }
        for channel in open().filter(|_| s.epoch <= LAST_EPOCH) {
            if !last || s.stopped && clean {
                offer(Event::on_channel(channel, Packet::Sync));
            }
            for page in self.pages().filter(|_| !last || s.stopped) {
                let version = s.memory[page].version;
                let page = Page { page: page as u8, version, epoch: s.epoch };
                offer(Event::on_channel(channel, Packet::Ram(page, false)));
                if !last || s.stopped && clean {
                    offer(Event::on_channel(channel, Packet::Ram(page, true)));
                }
            }
        }
    }

    /// Whether the end of a channel is sent now.
    fn closes(&self, s: &SourceState, thread: &Thread) -> bool {
        let idle = (thread.job == Job::None || thread.written) && !thread.sync;
        match self.step(s) {
            _ if s.failed => thread.ended,
            Some(Step::Shutdown) => true,
            Some(Step::Close) => idle,
            _ => false,
        }
    }

    /// What the main thread does by itself.
    fn main_thread(&self, s: &SourceState, f: &mut dyn FnMut(Hidden, SourceState)) {
        let Some(step) = self.step(s) else { return };
        let does = |name| Hidden::alone(SOURCE, name);
        // It notices a failure wherever it does not wait for something else.
        if s.failed && !(matches!(step, Step::Sync(_)) && s.began && !self.is_done(s, step)) {
            let mut next = SourceState { gave_up: true, began: false, ..*s };
            if self.manner.acknowledged {
                // The request to end is offered to each queue, and dropped where it is full.
                for channel in self.channels() {
                    let thread = &mut next.threads[channel];
                    thread.ended |= thread.job == Job::None;
                }
            }
            return f(does("give up"), next);
        }
        if self.is_done(s, step) {
            let mut next = Source::next(s);
            if self.manner.log_cleared_late && step == Step::Round {
                next.log = [false; PAGES];
            }
            return f(does("go on"), next);
        }
        match step {
            Step::Sync(of) if !s.began => {
                let mut next = SourceState { began: true, ..*s };
                for channel in self.channels().filter(|channel| of >> channel & 1 == 1) {
                    next = self.give(&next, channel, |thread| thread.sync = true);
                }
                f(does("ask for SYNC"), next);
            }
            Step::Round | Step::Again if !s.began => {
                let mut next = SourceState { began: true, dirty: s.log, ..*s };
                if step == Step::Again {
                    self.pages().for_each(|page| next.dirty[page] = true);
                }
                if !self.manner.log_cleared_late {
                    next.log = [false; PAGES];
                }
                f(does("read the dirty log"), next);
            }
            Step::Round | Step::Again => {
                // Pages in the order of their addresses.
                let Some(page) = s.dirty.iter().position(|dirty| *dirty) else { return };
                for channel in self.channels().filter(|c| self.is_idle(&s.threads[*c])) {
                    let step = Hidden { by: SOURCE, name: QUEUE_PAGE[page], index: channel as u8 };
                    f(step, self.hand_over(s, channel, page));
                }
            }
            Step::Devices => {
                let Some(buffer) = self.buffers.get(usize::from(s.buffers)) else { return };
                for channel in self.channels().filter(|c| self.is_idle(&s.threads[*c])) {
                    let mut next =
                        self.give(s, channel, |thread| thread.job = Job::Buffer(*buffer));
                    next.buffers += 1;
                    let name = "hand over a buffer, channel";
                    f(Hidden { by: SOURCE, name, index: channel as u8 }, next);
                }
            }
            _ => {}
        }
    }

    /// What a channel's thread does by itself.
    fn channel_thread(
        &self,
        s: &SourceState,
        channel: usize,
        f: &mut dyn FnMut(Hidden, SourceState),
    ) {
        let thread = &s.threads[channel];
        let does = |name| Hidden { by: SOURCE, name, index: channel as u8 };
        if thread.ended {
            return;
        }
        let mut next = *s;
        let own = &mut next.threads[channel];
        if let (true, Some(packet)) = (thread.closed, self.pending(s, thread)) {
            // The socket takes what the other side does not read any more.
            match packet {
                Packet::Sync => own.sync = false,
                Packet::Ram(_, true) => (own.sync, own.job) = (false, Job::None),
                _ => own.job = Job::None,
            }
            return f(does("write in vain, channel"), next);
        }
        if s.failed && !self.manner.acknowledged {
            // Another one has failed.
            own.ended = true;
            if !self.manner.ends_silently {
                own.sync = false;
            }
            return f(does("end, channel"), next);
        }
        if self.packet(s, thread).is_some() && s.faults < self.faults {
            // Whoever fails wakes the main thread in every version.
            (own.ended, own.sync) = (true, false);
            (next.failed, next.faults) = (true, s.faults + 1);
            return f(does("fail, channel"), next);
        }
        if self.manner.signal_is_lost && !thread.asleep {
            if thread.drowsy {
                (own.drowsy, own.asleep) = (false, true);
                f(does("sleep, channel"), next);
            } else if thread.job == Job::None && !thread.sync {
                own.drowsy = true;
                f(does("find nothing to do, channel"), next);
            }
        }
    }
}
