//! Systems of a multifd migration: a source with a program, a destination, and a guest, as data.
//!
//! ```text
//!  multifd/systems.toml: run, source, destination, buffers, cap, holds, violated
//!        |  Systems::read, compile (every name resolved, every problem reported)
//!        v
//!  SystemDef --system(rules)--> System<(Judged, Source, Destination, Guest)> --> explore
//! ```

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Loaded;
use super::machine::Multifd;
use super::properties::{self, GlobalState, Names, Parts};
use super::threads::destination::{self, Cap, Destination};
use super::threads::event::{Buffer, GUEST};
use super::threads::guest::Guest;
use super::threads::judged::Judged;
use super::threads::source::{self, MAX_STEPS, STEPS, Source, Step, Switch};
use super::threads::{BUFFERS, CHANNELS, PAGES, QUEUES, ROOM};
use crate::protocol::assembly;
use crate::protocol::barrier::{BARRIER, Barrier};
use crate::protocol::definition::{Common, Definition, RawSystem};
use crate::protocol::program::{Programs, unknown_step};
use crate::protocol::registration::Protocol;
use crate::protocol::size::{Bound, Size};
use crate::protocol::transfer::{TRANSFER, Transfer};
use crate::spec::{Diagnostics, Item, Spanned, did_you_mean, number, with_help};
use devmig_engine::machine::Event as _;
use devmig_engine::rules::Rules;
use devmig_engine::symmetry::Symmetry;
use devmig_engine::system;
use devmig_engine::system::{Refinement, System};

/// A system of multifd: the main stream and the channels are queues.
pub type Migration = system!(Parts, queues = QUEUES, room = ROOM);

/// A migration with multifd: a source with a program, a destination, and a guest.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Keys {
    /// Channels, 1 to 3.
    #[serde(default = "two")]
    channels: Spanned<u8>,
    /// Pages of guest memory, 1 or 2.
    #[serde(default = "one")]
    pages: Spanned<u8>,
    /// How often the guest writes, 0 to 2.
    #[serde(default)]
    writes: u8,
    /// Steps of the main thread of the source.
    run: Vec<Spanned<String>>,
    /// How the source differs from QEMU's: switches.
    #[serde(default)]
    source: Vec<Spanned<String>>,
    /// How the destination differs from QEMU's: switches.
    #[serde(default)]
    destination: Vec<Spanned<String>>,
    /// Buffers of device state that are sent, each as `INDEX` or `INDEX config`.
    #[serde(default)]
    buffers: Vec<Spanned<String>>,
    /// What bounds the buffers that wait at the destination: `count N` or `size N`; default:
    /// nothing.
    cap: Option<Spanned<String>>,
    /// The number of buffers that properties name as the limit.
    #[serde(default)]
    limit: u8,
    /// Where a channel fails: `source`, `destination`, `network`; default: nowhere.
    fails: Option<Spanned<String>>,
}

fn one() -> Spanned<u8> {
    Spanned::new(0..0, 1)
}

fn two() -> Spanned<u8> {
    Spanned::new(0..0, 2)
}

/// A system, resolved.
#[derive(Clone, Debug)]
pub struct SystemDef {
    /// What every system says.
    pub common: Common,
    /// Channels, pages, and how often the guest writes.
    pub channels: u8,
    /// Pages.
    pub pages: u8,
    /// How often the guest writes.
    pub writes: u8,
    /// The program of the source's main thread.
    pub steps: Vec<Step>,
    /// How the source differs.
    pub source: source::Manner,
    /// How the destination differs.
    pub destination: destination::Manner,
    /// The device's buffers.
    pub buffers: Vec<Buffer>,
    /// What bounds those that wait.
    pub cap: Cap,
    /// The limit that properties name.
    pub limit: u8,
    /// Channels that may fail, at the source, at the destination, and between them.
    pub faults: [u8; 3],
}

/// The most writes: a page has two bits.
const WRITES: u8 = 2;
/// The words of `fails`, with how many channels fail there.
const FAILS: [(&str, [u8; 3]); 3] =
    [("source", [1, 0, 0]), ("destination", [0, 1, 0]), ("network", [0, 0, 1])];

impl Definition for SystemDef {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bounds(&self) -> Vec<Bound> {
        let mut all = vec![Bound::new("channels", self.channels.into(), (1, CHANNELS as u16))];
        // A system about the device alone has no pages that matter.
        if self.writes > 0 {
            all.push(Bound::new("pages", self.pages.into(), (1, PAGES as u16)));
            all.push(Bound::new("writes", self.writes.into(), (1, WRITES.into())));
        }
        all
    }

    fn scaled(&self, size: &Size) -> Self {
        let mut def = SystemDef { channels: size.of("channels") as u8, ..self.clone() };
        if self.writes > 0 {
            (def.pages, def.writes) = (size.of("pages") as u8, size.of("writes") as u8);
        }
        def
    }
}

impl SystemDef {
    /// Whether the channels may change places: no step and no thread knows one of them by its number.
    ///
    /// Pages may not: a round hands them over in the order of their addresses.
    #[must_use]
    pub fn has_equal_channels(&self) -> bool {
        let all = |step: &Step| !matches!(step, Step::Sync(of) if *of != u8::MAX);
        self.channels > 1 && self.steps.iter().all(all) && !self.destination.released_one_by_one
    }
}

/// The channels: each is a thread at either end, a socket, and what the rules remember of it.
fn symmetry(channels: usize) -> Symmetry<GlobalState> {
    Symmetry::new("channel", channels, |state: &GlobalState, one, other| {
        let mut next = *state;
        let (judged, source, destination, _) = &mut next.parts;
        judged.rules.synced.swap(one, other);
        judged.closed.swap(one, other);
        source.threads.swap(one, other);
        // Counted from 1.
        source.shared = match usize::from(source.shared).checked_sub(1) {
            Some(shared) if shared == one => other as u8 + 1,
            Some(shared) if shared == other => one as u8 + 1,
            _ => source.shared,
        };
        destination.readers.swap(one, other);
        next.queues.swap(one + 1, other + 1);
        for (number, queue) in next.queues.iter_mut().enumerate() {
            *queue = queue.map(|event| event.on_queue(number as u8));
        }
        next
    })
}

/// Sets the switches that an item names.
pub(in crate::protocol) fn switched<M: Default, T>(
    item: &Item<T>,
    names: &[Spanned<String>],
    all: &[Switch<M>],
    d: &mut Diagnostics,
) -> M {
    let mut manner = M::default();
    for name in names {
        match all.iter().find(|(known, ..)| known == name.get_ref()) {
            Some((.., set)) => set(&mut manner),
            None => {
                let message = format!("`{}` is not a switch of this end", name.get_ref());
                let error = item.error(name.span(), message, "unknown switch");
                let help = did_you_mean(name.get_ref(), all.iter().map(|(known, ..)| *known));
                d.push(with_help(error, help));
            }
        }
    }
    manner
}

/// A buffer as it is written: `3`, `4 config`.
fn buffer(text: &str) -> Option<Buffer> {
    let (index, config) = match text.strip_suffix(" config") {
        Some(index) => (index, true),
        None => (text, false),
    };
    let index = number(index)
        .and_then(|index| u8::try_from(index).ok())
        .filter(|index| usize::from(*index) < BUFFERS)?;
    Some(Buffer { index, config })
}

/// A cap as it is written: `count 2`, `size 3`.
fn cap(text: &str) -> Option<Cap> {
    let (of, most) = text.split_once(' ')?;
    let most = number(most)?.try_into().ok()?;
    match of {
        "count" => Some(Cap::Count(most)),
        "size" => Some(Cap::Size(most)),
        _ => None,
    }
}

/// Resolves the keys of one item.
pub fn compile(
    programs: &Programs,
    common: Common,
    item: &Item<RawSystem<Keys>>,
    d: &mut Diagnostics,
) -> SystemDef {
    let raw = &item.value.1;
    for (number, most, what) in [
        (&raw.channels, CHANNELS, "one to three channels"),
        (&raw.pages, PAGES, "one or two pages"),
    ] {
        if !(1..=most).contains(&usize::from(*number.get_ref())) {
            d.push(item.error(number.span(), format!("a system has {what}"), "here"));
        }
    }
    if raw.writes > WRITES {
        d.push(item.error(item.span.clone(), "a guest writes at most twice", "in this system"));
    }
    let lines = programs.flat(item, &raw.run, d);
    if let Some(line) = lines.get(MAX_STEPS) {
        let message = format!("a program has at most {MAX_STEPS} steps");
        d.push(item.error(line.span(), message, "one too many"));
    }
    let mut step = |line: &Spanned<String>| {
        let found = STEPS.iter().find(|(known, ..)| known == line.get_ref());
        if found.is_none() {
            unknown_step(item, line, STEPS.iter().map(|(known, ..)| *known), d);
        }
        found.map(|(.., step)| *step)
    };
    let steps = lines.iter().filter_map(&mut step).collect();
    let mut parsed = |written: &Spanned<String>, what: &str, is: bool| {
        if !is {
            let message = format!("`{}` is not {what}", written.get_ref());
            d.push(item.error(written.span(), message, "here"));
        }
    };
    let mut buffers = Vec::new();
    for written in &raw.buffers {
        let found = buffer(written.get_ref());
        parsed(written, "a buffer such as `3` or `4 config`, of at most 8", found.is_some());
        buffers.extend(found);
    }
    let cap = raw.cap.as_ref().and_then(|written| {
        let found = cap(written.get_ref());
        parsed(written, "a cap such as `count 2` or `size 3`", found.is_some());
        found
    });
    let faults = raw.fails.as_ref().and_then(|written| {
        let found = FAILS.iter().find(|(name, _)| name == written.get_ref());
        parsed(written, "one of `source`, `destination` and `network`", found.is_some());
        found.map(|(_, faults)| *faults)
    });
    SystemDef {
        common,
        channels: *raw.channels.get_ref(),
        pages: *raw.pages.get_ref(),
        writes: raw.writes,
        steps,
        source: switched(item, &raw.source, source::MANNERS, d),
        destination: switched(item, &raw.destination, destination::MANNERS, d),
        buffers,
        cap: cap.unwrap_or(Cap::None),
        limit: raw.limit,
        faults: faults.unwrap_or_default(),
    }
}

impl Loaded {
    /// The system under these rules.
    #[must_use]
    pub fn system(&self, def: &SystemDef, rules: Rules) -> Migration {
        let (channels, pages) = (def.channels, def.pages);
        let device = !def.buffers.is_empty();
        let judged = Judged {
            rules: Multifd { laws: self.laws, channels: usize::from(channels) },
            order: self.order,
            per_section: def.source.per_section,
            device,
        };
        let source = Source {
            steps: def.steps.clone(),
            manner: def.source,
            channels,
            pages,
            buffers: def.buffers.clone(),
            faults: def.faults[0],
            cuts: def.faults[2],
        };
        let destination = Destination {
            manner: def.destination,
            channels,
            cap: def.cap,
            device,
            faults: def.faults[1],
        };
        let guest = Guest { pages, writes: def.writes };
        let buffers = def.buffers.len() as u8;
        let names = Names { steps: Arc::from(&def.steps[..]), pages, buffers, limit: def.limit };
        let known = (properties::ALL, &self.clauses[..], &names);
        let machine = (judged, source, destination, guest);
        System {
            refinements: vec![
                Refinement::new::<Barrier>(BARRIER, destination),
                Refinement::new::<Transfer>(TRANSFER, destination),
            ],
            environment: vec![GUEST],
            symmetry: def.has_equal_channels().then(|| symmetry(channels.into())),
            ..assembly::system(&def.common, Self::name(), known, (machine, rules))
        }
    }
}
