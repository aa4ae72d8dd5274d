//! Answers: decoded, judged, and remembered for what they are about.

use devmig_engine::clause::ClauseId;
use devmig_model::protocol::vhost_user::event::{Event, MessageId, Value};
use devmig_model::protocol::vhost_user::vocabulary::Answer;
use devmig_model::protocol::vhost_user::wire::{Config, Flags, Payload, PayloadKind};

use super::{RINGS, Session};
use crate::harness::verdict::TestEnd;
use crate::vhost_user::transport::Received;

impl Session<'_> {
    /// An answer came.
    pub(super) fn reply(&mut self, received: Received) -> Result<(), TestEnd> {
        let laws = &self.machine().laws;
        let (header_law, payload_law) = (laws.reply_header, laws.reply_payload);
        let Received { header, payload, mut fds } = received;
        let flags = header.flags;
        let table = &self.machine().table;
        let mut known = table.messages.iter().enumerate();
        let Some((index, def)) = known.find(|(_, def)| def.id == header.request) else {
            let observed = format!("a reply to message {}, which was not sent", header.request);
            return self.unusable(header_law, &observed);
        };
        if flags.version() != Flags::VERSION || !flags.is_reply() {
            let observed = format!("a reply to {} with flags {flags:?}", def.name);
            self.conversation.unexpected(header_law, &observed)?;
        }
        let kind = def.reply.unwrap_or(PayloadKind::U64);
        let bare =
            matches!(kind, PayloadKind::U64 | PayloadKind::VringState | PayloadKind::LogTaken);
        if !fds.is_empty() && bare {
            let brought = fds.len();
            let observed =
                format!("a reply to {} with {brought} descriptors instead of none", def.name);
            self.conversation.unexpected(payload_law, &observed)?;
            fds.clear();
        }
        let decoded = match Payload::decode(kind, &payload) {
            Ok(decoded) => decoded,
            // An error, by one reading of what is of zero length.
            Err(_) if kind == PayloadKind::Config && payload.is_empty() => Payload::None,
            Err(error) => {
                let observed = format!("a reply to {}: {error}", def.name);
                // Of what is too long, the beginning is what was asked for.
                let start = payload.get(..kind.size().most);
                match start.map(|start| Payload::decode(kind, start)) {
                    Some(Ok(decoded)) => {
                        self.conversation.unexpected(payload_law, &observed)?;
                        decoded
                    }
                    _ => return self.unusable(payload_law, &observed),
                }
            }
        };
        if let Payload::Config(config) = &decoded {
            self.configured(config)?;
        }
        let record = if let Payload::Inflight(record) = decoded { Some(record) } else { None };
        let (ring, value) = match decoded {
            Payload::U64(value) => (0, value),
            Payload::VringState(state) => (state.index, u64::from(state.num)),
            Payload::TransferReply(reply) => (0, reply.0),
            Payload::Config(config) => (0, u64::from(config.size)),
            Payload::LogTaken(taken) => (0, taken.length()),
            Payload::None => (0, 0),
            Payload::Inflight(_) => (0, u64::from(!fds.is_empty())),
            other => {
                return Err(TestEnd::Harness(format!("no meaning for an answer of {other:?}")));
            }
        };
        let Some(ring) = u8::try_from(ring).ok().filter(|ring| usize::from(*ring) < RINGS) else {
            let observed = format!("a reply to {} for ring {ring}", def.name);
            return self.unusable(payload_law, &observed);
        };
        let id = MessageId(index as u8);
        let answer = def.answer.unwrap_or(Answer::Ack);
        let name = def.name.clone();
        let event =
            Event::Reply { id, ring, value: Value(value), descriptors: fds.len().min(255) as u8 };
        self.conversation.observe(&event)?;
        self.negotiation.answer = Some((id, Value(value)));
        match answer {
            Answer::InFlight => match (record, fds.into_iter().next()) {
                (Some(record), Some(fd)) => self.tracking.record = Some((record, fd)),
                _ => return Err(TestEnd::Refused(format!("the reply to {name} has no buffer"))),
            },
            Answer::Features => self.negotiation.offered = value,
            Answer::ProtocolFeatures => {
                self.negotiation.protocol_offered = value;
                self.negotiation.asked = true;
            }
            Answer::Base => {
                if let Some(base) = self.negotiation.bases.get_mut(usize::from(ring)) {
                    *base = value as u16;
                }
            }
            Answer::Transfer if value & 0xff != 0 => {
                return Err(TestEnd::Refused(format!(
                    "the reply to {name} is error {:#x}",
                    value & 0xff
                )));
            }
            Answer::Transfer => {
                self.transfer.begin(fds.into_iter().next())?;
            }
            // Where a refusal is in order, a text says what follows.
            Answer::Ack if value != 0 && self.conversation.is_unspecified() => {
                return Err(TestEnd::Refused(format!("{name} is acknowledged with {value:#x}")));
            }
            _ => {}
        }
        Ok(())
    }

    /// What came cannot be taken for any reply: if that is no finding, the conversation is over, since
    /// what comes next cannot be assigned to a request.
    pub(super) fn unusable(&mut self, clause: ClauseId, observed: &str) -> Result<(), TestEnd> {
        self.negotiation.lost_track = true;
        self.conversation.unexpected(clause, observed)?;
        match self.conversation.is_unspecified() {
            true => Ok(()),
            false => Err(TestEnd::Over),
        }
    }

    /// A part of the configuration space was read.
    fn configured(&mut self, config: &Config) -> Result<(), TestEnd> {
        let consistent = self.configuration.read(config.bytes());
        let known = self.driver.outside().map_or(Ok(()), |outside| {
            outside.configured(self.configuration.offset, config.bytes())
        });
        let Err(wrong) = consistent.and(known) else { return Ok(()) };
        let observed = format!("configuration space: {wrong}");
        self.conversation.unexpected(ClauseId::NONE, &observed)
    }
}
