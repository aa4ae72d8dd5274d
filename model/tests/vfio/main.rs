//! VFIO: the table, the systems, the tester's view, vfio-user's messages.

#[path = "../common/mod.rs"]
mod common;

mod systems;
mod table;
mod tester;
mod user_wire;
