//! Faults, each a switch in the real code, so that a suite can show that it would notice.
//!
//! A mutant does one thing wrong, names the clause that this breaks, and is otherwise the reference.

use crate::switches::mutants;

mutants! {
    ["vhost-user."]

    // Stopping, and where to go on.
    KeepsProcessing "keeps-processing" "ring.stopped-not-processed"
        "The back-end replies to GET_VRING_BASE and does not stop the ring.",
    BaseZero "base-zero" "get-vring-base.base-is-next-available"
        "GET_VRING_BASE returns 0.",
    BaseLow "base-low" "get-vring-base.base-is-next-available"
        "GET_VRING_BASE returns a base that is too low by one.",
    BaseHigh "base-high" "get-vring-base.base-is-next-available"
        "GET_VRING_BASE returns a base that is too high by one.",
    BaseModuloSize "base-modulo-size" "get-vring-base.base-is-next-available"
        "GET_VRING_BASE returns an index modulo the ring size instead of a free-running one.",
    CompletesAfterStop "completes-after-stop" "get-vring-base.in-flight-first"
        "The back-end replies to GET_VRING_BASE at once and completes in-flight requests \
         afterwards.",
    ForgetsBase "forgets-base" "set-vring-base.continues-there"
        "A restarted ring begins at 0.",
    IgnoresSetBase "ignores-set-base" "set-vring-base.continues-there"
        "SET_VRING_BASE has no effect.",
    UsedFromZero "used-from-zero" "set-vring-base.used-from-memory"
        "A ring that starts puts its first used entry at 0, regardless of the used ring.",
    NotifiesAfterStop "notifies-after-stop" "suspended.no-notifications"
        "The back-end notifies the guest once more, some time after its reply to GET_VRING_BASE.",
    WritesWhileSuspended "writes-while-suspended" "suspended.no-guest-writes"
        "Some time after every ring was stopped, the back-end writes a word of guest memory \
         outside of the rings.",
    RunsAfterSave "runs-after-save" "migration.no-update-until-restart"
        "After its state is saved, the back-end polls its stopped rings.",
    SilentWhenStopped "silent-when-stopped" "suspended.still-answers"
        "The back-end replies to nothing after rings were started and all are stopped.",

    // Processing.
    CompletesTwice "completes-twice" "ring.request-completed-once"
        "The back-end puts each request into the used ring twice.",
    UsesUnavailable "uses-unavailable" "ring.available-only"
        "After each request, the back-end completes one that was never made available.",
    NeverStarts "never-starts" "ring.kick-starts"
        "The back-end reads a kick but does not start the ring.",
    NeverNotifies "never-notifies" "ring.notify-guest"
        "The back-end never notifies the guest.",
    IndexSticks "index-sticks" "ring.started-processes"
        "The ring's index does not exceed 65535: nothing is processed there.",
    StartsEnabled "starts-enabled" "ring.starts-stopped-and-disabled"
        "Rings are initially enabled.",
    BornStarted "born-started" "ring.born-stopped-and-disabled"
        "Rings are initially started, without a kick.",
    FeaturesFixed "features-fixed" "configuration.on-the-fly"
        "SET_FEATURES has no effect while a ring runs.",
    ProcessesDisabled "processes-disabled" "ring.disabled-no-side-effects"
        "The back-end fetches and executes the requests of a disabled ring.",
    IgnoresEnable "ignores-enable" "ring.enable-sets"
        "SET_VRING_ENABLE with 1 has no effect.",
    IgnoresDisable "ignores-disable" "ring.enable-sets"
        "SET_VRING_ENABLE with 0 has no effect.",
    EnableNotTracked "enable-not-tracked" "ring.enable-tracked"
        "SET_VRING_ENABLE has no effect on a stopped ring.",

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
        "RESET_DEVICE leaves the device's internal state and its status unchanged.",
    ResetClosesSession "reset-closes-session" "reset-device.keeps-ownership"
        "RESET_DEVICE ends the session.",
    StatusWrong "status-wrong" "status.read-back"
        "GET_STATUS returns the status with one bit flipped.",
    StatusIgnored "status-ignored" "status.set"
        "SET_STATUS has no effect.",
    StatusZeroNotifies "status-zero-notifies" "status.reset-quiet"
        "The back-end notifies the guest once more, some time after status 0.",
    StatusZeroOneRing "status-zero-one-ring" "status.zero-resets"
        "Status 0 resets only the first ring.",

    // Device state.
    TransferErrorWithDescriptor "transfer-error-with-descriptor" "device-state.error-and-fd"
        "The reply to SET_DEVICE_STATE_FD has both an error and a descriptor.",
    TransferBitClear "transfer-bit-clear" "device-state.reply-bits"
        "The reply to SET_DEVICE_STATE_FD has bit 8 clear and no descriptor.",
    TransferNeverCloses "transfer-never-closes" "device-state.writer-closes"
        "The channel stays open after all state is written.",
    LoadStopsReading "load-stops-reading" "device-state.reader-reads-all"
        "The back-end reads at most 4 KiB of the state that it loads; the channel stays open.",
    CheckFails "check-fails" "device-state.check-reports"
        "CHECK_DEVICE_STATE reports a failure after a successful save.",
    LoadsAnything "loads-anything" "device-state.check-reports"
        "CHECK_DEVICE_STATE reports success after a state was refused.",
    CompletesWhileSaving "completes-while-saving" "device-state.frozen"
        "The back-end processes stopped rings when a save begins.",

    // Answers.
    WrongReplyId "wrong-reply-id" "reply.header"
        "Replies have the request code of another message.",
    NoReplyFlag "no-reply-flag" "reply.header"
        "Replies lack the reply flag.",
    WrongReplyVersion "wrong-reply-version" "reply.header"
        "Replies have version 2.",
    ReplyTooLong "reply-too-long" "reply.payload"
        "Replies have 8 bytes of payload too many.",
    AnswersTwice "answers-twice" "reply.unasked"
        "The back-end sends every reply twice.",
    AnswersUnasked "answers-unasked" "reply.unasked"
        "The back-end replies to messages that have no reply.",
    AcknowledgesToo "acknowledges-too" "reply-ack.explicit-unchanged"
        "A message that has a reply and asks for an acknowledgement gets both.",
    NoAcknowledgement "no-acknowledgement" "reply-ack.answers"
        "The back-end does not acknowledge a message that asks for it.",
    AcknowledgesFailure "acknowledges-failure" "reply-ack.value"
        "The back-end acknowledges success with 1.",
    SilentGetFeatures "silent-get-features" "reply.must"
        "The back-end does not reply to GET_FEATURES.",
    AcknowledgesRefusal "acknowledges-refusal" "reply-ack.value"
        "The back-end acknowledges refused messages with 0.",
    AcceptsAnyMtu "accepts-any-mtu" "mtu.answered"
        "The back-end acknowledges NET_SET_MTU with 0 for every MTU.",
    Bit30Untrue "bit-30-untrue" "features.get-answered"
        "The back-end offers bit 30, and closes the connection on GET_PROTOCOL_FEATURES.",
    FeaturesIgnored "features-ignored" "features.enable"
        "Features that SET_FEATURES acknowledges have no effect.",
    ProtocolFeaturesIgnored "protocol-features-ignored" "protocol-features.set"
        "Features that SET_PROTOCOL_FEATURES acknowledges have no effect.",
    NoQueues "no-queues" "queue-num.answered"
        "The back-end replies to GET_QUEUE_NUM with 0.",
    ClosesOnCall "closes-on-call" "connection.close-exceptional"
        "SET_VRING_CALL closes the connection.",

    // Several rings.
    StopsAll "stops-all" "get-vring-base.stops"
        "GET_VRING_BASE stops every ring.",
    DisablesAll "disables-all" "ring.enable-sets"
        "SET_VRING_ENABLE with 0 disables every ring.",
    ResetsOneRing "resets-one-ring" "reset-device.disables"
        "Resets disable only the first ring.",
    NeverPolls "never-polls" "kick.polling"
        "The back-end does not poll a ring that has no kick descriptor.",
    CallsAnyway "calls-anyway" "call.polling"
        "The back-end still writes to a call descriptor that was removed.",
    ErrorUnreported "error-unreported" "err.signalled"
        "The back-end does not report a corrupted ring.",
    ResetOwnerResets "reset-owner-resets" "reset-owner.ignored-or-disables"
        "RESET_OWNER resets the device.",

    // Memory.
    KeepsOldTable "keeps-old-table" "memory.replaces"
        "A second SET_MEM_TABLE has no effect.",
    AddReplaces "add-replaces" "memory.add-maps"
        "ADD_MEM_REG replaces all other regions.",
    RemoveKeeps "remove-keeps" "memory.remove-unmaps"
        "REM_MEM_REG removes nothing.",
    RemoveKeepsDescriptor "remove-keeps-descriptor" "memory.remove-closes-fd"
        "The back-end does not close a descriptor that it receives with REM_MEM_REG.",
    RingsByGuestAddress "rings-by-guest-address" "memory.user-addresses"
        "The back-end resolves ring addresses as guest addresses.",
    BuffersByUserAddress "buffers-by-user-address" "memory.guest-addresses"
        "The back-end resolves buffer addresses as user addresses of the front-end.",
    RingSizeIgnored "ring-size-ignored" "vring-num.sets"
        "Every ring has the maximum size, regardless of SET_VRING_NUM.",
    KeepsOldAddresses "keeps-old-addresses" "vring-addr.sets"
        "A second SET_VRING_ADDR for a ring has no effect.",

    // What comes from outside.
    ReceivesOnce "receives-once" "ring.started-processes"
        "A NIC puts only one frame into each receive ring.",

    // Whom to wake.
    AsksForNoKick "asks-for-no-kick" "ring.started-processes"
        "With EVENT_IDX, the back-end never requests a kick.",
    InterruptsStayOff "interrupts-stay-off" "ring.notify-guest"
        "After a guest suppressed notifications once, it is never notified again.",

    // Configuration.
    ConfigTooShort "config-too-short" "config.get-size"
        "GET_CONFIG returns one byte too few.",
    ConfigOffByOne "config-off-by-one" "config.get-size"
        "GET_CONFIG returns the contents from one byte later.",
    ConfigWritable "config-writable" "config.read-only"
        "SET_CONFIG sets read-only fields.",
    ConfigNeverSet "config-never-set" "config.set-flags"
        "SET_CONFIG for a migration has no effect.",

    // The dirty log.
    LogsNothing "logs-nothing" "dirty-log.marks-buffers"
        "The back-end logs no writes.",
    LogsFirstPage "logs-first-page" "dirty-log.marks-buffers"
        "The back-end logs only the first page of a buffer.",
    LogsNoUsedRing "logs-no-used-ring" "dirty-log.marks-used-ring"
        "The back-end does not log writes to the used ring.",
    LogsUsedElsewhere "logs-used-elsewhere" "dirty-log.used-ring-address"
        "The back-end logs writes to the used ring at its guest address instead of the log \
         address.",
    MarksInTwoSteps "marks-in-two-steps" "dirty-log.atomic"
        "The back-end marks a page by reading a byte of the log and writing it some time later.",
    KeepsOldLog "keeps-old-log" "dirty-log.fd"
        "A second SET_LOG_BASE has no effect.",

    // Requests in flight.
    InflightIgnored "inflight-ignored" "in-flight.resubmits"
        "The back-end accepts SET_INFLIGHT_FD and does not use the buffer.",
    InflightForgotten "inflight-forgotten" "in-flight.resubmits"
        "The back-end does not resubmit recorded requests.",
    InflightNotFirst "inflight-not-first" "in-flight.resubmits"
        "The back-end never resubmits descriptor 0.",
    InflightStays "inflight-stays" "in-flight.records"
        "Completed requests stay in the record and are resubmitted.",
    InflightLastBatch "inflight-last-batch" "in-flight.settles-last-batch"
        "Requests put into the used ring just before a crash are resubmitted.",

    // The back-end's channel.
    ChangeUntold "change-untold" "config-change.notifies"
        "The back-end does not report a change of the configuration space.",
    ChangeWhileSuspended "change-while-suspended" "suspended.no-messages"
        "The back-end reports a change of the configuration space while every ring is stopped.",
    AsksUnnegotiated "asks-unnegotiated" "back-end-message.need-reply-negotiated"
        "Back-end requests ask for an acknowledgement that was not negotiated.",
    ChangeUngated "change-ungated" "back-end-message.gated"
        "The back-end reports a change of the configuration space although CONFIG was not \
         negotiated.",
    ChannelUnacknowledged "channel-unacknowledged" "set-backend-req-fd.answered"
        "The back-end does not acknowledge SET_BACKEND_REQ_FD, although the message asks for it.",
    InbandAlone "inband-alone" "in-band.closes-without"
        "The back-end accepts in-band notifications without the features that they require.",
    InbandKickIgnored "inband-kick-ignored" "vring-kick.starts"
        "VRING_KICK does not start a ring.",
    InbandSilent "inband-silent" "ring.notify-guest"
        "The back-end does not notify the guest by messages either.",
    InbandWrongRing "inband-wrong-ring" "ring.notify-guest"
        "VRING_CALL names the next ring.",
    InbandNumber "inband-number" "back-end-message.num-zero"
        "The field num of VRING_CALL is 1 instead of 0.",
    InbandUnacknowledged "inband-unacknowledged" "back-end-message.in-band-acknowledged"
        "VRING_CALL does not ask for an acknowledgement.",

    // A state that was loaded.
    LoadsNothing "loads-nothing" "device-state.load-restores"
        "The back-end accepts a state and discards it.",
    SaveResets "save-resets" "device-state.source-can-resume"
        "A device whose state was saved is reset.",
    FilterNotRestored "filter-not-restored" "device-state.load-restores"
        "A NIC's filter is not restored.",
    AddressNotRestored "address-not-restored" "device-state.load-restores"
        "A NIC's address is not restored.",
    SteeringNotRestored "steering-not-restored" "device-state.load-restores"
        "A NIC's flow steering is not restored.",
    WaitingNotRestored "waiting-not-restored" "device-state.load-restores"
        "Frames that a NIC has not delivered are not restored.",
    ResetKeepsFilter "reset-keeps-filter" "reset-device.resets-state"
        "A reset does not clear a NIC's filter.",
    SuppliesDisabled "supplies-disabled" "ring.disabled-no-side-effects"
        "A NIC delivers frames through a disabled ring.",

    // Requests in flight at a stop, of which one alone is treated wrongly.
    StopLosesOne "stop-loses-one" "get-vring-base.in-flight-first"
        "GET_VRING_BASE drops the last request in flight, and the base says that it was completed.",

    // What should not be done, or not be said.
    AcknowledgesUnknown "acknowledges-unknown" "reply-ack.value"
        "The back-end acknowledges messages with 0 that it does not know or cannot understand.",
    DataUnwritten "data-unwritten" "ring.started-processes"
        "A disk reports that it has read a sector, and writes nothing into the buffer.",
    UsedTooLong "used-too-long" "ring.started-processes"
        "The used length is greater than the room in the buffers.",
    HostileRuins "hostile-ruins" "ring.started-processes"
        "After a guest made a chain available that is not valid, the process processes nothing over \
         the next connection.",
    BrokenRingRuins "broken-ring-ruins" "ring.started-processes"
        "After a guest corrupted a ring, the process processes nothing over the next connection.",
    BrokenRingStopsAll "broken-ring-stops-all" "ring.started-processes"
        "When a guest has corrupted a ring, the back-end processes no ring.",
    TransferRuins "transfer-ruins" "device-state.suspended-first"
        "After a transfer was begun that must not be, the process processes nothing over the next \
         connection.",
    CheckRuins "check-ruins" "device-state.check-reports"
        "After CHECK_DEVICE_STATE before the end of a transfer, the process processes nothing over \
         the next connection.",

    // What one test of its own sees: right until a restart, or the first time.
    EventIndexOnce "event-index-once" "ring.notify-guest"
        "With EVENT_IDX the back-end does not notify the guest after a ring was stopped.",
    TellsNotAfterStop "tells-not-after-stop" "config-change.notifies"
        "The back-end reports no change after a ring was stopped.",
    TellsFirstChannel "tells-first-channel" "config-change.notifies"
        "The back-end reports no change after a second SET_BACKEND_REQ_FD.",
    ResetOnce "reset-once" "reset-device.disables"
        "A second RESET_DEVICE has no effect.",
    SavesFirst "saves-first" "device-state.load-restores"
        "Every save gives the state of the first.",
    LoadsFirst "loads-first" "device-state.load-restores"
        "Every state that is loaded gives the device the first of them.",

    LogsOn "logs-on" "features.enable"
        "SET_FEATURES without LOG_ALL does not turn logging off.",
    WritesAfterSecondStop "writes-after-second-stop" "suspended.no-guest-writes"
        "Some time after a ring was stopped a second time, the back-end writes into its used ring.",
    CallsReplaced "calls-replaced" "configuration.on-the-fly"
        "The back-end also notifies the guest through a call descriptor that was replaced.",
    ConfigOffsetIgnored "config-offset-ignored" "config.get-size"
        "GET_CONFIG returns the beginning of the configuration space, whatever its offset is.",
    ConfigCached "config-cached" "config.get-size"
        "GET_CONFIG returns the configuration space as it was when it was first requested.",
    SizeOfFirst "size-of-first" "vring-num.sets"
        "A second SET_VRING_NUM for a ring has no effect.",
    NoNotifySticks "no-notify-sticks" "ring.started-processes"
        "A ring that is started again tells the guest that it needs no kick, and it does.",
    LogOffsetIgnored "log-offset-ignored" "dirty-log.fd"
        "The back-end marks pages from the beginning of the file of the log, whatever its offset is.",
    TableOffsetIgnored "table-offset-ignored" "memory.replaces"
        "A further SET_MEM_TABLE maps each region from the beginning of its file, whatever its \
         offset is.",
    CheckFailsOn "check-fails-on" "device-state.check-reports"
        "After a state was refused, CHECK_DEVICE_STATE reports a failure of every later transfer.",
    CheckSucceedsOn "check-succeeds-on" "device-state.check-reports"
        "After a state was loaded, CHECK_DEVICE_STATE reports success of every later transfer.",
    CheckOnce "check-once" "device-state.check-reports"
        "A second CHECK_DEVICE_STATE after a successful transfer reports a failure.",
    CheckForgets "check-forgets" "device-state.check-reports"
        "A second CHECK_DEVICE_STATE after a failed transfer reports success.",
    QueuesOvertold "queues-overtold" "queue-num.answered"
        "The back-end replies to GET_QUEUE_NUM with three more queues than it has.",
    SlotsOvertold "slots-overtold" "memory.max-slots-answered"
        "The back-end replies to GET_MAX_MEM_SLOTS with four times as many as it has.",
    AnyPhase "any-phase" "device-state.reply-bits"
        "SET_DEVICE_STATE_FD succeeds in a phase that is not defined.",
    AnyDirection "any-direction" "device-state.reply-bits"
        "SET_DEVICE_STATE_FD succeeds with a direction that is not defined.",

    // The second time, and two features that meet: right the first time, or alone.
    LogsOnce "logs-once" "dirty-log.marks-buffers"
        "A log that is set after logging was turned off has no effect.",
    LogsStoppedOnce "logs-stopped-once" "dirty-log.marks-buffers"
        "A second log has no effect while every ring is stopped: the back-end marks the first.",
    LogsNotAfterReset "logs-not-after-reset" "dirty-log.marks-buffers"
        "A log that is set after RESET_DEVICE has no effect.",
    LogLacksLater "log-lacks-later" "dirty-log.marks-buffers"
        "The back-end does not mark writes to memory regions that were added after the log was set.",
    RestartEndsLog "restart-ends-log" "dirty-log.marks-buffers"
        "A ring that is stopped and started again ends logging.",
    TableEndsLog "table-ends-log" "dirty-log.marks-buffers"
        "A SET_MEM_TABLE while rings run ends logging.",
    FeaturesEndLog "features-end-log" "dirty-log.marks-buffers"
        "A second SET_FEATURES with the same features ends logging.",
    UsedRingOnce "used-ring-once" "dirty-log.marks-used-ring"
        "After logging was turned off once, the back-end does not mark writes to the used ring.",
    CallKept "call-kept" "ring.notify-guest"
        "SET_VRING_CALL has no effect on a running ring that has a call descriptor.",
    CallOfFirst "call-of-first" "ring.notify-guest"
        "SET_VRING_CALL has no effect over a further connection to the same process.",
    KickKept "kick-kept" "ring.started-processes"
        "A second SET_VRING_KICK for a ring has no effect.",
    SilentAfterTable "silent-after-table" "ring.notify-guest"
        "The first notification after a SET_MEM_TABLE for running rings is lost.",
    SilentAfterSave "silent-after-save" "ring.notify-guest"
        "The back-end does not notify the guest after its state was saved.",
    SilentAfterDisable "silent-after-disable" "ring.notify-guest"
        "The back-end does not notify the guest after a running ring was disabled once.",
    SameLayoutIgnored "same-layout-ignored" "memory.replaces"
        "A SET_MEM_TABLE with the same layout has no effect, whatever its descriptors are.",
    GrownTableIgnored "grown-table-ignored" "memory.replaces"
        "A SET_MEM_TABLE with more regions has no effect while rings run.",
    AddedWhileRunning "added-while-running" "memory.add-maps"
        "ADD_MEM_REG has no effect while rings run.",
    RemoveBreaksRings "remove-breaks-rings" "ring.started-processes"
        "REM_MEM_REG makes running rings unusable until they are set up again.",
    LoadOutlivesReset "load-outlives-reset" "ring.started-processes"
        "A device that was reset after a state was loaded processes nothing.",
    LoadsOnce "loads-once" "device-state.load-restores"
        "The back-end refuses a second state.",
    SavesNotAfterLoad "saves-not-after-load" "device-state.source-can-resume"
        "A save fails after a state was loaded.",
    ErrorNotAfterReset "error-not-after-reset" "err.signalled"
        "The back-end does not report a corrupted ring after RESET_DEVICE.",
    BaseOfFirstReset "base-of-first-reset" "ring.started-processes"
        "SET_VRING_BASE has no effect after a second RESET_DEVICE.",
    ReadyOnce "ready-once" "ring.started-processes"
        "After a second status 0 the device processes nothing.",
    BrokenForever "broken-forever" "ring.started-processes"
        "After a guest corrupted a ring, the process processes nothing over further connections.",
    FeaturesOfFirst "features-of-first" "dirty-log.marks-buffers"
        "LOG_ALL has no effect over a further connection to the same process.",
    InflightFirst "inflight-first" "ring.started-processes"
        "A second SET_INFLIGHT_FD has no effect: the back-end keeps the first buffer.",
}

impl Mutant {
    /// Whether it is right the first time, or alone: only what happened before shows it.
    #[must_use]
    pub const fn meets(self) -> bool {
        self as usize >= Mutant::LogsOnce as usize
    }
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
