//! What a NIC remembers, and how it is written down.
//!
//! ```text
//!   | magic | kind | version | model | configuration | state | digest |
//!    '------------------- tag ------------------'
//! ```
//!
//! **Invariants.** A saved state says what it is the state of, and only a NIC of the same model and
//! configuration takes it. What is no state, or damaged, or impossible, changes nothing.
//!
//! **Not here:** whether the link is up, which is a matter of where a NIC is and not of what it was
//! told; and what was negotiated, which is negotiated again.

use std::collections::VecDeque;

use super::config::{MAX_URI, NicConfig};
use super::filter::{Modes, Table};
use super::mac::Mac;
use super::rss::Rss;
use super::{Counters, MAX_WAITING, Waiting};

const MAGIC: &[u8; 8] = b"devmig\0\0";
const KIND: u32 = u32::from_le_bytes(*b"nic\0");
const VERSION: u32 = 1;

/// Why a saved state is not taken. The NIC is then as it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StateError {
    /// It begins like nothing of ours, or is another device's.
    #[error("this is not the state of a NIC")]
    Foreign,
    /// A version that is not known here.
    #[error("the state has version {0}, and {VERSION} is known here")]
    Version(u32),
    /// Another model's.
    #[error("the state is that of a `{theirs}`, and this is a `{ours}`")]
    Model {
        /// What it is the state of.
        theirs: String,
        /// What this is.
        ours: String,
    },
    /// The model is the same, and was configured otherwise.
    #[error("the state's NIC was made with {0} other than this one's")]
    Configuration(&'static str),
    /// It ends early, goes on after its end, is not as it was written, or says what cannot be.
    #[error("the state is damaged")]
    Damaged,
}

/// How receive queues are chosen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Steering {
    /// The driver has said nothing.
    #[default]
    Unset,
    /// As many pairs are used, and what comes belongs to the pair that its flow was sent from.
    Pairs(u16),
    /// By hash.
    Rss(Rss),
}

/// What was told to a NIC, and what it has not delivered yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Its address now.
    pub mac: Mac,
    /// Its filter's switches.
    pub modes: Modes,
    /// Its filter's table.
    pub table: Table,
    /// How receive queues are chosen.
    pub steering: Steering,
    /// What it has done.
    pub counters: Counters,
    /// Frames that wait for a buffer, oldest first.
    pub waiting: VecDeque<Waiting>,
}

impl State {
    /// That of a new NIC.
    #[must_use]
    pub fn new(config: &NicConfig) -> Self {
        State {
            mac: config.mac(),
            modes: Modes::default(),
            table: Table::default(),
            steering: Steering::default(),
            counters: Counters::default(),
            waiting: VecDeque::new(),
        }
    }

    /// As bytes, tagged with what it is the state of.
    #[must_use]
    pub fn encode(&self, config: &NicConfig) -> Vec<u8> {
        let mut to = Encoder(Vec::with_capacity(256));
        to.bytes(MAGIC);
        to.u32(KIND);
        to.u32(VERSION);
        to.counted(config.model().as_str().as_bytes());
        to.u8(config.rss().into());
        to.u16(config.rx_filter_size());
        to.u16(config.queue_pairs());
        to.bytes(&config.mac().0);
        to.u16(config.mtu());

        to.bytes(&self.mac.0);
        to.u8(self.modes.bits());
        for half in [self.table.unicast(), self.table.multicast()] {
            to.u16(half.len() as u16);
            half.iter().for_each(|mac| to.bytes(&mac.0));
        }
        match &self.steering {
            Steering::Unset => to.u8(0),
            Steering::Pairs(pairs) => {
                to.u8(1);
                to.u16(*pairs);
            }
            Steering::Rss(rss) => {
                to.u8(2);
                to.u32(rss.types());
                to.u16(rss.unclassified());
                to.u16(rss.table().len() as u16);
                rss.table().iter().for_each(|queue| to.u16(*queue));
                to.u16(rss.max_tx());
                to.counted(rss.key());
            }
        }
        self.counters.all().iter().for_each(|counter| to.u64(*counter));
        to.u16(self.waiting.len() as u16);
        for Waiting { queue, frame } in &self.waiting {
            to.u16(*queue);
            to.counted(frame);
        }
        let digest = digest(&to.0);
        to.u64(digest);
        to.0
    }

    /// What these bytes say, for a NIC made like this.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn decode(bytes: &[u8], config: &NicConfig) -> Result<Self, StateError> {
        let mut from = Decoder(bytes);
        if from.take().ok() != Some(*MAGIC) || from.u32().ok() != Some(KIND) {
            return Err(StateError::Foreign);
        }
        let version = from.u32()?;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let (body, end) = bytes.split_last_chunk().ok_or(StateError::Damaged)?;
        if u64::from_le_bytes(*end) != digest(body) {
            return Err(StateError::Damaged);
        }
        from.0 = from.0.get(..from.0.len().saturating_sub(end.len())).unwrap_or(&[]);
        from.tag(config)?;
        let state = from.state(config)?;
        from.0.is_empty().then_some(state).ok_or(StateError::Damaged)
    }
}

/// FNV-1a: against accidents, not against intent.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |digest, byte| {
        (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Everything is little-endian; what is counted has its length in front, in two bytes.
struct Encoder(Vec<u8>);

impl Encoder {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn counted(&mut self, bytes: &[u8]) {
        self.u16(bytes.len() as u16);
        self.bytes(bytes);
    }

    fn u8(&mut self, n: u8) {
        self.0.push(n);
    }

    fn u16(&mut self, n: u16) {
        self.bytes(&n.to_le_bytes());
    }

    fn u32(&mut self, n: u32) {
        self.bytes(&n.to_le_bytes());
    }

    fn u64(&mut self, n: u64) {
        self.bytes(&n.to_le_bytes());
    }
}

/// What is still to be read.
struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(StateError::Damaged)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, StateError> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, StateError> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, StateError> {
        self.take().map(u32::from_le_bytes)
    }

    fn counted(&mut self, most: usize) -> Result<&'a [u8], StateError> {
        let length = usize::from(self.u16()?);
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(StateError::Damaged)?;
        self.0 = rest;
        (length <= most).then_some(bytes).ok_or(StateError::Damaged)
    }

    /// Fails unless it is the state of such a NIC.
    fn tag(&mut self, config: &NicConfig) -> Result<(), StateError> {
        let model = self.counted(MAX_URI)?;
        if model != config.model().as_str().as_bytes() {
            return Err(StateError::Model {
                theirs: String::from_utf8_lossy(model).into_owned(),
                ours: config.model().to_string(),
            });
        }
        let same = |same, what| if same { Ok(()) } else { Err(StateError::Configuration(what)) };
        same(self.u8()? == u8::from(config.rss()), "an rss")?;
        same(self.u16()? == config.rx_filter_size(), "an rx-filter-size")?;
        same(self.u16()? == config.queue_pairs(), "a number of queue pairs")?;
        same(Mac(self.take()?) == config.mac(), "an address")?;
        same(self.u16()? == config.mtu(), "an MTU")
    }

    fn addresses(&mut self, config: &NicConfig) -> Result<Vec<Mac>, StateError> {
        let count = self.u16()?;
        if count > config.rx_filter_size() {
            return Err(StateError::Damaged);
        }
        (0..count).map(|_| self.take().map(Mac)).collect()
    }

    fn rss(&mut self, pairs: u16) -> Result<Rss, StateError> {
        let (types, unclassified) = (self.u32()?, self.u16()?);
        let length = self.u16()?;
        if usize::from(length) > super::rss::MAX_TABLE {
            return Err(StateError::Damaged);
        }
        let table = (0..length).map(|_| self.u16()).collect::<Result<_, _>>()?;
        let max_tx = self.u16()?;
        let key = self.counted(super::rss::MAX_KEY)?.to_vec();
        Rss::new(types, unclassified, table, max_tx, key, pairs).ok_or(StateError::Damaged)
    }

    fn state(&mut self, config: &NicConfig) -> Result<State, StateError> {
        let pairs = config.queue_pairs();
        let mac = Mac(self.take()?);
        let modes = Modes::from_bits(self.u8()?).ok_or(StateError::Damaged)?;
        let (unicast, multicast) = (self.addresses(config)?, self.addresses(config)?);
        let table = Table::new(unicast, multicast, config.rx_filter_size());
        let table = table.ok_or(StateError::Damaged)?;
        let steering = match self.u8()? {
            0 => Steering::Unset,
            1 => Steering::Pairs(self.u16()?),
            2 if config.rss() => Steering::Rss(self.rss(pairs)?),
            _ => return Err(StateError::Damaged),
        };
        let possible = !matches!(steering, Steering::Pairs(n) if n == 0 || n > pairs);
        if mac.is_group() || !possible {
            return Err(StateError::Damaged);
        }
        let mut counters = [0; Counters::COUNT];
        for counter in &mut counters {
            *counter = u64::from_le_bytes(self.take()?);
        }
        let count = usize::from(self.u16()?);
        if count > MAX_WAITING {
            return Err(StateError::Damaged);
        }
        let waiting = (0..count).map(|_| {
            let (queue, frame) = (self.u16()?, self.counted(config.max_frame())?.to_vec());
            let possible = queue < pairs && frame.len() >= super::frame::HEADER;
            possible.then_some(Waiting { queue, frame }).ok_or(StateError::Damaged)
        });
        let waiting = waiting.collect::<Result<_, _>>()?;
        Ok(State { mac, modes, table, steering, counters: counters.into(), waiting })
    }
}

#[cfg(test)]
mod tests;
