//! The clauses that the VFIO machine judges, and the choices that it asks.

use super::path::Reading;
use crate::spec::{Spec, SpecErrors};
use devmig_engine::clause::ChoiceId;
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
        /// `vfio.log.report-needs-start`
        report_needs_start: "vfio.log.report-needs-start",
        /// `vfio.log.bad-ranges`
        bad_ranges: "vfio.log.bad-ranges",
    }
}

/// The choices that are asked here.
#[derive(Clone, Copy, Debug)]
pub struct ChoiceIds {
    /// `vfio.combination.rule`
    pub rule: ChoiceId,
    /// `vfio.arc.may-fail`
    pub may_fail: ChoiceId,
    /// `vfio.resume.bad-data`
    pub bad_data: ChoiceId,
    /// `vfio.reset.target`
    pub reset: ChoiceId,
    /// `vfio.client-gone.state`
    pub client_gone: ChoiceId,
    /// `vfio.stop.answers`
    pub stop_answers: ChoiceId,
    /// `vfio.resuming.answers`
    pub resuming_answers: ChoiceId,
    /// `vfio.error.answers`
    pub error_answers: ChoiceId,
    /// `vfio.p2p.draining`
    pub draining: ChoiceId,
    /// `vfio.stopped-target.write`
    pub stopped_target: ChoiceId,
    /// `vfio.log.report`
    pub report: ChoiceId,
    /// `vfio.log.granularity`
    pub granularity: ChoiceId,
    /// `vfio.log.zero-ranges`
    pub zero_ranges: ChoiceId,
    /// `vfio-user.log.client-writes`
    pub client_writes: ChoiceId,
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
        let readings = ChoiceIds {
            rule: spec.choice("vfio.combination.rule")?,
            may_fail: spec.choice("vfio.arc.may-fail")?,
            bad_data: spec.choice("vfio.resume.bad-data")?,
            reset: spec.choice("vfio.reset.target")?,
            client_gone: spec.choice("vfio.client-gone.state")?,
            stop_answers: spec.choice("vfio.stop.answers")?,
            resuming_answers: spec.choice("vfio.resuming.answers")?,
            error_answers: spec.choice("vfio.error.answers")?,
            draining: spec.choice("vfio.p2p.draining")?,
            stopped_target: spec.choice("vfio.stopped-target.write")?,
            report: spec.choice("vfio.log.report")?,
            granularity: spec.choice("vfio.log.granularity")?,
            zero_ranges: spec.choice("vfio.log.zero-ranges")?,
            client_writes: spec.choice("vfio-user.log.client-writes")?,
        };
        Ok(Names { laws: ClauseIds::resolve(spec)?, readings })
    }

    /// How the rule of combination transitions is read, if that is fixed; else as the kernel does.
    #[must_use]
    pub fn reading(&self, choices: &Choices) -> Reading {
        let option = choices.fixed(self.readings.rule).map(usize::from);
        option.and_then(|option| Reading::ALL.get(option).copied()).unwrap_or(Reading::Kernel)
    }
}

impl ChoiceIds {
    /// How the rule of combination transitions is read.
    ///
    /// # Errors
    /// [`OpenChoice`] if that is open.
    pub fn rule(&self, judge: &RuleContext) -> Result<Reading, OpenChoice> {
        let option = usize::from(judge.choice(self.rule)?);
        Reading::ALL.get(option).copied().ok_or(OpenChoice(self.rule))
    }
}
