//! The protocols: each with its tables, machine, properties, systems and wire codec.
//!
//! | Module | Protocol |
//! |---|---|
//! | [`vhost_user`] | virtio devices in another process, over a Unix socket |
//! | [`vdpa`] | virtio devices in hardware, through `/dev/vhost-vdpa` |
//! | [`vfio`], [`vfio_user`] | the migration states of VFIO version 2, by ioctl or over a socket |
//! | [`orchestration`] | hosts and management that move a device from one to the other |
//! | [`hand_over`] | the last steps of a migration, with a fault at any of them: who runs in the end |
//! | [`ring`] | the abstract ring that vhost-user's and vDPA's refine |
//! | [`mapped_ram`] | a migration to a file, in which each page has a place |
//! | [`multifd`] | RAM and device state of a migration over several channels |
//! | [`barrier`] | the abstract barrier that QEMU's SYNC and cloud-hypervisor's gate refine |
//! | [`example`] | the opening example of the book |
//!
//! Each is registered in [`crate::registry`], by the trait in [`registration`]. ARCHITECTURE.md
//! ("Adding a protocol") lists all that a new one takes. What they read alike stands once: [`input`] items
//! and a proposal's over them, [`program`] steps by name, [`definition`] the keys of every system,
//! [`property`] the list of properties, [`written`] properties that a file states, [`abstraction`] abstract machines, [`size`] bounds by name.
pub mod abstraction;
mod assembly;
pub mod barrier;
pub mod definition;
pub mod example;
pub mod hand_over;
pub mod input;
pub mod mapped_ram;
pub mod migration;
pub mod multifd;
pub mod orchestration;
pub mod program;
pub mod property;
pub mod registration;
pub mod release;
pub mod ring;
pub mod size;
pub mod transfer;
pub mod vdpa;
pub mod vfio;
pub mod vfio_user;
pub mod vhost_user;
pub mod written;
