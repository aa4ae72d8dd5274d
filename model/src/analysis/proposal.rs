//! What a proposal's file contains, without exploring anything: its additions to the base, and what they
//! do to VFIO's migration states.

use std::collections::BTreeMap;

use devmig_engine::columns::count;

use super::Outcome;
use super::change::{concerned, is_known, lint_text};
use crate::registry::Library;
use crate::spec::Choice;

/// What a valid proposal contains against the base, as text, and whether the migration states of VFIO are
/// sound, if it touches them.
#[must_use]
pub fn summary(base: &Library, library: &Library) -> (String, Outcome) {
    let mut text = contents(base, library);
    if library.vfio().expect.is_some() {
        let reading = library.vfio().reading(&library.choices());
        let found = library.vfio().lint(base.vfio(), reading);
        text += &format!("\nmigration states, by the reading `{reading}`\n{}", lint_text(&found));
        if !found.is_sound() {
            text += "\nNOT sound: every pair needs one path, and old devices stay what they are\n";
            return (text, Outcome::Unexpected);
        }
    }
    let warnings = match library.warnings.len() {
        0 => String::new(),
        n => format!(", {}", count(n, "warning")),
    };
    (format!("{text}\nno errors{warnings}\n"), Outcome::Expected)
}

/// The kinds of items that have a line of their own; every other kind is listed by its name.
const SHOWN: [&str; 15] = [
    "proposal",
    "expect",
    "decide",
    "scheme-expect",
    "compat-expect",
    "vfio-expect",
    "clause",
    "choice",
    "feature",
    "message",
    "back-end-message",
    "system",
    "vfio-feature",
    "vfio-state",
    "vfio-arc",
];

/// What a valid proposal contains, against the base.
fn contents(base: &Library, library: &Library) -> String {
    let Some(proposal) = &library.proposal else { return String::new() };
    let mut text = format!("{}: {}\n  {}\n\n", proposal.id, proposal.title, proposal.about);
    let mut line = |what: &str, names: Vec<String>| {
        if !names.is_empty() {
            text += &format!("  {what:11}  {}\n", names.join(", "));
        }
    };
    let spec = &library.spec;
    line("rows", proposal.rows.clone());
    let fixes = proposal.fixes.iter();
    let fixes =
        fixes.map(|(c, o)| format!("{} = {}", spec.choice_name(*c), spec.option_name(*c, *o)));
    line("fixes", fixes.collect());
    let mut additions: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (heading, names) in library.additions(base) {
        additions.entry(heading).or_default().extend(names);
    }
    line("features", additions.remove("features").unwrap_or_default());
    let clauses = spec.clauses().iter().filter(|clause| base.spec.clause(&clause.id).is_err());
    line("clauses", clauses.map(|clause| clause.id.clone()).collect());
    let choices = spec.choices().iter().filter(|choice| base.spec.choice(&choice.id).is_err());
    let options = |choice: &Choice| {
        let options: Vec<_> = choice.options.iter().map(|option| option.name.as_str()).collect();
        format!("{} ({})", choice.id, options.join(", "))
    };
    line("choices", choices.map(options).collect());
    for heading in ["messages", "patches", "back-end's"] {
        line(heading, additions.remove(heading).unwrap_or_default());
    }
    let systems = concerned(library, proposal).into_iter().map(|name| {
        let new = if is_known(base, name) { "" } else { " (new)" };
        format!("{name}{new}")
    });
    line("systems", systems.collect());
    for heading in ["states", "states gone", "arcs", "arcs gone"] {
        line(heading, additions.remove(heading).unwrap_or_default());
    }
    let mut others: Vec<(&str, Vec<String>)> = Vec::new();
    for item in library.contents.iter().filter(|item| !SHOWN.contains(&&*item.kind)) {
        match others.iter_mut().find(|(kind, _)| *kind == item.kind) {
            Some((_, names)) => names.push(item.label.clone()),
            None => others.push((&item.kind, vec![item.label.clone()])),
        }
    }
    for (kind, names) in others {
        line(kind, names);
    }
    let decides = library.decisions.iter().skip(base.decisions.len());
    line("decides", decides.map(|decision| decision.system.clone()).collect());
    line(
        "expects",
        match proposal.expects.len() + proposal.schemes.len() + proposal.descriptions.len() {
            0 => Vec::new(),
            n => vec![count(n, "expectation")],
        },
    );
    text
}
