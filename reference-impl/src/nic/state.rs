//! What a NIC remembers, and how it is written down.
//!
//! ```text
//!   | magic | kind | version | model | configuration | state | digest |
//!    '------------------- tag ------------------'
//! ```
//!
//! | part | bytes, little-endian; what is counted has its length in front, in two bytes |
//! |---|---|
//! | magic, kind, version | 8, 4, 4 |
//! | model | its id, counted |
//! | configuration | how many parameters are in effect (2); for each, by name: the name, counted; its type (1): 0, 1 or 2; its value: 1 byte, 8 bytes, or counted |
//! | address, modes | 6, 1 |
//! | table | unicast, then multicast: how many (2), and 6 each |
//! | steering | 0; or 1 and a number of pairs (2); or 2 and types (4), unclassified (2), the table with its length (2, 2 each), max_tx (2), the key, counted |
//! | counters | 8 each, in their order |
//! | waiting | how many (2); for each its queue (2) and the frame, counted |
//! | tags | only with `vlan-filter`: 0; or 1, how many (2), and 2 each, ascending |
//! | digest | FNV-1a of all before it (8) |
//!
//! What is not in effect is not in it: a NIC whose model has more parameters, all off, has the same
//! bytes. `second.rs` writes and reads the same by this table alone.
//!
//! **Invariants.** A saved state says what it is the state of, and only a NIC of the same model and
//! configuration takes it. What is no state, or damaged, or impossible, changes nothing.
//!
//! **Not here:** whether the link is up, which is a matter of where a NIC is and not of what it was
//! told; and what was negotiated, which is negotiated again.

use std::collections::VecDeque;
use std::hash::Hasher as _;

use devmig_model::device_model::id::MAX_ID;
use devmig_model::device_model::value::{MAX_NAME, MAX_TEXT};
use devmig_model::device_model::{ModelId, Name, Refusal, Settings, Value, admit};
use fnv::FnvHasher;

use super::config::NicConfig;
use super::filter::{Modes, Table, Tags};
use super::mac::Mac;
use super::mutants::Mutant;
use super::rss::Rss;
use super::{Counters, MAX_WAITING, Waiting};

pub(super) const MAGIC: &[u8; 8] = b"devmig\0\0";
pub(super) const KIND: u32 = u32::from_le_bytes(*b"nic\0");
pub(super) const VERSION: u32 = 1;

/// Why a saved state is not taken. The NIC is then as it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StateError {
    /// It begins like nothing of ours, or is another device's.
    #[error("this is not the state of a NIC")]
    Foreign,
    /// A version that is not known here.
    #[error("the state has version {0}, and {VERSION} is known here")]
    Version(u32),
    /// Of another model, or of one that was configured otherwise: all differences.
    #[error(transparent)]
    Other(#[from] Refusal),
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
    /// The VLAN tags that pass, where it was made to filter by them.
    pub tags: Tags,
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
            tags: Tags::default(),
        }
    }

    /// As bytes, tagged with what it is the state of.
    #[must_use]
    pub fn encode(&self, config: &NicConfig) -> Vec<u8> {
        let mut to = Encoder(Vec::with_capacity(256));
        to.bytes(MAGIC);
        to.u32(KIND);
        to.u32(VERSION);
        let anonymous = config.is(Mutant::NoIdentity);
        let canon = if anonymous { Settings::new() } else { config.canon() };
        let model = if anonymous { "" } else { config.configuration().model().as_str() };
        to.counted(model.as_bytes());
        to.u16(canon.len() as u16);
        for (name, value) in &canon {
            to.counted(name.as_str().as_bytes());
            match value {
                Value::Bool(on) => to.bytes(&[0, (*on).into()]),
                Value::Int(n) => {
                    to.u8(1);
                    to.u64(*n);
                }
                Value::Str(text) => {
                    to.u8(2);
                    to.counted(text.as_bytes());
                }
            }
        }

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
        let mut counters = self.counters.all();
        if config.is(Mutant::BytesChanged) {
            counters.reverse();
        }
        counters.iter().for_each(|counter| to.u64(*counter));
        to.u16(self.waiting.len() as u16);
        for Waiting { queue, frame } in &self.waiting {
            to.u16(*queue);
            to.counted(frame);
        }
        if config.vlan_filter() || config.is(Mutant::AbsenceChanges) {
            to.u8(self.tags.list().is_some().into());
            if let Some(list) = self.tags.list() {
                to.u16(list.len() as u16);
                list.iter().for_each(|tag| to.u16(*tag));
            }
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

/// Whether what was saved by this is of such a NIC: the model's own check (its seventh step).
pub(super) fn admitted(
    model: &str,
    canon: &Settings,
    config: &NicConfig,
) -> Result<(), StateError> {
    let here = config.configuration();
    if config.is(Mutant::NoIdentity) {
        return Ok(());
    }
    let model: ModelId = match config.is(Mutant::OtherModel) {
        true => here.model().clone(),
        false => model.parse().map_err(|_| StateError::Damaged)?,
    };
    let same_model = model == *here.model();
    if config.is(Mutant::OtherConfiguration) && same_model {
        return Ok(());
    }
    // What the other model has and this one lacks is not looked at by one that takes any model's.
    let canon: Settings = match config.is(Mutant::OtherModel) {
        true => config.canon(),
        false => canon.clone(),
    };
    Ok(admit((&model, &canon), here, config.offs())?)
}

/// FNV-1a: against accidents, not against intent.
fn digest(bytes: &[u8]) -> u64 {
    let mut digest = FnvHasher::default();
    digest.write(bytes);
    digest.finish()
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
        let model = self.text(MAX_ID)?;
        let mut canon = Settings::new();
        for _ in 0..self.u16()? {
            let name: Name = self.text(MAX_NAME)?.parse().map_err(|_| StateError::Damaged)?;
            let value = match self.u8()? {
                0 => Value::Bool(match self.u8()? {
                    0 => false,
                    1 => true,
                    _ => return Err(StateError::Damaged),
                }),
                1 => Value::Int(self.take().map(u64::from_le_bytes)?),
                2 => Value::text(self.text(MAX_TEXT)?).map_err(|_| StateError::Damaged)?,
                _ => return Err(StateError::Damaged),
            };
            if canon.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(StateError::Damaged);
            }
            canon.insert(name, value);
        }
        admitted(model, &canon, config)
    }

    fn text(&mut self, most: usize) -> Result<&'a str, StateError> {
        std::str::from_utf8(self.counted(most)?).map_err(|_| StateError::Damaged)
    }

    fn tags(&mut self) -> Result<Tags, StateError> {
        let list = match self.u8()? {
            0 => None,
            1 => {
                let count = self.u16()?;
                let tags = (0..count).map(|_| self.u16()).collect::<Result<Vec<_>, _>>()?;
                let ascending = tags.is_sorted_by(|a, b| a < b);
                ascending.then_some(()).ok_or(StateError::Damaged)?;
                Some(tags.into_iter().collect())
            }
            _ => return Err(StateError::Damaged),
        };
        Tags::new(list).ok_or(StateError::Damaged)
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
        if config.is(Mutant::BytesChanged) {
            counters.reverse();
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
        let tags = match config.vlan_filter() || config.is(Mutant::AbsenceChanges) {
            true => self.tags()?,
            false => Tags::default(),
        };
        Ok(State { mac, modes, table, steering, counters: counters.into(), waiting, tags })
    }
}

#[cfg(test)]
mod tests;
