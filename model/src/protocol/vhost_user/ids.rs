//! The clauses and choices that the vhost-user machine judges by itself, resolved once.
//!
//! The message table names its own; here stand those of events without a message.

use crate::clause_ids;
use crate::spec::{Spec, SpecErrors};
use devmig_engine::clause::ChoiceId;

clause_ids! {
    /// Clauses, by the name that the machine's code gives them.
    pub struct ClauseIds {
        /// `vhost-user.message.gated`
        gated: "vhost-user.message.gated",
        /// `vhost-user.reply.unasked`
        unasked: "vhost-user.reply.unasked",
        /// `vhost-user.reply.must`
        reply_must: "vhost-user.reply.must",
        /// `vhost-user.reply.header`
        reply_header: "vhost-user.reply.header",
        /// `vhost-user.reply.payload`
        reply_payload: "vhost-user.reply.payload",
        /// `vhost-user.reply-ack.value`
        ack_value: "vhost-user.reply-ack.value",
        /// `vhost-user.get-vring-base.base-is-next-available`
        base: "vhost-user.get-vring-base.base-is-next-available",
        /// `vhost-user.status.read-back`
        read_back: "vhost-user.status.read-back",
        /// `vhost-user.device-state.error-and-fd`
        error_and_descriptor: "vhost-user.device-state.error-and-fd",
        /// `vhost-user.device-state.reply-bits`
        transfer_bits: "vhost-user.device-state.reply-bits",
        /// `vhost-user.device-state.writer-closes`
        writer_closes: "vhost-user.device-state.writer-closes",
        /// `vhost-user.device-state.check-reports`
        check_reports: "vhost-user.device-state.check-reports",
        /// `vhost-user.ring.stopped-not-processed`
        not_processed: "vhost-user.ring.stopped-not-processed",
        /// `vhost-user.ring.disabled-no-side-effects`
        no_side_effects: "vhost-user.ring.disabled-no-side-effects",
        /// `vhost-user.ring.started-processes`
        processes: "vhost-user.ring.started-processes",
        /// `vhost-user.ring.request-completed-once`
        once: "vhost-user.ring.request-completed-once",
        /// `vhost-user.ring.available-only`
        available_only: "vhost-user.ring.available-only",
        /// `vhost-user.ring.notify-guest`
        notify: "vhost-user.ring.notify-guest",
        /// `vhost-user.suspended.no-guest-writes`
        no_guest_writes: "vhost-user.suspended.no-guest-writes",
        /// `vhost-user.suspended.no-notifications`
        no_notifications: "vhost-user.suspended.no-notifications",
        /// `vhost-user.reply-ack.asked-when-negotiated`
        asks_unheard: "vhost-user.reply-ack.asked-when-negotiated",
        /// `vhost-user.config.get-size`
        config_size: "vhost-user.config.get-size",
        /// `vhost-user.queue-num.answered`
        queues: "vhost-user.queue-num.answered",
        /// `vhost-user.suspended.no-messages`
        told_while_suspended: "vhost-user.suspended.no-messages",
        /// `vhost-user.back-end-message.gated`
        told_gated: "vhost-user.back-end-message.gated",
        /// `vhost-user.back-end-message.need-reply-negotiated`
        told_need_reply: "vhost-user.back-end-message.need-reply-negotiated",
        /// `vhost-user.back-end-message.num-zero`
        told_num_zero: "vhost-user.back-end-message.num-zero",
        /// `vhost-user.back-end-message.answered`
        told_answered: "vhost-user.back-end-message.answered",
        /// `vhost-user.back-end-message.answer-unasked`
        told_answer_unasked: "vhost-user.back-end-message.answer-unasked",
        /// `vhost-user.back-end-message.failure-without-descriptor`
        told_failure_without_descriptor: "vhost-user.back-end-message.failure-without-descriptor",
        /// `vhost-user.back-end-message.in-band-acknowledged`
        told_in_band_unasked: "vhost-user.back-end-message.in-band-acknowledged",
        /// `vhost-user.back-end-message.descriptors`
        told_descriptors: "vhost-user.back-end-message.descriptors",
        /// `vhost-user.config-change.notifies`
        tells_change: "vhost-user.config-change.notifies",
        /// `vhost-user.err.signalled`
        reports: "vhost-user.err.signalled",
        /// `vhost-user.call.polling`
        call_taken: "vhost-user.call.polling",
        /// `vhost-user.in-band.closes-without`
        expels: "vhost-user.in-band.closes-without",
        /// `vhost-user.in-flight.records`
        records: "vhost-user.in-flight.records",
        /// `vhost-user.in-flight.resubmits`
        resubmits: "vhost-user.in-flight.resubmits",
        /// `vhost-user.in-flight.settles-last-batch`
        settles: "vhost-user.in-flight.settles-last-batch",
        /// `vhost-user.dirty-log.marks-buffers`
        marks_buffers: "vhost-user.dirty-log.marks-buffers",
        /// `vhost-user.dirty-log.marks-used-ring`
        marks_used_ring: "vhost-user.dirty-log.marks-used-ring",
        /// `vhost-user.migration.no-update-until-restart`
        no_update: "vhost-user.migration.no-update-until-restart",
        /// `vhost-user.connection.close-exceptional`
        close: "vhost-user.connection.close-exceptional",
    }
}

/// Choices that are asked for without a message.
#[derive(Clone, Copy, Debug)]
pub struct ChoiceIds {
    /// `vhost-user.disabled.requests`
    pub disabled_requests: ChoiceId,
    /// `vhost-user.reply.reads-ahead`
    pub reads_ahead: ChoiceId,
    /// `vhost-user.set-vring-call.signals`
    pub call_at_setup: ChoiceId,
    /// `vhost-user.get-vring-base.kick`
    pub kick_after_stop: ChoiceId,
    /// `vhost-user.reply-ack.without-need-reply`
    pub acknowledged_unasked: ChoiceId,
    /// `vhost-user.dirty-log.who-marks`
    pub who_marks: ChoiceId,
    /// `vhost-user.log-base.payload`
    pub log_taken: ChoiceId,
    /// `vhost-user.message.pieces`
    pub pieces: ChoiceId,
    /// `vhost-user.status.before-driver-ok`
    pub before_driver_ok: ChoiceId,
    /// `vhost-user.ring.broken`
    pub broken_ring: ChoiceId,
    /// `vhost-user.config-change.while-suspended`
    pub late_change: ChoiceId,
}

impl ChoiceIds {
    /// Finds the choices by their ids.
    ///
    /// # Errors
    /// The first that the specification lacks.
    pub fn resolve(spec: &Spec) -> Result<Self, SpecErrors> {
        Ok(ChoiceIds {
            disabled_requests: spec.choice("vhost-user.disabled.requests")?,
            reads_ahead: spec.choice("vhost-user.reply.reads-ahead")?,
            call_at_setup: spec.choice("vhost-user.set-vring-call.signals")?,
            kick_after_stop: spec.choice("vhost-user.get-vring-base.kick")?,
            acknowledged_unasked: spec.choice("vhost-user.reply-ack.without-need-reply")?,
            late_change: spec.choice("vhost-user.config-change.while-suspended")?,
            who_marks: spec.choice("vhost-user.dirty-log.who-marks")?,
            log_taken: spec.choice("vhost-user.log-base.payload")?,
            pieces: spec.choice("vhost-user.message.pieces")?,
            broken_ring: spec.choice("vhost-user.ring.broken")?,
            before_driver_ok: spec.choice("vhost-user.status.before-driver-ok")?,
        })
    }
}
