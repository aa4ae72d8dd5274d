//! `devmig check`: systems explored exhaustively.

use std::path::PathBuf;

use clap::ValueEnum as _;
use devmig_engine::clause::ChoiceId;
use devmig_engine::columns::count;
use devmig_engine::explore::trace::Look;
use devmig_engine::explore::{Check, Report};
use devmig_model::analysis::Outcome;
use devmig_model::analysis::change::Examined;
use devmig_model::analysis::corpus::Corpus;
use devmig_model::analysis::listing::{List, Reports, one};
use devmig_model::registry::Library;

use super::interrupt::{Found, Results};
use super::progress::Meter;
use super::select::{self, Bounds, Pins, Size};
use super::stories::{Form, Shown};
use super::{Error, Format, Out, Status};
use crate::story::{Origin, Story};

/// Explore systems exhaustively and check their properties
#[derive(Debug, clap::Args)]
#[command(after_help = super::help::CHECK)]
pub(crate) struct Args {
    /// Systems by name or pattern (`*` matches any characters) [default: all]
    #[arg(value_name = "SYSTEM|GLOB")]
    systems: Vec<String>,
    /// List the systems and their properties instead of checking them
    #[arg(long, conflicts_with_all = ["full", "property", "threads", "max_states", "max_depth", "timeout"], help_heading = "Selection")]
    list: bool,
    /// Apply this proposal: show what it changes, and whether its expectations are met
    #[arg(long, value_name = "FILE", help_heading = "Specification")]
    proposal: Option<PathBuf>,
    /// Check all built-in proposals, each with all systems that it is about
    #[arg(long, conflicts_with_all = ["systems", "list", "proposal", "pins", "scale", "full", "property"],
          help_heading = "Selection")]
    proposals: bool,
    #[command(flatten)]
    pins: Pins,
    #[command(flatten)]
    size: Size,
    /// Output format
    #[arg(long, value_enum, default_value_t, help_heading = "Output")]
    format: Form,
    #[command(flatten)]
    shown: Shown,
    #[command(flatten)]
    bounds: Bounds,
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = select::library(args.proposal.as_ref())?;
    if let Some(form) = args.format.report().is_none().then_some(args.format)
        && (args.proposals || args.list)
    {
        let name = form.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned());
        let message = format!("`--format {name}` shows counterexamples of systems");
        return Err(Error::usage(message, Some("use `text` or `json`".into())));
    }
    let format = args.format.report().unwrap_or_default();
    let hides = |text: &str| args.shown.hides(text);
    let look = args.shown.look(&hides);
    if args.proposals {
        let meter = Meter::new();
        let found = Corpus::of(&meter.explorer(args.bounds.limits()), &library)?;
        drop(meter);
        out.show(format, &found, || found.text())?;
        return Ok(found.outcome().into());
    }
    let pins = library.spec.pins(args.pins.written())?;
    let scale = args.size.scale();
    let systems = library.systems(&args.systems, &pins, &scale)?;
    if args.list {
        let list = List::of(&library, &systems);
        out.show(format, &list, || list.text())?;
        return Ok(Status::Good);
    }
    let meter = Meter::new();
    let explorer = meter.explorer(args.bounds.limits());
    if let Some(proposal) = &library.proposal {
        let names: Vec<_> = systems.iter().map(|system| system.name()).collect();
        let only = (!args.systems.is_empty()).then_some(&names[..]);
        let (libraries, written) = ((&Library::builtin()?, &library), args.pins.written());
        let examined = Examined::of(&explorer, libraries, proposal, only, (written, &scale))?;
        drop(meter);
        if args.format.report().is_some() {
            out.show(format, &examined, || examined.shown(&look))?;
            return Ok(examined.outcome().into());
        }
        let mut stories = Vec::new();
        for compared in &examined.systems {
            let system = library.system(&compared.system, &pins_of(&library, args)?, &scale)?;
            stories.extend(told(args, &*system, &compared.proposed, &[]));
        }
        for expected in &examined.expectations {
            let options = expected.written();
            let all = [args.pins.written(), &options].concat();
            let system = library.system(&expected.system, &library.spec.pins(&all)?, &scale)?;
            // Under the options of the system itself a counterexample is told already.
            let known = |story: &Story| {
                let same = |other: &Story| {
                    (&other.system, &other.name, &other.lines)
                        == (&story.system, &story.name, &story.lines)
                };
                stories.iter().any(same)
            };
            let mut more = told(args, &*system, &expected.report, &options);
            more.retain(|story| !known(story));
            stories.extend(more);
        }
        args.shown.write(args.format, stories, out)?;
        return Ok(examined.outcome().into());
    }
    let found = Found::nothing();
    let (shown, all) = (args.shown.clone(), systems.len());
    let guard =
        found.written_on_signal(out.color(), move |found: &Results<(String, Report)>, out| {
            let hides = |text: &str| shown.hides(text);
            several(&found.in_turn, Some(all), &shown.look(&hides), format, out)
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
    let outcomes = reports.iter().map(|(_, report)| Outcome::of_report(report));
    let status = Ok(outcomes.max().unwrap_or(Outcome::Expected).into());
    if args.format.report().is_none() {
        let told = systems
            .iter()
            .zip(reports)
            .flat_map(|(system, (_, report))| told(args, &**system, report, &[]));
        args.shown.write(args.format, told.collect(), out)?;
        return status;
    }
    if args.format == Form::Text && !scale.is_empty() {
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
            out.show(format, report, || one(about, report, &look))?;
        }
        _ => several(reports, None, &look, format, out)?,
    }
    status
}

/// The options of the command line.
fn pins_of(library: &Library, args: &Args) -> Result<Vec<(ChoiceId, u8)>, Error> {
    Ok(library.spec.pins(args.pins.written())?)
}

/// The counterexamples of a report, with the command that finds them; `more` are options besides those
/// of the command line.
fn told(args: &Args, system: &dyn Check, report: &Report, more: &[String]) -> Vec<Story> {
    let mut words = vec!["devmig".to_owned(), "check".to_owned(), report.system.clone()];
    if let Some(path) = &args.proposal {
        words.extend(["--proposal".to_owned(), path.display().to_string()]);
    }
    for pin in args.pins.written().iter().chain(more) {
        words.extend(["--choice".to_owned(), pin.clone()]);
    }
    let scale = args.size.scale();
    if !scale.is_empty() {
        words.extend(["--scale".to_owned(), scale.to_string()]);
    }
    let origin = Origin {
        about: system.about().to_owned(),
        initial: system.initial(),
        command: shell_words::join(words),
    };
    Story::of(report, &origin, args.shown.full())
}

/// Writes what several systems show; `cut` says how many there would be, had no signal ended the run.
fn several(
    found: &[(String, Report)],
    cut: Option<usize>,
    look: &Look<'_>,
    format: Format,
    out: &mut Out<'_>,
) -> Result<(), Error> {
    let reports = Reports::of(found.iter().map(|(_, report)| report).collect(), cut.is_some());
    out.show(format, &reports, || {
        let shown = found.iter().filter(|(_, report)| look.full || !report.as_expected);
        let shown = shown.map(|(about, report)| one(about, report, look) + "\n");
        let mut text = shown.collect::<String>() + &reports.table();
        if let Some(all) = cut {
            text += &format!("interrupted: {} of {all} systems explored\n", found.len());
        }
        text
    })
}
