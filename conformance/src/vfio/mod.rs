//! VFIO devices under test.
//!
//! | file | its one job |
//! |---|---|
//! | `kernel/` | a device that a kernel's driver serves, over its ioctls |
//! | `guest/` | a kernel of our own to run such a driver in: the host's side, and the first process |

pub mod guest;
pub mod kernel;
