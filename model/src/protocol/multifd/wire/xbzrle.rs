//! Pages that are sent as differences (XBZRLE): runs of bytes that stay as they were, and runs of new bytes.
//!
//! ```text
//!   difference:  stay  new bytes...   stay  new bytes...   (each run: its length in one or two bytes)
//! ```
//!
//! **Invariants.** Pure and total. However the bytes are cut into pieces, the runs are the same, except that
//! they come in other pieces. Nothing is written past the page.

use super::PageSize;
use super::intake::length;

/// The bit of a length whose second byte follows.
const MORE: u8 = 0x80;

/// Why a difference cannot be applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum XbzrleError {
    /// A length of more than 14 bits.
    #[error("a run has a length of more than two bytes")]
    Length,
    /// A run that must not be empty: only the first one may stay for no byte.
    #[error("a run has no bytes")]
    Empty,
    /// More than a page.
    #[error("the runs are longer than a page")]
    Beyond,
    /// It ends inside a run, or without new bytes.
    #[error("it ends inside a run")]
    Cut,
}

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Want {
    /// The length of a run that stays, whose first byte may have been read.
    Stay(Option<u8>),
    /// The length of a run of new bytes.
    New(Option<u8>),
    /// So many new bytes.
    Bytes(u32),
}

/// Applies one difference to a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XbzrleDecoder {
    want: Want,
    /// How far into the page it is.
    at: u32,
    page: u32,
}

impl XbzrleDecoder {
    /// A difference from its first byte on.
    #[must_use]
    pub fn new(page: PageSize) -> Self {
        XbzrleDecoder { want: Want::Stay(None), at: 0, page: page.bytes() }
    }

    /// Takes bytes, and passes on new bytes of the page with the offset of the first of them.
    ///
    /// # Errors
    /// See [`XbzrleError`]. What was passed on before remains.
    pub fn push(
        &mut self,
        mut data: &[u8],
        f: &mut dyn FnMut(u32, &[u8]),
    ) -> Result<(), XbzrleError> {
        while let Some((byte, rest)) = data.split_first() {
            match self.want {
                Want::Bytes(left) => {
                    let now = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                    let (bytes, after) = data.split_at_checked(now).unwrap_or((data, &[]));
                    f(self.at, bytes);
                    let count = u32::try_from(length(bytes)).unwrap_or(left);
                    self.at = self.at.saturating_add(count);
                    self.want = match left.saturating_sub(count) {
                        0 => Want::Stay(None),
                        left => Want::Bytes(left),
                    };
                    data = after;
                    continue;
                }
                Want::Stay(first) => match run(first, *byte)? {
                    None => self.want = Want::Stay(Some(*byte)),
                    Some(0) if self.at > 0 => return Err(XbzrleError::Empty),
                    Some(count) => {
                        self.at = self.inside(count)?;
                        self.want = Want::New(None);
                    }
                },
                Want::New(first) => match run(first, *byte)? {
                    None => self.want = Want::New(Some(*byte)),
                    Some(0) => return Err(XbzrleError::Empty),
                    Some(count) => {
                        self.inside(count)?;
                        self.want = Want::Bytes(count);
                    }
                },
            }
            data = rest;
        }
        Ok(())
    }

    /// Nothing follows.
    ///
    /// # Errors
    /// If something is missing.
    pub fn finish(&self) -> Result<(), XbzrleError> {
        match self.want {
            Want::Stay(None) => Ok(()),
            _ => Err(XbzrleError::Cut),
        }
    }

    /// Where a run of this length ends.
    fn inside(&self, count: u32) -> Result<u32, XbzrleError> {
        let end = self.at.saturating_add(count);
        if end > self.page { Err(XbzrleError::Beyond) } else { Ok(end) }
    }
}

/// The length of a run, once its last byte is there.
fn run(first: Option<u8>, byte: u8) -> Result<Option<u32>, XbzrleError> {
    match first {
        None if byte & MORE != 0 => Ok(None),
        None => Ok(Some(byte.into())),
        Some(_) if byte & MORE != 0 => Err(XbzrleError::Length),
        Some(low) => Ok(Some(u32::from(low & !MORE) | u32::from(byte) << 7)),
    }
}
