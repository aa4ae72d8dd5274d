//! The device's configuration space: GET_CONFIG and SET_CONFIG.

use devmig_model::protocol::vhost_user::wire::{Config, MAX_CONFIG, Payload};

use super::answers::Answer;
use super::{Backend, Device, Fault, Message, Mutant};

/// The flag of SET_CONFIG that says that the device was migrated.
const MIGRATED: u32 = 1;

impl<D: Device> Backend<D> {
    /// What was asked for, or nothing at all, which says that it cannot be had.
    pub(super) fn get_config(&mut self, asked: &Config) -> Result<Option<Answer>, Fault> {
        let mut space = self.device.config();
        if self.is(Mutant::ConfigCached) {
            space = self.configuration.get_or_insert(space).clone();
        }
        let (offset, size) = (asked.offset as usize, asked.size as usize);
        let inside = offset.checked_add(size).is_some_and(|end| end <= MAX_CONFIG) && size > 0;
        let size = size - usize::from(self.is(Mutant::ConfigTooShort) && size > 1);
        let offset = if self.is(Mutant::ConfigOffsetIgnored) { 0 } else { offset };
        let offset = offset + usize::from(self.is(Mutant::ConfigOffByOne));
        let bytes = space.into_iter().chain(std::iter::repeat(0)).skip(offset).take(size);
        Ok(Some(match inside.then(|| Config::new(asked.offset, asked.flags, bytes.collect())) {
            Some(Ok(config)) => Payload::Config(config).into(),
            _ => Payload::None.into(),
        }))
    }

    /// Read-only fields are what they are, unless the device comes from elsewhere.
    pub(super) fn set_config(&mut self, config: &Config) -> Result<Option<Answer>, Fault> {
        let refused = Err(Fault::Value(Message::SET_CONFIG, config.offset.into()));
        if config.size as usize != config.bytes().len() || config.flags & !MIGRATED != 0 {
            return refused;
        }
        let migrated = config.flags & MIGRATED != 0 || self.is(Mutant::ConfigWritable);
        if migrated && self.is(Mutant::ConfigNeverSet) {
            return Ok(None);
        }
        match self.device.set_config(config.offset as usize, config.bytes(), migrated) {
            true => Ok(None),
            false => refused,
        }
    }

    /// What the guest was given as its MTU, if the device has one.
    pub(super) fn net_set_mtu(&mut self, mtu: u64) -> Result<Option<Answer>, Fault> {
        match self.device.set_mtu(mtu) {
            Some(true) => Ok(None),
            Some(false) => Err(Fault::Value(Message::NET_SET_MTU, mtu)),
            None => Err(Fault::Unknown(Message::NET_SET_MTU.id())),
        }
    }
}
