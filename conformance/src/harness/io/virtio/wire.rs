//! A network device whose wire is a loop, with two pairs of queues and a ring of commands.
//!
//! ```text
//!   ring 0, 2    room: | 128, writable |             ring 1, 3   | header 12 | frame 60, readable |
//!   ring 4       commands: | class 1, command 1, data, readable | ack 1, writable |
//! ```
//!
//! What is transmitted comes back to the pair that it was sent from if that is used, else to the first;
//! if there is no room it waits for some. How many are used is known once that was told; the first
//! is. The filter lets everything through that is sent to all. What else it lets through is known once
//! it was told to be strict.
//!
//! **Invariant.** Frames are told apart by a number, and come back in the order in which they were sent.

use std::collections::VecDeque;

use virtio_bindings::bindings::virtio_net::{
    VIRTIO_NET_F_CTRL_MAC_ADDR, VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VQ, VIRTIO_NET_F_MAC,
    VIRTIO_NET_F_MQ, VIRTIO_NET_F_MTU,
};

use super::net::{FRAME, HEADER, frame};
use super::outside::{Chains, Command, Outside, To, Unable};
use super::{FEATURES, SLOTS, UNTOUCHED, Workload};
use crate::harness::io::memory::{Arena, GuestMemory, MemoryError};
use crate::harness::io::ring::Buffer;

/// Pairs of queues.
const PAIRS: u8 = 2;
/// The ring of commands.
const CONTROL: u8 = 2 * PAIRS;
const SLOT: u64 = 128;

const ALL: [u8; 6] = [0xff; 6];
const GROUP: [u8; 6] = [0x03, 0, 0, 0, 0, 0x03];
const US: [u8; 6] = [0x02, 0, 0, 0, 0, 0x07];
const MIGRATED: [u8; 6] = [0x02, 0, 0, 0, 0, 0x09];
const NOBODY: [u8; 6] = [0x02, 0, 0, 0, 0, 0x02];

/// Where the number of pairs stands in the configuration space.
const MAX_PAIRS: usize = 8;

/// Commands, as VIRTIO 5.1.6.5 has them: class, command.
const PROMISCUOUS: [u8; 2] = [0, 0];
const ALL_GROUPS: [u8; 2] = [0, 1];
const TABLE_SET: [u8; 2] = [1, 0];
const ADDRESS_SET: [u8; 2] = [1, 1];
const PAIRS_SET: [u8; 2] = [4, 0];

/// Such a device.
#[derive(Debug)]
pub struct Wire {
    memory: GuestMemory,
    slots: u64,
    /// Chains ever made.
    made: u64,
    /// Frames that were sent and are to come back, by pair.
    under_way: [VecDeque<u64>; PAIRS as usize],
    commands: usize,
    told: Told,
}

/// What the device was told since it was new.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    strict: bool,
    filter: bool,
    address: Option<[u8; 6]>,
    pairs: Option<u8>,
}

impl Wire {
    /// A workload with its slots in memory from the arena.
    ///
    /// # Errors
    /// When the arena is used up.
    pub fn new(memory: &GuestMemory, arena: &mut Arena) -> Result<Self, MemoryError> {
        let slots = arena.take(SLOT * SLOTS * u64::from(CONTROL + 1), SLOT)?;
        let (made, commands, told) = (0, 0, Told::default());
        let (memory, under_way) = (memory.clone(), Default::default());
        Ok(Wire { memory, slots, made, under_way, commands, told })
    }

    /// Memory for one more chain of a ring.
    fn slot(&mut self, ring: u8) -> Result<u64, MemoryError> {
        let slot = self.slots + SLOT * (u64::from(ring) * SLOTS + self.made % SLOTS);
        self.made += 1;
        self.memory.fill(slot, SLOT as u32, UNTOUCHED)?;
        Ok(slot)
    }

    fn transmit(&mut self, ring: u8, n: u64, to: [u8; 6]) -> Result<Vec<Buffer>, MemoryError> {
        let slot = self.slot(ring)?;
        let bytes = [vec![0; HEADER as usize], frame(n, to)].concat();
        self.memory.write(slot, &bytes)?;
        Ok(vec![
            Buffer { addr: slot, len: HEADER, writable: false },
            Buffer { addr: slot + u64::from(HEADER), len: FRAME, writable: false },
        ])
    }

    fn command(&mut self, command: [u8; 2], data: &[u8]) -> Result<Vec<Buffer>, MemoryError> {
        let slot = self.slot(CONTROL)?;
        let bytes = [&command, data].concat();
        self.memory.write(slot, &bytes)?;
        let len = bytes.len() as u32;
        let ack = Buffer { addr: slot + u64::from(len), len: 1, writable: true };
        Ok(vec![Buffer { addr: slot, len, writable: false }, ack])
    }

    /// The address to send to, and whether the filter lets it through.
    fn passes(&self, to: To) -> Result<([u8; 6], bool), Unable> {
        const OPEN: Unable = Unable::Unknown("the filter was not set");
        Ok(match to {
            To::All => (ALL, true),
            To::Us => match self.told.address {
                Some(address) => (address, true),
                None => return Err(Unable::Unknown("the address was not set")),
            },
            To::Group if self.told.strict => (GROUP, self.told.filter),
            To::Nobody if self.told.strict => (NOBODY, false),
            To::Group | To::Nobody => return Err(OPEN),
        })
    }

    fn arrived(&mut self, pair: usize, chain: &[Buffer], used: u32) -> Result<(), String> {
        let wanted = self.under_way.get_mut(pair).and_then(VecDeque::pop_front);
        let wanted = wanted.ok_or("a frame was delivered that was not sent")?;
        if used != HEADER + FRAME {
            return Err(format!("a frame of {FRAME} bytes is delivered with {used} bytes"));
        }
        let mut bytes = vec![0; used as usize];
        let at = chain.first().map_or(0, |buffer| buffer.addr);
        self.memory.read(at, &mut bytes).map_err(|error| error.to_string())?;
        let (header, came) = bytes.split_at(HEADER as usize);
        if header.get(10..) != Some(&[1, 0]) {
            return Err(format!(
                "the header of a frame in one buffer names several buffers: {header:x?}"
            ));
        }
        let number = |frame: &[u8]| frame.get(14..22)?.try_into().ok().map(u64::from_be_bytes);
        match (number(came), came.get(6..) == frame(wanted, ALL).get(6..)) {
            (_, true) => Ok(()),
            (Some(n), _) => Err(format!("frame {n} is delivered instead of frame {wanted}")),
            (None, _) => Err("the delivered data is not a frame".into()),
        }
    }
}

impl Workload for Wire {
    fn name(&self) -> &'static str {
        "net-loopback"
    }

    fn rings(&self) -> u32 {
        u32::from(CONTROL) + 1
    }

    fn request_ring(&self) -> Option<u32> {
        Some(1)
    }

    fn features(&self) -> u64 {
        [
            VIRTIO_NET_F_MTU,
            VIRTIO_NET_F_MAC,
            VIRTIO_NET_F_CTRL_VQ,
            VIRTIO_NET_F_CTRL_RX,
            VIRTIO_NET_F_MQ,
            VIRTIO_NET_F_CTRL_MAC_ADDR,
        ]
        .iter()
        .fold(FEATURES, |features, bit| features | 1 << bit)
    }

    fn waits(&self, _: u64) -> bool {
        false
    }

    /// A frame to nobody, which need not come back: whoever offers room sends in another way.
    fn request(&mut self, n: u64) -> Result<Vec<Buffer>, MemoryError> {
        self.transmit(1, n, NOBODY)
    }

    fn check(&self, _: u64, used: u32) -> Result<(), String> {
        super::net::taken(used)
    }

    fn outside(&mut self) -> Option<&mut dyn Outside> {
        Some(self)
    }
}

impl Outside for Wire {
    fn receives(&self) -> Vec<u8> {
        (0..PAIRS).map(|pair| 2 * pair).collect()
    }

    fn held(&self, ring: u8) -> bool {
        ring.is_multiple_of(2)
    }

    fn due(&self, ring: u8) -> usize {
        match ring {
            CONTROL => self.commands,
            _ => self.under_way.get(usize::from(ring / 2)).map_or(0, VecDeque::len),
        }
    }

    fn room(&mut self, ring: u8) -> Result<Vec<Buffer>, Unable> {
        let addr = self.slot(ring)?;
        Ok(vec![Buffer { addr, len: SLOT as u32, writable: true }])
    }

    fn send(&mut self, to: To, pair: u8, discarded: bool) -> Result<Chains, Unable> {
        if pair >= PAIRS {
            return Err(Unable::Lacks("a device with more queue pairs"));
        }
        let (address, passes) = self.passes(to)?;
        let (n, ring) = (self.made, self.sends(pair));
        let chain = self.transmit(ring, n, address)?;
        let into = match self.told.pairs {
            _ if pair == 0 => 0,
            Some(pairs) if pair < pairs => usize::from(pair),
            Some(_) => 0,
            None => return Err(Unable::Unknown("the number of queue pairs was not set")),
        };
        if let Some(queue) = self.under_way.get_mut(into).filter(|_| passes && !discarded) {
            queue.push_back(n);
        }
        Ok((ring, vec![chain]))
    }

    fn sends(&self, pair: u8) -> u8 {
        2 * pair + 1
    }

    fn tell(&mut self, command: Command) -> Result<Chains, Unable> {
        let chains = match command {
            Command::Strict => {
                self.told.strict = true;
                vec![self.command(PROMISCUOUS, &[0])?, self.command(ALL_GROUPS, &[0])?]
            }
            Command::Filter => {
                self.told.filter = true;
                let none = 0_u32.to_le_bytes();
                let one = 1_u32.to_le_bytes();
                vec![self.command(TABLE_SET, &[&none[..], &one, &GROUP].concat())?]
            }
            Command::Address => {
                self.told.address = Some(US);
                vec![self.command(ADDRESS_SET, &US)?]
            }
            Command::Pairs | Command::OnePair => {
                let pairs = if command == Command::Pairs { PAIRS } else { 1 };
                self.told.pairs = Some(pairs);
                vec![self.command(PAIRS_SET, &u16::from(pairs).to_le_bytes())?]
            }
        };
        self.commands += chains.len();
        Ok((CONTROL, chains))
    }

    fn returned(&mut self, ring: u8, chain: &[Buffer], used: u32) -> Result<(), String> {
        match ring {
            CONTROL => {
                self.commands = self.commands.saturating_sub(1);
                let mut ack = [UNTOUCHED];
                let at = chain.last().map_or(0, |buffer| buffer.addr);
                self.memory.read(at, &mut ack).map_err(|error| error.to_string())?;
                match ack {
                    [0] => Ok(()),
                    [ack] => {
                        Err(format!("the result of a command is {ack:#x}, expected 0 (success)"))
                    }
                }
            }
            _ if ring.is_multiple_of(2) => self.arrived(usize::from(ring / 2), chain, used),
            _ => super::net::taken(used),
        }
    }

    fn forget(&mut self) {
        self.told = Told::default();
        self.under_way.iter_mut().for_each(VecDeque::clear);
        self.commands = 0;
    }

    fn config(&self) -> Option<(u32, Vec<u8>)> {
        Some((0, MIGRATED.to_vec()))
    }

    fn migrated(&mut self) {
        self.told.address = Some(MIGRATED);
    }

    fn configured(&self, offset: u32, bytes: &[u8]) -> Result<(), String> {
        let offset = offset as usize;
        let part = |from: usize, length: usize| {
            let from = from.checked_sub(offset)?;
            bytes.get(from..from.checked_add(length)?)
        };
        if let (Some(address), Some(came)) = (self.told.address, part(0, 6))
            && came != address
        {
            return Err(format!("the address is {came:x?}, but {address:x?} was set"));
        }
        match part(MAX_PAIRS, 2) {
            Some(came) if came != [PAIRS, 0] => {
                Err(format!("the number of queue pairs is {came:?}, expected {PAIRS}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::io::memory::PAGE;

    fn wire() -> Wire {
        let memory = GuestMemory::new(&[(0, 2 * PAGE)]).unwrap();
        Wire::new(&memory, &mut Arena::new(0, 2 * PAGE)).unwrap()
    }

    /// Lets a frame of this number come back in this much room.
    fn comes(wire: &mut Wire, n: u64, used: u32) -> Result<(), String> {
        let room = wire.room(0).unwrap();
        let mut header = vec![0; HEADER as usize];
        header[10] = 1;
        wire.memory.write(room[0].addr, &[header, frame(n, GROUP)].concat()).unwrap();
        wire.returned(0, &room, used)
    }

    #[test]
    fn what_is_due_is_what_was_sent_and_passes() {
        let mut wire = wire();
        let sent = |wire: &mut Wire, to| wire.send(to, 0, false).map(|_| wire.due(0) + wire.due(2));
        assert!(sent(&mut wire, To::Group).is_err() && sent(&mut wire, To::Us).is_err());
        assert_eq!(sent(&mut wire, To::All).unwrap(), 1);
        wire.tell(Command::Strict).unwrap();
        assert_eq!((wire.due(0), wire.due(CONTROL)), (1, 2));
        assert_eq!(sent(&mut wire, To::Group).unwrap(), 1);
        wire.tell(Command::Filter).unwrap();
        assert_eq!(sent(&mut wire, To::Group).unwrap(), 2);
        assert_eq!(sent(&mut wire, To::Nobody).unwrap(), 2);
        wire.tell(Command::Address).unwrap();
        assert_eq!(sent(&mut wire, To::Us).unwrap(), 3);
        assert!(wire.send(To::All, 1, false).is_err());
        wire.tell(Command::OnePair).unwrap();
        wire.send(To::All, 1, false).unwrap();
        assert_eq!((wire.due(0), wire.due(2)), (4, 0));
        wire.tell(Command::Pairs).unwrap();
        wire.send(To::All, 1, true).unwrap();
        assert_eq!(wire.due(2), 0, "it is discarded");
        wire.send(To::All, 1, false).unwrap();
        assert_eq!((wire.due(0), wire.due(2)), (4, 1));
        assert!(wire.send(To::All, 2, false).is_err());
        wire.forget();
        assert_eq!((0..=CONTROL).map(|ring| wire.due(ring)).sum::<usize>(), 0);
    }

    #[test]
    fn only_the_next_frame_is_right() {
        let mut wire = wire();
        for _ in 0..4 {
            wire.send(To::All, 0, false).unwrap();
        }
        assert_eq!(comes(&mut wire, 0, 72), Ok(()));
        assert!(comes(&mut wire, 2, 72).unwrap_err().contains("instead of frame 1"));
        assert!(comes(&mut wire, 2, 71).unwrap_err().contains("with 71 bytes"));
        assert!(comes(&mut wire, 3, u32::MAX).is_err());
        assert!(comes(&mut wire, 3, 72).unwrap_err().contains("was not sent"));
    }

    #[test]
    fn a_command_is_done_only_if_that_is_said() {
        let mut wire = wire();
        for (ack, right) in [(0, true), (1, false), (UNTOUCHED, false)] {
            let (ring, chains) = wire.tell(Command::Address).unwrap();
            wire.memory.write(chains[0][1].addr, &[ack]).unwrap();
            assert_eq!(wire.returned(ring, &chains[0], 1).is_ok(), right);
        }
    }

    #[test]
    fn of_a_configuration_space_only_what_is_known_is_judged() {
        let mut wire = wire();
        assert_eq!(wire.configured(0, &[1, 2, 3, 4, 5, 6, 7, 0, 2, 0]), Ok(()));
        wire.tell(Command::Address).unwrap();
        assert_eq!(wire.configured(0, &US), Ok(()));
        assert_eq!(wire.configured(1, &US), Ok(()), "that part is not known");
        assert!(wire.configured(0, &NOBODY).is_err());
        assert!(wire.configured(4, &[0, 7, 0, 0, 3, 0]).is_err());
        wire.migrated();
        assert_eq!(wire.configured(0, &MIGRATED), Ok(()));
    }
}
