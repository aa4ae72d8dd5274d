//! Whole migrations: their systems, the policies of a VMM, and what a stale page means.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod memory;
mod observed;
mod policies;
mod systems;
mod transfer;
mod vm;
