//! How far along a run is: on a terminal only, and gone when it ends.

use std::time::Duration;

use devmig_engine::columns::thousands;
use devmig_model::analysis::Stage;
use indicatif::{ProgressBar, ProgressStyle};

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
    /// Nothing is to be explored yet.
    pub(crate) fn new() -> Self {
        let bar = bar(0);
        bar.enable_steady_tick(Duration::from_millis(100));
        Meter(bar)
    }

    /// Shows how far along they are.
    pub(crate) fn watch(&self, stage: Stage<'_>) {
        match stage {
            Stage::Planned(systems) => self.0.inc_length(systems as u64),
            Stage::Running(system, None) => self.say(system.to_owned()),
            Stage::Running(system, Some(p)) => {
                let states = thousands(p.states);
                self.say(format!("{system}: {states} states, depth {}", p.depth));
            }
            Stage::Done => self.0.inc(1),
        }
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
