//! How far along a run is: on a terminal only, and gone when it ends.

use std::time::Duration;

use devmig_engine::columns::thousands;
use devmig_engine::explore::search::Limits;
use devmig_model::analysis::{Explorer, Stage};
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
pub(crate) struct Meter {
    bar: ProgressBar,
    watch: Box<dyn Fn(Stage<'_>) + Sync>,
}

impl Meter {
    /// Nothing is to be explored yet.
    pub(crate) fn new() -> Self {
        let bar = bar(0);
        bar.enable_steady_tick(Duration::from_millis(100));
        let watched = bar.clone();
        let watch = move |stage: Stage<'_>| match stage {
            Stage::Planned(systems) => watched.inc_length(systems as u64),
            Stage::Running(name, None) => watched.set_message(name.to_owned()),
            Stage::Running(name, Some(p)) => {
                let states = thousands(p.states);
                watched.set_message(format!("{name}: {states} states, depth {}", p.depth));
            }
            Stage::Done => watched.inc(1),
        };
        Meter { bar, watch: Box::new(watch) }
    }

    /// Explores within these bounds, and shows how far along that is.
    pub(crate) fn explorer<'m>(&'m self, limits: Limits<'m>) -> Explorer<'m> {
        Explorer::new(limits, &*self.watch)
    }

    /// Says how far along something else is.
    pub(crate) fn say(&self, message: String) {
        self.bar.set_message(message);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
