//! devmig's conformance side: what carries the model's rules to real implementations.

pub mod cli;
pub mod compat;
pub mod coverage;
pub mod device_model;
mod entries;
pub mod hunt;
pub mod parallel;
pub mod peers;
pub mod random;
pub mod reference;
pub mod report;
pub mod scenario;
pub mod shorten;
pub mod verdict;
pub mod vfio;
pub mod vhost_user;
pub mod waivers;
pub mod watch;
