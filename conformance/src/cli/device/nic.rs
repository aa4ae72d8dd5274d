//! `devmig device nic`: the NIC, by its parameters.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs, ValueEnum};
use devmig_reference::nic::{Link, Mac, ModelUri, NicConfig, Parameters};
use devmig_reference::pci::FunctionOptions;
use devmig_reference::vhost_user::net::NetOptions;

use super::{Common, Error};

/// A network device: what it transmits comes back, if its filter lets it through.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("where").required(true).args(["socket_path", "vfio_user"]))]
pub(super) struct Nic {
    #[command(flatten)]
    pub(super) common: Common,
    /// Where to listen as a vhost-user back-end; a socket that nobody listens on any more is replaced.
    #[arg(long, value_name = "PATH")]
    socket_path: Option<PathBuf>,
    /// Where to listen as a PCI device over vfio-user; likewise.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["outside", "link_flap"])]
    vfio_user: Option<PathBuf>,
    /// Its migration features over vfio-user, or `none`. That it has `p2p` is reported only with
    /// `--set p2p.flag=as-vfio`.
    #[arg(long, value_name = "FEATURES", default_value = FEATURES, conflicts_with = "socket_path")]
    pub(super) features: String,
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

/// What every reading of vfio-user has.
const FEATURES: &str = "stop-copy,pre-copy";

/// Where it is served, and as what.
pub(super) enum Place<'a> {
    /// As a virtio device.
    VhostUser(&'a Path),
    /// As a PCI device.
    VfioUser(&'a Path),
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

impl Nic {
    pub(super) fn place(&self) -> Place<'_> {
        match (&self.vfio_user, &self.socket_path) {
            (Some(path), _) => Place::VfioUser(path),
            (None, path) => Place::VhostUser(path.as_deref().unwrap_or(Path::new(""))),
        }
    }

    fn config(&self) -> Result<NicConfig, Error> {
        let parameters = Parameters {
            model: self.model.clone(),
            rss: self.rss == Switch::On,
            rx_filter_size: self.rx_filter_size,
            queue_pairs: self.queue_pairs,
            mac: self.mac,
            mtu: self.mtu,
        };
        NicConfig::new(parameters).map_err(|e| Error::usage(e.to_string(), None))
    }

    fn link(&self) -> Link {
        match self.link {
            LinkTo::Loopback => Link::Loopback,
            LinkTo::None => Link::Nobody,
        }
    }

    pub(super) fn over_vhost_user(&self) -> Result<NetOptions, Error> {
        let flap = self.link_flap.map(|ms| Duration::from_millis(ms.max(1).into()));
        let (config, link) = (self.config()?, self.link());
        Ok(NetOptions { config, link, latency: self.common.latency(), flap })
    }

    pub(super) fn over_vfio_user(&self) -> Result<FunctionOptions, Error> {
        let (config, link) = (self.config()?, self.link());
        Ok(FunctionOptions { config, link, latency: self.common.latency() })
    }
}
