//! The files of `specs/`: what is built in, how mistakes in them read, and what no file can do to us.

#[path = "../common/mod.rs"]
mod common;

mod builtin;
mod diagnostics;
mod fuzz;
mod lint;
mod proposals;
mod registry;
mod texts;
mod traceability;
mod written;
