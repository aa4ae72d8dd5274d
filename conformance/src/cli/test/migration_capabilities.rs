//! `devmig test migration-capabilities`: which combinations of capabilities a monitor refuses.

use std::path::PathBuf;

use clap::{ArgGroup, Args as ClapArgs};
use devmig_model::registry::Library;
use devmig_reference::socket::Deadline;
use devmig_reference::temporary;

use super::shared::Start;
use super::{Error, Format, Out, Status};
use crate::harness::io::process::{Command, Process, SpawnError};
use crate::multifd::{capabilities, parameters, transports};
use crate::scenario::error::Error as Trouble;
use crate::scenario::qmp::Qmp;
use crate::vhost_user::transport::Connection;

/// Enable each migration capability and each pair of them over QEMU's monitor, set the parameters that
/// exclude one, begin a migration over each transport, and compare the answers with the tables
#[derive(Debug, ClapArgs)]
#[command(after_help = super::super::help::TEST_MIGRATION_CAPABILITIES)]
#[command(group = ArgGroup::new("where").required(true).args(["qmp", "binary"]))]
pub(super) struct Args {
    /// QMP socket of a QEMU that does not migrate, and to which no other client is connected.
    /// Capabilities that are disabled are enabled and disabled again
    #[arg(long, value_name = "PATH", help_heading = "Target")]
    qmp: Option<PathBuf>,
    /// Program of QEMU, with arguments if it needs any: it is started without a machine, and once more
    /// for each migration over a transport
    #[arg(long, value_name = "COMMAND", help_heading = "Target")]
    binary: Option<String>,
    #[command(flatten)]
    start: Start,
    /// Output format
    #[arg(long, value_enum, default_value = "text", help_heading = "Output")]
    format: Format,
}

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let library = Library::builtin()?;
    let deadline = Deadline::after(args.start.start_timeout);
    // The process lives as long as it is asked.
    let (_process, connection) = connect(args, deadline)?;
    let mut qmp = Qmp::new(&connection, deadline).map_err(trouble)?;
    let multifd = library.multifd();
    let mut report = capabilities::ask(&mut qmp, &multifd.capabilities).map_err(trouble)?;
    // A monitor of somebody's is not made to migrate.
    if args.binary.is_some() {
        let tables = (&multifd.parameters[..], &multifd.capabilities);
        parameters::ask(&mut report, tables, &mut qmp).map_err(trouble)?;
        let folder =
            temporary::folder("migration-").map_err(|why| Error::Serve(why.to_string()))?;
        let mut start = || {
            let deadline = Deadline::after(args.start.start_timeout);
            let (process, connection) = connect(args, deadline)?;
            Ok::<_, Error>((process, Qmp::new(&connection, deadline).map_err(trouble)?))
        };
        let tables = (&multifd.transports, &multifd.capabilities);
        transports::ask(&mut report, tables, folder.path(), &mut start)?;
    }
    out.show(args.format, &report, || report.text())?;
    Ok(if report.is_as_expected() { Status::Good } else { Status::Bad })
}

fn connect(args: &Args, deadline: Deadline) -> Result<(Option<Process>, Connection), Error> {
    let wrong = |why: &dyn std::fmt::Display| Error::usage(why.to_string(), None);
    match (&args.qmp, &args.binary) {
        (Some(path), _) => {
            let connected = Connection::connect(path, deadline).map_err(|why| wrong(&why))?;
            Ok((None, connected))
        }
        (None, binary) => {
            let binary = binary.as_deref().unwrap_or_default();
            let text = format!(
                "{binary} -nodefaults -no-user-config -display none -machine none \
                 -qmp unix:{{socket}},server=on,wait=off"
            );
            // Our own arguments must not take the place of a program that is not named.
            let program = shell_words::split(binary).map_err(SpawnError::from);
            program.and_then(Command::plain).map_err(|why| wrong(&why))?;
            let command = Command::parse(&text).map_err(|why| wrong(&why))?;
            let (process, connected) = command.start(deadline).map_err(|why| wrong(&why))?;
            Ok((Some(process), connected))
        }
    }
}

impl From<Trouble> for Error {
    fn from(why: Trouble) -> Self {
        trouble(why)
    }
}

/// The monitor could not be asked.
fn trouble(why: Trouble) -> Error {
    Error::Serve(format!("the monitor cannot be asked: {why}"))
}
