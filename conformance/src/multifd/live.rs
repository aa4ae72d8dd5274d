//! A migration that is judged while it is relayed.
//!
//! ```text
//!   relay --> recording that grows --judge, as of a recording that is cut off--> violations that are new
//! ```
//!
//! **Invariants.** The judge is that of a recording, so what is found here is found again at the end. The recording
//! is read again when it has grown by a quarter, or when nothing passes: all readings together read no more than
//! a few times what passes. Memory does not depend on its length.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use devmig_model::registry::Library;

use super::judge;
use super::memory::Memory;
use super::recording::Recording;
use super::relay::Growing;
use super::report::Violation;

/// How often it is looked whether there is something new.
const LOOK: Duration = Duration::from_millis(50);
/// A side that is silent for so long has come to a point at which what it has said is looked at.
const QUIET: Duration = Duration::from_millis(500);
/// The most violations that are passed on.
const MOST: usize = 200;

/// Judges a recording again and again while it grows, and passes on each violation once, until it is to stop.
pub fn judge_while_it_grows(
    folder: &Path,
    library: &Library,
    version: Option<&str>,
    growing: &Growing,
    stop: &AtomicBool,
    found: &Sender<Violation>,
) {
    let mut known = BTreeSet::new();
    let (mut judged, mut seen, mut since) = (0_u64, 0_u64, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let bytes = growing.bytes();
        if bytes != seen {
            (seen, since) = (bytes, Instant::now());
        }
        let grown = bytes.saturating_sub(judged);
        let due = grown > judged / 4 || since.elapsed() >= QUIET;
        if grown == 0 || !due {
            std::thread::sleep(LOOK);
            continue;
        }
        judged = bytes;
        for violation in violations(folder, library, version, growing) {
            let Violation { clause, conn, offset, .. } = &violation;
            let new = known.len() < MOST && known.insert((clause.clone(), *conn, *offset));
            if new && found.send(violation).is_err() {
                return;
            }
        }
    }
}

/// What is wrong so far. A recording that cannot be judged yet is judged later, or at its end.
fn violations(
    folder: &Path,
    library: &Library,
    version: Option<&str>,
    growing: &Growing,
) -> Vec<Violation> {
    let recording = growing.flush().ok().and_then(|()| Recording::open(folder).ok());
    let report = recording
        .and_then(|recording| judge::judge(recording, library, version, Memory::default()).ok());
    report.map(|report| report.violations).unwrap_or_default()
}
