//! The stream: what is read in a saving session, and written in RESUMING.
//!
//! ```text
//!   | magic | version |  then sections  | kind u32 | length u32 | bytes |
//!
//!   IDENTITY  whose state it is: first          LENGTH  how long the image is
//!   BLOCK     offset u32, and bytes there       END     the digest of all before it: last
//! ```
//!
//! An *image* is the device's state as bytes. Blocks that changed are sent again, so that the image
//! which a reader has put together at the end is the last one.
//!
//! **Invariants.** What is no stream, incomplete, damaged, extended or another device's is refused, and
//! nothing is put together of it. No bytes make reading it panic, and what is made room for is at most
//! [`MAX_IMAGE`] bytes.

use std::hash::Hasher as _;

use fnv::FnvHasher;

use crate::vfio_user::{Mutant, Mutants};

/// The longest image that is taken.
pub const MAX_IMAGE: usize = 1 << 20;

/// Bytes of a block that is sent again.
const BLOCK: usize = 64;

const MAGIC: &[u8; 8] = b"devmigMG";
const VERSION: u32 = 1;

const IDENTITY: u32 = 1;
const LENGTH: u32 = 2;
const BLOCK_AT: u32 = 3;
const END: u32 = u32::MAX;

/// Why a stream is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StreamError {
    /// It does not begin like one.
    #[error("this is no migration data of ours")]
    Foreign,
    /// A version that is not known here.
    #[error("the data has version {0}, and {VERSION} is known here")]
    Version(u32),
    /// It is another device's.
    #[error("the data is that of a {theirs}, and this is a {ours}")]
    Identity {
        /// Whose it is.
        theirs: String,
        /// What this is.
        ours: String,
    },
    /// It ends before its end.
    #[error("the data ends early")]
    Incomplete,
    /// It goes on after its end.
    #[error("the data goes on after its end")]
    Extended,
    /// Its digest is another.
    #[error("the data is not as it was read")]
    Digest,
    /// It says what cannot be.
    #[error("the data makes no sense")]
    Damaged,
}

/// Continues an FNV-1a digest: against accidents, not against intent.
fn digest(digest: u64, bytes: &[u8]) -> u64 {
    let mut hasher = FnvHasher::with_key(digest);
    hasher.write(bytes);
    hasher.finish()
}

/// The digest of nothing.
const SEED: u64 = 0xcbf2_9ce4_8422_2325;

/// Writes a stream, bit by bit.
#[derive(Clone, Debug)]
pub struct Writer {
    /// What has been put into it, whether read already or not.
    image: Vec<u8>,
    digest: u64,
    out: Vec<u8>,
}

impl Writer {
    /// A stream that begins with this image.
    #[must_use]
    pub fn new(identity: &[u8], image: Vec<u8>) -> Self {
        let mut stream = Writer { image: Vec::new(), digest: SEED, out: Vec::new() };
        let head = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
        stream.put(&head);
        stream.section(IDENTITY, &[identity]);
        stream.update(image);
        stream
    }

    fn put(&mut self, bytes: &[u8]) {
        self.digest = digest(self.digest, bytes);
        self.out.extend_from_slice(bytes);
    }

    fn section(&mut self, kind: u32, parts: &[&[u8]]) {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let head = [kind.to_le_bytes(), (length as u32).to_le_bytes()].concat();
        self.put(&head);
        parts.iter().for_each(|part| self.put(part));
    }

    /// Where this image differs from the last.
    fn changes(&self, image: &[u8]) -> Vec<usize> {
        let block = |image: &[u8], at: usize| {
            image.get(at..).map(|rest| rest.get(..BLOCK).unwrap_or(rest).to_vec())
        };
        let starts = (0..image.len()).step_by(BLOCK);
        starts.filter(|at| block(image, *at) != block(&self.image, *at)).collect()
    }

    /// How many bytes it takes to tell of this image.
    #[must_use]
    pub fn cost(&self, image: &[u8]) -> usize {
        let longer = if image.len() == self.image.len() { 0 } else { 12 };
        let blocks = self.changes(image).into_iter();
        longer + blocks.map(|at| 12 + BLOCK.min(image.len() - at)).sum::<usize>()
    }

    /// Whether this image is of another length than the last.
    #[must_use]
    pub fn is_other(&self, image: &[u8]) -> bool {
        image.len() != self.image.len()
    }

    /// Tells of this image.
    pub fn update(&mut self, image: Vec<u8>) {
        let changes = self.changes(&image);
        if self.is_other(&image) {
            self.section(LENGTH, &[&(image.len() as u32).to_le_bytes()]);
        }
        for at in changes {
            let rest = image.get(at..).unwrap_or(&[]);
            let bytes = rest.get(..BLOCK).unwrap_or(rest);
            self.section(BLOCK_AT, &[&(at as u32).to_le_bytes(), bytes]);
        }
        self.image = image;
    }

    /// Ends it.
    pub fn end(&mut self) {
        let digest = self.digest;
        self.section(END, &[&digest.to_le_bytes()]);
    }

    /// How many bytes can be read.
    #[must_use]
    pub fn left(&self) -> usize {
        self.out.len()
    }

    /// Reads at most as many bytes.
    pub fn read(&mut self, most: usize) -> Vec<u8> {
        let rest = self.out.split_off(most.min(self.out.len()));
        std::mem::replace(&mut self.out, rest)
    }
}

/// The image that a stream tells of.
///
/// # Errors
/// See [`StreamError`].
pub fn read(stream: &[u8], identity: &[u8], mutants: Mutants) -> Result<Vec<u8>, StreamError> {
    let all = stream.len();
    let mut from = stream;
    if take(&mut from, MAGIC.len())? != MAGIC {
        return Err(StreamError::Foreign);
    }
    let version = word(&mut from)?;
    if version != VERSION {
        return Err(StreamError::Version(version));
    }
    let mut image = None;
    let mut known = false;
    loop {
        let before = stream.get(..all - from.len()).unwrap_or(&[]);
        if from.is_empty() && mutants.has(Mutant::TruncatedTaken) {
            break;
        }
        let (kind, length) = (word(&mut from)?, word(&mut from)?);
        let mut bytes = take(&mut from, length as usize)?;
        match kind {
            IDENTITY if !known && image.is_none() => {
                if bytes != identity {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let (theirs, ours) = (text(bytes), text(identity));
                    return Err(StreamError::Identity { theirs, ours });
                }
                known = true;
            }
            LENGTH if known => {
                let length = word(&mut bytes)? as usize;
                if length > MAX_IMAGE || !bytes.is_empty() {
                    return Err(StreamError::Damaged);
                }
                image.get_or_insert_with(Vec::new).resize(length, 0);
            }
            BLOCK_AT => {
                let at = word(&mut bytes)? as usize;
                let image = image.as_mut().ok_or(StreamError::Damaged)?;
                let end = at.checked_add(bytes.len()).ok_or(StreamError::Damaged)?;
                image.get_mut(at..end).ok_or(StreamError::Damaged)?.copy_from_slice(bytes);
            }
            END => {
                let said = bytes.try_into().map_err(|_| StreamError::Damaged)?;
                let same = u64::from_le_bytes(said) == digest(SEED, before);
                if !same && !mutants.has(Mutant::ChecksumIgnored) {
                    return Err(StreamError::Digest);
                }
                break;
            }
            _ => return Err(StreamError::Damaged),
        }
    }
    if !from.is_empty() && !mutants.has(Mutant::ExtendedTaken) {
        return Err(StreamError::Extended);
    }
    image.ok_or(StreamError::Damaged)
}

fn take<'a>(from: &mut &'a [u8], length: usize) -> Result<&'a [u8], StreamError> {
    let (head, rest) = from.split_at_checked(length).ok_or(StreamError::Incomplete)?;
    *from = rest;
    Ok(head)
}

fn word(from: &mut &[u8]) -> Result<u32, StreamError> {
    let bytes = take(from, 4)?.try_into().map_err(|_| StreamError::Incomplete)?;
    Ok(u32::from_le_bytes(bytes))
}
