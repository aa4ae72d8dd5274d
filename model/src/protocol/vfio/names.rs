//! The clauses that the VFIO machine judges, and the choices that it asks.

use super::path::Reading;
use crate::spec::{Spec, SpecErrors};
use devmig_engine::rules::{Choices, OpenChoice, RuleContext};

crate::clause_ids! {
    /// The clauses that are judged here.
    pub struct ClauseIds {
        /// `vfio.set.completes`
        completes: "vfio.set.completes",
        /// `vfio.set.only-client`
        only_client: "vfio.set.only-client",
        /// `vfio.set.failure-on-path`
        failure_on_path: "vfio.set.failure-on-path",
        /// `vfio.set.optional-states`
        optional: "vfio.set.optional-states",
        /// `vfio.set.blocked`
        blocked: "vfio.set.blocked",
        /// `vfio.set.error`
        error: "vfio.set.error",
        /// `vfio.get.state`
        get: "vfio.get.state",
        /// `vfio.session.new`
        new_session: "vfio.session.new",
        /// `vfio.session.goes-on`
        goes_on: "vfio.session.goes-on",
        /// `vfio.session.ends`
        session_ends: "vfio.session.ends",
        /// `vfio.running.works`
        works: "vfio.running.works",
        /// `vfio.stop.silent`
        silent: "vfio.stop.silent",
        /// `vfio.stop.frozen`
        frozen: "vfio.stop.frozen",
        /// `vfio.stop.drains`
        drains: "vfio.stop.drains",
        /// `vfio.stop.answers`
        answers: "vfio.stop.answers",
        /// `vfio.stop.kept-off`
        kept_off: "vfio.stop.kept-off",
        /// `vfio.p2p.no-new`
        no_new_peer: "vfio.p2p.no-new",
        /// `vfio.p2p.drains`
        peer_drains: "vfio.p2p.drains",
        /// `vfio.resume.validates`
        validates: "vfio.resume.validates",
        /// `vfio.resume.restores`
        restores: "vfio.resume.restores",
        /// `vfio.resume.accepts`
        accepts: "vfio.resume.accepts",
        /// `vfio.reset.recovers`
        recovers: "vfio.reset.recovers",
        /// `vfio.reset.aborts`
        aborts: "vfio.reset.aborts",
        /// `vfio.pre-copy.info`
        info: "vfio.pre-copy.info",
        /// `vfio.pre-copy.initial-begins`
        initial_begins: "vfio.pre-copy.initial-begins",
        /// `vfio.pre-copy.initial-falls`
        initial_falls: "vfio.pre-copy.initial-falls",
        /// `vfio.pre-copy.dirty-begins`
        dirty_begins: "vfio.pre-copy.dirty-begins",
        /// `vfio.pre-copy.quiet`
        quiet: "vfio.pre-copy.quiet",
        /// `vfio.pre-copy.reinit`
        reinit: "vfio.pre-copy.reinit",
        /// `vfio.stop-copy.end`
        end: "vfio.stop-copy.end",
        /// `vfio.stop-copy.whole`
        whole: "vfio.stop-copy.whole",
        /// `vfio.log.no-write-lost`
        no_write_lost: "vfio.log.no-write-lost",
        /// `vfio.log.start-once`
        start_once: "vfio.log.start-once",
        /// `vfio.log.report-power-of-two`
        report_power_of_two: "vfio.log.report-power-of-two",
        /// `vfio.log.report-needs-start`
        report_needs_start: "vfio.log.report-needs-start",
        /// `vfio.log.bad-ranges`
        bad_ranges: "vfio.log.bad-ranges",
    }
}

crate::choice_ids! {
    /// The choices that are asked here.
    pub struct ChoiceIds {
        /// How the rule of combination transitions is read.
        rule: "vfio.combination.rule" as Rule {
            Literal = "literal",
            Kernel = "kernel",
            Session = "session",
        },
        /// Which arcs may fail.
        may_fail: "vfio.arc.may-fail" as MayFail { Resuming = "resuming", Any = "any" },
        /// What bad data leads to.
        bad_data: "vfio.resume.bad-data" as BadData { Stays = "stays", Error = "error" },
        /// Where a reset leads.
        reset: "vfio.reset.target" as ResetTarget {
            Running = "running",
            Keeps = "keeps",
            Split = "split",
        },
        /// The state in which the next client finds the device.
        client_gone: "vfio.client-gone.state" as ClientGone { Kept = "kept", Running = "running" },
        /// What a stopped device answers.
        stop_answers: "vfio.stop.answers" as StopAnswers { Config = "config", All = "all" },
        /// What a device answers in RESUMING.
        resuming_answers: "vfio.resuming.answers" as ResumingAnswers {
            Open = "open",
            Config = "config",
        },
        /// What a device answers in ERROR.
        error_answers: "vfio.error.answers" as ErrorAnswers { Open = "open", Config = "config" },
        /// Whether peer DMA may begin while it is drained.
        draining: "vfio.p2p.draining" as Draining { NoneNew = "none-new", AdmitsNew = "admits-new" },
        /// What becomes of DMA to a device that is stopped.
        stopped_target: "vfio.stopped-target.write" as StoppedTarget {
            Lands = "lands",
            Lost = "lost",
        },
        /// Whether a page is reported and cleared at once.
        report: "vfio.log.report" as LogReport {
            Atomic = "atomic",
            ReadThenClear = "read-then-clear",
        },
        /// Which page sizes a device takes.
        granularity: "vfio.log.granularity" as Granularity {
            AnyPower = "any-power",
            AtLeast4k = "at-least-4k",
        },
        /// What no ranges at all mean.
        zero_ranges: "vfio.log.zero-ranges" as ZeroRanges { Error = "error", All = "all" },
        /// What the P2P flag means over vfio-user: asked by testers alone.
        p2p_flag: "vfio-user.p2p.flag" as P2pFlag { Unused = "unused", AsVfio = "as-vfio" },
        /// Who marks what the client writes.
        client_writes: "vfio-user.log.client-writes" as ClientWrites {
            Server = "server",
            Client = "client",
        },
    }
}

impl From<Rule> for Reading {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::Literal => Reading::Literal,
            Rule::Kernel => Reading::Kernel,
            Rule::Session => Reading::Session,
        }
    }
}

/// Both, resolved.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// The clauses.
    pub laws: ClauseIds,
    /// The choices.
    pub readings: ChoiceIds,
}

impl Names {
    /// Finds them by their ids.
    ///
    /// # Errors
    /// What the specification lacks.
    pub fn resolve(spec: &Spec) -> Result<Self, SpecErrors> {
        let readings = ChoiceIds::resolve(spec)?;
        Ok(Names { laws: ClauseIds::resolve(spec)?, readings })
    }

    /// How the rule of combination transitions is read, if that is fixed; else as the kernel does.
    #[must_use]
    pub fn reading(&self, choices: &Choices) -> Reading {
        self.readings.rule.fixed(choices).map_or(Reading::Kernel, Reading::from)
    }
}

impl ChoiceIds {
    /// How the rule of combination transitions is read.
    ///
    /// # Errors
    /// [`OpenChoice`] if that is open.
    pub fn rule(&self, judge: &RuleContext) -> Result<Reading, OpenChoice> {
        Ok(self.rule.taken(judge)?.into())
    }
}
