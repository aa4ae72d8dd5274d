//! Arguments that several commands share: which systems, under which options, within which bounds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::explore::search::Limits;
use devmig_engine::explore::{Check, Options, Report};
use devmig_model::protocol::size::Scale;
use devmig_model::registry::Library;
use devmig_model::spec::{self, Spec};

use super::number::{MANY, WEEK};
use super::{Error, Status};
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
    /// Pins written elsewhere.
    pub(crate) fn of(written: &[String]) -> Self {
        Pins { pins: written.to_vec() }
    }

    /// As they were written.
    pub(crate) fn written(&self) -> &[String] {
        &self.pins
    }

    /// The options, resolved.
    ///
    /// # Errors
    /// If there is no such choice or option, or one is pinned twice.
    pub(crate) fn resolve(&self, spec: &Spec) -> Result<Vec<(ChoiceId, u8)>, Error> {
        let mut pins: Vec<(ChoiceId, u8)> = Vec::new();
        for written in &self.pins {
            let (choice, option) = spec.pin(written)?;
            if pins.iter().any(|(known, other)| *known == choice && *other != option) {
                let message = format!("`{}` is fixed to two options", spec.choice_name(choice));
                return Err(Error::usage(message, Some("use `devmig decide` to compare".into())));
            }
            pins.push((choice, option));
        }
        Ok(pins)
    }
}

/// The size of the systems.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Size {
    /// Explore at another size, e.g. `rings=2,requests=3`; an unknown bound lists those of the system
    #[arg(long, value_name = "BOUND=N,...", help_heading = "Bounds")]
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

/// The systems whose names match any of the patterns, in the catalogue's order; all if there is
/// no pattern.
///
/// # Errors
/// If a pattern matches nothing.
pub(crate) fn systems(
    library: &Library,
    patterns: &[String],
    pins: &[(ChoiceId, u8)],
    scale: &Scale,
) -> Result<Vec<Box<dyn Check>>, Error> {
    let mut all = library.catalogue(pins);
    for pattern in patterns {
        if !all.iter().any(|system| spec::matches(pattern, system.name())) {
            return Err(unknown(pattern, &all));
        }
    }
    all.retain(|system| {
        patterns.is_empty() || patterns.iter().any(|p| spec::matches(p, system.name()))
    });
    if scale.is_empty() {
        return Ok(all);
    }
    all.iter().map(|known| system(library, known.name(), pins, scale)).collect()
}

/// The one system of this name.
///
/// # Errors
/// If there is none.
pub(crate) fn system(
    library: &Library,
    name: &str,
    pins: &[(ChoiceId, u8)],
    scale: &Scale,
) -> Result<Box<dyn Check>, Error> {
    let found = library.find_scaled(name, pins, scale);
    let found = found.map_err(|bad| Error::usage(bad.to_string(), None))?;
    found.ok_or_else(|| unknown(name, &library.catalogue(pins)))
}

fn unknown(name: &str, all: &[Box<dyn Check>]) -> Error {
    let names = all.iter().map(|system| system.name());
    let near = spec::diagnostic::nearest(name, names.clone());
    // The area may have been left out.
    let tail = names.clone().find(|known| known.split_once('/').is_some_and(|(_, n)| n == name));
    let help = match near.or(tail) {
        Some(near) => format!("did you mean `{near}`? `devmig check --list` lists all"),
        None => "`devmig check --list` lists all".to_owned(),
    };
    Error::usage(format!("no system is called `{name}`"), Some(help))
}

/// Explores a system.
///
/// # Errors
/// If it cannot be explored at all.
pub(crate) fn explore(
    library: &Library,
    system: &dyn Check,
    limits: Limits<'_>,
) -> Result<Report, Error> {
    let clause = |id: ClauseId| library.spec.clause_name(id).to_owned();
    let options = Options { limits, clause: &clause };
    system
        .check(&options)
        .map_err(|cause| Error::Explore { system: system.name().to_owned(), cause })
}

/// The exit code that a report asks for.
pub(crate) fn status(report: &Report) -> Status {
    use devmig_engine::explore::report::PropertyVerdict::Unknown;
    let unexpected =
        |p: &devmig_engine::explore::report::PropertyReport| !p.as_expected && p.verdict != Unknown;
    if report.as_expected {
        Status::Good
    } else if report.properties.iter().any(unexpected) || report.incomplete.is_none() {
        Status::Bad
    } else {
        Status::Incomplete
    }
}
