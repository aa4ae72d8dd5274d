//! A file of a specification, and how items are read from it.
//!
//! Everything in `specs/` is TOML made of arrays of tables (`[[clause]]`, `[[choice]]`, …). Each
//! kind of item is a plain `serde` struct with `deny_unknown_fields`, whose values are
//! [`Spanned`] where a later check wants to point at them:
//!
//! ```text
//! text --parse--> tables --items::<T>("clause")--> Vec<Item<T>> --checks--> what the model uses
//!                    \______________ Diagnostics ______________/
//! ```
//!
//! A bad item never hides the next: every item is read by itself, and an unknown key is noted and
//! then left out, so that the rest of its item is still looked at.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};
use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::de::{DeArray, DeTable, DeValue};

pub use toml::Spanned;

use super::diagnostic::{Diagnostics, SpecError, did_you_mean};

/// A named text. Cheap to clone.
#[derive(Clone)]
pub struct SourceFile(Arc<(String, String)>);

impl SourceFile {
    /// A text under a name, which reports show.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        SourceFile(Arc::new((name.into(), text.into())))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.0
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.1
    }

    /// The nearest span that lies within the text, and on one line if it began as a whole item.
    pub(super) fn clamp(&self, span: Range<usize>) -> Range<usize> {
        let text = self.text();
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let end = text.floor_char_boundary(span.end.clamp(start, text.len()));
        start..end
    }

    /// Parses the file.
    ///
    /// A malformed file yields no items at all: half a file would only give rise to complaints
    /// about what is missing.
    #[must_use]
    pub fn parse<'a>(&'a self, diagnostics: &mut Diagnostics) -> Tables<'a> {
        diagnostics.enter(self);
        let (root, errors) = DeTable::parse_recoverable(self.text());
        if errors.is_empty() {
            return Tables { file: self, root: root.into_inner() };
        }
        diagnostics.malformed();
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            let message = error.message().trim_end();
            diagnostics.push(SpecError::at(
                self,
                span,
                "this is not TOML",
                message.replace('\n', "; "),
            ));
        }
        Tables { file: self, root: DeTable::new() }
    }
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceFile({:?})", self.name())
    }
}

impl SourceCode for SourceFile {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        context_lines_before: usize,
        context_lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let inner = self.text().read_span(span, context_lines_before, context_lines_after)?;
        Ok(Box::new(MietteSpanContents::new_named(
            self.name().to_owned(),
            inner.data(),
            *inner.span(),
            inner.line(),
            inner.column(),
            inner.line_count(),
        )))
    }
}

/// One item of a file, with its whole place.
#[derive(Clone, Debug)]
pub struct Item<T> {
    /// The file that holds it.
    pub file: SourceFile,
    /// Its header, e.g. `[[clause]]`.
    pub span: Range<usize>,
    /// What it says.
    pub value: T,
}

impl<T> Item<T> {
    /// A problem at a place in this item.
    pub fn error(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> SpecError {
        SpecError::at(&self.file, span, message, label)
    }
}

/// The items of a parsed file that nobody has taken yet.
#[derive(Debug)]
pub struct Tables<'a> {
    file: &'a SourceFile,
    root: DeTable<'a>,
}

impl Tables<'_> {
    /// Takes all `[[kind]]` items.
    pub fn items<T: DeserializeOwned>(
        &mut self,
        kind: &str,
        diagnostics: &mut Diagnostics,
    ) -> Vec<Item<T>> {
        let Some(value) = self.root.remove(kind) else { return Vec::new() };
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            diagnostics.push(
                SpecError::at(
                    self.file,
                    span,
                    format!("`{kind}` is not an array of tables"),
                    "this is one value",
                )
                .help(format!("write each as an item that begins with `[[{kind}]]`")),
            );
            return Vec::new();
        };
        items.into_iter().filter_map(|item| read(self.file, item, diagnostics)).collect()
    }

    /// Takes the `[[kind]]` items whose `protocol` is this one.
    pub fn items_of<T: DeserializeOwned>(
        &mut self,
        kind: &str,
        protocol: &str,
        diagnostics: &mut Diagnostics,
    ) -> Vec<Item<T>> {
        let Some(value) = self.root.get_mut(kind) else { return Vec::new() };
        let DeValue::Array(items) = value.get_mut() else { return self.items(kind, diagnostics) };
        let (own, others): (Vec<_>, Vec<_>) = std::mem::replace(items, DeArray::new())
            .into_iter()
            .partition(|item| protocol_of(item).is_some_and(|(name, _)| name == protocol));
        *items = others.into_iter().collect();
        let without_key = own.into_iter().map(|mut item| {
            if let DeValue::Table(table) = item.get_mut() {
                table.remove(PROTOCOL);
            }
            item
        });
        without_key.filter_map(|item| read(self.file, item, diagnostics)).collect()
    }

    /// Complains about every `[[kind]]` item that names none of these protocols. An item whose
    /// protocol is not known cannot be read.
    pub fn protocols(&self, kind: &str, known: &[&str], diagnostics: &mut Diagnostics) {
        let items = self.root.get(kind).map(|value| value.get_ref());
        let Some(DeValue::Array(items)) = items else { return };
        for item in items {
            let error = match protocol_of(item) {
                Some((name, _)) if known.contains(&name) => continue,
                Some((name, span)) => {
                    let message = format!("no protocol with a `[[{kind}]]` is called `{name}`");
                    let error = SpecError::at(self.file, span, message, "unknown protocol");
                    with_help(error, did_you_mean(name, known.iter().copied()))
                }
                None => {
                    let message = format!("a `[[{kind}]]` names its protocol");
                    let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
                    SpecError::at(self.file, item.span(), message, "needs `protocol = \"...\"`")
                        .help(format!("the protocols are {}", known.join(", ")))
                }
            };
            diagnostics.push(error);
            diagnostics.malformed();
        }
    }

    /// Complains about every `[[kind]]`, which has no place in this file, and says what to do.
    pub fn refuse(&mut self, kind: &str, message: &str, help: &str, diagnostics: &mut Diagnostics) {
        let Some((key, _)) = self.root.remove_entry(kind) else { return };
        let error = SpecError::at(self.file, key.span(), message, "not here").help(help);
        diagnostics.push(error);
        diagnostics.malformed();
    }

    /// Complains about every key of the file that was not taken and is not among the `known` ones.
    pub fn finish(self, known: &[&str], diagnostics: &mut Diagnostics) {
        self.known(known, diagnostics);
    }

    /// Complains about every key of the file that is not among these.
    pub fn known(&self, known: &[&str], diagnostics: &mut Diagnostics) {
        for (key, _) in &self.root {
            let name: &str = key.get_ref();
            if known.contains(&name) {
                continue;
            }
            let error = SpecError::at(
                self.file,
                key.span(),
                format!("no table is called `{name}` here"),
                "unknown key",
            );
            diagnostics.push(with_help(error, did_you_mean(name, known.iter().copied())));
        }
    }
}

/// The key that says whose an item is, where several protocols have items of one kind.
const PROTOCOL: &str = "protocol";

/// The protocol that an item names, and where.
fn protocol_of<'a>(item: &'a Spanned<DeValue<'_>>) -> Option<(&'a str, Range<usize>)> {
    let DeValue::Table(table) = item.get_ref() else { return None };
    let value = table.get(PROTOCOL)?;
    let DeValue::String(name) = value.get_ref() else { return None };
    Some((name, value.span()))
}

/// Adds a hint, if there is one.
#[must_use]
pub fn with_help(error: SpecError, help: Option<String>) -> SpecError {
    match help {
        Some(help) => error.help(help),
        None => error,
    }
}

/// Reads one item, noting each unknown key and leaving it out.
fn read<T: DeserializeOwned>(
    file: &SourceFile,
    mut item: Spanned<DeValue<'_>>,
    diagnostics: &mut Diagnostics,
) -> Option<Item<T>> {
    let span = item.span();
    let mut known_bad = false;
    loop {
        let error = match T::deserialize(item.clone().into_deserializer()) {
            Ok(value) => {
                return Some(Item { file: file.clone(), span, value });
            }
            Err(error) => error,
        };
        let at = error.span().unwrap_or_else(|| span.clone());
        let Some((word, known)) = unknown_field(error.message()) else {
            // One complaint is enough for an item that has lost a key it needs.
            if !known_bad || !error.message().starts_with("missing field") {
                diagnostics.push(translate(file, at, error.message()));
            }
            diagnostics.malformed();
            return None;
        };
        let message = format!("`{word}` is not a key here");
        let unknown = SpecError::at(file, at.clone(), message, "unknown key");
        diagnostics.push(with_help(unknown, did_you_mean(&word, known.iter().map(String::as_str))));
        known_bad = true;
        if !remove_key(&mut item, &at) {
            diagnostics.malformed();
            return None;
        }
    }
}

/// Says in our words what serde says of a value.
fn translate(file: &SourceFile, span: Range<usize>, message: &str) -> SpecError {
    let (message, label) = match quoted(message).as_slice() {
        [word, ..] if message.starts_with("missing field") => {
            (format!("`{word}` is missing"), format!("needs `{word}`"))
        }
        [word, known @ ..] if message.starts_with("unknown variant") => {
            let help = did_you_mean(word, known.iter().map(String::as_str));
            let error = SpecError::at(
                file,
                span,
                format!("`{word}` is not a value of this key"),
                "unknown value",
            );
            return with_help(error, help);
        }
        _ => ("this value cannot be used here".to_owned(), message.trim_end().to_owned()),
    };
    SpecError::at(file, span, message, label)
}

/// The unknown field and the known ones, from serde's message.
fn unknown_field(message: &str) -> Option<(String, Vec<String>)> {
    if !message.starts_with("unknown field") {
        return None;
    }
    let mut words = quoted(message).into_iter();
    Some((words.next()?, words.collect()))
}

/// The words between back quotes. A back quote within the first word (a quoted TOML key can hold
/// anything) makes the list useless but harmless.
fn quoted(message: &str) -> Vec<String> {
    message.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Removes the key at this place, however deep; whether there was one.
fn remove_key(value: &mut Spanned<DeValue<'_>>, at: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => {
            let found = table.keys().find(|key| key.span() == *at);
            match found.map(|key| key.get_ref().to_string()) {
                Some(name) => table.remove(name.as_str()).is_some(),
                None => table.iter_mut().any(|(_, value)| remove_key(value, at)),
            }
        }
        DeValue::Array(items) => items.iter_mut().any(|v| remove_key(v, at)),
        _ => false,
    }
}
