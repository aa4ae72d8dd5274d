//! vDPA: a virtio device that the kernel offers as `/dev/vhost-vdpa`, and the VMM that drives it by
//! ioctls.
//!
//! ```text
//!  VMM    --SET_STATUS, SET_VRING_BASE, SET_VRING_ENABLE, RESUME-->  device    done when it returns
//!  VMM    --GET_VRING_BASE ... the base------------------------------ device   reads, stops nothing
//!  VMM    --SUSPEND-->  ...requests are completed...  --returns-->   VMM
//!  guest  --available, kick-->  device  --used-->  guest
//! ```
//!
//! Its rings are the second lower machine of the abstract one ([`crate::protocol::ring`]), beside those of
//! vhost-user: there GET_VRING_BASE stops a ring, here SUSPEND stops all of them.
//!
//! **Not here.** More than one ring, IOTLB and address spaces, configuration space, the control
//! queue, features: what the rings do is all that the comparison needs.

pub mod event;
pub mod machine;
pub mod systems;
pub mod vmm;
