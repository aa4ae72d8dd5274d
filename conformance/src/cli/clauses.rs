//! `devmig clauses`, `devmig choices`: what is normative, what carries it, and what is left open.

use devmig_model::registry::Library;

use super::{Error, Format, Out, Status};
use crate::book::lists::{ChoiceList, ClauseList};
use crate::coverage;

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
    #[command(after_help = super::help::CLAUSES_COVERAGE)]
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

/// Runs `clauses`.
pub(crate) fn clauses(args: &ClausesArgs, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    if let Some(What::Coverage { format }) = args.what {
        let coverage = coverage::of(&library)?;
        out.show(format, &coverage, || coverage.text())?;
        return Ok(if coverage.is_whole() { Status::Good } else { Status::Bad });
    }
    let list = ClauseList::of(&library.spec, &args.ids)?;
    out.show(args.format, &list, || list.text())?;
    Ok(Status::Good)
}

/// Runs `choices`.
pub(crate) fn choices(args: &ChoicesArgs, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let list = ChoiceList::of(&library.spec);
    out.show(args.format, &list, || list.text().to_owned())?;
    Ok(Status::Good)
}
