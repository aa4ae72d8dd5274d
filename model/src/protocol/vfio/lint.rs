//! What a changed table comes to: is every path unique, is a device without the new feature what it
//! was, and which pairs change with it.
//!
//! **Invariant.** All three are computed for every pair in every legal set of features; a table is
//! *sound* if the first two lists are empty.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::path::{NoPath, Reading};
use super::table::Table;
use crate::protocol::input::Read;
use crate::spec::Diagnostics;

/// A pair of states in a device with these features.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Finding {
    /// The features.
    pub flags: u64,
    /// `FROM -> TO`; a state alone, if its attributes are meant.
    pub pair: String,
    /// The path without the change, or why there is none.
    pub before: String,
    /// With it.
    pub after: String,
}

/// What is found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, JsonSchema)]
pub struct Lint {
    /// Pairs with more than one shortest path; `before` is empty.
    pub ambiguous: Vec<Finding>,
    /// What changes for a device without any new feature.
    pub disturbs: Vec<Finding>,
    /// What changes with a new feature.
    pub changes: Vec<Finding>,
}

impl Lint {
    /// Whether it may be proposed as it is.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.ambiguous.is_empty() && self.disturbs.is_empty()
    }

    /// The pairs of some findings, each once, in order.
    #[must_use]
    pub fn pairs(findings: &[Finding]) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for finding in findings {
            if !all.contains(&finding.pair.as_str()) {
                all.push(&finding.pair);
            }
        }
        all
    }
}

/// What a proposal expects: the pairs in each list of [`Lint`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, JsonSchema)]
pub struct Expect {
    /// Pairs with more than one shortest path.
    pub ambiguous: Vec<String>,
    /// Pairs (or states) that change for a device without any new feature.
    pub disturbs: Vec<String>,
    /// Pairs (or states) that change with one.
    pub changes: Vec<String>,
}

/// What a proposal expects of its changes to the migration states.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawExpect {
    /// Pairs of states with more than one shortest path.
    #[serde(default)]
    ambiguous: Vec<String>,
    /// Pairs or states that change for a device without any new feature.
    #[serde(default)]
    disturbs: Vec<String>,
    /// Pairs or states that change for a device with a new feature.
    #[serde(default)]
    changes: Vec<String>,
}

impl RawExpect {
    /// As it is compared.
    #[must_use]
    pub fn plain(&self) -> Expect {
        let RawExpect { ambiguous, disturbs, changes } = self.clone();
        Expect { ambiguous, disturbs, changes }
    }
}

/// What a proposal expects of its changes; `None` if it changes nothing of the table.
pub fn expected(read: &Read<RawExpect>, touched: bool, d: &mut Diagnostics) -> Option<Expect> {
    for item in &read.base {
        let message = "what is built in expects nothing of itself";
        d.push(item.error(item.span.clone(), message, "only a proposal has this"));
    }
    if let [first, ..] = &read.proposed[..]
        && !touched
    {
        let message = "this proposal changes no feature, state, arc or pair of VFIO";
        d.push(first.error(first.span.clone(), message, "expects something of a change"));
    }
    if let Some(second) = read.proposed.get(1) {
        let message = "a proposal has one `[[vfio-expect]]`";
        d.push(second.error(second.span.clone(), message, "the second"));
    }
    let first = read.proposed.first();
    touched.then(|| first.map(|item| item.value.plain()).unwrap_or_default())
}

impl Expect {
    /// Whether it is so, whatever the order.
    #[must_use]
    pub fn met(&self, found: &Lint) -> bool {
        let same = |wanted: &[String], findings: &[Finding]| {
            let (mut wanted, mut found) = (wanted.to_vec(), Lint::pairs(findings));
            wanted.sort_unstable();
            found.sort_unstable();
            wanted == found
        };
        same(&self.ambiguous, &found.ambiguous)
            && same(&self.disturbs, &found.disturbs)
            && same(&self.changes, &found.changes)
    }
}

/// Compares a table with the one that it was made from.
#[must_use]
pub fn lint(base: &Table, proposed: &Table, reading: Reading) -> Lint {
    let mut found = Lint::default();
    let new = proposed.proposed();
    for flags in proposed.legal() {
        let old = flags & !new;
        let known = base.legal().contains(&old);
        let mut names: Vec<&str> = base.states.iter().map(|state| state.name.as_str()).collect();
        let added = proposed.states.iter().map(|state| state.name.as_str());
        names.extend(added.filter(|name| base.named(name).is_none()));
        let changed = if old == flags { &mut found.disturbs } else { &mut found.changes };
        for name in &names {
            let (before, after) = (attributes(base, old, name), attributes(proposed, flags, name));
            if known && before != after {
                changed.push(Finding { flags, pair: (*name).to_owned(), before, after });
            }
        }
        for from in &names {
            for to in &names {
                let pair = format!("{from} -> {to}");
                let before = way(base, old, reading, from, to);
                let after = way(proposed, flags, reading, from, to);
                if let Err(NoPath::Ambiguous(paths)) = &after {
                    let each: Vec<String> =
                        paths.iter().map(|path| spelled(proposed, path)).collect();
                    let (before, after) = (String::new(), each.join(" or "));
                    found.ambiguous.push(Finding { flags, pair: pair.clone(), before, after });
                }
                let (before, after) = (words(base, &before), words(proposed, &after));
                if known && before != after {
                    changed.push(Finding { flags, pair, before, after });
                }
            }
        }
        for legal in base.legal().into_iter().filter(|legal| !proposed.legal().contains(legal)) {
            let gone = Finding {
                flags: legal,
                pair: format!("features {legal}"),
                before: "legal".into(),
                after: "not legal".into(),
            };
            if !found.disturbs.contains(&gone) {
                found.disturbs.push(gone);
            }
        }
    }
    found
}

fn attributes(table: &Table, flags: u64, name: &str) -> String {
    let state = table.named(name).filter(|state| table.supports(flags, state.value));
    state.map_or_else(|| "not there".to_owned(), super::table::State::attributes)
}

fn way(
    table: &Table,
    flags: u64,
    reading: Reading,
    from: &str,
    to: &str,
) -> Result<Vec<u8>, NoPath> {
    let value = |name| table.named(name).map(|state| state.value).ok_or(NoPath::Unsupported);
    table.path(flags, reading, value(from)?, value(to)?)
}

/// A path, spelled.
#[must_use]
pub fn spelled(table: &Table, path: &[u8]) -> String {
    path.iter().map(|value| table.name(*value)).collect::<Vec<_>>().join(", ")
}

fn words(table: &Table, way: &Result<Vec<u8>, NoPath>) -> String {
    match way {
        Ok(path) => spelled(table, path),
        Err(NoPath::Ambiguous(_)) => "ambiguous".to_owned(),
        Err(_) => "error".to_owned(),
    }
}
