//! `devmig device nic`: the NIC, by its parameters.

use std::time::Duration;

use clap::{Args as ClapArgs, ValueEnum};
use devmig_reference::nic::{Link, Mac, ModelUri, NicConfig, Parameters};
use devmig_reference::vhost_user::net::NetOptions;

use super::{Common, Error};

/// A network device: what it transmits comes back, if its filter lets it through.
#[derive(Debug, ClapArgs)]
pub(super) struct Nic {
    #[command(flatten)]
    pub(super) common: Common,
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
    pub(super) fn options(&self) -> Result<NetOptions, Error> {
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
