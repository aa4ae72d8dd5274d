//! A refusal: all reasons at once.
//!
//! **Invariants.** It has at least one reason; its reasons are in a fixed order, whatever the order of
//! what was read.

use std::fmt;

use serde::Serialize;

use super::reason::Reason;

/// All reasons why something is refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct Refusal(Vec<Reason>);

impl Refusal {
    /// Refused, if there is a reason.
    ///
    /// # Errors
    /// With the reasons, if there are any.
    pub fn unless_none<T>(reasons: Vec<Reason>, otherwise: T) -> Result<T, Refusal> {
        if reasons.is_empty() { Ok(otherwise) } else { Err(Refusal(reasons)) }
    }

    /// The reasons: at least one.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        &self.0
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Refusal(vec![reason])
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: Vec<&str> = self.0.iter().map(|reason| &*reason.message).collect();
        f.write_str(&messages.join("; "))
    }
}

impl std::error::Error for Refusal {}
