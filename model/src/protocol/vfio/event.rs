//! What happens between a client and a VFIO device: calls and their answers, and what the device does
//! by itself.
//!
//! ```text
//!  client  --Call(SET STOP)-->   device      an ioctl, or a message of vfio-user, is made
//!          <--Answer(done)----               it returns, or its reply comes
//!  device  --Interrupt, Write, ...-->        what it does by itself, as memory and descriptors show
//! ```
//!
//! The words are those of a tester: each is seen at a device in the same process, at a vfio-user
//! socket and at `/dev/vfio`. A call and its answer are two events, since a device works on in
//! between; there is one call at a time. What cannot be seen (an arc taken, the log read but not yet
//! cleared) is a hidden step of the machine.
//!
//! | event | in the kernel | over vfio-user |
//! |---|---|---|
//! | `Set`, `Get` | DEVICE_FEATURE 2, SET or GET | DEVICE_FEATURE 2 |
//! | `Read`, `Write` | read, write of the data descriptor | MIG_DATA_READ, MIG_DATA_WRITE |
//! | `Info` | MIG_GET_PRECOPY_INFO | - |
//! | `OptIn` | DEVICE_FEATURE 12 | - |
//! | `LogStart`, `LogStop`, `LogReport` | DEVICE_FEATURE 6, 7, 8 | the same |
//! | `Access` | region access, or mapped | REGION_READ, REGION_WRITE |
//! | `Reset` | VFIO_DEVICE_RESET | DEVICE_RESET |
//! | `Reopen` | close, open | disconnect, connect |
//! | `Nothing`, `End` | ENOMSG, 0 | a short read in PRE_COPY, in STOP_COPY |

use serde::Serialize;

use devmig_engine::machine::Party;
use devmig_engine::packed;

/// Who drives the device: a VMM.
pub const CLIENT: Party = Party("client");
/// The device, with its driver or server.
pub const DEVICE: Party = Party("device");
/// The guest, which may ask for a reset at any time.
pub const GUEST: Party = Party("guest");

/// A piece of migration data. What is in it, only devices know: a tester leaves the number 0.
#[packed]
#[serde(rename_all = "kebab-case")]
pub enum Data {
    /// More is to come; it tells of this state inside.
    Part(#[bits(3)] u8),
    /// The last piece; it tells of this state inside.
    Last(#[bits(3)] u8),
    /// Nothing that a compatible device gave in this place.
    Wrong,
}

/// Which ranges a log is started with.
#[packed]
#[serde(rename_all = "kebab-case")]
pub enum Ranges {
    /// All of memory, in good form.
    All,
    /// No range.
    None,
    /// Misaligned, overlapping, or wrapping.
    Bad,
}

/// Which page size a report is asked for.
#[packed]
#[serde(rename_all = "kebab-case")]
pub enum PageSize {
    /// A power of two, 4 KiB or more.
    Good,
    /// A power of two below 4 KiB.
    Small,
    /// No power of two.
    Odd,
}

/// What of a device is accessed.
#[packed]
#[serde(rename_all = "kebab-case")]
pub enum Region {
    /// Configuration space.
    Config,
    /// A register.
    Registers,
}

/// For whom a device is reset.
#[packed]
#[serde(rename_all = "kebab-case")]
pub enum For {
    /// The guest, which boots anew.
    Guest,
    /// The client, which wants a device to begin with.
    Client,
}

/// What the client asks of a device.
#[packed]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// SET of the migration state: any number.
    Set(#[bits(5)] u8),
    /// GET of it.
    Get,
    /// A read of migration data.
    Read,
    /// A write of migration data.
    Write(Data),
    /// How much is still to be read in PRE_COPY.
    Info,
    /// The client opts in to REINIT.
    OptIn,
    /// An access to the device.
    Access(Region),
    /// Writes are to be logged.
    LogStart(Ranges),
    /// ... no more.
    LogStop,
    /// Which pages were written?
    LogReport(PageSize),
    /// The device is reset.
    Reset(For),
    /// The client goes, and another comes.
    Reopen,
}

/// What comes back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is done.
    Done,
    /// A SET is done, and there is a new data descriptor (over vfio-user this is never seen: there
    /// [`Answer::Done`] stands for it).
    DoneWithDescriptor,
    /// It failed.
    Refused,
    /// The migration state.
    State(u8),
    /// Migration data was read.
    Data(Data),
    /// There is none for now: ENOMSG.
    Nothing,
    /// There is no more.
    End,
    /// What is still to be read: initial bytes, dirty bytes, and whether the former began anew.
    Info(u64, u64, bool),
    /// These pages were written: bit `page`.
    Pages(u64),
}

/// What one party does to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// The client calls.
    Call(Call),
    /// The device answers.
    Answer(Answer),
    /// The device's state inside advances, as registers show.
    Works,
    /// The device raises an interrupt.
    Interrupt,
    /// The device writes a page of guest memory.
    Write(u8),
    /// The client writes a page of guest memory for the device, which has no access to it.
    WriteByClient(u8),
    /// The device begins DMA to its peer, as the peer or a bus shows.
    PeerBegins,
    /// It arrives at the peer.
    PeerArrives,
    /// The client copies a page of guest memory.
    Copy(u8),
    /// The guest asks for a reset.
    Reboot,
}

/// One event at one device.
#[packed(unqueued)]
pub struct Event {
    /// Which device: 0 or 1. Of [`Act::Copy`] and [`Act::Reboot`] 0.
    pub device: u8,
    /// What happens.
    pub act: Act,
}

impl Default for Event {
    fn default() -> Self {
        Event { device: 0, act: Act::Reboot }
    }
}

impl devmig_engine::machine::Event for Event {
    fn owner(&self) -> Party {
        match self.act {
            Act::Call(_) | Act::Copy(_) => CLIENT,
            Act::Reboot => GUEST,
            _ => DEVICE,
        }
    }

    fn label(&self) -> String {
        self.words(&|number| format!("state {number}"))
    }
}

/// A set of pages by their numbers: `pages 0, 25 to 27`.
#[must_use]
pub fn pages_in_words(pages: u64) -> String {
    let has = |page: u32| page < u64::BITS && pages >> page & 1 == 1;
    let begins = (0..u64::BITS).filter(|page| has(*page) && (*page == 0 || !has(page - 1)));
    let run = |first: u32| match (first..u64::BITS).take_while(|page| has(*page)).last() {
        Some(last) if last > first => format!("{first} to {last}"),
        _ => first.to_string(),
    };
    let runs: Vec<String> = begins.map(run).collect();
    match (pages.count_ones(), runs.is_empty()) {
        (_, true) => "no page".to_owned(),
        (1, _) => format!("page {}", runs.concat()),
        _ => format!("pages {}", runs.join(", ")),
    }
}

impl Event {
    /// Whether the device does it without a call.
    #[must_use]
    pub fn acts_by_itself(&self) -> bool {
        use devmig_engine::machine::Event as _;
        self.owner() == DEVICE && !matches!(self.act, Act::Answer(_))
    }

    /// One line for a trace, with the names of states.
    pub fn words(&self, state: &dyn Fn(u8) -> String) -> String {
        let data = |data: Data| match data {
            Data::Part(value) => format!("data of state {value}"),
            Data::Last(value) => format!("the last data, of state {value}"),
            Data::Wrong => "wrong data".to_owned(),
        };
        let what = match self.act {
            Act::Call(call) => match call {
                Call::Set(to) => format!("SET {}", state(to)),
                Call::Get => "GET".into(),
                Call::Read => "read".into(),
                Call::Write(piece) => format!("write {}", data(piece)),
                Call::Info => "GET_PRECOPY_INFO".into(),
                Call::OptIn => "SET PRECOPY_INFOv2".into(),
                Call::Access(Region::Config) => "access to configuration space".into(),
                Call::Access(Region::Registers) => "access to registers".into(),
                Call::LogStart(Ranges::All) => "LOGGING_START".into(),
                Call::LogStart(Ranges::None) => "LOGGING_START without a range".into(),
                Call::LogStart(Ranges::Bad) => "LOGGING_START with bad ranges".into(),
                Call::LogStop => "LOGGING_STOP".into(),
                Call::LogReport(PageSize::Good) => "LOGGING_REPORT".into(),
                Call::LogReport(PageSize::Small) => "LOGGING_REPORT by less than 4 KiB".into(),
                Call::LogReport(PageSize::Odd) => "LOGGING_REPORT by no power of two".into(),
                Call::Reset(For::Guest) => "RESET for the guest".into(),
                Call::Reset(For::Client) => "RESET for the client".into(),
                Call::Reopen => "another client opens the device".into(),
            },
            Act::Answer(answer) => match answer {
                Answer::Done => "done".into(),
                Answer::DoneWithDescriptor => "done, with a new descriptor".into(),
                Answer::Refused => "refused".into(),
                Answer::State(at) => format!("answers {}", state(at)),
                Answer::Data(piece) => format!("gives {}", data(piece)),
                Answer::Nothing => "gives nothing for now".into(),
                Answer::End => "gives the end".into(),
                Answer::Info(initial, dirty, false) => {
                    format!("answers {initial} initial, {dirty} dirty")
                }
                Answer::Info(initial, dirty, true) => {
                    format!("answers {initial} initial, {dirty} dirty, REINIT")
                }
                Answer::Pages(pages) => format!("answers {}", pages_in_words(pages)),
            },
            Act::Works => "works".into(),
            Act::Interrupt => "interrupt".into(),
            Act::Write(page) => format!("writes page {page}"),
            Act::WriteByClient(page) => format!("has page {page} written by the client"),
            Act::PeerBegins => "DMA to the peer begins".into(),
            Act::PeerArrives => "DMA arrives at the peer".into(),
            Act::Copy(page) => return format!("copies page {page}"),
            Act::Reboot => return "boots anew".into(),
        };
        format!("device {}: {what}", self.device)
    }
}
