//! Requests that a ring carries, and what a right answer to them is.
//!
//! vhost-user does not say what a device is; whoever tests one says it (`--device`), and gets the
//! workload for it.
//!
//! ```text
//!   request(n) -> buffers in guest memory -> ring -> device -> used length -> check(n, length)
//! ```
//!
//! **Invariants.** Request `n` uses the slot `n % SLOTS`, so requests less than [`SLOTS`] apart do
//! not touch each other. A slot is filled with a pattern before it is used again, so that an answer
//! which was not written is not taken for one. No request changes data that outlives the test,
//! unless the caller says that it may.
//!
//! **Not here:** rings, kicks, and the order in which requests complete.

mod blk;
mod console;
mod fs;
mod net;
pub mod outside;
mod rng;
mod wire;

pub use blk::{Blk, BlkOptions};
pub use console::Console;
pub use fs::Fs;
pub use net::Net;
pub use outside::Outside;
pub use rng::Rng;
pub use wire::Wire;

use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;

use super::memory::MemoryError;
use super::ring::Buffer;

/// How many consecutive requests have memory of their own.
pub const SLOTS: u64 = 64;

/// Descriptors in a ring, where devices do not differ.
const RING_SIZE: u16 = 256;

/// What a slot holds before it is used.
const UNTOUCHED: u8 = 0xa5;

/// The features without which no request has a fixed format: a device of the current version.
const FEATURES: u64 = 1 << VIRTIO_F_VERSION_1;

/// A kind of device, as far as it is talked to.
pub trait Workload {
    /// As on the command line.
    fn name(&self) -> &'static str;

    /// How many rings such a device has to be given.
    fn rings(&self) -> u32;

    /// How many descriptors each of them has: a power of two, at most what such devices take.
    fn ring_size(&self) -> u16 {
        RING_SIZE
    }

    /// The ring that carries requests, if it is known what a request is.
    fn request_ring(&self) -> Option<u32>;

    /// The device features to accept where they are offered; all others are declined. The ones
    /// that concern vhost-user itself are not the workload's.
    fn features(&self) -> u64 {
        FEATURES
    }

    /// Whether request `n` may be sent only after all before it were answered.
    fn waits(&self, n: u64) -> bool;

    /// Writes request `n` into guest memory.
    ///
    /// # Errors
    /// If guest memory cannot be written: a fault of the harness.
    fn request(&mut self, n: u64) -> Result<Vec<Buffer>, MemoryError>;

    /// Judges the answer to request `n`, of which the device says that it has written `used` bytes.
    ///
    /// # Errors
    /// What is wrong with it, for a reader.
    fn check(&self, n: u64, used: u32) -> Result<(), String>;

    /// Its outside, if the tester can drive that.
    fn outside(&mut self) -> Option<&mut dyn Outside> {
        None
    }
}

/// A device of unknown kind: its rings are set up, and carry nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Workload for Nothing {
    fn name(&self) -> &'static str {
        "none"
    }

    fn rings(&self) -> u32 {
        1
    }

    fn request_ring(&self) -> Option<u32> {
        None
    }

    fn waits(&self, _: u64) -> bool {
        false
    }

    fn request(&mut self, _: u64) -> Result<Vec<Buffer>, MemoryError> {
        Ok(Vec::new())
    }

    fn check(&self, _: u64, _: u32) -> Result<(), String> {
        Ok(())
    }
}
