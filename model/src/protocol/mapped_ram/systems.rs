//! Systems of a migration to a file: a source with a program, the file, a destination and a guest, as data.
//!
//! ```text
//!  multifd/mapped-ram.toml: run, source, destination, holds, violated
//!        |  Systems::read, compile (every name resolved, every problem reported)
//!        v
//!  SystemDef --system(rules)--> System<(FileRules, Source, File, Destination, Guest)> --> explore
//! ```

use schemars::JsonSchema;
use serde::Deserialize;

use super::file::{self, Destination, File};
use super::properties::{self, Names, Parts};
use super::rules::FileRules;
use super::source::{self, Guest, MAX_STEPS, STEPS, Source, Step};
use super::{CHANNELS, Loaded, PAGES};
use crate::protocol::assembly;
use crate::protocol::definition::{Common, Definition, RawSystem};
use crate::protocol::multifd::systems::switched;
use crate::protocol::multifd::threads::event::GUEST;
use crate::protocol::program::{Programs, unknown_step};
use crate::protocol::registration::Protocol;
use crate::protocol::size::{Bound, Size};
use crate::spec::{Diagnostics, Item, Spanned};
use devmig_engine::rules::Rules;
use devmig_engine::system;
use devmig_engine::system::System;

/// A system of mapped-ram: no queue.
pub type ToFile = system!(Parts);

/// A migration to a file in which each page has a place.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Channels, 1 to 3.
    #[serde(default = "two")]
    channels: Spanned<u8>,
    /// Pages of guest memory, 1 or 2.
    #[serde(default = "one")]
    pages: Spanned<u8>,
    /// How often the guest writes, 1 or 2.
    #[serde(default = "one")]
    writes: Spanned<u8>,
    /// Steps of the main thread of the source.
    run: Vec<Spanned<String>>,
    /// How the source differs from QEMU's: switches.
    #[serde(default)]
    source: Vec<Spanned<String>>,
    /// How the destination differs from QEMU's: switches.
    #[serde(default)]
    destination: Vec<Spanned<String>>,
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
    /// Channels.
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
    pub destination: file::Manner,
}

/// The most writes of a guest.
const WRITES: u8 = 2;

impl Definition for SystemDef {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bounds(&self) -> Vec<Bound> {
        vec![
            Bound::new("channels", self.channels.into(), (1, CHANNELS as u16)),
            Bound::new("pages", self.pages.into(), (1, PAGES as u16)),
            Bound::new("writes", self.writes.into(), (1, WRITES.into())),
        ]
    }

    fn scaled(&self, size: &Size) -> Self {
        let [channels, pages, writes] =
            ["channels", "pages", "writes"].map(|bound| size.of(bound) as u8);
        SystemDef { channels, pages, writes, ..self.clone() }
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
        (&raw.writes, usize::from(WRITES), "one or two writes"),
    ] {
        if !(1..=most).contains(&usize::from(*number.get_ref())) {
            d.push(item.error(number.span(), format!("a system has {what}"), "here"));
        }
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
    SystemDef {
        common,
        channels: *raw.channels.get_ref(),
        pages: *raw.pages.get_ref(),
        writes: *raw.writes.get_ref(),
        steps: lines.iter().filter_map(&mut step).collect(),
        source: switched(item, &raw.source, source::MANNERS, d),
        destination: switched(item, &raw.destination, file::MANNERS, d),
    }
}

impl Loaded {
    /// The system under these rules.
    #[must_use]
    pub fn system(&self, def: &SystemDef, rules: Rules) -> ToFile {
        let (channels, pages) = (usize::from(def.channels), usize::from(def.pages));
        let machine = (
            FileRules { laws: self.laws, pages },
            Source { steps: def.steps.clone(), manner: def.source, channels, pages },
            File { channels },
            Destination { manner: def.destination },
            Guest { pages: def.pages, writes: def.writes },
        );
        let known = (properties::ALL, &self.clauses[..], &Names { pages });
        let system = assembly::system(&def.common, Self::name(), known, (machine, rules));
        System { environment: vec![GUEST], ..system }
    }
}
