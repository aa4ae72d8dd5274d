//! The documents that items cite: their versions, and whether a copy of one says what was read.
//!
//! ```text
//!   a copy of a document --paragraphs--> digests --compared with those of citations--> found, or not
//! ```
//!
//! **Invariant.** No text of a document is kept: only the digests of the paragraphs that are cited.

use std::collections::BTreeSet;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Spec;
use super::source::{Citation, Source, Version};

/// All documents.
#[derive(Clone, Debug, Serialize)]
pub struct TextList {
    /// Version of this form.
    pub schema: u32,
    /// The documents, in the order of the file.
    pub texts: Vec<Text>,
}

/// A document.
#[derive(Clone, Debug, Serialize)]
pub struct Text {
    /// As items cite it.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its versions, oldest first.
    pub versions: Vec<TextVersion>,
}

/// A version of a document.
#[derive(Clone, Debug, Serialize)]
pub struct TextVersion {
    /// Its name.
    pub name: String,
    /// The day it was published or written.
    pub date: String,
    /// Where it is found.
    pub url: String,
    /// The exact revision, if it is known.
    pub revision: Option<String>,
    /// It is in no release: only a mailing list has it.
    pub posted: bool,
    /// What distinguishes it.
    pub note: Option<String>,
    /// Clauses and choices that cite it.
    pub citations: usize,
    /// The digests of the paragraphs that are cited, each once.
    pub digests: Vec<String>,
}

/// A copy of a document, compared with what is cited of it.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// Version of this form.
    pub schema: u32,
    /// The document that it was taken for.
    pub text: String,
    /// For each version that is cited with digests: how many paragraphs the copy has.
    pub versions: Vec<CheckedVersion>,
    /// Cited paragraphs that the copy does not have.
    pub missing: Vec<Missing>,
}

/// What a copy has of the paragraphs that are cited in one version.
#[derive(Clone, Debug, Serialize)]
pub struct CheckedVersion {
    /// The version.
    pub name: String,
    /// Paragraphs that the copy has as they were read.
    pub found: usize,
    /// Paragraphs that are cited.
    pub cited: usize,
}

/// A cited paragraph that a copy does not have.
#[derive(Clone, Debug, Serialize)]
pub struct Missing {
    /// The clause or choice that cites it.
    pub item: String,
    /// The version in which it was read.
    pub version: String,
    /// The heading path to it.
    pub place: Vec<String>,
    /// Its digest.
    pub digest: String,
}

/// The SHA-256 of a paragraph with white space normalised, as citations write it.
#[must_use]
pub fn digest(paragraph: &str) -> String {
    let normal: Vec<&str> = paragraph.split_whitespace().collect();
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(normal.join(" ")) {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// A line of a C comment without what marks it as one; other lines as they are.
fn uncommented(line: &str) -> &str {
    let line = line.trim();
    let line = line.strip_prefix("/**").or_else(|| line.strip_prefix("/*")).unwrap_or(line);
    let line = line.strip_suffix("*/").unwrap_or(line).trim();
    match line.strip_prefix('*') {
        Some(rest) if rest.is_empty() || rest.starts_with(char::is_whitespace) => rest,
        _ => line,
    }
}

/// The digests of all paragraphs of a document: sequences of lines that are not blank. A C header has
/// those of its comments too.
#[must_use]
pub fn digests(text: &str) -> BTreeSet<String> {
    let plain = text.lines().map(str::to_owned).collect::<Vec<_>>();
    let comments = text.lines().map(|line| uncommented(line).to_owned()).collect();
    let mut all = BTreeSet::new();
    for lines in [plain, comments] {
        for paragraph in lines.split(|line: &String| line.trim().is_empty()) {
            if !paragraph.is_empty() {
                all.insert(digest(&paragraph.join(" ")));
            }
        }
    }
    all
}

impl Spec {
    /// Everything that cites a document, with what it cites.
    fn citing(&self) -> impl Iterator<Item = (&str, &Citation)> {
        let clauses = self.clauses().iter().map(|clause| (clause.id.as_str(), &clause.citation));
        let choices = self.choices().iter().map(|choice| (choice.id.as_str(), &choice.citation));
        clauses.chain(choices)
    }

    /// The documents, their versions, and the digests of what is cited of each.
    #[must_use]
    pub fn texts(&self) -> TextList {
        let version = |at: usize, source: &Source, index: usize, version: &Version| {
            let of = |c: &&Citation| c.source == at && c.version == index;
            let cited: Vec<&Citation> = self.citing().map(|(_, c)| c).filter(of).collect();
            let digests: BTreeSet<_> = cited.iter().filter_map(|c| c.digest.clone()).collect();
            TextVersion {
                name: version.name.clone(),
                date: version.date.clone(),
                url: source.address(version),
                revision: version.revision.clone(),
                posted: version.posted,
                note: version.note.clone(),
                citations: cited.len(),
                digests: digests.into_iter().collect(),
            }
        };
        let text = |(at, source): (usize, &Source)| Text {
            id: source.id.clone(),
            title: source.title.clone(),
            versions: source
                .versions
                .iter()
                .enumerate()
                .map(|(index, v)| version(at, source, index, v))
                .collect(),
        };
        TextList { schema: 1, texts: self.sources().iter().enumerate().map(text).collect() }
    }

    /// Compares a copy of a document with what is cited of it; the document is the one of which the
    /// copy has most, and none if it has nothing of any.
    #[must_use]
    pub fn check_copy(&self, copy: &str) -> Option<Checked> {
        let has = digests(copy);
        let of = |at: usize| self.citing().filter(move |(_, c)| c.source == at);
        let is_there = |c: &Citation| c.digest.as_ref().is_some_and(|digest| has.contains(digest));
        let known = |at: usize| of(at).filter(|(_, c)| is_there(c)).count();
        let at = (0..self.sources().len()).max_by_key(|at| known(*at))?;
        if known(at) == 0 {
            return None;
        }
        let source = self.sources().get(at)?;
        let mut versions = Vec::new();
        for (index, version) in source.versions.iter().enumerate() {
            let cited = of(at).filter(|(_, c)| c.version == index);
            let cited: BTreeSet<&String> = cited.filter_map(|(_, c)| c.digest.as_ref()).collect();
            if !cited.is_empty() {
                let found = cited.iter().filter(|digest| has.contains(**digest)).count();
                let name = version.name.clone();
                versions.push(CheckedVersion { name, found, cited: cited.len() });
            }
        }
        let missing = of(at).filter(|(_, c)| c.digest.is_some() && !is_there(c));
        let missing = missing.map(|(item, c)| Missing {
            item: item.to_owned(),
            version: source.versions.get(c.version).map(|v| v.name.clone()).unwrap_or_default(),
            place: c.place.clone(),
            digest: c.digest.clone().unwrap_or_default(),
        });
        Some(Checked { schema: 1, text: source.id.clone(), versions, missing: missing.collect() })
    }
}
