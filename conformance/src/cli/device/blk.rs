//! `devmig device blk`: the disk.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use devmig_reference::block::BlockOptions;
use devmig_reference::vhost_user::Options;

use super::super::number::MANY;
use super::Common;

/// Run a disk in memory, each sector filled with its number
#[derive(Debug, ClapArgs)]
#[command(after_help = super::super::help::DEVICE_BLK)]
pub(super) struct Blk {
    #[command(flatten)]
    pub(super) common: Common,
    /// Socket on which to listen; a stale socket is replaced
    #[arg(long, value_name = "PATH", help_heading = "Connection")]
    pub(super) socket_path: PathBuf,
    /// Size of the disk, in sectors of 512 bytes
    #[arg(long, value_name = "N", default_value_t = BlockOptions::default().sectors,
          help_heading = "Device",
          value_parser = clap::value_parser!(u64).range(1..=MANY))]
    sectors: u64,
    /// Number of request queues
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Device", value_parser = clap::value_parser!(u8).range(1..=64))]
    queues: u8,
    /// Let every other request take three times as long, so that requests overtake each other
    #[arg(long, help_heading = "Behaviour")]
    out_of_order: bool,
}

impl Blk {
    pub(super) fn options(&self) -> Options {
        let block = BlockOptions {
            sectors: self.sectors,
            rings: self.queues.into(),
            latency: self.common.latency(),
            out_of_order: self.out_of_order,
        };
        Options { block, ..Options::default() }
    }
}
