//! All that is known of a clause or a choice.
//!
//! ```text
//!   specs/           -> what it says, whom it binds, where it is said, what it leaves open
//!   coverage         -> the properties, tests, faults and recordings that carry it; why one is missing
//!   implementations/ -> who violates it, who reads it how
//! ```

use devmig_engine::clause::ClauseId;
use devmig_model::protocol::vhost_user::properties;
use devmig_model::registry::Library;
use devmig_model::spec::{Choice, Citation, Spec, SpecError, SpecErrors, diagnostic, with_help};

use crate::coverage;
use crate::implementations::{self, Peer, When};
use crate::vhost_user::suite;

/// All that is known of what has this id.
///
/// # Errors
/// If nothing has it: names the nearest.
pub fn explained(library: &Library, id: &str) -> Result<String, SpecErrors> {
    let spec = &library.spec;
    let peers = implementations::builtin(library, &suite::whole(library)?)?;
    match (spec.clause(id), spec.choice(id)) {
        (Ok(found), _) => {
            Ok(clause(spec, found) + &carried(library, id)? + &violated_by(id, &peers))
        }
        (_, Ok(found)) => {
            let text = spec.get_choice(found).map(|found| choice(spec, found)).unwrap_or_default();
            Ok(text + &read_by(id, &peers))
        }
        (Err(error), Err(_)) => {
            let choices = spec.choices().iter().map(|choice| choice.id.as_str());
            let clauses = spec.clauses().iter().map(|clause| clause.id.as_str());
            let near = diagnostic::nearest(id, clauses.chain(choices));
            let help = near.map(|near| format!("did you mean `{near}`?"));
            let help = help.or_else(|| error.advice().map(str::to_owned));
            let message = format!("no clause or choice has the id `{id}`");
            Err(with_help(SpecError::new(message), help).into())
        }
    }
}

/// A paragraph, indented; ids stay whole.
fn paragraph(text: &str, first: &str, rest: &str) -> String {
    let options = textwrap::Options::new(96)
        .initial_indent(first)
        .subsequent_indent(rest)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .break_words(false);
    textwrap::fill(text, options) + "\n"
}

fn field(name: &str, text: &str) -> String {
    paragraph(text, &format!("  {name:14}"), &" ".repeat(16))
}

fn cited(spec: &Spec, citation: &Citation) -> String {
    let mut text = field("source", &spec.cite(citation));
    if let Some(source) = spec.sources().get(citation.source) {
        let version = source.versions.get(citation.version);
        let url = version.map_or_else(|| source.url.clone(), |version| source.address(version));
        text += &field("", &url);
    }
    text + &citation.digest.as_ref().map_or_else(String::new, |d| field("paragraph", d))
}

/// What carries a clause: all that [`coverage`] knows of.
fn carried(library: &Library, name: &str) -> Result<String, SpecErrors> {
    let coverage = coverage::of(library)?;
    let Some(clause) = coverage.clauses.iter().find(|clause| clause.id == name) else {
        return Ok(String::new());
    };
    let mut text = String::new();
    for property in &clause.properties {
        let known = properties::ALL.iter().find(|known| known.name == property);
        let meaning = known.map_or(String::new(), |known| format!(": {}", known.says));
        text += &field("checked by", &format!("{property}{meaning}"));
    }
    let lists = [
        ("tested by", &clause.tests),
        ("mutants", &clause.mutants),
        ("recordings", &clause.recordings),
    ];
    for (what, names) in lists.iter().filter(|(_, names)| !names.is_empty()) {
        text += &field(what, &names.join(", "));
    }
    for exception in &clause.exceptions {
        text += &field(&format!("no {}", coverage::word(exception.what)), &exception.reason);
    }
    Ok(text)
}

/// The real implementations that violate a clause.
fn violated_by(name: &str, peers: &[Peer]) -> String {
    let violates = |peer: &Peer| {
        let deviation = peer.known.iter().find(|known| known.clause == name)?;
        let until = deviation.until.as_ref().map_or(String::new(), |u| format!(", before {u}"));
        let when = if deviation.when == When::Always { "always" } else { "sometimes" };
        let found = format!("{}, since {}{until}: {when}", peer.name, deviation.since);
        Some(field("violated by", &found))
    };
    peers.iter().filter_map(violates).collect()
}

/// How real implementations read a choice.
fn read_by(name: &str, peers: &[Peer]) -> String {
    let reading = |peer: &Peer| {
        let options = peer.readings.get(name)?.join(" or ");
        Some(field("taken by", &format!("{} {}: {options}", peer.name, peer.listed.join(", "))))
    };
    peers.iter().filter_map(reading).collect()
}

/// What a clause says.
fn clause(spec: &Spec, id: ClauseId) -> String {
    let Some(clause) = spec.get(id) else { return String::new() };
    let mut text = format!("{}: {}, {}\n", clause.id, clause.level, clause.party);
    text += &paragraph(&clause.text, "  ", "  ");
    text.push('\n');
    if let Some(reading) = &clause.interpretation {
        text += &field("interpreted", reading);
    }
    text += &cited(spec, &clause.citation);
    text += &field("since", version(spec, &clause.citation, clause.since).1);
    if let Some(until) = clause.until {
        text += &field("until", version(spec, &clause.citation, until).1);
    }
    for replaced in &clause.replaces {
        text += &field("replaces", spec.clause_name(*replaced));
    }
    for choice in spec.choices().iter().filter(|choice| choice.clauses.contains(&id)) {
        text += &field("leaves open", &format!("{}: {}", choice.id, choice.question));
    }
    if let Some(reason) = &clause.structural {
        text += &field("structural", reason);
    }
    if let Some(reason) = &clause.unobservable {
        text += &field("not observable", reason);
    }
    text
}

/// What a choice asks, and its options.
pub(super) fn choice(spec: &Spec, choice: &Choice) -> String {
    let mut text = format!("{}\n", choice.id);
    text += &paragraph(&choice.question, "  ", "  ");
    text.push('\n');
    for option in &choice.options {
        let default = if option.name == default(choice) { " (default)" } else { "" };
        text += &paragraph(&format!("{}{default}: {}", option.name, option.text), "  - ", "    ");
        if !option.seen.is_empty() {
            text += &paragraph(&format!("seen: {}", option.seen.join(", ")), "    ", "    ");
        }
    }
    text.push('\n');
    for clause in &choice.clauses {
        text += &field("left open by", spec.clause_name(*clause));
    }
    if let Some(settled) = settled(spec, choice) {
        text += &field("settled", &settled);
    }
    text + &cited(spec, &choice.citation)
}

/// What a newer version says of a choice, if it no longer leaves it open.
pub(super) fn settled(spec: &Spec, choice: &Choice) -> Option<String> {
    let (since, option) = choice.settled?;
    let (document, version) = version(spec, &choice.citation, since);
    let option = choice.options.get(usize::from(option)).map_or("", |option| &option.name);
    Some(match choice.recommended_by {
        None => format!("{document} {version} demands {option}"),
        Some(clause) => {
            format!("{document} {version} recommends {option} ({})", spec.clause_name(clause))
        }
    })
}

/// The name of the option that holds unless another is chosen.
pub(super) fn default(choice: &Choice) -> &str {
    choice.options.get(usize::from(choice.default)).map_or("", |option| &option.name)
}

/// The name of a document and of a version of it.
pub(super) fn version<'a>(
    spec: &'a Spec,
    citation: &Citation,
    version: usize,
) -> (&'a str, &'a str) {
    let Some(source) = spec.sources().get(citation.source) else { return ("", "") };
    (&source.id, source.versions.get(version).map_or("", |version| &version.name))
}
