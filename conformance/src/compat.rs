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
use std::path::Path;

use devmig_model::device_model::form::{BadForm, MAX_FILE};
use devmig_model::device_model::read::{self, Destination, Source};
use devmig_model::device_model::{Reason, Refusal, Settings};

use crate::harness::io::files::{self, FileError};

/// The most entries of a directory.
pub const MAX_ENTRIES: usize = 65_536;

/// Why a description cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Bad {
    /// The system does not give it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is not what it should be.
    #[error("{0}")]
    Form(#[from] BadForm),
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
