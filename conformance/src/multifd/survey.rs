//! The main stream, read once to its end before anything is judged: how epochs are marked, which devices there
//! are, and how long their sections are.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use devmig_model::protocol::multifd::wire::{
    MainDecoder, MainEvent, Name, PageSize, SectionSize, command, section_sizes,
};
use serde::Serialize;

use super::count;
use super::recording::Connection;
use super::stream::{Read, Stream};

/// The longest description of sections.
const DESCRIPTION: u64 = 4 << 20;
/// The most devices that are kept by name.
const DEVICES: usize = 4096;

/// How epochs are marked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// With a FLUSH each.
    PerRound,
    /// With the end of each RAM section.
    PerSection,
    /// Not at all: there are no channels.
    None,
    /// Not at all: each page has a place in a file.
    MappedRam,
}

impl Mode {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Mode::PerRound => "each round is synchronised (FLUSH)",
            Mode::PerSection => "each RAM section is synchronised (EOS)",
            Mode::None => "no channels",
            Mode::MappedRam => "a file with a place for each page",
        }
    }
}

/// What a main stream holds.
#[derive(Clone, Debug)]
pub struct Survey {
    /// How epochs are marked.
    pub mode: Mode,
    /// The machine type.
    pub machine: Option<String>,
    /// The size of pages.
    pub page: PageSize,
    /// It has the end of its sections.
    pub complete: bool,
    /// Nothing is left open at its end.
    pub whole: bool,
    /// Something follows its end that is not followed.
    pub followed: bool,
    /// It announces postcopy.
    pub advised: bool,
    /// Blocks of shared memory are not sent.
    pub ignore_shared: bool,
    /// Names and instances of its sections.
    pub sections: BTreeSet<(Vec<u8>, u32)>,
    /// The UUID in its configuration.
    pub uuid: Option<[u8; 16]>,
    /// The lengths of sections, if the description at the end holds them and is right.
    pub sizes: Vec<SectionSize>,
    /// How many FLUSHes there are, and how many ends of RAM sections before postcopy.
    marks: (u64, u64),
}

impl Survey {
    /// How many epochs are marked.
    #[must_use]
    pub fn marks(&self) -> u64 {
        match self.mode {
            Mode::PerRound => self.marks.0,
            Mode::PerSection => self.marks.1,
            Mode::None | Mode::MappedRam => 0,
        }
    }

    /// Whether this marks the end of an epoch; `postcopy` has begun or not.
    #[must_use]
    pub fn is_mark(&self, event: &MainEvent<'_>, postcopy: bool) -> bool {
        match self.mode {
            Mode::PerRound => matches!(event, MainEvent::Flush),
            Mode::PerSection => matches!(event, MainEvent::EndOfSection) && !postcopy,
            Mode::None | Mode::MappedRam => false,
        }
    }
}

/// Reads the main stream.
///
/// # Errors
/// If the file cannot be read.
pub fn survey(main: &Connection, channels: usize, read: &Read) -> io::Result<Survey> {
    let sizes = sizes(&main.file, main.length)?;
    let exact = follow(main, channels, sizes.clone(), read)?;
    // A description that does not fit its stream says nothing.
    if exact.complete || sizes.is_empty() {
        return Ok(exact);
    }
    follow(main, channels, Vec::new(), read)
}

fn follow(
    main: &Connection,
    channels: usize,
    sizes: Vec<SectionSize>,
    read: &Read,
) -> io::Result<Survey> {
    let mut decoder = MainDecoder::with_sizes(sizes.clone());
    let mut stream = Stream::new(main.file.try_clone()?, read);
    super::rewind(&main.file)?;
    let mut sections = BTreeSet::new();
    let (mut marks, mut postcopy, mut machine, mut uuid) = ((0, 0), false, None, None);
    let (mut advised, mut ignore_shared) = (false, false);
    loop {
        let input = stream.fill()?;
        if input.is_empty() {
            break;
        }
        let (used, event) = decoder.next(input);
        match event.map(|at| at.event) {
            Some(MainEvent::Flush) => count(&mut marks.0, 1),
            Some(MainEvent::EndOfSection) if !postcopy => count(&mut marks.1, 1),
            Some(MainEvent::Command { number, .. }) => {
                postcopy |= starts_postcopy(number);
                advised |= number == command::POSTCOPY_ADVISE;
            }
            Some(MainEvent::Capability(name)) => ignore_shared |= is_ignore_shared(&name),
            Some(MainEvent::Machine(name)) => machine = Some(name.to_string()),
            Some(MainEvent::Uuid(bytes)) => uuid = Some(bytes),
            Some(MainEvent::Section { name, instance, .. }) if sections.len() < DEVICES => {
                sections.insert((Name::as_bytes(&name).to_vec(), instance));
            }
            _ => {}
        }
        stream.take(used);
    }
    let mode = match (channels, marks) {
        (0, _) => Mode::None,
        (_, (0, _)) => Mode::PerSection,
        _ => Mode::PerRound,
    };
    let (page, complete, followed) = (decoder.page(), decoder.is_complete(), decoder.is_followed());
    let whole = complete && (decoder.at_boundary() || followed);
    Ok(Survey {
        mode,
        machine,
        page,
        complete,
        whole,
        followed,
        advised,
        ignore_shared,
        sections,
        uuid,
        sizes,
        marks,
    })
}

/// What the description at the end of a stream says. It is the last thing in it: its type, its length, JSON.
///
/// # Errors
/// If the file cannot be read.
pub(super) fn sizes(file: &File, length: u64) -> io::Result<Vec<SectionSize>> {
    let tail = length.min(DESCRIPTION);
    let mut bytes = vec![0; usize::try_from(tail).unwrap_or(0)];
    file.read_exact_at(&mut bytes, length.saturating_sub(tail))?;
    let begins = |at: &usize| {
        let rest = bytes.get(*at..).unwrap_or_default();
        let [0, 6, a, b, c, d, b'{', ..] = rest else { return false };
        u64::from(u32::from_be_bytes([*a, *b, *c, *d])) == (rest.len() as u64).saturating_sub(6)
    };
    let found = (0..bytes.len()).rev().find(begins);
    Ok(found
        .map(|at| section_sizes(bytes.get(at.saturating_add(6)..).unwrap_or_default()))
        .unwrap_or_default())
}

/// Whether this is the capability with which blocks of shared memory are not sent.
#[must_use]
pub fn is_ignore_shared(name: &Name) -> bool {
    name.as_bytes() == b"x-ignore-shared"
}

/// Whether this is a command after which sections are no longer synchronised.
#[must_use]
pub fn starts_postcopy(number: u16) -> bool {
    number == command::POSTCOPY_LISTEN
}
