//! `devmig device`: a reference device at a socket, until a signal ends it.
//!
//! | file | its one job |
//! |---|---|
//! | `nic.rs`, `blk.rs` | each device's own arguments |
//! | `listen.rs` | a socket to listen on |
//! | `lists.rs` | what there is to set, and to do wrong |

mod blk;
mod listen;
mod lists;
mod nic;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};
use devmig_model::spec::did_you_mean;
use devmig_reference::vhost_user::{Mutant, Options, Settings, Stop, serve};

use self::blk::Blk;
use self::listen::listen;
use self::nic::Nic;

use super::{Error, Out, Status};

/// Run a reference device: a back-end that keeps to the text, or breaks it in one place.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    #[command(subcommand)]
    device: Device,
}

#[derive(Debug, Subcommand)]
enum Device {
    Nic(Nic),
    Blk(Blk),
    /// What `--set` can set, and to what.
    Settings,
    /// What `--mutant` can do wrong, and the clause that each breaks.
    Mutants,
}

/// What every device has.
#[derive(Debug, ClapArgs)]
struct Common {
    /// Where to listen; a socket that nobody listens on any more is replaced.
    #[arg(long, value_name = "PATH")]
    socket_path: PathBuf,
    /// Where somebody who connects changes the device: a disk grows, a NIC's link goes down or up. It
    /// is let go when that is done.
    #[arg(long, value_name = "PATH")]
    outside: Option<PathBuf>,
    /// How to read what the text leaves open: see `devmig device settings`.
    #[arg(long = "set", value_name = "NAME=OPTION")]
    settings: Vec<String>,
    /// What to do wrong: see `devmig device mutants`.
    #[arg(long, value_name = "NAME")]
    mutant: Option<String>,
    /// How long a request takes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency: u32,
    /// End with the first front-end.
    #[arg(long)]
    once: bool,
}

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let (common, mut options) = match &args.device {
        Device::Nic(nic) => (&nic.common, Options::nic(nic.options()?)),
        Device::Blk(blk) => (&blk.common, blk.options()),
        Device::Settings => return lists::settings(out),
        Device::Mutants => return lists::mutants(out),
    };
    for setting in &common.settings {
        set(&mut options.settings, setting)?;
    }
    options.mutant = common.mutant.as_deref().map(mutant).transpose()?;
    options.once = common.once;
    let listener = listen(&common.socket_path)?;
    let outside = common.outside.as_deref().map(listen).transpose()?;
    let stop = Stop::new().map_err(|error| Error::usage(error.to_string(), None))?;
    out.text(&format!("listening at {}\n", common.socket_path.display()))?;
    out.flush()?;
    let served = serve(&listener, outside.as_ref(), &options, &stop);
    // Where a signal ends it, the socket is left behind, for the next one to replace.
    for path in [Some(&common.socket_path), common.outside.as_ref()].into_iter().flatten() {
        let _ = fs::remove_file(path);
    }
    served.map(|()| Status::Good).map_err(|error| Error::Serve(error.to_string()))
}

impl Common {
    fn latency(&self) -> Duration {
        Duration::from_millis(self.latency.into())
    }
}

fn set(settings: &mut Settings, setting: &str) -> Result<(), Error> {
    settings.set(setting).map_err(|error| {
        let name = setting.split_once('=').map_or(setting, |(name, _)| name);
        let names = Settings::KNOWN.iter().map(|(name, _)| *name);
        Error::usage(error.to_string(), did_you_mean(name, names))
    })
}

fn mutant(name: &str) -> Result<Mutant, Error> {
    name.parse().map_err(|error: devmig_reference::vhost_user::mutants::UnknownMutant| {
        let names = Mutant::ALL.iter().map(|mutant| mutant.name());
        let help = did_you_mean(name, names).or(Some("see `devmig device mutants`".into()));
        Error::usage(error.to_string(), help)
    })
}
