//! `devmig device`: a reference device at a socket, until a signal ends it.
//!
//! | file | its one job |
//! |---|---|
//! | `nic.rs`, `blk.rs` | each device's own arguments |
//! | `making.rs` | how a NIC is asked for, and what it says of itself before it is made |
//! | `serve.rs` | NICs that are added over a control socket |
//! | `vfio_user.rs` | the NIC as a PCI device, over vfio-user |
//! | `golden.rs` | states of the NIC that are kept as files |
//! | `listen.rs` | a socket to listen on |
//! | `lists.rs` | what there is to set, and to do wrong |

mod blk;
mod golden;
mod listen;
mod lists;
mod making;
mod nic;
mod serve;
mod vfio_user;

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};
use devmig_model::spec::did_you_mean;
use devmig_reference::vhost_user::mutants::UnknownMutant;
use devmig_reference::vhost_user::server::ServeError;
use devmig_reference::vhost_user::settings::SettingError;
use devmig_reference::vhost_user::{Mutant, Options, Settings, Stop, serve};

use self::blk::Blk;
use self::listen::listen;
use self::nic::{Endpoint, Nic};

use super::{Error, Out, Status};

/// Run a reference device: a device that follows the specification, or a mutant
#[derive(Debug, ClapArgs)]
#[command(after_help = super::help::DEVICE)]
pub(super) struct Args {
    #[command(subcommand)]
    device: Device,
}

#[derive(Debug, Subcommand)]
enum Device {
    Nic(Nic),
    Serve(serve::Serve),
    Blk(Blk),
    Golden(golden::Golden),
    /// List the settings for `--set`, and their options
    Settings,
    /// List the mutants for `--mutant`, and the clause that each violates
    Mutants,
}

/// What every device has.
#[derive(Debug, ClapArgs)]
struct Common {
    /// Socket on which each connection changes the device (a disk grows, a NIC's link goes down or
    /// up), and is closed after the change
    #[arg(long, value_name = "PATH", help_heading = "Connection")]
    outside: Option<PathBuf>,
    /// Set the interpretation of a choice; see `devmig device settings`
    #[arg(long = "set", value_name = "NAME=OPTION", help_heading = "Behaviour")]
    settings: Vec<String>,
    /// Run this mutant; see `devmig device mutants`
    #[arg(long, value_name = "NAME", help_heading = "Behaviour")]
    mutant: Option<String>,
    /// Run this mutant too
    #[arg(long, value_name = "NAME", requires = "mutant", help_heading = "Behaviour")]
    behind: Option<String>,
    /// Duration of each request, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0, help_heading = "Behaviour",
          value_parser = clap::value_parser!(u32).range(..=60_000))]
    latency: u32,
    /// Exit after the first connection closes
    #[arg(long, help_heading = "Connection")]
    once: bool,
}

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    match &args.device {
        Device::Nic(nic) => {
            let making = nic.making.with(nic.common.mutant.as_deref().and_then(own_mutant));
            if let Some(status) = making.print(out, || nic.instance(&making))? {
                return Ok(status);
            }
            // What is asked of the model is answered first: an option that it does not know may have
            // taken what follows for its own.
            let place = nic.place().or_else(|nowhere| making.config().and(Err(nowhere)))?;
            match place {
                Endpoint::VhostUser(path) => {
                    let options = Options::nic(nic.over_vhost_user(&making)?);
                    back_end(path, &nic.common, options, out)
                }
                Endpoint::VfioUser(path) => vfio_user::run(path, nic, &making, out),
            }
        }
        Device::Serve(args) => serve::run(args, out),
        Device::Blk(blk) => back_end(&blk.socket_path, &blk.common, blk.options(), out),
        Device::Golden(args) => golden::run(args, out),
        Device::Settings => lists::settings(out),
        Device::Mutants => lists::mutants(out),
    }
}

/// Serves over vhost-user.
fn back_end(
    path: &Path,
    common: &Common,
    mut options: Options,
    out: &mut Out<'_>,
) -> Result<Status, Error> {
    for setting in &common.settings {
        let done = options.settings.set(setting);
        done.map_err(|error| bad_setting(&error, setting, Settings::KNOWN))?;
    }
    let names = Mutant::ALL.iter().map(|mutant| mutant.name());
    options.mutant = common.fault().map(|name| mutant(name, names.clone())).transpose()?;
    options.behind = common.behind.as_deref().map(|name| mutant(name, names)).transpose()?;
    options.once = common.once;
    let outside = common.outside.as_deref();
    let beside = outside.map(listen).transpose()?;
    let beside = beside.as_ref().map(|(listener, _)| listener);
    at(path, out, |listener, stop| serve(listener, beside, &options, stop))
}

/// Listens there and serves until told to stop.
fn at(
    path: &Path,
    out: &mut Out<'_>,
    serve: impl FnOnce(&UnixListener, &Stop) -> Result<(), ServeError>,
) -> Result<Status, Error> {
    let (listener, _socket) = listen(path)?;
    let stop = Stop::new().map_err(|error| Error::usage(error.to_string(), None))?;
    out.text(&format!("listening at {}\n", path.display()))?;
    out.flush()?;
    let served = serve(&listener, &stop);
    served.map(|()| Status::Good).map_err(|error| Error::Serve(error.to_string()))
}

impl Common {
    /// What is to be done wrong in the protocol.
    fn fault(&self) -> Option<&str> {
        self.mutant.as_deref().filter(|name| own_mutant(name).is_none())
    }

    fn latency(&self) -> Duration {
        Duration::from_millis(self.latency.into())
    }
}

/// A fault of what is described, made and moved.
fn own_mutant(name: &str) -> Option<devmig_reference::nic::Mutant> {
    name.parse().ok()
}

fn bad_setting(error: &SettingError, setting: &str, known: &[(&str, &[&str])]) -> Error {
    let name = setting.split_once('=').map_or(setting, |(name, _)| name);
    Error::usage(error.to_string(), did_you_mean(name, known.iter().map(|(name, _)| *name)))
}

fn mutant<'n, M: FromStr<Err = UnknownMutant>>(
    name: &str,
    known: impl Iterator<Item = &'n str> + Clone,
) -> Result<M, Error> {
    name.parse().map_err(|error: UnknownMutant| {
        let help = did_you_mean(name, known).or(Some("see `devmig device mutants`".into()));
        Error::usage(error.to_string(), help)
    })
}
