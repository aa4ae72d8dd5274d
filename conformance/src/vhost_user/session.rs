//! One conversation with an implementation under test, judged by the machine as it goes.
//!
//! ```text
//!   steps --> Session --> Link, Driver, StateTransfer, BackEndChannel --> the back-end
//!                |                                                           |
//!                +--> Conversation <--- report <--- sample ------------------+
//!                     (harness): log, records, state estimate
//! ```
//!
//! | type | its one job |
//! |---|---|
//! | [`Conversation`] | what was sent, done and seen, and what is possible by it |
//! | `Link` (`link.rs`) | the connection and the process behind it: bytes and descriptors |
//! | `Driver` (`driver.rs`) | the guest: memory, rings, work for the device |
//! | `Negotiation` (`negotiation.rs`) | what was agreed on and answered |
//! | `StateTransfer` (`state_transfer.rs`) | the channel of device state |
//! | `Tracking` (`tracking.rs`, `other_writers.rs`) | the dirty log, the record of what is in flight |
//! | `BackEndChannel` (`back_end_channel.rs`) | the back-end's own channel |
//! | `Configuration` (`configuration.rs`) | the configuration space, as far as it was read |
//!
//! | file | how these work together |
//! |---|---|
//! | `setting.rs` | whom it talks to, how long it waits, by which rules it is judged |
//! | `sample.rs`, `reply.rs` | looking: the order in which effects are read and causes reported |
//! | `send.rs`, `payload.rs` | messages, and what those carry |
//! | `requests.rs` | chains that become available, and kicks |
//! | `wait.rs` | waiting, and silence |
//! | `past.rs` | whether it is known what follows a finding |
//! | `steps.rs`, `steps/` | the steps of a test: functions of a session |
//!
//! **Invariants.** Every wait has a limit. Nothing here names a rule of its own: a clause comes from
//! the machine, from the wire's form, or from the workload's answer. What the harness itself cannot
//! do is [`TestEnd::Harness`], never a finding.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod back_end_channel;
mod configuration;
mod driver;
mod link;
mod mistake;
mod negotiation;
mod other_writers;
mod past;
mod payload;
mod reply;
mod requests;
mod sample;
mod send;
mod setting;
mod state_transfer;
mod steps;
mod tracking;
mod wait;

pub use crate::harness::verdict::{StepOutcome, TestEnd};
pub(super) use mistake::mistake;
pub use setting::{Device, Limits, Pairs, Setting, Subject};

use std::time::Duration;

use devmig_model::protocol::vhost_user::machine::{MAX_RINGS, VhostUser};

use self::back_end_channel::BackEndChannel;
use self::configuration::Configuration;
use self::driver::Driver;
use self::link::Link;
use self::negotiation::Negotiation;
use self::state_transfer::StateTransfer;
use self::tracking::Tracking;
use super::probe;
use super::script::Act;
use crate::harness::aftermath::Aftermath;
use crate::harness::conversation::Conversation;
use crate::harness::io::process::DEATH;

/// Rings that a session can drive: the machine's capacity.
pub const RINGS: usize = MAX_RINGS;
/// The machine of a session.
pub type TestMachine = VhostUser<RINGS>;

/// What the tester has for a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Driven {
    /// How many rings it drives.
    pub(super) rings: usize,
    /// Whether it drives the device's outside.
    pub(super) has_outside: bool,
}

impl Driven {
    /// For this device.
    pub(super) fn with(device: Device, scratch: bool) -> Result<Self, TestEnd> {
        Driver::new(device, scratch).map(|mut driver| driver.driven())
    }
}

/// A conversation.
pub struct Session<'m> {
    /// What was said, and what is possible by it.
    pub conversation: Conversation<'m, TestMachine>,
    limits: Limits,
    link: Link<'m>,
    driver: Driver,
    negotiation: Negotiation,
    transfer: StateTransfer,
    tracking: Tracking,
    back_end_channel: BackEndChannel,
    configuration: Configuration,
    /// Where the configuration space is changed from.
    outside: Option<&'m str>,
    /// For bytes that are no state.
    seed: u64,
    /// What a server says of its pairs of queues.
    pairs: &'m Pairs,
}

impl<'m> Session<'m> {
    /// Connects. `first` is false if the implementation was talked to before.
    ///
    /// # Errors
    /// [`TestEnd::Harness`].
    pub fn start(setting: Setting<'m>, first: bool) -> Result<Self, TestEnd> {
        let Setting { machine, subject, rules, acknowledged, declined, seed, pairs } = setting;
        let Subject { target, device, scratch, limits, outside, without } = subject;
        let declined = declined | without.protocol;
        Ok(Session {
            conversation: Conversation::new(machine, rules).assigning(machine.laws.reply_header),
            limits,
            link: Link::new(target, first, limits.connect)?,
            driver: Driver::new(device, scratch)?,
            negotiation: Negotiation::new(acknowledged, declined, without.features),
            transfer: StateTransfer::default(),
            tracking: Tracking::default(),
            back_end_channel: BackEndChannel::default(),
            configuration: Configuration::default(),
            outside,
            seed,
            pairs,
        })
    }

    /// Does one step of a test.
    ///
    /// # Errors
    /// What ends the test.
    pub fn act(&mut self, act: &Act) -> Result<(), TestEnd> {
        steps::take(self, act)
    }

    /// Does a step if it may be done here: if every reading that is still possible allows it.
    ///
    /// # Errors
    /// What ends the test.
    pub fn carefully(&mut self, act: &Act) -> Result<StepOutcome, TestEnd> {
        steps::careful::take(self, act)
    }

    /// The last look, after the last step: what is still to come is judged, and a process that died
    /// is a finding.
    ///
    /// # Errors
    /// What is found.
    pub fn end(&mut self) -> Result<(), TestEnd> {
        if self.link.is_open() && !self.conversation.is_unspecified() {
            self.sample()?;
        }
        self.link.hang_up(self.limits.quiet)?;
        steps::connection::strays(self)
    }

    /// What is left of the back-end, which is told to end.
    pub fn aftermath(&mut self) -> Aftermath {
        let closed = self.link.is_lost();
        let limit = match closed {
            _ if self.link.is_dying() => DEATH,
            true => self.limits.quiet,
            false => Duration::ZERO,
        };
        let remains = self.link.remains(limit);
        let wrongly = self.link.is_dying();
        Aftermath { closed, wrongly, stalled: self.conversation.is_stalled(), remains }
    }

    /// What the tester has for the device.
    pub(super) fn driven(&mut self) -> Driven {
        self.driver.driven()
    }

    /// The features and protocol features that the back-end has offered; 0 if it was not asked.
    #[must_use]
    pub fn offers(&self) -> (u64, u64) {
        (self.negotiation.offered, self.negotiation.protocol_offered)
    }

    /// What the caller got wrong about the back-end, as far as it was asked.
    pub fn mistake(&mut self) -> Option<String> {
        let (offered, protocol) = (self.negotiation.offered, self.negotiation.protocol_offered);
        mistake(&self.machine().table, self.driver.chosen(), offered, protocol)
            .or_else(|| self.other_pairs())
    }

    /// Whether a network device has other pairs of queues than the tester drives. A command was asked
    /// before the tests; a server that listens is asked once, over the first connection on which it can be.
    fn other_pairs(&mut self) -> Option<String> {
        if self.driver.chosen().0 != Device::NetLoopback {
            return None;
        }
        let Negotiation { offered, protocol, .. } = self.negotiation;
        if self.pairs.get().is_none()
            && probe::can_be_asked(offered, protocol)
            && let Some(connection) = self.link.for_questions()
        {
            let wrong = probe::other_pairs_over(connection, self.limits.owed);
            self.conversation.note("-> GET_CONFIG, for max_virtqueue_pairs");
            // Another test may have asked meanwhile.
            let _ = self.pairs.set(wrong);
        }
        self.pairs.get().cloned().flatten()
    }

    /// Whether the back-end is known not to offer this protocol feature.
    #[must_use]
    pub fn lacks(&self, bit: u8) -> bool {
        self.negotiation.asked && self.negotiation.protocol_offered >> bit & 1 == 0
    }

    fn machine(&self) -> &'m TestMachine {
        self.conversation.machine()
    }
}
