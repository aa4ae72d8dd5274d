//! What comes of a hand-over: who runs, what is lost, and whether somebody was told.

use schemars::JsonSchema;
use serde::Serialize;

use super::event::Actor;
use super::world::WorldState;

/// Who runs in the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Runs {
    /// Neither.
    Nowhere,
    /// The source.
    Source,
    /// The destination.
    Destination,
    /// Both.
    Both,
}

/// What is lost in the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// Nothing.
    Nothing,
    /// The VM: the fault took the only process that had it.
    VmWithItsHost,
    /// The VM: no process has it any more, although a process that had it survived the fault.
    Vm,
    /// What the VM has acknowledged to the outside at the destination: the source runs from an older state.
    Work,
}

/// What comes of a hand-over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, JsonSchema)]
pub struct Outcome {
    /// Who runs.
    pub runs: Runs,
    /// What is lost.
    pub lost: Lost,
    /// A VMM runs without the disk lock.
    pub unlocked: bool,
    /// What was reported.
    pub reported: Reported,
}

/// What was reported, by anybody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reported {
    /// Nothing, or success only.
    Success,
    /// Failure, or both failure and success.
    Failure,
    /// Somebody reported that the outcome is unknown.
    Unknown,
}

impl Outcome {
    /// Every outcome.
    pub fn all() -> impl Iterator<Item = Outcome> {
        let runs = [Runs::Nowhere, Runs::Source, Runs::Destination, Runs::Both];
        let lost = [Lost::Nothing, Lost::VmWithItsHost, Lost::Vm, Lost::Work];
        let reported = [Reported::Success, Reported::Failure, Reported::Unknown];
        runs.into_iter().flat_map(move |runs| {
            lost.into_iter().flat_map(move |lost| {
                reported.into_iter().flat_map(move |reported| {
                    let of = move |unlocked| Outcome { runs, lost, unlocked, reported };
                    [of(false), of(true)]
                })
            })
        })
    }

    /// The outcome of a state in which every program is over, of a VM with or without disks.
    #[must_use]
    pub fn of(s: &WorldState, disks: bool) -> Self {
        let (source, destination) = (s.process(Actor::Source), s.process(Actor::Destination));
        let runs = match (source.runs, destination.runs) {
            (false, false) => Runs::Nowhere,
            (true, false) => Runs::Source,
            (false, true) => Runs::Destination,
            (true, true) => Runs::Both,
        };
        let lost = match () {
            () if s.ran && source.runs => Lost::Work,
            () if s.is_held() => Lost::Nothing,
            () if s.with_host => Lost::VmWithItsHost,
            () => Lost::Vm,
        };
        let reported = match (s.failure, s.unknown) {
            (_, true) => Reported::Unknown,
            (true, false) => Reported::Failure,
            (false, false) => Reported::Success,
        };
        let without_lock = |actor: Actor| s.process(actor).runs && !s.locks(actor);
        let unlocked = disks && (without_lock(Actor::Source) || without_lock(Actor::Destination));
        Outcome { runs, lost, unlocked, reported }
    }

    /// Whether something is missing that somebody has to be told of. That a host is gone with the VM on
    /// it is seen at that host.
    #[must_use]
    pub fn is_loss(self) -> bool {
        matches!(self.lost, Lost::Vm | Lost::Work)
            || self.runs == Runs::Nowhere && self.lost == Lost::Nothing
    }

    /// Whether a loss is reported. A report of failure says that the source has all that it had: if the
    /// destination's work is lost, that is no report of it.
    #[must_use]
    pub fn is_said(self) -> bool {
        match self.lost {
            Lost::Work => self.reported == Reported::Unknown,
            _ => self.reported != Reported::Success,
        }
    }

    /// Whether something is lost without a report of it.
    #[must_use]
    pub fn is_silent(self) -> bool {
        self.is_loss() && !self.is_said()
    }

    /// Whether no hand-over may end so.
    #[must_use]
    pub fn is_wrong(self) -> bool {
        self.runs == Runs::Both || self.is_silent()
    }

    /// In a few words.
    #[must_use]
    pub fn words(self) -> String {
        let runs = match self.runs {
            Runs::Nowhere => "runs nowhere",
            Runs::Source if self.unlocked => "source runs without its lock",
            Runs::Source => "source runs",
            Runs::Destination => "destination runs",
            Runs::Both => "BOTH RUN",
        };
        let said = if self.is_said() { "said" } else { "IN SILENCE" };
        match (self.lost, self.runs) {
            (Lost::Nothing, Runs::Nowhere) => format!("{runs}, the source has the VM ({said})"),
            (Lost::Nothing, Runs::Destination) if self.is_said() => {
                let word = if self.reported == Reported::Failure { "failed" } else { "unknown" };
                format!("{runs} (reported as {word})")
            }
            (Lost::Nothing, _) => runs.to_owned(),
            (Lost::VmWithItsHost, _) => "VM lost with its host".to_owned(),
            (Lost::Vm, _) => format!("VM lost ({said})"),
            (Lost::Work, Runs::Both) => format!("{runs} ({said})"),
            (Lost::Work, _) => format!("{runs}, work lost ({said})"),
        }
    }
}
