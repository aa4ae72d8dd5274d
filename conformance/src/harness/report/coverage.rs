//! How much of a machine a run has driven. An adapter counts it; the report shows it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much of the machine was driven.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// Arcs that exist.
    pub arcs: usize,
    /// Arcs that were driven.
    pub driven: usize,
    /// Arcs that were not, by the reason.
    pub not_driven: BTreeMap<String, Vec<String>>,
}

impl Coverage {
    /// A few lines for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!("{} of {} arcs of the machine driven\n", self.driven, self.arcs);
        for (why, arcs) in &self.not_driven {
            let first = arcs.first().map_or("", String::as_str);
            let more = match arcs.len() {
                1 => String::new(),
                n => format!(" and {} more", n - 1),
            };
            out += &format!("  {:>4} not: {why}\n            {first}{more}\n", arcs.len());
        }
        out
    }
}
