//! `devmig test vfio-user`: the VFIO suite against a server.

use std::path::PathBuf;

use clap::{ArgGroup, Args as ClapArgs};
use devmig_model::registry::Library;

use super::shared::{Again, Jobs, Start};
use super::vfio::{self, At, Common};
use super::{Error, Out, Status};
use crate::harness::io::process::Command;
use crate::harness::mutation::hunt;
use crate::vfio::device::Place;
use crate::vfio::mutants::MutationRun;
use crate::vfio::user::{Socket, Spawn};

/// Test a vfio-user server with the VFIO suite
#[derive(Debug, ClapArgs)]
#[command(after_help = super::super::help::TEST_VFIO_USER)]
#[command(group = ArgGroup::new("where").required(true).args(["socket", "spawn", "list", "mutants"]))]
pub(super) struct Args {
    /// Socket on which the server listens
    #[arg(long, value_name = "PATH", help_heading = "Target")]
    socket: Option<PathBuf>,
    /// Command that starts the server; `{socket}` is replaced by the path to listen on. Each test
    /// starts it anew
    #[arg(long, value_name = "COMMAND", help_heading = "Target")]
    spawn: Option<String>,
    /// Command that starts a device of another model or configuration, whose data the device under
    /// test must refuse
    #[arg(long, value_name = "COMMAND", help_heading = "Target")]
    foreign: Option<String>,
    /// Run the suite against each mutant of the reference device; a test of the violated clause
    /// must find it. `--only` selects mutants
    #[arg(long, help_heading = "Selection",
          conflicts_with_all = ["walks", "script", "play", "choice", "waivers", "junit", "results", "compare_versions", "without"])]
    mutants: bool,
    #[command(flatten)]
    start: Start,
    #[command(flatten)]
    jobs: Jobs,
    #[command(flatten)]
    common: Common,
}

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    if args.mutants {
        return mutants(args, out);
    }
    let limit = args.common.limit();
    let foreign = args.foreign.as_deref().map(command).transpose()?;
    let place: Option<Box<dyn Place>> = match (&args.socket, &args.spawn) {
        (Some(path), _) => Some(Box::new(Socket { path: path.clone(), limit, foreign })),
        (None, Some(text)) => {
            let (command, start) = (command(text)?, args.start.start_timeout);
            Some(Box::new(Spawn { command, start, limit, foreign }))
        }
        (None, None) => None,
    };
    let again = Again::new("devmig test vfio-user")
        .path("--socket", args.socket.as_ref())
        .value("--spawn", args.spawn.as_ref())
        .value("--foreign", args.foreign.as_ref())
        .start(args.start);
    let jobs = args.jobs.count(args.socket.is_none())?;
    let at = At { place: place.as_deref(), p2p: false, jobs };
    vfio::run(&args.common, at, "vfio-user", again, out)
}

fn command(text: &str) -> Result<Command, Error> {
    Command::parse(text).map_err(|error| Error::usage(error.to_string(), None))
}

/// Holds the suite against the faults of the reference.
fn mutants(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let suite = crate::vfio::suite::builtin(&library)?;
    let rules = library.spec.judged_by(vfio::SOURCE, &args.common.text)?;
    let bench = MutationRun::new(&library, &suite, rules, &args.common.text)?;
    args.common.shared.hunt(out, |mutants, all, done| hunt(&bench, mutants, all, done))
}
