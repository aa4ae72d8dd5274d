//! Items of the built-in files as they are written: examples, and what a skeleton begins with.

use super::{builtin_files, builtin_proposals};

/// An item as it is written.
#[derive(Clone, PartialEq, Debug)]
pub struct Excerpt {
    /// Its file, from the root of the repository.
    pub file: String,
    /// Its kind.
    pub kind: String,
    /// The keys and their values.
    pub table: toml::Table,
    /// Its text, from its header to its last line.
    pub text: String,
}

impl Excerpt {
    /// The protocol whose item it says it is: itself, or by the name of a system.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        let of_system = || self.get("name")?.split_once('/').map(|(protocol, _)| protocol);
        self.get("protocol").or_else(|| if self.kind == "system" { of_system() } else { None })
    }

    /// The value of a key, if that is a text.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.table.get(key)?.as_str()
    }
}

/// Proposals that are examples and nothing else: of kinds that no built-in file has.
const EXAMPLES: &[(&str, &str)] =
    &[("docs/examples/property.toml", include_str!("../../../docs/examples/property.toml"))];

/// Every item of every built-in file and proposal, in the order of the files.
#[must_use]
pub fn all() -> Vec<Excerpt> {
    let files = builtin_files().into_iter().chain(builtin_proposals());
    let files = files.map(|(file, text)| (format!("specs/{file}"), text));
    let examples = EXAMPLES.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
    files.chain(examples).flat_map(|(file, text)| of(&file, &text)).collect()
}

/// The items of one file.
#[must_use]
pub fn of(file: &str, text: &str) -> Vec<Excerpt> {
    let mut items: Vec<(String, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        let header = line.strip_prefix("[[").and_then(|rest| rest.split_once("]]"));
        match (header, items.last_mut()) {
            // A table within the item before: `[[choice.option]]`.
            (Some((name, _)), Some((kind, lines)))
                if name.strip_prefix(kind.as_str()).is_some_and(|rest| rest.starts_with('.')) =>
            {
                lines.push(line);
            }
            (Some((name, _)), _) => items.push((name.to_owned(), vec![line])),
            (None, Some((_, lines))) => lines.push(line),
            (None, None) => {}
        }
    }
    let excerpts = items.into_iter().filter_map(|(kind, lines)| {
        let text = lines.join("\n");
        let table = text.parse::<toml::Table>().ok()?;
        let table = table.get(&kind)?.as_array()?.first()?.as_table()?.clone();
        // Comments behind the item belong to what follows.
        let of_item = |line: &&str| !(line.trim().is_empty() || line.starts_with('#'));
        let end = lines.iter().rposition(of_item).map_or(0, |last| last + 1);
        Some(Excerpt { file: file.to_owned(), kind, table, text: lines[..end].join("\n") })
    });
    excerpts.collect()
}
