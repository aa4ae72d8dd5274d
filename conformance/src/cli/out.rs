//! Where results go.
//!
//! **Invariants.** No control character of a peer's or of a file's reaches a terminal. A reader that has seen enough and closes its end (`| head -1`) is no error: what
//! follows is dropped and the command goes on to its exit code. Any other failure to write is one.

use std::io::{ErrorKind, Write};

use serde::Serialize;

use super::plain::{plain, plain_json};
use super::{Error, Format};

/// A stream of results.
pub(crate) struct Out<'a> {
    sink: Box<dyn Write + 'a>,
    color: bool,
    closed: bool,
}

impl<'a> Out<'a> {
    /// Results go there.
    pub(crate) fn new(sink: impl Write + 'a, color: bool) -> Self {
        Out { sink: Box::new(sink), color, closed: false }
    }

    /// Writes text; verdicts at the beginning of a line or a column get their colour.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Error> {
        let text = plain(text);
        if self.color { self.bytes(painted(&text).as_bytes()) } else { self.bytes(text.as_bytes()) }
    }

    /// Writes a JSON document.
    pub(crate) fn json(&mut self, document: &impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_string_pretty(document)
            .map_err(|error| Error::Write { to: "the report".into(), cause: error.into() })?;
        self.bytes(plain_json(&text).as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes a document that is no JSON: colours nothing.
    pub(crate) fn document(&mut self, text: &str) -> Result<(), Error> {
        self.bytes(plain(text).as_bytes())
    }

    /// Writes a result in one of its forms.
    pub(crate) fn show(
        &mut self,
        format: Format,
        document: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        match format {
            Format::Json => self.json(document),
            Format::Text => self.text(&text()),
        }
    }

    /// Whether verdicts have colours.
    pub(crate) fn color(&self) -> bool {
        self.color
    }

    /// Makes sure that everything has arrived.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        let done = self.sink.flush();
        self.done(done)
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.closed {
            return Ok(());
        }
        let done = self.sink.write_all(bytes);
        self.done(done)
    }

    fn done(&mut self, done: std::io::Result<()>) -> Result<(), Error> {
        match done {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(cause) => Err(Error::Write { to: "the report".into(), cause }),
            Ok(()) => Ok(()),
        }
    }
}

/// Words that are coloured wherever they stand alone.
const COLORS: [(&str, &str); 6] = [
    ("NOT as expected", "31;1"),
    ("holds", "32"),
    ("violated", "33"),
    ("unknown", "35"),
    ("incomplete", "35"),
    ("NOT MET", "31;1"),
];

fn painted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut before = '\n';
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = COLORS.iter().find(|(word, _)| {
            let ends = rest[..].strip_prefix(word).map(|after| after.chars().next());
            !is_word(before) && ends.is_some_and(|next| !next.is_some_and(is_word))
        });
        match word {
            Some((word, color)) => {
                out += &format!("\x1b[{color}m{word}\x1b[0m");
                before = 'x';
                rest = &rest[word.len()..];
            }
            None => {
                out.push(first);
                before = first;
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/')
}
