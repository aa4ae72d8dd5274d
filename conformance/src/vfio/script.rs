//! The steps of a test, as data.
//!
//! | step | meaning |
//! |---|---|
//! | `flags` | the features that are reported are a legal set |
//! | `reach STATE` | bring the device there, ERROR and RESUMING included; skipped if it has no such state |
//! | `set STATE`, `get` | SET (a name, or any number) and GET of the migration state |
//! | `read N` | one read of at most N bytes of data |
//! | `drain`, `drain by N` | reads until there is nothing more, of N bytes each |
//! | `write WHAT`, `write WHAT by N` | writes data, in pieces of N bytes: see [`What`] |
//! | `info`, `info short` | GET_PRECOPY_INFO, and with too small an argsz |
//! | `opt in` | PRECOPY_INFOv2 |
//! | `poll` | poll of the data descriptor, against what a read then gives |
//! | `config`, `registers` | an access to configuration space, to a register |
//! | `look`, `same` | remember what registers show; compare |
//! | `still` | what registers show does not change meanwhile |
//! | `log WHICH` | LOGGING_START: see [`Log`] |
//! | `log stop` | LOGGING_STOP |
//! | `report`, `report small`, `report odd` | LOGGING_REPORT, also by less than 4 KiB, by no power of two |
//! | `report part` | ... of a range whose pages do not fill a word: bits outside of it are 0 |
//! | `report again` | ... twice: the second has nothing of the first |
//! | `trickle` | one access of the device's at a time is served, and the log asked for in between |
//! | `reset`, `reset for guest` | DEVICE_RESET |
//! | `reopen` | this client goes, another comes |
//! | `memory mapped`, `memory asked` | the device has memory: through a descriptor, or by asking for it |
//! | `nic`, `nic among peers` | the NIC's queues are set up, in memory or in what counts as another device's |
//! | `send N`, `send N to table`, `send N to nobody` | frames are transmitted |
//! | `room N` | there is room for so many frames that come |
//! | `filter` | the NIC is told to take what is addressed to it or to one address more |
//! | `settle` | what was sent was sent, and what comes has come |
//! | `quiet` | nothing is expected: whatever comes is judged |
//! | `hold N` | what the device asks for while it is to answer waits N milliseconds |
//! | `interrupts`, `unmask` | the interrupt line is listened to; it is unmasked |
//! | `arguments` | every request of a feature whose arguments are wrong, and every PROBE |
//! | `run NAME` | the steps of a program of the same file |
//!
//! **Invariant.** A step has no opinion: what the device does is judged by the machine.

use devmig_model::protocol::vfio::event::{For, PageSize};
use devmig_model::protocol::vfio::table::Table;
use devmig_model::spec::did_you_mean;

use super::data::PIECE;

/// A step, as it is written and as it is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Act {
    /// As it is written.
    pub text: String,
    /// What it is.
    pub op: Op,
}

/// What is done.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the table above says what each is
pub enum Op {
    Flags,
    Reach(u8),
    Set(u32),
    Get,
    Read(u32),
    Drain(u32),
    Write(What, u32),
    Info { short: bool },
    OptIn,
    Poll,
    Config,
    Registers,
    Look,
    Same,
    Still,
    Log(Log),
    LogStop,
    Report(PageSize),
    ReportPart,
    ReportAgain,
    Trickle,
    Reset(For),
    Reopen,
    Memory { mapped: bool },
    Nic { peers: bool },
    Send(u16, To),
    Room(u16),
    Filter,
    Settle,
    Quiet,
    Hold(u64),
    Interrupts,
    Unmask,
    Arguments,
}

/// What is written as migration data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// What the device gave last, as a whole.
    Saved,
    /// ... but for its last bytes: `truncated by N`.
    Truncated(u32),
    /// ... and a byte more.
    Extended,
    /// ... its two halves the other way round.
    Reordered,
    /// ... with a bit of this byte turned over: `corrupted at N`.
    Corrupted(u32),
    /// ... with another first byte.
    Headless,
    /// Bytes that are nobody's data.
    Garbage,
    /// What a device of another model or configuration gave.
    Foreign,
}

impl What {
    /// By name.
    pub const ALL: [(&'static str, What); 6] = [
        ("saved", What::Saved),
        ("extended", What::Extended),
        ("reordered", What::Reordered),
        ("headless", What::Headless),
        ("garbage", What::Garbage),
        ("foreign", What::Foreign),
    ];
}

/// With which ranges a log is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Log {
    /// The memory that the device has.
    All,
    /// No range.
    None,
    /// Two that overlap.
    Overlapping,
    /// One that begins within a page.
    Misaligned,
    /// One that goes beyond all addresses.
    Wrapping,
    /// More than fit a page.
    Many,
}

impl Log {
    /// By name.
    pub const ALL: [(&'static str, Log); 6] = [
        ("all", Log::All),
        ("none", Log::None),
        ("overlapping", Log::Overlapping),
        ("misaligned", Log::Misaligned),
        ("wrapping", Log::Wrapping),
        ("many", Log::Many),
    ];
}

/// To whom a frame is addressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum To {
    /// To the NIC, to which it comes back.
    Us,
    /// To the address that `filter` added.
    Table,
    /// To an address that no filter lets through.
    Nobody,
}

/// What is wrong with a step, and a hint.
pub type Problem = (String, Option<String>);

/// Makes a step of text.
///
/// # Errors
/// What is wrong with it.
pub fn act(text: &str, table: &Table) -> Result<Act, Problem> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let op = match (verb, rest) {
        ("flags", "") => Op::Flags,
        ("reach", name) => match table.named(name) {
            Some(state) => Op::Reach(state.value),
            None => return Err(unknown(name, table)),
        },
        ("set", name) => match (table.named(name), name.parse()) {
            (Some(state), _) => Op::Set(state.value.into()),
            (None, Ok(number)) => Op::Set(number),
            _ => return Err(unknown(name, table)),
        },
        ("get", "") => Op::Get,
        ("read", size) => Op::Read(number(size)?),
        ("drain", "") => Op::Drain(PIECE),
        ("drain", size) => Op::Drain(number(size.strip_prefix("by ").unwrap_or(size))?),
        ("write", rest) => {
            let (what, size) = rest.split_once(" by ").unwrap_or((rest, "65536"));
            if what == "truncated" && what != rest {
                let op = Op::Write(What::Truncated(number(size)?), PIECE);
                return Ok(Act { text: text.to_owned(), op });
            }
            let what = match what.strip_prefix("corrupted at ") {
                Some(at) => What::Corrupted(number(at)?),
                None if what == "truncated" => What::Truncated(1),
                None => one_of(what, &What::ALL)?,
            };
            Op::Write(what, number(size)?.max(1))
        }
        ("info", "") => Op::Info { short: false },
        ("info", "short") => Op::Info { short: true },
        ("opt", "in") => Op::OptIn,
        ("poll", "") => Op::Poll,
        ("config", "") => Op::Config,
        ("registers", "") => Op::Registers,
        ("look", "") => Op::Look,
        ("same", "") => Op::Same,
        ("still", "") => Op::Still,
        ("log", "stop") => Op::LogStop,
        ("log", which) => Op::Log(one_of(which, &Log::ALL)?),
        ("report", "") => Op::Report(PageSize::Good),
        ("report", "small") => Op::Report(PageSize::Small),
        ("report", "odd") => Op::Report(PageSize::Odd),
        ("report", "part") => Op::ReportPart,
        ("report", "again") => Op::ReportAgain,
        ("trickle", "") => Op::Trickle,
        ("reset", "") => Op::Reset(For::Client),
        ("reset", "for guest") => Op::Reset(For::Guest),
        ("reopen", "") => Op::Reopen,
        ("memory", "mapped") => Op::Memory { mapped: true },
        ("memory", "asked") => Op::Memory { mapped: false },
        ("nic", "") => Op::Nic { peers: false },
        ("nic", "among peers") => Op::Nic { peers: true },
        ("send", rest) => match rest.split_once(" to ").unwrap_or((rest, "us")) {
            (count, "us") => Op::Send(small(count)?, To::Us),
            (count, "table") => Op::Send(small(count)?, To::Table),
            (count, "nobody") => Op::Send(small(count)?, To::Nobody),
            (_, whom) => return Err((format!("no destination is called `{whom}`"), None)),
        },
        ("room", count) => Op::Room(small(count)?),
        ("filter", "") => Op::Filter,
        ("settle", "") => Op::Settle,
        ("quiet", "") => Op::Quiet,
        ("hold", time) => Op::Hold(number(time)?.into()),
        ("interrupts", "") => Op::Interrupts,
        ("unmask", "") => Op::Unmask,
        ("arguments", "") => Op::Arguments,
        _ => return Err((format!("there is no step `{text}`"), None)),
    };
    Ok(Act { text: text.to_owned(), op })
}

fn unknown(name: &str, table: &Table) -> Problem {
    let help = did_you_mean(name, table.states.iter().map(|state| state.name.as_str()));
    (format!("no state is called `{name}`"), help)
}

fn one_of<T: Copy>(text: &str, all: &[(&str, T)]) -> Result<T, Problem> {
    let found = all.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let help = did_you_mean(text, all.iter().map(|(name, _)| *name));
        (format!("`{text}` is not known here"), help)
    })
}

fn number(text: &str) -> Result<u32, Problem> {
    text.parse().map_err(|_| (format!("`{text}` is not a number up to 4294967295"), None))
}

fn small(text: &str) -> Result<u16, Problem> {
    match text.parse() {
        Ok(count) if count <= 32 => Ok(count),
        _ => Err((format!("`{text}` is not a number up to 32"), None)),
    }
}
