//! What each option of an open choice costs: a system under every combination of options.

use devmig_engine::clause::ChoiceId;
use devmig_engine::explore::decide::{Choice, Decision, decide};
use devmig_engine::rules::Rules;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Error, Explorer, explain};
use crate::protocol::size::Scale;
use crate::registry::{self, Library};
use crate::spec::SpecError;

/// At most so many combinations in one table.
const MOST: usize = 1024;

/// A decision, and the system that it is about.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Decided {
    /// The system.
    pub system: String,
    /// The table.
    #[serde(flatten)]
    pub decision: Decision,
}

/// Several in one document.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "All")]
pub struct Decisions<'a> {
    /// The version of this form: 2. In version 1 the properties `rules-kept`, `deadlock-free` and
    /// `no-starvation` were called `rules`, `stuck` and `progress`, and `X: non-vacuous` was called
    /// `X: can happen`; all else is the same.
    schema: u32,
    /// One for each question, in order.
    decisions: &'a [Decided],
}

impl<'a> Decisions<'a> {
    /// These.
    #[must_use]
    pub fn of(decisions: &'a [Decided]) -> Self {
        Decisions { schema: 2, decisions }
    }
}

impl Decided {
    /// Tries all combinations of the options that a question is about, with other choices fixed, at a
    /// size.
    ///
    /// # Errors
    /// If there is no such system, it cannot be explored, a choice is fixed too, or there are too many
    /// combinations.
    fn of(
        explorer: &Explorer<'_>,
        library: &Library,
        question: &registry::Decision,
        pins: &[(ChoiceId, u8)],
        scale: &Scale,
    ) -> Result<Self, Error> {
        let (system, choices) = (&question.system, &question.choices);
        let protocol = library.system(system, pins, scale)?.protocol().to_owned();
        if let Some((pinned, _)) = pins.iter().find(|(choice, _)| choices.contains(choice)) {
            let name = library.spec.choice_name(*pinned);
            return Err(SpecError::new(format!("`{name}` is both pinned and tried")).into());
        }
        let varied: Vec<_> = choices.iter().map(|id| varied(library, *id)).collect();
        let combinations: usize = varied.iter().map(|choice| choice.options.len()).product();
        if combinations > MOST {
            let message = format!("{combinations} combinations of options are more than {MOST}");
            return Err(SpecError::new(message).help("try fewer choices at once").into());
        }
        // Only the options that are tried differ between rows; the system fixes the others itself.
        let under = |rules: Rules| {
            let tried = choices.iter().filter_map(|id| Some((*id, rules.choices.fixed(*id)?)));
            let options: Vec<_> = pins.iter().copied().chain(tried).collect();
            // Neither a system's name nor its bounds depend on options.
            match library.find_scaled(system, &options, scale) {
                Ok(Some(found)) => found,
                _ => unreachable!("{system} was found before"),
            }
        };
        let mut decision = explorer.explored(library, system, |options| {
            decide(under, &Rules::default(), &varied, options)
        })?;
        for row in &mut decision.rows {
            explain(library, &protocol, &mut row.report);
        }
        Ok(Decided { system: system.clone(), decision })
    }

    /// The same for several questions.
    ///
    /// # Errors
    /// As one of them.
    pub fn all<'q>(
        explorer: &Explorer<'_>,
        library: &Library,
        questions: impl IntoIterator<Item = &'q registry::Decision>,
        pins: &[(ChoiceId, u8)],
        scale: &Scale,
    ) -> Result<Vec<Self>, Error> {
        let questions: Vec<_> = questions.into_iter().collect();
        explorer.expects(questions.len());
        let decided = |question| Decided::of(explorer, library, question, pins, scale);
        questions.into_iter().map(decided).collect()
    }

    /// The table and its counterexamples, for the console.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}", self.system, self.decision.text())
    }

    /// The table alone.
    #[must_use]
    pub fn brief(&self) -> String {
        format!("{}\n{}", self.system, self.decision.table())
    }

    /// Whether a bound cut the run of a combination short.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.decision.rows.iter().any(|row| row.report.incomplete.is_some())
    }
}

/// A choice as [`decide`] varies it.
fn varied(library: &Library, id: ChoiceId) -> Choice {
    let options = library.spec.get_choice(id).map_or(&[][..], |choice| &choice.options);
    Choice {
        id,
        name: library.spec.choice_name(id).to_owned(),
        options: options.iter().map(|option| option.name.clone()).collect(),
    }
}
