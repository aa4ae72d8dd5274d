//! `devmig scenario`: a real front-end with a real guest, watched.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use devmig_model::registry::Library;
use devmig_model::spec;
use devmig_reference::temporary;
use serde_json::json;

use super::{Error, Format, Out, Status, test};
use crate::scenario::drive::{self, Played, Setting};
use crate::scenario::guest::Guest;
use crate::scenario::known::{self, FrontEnd, Held, Scenario};
use crate::watch::judge::{Judge, Law};
use crate::watch::record::Event;
use crate::watch::report::Report;

/// Run QEMU with a real guest (boot, I/O, stop, continue, reset, migrate, quit), and judge both
/// sides
#[derive(Debug, ClapArgs)]
#[command(after_help = super::help::SCENARIO)]
pub(super) struct Args {
    /// Scenarios by name or pattern (`*` matches any characters) [default: all]
    name: Vec<String>,
    /// List the scenarios
    #[arg(long)]
    list: bool,
    /// Install missing programs from the system's packages
    #[arg(long)]
    install: bool,
    /// Record the connections to files in this folder
    #[arg(long, value_name = "FOLDER")]
    record: Option<PathBuf>,
    /// Show complete reports
    #[arg(long)]
    full: bool,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What came of a scenario.
enum Came {
    NotRun(String),
    Stuck(String),
    Ran { version: String, listed: bool, played: Played, reports: Vec<Report>, held: Held },
}

impl Came {
    fn fails(&self) -> bool {
        match self {
            Came::NotRun(_) => false,
            Came::Stuck(_) => true,
            Came::Ran { listed, held, .. } => {
                *listed && !(held.new.is_empty() && held.gone.is_empty())
            }
        }
    }

    fn line(&self) -> String {
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

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let front_ends = known::builtin(&library)?;
    let all: Vec<(&FrontEnd, &Scenario)> =
        front_ends.iter().flat_map(|f| f.scenarios.iter().map(move |s| (f, s))).collect();
    for pattern in &args.name {
        if !all.iter().any(|(_, scenario)| spec::matches(pattern, &scenario.name)) {
            let names = all.iter().map(|(_, scenario)| scenario.name.as_str());
            let help = spec::did_you_mean(pattern, names);
            return Err(Error::usage(format!("no scenario is called `{pattern}`"), help));
        }
    }
    let wanted = |(_, scenario): &&(&FrontEnd, &Scenario)| {
        args.name.is_empty() || args.name.iter().any(|p| spec::matches(p, &scenario.name))
    };
    let chosen: Vec<_> = all.iter().filter(wanted).collect();
    if args.list {
        for (front_end, scenario) in chosen {
            let name = format!("{} {}", front_end.name, scenario.name);
            out.text(&format!("{name:<32} {}\n", scenario.about))?;
        }
        return Ok(Status::Good);
    }
    if let Some(folder) = &args.record {
        known::folder(folder).map_err(|why| Error::usage(why.to_string(), None))?;
    }
    let mut rules = test::judged_by(&library, "10.2")?;
    rules.choices = library.spec.open();
    let law = Law::new(library, rules, "10.2")?;
    let mut all = Vec::new();
    for (front_end, scenario) in chosen {
        let came = came(&law, front_end, scenario, args);
        if args.format == Format::Text {
            show(scenario, &came, args.full, out)?;
        }
        all.push((*scenario, came));
    }
    close(&all, args.format, out)
}

fn came(law: &Law, front_end: &FrontEnd, scenario: &Scenario, args: &Args) -> Came {
    let cache = FrontEnd::guest_cache();
    let missing = || front_end.find().is_err() || !cache.join("boot").is_dir();
    if args.install
        && missing()
        && let Err(why) = front_end.install()
    {
        return Came::NotRun(why.to_string());
    }
    let (program, version) = match front_end.find() {
        Ok(found) => found,
        Err(why) => return Came::NotRun(why.to_string()),
    };
    let back_end = match scenario.back_end.find() {
        Ok(back_end) => back_end,
        Err(why) => return Came::NotRun(why.to_string()),
    };
    let folder = match temporary::folder("guest-") {
        Ok(folder) => folder,
        Err(error) => return Came::Stuck(error.to_string()),
    };
    let guest = match Guest::prepare(&cache, folder.path()) {
        Ok(guest) => guest,
        Err(why) => return Came::NotRun(why.to_string()),
    };
    let setting = Setting {
        guest: &guest,
        program: &program,
        device: scenario.device,
        back_end: &back_end,
        record: args.record.as_deref(),
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
            let listed = front_end.listed.contains(&version);
            Came::Ran { version, listed, played, reports, held }
        }
    }
}

fn judged(law: &Law, events: &[Event]) -> Report {
    let mut judge = Judge::new(law);
    events.iter().for_each(|event| judge.take(event));
    judge.report()
}

fn show(scenario: &Scenario, came: &Came, full: bool, out: &mut Out<'_>) -> Result<(), Error> {
    let Came::Ran { played, reports, held, .. } = came else { return Ok(()) };
    let seconds = |time: &Duration| format!("{:.1} s", time.as_secs_f64());
    let steps = played.steps.iter().map(|(name, time)| format!("{name} {}", seconds(time)));
    let steps: Vec<String> = steps.collect();
    out.text(&format!("{}\n  {}\n", scenario.name, steps.join(", ")))?;
    for (what, lines) in [("known", &held.seen), ("NEW", &held.new), ("GONE", &held.gone)] {
        for line in lines {
            out.text(&format!("  {what:<8} {line}\n"))?;
        }
    }
    if full || !held.new.is_empty() {
        for (half, report) in ["source", "destination"].iter().zip(reports) {
            out.text(&format!("\n{half}\n\n{}", report.text()))?;
        }
    }
    Ok(())
}

/// The closing lines: one a scenario.
fn close(all: &[(&Scenario, Came)], format: Format, out: &mut Out<'_>) -> Result<Status, Error> {
    if format == Format::Json {
        let entry = |(scenario, came): &(&Scenario, Came)| match came {
            Came::NotRun(why) => json!({ "scenario": scenario.name, "ran": false, "why": why }),
            Came::Stuck(why) => json!({ "scenario": scenario.name, "ran": true, "stuck": why }),
            Came::Ran { version, listed, reports, held, .. } => json!({
                "scenario": scenario.name, "ran": true, "version": version, "listed": listed,
                "known": held.seen, "new": held.new, "gone": held.gone,
                "reports": reports,
            }),
        };
        let scenarios: Vec<_> = all.iter().map(entry).collect();
        out.json(&json!({ "schema": 1, "scenarios": scenarios }))?;
    } else {
        out.text("\n")?;
        for (scenario, came) in all {
            out.text(&format!("{:<28} {}\n", scenario.name, came.line()))?;
        }
    }
    let ran = all.iter().any(|(_, came)| !matches!(came, Came::NotRun(_)));
    if !ran && format == Format::Text {
        out.text("no scenario ran, so nothing was watched\n")?;
    }
    Ok(if !ran || all.iter().any(|(_, came)| came.fails()) { Status::Bad } else { Status::Good })
}
