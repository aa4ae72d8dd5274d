//! What both monitors said, put in order of time: QEMU's own time, by the clock of the host that both run on.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::event::time;
use super::log::{Answers, End, Entry, What};

/// What was heard, each with its time in microseconds since 1970.
#[derive(Debug, Default)]
pub struct Heard {
    said: Vec<(u64, What)>,
}

/// Now, in microseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

impl Heard {
    /// How things are at an end.
    pub fn answers(&mut self, end: End, answers: Answers) {
        self.said.push((now(), What::Answers(end, answers)));
    }

    /// Events of an end.
    pub fn events(&mut self, end: End, events: Vec<Value>) {
        let timed = |event: Value| (time(&event).unwrap_or_else(now), What::Event(end, event));
        self.said.extend(events.into_iter().map(timed));
    }

    /// The monitor of an end was closed.
    pub fn closes(&mut self, end: End) {
        self.said.push((now(), What::Closes(end)));
    }

    /// All of it in order of time, as a log that is whole.
    #[must_use]
    pub fn log(mut self) -> Vec<Entry> {
        self.said.sort_by_key(|(at, _)| *at);
        let first = self.said.first().map_or(0, |(at, _)| *at);
        let last = self.said.last().map_or(0, |(at, _)| *at);
        self.said.push((last, What::Ends("the migration has ended".to_owned())));
        let entry = |(at, what): (u64, What)| Entry { us: at.saturating_sub(first), what };
        self.said.into_iter().map(entry).collect()
    }
}
