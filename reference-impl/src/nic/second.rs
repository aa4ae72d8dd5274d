//! Saved states once more, by the table in `state.rs` and by nothing else of it: two programs that
//! write the same bytes show that these follow from what is saved alone.
//!
//! ```text
//!   encode: every part is computed as bytes of its own, and all are joined
//!   decode: positions in the whole; an early end is found by whoever looks beyond it
//! ```
//!
//! **Not here:** any function that the first one uses, but the check of what a state is of, which is the
//! model's.

use std::collections::VecDeque;

use devmig_model::device_model::id::MAX_ID;
use devmig_model::device_model::value::{MAX_NAME, MAX_TEXT};
use devmig_model::device_model::{Settings, Value};

use super::config::NicConfig;
use super::filter::{Modes, Table, Tags};
use super::mac::Mac;
use super::mutants::Mutant;
use super::rss::{MAX_KEY, MAX_TABLE, Rss};
use super::state::{KIND, MAGIC, State, StateError, Steering, VERSION, admitted};
use super::{Counters, MAX_WAITING, Waiting, frame};

type Read<T> = Result<T, StateError>;

fn le(value: u64, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (value >> (8 * at)) as u8).collect()
}

fn counted(bytes: &[u8]) -> Vec<u8> {
    [le(bytes.len() as u64, 2), bytes.to_vec()].concat()
}

/// FNV-1a once more, so that the crate which `state.rs` takes it from is checked too.
fn fnv(bytes: &[u8]) -> u64 {
    let (mut hash, prime) = (14_695_981_039_346_656_037_u128, 1_099_511_628_211_u128);
    for byte in bytes {
        hash = (hash ^ u128::from(*byte)) * prime % (1 << 64);
    }
    hash as u64
}

fn addresses(list: &[Mac]) -> Vec<u8> {
    let all: Vec<u8> = list.iter().flat_map(|mac| mac.0).collect();
    [le(list.len() as u64, 2), all].concat()
}

/// As bytes.
pub(super) fn encode(state: &State, config: &NicConfig) -> Vec<u8> {
    let canon = config.canon();
    let setting = |(name, value): (_, &Value)| {
        let name: &devmig_model::device_model::Name = name;
        let value = match value {
            Value::Bool(on) => vec![0, u8::from(*on)],
            Value::Int(n) => [vec![1], le(*n, 8)].concat(),
            Value::Str(text) => [vec![2], counted(text.as_bytes())].concat(),
        };
        [counted(name.as_str().as_bytes()), value].concat()
    };
    let steering = match &state.steering {
        Steering::Unset => vec![0],
        Steering::Pairs(pairs) => [vec![1], le(u64::from(*pairs), 2)].concat(),
        Steering::Rss(rss) => {
            let table: Vec<u8> =
                rss.table().iter().flat_map(|queue| le(u64::from(*queue), 2)).collect();
            let head = [le(u64::from(rss.types()), 4), le(u64::from(rss.unclassified()), 2)];
            let length = le(rss.table().len() as u64, 2);
            let tail = [le(u64::from(rss.max_tx()), 2), counted(rss.key())].concat();
            [vec![2], head.concat(), length, table, tail].concat()
        }
    };
    let waits = |w: &Waiting| [le(u64::from(w.queue), 2), counted(&w.frame)].concat();
    let tags = match state.tags.list() {
        _ if !config.vlan_filter() => Vec::new(),
        None => vec![0],
        Some(list) => {
            let tags = list.iter().flat_map(|tag| le(u64::from(*tag), 2));
            [vec![1], le(list.len() as u64, 2), tags.collect()].concat()
        }
    };
    let mut address = state.mac.0;
    if config.is(Mutant::EncodersDiffer) {
        address.reverse();
    }
    let whole = [
        MAGIC.to_vec(),
        le(u64::from(KIND), 4),
        le(u64::from(VERSION), 4),
        counted(config.configuration().model().as_str().as_bytes()),
        le(canon.len() as u64, 2),
        canon.iter().flat_map(setting).collect(),
        address.to_vec(),
        vec![state.modes.bits()],
        addresses(state.table.unicast()),
        addresses(state.table.multicast()),
        steering,
        state.counters.all().iter().flat_map(|counter| le(*counter, 8)).collect(),
        le(state.waiting.len() as u64, 2),
        state.waiting.iter().flat_map(waits).collect(),
        tags,
    ]
    .concat();
    let digest = le(fnv(&whole), 8);
    [whole, digest].concat()
}

/// Where reading stands.
struct At<'a> {
    whole: &'a [u8],
    position: usize,
}

impl<'a> At<'a> {
    fn bytes(&mut self, count: usize) -> Read<&'a [u8]> {
        let from = self.position;
        self.position = from.saturating_add(count);
        self.whole.get(from..self.position).ok_or(StateError::Damaged)
    }

    fn number(&mut self, bytes: usize) -> Read<u64> {
        let digits = self.bytes(bytes)?.iter().rev();
        Ok(digits.fold(0, |number, digit| number << 8 | u64::from(*digit)))
    }

    fn short(&mut self) -> Read<u16> {
        self.number(2).map(|number| number as u16)
    }

    fn counted(&mut self, most: usize) -> Read<&'a [u8]> {
        let count = usize::from(self.short()?);
        let bytes = self.bytes(count)?;
        possible(count <= most)?;
        Ok(bytes)
    }

    fn text(&mut self, most: usize) -> Read<String> {
        String::from_utf8(self.counted(most)?.to_vec()).map_err(|_| StateError::Damaged)
    }

    fn flag(&mut self) -> Read<bool> {
        let flag = self.number(1)?;
        possible(flag < 2)?;
        Ok(flag == 1)
    }

    fn mac(&mut self) -> Read<Mac> {
        let bytes = self.bytes(6)?.try_into().map_err(|_| StateError::Damaged)?;
        Ok(Mac(bytes))
    }

    fn macs(&mut self, most: u16) -> Read<Vec<Mac>> {
        let count = self.short()?;
        possible(count <= most)?;
        (0..count).map(|_| self.mac()).collect()
    }
}

fn possible(is: bool) -> Read<()> {
    if is { Ok(()) } else { Err(StateError::Damaged) }
}

/// What bytes say, for a NIC made like this one.
pub(super) fn decode(whole: &[u8], config: &NicConfig) -> Read<State> {
    let mut at = At { whole, position: 0 };
    let ours = [MAGIC.to_vec(), le(u64::from(KIND), 4)].concat();
    if at.bytes(ours.len()).ok() != Some(&ours) {
        return Err(StateError::Foreign);
    }
    let version = at.number(4)? as u32;
    if version != VERSION {
        return Err(StateError::Version(version));
    }
    let end = whole.len().checked_sub(8).ok_or(StateError::Damaged)?;
    let digest = At { whole, position: end }.number(8)?;
    let body = whole.get(..end).unwrap_or_default();
    possible(digest == fnv(body))?;
    at.whole = body;

    let model = at.text(MAX_ID)?;
    let mut canon = Settings::new();
    let mut last = String::new();
    for n in 0..at.short()? {
        let name = at.text(MAX_NAME)?;
        let parsed = name.parse().map_err(|_| StateError::Damaged)?;
        let value = match at.number(1)? {
            0 => Value::Bool(at.flag()?),
            1 => Value::Int(at.number(8)?),
            2 => Value::text(&at.text(MAX_TEXT)?).map_err(|_| StateError::Damaged)?,
            _ => return Err(StateError::Damaged),
        };
        possible(n == 0 || last < name)?;
        last = name;
        canon.insert(parsed, value);
    }
    admitted(&model, &canon, config)?;

    let mut mac = at.mac()?;
    if config.is(Mutant::EncodersDiffer) {
        mac.0.reverse();
    }
    possible(!mac.is_group())?;
    let modes = Modes::from_bits(at.number(1)? as u8).ok_or(StateError::Damaged)?;
    let (size, pairs) = (config.rx_filter_size(), config.queue_pairs());
    let (unicast, multicast) = (at.macs(size)?, at.macs(size)?);
    let table = Table::new(unicast, multicast, size).ok_or(StateError::Damaged)?;
    let steering = steering(&mut at, config)?;
    let mut counters = [0; Counters::COUNT];
    for counter in &mut counters {
        *counter = at.number(8)?;
    }
    let mut waiting = VecDeque::new();
    let count = at.short()?;
    possible(usize::from(count) <= MAX_WAITING)?;
    for _ in 0..count {
        let (queue, bytes) = (at.short()?, at.counted(config.max_frame())?);
        possible(queue < pairs && bytes.len() >= frame::HEADER)?;
        waiting.push_back(Waiting { queue, frame: bytes.to_vec() });
    }
    let mut tags = Tags::default();
    if config.vlan_filter() && at.flag()? {
        let list: Vec<u16> = (0..at.short()?).map(|_| at.short()).collect::<Read<_>>()?;
        possible(list.iter().zip(list.iter().skip(1)).all(|(one, next)| one < next))?;
        tags = Tags::new(Some(list.into_iter().collect())).ok_or(StateError::Damaged)?;
    }
    possible(at.position == body.len())?;
    Ok(State { mac, modes, table, steering, counters: counters.into(), waiting, tags })
}

fn steering(at: &mut At<'_>, config: &NicConfig) -> Read<Steering> {
    let pairs = config.queue_pairs();
    match at.number(1)? {
        0 => Ok(Steering::Unset),
        1 => {
            let used = at.short()?;
            possible(used >= 1 && used <= pairs)?;
            Ok(Steering::Pairs(used))
        }
        2 if config.rss() => {
            let (types, unclassified) = (at.number(4)? as u32, at.short()?);
            let entries = at.short()?;
            possible(usize::from(entries) <= MAX_TABLE)?;
            let table = (0..entries).map(|_| at.short()).collect::<Read<Vec<u16>>>()?;
            let max_tx = at.short()?;
            let key = at.counted(MAX_KEY)?.to_vec();
            let rss = Rss::new(types, unclassified, table, max_tx, key, pairs);
            rss.map(Steering::Rss).ok_or(StateError::Damaged)
        }
        _ => Err(StateError::Damaged),
    }
}
