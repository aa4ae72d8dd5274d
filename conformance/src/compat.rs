//! Descriptions of devices and hosts, as they lie about: files, directories of sysfs, whole fleets.
//!
//! What they mean, and what is safe, is the model's to say ([`devmig_model::device_model`]); here they
//! are found and read.
//!
//! **Invariants.** What is read is bounded: a file by [`MAX_FILE`], a directory by [`MAX_ENTRIES`].
//! Nothing is written.

pub mod fleet;
pub mod sysfs;

use std::io;
use std::path::{Path, PathBuf};

use devmig_model::device_model::baseline::{Baseline, baseline};
use devmig_model::device_model::form::{BadForm, MAX_FILE};
use devmig_model::device_model::lint::{self, Finding};
use devmig_model::device_model::read::{self, Destination, Source, Verdict};
use devmig_model::device_model::{Implementation, Reason, Refusal, Settings};

use schemars::JsonSchema;
use serde::Serialize;

use crate::harness::io::files::{self, FileError};

/// The most entries of a directory.
pub const MAX_ENTRIES: usize = 65_536;

/// What `compat baseline` finds.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "baseline")]
pub struct Baselines {
    /// The version of this form: 1.
    schema: u32,
    /// The models that all hosts have.
    pub models: Vec<Baseline>,
}

/// What `compat lint` finds.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "lint")]
pub struct Findings {
    /// The version of this form: 1.
    schema: u32,
    /// In the order of the models.
    pub findings: Vec<Finding>,
}

/// Why a description cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Bad {
    /// The system does not give it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is not what it should be.
    #[error("{0}")]
    Form(#[from] BadForm),
    /// Only parameters will do.
    #[error("it has no parameters")]
    Parameters,
    /// A directory with too much in it.
    #[error("there are more than {MAX_ENTRIES} entries")]
    Entries,
}

impl Bad {
    /// The refusal that it comes to, if it is one and no mistake of the file's: a side without a
    /// description is refused, and so is a name that is none.
    #[must_use]
    pub fn refusal(&self, side: &str) -> Option<Reason> {
        match self {
            Bad::Form(BadForm::Nothing) => Some(Reason::no_description(side)),
            Bad::Form(BadForm::Id(bad)) => Some(Reason::bad_id(bad)),
            _ => None,
        }
    }
}

/// A description that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}: {bad}", path.display())]
pub struct Unusable {
    /// Its file, or directory.
    path: PathBuf,
    /// Why not.
    pub bad: Bad,
}

impl Unusable {
    fn new(path: &Path, bad: Bad) -> Self {
        Unusable { path: path.to_owned(), bad }
    }
}

impl Baselines {
    /// Of these hosts.
    ///
    /// # Errors
    /// If one cannot be used.
    pub fn of(hosts: &[PathBuf]) -> Result<Self, Unusable> {
        let hosts = named(hosts)?;
        let hosts: Vec<_> = hosts.iter().map(|(name, host)| (name.as_str(), host)).collect();
        Ok(Baselines { schema: 1, models: baseline(&hosts) })
    }
}

impl Findings {
    /// Of these files: two are two releases, unless they are a catalogue as any other number is.
    ///
    /// # Errors
    /// If one cannot be used.
    pub fn of(files: &[PathBuf], catalogue: bool) -> Result<Self, Unusable> {
        let files = named(files)?;
        let named: Vec<_> = files.iter().map(|(name, file)| (name.as_str(), file)).collect();
        let findings = match named[..] {
            [old, new] if !catalogue => {
                [lint::catalogue(&[new]), lint::releases(old, new)].concat()
            }
            _ => lint::catalogue(&named),
        };
        Ok(Findings { schema: 1, findings })
    }
}

/// Whether a device can go to a host.
///
/// # Errors
/// If a description cannot be used; that there is none is a reason to refuse.
pub fn verdict(from: &Path, to: &Path) -> Result<Verdict, Unusable> {
    let (here, there) = (source(from), destinations(to));
    let (here, there) = match (here, there) {
        (Ok(here), Ok(there)) => return Ok(Verdict::from(any(&here, &there))),
        (here, there) => (here.err(), there.err()),
    };
    let mut reasons: Vec<Reason> = Vec::new();
    for (path, side, bad) in [(from, "source", here), (to, "destination", there)] {
        if let Some(bad) = bad {
            reasons.push(bad.refusal(side).ok_or_else(|| Unusable::new(path, bad))?);
        }
    }
    Ok(Verdict::from(Refusal::unless_none(reasons, Settings::new())))
}

/// What a host can make, where only parameters will do.
///
/// # Errors
/// If it cannot be used.
pub fn implementation(path: &Path) -> Result<Implementation, Unusable> {
    let mut all = destinations(path).map_err(|bad| Unusable::new(path, bad))?;
    match (all.pop(), all.is_empty()) {
        (Some(Destination::Implementation(one)), true) => Ok(one),
        _ => Err(Unusable::new(path, Bad::Parameters)),
    }
}

fn named(paths: &[PathBuf]) -> Result<Vec<(String, Implementation)>, Unusable> {
    paths.iter().map(|path| Ok((path.display().to_string(), implementation(path)?))).collect()
}

/// Reads a file, if it is not too long.
///
/// # Errors
/// If it is too long, not a regular file, or cannot be read.
pub fn bytes(path: &Path) -> Result<Vec<u8>, Bad> {
    files::bytes(path, MAX_FILE as u64).map_err(|error| match error {
        FileError::TooLarge(_) => BadForm::Long.into(),
        other => Bad::Io(other.into()),
    })
}

/// Reads a device: a file, or the directory of an mdev device.
///
/// # Errors
/// See [`Bad`].
pub fn source(path: &Path) -> Result<Source, Bad> {
    match path.is_dir() {
        true => sysfs::source(path),
        false => Ok(read::source(&bytes(path)?)?),
    }
}

/// Reads what a host can make: a file, the directory of an mdev type, or that of a parent device, which
/// has several.
///
/// # Errors
/// See [`Bad`].
pub fn destinations(path: &Path) -> Result<Vec<Destination>, Bad> {
    match path.is_dir() {
        true => sysfs::destinations(path),
        false => Ok(vec![read::destination(&bytes(path)?)?]),
    }
}

/// Whether one of several destinations takes a device.
///
/// # Errors
/// The reasons of all, if none does.
pub fn any(source: &Source, destinations: &[Destination]) -> Result<Settings, Refusal> {
    let mut refused: Option<Vec<Reason>> = None;
    for destination in destinations {
        match read::answer(source, destination) {
            Ok(settings) => return Ok(settings),
            Err(refusal) => {
                let reasons = refused.get_or_insert_default();
                for reason in refusal.reasons() {
                    if !reasons.contains(reason) {
                        reasons.push(reason.clone());
                    }
                }
            }
        }
    }
    let none = || vec![Reason::no_description("destination")];
    Refusal::unless_none(refused.unwrap_or_else(none), Settings::new())
}
