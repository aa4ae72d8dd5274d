//! A kernel of our own, to run a driver in that may never return.
//!
//! ```text
//!   host                                     guest (user-mode Linux)
//!   Machine::run --starts--> linux           init = this program, `devmig guest TYPE`
//!      new folder = its root (hostfs),         mounts, makes the mediated device,
//!        with the command in /arguments        runs `devmig` with these arguments,
//!      waits, at most so long                  writes /out, powers off
//!      reads out/                  <---------
//! ```
//!
//! | file | its one job |
//! |---|---|
//! | `guest/host.rs` | starting such a kernel, and what came of it |
//! | `guest/init.rs` | the guest's first process |
//!
//! The guest's root holds one file, this program, so it must be linked statically. The kernel is a
//! process without rights beyond ours; nothing of the host is changed, and no root is needed.
//!
//! **Invariants.** A guest that hangs is killed when its time is up, and that is an answer. What a
//! guest wrote until then is kept.

mod host;
mod init;

pub use host::{Ended, Machine, RunError};
pub use init::{InitError, init};

/// Where the guest leaves what it has to say, below its root.
const OUT: &str = "out";

/// What the guest's command is told, one word a line: the kernel's own command line is too short.
const ARGUMENTS: &str = "arguments";

/// The name of this program in the guest.
const PROGRAM: &str = "devmig";

/// The guest's files: what the command printed, and how it ended.
const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";
const EXIT: &str = "exit";
