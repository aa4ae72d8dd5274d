//! The page of the keys of a file: every kind of item, its keys, an example, bounds and programs.

use std::collections::BTreeMap;

use devmig_model::analysis::skeleton::example;
use devmig_model::protocol::definition;
use devmig_model::protocol::program::Programs;
use devmig_model::protocol::registration::{Protocol, Section};
use devmig_model::protocol::written;
use devmig_model::registry::schema::{self, Key};
use devmig_model::registry::{self, Library};
use devmig_model::spec::excerpt::{self, Excerpt};
use devmig_model::spec::{ItemKind, Within};
use serde_json::Value;

use super::cell;

/// The page's body.
pub(super) fn body(library: &Library) -> String {
    let mut page = Page { excerpts: excerpt::all(), long: Vec::new(), out: String::new() };
    page.out += "A file consists of items, each of which begins with `[[KIND]]`. An unknown key is an \
                 error. A key without a default in the table has to be there. Numbers are decimal or \
                 hexadecimal (`0x10`), also in steps. `devmig schema proposal` prints the JSON schema \
                 of a proposal, with which an editor can complete and check a file; `devmig proposal \
                 new` writes a proposal to begin with.\n\n";
    page.out += "## Items of no protocol\n\n";
    for kind in registry::common_kinds() {
        page.kind(None, &kind, &kind.schema());
    }
    page.out += "## Items of several protocols\n\nThese items have a key `protocol`, the name of the \
                 protocol to which they belong.\n\n";
    page.kind(None, &definition::common_kind(), &definition::common_kind().schema());
    page.kind(None, &Programs::kind(), &Programs::kind().schema());
    page.kind(None, &written::item_kind(), &written::item_kind().schema());
    page.out += &links(&[registry::words_of_properties()]);
    let (words, loaded) = (registry::words_by_protocol(), library.protocols());
    for ((protocol, kinds), (_, sections)) in registry::tables().into_iter().zip(words) {
        if kinds.is_empty() {
            continue;
        }
        page.out += &format!("## {protocol}\n\n{}", links(&sections));
        for kind in kinds.iter().filter(|kind| !["program", "property"].contains(&kind.name)) {
            page.kind(Some(protocol), kind, &kind.own_schema());
        }
        if let Some((_, loaded)) = loaded.iter().find(|(name, _)| *name == protocol) {
            page.out += &bounds(*loaded);
        }
        page.programs(protocol);
    }
    page.out
}

struct Page {
    excerpts: Vec<Excerpt>,
    /// Lists of words that are too long for a cell, each with its heading.
    long: Vec<(Vec<(String, String)>, String)>,
    out: String,
}

/// More words than this stand in a table of their own.
const SHORT: usize = 8;

impl Page {
    fn kind(&mut self, protocol: Option<&str>, kind: &ItemKind, schema: &Value) {
        self.out += &format!("### `[[{}]]`\n\n{}\n", kind.name, schema::description(schema));
        self.out += match kind.within {
            Within::Any => "\n",
            Within::Proposals => "Only a proposal has it.\n\n",
            Within::BuiltIn => "Only a built-in file has it.\n\n",
        };
        if kind.name == "system" && protocol.is_some() {
            self.out += "Beside the [keys of every system](#items-of-several-protocols):\n\n";
        }
        let first_long = self.long.len();
        self.table("", schema);
        for (words, heading) in self.long.split_off(first_long) {
            self.out += &format!("#### {heading}\n\n| word | meaning |\n|---|---|\n");
            for (word, meaning) in &words {
                self.out += &format!("| `{word}` | {} |\n", cell(meaning));
            }
            self.out.push('\n');
            self.long.push((words, heading));
        }
        let whose = match (protocol, kind.name) {
            // Each protocol has its own.
            (None, "system" | "program") => return,
            (None, "property") => Some("vhost-user"),
            _ => protocol,
        };
        if let Some(example) = example(&self.excerpts, whose, kind) {
            let text = schema::annotated(&example.text, &schema::item(whose, kind));
            self.out += &format!("From `{}`:\n\n```toml\n{text}```\n\n", example.file);
        }
    }

    /// The table of keys, and those of the tables within.
    fn table(&mut self, of: &str, schema: &Value) {
        self.out += "| key | type | default | meaning |\n|---|---|---|---|\n";
        let keys = schema::keys(schema);
        for key in &keys {
            let default = match &key.default {
                None => "required".to_owned(),
                Some(value) if value.is_empty() => "none".to_owned(),
                Some(value) => format!("`{value}`"),
            };
            let (of, meaning) = (cell(&key.of), cell(&self.meaning(key)));
            self.out += &format!("| `{}` | {of} | {default} | {meaning} |\n", key.name);
        }
        self.out.push('\n');
        for key in keys {
            if let Some(within) = &key.within {
                let name = format!("{of}{}", key.name);
                let about = schema::description(within);
                self.out += &format!("Each table of `{name}`: {about}\n\n");
                self.table(&format!("{name}."), within);
            }
        }
    }

    fn meaning(&mut self, key: &Key) -> String {
        let words = &key.words;
        if words.is_empty() || words.len() == 1 {
            return key.meaning.clone();
        }
        if words.len() > SHORT {
            let known = self.long.iter().find(|(known, _)| known == words);
            let heading = known.map(|(_, heading)| heading.clone()).unwrap_or_else(|| {
                let heading = format!("Words of `{}`", key.name);
                self.long.push((words.clone(), heading.clone()));
                heading
            });
            return format!("{} One of the [{heading}](#{}).", key.meaning, anchor(&heading));
        }
        let words = words.iter().map(|(word, meaning)| match meaning.trim_end_matches('.') {
            "" => format!("`{word}`"),
            meaning => format!("`{word}` ({meaning})"),
        });
        format!("{} One of {}.", key.meaning, words.collect::<Vec<_>>().join(", "))
    }

    fn programs(&mut self, protocol: &str) {
        let programs = self.excerpts.iter().filter(|excerpt| {
            excerpt.kind == "program"
                && excerpt.protocol() == Some(protocol)
                && !excerpt.file.starts_with("specs/proposals/")
        });
        let rows = programs.map(|program| {
            let steps = program.table.get("steps").and_then(|steps| steps.as_array());
            let steps = steps.into_iter().flatten().filter_map(|step| step.as_str());
            let steps: Vec<String> = steps.map(|step| format!("`{step}`")).collect();
            let (name, about) = (program.get("name"), program.get("about"));
            let about = cell(about.unwrap_or_default());
            format!("| `{}` | {about} | {} |\n", name.unwrap_or_default(), steps.join(", "))
        });
        let rows: String = rows.collect();
        if !rows.is_empty() {
            self.out += &format!(
                "### Built-in programs of {protocol}\n\n| program | what it does | steps |\n\
                 |---|---|---|\n{rows}\n"
            );
        }
    }
}

/// The places of the words of a protocol.
fn links(sections: &[Section]) -> String {
    let links = sections.iter().map(|(title, _)| {
        let title = title.replace('`', "");
        format!("- [{title}](words.md#{})\n", anchor(&title))
    });
    format!("Its words:\n\n{}\n", links.collect::<String>())
}

/// What a heading is called in a link, as mdBook does it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter_map(|c| match c {
        c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c.to_ascii_lowercase()),
        c if c.is_whitespace() => Some('-'),
        _ => None,
    });
    kept.collect()
}

/// The bounds of the systems of a protocol: what `--scale`, `sizes` and `large` may name.
fn bounds(protocol: &dyn Protocol) -> String {
    let mut known: BTreeMap<&str, (u16, u16)> = BTreeMap::new();
    for bound in protocol.systems().definitions().iter().flat_map(|system| system.bounds()) {
        let range = known.entry(bound.name).or_insert((bound.least, bound.most));
        *range = (range.0.min(bound.least), range.1.max(bound.most));
    }
    if known.is_empty() {
        return String::new();
    }
    let rows =
        known.iter().map(|(name, (least, most))| format!("| `{name}` | {least} | {most} |\n"));
    format!(
        "The bounds of its systems, which `--scale`, `sizes` and `large` may name:\n\n\
         | bound | least | most |\n|---|---|---|\n{}\n",
        rows.collect::<String>()
    )
}
