//! The verdict on a log of events.
//!
//! The JSON form is a contract (`"schema": 1`).

use std::fmt::Write as _;

use devmig_engine::columns::count;
use schemars::JsonSchema;
use serde::Serialize;

use super::log::End;

pub use crate::multifd::report::Verdict;

/// How many of the events that were allowed are shown.
const SHOWN: usize = 6;

/// The state of a device as its end reported it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct DeviceState {
    /// The device.
    pub id: String,
    /// Its state.
    pub state: String,
}

/// How things were at an end: the VM, the migration, the devices.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Triple {
    /// The end.
    pub end: End,
    /// Whether the VM ran.
    pub running: bool,
    /// The status of the migration.
    pub migration: String,
    /// The states of devices.
    pub devices: Vec<DeviceState>,
}

impl Triple {
    fn text(&self) -> String {
        let vm = if self.running { "VM runs" } else { "VM does not run" };
        let mut text = format!("{vm}, migration {}", self.migration);
        for device in &self.devices {
            let _ = write!(text, ", {} {}", device.id, device.state);
        }
        text
    }
}

/// What is not allowed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Violation {
    /// The clause, if one says so.
    pub clause: Option<String>,
    /// The text of the clause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The number of the line; that of the last one, if something is missing at the end.
    pub event: u64,
    /// Which end reported it.
    pub from: End,
    /// Microseconds since the log began.
    pub us: u64,
    /// What was seen.
    pub observed: String,
    /// What would have been allowed.
    pub allowed: Vec<String>,
    /// How things were before, at each end that is watched.
    pub triples: Vec<Triple>,
}

impl Violation {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let clause = self.clause.as_deref().unwrap_or("not allowed by any clause");
        let mut text = format!("violated: {clause}\n");
        for line in self.text.iter().flat_map(|text| text.lines()) {
            let _ = writeln!(text, "  {line}");
        }
        let milliseconds = format!("{}.{:03} ms", self.us / 1000, self.us % 1000);
        let (event, observed) = (self.event, &self.observed);
        let _ = writeln!(text, "  event {event}, after {milliseconds}: {observed}");
        for triple in &self.triples {
            let _ = writeln!(text, "  {:<12} {}", triple.end, triple.text());
        }
        for (n, allowed) in self.allowed.iter().take(SHOWN).enumerate() {
            let _ = writeln!(text, "  {:<12} {allowed}", if n == 0 { "allowed" } else { "or" });
        }
        if let Some(more) = self.allowed.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            let _ = writeln!(text, "  {:<12} {more} more", "or");
        }
        text
    }
}

/// A device, with the features that its events allow.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Device {
    /// Its name.
    pub id: String,
    /// Each set of features under which its events are allowed.
    pub features: Vec<Vec<String>>,
}

/// The verdict on a log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Report {
    /// The version of this form: 1.
    pub schema: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// How many lines were judged.
    pub events: u64,
    /// How many migrations began.
    pub migrations: u64,
    /// The devices that were reported.
    pub devices: Vec<Device>,
    /// How things are at the end, at each end that is watched.
    pub triples: Vec<Triple>,
    /// What was found. Judgement ends with the first violation.
    pub violations: Vec<Violation>,
    /// What else there is to say.
    pub notes: Vec<String>,
}

impl Report {
    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let number = |n: u64, what| count(usize::try_from(n).unwrap_or(usize::MAX), what);
        let mut text =
            format!("{}, {}\n", number(self.events, "event"), number(self.migrations, "migration"));
        for device in &self.devices {
            let named = |features: &Vec<String>| match features.as_slice() {
                [] => "without P2P and PRE_COPY".to_owned(),
                features => format!("with {}", features.join(" and ")),
            };
            let ways: Vec<String> = device.features.iter().map(named).collect();
            let ways = if ways.is_empty() { String::new() } else { ways.join(", or ") };
            let _ = writeln!(text, "device {}: {ways}", device.id);
        }
        for triple in &self.triples {
            let _ = writeln!(text, "{}: {}", triple.end, triple.text());
        }
        for violation in &self.violations {
            let _ = write!(text, "\n{}", violation.text());
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        let verdict = match self.verdict {
            Verdict::Conformant => "conformant",
            Verdict::Violated => "violated",
            Verdict::Truncated => "truncated: every event is allowed, and the log has no end",
        };
        let _ = writeln!(text, "\nverdict: {verdict}");
        text
    }
}
