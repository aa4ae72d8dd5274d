//! `devmig check`: systems explored exhaustively.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use devmig_engine::explore::report::PropertyVerdict;
use devmig_engine::explore::{Check, Report};
use devmig_engine::system::PropertyKind;
use devmig_model::registry::Library;
use schemars::JsonSchema;
use serde::Serialize;

use super::grid::{count, grid, thousands};
use super::progress::Meter;
use super::select::{self, Bounds, Pins, Size};
use super::{Error, Format, Out, Status, change, interrupt};

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
    let pins = args.pins.resolve(&library.spec)?;
    let systems = select::systems(&library, &args.systems, &pins, &args.size.scale())?;
    if args.list {
        return list(&library, &systems, args.format, out);
    }
    let limits = args.bounds.limits();
    if let Some(proposal) = &library.proposal {
        if !args.size.scale().is_empty() {
            let help = "name the proposal's system in `devmig compare --proposal FILE --scale ...`";
            let message = "the changes of a proposal are looked for at the systems' own sizes";
            return Err(Error::usage(message, Some(help.into())));
        }
        let base = Library::builtin()?;
        let names: Vec<_> = systems.iter().map(|system| system.name().to_owned()).collect();
        let only = (!args.systems.is_empty()).then_some(&names[..]);
        let pins = args.pins.written();
        let examined = change::examine(&base, &library, proposal, only, pins, limits)?;
        match args.format {
            Format::Json => out.json(&examined)?,
            Format::Text => out.text(&examined.text())?,
        }
        return Ok(examined.status());
    }
    if let ([name], [system]) = (&args.systems[..], &systems[..])
        && name == system.name()
    {
        let (format, color) = (args.format, out.color());
        let guard = interrupt::on_signal(move || {
            let mut out = Out::new(std::io::stdout(), color);
            // Nobody could be told of a failure.
            let _ = several(&[], Some(1), false, format, &mut out);
            let _ = out.flush();
        });
        let report = Meter::new(1).explore(&library, &**system, limits)?;
        drop(guard);
        match args.format {
            Format::Json => out.json(&report)?,
            Format::Text => out.text(&one(system.about(), &report, args.full))?,
        }
        return Ok(select::status(&report));
    }
    let found = Arc::new(Mutex::new(Vec::new()));
    let guard = interrupt::on_signal({
        let (found, color) = (Arc::clone(&found), out.color());
        let (format, full, all) = (args.format, args.full, systems.len());
        move || {
            let found = found.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let mut out = Out::new(std::io::stdout(), color);
            // Nobody could be told of a failure.
            let _ = several(&found, Some(all), full, format, &mut out);
            let _ = out.flush();
        }
    });
    let meter = Meter::new(systems.len());
    for system in &systems {
        let report = meter.explore(&library, &**system, limits)?;
        let about = system.about().to_owned();
        found.lock().unwrap_or_else(PoisonError::into_inner).push((about, report));
    }
    drop(meter);
    drop(guard);
    let reports = found.lock().unwrap_or_else(PoisonError::into_inner);
    several(&reports, None, args.full, args.format, out)?;
    let reports = reports.iter().map(|(_, report)| report);
    Ok(reports.map(select::status).max().unwrap_or(Status::Good))
}

/// Writes what several systems show; `cut` says how many there would be, had no signal ended the run.
fn several(
    found: &[(String, Report)],
    cut: Option<usize>,
    full: bool,
    format: Format,
    out: &mut Out<'_>,
) -> Result<(), Error> {
    let reports: Vec<&Report> = found.iter().map(|(_, report)| report).collect();
    match format {
        Format::Json => out.json(&Reports {
            schema: 2,
            as_expected: cut.is_none() && reports.iter().all(|report| report.as_expected),
            interrupted: cut.is_some(),
            systems: reports,
        }),
        Format::Text => {
            for (about, report) in found {
                if full || !report.as_expected {
                    out.text(&one(about, report, full))?;
                    out.text("\n")?;
                }
            }
            out.text(&table(&reports))?;
            let Some(all) = cut else { return Ok(()) };
            out.text(&format!("interrupted: {} of {all} systems explored\n", reports.len()))
        }
    }
}

/// Several systems in one document.
#[derive(Serialize, JsonSchema)]
pub(super) struct Reports<'a> {
    /// The version of this form: 2. In version 1 the properties `rules-kept`, `deadlock-free` and
    /// `no-starvation` were called `rules`, `stuck` and `progress`, and `X: non-vacuous` was called
    /// `X: can happen`; all else is the same.
    schema: u32,
    /// Every system is as expected.
    as_expected: bool,
    /// A signal ended the run before every system was explored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
    /// The systems, in order.
    systems: Vec<&'a Report>,
}

/// What there is to check.
#[derive(Serialize, JsonSchema)]
pub(super) struct List<'a> {
    /// The version of this form: 2. In version 1 the properties `rules-kept`, `deadlock-free` and
    /// `no-starvation` were called `rules`, `stuck` and `progress`, and `X: non-vacuous` was called
    /// `X: can happen`; all else is the same.
    schema: u32,
    /// The systems, in order.
    systems: Vec<ListedSystem<'a>>,
}

/// One system.
#[derive(Serialize, JsonSchema)]
struct ListedSystem<'a> {
    /// Its name.
    system: &'a str,
    /// Its protocol.
    #[serde(rename = "area")]
    protocol: &'a str,
    /// What it is about.
    about: &'a str,
    /// Its properties, and those that are checked of every system.
    properties: Vec<ListedProperty<'a>>,
}

/// One property.
#[derive(Serialize, JsonSchema)]
struct ListedProperty<'a> {
    /// Its name, unique in its system.
    name: String,
    /// The clause behind it.
    clause: Option<&'a str>,
    /// What it says.
    kind: PropertyKind,
}

fn list(
    library: &Library,
    systems: &[Box<dyn Check>],
    format: Format,
    out: &mut Out<'_>,
) -> Result<Status, Error> {
    let property = |listed: devmig_engine::explore::Listed| ListedProperty {
        name: listed.name,
        clause: listed.clause.map(|clause| library.spec.clause_name(clause)),
        kind: listed.kind,
    };
    let systems: Vec<ListedSystem<'_>> = systems
        .iter()
        .map(|system| ListedSystem {
            system: system.name(),
            protocol: system.protocol(),
            about: system.about(),
            properties: system.properties().into_iter().map(property).collect(),
        })
        .collect();
    match format {
        Format::Json => out.json(&List { schema: 2, systems })?,
        Format::Text => {
            let rows: Vec<_> =
                systems.iter().map(|s| vec![s.system.to_owned(), s.about.to_owned()]).collect();
            out.text(&grid(&rows))?;
        }
    }
    Ok(Status::Good)
}

/// A report on one system, with what the system is about.
fn one(about: &str, report: &Report, full: bool) -> String {
    let text = report.text();
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let mut all = format!("{first}\n  {about}\n{rest}");
    if full {
        for property in &report.properties {
            if let (PropertyVerdict::Holds, Some(trace)) = (property.verdict, &property.trace) {
                all += &format!("\n{}, for example:\n", property.name);
                all += &devmig_engine::explore::trace::text_full(trace, None);
            }
        }
        let endings = report.broken.iter().map(|e| ("broken", e));
        for (how, ending) in endings.chain(report.undefined.iter().map(|e| ("undefined after", e)))
        {
            all += &format!("\n{how} {}, for example:\n", ending.clause);
            all += &devmig_engine::explore::trace::text_full(&ending.trace, None);
        }
    }
    all
}

/// One line a system, and a summary.
fn table(reports: &[&Report]) -> String {
    let mut rows = vec![head()];
    rows.extend(reports.iter().copied().map(row));
    let mut text = grid(&rows);
    text += &format!("\n{}\n", summary(reports));
    text
}

/// The names of the columns.
pub(crate) fn head() -> Vec<String> {
    ["system", "states", "transitions", "depth", "verdict", "as expected"]
        .map(str::to_owned)
        .to_vec()
}

/// Whether it is as expected.
pub(crate) fn yes(as_expected: bool) -> String {
    if as_expected { "yes" } else { "NO" }.to_owned()
}

/// A system's line.
pub(crate) fn row(report: &Report) -> Vec<String> {
    vec![
        report.system.clone(),
        thousands(report.states),
        thousands(report.transitions),
        report.depth.to_string(),
        report.verdict.to_string(),
        yes(report.as_expected),
    ]
}

/// How many systems, and how many not as expected.
fn summary(reports: &[&Report]) -> String {
    let systems = count(reports.len(), "system");
    let not: Vec<_> = reports.iter().filter(|report| !report.as_expected).collect();
    match not.len() {
        0 => format!("{systems}: all as expected"),
        n => {
            let names: Vec<_> = not.iter().map(|report| report.system.as_str()).collect();
            format!("{systems}: {n} NOT as expected: {}", names.join(", "))
        }
    }
}
