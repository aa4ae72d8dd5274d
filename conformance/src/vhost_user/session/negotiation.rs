//! What both sides have agreed on, and what was answered, as a front-end remembers it.

use devmig_model::protocol::vhost_user::event::{MessageId, Value};
use devmig_model::protocol::vhost_user::program::Number;
use devmig_model::protocol::vhost_user::state::LOG_ALL;
use devmig_model::protocol::vhost_user::systems::F_PROTOCOL_FEATURES;
use devmig_model::protocol::vhost_user::table::{Gate, Table};

use super::RINGS;
use super::driver::Driver;
use crate::harness::verdict::TestEnd;
use crate::vhost_user::drive::Keeps;

/// What a front-end remembers of a connection.
#[derive(Default)]
pub(super) struct Negotiation {
    /// Protocol features that are not acknowledged, offered or not.
    declined: u64,
    /// Device features that are not acknowledged, offered or not.
    left_out: u64,
    /// Every message asks for an acknowledgement.
    pub(super) acknowledged: bool,
    pub(super) offered: u64,
    /// What was accepted of that.
    pub(super) features: u64,
    pub(super) protocol_offered: u64,
    pub(super) protocol: u64,
    /// Protocol features were asked for.
    pub(super) asked: bool,
    /// Where each ring was stopped.
    pub(super) bases: [u16; RINGS],
    /// The last answer.
    pub(super) answer: Option<(MessageId, Value)>,
    /// The last message wants no answer, so it may not have been read yet.
    pub(super) unread: bool,
    /// Something came that cannot be assigned to a request.
    pub(super) lost_track: bool,
    /// What a careful front-end has set up.
    pub(super) keeps: Keeps,
}

impl Negotiation {
    pub(super) fn new(acknowledged: bool, declined: u64, left_out: u64) -> Self {
        Negotiation { acknowledged, declined, left_out, ..Negotiation::default() }
    }

    /// A fresh connection: where rings were stopped is remembered.
    pub(super) fn begin_again(&mut self) {
        let Negotiation { declined, left_out, acknowledged, bases, .. } = *self;
        *self = Negotiation { declined, left_out, acknowledged, bases, ..Negotiation::default() };
    }

    /// Whether a message may not be sent: the feature that it needs was not accepted, or not offered.
    pub(super) fn is_shut(&self, gate: &Gate) -> bool {
        let had = if gate.by_offer { self.protocol_offered } else { self.protocol };
        had >> gate.bit & 1 == 0
    }

    /// Whether acknowledgements were agreed on.
    pub(super) fn acknowledges(&self, table: &Table) -> bool {
        self.protocol >> table.reply_ack & 1 == 1
    }

    /// The number that a step means.
    pub(super) fn number(
        &self,
        table: &Table,
        driver: &Driver,
        ring: u8,
        number: Number,
    ) -> Result<u64, TestEnd> {
        let known = driver.features() & !self.left_out;
        let logs = 1 << LOG_ALL & !self.left_out;
        Ok(match number {
            Number::Literal(value) => value,
            Number::Saved => {
                u64::from(self.bases.get(usize::from(ring)).copied().unwrap_or_default())
            }
            Number::Used => {
                let used = driver.line(ring)?.ring.used_index();
                u64::from(used.map_err(TestEnd::harness)?)
            }
            Number::Available => u64::from(driver.line(ring)?.ring.available_index()),
            Number::Offered => self.offered & (F_PROTOCOL_FEATURES | known),
            Number::Logging => self.offered & (F_PROTOCOL_FEATURES | logs | known),
            Number::Plain => self.offered & known & !F_PROTOCOL_FEATURES,
            Number::ProtocolOffered => {
                let features = table.features.iter().filter(|f| !f.opt_in);
                let known = features.map(|f| 1u64 << f.bit);
                self.protocol_offered & known.fold(0, |mask, bit| mask | bit) & !self.declined
            }
        })
    }
}
