//! Faults, each a switch in the real code, so that a suite can show that it would notice.
//!
//! A mutant does one thing wrong, names the clause that this breaks, and is otherwise the reference.

use crate::switches::mutants;

mutants! {
    ["vhost-user."]

    // Stopping, and where to go on.
    KeepsProcessing "keeps-processing" "ring.stopped-not-processed"
        "GET_VRING_BASE is answered and stops nothing.",
    BaseZero "base-zero" "get-vring-base.base-is-next-available"
        "GET_VRING_BASE returns 0.",
    BaseLow "base-low" "get-vring-base.base-is-next-available"
        "GET_VRING_BASE returns one too few.",
    BaseHigh "base-high" "get-vring-base.base-is-next-available"
        "GET_VRING_BASE returns one too many.",
    BaseModuloSize "base-modulo-size" "get-vring-base.base-is-next-available"
        "GET_VRING_BASE returns an index into the ring instead of one that runs freely.",
    CompletesAfterStop "completes-after-stop" "get-vring-base.in-flight-first"
        "GET_VRING_BASE is answered at once, and what was in flight is completed afterwards.",
    ForgetsBase "forgets-base" "set-vring-base.continues-there"
        "A ring that starts again starts at 0.",
    IgnoresSetBase "ignores-set-base" "set-vring-base.continues-there"
        "SET_VRING_BASE has no effect.",
    UsedFromZero "used-from-zero" "set-vring-base.used-from-memory"
        "A ring that starts puts its first completion at 0, whatever the used ring says.",
    NotifiesAfterStop "notifies-after-stop" "suspended.no-notifications"
        "The guest is notified once more, a while after GET_VRING_BASE was answered.",
    WritesWhileSuspended "writes-while-suspended" "suspended.no-guest-writes"
        "A while after every ring was stopped, a word of guest memory is written that belongs to none.",
    RunsAfterSave "runs-after-save" "migration.no-update-until-restart"
        "Once its state is saved the device polls its rings, stopped as they are.",
    SilentWhenStopped "silent-when-stopped" "suspended.still-answers"
        "Nothing is answered any more once rings were started and all are stopped.",

    // Processing.
    CompletesTwice "completes-twice" "ring.request-completed-once"
        "Each request is put into the used ring twice.",
    UsesUnavailable "uses-unavailable" "ring.available-only"
        "Each completion is followed by one of a request that nobody made.",
    NeverStarts "never-starts" "ring.kick-starts"
        "A kick is taken and starts nothing.",
    NeverNotifies "never-notifies" "ring.notify-guest"
        "The guest is never notified.",
    IndexSticks "index-sticks" "ring.started-processes"
        "The ring's index does not go beyond 65535: nothing is processed there.",
    StartsEnabled "starts-enabled" "ring.starts-stopped-and-disabled"
        "Rings are enabled from the first.",
    BornStarted "born-started" "ring.ever_started-stopped-and-disabled"
        "Rings are started from the first: no kick is waited for.",
    FeaturesFixed "features-fixed" "configuration.on-the-fly"
        "SET_FEATURES changes nothing while a ring runs.",
    ProcessesDisabled "processes-disabled" "ring.disabled-no-side-effects"
        "A disabled ring's requests are fetched and executed.",
    IgnoresEnable "ignores-enable" "ring.enable-sets"
        "SET_VRING_ENABLE with 1 has no effect.",
    IgnoresDisable "ignores-disable" "ring.enable-sets"
        "SET_VRING_ENABLE with 0 has no effect.",
    EnableNotTracked "enable-not-tracked" "ring.enable-tracked"
        "SET_VRING_ENABLE has no effect on a ring that is stopped.",

    // Negotiation.
    Bit30EnablesNothing "bit-30-enables-nothing" "set-features.bit-30-enables"
        "SET_FEATURES without bit 30 enables no ring.",
    Bit30Disables "bit-30-disables" "set-features.disables-none"
        "SET_FEATURES with bit 30 disables every ring.",
    ProtocolFeaturesLate "protocol-features-late" "protocol-features.before-set-features"
        "GET_PROTOCOL_FEATURES before SET_FEATURES closes the connection.",

    // Status and resets.
    ResetDisablesNothing "reset-disables-nothing" "reset-device.disables"
        "RESET_DEVICE leaves rings started and enabled.",
    ResetKeepsState "reset-keeps-state" "reset-device.resets-state"
        "RESET_DEVICE leaves the device's internal state and its status.",
    ResetClosesSession "reset-closes-session" "reset-device.keeps-ownership"
        "RESET_DEVICE ends the session.",
    StatusWrong "status-wrong" "status.read-back"
        "GET_STATUS returns a status in which one bit is another.",
    StatusIgnored "status-ignored" "status.set"
        "SET_STATUS sets nothing.",
    StatusZeroNotifies "status-zero-notifies" "status.reset-quiet"
        "The guest is notified once more, a while after a status of 0.",
    StatusZeroOneRing "status-zero-one-ring" "status.zero-resets"
        "A status of 0 resets the first ring and no other.",

    // Device state.
    TransferErrorWithDescriptor "transfer-error-with-descriptor" "device-state.error-and-fd"
        "SET_DEVICE_STATE_FD is answered with an error and a descriptor.",
    TransferBitClear "transfer-bit-clear" "device-state.reply-bits"
        "SET_DEVICE_STATE_FD is answered with bit 8 clear and without a descriptor.",
    TransferNeverCloses "transfer-never-closes" "device-state.writer-closes"
        "The channel stays open after all state was written.",
    LoadStopsReading "load-stops-reading" "device-state.reader-reads-all"
        "Of a state that is loaded no more than 4 KiB are read; the channel stays open.",
    CheckFails "check-fails" "device-state.check-reports"
        "CHECK_DEVICE_STATE reports a failure after a good save.",
    LoadsAnything "loads-anything" "device-state.check-reports"
        "CHECK_DEVICE_STATE reports success after a state was refused.",
    CompletesWhileSaving "completes-while-saving" "device-state.frozen"
        "Stopped rings are processed while a save begins.",

    // Answers.
    WrongReplyId "wrong-reply-id" "reply.header"
        "Replies carry the id of another message.",
    NoReplyFlag "no-reply-flag" "reply.header"
        "Replies lack the reply flag.",
    WrongReplyVersion "wrong-reply-version" "reply.header"
        "Replies have version 2.",
    ReplyTooLong "reply-too-long" "reply.payload"
        "Replies have 8 bytes of payload too many.",
    AnswersTwice "answers-twice" "reply.unasked"
        "Everything is answered twice.",
    AnswersUnasked "answers-unasked" "reply.unasked"
        "Messages that want no answer get one.",
    AcknowledgesToo "acknowledges-too" "reply-ack.explicit-unchanged"
        "A message that has a reply and asks for an acknowledgement gets both.",
    NoAcknowledgement "no-acknowledgement" "reply-ack.answers"
        "A message that asks for an acknowledgement gets none.",
    AcknowledgesFailure "acknowledges-failure" "reply-ack.value"
        "Success is acknowledged with 1.",
    SilentGetFeatures "silent-get-features" "reply.must"
        "GET_FEATURES is not answered.",
    AcknowledgesRefusal "acknowledges-refusal" "reply-ack.value"
        "What is refused is acknowledged with 0.",
    AcceptsAnyMtu "accepts-any-mtu" "mtu.answered"
        "NET_SET_MTU is acknowledged with 0, whatever the MTU.",
    Bit30Untrue "bit-30-untrue" "features.get-answered"
        "Bit 30 is offered, and GET_PROTOCOL_FEATURES closes the connection.",
    FeaturesIgnored "features-ignored" "features.enable"
        "SET_FEATURES puts nothing into use.",
    ProtocolFeaturesIgnored "protocol-features-ignored" "protocol-features.set"
        "SET_PROTOCOL_FEATURES puts nothing into use.",
    NoQueues "no-queues" "queue-num.answered"
        "GET_QUEUE_NUM is answered with 0.",
    ClosesOnCall "closes-on-call" "connection.close-exceptional"
        "SET_VRING_CALL closes the connection.",

    // Several rings.
    StopsAll "stops-all" "get-vring-base.stops"
        "GET_VRING_BASE stops every ring.",
    DisablesAll "disables-all" "ring.enable-sets"
        "SET_VRING_ENABLE with 0 disables every ring.",
    ResetsOneRing "resets-one-ring" "reset-device.disables"
        "Resets disable the first ring and no other.",
    NeverPolls "never-polls" "kick.polling"
        "A ring that has to be polled is not.",
    CallsAnyway "calls-anyway" "call.polling"
        "A call descriptor that was taken away is written to all the same.",
    ErrorUnreported "error-unreported" "err.signalled"
        "Nobody is told that a ring is broken.",
    ResetOwnerResets "reset-owner-resets" "reset-owner.ignored-or-disables"
        "RESET_OWNER resets the device.",

    // Memory.
    KeepsOldTable "keeps-old-table" "memory.replaces"
        "SET_MEM_TABLE changes nothing once there is memory.",
    AddReplaces "add-replaces" "memory.add-maps"
        "ADD_MEM_REG puts the region in the place of all others.",
    RemoveKeeps "remove-keeps" "memory.remove-unmaps"
        "REM_MEM_REG removes nothing.",
    RemoveKeepsDescriptor "remove-keeps-descriptor" "memory.remove-closes-fd"
        "A descriptor that comes with REM_MEM_REG stays open.",
    RingsByGuestAddress "rings-by-guest-address" "memory.user-addresses"
        "The addresses of rings are taken for guest addresses.",
    BuffersByUserAddress "buffers-by-user-address" "memory.guest-addresses"
        "The addresses of buffers are taken for the front-end's own.",
    RingSizeIgnored "ring-size-ignored" "vring-num.sets"
        "A ring is as long as one can be, whatever SET_VRING_NUM says.",
    KeepsOldAddresses "keeps-old-addresses" "vring-addr.sets"
        "SET_VRING_ADDR changes nothing once a ring has addresses.",

    // What comes from outside.
    ReceivesOnce "receives-once" "ring.started-processes"
        "A NIC puts one frame into each receive ring, and no more.",

    // Whom to wake.
    AsksForNoKick "asks-for-no-kick" "ring.started-processes"
        "With EVENT_IDX, nobody is asked for a kick.",
    InterruptsStayOff "interrupts-stay-off" "ring.notify-guest"
        "A guest that once asked not to be notified never is again.",

    // Configuration.
    ConfigTooShort "config-too-short" "config.get-size"
        "GET_CONFIG returns one byte too few.",
    ConfigOffByOne "config-off-by-one" "config.get-size"
        "GET_CONFIG returns what stands one byte later.",
    ConfigWritable "config-writable" "config.read-only"
        "SET_CONFIG sets read-only fields.",
    ConfigNeverSet "config-never-set" "config.set-flags"
        "SET_CONFIG sets nothing after a migration.",

    // The dirty log.
    LogsNothing "logs-nothing" "dirty-log.marks-buffers"
        "No write is logged.",
    LogsFirstPage "logs-first-page" "dirty-log.marks-buffers"
        "Of a buffer only the first page is logged.",
    LogsNoUsedRing "logs-no-used-ring" "dirty-log.marks-used-ring"
        "Writes to the used ring are not logged.",
    LogsUsedElsewhere "logs-used-elsewhere" "dirty-log.used-ring-address"
        "Writes to the used ring are logged where it is in guest memory, not where the front-end said.",
    MarksInTwoSteps "marks-in-two-steps" "dirty-log.atomic"
        "A mark is made by reading a byte of the log, and writing it a while later.",
    KeepsOldLog "keeps-old-log" "dirty-log.fd"
        "A second SET_LOG_BASE changes nothing.",

    // Requests in flight.
    InflightIgnored "inflight-ignored" "in-flight.resubmits"
        "SET_INFLIGHT_FD is taken and not used.",
    InflightForgotten "inflight-forgotten" "in-flight.resubmits"
        "What is on record as in flight is not resubmitted.",
    InflightNotFirst "inflight-not-first" "in-flight.resubmits"
        "Descriptor 0 is never resubmitted.",
    InflightStays "inflight-stays" "in-flight.records"
        "What was completed stays on record, and is resubmitted.",
    InflightLastBatch "inflight-last-batch" "in-flight.settles-last-batch"
        "What got into the used ring just before the end is resubmitted.",

    // The back-end's channel.
    ChangeUntold "change-untold" "config-change.notifies"
        "Nobody is told that the configuration has changed.",
    ChangeWhileSuspended "change-while-suspended" "suspended.no-messages"
        "The front-end is told of a change of the configuration while every ring is stopped.",
    AsksUnnegotiated "asks-unnegotiated" "back-end-message.need-reply-negotiated"
        "The back-end's messages ask for an acknowledgement that was not negotiated.",
    ChangeUngated "change-ungated" "back-end-message.gated"
        "The front-end is told of a change of the configuration although CONFIG was not negotiated.",
    ChannelUnacknowledged "channel-unacknowledged" "set-backend-req-fd.answered"
        "SET_BACKEND_REQ_FD is not acknowledged, though it asks for that.",
    InbandAlone "inband-alone" "in-band.closes-without"
        "In-band notifications are accepted without what they need.",
    InbandKickIgnored "inband-kick-ignored" "vring-kick.starts"
        "VRING_KICK starts nothing.",
    InbandSilent "inband-silent" "ring.notify-guest"
        "The guest is not notified by messages either.",
    InbandWrongRing "inband-wrong-ring" "ring.notify-guest"
        "VRING_CALL names the next ring.",
    InbandNumber "inband-number" "back-end-message.num-zero"
        "VRING_CALL has 1 where 0 belongs.",
    InbandUnacknowledged "inband-unacknowledged" "back-end-message.in-band-acknowledged"
        "VRING_CALL asks for no acknowledgement.",

    // A state that was loaded.
    LoadsNothing "loads-nothing" "device-state.load-restores"
        "A state is taken and forgotten.",
    SaveResets "save-resets" "device-state.source-can-resume"
        "A device whose state was saved starts afresh.",
    FilterNotRestored "filter-not-restored" "device-state.load-restores"
        "A NIC's filter is not restored.",
    AddressNotRestored "address-not-restored" "device-state.load-restores"
        "A NIC's address is not restored.",
    SteeringNotRestored "steering-not-restored" "device-state.load-restores"
        "How a NIC spreads flows is not restored.",
    WaitingNotRestored "waiting-not-restored" "device-state.load-restores"
        "Frames that a NIC has not delivered yet are not restored.",
    ResetKeepsFilter "reset-keeps-filter" "reset-device.resets-state"
        "A NIC's filter is left as it was by a reset.",
    SuppliesDisabled "supplies-disabled" "ring.disabled-no-side-effects"
        "A NIC supplies frames through a ring that is disabled.",
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_parse() {
        let names: BTreeSet<&str> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        assert_eq!(names.len(), Mutant::ALL.len());
        for mutant in Mutant::ALL {
            assert_eq!(mutant.name().parse(), Ok(*mutant));
        }
        assert!("none".parse::<Mutant>().is_err());
    }
}
