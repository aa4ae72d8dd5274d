//! Counterexamples as one page that needs nothing else: steps by the keyboard, lanes, the state.
//!
//! **Invariant.** The page asks no server for anything (its own policy forbids it), and shows text of a
//! story as text: the template escapes it, and the script sets `textContent` and nothing else.

use askama::Template;
use devmig_engine::explore::trace::Fold;
use serde_json::{Value, json};

use super::{Story, mail};

/// The page, as its template takes it.
#[derive(Template)]
#[template(path = "story.html")]
struct Page {
    title: String,
    /// All stories, as JSON that may stand in a script element.
    data: String,
    /// The same as text, for a browser without scripts.
    text: String,
}

/// The page of these stories.
///
/// # Errors
/// If it cannot be written, which a string can.
pub fn page(stories: &[Story]) -> Result<String, std::fmt::Error> {
    let title = mail::ascii(stories.first().map_or("devmig", |story| &story.system));
    let data: Vec<Value> = stories.iter().map(data).collect();
    let page = Page { title, data: in_script(&Value::from(data)), text: mail::text(stories) };
    page.render().map_err(|_| std::fmt::Error)
}

fn data(story: &Story) -> Value {
    let lines = story.lines.iter().map(|line| {
        json!({
            "n": line.n,
            "party": line.party,
            "to": line.to,
            "event": line.event,
            "clause": line.clause,
            "changed": line.changed,
            "setUp": matches!(line.fold, Fold::SetUp(_)),
            "run": line.run.as_ref().map(|run| &run.name),
        })
    });
    json!({
        "system": story.system,
        "about": story.about,
        "name": story.name,
        "instance": story.instance,
        "clause": story.clause,
        "verdict": story.verdict(),
        "violated": story.violated,
        "says": story.says,
        "why": story.why,
        "note": story.note,
        "command": story.command,
        "cycleAt": story.cycle_at,
        "lanes": story.lanes(),
        "initial": story.initial,
        "lines": lines.collect::<Vec<_>>(),
    })
}

/// JSON that no parser of HTML or JavaScript takes for anything else: what could end the element, and
/// what no page should hold, is written as `\u003c`.
fn in_script(value: &Value) -> String {
    let text = value.to_string();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<'
            | '>'
            | '&'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => out += &format!("\\u{:04x}", u32::from(c)),
            other => out.push(other),
        }
    }
    out
}
