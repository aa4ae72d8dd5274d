//! What was found in a conversation: data first, then text and JSON.
//!
//! The JSON form is a contract (`"schema": 1`).

use std::fmt::Write as _;

use serde::Serialize;
use serde::ser::SerializeMap;

use super::record::Side;

/// How much of what was allowed is shown to people.
const SHOWN: usize = 6;

/// A clause that a party broke.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// Who.
    pub party: Side,
    /// Which; empty if no clause names what was seen.
    pub clause: String,
    /// MUST, SHOULD or MAY.
    pub level: String,
    /// What it requires.
    pub text: String,
    /// The event that showed it first, counted from 1.
    pub event: u64,
    /// What came.
    pub observed: String,
    /// What was allowed.
    pub allowed: Vec<String>,
    /// The last events, that one included.
    pub said: Vec<String>,
    /// How often it was seen.
    pub times: u64,
}

impl Finding {
    /// Whether it is more than advice that was not followed.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.level == "MUST" || self.level.is_empty()
    }
}

/// The verdict on a conversation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// The version of this form: 1.
    pub schema: u32,
    /// The version of the text by which it was judged.
    pub text: String,
    /// How many messages passed.
    pub messages: u64,
    /// How many events there were in all.
    pub events: u64,
    /// How it ended.
    pub ended: String,
    /// For each choice that was met: the options that are still possible.
    #[serde(serialize_with = "as_map")]
    pub readings: Vec<(String, Vec<String>)>,
    /// What was not judged, and how often it came.
    #[serde(serialize_with = "as_map")]
    pub unjudged: Vec<(String, u64)>,
    /// From where on nothing that depends on the conversation was judged, and why.
    pub over: Option<String>,
    /// What was found.
    pub findings: Vec<Finding>,
}

fn as_map<V: Serialize, S: serde::Serializer>(
    pairs: &[(String, V)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (key, value) in pairs {
        map.serialize_entry(key, value)?;
    }
    map.end()
}

impl Report {
    /// Whether a MUST was broken.
    #[must_use]
    pub fn fails(&self) -> bool {
        self.findings.iter().any(Finding::fails)
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        for finding in &self.findings {
            let _ = writeln!(out, "{}", finding.detail());
        }
        if !self.readings.is_empty() {
            let _ = writeln!(out, "Interpretations of open choices:");
            for (choice, options) in &self.readings {
                let _ = writeln!(out, "  {choice} = {}", options.join(" or "));
            }
            out.push('\n');
        }
        if !self.unjudged.is_empty() || self.over.is_some() {
            let _ = writeln!(out, "Not judged:");
            for (what, times) in &self.unjudged {
                let _ = writeln!(out, "  {times:>5} x {what}");
            }
            if let Some(why) = &self.over {
                let _ = writeln!(out, "  anything that depends on the conversation, {why}");
            }
            out.push('\n');
        }
        let count = |fails| self.findings.iter().filter(|f| f.fails() == fails).count();
        let _ = writeln!(
            out,
            "{} messages; {}; {} findings, {} warnings",
            self.messages,
            self.ended,
            count(true),
            count(false)
        );
        out
    }
}

impl Finding {
    fn detail(&self) -> String {
        let head = if self.fails() { "FAIL" } else { "warn" };
        let id = if self.clause.is_empty() { "not allowed by any clause" } else { &self.clause };
        let mut out = format!("{head} {}: {id} ({})\n", self.party, self.level);
        if !self.text.is_empty() {
            let _ = writeln!(out, "             {}", self.text.replace('\n', "\n             "));
        }
        let times = if self.times > 1 { format!(", {} times", self.times) } else { String::new() };
        let _ = writeln!(out, "  observed   {} (event {}{times})", self.observed, self.event);
        for (n, allowed) in self.allowed.iter().take(SHOWN).enumerate() {
            let _ = writeln!(out, "  {:<10} {allowed}", if n == 0 { "allowed" } else { "or" });
        }
        if let Some(more) = self.allowed.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            let _ = writeln!(out, "  {:<10} {more} more", "or");
        }
        for (n, line) in self.said.iter().enumerate() {
            let _ = writeln!(out, "  {:<10} {line}", if n == 0 { "said" } else { "" });
        }
        out
    }
}
