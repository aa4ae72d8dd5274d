//! The reference devices: implementations that follow the protocols as the model describes them,
//! so that a conformance suite has something to pass against, and faulty ones that it must catch.
//!
//! ```text
//!   socket/       sockets with descriptors, and waiting that ends
//!   vhost_user/   a back-end: the protocol as a pure core, and a thin shell with a real socket
//!   block.rs      the device behind it: a small RAM disk
//!   nic/, pci/    a NIC by a described model, and the same as a PCI function
//!   multifd/      a source and a destination of a migration over several connections
//!   control.rs    NICs that are made over a control socket; golden.rs: states of them that are kept
//!   temporary.rs  folders and sockets that are gone when a program ends
//! ```
//!
//! **Invariants.** A device's core does no waiting and reads no clock. Each choice that a protocol
//! leaves to an implementation is a setting; each fault is a switch in the one real code, never a
//! second implementation. No input of a peer's makes it panic.
//!
//! **Not here:** any judgement of the other side, and anything that a fast device would need.

pub mod block;
pub mod control;
pub mod golden;
pub mod migration;
pub mod multifd;
pub mod nic;
pub mod pci;
pub mod socket;
pub mod switches;
pub mod temporary;
pub mod vfio_user;
pub mod vhost_user;
