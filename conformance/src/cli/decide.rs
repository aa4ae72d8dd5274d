//! `devmig decide`: what each option of an open choice costs.

use std::path::PathBuf;

use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::explore::Options;
use devmig_engine::explore::decide::{self, Decision, decide};
use devmig_engine::explore::search::Limits;
use devmig_engine::rules::Rules;
use devmig_model::protocol::size::Scale;
use devmig_model::registry::Library;
use devmig_model::rivals::{self, Row};
use schemars::JsonSchema;
use serde::Serialize;

use super::select::{self, Bounds, Pins, Size};
use super::{Error, Format, Out, Status};

/// Show which properties hold under each interpretation
///
/// Without arguments, show the decisions that the specification lists.
#[derive(Debug, clap::Args)]
#[command(after_help = super::help::DECIDE)]
pub(crate) struct Args {
    /// The system, or `device-model`: the compatibility schemes and their laws
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

/// A decision, and the system that it is about.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Decided {
    /// The system.
    pub(crate) system: String,
    /// The table.
    #[serde(flatten)]
    pub(crate) decision: Decision,
}

impl Decided {
    /// The table and its counterexamples, for the console.
    pub(crate) fn text(&self) -> String {
        format!("{}\n{}", self.system, self.decision.text())
    }
}

/// Several in one document.
#[derive(Serialize, JsonSchema)]
pub(super) struct All<'a> {
    /// The version of this form: 2. In version 1 the properties `rules-kept`, `deadlock-free` and
    /// `no-starvation` were called `rules`, `stuck` and `progress`, and `X: non-vacuous` was called
    /// `X: can happen`; all else is the same.
    schema: u32,
    /// One for each question, in order.
    decisions: &'a [Decided],
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    if args.system.as_deref() == Some(SCHEMES) {
        return schemes(args, out);
    }
    if args.system.is_some() && args.choices.is_empty() {
        let help = Some("name them with `--choices NAME,NAME`".into());
        return Err(Error::usage("it is not said which choices are tried", help));
    }
    let library = select::library(args.proposal.as_ref())?;
    let pins = args.pins.resolve(&library.spec)?;
    let (limits, scale) = (args.bounds.limits(), &args.size.scale());
    let mut all = Vec::new();
    match &args.system {
        Some(system) => {
            let mut choices: Vec<ChoiceId> = Vec::new();
            for name in &args.choices {
                let choice = library.spec.choice(name.trim())?;
                if !choices.contains(&choice) {
                    choices.push(choice);
                }
            }
            all.push(decided(&library, system, &choices, (&pins, scale), limits)?);
        }
        None => {
            for question in &library.decisions {
                let choices = &question.choices;
                all.push(decided(&library, &question.system, choices, (&pins, scale), limits)?);
            }
        }
    }
    match (args.format, &all[..]) {
        (Format::Json, [one]) if args.system.is_some() => out.json(one)?,
        (Format::Json, all) => out.json(&All { schema: 2, decisions: all })?,
        (Format::Text, all) => {
            for (n, decided) in all.iter().enumerate() {
                out.text(if n == 0 { "" } else { "\n" })?;
                let brief = || format!("{}\n{}", decided.system, decided.decision.table());
                out.text(&if args.brief { brief() } else { decided.text() })?;
            }
        }
    }
    let rows = all.iter().flat_map(|decided| &decided.decision.rows);
    let cut = rows.into_iter().any(|row| row.report.incomplete.is_some());
    Ok(if cut { Status::Incomplete } else { Status::Good })
}

/// What asks for the table of schemes.
const SCHEMES: &str = "device-model";

/// Each scheme against each law.
#[derive(Serialize)]
struct Schemes {
    schema: u32,
    schemes: Vec<Row>,
}

/// Sets the schemes by which two devices were to be compared against what should hold.
fn schemes(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    if !args.choices.is_empty() || args.proposal.is_some() || !args.pins.written().is_empty() {
        let message = format!("`{SCHEMES}` has no choices, and no proposal changes it");
        return Err(Error::usage(message, None));
    }
    let rows = rivals::table();
    match args.format {
        Format::Json => out.json(&Schemes { schema: 1, schemes: rows })?,
        Format::Text => out.text(&rivals::text(&rows, args.brief))?,
    }
    Ok(Status::Good)
}

/// At most so many combinations in one table.
const MOST: usize = 1024;

/// Tries all combinations.
///
/// # Errors
/// If there is no such system, it cannot be explored, or there are too many combinations.
pub(crate) fn decided(
    library: &Library,
    system: &str,
    choices: &[ChoiceId],
    (pins, scale): (&[(ChoiceId, u8)], &Scale),
    limits: Limits<'_>,
) -> Result<Decided, Error> {
    let name = select::system(library, system, pins, scale)?.name().to_owned();
    if let Some((pinned, _)) = pins.iter().find(|(choice, _)| choices.contains(choice)) {
        let name = library.spec.choice_name(*pinned);
        return Err(Error::usage(format!("`{name}` is both pinned and tried"), None));
    }
    let varied: Vec<_> = choices.iter().map(|id| varied(library, *id)).collect();
    let combinations: usize = varied.iter().map(|choice| choice.options.len()).product();
    if combinations > MOST {
        let message = format!("{combinations} combinations of options are more than {MOST}");
        return Err(Error::usage(message, Some("try fewer choices at once".into())));
    }
    let clause = |id: ClauseId| library.spec.clause_name(id).to_owned();
    let options = Options { limits, clause: &clause };
    // Only the options that are tried differ between rows; the system fixes the others itself.
    let under = |rules: Rules| {
        let tried = choices.iter().filter_map(|id| Some((*id, rules.choices.fixed(*id)?)));
        let options: Vec<_> = pins.iter().copied().chain(tried).collect();
        // Neither a system's name nor its bounds depend on options.
        match library.find_scaled(&name, &options, scale) {
            Ok(Some(system)) => system,
            _ => unreachable!("{name} was found before"),
        }
    };
    let decision = decide(under, &Rules::default(), &varied, &options)
        .map_err(|cause| Error::Explore { system: name.clone(), cause })?;
    Ok(Decided { system: name, decision })
}

/// A choice as [`decide`] varies it.
pub(super) fn varied(library: &Library, id: ChoiceId) -> decide::Choice {
    let options = library.spec.get_choice(id).map_or(&[][..], |choice| &choice.options);
    decide::Choice {
        id,
        name: library.spec.choice_name(id).to_owned(),
        options: options.iter().map(|option| option.name.clone()).collect(),
    }
}
