//! What each option of an open choice costs: options against properties.
//!
//! ```text
//!  reply-before-stop | drain-first || nothing-lost  progress
//!  ------------------+-------------++-----------------------
//!  yes               | yes         || holds         holds
//!  yes               | no          || violated      holds
//! ```
//!
//! **Not here.** Which choices there are, and how options are called: a loaded specification says.

use schemars::JsonSchema;
use serde::Serialize;

use super::check::Check;
use super::options::Options;
use super::report::{PropertyVerdict, Report};
use super::{Error, trace};
use crate::clause::ChoiceId;
use crate::columns::grid;
use crate::rules::Rules;

/// A choice to be varied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Choice {
    /// Which.
    pub id: ChoiceId,
    /// Its name.
    pub name: String,
    /// The names of its options, in order.
    pub options: Vec<String>,
}

/// One combination of options, and what holds under it.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Row {
    /// An option's name for each choice.
    pub options: Vec<String>,
    /// Each property's verdict; `None` if this combination's system has no such property.
    pub verdicts: Vec<Option<PropertyVerdict>>,
    /// The whole report.
    pub report: Report,
}

/// Options against properties.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Decision {
    /// The version of this form: 2. In version 1 the properties `rules-kept`, `deadlock-free` and
    /// `no-starvation` were called `rules`, `stuck` and `progress`, and `X: non-vacuous` was called
    /// `X: can happen`; all else is the same.
    pub schema: u32,
    /// The choices' names.
    pub choices: Vec<String>,
    /// The properties' names.
    pub properties: Vec<String>,
    /// Every combination, the last choice varying fastest.
    pub rows: Vec<Row>,
}

/// Checks a system under every combination of the options of these choices.
///
/// # Errors
/// If another choice is open, or an initial state does not fit its packing.
pub fn decide(
    mut system: impl FnMut(Rules) -> Box<dyn Check>,
    base: &Rules,
    choices: &[Choice],
    options: &Options<'_>,
) -> Result<Decision, Error> {
    let mut rows: Vec<Row> = Vec::new();
    let mut properties: Vec<String> = Vec::new();
    let combinations: usize = choices.iter().map(|choice| choice.options.len()).product();
    for mut n in 0..combinations {
        let (mut rules, mut names) = (*base, Vec::new());
        for choice in choices.iter().rev() {
            let option = n % choice.options.len();
            n /= choice.options.len();
            rules = rules.fixing(choice.id, option as u8);
            names.push(choice.options[option].clone());
        }
        names.reverse();
        let report = system(rules).check(options)?;
        for property in &report.properties {
            if !properties.contains(&property.name) {
                properties.push(property.name.clone());
            }
        }
        rows.push(Row { options: names, verdicts: Vec::new(), report });
    }
    for row in &mut rows {
        let verdict = |name: &String| row.report.property(name).map(|property| property.verdict);
        row.verdicts = properties.iter().map(verdict).collect();
    }
    let choices = choices.iter().map(|choice| choice.name.clone()).collect();
    Ok(Decision { schema: 2, choices, properties, rows })
}

impl Decision {
    /// Which options decide what: [`Decision::table`], then for each property whose verdicts
    /// differ its first counterexample.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = self.table();
        for n in self.partition().0 {
            let name = &self.properties[n];
            let shown = self.rows.iter().find_map(|row| {
                let property = row.report.property(name)?;
                let violated = property.verdict == PropertyVerdict::Violated;
                let lines = property.trace.as_ref().filter(|_| violated)?;
                let trace = trace::text(lines, property.cycle_at);
                Some((row.options.join(", "), trace + &property.explained(trace::WIDTH)))
            });
            if let Some((options, lines)) = shown {
                out += &format!("\n{name}, with {options}:\n{lines}");
            }
        }
        out
    }

    /// The properties whose verdicts differ between rows, and those on which all rows agree.
    fn partition(&self) -> (Vec<usize>, Vec<usize>) {
        let differs =
            |n: usize| self.rows.iter().any(|row| row.verdicts[n] != self.rows[0].verdicts[n]);
        (0..self.properties.len()).partition(|n| differs(*n))
    }

    /// The properties whose verdicts differ between rows as a table, then those on which all rows
    /// agree.
    #[must_use]
    pub fn table(&self) -> String {
        let (decided, same) = self.partition();
        let names = decided.iter().map(|n| self.properties[*n].clone());
        let mut table: Vec<Vec<String>> = vec![self.choices.iter().cloned().chain(names).collect()];
        for row in &self.rows {
            let verdict = |n: &usize| row.verdicts[*n].map_or("-".to_owned(), |v| v.to_string());
            table.push(row.options.iter().cloned().chain(decided.iter().map(verdict)).collect());
        }
        if decided.is_empty() {
            let choices = self.choices.join(", ");
            let line = format!(
                "No option of {choices} makes a difference to a property of this system: every \
                 verdict is the same in all {} rows.",
                self.rows.len()
            );
            let mut out = trace::wrapped(&line, 4) + "\n";
            self.agreed(&same, &mut out);
            return out;
        }
        // One row an option, or one row a property where that is what fits.
        let mut out = grid(&table);
        let width = |text: &str| text.lines().map(|line| line.chars().count()).max();
        if width(&out) > Some(trace::WIDTH) {
            let turned = (0..table[0].len())
                .map(|column| table.iter().map(|row| row[column].clone()).collect());
            let turned = grid(&turned.collect::<Vec<_>>());
            if width(&turned) < width(&out) {
                out = turned;
            }
        }
        self.agreed(&same, &mut out);
        out
    }

    /// The properties on which all rows agree, by verdict.
    fn agreed(&self, same: &[usize], out: &mut String) {
        for wanted in [PropertyVerdict::Holds, PropertyVerdict::Violated, PropertyVerdict::Unknown]
        {
            let first = |n: &&usize| self.rows.first().and_then(|row| row.verdicts[**n]);
            let agreed = same.iter().filter(|n| first(n) == Some(wanted));
            let names: Vec<_> = agreed.map(|n| trace::unbroken(&self.properties[*n])).collect();
            if !names.is_empty() {
                let line = format!("{wanted} in every row: {}", names.join(", "));
                *out += &format!("\n{}\n", trace::wrapped(&line, 4));
            }
        }
    }
}
