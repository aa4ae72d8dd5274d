//! A counterexample as a Mermaid sequence diagram: a lane for each party, a note for what changes.
//!
//! **Invariant.** Names of lanes are ours (`p0`, `p1`); every text is letters, digits, spaces and a few
//! marks that mean nothing to Mermaid. Any other character is a number: `#59;`.

use std::fmt::Write as _;

use devmig_engine::explore::trace::{self, Line, Look};

use super::Story;

/// The most characters of a text.
const NOTE: usize = 400;

/// The diagram.
#[must_use]
pub fn text(story: &Story) -> String {
    let look = Look::default();
    let lanes = story.lanes();
    let lane = |party: &str| lanes.iter().position(|lane| *lane == party).unwrap_or(0);
    let mut out = String::from("sequenceDiagram\n");
    let title = format!("{}: {} ({})", story.system, story.name, story.verdict());
    let _ = writeln!(out, "    title {}", escaped(&title));
    for (n, party) in lanes.iter().enumerate() {
        let _ = writeln!(out, "    participant p{n} as {}", escaped(party));
    }
    let (set_up, lines) = trace::folded(&story.lines, story.cycle_at, &look);
    let over = match lanes.len() {
        0 | 1 => "p0".to_owned(),
        n => format!("p0,p{}", n - 1),
    };
    if !set_up.is_empty() {
        let _ = writeln!(out, "    Note over {over}: {}", escaped(set_up.trim_end()));
    }
    let mut repeats = false;
    for line in lines {
        if !repeats && story.cycle_at.is_some_and(|at| line.n >= at) {
            out += "    loop repeats forever\n";
            repeats = true;
        }
        step(&mut out, line, &lane, &look);
    }
    if repeats {
        out += "    end\n";
    }
    if let Some(why) = &story.why {
        let _ = writeln!(out, "    Note over {over}: {}", escaped(why));
    }
    out
}

fn step(out: &mut String, line: &Line, lane: &dyn Fn(&str) -> usize, look: &Look<'_>) {
    let from = lane(&line.party);
    let to = line.to.as_deref().map_or(from, lane);
    let (words, changes) = match &line.run {
        Some(run) => (format!("{}-{} run {}", line.n, run.last, run.name), Vec::new()),
        None => (format!("{} {}", line.n, line.event), trace::changes(line, look)),
    };
    // What is read arrives: its arrow is whole. What its party does alone is an arrow to itself.
    let arrow = if line.clause.is_some() { "-x" } else { "->>" };
    let _ = writeln!(out, "    p{from}{arrow}p{to}: {}", escaped(&words));
    let broken = line.clause.iter().map(|clause| format!("violates {clause}"));
    let notes: Vec<String> = changes.into_iter().chain(broken).collect();
    if !notes.is_empty() {
        let notes: Vec<String> = notes.iter().map(|note| escaped(note)).collect();
        let _ = writeln!(out, "    Note over p{to}: {}", notes.join("<br/>"));
    }
}

/// The text as Mermaid shows it and does not read it; a long one is cut.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    let cut = text.chars().count() > NOTE;
    for c in text.chars().take(NOTE) {
        match c {
            // `end` alone is a keyword, and is none with a number in it.
            'a'..='z' | 'A'..='Z' | '0'..='9' | ' ' | '.' | '_' | '/' | '(' | ')' => out.push(c),
            '-' if !out.ends_with('-') => out.push(c),
            c if c.is_control() => {
                for escape in c.escape_unicode() {
                    number(&mut out, escape);
                }
            }
            other => number(&mut out, other),
        }
    }
    if cut {
        out += "...";
    }
    let word = |word: &str| match word {
        "end" => "en#100;".to_owned(),
        other => other.to_owned(),
    };
    out.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn number(out: &mut String, c: char) {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => out.push(c),
        other => {
            let _ = write!(out, "#{};", u32::from(other));
        }
    }
}
