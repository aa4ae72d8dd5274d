//! devmig's conformance side: what carries the model's rules to real implementations.

pub mod book;
pub mod cli;
pub mod compat;
pub mod coverage;
pub mod device_model;
pub mod harness;
pub mod implementations;
pub mod monitor;
pub mod multifd;
pub mod scenario;
pub mod story;
pub mod verify;
pub mod vfio;
pub mod vhost_user;
pub mod watch;
