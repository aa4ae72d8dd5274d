//! Faults of a migration: one change each, and the clause that it violates.
//!
//! ```text
//!   a healthy migration in pieces --fault--> the same with one thing wrong --> judge, or a real destination
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `faults/find.rs` | the places that faults are about, and what is written there |
//! | `faults/all.rs` | the faults |
//! | `faults/reordering.rs` | legal orders of the same packets, which are no fault |
//!
//! **Invariant.** A fault changes a migration in a way that its clause forbids, or not at all: where a
//! migration has nothing that the fault is about, it says so.

mod all;
mod find;
mod reordering;

pub use all::FAULTS;
pub use reordering::{REORDERINGS, Reordering};

use super::pieces::Pieces;

/// Something that a source may not do.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its name, with no spaces.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// The clause that it violates.
    pub clause: &'static str,
    /// Whether a destination can notice it: a page with other content looks like any other.
    pub visible: bool,
    /// Changes a migration; without an answer there is nothing to change.
    change: fn(&mut Pieces) -> Option<()>,
}

impl Fault {
    /// Changes a migration. Whether it had what the fault is about.
    #[must_use]
    pub fn apply(&self, migration: &mut Pieces) -> bool {
        changed(migration, self.change)
    }
}

/// Changes a migration, or leaves it as it was. Whether it is another one.
fn changed(migration: &mut Pieces, change: fn(&mut Pieces) -> Option<()>) -> bool {
    let before = migration.clone();
    let changed = change(migration).is_some() && *migration != before;
    if !changed {
        *migration = before;
    }
    changed
}
