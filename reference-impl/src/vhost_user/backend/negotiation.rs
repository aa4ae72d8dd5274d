//! What both sides know: features, protocol features, the number of queues.

use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::bindings::virtio_ring::{
    VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC,
};

use super::answers::{Answer, number};
use super::{Backend, Device, Fault, Message, Mutant};
use crate::vhost_user::ids::{
    LOG_ALL_BIT, OFFERED_PROTOCOL_FEATURES, PROTOCOL_FEATURES_BIT, feature,
};

impl<D: Device> Backend<D> {
    /// The virtio features offered. Packed rings are not: rust-vmm's queues are split rings.
    #[must_use]
    pub fn offered(&self) -> u64 {
        self.device.features()
            | u64::from(!self.plain) << PROTOCOL_FEATURES_BIT
            | 1 << LOG_ALL_BIT
            | 1 << VIRTIO_F_VERSION_1
            | 1 << VIRTIO_RING_F_INDIRECT_DESC
            | 1 << VIRTIO_RING_F_EVENT_IDX
    }

    pub(super) fn get_features(&self) -> Result<Option<Answer>, Fault> {
        match self.is(Mutant::SilentGetFeatures) {
            true => Ok(None),
            false => number(self.offered()),
        }
    }

    pub(super) fn set_features(&mut self, features: u64) -> Result<Option<Answer>, Fault> {
        if features & !self.offered() != 0 {
            return Err(Fault::Value(Message::SET_FEATURES, features));
        }
        self.features_set = true;
        let logs = |features: u64| features >> LOG_ALL_BIT & 1 == 1;
        let further = self.past.further && self.is(Mutant::FeaturesOfFirst);
        let features = if further { features & !(1 << LOG_ALL_BIT) } else { features };
        let stays = self.is(Mutant::LogsOn) && logs(self.features);
        let features = if stays { features | 1 << LOG_ALL_BIT } else { features };
        self.past.logged |= logs(self.features) && !logs(features) && self.log.is_some();
        if self.is(Mutant::FeaturesEndLog) && logs(features) && features == self.features {
            self.log = None;
        }
        let fixed = self.is(Mutant::FeaturesFixed) && self.rings.iter().any(|ring| ring.started);
        if !self.is(Mutant::FeaturesIgnored) && !fixed {
            self.features = features;
            self.device.accepted(features);
            let event_idx = features >> VIRTIO_RING_F_EVENT_IDX & 1 == 1;
            self.rings.iter_mut().for_each(|ring| ring.set_event_idx(event_idx));
        }
        if features >> PROTOCOL_FEATURES_BIT & 1 == 1 {
            if self.is(Mutant::Bit30Disables) {
                self.enable_all(false);
            }
        } else if !self.is(Mutant::Bit30EnablesNothing) {
            self.enable_all(true);
        }
        Ok(None)
    }

    pub(super) fn get_protocol_features(&self) -> Result<Option<Answer>, Fault> {
        if !self.features_set && self.is(Mutant::ProtocolFeaturesLate) {
            return Err(Fault::Mutant(Mutant::ProtocolFeaturesLate));
        }
        if self.is(Mutant::Bit30Untrue) {
            return Err(Fault::Mutant(Mutant::Bit30Untrue));
        }
        number(self.offered_protocol())
    }

    fn offered_protocol(&self) -> u64 {
        OFFERED_PROTOCOL_FEATURES | self.device.protocol_features()
    }

    /// In-band notifications need a channel, and a way to wait until they are processed. There is
    /// no way to say so but to close, whether or not an acknowledgement is asked for.
    pub(super) fn set_protocol_features(&mut self, features: u64) -> Result<Option<Answer>, Fault> {
        if features & !self.offered_protocol() != 0 {
            return Err(Fault::Value(Message::SET_PROTOCOL_FEATURES, features));
        }
        let has = |bit: u32| features >> bit & 1 == 1;
        let complete = has(feature::BACKEND_REQ) && has(feature::REPLY_ACK);
        if has(feature::INBAND_NOTIFICATIONS) && !complete && !self.is(Mutant::InbandAlone) {
            return Err(Fault::Inband);
        }
        if !self.is(Mutant::ProtocolFeaturesIgnored) {
            self.protocol = features;
        }
        Ok(None)
    }

    pub(super) fn get_queue_num(&self) -> Result<Option<Answer>, Fault> {
        let rings = self.rings.len() as u64;
        number(match () {
            () if self.is(Mutant::NoQueues) => 0,
            () if self.is(Mutant::QueuesOvertold) => rings + 3,
            () => rings,
        })
    }
}
