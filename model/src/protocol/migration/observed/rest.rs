//! Whether a migration is over, as far as it was seen.

use super::report::{DESTINATION, Reported, SOURCE, Status};
use super::{Observed, State};
use crate::protocol::migration::vmm::{Outcome, Phase};

impl Observed {
    /// Whether nothing more need be reported: the migration has ended, and everything was seen.
    #[must_use]
    pub fn rests(&self, (inner, ends): &State) -> bool {
        let [source, destination] = &ends.of;
        // After a failure, also when another attempt could begin.
        let none = inner.3.phase == Phase::Migrates && inner.3.step == 0;
        let over = (inner.3.phase == Phase::Ended || none) && ends.last.is_none();
        let mut left = destination.items();
        let seen = match inner.3.outcome {
            // With `-S` management lets it run, or does not.
            Outcome::Completed => {
                left.next().is_none_or(|item| item.said == Reported::Runs(true))
                    && ends.of[DESTINATION].said == Status::Completed
            }
            // It may have ended, and said nothing more.
            _ => true,
        };
        over && seen && ends.of[SOURCE].items().next().is_none() && source.said.is_last()
    }

    /// Whether the source has said that the migration came to nothing.
    #[must_use]
    pub fn came_to_nothing(&self, (_, ends): &State) -> bool {
        matches!(ends.of[SOURCE].said, Status::Failed | Status::Cancelled)
    }
}
