//! Joint constraints: what holds between parameters, as small data.
//!
//! The third version of the RFC lists allowed values one parameter at a time. That a feature needs more
//! than two queues cannot be said so, and is found out when the device is made: too late. Two forms say
//! it, and neither has an expression:
//!
//! ```text
//! {"if": {"feature": [true]}, "then": {"queues": ["3-16"]}}
//! {"parameters": ["feature", "queues"], "allowed": [[false, "1-16"], [true, ["3-8", 16]]]}
//! ```
//!
//! **Invariant.** A constraint is about parameters of its model and values of their types; whether it
//! holds is decided by a total configuration in one pass over it.

use std::collections::BTreeMap;
use std::fmt;

use super::allowed::Allowed;
use super::configuration::Settings;
use super::value::Name;

/// What holds between parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Constraint {
    /// Where all of the first hold, all of the second must.
    Implies {
        /// The condition: a set for each parameter that it is about.
        when: BTreeMap<Name, Allowed>,
        /// The consequence.
        then: BTreeMap<Name, Allowed>,
    },
    /// One of the rows must hold.
    Table {
        /// Which parameters.
        parameters: Vec<Name>,
        /// A set for each of them, in their order.
        rows: Vec<Vec<Allowed>>,
    },
}

impl Constraint {
    /// Whether a configuration keeps it.
    #[must_use]
    pub fn holds(&self, settings: &Settings) -> bool {
        let fits = |name: &Name, set: &Allowed| settings.get(name).is_some_and(|v| set.contains(v));
        match self {
            Constraint::Implies { when, then } => {
                !when.iter().all(|(name, set)| fits(name, set))
                    || then.iter().all(|(name, set)| fits(name, set))
            }
            Constraint::Table { parameters, rows } => {
                rows.iter().any(|row| parameters.iter().zip(row).all(|(name, set)| fits(name, set)))
            }
        }
    }

    /// The parameters that it is about, in order, each once.
    #[must_use]
    pub fn parameters(&self) -> Vec<&Name> {
        let mut names: Vec<&Name> = match self {
            Constraint::Implies { when, then } => when.keys().chain(then.keys()).collect(),
            Constraint::Table { parameters, .. } => parameters.iter().collect(),
        };
        names.sort();
        names.dedup();
        names
    }

    /// The sets of values that it tells apart, for one parameter.
    pub fn sets<'a>(&'a self, name: &'a Name) -> Box<dyn Iterator<Item = &'a Allowed> + 'a> {
        match self {
            Constraint::Implies { when, then } => {
                Box::new(when.get(name).into_iter().chain(then.get(name)))
            }
            Constraint::Table { parameters, rows } => {
                let column = parameters.iter().position(|known| known == name);
                Box::new(rows.iter().filter_map(move |row| row.get(column?)))
            }
        }
    }
}

/// At most so many rows of a table are spelled out.
const SHOWN: usize = 8;

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(name, set): (&Name, &Allowed)| format!("{name} is {set}");
        let all =
            |sets: &BTreeMap<Name, Allowed>| sets.iter().map(one).collect::<Vec<_>>().join(" and ");
        match self {
            Constraint::Implies { when, then } => {
                write!(f, "if {}, then {}", all(when), all(then))
            }
            Constraint::Table { parameters, rows } => {
                let row = |row: &Vec<Allowed>| {
                    parameters.iter().zip(row).map(one).collect::<Vec<_>>().join(" and ")
                };
                let shown: Vec<_> = rows.iter().take(SHOWN).map(row).collect();
                write!(f, "either {}", shown.join("; or "))?;
                match rows.len() - shown.len() {
                    0 => Ok(()),
                    more => write!(f, "; or one of {more} more"),
                }
            }
        }
    }
}
