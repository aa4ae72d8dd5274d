//! Choices: points that a text leaves open, with named options.

use serde::Deserialize;

use super::diagnostic::{Diagnostics, did_you_mean};
use super::file::{Item, Spanned, with_help};
use super::source::{self, Citation, Cites, Source};
use crate::clause::ClauseId;
use crate::rules::MAX_OPTIONS;

/// A point that a text leaves open.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Its id: never positional, never reused.
    pub id: String,
    /// What is asked.
    pub question: String,
    /// The option that exploration takes unless told otherwise, by index.
    pub default: u8,
    /// The clauses that leave it open.
    pub clauses: Vec<ClauseId>,
    /// Where the text leaves it open.
    pub citation: Citation,
    /// The options, at most eight.
    pub options: Vec<ChoiceOption>,
}

/// One reading of an open point.
#[derive(Clone, Debug)]
pub struct ChoiceOption {
    /// Its name, e.g. `drain`.
    pub name: String,
    /// What it means.
    pub text: String,
    /// Implementations that were seen to read it so.
    pub seen: Vec<String>,
}

/// `[[choice]]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawChoice {
    pub(super) id: Spanned<String>,
    question: Spanned<String>,
    default: Spanned<String>,
    #[serde(default)]
    pub(super) clauses: Vec<Spanned<String>>,
    source: Option<Spanned<String>>,
    place: Option<Spanned<Vec<String>>>,
    digest: Option<Spanned<String>>,
    #[serde(default)]
    option: Vec<RawOption>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawOption {
    name: Spanned<String>,
    text: Spanned<String>,
    #[serde(default)]
    seen: Vec<String>,
}

/// Checks one choice, all but its references to clauses.
pub(super) fn check(item: &Item<RawChoice>, sources: &[Source], d: &mut Diagnostics) -> Choice {
    let raw = &item.value;
    super::dotted(item, &raw.id, d);
    super::not_empty(item, &raw.question, d);
    for (i, option) in raw.option.iter().enumerate() {
        super::word(item, &option.name, d);
        super::not_empty(item, &option.text, d);
        let same = raw.option[..i].iter().find(|o| o.name.get_ref() == option.name.get_ref());
        if let Some(same) = same {
            let message = format!("option `{}` is listed twice", option.name.get_ref());
            d.push(
                item.error(option.name.span(), message, "again here")
                    .and(same.name.span(), "first here"),
            );
        }
    }
    if raw.option.len() < 2 {
        d.push(
            item.error(raw.id.span(), "a choice without a choice", "has fewer than two options")
                .help("add `[[choice.option]]` with `name` and `text`"),
        );
    }
    if let Some(option) = raw.option.get(MAX_OPTIONS) {
        let message = format!("a choice has at most {MAX_OPTIONS} options");
        d.push(item.error(option.name.span(), message, "one too many"));
    }
    let name = raw.default.get_ref();
    let default = raw.option.iter().position(|option| option.name.get_ref() == name);
    if default.is_none() {
        let message = format!("`{name}` is no option of this choice");
        let error = item.error(raw.default.span(), message, "unknown option");
        let names: Vec<_> = raw.option.iter().map(|o| o.name.get_ref().as_str()).collect();
        d.push(with_help(error, did_you_mean(name, names)));
    }
    let cites = Cites {
        id: &raw.id,
        source: raw.source.as_ref(),
        place: raw.place.as_ref(),
        digest: raw.digest.as_ref(),
    };
    let citation = source::cited(item, cites, sources, d);
    Choice {
        id: raw.id.get_ref().clone(),
        question: raw.question.get_ref().trim().to_owned(),
        default: default.and_then(|i| u8::try_from(i).ok()).unwrap_or(0),
        clauses: Vec::new(),
        citation: citation.unwrap_or(Citation {
            source: 0,
            version: 0,
            place: Vec::new(),
            digest: None,
        }),
        options: raw
            .option
            .iter()
            .map(|option| ChoiceOption {
                name: option.name.get_ref().clone(),
                text: option.text.get_ref().trim().to_owned(),
                seen: option.seen.clone(),
            })
            .collect(),
    }
}
