//! The explorer and what stands on it: verdicts, comparison, the tester's set of possible states.

#[path = "../common/mod.rs"]
mod common;

mod compare;
mod example;
mod possible;
mod ring;
mod sizes;
