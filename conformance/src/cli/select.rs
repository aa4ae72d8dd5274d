//! Arguments that several commands share: which systems, under which options, within which bounds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use devmig_engine::explore::search::Limits;
use devmig_model::protocol::size::Scale;
use devmig_model::registry::Library;
use devmig_model::spec;

use super::Error;
use super::number::{MANY, WEEK};
use crate::harness::io::files;

/// What a run may use.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Bounds")]
pub(crate) struct Bounds {
    /// Number of threads; results do not depend on it [default: number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
    /// Maximum number of states; beyond it the verdict is `incomplete`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MANY))]
    max_states: Option<u64>,
    /// Maximum search depth, in events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_depth: Option<u32>,
    /// Maximum time
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=WEEK))]
    timeout: Option<u32>,
    /// Explore only one of the states that differ in the order of interchangeable parts, such as channels
    #[arg(long)]
    reduced: bool,
}

impl Bounds {
    /// As the explorer takes them.
    pub(crate) fn limits(&self) -> Limits<'static> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Limits {
            threads: self.threads.map_or(cores, usize::from),
            max_states: self.max_states,
            max_depth: self.max_depth,
            deadline: self.timeout.map(|s| Duration::from_secs(s.into())),
            reduced: self.reduced,
            progress: None,
        }
    }
}

/// Choices pinned on the command line.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Pins {
    /// Fix the interpretation of a choice; see `devmig choices`
    #[arg(long = "choice", value_name = "NAME=OPTION", help_heading = "Specification")]
    pins: Vec<String>,
}

impl Pins {
    /// As they were written.
    pub(crate) fn written(&self) -> &[String] {
        &self.pins
    }
}

/// The size of the systems.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Size {
    /// Explore at another size, e.g. `rings=2,requests=3`; an unknown bound lists those of the system.
    /// `large`: the preset of each system that has one; `small`: as declared
    #[arg(long, value_name = "BOUND=N,...|PRESET", help_heading = "Bounds")]
    scale: Option<Scale>,
}

impl Size {
    /// What was asked for.
    pub(crate) fn scale(&self) -> Scale {
        self.scale.clone().unwrap_or_default()
    }
}

/// The text of a file.
///
/// # Errors
/// With its name and the cause.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    files::text(path).map_err(|cause| Error::Read { path: path.to_owned(), cause: cause.into() })
}

/// The same, if there is such a file.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn text_if_there(path: &Path) -> Result<Option<String>, Error> {
    match files::text(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(Error::Read { path: path.to_owned(), cause: error.into() }),
    }
}

/// What is built in, and a proposal if one is given.
///
/// # Errors
/// If the file cannot be read, or has errors.
pub(crate) fn library(proposal: Option<&PathBuf>) -> Result<Library, Error> {
    Ok(match proposal {
        None => Library::builtin()?,
        Some(path) => Library::with_proposal(&path.display().to_string(), &read(path)?)?,
    })
}

/// Those whose names match any of the patterns; all if there is no pattern. `what` they are is said of
/// a pattern that matches nothing, with `help` if no name is near.
///
/// # Errors
/// If a pattern matches nothing.
pub(crate) fn chosen<'a, T>(
    all: &'a [T],
    patterns: &[String],
    name: impl Fn(&T) -> &str,
    what: &str,
    help: Option<String>,
) -> Result<Vec<&'a T>, Error> {
    for pattern in patterns {
        if !all.iter().any(|item| spec::matches(pattern, name(item))) {
            let help = spec::did_you_mean(pattern, all.iter().map(&name)).or(help);
            return Err(Error::usage(format!("no {what} is called `{pattern}`"), help));
        }
    }
    let wanted =
        |item: &&T| patterns.is_empty() || patterns.iter().any(|p| spec::matches(p, name(item)));
    Ok(all.iter().filter(wanted).collect())
}
