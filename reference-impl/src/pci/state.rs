//! What a function remembers, as bytes: configuration space, registers, queues, and the NIC's state,
//! which says what it is the state of and has a digest of its own.
//!
//! **Invariant.** Taken down while the engine is idle, so that nothing of it is under way.

use super::config_space::{ConfigSpace, WRITABLE};
use super::function::Function;
use super::registers::{FILTER, GO, Queue, Registers, cause};
use crate::nic::{Nic, StateError};

impl Function {
    /// Its state, self-describing.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        let Registers { control, cause, mask, command, run, ack } = self.registers;
        let mut to = self.space.written().to_vec();
        for word in [control, cause, mask, run, ack] {
            to.extend(word.to_le_bytes());
        }
        to.extend(command.to_le_bytes());
        for Queue { ring, size, enabled, head, tail } in &self.queues {
            to.extend(ring.to_le_bytes());
            to.extend(size.to_le_bytes());
            to.push((*enabled).into());
            to.extend(head.to_le_bytes());
            to.extend(tail.to_le_bytes());
        }
        to.extend(self.nic.save());
        to
    }

    /// What such bytes say, for a function made like this one.
    pub(super) fn decode(
        &self,
        state: &[u8],
    ) -> Result<(ConfigSpace, Registers, Vec<Queue>, Nic), StateError> {
        let mut from = state;
        let space = ConfigSpace::restored(take::<{ WRITABLE.len() }>(&mut from)?);
        let mut word = || take(&mut from).map(u32::from_le_bytes);
        let (control, cause, mask) = (word()?, word()?, word()?);
        let (run, ack) = (word()?, word()?);
        let command = u64::from_le_bytes(take(&mut from)?);
        if control & !(GO | FILTER) != 0 || (cause | mask) & !cause::ALL != 0 || ack > 1 {
            return Err(StateError::Damaged);
        }
        let registers = Registers { control, cause, mask, command, run, ack };
        let queue = |_: &Queue| {
            let ring = u64::from_le_bytes(take(&mut from)?);
            let size = u32::from_le_bytes(take(&mut from)?);
            let enabled = match take(&mut from)? {
                [0] => false,
                [1] => true,
                _ => return Err(StateError::Damaged),
            };
            let head = u16::from_le_bytes(take(&mut from)?);
            Ok(Queue { ring, size, enabled, head, tail: u16::from_le_bytes(take(&mut from)?) })
        };
        let queues = self.queues.iter().map(queue).collect::<Result<_, StateError>>()?;
        let mut nic = self.nic.clone();
        nic.load(from)?;
        Ok((space, registers, queues, nic))
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], StateError> {
    let (head, rest) = from.split_first_chunk().ok_or(StateError::Damaged)?;
    *from = rest;
    Ok(*head)
}
