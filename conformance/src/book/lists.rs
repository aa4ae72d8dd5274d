//! The clauses and the choices as documents, and for the console.

use devmig_engine::columns::{count, grid};
use devmig_model::spec::{Clause, Level, Spec, SpecError, matches};
use serde::Serialize;

use super::explain::{self, default, version};

/// Clauses, in one document.
#[derive(Serialize)]
pub struct ClauseList<'a> {
    schema: u32,
    clauses: Vec<ListedClause<'a>>,
}

#[derive(Serialize)]
struct ListedClause<'a> {
    id: &'a str,
    level: Level,
    party: &'a str,
    text: &'a str,
    interpretation: Option<&'a str>,
    source: &'a str,
    version: &'a str,
    since: &'a str,
    until: Option<&'a str>,
    place: &'a [String],
    digest: Option<&'a str>,
    droppable: bool,
    observable: bool,
}

/// All choices, in one document.
#[derive(Serialize)]
pub struct ChoiceList<'a> {
    schema: u32,
    choices: Vec<ListedChoice<'a>>,
    /// For the console.
    #[serde(skip)]
    text: String,
}

#[derive(Serialize)]
struct ListedChoice<'a> {
    id: &'a str,
    question: &'a str,
    default: &'a str,
    options: Vec<ListedOption<'a>>,
    /// What a newer version of the document says, if it no longer leaves the point open.
    #[serde(skip_serializing_if = "Option::is_none")]
    settled: Option<String>,
}

#[derive(Serialize)]
struct ListedOption<'a> {
    name: &'a str,
    text: &'a str,
    seen: &'a [String],
}

impl<'a> ClauseList<'a> {
    /// Those whose ids match any of the patterns; all if there is no pattern.
    ///
    /// # Errors
    /// If a pattern matches nothing.
    pub fn of(spec: &'a Spec, patterns: &[String]) -> Result<Self, SpecError> {
        for pattern in patterns {
            if !spec.clauses().iter().any(|clause| matches(pattern, &clause.id)) {
                spec.clause(pattern)?;
            }
        }
        let wanted = |clause: &&Clause| {
            patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, &clause.id))
        };
        let clauses = spec.clauses().iter().filter(wanted).map(|clause| listed(spec, clause));
        Ok(ClauseList { schema: 1, clauses: clauses.collect() })
    }

    /// A line a clause, and how many there are.
    #[must_use]
    pub fn text(&self) -> String {
        let row = |c: &ListedClause<'_>| {
            vec![c.id.to_owned(), c.level.to_string(), c.party.to_owned(), c.text.to_owned()]
        };
        let rows = grid(&self.clauses.iter().map(row).collect::<Vec<_>>());
        format!("{rows}\n{}\n", count(self.clauses.len(), "clause"))
    }
}

impl<'a> ChoiceList<'a> {
    /// All.
    #[must_use]
    pub fn of(spec: &'a Spec) -> Self {
        let choices = spec.choices().iter().map(|choice| ListedChoice {
            id: &choice.id,
            question: &choice.question,
            default: default(choice),
            settled: explain::settled(spec, choice),
            options: choice
                .options
                .iter()
                .map(|o| ListedOption { name: &o.name, text: &o.text, seen: &o.seen })
                .collect(),
        });
        let texts: Vec<_> = spec.choices().iter().map(|c| explain::choice(spec, c)).collect();
        ChoiceList { schema: 1, choices: choices.collect(), text: texts.join("\n") }
    }

    /// Each with its options.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn listed<'a>(spec: &'a Spec, clause: &'a Clause) -> ListedClause<'a> {
    let name = |index| version(spec, &clause.citation, index).1;
    ListedClause {
        id: &clause.id,
        level: clause.level,
        party: &clause.party,
        text: &clause.text,
        interpretation: clause.interpretation.as_deref(),
        source: version(spec, &clause.citation, 0).0,
        version: name(clause.citation.version),
        since: name(clause.since),
        until: clause.until.map(name),
        place: &clause.citation.place,
        digest: clause.citation.digest.as_deref(),
        droppable: clause.droppable(),
        observable: clause.observable(),
    }
}
