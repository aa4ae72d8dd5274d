//! A block of a guest's RAM, which several threads write and read at the same time.
//!
//! ```text
//!   guest   write a word --> mark its page
//!   source                   take the mark --> read the page
//! ```
//!
//! **Invariants.** A page that is written after it was read is marked after it was read. Whatever lies outside
//! is read as zero and written nowhere.

use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of a page.
pub const PAGE: usize = 4096;
/// The words of a page.
const WORDS: usize = PAGE / 8;

/// A block of RAM.
#[derive(Debug)]
pub struct Image {
    name: String,
    words: Box<[AtomicU64]>,
    dirty: Box<[AtomicU64]>,
    pages: usize,
}

impl Image {
    /// So many pages of zeroes, none of them marked.
    #[must_use]
    pub fn new(name: &str, pages: usize) -> Self {
        let zeroes = |count| std::iter::repeat_with(AtomicU64::default).take(count).collect();
        let words = zeroes(pages.saturating_mul(WORDS));
        Image { name: name.to_owned(), words, dirty: zeroes(pages.div_ceil(64)), pages }
    }

    /// The name of the block.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many pages it has.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// The guest writes a word, by its number.
    pub fn write(&self, word: usize, value: u64) {
        let Some(place) = self.words.get(word) else { return };
        place.store(value, Ordering::Relaxed);
        self.mark(word / WORDS);
    }

    /// Marks a page as written.
    pub fn mark(&self, page: usize) {
        if let Some(bits) = self.dirty.get(page / 64) {
            bits.fetch_or(1 << (page % 64), Ordering::Release);
        }
    }

    /// Marks every page.
    pub fn mark_all(&self) {
        (0..self.pages).for_each(|page| self.mark(page));
    }

    /// The pages that are marked, in order, which then are not.
    #[must_use]
    pub fn take_marked(&self) -> Vec<usize> {
        let mut pages = Vec::new();
        for (index, bits) in self.dirty.iter().enumerate() {
            let mut bits = bits.swap(0, Ordering::AcqRel);
            while bits != 0 {
                pages.push(index * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
        pages
    }

    fn page(&self, page: usize) -> &[AtomicU64] {
        let begin = page.saturating_mul(WORDS);
        self.words.get(begin..begin.saturating_add(WORDS)).unwrap_or_default()
    }

    /// Whether a page has nothing but zeroes.
    #[must_use]
    pub fn is_zero(&self, page: usize) -> bool {
        self.page(page).iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }

    /// Appends a page's bytes.
    pub fn read(&self, page: usize, out: &mut Vec<u8>) {
        let begin = out.len();
        out.resize(begin + PAGE, 0);
        let (places, _) = out.split_at_mut(begin).1.as_chunks_mut::<8>();
        for (place, word) in places.iter_mut().zip(self.page(page)) {
            *place = word.load(Ordering::Relaxed).to_ne_bytes();
        }
    }

    /// Sets the content of a page.
    pub fn load(&self, page: usize, bytes: &[u8]) {
        let (words, _) = bytes.as_chunks::<8>();
        for (place, word) in self.page(page).iter().zip(words) {
            place.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
        }
    }

    /// Sets every word of a page to zero.
    pub fn clear(&self, page: usize) {
        self.page(page).iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// All of its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.words.len() * 8);
        (0..self.pages).for_each(|page| self.read(page, &mut bytes));
        bytes
    }
}
