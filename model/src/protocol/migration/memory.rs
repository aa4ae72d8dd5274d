//! Guest memory during a migration: which pages the destination has as they are, who wrote what since a
//! log was read, whether the vCPUs run, and who holds what only one host may hold.
//!
//! A page has a bit: it is *stale* if the destination's copy is not the source's. What is in a page is not
//! needed: the generated test `stale_means_another_version` holds the bit against versions.
//!
//! **Invariant.** Logs hold what was written while they were on, and lose it only when they are read.
//!
//! **Not here.** The logs of devices: they are in the devices.

use serde_json::{Map, Value};

use super::event::{Act, Event, MEMORY, VCPUS};
use crate::protocol::vfio::event::{Act as DeviceAct, pages_in_words};
use devmig_engine::machine::{Machine, Party, Reaction, Stimulus, Verdict};
use devmig_engine::packed;
use devmig_engine::rules::RuleContext;

/// Pages, at most.
pub const PAGES: u8 = 4;

/// What memory remembers.
#[packed]
pub struct MemoryState {
    /// The host from which the VM migrates.
    #[bits(1)]
    pub source: u8,
    /// At which hosts the vCPUs run.
    pub runs: [bool; 2],
    /// Pages whose copy at the destination is not the source's: bit `page`.
    #[bits(4)]
    pub stale: u64,
    /// Pages that hold zeroes, as new memory of a destination does.
    #[bits(4)]
    pub empty: u64,
    /// The logs of KVM and of the IOMMU are on.
    pub logs: bool,
    /// Pages that KVM's log holds.
    #[bits(4)]
    pub kvm: u64,
    /// Pages that the log of the IOMMU holds.
    #[bits(4)]
    pub iommu: u64,
    /// vCPUs are slowed: they write one page in two rounds.
    pub slowed: bool,
    /// ... and have not yet done so.
    pub credit: bool,
    /// The next sync ends a round in which they may not.
    pub rest: bool,
    /// These logs were read, and no page was sent since.
    pub fresh: bool,
    /// The VMM has decided to switch over.
    pub decided: bool,
    /// A page was written since the logs were read on which the decision rests; if it rests on none, since
    /// the decision.
    pub gap: bool,
    /// At which hosts the lock is held.
    pub locks: [bool; 2],
    /// Pages that the destination's vCPUs have written before all had arrived.
    #[bits(4)]
    pub there: u64,
}

/// Memory of a VM, its vCPUs and its lock.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Its pages.
    pub pages: u8,
    /// Of these, pages that are never sent: both hosts see the same.
    pub shared: u64,
    /// Of the others, pages that hold zeroes at first, as the destination's do.
    pub zero: u64,
    /// Pages that vCPUs write.
    pub writes: u64,
    /// Devices whose writes the IOMMU logs, by number.
    pub iommu: u64,
    /// The guest's IOMMU ends mappings while devices use them.
    pub unmaps: bool,
    /// Whether the vCPUs run at first.
    pub runs: bool,
    /// Whether there is a lock.
    pub lock: bool,
    /// The destination runs before all pages have arrived.
    pub postcopy: bool,
    /// Its vCPUs do not wait for a page that has not.
    pub unprotected: bool,
}

impl Memory {
    /// All pages.
    #[must_use]
    pub fn all(&self) -> u64 {
        (1 << self.pages) - 1
    }

    /// Pages of which a new destination has nothing, if these hold zeroes.
    fn absent(&self, empty: u64) -> u64 {
        self.all() & !self.shared & !empty
    }

    /// What the guest does by itself.
    fn acts(&self, f: &mut dyn FnMut(Act)) {
        for page in 0..self.pages {
            if self.writes >> page & 1 == 1 {
                f(Act::Write(page));
            }
            if self.unmaps {
                [false, true].into_iter().for_each(|found| f(Act::Unmap(page, found)));
            }
        }
    }

    /// Before a migration.
    fn anew(&self, s: &MemoryState) -> MemoryState {
        MemoryState {
            stale: self.absent(s.empty),
            empty: s.empty,
            runs: s.runs,
            locks: s.locks,
            source: s.source,
            ..self.initial()
        }
    }

    /// A page of the source is written, and logs that are on see it.
    fn written(&self, s: &MemoryState, page: u8, (kvm, iommu): (bool, bool)) -> MemoryState {
        let bit = 1 << page;
        let seen = |by: bool| if by && s.logs { bit } else { 0 };
        MemoryState {
            stale: s.stale | bit & !self.shared,
            empty: s.empty & !bit,
            kvm: s.kvm | seen(kvm),
            iommu: s.iommu | seen(iommu),
            gap: true,
            ..*s
        }
    }
}

impl Machine for Memory {
    type State = MemoryState;
    type Event = Event;

    fn name(&self) -> &'static str {
        "memory"
    }

    fn plays(&self, party: Party) -> bool {
        party == MEMORY || party == VCPUS
    }

    fn initial(&self) -> MemoryState {
        MemoryState {
            source: 0,
            runs: [self.runs, false],
            stale: self.absent(self.zero),
            empty: self.zero,
            logs: false,
            kvm: 0,
            iommu: 0,
            slowed: false,
            credit: false,
            rest: false,
            fresh: false,
            decided: false,
            gap: false,
            locks: [self.lock, false],
            there: 0,
        }
    }

    fn on(&self, s: &MemoryState, event: &Event, _: &mut RuleContext) -> Verdict<Self> {
        let host = usize::from(event.host & 1);
        let at_source = event.host == s.source;
        let mut next = *s;
        match event.act {
            Act::Device(inner) => match inner.act {
                DeviceAct::Write(page) if at_source => {
                    let logged = self.iommu >> inner.device & 1 == 1;
                    next = self.written(s, page, (false, logged));
                }
                _ => return Ok(Reaction::Ignore),
            },
            Act::Write(page) if self.postcopy && !at_source => {
                let old = s.stale >> page & 1 == 1;
                if !s.runs[host] || old && !self.unprotected {
                    return Ok(Reaction::Disabled);
                }
                next.there |= 1 << page;
            }
            Act::Write(page) => {
                if !s.runs[host] || !at_source || s.slowed && !s.credit {
                    return Ok(Reaction::Disabled);
                }
                next = MemoryState { credit: false, ..self.written(s, page, (true, false)) };
            }
            Act::Vcpus(run) => next.runs[host] = run,
            Act::Log(on) => (next.logs, next.kvm, next.iommu) = (on, 0, 0),
            Act::MarkAll(but) if but != s.empty => return Ok(Reaction::Disabled),
            Act::Sync(pages) if pages != s.kvm | s.iommu => return Ok(Reaction::Disabled),
            Act::Sync(_) => {
                (next.kvm, next.iommu) = (0, 0);
                (next.credit, next.rest) = (s.slowed && !s.rest, s.slowed && !s.rest);
                (next.fresh, next.gap) = (true, s.gap && s.decided);
            }
            Act::Send(page) => (next.stale, next.fresh) = (s.stale & !(1 << page), false),
            Act::Slow => (next.slowed, next.credit, next.rest) = (true, true, true),
            Act::Unmap(page, found) => {
                let held = s.iommu >> page & 1 == 1;
                if !self.unmaps || !s.runs[host] || !at_source || found != held {
                    return Ok(Reaction::Disabled);
                }
                next.iommu &= !(1 << page);
            }
            Act::SwitchOver => (next.decided, next.gap) = (true, s.gap && s.fresh),
            Act::Lock(take) => next.locks[host] = take,
            Act::GiveUp(_) | Act::Fault => {
                (next.decided, next.gap) = (false, false);
                (next.slowed, next.credit, next.rest) = (false, false, false);
            }
            // The next destination has nothing yet.
            Act::Complete => next = MemoryState { source: 1 - s.source, ..self.anew(s) },
            Act::Again => next = self.anew(s),
            Act::Plug(_)
            | Act::Unplug(..)
            | Act::Begin
            | Act::MarkAll(_)
            | Act::Wait
            | Act::Config(_)
            | Act::Failed => {
                return Ok(Reaction::Ignore);
            }
        }
        Ok(Reaction::To(next))
    }

    fn stimuli(&self, s: &MemoryState, f: &mut dyn FnMut(Stimulus<Event>)) {
        self.acts(&mut |act| f(Stimulus::Guarded(Event::new(s.source, act))));
        if self.postcopy {
            self.acts(&mut |act| f(Stimulus::Guarded(Event::new(1 - s.source, act))));
        }
    }

    fn domain(&self, f: &mut dyn FnMut(Event)) {
        self.acts(&mut |act| (0..2).for_each(|host| f(Event::new(host, act))));
    }

    fn describe(&self, s: &MemoryState) -> Map<String, Value> {
        let mut fields = serde_json::to_value(s).unwrap_or_default();
        if let Some(fields) = fields.as_object_mut() {
            for hidden in ["fresh", "rest"] {
                fields.remove(hidden);
            }
            let logs = [("kvm", s.kvm), ("iommu", s.iommu)];
            let of = [("stale", s.stale), ("empty", s.empty), ("there", s.there)];
            for (name, pages) in of.into_iter().chain(logs) {
                fields.insert(name.to_owned(), pages_in_words(pages).into());
            }
        }
        Map::from_iter([(self.name().to_owned(), fields)])
    }
}
