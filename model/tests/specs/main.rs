//! The files of `specs/`: what is built in, how mistakes in them read, and what no file can do to us.

mod builtin;
mod diagnostics;
mod fuzz;
mod traceability;
