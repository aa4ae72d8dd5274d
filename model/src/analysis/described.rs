//! What a proposal expects of schemes of compatibility and of descriptions, against what is so.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use crate::device_model::read;
use crate::registry::described::{Answer, CompatExpectation, SchemeExpectation};
use crate::rivals;

/// A scheme against all laws.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SchemeExpected {
    /// Its name.
    pub scheme: String,
    /// The laws that it should violate.
    pub expected: Vec<String>,
    /// Those that it violates.
    pub violated: Vec<String>,
    /// Whether they are the same.
    pub met: bool,
    #[serde(skip)]
    counterexamples: Vec<String>,
}

/// The check's answer to two descriptions.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CompatExpected {
    /// What it shows.
    pub about: String,
    /// The answer that there should be.
    pub expected: String,
    /// The answer.
    pub found: String,
    /// Whether they are the same.
    pub met: bool,
}

impl SchemeExpected {
    pub(super) fn of(expectation: &SchemeExpectation) -> Self {
        let row = rivals::named(&expectation.scheme);
        let cells = row.iter().flat_map(|row| &row.cells);
        let broken: Vec<_> = cells.filter(|cell| cell.holds == Some(false)).collect();
        let violated: Vec<String> = broken.iter().map(|cell| cell.law.to_string()).collect();
        let expected: Vec<String> = expectation.violated.iter().map(ToString::to_string).collect();
        let same = violated.iter().collect::<BTreeSet<_>>() == expected.iter().collect();
        let shown = broken.iter().filter_map(|cell| {
            cell.counterexample.as_ref().map(|example| format!("{}: {example}", cell.law))
        });
        SchemeExpected {
            scheme: expectation.scheme.clone(),
            counterexamples: shown.collect(),
            met: same && row.is_some(),
            expected,
            violated,
        }
    }

    /// For the console.
    #[must_use]
    pub fn text(&self) -> String {
        let list = |names: &[String]| match names {
            [] => "nothing".to_owned(),
            names => names.join(", "),
        };
        let mut out = format!("  scheme {}\n", self.scheme);
        out += &format!("    expected violated: {}", list(&self.expected));
        out += match self.met {
            true => "; met\n",
            false => "; NOT MET\n",
        };
        if !self.met {
            out += &format!("    found violated:    {}\n", list(&self.violated));
            for example in &self.counterexamples {
                out += &format!("    {example}\n");
            }
        }
        out
    }
}

impl CompatExpected {
    pub(super) fn of(expectation: &CompatExpectation) -> Self {
        let CompatExpectation { about, source, destination, answer, refused_for } = expectation;
        let both = read::source(source.as_bytes())
            .and_then(|source| Ok((source, read::destination(destination.as_bytes())?)));
        let found = match both {
            Err(bad) => (Answer::Invalid, BTreeSet::new(), bad.to_string()),
            Ok((source, destination)) => match read::answer(&source, &destination) {
                Ok(_) => (Answer::Safe, BTreeSet::new(), String::new()),
                Err(refusal) => {
                    let clauses = refusal.reasons().iter().map(|reason| reason.kind.clause());
                    (Answer::Refused, clauses.collect(), String::new())
                }
            },
        };
        let wanted: BTreeSet<&str> = refused_for.iter().map(String::as_str).collect();
        CompatExpected {
            about: about.clone(),
            expected: text(*answer, &wanted, ""),
            met: found.0 == *answer && found.1 == wanted,
            found: text(found.0, &found.1, &found.2),
        }
    }

    /// For the console.
    #[must_use]
    pub fn text(&self) -> String {
        let met = if self.met { "met" } else { "NOT MET" };
        let found = match self.met {
            true => String::new(),
            false => format!("    found:    {}\n", self.found),
        };
        format!("  {}\n    expected: {}; {met}\n{found}", self.about, self.expected)
    }
}

fn text(answer: Answer, clauses: &BTreeSet<&str>, why: &str) -> String {
    let clauses: Vec<&str> = clauses.iter().copied().collect();
    match answer {
        Answer::Safe => "safe".to_owned(),
        Answer::Refused => format!("refused for {}", clauses.join(", ")),
        Answer::Invalid if why.is_empty() => "not a description".to_owned(),
        Answer::Invalid => format!("not a description: {why}"),
    }
}
