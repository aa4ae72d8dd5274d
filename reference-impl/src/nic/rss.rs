//! Receive-side scaling: which receive queue a flow belongs to.
//!
//! ```text
//!   flow --Toeplitz, key--> hash --& mask--> indirection table --> queue
//!   no flow of a kind that is hashed ------> unclassified queue
//! ```
//!
//! **Invariant.** An [`Rss`] names no queue that the NIC does not have.

use super::frame::{Flow, Transport};

/// Bytes of a key, at most.
pub const MAX_KEY: usize = 40;

/// Entries of an indirection table, at most.
pub const MAX_TABLE: usize = 128;

/// Kinds of flows that can be hashed, as virtio-net numbers them.
pub mod hash {
    #![allow(missing_docs)] // named as in the text
    pub const IPV4: u32 = 1 << 0;
    pub const TCPV4: u32 = 1 << 1;
    pub const UDPV4: u32 = 1 << 2;
    pub const IPV6: u32 = 1 << 3;
    pub const TCPV6: u32 = 1 << 4;
    pub const UDPV6: u32 = 1 << 5;

    /// All of these.
    pub const SUPPORTED: u32 = (1 << 6) - 1;
}

/// How flows are spread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rss {
    types: u32,
    unclassified: u16,
    table: Vec<u16>,
    max_tx: u16,
    key: Vec<u8>,
}

impl Rss {
    /// Checked for a NIC with this many queue pairs; `None` if it cannot be done.
    #[must_use]
    pub fn new(
        types: u32,
        unclassified: u16,
        table: Vec<u16>,
        max_tx: u16,
        key: Vec<u8>,
        pairs: u16,
    ) -> Option<Self> {
        let possible = types & !hash::SUPPORTED == 0
            && unclassified < pairs
            && (1..=MAX_TABLE).contains(&table.len())
            && table.len().is_power_of_two()
            && table.iter().all(|queue| *queue < pairs)
            && (1..=pairs).contains(&max_tx)
            && key.len() <= MAX_KEY;
        possible.then_some(Rss { types, unclassified, table, max_tx, key })
    }

    /// What is hashed, see [`hash`].
    #[must_use]
    pub fn types(&self) -> u32 {
        self.types
    }

    /// The receive queue for all else.
    #[must_use]
    pub fn unclassified(&self) -> u16 {
        self.unclassified
    }

    /// The receive queue for each value of the hash's low bits.
    #[must_use]
    pub fn table(&self) -> &[u16] {
        &self.table
    }

    /// How many transmit queues are used.
    #[must_use]
    pub fn max_tx(&self) -> u16 {
        self.max_tx
    }

    /// The secret.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The receive queue of a flow.
    #[must_use]
    pub fn queue(&self, flow: Option<Flow<'_>>) -> u16 {
        let Some(hash) = flow.and_then(|flow| self.hash(flow)) else { return self.unclassified };
        let at = hash as usize & (self.table.len() - 1);
        self.table.get(at).copied().unwrap_or(self.unclassified)
    }

    /// The hash of a flow, if such flows are hashed: with its ports if those are.
    #[must_use]
    pub fn hash(&self, flow: Flow<'_>) -> Option<u32> {
        let (ip, tcp, udp) = match flow.v6 {
            false => (hash::IPV4, hash::TCPV4, hash::UDPV4),
            true => (hash::IPV6, hash::TCPV6, hash::UDPV6),
        };
        let with_ports = match flow.transport {
            Transport::Tcp => self.types & tcp != 0,
            Transport::Udp => self.types & udp != 0,
            Transport::Other => false,
        };
        let ports = if with_ports { flow.ports } else { &[] };
        (with_ports || self.types & ip != 0)
            .then(|| toeplitz(&self.key, flow.addresses.iter().chain(ports).copied()))
    }
}

/// For each bit that is set, the 32 bits of the key that begin there. A key goes on with zeroes.
#[must_use]
pub fn toeplitz(key: &[u8], data: impl Iterator<Item = u8>) -> u32 {
    let mut key = key.iter().copied().chain(std::iter::repeat(0));
    let mut window = (0..4).fold(0, |w, _| w << 8 | u32::from(key.next().unwrap_or(0)));
    let mut hash = 0;
    for byte in data {
        let next = key.next().unwrap_or(0);
        for bit in (0..8).rev() {
            if byte >> bit & 1 == 1 {
                hash ^= window;
            }
            window = window << 1 | u32::from(next >> bit & 1);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nic::frame::{flow, tests::tcp};
    use crate::nic::mac::Mac;

    /// The key of Microsoft's RSS verification suite.
    const KEY: [u8; 40] = [
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f,
        0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ];

    /// An address and a port.
    type End = (&'static str, u16);

    /// Its vectors: destination, source, the hash of the addresses, and that with the ports.
    const VECTORS: [(End, End, u32, u32); 8] = [
        (("161.142.100.80", 1766), ("66.9.149.187", 2794), 0x323e_8fc2, 0x51cc_c178),
        (("65.69.140.83", 4739), ("199.92.111.2", 14230), 0xd718_262a, 0xc626_b0ea),
        (("12.22.207.184", 38024), ("24.19.198.95", 12898), 0xd2d0_a5de, 0x5c2b_394a),
        (("209.142.163.6", 2217), ("38.27.205.30", 48228), 0x8298_9176, 0xafc7_327f),
        (("202.188.127.2", 1303), ("153.39.163.191", 44251), 0x5d18_09c5, 0x10e8_28a2),
        (("3ffe:2501:200:3::1", 1766), ("3ffe:2501:200:1fff::7", 2794), 0x2cc1_8cd5, 0x4020_7d3d),
        (("ff02::1", 4739), ("3ffe:501:8::260:97ff:fe40:efab", 14230), 0x0f0c_461c, 0xdde5_1bbf),
        (
            ("fe80::200:f8ff:fe21:67cf", 38024),
            ("3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251),
            0x4b61_e985,
            0x02d1_feef,
        ),
    ];

    fn rss(types: u32) -> Rss {
        Rss::new(types, 3, vec![0, 1, 2, 0], 4, KEY.to_vec(), 4).unwrap()
    }

    #[test]
    fn hashes_are_those_of_the_verification_suite() {
        let end = |(ip, port): (&str, u16)| (ip.parse().unwrap(), port);
        for (target, source, addresses, ports) in VECTORS {
            let frame = tcp(Mac::BROADCAST, end(source), end(target));
            let flow = flow(&frame).unwrap();
            assert_eq!(rss(hash::IPV4 | hash::IPV6).hash(flow), Some(addresses), "{target:?}");
            assert_eq!(rss(hash::SUPPORTED).hash(flow), Some(ports), "{target:?}");
            assert_eq!(rss(hash::UDPV4 | hash::UDPV6).hash(flow), None);
            let queue = rss(hash::SUPPORTED).table()[ports as usize & 3];
            assert_eq!(rss(hash::SUPPORTED).queue(Some(flow)), queue);
        }
        assert_eq!(rss(hash::SUPPORTED).queue(None), 3);
    }

    #[test]
    fn what_names_a_queue_that_there_is_not_is_refused() {
        let make = |types, unclassified, table: &[u16], max_tx, key| {
            Rss::new(types, unclassified, table.to_vec(), max_tx, vec![0; key], 2)
        };
        assert!(make(1, 1, &[0, 1], 2, 40).is_some());
        for refused in [
            make(1 << 6, 0, &[0], 1, 0),
            make(1, 2, &[0], 1, 0),
            make(1, 0, &[], 1, 0),
            make(1, 0, &[0, 1, 0], 1, 0),
            make(1, 0, &[2], 1, 0),
            make(1, 0, &[0; 256], 1, 0),
            make(1, 0, &[0], 0, 0),
            make(1, 0, &[0], 3, 0),
            make(1, 0, &[0], 1, 41),
        ] {
            assert_eq!(refused, None);
        }
    }
}
