//! A guest that writes while it migrates.
//!
//! **Not here:** what it computes. Each word that it writes tells when, so a page that is older than it may
//! be is found.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::Image;
use super::image::PAGE;

/// The words between two pauses.
const TURN: u64 = 4;
/// A pause.
const PAUSE: Duration = Duration::from_micros(50);
/// Spreads numbers over all words.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A guest.
#[derive(Debug, Default)]
pub struct Guest {
    stopped: AtomicBool,
    written: AtomicU64,
}

impl Guest {
    /// Writes words all over the first half of this memory until it is stopped. The second half stays zero.
    pub fn work(&self, image: &Image) {
        let words = (image.pages() * PAGE / 16).max(1) as u64;
        while !self.stopped.load(Ordering::Relaxed) {
            let n = self.written.fetch_add(1, Ordering::Relaxed) + 1;
            image.write((n.wrapping_mul(SPREAD) % words) as usize, n);
            if n.is_multiple_of(TURN) {
                thread::sleep(PAUSE);
            }
        }
    }

    /// Stops it after it has written so many words more, so that it gets its turn on a busy machine.
    pub fn stop_after(&self, words: u64) {
        let before = self.written.load(Ordering::Relaxed);
        while self.written.load(Ordering::Relaxed) < before + words && !self.is_stopped() {
            thread::sleep(PAUSE);
        }
        self.stop();
    }

    /// Stops it at once.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}
