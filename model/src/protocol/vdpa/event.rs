//! The events of vDPA: calls of the VMM, and what guest and device do in shared memory.

use devmig_engine::machine::{Kind, Party};
use devmig_engine::packed;

/// The process that drives the device.
pub const VMM: Party = Party("VMM");
/// The device, as the kernel shows it.
pub const DEVICE: Party = Party("device");
/// The guest's driver.
pub const GUEST: Party = Party("guest");

/// What happens between them.
#[packed(unqueued)]
#[derive(Default)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// VHOST_VDPA_SET_STATUS; 0 resets.
    SetStatus(u8),
    /// VHOST_VDPA_SET_VRING_ENABLE.
    SetVringEnable(bool),
    /// VHOST_SET_VRING_BASE: the next request to fetch.
    SetVringBase(u16),
    /// VHOST_GET_VRING_BASE, and what it returned.
    GetVringBase(u16),
    /// VHOST_VDPA_SUSPEND (0x7D) is called.
    #[default]
    Suspend,
    /// It returns.
    Suspended,
    /// VHOST_VDPA_RESUME (0x7E).
    Resume,
    /// The VMM stops or starts the virtual CPUs.
    Vcpus(bool),
    /// The guest makes its next request available.
    Available,
    /// The guest tells the device.
    Kick,
    /// The device puts a request into the used ring: its index among all ever made available.
    Used(u16),
}

impl devmig_engine::machine::Event for Event {
    fn owner(&self) -> Party {
        match self {
            Event::Available | Event::Kick => GUEST,
            Event::Used(_) | Event::Suspended => DEVICE,
            _ => VMM,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Event::GetVringBase(_) => Kind::Call { callee: DEVICE },
            _ => Kind::Output,
        }
    }

    fn label(&self) -> String {
        match self {
            Event::SetStatus(status) => format!("SET_STATUS {status:#x}"),
            Event::SetVringEnable(enable) => format!("SET_VRING_ENABLE {}", u8::from(*enable)),
            Event::SetVringBase(base) => format!("SET_VRING_BASE {base}"),
            Event::GetVringBase(base) => format!("GET_VRING_BASE returns {base}"),
            Event::Suspend => "SUSPEND".into(),
            Event::Suspended => "SUSPEND returns".into(),
            Event::Resume => "RESUME".into(),
            Event::Vcpus(true) => "vCPUs run".into(),
            Event::Vcpus(false) => "vCPUs stop".into(),
            Event::Available => "request available".into(),
            Event::Kick => "kick".into(),
            Event::Used(request) => format!("request {request} used"),
        }
    }
}
