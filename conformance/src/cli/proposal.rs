//! `devmig proposal`: the words that a proposal may use, and what is wrong with one.

use std::path::PathBuf;

use clap::Subcommand;
use devmig_engine::columns::grid;
use devmig_model::analysis::proposal;
use devmig_model::registry::{self, Library};

use super::{Error, Out, Status, select};

/// Check a proposal file, or list the vocabulary of proposals
#[derive(Debug, clap::Args)]
#[command(after_long_help = words())]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Report every problem of a proposal file, or summarize a correct one
    #[command(after_help = super::help::PROPOSAL_LINT)]
    Lint {
        /// The file
        file: PathBuf,
    },
    /// List the vocabulary of proposals: guards, effects, steps and properties
    Words,
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    match &args.command {
        Command::Words => out.text(&words())?,
        Command::Lint { file } => {
            let (base, library) = (Library::builtin()?, select::library(Some(file))?);
            let (text, outcome) = proposal::summary(&base, &library);
            out.text(&text)?;
            return Ok(outcome.into());
        }
    }
    Ok(Status::Good)
}

fn words() -> String {
    let mut text = String::new();
    for (n, (title, words)) in registry::words().into_iter().enumerate() {
        let rows: Vec<_> = words
            .iter()
            .map(|(word, meaning)| vec![format!("  {word}"), (*meaning).to_owned()])
            .collect();
        text += if n == 0 { "" } else { "\n" };
        text += &format!("{title}\n{}", grid(&rows));
    }
    text
}
