//! Configuration space: what the function is, and the few bits that a driver sets.
//!
//! **Invariant.** Only bits of [`WRITABLE`] change by a write; what else is written is passed over.

/// Bytes of it: there are no extended capabilities.
pub const LENGTH: usize = 256;

/// Bytes of BAR 0.
pub const BAR0_LENGTH: u64 = 0x1000;

/// Where the command register is.
pub const COMMAND: usize = 0x04;
const MEMORY: u16 = 1 << 1;
const BUS_MASTER: u16 = 1 << 2;
/// What a driver writes there: memory, and bus master, without which the engine does nothing.
pub const MEMORY_AND_MASTER: [u8; 2] = (MEMORY | BUS_MASTER).to_le_bytes();
const INTX_DISABLE: u16 = 1 << 10;

/// Where a driver may write, and which bits.
pub const WRITABLE: [(usize, u8); 9] = [
    (COMMAND, (MEMORY | BUS_MASTER) as u8),
    (COMMAND + 1, (INTX_DISABLE >> 8) as u8),
    (0x0c, 0xff),
    // BAR 0: its lowest bits are 0, so that all ones read back as its size.
    (0x10, !(BAR0_LENGTH - 1) as u8),
    (0x11, (!(BAR0_LENGTH - 1) >> 8) as u8),
    (0x12, 0xff),
    (0x13, 0xff),
    (0x3c, 0xff),
    (0x3e, 0),
];

/// The space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigSpace([u8; LENGTH]);

impl Default for ConfigSpace {
    /// That of a network controller with one interrupt pin.
    fn default() -> Self {
        let mut bytes = [0; LENGTH];
        let fixed: [(usize, &[u8]); 5] = [
            (0x00, &[0x34, 0x12, 0x71, 0xde]),
            (0x08, &[1, 0, 0, 2]),
            (0x2c, &[0x34, 0x12, 1, 0]),
            (0x3d, &[1]),
            (0x3f, &[0]),
        ];
        for (at, part) in fixed {
            bytes.iter_mut().skip(at).zip(part).for_each(|(byte, part)| *byte = *part);
        }
        ConfigSpace(bytes)
    }
}

impl ConfigSpace {
    /// A part of it; `None` beyond its end.
    #[must_use]
    pub fn read(&self, at: usize, length: usize) -> Option<&[u8]> {
        self.0.get(at..at.checked_add(length)?)
    }

    /// Writes a part of it; `None` beyond its end, and nothing has changed then.
    pub fn write(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        let part = self.0.get_mut(at..at.checked_add(bytes.len())?)?;
        for (offset, (old, new)) in part.iter_mut().zip(bytes).enumerate() {
            let mask = WRITABLE.iter().find(|(place, _)| *place == at + offset);
            let mask = mask.map_or(0, |(_, mask)| *mask);
            *old = *old & !mask | new & mask;
        }
        Some(())
    }

    /// The bytes that a driver can write, in the order of [`WRITABLE`].
    #[must_use]
    pub fn written(&self) -> [u8; WRITABLE.len()] {
        WRITABLE.map(|(at, _)| self.0.get(at).copied().unwrap_or(0))
    }

    /// A space with those bytes.
    #[must_use]
    pub fn restored(written: [u8; WRITABLE.len()]) -> Self {
        let mut space = ConfigSpace::default();
        for ((at, _), byte) in WRITABLE.iter().zip(written) {
            // Within the space, so that there is nothing to fail.
            let _ = space.write(*at, &[byte]);
        }
        space
    }

    fn command(&self) -> u16 {
        u16::from_le_bytes([self.0[COMMAND], self.0[COMMAND + 1]])
    }

    /// Whether the function may access memory.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.command() & BUS_MASTER != 0
    }

    /// Whether it may interrupt.
    #[must_use]
    pub fn may_interrupt(&self) -> bool {
        self.command() & INTX_DISABLE == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_writable_changes() {
        let mut space = ConfigSpace::default();
        let before = space.clone();
        for at in 0..LENGTH {
            space.write(at, &[0xff]).unwrap();
        }
        for at in 0..LENGTH {
            let mask = WRITABLE.iter().find(|(place, _)| *place == at).map_or(0, |(_, mask)| *mask);
            assert_eq!(space.0[at], before.0[at] | mask, "{at:#x}");
        }
        assert_eq!(space.read(0x10, 4), Some(&0xffff_f000_u32.to_le_bytes()[..]));
        assert!(space.is_master() && !space.may_interrupt());
        assert_eq!(ConfigSpace::restored(space.written()), space);
        space.write(0, &[0; LENGTH]).unwrap();
        assert_eq!(space, before);
    }

    #[test]
    fn nothing_is_beyond_its_end() {
        let mut space = ConfigSpace::default();
        assert_eq!(space.read(0, LENGTH).map(<[u8]>::len), Some(LENGTH));
        for (at, length) in [(0, 257), (256, 1), (usize::MAX, 1), (1, usize::MAX)] {
            assert_eq!(space.read(at, length), None);
        }
        assert_eq!(space.write(255, &[0, 0]), None);
    }
}
