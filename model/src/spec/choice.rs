//! Choices: points that a text leaves open, with named options.

use schemars::JsonSchema;
use serde::Deserialize;

use super::Spec;
use super::diagnostic::{Diagnostics, SpecError, did_you_mean};
use super::file::{Item, Spanned, with_help};
use super::source::{self, Citation, Cites, Source};
use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::rules::{Choices, MAX_OPTIONS, OpenChoice, RuleContext};

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
    /// The version of the document that left it open no more, by index, and the option it took.
    pub settled: Option<(usize, u8)>,
    /// The SHOULD clause by which that version only recommends the option: the others stay possible.
    pub recommended_by: Option<ClauseId>,
    /// Why no machine asks for it, if none does.
    pub unasked: Option<String>,
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

/// A choice whose options are the variants of `O`: a machine asks by the names of options, never by
/// their order in a file. Made by [`choice_ids!`](crate::choice_ids).
#[derive(Clone, Copy, Debug)]
pub struct ChoiceOf<O> {
    id: ChoiceId,
    options: [O; MAX_OPTIONS],
}

impl<O: Copy + PartialEq> ChoiceOf<O> {
    /// Finds a choice and all of its options by name. `first` and `others` have to be exactly the
    /// options that it has: an option that no rule knows, or a rule about an option that is not
    /// there, is noted.
    pub fn resolve(
        spec: &Spec,
        id: &str,
        (first, others): ((&str, O), &[(&str, O)]),
        d: &mut Diagnostics,
    ) -> Self {
        let mut found = ChoiceOf { id: ChoiceId::new(0), options: [first.1; MAX_OPTIONS] };
        match spec.choice(id) {
            Ok(choice) => found.id = choice,
            Err(error) => {
                d.push(error);
                return found;
            }
        }
        let known = || std::iter::once(&first).chain(others);
        let written = spec.get_choice(found.id).map_or(&[][..], |choice| &choice.options);
        for (index, option) in written.iter().enumerate() {
            match known().find(|(name, _)| *name == option.name) {
                Some((_, meaning)) => found.options[index % MAX_OPTIONS] = *meaning,
                None => {
                    let message = format!("no rule knows option `{}` of `{id}`", option.name);
                    let names = known().map(|(name, _)| *name).collect::<Vec<_>>();
                    let help = did_you_mean(&option.name, names);
                    d.push(with_help(SpecError::new(message), help));
                }
            }
        }
        for (name, _) in known().filter(|(name, _)| written.iter().all(|o| o.name != *name)) {
            d.push(SpecError::new(format!("`{id}` has no option `{name}`, which a rule names")));
        }
        found
    }

    /// The choice.
    #[must_use]
    pub fn id(&self) -> ChoiceId {
        self.id
    }

    /// The option that is in force.
    ///
    /// # Errors
    /// [`OpenChoice`] if more than one is possible.
    #[inline]
    pub fn taken(&self, rules: &RuleContext) -> Result<O, OpenChoice> {
        let option = rules.choice(self.id)?;
        self.options.get(usize::from(option)).copied().ok_or(OpenChoice(self.id))
    }

    /// The only option that is possible, if just one is left.
    #[must_use]
    pub fn fixed(&self, choices: &Choices) -> Option<O> {
        self.options.get(usize::from(choices.fixed(self.id)?)).copied()
    }

    /// The choice with one of its options, as rules fix it.
    #[must_use]
    pub fn as_option(&self, wanted: O) -> (ChoiceId, u8) {
        let index = self.options.iter().position(|option| *option == wanted).unwrap_or(0);
        (self.id, index as u8)
    }
}

/// A choice: a point that a specification leaves open, with its interpretations.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawChoice {
    /// Its id, `PROTOCOL.TOPIC.QUESTION`: never reused.
    pub(super) id: Spanned<String>,
    /// What is left open.
    question: Spanned<String>,
    /// The option that exploration takes if nothing else is said.
    default: Spanned<String>,
    /// Ids of the clauses that leave it open.
    #[serde(default)]
    pub(super) clauses: Vec<Spanned<String>>,
    /// The cited document and version, `DOCUMENT@VERSION`; always needed.
    source: Option<Spanned<String>>,
    /// The heading path to the cited paragraph; always needed.
    place: Option<Spanned<Vec<String>>>,
    /// `sha256:` and the digest of the cited paragraph, if the document is cited with digests.
    digest: Option<Spanned<String>>,
    /// First version of the document that no longer leaves it open.
    settled_since: Option<Spanned<String>>,
    /// The option that this version demands.
    settled_as: Option<Spanned<String>>,
    /// Id of the SHOULD clause with which this version only recommends the option.
    pub(super) recommended_by: Option<Spanned<String>>,
    /// Why no rule asks for it, if none does.
    unasked: Option<Spanned<String>>,
    /// Its options, two to eight; their order has no meaning.
    #[serde(default)]
    option: Vec<RawOption>,
}

/// An option of a choice: one interpretation.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawOption {
    /// Its name: lower-case letters and digits, in parts joined by `-`.
    name: Spanned<String>,
    /// What it means.
    text: Spanned<String>,
    /// Implementations that were observed to take it.
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
            item.error(
                raw.id.span(),
                "a choice needs at least two options",
                "has fewer than two options",
            )
            .help("add `[[choice.option]]` with `name` and `text`"),
        );
    }
    if let Some(option) = raw.option.get(MAX_OPTIONS) {
        let message = format!("a choice has at most {MAX_OPTIONS} options");
        d.push(item.error(option.name.span(), message, "one too many"));
    }
    if let Some(unasked) = &raw.unasked {
        super::not_empty(item, unasked, d);
    }
    let default = option(item, &raw.default, d);
    let cites = Cites {
        id: &raw.id,
        source: raw.source.as_ref(),
        place: raw.place.as_ref(),
        digest: raw.digest.as_ref(),
    };
    let citation = source::cited(item, cites, sources, d);
    if let (Some(by), None) = (&raw.recommended_by, &raw.settled_as) {
        let message = "`recommended-by` goes with `settled-as`";
        d.push(item.error(by.span(), message, "without an option"));
    }
    let settled = settled(item, citation.as_ref().map(|c| &sources[c.source]), d);
    Choice {
        id: raw.id.get_ref().clone(),
        question: raw.question.get_ref().trim().to_owned(),
        default: default.unwrap_or(0),
        settled,
        recommended_by: None,
        unasked: raw.unasked.as_ref().map(|text| text.get_ref().trim().to_owned()),
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

/// The index of the option of this name.
fn option(item: &Item<RawChoice>, name: &Spanned<String>, d: &mut Diagnostics) -> Option<u8> {
    let options = &item.value.option;
    let found = options.iter().position(|option| option.name.get_ref() == name.get_ref());
    if found.is_none() {
        let message = format!("`{}` is not an option of this choice", name.get_ref());
        let error = item.error(name.span(), message, "unknown option");
        let names: Vec<_> = options.iter().map(|o| o.name.get_ref().as_str()).collect();
        d.push(with_help(error, did_you_mean(name.get_ref(), names)));
    }
    found.and_then(|i| u8::try_from(i).ok())
}

/// Since when it is settled, and as what.
fn settled(
    item: &Item<RawChoice>,
    source: Option<&Source>,
    d: &mut Diagnostics,
) -> Option<(usize, u8)> {
    let (since, name) = match (&item.value.settled_since, &item.value.settled_as) {
        (Some(since), Some(name)) => (since, name),
        (None, None) => return None,
        (Some(one), None) | (None, Some(one)) => {
            let message = "`settled-since` and `settled-as` go together";
            d.push(item.error(one.span(), message, "without the other"));
            return None;
        }
    };
    let version = source::version_of(item, source?, since.get_ref(), since.span(), d);
    Some((version?, option(item, name, d)?))
}
