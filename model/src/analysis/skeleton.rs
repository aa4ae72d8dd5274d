//! A proposal to begin with: every key that it may have, each with its meaning, and examples of further
//! items, which are comments.
//!
//! **Invariant.** A skeleton is made of the schemas and of what is built in, and of nothing else: it has
//! no errors and its expectations are met, because the built-in items are its items.

use serde_json::Value;

use crate::registry::schema::{annotated, item};
use crate::registry::{Library, common_kinds, tables};
use crate::spec::excerpt::{self, Excerpt};
use crate::spec::{ItemKind, Within};

/// The names of the protocols for which there is a skeleton: all.
#[must_use]
pub fn protocols() -> Vec<&'static str> {
    tables().into_iter().map(|(name, _)| name).collect()
}

/// The skeleton of a proposal for a protocol, with this id; none, if there is no such protocol.
#[must_use]
pub fn skeleton(library: &Library, protocol: &str, id: &str) -> Option<String> {
    let (_, own) = tables().into_iter().find(|(name, _)| *name == protocol)?;
    let (_, loaded) = library.protocols().into_iter().find(|(name, _)| *name == protocol)?;
    let systems = loaded.systems().definitions();
    let first = systems.first()?;
    let excerpts = excerpt::all();
    let mut out = format!(
        "# A proposal for {protocol}. Change what is here, and remove what you do not need.\n\
         #\n\
         #   devmig proposal lint FILE     reports every mistake in the file\n\
         #   devmig check --proposal FILE  explores its systems without the proposal and with it\n\
         #   devmig proposal words         lists the words that it may use\n\n"
    );
    let proposal = format!(
        "[[proposal]]\nid = \"{id}\"\ntitle = \"A title in a few words\"\n\
         about = \"What changes, and why.\"\nsystems = [\"{}\"]\n",
        first.name()
    );
    let common = common_kinds();
    out += &live(&common, "proposal", &proposal);
    let name = format!("{protocol}/{id}");
    let is_system =
        |excerpt: &&Excerpt| excerpt.kind == "system" && excerpt.get("name") == Some(first.name());
    let mut expected = first.name().to_owned();
    if let Some(kind) = own.iter().find(|kind| kind.name == "system")
        && let Some(built_in) = excerpts.iter().find(is_system)
    {
        let text = built_in.text.replace(&format!("\"{}\"", first.name()), &format!("\"{name}\""));
        out += &format!("\n# This is the built-in system {}, under another name.\n", first.name());
        out += &annotated(&text, &item(Some(protocol), kind));
        expected = name;
    }
    let properties = loaded.properties();
    let violated = first.common().violated.iter().filter_map(|index| properties.get(*index));
    let violated: Vec<String> = violated.map(|name| format!("\"{name}\"")).collect();
    let expect = format!(
        "[[expect]]\nsystem = \"{expected}\"\nunder = []\nviolated = [{}]\n",
        violated.join(", ")
    );
    out += &format!("\n{}", live(&common, "expect", &expect));
    out += "\n# Further items that the file may hold follow as examples. They are comments: remove the\n\
            # first two characters of each line to use one.\n";
    let shared = common.iter().filter(|kind| ["clause", "choice", "decide"].contains(&kind.name));
    let further = own.iter().filter(|kind| kind.name != "system");
    for (owner, kind) in
        shared.map(|kind| (None, kind)).chain(further.map(|kind| (Some(protocol), kind)))
    {
        if kind.within == Within::BuiltIn {
            continue;
        }
        if let Some(example) = example(&excerpts, owner, kind) {
            out.push('\n');
            for line in annotated(&example.text, &item(owner, kind)).lines() {
                out += format!("# {line}").trim_end();
                out.push('\n');
            }
        }
    }
    Some(out)
}

/// An item that is in force.
fn live(kinds: &[ItemKind], name: &str, text: &str) -> String {
    let kind = kinds.iter().find(|kind| kind.name == name);
    annotated(text, &kind.map_or(Value::Null, ItemKind::schema))
}

/// The longest example, in lines.
const LONGEST: usize = 24;

/// A built-in item of this kind to learn from: of those that are not long, one with the most keys, of a
/// proposal if there is one.
#[must_use]
pub fn example<'e>(
    excerpts: &'e [Excerpt],
    protocol: Option<&str>,
    kind: &ItemKind,
) -> Option<&'e Excerpt> {
    let of = excerpts.iter().filter(|excerpt| {
        let whose = excerpt.protocol();
        excerpt.kind == kind.name && (whose.is_none() || whose == protocol)
    });
    of.max_by_key(|excerpt| {
        let lines = excerpt.text.lines().count();
        let is_proposed = excerpt.file.starts_with("specs/proposals/");
        let is_short = lines <= LONGEST;
        (is_short, is_proposed, excerpt.table.len(), std::cmp::Reverse(lines))
    })
}
