//! `devmig guest`: what this program is as the first process of a guest. Not for people.

use clap::Args as ClapArgs;

use super::{Error, Out, Status};
use crate::vfio::guest;

/// Prepare a device in a guest, run a command there, and power off.
#[derive(Debug, ClapArgs)]
#[command(hide = true)]
pub(super) struct Args {
    /// The type of the mediated device.
    device: String,
}

/// Runs it.
pub(super) fn run(args: &Args, _: &mut Out<'_>) -> Result<Status, Error> {
    guest::init(&args.device).map_err(|error| Error::usage(error.to_string(), None))?;
    Ok(Status::Good)
}
