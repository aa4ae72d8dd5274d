//! The function: its regions, its interrupt line, and its state.

use std::time::{Duration, Instant};

use super::config_space::{BAR0_LENGTH, ConfigSpace, LENGTH};
use super::engine::{Dma, DmaError, Engine};
use super::region;
use super::registers::{self, QUEUE, QUEUES, Queue, Registers, cause};
use crate::nic::{Link, Mac, Nic, NicConfig, StateError};

/// Why an access to a region was not made. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AccessError {
    /// There is no such region, or it is empty.
    #[error("there is no region {0}")]
    Region(u32),
    /// It begins or ends beyond the region.
    #[error("the access goes beyond the end of the region")]
    Beyond,
    /// Registers are written whole.
    #[error("registers are written in aligned units of four bytes")]
    Unaligned,
}

/// How a function is made.
#[derive(Clone, Debug)]
pub struct FunctionOptions {
    /// What it is.
    pub config: NicConfig,
    /// What it is connected to.
    pub link: Link,
    /// How long a frame takes that is transmitted.
    pub latency: Duration,
}

/// The NIC as a PCI function.
#[derive(Clone, Debug)]
pub struct Function {
    pub(super) space: ConfigSpace,
    pub(super) registers: Registers,
    pub(super) queues: Vec<Queue>,
    pub(super) nic: Nic,
    engine: Engine,
    open: bool,
}

impl Function {
    /// A new one, its engine closed.
    #[must_use]
    pub fn new(options: &FunctionOptions) -> Self {
        let queues = vec![Queue::default(); 2 * usize::from(options.config.queue_pairs())];
        let mut nic = Nic::new(options.config.clone(), options.link);
        nic.set_filtering(false);
        let engine = Engine::new(options.latency);
        let (space, registers) = Default::default();
        Function { space, registers, queues, nic, engine, open: false }
    }

    /// The NIC itself.
    #[must_use]
    pub fn nic(&self) -> &Nic {
        &self.nic
    }

    /// The NIC itself, for what comes from its peer, and for a device that gets it wrong.
    pub fn nic_mut(&mut self) -> &mut Nic {
        &mut self.nic
    }

    /// Its registers, for a device that gets them wrong.
    pub(crate) fn registers_mut(&mut self) -> (&mut Registers, &mut [Queue]) {
        (&mut self.registers, &mut self.queues)
    }

    /// How long a region is: 0 for one that there is not.
    #[must_use]
    pub const fn region_length(index: u32) -> u64 {
        match index {
            region::BAR0 => BAR0_LENGTH,
            region::CONFIG => LENGTH as u64,
            _ => 0,
        }
    }

    fn check(index: u32, offset: u64, length: usize) -> Result<usize, AccessError> {
        let all = Self::region_length(index);
        if all == 0 {
            return Err(AccessError::Region(index));
        }
        let end = offset.checked_add(length as u64).filter(|end| *end <= all);
        end.map(|_| offset as usize).ok_or(AccessError::Beyond)
    }

    /// Reads part of a region: any part.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub fn read(&self, index: u32, offset: u64, length: usize) -> Result<Vec<u8>, AccessError> {
        let at = Self::check(index, offset, length)?;
        if index == region::CONFIG {
            return self.space.read(at, length).map(<[u8]>::to_vec).ok_or(AccessError::Beyond);
        }
        let byte = |at: usize| self.register(at & !3).to_le_bytes()[at & 3];
        Ok((at..at + length).map(byte).collect())
    }

    /// Writes part of a region. An empty write is none.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub fn write(&mut self, index: u32, offset: u64, bytes: &[u8]) -> Result<(), AccessError> {
        let at = Self::check(index, offset, bytes.len())?;
        if index == region::CONFIG {
            self.space.write(at, bytes).ok_or(AccessError::Beyond)?;
            self.engine.retry();
            return Ok(());
        }
        if !at.is_multiple_of(4) || !bytes.len().is_multiple_of(4) {
            return Err(AccessError::Unaligned);
        }
        let (words, _) = bytes.as_chunks();
        for (word, value) in words.iter().enumerate() {
            self.set_register(at + 4 * word, u32::from_le_bytes(*value));
        }
        self.engine.retry();
        Ok(())
    }

    fn register(&self, at: usize) -> u32 {
        if let Some(queue) = at.checked_sub(QUEUES) {
            return self.queues.get(queue / QUEUE).map_or(0, |q| q.read(queue % QUEUE));
        }
        let Mac([a, b, c, d, e, f]) = self.nic.state().mac;
        let counters = self.nic.state().counters.all();
        match at {
            0x00 => registers::ID,
            0x04 => self.nic.config().queue_pairs().into(),
            registers::CONTROL => self.registers.control,
            0x0c => self.nic.is_up().into(),
            registers::CAUSE => self.registers.cause,
            registers::MASK => self.registers.mask,
            0x18 => u32::from_le_bytes([a, b, c, d]),
            0x1c => u32::from_le_bytes([e, f, 0, 0]),
            registers::COMMAND => self.registers.command as u32,
            registers::COMMAND_HIGH => (self.registers.command >> 32) as u32,
            registers::RUN => self.registers.run,
            0x2c => self.registers.ack,
            0x40.. => {
                let counter = counters.get((at - 0x40) / 8).copied().unwrap_or(0);
                (counter >> (8 * (at & 4))) as u32
            }
            _ => 0,
        }
    }

    fn set_register(&mut self, at: usize, value: u32) {
        if let Some(queue) = at.checked_sub(QUEUES) {
            if let Some(q) = self.queues.get_mut(queue / QUEUE) {
                q.write(queue % QUEUE, value);
            }
            return;
        }
        let r = &mut self.registers;
        match at {
            registers::CONTROL => {
                r.control = value & (registers::GO | registers::FILTER);
                self.nic.set_filtering(value & registers::FILTER != 0);
            }
            registers::CAUSE => r.cause &= !value,
            registers::MASK => r.mask = value & cause::ALL,
            registers::COMMAND => r.command = r.command & !0xffff_ffff | u64::from(value),
            registers::COMMAND_HIGH => r.command = r.command & 0xffff_ffff | u64::from(value) << 32,
            registers::RUN => r.run = value,
            _ => {}
        }
    }

    /// Whether it wants to interrupt.
    #[must_use]
    pub fn interrupts(&self) -> bool {
        self.registers.cause & self.registers.mask != 0 && self.space.may_interrupt()
    }

    /// From now on the engine may begin something, or not; what it has begun it finishes.
    pub fn set_open(&mut self, open: bool) {
        self.open = open;
        self.engine.retry();
    }

    /// The next access to memory. None while one is outstanding.
    pub fn poll(&mut self, now: Instant) -> Option<Dma> {
        let open = self.open && self.space.is_master();
        let Function { registers, queues, nic, engine, .. } = self;
        engine.poll(open, registers, queues, nic, now)
    }

    /// How the access went.
    pub fn handle_dma(&mut self, outcome: Result<Vec<u8>, DmaError>, now: Instant) {
        let Function { registers, queues, nic, engine, .. } = self;
        engine.handle(outcome, registers, queues, nic, now);
    }

    /// When it wants to be polled again.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.engine.due()
    }

    /// Whether nothing is being done that must come to its end.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.engine.is_idle()
    }

    /// Whether an access is outstanding.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.engine.is_waiting()
    }

    /// What has been begun is to end soon: nothing waits for time.
    pub fn hurry(&mut self, now: Instant) {
        self.engine.hurry(now);
    }

    /// Other memory is mapped.
    pub fn retry(&mut self) {
        self.engine.retry();
    }

    /// What has not come to its end is given up; it is done again later.
    pub fn give_up(&mut self) {
        self.engine.give_up(&mut self.queues);
    }

    /// As new, but for the link.
    pub fn reset(&mut self) {
        self.give_up();
        self.nic.reset();
        self.nic.set_filtering(false);
        (self.space, self.registers) = Default::default();
        self.queues.fill(Queue::default());
    }

    /// Takes over a saved state.
    ///
    /// # Errors
    /// See [`StateError`]. Nothing has changed then.
    pub fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let (space, registers, queues, nic) = self.decode(state)?;
        self.engine.give_up(&mut self.queues);
        let filtering = registers.control & registers::FILTER != 0;
        (self.space, self.registers, self.queues, self.nic) = (space, registers, queues, nic);
        self.nic.set_filtering(filtering);
        Ok(())
    }
}
