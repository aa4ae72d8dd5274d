//! Faults, each a switch in the real code, so that a suite can show that it would notice.
//!
//! A mutant does one thing wrong, names the clause that this breaks, and is otherwise the reference.

use crate::switches::mutants;

mutants! {
    [""]

    // What a SET does.
    StopEarly "stop-early" "vfio.set.completes"
        "A SET succeeds, but the device stops one state before the requested one.",
    GetStale "get-stale" "vfio.get.state"
        "GET returns the state from before the last SET.",
    FallsToStop "falls-to-stop" "vfio.set.only-client"
        "Reading the end of the data changes the state from STOP_COPY to STOP.",
    FailureRuns "failure-runs" "vfio.set.failure-on-path"
        "Refused data leaves the device in RUNNING.",
    UnsupportedAccepted "unsupported-accepted" "vfio.set.optional-states"
        "A SET to an unsupported state succeeds, and has no effect.",
    BlockedAllowed "blocked-allowed" "vfio.set.blocked"
        "A SET from STOP_COPY to PRE_COPY leads through STOP and RUNNING.",
    SetToError "set-to-error" "vfio.set.error"
        "A SET to ERROR succeeds.",
    ErrorLeft "error-left" "vfio.set.error"
        "A SET leads out of ERROR.",
    FlagsLie "flags-lie" "vfio.flags.legal"
        "The reported features lack STOP_COPY.",

    // What runs in which state.
    StopUndrained "stop-undrained" "vfio.stop.drains"
        "A SET that stops the device does not wait for outstanding DMA.",
    P2pUndrained "p2p-undrained" "vfio.p2p.drains"
        "A SET to a P2P state does not wait for outstanding DMA.",
    StopKeepsGoing "stop-keeps-going" "vfio.stop.silent"
        "The device starts DMA in stopped states as in RUNNING.",
    StopCopyRuns "stop-copy-runs" "vfio.stop.silent"
        "After PRE_COPY, the device continues to run in STOP_COPY.",
    P2pKeepsGoing "p2p-keeps-going" "vfio.p2p.no-new"
        "The device starts DMA in P2P states as in RUNNING.",
    InterruptsStopped "interrupts-stopped" "vfio.stop.silent"
        "The device raises interrupts in stopped states.",
    ThawsOnRead "thaws-on-read" "vfio.stop.frozen"
        "Each read of a register in a stopped state counts a dropped frame.",
    ConfigRefused "config-refused" "vfio.stop.answers"
        "The device does not answer configuration space accesses in STOP and STOP_COPY.",
    PreCopyRefuses "pre-copy-refuses" "vfio.running.works"
        "The device does not answer register accesses in PRE_COPY and PRE_COPY_P2P.",

    // The stream.
    SessionRestarts "session-restarts" "vfio.session.goes-on"
        "A SET from PRE_COPY to STOP_COPY restarts the stream.",
    SessionLingers "session-lingers" "vfio.session.ends"
        "Data can still be read after the session has ended.",
    PreCopyWithholds "pre-copy-withholds" "vfio.pre-copy.quiet"
        "In PRE_COPY a read returns nothing, although data remains.",
    LastRoundLost "last-round-lost" "vfio.stop-copy.whole"
        "Changes since the last read in PRE_COPY are missing in the stream.",
    EndRepeats "end-repeats" "vfio.stop-copy.end"
        "After its end the stream starts again.",
    ShortReads "short-reads" "vfio-user.data.short-read"
        "A read returns half of the requested bytes, although more data remains.",
    DataAlways "data-always" "vfio-user.data.states"
        "Data can be read in every running state without a session.",
    InfoAlways "info-always" "vfio.pre-copy.info"
        "The device answers GET_PRECOPY_INFO in every state.",
    InitialEmpty "initial-empty" "vfio.pre-copy.initial-begins"
        "initial_bytes is 0 from the beginning.",
    InitialRises "initial-rises" "vfio.pre-copy.initial-falls"
        "Bytes that become dirty are counted in initial_bytes.",
    DirtyFromStart "dirty-from-start" "vfio.pre-copy.dirty-begins"
        "dirty_bytes also counts the initial bytes.",
    ReinitUnasked "reinit-unasked" "vfio.pre-copy.reinit"
        "The device reports REINIT to a client that has not opted in.",

    // Resuming.
    TruncatedTaken "truncated-taken" "vfio.resume.validates"
        "The device accepts a stream without its end.",
    ChecksumIgnored "checksum-ignored" "vfio.resume.validates"
        "The device does not compare the digest of the stream.",
    ForeignTaken "foreign-taken" "vfio.resume.validates"
        "The device ignores data of another model or configuration and leaves RESUMING.",
    ExtendedTaken "extended-taken" "vfio.resume.validates"
        "The device ignores data after the end of the stream.",
    ResumeForgets "resume-forgets" "vfio.resume.restores"
        "The device validates a stream and restores nothing.",
    WaitingLost "waiting-lost" "vfio.resume.restores"
        "Undelivered frames are not restored.",
    TailsLost "tails-lost" "vfio.resume.restores"
        "Queues restart at their first descriptor.",
    CausesLost "causes-lost" "vfio.resume.restores"
        "Interrupt causes are not restored.",
    FilterLost "filter-lost" "vfio.resume.restores"
        "The filter is not restored.",
    LongWritesCut "long-writes-cut" "vfio.resume.accepts"
        "The device accepts only the first 512 bytes of each piece of data.",

    // Reset, and clients that go.
    ResetKeepsError "reset-keeps-error" "vfio.reset.recovers"
        "RESET leaves the device in ERROR.",
    ResetKeepsSession "reset-keeps-session" "vfio.reset.aborts"
        "RESET leaves the device in RESUMING, with the data that was written.",
    GoneForgets "gone-forgets" "vfio-user.client-gone.keeps-state"
        "The device loses its state when a client disconnects.",

    // The log.
    ReportsUnlogged "reports-unlogged" "vfio.log.no-write-lost"
        "Writes of the device into descriptors are not logged.",
    MarksBefore "marks-before" "vfio.log.no-write-lost"
        "Pages are marked when a write is requested, not when it is complete.",
    MarksFirstPage "marks-first-page" "vfio.log.no-write-lost"
        "For a write that crosses pages only the first page is marked.",
    LogEndsWithRun "log-ends-with-run" "vfio.log.no-write-lost"
        "The log is empty after the device stops.",
    ClearsTooMuch "clears-too-much" "vfio.log.no-write-lost"
        "REPORT clears the whole log.",
    ReportUnstarted "report-unstarted" "vfio.log.report-needs-start"
        "REPORT succeeds while logging is off.",
    ReportKeeps "report-keeps" "vfio.log.report-clears"
        "REPORT does not clear the log.",
    ReadsLogged "reads-logged" "vfio.log.only-writes"
        "Pages that the device reads are logged as if it wrote them.",
    PageSizeLost "page-size-lost" "vfio.log.page-size"
        "START returns a page size of 0.",
    RangesInvalid "ranges-invalid" "vfio.log.ranges"
        "START refuses all bad ranges with EINVAL.",
    BadRangesTaken "bad-ranges-taken" "vfio.log.bad-ranges"
        "START accepts ranges that overlap.",
    BitsOutside "bits-outside" "vfio-user.log.outside-zero"
        "The bits behind the requested range are set.",

    ReportShifted "report-shifted" "vfio.log.no-write-lost"
        "A report that begins behind the first page of the log is shifted by one page.",
    LastPageUnlogged "last-page-unlogged" "vfio.log.no-write-lost"
        "The last page of a report is never marked.",
    LargePagesCut "large-pages-cut" "vfio.log.no-write-lost"
        "A report by larger pages has the first bits of the report by pages of 4 KiB.",
    FirstWordOnly "first-word-only" "vfio.log.no-write-lost"
        "A report has only the pages of its first 64 bits.",
    HugePagesEmpty "huge-pages-empty" "vfio.log.no-write-lost"
        "A report by pages of 2 MiB has no page.",
    SecondRangeUnlogged "second-range-unlogged" "vfio.log.no-write-lost"
        "The device logs only writes into the first range of START.",

    // Commands that have nothing to do with the migration state.
    InfoWhileSaving "info-while-saving" "vfio-user.region-info.constant"
        "In STOP_COPY the device describes each region as the next one.",
    MapStops "map-stops" "vfio.set.only-client"
        "DMA_MAP in PRE_COPY changes the state to RUNNING.",
    WriteAlways "write-always" "vfio-user.data.states"
        "MIG_DATA_WRITE succeeds in every state, and the device discards the data.",

    InfoOfFirst "info-of-first" "vfio-user.region-info.constant"
        "A later client is told of one region less.",
    MapOverTaken "map-over-taken" "vfio-user.dma-map.exists"
        "DMA_MAP over a mapped region succeeds.",
    UnmapLies "unmap-lies" "vfio-user.dma-unmap.releases"
        "DMA_UNMAP succeeds, and the region stays mapped.",
    NarrowReadsZero "narrow-reads-zero" "vfio-user.region-read.data"
        "Reads of two bytes return zeros.",

    // Interrupts.
    InterruptsOnce "interrupts-once" "vfio-user.interrupts.signalled"
        "The device raises only one interrupt, although it is unmasked.",
    InterruptsLostByStop "interrupts-lost-by-stop" "vfio-user.interrupts.signalled"
        "A device that was stopped raises no interrupt any more.",
    InterruptsLostByLoad "interrupts-lost-by-load" "vfio-user.interrupts.signalled"
        "A device that has loaded a state raises no interrupt any more.",
    InterruptsLostByReset "interrupts-lost-by-reset" "vfio-user.interrupts.signalled"
        "A device that was reset raises no interrupt, although it has a new event descriptor.",

    // The form of replies.
    ReplyIdWrong "reply-id-wrong" "vfio-user.reply.echoes"
        "The reply to a read of one byte has another message id.",
    ReplyTooLong "reply-too-long" "vfio-user.reply.form"
        "The reply to a read of one byte has one byte more.",
    ErrorWithPayload "error-with-payload" "vfio-user.reply.error-alone"
        "An error reply to DEVICE_FEATURE has a payload.",
    ErrorNumberWrong "error-number-wrong" "vfio-user.reply.error-number"
        "The numbers in error replies are no errno.",
    VersionLater "version-later" "vfio-user.version.reply"
        "The reply to VERSION of a later client has a higher minor version than the proposed one.",

    // The second time, and two features that meet: right the first time, or alone.
    LogLacksLater "log-lacks-later" "vfio.log.no-write-lost"
        "The device does not log writes to memory that is mapped after logging has started.",
    LogOnce "log-once" "vfio.log.no-write-lost"
        "A second log stays empty.",
    LogOfFirst "log-of-first" "vfio.log.no-write-lost"
        "The log of a second client stays empty.",
    SaveEndsLog "save-ends-log" "vfio.log.no-write-lost"
        "After a save the device logs no write.",
    LoadOnce "load-once" "vfio.resume.accepts"
        "The device refuses a second state.",
    DeafAfterReset "deaf-after-reset" "vfio.reset.aborts"
        "A device that was reset after a state was loaded does not work.",
    SaveStale "save-stale" "vfio.stop-copy.whole"
        "Each save returns the data of the first one.",
    LoadVoid "load-void" "vfio.resume.restores"
        "The device validates a second state and restores nothing.",
    SecondStopRuns "second-stop-runs" "vfio.stop.silent"
        "A second SET to STOP succeeds, and the device continues to run.",
    MapKept "map-kept" "vfio.running.works"
        "DMA_UNMAP has no effect: the device keeps the memory that was mapped first.",

    // Arguments.
    GetAndSet "get-and-set" "vfio.feature.arguments"
        "GET and SET together without PROBE are treated as GET.",
    ProbeAlways "probe-always" "vfio.feature.probe"
        "PROBE succeeds for methods that a feature does not have.",
    UnsupportedInvalid "unsupported-invalid" "vfio.feature.unsupported"
        "An unsupported feature is refused with EINVAL.",
}

impl Mutant {
    /// Whether it is right the first time, or alone: only what happened before shows it.
    #[must_use]
    pub const fn meets(self) -> bool {
        self as usize >= Mutant::LogOnce as usize && self as usize <= Mutant::MapKept as usize
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
        assert!(names.len() >= 30);
        for mutant in Mutant::ALL {
            assert_eq!(mutant.name().parse(), Ok(*mutant));
        }
        assert!("none".parse::<Mutant>().is_err());
    }
}
