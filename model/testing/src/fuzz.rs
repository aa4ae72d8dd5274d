//! Fuzzing with a corpus, inside `cargo test`: replay, then fixed seeds, then a minimised failure.
//!
//! ```text
//!  corpus/*  --+
//!              +--> target(bytes) --outcome--> outcomes that were reached
//!  seeds  -----+          |
//!                       panic --> bytes without every byte that is not needed --> printed
//! ```
//!
//! A target makes structure of bytes (with `arbitrary`), holds its invariants by panicking, and names
//! the outcome that it reached. The corpus is a directory of inputs that reach different outcomes; it
//! is replayed first. `DEVMIG_FUZZ_KEEP=1 cargo test ...` adds a minimised input for each outcome that
//! the corpus does not reach; with a greater number it runs as many seeds, to look for more. Seeds are
//! the same in every run.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};

/// Set this to write inputs for outcomes that the corpus does not reach; its value is the least number of
/// seeds.
pub const KEEP: &str = "DEVMIG_FUZZ_KEEP";

/// How often a target is run to minimise one input.
const TRIES: usize = 2_000;

/// What to run.
pub struct Fuzz<'a> {
    /// The directory of kept inputs.
    pub corpus: PathBuf,
    /// How many seeds after it.
    pub seeds: u64,
    /// How many bytes a seed has.
    pub length: usize,
    /// Holds its invariants for these bytes by panicking, and names the outcome.
    pub target: &'a dyn Fn(&[u8]) -> String,
}

/// What was reached.
#[derive(Debug, Default)]
pub struct Reached {
    /// How many inputs the corpus has.
    pub kept: usize,
    /// The outcomes of the corpus alone.
    pub by_corpus: BTreeSet<String>,
    /// The outcomes of the corpus and of the seeds.
    pub outcomes: BTreeSet<String>,
}

impl Fuzz<'_> {
    /// Replays the corpus, then runs the seeds.
    ///
    /// # Panics
    /// If the target does, with the input minimised; if the corpus cannot be read.
    pub fn run(&self) -> Reached {
        let mut reached = Reached::default();
        for path in self.files() {
            let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            reached.by_corpus.insert(self.outcome(&bytes, &path.display().to_string()));
            reached.kept += 1;
        }
        reached.outcomes = reached.by_corpus.clone();
        let keep = std::env::var(KEEP)
            .ok()
            .map(|number| number.parse::<u64>().unwrap_or_else(|e| panic!("{KEEP}={number}: {e}")));
        for seed in 1..=self.seeds.max(keep.unwrap_or_default()) {
            let bytes = bytes(seed, self.length);
            let outcome = self.outcome(&bytes, &format!("seed {seed}"));
            if reached.outcomes.insert(outcome.clone()) && keep.is_some() {
                self.keep(&bytes, &outcome);
            }
        }
        reached
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.corpus);
        let entries = entries.unwrap_or_else(|e| panic!("{}: {e}", self.corpus.display()));
        let mut files: Vec<PathBuf> = entries
            .map(|entry| entry.unwrap_or_else(|e| panic!("{}: {e}", self.corpus.display())).path())
            .collect();
        files.sort();
        files
    }

    fn outcome(&self, bytes: &[u8], name: &str) -> String {
        match run(self.target, bytes) {
            Ok(outcome) => outcome,
            Err(_) => self.fail(bytes, name),
        }
    }

    /// Minimises a failure, and fails with it.
    fn fail(&self, bytes: &[u8], name: &str) -> ! {
        // Each try panics: only the last one is worth reading.
        let hook = take_hook();
        set_hook(Box::new(|_| {}));
        let least = minimised(bytes, &|bytes| run(self.target, bytes).is_err());
        let said = run(self.target, &least).err().unwrap_or_default();
        set_hook(hook);
        panic!(
            "{name} fails: {said}\nThe same failure with {} of {} bytes:\n{}\
             Write them to a file in {} to replay them first.",
            least.len(),
            bytes.len(),
            hexadecimal(&least),
            self.corpus.display()
        );
    }

    fn keep(&self, bytes: &[u8], outcome: &str) {
        let least = minimised(bytes, &|bytes| run(self.target, bytes).as_deref() == Ok(outcome));
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = outcome.chars().map(plain).collect();
        let path = self.corpus.join(name);
        std::fs::write(&path, least).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

/// The target's outcome, or what it panicked with.
fn run(target: &dyn Fn(&[u8]) -> String, bytes: &[u8]) -> Result<String, String> {
    catch_unwind(AssertUnwindSafe(|| target(bytes))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
    })
}

/// Bytes of which `wanted` still holds: without the pieces that are not needed, large ones first, and
/// with 0 where a byte's value is not needed.
///
/// The number of tries is bounded, so the result is small and not always the smallest.
pub fn minimised(bytes: &[u8], wanted: &dyn Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut least = bytes.to_vec();
    let mut tries = 0;
    let mut wanted = |bytes: &[u8]| {
        tries += 1;
        tries <= TRIES && wanted(bytes)
    };
    let mut size = least.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        let before = least.len();
        while at < least.len() {
            let mut shorter = least.clone();
            shorter.drain(at..(at + size).min(least.len()));
            if wanted(&shorter) {
                least = shorter;
            } else {
                at += size;
            }
        }
        // Single bytes are tried again until none can go.
        size = if size == 1 && least.len() < before { 1 } else { size / 2 };
    }
    for at in 0..least.len() {
        let was = std::mem::take(&mut least[at]);
        if was != 0 && !wanted(&least) {
            least[at] = was;
        }
    }
    least
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut out = String::new();
    for line in bytes.chunks(32) {
        out.push_str("   ");
        for byte in line {
            let _ = write!(out, " {byte:02x}");
        }
        out.push('\n');
    }
    out
}

/// The bytes of a seed: xorshift, so the same everywhere.
#[must_use]
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(|| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 32) as u8
    })
    .take(length)
    .collect()
}

/// A directory beside the tests of a crate.
#[must_use]
pub fn corpus(manifest_dir: &str, name: &str) -> PathBuf {
    Path::new(manifest_dir).join("tests/corpus").join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a 7 comes anywhere before a 9.
    fn target(bytes: &[u8]) -> String {
        let seven = bytes.iter().position(|byte| *byte == 7);
        let nine = bytes.iter().rposition(|byte| *byte == 9);
        assert!(seven.is_none() || nine < seven, "seven before nine");
        if seven.is_some() { "a seven".into() } else { "none".into() }
    }

    fn fuzz(corpus: &Path, seeds: u64) -> Fuzz<'_> {
        Fuzz { corpus: corpus.to_owned(), seeds, length: 40, target: &target }
    }

    #[test]
    fn a_failure_is_minimised_and_printed() {
        let dir = tempfile::tempdir().expect("a directory");
        let long: Vec<u8> = (0..200).collect();
        std::fs::write(dir.path().join("long"), &long).expect("a file");
        let panic = catch_unwind(|| fuzz(dir.path(), 0).run()).expect_err("it fails");
        let said = panic.downcast_ref::<String>().expect("text");
        assert!(said.contains("long fails: seven before nine"), "{said}");
        assert!(said.contains("with 2 of 200 bytes:\n    07 09\n"), "{said}");
    }

    #[test]
    fn what_is_not_needed_becomes_zero() {
        let wanted = |bytes: &[u8]| bytes.len() > 3 && bytes[1] > 4;
        assert_eq!(minimised(&[9; 50], &wanted), [0, 9, 0, 0]);
        assert_eq!(minimised(&[1, 2], &|_| true), [] as [u8; 0]);
        assert_eq!(minimised(&[], &|_| false), [] as [u8; 0]);
    }

    #[test]
    fn the_corpus_is_replayed_and_seeds_are_fixed() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("seven"), [7]).expect("a file");
        let reached = fuzz(dir.path(), 3).run();
        assert_eq!((reached.kept, reached.by_corpus.len()), (1, 1));
        assert!(reached.by_corpus.contains("a seven"));
        assert_eq!(bytes(5, 4), bytes(5, 4));
        assert_ne!(bytes(5, 4), bytes(6, 4));
    }
}
