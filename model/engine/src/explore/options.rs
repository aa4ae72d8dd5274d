//! What is checked of a system, and how.

use super::names::{DEADLOCK_FREE, NO_STARVATION, NON_VACUOUS, RULES_KEPT};
use super::search::Limits;
use crate::clause::ClauseId;
use crate::machine::Machine;
use crate::system::{Expected, PropertyKind, System};

/// How to run a check.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Its bounds and threads.
    pub limits: Limits<'a>,
    /// The id under which a clause is quoted.
    pub clause: &'a dyn Fn(ClauseId) -> String,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options { limits: Limits::default(), clause: &|id| format!("clause {}", id.index()) }
    }
}

/// A property without its predicate.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Listed {
    /// Its name, unique in its system.
    pub name: String,
    /// The clause behind it.
    pub clause: Option<ClauseId>,
    /// What it says.
    pub kind: PropertyKind,
    /// What is expected.
    pub expected: Expected,
}

/// The properties of a system in the order of its report: its own, each `always` and `at END`
/// followed by its vacuity check, then those that are checked of every system.
pub(super) fn listed<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: &System<M, Q, N, W>,
) -> Vec<Listed> {
    let mut all = Vec::new();
    for property in &system.properties {
        let (clause, kind) = (property.clause, property.kind);
        let name = property.name.to_string();
        all.push(Listed { name, clause, kind, expected: property.expected });
        if kind.is_implication() {
            let name = format!("{}{NON_VACUOUS}", property.name);
            let (kind, expected) = (PropertyKind::Reachable, Expected::Holds);
            all.push(Listed { name, clause, kind, expected });
        }
    }
    for (name, kind, violated) in [
        (RULES_KEPT, PropertyKind::Rules, false),
        (DEADLOCK_FREE, PropertyKind::Stuck, system.expect.stuck),
        (NO_STARVATION, PropertyKind::Progress, system.expect.starves),
    ] {
        let expected = if violated { Expected::Violated } else { Expected::Holds };
        all.push(Listed { name: name.to_owned(), clause: None, kind, expected });
    }
    all
}
