//! Golden states: what a NIC of each model and configuration saves, as files that are kept.
//!
//! ```text
//!   a configuration --> a NIC that was worked with --> its state, as each transport carries it
//!                                                       |
//!   golden/NAME.json  <--------- compared -------------'      and loaded, by releases to come
//! ```
//!
//! A program can read what it wrote itself, whatever is wrong with both. Only state that was kept from
//! each release tells that it is written down in another way, when nothing in a description says so.
//!
//! **Invariants.** No file is ever changed: a new way of writing is a parameter, and new files. Every
//! number in a state differs from the others, so that none can be taken for another.
//!
//! **Not here:** reading a folder of them, and holding a device against it (the suite's).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use devmig_model::device_model::form::InstanceForm;
use devmig_model::device_model::{External, Instance, Value};
use serde::{Deserialize, Serialize};

use crate::migration::stream::Writer;
use crate::nic::control::{class, mac_command, mq_command};
use crate::nic::{Ack, Build, Given, Link, Nic, NicConfig, NicModel, Order, Release};
use crate::pci::registers::{CONTROL, FILTER, MASK, cause};
use crate::pci::{Function, FunctionOptions, region};

/// The version of the form.
pub const SCHEMA: u32 = 1;

/// Bytes in a line of hexadecimal digits.
const LINE: usize = 32;

/// A golden state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Vector {
    /// What it is called: `nic-rss`.
    pub name: &'static str,
    /// What it is the state of.
    pub config: NicConfig,
    /// As vhost-user carries it.
    pub vhost_user: Vec<u8>,
    /// As vfio-user carries it.
    pub vfio_user: Vec<u8>,
}

/// A golden state, as it is written.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Form {
    /// The version of this form: 1.
    pub schema: u32,
    /// What it is the state of: model and parameters.
    pub instance: InstanceForm,
    /// The state as each transport carries it, in hexadecimal digits.
    pub states: BTreeMap<String, Vec<String>>,
}

/// Why there are no golden states.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the golden state `{name}`: {why}")]
pub struct NoVector {
    name: &'static str,
    why: String,
}

/// What each is made with, and the first release that makes it.
type Row = (&'static str, NicModel, Release, &'static [(&'static str, Value)]);

/// One configuration for each value that state depends on, and some that are far from the others.
const ROWS: [Row; 10] = {
    use Release::{One, Two};
    const ON: Value = Value::Bool(true);
    [
        ("basic-nic", NicModel::Basic, One, &[]),
        ("basic-nic-jumbo", NicModel::Basic, One, &[("mtu", Value::Int(9216))]),
        ("nic", NicModel::Nic, One, &[]),
        ("nic-no-filter", NicModel::Nic, One, &[("rx-filter-size", Value::Int(0))]),
        ("nic-queues", NicModel::Nic, One, &[("queue-pairs", Value::Int(16))]),
        ("nic-rss", NicModel::Nic, One, &[("queue-pairs", Value::Int(4)), ("rss", ON)]),
        ("nic-small-mtu", NicModel::Nic, One, &[("mtu", Value::Int(68))]),
        ("nic-filter", NicModel::Nic, Two, &[("rx-filter-size", Value::Int(1024))]),
        ("nic-vlan", NicModel::Nic, Two, &[("vlan-filter", ON)]),
        (
            "nic-all",
            NicModel::Nic,
            Two,
            &[
                ("mtu", Value::Int(9216)),
                ("queue-pairs", Value::Int(16)),
                ("rss", ON),
                ("rx-filter-size", Value::Int(1024)),
                ("vlan-filter", ON),
            ],
        ),
    ]
};

/// All of them.
///
/// # Errors
/// Never, as things are: a test makes all.
pub fn vectors() -> Result<Vec<Vector>, NoVector> {
    ROWS.iter().map(|row| vector(row, Build::default())).collect()
}

/// All of them, as another build of a NIC has them, where its release makes them.
///
/// # Errors
/// Never, as things are.
pub fn vectors_by(build: Build) -> Result<Vec<Vector>, NoVector> {
    ROWS.iter().filter(|row| row.2 <= build.release).map(|row| vector(row, build)).collect()
}

fn vector((name, model, first, given): &Row, build: Build) -> Result<Vector, NoVector> {
    let no = |why: String| NoVector { name, why };
    // What the first release that makes it states: what is new since is off, and not among it.
    let asked = NicConfig::make(&order(*model, given, Build { release: *first, ..build }));
    let asked = asked.map_err(|error| no(error.to_string()))?;
    let all: Vec<(&str, Value)> = asked
        .configuration()
        .parameters()
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    let here =
        NicConfig::make(&order(*model, &all, build)).map_err(|error| no(error.to_string()))?;
    let nic = worked(here.clone()).ok_or_else(|| no("a command was refused".into()))?;
    let vhost_user = nic.save();
    let options =
        FunctionOptions { config: here.clone(), link: Link::Loopback, latency: Duration::ZERO };
    let mut function = Function::new(&options);
    function.nic_mut().load(&vhost_user).map_err(|error| no(error.to_string()))?;
    // The filter applies, and two causes interrupt.
    for (register, value) in [(CONTROL, FILTER), (MASK, cause::SENT | cause::RECEIVED)] {
        let written = function.write(region::BAR0, register as u64, &value.to_le_bytes());
        written.map_err(|error| no(error.to_string()))?;
    }
    let mut stream = Writer::new(here.identity().as_bytes(), function.save());
    stream.end();
    let vfio_user = stream.read(stream.left());
    Ok(Vector { name, config: asked, vhost_user, vfio_user })
}

fn order(model: NicModel, given: &[(&str, Value)], build: Build) -> Order {
    let given = given.iter().map(|(name, v)| ((*name).to_owned(), Given::Value(v.clone())));
    Order { model: model.id().to_owned(), version: None, given: given.collect(), build }
}

/// A NIC whose driver has told it all that it can be told, and whose wire is a loop.
fn worked(config: NicConfig) -> Option<Nic> {
    let mut nic = Nic::new(config, Link::Loopback);
    let mut commands = vec![vec![class::MAC, mac_command::ADDR_SET, 2, 3, 4, 5, 6, 7]];
    commands.push(vec![class::RX, 1, 1]);
    commands.push(vec![class::RX, 5, 1]);
    let room = usize::from(nic.config().rx_filter_size());
    let one = |first: u8, n: usize| [first, 0, 0, 0, 1, n as u8];
    let mut table = vec![class::MAC, mac_command::TABLE_SET];
    for (first, most) in [(2, 3), (1, 2)] {
        let count = room.min(most);
        table.extend((count as u32).to_le_bytes());
        table.extend((0..count).flat_map(|n| one(first, n)));
    }
    commands.extend((room > 0).then_some(table));
    let pairs = nic.config().queue_pairs();
    if nic.config().rss() {
        let mut rss = vec![class::MQ, mq_command::RSS_CONFIG];
        rss.extend(0x3f_u32.to_le_bytes());
        rss.extend(3_u16.to_le_bytes());
        rss.extend(1_u16.to_le_bytes());
        rss.extend((0..4).map(|n| n % pairs).flat_map(u16::to_le_bytes));
        rss.extend(pairs.to_le_bytes());
        rss.push(40);
        rss.extend(100..140);
        commands.push(rss);
    } else {
        commands.push([&[class::MQ, mq_command::VQ_PAIRS_SET][..], &pairs.to_le_bytes()].concat());
    }
    for tag in [7_u16, 300].into_iter().filter(|_| nic.config().vlan_filter()) {
        commands.push([&[class::VLAN, 0][..], &tag.to_le_bytes()].concat());
    }
    if commands.iter().any(|command| nic.control(command) != Ack::Ok) {
        return None;
    }
    nic.set_filtering(true);
    let own: [u8; 6] = [2, 3, 4, 5, 6, 7];
    let frame = |to: [u8; 6], n: u8| [&to[..], &own[..], &[8, 0, n, n, n]].concat();
    // To itself, so that they come back; then to somebody who is not let through; then too short.
    (0..7).for_each(|n| nic.transmit(0, &frame(own, n)));
    (0..3).for_each(|n| nic.transmit(0, &frame([2, 9, 9, 9, 9, 9], n)));
    (0..2).for_each(|_| nic.transmit(0, &[1, 2, 3]));
    (0..4).for_each(|_| deliver(&mut nic, true));
    deliver(&mut nic, false);
    Some(nic)
}

/// The frame that waits longest goes to the driver, or has no room there.
fn deliver(nic: &mut Nic, delivered: bool) {
    if let Some(queue) = nic.state().waiting.front().map(|waiting| waiting.queue) {
        nic.taken(queue, delivered);
    }
}

impl From<&Vector> for Form {
    fn from(vector: &Vector) -> Self {
        let described = vector.config.instance(External::new());
        let (model, parameters) = (described.model().clone(), described.parameters().clone());
        let plain = Instance::described(model, parameters, External::new(), None);
        let states = [("vhost-user", &vector.vhost_user), ("vfio-user", &vector.vfio_user)];
        let states = states.into_iter().map(|(name, state)| (name.to_owned(), digits(state)));
        let instance = InstanceForm::from(&plain.unwrap_or(described));
        Form { schema: SCHEMA, instance, states: states.collect() }
    }
}

impl Form {
    /// The state as this transport carries it; none if it is not there, or no digits.
    #[must_use]
    pub fn state(&self, transport: &str) -> Option<Vec<u8>> {
        let digits: String = self.states.get(transport)?.concat();
        let pair = |at| digits.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        digits.len().is_multiple_of(2).then_some(())?;
        (0..digits.len()).step_by(2).map(pair).collect()
    }
}

fn digits(bytes: &[u8]) -> Vec<String> {
    let line = |line: &[u8]| {
        line.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    };
    bytes.chunks(LINE).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nic::{Encoder, Mac, Mutant};

    #[test]
    fn every_vector_is_of_a_device_that_was_worked_with() {
        for vector in vectors().unwrap() {
            let mut nic = Nic::new(vector.config.clone(), Link::Nobody);
            nic.load(&vector.vhost_user).unwrap();
            assert_eq!(nic.state().mac, Mac([2, 3, 4, 5, 6, 7]), "{}", vector.name);
            let counters = nic.state().counters.all();
            assert!(counters.iter().all(|n| *n > 0), "{}: {counters:?}", vector.name);
            assert!(!nic.state().waiting.is_empty(), "{}", vector.name);
            let form = Form::from(&vector);
            assert_eq!(form.state("vhost-user"), Some(vector.vhost_user));
            assert_eq!(form.state("vfio-user"), Some(vector.vfio_user));
            assert_eq!(form.state("pigeon"), None);
        }
    }

    #[test]
    fn every_release_and_encoder_writes_the_same_and_a_faulty_one_does_not() {
        let good = vectors().unwrap();
        let same = |build: Build| {
            let own = vectors_by(build).unwrap();
            assert!(own.len() > 5);
            own.iter().all(|vector| {
                let known = good.iter().find(|known| known.name == vector.name).unwrap();
                (&known.vhost_user, &known.vfio_user) == (&vector.vhost_user, &vector.vfio_user)
            })
        };
        for release in Release::ALL {
            for encoder in [Encoder::First, Encoder::Second] {
                assert!(same(Build { release, encoder, mutant: None }), "{release} {encoder:?}");
            }
        }
        for (mutant, encoder) in [
            (Mutant::BytesChanged, Encoder::First),
            (Mutant::AbsenceChanges, Encoder::First),
            (Mutant::EncodersDiffer, Encoder::Second),
        ] {
            let build = Build { mutant: Some(mutant), encoder, ..Build::default() };
            assert!(!same(build), "{mutant}");
        }
    }
}
