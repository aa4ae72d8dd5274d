//! Registers that hold what was written, and the queues among them. The table is in the room's header.

/// Bytes of the registers of a queue, and where the first begin.
pub const QUEUE: usize = 0x20;
/// Where the first queue's registers begin.
pub const QUEUES: usize = 0x100;

/// Where the device is told to work, and to filter.
pub const CONTROL: usize = 0x08;
/// Why it interrupts; writing a bit clears it.
pub const CAUSE: usize = 0x10;
/// Where it is said what interrupts.
pub const MASK: usize = 0x14;

/// Registers of a queue, from where its registers begin: where its ring is, low half first.
pub const RING: usize = 0x00;
/// The high half.
pub const RING_HIGH: usize = 0x04;
/// How many descriptors there are.
pub const SIZE: usize = 0x08;
/// Whether it is used.
pub const ENABLE: usize = 0x0c;
/// How many descriptors the driver has made available: the doorbell.
pub const HEAD: usize = 0x10;
/// How many the device is done with.
pub const TAIL: usize = 0x14;

/// Where a command is, low half first.
pub const COMMAND: usize = 0x20;
/// The high half.
pub const COMMAND_HIGH: usize = 0x24;
/// Where writing a command's length runs it.
pub const RUN: usize = 0x28;

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
            RING => self.ring as u32,
            RING_HIGH => (self.ring >> 32) as u32,
            SIZE => self.size,
            ENABLE => self.enabled.into(),
            HEAD => self.head.into(),
            TAIL => self.tail.into(),
            _ => 0,
        }
    }

    /// Sets one register. A queue that is enabled anew begins at 0.
    pub fn write(&mut self, offset: usize, value: u32) {
        match offset {
            RING => self.ring = self.ring & !0xffff_ffff | u64::from(value),
            RING_HIGH => self.ring = self.ring & 0xffff_ffff | u64::from(value) << 32,
            SIZE => self.size = value,
            ENABLE => {
                if value & 1 == 1 && !self.enabled {
                    (self.head, self.tail) = (0, 0);
                }
                self.enabled = value & 1 == 1;
            }
            HEAD => self.head = value as u16,
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
