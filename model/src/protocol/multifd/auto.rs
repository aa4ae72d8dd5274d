//! Whether the state of a device goes over channels: an option with ON, OFF and AUTO at each end.
//!
//! ```text
//!  setting at an end + what that end supports --transfer--> channels | main stream | refused, and why
//!  both ends --migration--> the same on both | refused at an end | the ends differ
//! ```
//!
//! The property is x-migration-multifd-transfer of a VFIO device, AUTO by default since QEMU 10.0
//! (hw/vfio/migration-multifd.c, `vfio_multifd_setup`). AUTO is decided at each end by what that end
//! supports; nothing is negotiated.
//!
//! ```
//! # use devmig_model::protocol::multifd::auto::{End, Outcome, Setting, Support, migration};
//! let end = |setting| End { setting, support: Support::ALL };
//! assert_eq!(migration(&end(Setting::Auto), &end(Setting::Auto)), Outcome::Channels);
//! assert_eq!(migration(&end(Setting::Auto), &end(Setting::Off)), Outcome::BuffersUnexpected);
//! ```

use serde::Serialize;

/// A setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// Over channels, or the migration is refused.
    On,
    /// Over the main stream.
    Off,
    /// Over channels if the end supports it.
    Auto,
}

impl Setting {
    /// Every setting.
    pub const ALL: [Setting; 3] = [Setting::On, Setting::Off, Setting::Auto];
}

/// Why an end does not support it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lacks {
    /// The capability multifd is off.
    Multifd,
    /// Mapped-ram is on: it has no packets.
    Packets,
    /// The channels compress.
    Uncompressed,
    /// The source does not send SWITCHOVER_START, as with machine types before 10.0.
    SwitchoverStart,
}

/// What an end supports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Support {
    /// The capability multifd.
    pub multifd: bool,
    /// The capability mapped-ram.
    pub mapped_ram: bool,
    /// A method of compression.
    pub compression: bool,
    /// The property send-switchover-start.
    pub switchover_start: bool,
}

impl Support {
    /// An end that supports the transfer.
    pub const ALL: Support =
        Support { multifd: true, mapped_ram: false, compression: false, switchover_start: true };

    /// What is lacking for it.
    #[must_use]
    pub fn lacks(&self) -> Vec<Lacks> {
        let all = [
            (!self.multifd, Lacks::Multifd),
            (self.mapped_ram, Lacks::Packets),
            (self.compression, Lacks::Uncompressed),
            (!self.switchover_start, Lacks::SwitchoverStart),
        ];
        all.into_iter().filter_map(|(lacks, what)| lacks.then_some(what)).collect()
    }
}

/// One end of a migration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct End {
    /// Its setting.
    pub setting: Setting,
    /// What it supports.
    pub support: Support,
}

/// Whether this end transfers the state over channels.
///
/// # Errors
/// What it lacks, if it was asked to do so and cannot.
pub fn transfer(end: &End) -> Result<bool, Vec<Lacks>> {
    let lacks = end.support.lacks();
    match end.setting {
        Setting::Off => Ok(false),
        Setting::Auto => Ok(lacks.is_empty()),
        Setting::On if lacks.is_empty() => Ok(true),
        Setting::On => Err(lacks),
    }
}

/// What becomes of the device's state in a migration.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It goes over channels.
    Channels,
    /// It goes over the main stream.
    Main,
    /// The source refuses to start.
    SourceRefuses(Vec<Lacks>),
    /// The destination refuses to start.
    DestinationRefuses(Vec<Lacks>),
    /// The destination refuses a buffer that it did not expect on a channel.
    BuffersUnexpected,
    /// The destination refuses the configuration on the main stream.
    ConfigUnexpected,
}

impl Outcome {
    /// Whether the migration can succeed.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self, Outcome::Channels | Outcome::Main)
    }
}

/// What becomes of a migration between these ends.
#[must_use]
pub fn migration(source: &End, destination: &End) -> Outcome {
    match (transfer(source), transfer(destination)) {
        (Err(lacks), _) => Outcome::SourceRefuses(lacks),
        (_, Err(lacks)) => Outcome::DestinationRefuses(lacks),
        (Ok(true), Ok(true)) => Outcome::Channels,
        (Ok(false), Ok(false)) => Outcome::Main,
        (Ok(true), Ok(false)) => Outcome::BuffersUnexpected,
        (Ok(false), Ok(true)) => Outcome::ConfigUnexpected,
    }
}
