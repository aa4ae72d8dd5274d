//! What a back-end is, asked before the tests: how many pairs of queues a network device has.
//!
//! ```text
//!   GET_FEATURES, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES CONFIG
//!   GET_CONFIG: max_virtqueue_pairs
//! ```
//!
//! The control ring of a network device follows its last pair of queues: who takes another ring for it
//! accuses the device of answering no command.
//!
//! **Invariant.** Nothing is judged here. What is not answered is not known.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use devmig_model::protocol::vhost_user::wire::{Config, Flags, Header, Payload, PayloadKind};
use devmig_reference::socket::Deadline;
use devmig_reference::socket::transport::Connection;
use devmig_reference::vhost_user::ids::{Message, PROTOCOL_FEATURES_BIT, feature};
use virtio_bindings::bindings::virtio_net::VIRTIO_NET_F_MQ;

use crate::harness::io::process::Command;

/// Where `max_virtqueue_pairs` is in the configuration space of a network device.
const PAIRS: u32 = 8;

/// How many pairs of queues the tests drive with `--device net-loopback`.
const DRIVEN: u16 = 2;

/// Why a device cannot be tested as a network device with two pairs of queues, if it says that it has others.
#[must_use]
pub fn other_pairs(command: &Command, start: Duration, limit: Duration) -> Option<String> {
    let (_process, connection) = command.start_over(Deadline::after(start)).ok()?;
    wrong(pairs(connection, limit)?)
}

/// Whether a network device can be asked over a connection on which it was agreed to use these features.
#[must_use]
pub fn can_be_asked(offered: u64, protocol: u64) -> bool {
    has(offered, VIRTIO_NET_F_MQ) && has(protocol, feature::CONFIG)
}

/// As [`other_pairs`], asked over such a connection.
#[must_use]
pub fn other_pairs_over(connection: &mut Connection, limit: Duration) -> Option<String> {
    wrong(configured(connection, limit)?)
}

fn wrong(pairs: u16) -> Option<String> {
    (pairs != DRIVEN).then(|| {
        format!(
            "wrong --device: net-loopback drives {DRIVEN} pairs of queues, and by its configuration \
             space (max_virtqueue_pairs) the back-end has {pairs}"
        )
    })
}

fn has(features: u64, bit: u32) -> bool {
    features.checked_shr(bit).is_some_and(|bits| bits & 1 == 1)
}

fn pairs(mut connection: Connection, limit: Duration) -> Option<u16> {
    let features = number(&ask(&mut connection, Message::GET_FEATURES, &Payload::None, limit)?)?;
    if !has(features, VIRTIO_NET_F_MQ) || !has(features, PROTOCOL_FEATURES_BIT) {
        return None;
    }
    let protocol = ask(&mut connection, Message::GET_PROTOCOL_FEATURES, &Payload::None, limit)?;
    if !has(number(&protocol)?, feature::CONFIG) {
        return None;
    }
    let accepted = Payload::U64(1 << feature::CONFIG);
    tell(&mut connection, Message::SET_PROTOCOL_FEATURES, &accepted, limit)?;
    configured(&mut connection, limit)
}

/// The number of pairs in the configuration space, where it was agreed to ask for it.
fn configured(connection: &mut Connection, limit: Duration) -> Option<u16> {
    let asked = Payload::Config(Config::new(PAIRS, 0, vec![0; 2]).ok()?);
    let answer = ask(connection, Message::GET_CONFIG, &asked, limit)?;
    match Payload::decode(PayloadKind::Config, &answer) {
        Ok(Payload::Config(config)) => {
            config.bytes().try_into().ok().map(u16::from_le_bytes).filter(|pairs| *pairs > 0)
        }
        _ => None,
    }
}

fn number(payload: &[u8]) -> Option<u64> {
    payload.try_into().ok().map(u64::from_ne_bytes)
}

fn tell(
    connection: &mut Connection,
    message: Message,
    payload: &Payload,
    limit: Duration,
) -> Option<()> {
    let bytes = payload.encode();
    let size = u32::try_from(bytes.len()).ok()?;
    let header = Header { request: message.id(), flags: Flags::request(), size };
    let none: &[BorrowedFd<'_>] = &[];
    connection.send(header, &bytes, none, Deadline::after(limit)).ok()
}

fn ask(
    connection: &mut Connection,
    message: Message,
    payload: &Payload,
    limit: Duration,
) -> Option<Vec<u8>> {
    tell(connection, message, payload, limit)?;
    let reply = connection.receive(Deadline::after(limit)).ok()?;
    (reply.header.request == message.id()).then_some(reply.payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use devmig_reference::nic::{Link, NicConfig, Parameters};
    use devmig_reference::vhost_user::net::NetOptions;
    use devmig_reference::vhost_user::{Options, Running};

    const LIMIT: Duration = Duration::from_secs(5);

    fn asked(queue_pairs: u16) -> Option<u16> {
        let config = NicConfig::new(Parameters { queue_pairs, ..Parameters::default() });
        let (config, latency) = (config.unwrap(), Duration::ZERO);
        let net = NetOptions { config, link: Link::Loopback, latency, flap: None };
        let running = Running::start(Options::nic(net)).unwrap();
        let connection = Connection::connect(&running.socket(), Deadline::after(LIMIT)).unwrap();
        let pairs = pairs(connection, LIMIT);
        running.stop(LIMIT).unwrap();
        pairs
    }

    #[test]
    fn a_device_says_how_many_pairs_of_queues_it_has() {
        assert_eq!(asked(2), Some(2));
        assert_eq!(asked(4), Some(4));
        // Without VIRTIO_NET_F_MQ there is no such field.
        assert_eq!(asked(1), None);
    }

    #[test]
    fn what_does_not_start_is_not_known() {
        let command = Command::parse("false {socket}").unwrap();
        assert_eq!(other_pairs(&command, LIMIT, LIMIT), None);
    }
}
