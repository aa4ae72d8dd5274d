//! Registers that hold what was written, and the queues among them. The table is in the room's header.

/// Bytes of the registers of a queue, and where the first begin.
pub const QUEUE: usize = 0x20;
/// Where the first queue's registers begin.
pub const QUEUES: usize = 0x100;

/// Where the device is told to work, and to filter.
pub const CONTROL: usize = 0x08;
/// Where it is said what interrupts.
pub const MASK: usize = 0x14;

/// The most descriptors of a queue.
pub const MAX_SIZE: u32 = 1024;

/// What `ID` holds.
pub const ID: u32 = u32::from_le_bytes(*b"dNIC");

/// A bit of CONTROL: work.
pub const GO: u32 = 1;
/// A bit of CONTROL: filter.
pub const FILTER: u32 = 1 << 1;

/// Bits of CAUSE and MASK.
pub mod cause {
    /// A frame was transmitted.
    pub const SENT: u32 = 1;
    /// A frame was received.
    pub const RECEIVED: u32 = 1 << 1;
    /// A command is done.
    pub const COMMAND: u32 = 1 << 2;
    /// A queue was disabled because it cannot be used.
    pub const FAILED: u32 = 1 << 3;
    /// All of them.
    pub const ALL: u32 = SENT | RECEIVED | COMMAND | FAILED;
}

/// A queue's registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Queue {
    /// Where its descriptors are.
    pub ring: u64,
    /// How many there are.
    pub size: u32,
    /// Whether it is used.
    pub enabled: bool,
    /// How many the driver has made available.
    pub head: u16,
    /// How many the device is done with.
    pub tail: u16,
}

impl Queue {
    /// How many wait; `None` if the registers make no sense.
    #[must_use]
    pub fn waiting(&self) -> Option<u32> {
        let waiting = u32::from(self.head.wrapping_sub(self.tail));
        let sound = self.size.is_power_of_two() && self.size <= MAX_SIZE && waiting <= self.size;
        sound.then_some(waiting)
    }

    /// Where the descriptor at its tail is; `None` if that is beyond all addresses.
    #[must_use]
    pub fn descriptor(&self) -> Option<u64> {
        let slot = u64::from(self.tail) & u64::from(self.size.saturating_sub(1));
        let at = self.ring.checked_add(slot * 16)?;
        at.checked_add(15).map(|_| at)
    }

    /// One register, by its offset.
    #[must_use]
    pub fn read(&self, offset: usize) -> u32 {
        match offset {
            0x00 => self.ring as u32,
            0x04 => (self.ring >> 32) as u32,
            0x08 => self.size,
            0x0c => self.enabled.into(),
            0x10 => self.head.into(),
            0x14 => self.tail.into(),
            _ => 0,
        }
    }

    /// Sets one register. A queue that is enabled anew begins at 0.
    pub fn write(&mut self, offset: usize, value: u32) {
        match offset {
            0x00 => self.ring = self.ring & !0xffff_ffff | u64::from(value),
            0x04 => self.ring = self.ring & 0xffff_ffff | u64::from(value) << 32,
            0x08 => self.size = value,
            0x0c => {
                if value & 1 == 1 && !self.enabled {
                    (self.head, self.tail) = (0, 0);
                }
                self.enabled = value & 1 == 1;
            }
            0x10 => self.head = value as u16,
            _ => {}
        }
    }
}

/// The registers that are no queue's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Registers {
    /// CONTROL.
    pub control: u32,
    /// CAUSE.
    pub cause: u32,
    /// MASK.
    pub mask: u32,
    /// COMMAND.
    pub command: u64,
    /// RUN.
    pub run: u32,
    /// ACK.
    pub ack: u32,
}
