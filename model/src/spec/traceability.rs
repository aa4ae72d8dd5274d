//! Every row of the founding discussions, and what carries it.
//!
//! A row without a carrier and without a reason why it must wait is an error: this file is the proof that
//! nothing said was lost. A row that proposes something is carried by the files of proposals that name it
//! (`rows` in `[[proposal]]`), or says why none can check it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::diagnostic::{Diagnostics, SpecError, SpecErrors, did_you_mean};
use super::file::{Item, Spanned, with_help};
use super::source_file::SourceFile;
use super::{Spec, builtin_proposals, not_empty};
use crate::rivals;
use devmig_engine::clause::{ChoiceId, ClauseId};

/// The built-in file: its name below `specs/`, and its text.
pub const BUILTIN: (&str, &str) =
    ("traceability.toml", include_str!("../../../specs/traceability.toml"));

/// One point that was made in a founding discussion.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its number, e.g. `S4-27`.
    pub row: String,
    /// The point, in a few words.
    pub says: String,
    /// What carries it.
    pub carried_by: Vec<Carrier>,
    /// It proposes something.
    pub proposes: bool,
    /// The built-in proposals that carry it, by the paths of their files below `specs/`.
    pub proposals: Vec<String>,
    /// Why no proposal can check it.
    pub reason: Option<String>,
    /// Why it (or part of it) is not carried yet.
    pub later: Option<String>,
}

/// Something that carries a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Carrier {
    /// A clause.
    Clause(ClauseId),
    /// A choice.
    Choice(ChoiceId),
    /// A system, by its name.
    System(String),
    /// A scheme of compatibility, by the first word of its name.
    Scheme(String),
    /// The book.
    Doc,
}

/// `[[row]]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRow {
    row: Spanned<String>,
    says: Spanned<String>,
    #[serde(default)]
    carried_by: Vec<Spanned<String>>,
    #[serde(default)]
    proposes: bool,
    reason: Option<Spanned<String>>,
    later: Option<Spanned<String>>,
}

/// The part of a `[[proposal]]` that says what it carries.
#[derive(Debug, Deserialize)]
struct Carries {
    #[serde(default)]
    rows: Vec<String>,
}

/// The rows that the built-in proposals carry, by file.
fn proposed() -> Vec<(String, Vec<String>)> {
    let rows = |(name, text): (String, String)| {
        let (file, mut d) = (SourceFile::new(name.clone(), text), Diagnostics::default());
        let items: Vec<Item<Carries>> = file.parse(&mut d).items("proposal", &mut d);
        (name, items.into_iter().flat_map(|item| item.value.rows).collect())
    };
    builtin_proposals().into_iter().map(rows).collect()
}

/// The numbers of all rows.
#[must_use]
pub fn numbers() -> Vec<String> {
    let (file, mut d) = (SourceFile::new(BUILTIN.0, BUILTIN.1), Diagnostics::default());
    let items: Vec<Item<RawRow>> = file.parse(&mut d).items("row", &mut d);
    items.into_iter().map(|item| item.value.row.get_ref().clone()).collect()
}

/// Reads a file of rows.
///
/// # Errors
/// Every problem: a row without number, carrier or reason, one that is defined twice, one that proposes
/// something and has neither a proposal nor a reason, or both, and a clause, choice or (among `systems`, if
/// given) system that does not exist.
pub fn load(
    file: (&str, &str),
    spec: &Spec,
    systems: Option<&[&str]>,
) -> Result<Vec<Row>, SpecErrors> {
    let mut d = Diagnostics::default();
    let file = SourceFile::new(file.0, file.1);
    let mut tables = file.parse(&mut d);
    let items: Vec<Item<RawRow>> = tables.items("row", &mut d);
    tables.finish(&["row"], &mut d);
    let files = proposed();
    let mut seen = BTreeMap::new();
    let mut rows = Vec::new();
    for item in &items {
        let raw = &item.value;
        for text in [&raw.row, &raw.says].into_iter().chain(&raw.later).chain(&raw.reason) {
            not_empty(item, text, &mut d);
        }
        if let Some(first) = seen.insert(raw.row.get_ref(), raw.row.span()) {
            let message = format!("the row `{}` is defined twice", raw.row.get_ref());
            d.push(item.error(raw.row.span(), message, "again here").and(first, "first here"));
        }
        let names = |(file, rows): &(String, Vec<String>)| {
            rows.contains(raw.row.get_ref()).then(|| file.clone())
        };
        let proposals: Vec<String> = files.iter().filter_map(names).collect();
        check_proposal(item, &proposals, &mut d);
        if raw.carried_by.is_empty() && proposals.is_empty() && raw.later.is_none() {
            d.push(
                item.error(raw.row.span(), "no item covers this row", "lost")
                    .help("add the items that cover it to `carried_by`, or a reason to `later`"),
            );
        }
        let carried_by = raw.carried_by.iter().filter_map(|written| {
            carrier(spec, systems, written.get_ref())
                .map_err(|error| d.push(error.placed(&file, written.span(), "unknown")))
                .ok()
        });
        rows.push(Row {
            row: raw.row.get_ref().clone(),
            says: raw.says.get_ref().clone(),
            carried_by: carried_by.collect(),
            proposes: raw.proposes,
            proposals,
            reason: raw.reason.as_ref().map(|reason| reason.get_ref().clone()),
            later: raw.later.as_ref().map(|later| later.get_ref().clone()),
        });
    }
    d.finish(rows)
}

/// A row that proposes something has either proposals or a reason.
fn check_proposal(item: &Item<RawRow>, proposals: &[String], d: &mut Diagnostics) {
    let raw = &item.value;
    match (raw.proposes, &raw.reason, proposals) {
        (true, None, []) => d.push(
            item.error(raw.row.span(), "no proposal checks this row", "proposes something")
                .help("name it in `rows` of a proposal, or say in `reason` why none can check it"),
        ),
        (true, Some(reason), [first, ..]) => {
            let message = format!("`{first}` checks this row, which says that none can");
            d.push(item.error(reason.span(), message, "not so"));
        }
        (false, Some(reason), _) => {
            let message = "only a row that proposes something says why no proposal checks it";
            d.push(item.error(reason.span(), message, "needs `proposes = true`"));
        }
        _ => {}
    }
}

/// What a word among `carried_by` names: it has a slash if it is a system or a file, a dot if it is
/// a clause or a choice.
fn carrier(spec: &Spec, systems: Option<&[&str]>, word: &str) -> Result<Carrier, SpecError> {
    if word == "doc" {
        return Ok(Carrier::Doc);
    }
    if let Some(scheme) = word.strip_prefix("decide:") {
        let all: Vec<&str> = rivals::all().iter().map(|scheme| scheme.name()).collect();
        let first = |name: &&str| name.split(' ').next().unwrap_or_default() == scheme;
        return match all.iter().any(first) {
            true => Ok(Carrier::Scheme(scheme.to_owned())),
            false => {
                let error = SpecError::new(format!("no scheme is called `{scheme}`"));
                Err(with_help(error, did_you_mean(scheme, all.iter().copied())))
            }
        };
    }
    if word.contains('/') {
        return match systems {
            Some(systems) if !systems.contains(&word) => {
                let error = SpecError::new(format!("no system is called `{word}`"));
                Err(with_help(error, did_you_mean(word, systems.iter().copied())))
            }
            _ => Ok(Carrier::System(word.to_owned())),
        };
    }
    match spec.clause(word) {
        Ok(clause) => Ok(Carrier::Clause(clause)),
        Err(_) if spec.choice(word).is_ok() => spec.choice(word).map(Carrier::Choice),
        Err(_) => {
            let known = spec.clause_names().chain(spec.choices().iter().map(|c| c.id.as_str()));
            let error = SpecError::new(format!("no clause or choice has the id `{word}`"));
            Err(with_help(error, did_you_mean(word, known)))
        }
    }
}
