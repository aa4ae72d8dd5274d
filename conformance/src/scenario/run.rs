//! A scenario from its installation to its verdict.

use std::borrow::Cow;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use devmig_reference::temporary;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::drive::{self, Setting};
use super::guest::Guest;
use super::known::{FrontEnd, Held, Scenario};
use crate::watch::judge::{Judge, Law};
use crate::watch::record::Event;
use crate::watch::report::Report;

/// Steps that were taken, with their time.
pub type Steps = Vec<(Cow<'static, str>, Duration)>;

/// What came of a scenario.
#[derive(Debug, Serialize, Deserialize)]
pub enum Came {
    /// Something is not there, and why.
    NotRun(String),
    /// A step did not come to its end.
    Stuck(String),
    /// It ran.
    Ran(Ran),
}

/// A scenario that ran.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ran {
    /// The version of the program under test.
    pub version: String,
    /// Whether deviations are held for that version.
    pub listed: bool,
    /// The steps that were taken, with their time.
    pub steps: Steps,
    /// How much was judged.
    pub summary: String,
    /// What was judged.
    pub parts: Vec<Part>,
    /// What was found, against what is known.
    pub held: Held,
}

/// The report on one part of a scenario.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part {
    /// Which.
    pub name: Cow<'static, str>,
    /// For people.
    pub text: String,
    /// For programs.
    pub json: Value,
}

impl Came {
    /// Whether continuous integration fails for it.
    #[must_use]
    pub fn fails(&self) -> bool {
        match self {
            Came::NotRun(_) => false,
            Came::Stuck(_) => true,
            Came::Ran(Ran { listed, held, .. }) => {
                *listed && !(held.new.is_empty() && held.gone.is_empty())
            }
        }
    }

    /// In a line.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Came::NotRun(why) => format!("NOT RUN: {why}"),
            Came::Stuck(why) => format!("STUCK: {why}"),
            Came::Ran(Ran { version, listed, summary, held, .. }) => {
                let unknown = if *listed { "" } else { ", UNKNOWN VERSION" };
                let held = match (held.new.len(), held.gone.len()) {
                    (0, 0) => "as known".to_owned(),
                    (new, gone) => format!("{new} NEW, {gone} GONE"),
                };
                format!("{version}{unknown}: {summary}; {held}")
            }
        }
    }
}

/// Plays a scenario; what is missing is installed first if `install` says so, and the connections are
/// recorded in a folder if there is one.
#[must_use]
pub fn run(
    law: &Law,
    front_end: &FrontEnd,
    scenario: &Scenario,
    install: bool,
    record: Option<&Path>,
) -> Came {
    played(law, front_end, scenario, install, record).unwrap_or_else(|came| *came)
}

pub(super) fn not_run(why: impl Display) -> Box<Came> {
    Box::new(Came::NotRun(why.to_string()))
}

pub(super) fn stuck(why: impl Display) -> Box<Came> {
    Box::new(Came::Stuck(why.to_string()))
}

fn played(
    law: &Law,
    front_end: &FrontEnd,
    scenario: &Scenario,
    install: bool,
    record: Option<&Path>,
) -> Result<Came, Box<Came>> {
    let cache = FrontEnd::guest_cache();
    if install && (front_end.find().is_err() || !cache.join("boot").is_dir()) {
        front_end.install().map_err(not_run)?;
    }
    let (program, version) = front_end.find().map_err(not_run)?;
    let back_end = scenario.back_end.find().map_err(not_run)?;
    let folder = temporary::folder("guest-").map_err(stuck)?;
    let guest = Guest::prepare(&cache, folder.path()).map_err(not_run)?;
    let setting = Setting {
        guest: &guest,
        program: &program,
        device: scenario.device,
        back_end: &back_end,
        record,
        name: &scenario.name,
        migrates: scenario.migrates,
    };
    let played = drive::play(setting).map_err(stuck)?;
    let halves = [&played.source, &played.destination].into_iter();
    let reports: Vec<_> =
        halves.filter(|half| !half.is_empty()).map(|half| judged(law, half)).collect();
    let held = front_end.hold(&scenario.name, &reports);
    let listed = front_end.listed.contains(&version);
    let messages: u64 = reports.iter().map(|report| report.messages).sum();
    let summary = format!("{messages} messages judged");
    let mut parts = Vec::new();
    for (name, report) in ["source", "destination"].into_iter().zip(&reports) {
        let json = serde_json::to_value(report).map_err(stuck)?;
        parts.push(Part { name: name.into(), text: report.text(), json });
    }
    Ok(Came::Ran(Ran { version, listed, steps: played.steps, summary, parts, held }))
}

fn judged(law: &Law, events: &[Event]) -> Report {
    let mut judge = Judge::new(law);
    events.iter().for_each(|event| judge.take(event));
    judge.report()
}
