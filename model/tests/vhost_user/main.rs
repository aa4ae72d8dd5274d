//! vhost-user: laws of the machine, systems, decisions, bugs, versions of the text, the encoding.

#[path = "../common/mod.rs"]
mod common;

mod bugs;
mod decisions;
mod laws;
mod mapped;
mod oracle;
mod systems;
mod text;
mod waivers;
mod wire;
mod words;
