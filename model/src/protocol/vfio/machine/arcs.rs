//! Where a SET leads, and what each arc on the way brings about: by the table.

use crate::protocol::vfio::names::{BadData, MayFail};
use devmig_engine::clause::ClauseId;
use devmig_engine::machine::Step;
use devmig_engine::rules::{OpenChoice, RuleContext};

use super::{Device, ERROR};
use crate::protocol::vfio::event::{Call, DEVICE};
use crate::protocol::vfio::path::NoPath;
use crate::protocol::vfio::state::{State, Stream};
use crate::protocol::vfio::table::{Dma, Session};

impl Device {
    pub(super) fn dma(&self, at: u8) -> Dma {
        self.table.state(at).map_or(Dma::None, |state| state.dma)
    }

    pub(super) fn session(&self, at: u8) -> Session {
        self.table.state(at).map_or(Session::None, |state| state.session)
    }

    pub(super) fn runs(&self, at: u8) -> bool {
        self.table.state(at).is_some_and(|state| state.runs)
    }

    pub(super) fn is_final(&self, at: u8) -> bool {
        self.table.state(at).is_some_and(|state| state.is_final)
    }

    /// The SET under way: where it leads.
    #[allow(clippy::type_complexity)]
    pub(super) fn path(
        &self,
        s: &State,
        judge: &RuleContext,
    ) -> Result<Option<Result<&[u8], &NoPath>>, OpenChoice> {
        let Some(Call::Set(to)) = s.pending else { return Ok(None) };
        let rule = self.readings.rule(judge)?;
        Ok(Some(self.paths.get(rule, s.at, to)))
    }

    /// The clause by which a SET without a path must fail.
    pub(super) fn forbids(&self, why: &NoPath) -> ClauseId {
        match why {
            NoPath::Unsupported => self.laws.optional,
            NoPath::Final => self.laws.error,
            NoPath::Blocked | NoPath::Unreachable | NoPath::Ambiguous(_) => self.laws.blocked,
        }
    }

    /// Whether what was written makes up what a device gave.
    pub(super) const fn complete(stream: &Stream) -> bool {
        stream.last && !stream.wrong
    }

    /// The state after one arc, which nothing holds up.
    pub(super) fn taken(&self, s: &State, to: u8, judge: &mut RuleContext) -> State {
        let effects = self.table.effects(s.at, to);
        let mut next = State { at: to, opened: effects.opens, ..*s };
        if effects.validates && judge.enforces(self.laws.restores) && !self.opaque {
            next.inside = s.stream.staged;
        }
        if effects.ends {
            next.stream = Stream { opted_in: s.stream.opted_in, ..Stream::NONE };
        }
        if effects.opens {
            let live = self.runs(to) && self.session(to) == Session::Saving;
            // In a test the first answer tells.
            let initial = if self.opaque { u64::MAX } else { u64::from(live) };
            let opted_in = s.stream.opted_in;
            next.stream = Stream { initial, fresh: true, opted_in, ..Stream::NONE };
        }
        next
    }

    /// The clause that an arc has to wait for, if DMA is outstanding that it drains.
    pub(super) fn waits(&self, s: &State, to: u8) -> Option<ClauseId> {
        let effects = self.table.effects(s.at, to);
        match () {
            () if s.peer == 0 => None,
            () if effects.drains_peers && self.dma(to) == Dma::NoPeer => {
                Some(self.laws.peer_drains)
            }
            () if effects.drains_all || effects.drains_peers => Some(self.laws.drains),
            () => None,
        }
    }

    /// What may come of the next arc.
    pub(super) fn arc(
        &self,
        s: &State,
        path: &[u8],
        judge: &mut RuleContext,
        f: &mut dyn FnMut(Step, State),
    ) -> Result<(), OpenChoice> {
        let mut here = *s;
        let step = |name| Step { by: DEVICE, name, index: self.index };
        for to in path.iter().skip(1) {
            let fails = self.readings.may_fail.taken(judge)? == MayFail::Any;
            if fails {
                f(step("arc fails"), State { failed: true, ..here });
                let (at, stream) = (ERROR, Stream::NONE);
                f(step("arc fails for good"), State { at, failed: true, stream, ..here });
            }
            if !judge.enforces(self.laws.failure_on_path) {
                let end = path.last().copied().unwrap_or(here.at);
                f(step("fails beside the way"), State { at: end, failed: true, ..here });
            }
            if let Some(clause) = self.waits(&here, *to)
                && judge.enforces(clause)
            {
                return Ok(());
            }
            let bad = self.table.effects(here.at, *to).validates && !Self::complete(&here.stream);
            if bad && judge.enforces(self.laws.validates) {
                let failed = match self.readings.bad_data.taken(judge)? {
                    BadData::Error => {
                        State { at: ERROR, failed: true, stream: Stream::NONE, ..here }
                    }
                    BadData::Stays => State { failed: true, ..here },
                };
                f(step("data refused"), failed);
                return Ok(());
            }
            here = self.taken(&here, *to, judge);
            if !self.atomic {
                break;
            }
        }
        f(step(if self.atomic { "arcs" } else { "arc" }), here);
        Ok(())
    }
}
