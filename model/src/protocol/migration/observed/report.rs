//! What a monitor reports: QEMU's events, and its answer about how things are.

use devmig_engine::machine::Party;
use devmig_engine::packed;

/// The end that sends.
pub const SOURCE: usize = 0;
/// The end that receives.
pub const DESTINATION: usize = 1;

/// An end as a party.
#[must_use]
pub const fn party(end: u8) -> Party {
    if end == 0 { Party("source") } else { Party("destination") }
}

/// The status of a migration.
#[packed]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// There was none.
    None,
    /// It is being set up.
    Setup,
    /// It is under way.
    Active,
    /// The VM has stopped, and management is to say when it goes on.
    PreSwitchover,
    /// The state of devices is sent.
    Device,
    /// It has ended.
    Completed,
    /// It has failed, and what it used is being given up.
    Failing,
    /// It has failed.
    Failed,
    /// It is being cancelled.
    Cancelling,
    /// It was cancelled.
    Cancelled,
}

impl Status {
    /// Every status, with its name.
    pub const ALL: [(Status, &str); 10] = [
        (Status::None, "none"),
        (Status::Setup, "setup"),
        (Status::Active, "active"),
        (Status::PreSwitchover, "pre-switchover"),
        (Status::Device, "device"),
        (Status::Completed, "completed"),
        (Status::Failing, "failing"),
        (Status::Failed, "failed"),
        (Status::Cancelling, "cancelling"),
        (Status::Cancelled, "cancelled"),
    ];

    /// The status of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Status> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(status, _)| *status)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(known, _)| *known == self).map_or("", |(_, name)| name)
    }

    /// Whether a migration with this status goes no further.
    #[must_use]
    pub const fn is_last(self) -> bool {
        matches!(self, Status::Completed | Status::Failed | Status::Cancelled)
    }

    /// Whether it came to nothing, or is about to.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Status::Failing | Status::Failed | Status::Cancelling | Status::Cancelled)
    }
}

/// One event.
#[packed]
#[serde(rename_all = "kebab-case")]
pub enum Reported {
    /// MIGRATION: the status has changed.
    Status(Status),
    /// RESUME, or STOP.
    Runs(bool),
    /// VFIO_MIGRATION: the state of a device has changed.
    Device {
        /// Which device.
        #[bits(1)]
        at: u8,
        /// Its state.
        #[bits(4)]
        state: u8,
    },
    /// MIGRATION_PASS: the logs were read.
    Pass,
    /// Something of a migration that the machine does not have: postcopy, COLO.
    Beyond,
}

impl Reported {
    /// As a monitor says it.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Reported::Status(status) => format!("MIGRATION {}", status.name()),
            Reported::Runs(true) => "RESUME".into(),
            Reported::Runs(false) => "STOP".into(),
            Reported::Device { at, state } => format!("VFIO_MIGRATION {state} of device {at}"),
            Reported::Pass => "MIGRATION_PASS".into(),
            Reported::Beyond => "a status that is not modelled".into(),
        }
    }
}

/// What one line of a log says.
#[packed]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// An event.
    Reports(Reported),
    /// How things are, as an answer to a question. The first answer of an end begins its part of the log.
    Answers {
        /// The status of the last migration.
        status: Status,
        /// Whether the VM runs.
        runs: bool,
    },
    /// The monitor is closed: the process has ended, or is no longer watched.
    Closes,
}

/// What one end says.
#[packed]
pub struct Report {
    /// The end: 0 or 1.
    #[bits(1)]
    pub end: u8,
    /// What it says.
    pub what: What,
}

impl Default for Report {
    fn default() -> Self {
        Report { end: 0, what: What::Closes }
    }
}

impl devmig_engine::machine::Event for Report {
    fn owner(&self) -> Party {
        party(self.end)
    }
}
