//! Clauses: one normative requirement each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::diagnostic::{Diagnostics, did_you_mean};
use super::file::{Item, Spanned, with_help};
use super::source::{self, Citation, Cites, Source};
use devmig_engine::clause::ClauseId;

/// How strongly a clause binds, as RFC 2119 spells it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Breaking it is a fault.
    Must,
    /// Breaking it is a warning.
    Should,
    /// A permission.
    May,
}

impl Level {
    /// The levels, strongest first.
    pub const ALL: [Level; 3] = [Level::Must, Level::Should, Level::May];

    /// As RFC 2119 spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
            Level::May => "MAY",
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One normative requirement.
#[derive(Clone, Debug)]
pub struct Clause {
    /// Its id: never positional, never reused.
    pub id: String,
    /// How strongly it binds.
    pub level: Level,
    /// Whom it binds, as its document spells it.
    pub party: String,
    /// The version of its document that introduced it, by index; that which is cited, if the file
    /// names none.
    pub since: usize,
    /// The first version of its document that no longer says it, by index.
    pub until: Option<usize>,
    /// The clauses that it took the place of.
    pub replaces: Vec<ClauseId>,
    /// Where it is said.
    pub citation: Citation,
    /// What it requires, in our words.
    pub text: String,
    /// How the source is read, where it is not RFC 2119 prose.
    pub interpretation: Option<String>,
    /// Whether a model mutant can be made by dropping it; if not, why.
    pub structural: Option<String>,
    /// Why it cannot be observed from outside, so that it holds in exploration only.
    pub unobservable: Option<String>,
}

impl Clause {
    /// Whether dropping it makes a model mutant.
    #[must_use]
    pub fn droppable(&self) -> bool {
        self.structural.is_none()
    }

    /// Whether a test can observe that it is broken.
    #[must_use]
    pub fn observable(&self) -> bool {
        self.unobservable.is_none()
    }

    /// Whether it is in force in this version of its document.
    #[must_use]
    pub fn in_force(&self, version: usize) -> bool {
        self.since <= version && self.until.is_none_or(|until| version < until)
    }
}

/// A clause: one normative requirement.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawClause {
    /// Its id, `PROTOCOL.TOPIC.RULE`: never positional, never reused.
    pub(super) id: Spanned<String>,
    /// `MUST`, `SHOULD` or `MAY`.
    level: Spanned<String>,
    /// The party that it binds: one of the parties of the document.
    party: Spanned<String>,
    /// First version of the document that says it; default: the cited version.
    since: Option<Spanned<String>>,
    /// First version of the document that no longer says it.
    until: Option<Spanned<String>>,
    /// Ids of the clauses that it replaces.
    #[serde(default)]
    pub(super) replaces: Vec<Spanned<String>>,
    /// The cited document and version, `DOCUMENT@VERSION`; always needed.
    source: Option<Spanned<String>>,
    /// The heading path to the cited paragraph; always needed.
    place: Option<Spanned<Vec<String>>>,
    /// `sha256:` and the digest of the cited paragraph, if the document is cited with digests.
    digest: Option<Spanned<String>>,
    /// The requirement, in your own words.
    text: Spanned<String>,
    /// How a source that is not RFC 2119 prose is interpreted.
    interpretation: Option<Spanned<String>>,
    /// `droppable` (default), or `structural`: dropping it makes no mutant of the model; needs
    /// `reason`.
    drop: Option<Spanned<String>>,
    /// False if it cannot be observed from outside; needs `reason`. Default: true.
    observable: Option<Spanned<bool>>,
    /// Why it is structural or unobservable.
    reason: Option<Spanned<String>>,
}

/// Checks one clause, all but what refers to other clauses. What is wrong is noted; the result is
/// only good for finding more.
pub(super) fn check(item: &Item<RawClause>, sources: &[Source], d: &mut Diagnostics) -> Clause {
    let raw = &item.value;
    super::dotted(item, &raw.id, d);
    super::not_empty(item, &raw.text, d);
    for text in raw.interpretation.iter().chain(&raw.reason) {
        super::not_empty(item, text, d);
    }

    let level = Level::ALL.into_iter().find(|level| level.as_str() == raw.level.get_ref());
    if level.is_none() {
        let word = raw.level.get_ref();
        let error =
            item.error(raw.level.span(), format!("`{word}` is not a level"), "unknown level");
        let upper = word.to_uppercase();
        d.push(with_help(error, did_you_mean(&upper, Level::ALL.map(Level::as_str))));
    }

    let cites = Cites {
        id: &raw.id,
        source: raw.source.as_ref(),
        place: raw.place.as_ref(),
        digest: raw.digest.as_ref(),
    };
    let citation = source::cited(item, cites, sources, d);
    let mut version = (0, None);
    if let Some(source) = citation.as_ref().map(|citation| &sources[citation.source]) {
        let party = raw.party.get_ref();
        if !source.parties.contains(party) {
            let message = format!("`{}` has no party `{party}`", source.id);
            let error = item.error(raw.party.span(), message, "unknown party");
            let parties = source.parties.iter().map(String::as_str);
            d.push(with_help(error, did_you_mean(party, parties)));
        }
        version = versions(item, source, citation.as_ref().map_or(0, |c| c.version), d);
    }

    let reason = raw.reason.as_ref().map(|reason| reason.get_ref().clone());
    let structural = match raw.drop.as_ref() {
        None => false,
        Some(drop) => match drop.get_ref().as_str() {
            "droppable" => false,
            "structural" => true,
            word => {
                let message = format!("`{word}` is not a value of `drop`");
                let error = item.error(drop.span(), message, "unknown value");
                d.push(with_help(error, did_you_mean(word, ["droppable", "structural"])));
                false
            }
        },
    };
    let unobservable = raw.observable.as_ref().is_some_and(|seen| !seen.get_ref());
    match &raw.reason {
        None if structural || unobservable => {
            let span = match (&raw.drop, &raw.observable) {
                (Some(drop), _) if structural => drop.span(),
                (_, Some(observable)) => observable.span(),
                _ => raw.id.span(),
            };
            d.push(item.error(span, "this needs a reason", "why?").help("add `reason = \"…\"`"));
        }
        Some(reason) if !structural && !unobservable => {
            d.push(item.error(reason.span(), "a reason without a use", "nothing needs it").help(
                "`reason` goes with `drop = \"structural\"` or `observable = false`; \
                 how the source is read goes into `interpretation`",
            ))
        }
        _ => {}
    }

    Clause {
        id: raw.id.get_ref().clone(),
        level: level.unwrap_or(Level::Must),
        party: raw.party.get_ref().clone(),
        since: version.0,
        until: version.1,
        replaces: Vec::new(),
        citation: citation.unwrap_or(Citation {
            source: 0,
            version: 0,
            place: Vec::new(),
            digest: None,
        }),
        text: raw.text.get_ref().trim().to_owned(),
        interpretation: raw.interpretation.as_ref().map(|text| text.get_ref().trim().to_owned()),
        structural: reason.clone().filter(|_| structural),
        unobservable: reason.filter(|_| unobservable),
    }
}

/// `since` and `until` by index, and whether the cited version lies between them.
fn versions(
    item: &Item<RawClause>,
    source: &Source,
    cited: usize,
    d: &mut Diagnostics,
) -> (usize, Option<usize>) {
    let raw = &item.value;
    let find = |version: &Spanned<String>, d: &mut Diagnostics| {
        source::version_of(item, source, version.get_ref(), version.span(), d)
    };
    let since = raw.since.as_ref().map_or(Some(cited), |since| find(since, d));
    let until = raw.until.as_ref().and_then(|until| find(until, d));
    let begins = raw.since.as_ref().or(raw.source.as_ref());
    if let (Some(since), Some(until), Some(written), Some(begins)) =
        (since, until, &raw.until, begins)
        && until <= since
    {
        d.push(
            item.error(written.span(), "`until` is not later than `since`", "ends here")
                .and(begins.span(), "begins here"),
        );
    } else if let (Some(since), Some(written), Some(begins)) = (since, &raw.source, begins)
        && (cited < since || until.is_some_and(|until| cited >= until))
    {
        let message = "the clause is not valid in the cited version";
        d.push(item.error(written.span(), message, "cited").and(begins.span(), "since"));
    }
    (since.unwrap_or(0), until)
}
