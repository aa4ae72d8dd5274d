//! Features that a run leaves out: it does not acknowledge them, and skips the tests that need them.

use devmig_model::protocol::vhost_user::program::{Number, Step};
use devmig_model::protocol::vhost_user::state::LOG_ALL;
use devmig_model::protocol::vhost_user::table::Table;
use devmig_model::spec::did_you_mean;
use virtio_bindings::bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;

use super::script::Act;
use super::suite::{Need, Test};
use crate::harness::report::Offers;
use crate::harness::without::UnknownFeature;

/// The device features that a test can accept, by name.
const DEVICE: [(&str, u8); 2] =
    [("VHOST_F_LOG_ALL", LOG_ALL), ("VIRTIO_RING_F_EVENT_IDX", VIRTIO_RING_F_EVENT_IDX as u8)];

/// What the names of protocol features may begin with.
const PREFIX: &str = "VHOST_USER_PROTOCOL_F_";

/// Features that are left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Without {
    /// Device features, as bits.
    pub features: u64,
    /// Protocol features, as bits.
    pub protocol: u64,
}

impl Without {
    /// Features by their names: a protocol feature with or without its prefix, a device feature, or the
    /// number of a protocol feature's bit.
    ///
    /// # Errors
    /// The first that there is not.
    pub fn named(table: &Table, names: &[String]) -> Result<Self, UnknownFeature> {
        let mut without = Without::default();
        for name in names {
            let plain = name.to_uppercase().replace('-', "_");
            let plain = plain.strip_prefix(PREFIX).unwrap_or(&plain);
            let is_known = |bit: &u8| table.features.iter().any(|feature| feature.bit == *bit);
            let numbered = plain.parse::<u8>().ok().filter(is_known);
            let device = DEVICE.iter().find(|(known, _)| known.ends_with(plain) && plain.len() > 3);
            match (table.feature(plain).or(numbered), device) {
                (Some(bit), _) => without.protocol |= 1 << bit,
                (None, Some((_, bit))) => without.features |= 1 << bit,
                (None, None) => {
                    let known = table.features.iter().map(|feature| feature.name.as_str());
                    let known = known.chain(DEVICE.map(|(name, _)| name));
                    let help = did_you_mean(plain, known);
                    return Err(UnknownFeature { name: name.clone(), help });
                }
            }
        }
        Ok(without)
    }

    /// The feature that is left out and that this test needs. A generated script passes over what it
    /// cannot do.
    #[must_use]
    pub fn needed_by(self, table: &Table, test: &Test) -> Option<String> {
        if test.careful {
            return None;
        }
        let left_out = |bit: u8| self.protocol >> bit & 1 == 1;
        let needed = test.needs.iter().find_map(|need| match need {
            Need::Feature(name, bit) if left_out(*bit) => Some(name.clone()),
            _ => None,
        });
        needed.or_else(|| test.steps.iter().find_map(|act| self.used_by(table, act)))
    }

    fn used_by(self, table: &Table, act: &Act) -> Option<String> {
        let device = match act {
            Act::Program(Step::Send { number: Number::Logging, .. }, _) => LOG_ALL,
            Act::Events => VIRTIO_RING_F_EVENT_IDX as u8,
            Act::Program(Step::Send { id, .. }, _) => {
                let gate = table.messages.get(usize::from(id.0))?.gate.as_ref()?;
                let left_out = self.protocol >> gate.bit & 1 == 1;
                return left_out.then(|| name_of(table, gate.bit));
            }
            _ => return None,
        };
        let (name, _) = DEVICE.iter().find(|(_, bit)| *bit == device)?;
        (self.features >> device & 1 == 1).then(|| (*name).to_owned())
    }

    /// The names of the features that were offered and can be left out, but for those that are.
    #[must_use]
    pub fn others(self, table: &Table, offers: &Offers) -> Vec<String> {
        let features = offers.feature_bits() & !self.features;
        let offered = offers.protocol_bits() & !self.protocol;
        let protocol = table.features.iter().filter(|f| !f.opt_in && offered >> f.bit & 1 == 1);
        let device = DEVICE.iter().filter(|(_, bit)| features >> bit & 1 == 1);
        let names = protocol.map(|f| f.name.clone());
        names.chain(device.map(|(name, _)| (*name).to_owned())).collect()
    }
}

fn name_of(table: &Table, bit: u8) -> String {
    let feature = table.features.iter().find(|feature| feature.bit == bit);
    feature.map(|feature| feature.name.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use devmig_model::registry::Library;

    fn named(names: &[&str]) -> Result<Without, UnknownFeature> {
        let library = Library::builtin().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Without::named(&library.vhost_user().table, &names)
    }

    #[test]
    fn a_feature_has_a_name_with_or_without_its_prefix_and_a_bit() {
        for name in ["REPLY_ACK", "reply-ack", "VHOST_USER_PROTOCOL_F_REPLY_ACK", "3"] {
            assert_eq!(named(&[name]), Ok(Without { features: 0, protocol: 1 << 3 }), "{name}");
        }
        for name in ["LOG_ALL", "VHOST_F_LOG_ALL"] {
            assert_eq!(named(&[name]), Ok(Without { features: 1 << 26, protocol: 0 }), "{name}");
        }
        let both = named(&["EVENT_IDX", "MQ"]);
        assert_eq!(both, Ok(Without { features: 1 << 29, protocol: 1 }));
        let unknown = named(&["REPLY_AKC"]).unwrap_err();
        assert!(unknown.help.is_some_and(|help| help.contains("REPLY_ACK")));
        assert!(named(&["63"]).is_err());
        assert!(named(&["F"]).is_err());
    }

    #[test]
    fn only_tests_that_need_it_are_skipped() {
        let library = Library::builtin().unwrap();
        let suite = super::super::suite::builtin(&library).unwrap();
        let table = &library.vhost_user().table;
        let skipped = |names: &[&str]| {
            let without = named(names).unwrap();
            suite.iter().filter(|test| without.needed_by(table, test).is_some()).count()
        };
        assert_eq!(skipped(&[]), 0);
        for name in ["LOG_ALL", "EVENT_IDX", "DEVICE_STATE", "INFLIGHT_SHMFD", "CONFIG"] {
            assert!((1..suite.len() / 2).contains(&skipped(&[name])), "{name}");
        }
    }
}
