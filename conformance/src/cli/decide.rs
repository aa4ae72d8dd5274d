//! `devmig decide`: what each option of an open choice costs.

use std::path::{Path, PathBuf};

use devmig_engine::clause::ChoiceId;
use devmig_model::analysis::decide::{Decided, Decisions};
use devmig_model::analysis::hand_over::Table;
use devmig_model::analysis::migrating::Migrations;
use devmig_model::analysis::vm::Vm;
use devmig_model::analysis::vm::answer::Answer;
use devmig_model::registry::Decision;
use devmig_model::rivals::{self, Row};
use serde::Serialize;

use super::progress::Meter;
use super::select::{self, Bounds, Pins, Size};
use super::{Error, Format, Out, Status};

/// Show which properties hold under each interpretation
///
/// Without arguments, show the decisions that the specification lists.
#[derive(Debug, clap::Args)]
#[command(after_help = super::help::DECIDE)]
pub(crate) struct Args {
    /// The system; or `device-model`: the compatibility schemes and their laws; or `migration`: can a VM migrate,
    /// by the policies of a VMM, the limit for the downtime and the size of memory; or `hand-over`: what
    /// comes of a hand-over with a fault at any step
    system: Option<String>,
    /// Choices to vary; all combinations of their options are checked
    #[arg(
        long,
        value_name = "NAME,NAME",
        value_delimiter = ',',
        requires = "system",
        help_heading = "Specification"
    )]
    choices: Vec<String>,
    /// Apply this proposal
    #[arg(long, value_name = "FILE", help_heading = "Specification")]
    proposal: Option<PathBuf>,
    /// With `migration`: can the VM that this file describes migrate, at what downtime, and what would
    /// have to change
    #[arg(long, value_name = "FILE", requires = "system", help_heading = "Specification")]
    vm: Option<PathBuf>,
    #[command(flatten)]
    pins: Pins,
    #[command(flatten)]
    size: Size,
    /// Show the tables without counterexamples
    #[arg(long, help_heading = "Output")]
    brief: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t, help_heading = "Output")]
    format: Format,
    #[command(flatten)]
    bounds: Bounds,
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    if args.system.as_deref() == Some(SCHEMES) {
        return schemes(args, out);
    }
    if args.system.as_deref() == Some(MIGRATION) {
        return match &args.vm {
            Some(path) => vm(args, path, out),
            None => migrations(args, out),
        };
    }
    if args.vm.is_some() {
        let help = Some(format!("write `devmig decide {MIGRATION} --vm FILE`"));
        return Err(Error::usage("a VM is asked about with `migration`", help));
    }
    if args.system.as_deref() == Some(HAND_OVER) {
        return hand_over(args, out);
    }
    if args.system.is_some() && args.choices.is_empty() {
        let help = Some("name them with `--choices NAME,NAME`".into());
        return Err(Error::usage("it is not said which choices are tried", help));
    }
    let library = select::library(args.proposal.as_ref())?;
    let pins = library.spec.pins(args.pins.written())?;
    let asked = args.system.as_ref().map(|system| {
        let mut choices: Vec<ChoiceId> = Vec::new();
        for name in &args.choices {
            let choice = library.spec.choice(name.trim())?;
            if !choices.contains(&choice) {
                choices.push(choice);
            }
        }
        Ok::<_, Error>(vec![Decision { system: system.clone(), choices }])
    });
    let asked = asked.transpose()?;
    let questions = asked.as_ref().unwrap_or(&library.decisions);
    let meter = Meter::new();
    let explorer = meter.explorer(args.bounds.limits());
    let all = Decided::all(&explorer, &library, questions, &pins, &args.size.scale())?;
    drop(meter);
    let text = |decided: &Decided| if args.brief { decided.brief() } else { decided.text() };
    match &all[..] {
        [one] if args.system.is_some() => out.show(args.format, one, || text(one))?,
        all => out.show(args.format, &Decisions::of(all), || {
            all.iter().map(text).collect::<Vec<_>>().join("\n")
        })?,
    }
    Ok(if all.iter().any(Decided::is_cut) { Status::Incomplete } else { Status::Good })
}

/// What asks for the table of hand-overs.
const HAND_OVER: &str = "hand-over";

/// Shows who runs in the end, whatever goes wrong at whichever step.
fn hand_over(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let varied = !args.choices.is_empty() || !args.pins.written().is_empty();
    if varied || !args.size.scale().is_empty() {
        return Err(Error::usage(format!("`{HAND_OVER}` has no choices and no sizes"), None));
    }
    let library = select::library(args.proposal.as_ref())?;
    let meter = Meter::new();
    let table = Table::of(&meter.explorer(args.bounds.limits()), &library)?;
    drop(meter);
    out.show(args.format, &table, || table.text(args.brief))?;
    Ok(if table.is_cut() { Status::Incomplete } else { Status::Good })
}

/// What asks for the table of schemes.
const SCHEMES: &str = "device-model";

/// What asks for the table of policies.
const MIGRATION: &str = "migration";

/// Explores each policy of a VMM at each limit and size of memory.
fn migrations(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    if !args.choices.is_empty() || !args.size.scale().is_empty() {
        let message = format!("`{MIGRATION}` varies policies, limits and sizes itself");
        let help = "`--choice NAME=OPTION` fixes a choice that makes no policy";
        return Err(Error::usage(message, Some(help.into())));
    }
    let library = select::library(args.proposal.as_ref())?;
    let pins = library.spec.pins(args.pins.written())?;
    let meter = Meter::new();
    let explorer = meter.explorer(args.bounds.limits());
    let all = Migrations::of(&explorer, &library, &pins)?;
    drop(meter);
    out.show(args.format, &all, || all.text(args.brief))?;
    Ok(if all.is_cut() { Status::Incomplete } else { Status::Good })
}

/// Says whether one VM can migrate, and what would have to change.
fn vm(args: &Args, path: &Path, out: &mut Out<'_>) -> Result<Status, Error> {
    let varied = !args.choices.is_empty() || !args.pins.written().is_empty();
    if varied || !args.size.scale().is_empty() {
        let message = "a VM is described by its file: no choice and no size is varied";
        return Err(Error::usage(message, None));
    }
    let library = select::library(args.proposal.as_ref())?;
    let vm = Vm::read(&library, &path.display().to_string(), &select::read(path)?)?;
    let meter = Meter::new();
    let answer = Answer::of(&meter.explorer(args.bounds.limits()), &library, &vm)?;
    drop(meter);
    out.show(args.format, &answer, || answer.text(args.brief))?;
    Ok(match answer.can_migrate {
        Some(true) => Status::Good,
        Some(false) => Status::Bad,
        None => Status::Incomplete,
    })
}

/// Each scheme against each law.
#[derive(Serialize)]
struct Schemes {
    schema: u32,
    schemes: Vec<Row>,
}

/// Sets the schemes by which two devices were to be compared against what should hold.
fn schemes(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let varied = !args.choices.is_empty() || !args.pins.written().is_empty();
    if varied || args.proposal.is_some() || !args.size.scale().is_empty() {
        let message =
            format!("`{SCHEMES}` has no choices and no sizes, and no proposal changes it");
        return Err(Error::usage(message, None));
    }
    let rows = rivals::table();
    let text = rivals::text(&rows, args.brief);
    out.show(args.format, &Schemes { schema: 1, schemes: rows }, || text)?;
    Ok(Status::Good)
}
