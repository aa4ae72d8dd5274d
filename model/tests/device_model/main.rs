//! Device models: identities, the check, its laws, rival schemes, and the whole migration.

#[path = "../common/mod.rs"]
mod common;

mod check;
mod laws;
mod orchestration;
mod schemes;
