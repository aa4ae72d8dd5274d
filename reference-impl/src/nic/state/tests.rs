//! Saved states: every one comes back, and nothing else is taken.

use devmig_testing::Premises;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::nic::config::{Build, Encoder, Order, Parameters};
use crate::nic::{Link, Nic, NicModel, Release, second};

fn config(change: impl FnOnce(&mut Parameters)) -> NicConfig {
    let mut parameters = Parameters {
        rss: true,
        queue_pairs: 4,
        rx_filter_size: 8,
        vlan_filter: true,
        ..Parameters::default()
    };
    change(&mut parameters);
    NicConfig::new(parameters).unwrap()
}

fn mac(group: bool) -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(move |mut mac| {
        mac[0] = mac[0] & !1 | u8::from(group);
        Mac(mac)
    })
}

fn steering() -> impl Strategy<Value = Steering> {
    let rss = (0..64_u32, 0..4_u16, 0..=7_u32, 1..=4_u16, vec(any::<u8>(), 0..=40)).prop_flat_map(
        |(types, unclassified, log, max_tx, key)| {
            vec(0..4_u16, 1 << log).prop_map(move |table| {
                let rss = Rss::new(types, unclassified, table, max_tx, key.clone(), 4);
                rss.map_or(Steering::Unset, Steering::Rss)
            })
        },
    );
    prop_oneof![Just(Steering::Unset), (1..=4_u16).prop_map(Steering::Pairs), rss]
}

fn state() -> impl Strategy<Value = State> {
    let table = (vec(mac(false), 0..=4), vec(mac(true), 0..=4));
    let waiting = vec((0..4_u16, vec(any::<u8>(), 14..80)), 0..=8);
    let tags = prop::option::of(prop::collection::btree_set(0..4096_u16, 0..=5));
    let counters = any::<[u64; Counters::COUNT]>();
    (mac(false), 0..64_u8, table, steering(), counters, waiting, tags).prop_map(
        |(mac, modes, (unicast, multicast), steering, counters, waiting, tags)| State {
            mac,
            modes: Modes::from_bits(modes).unwrap(),
            table: Table::new(unicast, multicast, 8).unwrap(),
            steering,
            counters: counters.into(),
            waiting: waiting.into_iter().map(|(queue, frame)| Waiting { queue, frame }).collect(),
            tags: Tags::new(tags).unwrap(),
        },
    )
}

#[test]
fn what_is_saved_is_loaded() {
    let premises = Premises::new();
    proptest!(|(state in state())| {
        premises.met(match state.steering {
            Steering::Unset => "unset",
            Steering::Pairs(_) => "pairs",
            Steering::Rss(_) => "rss",
        });
        premises.holds("frames wait", !state.waiting.is_empty());
        let config = config(|_| ());
        let bytes = state.encode(&config);
        prop_assert_eq!(State::decode(&bytes, &config), Ok(state));
        let mut nic = Nic::new(config, Link::Loopback);
        nic.load(&bytes).unwrap();
        prop_assert_eq!(nic.save(), bytes);
    });
    premises.each(["unset", "pairs", "rss"], 20);
    premises.at_least("frames wait", 33);
}

proptest! {
    #[test]
    fn what_is_damaged_is_not(state in state(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let config = config(|_| ());
        let good = state.encode(&config);
        let mut bytes = good.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let mut nic = Nic::new(config, Link::Loopback);
        let before = nic.save();
        prop_assert!(nic.load(&bytes).is_err());
        prop_assert!(nic.load(&good[..at]).is_err());
        prop_assert_eq!(nic.load(&[&good[..], &[0]].concat()), Err(StateError::Damaged));
        prop_assert_eq!(nic.save(), before);
    }
}

/// Bytes that were not saved by a NIC of this configuration: a state of another one, or a state with one
/// byte changed (often in its head), cut, or with something else after its beginning; with its digest put
/// right, so that decoders look at what it says.
fn made_up() -> impl Strategy<Value = Vec<u8>> {
    let bytes = vec(any::<u8>(), 0..60);
    let place = any::<prop::sample::Index>();
    (state(), 0..5_u8, place, any::<u8>(), bytes, prop::bool::weighted(0.9)).prop_map(
        |(state, way, at, byte, other, right)| {
            let from = config(|p| p.mtu = if way == 4 { 1400 } else { p.mtu });
            let mut bytes = state.encode(&from);
            bytes.truncate(bytes.len() - 8);
            let at = at.index(bytes.len());
            match way {
                0 => bytes[at] = byte,
                1 => bytes.truncate(at),
                2 => bytes[at % 16] = byte,
                4 => {}
                _ => {
                    bytes.truncate(at);
                    bytes.extend(other);
                }
            }
            let digest = if right { digest(&bytes) } else { u64::from(byte) };
            bytes.extend(digest.to_le_bytes());
            bytes
        },
    )
}

/// With its digest put right: what cannot be is refused, whatever it is.
#[test]
fn what_is_made_up_is_possible_or_refused() {
    let premises = Premises::new();
    proptest!(ProptestConfig::with_cases(1000), |(bytes in made_up())| {
        let config = config(|_| ());
        let decoded = State::decode(&bytes, &config);
        premises.met(match &decoded {
            Ok(_) => "possible",
            Err(StateError::Foreign) => "foreign",
            Err(StateError::Version(_)) => "version",
            Err(StateError::Other(_)) => "other",
            Err(StateError::Damaged) => "damaged",
        });
        prop_assert_eq!(second::decode(&bytes, &config), decoded.clone());
        if let Ok(state) = decoded {
            prop_assert_eq!(state.encode(&config), bytes);
        }
    });
    premises.each(["damaged", "foreign", "other"], 80);
    premises.each(["possible"], 40);
    premises.each(["version"], 20);
}

#[test]
fn another_kind_version_model_or_configuration_is_said() {
    let ours = config(|_| ());
    let refused =
        |config: &NicConfig| State::decode(&State::new(config).encode(config), &ours).unwrap_err();
    let basic = refused(&config(|p| p.model = NicModel::Basic)).to_string();
    assert_eq!(
        basic,
        "the state was saved by a `devmig.example/basic-nic`, but this is a `devmig.example/nic`"
    );
    for (other, what) in [
        (config(|p| p.rss = false), "`rss` of `devmig.example/nic` at off, but here it is `on`"),
        (config(|p| p.rx_filter_size = 7), "`rx-filter-size`"),
        (config(|p| p.queue_pairs = 3), "`queue-pairs`"),
        (config(|p| p.vlan_filter = false), "`vlan-filter`"),
        (config(|p| p.mac = Mac([2; 6])), "`mac`"),
        (config(|p| p.mtu = 1400), "`mtu`"),
    ] {
        let said = refused(&other).to_string();
        assert!(said.contains(what) && !said.contains("; "), "{said}");
        assert_eq!(second::decode(&State::new(&other).encode(&other), &ours), Err(refused(&other)));
    }
    let mut bytes = State::new(&ours).encode(&ours);
    bytes[12] = 2;
    assert_eq!(State::decode(&bytes, &ours), Err(StateError::Version(2)));
    bytes[8] = b'b';
    assert_eq!(State::decode(&bytes, &ours), Err(StateError::Foreign));
    assert_eq!(State::decode(b"devmig", &ours), Err(StateError::Foreign));
}

proptest! {
    /// The representation follows from the model, the configuration and the state, and from nothing
    /// else: two programs that share no line write the same, and read the same from it (and from
    /// anything else: `what_is_made_up_is_possible_or_refused`).
    #[test]
    fn two_encoders_agree(state in state()) {
        let config = config(|_| ());
        let bytes = state.encode(&config);
        prop_assert_eq!(&second::encode(&state, &config), &bytes);
        prop_assert_eq!(second::decode(&bytes, &config), Ok(state));
    }
}

#[test]
fn a_release_that_adds_what_is_off_writes_the_same() {
    let made = |release, encoder| {
        let build = Build { release, encoder, mutant: None };
        let small = Parameters { rx_filter_size: 16, ..Parameters::default() };
        let mut order = Order { build, ..small.into() };
        order.given.retain(|(name, _)| name != "vlan-filter");
        Nic::new(NicConfig::make(&order).unwrap(), Link::Loopback)
    };
    let mut old = made(Release::One, Encoder::First);
    let mut new = made(Release::Two, Encoder::Second);
    assert_eq!(old.control(&[0, 0, 1]), crate::nic::Ack::Ok);
    new.load(&old.save()).unwrap();
    assert_eq!(new.save(), old.save());
    assert_eq!(new.control(&[0, 2, 1]), crate::nic::Ack::Ok);
    old.load(&new.save()).unwrap();
    assert_eq!(new.save(), old.save());
}
