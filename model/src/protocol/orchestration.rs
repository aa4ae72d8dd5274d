//! A migration as a whole: management moves a device from host to host, and anything may fail.
//!
//! ```text
//!              describe, check, create, read back | stop, save, load, run | destroy the source
//!  management ---------------------------------------------------------------------> host A, host B
//!              every call: done, refused, failed (no effect), or unheard (effect, no answer)
//! ```
//!
//! What a host can make is a release, described as every other implementation is; what is accepted and
//! what is made is asked of [`crate::device_model`], so that no rule of compatibility stands twice
//! ([`universe`]). What management owes is judged by one machine ([`migration`]); programs are data
//! (`specs/device-model/systems.toml`), and so are the programs that leave a step out.
//!
//! **Not here.** What is in saved state, how long anything takes, calls that take effect after they were
//! given up, and hosts that are lost for good: nobody can then tell whether the device there still runs.

pub mod event;
pub mod host;
pub mod manager;
pub mod migration;
pub mod program;
pub mod properties;
pub mod systems;
pub mod universe;
