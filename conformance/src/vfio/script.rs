//! The steps of a test of VFIO.
//!
//! **Invariant.** A step has no opinion: what the device does is judged by the machine.

use devmig_model::protocol::vfio::event::{For, PageSize};
use devmig_model::protocol::vfio::table::Table;
use devmig_model::spec::did_you_mean;

use super::data::PIECE;
use crate::harness::steps::{Named, Word, steps};
use crate::harness::suite::{Problem, named};

steps! {
    /// A step.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Act in Table {
        Flags = "flags": "the features that are reported are a legal set";
        Reach(state: StateName) = "reach STATE":
            "bring the device there, ERROR and RESUMING included; skipped if it has no such state";
        Set(state: StateValue) = "set STATE": "SET of the migration state: a name, or any number";
        Get = "get": "GET of the migration state";
        Read(size: u32) = "read SIZE": "one read of at most so many bytes of data";
        Drain(size: Piece) = "drain [by SIZE]":
            "reads until there is nothing more, of so many bytes each";
        WriteTruncated(count: u32) = "write truncated by COUNT":
            "what was saved is written but for its last bytes";
        Write(what: What, size: Piece) = "write WHAT [by SIZE]":
            "data is written, in pieces of so many bytes: `saved`, `truncated`, `extended`, \
             `reordered`, `corrupted at BYTE`, `headless`, `garbage`, or `foreign`";
        InfoShort = "info short": "GET_PRECOPY_INFO with too small an argsz";
        Info = "info": "GET_PRECOPY_INFO";
        OptIn = "opt in": "PRECOPY_INFOv2";
        Poll = "poll": "poll of the data descriptor, against what a read then gives";
        Config = "config": "an access to configuration space";
        Registers = "registers": "an access to a register";
        Look = "look": "what registers show is remembered";
        Same = "same": "registers show what was remembered";
        Still = "still": "what registers show does not change meanwhile";
        LogStop = "log stop": "LOGGING_STOP";
        Log(which: Log) = "log WHICH":
            "LOGGING_START of ranges: `all`, `none`, `overlapping`, `misaligned`, `wrapping`, `many`";
        ReportPart = "report part":
            "LOGGING_REPORT of a range whose pages do not fill a word: bits outside of it are 0";
        ReportAgain = "report again": "LOGGING_REPORT twice: the second has nothing of the first";
        Report(size: PageSize) = "report [PAGES]":
            "LOGGING_REPORT, also by `small` pages (less than 4 KiB) or `odd` ones (no power of two)";
        Trickle = "trickle":
            "one access of the device's at a time is served, and the log asked for in between";
        Reset(whom: For) = "reset [WHOM]": "DEVICE_RESET; `for guest`: as a guest does that boots anew";
        Reopen = "reopen": "this client goes, another comes";
        MemoryMapped = "memory mapped": "the device has memory through a descriptor";
        MemoryAsked = "memory asked": "the device has memory by asking for it";
        NicAmongPeers = "nic among peers":
            "the NIC's queues are set up in what counts as another device's memory";
        Nic = "nic": "the NIC's queues are set up in memory";
        Send(count: Few, to: To) = "send COUNT [to WHOM]":
            "frames are transmitted, to `table` or `nobody` if not to the NIC itself";
        Room(count: Few) = "room COUNT": "there is room for so many frames that come";
        Filter = "filter":
            "the NIC is told to take what is addressed to it or to one address more";
        Settle = "settle": "what was sent was sent, and what comes has come";
        Quiet = "quiet": "nothing is expected: whatever comes is judged";
        Hold(time: u32) = "hold TIME":
            "what the device asks for while it is to answer waits so many milliseconds";
        Interrupts = "interrupts": "the interrupt line is listened to";
        Unmask = "unmask": "the interrupt line is unmasked";
        Arguments = "arguments":
            "every request of a feature whose arguments are wrong, and every PROBE";
    }
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
    const NAMES: [(&'static str, What); 6] = [
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

impl Named for Log {
    const WHAT: &'static str = "kind of log";
    const NAMES: &'static [(&'static str, Log)] = &[
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

impl Named for To {
    const WHAT: &'static str = "addressee";
    const NAMES: &'static [(&'static str, To)] =
        &[("us", To::Us), ("table", To::Table), ("nobody", To::Nobody)];
    const USUAL: Option<To> = Some(To::Us);
}

impl Named for PageSize {
    const WHAT: &'static str = "size of pages";
    const NAMES: &'static [(&'static str, PageSize)] =
        &[("small", PageSize::Small), ("odd", PageSize::Odd)];
    const USUAL: Option<PageSize> = Some(PageSize::Good);
}

impl Named for For {
    const WHAT: &'static str = "kind of reset";
    const NAMES: &'static [(&'static str, For)] = &[("for guest", For::Guest)];
    const USUAL: Option<For> = Some(For::Client);
}

/// A state of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateName(pub u8);

impl Word<Table> for StateName {
    fn read(text: Option<&str>, table: &Table) -> Result<Self, Problem> {
        let text = text.unwrap_or_default();
        let found = table.named(text).map(|state| StateName(state.value));
        found.ok_or_else(|| {
            let help = did_you_mean(text, table.states.iter().map(|state| state.name.as_str()));
            (format!("no state is called `{text}`"), help)
        })
    }

    fn written(&self, table: &Table) -> Option<String> {
        let state = table.states.iter().find(|state| state.value == self.0);
        Some(state.map_or_else(|| self.0.to_string(), |state| state.name.clone()))
    }
}

/// A state of the table, or any other number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateValue(pub u32);

impl Word<Table> for StateValue {
    fn read(text: Option<&str>, table: &Table) -> Result<Self, Problem> {
        let known = StateName::read(text, table).map(|state| StateValue(state.0.into()));
        known.or_else(|problem| {
            text.unwrap_or_default().parse().map(StateValue).map_err(|_| problem)
        })
    }

    fn written(&self, table: &Table) -> Option<String> {
        let small = u8::try_from(self.0).ok();
        let known = small.and_then(|value| StateName(value).written(table));
        known.or_else(|| Some(self.0.to_string()))
    }
}

/// The size of a piece of data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece(pub u32);

impl<C> Word<C> for Piece {
    fn read(text: Option<&str>, context: &C) -> Result<Self, Problem> {
        let Some(text) = text else { return Ok(Piece(PIECE)) };
        u32::read(Some(text), context).map(|size| Piece(size.max(1)))
    }

    fn written(&self, context: &C) -> Option<String> {
        (self.0 != PIECE).then(|| self.0.written(context)).flatten()
    }
}

/// A number of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Few(pub u16);

/// The most frames that a step is about.
const MOST: u16 = 32;

impl<C> Word<C> for Few {
    fn read(text: Option<&str>, context: &C) -> Result<Self, Problem> {
        match u16::read(text, context) {
            Ok(count) if count <= MOST => Ok(Few(count)),
            _ => {
                Err((format!("`{}` is not a number up to {MOST}", text.unwrap_or_default()), None))
            }
        }
    }

    fn written(&self, context: &C) -> Option<String> {
        self.0.written(context)
    }
}

impl<C> Word<C> for What {
    fn read(text: Option<&str>, context: &C) -> Result<Self, Problem> {
        let text = text.unwrap_or_default();
        match text.strip_prefix("corrupted at ") {
            Some(at) => u32::read(Some(at), context).map(What::Corrupted),
            None if text == "truncated" => Ok(What::Truncated(1)),
            None => named(text, &What::NAMES, "kind of data"),
        }
    }

    fn written(&self, _: &C) -> Option<String> {
        let known = What::NAMES.iter().find(|(_, what)| what == self);
        Some(match (self, known) {
            (What::Truncated(_), _) => "truncated".to_owned(),
            (What::Corrupted(at), _) => format!("corrupted at {at}"),
            (_, known) => known.map_or_else(String::new, |(name, _)| (*name).to_owned()),
        })
    }
}
