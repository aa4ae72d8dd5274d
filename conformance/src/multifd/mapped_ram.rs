//! A migration to a file with mapped-ram: each page of RAM has a fixed place in it.
//!
//! ```text
//!   main stream up to the list of blocks
//!     for each block: name, length, header --bitmap_offset--> a bit for each page that is in the file
//!                                          --pages_offset---> the pages; the stream goes on after them
//!   the rest of the main stream
//! ```
//!
//! **Invariants.** What a header says is read only where the file has it; memory does not depend on the length of
//! a file. A page whose bit is clear is zero, whatever the file holds at its place.

// A file's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use devmig_engine::clause::ClauseId;
use devmig_model::protocol::multifd::wire::{At, MainDecoder, MainEvent, PageSize, ram_flag};
use devmig_model::registry::Library;
use devmig_model::spec::SpecErrors;

use super::judge::{DOCUMENT, Error, version_of};
use super::memory::Memory;
use super::recording::RecordingError;
use super::report::{Dir, Report, Verdict, Violation};
use super::survey::{Mode, is_ignore_shared, sizes};
use crate::harness::io::files;

/// The most of a file that comes before the list of blocks.
const BEGIN: usize = 64 << 10;
/// The most blocks.
const BLOCKS: usize = 4096;
/// How much is read at once.
const PIECE: u64 = 1 << 20;
/// How many bytes of a violation are shown.
const SHOWN: usize = 32;

devmig_model::clause_ids! {
    /// The clauses that are judged here.
    pub struct MappedLaws {
        /// `multifd.mapped-ram.header`
        header: "multifd.mapped-ram.header",
        /// `multifd.mapped-ram.inside`
        inside: "multifd.mapped-ram.inside",
        /// `multifd.mapped-ram.marked`
        marked: "multifd.mapped-ram.marked",
        /// `multifd.main.followed`
        followed: "multifd.main.followed",
        /// `multifd.memory.as-source`
        memory: "multifd.memory.as-source",
    }
}

/// A block of RAM in the file.
struct Block {
    name: Vec<u8>,
    length: u64,
    /// Where its header is, and what it says.
    at: u64,
    version: u32,
    page: u64,
    bitmap: u64,
    pages: u64,
}

/// What is judged of a file.
struct Judge<'l> {
    file: File,
    length: u64,
    library: &'l Library,
    laws: MappedLaws,
    violations: Vec<Violation>,
    pages: u64,
    zero: u64,
    truncated: bool,
}

/// Judges a file by a version of QEMU, or by that of its machine type.
///
/// # Errors
/// See [`Error`].
pub fn judge(
    path: &Path,
    library: &Library,
    version: Option<&str>,
    mut memory: Memory,
) -> Result<Report, Error> {
    let wrong = |cause| RecordingError::File { path: path.to_owned(), cause };
    let file = files::open(path).map_err(wrong)?;
    let length = file.metadata().map_err(|cause| wrong(cause.into()))?.len();
    let laws = MappedLaws::resolve(&library.spec)?;
    let mut judge = Judge {
        file,
        length,
        library,
        laws,
        violations: Vec::new(),
        pages: 0,
        zero: 0,
        truncated: false,
    };
    let begin = judge.begin()?.ok_or(RecordingError::NotMain)?;
    if begin.listed && !begin.mapped {
        return Err(RecordingError::NotMapped.into());
    }
    let version = match version {
        Some(version) => version.to_owned(),
        None => version_of(&library.spec, begin.machine.as_deref()),
    };
    library.spec.judged_by(DOCUMENT, &version).map_err(SpecErrors::from)?;
    let (blocks, rest) = judge.blocks(&begin)?;
    let mut names = Vec::new();
    for block in &blocks {
        names.push(block.name.escape_ascii().to_string());
        memory.list(&block.name, block.length)?;
        judge.block(block, u64::from(begin.page.bytes()), &mut memory)?;
    }
    judge.truncated |= blocks.is_empty();
    if let Some(rest) = rest.filter(|_| judge.violations.is_empty()) {
        judge.rest(rest)?;
    }
    let (mut compared, mut notes) = (None, Vec::new());
    if !memory.is_empty() && !judge.truncated && judge.violations.is_empty() {
        memory.all_listed(&names)?;
        if begin.ignore_shared {
            let ignored = |block: &&Block| (block.bitmap, block.pages) == (0, 0);
            for block in blocks.iter().filter(ignored) {
                let name = block.name.escape_ascii();
                notes.push(format!("block \"{name}\" is not compared: x-ignore-shared"));
                memory.leave_out(&block.name);
            }
        }
        let page = usize::try_from(begin.page.bytes()).unwrap_or(4096);
        let found = memory.compare(page)?;
        compared = (!memory.is_empty()).then_some(found.is_empty());
        for difference in found {
            judge.violated(judge.laws.memory, 0, difference.to_string())?;
        }
    }
    let verdict = match () {
        () if !judge.violations.is_empty() => Verdict::Violated,
        () if judge.truncated => Verdict::Truncated,
        () => Verdict::Conformant,
    };
    Ok(Report {
        schema: 1,
        verdict,
        version,
        machine: begin.machine,
        mode: Mode::MappedRam,
        channels: 0,
        epochs: 0,
        packets: 0,
        pages: judge.pages,
        zero_pages: judge.zero,
        duplicates: 0,
        connections: Vec::new(),
        devices: Vec::new(),
        memory: compared,
        violations: judge.violations,
        more_violations: 0,
        notes,
    })
}

/// What the file begins with.
struct Begin {
    machine: Option<String>,
    page: PageSize,
    ignore_shared: bool,
    /// The capability mapped-ram was on.
    mapped: bool,
    /// Where the list of blocks begins, if it was found.
    list: u64,
    listed: bool,
}

impl Judge<'_> {
    fn violated(&mut self, clause: ClauseId, offset: u64, message: String) -> io::Result<()> {
        let mut bytes = [0; SHOWN];
        let read = self.file.read_at(&mut bytes, offset)?;
        let shown = bytes.iter().take(read).map(|byte| format!("{byte:02x}"));
        let bytes = shown.collect::<Vec<_>>().join(" ");
        let clause = self.library.spec.clause_name(clause).to_owned();
        self.violations.push(Violation { clause, conn: 0, dir: Dir::Sent, offset, message, bytes });
        Ok(())
    }

    /// Follows the main stream to the list of blocks; nothing, if it is not a main stream.
    fn begin(&mut self) -> io::Result<Option<Begin>> {
        let mut bytes = vec![0; BEGIN];
        let read = self.file.read_at(&mut bytes, 0)?;
        let mut rest = bytes.get(..read).unwrap_or_default();
        let mut decoder = MainDecoder::new();
        let mut begin = Begin {
            machine: None,
            page: PageSize::FOUR_KIB,
            ignore_shared: false,
            mapped: false,
            list: self.length,
            listed: false,
        };
        let mut started = false;
        while !rest.is_empty() {
            let (used, event) = decoder.next(rest);
            rest = rest.get(used..).unwrap_or_default();
            match event {
                Some(At { event: MainEvent::Start(_), .. }) => started = true,
                Some(At { event: MainEvent::Machine(name), .. }) => {
                    begin.machine = Some(name.to_string());
                }
                Some(At { event: MainEvent::Capability(name), .. }) => {
                    begin.ignore_shared |= is_ignore_shared(&name);
                    begin.mapped |= name.as_bytes() == b"mapped-ram";
                }
                Some(At { event: MainEvent::Section { name, .. }, .. })
                    if name.as_bytes() == b"ram" =>
                {
                    (begin.page, begin.list) = (decoder.page(), decoder.taken());
                    begin.listed = true;
                    return Ok(Some(begin));
                }
                Some(At { at, event: MainEvent::Error(error) }) if started => {
                    self.violated(self.laws.followed, at, error.to_string())?;
                    return Ok(Some(begin));
                }
                Some(At { event: MainEvent::Error(_), .. }) => return Ok(None),
                _ => {}
            }
        }
        self.truncated = true;
        Ok(started.then_some(begin))
    }

    /// Reads at an offset, and goes on after it; nothing at the end of the file.
    fn take<const N: usize>(&mut self, at: &mut u64) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        match self.file.read_exact_at(&mut bytes, *at) {
            Ok(()) => {
                *at = at.saturating_add(N as u64);
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.truncated = true;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn u64(&mut self, at: &mut u64) -> io::Result<Option<u64>> {
        Ok(self.take(at)?.map(u64::from_be_bytes))
    }

    /// Follows the rest of the main stream from there to its end.
    fn rest(&mut self, mut at: u64) -> io::Result<()> {
        let mut decoder = MainDecoder::with_sizes(sizes(&self.file, self.length)?);
        // The beginning, up to the section with the list of blocks.
        let mut bytes = vec![0; BEGIN];
        let read = self.file.read_at(&mut bytes, 0)?;
        let mut begin = bytes.get(..read).unwrap_or_default();
        loop {
            let (used, event) = decoder.next(begin);
            begin = begin.get(used..).unwrap_or_default();
            let is_ram = matches!(event, Some(At { event: MainEvent::Section { .. }, .. }));
            if is_ram || begin.is_empty() {
                break;
            }
        }
        let skipped = at.saturating_sub(decoder.taken());
        let mut piece = vec![0; usize::try_from(PIECE).unwrap_or(BEGIN)];
        loop {
            let read = self.file.read_at(&mut piece, at)?;
            let mut rest = piece.get(..read).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            at = at.saturating_add(read as u64);
            while !rest.is_empty() {
                let (used, event) = decoder.next(rest);
                rest = rest.get(used..).unwrap_or_default();
                if let Some(At { at, event: MainEvent::Error(error) }) = event {
                    let at = at.saturating_add(skipped);
                    return self.violated(self.laws.followed, at, error.to_string());
                }
            }
        }
        self.truncated |=
            !decoder.is_complete() || !decoder.at_boundary() && !decoder.is_followed();
        Ok(())
    }

    /// The list of blocks, as far as it can be followed, and where the stream goes on after it.
    fn blocks(&mut self, begin: &Begin) -> io::Result<(Vec<Block>, Option<u64>)> {
        let mut at = begin.list;
        let mut blocks = Vec::new();
        let Some(item) = self.u64(&mut at)? else { return Ok((blocks, None)) };
        let mask = u64::from(begin.page.bytes()).saturating_sub(1);
        if item & mask != ram_flag::MEM_SIZE {
            let what = format!("the list of blocks begins with {item:#018x}");
            self.violated(self.laws.followed, begin.list, what)?;
            return Ok((blocks, None));
        }
        let mut left = item & !mask;
        while left > 0 && blocks.len() < BLOCKS {
            let begins = at;
            let Some([length]) = self.take::<1>(&mut at)? else { break };
            let mut name = vec![0; usize::from(length)];
            if self.file.read_at(&mut name, at)? < name.len() {
                self.truncated = true;
                break;
            }
            at = at.saturating_add(u64::from(length));
            let Some(bytes) = self.u64(&mut at)? else { break };
            if begin.ignore_shared && self.u64(&mut at)?.is_none() {
                break;
            }
            let Some(rest) = left.checked_sub(bytes) else {
                let what = "the blocks have more bytes than the list announces".to_owned();
                self.violated(self.laws.followed, begins, what)?;
                break;
            };
            left = rest;
            let header = at;
            let Some(version) = self.take(&mut at)?.map(u32::from_be_bytes) else { break };
            let (page, bitmap, pages) =
                (self.u64(&mut at)?, self.u64(&mut at)?, self.u64(&mut at)?);
            let (Some(page), Some(bitmap), Some(pages)) = (page, bitmap, pages) else { break };
            blocks.push(Block { name, length: bytes, at: header, version, page, bitmap, pages });
            // A block that is ignored has no place in the file.
            if (bitmap, pages) != (0, 0) {
                at = pages.saturating_add(bytes);
            }
        }
        Ok((blocks, (left == 0).then_some(at)))
    }

    /// One block: its header, its bitmap, its pages.
    fn block(&mut self, block: &Block, page: u64, memory: &mut Memory) -> io::Result<()> {
        let Block { name, length, at, version, page: says, bitmap, pages } = block;
        let shown = name.escape_ascii().to_string();
        if *version > 1 || *says != page {
            let what = format!("block \"{shown}\": version {version}, pages of {says} bytes");
            return self.violated(self.laws.header, *at, what);
        }
        if (*bitmap, *pages) == (0, 0) {
            return Ok(());
        }
        let count = length.div_ceil(page.max(1));
        // Bits are kept in words of 64.
        let bits = count.div_ceil(64).saturating_mul(8);
        let bitmap_end = bitmap.saturating_add(bits);
        let places = [
            (*bitmap < at.saturating_add(28), "the bitmap begins inside the stream"),
            (bitmap_end > *pages, "the bitmap ends after the pages begin"),
            (pages.checked_rem(page) != Some(0), "the pages begin at no multiple of their size"),
        ];
        if let Some((_, why)) = places.iter().find(|(wrong, _)| *wrong) {
            let what =
                format!("block \"{shown}\", bitmap at {bitmap:#x}, pages at {pages:#x}: {why}");
            return self.violated(self.laws.inside, *at, what);
        }
        if bitmap_end > self.length {
            self.truncated = true;
            return Ok(());
        }
        self.pages = self.pages.saturating_add(count);
        let mut zero = count;
        let mut data = vec![0; usize::try_from(page).unwrap_or(4096)];
        let mut at = *bitmap;
        while at < bitmap_end {
            let room = usize::try_from(PIECE.min(bitmap_end.saturating_sub(at))).unwrap_or(1);
            let mut piece = vec![0; room];
            self.file.read_exact_at(&mut piece, at)?;
            let before = at.saturating_sub(*bitmap).saturating_mul(8);
            for (byte, bits) in piece.iter().enumerate().filter(|(_, bits)| **bits != 0) {
                for bit in (0..8_u64).filter(|bit| bits >> bit & 1 == 1) {
                    let number = before.saturating_add((byte as u64).saturating_mul(8));
                    let number = number.saturating_add(bit);
                    if number >= count {
                        let what =
                            format!("block \"{shown}\" has {count} pages, bit {number} is set");
                        self.violated(self.laws.marked, at.saturating_add(byte as u64), what)?;
                        return Ok(());
                    }
                    zero = zero.saturating_sub(1);
                    let offset = number.saturating_mul(page);
                    let place = pages.saturating_add(offset);
                    if place.saturating_add(page) > self.length {
                        self.truncated = true;
                    } else if !memory.is_empty() {
                        self.file.read_exact_at(&mut data, place)?;
                        memory.write(name, offset, &data);
                    }
                }
            }
            at = at.saturating_add(room as u64);
        }
        self.zero = self.zero.saturating_add(zero);
        Ok(())
    }
}
