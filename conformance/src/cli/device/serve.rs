//! `devmig device serve`: NICs that are added and deleted over a control socket.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use devmig_reference::control::Control;
use devmig_reference::vhost_user::Stop;

use super::listen::listen;
use super::making::Making;
use super::{Error, Out, Status, own_mutant};

/// Serve NICs that are added, listed and deleted by JSON-RPC 2.0, a message a line: device-add,
/// device-list, device-del.
#[derive(Debug, ClapArgs)]
#[command(after_help = super::super::help::DEVICE_SERVE)]
pub(super) struct Serve {
    /// Socket on which to listen for requests
    #[arg(long, value_name = "PATH", help_heading = "Connection")]
    control: PathBuf,
    /// Run this mutant; see `devmig device mutants`
    #[arg(long, value_name = "NAME", help_heading = "Behaviour")]
    mutant: Option<String>,
    #[command(flatten)]
    making: Making,
}

/// Runs it.
pub(super) fn run(args: &Serve, out: &mut Out<'_>) -> Result<Status, Error> {
    let making = args.making.with(args.mutant.as_deref().and_then(own_mutant));
    let (listener, _socket) = listen(&args.control)?;
    let stop = Stop::new().map_err(|error| Error::usage(error.to_string(), None))?;
    out.text(&format!("listening at {}\n", args.control.display()))?;
    out.flush()?;
    let served = Control::new(making.build()).serve(&listener, &stop);
    served.map(|()| Status::Good).map_err(|error| Error::Serve(error.to_string()))
}
