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
        Flags = "flags": "the features that the device reports are a legal set";
        Reach(state: StateName) = "reach STATE":
            "bring the device to STATE, also to ERROR or RESUMING; the test is skipped if the \
             device has no such state";
        Set(state: StateValue) = "set STATE": "SET of the migration state: a name, or any number";
        Get = "get": "GET of the migration state";
        Read(size: u32) = "read SIZE": "one read of at most SIZE bytes of data";
        Drain(size: Piece) = "drain [by SIZE]":
            "read until there is no more data, SIZE bytes at a time";
        WriteTruncated(count: u32) = "write truncated by COUNT":
            "write the saved data without its last COUNT bytes";
        Write(what: What, size: Piece) = "write WHAT [by SIZE]":
            "write data in pieces of SIZE bytes: `saved`, `truncated`, `extended`, `reordered`, \
             `corrupted at BYTE`, `headless`, `garbage`, or `foreign`";
        InfoShort = "info short": "GET_PRECOPY_INFO with too small an argsz";
        Info = "info": "GET_PRECOPY_INFO";
        OptIn = "opt in": "PRECOPY_INFOv2";
        Poll = "poll": "poll the data descriptor, and compare with what a read then returns";
        Config = "config": "an access to configuration space";
        Registers = "registers": "an access to a register";
        Widths = "widths":
            "read the same bytes of configuration space with accesses of four, two and one byte";
        Look = "look": "remember what the registers contain";
        Same = "same": "the registers contain what was remembered";
        Still = "still": "the registers do not change for a while";
        LogStop = "log stop": "LOGGING_STOP";
        Log(which: Log) = "log WHICH":
            "LOGGING_START of ranges: `all`, `halves`, `wide` (2 MiB), `none`, `overlapping`, \
             `misaligned`, `wrapping`, `many`";
        ReportPart = "report part":
            "LOGGING_REPORT of a range whose pages do not fill a word: bits outside of it are 0";
        ReportFrom(count: Few, first: Few) = "report COUNT from FIRST":
            "LOGGING_REPORT of COUNT pages from page FIRST on; the next report of the whole range \
             counts what this one reported";
        ReportWide(size: u32) = "report wide by SIZE":
            "LOGGING_REPORT of 2 MiB, of which guest memory is a part, by pages of SIZE bytes, a \
             multiple of 4 KiB";
        ReportBy(size: u32) = "report by SIZE":
            "LOGGING_REPORT by pages of SIZE bytes, a multiple of 4 KiB";
        ReportAgain = "report again":
            "LOGGING_REPORT twice: the second reports no page of the first";
        Report(size: PageSize) = "report [PAGES]":
            "LOGGING_REPORT, also by `small` pages (less than 4 KiB) or `odd` ones (no power of \
             two)";
        Trickle = "trickle":
            "serve the device's accesses one at a time, and read the log in between";
        Reset(whom: For) = "reset [WHOM]": "DEVICE_RESET; `for guest`: as when the guest reboots";
        Reopen = "reopen": "this client disconnects, another connects";
        MemoryMapped = "memory mapped": "map guest memory through a descriptor";
        MemoryMappedOver = "memory mapped over":
            "map guest memory where it is mapped already: the device refuses it";
        MemoryUnmapped = "memory unmapped":
            "unmap guest memory, which is in another file from then on, with the same contents";
        Commands = "commands":
            "every command that describes the device, accesses to each of its regions with every \
             width, and a mapping that is made and removed: each is answered, and descriptions are \
             the same as before";
        MemoryAsked = "memory asked": "the device reads and writes guest memory by messages";
        Memory = "memory":
            "map guest memory, if the transport has a message for that";
        NicAmongPeers = "nic among peers":
            "set up the NIC's queues in memory that belongs to another device";
        Nic = "nic": "set up the NIC's queues in guest memory";
        Send(count: Few, to: To) = "send COUNT [to WHOM]":
            "transmit COUNT frames, to `table` or `nobody` if not to the NIC itself";
        Room(count: Few) = "room COUNT": "offer COUNT buffers for frames that arrive";
        Filter = "filter":
            "set the NIC's filter: its own address and one more";
        Settle = "settle": "wait until all frames are sent and all that arrive have arrived";
        Quiet = "quiet": "send nothing; every event that arrives is judged";
        Hold(time: u32) = "hold TIME":
            "delay the device's own requests by TIME milliseconds while it owes an answer";
        Interrupts = "interrupts": "listen to the interrupt line";
        Interrupted = "interrupted":
            "an interrupt arrives; the driver clears its causes and unmasks the line";
        Unmask = "unmask": "unmask the interrupt line";
        Probe = "probe": "PROBE of every method of every feature, and of an unknown one";
        Unsupported = "unsupported": "request every feature that the device does not have";
        Arguments = "arguments": "send every feature request with wrong arguments";
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
    /// The same, as two ranges.
    Halves,
    /// 2 MiB, of which the memory that the device has is a part.
    Wide,
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
        ("halves", Log::Halves),
        ("wide", Log::Wide),
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

/// A number of frames, or of pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Few(pub u16);

/// The most frames or pages that a step is about.
const MOST: u16 = 64;

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
