//! The documents that clauses cite.
//!
//! A document has versions, in the order in which they were written; a clause or choice cites one
//! as `vhost-user@10.2`. The version is what makes `since` and `until` comparable.

use schemars::JsonSchema;
use serde::Deserialize;

use super::diagnostic::{Diagnostics, SpecError, did_you_mean};
use super::file::{Item, Spanned, with_help};

/// The part of a document's address that gives way to a version's revision.
const BRANCH: &str = "/master/";

/// A document that clauses cite.
#[derive(Clone, Debug)]
pub struct Source {
    /// What clauses call it, e.g. `vhost-user`.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Where it is found.
    pub url: String,
    /// Whether what it says is cited with a digest; a discussion, or a text of this project's own,
    /// is not.
    pub digests: bool,
    /// The parties that it gives duties to, as it spells them.
    pub parties: Vec<String>,
    /// Its versions, oldest first.
    pub versions: Vec<Version>,
}

impl Source {
    /// The index of a version among [`Source::versions`].
    #[must_use]
    pub fn version(&self, name: &str) -> Option<usize> {
        self.versions.iter().position(|version| version.name == name)
    }

    /// Where a version is found: at its own address, or at the document's, in which the name of a
    /// branch gives way to the exact revision.
    #[must_use]
    pub fn address(&self, version: &Version) -> String {
        match (&version.url, &version.revision) {
            (Some(url), _) => url.clone(),
            (None, Some(revision)) => self.url.replace(BRANCH, &format!("/{revision}/")),
            (None, None) => self.url.clone(),
        }
    }
}

/// One version of a document.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its name, e.g. `10.2`.
    pub name: String,
    /// The day it was published or written, `YYYY-MM-DD`.
    pub date: String,
    /// The exact revision, e.g. a commit of the repository that holds it.
    pub revision: Option<String>,
    /// Where this version is found, if not at the document's address.
    pub url: Option<String>,
    /// What distinguishes it, in a few words.
    pub note: Option<String>,
    /// Whether paragraphs of it are cited with a digest; not if its exact text was not at hand.
    pub digests: bool,
    /// It is in no release: only a mailing list has it.
    pub posted: bool,
}

/// One version of one document, and the place in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Citation {
    /// Index of the document.
    pub source: usize,
    /// Index of its version.
    pub version: usize,
    /// The heading path to the paragraph.
    pub place: Vec<String>,
    /// `sha256:` and the digest of the paragraph with white space normalised.
    pub digest: Option<String>,
}

/// A document that clauses and choices cite.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RawSource {
    /// Name by which items cite it.
    pub(super) id: Spanned<String>,
    /// Its title.
    title: Spanned<String>,
    /// Where it is found.
    url: Spanned<String>,
    /// Whether a paragraph of it is cited with a digest; default: true.
    digests: Option<bool>,
    /// The parties to which it gives duties, as it spells them.
    parties: Vec<Spanned<String>>,
    /// Its versions, oldest first.
    #[serde(default)]
    version: Vec<RawVersion>,
}

/// A version of a document.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawVersion {
    /// Its name, such as `10.2`.
    name: Spanned<String>,
    /// The day of its publication, `YYYY-MM-DD`.
    date: Spanned<String>,
    /// The exact revision, such as a commit.
    revision: Option<String>,
    /// Where this version is found, if not at the address of the document.
    url: Option<String>,
    /// What distinguishes it, in a few words.
    note: Option<String>,
    /// Whether it is cited with digests; false if its exact text was not at hand.
    digests: Option<bool>,
    /// It is in no release: only a mailing list has it.
    #[serde(default)]
    posted: bool,
}

/// Checks one document.
pub(super) fn check(item: &Item<RawSource>, d: &mut Diagnostics) -> Source {
    let raw = &item.value;
    for text in [&raw.title, &raw.url] {
        super::not_empty(item, text, d);
    }
    super::word(item, &raw.id, d);
    if raw.version.is_empty() {
        d.push(
            item.error(raw.id.span(), "a document without a version", "has no version")
                .help("add `[[source.version]]` with `name` and `date`"),
        );
    }
    for (i, version) in raw.version.iter().enumerate() {
        super::not_empty(item, &version.name, d);
        let earlier = &raw.version[..i];
        if let Some(same) = earlier.iter().find(|v| v.name.get_ref() == version.name.get_ref()) {
            let message = format!("version `{}` is listed twice", version.name.get_ref());
            d.push(
                item.error(version.name.span(), message, "again here")
                    .and(same.name.span(), "first here"),
            );
        }
        if !is_date(version.date.get_ref()) {
            let error = item.error(version.date.span(), "this is not a date", "not a day");
            d.push(error.help("write it as `YYYY-MM-DD`"));
        } else if let Some(before) = earlier.last()
            && is_date(before.date.get_ref())
            && before.date.get_ref() > version.date.get_ref()
        {
            d.push(
                item.error(version.date.span(), "versions are listed oldest first", "earlier than")
                    .and(before.date.span(), "this one"),
            );
        }
    }
    Source {
        id: raw.id.get_ref().clone(),
        title: raw.title.get_ref().clone(),
        url: raw.url.get_ref().clone(),
        digests: raw.digests.unwrap_or(true),
        parties: raw.parties.iter().map(|party| party.get_ref().clone()).collect(),
        versions: raw.version.iter().map(RawVersion::version).collect(),
    }
}

impl RawVersion {
    fn version(&self) -> Version {
        Version {
            name: self.name.get_ref().clone(),
            date: self.date.get_ref().clone(),
            revision: self.revision.clone(),
            url: self.url.clone(),
            note: self.note.as_ref().map(|note| note.trim().to_owned()),
            digests: self.digests.unwrap_or(true),
            posted: self.posted,
        }
    }
}

fn is_date(text: &str) -> bool {
    let shape =
        |(i, c): (usize, char)| if i == 4 || i == 7 { c == '-' } else { c.is_ascii_digit() };
    text.chars().count() == 10 && text.chars().enumerate().all(shape)
}

/// The keys by which an item cites a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cites<'a> {
    pub(super) id: &'a Spanned<String>,
    pub(super) source: Option<&'a Spanned<String>>,
    pub(super) place: Option<&'a Spanned<Vec<String>>>,
    pub(super) digest: Option<&'a Spanned<String>>,
}

/// Finds what an item cites.
pub(super) fn cited<T>(
    item: &Item<T>,
    cites: Cites<'_>,
    sources: &[Source],
    d: &mut Diagnostics,
) -> Option<Citation> {
    let Some(written) = cites.source else {
        let id = cites.id.get_ref();
        d.push(
            item.error(cites.id.span(), format!("`{id}` cites no source"), "has no `source`")
                .help("add `source = \"DOCUMENT@VERSION\"`, a document of specs/sources.toml"),
        );
        return None;
    };
    let (name, version) = match written.get_ref().split_once('@') {
        Some(parts) => parts,
        None => {
            d.push(
                item.error(written.span(), "a source needs its version", "no `@VERSION`")
                    .help("write it as `DOCUMENT@VERSION`"),
            );
            return None;
        }
    };
    let Some(index) = sources.iter().position(|source| source.id == name) else {
        let error =
            item.error(written.span(), format!("no document is called `{name}`"), "unknown");
        let names = sources.iter().map(|source| source.id.as_str());
        d.reference(with_help(error, did_you_mean(name, names)));
        return None;
    };
    let source = &sources[index];
    let version = version_of(item, source, version, written.span(), d)?;
    let place = cites.place.map(|place| place.get_ref().clone()).unwrap_or_default();
    if place.is_empty() || place.iter().any(|heading| heading.trim().is_empty()) {
        let span = cites.place.map_or_else(|| written.span(), Spanned::span);
        d.push(
            item.error(span, "a citation needs its place", "no heading")
                .help("add `place = [\"Heading\", \"Subheading\"]`, the path to the paragraph"),
        );
    }
    match cites.digest {
        Some(digest) if !is_digest(digest.get_ref()) => d.push(
            item.error(digest.span(), "this is not a digest", "not `sha256:` and 64 hex digits")
                .help("see specs/README.md for how it is computed"),
        ),
        None if source.digests && source.versions[version].digests => d.push(
            item.error(written.span(), "a cited paragraph needs its digest", "has no `digest`")
                .help("add `digest = \"sha256:…\"`; see specs/README.md for how it is computed"),
        ),
        _ => {}
    }
    let digest = cites.digest.map(|digest| digest.get_ref().clone());
    Some(Citation { source: index, version, place, digest })
}

/// Finds a version of a document.
pub(super) fn version_of<T>(
    item: &Item<T>,
    source: &Source,
    version: &str,
    span: std::ops::Range<usize>,
    d: &mut Diagnostics,
) -> Option<usize> {
    let found = source.version(version);
    if found.is_none() {
        let message = format!("`{}` has no version `{version}`", source.id);
        let error: SpecError = item.error(span, message, "unknown version");
        let names = source.versions.iter().map(|v| v.name.as_str());
        d.push(with_help(error, did_you_mean(version, names)));
    }
    found
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    })
}
