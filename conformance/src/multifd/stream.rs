//! One direction of a connection, read piece by piece.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much is read at once.
const PIECE: usize = 256 << 10;

/// Counts what was read of a recording, for whoever shows it.
#[derive(Clone, Debug, Default)]
pub struct Read(Arc<AtomicU64>);

impl Read {
    /// How many bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// A file that is read from its beginning to its end.
#[derive(Debug)]
pub struct Stream {
    file: File,
    read: Read,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Stream {
    /// From the first byte on.
    #[must_use]
    pub fn new(file: File, read: &Read) -> Self {
        Stream { file, read: read.clone(), buffer: Vec::new(), begin: 0, end: 0 }
    }

    /// What was read and not yet taken. Empty at the end only.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn fill(&mut self) -> io::Result<&[u8]> {
        if self.begin == self.end {
            self.buffer.resize(PIECE, 0);
            self.begin = 0;
            self.end = loop {
                match self.file.read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other?,
                }
            };
            self.read.add(self.end);
        }
        Ok(self.buffer.get(self.begin..self.end).unwrap_or_default())
    }

    /// So many bytes of that are done with.
    pub fn take(&mut self, count: usize) {
        self.begin = self.begin.saturating_add(count).min(self.end);
    }
}
