//! The guest whose memory migrates: `guest.S`, assembled here, and the pattern that it leaves in memory.
//!
//! ```text
//!   counted pages:   7 7 7 7 7 6 6 6 6   the guest is in round 7, and has been at five of them
//!   blinking pages:  5 5 5 ... or 0 0 0  what they hold in every second round is a page of zeros
//! ```
//!
//! So memory that is half of one time and half of another is noticed without a copy of what it should be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use devmig_reference::socket::Deadline;

use crate::harness::io::process::{Command, SpawnError};

/// The source.
const SOURCE: &str = include_str!("guest.S");
/// The size of its pages.
const PAGE: usize = 4096;
/// Where the counted pages begin.
const COUNTED: usize = 4 << 20;
/// How many of them there are.
const COUNTS: usize = 1024;
/// Where the blinking pages begin.
const BLINKING: usize = 8 << 20;
/// How many of them there are.
const BLINKS: usize = 64;
/// How long the assembler may take.
const ASSEMBLE: Duration = Duration::from_secs(20);
/// The most that it prints.
const OUTPUT: usize = 1 << 16;

/// Why there is no guest.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// A file cannot be written.
    #[error("the guest's source: {0}")]
    Io(#[from] std::io::Error),
    /// The compiler cannot be run.
    #[error("no guest can be assembled: {0}")]
    Spawn(#[from] SpawnError),
    /// The compiler refuses.
    #[error("no guest can be assembled: {0}")]
    Refused(String),
}

/// Assembles it in a folder, with the system's compiler.
///
/// # Errors
/// If there is no compiler for x86, or it refuses.
pub fn assemble(folder: &Path) -> Result<PathBuf, GuestError> {
    let (source, kernel) = (folder.join("guest.S"), folder.join("guest"));
    std::fs::write(&source, SOURCE)?;
    let defined = [
        ("PAGE", PAGE),
        ("COUNTED", COUNTED),
        ("COUNTS", COUNTS),
        ("BLINKING", BLINKING),
        ("BLINKS", BLINKS),
    ];
    let mut words = vec!["cc".to_owned()];
    let fixed = "-m32 -nostdlib -static -Wl,-N,-Ttext=0x100000,--build-id=none";
    words.extend(fixed.split(' ').map(str::to_owned));
    words.extend(defined.map(|(name, value)| format!("-D{name}={value}")));
    let path = |path: &Path| path.to_string_lossy().into_owned();
    words.extend(["-o".to_owned(), path(&kernel), path(&source)]);
    let run = Command::plain(words)?.captured(OUTPUT, Deadline::after(ASSEMBLE))?;
    match run.status.success() {
        true => Ok(kernel),
        false => Err(GuestError::Refused(run.errors)),
    }
}

/// A word of a page: the first, or the last.
fn word(memory: &[u8], page: usize, last: bool) -> u32 {
    let at = page + if last { PAGE - 4 } else { 0 };
    let bytes = memory.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u32::from_le_bytes).unwrap_or_default()
}

/// The round that the guest is in.
///
/// # Errors
/// The first page that is not as the guest leaves it.
pub fn round(memory: &[u8]) -> Result<u32, String> {
    let now = word(memory, COUNTED, false);
    let mut before = (now, now);
    let mut steps = 0_u32;
    for page in (0..COUNTS).map(|n| COUNTED + n * PAGE) {
        let words = (word(memory, page, false), word(memory, page, true));
        // Words in the order in which they are written.
        for (earlier, later) in [(before.1, words.0), (words.0, words.1)] {
            let step = earlier.wrapping_sub(later);
            steps = step.saturating_add(steps);
            if steps > 1 {
                let ((a, b), (c, d)) = (before, words);
                return Err(format!(
                    "the page at {page:#x} has the counts {c} and {d}, that before it {a} and {b}"
                ));
            }
        }
        before = words;
    }
    let allowed = |value: u32| {
        let of = |round: u32| if round % 2 == 1 { round } else { 0 };
        value == of(now) || value == of(now.wrapping_sub(1))
    };
    for page in (0..BLINKS).map(|n| BLINKING + n * PAGE) {
        let value = word(memory, page, false);
        if !allowed(value) {
            return Err(format!("the page at {page:#x} has {value} in round {now}"));
        }
    }
    Ok(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The guest's memory after it has written this many of its pages in this round.
    fn after(round: u32, pages: usize) -> Vec<u8> {
        let mut memory = vec![0; BLINKING + BLINKS * PAGE];
        for n in 0..COUNTS {
            let value = if n < pages { round } else { round - 1 };
            for at in [COUNTED + n * PAGE, COUNTED + (n + 1) * PAGE - 4] {
                memory[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
        }
        let odd = round - 1 + round % 2;
        let blinking = [(round - 1) % 2 * (round - 1), odd * (round % 2)];
        for n in 0..BLINKS {
            let value = blinking[usize::from(pages == COUNTS)];
            memory[BLINKING + n * PAGE..][..4].copy_from_slice(&value.to_le_bytes());
        }
        memory
    }

    #[test]
    fn memory_of_one_time_has_the_pattern() {
        for now in [1, 2, 7, 8] {
            for pages in [1, 5, COUNTS] {
                assert_eq!(round(&after(now, pages)), Ok(now), "{now} {pages}");
            }
        }
    }

    #[test]
    fn memory_of_two_times_has_not() {
        let now = after(8, 5);
        for (page, value) in [(2, 7_u32), (2, 9), (600, 6), (600, 8), (0, 9)] {
            let mut torn = now.clone();
            torn[COUNTED + page * PAGE..][..4].copy_from_slice(&value.to_le_bytes());
            assert!(round(&torn).is_err(), "{page} {value}");
        }
        let mut torn = now;
        torn[BLINKING..BLINKING + 4].copy_from_slice(&5_u32.to_le_bytes());
        assert!(round(&torn).is_err());
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn it_is_assembled() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = std::fs::read(assemble(folder.path()).unwrap()).unwrap();
        let magic = 0x1bad_b002_u32.to_le_bytes();
        assert!(bytes.windows(4).any(|window| window == magic));
    }
}
