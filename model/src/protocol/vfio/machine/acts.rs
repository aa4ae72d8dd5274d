//! What the device does by itself, and what its peer does to it.

use crate::protocol::vfio::names::{ClientWrites, Draining, StoppedTarget};
use devmig_engine::machine::{Reaction, Verdict};
use devmig_engine::rules::RuleContext;

use super::{Device, INSIDE, broken};
use crate::protocol::vfio::event::Act;
use crate::protocol::vfio::state::State;
use crate::protocol::vfio::table::{Dma, Session};

impl Device {
    /// What the device does by itself.
    pub(super) fn acts(&self, s: &State, act: Act, judge: &mut RuleContext) -> Verdict<Self> {
        let laws = &self.laws;
        if self.is_final(s.at) && self.opaque {
            // Of a device that has failed the text says only that it must be reset.
            return Ok(Reaction::Ignore);
        }
        let (dma, mut next) = (self.dma(s.at), *s);
        match act {
            Act::Works => {
                let known = self.runs(s.at) || self.session(s.at) == Session::Resuming;
                if !known && judge.enforces(laws.frozen) {
                    return Ok(Reaction::Violation(laws.frozen));
                }
                if !self.opaque {
                    if s.inside >= self.bounds.inside {
                        return Ok(Reaction::Disabled);
                    }
                    next.inside += 1;
                    next.stream.dirty = u64::from(self.session(s.at) == Session::Saving);
                }
                next.stream.changed = self.session(s.at) == Session::Saving;
            }
            Act::Interrupt if !self.runs(s.at) => return Ok(broken(laws.silent, judge, *s)),
            Act::Interrupt => {}
            Act::Write(page) | Act::WriteByClient(page) => {
                if dma == Dma::None && judge.enforces(laws.silent) {
                    return Ok(Reaction::Violation(laws.silent));
                }
                let logs = match act {
                    Act::WriteByClient(_) => {
                        self.readings.client_writes.taken(judge)? == ClientWrites::Server
                    }
                    _ => true,
                };
                if s.log.on && logs {
                    next.log.dirty |= 1 << (page % 64);
                }
            }
            Act::PeerBegins => {
                let clause = match dma {
                    Dma::Any => None,
                    Dma::NoPeer => Some(laws.no_new_peer),
                    Dma::None => Some(laws.silent),
                };
                if let Some(clause) = clause
                    && judge.enforces(clause)
                {
                    return Ok(Reaction::Violation(clause));
                }
                if let Some(Ok(path)) = self.path(s, judge)?
                    && path.windows(2).any(|arc| self.table.effects(arc[0], arc[1]).drains_peers)
                    && self.readings.draining.taken(judge)? == Draining::NoneNew
                    && judge.enforces(laws.peer_drains)
                {
                    return Ok(Reaction::Violation(laws.peer_drains));
                }
                if s.peer > 0 && !self.opaque {
                    return Ok(Reaction::Disabled);
                }
                next.peer = s.peer.saturating_add(1);
            }
            Act::PeerArrives => {
                let clause = match dma {
                    Dma::Any => None,
                    Dma::NoPeer => Some(laws.peer_drains),
                    Dma::None => Some(laws.drains),
                };
                if let Some(clause) = clause
                    && judge.enforces(clause)
                {
                    return Ok(Reaction::Violation(clause));
                }
                if s.peer == 0 && !self.opaque {
                    return Ok(Reaction::Disabled);
                }
                next.peer = s.peer.saturating_sub(1);
            }
            _ => return Ok(Reaction::Ignore),
        }
        Ok(Reaction::To(next))
    }

    /// DMA of the other device arrives here.
    pub(super) fn struck(&self, s: &State, judge: &RuleContext) -> Verdict<Self> {
        let lands =
            self.runs(s.at) || self.readings.stopped_target.taken(judge)? == StoppedTarget::Lands;
        if !lands || self.opaque {
            return Ok(Reaction::Ignore);
        }
        let mut next = State { inside: (s.inside + 1) % INSIDE, ..*s };
        next.stream.dirty = u64::from(self.session(s.at) == Session::Saving);
        next.stream.changed = self.session(s.at) == Session::Saving;
        Ok(Reaction::To(next))
    }
    pub(super) fn by_itself(&self, f: &mut dyn FnMut(Act)) {
        let bounds = &self.bounds;
        if bounds.inside > 0 {
            f(Act::Works);
        }
        if bounds.interrupts {
            f(Act::Interrupt);
        }
        for page in 0..bounds.pages {
            f(if bounds.by_client { Act::WriteByClient(page) } else { Act::Write(page) });
        }
        if bounds.peer {
            f(Act::PeerBegins);
            f(Act::PeerArrives);
        }
    }
}
