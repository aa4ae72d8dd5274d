//! `devmig explain`: all that is known of a clause or a choice.

use devmig_model::registry::Library;

use super::{Error, Out, Status};
use crate::book::explain::explained;

/// Explain a clause or a choice: its text, the party that it binds, and its source
#[derive(Debug, clap::Args)]
#[command(after_help = super::help::EXPLAIN)]
pub(crate) struct Args {
    /// Its id
    #[arg(value_name = "CLAUSE|CHOICE")]
    id: String,
}

/// Runs `explain`.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    out.text(&explained(&Library::builtin()?, &args.id)?)?;
    Ok(Status::Good)
}
