//! How a process ended, and whether that is a crash.
//!
//! ```text
//!   by a signal                        a crash
//!   exit status 101                    a crash: a Rust program that panicked
//!   exit status 128 + N (not 255)      a crash: a shell reports so that its command ended by signal N
//!   any other exit status              an exit, which is judged by what was owed at that moment
//! ```
//!
//! 255 is the exit status of `exit(-1)`, with which programs report an error that they detected.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use devmig_reference::socket::Deadline;
use rustix::process::Signal;

use super::Process;

/// How long a process that has closed the connection may take to end.
pub const DEATH: Duration = Duration::from_secs(1);

/// The exit status of a Rust program whose main thread panicked.
const PANIC: i32 = 101;

/// What a shell adds to the number of the signal that ended its command.
const BY_SIGNAL: i32 = 128;

/// The exit status of `exit(-1)`.
const MINUS_ONE: i32 = 255;

/// What is left of a process.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Remains {
    /// How it ended by itself; none if it runs, or if it ended because it was told to.
    pub ended: Option<ExitStatus>,
    /// The last lines that it printed, to standard output or error.
    pub output: Vec<String>,
}

impl Remains {
    /// What is left of a process, if there is one: it is ended if it has not ended within this limit.
    #[must_use]
    pub fn of(process: Option<&mut Process>, limit: Duration) -> Self {
        process.map(|process| process.remains(Deadline::after(limit))).unwrap_or_default()
    }

    /// How it ended, if that is a crash.
    #[must_use]
    pub fn crash(&self) -> Option<ExitStatus> {
        self.ended.filter(|status| is_crash(*status))
    }
}

/// Whether a process ended in a way that no protocol explains.
#[must_use]
pub fn is_crash(status: ExitStatus) -> bool {
    let wrapped = status.code().is_some_and(|code| (BY_SIGNAL..MINUS_ONE).contains(&code));
    status.signal().is_some() || status.code() == Some(PANIC) || wrapped
}

/// Whether it ended by one of the signals that we send.
pub(super) fn is_ours(status: ExitStatus) -> bool {
    let code = status.code().and_then(|code| code.checked_sub(BY_SIGNAL));
    let signal = status.signal().or(code);
    [Signal::TERM, Signal::KILL].iter().any(|ours| signal == Some(ours.as_raw()))
}

/// How it ended, for people.
#[must_use]
pub fn words(status: ExitStatus) -> String {
    match status.code() {
        Some(PANIC) => format!("{status} (a Rust program that panicked)"),
        Some(code) => match code.checked_sub(BY_SIGNAL).filter(|n| (1..=64).contains(n)) {
            Some(n) => format!("{status} ({BY_SIGNAL} + {})", ExitStatus::from_raw(n)),
            None => status.to_string(),
        },
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    #[test]
    fn a_signal_a_panic_and_a_wrapper_s_status_are_crashes_and_an_exit_is_none() {
        for status in [ExitStatus::from_raw(6), exit(101), exit(128), exit(134), exit(139)] {
            assert!(is_crash(status), "{status}");
        }
        for code in [0, 1, 2, 100, 102, 127, 255] {
            assert!(!is_crash(exit(code)), "{code}");
        }
    }

    #[test]
    fn only_our_own_signals_are_ours() {
        for status in [ExitStatus::from_raw(15), ExitStatus::from_raw(9), exit(143), exit(137)] {
            assert!(is_ours(status), "{status}");
        }
        for status in [ExitStatus::from_raw(6), exit(134), exit(15), exit(0)] {
            assert!(!is_ours(status), "{status}");
        }
    }

    #[test]
    fn a_wrapper_s_status_names_the_signal() {
        assert_eq!(words(exit(134)), "exit status: 134 (128 + signal: 6 (SIGABRT))");
        assert_eq!(words(exit(101)), "exit status: 101 (a Rust program that panicked)");
        assert_eq!(words(exit(1)), "exit status: 1");
        assert_eq!(words(exit(255)), "exit status: 255");
    }
}
