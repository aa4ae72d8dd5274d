//! What management and hosts do to each other: calls with their outcome, and what hosts do unasked.

use serde::Serialize;

use devmig_engine::machine::{Kind, Party};
use devmig_engine::packed;

/// Who moves the first device.
pub const MANAGEMENT: Party = Party("management");
/// Who moves the second, and knows nothing of the first.
pub const OTHER: Party = Party("other management");
/// The two hosts.
pub const HOSTS: [Party; 2] = [Party("host A"), Party("host B")];

/// Saved state: what it is of, what the guest has put into it, how it is written down.
#[packed]
#[derive(Default)]
pub struct Data {
    /// The configuration that it was saved with.
    #[bits(4)]
    pub config: u8,
    /// What the guest has done.
    #[bits(2)]
    pub work: u8,
    /// The representation.
    #[bits(1)]
    pub representation: u8,
}

/// What management asks of a host, for one device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// What can you make?
    #[default]
    Describe,
    /// Make a device of this configuration. What is named are the parameters of release `of` (its place
    /// in the host's history); if it is dated, the description is no longer valid once that has passed.
    Create {
        /// The configuration.
        config: u8,
        /// The release whose description it rests on.
        of: u8,
        /// Whether the call says so.
        dated: bool,
    },
    /// Put a configuration into the attributes that all creators share.
    Write {
        /// The configuration.
        config: u8,
        /// The release whose description it rests on.
        of: u8,
    },
    /// Make a device of what is in the shared attributes.
    CreateShared,
    /// What is the device, and does it run?
    Read,
    /// Stop it.
    Stop,
    /// Give its state.
    Save,
    /// Take this state.
    Load(Data),
    /// Run.
    Run,
    /// Be gone, whether it is there or not.
    Destroy,
    /// Be of another configuration.
    Set(u8),
    /// Become the next release of yourself.
    Upgrade,
}

/// How a call ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is done.
    #[default]
    Done,
    /// The host is at this place of its history.
    Told(u8),
    /// A device of this configuration was made; whoever called learns only that one was.
    Made(u8),
    /// The device has this configuration, and runs or does not.
    Is(u8, bool),
    /// There is none.
    Absent,
    /// Its state.
    Saved(Data),
    /// Not such a device.
    Refused,
    /// Not in the state that it is in.
    NotNow,
    /// Nothing was done, and no answer comes.
    Failed,
    /// It was done, and no answer comes.
    Unheard,
}

impl Answer {
    /// Whether an answer comes.
    #[must_use]
    pub fn heard(self) -> bool {
        !matches!(self, Answer::Failed | Answer::Unheard)
    }
}

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Management calls.
    Call(Call, Answer),
    /// It holds the device's description against the host's, and this is the verdict.
    Check(bool),
    /// The device does something for its guest.
    Work,
    /// The host becomes its next release, whatever it was asked before.
    Change,
}

impl Default for Act {
    fn default() -> Self {
        Act::Call(Call::default(), Answer::default())
    }
}

/// An act about a device, at a host.
#[packed(unqueued)]
#[derive(Default)]
pub struct Event {
    /// The device: 0 or 1.
    pub device: u8,
    /// The host: 0 or 1.
    pub host: u8,
    /// What happens.
    pub act: Act,
}

impl devmig_engine::machine::Event for Event {
    fn owner(&self) -> Party {
        match self.act {
            Act::Work | Act::Change => HOSTS[usize::from(self.host & 1)],
            _ if self.device == 0 => MANAGEMENT,
            _ => OTHER,
        }
    }

    fn kind(&self) -> Kind {
        match self.act {
            Act::Call(..) => Kind::Call { callee: HOSTS[usize::from(self.host & 1)] },
            _ => Kind::Output,
        }
    }
}
