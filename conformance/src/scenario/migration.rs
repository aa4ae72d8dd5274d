//! Two QEMUs, one after the other with the same guest: its memory migrates from one to the other with multifd,
//! is recorded between them, and is judged.
//!
//! ```text
//!   guest that dirties known pages
//!     QEMU ==main, channels==> relay ====> QEMU, which does not run afterwards
//!      ^ QMP                    '-- recording      ^ QMP
//!     steps: boot, migrate, rounds, cancel or postcopy or switchover
//! ```
//!
//! What is compared: the stream with the clauses; the memory that follows from the stream, that of the source
//! when it stopped, and that of the destination, with each other; both with the guest's pattern.
//!
//! | file | its one job |
//! |---|---|
//! | `guest.S`, `guest.rs` | the guest, and the pattern of its memory |
//! | `machine.rs`, `mediated.rs` | one QEMU, and its devices |
//! | `inside.rs` | a migration with devices, in a guest whose kernel has a driver for them |
//! | `known.rs` | `implementations/qemu-multifd.toml`: versions, migrations, what is known |
//! | `drive.rs` | one migration |
//! | `reference.rs` | one whose source or destination is the reference |
//! | `run.rs` | from the installation to the verdict |

pub mod drive;
pub mod guest;
mod inside;
pub mod known;
pub mod machine;
mod mediated;
mod reference;
pub mod run;
