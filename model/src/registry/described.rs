//! What a proposal expects of schemes of compatibility and of descriptions: `[[scheme-expect]]` and
//! `[[compat-expect]]`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::device_model::kind::Kind;
use crate::rivals::{self, Law};
use crate::spec::{Diagnostics, Item, Spanned, Spec, did_you_mean, with_help};

/// An expectation of a scheme of compatibility of `devmig decide device-model`: it violates these
/// laws, and no others.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSchemeExpect {
    /// Name of the scheme.
    scheme: Spanned<String>,
    /// The laws that it violates.
    #[serde(default)]
    violated: Vec<Spanned<String>>,
}

/// An expectation of the answer of `devmig compat` to two descriptions.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCompatExpect {
    /// What it shows.
    about: Spanned<String>,
    /// The description of the device, as JSON.
    source: String,
    /// The description of the host, as JSON.
    destination: String,
    /// What the check answers.
    answer: Answer,
    /// Ids of the clauses for which it refuses; only with `answer = "refused"`.
    #[serde(default)]
    refused_for: Vec<Spanned<String>>,
}

/// What the check answers to two descriptions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The device can migrate.
    Safe,
    /// It cannot.
    Refused,
    /// One of them is not a description.
    Invalid,
}

/// What is expected of a scheme.
#[derive(Clone, Debug)]
pub struct SchemeExpectation {
    /// Its name.
    pub scheme: String,
    /// The laws that it violates; it keeps all others, or has no case of them.
    pub violated: Vec<Law>,
}

/// What is expected of the check.
#[derive(Clone, Debug)]
pub struct CompatExpectation {
    /// What it shows.
    pub about: String,
    /// The device, as JSON.
    pub source: String,
    /// The host, as JSON.
    pub destination: String,
    /// What the check answers.
    pub answer: Answer,
    /// The clauses for which it refuses.
    pub refused_for: Vec<String>,
}

pub(super) fn scheme(item: &Item<RawSchemeExpect>, d: &mut Diagnostics) -> SchemeExpectation {
    let RawSchemeExpect { scheme, violated } = &item.value;
    let names = rivals::names();
    if !names.contains(&scheme.get_ref().as_str()) {
        let message = format!("no scheme is called `{}`", scheme.get_ref());
        let error = item.error(scheme.span(), message, "unknown scheme");
        d.push(with_help(error, did_you_mean(scheme.get_ref(), names)));
    }
    let laws = violated.iter().filter_map(|name| {
        let law = Law::ALL.into_iter().find(|law| law.to_string() == *name.get_ref());
        if law.is_none() {
            let message = format!("no law is called `{}`", name.get_ref());
            let known: Vec<String> = Law::ALL.iter().map(ToString::to_string).collect();
            let known = did_you_mean(name.get_ref(), known.iter().map(String::as_str));
            d.push(with_help(item.error(name.span(), message, "unknown law"), known));
        }
        law
    });
    SchemeExpectation { violated: laws.collect(), scheme: scheme.get_ref().clone() }
}

pub(super) fn compat(
    spec: &Spec,
    item: &Item<RawCompatExpect>,
    d: &mut Diagnostics,
) -> CompatExpectation {
    let RawCompatExpect { about, source, destination, answer, refused_for } = &item.value;
    for clause in refused_for {
        let known = spec.clause_at(item, clause, d).is_some();
        if known && !Kind::ALL.iter().any(|kind| kind.clause() == clause.get_ref()) {
            let message = format!("the check never refuses for `{}`", clause.get_ref());
            d.push(item.error(clause.span(), message, "not a reason"));
        }
    }
    if (*answer == Answer::Refused) == refused_for.is_empty() {
        let message = "a refusal, and nothing else, names the clauses in `refused_for`";
        d.push(item.error(about.span(), message, "in this item"));
    }
    CompatExpectation {
        about: about.get_ref().clone(),
        source: source.clone(),
        destination: destination.clone(),
        answer: *answer,
        refused_for: refused_for.iter().map(|clause| clause.get_ref().clone()).collect(),
    }
}
