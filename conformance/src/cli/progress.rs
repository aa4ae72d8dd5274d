//! How far along a run is: on a terminal only, and gone when it ends.

use std::time::Duration;

use devmig_engine::explore::search::{Limits, Progress};
use devmig_engine::explore::{Check, Report};
use devmig_model::registry::Library;
use indicatif::{ProgressBar, ProgressStyle};

use super::grid::thousands;
use super::{Error, select};

/// So many things to do, drawn on the terminal (stderr); nothing if that is none.
pub(crate) fn bar(steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    if let Ok(style) = ProgressStyle::with_template("{pos}/{len} {bar:20} {msg}") {
        bar.set_style(style);
    }
    bar
}

/// A bar that follows explorations.
pub(crate) struct Meter(ProgressBar);

impl Meter {
    /// So many systems are to be explored.
    pub(crate) fn new(systems: usize) -> Self {
        let bar = bar(systems);
        bar.enable_steady_tick(Duration::from_millis(100));
        Meter(bar)
    }

    /// Explores one of them.
    ///
    /// # Errors
    /// As [`select::explore`].
    pub(crate) fn explore(
        &self,
        library: &Library,
        system: &dyn Check,
        limits: Limits<'_>,
    ) -> Result<Report, Error> {
        self.0.set_message(system.name().to_owned());
        let show = |p: &Progress| {
            let states = thousands(p.states);
            self.0.set_message(format!("{}: {states} states, depth {}", system.name(), p.depth));
        };
        let report = select::explore(library, system, Limits { progress: Some(&show), ..limits });
        self.0.inc(1);
        report
    }

    /// Says how far along something else is.
    pub(crate) fn say(&self, message: String) {
        self.0.set_message(message);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
