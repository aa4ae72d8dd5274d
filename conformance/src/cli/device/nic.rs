//! `devmig device nic`: the NIC, by its parameters.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args as ClapArgs, ValueEnum};
use devmig_model::device_model::form::InstanceForm;
use devmig_reference::nic::Link;
use devmig_reference::pci::FunctionOptions;
use devmig_reference::vhost_user::net::NetOptions;

use super::making::Making;
use super::{Common, Error};

/// Run a network device that receives what it transmits, if its filter accepts it
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("where").args(["socket_path", "vfio_user"]))]
#[command(after_help = super::super::help::DEVICE_NIC)]
pub(super) struct Nic {
    #[command(flatten)]
    pub(super) common: Common,
    /// Socket on which to listen as a vhost-user back-end; a stale socket is replaced
    #[arg(long, value_name = "PATH", help_heading = "Connection")]
    socket_path: Option<PathBuf>,
    /// Socket on which to listen as a PCI device over vfio-user; a stale socket is replaced
    #[arg(long, value_name = "PATH", help_heading = "Connection",
          conflicts_with_all = ["outside", "link_flap"])]
    vfio_user: Option<PathBuf>,
    /// Migration features over vfio-user, or `none`; `p2p` is reported only with `--set
    /// p2p.flag=as-vfio`
    #[arg(long, value_name = "FEATURES", default_value = FEATURES, conflicts_with = "socket_path",
          help_heading = "Behaviour")]
    pub(super) features: String,
    #[command(flatten)]
    pub(super) making: Making,
    /// Link of the device
    #[arg(long, value_enum, default_value = "loopback", help_heading = "Behaviour")]
    link: LinkTo,
    /// Change the state of the link each time after this many milliseconds
    #[arg(long, value_name = "MS", help_heading = "Behaviour", value_parser = clap::value_parser!(u32).range(1..=3_600_000))]
    link_flap: Option<u32>,
}

/// What every reading of vfio-user has.
const FEATURES: &str = "stop-copy,pre-copy";

/// Where it is served, and as what.
pub(super) enum Endpoint<'a> {
    /// As a virtio device.
    VhostUser(&'a Path),
    /// As a PCI device.
    VfioUser(&'a Path),
}

/// What a NIC is connected to.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LinkTo {
    /// The device receives what it transmits
    Loopback,
    /// No link
    None,
}

impl Nic {
    pub(super) fn place(&self) -> Result<Endpoint<'_>, Error> {
        match (&self.vfio_user, &self.socket_path) {
            (Some(path), _) => Ok(Endpoint::VfioUser(path)),
            (None, Some(path)) => Ok(Endpoint::VhostUser(path)),
            (None, None) => {
                let help = "add --socket-path PATH or --vfio-user PATH".to_owned();
                Err(Error::usage("no socket to listen on", Some(help)))
            }
        }
    }

    /// The NIC, as it is described once it is made.
    pub(super) fn instance(&self, making: &Making) -> Result<InstanceForm, Error> {
        let word = if self.link() == Link::Loopback { "loopback" } else { "none" };
        let link = "link".parse().ok().map(|name| (name, word.into()));
        Ok(InstanceForm::from(&making.config()?.instance(link.into_iter().collect())))
    }

    fn link(&self) -> Link {
        match self.link {
            LinkTo::Loopback => Link::Loopback,
            LinkTo::None => Link::Nobody,
        }
    }

    pub(super) fn over_vhost_user(&self, making: &Making) -> Result<NetOptions, Error> {
        let flap = self.link_flap.map(|ms| Duration::from_millis(ms.into()));
        let (config, link) = (making.config()?, self.link());
        Ok(NetOptions { config, link, latency: self.common.latency(), flap })
    }

    pub(super) fn over_vfio_user(&self, making: &Making) -> Result<FunctionOptions, Error> {
        let (config, link) = (making.config()?, self.link());
        Ok(FunctionOptions { config, link, latency: self.common.latency() })
    }
}
