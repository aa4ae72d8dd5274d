//! `devmig guest`: what this program is as the first process of a guest. Not for people.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::{Error, Out, Status};
use crate::vfio::guest::{self, Work};

/// Prepare a device in a guest, run a command there, and power off.
#[derive(Debug, ClapArgs)]
#[command(hide = true)]
pub(super) struct Args {
    /// The type of the mediated device.
    #[arg(required_unless_present = "here")]
    device: Option<String>,
    /// Run the command of this folder, with the host's files.
    #[arg(long, conflicts_with = "device")]
    here: Option<PathBuf>,
}

/// Runs it.
pub(super) fn run(args: &Args, _: &mut Out<'_>) -> Result<Status, Error> {
    let work = match (&args.here, &args.device) {
        (Some(folder), _) => Work::Here(folder),
        (None, device) => Work::Device(device.as_deref().unwrap_or_default()),
    };
    guest::init(work).map_err(|error| Error::usage(error.to_string(), None))?;
    Ok(Status::Good)
}
