//! Hand-overs of a VM: programs, systems, laws, and the table of faults.

#[path = "../common/mod.rs"]
mod common;

mod programs;
mod systems;
mod table;
