//! The NIC as a PCI function: configuration space, registers, an interrupt line, and an engine that
//! moves frames through the memory of whoever drives it.
//!
//! ```text
//!   read, write --> config_space.rs, registers.rs          engine.rs --> poll: Dma::Read, Dma::Write
//!                        |   doorbells                        ^    <-- handle_dma: bytes, or why not
//!                        '------------------------------------'
//!                                                        nic::Nic     frames, filter, counters
//! ```
//!
//! Region 7 is configuration space; region 0 is BAR 0, of 4 KiB, with 32-bit registers:
//!
//! | Offset | Register | Access | Meaning |
//! |---|---|---|---|
//! | 0x000 | ID | r | `dNIC` |
//! | 0x004 | PAIRS | r | pairs of a receive and a transmit queue |
//! | 0x008 | CONTROL | rw | bit 0: work; bit 1: filter what arrives |
//! | 0x00c | STATUS | r | bit 0: the link is up |
//! | 0x010 | CAUSE | rw | why it interrupts; writing 1 clears: bit 0 transmitted, 1 received, 2 command done, 3 failed |
//! | 0x014 | MASK | rw | which causes interrupt |
//! | 0x018, 0x01c | MAC | r | the address, first byte first |
//! | 0x020, 0x024 | COMMAND | rw | where a command is, low half first; its form is that of virtio-net |
//! | 0x028 | RUN | rw | writing a length runs it; 0 once it is done |
//! | 0x02c | ACK | r | how the last command went: 0 well, 1 not |
//! | 0x040 ... | COUNTERS | r | five counters of 64 bits |
//! | 0x100 + 0x20 n | RING | rw | where the descriptors of queue n are: low half, then high half |
//! | + 0x08 | SIZE | rw | how many there are: a power of two, at most 1024 |
//! | + 0x0c | ENABLE | rw | bit 0 |
//! | + 0x10 | HEAD | rw | how many the driver has made available, modulo 65536: the doorbell |
//! | + 0x14 | TAIL | r | how many the device is done with, modulo 65536 |
//!
//! Queue 2p receives, queue 2p + 1 transmits. A descriptor has 16 bytes, little-endian: the address of
//! a buffer (8), its length (4), and, written by the device, what became of it (4): bytes used, with
//! bit 31 when it is done, and bit 30 if it failed.
//!
//! **Invariants.** No I/O and no clock: the engine asks for one access at a time, and goes on when it is
//! told how that went. It starts none while it is closed. What it asks for is at most a frame long, and
//! no bytes in memory or registers make it panic. An access to memory that nobody has mapped is not a
//! failure: it is tried again when more is mapped.
//!
//! **Not here:** which memory there is, and when the engine is open (`crate::vfio_user`).

pub mod config_space;
pub mod engine;
pub mod function;
pub mod registers;
mod state;

pub use engine::{Dma, DmaError};
pub use function::{AccessError, Function, FunctionOptions};

/// The regions of a PCI device, as VFIO numbers them.
pub mod region {
    /// BAR 0.
    pub const BAR0: u32 = 0;
    /// Configuration space.
    pub const CONFIG: u32 = 7;
    /// How many there are.
    pub const COUNT: u32 = 9;
}
