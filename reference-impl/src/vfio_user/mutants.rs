//! Faults, each a switch in the real code, so that a suite can show that it would notice.
//!
//! A mutant does one thing wrong, names the clause that this breaks, and is otherwise the reference.

use crate::switches::mutants;

mutants! {
    [""]

    // What a SET does.
    StopEarly "stop-early" "vfio.set.completes"
        "A SET is answered with success, and the device stays one state short of the one asked for.",
    GetStale "get-stale" "vfio.get.state"
        "GET returns the state from before the last SET.",
    FallsToStop "falls-to-stop" "vfio.set.only-client"
        "Reading the end of the data leads from STOP_COPY to STOP.",
    FailureRuns "failure-runs" "vfio.set.failure-on-path"
        "Data that is refused leaves the device in RUNNING.",
    UnsupportedAccepted "unsupported-accepted" "vfio.set.optional-states"
        "A SET to a state that the device lacks succeeds, and has no effect.",
    BlockedAllowed "blocked-allowed" "vfio.set.blocked"
        "A SET from STOP_COPY to PRE_COPY leads through STOP and RUNNING.",
    SetToError "set-to-error" "vfio.set.error"
        "A SET to ERROR is obeyed.",
    ErrorLeft "error-left" "vfio.set.error"
        "A SET leads out of ERROR.",
    FlagsLie "flags-lie" "vfio.flags.legal"
        "The features that are reported lack STOP_COPY.",

    // What runs in which state.
    StopUndrained "stop-undrained" "vfio.stop.drains"
        "A SET that stops the device does not wait for DMA that is outstanding.",
    P2pUndrained "p2p-undrained" "vfio.p2p.drains"
        "A SET to a P2P state does not wait for DMA that is outstanding.",
    StopKeepsGoing "stop-keeps-going" "vfio.stop.silent"
        "DMA begins in stopped states as in RUNNING.",
    StopCopyRuns "stop-copy-runs" "vfio.stop.silent"
        "Coming from PRE_COPY, the device runs on in STOP_COPY.",
    P2pKeepsGoing "p2p-keeps-going" "vfio.p2p.no-new"
        "DMA begins in P2P states as in RUNNING.",
    InterruptsStopped "interrupts-stopped" "vfio.stop.silent"
        "Interrupts are raised in stopped states.",
    ThawsOnRead "thaws-on-read" "vfio.stop.frozen"
        "Each read of a register in a stopped state counts a dropped frame.",
    ConfigRefused "config-refused" "vfio.stop.answers"
        "Configuration space is not answered in STOP and STOP_COPY.",
    PreCopyRefuses "pre-copy-refuses" "vfio.running.works"
        "Registers are not answered in PRE_COPY and PRE_COPY_P2P.",

    // The stream.
    SessionRestarts "session-restarts" "vfio.session.goes-on"
        "Going from PRE_COPY to STOP_COPY, the stream begins again.",
    SessionLingers "session-lingers" "vfio.session.ends"
        "Data can still be read after the session has ended.",
    PreCopyWithholds "pre-copy-withholds" "vfio.pre-copy.quiet"
        "In PRE_COPY nothing can be read, though there is something.",
    LastRoundLost "last-round-lost" "vfio.stop-copy.whole"
        "What changed since the last read in PRE_COPY is not in the stream.",
    EndRepeats "end-repeats" "vfio.stop-copy.end"
        "After its end the stream begins again.",
    ShortReads "short-reads" "vfio-user.data.short-read"
        "A read returns half of what was asked for, though there is more.",
    DataAlways "data-always" "vfio-user.data.states"
        "Data can be read in every state that runs without a session.",
    InfoAlways "info-always" "vfio.pre-copy.info"
        "What is left of the data is told in every state.",
    InitialEmpty "initial-empty" "vfio.pre-copy.initial-begins"
        "initial_bytes is 0 from the beginning.",
    InitialRises "initial-rises" "vfio.pre-copy.initial-falls"
        "What became dirty is counted as initial.",
    DirtyFromStart "dirty-from-start" "vfio.pre-copy.dirty-begins"
        "dirty_bytes counts what is initial too.",
    ReinitUnasked "reinit-unasked" "vfio.pre-copy.reinit"
        "REINIT is reported to a client that has not opted in.",

    // Resuming.
    TruncatedTaken "truncated-taken" "vfio.resume.validates"
        "A stream that lacks its end is taken.",
    ChecksumIgnored "checksum-ignored" "vfio.resume.validates"
        "The stream's digest is not compared.",
    ForeignTaken "foreign-taken" "vfio.resume.validates"
        "Data of a device of another model or configuration is passed over, and RESUMING left.",
    ExtendedTaken "extended-taken" "vfio.resume.validates"
        "What follows the end of the stream is passed over.",
    ResumeForgets "resume-forgets" "vfio.resume.restores"
        "A stream is validated, and nothing is restored.",
    WaitingLost "waiting-lost" "vfio.resume.restores"
        "Frames that were not delivered yet are not restored.",
    TailsLost "tails-lost" "vfio.resume.restores"
        "Queues begin at their first descriptor again.",
    CausesLost "causes-lost" "vfio.resume.restores"
        "Why the device interrupts is not restored.",
    FilterLost "filter-lost" "vfio.resume.restores"
        "The filter is not restored.",
    LongWritesCut "long-writes-cut" "vfio.resume.accepts"
        "Of each piece of data the first 512 bytes are taken.",

    // Reset, and clients that go.
    ResetKeepsError "reset-keeps-error" "vfio.reset.recovers"
        "RESET leaves ERROR as it is.",
    ResetKeepsSession "reset-keeps-session" "vfio.reset.aborts"
        "RESET leaves RESUMING, and the data that was written, as they are.",
    GoneForgets "gone-forgets" "vfio-user.client-gone.keeps-state"
        "A client that goes takes the device's state with it.",

    // The log.
    ReportsUnlogged "reports-unlogged" "vfio.log.no-write-lost"
        "What the device writes into descriptors is not logged.",
    MarksBefore "marks-before" "vfio.log.no-write-lost"
        "Pages are marked when a write is asked for, and not when it was made.",
    MarksFirstPage "marks-first-page" "vfio.log.no-write-lost"
        "Of a write that crosses pages the first page is marked.",
    LogEndsWithRun "log-ends-with-run" "vfio.log.no-write-lost"
        "The log is empty once the device stops.",
    ClearsTooMuch "clears-too-much" "vfio.log.no-write-lost"
        "REPORT clears the whole log.",
    ReportUnstarted "report-unstarted" "vfio.log.report-needs-start"
        "REPORT succeeds while nothing is logged.",
    ReportKeeps "report-keeps" "vfio.log.report-clears"
        "REPORT clears nothing.",
    ReadsLogged "reads-logged" "vfio.log.only-writes"
        "Pages that the device reads are logged like those that it writes.",
    PageSizeLost "page-size-lost" "vfio.log.page-size"
        "START returns a page size of 0.",
    RangesInvalid "ranges-invalid" "vfio.log.ranges"
        "START refuses all bad ranges with EINVAL.",
    BadRangesTaken "bad-ranges-taken" "vfio.log.bad-ranges"
        "START takes ranges that overlap.",
    BitsOutside "bits-outside" "vfio-user.log.outside-zero"
        "The bits behind the range that was asked for are set.",

    // Arguments.
    GetAndSet "get-and-set" "vfio.feature.arguments"
        "GET and SET together without PROBE are taken for GET.",
    ProbeAlways "probe-always" "vfio.feature.arguments"
        "PROBE succeeds for methods that a feature lacks.",
    UnsupportedInvalid "unsupported-invalid" "vfio.feature.unsupported"
        "A feature that the device lacks is refused with EINVAL.",
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_parse() {
        let names: BTreeSet<&str> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        assert_eq!(names.len(), Mutant::ALL.len());
        assert!(names.len() >= 30);
        for mutant in Mutant::ALL {
            assert_eq!(mutant.name().parse(), Ok(*mutant));
        }
        assert!("none".parse::<Mutant>().is_err());
    }
}
