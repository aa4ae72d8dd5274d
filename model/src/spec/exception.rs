//! Exceptions: what a clause goes without, and why.
//!
//! A clause should have a test that can find it broken, a mutant that breaks it, and a rule for who
//! watches. What lacks one of these says so here, so that nothing is missing by accident.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::diagnostic::{Diagnostics, did_you_mean};
use super::file::{Item, Spanned, with_help};
use super::matches;
use devmig_engine::clause::ClauseId;

/// What a clause can lack.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    /// A test of the suite that finds it broken.
    Test,
    /// A mutant that breaks it and is caught.
    Mutant,
    /// A rule for somebody who watches both parties, and a recording that breaks it.
    Watch,
}

impl Lack {
    const ALL: [(&'static str, Lack); 3] =
        [("test", Lack::Test), ("mutant", Lack::Mutant), ("watch", Lack::Watch)];
}

/// What some clauses go without.
#[derive(Clone, Debug)]
pub struct Exception {
    /// The clauses.
    pub clauses: Vec<ClauseId>,
    /// What they lack.
    pub lacks: Vec<Lack>,
    /// Why.
    pub reason: String,
}

/// What a built-in clause lacks, and why.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawException {
    /// Id of the clause; `*` stands for any characters.
    clause: Spanned<String>,
    /// What it lacks: `test`, `mutant`, `watch`.
    what: Vec<Spanned<String>>,
    /// Why.
    reason: Spanned<String>,
}

/// Checks one exception. `ids` are those of all clauses, in order.
pub(super) fn check(item: &Item<RawException>, ids: &[&str], d: &mut Diagnostics) -> Exception {
    let raw = &item.value;
    super::not_empty(item, &raw.reason, d);
    let pattern = raw.clause.get_ref();
    let concerned = ids.iter().enumerate().filter(|(_, id)| matches(pattern, id));
    let clauses: Vec<_> = concerned.map(|(index, _)| ClauseId::new(index)).collect();
    if clauses.is_empty() {
        let error = item.error(raw.clause.span(), "no clause has this id", "unknown clause");
        d.reference(with_help(error, did_you_mean(pattern, ids.iter().copied())));
    }
    if raw.what.is_empty() {
        d.push(item.error(raw.clause.span(), "an exception without a kind", "`what` is empty"));
    }
    let lack = |word: &Spanned<String>| {
        let found = Lack::ALL.iter().find(|(name, _)| name == word.get_ref());
        if found.is_none() {
            let message = format!("a clause cannot lack a `{}`", word.get_ref());
            let error = item.error(word.span(), message, "not one of these");
            let names = Lack::ALL.iter().map(|(name, _)| *name);
            d.push(with_help(error, did_you_mean(word.get_ref(), names)));
        }
        found.map(|(_, lack)| *lack)
    };
    let lacks = raw.what.iter().filter_map(lack).collect();
    Exception { clauses, lacks, reason: raw.reason.get_ref().trim().to_owned() }
}
