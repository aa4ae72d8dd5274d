//! What happens in a whole migration: calls at VFIO devices, what vCPUs and devices write, and what the
//! VMM does with pages, logs and locks.
//!
//! ```text
//!   host A (0)  devices 0, 1   vCPUs        host B (1)  devices 2, 3   vCPUs
//!        ^            |                          ^
//!        |            v  writes                  |
//!       VMM  <-- logs -- memory -- pages -------'        state of each device: read at A, written at B
//! ```
//!
//! The events of a device are those of [`crate::protocol::vfio`]: devices 0 and 1 are at host A, 2 and 3 at
//! host B.

use serde::Serialize;

use crate::protocol::vfio::event as vfio;
use devmig_engine::machine::{Kind, Party};
use devmig_engine::packed;

/// The VMM: both ends, as one program.
pub const VMM: Party = Party("VMM");
/// The virtual CPUs.
pub const VCPUS: Party = Party("vCPUs");
/// Memory, which answers what its logs hold.
pub const MEMORY: Party = Party("memory");
/// What makes a step fail.
pub const OUTSIDE: Party = Party("environment");

/// Devices of one host, at most.
pub const DEVICES: usize = 2;

/// The host of a device, by its number.
#[must_use]
pub const fn host_of(device: u8) -> u8 {
    device / DEVICES as u8
}

/// Why a VMM does not go on.
#[packed]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// A device whose writes nothing tracks, and that is forbidden.
    Untracked,
    /// The last look after the stop found more than the limit allows.
    Late,
    /// A device took its acknowledgement back.
    Revoked,
    /// A step failed.
    Failed,
}

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Something at a VFIO device.
    Device(vfio::Event),
    /// A vCPU writes a page.
    Write(u8),
    /// The VMM runs the vCPUs, or stops them.
    Vcpus(bool),
    /// The VMM begins.
    Begin,
    /// The VMM turns the dirty logs of KVM and of the IOMMU on or off.
    Log(bool),
    /// The VMM reads these logs: the pages that they hold, which are cleared in them.
    Sync(u64),
    /// The VMM marks every page that is to be sent: all but these, which it finds to hold zeroes.
    MarkAll(u64),
    /// The VMM sends a page, and the destination has it.
    Send(u8),
    /// The VMM makes the vCPUs slower.
    Slow,
    /// The VMM looks again, and there is nothing to do.
    Wait,
    /// The VMM decides to switch over.
    SwitchOver,
    /// The VMM sends the configuration of a device, which the destination loads.
    Config(u8),
    /// The VMM takes or gives up what only one host may hold.
    Lock(bool),
    /// The VMM gives up.
    GiveUp(Why),
    /// The VMM says that the migration has failed.
    Failed,
    /// The VMM says that the migration is complete.
    Complete,
    /// The VMM begins anew: after a failure, or from the destination to a third host.
    Again,
    /// Something fails, whatever the VMM is doing.
    Fault,
    /// The guest's IOMMU ends the mapping of a page, and with it what the log of the IOMMU holds of it: whether
    /// that was something.
    Unmap(u8, bool),
    /// A device of the source is plugged.
    Plug(u8),
    /// A device of the source is unplugged, and its log holds these pages.
    Unplug(u8, u64),
}

/// An act at a host.
#[packed(unqueued)]
pub struct Event {
    /// The host, 0 or 1.
    pub host: u8,
    /// What happens.
    pub act: Act,
}

impl Event {
    /// An act at a host.
    #[must_use]
    pub const fn new(host: u8, act: Act) -> Self {
        Event { host, act }
    }

    /// Something at a device, which says where.
    #[must_use]
    pub const fn device(event: vfio::Event) -> Self {
        Event { host: host_of(event.device), act: Act::Device(event) }
    }
}

impl Default for Event {
    fn default() -> Self {
        Event::new(0, Act::Wait)
    }
}

impl devmig_engine::machine::Event for Event {
    fn owner(&self) -> Party {
        match self.act {
            Act::Device(event) => match event.owner() {
                vfio::CLIENT => VMM,
                party => party,
            },
            Act::Write(_) | Act::Unmap(..) => VCPUS,
            Act::Fault | Act::Plug(_) | Act::Unplug(..) => OUTSIDE,
            _ => VMM,
        }
    }

    fn kind(&self) -> Kind {
        match self.act {
            Act::Sync(_) | Act::MarkAll(_) | Act::Unmap(..) => Kind::Call { callee: MEMORY },
            Act::Plug(_) | Act::Unplug(..) => Kind::Call { callee: vfio::DEVICE },
            _ => Kind::Output,
        }
    }

    fn label(&self) -> String {
        let host = ["A", "B"][usize::from(self.host & 1)];
        match self.act {
            Act::Device(event) => event.label(),
            Act::Write(page) => format!("vCPU of {host} writes page {page}"),
            Act::Vcpus(true) => format!("vCPUs of {host} run"),
            Act::Vcpus(false) => format!("vCPUs of {host} stop"),
            Act::Begin => "the migration begins".into(),
            Act::Failed => "failed".into(),
            Act::Log(true) => "dirty logging begins".into(),
            Act::Log(false) => "dirty logging ends".into(),
            Act::Sync(pages) => format!("sync: {}", vfio::pages_in_words(pages)),
            Act::MarkAll(0) => "all pages are to be sent".into(),
            Act::MarkAll(empty) => {
                format!("all pages are to be sent but zeroes: {}", vfio::pages_in_words(empty))
            }
            Act::Send(page) => format!("page {page} is sent"),
            Act::Slow => "vCPUs are made slower".into(),
            Act::Wait => "nothing to do, looks again".into(),
            Act::SwitchOver => "switch over".into(),
            Act::Config(device) => {
                let at = usize::from(device) % DEVICES;
                format!("configuration of device {at} is loaded at {host}")
            }
            Act::Lock(true) => format!("{host} takes the lock"),
            Act::Lock(false) => format!("{host} gives up the lock"),
            Act::GiveUp(why) => format!("gives up: {}", why.words()),
            Act::Complete => "complete".into(),
            Act::Again => "begins anew".into(),
            Act::Fault => "something fails".into(),
            Act::Plug(device) => format!("device {device} of {host} is plugged"),
            Act::Unplug(device, pages) => {
                let pages = vfio::pages_in_words(pages);
                format!("device {device} of {host} is unplugged, whose log holds {pages}")
            }
            Act::Unmap(page, _) => format!("the mapping of page {page} ends"),
        }
    }
}

impl Why {
    /// The reason in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Why::Untracked => "the writes of a device are not tracked",
            Why::Late => "more is left than the limit allows",
            Why::Revoked => "a device took its acknowledgement back",
            Why::Failed => "a step failed",
        }
    }
}
