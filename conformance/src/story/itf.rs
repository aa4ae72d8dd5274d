//! A counterexample in Apalache's Informal Trace Format (ADR 015): a variable for each field of the state,
//! and three for what happened: `action`, `party`, `clause`.
//!
//! A lasso's `loop` is the index of the state to which the last one leads back.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Story;

/// A whole number that a double holds.
const SAFE: u64 = 1 << 53;

/// The document.
#[must_use]
pub fn document(story: &Story) -> Value {
    let states = story.states();
    let fields: BTreeSet<&str> =
        states.iter().flat_map(|state| state.keys().map(String::as_str)).collect();
    let vars: Vec<&str> = fields.iter().copied().chain(["action", "party", "clause"]).collect();
    let steps = std::iter::once(None).chain(story.lines.iter().map(Some));
    let states: Vec<Value> = states
        .iter()
        .zip(steps)
        .enumerate()
        .map(|(index, (state, line))| {
            let mut out = Map::new();
            out.insert("#meta".into(), json!({ "index": index }));
            for name in &fields {
                out.insert((*name).to_owned(), state.get(*name).map_or_else(absent, itf));
            }
            let text = |text: Option<&str>| Value::from(text.unwrap_or_default());
            out.insert("action".into(), text(line.map_or(Some("init"), |line| Some(&line.event))));
            out.insert("party".into(), text(line.map(|line| &*line.party)));
            out.insert("clause".into(), text(line.and_then(|line| line.clause.as_deref())));
            Value::Object(out)
        })
        .collect();
    let mut document = json!({
        "#meta": {
            "format": "ITF",
            "format-description": "https://apalache-mc.org/docs/adr/015adr-trace.html",
            "description": format!("{}: {}", story.system, story.name),
            "source": story.command,
            "status": if story.violated { "violation" } else { "example" },
        },
        "params": [],
        "vars": vars,
        "states": states,
    });
    if let Some(at) = story.cycle_at {
        document["loop"] = Value::from(at - 1);
    }
    document
}

/// A field that is not there in this state.
fn absent() -> Value {
    json!({ "#unserializable": "absent" })
}

fn itf(value: &Value) -> Value {
    match value {
        Value::Null => absent(),
        Value::Number(number) => match number.as_u64() {
            Some(small) if small < SAFE => value.clone(),
            _ => json!({ "#bigint": number.to_string() }),
        },
        Value::Array(items) => items.iter().map(itf).collect(),
        Value::Object(map) => {
            let pairs: Vec<Value> =
                map.iter().map(|(key, value)| json!([key, itf(value)])).collect();
            json!({ "#map": pairs })
        }
        plain => plain.clone(),
    }
}
