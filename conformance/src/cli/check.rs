//! `devmig check`: systems explored exhaustively.

use std::path::PathBuf;

use devmig_engine::columns::count;
use devmig_engine::explore::Report;
use devmig_model::analysis::Outcome;
use devmig_model::analysis::change::Examined;
use devmig_model::analysis::corpus::Corpus;
use devmig_model::analysis::listing::{List, Reports, one};
use devmig_model::registry::Library;

use super::interrupt::{Found, Results};
use super::progress::Meter;
use super::select::{self, Bounds, Pins, Size};
use super::{Error, Format, Out, Status};

/// Explore systems exhaustively and check their properties
#[derive(Debug, clap::Args)]
#[command(after_help = super::help::CHECK)]
pub(crate) struct Args {
    /// Systems by name or pattern (`*` matches any characters) [default: all]
    #[arg(value_name = "SYSTEM|GLOB")]
    systems: Vec<String>,
    /// List the systems and their properties instead of checking them
    #[arg(long, conflicts_with_all = ["full", "threads", "max_states", "max_depth", "timeout"], help_heading = "Selection")]
    list: bool,
    /// Apply this proposal: show what it changes, and whether its expectations are met
    #[arg(long, value_name = "FILE", help_heading = "Specification")]
    proposal: Option<PathBuf>,
    /// Check all built-in proposals, each with all systems that it is about
    #[arg(long, conflicts_with_all = ["systems", "list", "proposal", "pins", "scale", "full"],
          help_heading = "Selection")]
    proposals: bool,
    #[command(flatten)]
    pins: Pins,
    #[command(flatten)]
    size: Size,
    /// Output format
    #[arg(long, value_enum, default_value_t, help_heading = "Output")]
    format: Format,
    /// Show every trace, also for expected verdicts, reachable states and ends
    #[arg(long, conflicts_with = "proposal", help_heading = "Output")]
    full: bool,
    #[command(flatten)]
    bounds: Bounds,
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = select::library(args.proposal.as_ref())?;
    if args.proposals {
        let meter = Meter::new();
        let found = Corpus::of(&meter.explorer(args.bounds.limits()), &library)?;
        drop(meter);
        out.show(args.format, &found, || found.text())?;
        return Ok(found.outcome().into());
    }
    let pins = library.spec.pins(args.pins.written())?;
    let scale = args.size.scale();
    let systems = library.systems(&args.systems, &pins, &scale)?;
    if args.list {
        let list = List::of(&library, &systems);
        out.show(args.format, &list, || list.text())?;
        return Ok(Status::Good);
    }
    let meter = Meter::new();
    let explorer = meter.explorer(args.bounds.limits());
    if let Some(proposal) = &library.proposal {
        let names: Vec<_> = systems.iter().map(|system| system.name()).collect();
        let only = (!args.systems.is_empty()).then_some(&names[..]);
        let (libraries, pins) = ((&Library::builtin()?, &library), args.pins.written());
        let examined = Examined::of(&explorer, libraries, proposal, only, (pins, &scale))?;
        drop(meter);
        out.show(args.format, &examined, || examined.text())?;
        return Ok(examined.outcome().into());
    }
    let found = Found::nothing();
    let (format, full, all) = (args.format, args.full, systems.len());
    let guard =
        found.written_on_signal(out.color(), move |found: &Results<(String, Report)>, out| {
            several(&found.in_turn, Some(all), full, format, out)
        });
    explorer.expects(systems.len());
    for system in &systems {
        let report = explorer.explore(&library, &**system)?;
        let about = system.about().to_owned();
        found.add((about, report));
    }
    drop(meter);
    drop(guard);
    let all = found.all();
    let reports = &all.in_turn;
    if args.format == Format::Text && !scale.is_empty() {
        let of_one = systems.first().filter(|_| systems.len() == 1);
        let size = of_one.and_then(|one| library.scale_of(one.name(), &scale).ok());
        match size.filter(|_| scale.is_preset()) {
            Some(size) => out.text(&format!("at {scale}: {size}\n"))?,
            None => out.text(&format!("at {scale}\n"))?,
        }
        let left_out = library.matching(&args.systems).count().saturating_sub(systems.len());
        if left_out > 0 {
            let left_out = count(left_out, "system");
            out.text(&format!("left out, for they have no preset `{scale}`: {left_out}\n"))?;
        }
    }
    match (&args.systems[..], &reports[..]) {
        ([name], [(about, report)]) if *name == report.system => {
            out.show(args.format, report, || one(about, report, args.full))?;
        }
        _ => several(reports, None, args.full, args.format, out)?,
    }
    let outcomes = reports.iter().map(|(_, report)| Outcome::of_report(report));
    Ok(outcomes.max().unwrap_or(Outcome::Expected).into())
}

/// Writes what several systems show; `cut` says how many there would be, had no signal ended the run.
fn several(
    found: &[(String, Report)],
    cut: Option<usize>,
    full: bool,
    format: Format,
    out: &mut Out<'_>,
) -> Result<(), Error> {
    let reports = Reports::of(found.iter().map(|(_, report)| report).collect(), cut.is_some());
    out.show(format, &reports, || {
        let shown = found.iter().filter(|(_, report)| full || !report.as_expected);
        let shown = shown.map(|(about, report)| one(about, report, full) + "\n");
        let mut text = shown.collect::<String>() + &reports.table();
        if let Some(all) = cut {
            text += &format!("interrupted: {} of {all} systems explored\n", found.len());
        }
        text
    })
}
