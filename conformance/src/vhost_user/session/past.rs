//! Whether a test can go on past a finding: whether it is known in which state the back-end is.
//!
//! | what broke the clause | goes on |
//! |---|---|
//! | a reply to a question, of another value or form, that can be assigned to it | yes |
//! | a reply that says what a command has done, or where a ring stopped | no: nothing says what it did |
//! | a reply too many, of another message, or none | no: what comes next is taken for another's |
//! | a notification, a report, a mark too many or too few | yes: no ring depends on it |
//! | a notification while every ring is stopped | no: the request that it is about was done there too |
//! | a message of the back-end that asks for an answer which is not agreed on | no: it may wait for it |
//! | a request that is not done, done wrong, or done where it may not be | no: it can be another one |
//! | a closed connection, and what no clause names | no |

use devmig_engine::clause::ClauseId;
use devmig_engine::machine::TimeClass;
use devmig_model::protocol::vhost_user::event::Event;
use devmig_model::protocol::vhost_user::vocabulary::Answer;

use super::Session;
use crate::harness::conversation::Record;

impl Session<'_> {
    /// Whether it is known what follows the finding that was made last, if this clause is not enforced.
    pub(in crate::vhost_user) fn knows_what_follows(&mut self, clause: ClauseId) -> bool {
        let laws = &self.machine().laws;
        if !self.link.is_open() || self.negotiation.lost_track || clause == laws.close {
            return false;
        }
        match self.conversation.records().last() {
            Some(Record::Seen(Event::Reply { id, .. })) => {
                let answer = self.machine().message(*id).answer.unwrap_or(Answer::Ack);
                // One reply too many, or one to another message, is taken for the reply to what is sent
                // next.
                ![laws.unasked, laws.reply_header].contains(&clause) && tells_no_state(answer)
            }
            Some(Record::Seen(Event::Call { .. })) => clause != laws.no_notifications,
            Some(Record::Seen(Event::BackEndMessage(_))) => clause != laws.told_need_reply,
            Some(Record::Seen(event)) => {
                matches!(event, Event::Error { .. } | Event::Marked { .. })
            }
            // What else is due changes the state of a ring, or is a reply that is still to come.
            Some(Record::Silent(_)) => {
                let is_told = [
                    laws.notify,
                    laws.marks_buffers,
                    laws.marks_used_ring,
                    laws.reports,
                    laws.tells_change,
                ];
                let is_told = is_told.contains(&clause);
                is_told && self.conversation.may_be_silent(TimeClass::Reply).unwrap_or(false)
            }
            // A reply of another form that can be read.
            Some(Record::Wrong) => [laws.reply_header, laws.reply_payload].contains(&clause),
            _ => false,
        }
    }
}

/// Whether the back-end is in the same state whatever this reply tells. What a failed command has done is
/// not known, and a ring goes on where the back-end says that it stopped.
fn tells_no_state(answer: Answer) -> bool {
    match answer {
        Answer::Features
        | Answer::ProtocolFeatures
        | Answer::Number
        | Answer::Slots
        | Answer::Config
        | Answer::Status
        | Answer::Log => true,
        Answer::Base
        | Answer::Transfer
        | Answer::Descriptor
        | Answer::Session
        | Answer::Check
        | Answer::Ack
        | Answer::InFlight => false,
    }
}
