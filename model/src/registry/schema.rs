//! What a file may hold, from the schemas of all kinds of items: the schema of a whole file, the keys of an
//! item in words, and an item with the meaning of each of its keys as a comment.
//!
//! ```text
//!  ItemKind::schema --> proposal(), specification()   the JSON schema of a file
//!                  \--> keys(), annotated()           the reference of keys, skeletons of proposals
//! ```

use devmig_engine::explore::trace::wrapped;
use schemars::{Schema, json_schema};
use serde_json::{Map, Value, json};

use super::{common_kinds, tables};
use crate::protocol::registration::SHARED;
use crate::spec::{ItemKind, Within};

/// The schema of a proposal file.
#[must_use]
pub fn proposal() -> Schema {
    file(
        Within::Proposals,
        "A proposal for devmig: what it changes, and what it expects of the change.",
    )
}

/// The schema of a file of `specs/`.
#[must_use]
pub fn specification() -> Schema {
    file(Within::BuiltIn, "A file of a specification of devmig.")
}

fn file(of: Within, about: &str) -> Schema {
    let common = common_kinds().into_iter().map(|kind| (None, kind));
    let owned = tables()
        .into_iter()
        .flat_map(|(protocol, kinds)| kinds.into_iter().map(move |kind| (Some(protocol), kind)));
    let mut properties = Map::new();
    for (protocol, kind) in common.chain(owned) {
        if kind.within != Within::Any && kind.within != of {
            continue;
        }
        let schema = item(protocol, &kind);
        let known = properties.entry(kind.name).or_insert_with(|| json!({ "type": "array" }));
        if !SHARED.contains(&kind.name) {
            known["items"] = schema;
        } else if let Value::Array(all) = &mut known["items"]["anyOf"] {
            all.push(schema);
        } else {
            known["items"]["anyOf"] = json!([schema]);
        }
    }
    let mut whole = json_schema!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "description": about,
        "type": "object",
        "additionalProperties": false,
    });
    if of == Within::Proposals {
        properties["proposal"]["minItems"] = 1.into();
        properties["proposal"]["maxItems"] = 1.into();
        whole.insert("required".to_owned(), json!(["proposal"]));
    }
    whole.insert("properties".to_owned(), properties.into());
    whole
}

/// The schema of one item of a kind; the items of a shared kind say whose they are.
#[must_use]
pub fn item(protocol: Option<&str>, kind: &ItemKind) -> Value {
    let mut schema = kind.schema();
    let (Some(protocol), true) = (protocol, SHARED.contains(&kind.name)) else { return schema };
    let about = "The protocol to which it belongs.";
    let protocol_key = json!({ "description": about, "const": protocol });
    if let Some(properties) = schema["properties"].as_object_mut() {
        let rest = std::mem::take(properties);
        properties.insert("protocol".to_owned(), protocol_key);
        properties.extend(rest);
        if kind.name == "system" {
            properties["name"]["pattern"] = format!("^{protocol}/[a-z0-9-]+$").into();
        }
    }
    schema
}

/// A key of an item, in words.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name; for a key of tables within the item with their names before it.
    pub name: String,
    /// The type of its value.
    pub of: String,
    /// Its value if it is left out; none, if it may not be left out.
    pub default: Option<String>,
    /// What it means.
    pub meaning: String,
    /// The words that it takes, with their meanings.
    pub words: Vec<(String, String)>,
    /// The schema of the tables within it.
    pub within: Option<Value>,
}

/// The keys of an item, or of a table in it.
#[must_use]
pub fn keys(schema: &Value) -> Vec<Key> {
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    let of = |(name, key): (&String, &Value)| Key {
        name: name.clone(),
        of: type_of(key),
        default: (!required.contains(&name.as_str().into())).then(|| default(key)),
        meaning: description(key),
        words: words(key),
        within: tables_within(key).cloned(),
    };
    schema["properties"].as_object().into_iter().flatten().map(of).collect()
}

/// What a schema is described as, in one line.
#[must_use]
pub fn description(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().replace('\n', " ")
}

/// The schema of the tables that are the values of a list.
fn tables_within(key: &Value) -> Option<&Value> {
    let items = &key["items"];
    items["properties"].is_object().then_some(items)
}

fn type_of(key: &Value) -> String {
    if let Some(any) = key["anyOf"].as_array() {
        return any.iter().map(type_of).collect::<Vec<_>>().join(" or ");
    }
    if key["const"].is_string() || !words(key).is_empty() && key["type"] != "array" {
        return "word".to_owned();
    }
    match key["type"].as_str() {
        Some("string") => "text".to_owned(),
        Some("integer") => "number".to_owned(),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("array") if tables_within(key).is_some() => "tables".to_owned(),
        Some("array") => match (key["items"].is_object(), key["prefixItems"].as_array()) {
            (_, Some(each)) => format!("list of {}", each.len()),
            (true, _) => match type_of(&key["items"]).as_str() {
                one @ ("text" | "number" | "word") => format!("list of {one}s"),
                _ => "list of lists".to_owned(),
            },
            _ => "list".to_owned(),
        },
        Some(_) => "table".to_owned(),
        None => "value".to_owned(),
    }
}

/// The words that a key takes, or each value of a list.
fn words(key: &Value) -> Vec<(String, String)> {
    if let Some(name) = key["const"].as_str() {
        return vec![(name.to_owned(), String::new())];
    }
    let of = |value: &Value| {
        let name = value["const"].as_str()?.to_owned();
        Some((name, description(value)))
    };
    let one_of = key["oneOf"].as_array().into_iter().flatten().filter_map(of);
    let plain = key["enum"].as_array().into_iter().flatten();
    let plain = plain.filter_map(|name| Some((name.as_str()?.to_owned(), String::new())));
    let own: Vec<_> = one_of.chain(plain).collect();
    match key.get("items") {
        Some(items) if own.is_empty() => words(items),
        _ => own,
    }
}

fn default(key: &Value) -> String {
    match key.get("default") {
        None | Some(Value::Null) => String::new(),
        Some(value) => value.to_string(),
    }
}

/// An item as it is written, with the meaning of each key in a comment before it.
#[must_use]
pub fn annotated(text: &str, schema: &Value) -> String {
    let (mut out, mut of, mut said) = (Vec::new(), schema, Vec::new());
    for line in text.lines() {
        let within = line.strip_prefix("[[").and_then(|rest| rest.split_once("]]"));
        let name = match (within, line.split_once(" = ")) {
            (Some((name, _)), _) => {
                let key = name.split_once('.').map(|(_, key)| key);
                of = key.map_or(schema, |key| &schema["properties"][key]["items"]);
                key.map(|key| (schema, key))
            }
            (None, Some((key, _))) if !key.contains([' ', '"', '{', '#']) => Some((of, key)),
            _ => None,
        };
        if let Some((of, name)) = name {
            let meaning = description(&of["properties"][name]);
            // Once is enough for the tables of a list.
            if said.contains(&meaning) {
                out.push(line.to_owned());
                continue;
            }
            said.push(meaning.clone());
            let lines = wrapped(&format!("# {meaning}"), 2);
            out.extend(lines.lines().enumerate().map(|(n, line)| match n {
                0 => line.to_owned(),
                _ => format!("# {}", line.trim_start()),
            }));
        }
        out.push(line.to_owned());
    }
    out.join("\n") + "\n"
}
