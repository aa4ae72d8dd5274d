//! Migration data as a whole: everything that a device gives, and what may be made of it.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use devmig_reference::migration::state::State;
use rustix::io::Errno;

use super::device::{Device, Read, Said};

/// Bytes that are read at once.
pub const PIECE: u32 = 1 << 16;

/// The most bytes that are kept of a device's data: what goes beyond is a device without an end.
pub const MOST: usize = 1 << 26;

/// What a device gives in one session in STOP_COPY; it is in RUNNING afterwards.
///
/// # Errors
/// See [`super::device::HarnessError`]; EFBIG for more than [`MOST`] bytes.
pub fn saved(device: &mut dyn Device) -> Said<Vec<u8>> {
    if let Err(errno) = device.set(State::STOP_COPY as u32)? {
        return Ok(Err(errno));
    }
    let mut all = Vec::new();
    loop {
        match device.read(PIECE)? {
            Ok(Read::Bytes(bytes)) if bytes.is_empty() => break,
            Ok(Read::Bytes(bytes)) => all.extend(bytes),
            Ok(Read::Later) => return Ok(Err(Errno::NOMSG.into())),
            Err(errno) => return Ok(Err(errno)),
        }
        if all.len() > MOST {
            return Ok(Err(Errno::FBIG.into()));
        }
    }
    Ok(device.set(State::RUNNING as u32)?.map(|_| all))
}
