//! A conversation as a file: one JSON document a line, so that a file which was cut off is still one.
//!
//! ```text
//! {"recording":"vhost-user","schema":1,"devmig":"0.1.0"}
//! {"n":1,"ms":0,"from":"front-end","bytes":"01000000…","fds":0}
//! {"n":2,"ms":1,"from":"back-end","bytes":"…"}
//! {"n":3,"ms":9,"ring":0,"available":12,"used":12}
//! {"n":4,"ms":9,"closes":"front-end"}
//! ```
//!
//! | key | means |
//! |---|---|
//! | `n` | the event's number, from 1 on: a line that is missing is noticed |
//! | `ms` | milliseconds since the conversation began |
//! | `from` | who sent a message: `front-end` or `back-end` |
//! | `channel` | `back-end` for the back-end's channel; left out for the main one |
//! | `bytes` | header and payload in hexadecimal, at most 12 + 4096 bytes |
//! | `omitted` | how many more bytes the header announces that are not kept |
//! | `fds`, `late` | how many descriptors came, and how many of them after the first byte |
//! | `ring`, `available`, `used` | both indices of a split ring, as found in guest memory |
//! | `resumes` | the front-end has just set this base |
//! | `closes` | who closed its end of the main channel |
//! | `ends` | why nothing more was watched |
//!
//! **Invariants.** Reading is bounded: a line is at most [`MAX_LINE`] bytes, and one line is held at a
//! time. A last line without its end is what a cut leaves, and no error.

use std::io::{BufRead, Read as _, Write};

use devmig_model::protocol::vhost_user::wire::{Header, MAX_PAYLOAD};
use serde::{Deserialize, Serialize};

/// The version of this form.
pub const SCHEMA: u32 = 1;
/// The longest line, in bytes, with room for the longest message.
pub const MAX_LINE: usize = 16 * 1024;
/// The most bytes of a message that are kept.
pub const MAX_BYTES: usize = Header::LEN + MAX_PAYLOAD;

/// Who.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The VMM.
    FrontEnd,
    /// The device.
    BackEnd,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Side::FrontEnd => Side::BackEnd,
            Side::BackEnd => Side::FrontEnd,
        }
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Side::FrontEnd => "front-end",
            Side::BackEnd => "back-end",
        })
    }
}

/// Through which socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Channel {
    /// The one that the conversation began on.
    #[default]
    Main,
    /// The one that SET_BACKEND_REQ_FD brought.
    BackEnd,
}

/// A message, or as much of it as came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// Who sent it.
    pub from: Side,
    /// Through which socket.
    pub channel: Channel,
    /// Header and payload.
    pub bytes: Vec<u8>,
    /// Announced and not kept.
    pub omitted: u64,
    /// Descriptors that came with it.
    pub fds: usize,
    /// Those that came after its first byte.
    pub late: usize,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A message.
    Said(Said),
    /// What the memory holds.
    Indices {
        /// Of this ring.
        ring: u8,
        /// The guest's index.
        available: u16,
        /// The back-end's.
        used: u16,
        /// The base that was just set.
        resumes: Option<u16>,
    },
    /// An end of the main channel was closed.
    Closed(Side),
    /// Nothing more was watched.
    Ends(String),
}

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Milliseconds since the conversation began.
    pub ms: u64,
    /// What happened.
    pub what: What,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    recording: String,
    schema: u32,
    devmig: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Line {
    n: u64,
    ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    #[serde(skip_serializing_if = "zero")]
    omitted: u64,
    #[serde(skip_serializing_if = "zero")]
    fds: u64,
    #[serde(skip_serializing_if = "zero")]
    late: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ring: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    available: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resumes: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    closes: Option<Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn zero(n: &u64) -> bool {
    *n == 0
}

/// Why a file is no recording.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Of one line.
    #[error("line {line}: {message}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong.
        message: String,
    },
    /// The file cannot be read on.
    #[error("line {line}: {cause}")]
    Io {
        /// Counted from 1.
        line: u64,
        /// What the system says.
        cause: std::io::Error,
    },
}

/// Writes a recording.
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
        let head = Head {
            recording: "vhost-user".into(),
            schema: SCHEMA,
            devmig: env!("CARGO_PKG_VERSION").into(),
        };
        writeln!(sink, "{}", serde_json::to_string(&head)?)?;
        Ok(Writer { sink, n: 0 })
    }

    /// Adds an event, and makes sure that it has arrived: whatever ends the writer, what it wrote is
    /// whole.
    ///
    /// # Errors
    /// The sink's.
    pub fn write(&mut self, event: &Event) -> std::io::Result<()> {
        self.n += 1;
        let mut line = Line { n: self.n, ms: event.ms, ..Line::default() };
        match &event.what {
            What::Said(said) => {
                line.from = Some(said.from);
                line.channel = (said.channel == Channel::BackEnd).then_some(Side::BackEnd);
                line.bytes = Some(hex(&said.bytes));
                line.omitted = said.omitted;
                (line.fds, line.late) = (said.fds as u64, said.late as u64);
            }
            What::Indices { ring, available, used, resumes } => {
                (line.ring, line.resumes) = (Some(*ring), *resumes);
                (line.available, line.used) = (Some(*available), Some(*used));
            }
            What::Closed(side) => line.closes = Some(*side),
            What::Ends(why) => line.ends = Some(why.clone()),
        }
        writeln!(self.sink, "{}", serde_json::to_string(&line)?)?;
        self.sink.flush()
    }
}

/// Reads a recording, one event at a time.
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
        let first = reader.next_line()?;
        let Some(first) = first else {
            return Err(reader.error("not a recording: it has no first line"));
        };
        let head: Head = serde_json::from_slice(&first)
            .map_err(|error| reader.error(format!("not a recording: {error}")))?;
        if head.recording != "vhost-user" {
            return Err(
                reader.error(format!("a recording of `{}`, not vhost-user", head.recording))
            );
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
        let line_number = self.line + 1;
        let read = self.source.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line);
        read.map_err(|cause| ReadError::Io { line: line_number, cause })?;
        if line.is_empty() {
            return Ok(None);
        }
        self.line = line_number;
        if line.pop_if(|last| *last == b'\n').is_none() {
            if line.len() > MAX_LINE {
                return Err(self.error(format!("longer than {MAX_LINE} bytes")));
            }
            self.cut = true;
            return Ok(None);
        }
        Ok(Some(line))
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn next_event(&mut self) -> Result<Option<Event>, ReadError> {
        let Some(text) = self.next_line()? else { return Ok(None) };
        let line: Line = serde_json::from_slice(&text)
            .map_err(|error| self.error(format!("not an event: {error}")))?;
        self.n += 1;
        if line.n != self.n {
            let message = format!("event {} instead of event {}", line.n, self.n);
            return Err(self.error(message));
        }
        let what = what(&line).map_err(|bad| self.error(bad.to_string()))?;
        Ok(Some(Event { ms: line.ms, what }))
    }
}

/// What is wrong with an event of a recording.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadEvent {
    /// It is of no kind, or of several.
    #[error("an event has exactly one of `from`, `ring`, `closes` and `ends`")]
    Kind,
    /// A message without its bytes.
    #[error("a message has `bytes`")]
    NoBytes,
    /// A message of no length that is kept.
    #[error("a message has 1 to {MAX_BYTES} bytes, not {0}")]
    Length(usize),
    /// More descriptors came late than came.
    #[error("{late} of {fds} descriptors came late")]
    Late {
        /// Those that came late.
        late: u64,
        /// All of them.
        fds: u64,
    },
    /// More descriptors than a message can carry.
    #[error("more than 1024 descriptors")]
    Descriptors,
    /// A channel that does not exist.
    #[error("there is no front-end's channel")]
    Channel,
    /// A ring without its indices.
    #[error("a ring has `available` and `used`")]
    Ring,
    /// An odd number of digits.
    #[error("{0} hexadecimal digits: half a byte too many")]
    HalfByte(usize),
    /// Something else than digits.
    #[error("not hexadecimal")]
    NotHexadecimal,
    /// A message without a whole header.
    #[error("the message is incomplete")]
    Incomplete,
}

fn what(line: &Line) -> Result<What, BadEvent> {
    let kinds =
        [line.from.is_some(), line.ring.is_some(), line.closes.is_some(), line.ends.is_some()];
    if kinds.iter().filter(|is| **is).count() != 1 {
        return Err(BadEvent::Kind);
    }
    if let Some(from) = line.from {
        let bytes = line.bytes.as_deref().ok_or(BadEvent::NoBytes)?;
        let bytes = unhex(bytes)?;
        if bytes.is_empty() || bytes.len() > MAX_BYTES {
            return Err(BadEvent::Length(bytes.len()));
        }
        if line.late > line.fds {
            return Err(BadEvent::Late { late: line.late, fds: line.fds });
        }
        let count = |n: u64| usize::try_from(n).ok().filter(|n| *n <= 1024);
        let (Some(fds), Some(late)) = (count(line.fds), count(line.late)) else {
            return Err(BadEvent::Descriptors);
        };
        let channel = match line.channel {
            None => Channel::Main,
            Some(Side::BackEnd) => Channel::BackEnd,
            Some(Side::FrontEnd) => return Err(BadEvent::Channel),
        };
        return Ok(What::Said(Said { from, channel, bytes, omitted: line.omitted, fds, late }));
    }
    if let Some(ring) = line.ring {
        let (Some(available), Some(used)) = (line.available, line.used) else {
            return Err(BadEvent::Ring);
        };
        return Ok(What::Indices { ring, available, used, resumes: line.resumes });
    }
    Ok(match (line.closes, &line.ends) {
        (Some(side), _) => What::Closed(side),
        (None, why) => What::Ends(why.clone().unwrap_or_default()),
    })
}

/// Bytes as text.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Text as bytes.
///
/// # Errors
/// What is no hexadecimal.
pub fn unhex(text: &str) -> Result<Vec<u8>, BadEvent> {
    if !text.len().is_multiple_of(2) {
        return Err(BadEvent::HalfByte(text.len()));
    }
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    bytes.ok_or(BadEvent::NotHexadecimal)
}

#[cfg(test)]
mod tests;
