//! A real front-end with a real guest, in a real back-end's company, watched.
//!
//! ```text
//!   guest (Linux, busybox: writes and reads sectors, for ever)
//!     QEMU  ==vhost-user==>  relay  ====>  back-end          source
//!     QEMU  ==vhost-user==>  relay  ====>  back-end          destination of the migration
//!      ^ QMP
//!     steps: boot, I/O, stop, cont, reset, migrate, quit
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `guest.rs` | the kernel, and an initramfs made here |
//! | `qmp.rs` | commands to QEMU |
//! | `vmm.rs` | one QEMU with its relay and back-end |
//! | `drive.rs` | the steps |
//! | `known.rs` | `implementations/qemu.toml`: what is installed and run how, and what is known |
//! | `error.rs` | why one came to nothing |
//! | `came.rs` | what came of it |
//! | `run.rs` | from the installation to the verdict |
//! | `migration.rs`, `migration/` | two QEMUs, and a migration with multifd between them |
//!
//! **Invariants.** Nothing is installed without being asked for. Every wait has a limit. Processes are
//! ended by their own ids. What cannot be had (a package, a mirror) makes a scenario one that did not
//! run, never one that failed.

pub mod came;
pub mod drive;
pub mod error;
pub mod guest;
pub mod known;
pub mod migration;
pub mod qmp;
pub mod run;
pub mod vmm;
