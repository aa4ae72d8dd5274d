//! VFIO systems: one device or two, guest memory, and a client with a program, as data.
//!
//! ```text
//!  vfio/systems.toml: flags, run = [...], then = [...], holds = [...], violated = [...]
//!        |  Systems::read, compile (every name resolved, every problem reported)
//!        v
//!  SystemDef --build(rules)--> System<(Device, Device, Memory, Client, Guest)> --> explore
//! ```

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Loaded;
use super::client::{Client, Guest, Memory, Step, THEN};
use super::event::GUEST;
use super::machine::{Bounds, Device, INSIDE};
use super::path::Paths;
use super::properties::{self, Parts};
use super::table::Table;
use crate::protocol::assembly;
use crate::protocol::definition::{Common, Definition, RawSystem};
use crate::protocol::program::Programs;
use crate::protocol::registration::Protocol;
use crate::protocol::size::{Bound, Size};
use crate::spec::{Diagnostics, Item, Spanned, did_you_mean, with_help};
use devmig_engine::rules::Rules;
use devmig_engine::system;
use devmig_engine::system::System;

/// A system of VFIO: no queue, every state in three words.
pub type Vfio = system!(Parts);

/// A VFIO client, one or two devices, and guest memory.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Keys {
    /// Features of the first device.
    flags: Spanned<Vec<String>>,
    /// Features of the second device; default: those of the first.
    other: Option<Spanned<Vec<String>>>,
    /// How far the state inside a device advances, 0 to 3.
    #[serde(default)]
    inside: u8,
    /// Pages of guest memory that the first device writes, 0 to 2.
    #[serde(default)]
    pages: u8,
    /// Guest memory is written through the client, not by DMA.
    #[serde(default)]
    by_client: bool,
    /// The devices send interrupts.
    #[serde(default)]
    interrupts: bool,
    /// The devices start DMA to each other.
    #[serde(default)]
    peers: bool,
    /// Initial bytes may begin anew.
    #[serde(default)]
    anew: bool,
    /// How often the guest boots again, 0 or 1.
    #[serde(default)]
    reboots: u8,
    /// A SET takes all of its arcs at once.
    #[serde(default)]
    atomic: bool,
    /// Steps of the client.
    #[serde(default)]
    run: Vec<Spanned<String>>,
    /// What the client may do after its steps, in any order.
    #[serde(default, rename = "then")]
    permissive: Vec<Spanned<String>>,
}

/// A system, resolved.
#[derive(Clone, Debug)]
pub struct SystemDef {
    /// What every system says.
    pub common: Common,
    /// The features of both devices.
    pub flags: [u64; 2],
    /// What exploration tries at each.
    pub bounds: [Bounds; 2],
    /// How many pages guest memory has.
    pub pages: u8,
    /// How often the guest boots anew.
    pub reboots: u8,
    /// A SET takes all of its arcs at once.
    pub atomic: bool,
    /// The client's program.
    pub steps: Vec<Step>,
    /// What it may do afterwards.
    pub then: Vec<&'static str>,
}

/// The most pages of guest memory, and times that the guest boots anew.
const MOST: (u8, u8) = (2, 1);

/// Resolves one item.
pub fn compile(
    table: &Table,
    programs: &Programs,
    common: Common,
    item: &Item<RawSystem<Keys>>,
    d: &mut Diagnostics,
) -> SystemDef {
    let raw = &item.value.1;
    let mut flags = |written: &Spanned<Vec<String>>| {
        let names = written.get_ref().iter().map(String::as_str);
        table.flags(names).unwrap_or_else(|(message, help)| {
            d.push(with_help(item.error(written.span(), message, "here"), help));
            table.mandatory()
        })
    };
    let first = flags(&raw.flags);
    let flags = [first, raw.other.as_ref().map_or(first, flags)];
    let limits = [
        ("inside", raw.inside, INSIDE - 1),
        ("pages", raw.pages, MOST.0),
        ("reboots", raw.reboots, MOST.1),
    ];
    for (what, given, most) in limits {
        if given > most {
            let message = format!("`{what}` is at most {most}");
            d.push(item.error(item.span.clone(), message, "in this system"));
        }
    }
    let bounds = Bounds {
        inside: raw.inside,
        pages: raw.pages,
        by_client: raw.by_client,
        interrupts: raw.interrupts,
        peer: raw.peers,
        anew: raw.anew,
        ..Bounds::default()
    };
    let run = programs.flat(item, &raw.run, d);
    let steps = run.iter().filter_map(|line| Step::compile(table, flags, item, line, d));
    let steps: Vec<Step> = steps.collect();
    let mut then = Vec::new();
    for name in &raw.permissive {
        match THEN.iter().find(|(known, _)| known == name.get_ref()) {
            Some((known, _)) => then.push(*known),
            None => {
                let message = format!("a client has no action `{}`", name.get_ref());
                let error = item.error(name.span(), message, "unknown");
                let help = did_you_mean(name.get_ref(), THEN.iter().map(|(name, _)| *name));
                d.push(with_help(error, help));
            }
        }
    }
    SystemDef {
        common,
        flags,
        bounds: [bounds, Bounds { peer: raw.peers, ..Bounds::default() }],
        pages: raw.pages,
        reboots: raw.reboots,
        atomic: raw.atomic,
        steps,
        then,
    }
}

impl Definition for SystemDef {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bounds(&self) -> Vec<Bound> {
        let bound = |name, now: u8, least: u8, most: u8| {
            Bound::new(name, u16::from(now), (u16::from(least), u16::from(most)))
        };
        // What a system does without, its program and properties do not know of.
        let all = [
            ("inside", self.bounds[0].inside, INSIDE - 1),
            ("pages", self.pages, MOST.0),
            ("reboots", self.reboots, MOST.1),
        ];
        all.into_iter()
            .filter(|(_, now, _)| *now > 0)
            .map(|(n, now, m)| bound(n, now, 1, m))
            .collect()
    }

    fn scaled(&self, size: &Size) -> Self {
        let mut def = self.clone();
        def.bounds[0].inside = size.of("inside") as u8;
        (def.pages, def.reboots) = (size.of("pages") as u8, size.of("reboots") as u8);
        def.bounds[0].pages = def.pages;
        def
    }
}

impl Loaded {
    /// The system under these rules.
    #[must_use]
    pub fn system(&self, def: &SystemDef, rules: Rules) -> Vfio {
        let running = self.table.named("RUNNING").map_or(0, |state| state.value);
        let device = |index: usize| Device {
            index: index as u8,
            table: Arc::clone(&self.table),
            flags: def.flags[index],
            paths: Arc::new(Paths::new(&self.table, def.flags[index])),
            begins: running,
            laws: self.names.laws,
            readings: self.names.readings,
            bounds: def.bounds[index],
            opaque: false,
            atomic: def.atomic,
            descriptors: true,
        };
        let client = Client {
            table: Arc::clone(&self.table),
            steps: def.steps.clone(),
            then: def.then.clone(),
            begins: [running; 2],
            pages: def.pages,
            client_writes: self.names.readings.client_writes,
        };
        let of = properties::Names {
            table: Arc::clone(&self.table),
            flags: def.flags[0],
            pages: def.pages,
        };
        let (memory, guest) = (Memory { pages: def.pages }, Guest { reboots: def.reboots });
        let machine = (device(0), device(1), memory, client, guest);
        let known = (properties::ALL, &self.clauses[..], &of);
        let system = assembly::system(&def.common, Self::name(), known, (machine, rules));
        System { environment: vec![GUEST], ..system }
    }
}
