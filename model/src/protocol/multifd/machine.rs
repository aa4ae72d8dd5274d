//! The rules of synchronisation, and of the order of a device's buffers.
//!
//! ```text
//!   set-up --SYNC on every channel, mark--> epoch --SYNC on every channel, mark--> epoch ... --Last--> end
//!                                             '-- RAM packets: no page twice
//! ```
//!
//! The events are in the order in which a destination acts on them: it reads a channel up to its SYNC, and the
//! main stream up to a mark once every channel has sent one.
//!
//! **Invariant.** Rules about epochs are rules about RAM: a device's buffers pass at any time.

use devmig_engine::clause::ClauseId;
use devmig_engine::machine::{Machine, Reaction, Verdict};
use devmig_engine::packed;
use devmig_engine::rules::RuleContext;
use serde::Serializer;

use super::event::{Buffer, Event, Ram};

crate::clause_ids! {
    /// The clauses that are judged here.
    pub struct ClauseIds {
        /// `multifd.init.id-once`
        id_once: "multifd.init.id-once",
        /// `multifd.packet.has-pages`
        has_pages: "multifd.packet.has-pages",
        /// `multifd.packet.number-increases`
        number_increases: "multifd.packet.number-increases",
        /// `multifd.sync.setup-first`
        setup_first: "multifd.sync.setup-first",
        /// `multifd.sync.every-channel`
        every_channel: "multifd.sync.every-channel",
        /// `multifd.sync.marked`
        marked: "multifd.sync.marked",
        /// `multifd.sync.alone`
        alone: "multifd.sync.alone",
        /// `multifd.sync.page-once`
        page_once: "multifd.sync.page-once",
        /// `multifd.sync.no-pages-after-last`
        no_pages_after_last: "multifd.sync.no-pages-after-last",
        /// `multifd.end.packet-boundary`
        packet_boundary: "multifd.end.packet-boundary",
        /// `multifd.tls.bye`
        bye: "multifd.tls.bye",
        /// `multifd.colo.synchronised`
        checkpoint: "multifd.colo.synchronised",
        /// `multifd.device.index-once`
        index_once: "multifd.device.index-once",
        /// `multifd.device.config-once`
        config_once: "multifd.device.config-once",
        /// `multifd.device.config-last`
        config_last: "multifd.device.config-last",
        /// `multifd.device.whole`
        whole: "multifd.device.whole",
    }
}

/// The most channels.
pub const MAX_CHANNELS: usize = 255;
/// The most devices that are told apart.
pub const MAX_DEVICES: usize = 64;

/// What is remembered of `N` channels and `D` devices.
#[packed]
pub struct State<const N: usize, const D: usize> {
    /// These have sent a SYNC since the last mark.
    #[serde(serialize_with = "as_list")]
    pub synced: [bool; N],
    /// The configurations of these were sent.
    #[serde(serialize_with = "as_list")]
    pub configured: [bool; D],
    /// The first mark was there.
    pub set_up: bool,
    /// No mark follows.
    pub last: bool,
}

fn as_list<S: Serializer, const N: usize>(
    of: &[bool; N],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(of)
}

/// A migration with at most `N` channels and `D` devices.
#[derive(Clone, Copy, Debug)]
pub struct Multifd<const N: usize, const D: usize> {
    /// What it is judged by.
    pub laws: ClauseIds,
    /// How many channels there are.
    pub channels: usize,
}

impl<const N: usize, const D: usize> Multifd<N, D> {
    /// A channel that has sent no SYNC since the last mark.
    #[must_use]
    pub fn missing(&self, s: &State<N, D>) -> Option<usize> {
        s.synced.iter().take(self.channels).position(|synced| !synced)
    }

    fn ram(&self, s: &State<N, D>, channel: u8, ram: Ram) -> (State<N, D>, [Option<ClauseId>; 5]) {
        let laws = &self.laws;
        let broken = |is: bool, clause: ClauseId| is.then_some(clause);
        let synced = s.synced.get(usize::from(channel)).copied().unwrap_or_default();
        let clauses = [
            broken(ram.late, laws.number_increases),
            match ram.sync {
                true => broken(ram.pages, laws.alone),
                false => broken(!ram.pages, laws.has_pages),
            },
            broken(ram.again, laws.page_once),
            match () {
                () if !ram.pages => None,
                () if s.last => Some(laws.no_pages_after_last),
                () => broken(!s.set_up && !s.last, laws.setup_first),
            },
            broken(ram.sync && (synced || s.last), laws.marked),
        ];
        let mut next = *s;
        if let Some(synced) = next.synced.get_mut(usize::from(channel)) {
            *synced |= ram.sync;
        }
        (next, clauses)
    }

    fn device(&self, s: &State<N, D>, buffer: Buffer) -> (State<N, D>, [Option<ClauseId>; 5]) {
        let configured = s.configured.get(usize::from(buffer.device)).copied().unwrap_or_default();
        let clauses = [
            buffer.again.then_some(self.laws.index_once),
            (buffer.config && configured).then_some(self.laws.config_once),
            buffer.beyond.then_some(self.laws.config_last),
            None,
            None,
        ];
        let mut next = *s;
        if let Some(configured) = next.configured.get_mut(usize::from(buffer.device)) {
            *configured |= buffer.config;
        }
        (next, clauses)
    }
}

impl<const N: usize, const D: usize> Machine for Multifd<N, D> {
    type State = State<N, D>;
    type Event = Event;

    fn name(&self) -> &'static str {
        "multifd"
    }

    fn on(&self, s: &State<N, D>, event: &Event, judge: &mut RuleContext) -> Verdict<Self> {
        let laws = &self.laws;
        let one = |is: bool, clause| [is.then_some(clause), None, None, None, None];
        let mut next = *s;
        let (next, broken) = match *event {
            Event::Init(_, again) => (next, one(again, laws.id_once)),
            Event::Ram(channel, ram) => self.ram(s, channel, ram),
            Event::Device(_, buffer) => self.device(s, buffer),
            Event::Closed(_, whole) => (next, one(!whole, laws.packet_boundary)),
            Event::NoBye(_) => (next, one(true, laws.bye)),
            Event::Checkpoint(between) => (next, one(!between, laws.checkpoint)),
            Event::Mark => {
                next.synced = [false; N];
                next.set_up = true;
                (next, one(self.missing(s).is_some(), laws.every_channel))
            }
            Event::Last => {
                next.last = true;
                (next, one(false, laws.marked))
            }
            Event::Sent(_, whole) => (next, one(!whole, laws.whole)),
        };
        let broken = broken.into_iter().flatten().find(|clause| judge.enforces(*clause));
        Ok(broken.map_or(Reaction::To(next), Reaction::Violation))
    }
}
