//! `devmig explore`: a system in stateright's Explorer.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use devmig_engine::explore::Check;

use super::select::{self, Pins, Size};
use super::{Error, Out, Status};

/// Explore the states of a system interactively in a browser (stateright Explorer)
#[derive(Debug, clap::Args)]
#[command(after_help = super::help::EXPLORE)]
pub(crate) struct Args {
    /// System to explore
    system: String,
    /// Address to listen on; everyone who can reach it can see the page
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Apply this proposal
    #[arg(long, value_name = "FILE", help_heading = "Specification")]
    proposal: Option<PathBuf>,
    #[command(flatten)]
    pins: Pins,
    #[command(flatten)]
    size: Size,
}

/// Runs it.
pub(crate) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = select::library(args.proposal.as_ref())?;
    let pins = library.spec.pins(args.pins.written())?;
    let system: Arc<dyn Check> = library.system(&args.system, &pins, &args.size.scale())?.into();
    // The Explorer would panic: whether its address is free is found out here.
    TcpListener::bind(args.listen)
        .map_err(|cause| Error::Write { to: format!("to {}", args.listen), cause })?;
    out.text(&format!("{} at http://{}/ (Ctrl-C ends it)\n", args.system, args.listen))?;
    out.flush()?;
    system
        .serve(args.listen)
        .map_err(|cause| Error::Explore { system: args.system.clone(), cause })?;
    Ok(Status::Good)
}
