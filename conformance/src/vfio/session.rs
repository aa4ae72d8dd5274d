//! One conversation with a device under test, judged by the machine as it goes.
//!
//! ```text
//!   step --> call --> Device (any transport)
//!                        |
//!   conversation   <--- what came of it; what memory and descriptors show meanwhile
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `session.rs` | what a conversation consists of, its beginning, its steps |
//! | `session/judge.rs` | what is judged, and what ends a test |
//! | `session/calls.rs` | each call, in the machine's words |
//! | `session/looked.rs` | what the device says that it has, before that is used |
//! | `session/stream.rs` | data: reading to the end, and writing what is right or wrong |
//! | `session/log.rs` | the log of writes |
//! | `session/arguments.rs` | requests whose arguments are wrong |
//! | `session/work.rs` | the NIC at work: what is sent must come back |
//! | `session/memory.rs` | memory that the device reaches, and what it did there |
//!
//! **Invariants.** Every wait has a limit. Nothing here names a rule of its own but for what the machine
//! leaves to a tester: numbers of errors, bits of a bitmap, and what registers show after data was taken
//! over. What the harness itself cannot do is [`TestEnd::Harness`], never a finding.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod arguments;
mod calls;
mod commands;
mod judge;
mod log;
mod looked;
mod memory;
mod stream;
mod work;

use std::time::Duration;

use devmig_engine::clause::ClauseId;
use devmig_engine::rules::Rules;
use devmig_model::protocol::vfio::machine::Device as Machine;
use devmig_model::protocol::vfio::names::P2pFlag;
use devmig_model::registry::Library;
use devmig_reference::socket::event::Event as Signal;

use self::looked::Looked;
use self::memory::Guest;
use self::work::Work;
use super::data::PIECE;
use super::device::{Device, HarnessError, Place};
use super::script::{Act, What};
use super::suite::Need;
use super::without::{LOG, Without};
use crate::harness::aftermath::Aftermath;
use crate::harness::conversation::Conversation;
use crate::harness::verdict::{StepOutcome, TestEnd};

const ERROR: u8 = 0;
const RUNNING: u8 = 2;
const RESUMING: u8 = 4;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For what the device's work leads to.
    pub work: Duration,
    /// For what must not happen.
    pub quiet: Duration,
    /// A finding that nothing came in time is confirmed with longer limits.
    pub confirms: bool,
}

impl Default for Limits {
    fn default() -> Self {
        let (work, quiet) = (Duration::from_secs(2), Duration::from_millis(20));
        Limits { work, quiet, confirms: true }
    }
}

/// A device that was opened, and what it says that it has.
#[derive(Debug)]
pub struct Opened {
    device: Box<dyn Device>,
    guest: Guest,
    /// What MIGRATION answers.
    pub flags: u64,
    /// The machine by which it is judged.
    pub machine: Machine,
    /// Features that are left out.
    without: Without,
}

impl Opened {
    /// Opens a device, and has it in RUNNING.
    ///
    /// # Errors
    /// Why there is nothing to be tested.
    pub fn at(
        place: &dyn Place,
        library: &Library,
        rules: &Rules,
        without: Without,
    ) -> Result<Self, TestEnd> {
        let guest = Guest::new().map_err(|error| TestEnd::Harness(error.to_string()))?;
        let device = place.open(guest.shared());
        let mut device = device.map_err(|trouble| judge::unopened(library, trouble))?;
        let flags = match device.flags() {
            Ok(Ok(flags)) => flags,
            Ok(Err(errno)) => {
                return Err(TestEnd::Skip(format!(
                    "needs a device that supports migration ({errno})"
                )));
            }
            Err(trouble) => {
                return Err(judge::unopened(library, last_words(&mut *device, trouble)));
            }
        };
        if !place.fresh() {
            settled(&mut *device, library)?;
        }
        let table = &library.vfio().table;
        let known = table.features.iter().fold(0, |bits, feature| bits | 1 << feature.bit);
        let mut judged = flags & known & !without.flags | table.mandatory();
        if !means_p2p(library, rules)
            && let Some(p2p) = table.feature("p2p")
        {
            judged &= !(1 << p2p.bit);
        }
        let machine = library.vfio().tester(judged, device.transport().descriptors);
        Ok(Opened { device, guest, flags, machine, without })
    }
}

/// The same error, with how the device's process ended and what it printed last: this error ends the
/// conversation.
pub(super) fn last_words(device: &mut dyn Device, trouble: HarnessError) -> HarnessError {
    let remains = device.remains(Duration::ZERO);
    trouble.with_remains(&remains)
}

/// Whether the P2P flag is read as in VFIO.
fn means_p2p(library: &Library, rules: &Rules) -> bool {
    let flag = &library.vfio().names.readings.p2p_flag;
    flag.fixed(&rules.choices) == Some(P2pFlag::AsVfio)
}

/// Has a device that somebody else left in some state in RUNNING.
fn settled(device: &mut dyn Device, library: &Library) -> Result<(), TestEnd> {
    let lost = |what: String| {
        let what = format!("the device cannot be set to RUNNING: {what}; restart it");
        TestEnd::Harness(what)
    };
    let plain = |trouble: HarnessError| match trouble {
        HarnessError::Gone(_) => judge::unopened(library, trouble),
        other => lost(other.said()),
    };
    if let Err(errno) = looked::reset_if_possible(device).map_err(plain)? {
        return Err(lost(format!("RESET is refused ({errno})")));
    }
    // What a client left running in the log is its client's.
    let _ = device.log_stop().map_err(plain)?;
    match device.get().map_err(plain)? {
        Ok((state, _)) if state == u32::from(RUNNING) => Ok(()),
        _ => match device.set(RUNNING.into()).map_err(plain)? {
            Ok(_) => Ok(()),
            Err(errno) => Err(lost(format!("SET is refused ({errno})"))),
        },
    }
}

/// A conversation.
#[derive(Debug)]
pub struct Session<'m> {
    library: &'m Library,
    device: &'m mut dyn Device,
    guest: &'m mut Guest,
    place: &'m dyn Place,
    flags: u64,
    without: Without,
    limits: Limits,
    /// What was said, and what is possible by it.
    pub conversation: Conversation<'m, Machine>,
    /// Where the device is, as far as it was told.
    at: Option<u8>,
    /// What was read in the last session, and whether that is all.
    saved: Vec<u8>,
    whole: bool,
    /// What was written in this one.
    written: Vec<u8>,
    /// What registers showed when they were last looked at.
    looked: Vec<u8>,
    /// How the device described itself when it was last asked.
    described: Vec<(String, String)>,
    /// Where the device was when its client went, until that was asked; it was then found reset.
    left_in: Option<u8>,
    anew: bool,
    /// Pages that reports of a part told of, and no report of the whole yet.
    partly: u64,
    work: Option<Work>,
    interrupts: Option<Signal>,
    /// Interrupts that came since the driver acknowledged the last one.
    interrupted: u32,
    looked_at: Looked,
    /// The device's work did not come to its end in time.
    is_late: bool,
    /// Steps are passed over where some reading forbids them.
    careful: bool,
    /// The server has closed the connection.
    gone: bool,
    /// Waived clauses: what they cover is not found again. Other clauses that the machine is not asked
    /// for are the tester's to judge.
    waived: Vec<ClauseId>,
}

impl<'m> Session<'m> {
    /// A conversation with a device that was opened.
    pub fn new(
        library: &'m Library,
        place: &'m dyn Place,
        opened: &'m mut Opened,
        rules: Rules,
        limits: Limits,
        waived: Vec<ClauseId>,
    ) -> Self {
        let Opened { device, guest, flags, machine, without } = opened;
        Session {
            library,
            device: &mut **device,
            guest,
            place,
            flags: *flags,
            without: *without,
            limits,
            conversation: Conversation::new(machine, rules),
            at: Some(RUNNING),
            saved: Vec::new(),
            whole: false,
            written: Vec::new(),
            looked: Vec::new(),
            described: Vec::new(),
            left_in: None,
            anew: false,
            partly: 0,
            work: None,
            interrupts: None,
            interrupted: 0,
            looked_at: Looked::default(),
            is_late: false,
            careful: false,
            gone: false,
            waived,
        }
    }

    /// Whether it ended since a message had no reply in time.
    pub(super) fn is_unanswered(&self) -> bool {
        self.conversation.is_unanswered()
    }

    /// Whether something did not come in time.
    pub(super) fn is_late(&self) -> bool {
        self.is_late || self.conversation.is_silent()
    }

    /// What is left of the device's server, which is told to end.
    pub fn aftermath(&mut self) -> Aftermath {
        let remains = self.device.remains(Duration::ZERO);
        let (closed, stalled) = (self.gone, self.conversation.is_stalled());
        Aftermath { closed, wrongly: closed, stalled, remains }
    }

    /// What MIGRATION answers.
    pub(super) fn flags(&self) -> u64 {
        self.flags
    }

    /// Whether what a test needs is there.
    ///
    /// # Errors
    /// [`TestEnd::Skip`], or what was found by asking.
    pub fn needs(&mut self, needs: &[Need]) -> Result<(), TestEnd> {
        self.look_first()?;
        for need in needs {
            let left_out = match need {
                Need::Feature(name, bit) if self.without.flags >> bit & 1 == 1 => Some(&**name),
                Need::Log if self.without.log => Some(LOG),
                _ => None,
            };
            if let Some(name) = left_out {
                return Err(TestEnd::Skip(format!("--without {name}")));
            }
            let there = match need {
                Need::Feature(_, bit) => self.conversation.machine().flags >> bit & 1 == 1,
                Need::Descriptors => self.device.transport().descriptors,
                Need::Info => {
                    let argsz = self.device.left_argsz();
                    !matches!(self.device.left(argsz), Err(HarnessError::Lacks(_)))
                }
                Need::Log => self.has_log()?,
                Need::Nic => self.is_nic()?,
            };
            if !there {
                return Err(TestEnd::Skip(match need {
                    Need::Feature(name, _) => format!("needs {name}"),
                    Need::Descriptors => "needs a transport with data descriptors".into(),
                    Need::Info => "needs a transport with GET_PRECOPY_INFO".into(),
                    Need::Log => "needs a device that logs its writes".into(),
                    Need::Nic => "needs a NIC that the tester can drive".into(),
                }));
            }
        }
        Ok(())
    }

    /// Does a step if every reading that is still possible allows it.
    ///
    /// # Errors
    /// What ends the test.
    pub fn carefully(&mut self, act: &Act) -> Result<StepOutcome, TestEnd> {
        self.careful = true;
        let done = self.act(act);
        self.careful = false;
        match done {
            Ok(()) => Ok(StepOutcome::Yes),
            Err(TestEnd::Skip(why)) => Ok(StepOutcome::No(why)),
            Err(stop) => Err(stop),
        }
    }

    /// Does a step.
    ///
    /// # Errors
    /// What ends the test.
    pub fn act(&mut self, act: &Act) -> Result<(), TestEnd> {
        match *act {
            Act::Flags => self.legal_flags(),
            Act::Reach(state) => self.reach(state.0),
            Act::Set(state) => self.set(state.0).map(|_| ()),
            Act::Get => self.get().map(|_| ()),
            Act::Read(size) => self.read(size).map(|_| ()),
            Act::Drain(size) => self.drain(size.0),
            Act::WriteTruncated(count) => self.write(What::Truncated(count), PIECE),
            Act::Write(what, size) => self.write(what, size.0),
            Act::Info => self.info(),
            Act::InfoShort => self.short_info(),
            Act::OptIn => self.opt_in(),
            Act::Poll => self.poll(),
            Act::Config => self.config(),
            Act::Registers => self.registers().map(|_| ()),
            Act::Look => self.look(),
            Act::Same => self.same(),
            Act::Still => self.still(),
            Act::Log(which) => self.log_start(which),
            Act::LogStop => self.log_stop(),
            Act::Report(size) => self.report(size).map(|_| ()),
            Act::ReportPart => self.report_part(0, 5),
            Act::ReportFrom(count, first) => self.report_part(first.0, count.0),
            Act::ReportWide(size) => self.report_wide(u64::from(size)),
            Act::ReportBy(size) => self.report_by(u64::from(size)),
            Act::ReportAgain => self.report_again(),
            Act::Trickle => self.trickle(),
            Act::Reset(whom) => self.reset(whom),
            Act::Reopen => self.reopen(),
            Act::MemoryMapped => self.give_memory(true),
            Act::MemoryUnmapped => self.take_memory(),
            Act::MemoryMappedOver => self.map_over(),
            Act::Widths => self.widths(),
            Act::Commands => self.commands(),
            Act::MemoryAsked => self.give_memory(false),
            Act::Memory if self.device.transport().kernel => Ok(()),
            Act::Memory => self.give_memory(true),
            Act::Nic => self.set_up(false),
            Act::NicAmongPeers => self.set_up(true),
            Act::Send(count, to) => self.send(count.0, to),
            Act::Room(count) => self.room(count.0),
            Act::Filter => self.filter(),
            Act::Settle => self.settle(),
            Act::Quiet => self.quiet(),
            Act::Hold(time) => {
                self.device.hold(Duration::from_millis(time.into()));
                Ok(())
            }
            Act::Interrupts => self.listen(),
            Act::Interrupted => self.interrupted(),
            Act::Unmask => self.unmask(),
            Act::Probe => self.probe(),
            Act::Unsupported => self.unsupported(),
            Act::Arguments => self.arguments(),
        }
    }

    /// The features are a set that there is.
    fn legal_flags(&mut self) -> Result<(), TestEnd> {
        let legal = self.library.vfio().table.legal().contains(&self.flags);
        if legal && self.flags & !self.without.flags == self.conversation.machine().flags {
            return Ok(());
        }
        let clause = self.clause("vfio.flags.legal")?;
        let names = self.library.vfio().table.flag_names(self.conversation.machine().flags);
        let expected = vec![format!("{} ({names})", self.conversation.machine().flags)];
        self.finding_of(clause, format!("MIGRATION answers {:#x}", self.flags), expected)
    }

    /// Brings the device into a state.
    fn reach(&mut self, state: u8) -> Result<(), TestEnd> {
        let name = self.library.vfio().table.name(state);
        if !self.library.vfio().table.supports(self.conversation.machine().flags, state) {
            return Err(TestEnd::Skip(format!("needs a device with {name}")));
        }
        if state != ERROR {
            return self.set(state.into()).map(|_| ());
        }
        // Data that is refused is the one way there, and not every device takes it.
        self.set(RESUMING.into())?;
        self.write(What::Garbage, 64)?;
        self.set(u32::from(STOP))?;
        self.get()?;
        match self.at {
            Some(ERROR) => Ok(()),
            _ => Err(TestEnd::Skip("needs a device that goes to ERROR when data is bad".into())),
        }
    }

    fn clause(&self, id: &str) -> Result<ClauseId, TestEnd> {
        self.library.spec.clause(id).map_err(|error| TestEnd::Harness(error.to_string()))
    }
}

const STOP: u8 = 1;
