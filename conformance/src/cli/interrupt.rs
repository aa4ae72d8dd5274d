//! What is still said when a signal ends a command.
//!
//! ```text
//!   SIGINT, SIGTERM, SIGHUP --> no result is taken any more --> our children end, temporary files go
//!     --> what was found so far is written --> the signal ends us
//! ```
//!
//! **Invariants.** What a child does because a signal ends it is no result. Whoever waits for us learns
//! from our exit status which signal it was: 128 and its number, in a shell. A second signal ends us at
//! once: what is still to be said may wait for somebody who does not read it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::harness::io::process::end_all;

/// The signals that end a command.
pub(crate) const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// What writes the results that there are.
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

/// Has this called when a signal ends the command. It has to be brief.
pub(crate) fn on_signal(say: impl FnOnce() + Send + 'static) -> Guard {
    *words() = Some(Box::new(say));
    Guard(())
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
