//! What came of a scenario, in words and as a file.

use std::borrow::Cow;
use std::fmt::Display;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::known::Held;

/// Steps that were taken, with their time.
pub type Steps = Vec<(Cow<'static, str>, Duration)>;

/// Steps under way, and when the present one began.
#[derive(Debug)]
pub struct Clock {
    /// Steps that were taken.
    pub steps: Steps,
    began: Instant,
}

impl Clock {
    /// No step was taken yet.
    #[must_use]
    pub fn new() -> Self {
        Clock { steps: Steps::new(), began: Instant::now() }
    }

    /// A step begins: what came since the last one counts for none.
    pub fn begins(&mut self) {
        self.began = Instant::now();
    }

    /// The present step is over.
    pub fn took(&mut self, name: &'static str) {
        self.steps.push((Cow::Borrowed(name), self.began.elapsed()));
        self.began = Instant::now();
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}

/// What came of a scenario.
#[derive(Debug, Serialize, Deserialize)]
pub enum Came {
    /// Something is not there, and why.
    NotRun(String),
    /// A step did not come to its end.
    Stuck(String),
    /// It ran.
    Ran(Ran),
}

/// A scenario that ran.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ran {
    /// The version of the program under test.
    pub version: String,
    /// Whether deviations are held for that version.
    pub listed: bool,
    /// The steps that were taken, with their time.
    pub steps: Steps,
    /// How much was judged.
    pub summary: String,
    /// What was judged.
    pub parts: Vec<Part>,
    /// What was found, against what is known.
    pub held: Held,
}

/// The report on one part of a scenario.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part {
    /// Which.
    pub name: Cow<'static, str>,
    /// For people.
    pub text: String,
    /// For programs.
    pub json: Value,
}

impl Came {
    /// Whether continuous integration fails for it.
    #[must_use]
    pub fn fails(&self) -> bool {
        match self {
            Came::NotRun(_) => false,
            Came::Stuck(_) => true,
            Came::Ran(Ran { listed, held, .. }) => {
                *listed && !(held.new.is_empty() && held.gone.is_empty())
            }
        }
    }

    /// In a line.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Came::NotRun(why) => format!("NOT RUN: {why}"),
            Came::Stuck(why) => format!("STUCK: {why}"),
            Came::Ran(Ran { version, listed, summary, held, .. }) => {
                let unknown = if *listed { "" } else { ", UNKNOWN VERSION" };
                let held = match (held.new.len(), held.gone.len()) {
                    (0, 0) => "as known".to_owned(),
                    (new, gone) => format!("{new} NEW, {gone} GONE"),
                };
                format!("{version}{unknown}: {summary}; {held}")
            }
        }
    }
}

pub(super) fn not_run(why: impl Display) -> Box<Came> {
    Box::new(Came::NotRun(why.to_string()))
}

pub(super) fn stuck(why: impl Display) -> Box<Came> {
    Box::new(Came::Stuck(why.to_string()))
}
