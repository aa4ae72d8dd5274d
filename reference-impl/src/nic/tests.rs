//! Frames through a NIC.

use super::control::tests::{nic, rss, table};
use super::*;

const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);

fn frame(to: Mac, length: usize) -> Vec<u8> {
    let mut frame = [to.0, [2; 6]].concat();
    frame.resize(length, 0);
    frame
}

/// What a queue delivers, in order.
fn delivered(nic: &mut Nic, queue: u16) -> Vec<Vec<u8>> {
    let next = || {
        let frame = nic.next(queue)?.to_vec();
        nic.taken(queue, true);
        Some(frame)
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn what_is_sent_comes_back_if_the_filter_lets_it_through() {
    let mut nic = nic(false);
    let (own, other) = (frame(nic.config().mac(), 60), frame(OTHER, 60));
    nic.transmit(0, &own);
    nic.transmit(0, &other);
    assert_eq!(delivered(&mut nic, 0), std::slice::from_ref(&own));
    assert_eq!(nic.control(&table(&[OTHER], &[])), Ack::Ok);
    nic.transmit(0, &other);
    assert_eq!(delivered(&mut nic, 0), std::slice::from_ref(&other));
    nic.reset();
    nic.transmit(0, &other);
    assert_eq!(delivered(&mut nic, 0), [] as [Vec<u8>; 0], "the table is forgotten");
    nic.set_filtering(false);
    nic.transmit(0, &other);
    assert_eq!(delivered(&mut nic, 0), [other]);
    assert_eq!(nic.state().counters.all(), [2, 0, 1, 1, 0]);
    nic.set_up(false);
    nic.transmit(0, &own);
    nic.receive(0, &own);
    assert_eq!(nic.next(0), None);
}

#[test]
fn queues_are_those_of_the_sender_or_of_the_hash() {
    let mut nic = nic(true);
    let own = frame(nic.config().mac(), 60);
    for pair in 0..4 {
        nic.transmit(pair, &own);
        assert_eq!(delivered(&mut nic, pair).len(), 1);
    }
    assert_eq!(nic.control(&[4, 0, 2, 0]), Ack::Ok);
    for (pair, queue) in [(0, 0), (1, 1), (2, 0), (9, 0)] {
        nic.transmit(pair, &own);
        assert_eq!(delivered(&mut nic, queue).len(), 1);
    }
    // All bits of the key are set: the hash's last bit is the parity of the addresses.
    assert_eq!(nic.control(&rss(1, &[1, 2], &[0xff; 40])), Ack::Ok);
    let end = |last: u8| ([10, 0, 0, last].into(), 1);
    for (last, queue) in [(1, 1), (3, 2)] {
        let flow = frame::tests::tcp(Mac::BROADCAST, end(2), end(last));
        nic.transmit(0, &flow);
        let parity = (u32::from(last).count_ones() + 1) % 2;
        assert_eq!(u32::from(queue - 1), parity);
        assert_eq!(delivered(&mut nic, queue), [flow]);
    }
    nic.transmit(3, &own);
    assert_eq!(delivered(&mut nic, 0).len(), 1, "no flow: the unclassified queue");
}

#[test]
fn what_waits_is_bounded() {
    let mut nic = nic(false);
    let most = nic.config().max_frame();
    let mac = nic.config().mac();
    for length in [0, 13, most + 1] {
        nic.transmit(0, &frame(mac, length)[..length]);
        nic.receive(0, &frame(mac, length)[..length]);
    }
    assert_eq!((nic.next(0), nic.state().counters.unsendable), (None, 3));
    for _ in 0..2 * MAX_WAITING {
        nic.transmit(0, &frame(mac, most));
    }
    assert_eq!(delivered(&mut nic, 0).len(), MAX_WAITING);
    assert_eq!(nic.state().counters.dropped, MAX_WAITING as u64);
}

#[test]
fn a_peer_gets_what_is_sent_and_nobody_gets_nothing() {
    let config = |_| NicConfig::new(Parameters::default()).unwrap();
    let mut peer = Nic::new(config(()), Link::Peer);
    let sent = frame(OTHER, 60);
    peer.transmit(0, &sent);
    assert_eq!(
        (peer.poll_sent(), peer.poll_sent(), peer.next(0)),
        (Some(sent.clone()), None, None)
    );
    peer.receive(0, &sent);
    assert_eq!(delivered(&mut peer, 0), std::slice::from_ref(&sent));
    let mut nobody = Nic::new(config(()), Link::Nobody);
    nobody.transmit(0, &sent);
    assert_eq!((nobody.poll_sent(), nobody.next(0)), (None, None));
}
