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

use std::ops::Range;

use serde::de::{DeserializeOwned, IntoDeserializer};
use toml::de::{DeArray, DeTable, DeValue};

use super::diagnostic::{Diagnostics, SpecError, did_you_mean};
use super::source_file::SourceFile;

pub use super::spanned::Spanned;

impl SourceFile {
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
        diagnostics.unreadable();
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

impl<'a> Tables<'a> {
    /// Takes all `[[kind]]` items.
    pub fn items<T: DeserializeOwned>(
        &mut self,
        kind: &str,
        diagnostics: &mut Diagnostics,
    ) -> Vec<Item<T>> {
        let items = self.take(kind, diagnostics);
        items.into_iter().filter_map(|item| read(self.file, item, &[], diagnostics).0).collect()
    }

    /// Takes all `[[kind]]` items, each in two parts: the keys that every item of this kind has
    /// (`common`), and the others.
    pub fn items_in_parts<C: DeserializeOwned, O: DeserializeOwned>(
        &mut self,
        kind: &str,
        common: &[&str],
        diagnostics: &mut Diagnostics,
    ) -> Vec<Item<(C, O)>> {
        let items = self.take(kind, diagnostics);
        self.in_parts(items, common, diagnostics)
    }

    /// The same of the items whose `protocol` is this one.
    pub fn items_in_parts_of<C: DeserializeOwned, O: DeserializeOwned>(
        &mut self,
        kind: &str,
        common: &[&str],
        protocol: &str,
        diagnostics: &mut Diagnostics,
    ) -> Vec<Item<(C, O)>> {
        let items = self.take_of(kind, protocol, diagnostics);
        self.in_parts(items, common, diagnostics)
    }

    fn in_parts<C: DeserializeOwned, O: DeserializeOwned>(
        &self,
        items: Vec<toml::Spanned<DeValue<'a>>>,
        common: &[&str],
        diagnostics: &mut Diagnostics,
    ) -> Vec<Item<(C, O)>> {
        let mut parts = Vec::new();
        for mut item in items {
            let mut own = DeTable::new();
            if let DeValue::Table(table) = item.get_mut() {
                let all = std::mem::take(table);
                for (key, value) in all {
                    let is_common = common.contains(&key.get_ref().as_ref());
                    if is_common { &mut *table } else { &mut own }.insert(key, value);
                }
            }
            let own = toml::Spanned::new(item.span(), DeValue::Table(own));
            let (own, has_unknown) = read(self.file, own, common, diagnostics);
            let mut of_common = Diagnostics::default();
            let (common, _) = read(self.file, item, &[], &mut of_common);
            // One complaint is enough for an item with a key that is misspelt.
            if common.is_some() || !has_unknown {
                diagnostics.append(of_common);
            } else {
                diagnostics.malformed();
            }
            let Some((common, own)) = common.zip(own) else { continue };
            let Item { file, span, value } = common;
            parts.push(Item { file, span, value: (value, own.value) });
        }
        parts
    }

    fn take(
        &mut self,
        kind: &str,
        diagnostics: &mut Diagnostics,
    ) -> Vec<toml::Spanned<DeValue<'a>>> {
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
        items.into_iter().collect()
    }

    /// Takes the `[[kind]]` items whose `protocol` is this one.
    pub fn items_of<T: DeserializeOwned>(
        &mut self,
        kind: &str,
        protocol: &str,
        diagnostics: &mut Diagnostics,
    ) -> Vec<Item<T>> {
        let items = self.take_of(kind, protocol, diagnostics);
        items.into_iter().filter_map(|item| read(self.file, item, &[], diagnostics).0).collect()
    }

    fn take_of(
        &mut self,
        kind: &str,
        protocol: &str,
        diagnostics: &mut Diagnostics,
    ) -> Vec<toml::Spanned<DeValue<'a>>> {
        let Some(value) = self.root.get_mut(kind) else { return Vec::new() };
        let DeValue::Array(items) = value.get_mut() else { return self.take(kind, diagnostics) };
        let (mut own, others): (Vec<_>, Vec<_>) = std::mem::replace(items, DeArray::new())
            .into_iter()
            .partition(|item| protocol_of(item).is_some_and(|(name, _)| name == protocol));
        *items = others.into_iter().collect();
        for item in &mut own {
            if let DeValue::Table(table) = item.get_mut() {
                table.remove(PROTOCOL);
            }
        }
        own
    }

    /// Gives each `[[kind]]` item without a `protocol` the one that it belongs to: the one before the `/`
    /// of a system's name, and of other items the only one that the systems of the file have. Where
    /// several or none come into question, the item stays without one.
    pub fn derive_protocols(&mut self, kind: &str, known: &[&str]) {
        let of_systems = match self.root.get("system").map(|value| value.get_ref()) {
            Some(DeValue::Array(items)) => only(items.iter().filter_map(own_protocol)),
            _ => None,
        };
        let of_systems = of_systems.map(str::to_owned);
        let Some(DeValue::Array(items)) = self.root.get_mut(kind).map(toml::Spanned::get_mut)
        else {
            return;
        };
        for item in items.iter_mut() {
            let own = if kind == "system" { own_protocol(item) } else { of_systems.as_deref() };
            let Some(own) = own.filter(|own| known.contains(own)) else { continue };
            let (own, span) = (own.to_owned(), item.span());
            if let DeValue::Table(table) = item.get_mut()
                && !table.contains_key(PROTOCOL)
            {
                let value = DeValue::String(own.into());
                table.insert(
                    toml::Spanned::new(span.clone(), PROTOCOL.into()),
                    toml::Spanned::new(span, value),
                );
            }
        }
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
                    let known = known.join(", ");
                    let help = match kind {
                        "system" => {
                            format!("or call it `PROTOCOL/NAME`; the protocols are {known}")
                        }
                        _ => format!(
                            "it can be left out in a file whose systems are all of one protocol; \
                             the protocols are {known}"
                        ),
                    };
                    SpecError::at(self.file, item.span(), message, "needs `protocol = \"...\"`")
                        .help(help)
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

    /// What the file says, before anything of it is taken.
    #[must_use]
    pub fn written(&self) -> Vec<WrittenItem> {
        let mut all = Vec::new();
        for (kind, value) in &self.root {
            let DeValue::Array(items) = value.get_ref() else { continue };
            all.extend(items.iter().map(|item| {
                let mut texts = Vec::new();
                texts_of(item.get_ref(), &mut texts);
                let name = match item.get_ref() {
                    DeValue::Table(table) => NAMES.iter().find_map(|key| table.get(*key)),
                    _ => None,
                };
                WrittenItem {
                    kind: kind.get_ref().to_string(),
                    label: label(item.get_ref()),
                    file: self.file.clone(),
                    place: name.map_or_else(|| item.span(), toml::Spanned::span),
                    texts,
                }
            }));
        }
        all.sort_by_key(|item| item.place.start);
        all
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
fn protocol_of<'a>(item: &'a toml::Spanned<DeValue<'_>>) -> Option<(&'a str, Range<usize>)> {
    let DeValue::Table(table) = item.get_ref() else { return None };
    let value = table.get(PROTOCOL)?;
    let DeValue::String(name) = value.get_ref() else { return None };
    Some((name, value.span()))
}

/// The protocol that a system belongs to: the one that it names, or the one that its name begins with.
fn own_protocol<'a>(item: &'a toml::Spanned<DeValue<'_>>) -> Option<&'a str> {
    if let Some((name, _)) = protocol_of(item) {
        return Some(name);
    }
    let DeValue::Table(table) = item.get_ref() else { return None };
    let DeValue::String(name) = table.get("name")?.get_ref() else { return None };
    name.split_once('/').map(|(protocol, _)| protocol)
}

/// The only one of these, if all are equal.
fn only<'a>(mut all: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

/// An item as it is written, whatever its kind.
#[derive(Clone, Debug)]
pub struct WrittenItem {
    /// Its kind.
    pub kind: String,
    /// A name by which it is known.
    pub label: String,
    /// Its file.
    pub file: SourceFile,
    /// The place of its name.
    pub place: Range<usize>,
    /// Every text in it.
    pub texts: Vec<String>,
}

/// Every text in a value.
fn texts_of(value: &DeValue<'_>, texts: &mut Vec<String>) {
    match value {
        DeValue::String(text) => texts.push(text.to_string()),
        DeValue::Array(items) => items.iter().for_each(|item| texts_of(item.get_ref(), texts)),
        DeValue::Table(table) => table.iter().for_each(|(_, v)| texts_of(v.get_ref(), texts)),
        _ => {}
    }
}

/// The keys that an item can be known by; the first that it has.
const NAMES: [&str; 7] = ["name", "id", "layer", "from", "capability", "system", "scheme"];

/// The name of an item by which others refer to it.
fn name_of(item: &DeValue<'_>) -> Option<String> {
    let DeValue::Table(table) = item else { return None };
    let mut names = NAMES[..2].iter().filter_map(|key| table.get(*key));
    names.find_map(|name| name.get_ref().as_str().map(str::to_owned))
}

/// A name by which an item is known.
fn label(item: &DeValue<'_>) -> String {
    let DeValue::Table(table) = item else { return "?".to_owned() };
    let text = |key: &str| match table.get(key).map(toml::Spanned::get_ref) {
        Some(DeValue::String(text)) => Some(text.to_string()),
        _ => None,
    };
    let name = NAMES.iter().find_map(|key| text(key));
    match (name, text("to"), text("since"), text("until")) {
        (Some(from), Some(to), ..) => format!("{from} to {to}"),
        (Some(name), ..) => name,
        (None, _, Some(since), None) => format!("since {since}"),
        (None, _, Some(since), Some(until)) => format!("{since} until {until}"),
        (None, _, None, Some(until)) => format!("until {until}"),
        (None, _, None, None) => "?".to_owned(),
    }
}

/// Adds a hint, if there is one.
#[must_use]
pub fn with_help(error: SpecError, help: Option<String>) -> SpecError {
    match help {
        Some(help) => error.help(help),
        None => error,
    }
}

/// How often an item is read again, each time without a mistake that was found in it.
const MAX_READS: usize = 64;

/// The place of a value that stands for one that is missing or wrong, so that the rest of its item is
/// still looked at. No file has such a place.
const NOWHERE: Range<usize> = usize::MAX - 1..usize::MAX;

/// Values that may stand for one that is missing or wrong.
const STAND_INS: [&str; 5] = ["\"\"", "0", "[]", "false", "{}"];

/// A value that stands for one that is missing or wrong.
fn stand_in(text: &'static str) -> toml::Spanned<DeValue<'static>> {
    let value = DeValue::parse(text).map(toml::Spanned::into_inner);
    toml::Spanned::new(NOWHERE, value.unwrap_or(DeValue::Boolean(false)))
}

/// Reads one item, noting everything that is wrong with it; whether a key of it is unknown. Other keys of
/// such items are `also`.
fn read<T: DeserializeOwned>(
    file: &SourceFile,
    mut item: toml::Spanned<DeValue<'_>>,
    also: &[&str],
    diagnostics: &mut Diagnostics,
) -> (Option<Item<T>>, bool) {
    let span = item.span();
    let name = name_of(item.get_ref());
    let (mut has_unknown, mut is_whole) = (false, true);
    let mut tried = 0;
    for _ in 0..MAX_READS {
        let error = match T::deserialize(item.clone().into_deserializer()) {
            Ok(value) if is_whole => {
                return (Some(Item { file: file.clone(), span, value }), has_unknown);
            }
            Ok(_) => break,
            Err(error) => error,
        };
        let at = error.span().unwrap_or_else(|| span.clone());
        if at == NOWHERE {
            // One of another type, or one of the words that are known.
            let word = quoted(error.message()).into_iter().nth(1);
            let next = match word.filter(|_| error.message().starts_with("unknown variant")) {
                Some(word) => toml::Spanned::new(NOWHERE, DeValue::String(word.into())),
                None => {
                    tried += 1;
                    let Some(text) = STAND_INS.get(tried) else { break };
                    stand_in(text)
                }
            };
            if !replace(&mut item, &NOWHERE, &mut Some(next)) {
                break;
            }
            continue;
        }
        settle(&mut item);
        tried = 0;
        if let Some((word, known)) = unknown_field(error.message()) {
            has_unknown = true;
            let mut removed = Vec::new();
            remove_keys(&mut item, &at, &word, &known, &mut removed);
            let found = !removed.is_empty();
            if !found {
                removed.push((word, at));
            }
            for (word, at) in removed {
                let message = format!("`{word}` is not a key here");
                let unknown = SpecError::at(file, at, message, "unknown key");
                let known = known.iter().map(String::as_str).chain(also.iter().copied());
                diagnostics.push(with_help(unknown, did_you_mean(&word, known)));
            }
            if !found {
                break;
            }
            continue;
        }
        is_whole = false;
        let missing = error.message().starts_with("missing field");
        // One complaint is enough for an item that has lost a key it needs.
        if !(has_unknown && missing) {
            diagnostics.push(translate(file, at.clone(), error.message()));
        }
        let first = stand_in(STAND_INS[0]);
        let goes_on = match quoted(error.message()).into_iter().next() {
            Some(key) if missing => add(&mut item, &at, key, &mut Some(first)),
            _ => at != span && replace(&mut item, &at, &mut Some(first)),
        };
        if !goes_on {
            break;
        }
    }
    diagnostics.lost(name);
    (None, has_unknown)
}

/// Gives each value that stands for another one a place by which it is not found again.
fn settle(value: &mut toml::Spanned<DeValue<'_>>) {
    if value.span() == NOWHERE {
        let taken = std::mem::replace(value.get_mut(), DeValue::Boolean(false));
        *value = toml::Spanned::new(usize::MAX..usize::MAX, taken);
    }
    match value.get_mut() {
        DeValue::Table(table) => table.iter_mut().for_each(|(_, value)| settle(value)),
        DeValue::Array(items) => items.iter_mut().for_each(settle),
        _ => {}
    }
}

/// Puts a value in the place of the one at this place, however deep; whether there was one.
fn replace<'a>(
    value: &mut toml::Spanned<DeValue<'a>>,
    at: &Range<usize>,
    by: &mut Option<toml::Spanned<DeValue<'a>>>,
) -> bool {
    if value.span() == *at {
        if let Some(by) = by.take() {
            *value = by;
        }
        return true;
    }
    match value.get_mut() {
        DeValue::Table(table) => table.iter_mut().any(|(_, value)| replace(value, at, by)),
        DeValue::Array(items) => items.iter_mut().any(|value| replace(value, at, by)),
        _ => false,
    }
}

/// Adds a key to the table at this place, however deep; whether there was one.
fn add<'a>(
    value: &mut toml::Spanned<DeValue<'a>>,
    at: &Range<usize>,
    key: String,
    by: &mut Option<toml::Spanned<DeValue<'a>>>,
) -> bool {
    let is_here = value.span() == *at;
    match value.get_mut() {
        DeValue::Table(table) if is_here && !table.contains_key(key.as_str()) => {
            let key = toml::Spanned::new(NOWHERE, key.into());
            if let Some(by) = by.take() {
                table.insert(key, by);
            }
            true
        }
        DeValue::Table(table) => table.iter_mut().any(|(_, value)| add(value, at, key.clone(), by)),
        DeValue::Array(items) => items.iter_mut().any(|value| add(value, at, key.clone(), by)),
        _ => false,
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

/// Removes the key at this place, however deep, and with it every other key of its table that is not
/// among the `known` ones; what was removed, by name and place.
fn remove_keys(
    value: &mut toml::Spanned<DeValue<'_>>,
    at: &Range<usize>,
    word: &str,
    known: &[String],
    removed: &mut Vec<(String, Range<usize>)>,
) {
    match value.get_mut() {
        DeValue::Table(table) => {
            let Some(found) = table.keys().find(|key| key.span() == *at) else {
                for (_, value) in table.iter_mut() {
                    remove_keys(value, at, word, known, removed);
                }
                return;
            };
            // A name that was cut short, at a back quote in it, says nothing about the known ones.
            let whole = found.get_ref().as_ref() == word;
            let unknown = |name: &str| whole && !known.iter().any(|known| known == name);
            let wrong = table.keys().filter(|key| key.span() == *at || unknown(key.get_ref()));
            let wrong: Vec<_> = wrong.map(|key| (key.get_ref().to_string(), key.span())).collect();
            for (name, _) in &wrong {
                table.remove(name.as_str());
            }
            removed.extend(wrong);
        }
        DeValue::Array(items) => {
            for value in items.iter_mut() {
                remove_keys(value, at, word, known, removed);
            }
        }
        _ => {}
    }
}
