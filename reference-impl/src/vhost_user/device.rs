//! What executes requests behind a back-end.

use std::sync::Arc;
use std::time::Duration;

use virtio_queue::DescriptorChain;
use vm_memory::GuestMemoryMmap;

/// Guest memory as mapped here.
pub type Memory = GuestMemoryMmap<()>;

/// A request: a chain of buffers in guest memory, not to be trusted in any respect.
pub type Chain = DescriptorChain<Arc<Memory>>;

/// Why a saved state is not taken. The device is then as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
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
}

/// A virtio device without its transport.
pub trait Device {
    /// The virtio features that are the device's own; none about rings.
    fn features(&self) -> u64;

    /// How many rings it has, at least 1.
    fn rings(&self) -> usize;

    /// Its configuration space.
    fn config(&self) -> Vec<u8>;

    /// How long the next request takes from fetching to completion.
    fn latency(&mut self) -> Duration;

    /// Executes a request, and says how many bytes it has written into the chain.
    fn execute(&mut self, chain: Chain) -> u32;

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
