//! A scenario from its installation to its verdict.

use std::path::Path;

use devmig_reference::temporary;

use super::came::{Came, Part, Ran, not_run, stuck};
use super::drive::{self, Setting};
use super::guest::Guest;
use super::known::{FrontEnd, Scenario};
use crate::watch::judge::{Judge, Law};
use crate::watch::record::Event;
use crate::watch::report::Report;

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
