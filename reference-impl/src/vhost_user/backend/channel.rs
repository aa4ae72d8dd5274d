//! The back-end's own channel: that the configuration changed, and notifications in messages.
//!
//! ```text
//!   wanted: configuration, calls, errors --> one at a time: sent, and acknowledged if that was
//!                                            negotiated --> the next
//! ```
//!
//! **Invariants.** What is wanted is a set, so that nothing piles up. Nothing is sent while every
//! ring is stopped: a change of the configuration is told when one starts again. What a ring has
//! completed is told before its stop is answered, whatever is unacknowledged then.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use devmig_model::protocol::vhost_user::wire::{Flags, Header, Payload, VringState};

use super::answers::Answer;
use super::{Backend, Device, Fault, Message, Mutant, Output, feature, only};
use crate::vhost_user::ids::Request;
use crate::vhost_user::settings::ConfigChange;

/// What the back-end wants to say.
#[derive(Debug, Default)]
pub(super) struct Channel {
    open: bool,
    waiting: Option<Request>,
    wanted: BTreeSet<(Request, usize)>,
}

impl<D: Device> Backend<D> {
    pub(super) fn set_backend_req_fd(
        &mut self,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Option<Answer>, Fault> {
        let socket = only(Message::SET_BACKEND_REQ_FD, descriptors)?;
        self.past.channels += 1;
        self.channel.open = true;
        self.channel.waiting = None;
        self.outputs.push_back(Output::OpenChannel(socket));
        Ok(None)
    }

    /// The front-end has acknowledged what it was told, or something that it was not: `false`.
    pub fn handle_told(&mut self, header: Header) -> bool {
        let expected = self.channel.waiting.take().map(Request::id);
        let right = header.flags.is_reply() && expected == Some(header.request);
        self.tell();
        right
    }

    /// The channel cannot be used any more.
    pub fn handle_channel_gone(&mut self) {
        self.channel = Channel::default();
    }

    /// Whether notifications go in messages, where there is no descriptor for them.
    pub(super) fn inband(&self) -> bool {
        self.negotiated(feature::INBAND_NOTIFICATIONS)
    }

    /// The configuration space is another now.
    pub(super) fn config_changed(&mut self) {
        let quiet = self.rings.iter().all(|ring| !ring.started);
        let lost = quiet && self.settings.config_change == ConfigChange::Never;
        let may = self.negotiated(feature::CONFIG) || self.is(Mutant::ChangeUngated);
        let untold = self.is(Mutant::ChangeUntold)
            || self.is(Mutant::TellsNotAfterStop) && self.past.stops > 0
            || self.is(Mutant::TellsFirstChannel) && self.past.channels > 1;
        if may && !lost && !untold {
            self.channel.wanted.insert((Request::CONFIG_CHANGE_MSG, 0));
        }
    }

    pub(super) fn call_inband(&mut self, at: usize) {
        if !self.is(Mutant::InbandSilent) {
            self.channel.wanted.insert((Request::VRING_CALL, at));
        }
    }

    pub(super) fn error_inband(&mut self, at: usize) {
        self.channel.wanted.insert((Request::VRING_ERR, at));
    }

    /// Sends what is wanted and may be sent.
    pub(super) fn tell(&mut self) {
        if !self.channel.open {
            return;
        }
        let quiet = self.rings.iter().all(|ring| !ring.started);
        while let Some((request, at)) = self.channel.wanted.first().copied() {
            let change = request == Request::CONFIG_CHANGE_MSG;
            let early = self.is(Mutant::ChangeWhileSuspended) && change;
            // The last ring stops: its notifications are older than that.
            let urgent = quiet && !change;
            if (self.channel.waiting.is_some() && !urgent) || (quiet && change && !early) {
                break;
            }
            self.channel.wanted.pop_first();
            self.send_request(request, at);
        }
    }

    fn send_request(&mut self, request: Request, at: usize) {
        let payload = match request {
            Request::CONFIG_CHANGE_MSG => Payload::None,
            Request::VRING_CALL | Request::VRING_ERR => {
                let index = at as u32 + u32::from(self.is(Mutant::InbandWrongRing));
                let num = u32::from(self.is(Mutant::InbandNumber));
                Payload::VringState(VringState { index, num })
            }
        };
        let acknowledged = match () {
            () if self.is(Mutant::AsksUnnegotiated) => true,
            () if self.is(Mutant::InbandUnacknowledged) => false,
            () => self.negotiated(feature::REPLY_ACK),
        };
        let flags = match acknowledged {
            true => Flags::request().with_need_reply(),
            false => Flags::request(),
        };
        self.channel.waiting = acknowledged.then_some(request);
        let payload = payload.encode();
        let header = Header { request: request.id(), flags, size: payload.len() as u32 };
        self.outputs.push_back(Output::Tell { header, payload });
    }
}
