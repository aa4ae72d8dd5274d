//! How fast the explorer is, and how many bytes a state takes, against stateright over the same
//! composed and packed system: `cargo bench -p devmig-model --bench explore`.
//!
//! ```text
//!  Source: 3 pages, all dirty; a clean page is written (version 1, then 2) while any is dirty
//!    |  |  |   3 channels, queues of 3: a dirty page goes to any channel with room
//!  Destination: the version of each page that was read last
//! ```
//!
//! An older figure of 3,120,170 states comes from a model that was not written down; this one is of
//! the same kind and size, and its counts are pinned.
//!
//! Everything is measured in CPU time of this process, since other work may run beside it.

use std::sync::Arc;
use std::time::Instant;

use devmig_engine::compose::{Closed, GlobalStateOf};
use devmig_engine::explore::Options;
use devmig_engine::explore::search::{Limits, explore};
use devmig_engine::explore::view::View;
use devmig_engine::machine::{Channel, Event, Machine, Party, Reaction, Step, Stimulus, Verdict};
use devmig_engine::pack::QueueNumber;
use devmig_engine::packed;
use devmig_engine::rules::{OpenChoice, RuleContext, Rules};
use devmig_engine::system;
use devmig_engine::system::{Expect, Property, System};
use stateright::{Checker, Model};

const SOURCE: Party = Party("source");
const GUEST: Party = Party("guest");
const PAGES: usize = 3;
const LAST: u8 = 2;
const CHANNELS: u8 = 3;

/// A page sent on a channel.
#[packed]
#[derive(Default)]
pub struct Message {
    /// On this one.
    pub channel: QueueNumber,
    /// Which page.
    #[bits(2)]
    pub page: u8,
    /// Its version.
    #[bits(2)]
    pub version: u8,
}

impl Event for Message {
    #[inline]
    fn owner(&self) -> Party {
        SOURCE
    }
    #[inline]
    fn channel(&self) -> Channel {
        Channel::Queue(self.channel.0)
    }
    #[inline]
    fn on_queue(self, queue: u8) -> Self {
        Message { channel: QueueNumber(queue), ..self }
    }
}

/// A page at the source.
#[packed]
pub struct Page {
    /// Counts the guest's writes.
    #[bits(2)]
    pub version: u8,
    /// Whether it must be sent.
    pub dirty: bool,
}
/// A page at the destination.
#[packed]
pub struct Copy {
    /// What was read last.
    #[bits(2)]
    pub version: u8,
}

struct Source;
struct Destination;

impl Machine for Source {
    type State = [Page; PAGES];
    type Event = Message;

    fn name(&self) -> &'static str {
        "source"
    }
    #[inline]
    fn plays(&self, party: Party) -> bool {
        party == SOURCE
    }
    fn initial(&self) -> Self::State {
        [Page { version: 0, dirty: true }; PAGES]
    }
    #[inline]
    fn on(&self, _: &Self::State, _: &Message, _: &mut RuleContext) -> Verdict<Self> {
        Ok(Reaction::Ignore)
    }
    #[inline]
    fn sent(&self, s: &Self::State, message: &Message, _: &mut RuleContext) -> Verdict<Self> {
        let mut next = *s;
        next[usize::from(message.page)].dirty = false;
        Ok(Reaction::To(next))
    }
    #[inline]
    fn hidden(
        &self,
        s: &Self::State,
        _: &mut RuleContext,
        f: &mut dyn FnMut(Step, Self::State),
    ) -> Result<(), OpenChoice> {
        let running = s.iter().any(|page| page.dirty);
        for (n, page) in s.iter().enumerate() {
            if running && !page.dirty && page.version < LAST {
                let mut next = *s;
                next[n] = Page { version: page.version + 1, dirty: true };
                f(Step { by: GUEST, name: "write", index: n as u8 }, next);
            }
        }
        Ok(())
    }
    #[inline]
    fn stimuli(&self, s: &Self::State, f: &mut dyn FnMut(Stimulus<Message>)) {
        for (n, page) in s.iter().enumerate() {
            if page.dirty {
                for channel in (0..CHANNELS).map(QueueNumber) {
                    let (page, version) = (n as u8, page.version);
                    f(Stimulus::Unguarded(Message { channel, page, version }));
                }
            }
        }
    }
}

impl Machine for Destination {
    type State = [Copy; PAGES];
    type Event = Message;

    fn name(&self) -> &'static str {
        "destination"
    }
    fn initial(&self) -> Self::State {
        [Copy { version: 0 }; PAGES]
    }
    #[inline]
    fn on(&self, s: &Self::State, message: &Message, _: &mut RuleContext) -> Verdict<Self> {
        let mut next = *s;
        next[usize::from(message.page)].version = message.version;
        Ok(Reaction::To(next))
    }
}

type Parties = (Source, Destination);
type GlobalState = GlobalStateOf<Parties, 3, 3>;

fn system() -> system!(Parties, queues = 3, room = 3) {
    System {
        name: "bench/channels".to_owned(),
        protocol: "bench",
        about: "Pages on three channels.".to_owned(),
        closed: Closed { machine: (Source, Destination), rules: Rules::default() },
        properties: vec![Property::at_end("the copy is the source", |w: &GlobalState| {
            (0..PAGES).all(|n| w.parts.0[n].dirty || w.parts.0[n].version == w.parts.1[n].version)
        })],
        expect: Expect::default(),
        refinements: vec![],
        environment: vec![],
        symmetry: None,
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

/// States and transitions.
const PINNED: (u64, u64) = (4_777_228, 19_159_758);

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
    let mut counted = (0, 0);
    let one = measure("devmig, 1 thread", || {
        let found = ours(1)();
        counted = (found.0, found.1);
        found
    });
    if !only_one {
        measure(&format!("devmig, {cores} threads"), ours(cores));
    }
    if PINNED != counted {
        println!("counted {counted:?}, but {PINNED:?} are pinned");
        std::process::exit(1);
    }
    if only_one || std::env::args().any(|arg| arg == "--ours") {
        return;
    }
    measure("devmig, with liveness", || {
        match devmig_engine::explore::report::check(&system(), &Options::default()) {
            Ok(report) => (report.states, report.transitions, Some(report.table_bytes as usize)),
            Err(error) => {
                println!("{error}");
                (0, 0, None)
            }
        }
    });
    if std::env::args().any(|arg| arg == "--liveness") {
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
