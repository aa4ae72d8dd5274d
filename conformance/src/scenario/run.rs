//! A scenario from its installation to its verdict.

use std::path::{Path, PathBuf};

use devmig_reference::temporary;

use super::drive::{self, Played, Setting};
use super::guest::Guest;
use super::known::{BackEnd, FrontEnd, Held, Scenario};
use crate::implementations::Missing;
use crate::watch::judge::{Judge, Law};
use crate::watch::record::Event;
use crate::watch::report::Report;

/// What came of a scenario.
#[derive(Debug)]
pub enum Came {
    /// Something is not there, and why.
    NotRun(String),
    /// A step did not come to its end.
    Stuck(String),
    /// It ran.
    Ran {
        /// The version of the front-end.
        version: String,
        /// Whether deviations are held for that version.
        listed: bool,
        /// The steps, and what was said.
        played: Played,
        /// What is found of the source, and of the destination.
        reports: Vec<Report>,
        /// That against what is known.
        held: Held,
    },
}

impl Came {
    /// Whether continuous integration fails for it.
    #[must_use]
    pub fn fails(&self) -> bool {
        match self {
            Came::NotRun(_) => false,
            Came::Stuck(_) => true,
            Came::Ran { listed, held, .. } => {
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
            Came::Ran { version, listed, reports, held, .. } => {
                let unknown = if *listed { "" } else { ", UNKNOWN VERSION" };
                let messages: u64 = reports.iter().map(|report| report.messages).sum();
                let held = match (held.new.len(), held.gone.len()) {
                    (0, 0) => "as known".to_owned(),
                    (new, gone) => format!("{new} NEW, {gone} GONE"),
                };
                format!("{version}{unknown}: {messages} messages judged; {held}")
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
    let ready = match Ready::find(front_end, scenario, install) {
        Ok(ready) => ready,
        Err(why) => return Came::NotRun(why.to_string()),
    };
    let folder = match temporary::folder("guest-") {
        Ok(folder) => folder,
        Err(error) => return Came::Stuck(error.to_string()),
    };
    let guest = match Guest::prepare(&FrontEnd::guest_cache(), folder.path()) {
        Ok(guest) => guest,
        Err(why) => return Came::NotRun(why.to_string()),
    };
    let setting = Setting {
        guest: &guest,
        program: &ready.program,
        device: scenario.device,
        back_end: &ready.back_end,
        record,
        name: &scenario.name,
        migrates: scenario.migrates,
    };
    match drive::play(setting) {
        Err(why) => Came::Stuck(why.to_string()),
        Ok(played) => {
            let halves = [&played.source, &played.destination].into_iter();
            let reports: Vec<_> =
                halves.filter(|half| !half.is_empty()).map(|half| judged(law, half)).collect();
            let held = front_end.hold(&scenario.name, &reports);
            let version = ready.version;
            let listed = front_end.listed.contains(&version);
            Came::Ran { version, listed, played, reports, held }
        }
    }
}

/// What a scenario needs.
struct Ready {
    program: PathBuf,
    version: String,
    back_end: BackEnd,
}

impl Ready {
    fn find(front_end: &FrontEnd, scenario: &Scenario, install: bool) -> Result<Self, Missing> {
        let has_guest = FrontEnd::guest_cache().join("boot").is_dir();
        if install && !(has_guest && front_end.find().is_ok()) {
            front_end.install()?;
        }
        let (program, version) = front_end.find()?;
        Ok(Ready { program, version, back_end: scenario.back_end.find()? })
    }
}

fn judged(law: &Law, events: &[Event]) -> Report {
    let mut judge = Judge::new(law);
    events.iter().for_each(|event| judge.take(event));
    judge.report()
}
