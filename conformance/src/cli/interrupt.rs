//! What is still said when a signal ends a command.
//!
//! ```text
//!   SIGINT, SIGTERM, SIGHUP --> no result is taken any more --> our children end, temporary files go
//!     --> what was found so far is written --> the signal ends us
//! ```
//!
//! **Invariants.** What a child does because a signal ends it is no result. Our exit status names the
//! signal: 128 and its number, in a shell. A second signal ends us at once: the first one's report may wait
//! for a reader that never comes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::error::Error;
use super::out::Out;
use crate::harness::io::process::end_all;

/// The signals that end a command.
pub(crate) const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Writes the results so far.
type Words = Box<dyn FnOnce() + Send>;

static ENDING: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);
static WORDS: Mutex<Option<Words>> = Mutex::new(None);

fn words() -> MutexGuard<'static, Option<Words>> {
    WORDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a signal ends us: what is found now may be what the signal did.
pub(crate) fn ending() -> bool {
    ENDING.load(Ordering::SeqCst)
}

/// Goes on, unless a signal ends us: then nothing more is to be said here.
pub(crate) fn unless_ending() {
    while ending() {
        std::thread::park();
    }
}

/// Something is said when a signal ends the command, until this is dropped.
#[derive(Debug)]
pub(crate) struct Guard(());

impl Drop for Guard {
    fn drop(&mut self) {
        unless_ending();
        *words() = None;
    }
}

/// What a command has found so far: its threads add to it, a signal has it written.
#[derive(Debug)]
pub(crate) struct Found<T>(Arc<Mutex<Results<T>>>);

impl<T> Clone for Found<T> {
    fn clone(&self) -> Self {
        Found(Arc::clone(&self.0))
    }
}

/// Results, by their places.
#[derive(Debug)]
pub(crate) struct Results<T> {
    /// Those that came in their order, from the first.
    pub(crate) in_turn: Vec<T>,
    /// Those that came before their turn, which is yet to come.
    pub(crate) early: BTreeMap<usize, T>,
}

impl<T> Found<T> {
    /// Nothing yet.
    pub(crate) fn nothing() -> Self {
        Found(Arc::new(Mutex::new(Results { in_turn: Vec::new(), early: BTreeMap::new() })))
    }

    /// Adds the next result, which replaces one that came before its turn.
    pub(crate) fn add(&self, result: T) {
        let mut all = self.all();
        let place = all.in_turn.len();
        all.early.remove(&place);
        all.in_turn.push(result);
    }

    /// Adds a result before its turn.
    pub(crate) fn add_early(&self, place: usize, result: T) {
        let mut all = self.all();
        if place >= all.in_turn.len() {
            all.early.insert(place, result);
        }
    }

    /// All results so far.
    pub(crate) fn all(&self) -> MutexGuard<'_, Results<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the results so far written to standard output when a signal ends the command. `write` has to
    /// be brief; its failure cannot be reported.
    pub(crate) fn written_on_signal(
        &self,
        color: bool,
        write: impl FnOnce(&Results<T>, &mut Out<'_>) -> Result<(), Error> + Send + 'static,
    ) -> Guard
    where
        T: Send + 'static,
    {
        let found = self.clone();
        *words() = Some(Box::new(move || {
            let mut out = Out::new(std::io::stdout(), color);
            let _ = write(&found.all(), &mut out);
            let _ = out.flush();
        }));
        Guard(())
    }
}

/// Handles the signals from now on. Back-ends that we started run in groups of their own, which no
/// Ctrl-C at a terminal reaches: a signal that ends us ends them first. Without it we would still
/// work, so a failure is no error.
pub(crate) fn handle() {
    for signal in SIGNALS {
        let _ = register_conditional_default(signal, Arc::clone(&ENDING));
    }
    let Ok(mut signals) = Signals::new(SIGNALS) else { return };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            ENDING.store(true, Ordering::SeqCst);
            end_all(|| {
                if let Some(say) = words().take() {
                    say();
                }
                let _ = emulate_default_handler(signal);
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_in_its_turn_replaces_the_one_before_its_turn() {
        let found = Found::nothing();
        found.add("first");
        found.add_early(2, "third, early");
        found.add_early(1, "second, early");
        found.add("second");
        // Judged again meanwhile, and too late.
        found.add_early(1, "second, late");
        let all = found.all();
        assert_eq!(all.in_turn, ["first", "second"]);
        assert_eq!(all.early, BTreeMap::from([(2, "third, early")]));
    }
}
