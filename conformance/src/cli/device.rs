//! `devmig device`: a reference device at a socket, until a signal ends it.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use devmig_model::spec::did_you_mean;
use devmig_reference::block::BlockOptions;
use devmig_reference::nic::{Link, Mac, ModelUri, NicConfig, Parameters};
use devmig_reference::vhost_user::net::NetOptions;
use devmig_reference::vhost_user::{Mutant, Options, Settings, Stop, serve};

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

/// A network device: what it transmits comes back, if its filter lets it through.
#[derive(Debug, ClapArgs)]
struct Nic {
    #[command(flatten)]
    common: Common,
    /// The device's model: two of one model and configuration can take each other's state.
    #[arg(long, value_name = "URI", default_value_t = ModelUri::default())]
    model: ModelUri,
    /// Receive-side scaling.
    #[arg(long, value_enum, default_value = "off")]
    rss: Switch,
    /// How many addresses the filter table holds.
    #[arg(long, value_name = "N", default_value_t = Parameters::default().rx_filter_size)]
    rx_filter_size: u16,
    /// How many pairs of a receive and a transmit queue.
    #[arg(long, value_name = "N", default_value_t = Parameters::default().queue_pairs)]
    queue_pairs: u16,
    /// Its address.
    #[arg(long, value_name = "MAC", default_value_t = Parameters::default().mac)]
    mac: Mac,
    /// The longest payload of a frame, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = Parameters::default().mtu)]
    mtu: u16,
    /// What it is connected to.
    #[arg(long, value_enum, default_value = "loopback")]
    link: LinkTo,
    /// Let the link go down and up again, each time after this long.
    #[arg(long, value_name = "MS")]
    link_flap: Option<u32>,
}

/// A disk in memory, each sector filled with its number.
#[derive(Debug, ClapArgs)]
struct Blk {
    #[command(flatten)]
    common: Common,
    /// Its size.
    #[arg(long, value_name = "N", default_value_t = BlockOptions::default().sectors)]
    sectors: u64,
    /// How many request queues.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    queues: u8,
    /// Every other request takes three times as long.
    #[arg(long)]
    out_of_order: bool,
}

/// What a NIC is connected to.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LinkTo {
    /// Itself.
    Loopback,
    /// Nothing.
    None,
}

/// On or off.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

/// Runs it.
pub(super) fn run(args: &Args, out: &mut Out<'_>) -> Result<Status, Error> {
    let (common, mut options) = match &args.device {
        Device::Nic(nic) => (&nic.common, Options::nic(nic.options()?)),
        Device::Blk(blk) => (&blk.common, blk.options()),
        Device::Settings => return list_settings(out),
        Device::Mutants => return list_mutants(out),
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

impl Nic {
    fn options(&self) -> Result<NetOptions, Error> {
        let parameters = Parameters {
            model: self.model.clone(),
            rss: self.rss == Switch::On,
            rx_filter_size: self.rx_filter_size,
            queue_pairs: self.queue_pairs,
            mac: self.mac,
            mtu: self.mtu,
        };
        let config = NicConfig::new(parameters).map_err(|e| Error::usage(e.to_string(), None))?;
        let link = match self.link {
            LinkTo::Loopback => Link::Loopback,
            LinkTo::None => Link::Nobody,
        };
        let flap = self.link_flap.map(|ms| Duration::from_millis(ms.max(1).into()));
        Ok(NetOptions { config, link, latency: self.common.latency(), flap })
    }
}

impl Blk {
    fn options(&self) -> Options {
        let block = BlockOptions {
            sectors: self.sectors,
            rings: self.queues.into(),
            latency: self.common.latency(),
            out_of_order: self.out_of_order,
        };
        Options { block, ..Options::default() }
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

fn list_settings(out: &mut Out<'_>) -> Result<Status, Error> {
    for (name, options) in Settings::KNOWN {
        out.text(&format!("{name} = {}\n", options.join(" | ")))?;
    }
    Ok(Status::Good)
}

fn list_mutants(out: &mut Out<'_>) -> Result<Status, Error> {
    for mutant in Mutant::ALL {
        out.text(&format!("{mutant}\n    {} ({})\n", mutant.about(), mutant.clause()))?;
    }
    Ok(Status::Good)
}

/// Listens there. A socket that a server has left behind is no obstacle, anything else is.
fn listen(path: &Path) -> Result<UnixListener, Error> {
    let refused = |message: String, help: &str| Err(Error::usage(message, Some(help.into())));
    let shown = path.display();
    if fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        match UnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                // If it cannot be removed, binding says why.
                let _ = fs::remove_file(path);
            }
            _ => {
                return refused(
                    format!("a server listens at {shown} already"),
                    "end it, or choose another --socket-path",
                );
            }
        }
    }
    match UnixListener::bind(path) {
        Ok(listener) => Ok(listener),
        Err(error) => match error.kind() {
            ErrorKind::AddrInUse => refused(
                format!("{shown} is there already, and is no socket"),
                "choose another --socket-path",
            ),
            ErrorKind::NotFound => {
                refused(format!("there is no folder for {shown}"), "make it first")
            }
            ErrorKind::PermissionDenied => refused(
                format!("{shown} cannot be made: its folder may not be written to"),
                "choose another --socket-path",
            ),
            ErrorKind::InvalidInput => refused(
                format!("{shown} is too long for a socket's path"),
                "107 bytes are the most",
            ),
            _ => Err(Error::Write { to: shown.to_string(), cause: error }),
        },
    }
}
