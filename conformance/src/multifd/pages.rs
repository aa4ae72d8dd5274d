//! Which pages were sent in an epoch.

use std::collections::BTreeMap;

use super::count;

/// Pages in one piece of the set.
const PIECE: u64 = 4096;
/// The most pieces: RAM of 8 TiB with pages of 4 KiB, in 256 MiB.
const PIECES: usize = 1 << 19;

/// A piece of a set that is empty again with each epoch.
#[derive(Clone, Debug)]
struct Piece {
    epoch: u64,
    bits: Box<[u64; 64]>,
}

/// The pages that were sent in the current epoch, of all blocks.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    epoch: u64,
    /// The blocks, each by the numbers of its pieces.
    blocks: Vec<BTreeMap<u64, usize>>,
    pieces: Vec<Piece>,
    /// Where the last page was.
    last: Option<(usize, u64, usize)>,
    /// There were more pieces than are kept.
    pub overflow: bool,
}

impl Pages {
    /// The next epoch begins.
    pub fn next_epoch(&mut self) {
        count(&mut self.epoch, 1);
    }

    /// Adds a page of a block; whether it was there before.
    pub fn insert(&mut self, block: usize, page: u64) -> bool {
        let number = page / PIECE;
        let place = match self.last {
            Some((of, last, place)) if (of, last) == (block, number) => place,
            _ => match self.place(block, number) {
                Some(place) => place,
                None => return false,
            },
        };
        self.last = Some((block, number, place));
        let Some(piece) = self.pieces.get_mut(place) else { return false };
        if piece.epoch != self.epoch {
            piece.epoch = self.epoch;
            piece.bits.fill(0);
        }
        let inside = (page % PIECE) as usize;
        let Some(word) = piece.bits.get_mut(inside / 64) else { return false };
        let bit = 1 << (inside % 64);
        let before = *word & bit != 0;
        *word |= bit;
        before
    }

    fn place(&mut self, block: usize, number: u64) -> Option<usize> {
        if self.blocks.len() <= block {
            self.blocks.resize_with(block.saturating_add(1), BTreeMap::new);
        }
        let pieces = self.blocks.get_mut(block)?;
        if let Some(place) = pieces.get(&number) {
            return Some(*place);
        }
        if self.pieces.len() >= PIECES {
            self.overflow = true;
            return None;
        }
        pieces.insert(number, self.pieces.len());
        self.pieces.push(Piece { epoch: self.epoch, bits: Box::new([0; 64]) });
        self.pieces.len().checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::Pages;

    #[test]
    fn an_epoch_has_each_page_once() {
        let mut pages = Pages::default();
        for _ in 0..3 {
            for (block, page) in [(0, 0), (0, 4095), (0, 4096), (1, 0), (0, u64::MAX >> 12)] {
                assert!(!pages.insert(block, page), "{block} {page}");
                assert!(pages.insert(block, page), "{block} {page}");
            }
            pages.next_epoch();
        }
    }
}
