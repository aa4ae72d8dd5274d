//! What is known of an implementation once a conversation with it is over.

use super::io::process::Remains;

/// What is left of the implementation once a conversation is over.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Aftermath {
    /// It has closed the connection.
    pub closed: bool,
    /// It has, where no text gives a reason to: a failure, whatever the level of the clause.
    pub wrongly: bool,
    /// Something that was owed did not come in time.
    pub stalled: bool,
    /// Its process, if we started it.
    pub remains: Remains,
}

impl Aftermath {
    /// Whether what the process printed may explain the end.
    #[must_use]
    pub fn is_of_interest(&self) -> bool {
        self.closed || self.stalled || self.remains.ended.is_some()
    }
}
