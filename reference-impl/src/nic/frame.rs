//! What a NIC looks at in a frame: where it goes, and which flow it belongs to.
//!
//! ```text
//!   | to 6 | from 6 | (tag 4) | type 2 | IPv4 or IPv6 | TCP or UDP ports |
//! ```
//!
//! **Invariant.** Any bytes are a frame or none; what cannot be understood beyond the addresses is
//! a frame without a flow.

use super::mac::Mac;

/// Bytes of a header without a tag.
pub const HEADER: usize = 14;

/// Bytes of a VLAN tag.
pub const TAG: usize = 4;

const VLAN: u16 = 0x8100;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Where a frame goes.
#[must_use]
pub fn destination(frame: &[u8]) -> Option<Mac> {
    (frame.len() >= HEADER).then(|| frame.first_chunk().copied().map(Mac)).flatten()
}

/// Its VLAN tag, if it has one.
#[must_use]
pub fn tag(frame: &[u8]) -> Option<u16> {
    let kind = be16(frame.get(12..)?)?;
    (kind == VLAN).then(|| be16(frame.get(14..)?).map(|tag| tag & 0xfff)).flatten()
}

/// Which transport a flow has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// TCP, with both ports.
    Tcp,
    /// UDP, with both ports.
    Udp,
    /// Another, or a fragment: no ports.
    Other,
}

/// What receive-side scaling hashes, in network order: source address, destination address, and
/// the ports if there are any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow<'a> {
    /// Whether addresses have 16 bytes, not 4.
    pub v6: bool,
    /// Both addresses.
    pub addresses: &'a [u8],
    /// Both ports: 4 bytes, or none.
    pub ports: &'a [u8],
    /// What the ports are of.
    pub transport: Transport,
}

/// The flow that a frame belongs to.
#[must_use]
pub fn flow(frame: &[u8]) -> Option<Flow<'_>> {
    let mut rest = frame.get(12..)?;
    let mut kind = be16(rest)?;
    if kind == VLAN {
        rest = rest.get(TAG..)?;
        kind = be16(rest)?;
    }
    let packet = rest.get(2..)?;
    let (v6, addresses, protocol, body) = match kind {
        IPV4 => {
            let words = usize::from(packet.first()? & 0xf);
            let fragment = be16(packet.get(6..)?)? & 0x3fff != 0;
            let body = packet.get((words * 4).max(20)..).filter(|_| !fragment).unwrap_or(&[]);
            (false, packet.get(12..20)?, *packet.get(9)?, body)
        }
        IPV6 => {
            let body = packet.get(40..).unwrap_or(&[]);
            (true, packet.get(8..40)?, *packet.get(6)?, body)
        }
        _ => return None,
    };
    let transport = match protocol {
        TCP if body.len() >= 4 => Transport::Tcp,
        UDP if body.len() >= 4 => Transport::Udp,
        _ => Transport::Other,
    };
    let ports = body.get(..4).filter(|_| transport != Transport::Other).unwrap_or(&[]);
    Some(Flow { v6, addresses, ports, transport })
}

fn be16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use devmig_testing::Premises;
    use quickcheck::{Arbitrary, Gen, QuickCheck};
    use std::net::IpAddr;

    /// A TCP segment's frame.
    pub(in crate::nic) fn tcp(to: Mac, source: (IpAddr, u16), target: (IpAddr, u16)) -> Vec<u8> {
        let mut frame = [to.0, [2, 0, 0, 0, 0, 1]].concat();
        match (source.0, target.0) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                frame.extend(IPV4.to_be_bytes());
                frame.extend([0x45, 0, 0, 40, 0, 0, 0, 0, 64, TCP, 0, 0]);
                frame.extend(source.octets());
                frame.extend(target.octets());
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                frame.extend(IPV6.to_be_bytes());
                frame.extend([0x60, 0, 0, 0, 0, 20, TCP, 64]);
                frame.extend(source.octets());
                frame.extend(target.octets());
            }
            _ => panic!("one family"),
        }
        frame.extend(source.1.to_be_bytes());
        frame.extend(target.1.to_be_bytes());
        frame.extend([0; 16]);
        frame
    }

    #[test]
    fn flows_are_found_behind_tags_and_not_in_fragments() {
        let (source, target) = (([10, 0, 0, 1], 1), ([10, 0, 0, 2], 2));
        let end = |(ip, port): ([u8; 4], u16)| (IpAddr::from(ip), port);
        let plain = tcp(Mac::BROADCAST, end(source), end(target));
        let found = flow(&plain).unwrap();
        assert_eq!((found.transport, found.ports), (Transport::Tcp, &[0, 1, 0, 2][..]));
        assert_eq!(found.addresses, [10, 0, 0, 1, 10, 0, 0, 2]);

        let tagged = [&plain[..12], &[0x81, 0, 0, 7], &plain[12..]].concat();
        assert_eq!(flow(&tagged), Some(found));

        let mut fragment = plain.clone();
        fragment[20] = 0x20;
        assert_eq!(flow(&fragment).unwrap().transport, Transport::Other);
        assert_eq!(flow(&plain[..36]).unwrap().ports, [] as [u8; 0]);
        assert_eq!(flow(&plain[..30]), None);
    }

    /// A frame by its parts, and what is to be found in it.
    #[derive(Clone, Debug)]
    struct Parts {
        to: [u8; 6],
        vlan: Option<u16>,
        v6: bool,
        protocol: u8,
        fragment: bool,
        options: u8,
        addresses: Vec<u8>,
        body: Vec<u8>,
    }

    impl Arbitrary for Parts {
        fn arbitrary(g: &mut Gen) -> Self {
            let v6 = bool::arbitrary(g);
            let bytes =
                |g: &mut Gen, length: usize| (0..length).map(|_| u8::arbitrary(g)).collect();
            let length = usize::arbitrary(g) % 12;
            Parts {
                to: std::array::from_fn(|_| u8::arbitrary(g)),
                vlan: Option::arbitrary(g),
                v6,
                protocol: *g.choose(&[TCP, UDP, 1, 58]).unwrap(),
                fragment: u8::arbitrary(g) % 4 == 0,
                options: u8::arbitrary(g) % 11,
                addresses: bytes(g, if v6 { 32 } else { 8 }),
                body: bytes(g, length),
            }
        }
    }

    impl Parts {
        fn frame(&self) -> Vec<u8> {
            let mut frame = [self.to, [2, 0, 0, 0, 0, 1]].concat();
            if let Some(tag) = self.vlan {
                frame.extend([VLAN.to_be_bytes(), tag.to_be_bytes()].concat());
            }
            frame.extend(if self.v6 { IPV6 } else { IPV4 }.to_be_bytes());
            if self.v6 {
                frame.extend([0x60, 0, 0, 0, 0, 20, self.protocol, 64]);
                frame.extend(&self.addresses);
            } else {
                let flags = if self.fragment { 0x20 } else { 0x40 };
                frame.extend([0x45 + self.options, 0, 0, 40, 0, 0, flags, 0, 64, self.protocol]);
                frame.extend([0, 0]);
                frame.extend(&self.addresses);
                frame.extend(vec![0; usize::from(self.options) * 4]);
            }
            frame.extend(&self.body);
            frame
        }

        /// Where its addresses end, by its own parts.
        fn head(&self) -> usize {
            let tag = if self.vlan.is_some() { TAG } else { 0 };
            HEADER + tag + if self.v6 { 40 } else { 20 }
        }

        fn transport(&self) -> Transport {
            let ports = self.body.len() >= 4 && (self.v6 || !self.fragment);
            match self.protocol {
                TCP if ports => Transport::Tcp,
                UDP if ports => Transport::Udp,
                _ => Transport::Other,
            }
        }
    }

    /// What was put into a frame is found in it; a frame that is cut before its addresses end has no
    /// flow, and one that is cut after them has the same addresses.
    #[test]
    fn what_a_frame_is_made_of_is_found_in_it() {
        static PREMISES: Premises = Premises::new();
        fn law(parts: Parts, cut: u8) -> bool {
            let frame = parts.frame();
            let transport = parts.transport();
            PREMISES.met(format!("{transport:?} {}", if parts.v6 { "IPv6" } else { "IPv4" }));
            let ports = if transport == Transport::Other { &[] } else { &parts.body[..4] };
            let whole = Flow { v6: parts.v6, addresses: &parts.addresses, ports, transport };
            let cut = &frame[..usize::from(cut) % frame.len()];
            let there = PREMISES.holds("cut after the addresses", cut.len() >= parts.head());
            PREMISES.holds("cut before them", !there);
            flow(&frame) == Some(whole)
                && tag(&frame) == parts.vlan.map(|tag| tag & 0xfff)
                && destination(&frame) == Some(Mac(parts.to))
                && destination(cut).is_some() == (cut.len() >= HEADER)
                && flow(cut).map(|flow| flow.addresses) == there.then_some(&parts.addresses[..])
        }
        QuickCheck::new().tests(2000).quickcheck(law as fn(Parts, u8) -> bool);
        PREMISES.at_least("cut after the addresses", 10);
        PREMISES.at_least("cut before them", 33);
        let kinds = ["Tcp IPv4", "Udp IPv4", "Other IPv4", "Tcp IPv6", "Udp IPv6", "Other IPv6"];
        PREMISES.each(kinds, 50);
    }
}
