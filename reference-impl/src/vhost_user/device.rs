//! What executes requests behind a back-end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use virtio_queue::DescriptorChain;
use vm_memory::GuestMemoryMmap;

use super::mutants::Mutants;
use crate::nic;

/// Guest memory as mapped here.
pub type Memory = GuestMemoryMmap<()>;

/// A request: a chain of buffers in guest memory, not to be trusted in any respect.
pub type Chain = DescriptorChain<Arc<Memory>>;

/// Why a saved state is not taken. The device is then as it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StateError {
    /// It begins like nothing of ours, or is another device's.
    #[error("this is not the state of such a device")]
    Foreign,
    /// A version that this device does not know.
    #[error("the state has version {0}, which is not known here")]
    Version(u32),
    /// It ends early, goes on after its end, or its digest is another.
    #[error("the state is damaged")]
    Damaged,
    /// It belongs to a device of another size.
    #[error("the state is that of a device with {0} sectors")]
    Shape(u64),
    /// A NIC's.
    #[error(transparent)]
    Nic(#[from] nic::StateError),
}

/// What a ring is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// What is available is a request: it is fetched at once, and takes its time.
    Requests,
    /// The same, for requests that must not be carried out while the ring is disabled.
    Control,
    /// What is available is room: it is fetched when there is something to put into it.
    Receive,
}

/// A virtio device without its transport.
pub trait Device {
    /// The virtio features that are the device's own; none about rings.
    fn features(&self) -> u64;

    /// What it does wrong, if anything that is the device's own.
    fn set_mutants(&mut self, _mutants: Mutants) {}

    /// The protocol features that are the device's own.
    fn protocol_features(&self) -> u64 {
        0
    }

    /// The front-end says what MTU the guest was given. Whether it can be; `None` if the device has
    /// no such thing.
    fn set_mtu(&mut self, _mtu: u64) -> Option<bool> {
        None
    }

    /// The driver has accepted these features.
    fn accepted(&mut self, _features: u64) {}

    /// How many rings it has, at least 1.
    fn rings(&self) -> usize;

    /// What a ring is for.
    fn role(&self, _ring: usize) -> Role {
        Role::Requests
    }

    /// Its configuration space.
    fn config(&self) -> Vec<u8>;

    /// Sets part of its configuration space: what the driver may write, or, when it was migrated,
    /// anything. `false` if that cannot be; nothing has changed then.
    fn set_config(&mut self, offset: usize, bytes: &[u8], migrated: bool) -> bool;

    /// How long the next request of this ring takes from fetching to completion.
    fn latency(&mut self, ring: usize) -> Duration;

    /// Executes a request, and says how many bytes it has written into the chain. A `discarded` one
    /// comes back as if it had been executed, and has no effect.
    fn execute(&mut self, ring: usize, chain: Chain, discarded: bool) -> u32;

    /// Whether something waits for room in this ring.
    fn waits(&self, _ring: usize) -> bool {
        false
    }

    /// Puts what waits into this room, from its beginning on, and says how many bytes.
    fn deliver(&mut self, _ring: usize, _chain: Chain) -> u32 {
        0
    }

    /// When it wants to be told of the time.
    fn due(&self) -> Option<Instant> {
        None
    }

    /// Time has passed. Whether its configuration space is another since.
    fn pass(&mut self, _now: Instant) -> bool {
        false
    }

    /// Something outside changes it, as an administrator or a cable does. Whether its configuration
    /// space is another since.
    fn change(&mut self) -> bool {
        false
    }

    /// Back to the initial state.
    fn reset(&mut self);

    /// The internal state, self-describing.
    fn save(&self) -> Vec<u8>;

    /// Takes over a saved state.
    ///
    /// # Errors
    /// See [`StateError`]. Nothing has changed then.
    fn load(&mut self, state: &[u8]) -> Result<(), StateError>;
}
