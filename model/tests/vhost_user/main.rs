//! vhost-user: laws of the machine, systems, decisions, bugs, versions of the text.

#[path = "../common/mod.rs"]
mod common;

mod bugs;
mod decisions;
mod laws;
mod oracle;
mod systems;
mod text;
mod waivers;
