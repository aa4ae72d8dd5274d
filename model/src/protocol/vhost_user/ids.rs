//! The clauses and choices that the vhost-user machine judges by itself, resolved once.
//!
//! The message table names its own; here stand those of events without a message.

use crate::{choice_ids, clause_ids};

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
        /// `vhost-user.configuration.on-the-fly`
        on_the_fly: "vhost-user.configuration.on-the-fly",
        /// `vhost-user.connection.close-exceptional`
        close: "vhost-user.connection.close-exceptional",
    }
}

choice_ids! {
    /// Choices that are asked for without a message.
    pub struct ChoiceIds {
        /// What becomes of requests on a ring that is disabled.
        disabled_requests: "vhost-user.disabled.requests" as DisabledRequests {
            Hold = "hold",
            Finish = "finish",
            Process = "process",
        },
        /// Whether a back-end reads on while it owes a reply.
        reads_ahead: "vhost-user.reply.reads-ahead" as ReadsAhead { Waits = "waits", Reads = "reads" },
        /// Whether a back-end reads on while it loads a state.
        load_pending: "vhost-user.device-state.load-pending" as LoadPending {
            Reads = "reads",
            Waits = "waits",
        },
        /// Whether a call descriptor is signalled as it is set.
        call_at_setup: "vhost-user.set-vring-call.signals" as CallAtSetup {
            Silent = "silent",
            Signals = "signals",
        },
        /// What becomes of a kick descriptor when its ring is stopped.
        kick_after_stop: "vhost-user.get-vring-base.kick" as KickAfterStop {
            Forgets = "forgets",
            Keeps = "keeps",
        },
        /// Whether a message without need_reply is acknowledged.
        acknowledged_unasked: "vhost-user.reply-ack.without-need-reply" as Acknowledged {
            Asked = "asked",
            Always = "always",
        },
        /// Who marks what the device writes.
        who_marks: "vhost-user.dirty-log.who-marks" as WhoMarks {
            BackEnd = "back-end",
            FrontEnd = "front-end",
        },
        /// What the answer to SET_LOG_BASE carries.
        log_taken: "vhost-user.log-base.payload" as LogTaken {
            Number = "number",
            Request = "request",
            Nothing = "nothing",
        },
        /// Which pieces of a message a back-end takes.
        pieces: "vhost-user.message.pieces" as Pieces {
            Together = "together",
            Header = "header",
            Whole = "whole",
        },
        /// Whether a device works before DRIVER_OK.
        before_driver_ok: "vhost-user.status.before-driver-ok" as BeforeDriverOk {
            Processes = "processes",
            Waits = "waits",
        },
        /// What a back-end does about a ring that the guest corrupted.
        broken_ring: "vhost-user.ring.broken" as BrokenRing { Stays = "stays", Closes = "closes" },
        /// What becomes of a change of configuration while the device is suspended.
        late_change: "vhost-user.config-change.while-suspended" as LateChange {
            Later = "later",
            Never = "never",
        },
    }
}
