//! Systems of a whole migration, as data: devices, memory, policies, the VMM's programs.
//!
//! ```text
//!  migration/systems.toml: devices, trackers, pages, limit, run, failure, holds, violated
//!        |  Systems::read, compile (every name resolved, every problem reported)
//!        v
//!  SystemDef --system(rules)--> System<(Devices, Devices, Memory, Vmm)> --> explore
//! ```

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Loaded;
use super::devices::Devices;
use super::event::{DEVICES, OUTSIDE, VCPUS};
use super::memory::{Memory, PAGES};
use super::names::{Query, Untracked};
use super::properties::{self, GlobalState, Names, Parts};
use super::vmm::step::Step;
use super::vmm::{Known, Limit, Tracker, Vmm};
use crate::protocol::assembly;
use crate::protocol::definition::{Common, Definition, RawSystem};
use crate::protocol::program::Programs;
use crate::protocol::registration::Protocol;
use crate::protocol::size::{Bound, Size};
use crate::protocol::transfer::{TRANSFER, Transfer};
use crate::protocol::vfio::machine::{Bounds, Device, INSIDE};
use crate::protocol::vfio::path::Paths;
use crate::protocol::vfio::table::Table;
use crate::spec::{Diagnostics, Item, Spanned, did_you_mean, with_help};
use devmig_engine::rules::Rules;
use devmig_engine::symmetry::Symmetry;
use devmig_engine::system;
use devmig_engine::system::{Refinement, System};

/// A system of a whole migration: no queue.
pub type Migration = system!(Parts);

/// A whole migration: memory, vCPUs, devices, and a VMM with a program.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Keys {
    /// Features of each device of a host; at most two devices.
    devices: Spanned<Vec<Vec<String>>>,
    /// What tracks the writes of each device: `device` (default), `iommu`, `none`.
    #[serde(default)]
    trackers: Vec<Spanned<String>>,
    /// Size of the state of each device after the stop, in pages (default 0), or `unknown`.
    #[serde(default)]
    sizes_of_state: Vec<Spanned<Amount>>,
    /// How often the state inside a device advances, 0 to 3.
    #[serde(default)]
    inside: u8,
    /// Pages of guest memory, 1 to 4.
    pages: Spanned<u8>,
    /// How many of the last pages both hosts see, so that they are never sent.
    #[serde(default)]
    shared: u8,
    /// How many of the last pages before those hold zeroes at first.
    #[serde(default)]
    zero: u8,
    /// The vCPUs write guest memory.
    #[serde(default)]
    vcpus_write: bool,
    /// The devices write guest memory.
    #[serde(default)]
    devices_write: bool,
    /// The devices start DMA to each other; needs two devices.
    #[serde(default)]
    peers: bool,
    /// Initial bytes of a device may begin anew.
    #[serde(default)]
    anew: bool,
    /// A device that tracks its writes may fail to report them.
    #[serde(default)]
    reports_fail: bool,
    /// How many of the devices the source has at first; default: all.
    attached: Option<Spanned<u8>>,
    /// The other devices may be plugged, at any time.
    #[serde(default)]
    plugs: bool,
    /// Devices may be unplugged, at any time.
    #[serde(default)]
    unplugs: bool,
    /// The IOMMU of the guest may end mappings.
    #[serde(default)]
    unmaps: bool,
    /// The longest downtime, in pages that can be sent in it (0 to 7), or `unlimited`.
    limit: Spanned<Amount>,
    /// vCPUs are slowed if a round does not reach the threshold.
    #[serde(default)]
    throttles: bool,
    /// The destination runs before all pages have arrived; not with devices or `more`.
    #[serde(default)]
    postcopy: bool,
    /// With `postcopy`: vCPUs of the destination do not wait for a page that has not arrived.
    #[serde(default)]
    unprotected: bool,
    /// The VM is paused.
    #[serde(default)]
    paused: bool,
    /// There is a lock that only one host may hold.
    #[serde(default)]
    lock: bool,
    /// How many steps may fail, at any time: 0 or 1.
    #[serde(default)]
    faults: u8,
    /// How many migrations follow, as a second attempt or a next hop: 0 or 1.
    #[serde(default)]
    more: u8,
    /// Steps of the VMM, from `check` to `complete`.
    run: Vec<Spanned<String>>,
    /// Steps of the VMM after a failure.
    #[serde(default)]
    failure: Vec<Spanned<String>>,
}

/// A number of pages, or a word.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Amount {
    Pages(u8),
    Word(String),
    #[schemars(skip)]
    Other(IgnoredAny),
}

/// A system, resolved.
#[derive(Clone, Debug)]
pub struct SystemDef {
    /// What every system says.
    pub common: Common,
    /// The devices of each host.
    pub devices: Vec<Known>,
    /// What exploration tries at each.
    pub bounds: Bounds,
    /// How many of them the source has at first, if not all.
    pub attached: Option<u8>,
    /// Devices are plugged, and unplugged.
    pub plugs: (bool, bool),
    /// Pages of memory.
    pub pages: u8,
    /// Of these, the last so many are shared.
    pub shared: u8,
    /// Of the others, the last so many are zero at first.
    pub zero: u8,
    /// vCPUs write.
    pub vcpus_write: bool,
    /// The guest's IOMMU ends mappings.
    pub unmaps: bool,
    /// The longest downtime.
    pub limit: Limit,
    /// vCPUs are slowed.
    pub throttles: bool,
    /// The destination runs before all pages have arrived; and its vCPUs do not wait for them.
    pub postcopy: (bool, bool),
    /// The VM is paused.
    pub paused: bool,
    /// There is a lock.
    pub lock: bool,
    /// Steps that may fail.
    pub faults: u8,
    /// Migrations that follow.
    pub more: u8,
    /// The VMM's program.
    pub run: Vec<Step>,
    /// What it does after a failure.
    pub failure: Vec<Step>,
}

/// The longest program: what its counter can hold.
const STEPS: usize = 31;
/// The largest limit and state of a device, in pages.
const AMOUNT: u8 = 7;

/// Resolves one item.
pub fn compile(
    table: &Table,
    programs: &Programs,
    common: Common,
    item: &Item<RawSystem<Keys>>,
    d: &mut Diagnostics,
) -> SystemDef {
    let raw = &item.value.1;
    let pages = *raw.pages.get_ref();
    if !(1..=PAGES).contains(&pages) {
        let message = format!("a system has 1 to {PAGES} pages");
        d.push(item.error(raw.pages.span(), message, "here"));
    }
    let features = raw.devices.get_ref();
    if features.len() > DEVICES {
        let message = format!("a host has at most {DEVICES} devices");
        d.push(item.error(raw.devices.span(), message, "here"));
    }
    let own = [
        (raw.inside < INSIDE, format!("`inside` is at most {}", INSIDE - 1)),
        (
            u16::from(raw.shared) + u16::from(raw.zero) <= u16::from(pages),
            "there are fewer pages than are shared or zero".to_owned(),
        ),
        (raw.faults <= 1 && raw.more <= 1, "`faults` and `more` are at most 1".to_owned()),
        (raw.trackers.len() <= features.len(), "more trackers than devices".to_owned()),
        (raw.sizes_of_state.len() <= features.len(), "more sizes than devices".to_owned()),
        (!raw.devices_write || !features.is_empty(), "no device is there to write".to_owned()),
        (
            !(raw.plugs || raw.unplugs) || raw.more == 0 && raw.trackers.is_empty(),
            "devices that come and go track their own writes, in one migration".to_owned(),
        ),
        (
            !raw.unprotected || raw.postcopy,
            "`unprotected` is about postcopy: set `postcopy` too".to_owned(),
        ),
        (
            !raw.postcopy || features.is_empty() && raw.more == 0,
            "postcopy is of a VM without VFIO devices, in one migration".to_owned(),
        ),
        (!raw.peers || features.len() == DEVICES, "DMA to each other needs two devices".to_owned()),
    ];
    for (_, message) in own.into_iter().filter(|(fits, _)| !fits) {
        d.push(item.error(item.span.clone(), message, "in this system"));
    }
    let devices = features.iter().take(DEVICES).enumerate().map(|(at, names)| {
        let flags =
            table.flags(names.iter().map(String::as_str)).unwrap_or_else(|(message, help)| {
                d.push(with_help(item.error(raw.devices.span(), message, "here"), help));
                table.mandatory()
            });
        let pre_copy = table.named("PRE_COPY");
        Known {
            flags,
            pre_copy: pre_copy.is_some_and(|state| table.supports(flags, state.value)),
            tracker: raw.trackers.get(at).map_or(Tracker::Device, |name| tracker(item, name, d)),
            size: raw
                .sizes_of_state
                .get(at)
                .map_or(Some(0), |size| amount(item, size, "unknown", d)),
        }
    });
    let devices: Vec<Known> = devices.collect();
    let mut steps = |lines: &[Spanned<String>]| {
        let lines = programs.flat(item, lines, d);
        if let Some(line) = lines.get(STEPS) {
            let message = format!("a program has at most {STEPS} steps");
            d.push(item.error(line.span(), message, "one too many"));
        }
        lines.iter().filter_map(|line| Step::compile(table, item, line, d)).collect::<Vec<_>>()
    };
    let (run, failure) = (steps(&raw.run), steps(&raw.failure));
    if run.first() != Some(&Step::Check) || run.last() != Some(&Step::Complete) {
        let message = "a migration begins with `check` and ends with `complete`";
        d.push(item.error(item.span.clone(), message, "in this system"));
    }
    let attached = raw.attached.as_ref().map(|attached| {
        if usize::from(*attached.get_ref()) > devices.len() {
            let message = format!("there are no more devices than {}", devices.len());
            d.push(item.error(attached.span(), message, "here"));
        }
        *attached.get_ref()
    });
    SystemDef {
        common,
        devices,
        bounds: Bounds {
            inside: raw.inside,
            pages: if raw.devices_write { pages } else { 0 },
            peer: raw.peers,
            anew: raw.anew,
            reports_fail: raw.reports_fail,
            ..Bounds::default()
        },
        attached,
        plugs: (raw.plugs, raw.unplugs),
        pages,
        shared: raw.shared,
        zero: raw.zero,
        vcpus_write: raw.vcpus_write,
        unmaps: raw.unmaps,
        limit: amount(item, &raw.limit, "unlimited", d).map_or(Limit::Unlimited, Limit::Pages),
        throttles: raw.throttles,
        postcopy: (raw.postcopy, raw.unprotected),
        paused: raw.paused,
        lock: raw.lock,
        faults: raw.faults,
        more: raw.more,
        run,
        failure,
    }
}

fn tracker(item: &Item<RawSystem<Keys>>, name: &Spanned<String>, d: &mut Diagnostics) -> Tracker {
    let all = [("device", Tracker::Device), ("iommu", Tracker::Iommu), ("none", Tracker::None)];
    let known = all.iter().find(|(known, _)| known == name.get_ref());
    known.map_or_else(
        || {
            let message = format!("no tracker is called `{}`", name.get_ref());
            let error = item.error(name.span(), message, "unknown tracker");
            let help = did_you_mean(name.get_ref(), all.iter().map(|(name, _)| *name));
            d.push(with_help(error, help));
            Tracker::None
        },
        |(_, tracker)| *tracker,
    )
}

/// A number of pages; none for the word.
fn amount(
    item: &Item<RawSystem<Keys>>,
    amount: &Spanned<Amount>,
    word: &str,
    d: &mut Diagnostics,
) -> Option<u8> {
    match amount.get_ref() {
        Amount::Pages(pages) if *pages <= AMOUNT => return Some(*pages),
        Amount::Word(given) if given == word => return None,
        _ => {}
    }
    let message = format!("this is 0 to {AMOUNT} pages, or `{word}`");
    d.push(item.error(amount.span(), message, "here"));
    None
}

impl Definition for SystemDef {
    fn common(&self) -> &Common {
        &self.common
    }

    fn bounds(&self) -> Vec<Bound> {
        let least = (self.shared + self.zero + 1).min(self.pages);
        vec![Bound::new("pages", u16::from(self.pages), (u16::from(least), u16::from(PAGES)))]
    }

    fn scaled(&self, size: &Size) -> Self {
        let mut def = self.clone();
        def.pages = size.of("pages") as u8;
        if def.bounds.pages > 0 {
            def.bounds.pages = def.pages;
        }
        def
    }
}

/// The last so many of these pages, as bits.
fn last(pages: u8, count: u8) -> u64 {
    let all = (1_u64 << pages) - 1;
    all & !(all >> count)
}

/// The first so many pages: in memory, in every log, and among those that are to be sent.
fn symmetry(pages: u8) -> Symmetry<GlobalState> {
    Symmetry::new("page", pages.into(), |state: &GlobalState, one, other| {
        let mut next = *state;
        let (at_a, at_b, memory, vmm) = &mut next.parts;
        let logs = at_a.each.iter_mut().chain(&mut at_b.each).map(|device| &mut device.log);
        let logs = logs.flat_map(|log| [&mut log.dirty, &mut log.found]);
        let of_memory = [&mut memory.stale, &mut memory.kvm, &mut memory.iommu, &mut memory.there];
        let others = [&mut memory.empty, &mut vmm.marked];
        for bits in of_memory.into_iter().chain(others).chain(logs) {
            let differ = (*bits >> one ^ *bits >> other) & 1;
            *bits ^= differ << one | differ << other;
        }
        next
    })
    .sorted_by(|state, page| {
        let (at_a, at_b, memory, vmm) = &state.parts;
        let logs = at_a.each.iter().chain(&at_b.each).map(|device| &device.log);
        let logs = logs.flat_map(|log| [log.dirty, log.found]);
        let of_memory = [memory.stale, memory.kvm, memory.iommu, memory.there, memory.empty];
        let all = of_memory.into_iter().chain([vmm.marked]).chain(logs);
        all.fold(0, |column, bits| column << 1 | bits >> page & 1)
    })
    .owing_nothing()
}

impl SystemDef {
    /// How many pages may change places: all that are neither shared nor zero at first, which are the first ones.
    ///
    /// Nothing knows one of them by its number, neither a step of a program nor the order in which they are sent.
    #[must_use]
    pub fn equal_pages(&self) -> u8 {
        self.pages - self.shared - self.zero
    }
}

impl Loaded {
    /// The system under these rules.
    #[must_use]
    pub fn system(&self, def: &SystemDef, rules: Rules) -> Migration {
        let state = |name: &str| self.table.named(name).map_or(u8::MAX, |state| state.value);
        let (running, stop_copy, stop) = (state("RUNNING"), state("STOP_COPY"), state("STOP"));
        let begins = if def.paused { stop } else { running };
        let attached = def.attached.map_or(def.devices.len(), usize::from);
        let attached = (1 << attached) - 1;
        let devices = |host: u8| Devices {
            host,
            attached,
            machines: def
                .devices
                .iter()
                .enumerate()
                .map(|(at, known)| Device {
                    index: host * DEVICES as u8 + at as u8,
                    table: Arc::clone(&self.table),
                    flags: known.flags,
                    paths: Arc::new(Paths::new(&self.table, known.flags)),
                    begins: if host == 0 { begins } else { running },
                    laws: self.vfio.laws,
                    readings: self.vfio.readings,
                    bounds: if host == 0 { def.bounds } else { Bounds::default() },
                    opaque: false,
                    atomic: true,
                    descriptors: true,
                })
                .collect(),
        };
        let all = (1_u64 << def.pages) - 1;
        let shared = last(def.pages, def.shared);
        let zero = last(def.pages - def.shared, def.zero);
        let iommu = def.devices.iter().enumerate();
        let iommu = iommu.filter(|(_, known)| known.tracker == Tracker::Iommu);
        let memory = Memory {
            pages: def.pages,
            shared,
            zero,
            writes: if def.vcpus_write { all } else { 0 },
            iommu: iommu.fold(0, |bits, (at, _)| bits | 0b101 << at),
            unmaps: def.unmaps,
            runs: !def.paused,
            lock: def.lock,
            postcopy: def.postcopy.0,
            unprotected: def.postcopy.1,
        };
        let vmm = Vmm {
            table: Arc::clone(&self.table),
            laws: self.laws,
            readings: self.readings,
            run: def.run.clone(),
            failure: def.failure.clone(),
            devices: def.devices.clone(),
            attached,
            plugs: def.plugs,
            pages: all & !shared,
            zero,
            limit: def.limit,
            lock: def.lock,
            postcopy: def.postcopy.0,
            throttles: def.throttles,
            runs: !def.paused,
            faults: def.faults,
            more: def.more,
        };
        let policy = self.readings.untracked.fixed(&rules.choices);
        let pre_copy = def.devices.iter().enumerate().filter(|(_, known)| known.pre_copy);
        let of = Names {
            devices: def.devices.len(),
            pages: def.pages,
            limit: def.limit,
            lock: def.lock,
            pre_copy: pre_copy.fold(0, |bits, (at, _)| bits | 1 << at),
            marks_all: vmm.untracked() && policy == Some(Untracked::MarkAll),
            asks: self.readings.query.fixed(&rules.choices) != Some(Query::Never),
            runs: !def.paused,
            table: Arc::clone(&self.table),
            running,
            stop_copy,
            stop,
        };
        let known = (properties::ALL, &self.clauses[..], &of);
        let machine = (devices(0), devices(1), memory, vmm.clone());
        System {
            refinements: vec![Refinement::new::<Transfer>(TRANSFER, vmm)],
            environment: vec![VCPUS, OUTSIDE],
            symmetry: (def.equal_pages() > 1).then(|| symmetry(def.equal_pages())),
            ..assembly::system(&def.common, Self::name(), known, (machine, rules))
        }
    }
}
