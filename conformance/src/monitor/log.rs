//! What both monitors said, as a file: one JSON document a line, so that a file which was cut off is still one.
//!
//! ```text
//! {"log":"migration-events","schema":1,"devmig":"0.1.0"}
//! {"n":1,"us":0,"from":"source","answers":{"status":"none","running":true}}
//! {"n":2,"us":81250,"from":"source","event":{"event":"MIGRATION","data":{"status":"setup"},…}}
//! {"n":3,"us":912004,"from":"source","closes":true}
//! {"n":4,"us":912010,"ends":"the migration has ended"}
//! ```
//!
//! | key | means |
//! |---|---|
//! | `n` | the number of the line, from 1 on: a line that is missing is noticed |
//! | `us` | microseconds since the log began, by the clock of the host; QEMU's own time of an event |
//! | `from` | who said it: `source` or `destination` |
//! | `event` | an event as QEMU sent it |
//! | `answers` | what `query-migrate` and `query-status` answer: the first line of an end |
//! | `closes` | the monitor was closed: what comes from this end afterwards, another process says |
//! | `ends` | why nothing more was watched, when what was watched for had come |
//!
//! **Invariants.** Reading is bounded: a line is at most [`MAX_LINE`] bytes, and one line is held at a time. A last
//! line without its end is what a cut leaves, and no error.

use std::io::{BufRead, Read as _, Write};

pub use crate::watch::record::ReadError;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of this form.
pub const SCHEMA: u32 = 1;
/// The longest line, in bytes.
pub const MAX_LINE: usize = 64 * 1024;
/// The most lines that are read.
pub const MAX_LINES: u64 = 200_000;
/// What a log says it is.
const LOG: &str = "migration-events";

/// Which end of a migration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The end that sends.
    Source,
    /// The end that receives.
    Destination,
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            End::Source => "source",
            End::Destination => "destination",
        })
    }
}

/// How things are at an end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// The status of the last migration, `none` if there was none.
    pub status: String,
    /// Whether the VM runs.
    pub running: bool,
}

/// What a line says.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// An event, as QEMU sent it.
    Event(End, Value),
    /// An answer.
    Answers(End, Answers),
    /// A monitor was closed.
    Closes(End),
    /// Nothing more was watched, since it was over.
    Ends(String),
}

/// One line.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Microseconds since the log began.
    pub us: u64,
    /// What it says.
    pub what: What,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    log: String,
    schema: u32,
    devmig: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    n: u64,
    us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<End>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<Answers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closes: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<String>,
}

/// Writes a log.
#[derive(Debug)]
pub struct Writer<W> {
    sink: W,
    n: u64,
}

impl<W: Write> Writer<W> {
    /// Begins one.
    ///
    /// # Errors
    /// The sink's.
    pub fn new(mut sink: W) -> std::io::Result<Self> {
        let head =
            Head { log: LOG.into(), schema: SCHEMA, devmig: env!("CARGO_PKG_VERSION").into() };
        writeln!(sink, "{}", serde_json::to_string(&head)?)?;
        Ok(Writer { sink, n: 0 })
    }

    /// Adds a line, and makes sure that it has arrived: whatever ends the writer, what it wrote is whole.
    ///
    /// # Errors
    /// The sink's.
    pub fn write(&mut self, entry: &Entry) -> std::io::Result<()> {
        self.n += 1;
        let mut line = Line { n: self.n, us: entry.us, ..Line::default() };
        match &entry.what {
            What::Event(from, event) => {
                (line.from, line.event) = (Some(*from), Some(event.clone()));
            }
            What::Answers(from, answers) => {
                (line.from, line.answers) = (Some(*from), Some(answers.clone()));
            }
            What::Closes(from) => (line.from, line.closes) = (Some(*from), Some(true)),
            What::Ends(why) => line.ends = Some(why.clone()),
        }
        writeln!(self.sink, "{}", serde_json::to_string(&line)?)?;
        self.sink.flush()
    }
}

/// Reads a log, one line at a time.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    line: u64,
    n: u64,
    /// The last line has no end: the file was cut off there.
    pub cut: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// If it is none, or of a form that is not known.
    pub fn new(source: R) -> Result<Self, ReadError> {
        let mut reader = Reader { source, line: 0, n: 0, cut: false };
        let Some(first) = reader.next_line()? else {
            return Err(reader.error("not a log of events: it has no first line"));
        };
        let head: Head = serde_json::from_slice(&first)
            .map_err(|error| reader.error(format!("not a log of events: {error}")))?;
        if head.log != LOG {
            return Err(reader.error(format!("a log of `{}`, not {LOG}", head.log)));
        }
        if head.schema != SCHEMA {
            let message = format!("schema {} is not known: this is {SCHEMA}", head.schema);
            return Err(reader.error(message));
        }
        Ok(reader)
    }

    fn error(&self, message: impl Into<String>) -> ReadError {
        ReadError::Line { line: self.line.max(1), message: message.into() }
    }

    /// The next whole line, without its end.
    fn next_line(&mut self) -> Result<Option<Vec<u8>>, ReadError> {
        let mut line = Vec::new();
        let number = self.line + 1;
        let read = self.source.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line);
        read.map_err(|cause| ReadError::Io { line: number, cause })?;
        if line.is_empty() {
            return Ok(None);
        }
        self.line = number;
        if number > MAX_LINES {
            return Err(self.error(format!("more than {MAX_LINES} lines")));
        }
        if line.pop_if(|last| *last == b'\n').is_none() {
            if line.len() > MAX_LINE {
                return Err(self.error(format!("longer than {MAX_LINE} bytes")));
            }
            self.cut = true;
            return Ok(None);
        }
        Ok(Some(line))
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn next_entry(&mut self) -> Result<Option<Entry>, ReadError> {
        let Some(text) = self.next_line()? else { return Ok(None) };
        let line: Line = serde_json::from_slice(&text)
            .map_err(|error| self.error(format!("not an event: {error}")))?;
        self.n += 1;
        if line.n != self.n {
            let message = format!("event {} instead of event {}", line.n, self.n);
            return Err(self.error(message));
        }
        let us = line.us;
        let what = match line {
            Line {
                from: Some(from),
                event: Some(event),
                answers: None,
                closes: None,
                ends: None,
                ..
            } => What::Event(from, event),
            Line {
                from: Some(from),
                event: None,
                answers: Some(answers),
                closes: None,
                ends: None,
                ..
            } => What::Answers(from, answers),
            Line {
                from: Some(from),
                event: None,
                answers: None,
                closes: Some(true),
                ends: None,
                ..
            } => What::Closes(from),
            Line {
                from: None, event: None, answers: None, closes: None, ends: Some(why), ..
            } => What::Ends(why),
            _ => {
                let message =
                    "a line has `from` with one of `event`, `answers` and `closes`, or `ends`";
                return Err(self.error(message));
            }
        };
        Ok(Some(Entry { us, what }))
    }

    /// The line that was read last, counted from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }
}
