//! `devmig scenario`: QEMU with a real guest, watched: as a front-end, and at both ends of a migration.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use devmig_model::registry::Library;
use serde_json::json;

use super::{Error, Format, Out, Status, select};
use crate::scenario::came::{Came, Ran};
use crate::scenario::known::{self, FrontEnd, Scenario};
use crate::scenario::migration::{self, known::Migration};
use crate::scenario::run::run as play;
use crate::watch::judge::Law;

/// Run QEMU with a real guest, and judge both sides: with a device (boot, I/O, stop, continue, reset,
/// migrate, quit), or migrating with multifd
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
    /// Leave what came of the scenario in this file: said by this program to itself in a guest.
    #[arg(long, hide = true)]
    came: Option<PathBuf>,
}

/// A scenario of either kind.
enum Any<'a> {
    /// A guest that does I/O.
    Guest(&'a FrontEnd, &'a Scenario),
    /// A migration.
    Migration(&'a Migration),
}

impl Any<'_> {
    fn name(&self) -> &str {
        match self {
            Any::Guest(_, scenario) => &scenario.name,
            Any::Migration(migration) => &migration.name,
        }
    }

    fn about(&self) -> &str {
        match self {
            Any::Guest(_, scenario) => &scenario.about,
            Any::Migration(migration) => &migration.about,
        }
    }

    fn program(&self) -> &str {
        match self {
            Any::Guest(front_end, _) => &front_end.name,
            Any::Migration(_) => "qemu",
        }
    }
}

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let front_ends = known::builtin(&library)?;
    let migrations = migration::known::builtin(&library, &front_ends)?;
    let guests = front_ends.iter().flat_map(|f| f.scenarios.iter().map(move |s| Any::Guest(f, s)));
    let all: Vec<Any<'_>> = guests.chain(migrations.iter().map(Any::Migration)).collect();
    let chosen = select::chosen(&all, &args.name, Any::name, "scenario", None)?;
    if args.list {
        for one in chosen {
            let name = format!("{} {}", one.program(), one.name());
            out.text(&format!("{name:<36} {}\n", one.about()))?;
        }
        return Ok(Status::Good);
    }
    if let Some(folder) = &args.record {
        known::folder(folder).map_err(|why| Error::usage(why.to_string(), None))?;
    }
    let mut rules = library.spec.judged_by("vhost-user", "10.2")?;
    rules.choices = library.spec.open();
    let law = Law::new(Library::builtin()?, rules, "10.2")?;
    let record = args.record.as_deref();
    let mut all = Vec::new();
    for one in chosen {
        let came = match one {
            Any::Guest(front_end, scenario) => {
                play(&law, front_end, scenario, args.install, record)
            }
            Any::Migration(migration) => {
                let is_inside = args.came.is_some();
                migration::run::run(&library, migration, (args.install, is_inside), record)
            }
        };
        if let Some(file) = &args.came {
            let text =
                serde_json::to_vec(&came).map_err(|why| Error::usage(why.to_string(), None))?;
            std::fs::write(file, text).map_err(|why| Error::usage(why.to_string(), None))?;
        }
        if args.format == Format::Text {
            show(one.name(), &came, args.full, out)?;
        }
        all.push((one.name(), came));
    }
    close(&all, args.format, out)
}

fn show(name: &str, came: &Came, full: bool, out: &mut Out<'_>) -> Result<(), Error> {
    let Came::Ran(ran) = came else { return Ok(()) };
    let seconds = |time: &Duration| format!("{:.1} s", time.as_secs_f64());
    let steps = ran.steps.iter().map(|(name, time)| format!("{name} {}", seconds(time)));
    let steps: Vec<String> = steps.collect();
    out.text(&format!("{name}\n  {}\n", steps.join(", ")))?;
    let held = &ran.held;
    for (what, lines) in [("known", &held.seen), ("NEW", &held.new), ("GONE", &held.gone)] {
        for line in lines {
            out.text(&format!("  {what:<8} {line}\n"))?;
        }
    }
    if full || !held.new.is_empty() {
        for part in &ran.parts {
            out.text(&format!("\n{}\n\n{}", part.name, part.text))?;
        }
    }
    Ok(())
}

/// The closing lines: one a scenario.
fn close(all: &[(&str, Came)], format: Format, out: &mut Out<'_>) -> Result<Status, Error> {
    if format == Format::Json {
        let entry = |(name, came): &(&str, Came)| match came {
            Came::NotRun(why) => json!({ "scenario": name, "ran": false, "why": why }),
            Came::Stuck(why) => json!({ "scenario": name, "ran": true, "stuck": why }),
            Came::Ran(Ran { version, listed, parts, held, .. }) => json!({
                "scenario": name, "ran": true, "version": version, "listed": listed,
                "known": held.seen, "new": held.new, "gone": held.gone,
                "reports": parts.iter().map(|part| &part.json).collect::<Vec<_>>(),
            }),
        };
        let scenarios: Vec<_> = all.iter().map(entry).collect();
        out.json(&json!({ "schema": 1, "scenarios": scenarios }))?;
    } else {
        out.text("\n")?;
        for (name, came) in all {
            out.text(&format!("{name:<34} {}\n", came.line()))?;
        }
    }
    let ran = all.iter().any(|(_, came)| !matches!(came, Came::NotRun(_)));
    if !ran && format == Format::Text {
        out.text("no scenario ran, so nothing was watched\n")?;
    }
    Ok(if !ran || all.iter().any(|(_, came)| came.fails()) { Status::Bad } else { Status::Good })
}
