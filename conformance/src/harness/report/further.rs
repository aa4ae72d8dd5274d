//! What a test found after its first finding, with the clauses of earlier findings not enforced.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Result, Status};

/// One such finding.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Further {
    /// The clause that is broken.
    pub clause: String,
    /// MUST, SHOULD or MAY.
    pub level: String,
    /// How the test would have ended by this alone.
    pub status: Status,
    /// What came.
    pub observed: String,
    /// What was allowed.
    pub expected: Vec<String>,
    /// The clauses that were not enforced then.
    pub after: Vec<String>,
    /// The conversation, one line an event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

impl Result {
    /// Each finding as a result: this one, and one for each that the test found besides.
    pub fn each(&self) -> impl Iterator<Item = Cow<'_, Result>> {
        let further = self.further.iter().map(|further| Cow::Owned(self.as_of(further)));
        std::iter::once(Cow::Borrowed(self)).chain(further)
    }

    /// The test as if it had ended by this finding alone.
    fn as_of(&self, further: &Further) -> Result {
        let Further { clause, level, status, observed, expected, after, log } = further.clone();
        let about = self.about.as_ref().unwrap_or(&self.clause);
        Result {
            about: (*about != clause).then(|| about.clone()),
            clause,
            level,
            status,
            observed: Some(observed),
            expected,
            log,
            further: Vec::new(),
            then: Some(format!("found with {} not enforced", after.join(", "))),
            process: None,
            died: false,
            ..self.clone()
        }
    }
}
