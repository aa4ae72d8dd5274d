//! A device that was made, over whichever transport: its state saved, and loaded.
//!
//! ```text
//!   vhost-user   back_end.rs                                  what is refused is told by CHECK_DEVICE_STATE
//!   vfio-user    STOP_COPY, read to the end; RESUMING, write, STOP        ... or by the way out of RESUMING
//! ```
//!
//! **Invariant.** A device is stopped when it is loaded and is not let run afterwards, so what is saved
//! then is what was loaded.

// A peer's numbers come here: what overflows or is outside is an answer, never a panic.
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::time::Duration;

use devmig_reference::migration::state::State;
use devmig_reference::pci::region;

use crate::harness::io::process::Remains;
use crate::vfio::data;
use crate::vfio::device::{self, Said};

use super::back_end::BackEnd;

/// Bytes of configuration space, of the beginning of a BAR, and of one access.
const CONFIG_SPACE: u64 = 256;
const BEGINNING: u64 = 1024;
const WORD: u32 = 4;

/// A device that was made.
#[derive(Debug)]
pub enum Device {
    /// Over vhost-user.
    VhostUser(Box<BackEnd>),
    /// Over vfio-user.
    VfioUser(Box<dyn device::Device>),
}

impl Device {
    /// What is left of its process, which is told to end.
    pub fn remains(&mut self) -> Remains {
        match self {
            Device::VhostUser(back_end) => back_end.remains(),
            Device::VfioUser(device) => device.remains(Duration::ZERO),
        }
    }

    /// Its state.
    ///
    /// # Errors
    /// See [`device::HarnessError`]; a number if it refuses.
    pub fn save(&mut self) -> Said<Vec<u8>> {
        match self {
            Device::VhostUser(back_end) => back_end.save(),
            Device::VfioUser(device) => data::saved(&mut **device),
        }
    }

    /// Loads a state, as a whole: a number if it is refused.
    ///
    /// # Errors
    /// See [`device::HarnessError`].
    pub fn load(&mut self, state: &[u8]) -> Said<()> {
        let device = match self {
            Device::VhostUser(back_end) => return back_end.load(state),
            Device::VfioUser(device) => device,
        };
        if let Err(errno) = device.set(State::RESUMING as u32)? {
            return Ok(Err(errno));
        }
        for piece in state.chunks(data::PIECE as usize) {
            if let Err(errno) = device.write(piece)? {
                return Ok(Err(errno));
            }
        }
        Ok(device.set(State::STOP as u32)?.map(|_| ()))
    }

    /// What a guest can read of it, by region: configuration space, and the beginning of the first BAR.
    ///
    /// # Errors
    /// See [`device::HarnessError`]; [`device::HarnessError::Lacks`] where a guest reads none of it this way.
    pub fn seen(&mut self) -> Result<Vec<(u32, Vec<u8>)>, device::HarnessError> {
        let Device::VfioUser(device) = self else {
            return Err(device::HarnessError::Lacks("a device with regions"));
        };
        let mut seen = Vec::new();
        for (region, length) in [(region::CONFIG, CONFIG_SPACE), (region::BAR0, BEGINNING)] {
            let mut all = Vec::new();
            for offset in (0..length).step_by(WORD as usize) {
                // Where it ends, it ends.
                let Ok(word) = device.region_read(region, offset, WORD)? else { break };
                all.extend(word);
            }
            seen.push((region, all));
        }
        Ok(seen)
    }
}
