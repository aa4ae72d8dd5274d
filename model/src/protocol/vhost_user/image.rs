//! What the state of a device says of its rings, where a proposal has them in it.
//!
//! ```text
//!   State --image(ring)--> RingImage --RingImages::with--> Saved ... Loaded --of(ring)--> State
//! ```

use std::fmt;

use serde::Serialize;

use devmig_engine::packed;

/// One ring in a state: what is needed for it to go on elsewhere, beside guest memory.
#[packed]
#[derive(Default)]
pub struct RingImage {
    /// The next index of the available ring to fetch from.
    #[bits(3)]
    pub base: u16,
    /// SET_VRING_ENABLE's state.
    pub enabled: bool,
    /// It was kicked: it runs, or a kick was written and not noticed yet.
    pub kicked: bool,
}

/// The images of all rings, a byte each; `None` in a state that says nothing of rings.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct RingImages(Option<u64>);

/// The bits of a byte: the base's, and two flags.
const BASE: u64 = 0x3f;
const ENABLED: u64 = 1 << 6;
const KICKED: u64 = 1 << 7;

impl RingImages {
    /// Those of these rings.
    #[must_use]
    pub fn of<const R: usize>(images: [RingImage; R]) -> Self {
        let byte = |image: &RingImage| {
            let flag = |set: bool, bit: u64| if set { bit } else { 0 };
            u64::from(image.base) & BASE | flag(image.enabled, ENABLED) | flag(image.kicked, KICKED)
        };
        let bytes = images.iter().take(8).enumerate();
        RingImages(Some(bytes.fold(0, |all, (ring, image)| all | byte(image) << (8 * ring))))
    }

    /// The image of each ring, if the state has them.
    #[must_use]
    pub fn rings<const R: usize>(self) -> Option<[RingImage; R]> {
        let all = self.0?;
        Some(std::array::from_fn(|ring| {
            let byte = if ring < 8 { all >> (8 * ring) } else { 0 };
            RingImage {
                base: (byte & BASE) as u16,
                enabled: byte & ENABLED != 0,
                kicked: byte & KICKED != 0,
            }
        }))
    }
}

impl fmt::Display for RingImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_some() { f.write_str(", with its rings") } else { Ok(()) }
    }
}
