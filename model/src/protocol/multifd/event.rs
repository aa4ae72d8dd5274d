//! The events of multifd, as the destination reads them.
//!
//! ```text
//!   source --Init, Ram, Device, Closed--> [channel c] --> destination
//!   source --Mark, Last, Complete-------> [main]      --> destination
//! ```
//!
//! What is a matter of whole ranges (which pages an epoch already has, which indices a device) is worked out by
//! who makes an event. **Invariant:** nothing here depends on how many pages or buffers there are.

use devmig_engine::machine::Party;
use devmig_engine::packed;

/// The process that sends.
pub const SOURCE: Party = Party("source");
/// The process that receives.
pub const DESTINATION: Party = Party("destination");

/// A RAM packet.
#[packed]
#[derive(Default)]
pub struct Ram {
    /// It has pages.
    pub pages: bool,
    /// One of them was sent before in this epoch.
    pub again: bool,
    /// It is a SYNC packet.
    pub sync: bool,
    /// Its number is not above that of the packet before.
    pub late: bool,
}

/// A buffer of a device.
#[packed]
#[derive(Default)]
pub struct Buffer {
    /// The device, by its place among all that have sent something.
    pub device: u8,
    /// It is the device's configuration.
    pub config: bool,
    /// Its index was used before.
    pub again: bool,
    /// It is data with an index above the configuration's, or a configuration with an index below data.
    pub beyond: bool,
}

/// What happens.
#[packed(unqueued)]
#[derive(Default)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A channel begins; whether another one has its id.
    Init(u8, bool),
    /// A RAM packet on a channel.
    Ram(u8, Ram),
    /// A packet with the state of a device on a channel.
    Device(u8, Buffer),
    /// A channel ends; whether between two packets.
    Closed(u8, bool),
    /// The TLS session of a channel ends without a bye.
    NoBye(u8),
    /// The state of all devices at a checkpoint; whether no page was sent since the last mark.
    Checkpoint(bool),
    /// The main stream ends an epoch.
    #[default]
    Mark,
    /// No mark follows: the main stream has ended.
    Last,
    /// All channels have ended; whether all buffers of this device were sent.
    Sent(u8, bool),
}

impl devmig_engine::machine::Event for Event {
    fn owner(&self) -> Party {
        SOURCE
    }

    fn label(&self) -> String {
        match self {
            Event::Init(channel, _) => format!("channel {channel} begins"),
            Event::Ram(channel, ram) => {
                let sync = if ram.sync { "SYNC" } else { "RAM" };
                let again = if ram.again { ", a page again" } else { "" };
                format!("channel {channel}: {sync}{again}")
            }
            Event::Device(channel, buffer) => {
                let what = if buffer.config { "configuration" } else { "data" };
                format!("channel {channel}: {what} of device {}", buffer.device)
            }
            Event::Closed(channel, true) => format!("channel {channel} ends"),
            Event::Closed(channel, false) => format!("channel {channel} ends inside a packet"),
            Event::NoBye(channel) => format!("channel {channel} ends without a bye"),
            Event::Checkpoint(true) => "checkpoint".into(),
            Event::Checkpoint(false) => "checkpoint inside an epoch".into(),
            Event::Mark => "mark".into(),
            Event::Last => "the main stream ends".into(),
            Event::Sent(device, true) => format!("all of device {device} was sent"),
            Event::Sent(device, false) => format!("something of device {device} is missing"),
        }
    }
}
