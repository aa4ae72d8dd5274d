//! `devmig scenario`: a real front-end with a real guest, watched.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use devmig_model::registry::Library;
use serde_json::json;

use super::{Error, Format, Out, Status, select};
use crate::scenario::known::{self, FrontEnd, Scenario};
use crate::scenario::run::{Came, run as play};
use crate::watch::judge::Law;

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

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let front_ends = known::builtin(&library)?;
    let all: Vec<(&FrontEnd, &Scenario)> =
        front_ends.iter().flat_map(|f| f.scenarios.iter().map(move |s| (f, s))).collect();
    let chosen = select::chosen(&all, &args.name, |(_, s)| s.name.as_str(), "scenario", None)?;
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
    let mut rules = library.spec.judged_by("vhost-user", "10.2")?;
    rules.choices = library.spec.open();
    let law = Law::new(library, rules, "10.2")?;
    let mut all = Vec::new();
    for (front_end, scenario) in chosen {
        let came = play(&law, front_end, scenario, args.install, args.record.as_deref());
        if args.format == Format::Text {
            show(scenario, &came, args.full, out)?;
        }
        all.push((*scenario, came));
    }
    close(&all, args.format, out)
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
