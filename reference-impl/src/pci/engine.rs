//! The engine: it fetches what the driver makes available, and writes what became of it.
//!
//! ```text
//!   transmit  read descriptor, read frame, (time) hand it on, write what became of it, tail + 1
//!   receive   read descriptor, write frame, write what became of it, tail + 1
//!   command   read it, run it
//! ```
//!
//! **Invariants.** At most one access is outstanding. A frame leaves the NIC's queue, and a tail moves,
//! after the last access of its work, so that work which is given up before is done again, not lost.

use std::time::{Duration, Instant};

use super::registers::{GO, Queue, Registers, cause};
use crate::nic::control::MAX_COMMAND;
use crate::nic::{Ack, Nic};

/// The bit of a descriptor that says that it is done.
pub const DONE: u32 = 1 << 31;
/// The bit of a descriptor that says that it failed.
pub const FAILED: u32 = 1 << 30;

/// A descriptor that is not done: where its buffer is, and how long that is.
#[must_use]
pub fn made_available(address: u64, length: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&address.to_le_bytes());
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// An access to memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Dma {
    /// These bytes are wanted.
    Read {
        /// The first address.
        address: u64,
        /// Bytes.
        length: usize,
    },
    /// These are to be written.
    Write {
        /// The first address.
        address: u64,
        /// What.
        bytes: Vec<u8>,
    },
}

/// Why an access was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DmaError {
    /// Nobody has mapped it.
    #[error("the memory is not mapped")]
    Unmapped,
    /// It may not be accessed like this, or the other side says no.
    #[error("the access is denied")]
    Denied,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Descriptor {
    address: u64,
    length: u32,
}

/// What is being done; a queue is known by its number.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
enum Doing {
    #[default]
    Nothing,
    /// Its descriptor is read.
    Descriptor(usize),
    /// The frame of a transmit queue is read.
    Fetch(usize, Descriptor),
    /// It takes its time.
    Wait(usize, Vec<u8>, Instant),
    /// A frame is written for a receive queue.
    Deliver(usize, u64),
    /// What became of a descriptor is written.
    Report(usize, u32),
    /// A command is read.
    Command(usize),
}

/// The engine.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    doing: Doing,
    /// Whether an access is outstanding.
    asked: bool,
    /// Whether the access that comes next found no memory.
    stalled: bool,
    /// The queue that was served last.
    turn: usize,
    latency: Duration,
}

impl Engine {
    /// One that takes so long for each frame that it transmits.
    #[must_use]
    pub fn new(latency: Duration) -> Self {
        Engine { latency, ..Engine::default() }
    }

    /// Whether nothing is being done that must come to its end.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.asked && (self.stalled || self.doing == Doing::Nothing)
    }

    /// Whether an access is outstanding.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.asked
    }

    /// When there is something to do that takes its time.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match &self.doing {
            Doing::Wait(_, _, until) if !self.asked => Some(*until),
            _ => None,
        }
    }

    /// What takes its time is done at once: whoever waits for the end waits only for memory.
    pub fn hurry(&mut self, now: Instant) {
        if let Doing::Wait(_, _, until) = &mut self.doing {
            *until = now;
        }
    }

    /// There is other memory, or another reason to try again.
    pub fn retry(&mut self) {
        self.stalled = false;
    }

    /// What has not come to its end is given up, and done again later. A frame that was handed on is
    /// not handed on again: its descriptor counts as done, though nothing could say so.
    pub fn give_up(&mut self, queues: &mut [Queue]) {
        if let Doing::Report(queue, _) = self.doing
            && let Some(transmit) = queues.get_mut(queue).filter(|_| queue % 2 == 1)
        {
            transmit.tail = transmit.tail.wrapping_add(1);
        }
        (self.doing, self.asked, self.stalled) = (Doing::Nothing, false, false);
    }

    /// The next access; none while one is outstanding. Nothing is begun unless it is `open`.
    pub fn poll(
        &mut self,
        open: bool,
        registers: &mut Registers,
        queues: &mut [Queue],
        nic: &mut Nic,
        now: Instant,
    ) -> Option<Dma> {
        if self.asked || self.stalled {
            return None;
        }
        if self.doing == Doing::Nothing && open && registers.control & GO != 0 {
            self.doing = self.next(registers, queues, nic);
        }
        if let Doing::Wait(queue, frame, until) = &self.doing
            && *until <= now
        {
            let (queue, length) = (*queue, frame.len() as u32);
            nic.transmit((queue / 2) as u16, frame);
            self.doing = Doing::Report(queue, DONE | length);
        }
        let access = self.access(registers, queues, nic);
        self.asked = access.is_some();
        access
    }

    /// Whose turn it is: a command, or the next queue with something to do.
    fn next(&mut self, registers: &mut Registers, queues: &mut [Queue], nic: &Nic) -> Doing {
        if registers.run > 0 {
            return Doing::Command(registers.run as usize);
        }
        for step in 1..=queues.len() {
            let at = (self.turn + step) % queues.len();
            let Some(queue) = queues.get_mut(at).filter(|queue| queue.enabled) else { continue };
            match queue.waiting().filter(|_| queue.descriptor().is_some()) {
                None => fail(registers, queue),
                Some(0) => {}
                Some(_) if at.is_multiple_of(2) && nic.next((at / 2) as u16).is_none() => {}
                Some(_) => {
                    self.turn = at;
                    return Doing::Descriptor(at);
                }
            }
        }
        Doing::Nothing
    }

    /// What the work at hand needs now.
    fn access(&self, registers: &Registers, queues: &[Queue], nic: &Nic) -> Option<Dma> {
        let ring = |at: usize| queues.get(at).and_then(Queue::descriptor);
        match &self.doing {
            Doing::Nothing | Doing::Wait(..) => None,
            Doing::Descriptor(at) => Some(Dma::Read { address: ring(*at)?, length: 16 }),
            Doing::Fetch(_, descriptor) => {
                // One more than can be sent, so that what is too long is seen to be.
                let most = nic.config().max_frame() + 1;
                let length = (descriptor.length as usize).min(most);
                Some(Dma::Read { address: descriptor.address, length })
            }
            Doing::Deliver(at, address) => {
                let bytes = nic.next((at / 2) as u16)?.to_vec();
                Some(Dma::Write { address: *address, bytes })
            }
            Doing::Report(at, status) => {
                Some(Dma::Write { address: ring(*at)? + 12, bytes: status.to_le_bytes().to_vec() })
            }
            Doing::Command(length) => {
                Some(Dma::Read { address: registers.command, length: (*length).min(MAX_COMMAND) })
            }
        }
    }

    /// The access that was asked for was made, with these bytes if it was a read; or it was not.
    pub fn handle(
        &mut self,
        outcome: Result<Vec<u8>, DmaError>,
        registers: &mut Registers,
        queues: &mut [Queue],
        nic: &mut Nic,
        now: Instant,
    ) {
        if !std::mem::take(&mut self.asked) {
            return;
        }
        let bytes = match outcome {
            Ok(bytes) => bytes,
            Err(DmaError::Unmapped) => {
                self.stalled = true;
                return;
            }
            Err(DmaError::Denied) => return self.denied(registers, queues),
        };
        self.doing = match std::mem::take(&mut self.doing) {
            Doing::Descriptor(at) => match (descriptor(&bytes), nic.next((at / 2) as u16)) {
                (Some(d), _) if at % 2 == 1 => Doing::Fetch(at, d),
                (Some(d), Some(frame)) if frame.len() <= d.length as usize => {
                    Doing::Deliver(at, d.address)
                }
                (Some(_), Some(_)) => Doing::Report(at, DONE | FAILED),
                _ => Doing::Nothing,
            },
            Doing::Fetch(at, _) => Doing::Wait(at, bytes, now + self.latency),
            Doing::Deliver(at, _) => {
                let length = nic.next((at / 2) as u16).map_or(0, <[u8]>::len) as u32;
                Doing::Report(at, DONE | length)
            }
            Doing::Report(at, status) => {
                if let Some(queue) = queues.get_mut(at) {
                    queue.tail = queue.tail.wrapping_add(1);
                }
                if at % 2 == 0 {
                    nic.taken((at / 2) as u16, status & FAILED == 0);
                }
                registers.cause |= if at % 2 == 0 { cause::RECEIVED } else { cause::SENT };
                Doing::Nothing
            }
            Doing::Command(length) => {
                let ack = if length > MAX_COMMAND { Ack::Err } else { nic.control(&bytes) };
                (registers.run, registers.ack) = (0, ack as u32);
                registers.cause |= cause::COMMAND;
                Doing::Nothing
            }
            other => other,
        };
    }

    /// What may not be accessed fails a command, and disables a queue.
    fn denied(&mut self, registers: &mut Registers, queues: &mut [Queue]) {
        match std::mem::take(&mut self.doing) {
            Doing::Command(_) => {
                (registers.run, registers.ack) = (0, Ack::Err as u32);
                registers.cause |= cause::COMMAND;
            }
            Doing::Fetch(at, _) => self.doing = Doing::Report(at, DONE | FAILED),
            Doing::Deliver(at, _) => self.doing = Doing::Report(at, DONE | FAILED),
            Doing::Descriptor(at) | Doing::Report(at, _) => {
                if let Some(queue) = queues.get_mut(at) {
                    fail(registers, queue);
                }
            }
            Doing::Nothing | Doing::Wait(..) => {}
        }
    }
}

fn fail(registers: &mut Registers, queue: &mut Queue) {
    queue.enabled = false;
    registers.cause |= cause::FAILED;
}

fn descriptor(bytes: &[u8]) -> Option<Descriptor> {
    let (address, rest) = bytes.split_first_chunk()?;
    let length = rest.first_chunk()?;
    Some(Descriptor { address: u64::from_le_bytes(*address), length: u32::from_le_bytes(*length) })
}
