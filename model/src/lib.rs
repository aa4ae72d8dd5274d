//! devmig's model: one description of each protocol, pure.
//!
//! ```text
//!  specs/**/*.toml --> spec --> registry --> protocol/*: tables, machines, systems
//!                                                |
//!                                       devmig_engine: explore, estimate
//! ```
//!
//! **Invariant.** The model does no I/O: what it needs of `specs/` is compiled in, and a proposal is
//! handed to it as text.
pub mod analysis;
pub mod device_model;
pub mod protocol;
pub mod registry;
pub mod rivals;
pub mod spec;

/// The engine, for the macros of this crate.
pub use devmig_engine as engine;
