//! VFIO devices under test.
//!
//! | file | its one job |
//! |---|---|
//! | `device.rs` | what the suite asks of every transport |
//! | `kernel/` | a device that a kernel's driver serves, over its ioctls |
//! | `guest/` | a kernel of our own to run such a driver in: the host's side, and the first process |

pub mod device;
pub mod guest;
pub mod kernel;
