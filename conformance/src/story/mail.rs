//! A counterexample for a mailing list: plain ASCII, 72 columns, nothing that a mail program reflows.

use std::fmt::Write as _;

use devmig_engine::explore::trace::{self, Line, Look, wrapped_at};

use super::Story;

/// The columns of a mail.
pub const WIDTH: usize = 72;

/// Several counterexamples as one text.
#[must_use]
pub fn text(stories: &[Story]) -> String {
    let all: Vec<String> = stories.iter().map(one).collect();
    ascii(&all.join("\n"))
}

fn one(story: &Story) -> String {
    let mut out = String::new();
    let paragraph = |title: &str, text: &str| {
        let whole = format!("{title}{}", text.split_whitespace().collect::<Vec<_>>().join(" "));
        wrapped_at(&whole, title.chars().count(), WIDTH) + "\n"
    };
    out += &paragraph("System:    ", &story.system);
    out += &paragraph("           ", &story.about);
    let instance = story.instance.iter().map(|instance| format!(" ({instance})"));
    let name = format!("{}{}", story.name, instance.collect::<String>());
    out += &paragraph("Property:  ", &name);
    for text in story.says.iter().chain(&story.clause.as_ref().map(|id| format!("Clause: {id}."))) {
        out += &paragraph("           ", text);
    }
    out += &paragraph("Verdict:   ", story.verdict());
    out.push('\n');
    out += &steps(story);
    out.push('\n');
    if let Some(why) = &story.why {
        out += &paragraph("Why:       ", why);
    }
    if let Some(note) = &story.note {
        out += &paragraph("           ", note);
    }
    // A command is copied: it is broken nowhere, and stands alone.
    let _ = write!(out, "To reproduce it, with devmig:\n\n    {}\n", story.command);
    out
}

/// The steps that are shown, each with what it changes under it.
fn steps(story: &Story) -> String {
    let look = Look { width: WIDTH, ..Look::default() };
    let (mut out, lines) = trace::folded(&story.lines, story.cycle_at, &look);
    let party = lines.iter().map(|line| line.party.chars().count()).max().unwrap_or(0);
    let mut cycle = story.cycle_at;
    for line in lines {
        if cycle.is_some_and(|at| line.n >= at) {
            out += "      From here on the steps repeat forever:\n";
            cycle = None;
        }
        out += &step(line, party, &look);
    }
    out
}

fn step(line: &Line, party: usize, look: &Look<'_>) -> String {
    let (words, changes) = match &line.run {
        Some(run) => {
            let words =
                format!("run {}, {} messages, to step {}", run.name, run.messages, run.last);
            (words, Vec::new())
        }
        None => (line.event.clone(), trace::changes(line, look)),
    };
    let head = format!("{:>4}  {:party$}  {words}", line.n, line.party);
    let mut out = wrapped_at(&head, 8 + party, WIDTH) + "\n";
    let broken = line.clause.iter().map(|clause| format!("! {clause}"));
    for change in changes.into_iter().chain(broken) {
        out += &(wrapped_at(&format!("        {change}"), 12, WIDTH) + "\n");
    }
    out
}

/// Any other character as Rust writes it: `\u{1b}`. A list may refuse or mangle what is not ASCII.
pub(super) fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | ' '..='~' => out.push(c),
            other => out.extend(other.escape_unicode()),
        }
    }
    out
}
