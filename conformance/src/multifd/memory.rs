//! The memory that results from the pages of all epochs, against that of the source.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use devmig_engine::columns;

use super::count;
use super::recording::RecordingError;
use crate::harness::io::files;

/// The memory of one block, as it becomes.
#[derive(Debug)]
struct Block {
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    /// It is in the list of blocks.
    listed: bool,
    /// A page of it was sent.
    sent: bool,
}

/// The blocks that are compared.
#[derive(Debug, Default)]
pub struct Memory {
    blocks: BTreeMap<Vec<u8>, Block>,
}

/// How a block differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Which block.
    pub block: String,
    /// How many pages differ.
    pub pages: u64,
    /// The first of them.
    pub first: u64,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Difference { block, pages, first } = self;
        let count = columns::count(usize::try_from(*pages).unwrap_or(usize::MAX), "page");
        let differ = if *pages == 1 { "differs" } else { "differ" };
        write!(f, "{count} of \"{block}\" {differ}, the first at {first:#x}")
    }
}

impl Memory {
    /// Memory as it is before a migration: zero. Each block is as long as the file that it is compared with.
    ///
    /// # Errors
    /// If a file cannot be read, or is too large for this machine.
    pub fn of(files: &[(String, PathBuf)]) -> Result<Self, RecordingError> {
        let mut blocks = BTreeMap::new();
        for (name, path) in files {
            let wrong = |cause| RecordingError::File { path: path.clone(), cause };
            let file = files::open(path).map_err(wrong)?;
            let length = file.metadata().map_err(|cause| wrong(cause.into()))?.len();
            let mut bytes: Vec<u8> = Vec::new();
            let room = usize::try_from(length).unwrap_or(usize::MAX);
            if bytes.try_reserve_exact(room).is_err() {
                let path = path.display();
                let why = format!("{path} has {length} bytes, more than this machine can hold");
                return Err(RecordingError::Memory(why));
            }
            bytes.resize(room, 0);
            let block = Block { path: path.clone(), file, bytes, listed: false, sent: false };
            if blocks.insert(name.clone().into_bytes(), block).is_some() {
                return Err(RecordingError::Memory(format!("two files for block {name}")));
            }
        }
        Ok(Memory { blocks })
    }

    /// Whether nothing is compared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// A block of the stream's list.
    ///
    /// # Errors
    /// If the file for it has another length.
    pub fn list(&mut self, name: &[u8], length: u64) -> Result<(), RecordingError> {
        let Some(block) = self.blocks.get_mut(name) else { return Ok(()) };
        block.listed = true;
        if block.bytes.len() as u64 != length {
            let (path, name) = (block.path.display(), name.escape_ascii());
            let has = block.bytes.len();
            let why = format!("{path} has {has} bytes, and the block {name} has {length}");
            return Err(RecordingError::Memory(why));
        }
        Ok(())
    }

    /// All blocks that are compared are in the list.
    ///
    /// # Errors
    /// Names a block that is not in the list, and the blocks that are.
    pub fn all_listed(&self, known: &[String]) -> Result<(), RecordingError> {
        match self.blocks.iter().find(|(_, block)| !block.listed) {
            None => Ok(()),
            Some((name, _)) => {
                let (name, known) = (name.escape_ascii(), known.join(", "));
                let why = format!("the migration has no block {name}; its blocks: {known}");
                Err(RecordingError::Memory(why))
            }
        }
    }

    /// Writes at an offset of a block. What lies outside is left out.
    pub fn write(&mut self, block: &[u8], offset: u64, data: &[u8]) {
        if let Some(to) = self.at(block, offset, data.len() as u64) {
            to.copy_from_slice(data);
        }
    }

    /// Fills a page.
    pub fn fill(&mut self, block: &[u8], offset: u64, length: u64, byte: u8) {
        if let Some(to) = self.at(block, offset, length) {
            to.fill(byte);
        }
    }

    fn at(&mut self, block: &[u8], offset: u64, length: u64) -> Option<&mut [u8]> {
        let block = self.blocks.get_mut(block)?;
        block.sent = true;
        let begin = usize::try_from(offset).ok()?;
        let end = begin.checked_add(usize::try_from(length).ok()?)?;
        block.bytes.get_mut(begin..end)
    }

    /// Takes a block out.
    pub fn leave_out(&mut self, name: &[u8]) {
        self.blocks.remove(name);
    }

    /// Takes out the blocks of which no page was sent, and returns their names: with x-ignore-shared, shared
    /// memory is not part of a migration.
    pub fn without_unsent(&mut self) -> Vec<String> {
        let unsent = self.blocks.iter().filter(|(_, block)| !block.sent);
        let names = unsent.map(|(name, _)| name.escape_ascii().to_string()).collect();
        self.blocks.retain(|_, block| block.sent);
        names
    }

    /// Compares with the files.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn compare(&mut self, page: usize) -> Result<Vec<Difference>, RecordingError> {
        let mut found = Vec::new();
        for (name, block) in &mut self.blocks {
            let name = name.escape_ascii().to_string();
            let difference = block.compare(page).map_err(|cause| RecordingError::File {
                path: block.path.clone(),
                cause: cause.into(),
            })?;
            found.extend(difference.map(|(pages, first)| Difference { block: name, pages, first }));
        }
        Ok(found)
    }
}

impl Block {
    fn compare(&mut self, page: usize) -> io::Result<Option<(u64, u64)>> {
        let mut wanted = vec![0; page.max(1)];
        let (mut pages, mut first) = (0, None);
        for (number, has) in self.bytes.chunks(page.max(1)).enumerate() {
            let Some(wanted) = wanted.get_mut(..has.len()) else { break };
            self.file.read_exact(wanted)?;
            if wanted != has {
                count(&mut pages, 1);
                first.get_or_insert(number.saturating_mul(page) as u64);
            }
        }
        Ok(first.map(|first| (pages, first)))
    }
}

/// A block and its file: `BLOCK=FILE`.
///
/// # Errors
/// If there is no `=`.
pub fn block_and_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((block, file)) if !block.is_empty() && !file.is_empty() => {
            Ok((block.to_owned(), Path::new(file).to_owned()))
        }
        _ => Err("it has the form BLOCK=FILE".to_owned()),
    }
}
