//! Hand-overs of a VM: programs, systems, laws, and the table of faults.

#[path = "../common/mod.rs"]
mod common;

use devmig_engine::explore::search::Limits;
use devmig_model::analysis::Explorer;
use devmig_model::analysis::hand_over::Table;
use devmig_model::registry::Library;

mod programs;
mod systems;
mod table;

/// The table, within these bounds.
fn hand_overs_within(library: &Library, limits: Limits<'_>) -> Table {
    Table::of(&Explorer::new(limits, &|_| {}), library).unwrap_or_else(|error| panic!("{error:?}"))
}

/// The whole table.
fn hand_overs(library: &Library) -> Table {
    hand_overs_within(library, Limits::default())
}
