//! `devmig clauses`, `devmig choices`: what is normative, what carries it, and what is left open.

use devmig_model::registry::Library;
use devmig_model::spec::{Choice, Citation, Clause, Level, Spec, matches};
use serde::Serialize;

use super::explain::explained_choice;
use super::grid::{count, grid};
use super::{Error, Format, Out, Status};
use crate::coverage::{self, Carried};

/// List the clauses (normative requirements)
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, after_help = super::help::CLAUSES)]
pub(crate) struct ClausesArgs {
    #[command(subcommand)]
    what: Option<What>,
    /// Clauses by id or pattern (`*` matches any characters) [default: all]
    #[arg(value_name = "ID|GLOB")]
    ids: Vec<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show the coverage of each clause: properties, tests, mutants, recordings, exceptions
    Coverage {
        /// Output format
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// List the choices (points that a specification leaves open) and their interpretations
#[derive(Debug, clap::Args)]
pub(crate) struct ChoicesArgs {
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Serialize)]
struct ClauseList<'a> {
    schema: u32,
    clauses: Vec<ListedClause<'a>>,
}

#[derive(Serialize)]
struct ListedClause<'a> {
    id: &'a str,
    level: Level,
    party: &'a str,
    text: &'a str,
    interpretation: Option<&'a str>,
    source: &'a str,
    version: &'a str,
    since: &'a str,
    until: Option<&'a str>,
    place: &'a [String],
    digest: Option<&'a str>,
    droppable: bool,
    observable: bool,
}

#[derive(Serialize)]
struct ChoiceList<'a> {
    schema: u32,
    choices: Vec<ListedChoice<'a>>,
}

#[derive(Serialize)]
struct ListedChoice<'a> {
    id: &'a str,
    question: &'a str,
    default: &'a str,
    options: Vec<ListedOption<'a>>,
}

#[derive(Serialize)]
struct ListedOption<'a> {
    name: &'a str,
    text: &'a str,
    seen: &'a [String],
}

/// Runs `clauses`.
pub(crate) fn clauses(args: &ClausesArgs, out: &mut Out<'_>) -> Result<Status, Error> {
    if let Some(What::Coverage { format }) = args.what {
        return covered(format, out);
    }
    let Library { spec, .. } = Library::builtin()?;
    for pattern in &args.ids {
        if !spec.clauses().iter().any(|clause| matches(pattern, &clause.id)) {
            spec.clause(pattern)?;
        }
    }
    let wanted = |clause: &&Clause| {
        args.ids.is_empty() || args.ids.iter().any(|pattern| matches(pattern, &clause.id))
    };
    let clauses: Vec<&Clause> = spec.clauses().iter().filter(wanted).collect();
    match args.format {
        Format::Json => {
            let clauses = clauses.iter().map(|clause| listed(&spec, clause)).collect();
            out.json(&ClauseList { schema: 1, clauses })?;
        }
        Format::Text => {
            let row = |c: &&Clause| {
                vec![c.id.clone(), c.level.to_string(), c.party.clone(), c.text.clone()]
            };
            out.text(&grid(&clauses.iter().map(row).collect::<Vec<_>>()))?;
            out.text(&format!("\n{}\n", count(clauses.len(), "clause")))?;
        }
    }
    Ok(Status::Good)
}

/// Coverage of the clauses. Exit code 1 if one lacks something without a reason.
fn covered(format: Format, out: &mut Out<'_>) -> Result<Status, Error> {
    let coverage = coverage::of(&Library::builtin()?)?;
    let lacking = coverage.clauses.iter().filter(|clause| !clause.lacks.is_empty()).count();
    match format {
        Format::Json => out.json(&coverage)?,
        Format::Text => {
            let head = [
                "clause",
                "level",
                "party",
                "properties",
                "tests",
                "mutants",
                "recordings",
                "lacks",
            ];
            let mut rows = vec![head.map(str::to_owned).to_vec()];
            rows.extend(coverage.clauses.iter().map(covered_row));
            out.text(&grid(&rows))?;
            for stale in &coverage.stale {
                out.text(&format!("stale exception: {stale}\n"))?;
            }
            let lacks = format!("{lacking} lack something without a reason");
            out.text(&format!("\n{}, {lacks}\n", count(coverage.clauses.len(), "clause")))?;
        }
    }
    Ok(if lacking == 0 && coverage.stale.is_empty() { Status::Good } else { Status::Bad })
}

/// One clause: how many of each carry it, and what it lacks (in parentheses: for a reason).
fn covered_row(clause: &Carried) -> Vec<String> {
    let number = |n: usize| if n == 0 { "-".to_owned() } else { n.to_string() };
    let lacks = clause.lacks.iter().map(|what| coverage::word(*what).to_owned());
    let excused =
        clause.exceptions.iter().map(|exception| format!("({})", coverage::word(exception.what)));
    vec![
        clause.id.clone(),
        clause.level.to_string(),
        clause.party.clone(),
        number(clause.properties.len()),
        number(clause.tests.len()),
        number(clause.mutants.len()),
        number(clause.recordings.len()),
        lacks.chain(excused).collect::<Vec<_>>().join(" "),
    ]
}

/// The name of a document and of a version of it.
pub(super) fn version<'a>(
    spec: &'a Spec,
    citation: &Citation,
    version: usize,
) -> (&'a str, &'a str) {
    let Some(source) = spec.sources().get(citation.source) else { return ("", "") };
    (&source.id, source.versions.get(version).map_or("", |version| &version.name))
}

fn listed<'a>(spec: &'a Spec, clause: &'a Clause) -> ListedClause<'a> {
    let name = |index| version(spec, &clause.citation, index).1;
    ListedClause {
        id: &clause.id,
        level: clause.level,
        party: &clause.party,
        text: &clause.text,
        interpretation: clause.interpretation.as_deref(),
        source: version(spec, &clause.citation, 0).0,
        version: name(clause.citation.version),
        since: name(clause.since),
        until: clause.until.map(name),
        place: &clause.citation.place,
        digest: clause.citation.digest.as_deref(),
        droppable: clause.droppable(),
        observable: clause.observable(),
    }
}

/// Runs `choices`.
pub(crate) fn choices(args: &ChoicesArgs, out: &mut Out<'_>) -> Result<Status, Error> {
    let Library { spec, .. } = Library::builtin()?;
    match args.format {
        Format::Json => {
            let choices = spec.choices().iter().map(|choice| ListedChoice {
                id: &choice.id,
                question: &choice.question,
                default: default(choice),
                options: choice
                    .options
                    .iter()
                    .map(|o| ListedOption { name: &o.name, text: &o.text, seen: &o.seen })
                    .collect(),
            });
            out.json(&ChoiceList { schema: 1, choices: choices.collect() })?;
        }
        Format::Text => {
            for (n, choice) in spec.choices().iter().enumerate() {
                out.text(if n == 0 { "" } else { "\n" })?;
                out.text(&explained_choice(&spec, choice))?;
            }
        }
    }
    Ok(Status::Good)
}

pub(super) fn default(choice: &Choice) -> &str {
    choice.options.get(usize::from(choice.default)).map_or("", |option| &option.name)
}
