//! Commands of the driver, as virtio-net's control queue carries them.
//!
//! ```text
//!   | class 1 | command 1 | data ... |  -->  OK or ERR
//!
//!   RX    0   PROMISC 0, ALLMULTI 1, ALLUNI 2, NOMULTI 3, NOUNI 4, NOBCAST 5      one byte
//!   MAC   1   TABLE_SET 0: two tables, each a count and addresses;  ADDR_SET 1: an address
//!   VLAN  2   ADD 0, DEL 1: a tag, if it was made to filter by tags
//!   MQ    4   VQ_PAIRS_SET 0: a number;  RSS_CONFIG 1: see `Rss`
//! ```
//!
//! **Invariant.** Bytes are a command that is carried out whole, or nothing changes. All of the
//! data must be used up.

use super::Nic;
use super::filter::{Modes, Table};
use super::mac::Mac;
use super::rss::Rss;
use super::state::Steering;

/// The longest command that is read, in bytes: a full filter table with its counts.
pub const MAX_COMMAND: usize = 2 + 8 + 6 * super::config::MAX_FILTER as usize;

/// Classes of commands.
pub mod class {
    #![allow(missing_docs)] // named as in the text
    pub const RX: u8 = 0;
    pub const MAC: u8 = 1;
    pub const VLAN: u8 = 2;
    pub const MQ: u8 = 4;
}

/// Commands of the class MAC.
pub mod mac_command {
    #![allow(missing_docs)] // named as in the text
    pub const TABLE_SET: u8 = 0;
    pub const ADDR_SET: u8 = 1;
}

/// Commands of the class MQ.
pub mod mq_command {
    #![allow(missing_docs)] // named as in the text
    pub const VQ_PAIRS_SET: u8 = 0;
    pub const RSS_CONFIG: u8 = 1;
}

/// What comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ack {
    /// It was done.
    Ok = 0,
    /// It was not, and nothing has changed.
    Err = 1,
}

impl Nic {
    /// Carries out a command.
    pub fn control(&mut self, command: &[u8]) -> Ack {
        match self.follow(command) {
            Some(()) => Ack::Ok,
            None => Ack::Err,
        }
    }

    fn follow(&mut self, command: &[u8]) -> Option<()> {
        let (&[class, command], data) = command.split_first_chunk()?;
        let mut data = Data(data);
        match (class, command) {
            (class::RX, _) => {
                let on = match data.last()? {
                    [0] => false,
                    [1] => true,
                    _ => return None,
                };
                let mut modes: Modes = self.state.modes;
                *modes.by_command(command)? = on;
                self.state.modes = modes;
            }
            (class::MAC, mac_command::TABLE_SET) => {
                let (unicast, multicast) = (data.addresses()?, data.addresses()?);
                data.end()?;
                self.state.table = Table::new(unicast, multicast, self.config.rx_filter_size())?;
            }
            (class::MAC, mac_command::ADDR_SET) => {
                let mac = Mac(data.last()?);
                if mac.is_group() {
                    return None;
                }
                self.state.mac = mac;
            }
            (class::VLAN, 0 | 1) if self.config.vlan_filter() => {
                let tag = u16::from_le_bytes(data.last()?);
                self.state.tags.set(tag, command == 0)?;
            }
            (class::MQ, mq_command::VQ_PAIRS_SET) => {
                let pairs = u16::from_le_bytes(data.last()?);
                if pairs == 0 || pairs > self.config.queue_pairs() {
                    return None;
                }
                self.state.steering = Steering::Pairs(pairs);
            }
            (class::MQ, mq_command::RSS_CONFIG) if self.config.rss() => {
                let types = data.u32()?;
                let (mask, unclassified) = (data.u16()?, data.u16()?);
                let table = (0..=mask).map(|_| data.u16()).collect::<Option<_>>()?;
                let max_tx = data.u16()?;
                let [length] = data.take()?;
                let key = data.0.to_vec();
                if usize::from(length) != key.len() {
                    return None;
                }
                let pairs = self.config.queue_pairs();
                self.state.steering =
                    Steering::Rss(Rss::new(types, unclassified, table, max_tx, key, pairs)?);
            }
            _ => return None,
        }
        Some(())
    }
}

/// What is still to be read of a command.
struct Data<'a>(&'a [u8]);

impl Data<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    /// These bytes and no others.
    fn last<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = self.take()?;
        self.end()?;
        Some(taken)
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    /// A count and as many addresses: what is allocated is at most what came.
    fn addresses(&mut self) -> Option<Vec<Mac>> {
        let count = usize::try_from(self.u32()?).ok()?;
        (count <= self.0.len() / 6).then_some(())?;
        (0..count).map(|_| self.take().map(Mac)).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::nic::config::{NicConfig, Parameters};
    use crate::nic::link::Link;
    use devmig_testing::Premises;
    use quickcheck::{Arbitrary, Gen, QuickCheck};

    pub(in crate::nic) fn nic(rss: bool) -> Nic {
        let parameters =
            Parameters { rss, queue_pairs: 4, rx_filter_size: 3, ..Parameters::default() };
        let mut nic = Nic::new(NicConfig::new(parameters).unwrap(), Link::Loopback);
        nic.set_filtering(true);
        nic
    }

    /// A `TABLE_SET` of these addresses.
    pub(in crate::nic) fn table(unicast: &[Mac], multicast: &[Mac]) -> Vec<u8> {
        let mut command = vec![class::MAC, mac_command::TABLE_SET];
        for half in [unicast, multicast] {
            command.extend((half.len() as u32).to_le_bytes());
            command.extend(half.iter().flat_map(|mac| mac.0));
        }
        command
    }

    /// An `RSS_CONFIG` with this indirection table.
    pub(in crate::nic) fn rss(types: u32, queues: &[u16], key: &[u8]) -> Vec<u8> {
        let mut command = vec![class::MQ, mq_command::RSS_CONFIG];
        command.extend(types.to_le_bytes());
        command.extend((queues.len() as u16).wrapping_sub(1).to_le_bytes());
        command.extend(0_u16.to_le_bytes());
        command.extend(queues.iter().flat_map(|queue| queue.to_le_bytes()));
        command.extend(1_u16.to_le_bytes());
        command.push(key.len() as u8);
        command.extend(key);
        command
    }

    #[test]
    fn commands_are_done_whole_or_not_at_all() {
        let (one, group) = (Mac([2, 0, 0, 0, 0, 9]), Mac([1, 0, 0, 0, 0, 9]));
        let good: [&[u8]; 6] = [
            &[class::RX, 0, 1],
            &[class::RX, 5, 0],
            &table(&[one, one], &[group]),
            &[class::MAC, mac_command::ADDR_SET, 2, 0, 0, 0, 0, 7],
            &[class::MQ, mq_command::VQ_PAIRS_SET, 4, 0],
            &rss(0x3f, &[0, 3], &[7; 40]),
        ];
        for command in good {
            let mut nic = nic(true);
            assert_eq!(nic.control(command), Ack::Ok, "{command:?}");
            let before = nic.save();
            // Nothing shorter or longer is a command.
            for length in 0..command.len() {
                assert_eq!(nic.control(&command[..length]), Ack::Err, "{command:?} {length}");
            }
            assert_eq!(nic.control(&[command, &[0]].concat()), Ack::Err);
            assert_eq!(nic.save(), before);
        }
        let bad: [&[u8]; 12] = [
            &[class::RX, 6, 1],
            &[class::RX, 0, 2],
            &table(&[one, one], &[group, group]),
            &table(&[group], &[]),
            &[class::MAC, mac_command::TABLE_SET, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
            &[class::MAC, mac_command::ADDR_SET, 1, 0, 0, 0, 0, 7],
            &[class::MAC, 2, 0],
            &[class::MQ, mq_command::VQ_PAIRS_SET, 0, 0],
            &[class::MQ, mq_command::VQ_PAIRS_SET, 5, 0],
            &rss(0x3f, &[0, 4], &[]),
            &rss(0x3f, &[], &[]),
            &[2, 0, 0, 0],
        ];
        for command in bad {
            assert_eq!(nic(true).control(command), Ack::Err, "{command:?}");
        }
        assert_eq!(nic(false).control(&rss(1, &[0], &[])), Ack::Err, "made without it");
        let parameters = Parameters { vlan_filter: true, ..Parameters::default() };
        let mut tagged = Nic::new(NicConfig::new(parameters).unwrap(), Link::Loopback);
        assert_eq!(tagged.control(&[class::VLAN, 0, 7, 0]), Ack::Ok);
        assert_eq!(tagged.control(&[class::VLAN, 1, 0, 16]), Ack::Err);
    }

    /// A command, or nearly one.
    #[derive(Clone, Debug)]
    struct Command(Vec<u8>);

    impl Arbitrary for Command {
        fn arbitrary(g: &mut Gen) -> Self {
            let macs = |g: &mut Gen, group: bool| -> Vec<Mac> {
                let mac = |g: &mut Gen| {
                    let group = group ^ (u8::arbitrary(g) < 20);
                    Mac([u8::from(group), u8::arbitrary(g), 0, 0, 0, u8::arbitrary(g)])
                };
                (0..u8::arbitrary(g) % 3).map(|_| mac(g)).collect()
            };
            let mut bytes = match u8::arbitrary(g) % 6 {
                0 => vec![class::RX, u8::arbitrary(g) % 7, u8::arbitrary(g) % 3],
                1 => {
                    let (unicast, multicast) = (macs(g, false), macs(g, true));
                    table(&unicast, &multicast)
                }
                2 => {
                    let mac = [u8::arbitrary(g), 0, 0, 0, 0, u8::arbitrary(g)];
                    [&[class::MAC, mac_command::ADDR_SET], &mac[..]].concat()
                }
                3 => vec![class::MQ, mq_command::VQ_PAIRS_SET, u8::arbitrary(g) % 6, 0],
                4 => {
                    let length = *g.choose(&[1, 2, 4, 8, 3]).unwrap();
                    let queues: Vec<u16> =
                        (0..length).map(|_| u16::from(u8::arbitrary(g) % 20 / 4)).collect();
                    let key: Vec<u8> = (0..u8::arbitrary(g) % 41).map(|_| 7).collect();
                    rss(u32::from(u8::arbitrary(g) % 64), &queues, &key)
                }
                _ => [vec![u8::arbitrary(g) % 6, u8::arbitrary(g) % 7], Vec::arbitrary(g)].concat(),
            };
            if u8::arbitrary(g) % 4 == 0 && !bytes.is_empty() {
                let at = usize::arbitrary(g) % bytes.len();
                bytes[at] = u8::arbitrary(g);
            }
            Command(bytes)
        }
    }

    /// A command is carried out as a whole, or nothing has changed; what it changed is saved and
    /// loaded, and the same command again changes nothing more.
    #[test]
    fn any_bytes_are_a_command_or_none() {
        static PREMISES: Premises = Premises::new();
        fn law(Command(bytes): Command) -> bool {
            let mut nic = nic(true);
            let before = nic.save();
            let done = nic.control(&bytes) == Ack::Ok;
            let after = nic.save();
            if PREMISES.holds("carried out", done) {
                PREMISES.met(format!("class {}", bytes[0]));
                PREMISES.holds("something changes", before != after);
            }
            let again = nic.control(&bytes) == Ack::Ok;
            (done || before == after) && again == done && nic.save() == after
        }
        QuickCheck::new().tests(2000).quickcheck(law as fn(Command) -> bool);
        PREMISES.at_least("carried out", 33);
        PREMISES.at_least("something changes", 50);
        PREMISES.each([class::RX, class::MAC, class::MQ].map(|class| format!("class {class}")), 50);
    }
}
