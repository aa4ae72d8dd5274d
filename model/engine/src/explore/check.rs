//! One face for all systems, whatever their machines: what a command line and the laws need.
//!
//! **Invariant.** Nothing here decides anything: [`super::report`] does, and [`super::view`] asks
//! stateright.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Error;
use super::behaviour::{Behaving, Behaviour, Seen};
use super::report::{Report, check};
use super::search::Limits;
use super::view::{self, Counts};
use crate::clause::ClauseId;
use crate::machine::Machine;
use crate::system::{Expected, PropertyKind, System, Test};

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

/// Programs break no clause, except those that they declare.
pub const RULES_KEPT: &str = "rules-kept";
/// No state other than an accepted end leaves every party waiting for another.
pub const DEADLOCK_FREE: &str = "deadlock-free";
/// Every obligation is fulfilled eventually.
pub const NO_STARVATION: &str = "no-starvation";
/// The properties that are checked of every system.
pub const OF_EVERY_SYSTEM: [&str; 3] = [RULES_KEPT, DEADLOCK_FREE, NO_STARVATION];
/// Ends the name of a vacuity check: that the antecedent of an `always` occurs.
pub const NON_VACUOUS: &str = ": non-vacuous";

/// The present name of a property whose name has changed, for a message.
///
/// Files and scripts that were written before schema 2 of the reports use the names `rules`, `stuck`,
/// `progress` and `…: can happen`.
#[must_use]
pub fn renamed(old: &str) -> Option<String> {
    match old {
        "rules" => Some(RULES_KEPT.to_owned()),
        "stuck" => Some(DEADLOCK_FREE.to_owned()),
        "progress" => Some(NO_STARVATION.to_owned()),
        _ => old.strip_suffix(": can happen").map(|name| format!("{name}{NON_VACUOUS}")),
    }
}

/// The properties of a system in the order of its report: its own, each `always` followed by its
/// vacuity check, then those that are checked of every system.
pub fn listed<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: &System<M, Q, N, W>,
) -> Vec<Listed> {
    let mut all = Vec::new();
    for property in &system.properties {
        let (clause, kind) = (property.clause, property.kind());
        let name = property.name.to_owned();
        all.push(Listed { name, clause, kind, expected: property.expected });
        if matches!(property.test, Test::Always { .. }) {
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

/// A system that can be checked.
pub trait Check: Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &str;

    /// The protocol that it is about.
    fn protocol(&self) -> &str;

    /// What it shows, in one sentence.
    fn about(&self) -> &str;

    /// Its properties, twins and built-in ones included, in the order of the report.
    fn properties(&self) -> Vec<Listed>;

    /// Explores it.
    ///
    /// # Errors
    /// If a choice is open, or the initial state does not fit its packing.
    fn check(&self, options: &Options<'_>) -> Result<Report, Error>;

    /// What can be seen of it, to be compared with what can be seen of another.
    ///
    /// # Errors
    /// If the initial state does not fit its packing.
    fn behaviour<'a>(&'a self, seen: Seen<'a>) -> Result<Box<dyn Behaviour + 'a>, Error>;

    /// What stateright finds: the second opinion.
    ///
    /// # Errors
    /// If a choice is open, or the initial state does not fit its packing.
    fn stateright(self: Arc<Self>) -> Result<Counts, Error>;

    /// Serves stateright's Explorer, the interactive view; returns only when it ends.
    ///
    /// # Errors
    /// As [`Check::stateright`].
    fn serve(self: Arc<Self>, address: SocketAddr) -> Result<(), Error>;
}

impl<M, const Q: usize, const N: usize, const W: usize> Check for System<M, Q, N, W>
where
    M: Machine + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn protocol(&self) -> &str {
        self.protocol
    }

    fn about(&self) -> &str {
        &self.about
    }

    fn properties(&self) -> Vec<Listed> {
        listed(self)
    }

    fn check(&self, options: &Options<'_>) -> Result<Report, Error> {
        check(self, options)
    }

    fn behaviour<'a>(&'a self, seen: Seen<'a>) -> Result<Box<dyn Behaviour + 'a>, Error> {
        Ok(Box::new(Behaving::new(self, seen)?))
    }

    fn stateright(self: Arc<Self>) -> Result<Counts, Error> {
        view::run(self)
    }

    fn serve(self: Arc<Self>, address: SocketAddr) -> Result<(), Error> {
        view::serve(self, address)
    }
}
