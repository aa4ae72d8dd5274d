//! Hand-overs of a VM: systems, laws, and the table of faults.

#[path = "../common/mod.rs"]
mod common;

mod systems;
mod table;
