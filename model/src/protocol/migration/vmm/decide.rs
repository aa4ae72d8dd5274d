//! The rounds of pre-copy: when the logs are read again, and when the VMM switches over.
//!
//! ```text
//!   pending  = pages that are marked (none that can be sent after the switchover)
//!              + what devices have, before and after the stop
//!   threshold = the limit; 0 until something was sent, since the bandwidth is not known before
//!
//!   look:  not fresh and (pending < threshold, or <=)    read the logs; then look again, fresh
//!          pending <= threshold (or <), acknowledged     switch over
//!          pages are marked                              send one
//!          a device has initial bytes                    transfer a piece
//!          else                                          wait
//! ```
//!
//! Two versions of QEMU differ in `<` and `<=`: `migration.threshold.sync` and `migration.threshold.switch`.

use super::super::event::{Act, Event};
use super::super::names::{Acknowledge, Resync, Switch, Untracked};
use super::plan::Plan;
use super::{Known, Limit, Vmm, VmmState};
use devmig_engine::rules::{OpenChoice, RuleContext};

impl Vmm {
    /// What is still to be sent, as far as the VMM knows, in pages; none, if a device does not say.
    pub(super) fn pending(&self, s: &VmmState) -> Option<u8> {
        let pages = if self.postcopy { 0 } else { s.marked.count_ones() as u8 };
        let initial = self.missing(s).count() as u8;
        let there = self.devices.iter().enumerate().filter(|(at, _)| s.there >> at & 1 == 1);
        let sizes = there.map(|(_, device)| device.size);
        sizes.sum::<Option<u8>>().map(|sizes| pages + initial + sizes)
    }

    /// Whether so much can be sent within the limit; `strictly`: with something to spare.
    pub(super) fn within(&self, pending: Option<u8>, s: &VmmState, strictly: bool) -> bool {
        let Limit::Pages(limit) = self.limit else { return true };
        let threshold = if s.measured { limit } else { 0 };
        match (pending, strictly) {
            (None, _) => false,
            (Some(pending), true) => pending < threshold,
            (Some(pending), false) => pending <= threshold,
        }
    }

    /// Devices with PRE_COPY whose initial bytes the destination does not have.
    fn missing<'v>(&'v self, s: &'v VmmState) -> impl Iterator<Item = u8> + 'v {
        let lacks = move |(at, known): (usize, &Known)| {
            let here = known.pre_copy && s.there >> at & 1 == 1;
            (here && s.loaded >> at & 1 == 0).then_some(at as u8)
        };
        self.devices.iter().enumerate().filter_map(lacks)
    }

    /// What a round does next.
    pub(super) fn look(&self, s: &VmmState, judge: &RuleContext) -> Result<Plan, OpenChoice> {
        let here = |act| Ok(Plan::Do(Event::new(s.source, act)));
        if s.syncing {
            return self.sync(s, judge);
        }
        if self.untracked() {
            match self.readings.untracked.taken(judge)? {
                Untracked::Skip | Untracked::RefuseIfLimit => return here(Act::SwitchOver),
                _ => {}
            }
        }
        let pending = self.pending(s);
        let due = match self.readings.resync.taken(judge)? {
            Resync::Below => self.within(pending, s, true),
            Resync::Within => self.within(pending, s, false) || s.marked == 0,
        };
        if due && !s.fresh {
            return Ok(Plan::Next(VmmState { syncing: true, at: 0, ..*s }));
        }
        let strictly = self.readings.switch.taken(judge)? == Switch::Below;
        let missing = self.missing(s).next();
        let acknowledged = match self.readings.acknowledge.taken(judge)? {
            Acknowledge::Off => true,
            Acknowledge::On => missing.is_none(),
        };
        match missing {
            _ if self.within(pending, s, strictly) && acknowledged => here(Act::SwitchOver),
            _ if s.fresh && self.throttles && !s.slowed => here(Act::Slow),
            _ if s.marked != 0 => Ok(Plan::Send(s.source, s.marked)),
            Some(at) if at == s.at => Ok(self.transfer(s)),
            Some(at) => Ok(Plan::Next(VmmState { at, ..*s })),
            None => here(Act::Wait),
        }
    }
}
