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
//! | `guest/suite.rs` | the suite in guests: together what returns, alone what may not |
//!
//! The guest's root holds this program and the libraries that it needs; linked statically, it needs
//! none and is all that there is. The kernel is a process without rights beyond ours; nothing of the
//! host is changed, and no root is needed.
//!
//! **Invariants.** A guest that hangs is killed when its time is up, and that is an answer. What a
//! guest wrote until then is kept.

mod host;
mod init;
mod suite;

pub use host::{Ended, Machine, RunError};
pub use init::{InitError, Work, init};
pub use suite::Plan;

/// The device that a guest makes. Its group is 0 and its node `vfio0`, since it is the only one.
const UUID: &str = "a297db4a-f4c2-11e6-90f6-d3b88d6c9525";
const NODE: &str = "/dev/vfio/devices/vfio0";
const GROUP: &str = "/dev/vfio/0";

/// How the guest's command opens its device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// By its character device, with iommufd.
    Node,
    /// By its group, in a container.
    Group,
}

impl Opening {
    /// Both: a driver answers the same by either.
    pub const ALL: [Opening; 2] = [Opening::Node, Opening::Group];

    /// The words of `devmig test vfio` for it.
    fn words(self) -> &'static [&'static str] {
        match self {
            Opening::Node => &["--cdev", NODE],
            Opening::Group => &["--group", GROUP, "--device", UUID],
        }
    }
}

/// Where the guest leaves what it has to say, below its root.
const OUT: &str = "out";

/// What the guest's command is told, one word a line: the kernel's own command line is too short.
const ARGUMENTS: &str = "arguments";

/// What the guest's command finds in its environment, one `NAME=value` a line, if it has the host's files.
const ENVIRONMENT: &str = "environment";

/// The name of this program in the guest.
const PROGRAM: &str = "devmig";

/// The guest's files: what the command printed, and how it ended.
const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";
const EXIT: &str = "exit";

/// Where the command leaves its results as they come, if it is told to.
const RESULTS: &str = "results";
