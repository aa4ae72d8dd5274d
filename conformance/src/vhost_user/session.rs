//! One conversation with an implementation under test, judged by the machine as it goes.
//!
//! ```text
//!   step --> message, request, kick --> the back-end
//!                                          |
//!   judge (Possible) <--- report <--- sample: sockets, event descriptors, used rings, state channel
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `session.rs` | what a conversation consists of, and its steps |
//! | `session/setting.rs` | whom it talks to, how long it waits, by which rules it is judged |
//! | `session/connect.rs`, `again.rs` | the first conversation; its end, and the next |
//! | `session/steps.rs`, `send.rs`, `payload.rs` | what is sent: steps, messages, what those carry |
//! | `session/guest.rs` | the guest's side: requests and kicks |
//! | `session/outside.rs` | the device's outside: what comes back, and when it is due |
//! | `session/stray.rs` | a descriptor that must not stay open |
//! | `session/wait.rs` | waiting, and silence |
//! | `session/sample.rs` | looking: the order in which effects are read and causes reported |
//! | `session/judge.rs` | what is judged, and what ends a test |
//! | `session/channel.rs` | the channel of device state |
//! | `session/own.rs` | back-end requests, and what is changed from outside |
//! | `session/careful.rs` | steps that nobody wrote: taken only where every reading allows them |
//! | `session/forms.rs` | malformed messages, systematically |
//! | `session/tracking.rs` | the dirty log, and the record of what is in flight |
//! | `session/others.rs` | what others do with these: another party's marks, a record left in between |
//!
//! **Invariants.** Every wait has a limit. Nothing here names a rule of its own: a clause comes from
//! the machine, from the wire's form, or from the workload's answer. What the harness itself cannot
//! do is [`TestEnd::Harness`], never a finding.

mod back_end_channel;
mod careful;
mod channel;
mod connect;
mod end;
mod forms;
mod guest;
mod judge;
mod other_writers;
mod outside;
mod payload;
mod sample;
mod send;
mod setting;
mod steps;
mod stray_descriptor;
mod tracking;
mod wait;

pub use crate::harness::verdict::{StepOutcome, TestEnd};
pub use judge::{Record, allows};
pub use setting::{Device, Limits, Setting, Subject};

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use devmig_engine::clause::ClauseId;
use devmig_engine::estimate::{Fault, StateEstimate};
use devmig_engine::explore::trace::label;
use devmig_engine::machine::TimeClass;
use devmig_engine::rules::Rules;
use devmig_model::protocol::vhost_user::event::{Event, Message, MessageId, Value};
use devmig_model::protocol::vhost_user::machine::VhostUser;
use devmig_model::protocol::vhost_user::program::{Number, Step};
use devmig_model::protocol::vhost_user::state::LOG_ALL;
use devmig_model::protocol::vhost_user::systems::F_PROTOCOL_FEATURES;
use devmig_model::protocol::vhost_user::table::{Condition, MessageDef, Row};
use devmig_model::protocol::vhost_user::vocabulary::{Answer, Effect, Guard};
use devmig_model::protocol::vhost_user::wire::{
    Config, Flags, Header, Inflight, MAX_CONFIG, Memory, MemoryRegion, Payload, PayloadKind,
    Region, Transfer, VringAddr, VringFd, VringState,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use virtio_bindings::bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;

use channel::{LITTLE, MUCH, garbage};
use judge::harness;

use super::Deadline;
use super::drive::{Keeps, Move, has};
use super::event;
use super::malformed::Bytes;
use super::script::{Act, Which};
use super::transport::{Connection, ReceiveError, Received, SendError};
use crate::harness::io::memory::{GuestMemory, PAGE};
use crate::harness::io::ring::{Buffer, Ring, RingError};
use crate::harness::io::target::{Live, Target, TargetError};
use crate::harness::io::virtio::Workload;

/// Rings that a session can drive: the machine's capacity.
pub const RINGS: usize = devmig_model::protocol::vhost_user::machine::MAX_RINGS;
/// The machine of a session.
pub type TestMachine = VhostUser<RINGS>;

/// `VIRTIO_RING_F_EVENT_IDX`.
const EVENT_IDX: u64 = 1 << VIRTIO_RING_F_EVENT_IDX;

/// Guest memory, in bytes.
const MEMORY: u64 = 64 * PAGE;

/// One ring's driver.
struct Line {
    ring: Ring,
    /// The request of each chain that was ever published, by its head.
    requests: HashMap<u16, u16>,
    /// Its buffers.
    buffers: HashMap<u16, Vec<Buffer>>,
    /// A kick was written, and not yet seen to be read.
    kicked: bool,
    /// Up to which index the machine was told of chains.
    announced: u16,
    /// The guest has made nonsense of it: what is used there is not looked at any more.
    broken: bool,
    /// What tells the front-end that it cannot be processed.
    error: event::Event,
}

/// A conversation.
pub struct Session<'m> {
    machine: &'m TestMachine,
    target: &'m Target,
    limits: Limits,
    device: Device,
    /// The device's data may be destroyed.
    scratch: bool,
    /// What is possible.
    pub possible: StateEstimate<'m, TestMachine>,
    /// What was said, one line an event.
    pub log: Vec<String>,
    /// The same, for judging it again.
    pub records: Vec<Record>,
    rules: Rules,
    connection: Option<Connection>,
    live: Live,
    memory: GuestMemory,
    lines: Vec<Line>,
    workload: Box<dyn Workload>,
    /// Requests ever made.
    sent: u64,
    /// Which request of the workload a ring's request is.
    numbers: HashMap<(u8, u16), u64>,
    offered: u64,
    /// What was accepted of that.
    features: u64,
    protocol_offered: u64,
    protocol: u64,
    declined: u64,
    bases: [u16; RINGS],
    acknowledged: bool,
    /// Where the configuration space is changed from.
    outside: Option<&'m str>,
    /// Protocol features were asked for.
    asked: bool,
    /// The back-end's own channel.
    own: back_end_channel::Own,
    /// Messages that wait to be written together, if they are.
    held: Option<send::Held>,
    channel: Option<OwnedFd>,
    state: Vec<u8>,
    state_ended: bool,
    /// The answer that begins the transfer was seen.
    transfer_answered: bool,
    answer: Option<(MessageId, Value)>,
    seed: u64,
    first: bool,
    /// The last message wants no answer, so it may not have been read yet.
    unread: bool,
    /// Guest memory that nothing was put into: from one address to another.
    untouched: [(u64, u64); 2],
    /// Messages are sent in pieces of so many bytes; 0: whole.
    pieces: usize,
    /// No header was sent so yet, no payload.
    whole: [bool; 2],
    /// What a careful front-end has set up.
    keeps: Keeps,
    /// The dirty log and the record of what is in flight.
    tracking: tracking::Tracking,
    /// Requests that came back.
    completed: u64,
    /// EVENT_IDX is accepted where it is offered.
    events: bool,
    stray: stray_descriptor::Stray,
    /// Where the rings begin in guest memory, and the buffers end.
    split: u64,
}

impl Session<'_> {
    /// Does one step of a test.
    ///
    /// # Errors
    /// What ends the test.
    pub fn act(&mut self, act: &Act) -> Result<(), TestEnd> {
        match *act {
            Act::Program(step, which) => self.program(step, which),
            Act::Requests { count, kick } => self.requests(count, kick),
            Act::Settle => self.settle(TimeClass::Io),
            Act::Notified => self.settle(TimeClass::Courtesy),
            Act::Quiet => self.quiet(),
            Act::Silence => self.silence(),
            Act::Pause(micros) => {
                std::thread::sleep(Duration::from_micros(micros.into()));
                Ok(())
            }
            Act::Barrier => self.barrier(),
            Act::Renew(index) => self.renew(self.request_ring()?, index),
            Act::Anew => {
                self.anew();
                Ok(())
            }
            Act::Elsewhere(index) => {
                let ring = self.request_ring()?;
                self.lines[ring as usize].ring.relocate();
                self.renew(ring, index)
            }
            Act::Room(count) => self.room(count),
            Act::SendOut { count, to, pair } => self.send_out(count, to, pair),
            Act::Tell(command) => self.tell(command),
            Act::Events => {
                self.events = true;
                Ok(())
            }
            Act::Interrupts(on) => self.interrupts(on),
            Act::Stray => {
                self.stray();
                Ok(())
            }
            Act::Closed => self.closed(),
            Act::Reconnect => self.reconnect(),
            Act::Serves => self.serves(),
            Act::First => self.first(),
            Act::WriteGarbage { much } => {
                self.state = garbage(self.seed, if much { MUCH } else { LITTLE });
                self.write_state()
            }
            Act::Unsettled => self.unsettle(),
            Act::OthersMark => {
                self.tracking.others = Some(other_writers::Others::default());
                Ok(())
            }
            Act::Answered { success } => self.answered(success),
            Act::Forms(form) => self.forms(form),
            Act::Pieces(size) => {
                self.pieces = size.into();
                self.whole = [size > 0; 2];
                Ok(())
            }
            Act::Joined => {
                self.held.get_or_insert_default();
                Ok(())
            }
            Act::Change => self.change(),
            Act::Break => self.break_ring(self.request_ring()?),
            Act::Malformed(kind) => {
                let table = &self.machine.table;
                let id =
                    |name: &str| table.named(name).map_or(0, |id| table.messages[id.0 as usize].id);
                self.malformed(&kind.bytes(id))
            }
        }
    }

    /// Whether the device's outside can be driven.
    pub fn has_outside(&mut self) -> bool {
        self.workload.outside().is_some()
    }

    /// How many rings the device has.
    #[must_use]
    pub fn rings(&self) -> usize {
        self.lines.len()
    }

    /// The features and protocol features that the back-end has offered; 0 if it was not asked.
    #[must_use]
    pub fn offers(&self) -> (u64, u64) {
        (self.offered, self.protocol_offered)
    }

    /// Whether the back-end is known not to offer this protocol feature.
    #[must_use]
    pub fn lacks(&self, bit: u8) -> bool {
        self.asked && self.protocol_offered >> bit & 1 == 0
    }
}
