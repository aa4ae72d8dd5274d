//! How fast the explorer is, and how many bytes a state takes, against stateright over the same
//! composed and packed system: `cargo bench -p devmig-model --bench explore`.
//!
//! ```text
//!  Source: 3 pages, all dirty; a write makes version 1, then 2, while anything is dirty
//!    |  |  |   3 channels, queues of 3: a free page on any channel with room
//!    |  |  |   SYNC on channel 0, 1, 2 when no page may be sent; a page once between two SYNCs
//!  Destination: the version of each page that was read last
//! ```
//!
//! The figure of 3,120,170 states in older notes comes from a model that was not written down; this
//! one is of the same kind and size, and its counts are pinned.
//!
//! Everything is measured in CPU time of this process, since other work may run beside it.

use std::sync::Arc;
use std::time::Instant;

use devmig_model::compose::{Closed, WorldOf};
use devmig_model::explore::search::{Limits, explore};
use devmig_model::explore::view::View;
use devmig_model::machine::{Channel, Event, Machine, Offer, On, Party, Step, Verdict};
use devmig_model::pack::{Overflow, Pack, Reader, Writer};
use devmig_model::packed;
use devmig_model::rules::{Ask, Judge, Rules};
use devmig_model::system::{Expect, Property, System};
use serde::Serialize;
use stateright::{Checker, Model};

const SOURCE: Party = Party("source");
const PAGES: usize = 3;
const LAST: u8 = 2;
const CHANNELS: u8 = 3;

/// The page number that stands for a SYNC.
const SYNC: u8 = 3;

/// A page, or a SYNC, sent on a channel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
struct Message {
    channel: u8,
    page: u8,
    version: u8,
}

impl Pack for Message {
    const BITS: u32 = 4;
    #[inline(always)]
    fn pack<const W: usize>(&self, into: &mut Writer<W>) -> Result<(), Overflow> {
        into.put(u64::from(self.page), 2, "page")?;
        into.put(u64::from(self.version), 2, "version")
    }
    #[inline(always)]
    fn unpack<const W: usize>(from: &mut Reader<W>) -> Self {
        Message { channel: 0, page: from.get(2) as u8, version: from.get(2) as u8 }
    }
}

impl Event for Message {
    #[inline]
    fn owner(&self) -> Party {
        SOURCE
    }
    #[inline]
    fn channel(&self) -> Channel {
        Channel::Queue(self.channel)
    }
    #[inline]
    fn on_queue(self, queue: u8) -> Self {
        Message { channel: queue, ..self }
    }
}

/// The version of each page: three to the third is less than two to the fifth.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
pub struct Versions(pub [u8; PAGES]);

impl Pack for Versions {
    const BITS: u32 = 5;
    #[inline(always)]
    fn pack<const W: usize>(&self, into: &mut Writer<W>) -> Result<(), Overflow> {
        let [a, b, c] = self.0.map(u64::from);
        if a > 2 || b > 2 || c > 2 {
            return Err(Overflow { field: "version" });
        }
        into.put(a + 3 * b + 9 * c, 5, "versions")
    }
    #[inline(always)]
    fn unpack<const W: usize>(from: &mut Reader<W>) -> Self {
        let n = from.get(5) as u8;
        Versions([n % 3, n / 3 % 3, n / 9])
    }
}

packed! {
    /// The source.
    pub struct Pages {
        /// Count the guest's writes.
        pub versions: Versions,
        /// Must be sent: a bit for each page.
        pub dirty: u8 = 3,
        /// Were sent since the last SYNC: a bit for each page.
        pub sent: u8 = 3,
        /// SYNCs begun.
        pub rounds: u8 = 2,
        /// The channel that gets the next SYNC.
        pub sync: u8 = 2,
        /// SYNCs of this round not read yet.
        pub unread: u8 = 2,
    }
}

struct Source;
struct Destination;

impl Machine for Source {
    type State = Pages;
    type Event = Message;

    fn name(&self) -> &'static str {
        "source"
    }
    #[inline]
    fn plays(&self, party: Party) -> bool {
        party == SOURCE
    }
    fn initial(&self) -> Pages {
        Pages { versions: Versions([0; PAGES]), dirty: 7, sent: 0, rounds: 0, sync: 0, unread: 0 }
    }
    #[inline]
    fn on(&self, s: &Pages, message: &Message, _: &mut Judge) -> Verdict<Self> {
        Ok(match (message.page, s.unread) {
            (SYNC, 1) => On::To(Pages { sent: 0, sync: 0, unread: 0, ..*s }),
            (SYNC, unread) => On::To(Pages { unread: unread - 1, ..*s }),
            _ => On::Ignore,
        })
    }
    #[inline]
    fn sent(&self, s: &Pages, message: &Message, _: &mut Judge) -> Verdict<Self> {
        let bit = 1 << message.page;
        Ok(On::To(match (message.page, message.channel) {
            (SYNC, 0) => Pages { sync: 1, unread: 3, rounds: s.rounds + 1, ..*s },
            (SYNC, channel) => Pages { sync: channel + 1, ..*s },
            _ => Pages { dirty: s.dirty & !bit, sent: s.sent | bit, ..*s },
        }))
    }
    #[inline]
    fn hidden(&self, s: &Pages, _: &mut Judge, f: &mut impl FnMut(Step, Pages)) -> Result<(), Ask> {
        for page in 0..PAGES {
            if s.dirty != 0 && s.versions.0[page] < LAST {
                let mut next = *s;
                next.versions.0[page] += 1;
                next.dirty |= 1 << page;
                f(Step { name: "write", index: page as u8 }, next);
            }
        }
        Ok(())
    }
    #[inline]
    fn offers(&self, s: &Pages, f: &mut impl FnMut(Offer<Message>)) {
        let sendable = s.dirty & !s.sent;
        for page in 0..PAGES as u8 {
            if sendable >> page & 1 == 1 {
                for channel in 0..CHANNELS {
                    let version = s.versions.0[page as usize];
                    f(Offer::Does(Message { channel, page, version }));
                }
            }
        }
        let begins = s.sync == 0 && sendable == 0 && s.rounds < 3;
        if begins || (1..CHANNELS).contains(&s.sync) {
            f(Offer::Does(Message { channel: s.sync, page: SYNC, version: 0 }));
        }
    }
}

impl Machine for Destination {
    type State = Versions;
    type Event = Message;

    fn name(&self) -> &'static str {
        "destination"
    }
    fn initial(&self) -> Versions {
        Versions([0; PAGES])
    }
    #[inline]
    fn on(&self, s: &Versions, message: &Message, _: &mut Judge) -> Verdict<Self> {
        let mut next = *s;
        match next.0.get_mut(message.page as usize) {
            Some(version) => *version = message.version,
            None => return Ok(On::Ignore),
        }
        Ok(On::To(next))
    }
}

type Parties = (Source, Destination);
type World = WorldOf<Parties, 3, 3>;

fn system() -> System<Parties, 3, 3, 1> {
    System {
        name: "bench/channels".to_owned(),
        area: "bench",
        about: "Pages on three channels.".to_owned(),
        closed: Closed { machine: (Source, Destination), rules: Rules::default() },
        properties: vec![Property::at_end("the copy is the source", |w: &World| {
            w.parts.0.dirty != 0 || w.parts.0.versions == w.parts.1
        })],
        expect: Expect::default(),
        environment: vec![],
    }
}

/// CPU seconds of this process, all threads.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|f| f.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

/// The greatest resident size since the last call of `fresh`, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024
}

fn fresh() -> u64 {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    peak()
}

/// Runs something that returns (states, transitions, table bytes), and prints a row.
fn measure(name: &str, run: impl FnOnce() -> (u64, u64, Option<usize>)) -> f64 {
    let (before, wall, begun) = (fresh(), Instant::now(), cpu());
    let (states, transitions, bytes) = run();
    let (cpu, wall) = (cpu() - begun, wall.elapsed().as_secs_f64());
    let rate = states as f64 / cpu / 1e6;
    let each = |bytes: u64| bytes as f64 / states as f64;
    println!(
        "{name:24} {states:>9} {transitions:>10} {rate:>8.2} {:>8.2} {wall:>7.2} {cpu:>7.2} {:>8.1} {:>8}",
        transitions as f64 / cpu / 1e6,
        each(peak().saturating_sub(before)),
        bytes.map_or("-".to_owned(), |bytes| format!("{:.1}", each(bytes as u64))),
    );
    rate
}

fn main() {
    println!(
        "{:24} {:>9} {:>10} {:>8} {:>8} {:>7} {:>7} {:>8} {:>8}",
        "", "states", "trans.", "Mst/cpus", "Mtr/cpus", "wall s", "cpu s", "rss B/st", "table"
    );
    let ours = |threads| {
        move || match explore(&system(), &Limits { threads, ..Limits::default() }) {
            Ok(run) => (run.table.len() as u64, run.transitions, Some(run.table.bytes())),
            Err(error) => {
                println!("{error}");
                (0, 0, None)
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let only_one = std::env::args().any(|arg| arg == "--one");
    let one = measure("devmig, 1 thread", ours(1));
    if !only_one {
        measure(&format!("devmig, {cores} threads"), ours(cores));
    }
    if only_one || std::env::args().any(|arg| arg == "--ours") {
        return;
    }
    let bfs = measure("stateright 0.31 BFS", || {
        let checker = View(Arc::new(system())).checker().spawn_bfs().join();
        (checker.unique_state_count() as u64, checker.state_count() as u64 - 1, None)
    });
    measure("stateright 0.31 DFS", || {
        let checker = View(Arc::new(system())).checker().spawn_dfs().join();
        (checker.unique_state_count() as u64, checker.state_count() as u64 - 1, None)
    });
    println!("devmig / stateright BFS, states a CPU second: {:.1}", one / bfs);
}
