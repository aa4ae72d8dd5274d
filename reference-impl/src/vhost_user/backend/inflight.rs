//! The record of requests in flight: GET_INFLIGHT_FD and SET_INFLIGHT_FD.

use std::os::fd::OwnedFd;

use devmig_model::protocol::vhost_user::wire::{Inflight, Payload};

use super::answers::Answer;
use super::{Backend, Device, Fault, Message, Mutant, only};
use crate::vhost_user::inflight::{self, Record};
use crate::vhost_user::ring::MAX_SIZE;

impl<D: Device> Backend<D> {
    /// A new record, to be handed back by SET_INFLIGHT_FD.
    pub(super) fn get_inflight_fd(&self, asked: &Inflight) -> Result<Option<Answer>, Fault> {
        let Inflight { num_queues, queue_size, alignment, .. } = *asked;
        let possible = usize::from(num_queues) <= self.rings.len() && queue_size <= MAX_SIZE;
        if num_queues == 0 || queue_size == 0 || !possible {
            return Err(Fault::Value(Message::GET_INFLIGHT_FD, num_queues.into()));
        }
        let (about, fd) = inflight::create(num_queues, queue_size)?;
        // As long as what asked for it: the text and C's alignment differ by four bytes.
        let payload = Payload::Inflight(Inflight { alignment, ..about });
        Ok(Some(Answer::Is(payload.encode(), vec![fd])))
    }

    /// From now on requests are recorded there; what is in it is fetched again when rings start.
    pub(super) fn set_inflight_fd(
        &mut self,
        about: &Inflight,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Option<Answer>, Fault> {
        let record = Record::map(about, only(Message::SET_INFLIGHT_FD, descriptors)?)?;
        let first = self.is(Mutant::InflightFirst);
        let kept = first && self.rings.iter().any(|ring| ring.record.is_some());
        if self.is(Mutant::InflightIgnored) || kept {
            return Ok(None);
        }
        let mutants = self.mutants;
        for (at, ring) in self.rings.iter_mut().enumerate() {
            ring.record = record.ring(at, mutants);
            if let Some(record) = &mut ring.record {
                ring.in_flight.iter().for_each(|r| record.fetched(r.chain.head_index()));
            }
        }
        Ok(None)
    }
}
