//! The clauses and choices of whole migrations.

crate::clause_ids! {
    /// What a VMM owes.
    pub struct ClauseIds {
        /// `migration.vmm.goes-on`
        goes_on: "migration.vmm.goes-on",
    }
}

crate::choice_ids! {
    /// What a VMM does where VMMs differ.
    pub struct ChoiceIds {
        /// A device whose writes nothing tracks.
        untracked: "migration.untracked" as Untracked {
            Block = "block",
            Skip = "skip",
            Abort = "abort",
            RefuseIfLimit = "refuse-if-limit",
            MarkAll = "mark-all",
            Ignore = "ignore",
        },
        /// When the logs of devices are read.
        query: "migration.query" as Query { Always = "always", AtStop = "at-stop", Never = "never" },
        /// What becomes of a log's bits whose mapping ends.
        unmap: "migration.unmap" as Unmap { ReadFirst = "read-first", Forget = "forget" },
        /// What becomes of a device that is plugged or unplugged while a migration runs.
        plug: "migration.plug" as Plug {
            Refuse = "refuse",
            ReadFirst = "read-first",
            Allow = "allow",
        },
        /// What becomes of a migration when a device does not give its log.
        report: "migration.report" as Report {
            Fail = "fail",
            MarkAll = "mark-all",
            Ignore = "ignore",
        },
        /// When the logs are read again.
        resync: "migration.threshold.sync" as Resync { Below = "below", Within = "within" },
        /// When the VMM switches over.
        switch: "migration.threshold.switch" as Switch { Below = "below", Within = "within" },
        /// Whether the limit is tested once more after the stop.
        recheck: "migration.recheck" as Recheck { No = "no", Fail = "fail" },
        /// Whether the destination acknowledges initial bytes.
        acknowledge: "migration.switchover-ack" as Acknowledge { Off = "off", On = "on" },
        /// What becomes of a migration whose device takes its acknowledgement back.
        revoked: "migration.switchover-ack.revoked" as Revoked {
            Fail = "fail",
            GoOn = "go-on",
            GoBack = "go-back",
        },
    }
}
