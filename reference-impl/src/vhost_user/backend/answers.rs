//! What is owed to the front-end, and how it is sent.

use std::os::fd::OwnedFd;

use devmig_model::protocol::vhost_user::wire::{Flags, Header, Payload};

use super::{Backend, Device, Fault, Mutant, Output, Transferring};

/// An answer that is owed.
#[derive(Debug)]
pub(super) struct Owed {
    pub(super) request: u32,
    pub(super) answer: Answer,
}

#[derive(Debug)]
pub(super) enum Answer {
    Is(Vec<u8>, Vec<OwnedFd>),
    /// The ring's base, once nothing is in flight in it.
    Base(u32, usize),
    /// How the transfer ended, once it has.
    Check,
}

impl From<Payload> for Answer {
    fn from(payload: Payload) -> Self {
        Answer::Is(payload.encode(), Vec::new())
    }
}

/// An answer that is a number.
pub(super) fn number(n: u64) -> Result<Option<Answer>, Fault> {
    Ok(Some(Payload::U64(n).into()))
}

impl<D: Device> Backend<D> {
    pub(super) fn acknowledge(&mut self, request: u32, value: u64) {
        self.owed.push_back(Owed { request, answer: Payload::U64(value).into() });
    }

    /// Sends what is owed and ready, in order.
    pub(super) fn answer(&mut self) {
        while self.owed.front().is_some_and(|owed| self.is_ready(&owed.answer))
            && let Some(owed) = self.owed.pop_front()
        {
            self.send(owed);
        }
    }

    fn is_ready(&self, answer: &Answer) -> bool {
        match answer {
            Answer::Is(..) => true,
            Answer::Base(_, at) => {
                self.rings.get(*at).is_none_or(|ring| ring.in_flight.is_empty())
                    || self.is(Mutant::CompletesAfterStop)
                    || self.is(Mutant::KeepsProcessing)
            }
            Answer::Check => !matches!(self.transfer, Transferring::Saving | Transferring::Loading),
        }
    }

    fn send(&mut self, Owed { request, answer }: Owed) {
        let stops = matches!(answer, Answer::Base(..));
        let (mut payload, descriptors) = match answer {
            Answer::Is(payload, descriptors) => (payload, descriptors),
            Answer::Base(index, at) => (self.base(index, at).encode(), Vec::new()),
            Answer::Check => {
                let well = self.transfer == Transferring::Done { well: true };
                let failed = (!well || self.is(Mutant::CheckFails))
                    && !(self.is(Mutant::CheckSucceedsOn) && self.past.loads > 0)
                    || (self.is(Mutant::CheckFailsOn) && self.past.refused);
                let again = std::mem::replace(&mut self.past.checked, true);
                let failed = match failed {
                    true => !(again && self.is(Mutant::CheckForgets)),
                    false => again && self.is(Mutant::CheckOnce),
                };
                (Payload::U64(failed.into()).encode(), Vec::new())
            }
        };
        let suspended = self.rings.iter().any(|r| r.ran) && self.rings.iter().all(|r| !r.started);
        if self.is(Mutant::SilentWhenStopped) && suspended && !stops {
            return;
        }
        if self.is(Mutant::ReplyTooLong) {
            payload.extend([0; 8]);
        }
        let flags = match () {
            () if self.is(Mutant::NoReplyFlag) => Flags::request(),
            () if self.is(Mutant::WrongReplyVersion) => Flags::from_bits(0b110),
            () => Flags::reply(),
        };
        let request = request.wrapping_add(self.is(Mutant::WrongReplyId).into());
        // At most a header's worth more than a configuration space.
        let header = Header { request, flags, size: payload.len() as u32 };
        if self.is(Mutant::AnswersTwice) {
            let (payload, descriptors) = (payload.clone(), Vec::new());
            self.outputs.push_back(Output::Reply { header, payload, descriptors });
        }
        self.outputs.push_back(Output::Reply { header, payload, descriptors });
    }
}
