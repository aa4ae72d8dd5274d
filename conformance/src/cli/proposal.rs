//! `devmig proposal`: the words that a proposal may use, and what is wrong with one.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use devmig_engine::columns::grid;
use devmig_model::analysis::proposal;
use devmig_model::analysis::skeleton::{protocols, skeleton};
use devmig_model::registry::{self, Library};
use devmig_model::spec;

use super::error::warnings;
use super::{Error, Out, Status, select};
use crate::harness::io::files;

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
    /// Write a commented proposal to begin with
    #[command(after_help = super::help::PROPOSAL_NEW)]
    New {
        /// Protocol that the proposal changes
        #[arg(long, value_name = "NAME", default_value = "vhost-user")]
        protocol: String,
        /// Id of the proposal: lower-case letters, digits and `-`
        #[arg(long, value_name = "ID", default_value = "my-proposal")]
        id: String,
        /// The file, which must not exist [default: write to the terminal]
        new_file: Option<PathBuf>,
    },
    /// List the vocabulary of proposals: guards, effects, steps and properties
    Words,
}

impl Args {
    /// Whether it writes no file.
    pub(super) fn only_prints(&self) -> bool {
        !matches!(self.command, Command::New { new_file: Some(_), .. })
    }
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    match &args.command {
        Command::Words => out.text(&words())?,
        Command::New { protocol, id, new_file } => {
            let text = skeleton_of(protocol, id)?;
            match new_file {
                None => out.text(&text)?,
                Some(path) => {
                    let written = files::write_new(path, text.as_bytes());
                    written.map_err(|error| not_written(path, error.into()))?;
                }
            }
        }
        Command::Lint { file } => {
            let (base, library) = (Library::builtin()?, select::library(Some(file))?);
            let (text, outcome) = proposal::summary(&base, &library);
            out.text(&text)?;
            if !library.warnings.is_empty() {
                out.text(&format!("\n{}", warnings(&library.warnings, false)))?;
            }
            return Ok(outcome.into());
        }
    }
    Ok(Status::Good)
}

/// Why a file was not written.
fn not_written(path: &Path, cause: std::io::Error) -> Error {
    if cause.kind() != std::io::ErrorKind::AlreadyExists {
        return Error::Write { to: path.display().to_string(), cause };
    }
    let help = "name a file that does not exist".to_owned();
    Error::usage(format!("{} exists, and stays as it is", path.display()), Some(help))
}

/// A skeleton, or what is wrong with what was asked for.
fn skeleton_of(protocol: &str, id: &str) -> Result<String, Error> {
    if !spec::is_word(id) {
        let message = format!("`{id}` is not an id");
        let help = "lower-case letters and digits, in parts joined by `-`".to_owned();
        return Err(Error::usage(message, Some(help)));
    }
    skeleton(&Library::builtin()?, protocol, id).ok_or_else(|| {
        let known = protocols();
        let help = spec::did_you_mean(protocol, known.iter().copied());
        let help = help.unwrap_or_else(|| format!("the protocols are {}", known.join(", ")));
        Error::usage(format!("no protocol is called `{protocol}`"), Some(help))
    })
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
