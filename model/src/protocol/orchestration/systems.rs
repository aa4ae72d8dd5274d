//! Systems of a whole migration: two hosts, their releases, devices, and management with a program, as data.
//!
//! ```text
//!  device-model/systems.toml: releases; hosts, devices, run, failure, then, holds, violated
//!        |  Systems::read, compile (every name resolved, every problem reported)
//!        v
//!  SystemDef --build(rules)--> System<(Host, Host, Migration, Managers)> --> explore
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Loaded;
use super::event::HOSTS;
use super::host::Host;
use super::manager::Managers;
use super::migration::Migration;
use super::program::{Program, Step, THEN};
use super::properties::{self, Names, Parts};
use super::universe::{RawRelease, Release, Universe};
use crate::device_model::{Name, Settings, Value};
use crate::protocol::assembly;
use crate::protocol::definition::{Common, Definition, RawSystem};
use crate::protocol::program::Programs;
use crate::protocol::registration::Protocol;
use crate::protocol::size::{Bound, Size};
use crate::spec::{Diagnostics, Item, Spanned, did_you_mean, with_help};
use devmig_engine::clause::ClauseId;
use devmig_engine::rules::Rules;
use devmig_engine::system;
use devmig_engine::system::System;

/// A system of a whole migration: no queue, every state in two words.
pub type Orchestration = system!(Parts);

/// A migration as management sees it: two hosts, devices, and management with a program.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Keys {
    /// The releases of the first and of the second host, 1 to 4 each, in the order of its upgrades.
    hosts: Spanned<[Vec<Spanned<String>>; 2]>,
    /// The devices of the first host, 1 or 2, each by the parameters that are set; others are off.
    #[schemars(with = "Vec<BTreeMap<String, Value>>")]
    devices: Spanned<Vec<BTreeMap<Name, Value>>>,
    /// Whether each host may change to its next release, at any time.
    #[serde(default)]
    changes: [bool; 2],
    /// How many calls may fail at each host, 0 to 3.
    #[serde(default)]
    faults: [u8; 2],
    /// How often the guest changes device state, 0 to 2.
    #[serde(default)]
    work: u8,
    /// Steps of management.
    #[serde(default)]
    run: Vec<Spanned<String>>,
    /// Steps of management after a failure.
    #[serde(default)]
    failure: Vec<Spanned<String>>,
    /// What management may do after its steps, in any order.
    #[serde(default)]
    then: Vec<Spanned<String>>,
}

/// A system, resolved.
#[derive(Clone, Debug)]
pub struct SystemDef {
    /// What every system says.
    pub common: Common,
    /// What its hosts can make.
    pub universe: Arc<Universe>,
    /// The releases of each, one after the other.
    pub histories: [Vec<usize>; 2],
    /// What the devices are.
    pub devices: Vec<u8>,
    /// Whether the hosts change by themselves.
    pub changes: [bool; 2],
    /// How many calls may go wrong at each.
    pub faults: [u8; 2],
    /// How much guests do.
    pub work: u8,
    /// What management does.
    pub program: Program,
}

/// The most devices, faults a host, and work.
const MOST: (usize, u8, u8) = (2, 3, 2);

/// Resolves all releases.
pub fn releases(items: &[Item<RawRelease>], d: &mut Diagnostics) -> BTreeMap<String, Release> {
    let mut all = BTreeMap::new();
    for item in items {
        match Release::resolve(&item.value) {
            Ok(release) => drop(all.insert(release.name.clone(), release)),
            Err(why) => {
                let place = item.value.name.span();
                d.push(item.error(place, format!("this is not a release: {why}"), "here"));
            }
        }
    }
    all
}

/// Resolves one system; none, if its hosts are not known.
pub fn compile(
    known: &BTreeMap<String, Release>,
    programs: &Programs,
    common: Common,
    item: &Item<RawSystem<Keys>>,
    d: &mut Diagnostics,
) -> Option<SystemDef> {
    let raw = &item.value.1;
    let (mut own, mut histories) = (Vec::<Release>::new(), [Vec::new(), Vec::new()]);
    for (history, names) in histories.iter_mut().zip(raw.hosts.get_ref()) {
        for name in names {
            let Some(release) = known.get(name.get_ref()) else {
                let message = format!("no release is called `{}`", name.get_ref());
                let error = item.error(name.span(), message, "unknown release");
                let names = known.keys().map(String::as_str);
                d.push(with_help(error, did_you_mean(name.get_ref(), names)));
                return None;
            };
            let place = own.iter().position(|one| one.name == release.name);
            history.push(place.unwrap_or_else(|| {
                own.push(release.clone());
                own.len() - 1
            }));
        }
    }
    let bounds = [
        (
            histories.iter().all(|history| (1..=4).contains(&history.len())),
            "1 to 4 releases a host",
        ),
        (raw.faults.iter().all(|faults| *faults <= MOST.1), "at most 3 `faults` a host"),
        (raw.work <= MOST.2, "at most 2 `work`"),
        ((1..=MOST.0).contains(&raw.devices.get_ref().len()), "1 or 2 `devices`"),
        (raw.run.len() < 32 && raw.failure.len() < 32, "fewer than 32 steps"),
    ];
    for (_, what) in bounds.iter().filter(|(fits, _)| !fits) {
        d.push(item.error(item.span.clone(), format!("a system has {what}"), "in this system"));
    }
    let universe = match Universe::new(own) {
        Ok(universe) => universe,
        Err(why) => {
            d.push(item.error(raw.hosts.span(), why.to_string(), "these releases"));
            return None;
        }
    };
    let mut devices = Vec::new();
    for settings in raw.devices.get_ref() {
        let settings: Settings = settings.clone();
        let first = histories[0].first().copied().unwrap_or(0);
        match universe.number(&settings).filter(|config| universe.makes(first, *config)) {
            Some(config) => devices.push(config),
            None => {
                let message = "the first release of the first host cannot create this device";
                d.push(item.error(raw.devices.span(), message, "here"));
                return None;
            }
        }
    }
    let steps = |lines: &[Spanned<String>], d: &mut Diagnostics| {
        let lines = programs.flat(item, lines, d);
        lines.iter().filter_map(|line| Step::compile(item, line, d)).collect::<Vec<_>>()
    };
    let program = Program {
        run: steps(&raw.run, d),
        failure: steps(&raw.failure, d),
        then: raw
            .then
            .iter()
            .filter_map(|name| {
                let at =
                    pick(item, name, "management has no action", THEN.iter().map(|(n, _)| *n), d)?;
                Some(THEN[at].0)
            })
            .collect(),
    };
    Some(SystemDef {
        common,
        universe: Arc::new(universe),
        histories,
        devices,
        changes: raw.changes,
        faults: raw.faults,
        work: raw.work,
        program,
    })
}

/// The index of a name, or a complaint.
fn pick<'a>(
    item: &Item<RawSystem<Keys>>,
    name: &Spanned<String>,
    none: &str,
    mut names: impl Iterator<Item = &'a str> + Clone,
    d: &mut Diagnostics,
) -> Option<usize> {
    let all = names.clone();
    let found = names.position(|known| known == name.get_ref());
    if found.is_none() {
        let message = format!("{none} `{}`", name.get_ref());
        let error = item.error(name.span(), message, "unknown");
        d.push(with_help(error, did_you_mean(name.get_ref(), all)));
    }
    found
}

impl Definition for SystemDef {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bounds(&self) -> Vec<Bound> {
        let faults = self.faults.into_iter().max().unwrap_or(0);
        let mut all = vec![Bound::new("devices", self.devices.len() as u16, (1, MOST.0 as u16))];
        // What a system does without, its program does not know of.
        for (name, now, most) in [("faults", faults, MOST.1), ("work", self.work, MOST.2)] {
            if now > 0 {
                all.push(Bound::new(name, u16::from(now), (1, u16::from(most))));
            }
        }
        all
    }

    /// Further devices are as the last one, and hosts at which nothing goes wrong stay so.
    fn scaled(&self, size: &Size) -> Self {
        let mut def = self.clone();
        let last = self.devices.last().copied().unwrap_or(0);
        def.devices.resize(usize::from(size.of("devices")), last);
        let (own, faults) = (self.faults.into_iter().max(), size.of("faults") as u8);
        if own != Some(faults) {
            def.faults = self.faults.map(|now| if now > 0 { faults } else { 0 });
        }
        def.work = size.of("work") as u8;
        def
    }
}

impl Loaded {
    /// All clauses that are judged.
    pub fn laws(&self) -> impl Iterator<Item = ClauseId> + use<> {
        self.hosts.all().into_iter().chain(self.migration.all())
    }

    /// The system under these rules.
    #[must_use]
    pub fn system(&self, def: &SystemDef, rules: Rules) -> Orchestration {
        let host = |index: usize| Host {
            index: index as u8,
            laws: self.hosts,
            readings: self.readings,
            universe: Arc::clone(&def.universe),
            history: def.histories[index].clone(),
            changes: def.changes[index],
            faults: def.faults[index],
            work: def.work,
            devices: if index == 0 { def.devices.clone() } else { Vec::new() },
        };
        let both = Arc::new([host(0), host(1)]);
        let config = |device: usize| def.devices.get(device).copied().unwrap_or(0);
        let migration = Migration { laws: self.migration, configs: [config(0), config(1)] };
        let managers = Managers {
            program: def.program.clone(),
            universe: Arc::clone(&def.universe),
            histories: def.histories.clone(),
            devices: def.devices.clone(),
            source_runs: self.migration.source_runs,
        };
        let of = Names { devices: def.devices.clone(), hosts: both };
        let known = (properties::ALL, &self.clauses[..], &of);
        let machine = (host(0), host(1), migration, managers);
        let system = assembly::system(&def.common, Self::name(), known, (machine, rules));
        System { environment: HOSTS.to_vec(), ..system }
    }
}
