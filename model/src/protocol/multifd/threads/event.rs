//! What the threads of both ends do.

use devmig_engine::machine::{Channel, Party};
use devmig_engine::pack::QueueNumber;
use devmig_engine::packed;

use crate::protocol::multifd::event::{DESTINATION, SOURCE};

/// The virtual machine that is migrated.
pub const GUEST: Party = Party("guest");

/// What a page contains.
#[packed]
#[derive(Default)]
#[serde(transparent)]
pub struct Content {
    /// How often the guest had written it; 0, if it never came.
    #[bits(2)]
    pub version: u8,
}

/// A page in a packet or on the main stream.
#[packed]
#[derive(Default)]
pub struct Page {
    /// Which.
    #[bits(1)]
    pub page: u8,
    /// What it contains: how often the guest had written it.
    #[bits(2)]
    pub version: u8,
    /// The epoch in which the source looked for it.
    #[bits(3)]
    pub epoch: u8,
}

/// A buffer of the device.
#[packed]
#[derive(Default)]
pub struct Buffer {
    /// Its index.
    #[bits(3)]
    pub index: u8,
    /// It is the device's configuration.
    pub config: bool,
}

/// A packet on a channel.
#[packed]
#[derive(Default)]
pub enum Packet {
    /// A RAM packet; whether it is a SYNC packet too.
    Ram(Page, bool),
    /// A SYNC packet without pages.
    Sync,
    /// A packet with the state of the device.
    Device(Buffer),
    /// The end of the channel: with TLS, of its session, with a bye.
    #[default]
    Closed,
    /// The source ends the connection without a bye.
    Cut,
    /// Somebody else ends the connection.
    Lost,
}

/// Something on the main stream.
#[packed]
#[derive(Default)]
pub enum Main {
    /// The list of RAM blocks.
    List,
    /// RAM_SAVE_FLAG_MULTIFD_FLUSH.
    Flush,
    /// RAM_SAVE_FLAG_EOS.
    Eos,
    /// A page that no channel sends.
    Page(Page),
    /// SWITCHOVER_START: the virtual machine was stopped, and the state of devices follows.
    SwitchoverStart,
    /// The state of every other device.
    Iterables,
    /// The state of every device at a checkpoint (COLO).
    Checkpoint,
    /// The end of the stream.
    End,
    /// The connection ends before the stream does.
    #[default]
    Closed,
}

/// What happens.
#[packed(queued(Channel, Main))]
pub enum Event {
    /// The guest writes a page.
    Write(u8),
    /// The source stops the vCPUs.
    Stop,
    /// A packet on the channel with this queue.
    Channel(QueueNumber, Packet),
    /// On the main stream.
    Main(Main),
    /// The destination reports that everything was loaded: SHUT on the return path.
    Shut,
    /// The source starts the vCPUs again.
    Resume,
    /// The destination reports that it has loaded a checkpoint.
    Loaded,
    /// The destination acknowledges a chunk of this channel.
    Acknowledged(u8),
    /// The source passes a gate: each chunk was acknowledged.
    Passed,
}

/// What fills the unused slots of a queue.
impl Default for Event {
    fn default() -> Self {
        Event::Main(Main::default())
    }
}

impl Event {
    /// A packet on the channel of this index.
    #[must_use]
    pub fn on_channel(channel: usize, packet: Packet) -> Self {
        Event::Channel(QueueNumber(channel as u8 + 1), packet)
    }
}

/// The index of the channel with this queue.
#[must_use]
pub fn channel_of(queue: QueueNumber) -> usize {
    usize::from(queue.0.saturating_sub(1))
}

impl devmig_engine::machine::Event for Event {
    fn owner(&self) -> Party {
        match self {
            Event::Write(_) => GUEST,
            Event::Shut | Event::Acknowledged(_) | Event::Loaded => DESTINATION,
            Event::Stop | Event::Resume | Event::Channel(..) | Event::Main(_) | Event::Passed => {
                SOURCE
            }
        }
    }

    fn to(&self) -> Option<Party> {
        match self {
            Event::Channel(..) | Event::Main(_) => Some(DESTINATION),
            Event::Acknowledged(_) => Some(SOURCE),
            _ => None,
        }
    }

    fn channel(&self) -> Channel {
        match self {
            Event::Main(_) => Channel::Queue(0),
            Event::Channel(queue, _) => Channel::Queue(queue.0),
            _ => Channel::Now,
        }
    }

    fn on_queue(self, queue: u8) -> Self {
        match self {
            Event::Channel(_, packet) => Event::Channel(QueueNumber(queue), packet),
            other => other,
        }
    }

    fn label(&self) -> String {
        let page = |of: &Page| format!("page {} version {}", of.page, of.version);
        match self {
            Event::Write(page) => format!("page {page} written"),
            Event::Stop => "vCPUs stop".into(),
            Event::Channel(queue, packet) => {
                let what = match packet {
                    Packet::Ram(of, false) => page(of),
                    Packet::Ram(of, true) => format!("SYNC with {}", page(of)),
                    Packet::Sync => "SYNC".into(),
                    Packet::Device(buffer) if buffer.config => {
                        format!("buffer {}, the configuration", buffer.index)
                    }
                    Packet::Device(buffer) => format!("buffer {}", buffer.index),
                    Packet::Closed => "end".into(),
                    Packet::Cut => "end without a bye".into(),
                    Packet::Lost => "connection is cut".into(),
                };
                format!("channel {}: {what}", channel_of(*queue))
            }
            Event::Main(main) => match main {
                Main::List => "main: list of blocks".into(),
                Main::Flush => "main: FLUSH".into(),
                Main::Eos => "main: end of section".into(),
                Main::Page(of) => format!("main: {}", page(of)),
                Main::SwitchoverStart => "main: SWITCHOVER_START".into(),
                Main::Iterables => "main: all other devices".into(),
                Main::Checkpoint => "main: state of all devices".into(),
                Main::End => "main: end of the stream".into(),
                Main::Closed => "main: connection ends".into(),
            },
            Event::Shut => "SHUT".into(),
            Event::Resume => "vCPUs go on".into(),
            Event::Loaded => "checkpoint loaded".into(),
            Event::Acknowledged(channel) => format!("channel {channel}: chunk acknowledged"),
            Event::Passed => "gate passed".into(),
        }
    }
}
