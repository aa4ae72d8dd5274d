//! What is judged, in the words of this protocol.

use devmig_engine::clause::ClauseId;
use devmig_engine::machine::TimeClass;
use devmig_model::protocol::vfio::event::{Act, Answer, Call, Event};

use devmig_model::registry::Library;

use super::Session;
use crate::harness::conversation::Record;
use crate::harness::verdict::TestEnd;
use crate::vfio::device::{Deviation, ERROR_NUMBER, HarnessError};

/// A device that cannot be opened is the harness's matter, or that of who named it.
pub(super) fn unopened(library: &Library, trouble: HarnessError) -> TestEnd {
    match trouble {
        HarnessError::Lacks(what) => TestEnd::Skip(format!("needs {what}")),
        HarnessError::Harness(why) => TestEnd::Harness(why),
        HarnessError::Unreached { why, ended, for_good } => {
            TestEnd::Unreached { why, ended, for_good }
        }
        HarnessError::Gone(what) => {
            let expected = vec!["an answer".to_owned()];
            TestEnd::Died { clause: ClauseId::NONE, observed: what, expected }
        }
        HarnessError::Malformed { clause, said } => match library.spec.clause(clause) {
            Ok(id) => TestEnd::Finding { clause: id, observed: said, expected: due(library, id) },
            Err(error) => TestEnd::Harness(error.to_string()),
        },
        HarnessError::Wrong(what) | HarnessError::Silent(what) => {
            TestEnd::Finding { clause: ClauseId::NONE, observed: what, expected: Vec::new() }
        }
    }
}

/// What a malformed reply should have been: what its clause says.
fn due(library: &Library, clause: ClauseId) -> Vec<String> {
    vec![library.spec.clause_text(library.spec.clause_name(clause))]
}

/// What a device may do besides answering is no alternative to a wrong answer.
fn only_answers(end: TestEnd) -> TestEnd {
    const BESIDES: [&str; 5] = ["writes page", "has page", "DMA ", "interrupt", "works"];
    let is_answer = |line: &String| {
        let what = line.split_once(": ").map_or("", |(_, what)| what);
        !BESIDES.iter().any(|besides| what.starts_with(besides))
    };
    match end {
        TestEnd::Finding { clause, observed, expected } if expected.iter().any(is_answer) => {
            let expected = expected.into_iter().filter(is_answer).collect();
            TestEnd::Finding { clause, observed, expected }
        }
        end => end,
    }
}

impl Session<'_> {
    /// What was passed over in replies is found now.
    pub(super) fn deviations(&mut self) -> Result<(), TestEnd> {
        for Deviation { clause, observed, expected } in self.device.deviations() {
            let clause = self.clause(clause)?;
            self.finding_of(clause, observed, vec![expected.to_owned()])?;
        }
        Ok(())
    }

    /// The client calls.
    pub(super) fn call(&mut self, call: Call) -> Result<(), TestEnd> {
        let event = Event { device: 0, act: Act::Call(call) };
        if let Some(clause) = self.conversation.forbidden_by_some(&event)? {
            if self.careful {
                return Err(TestEnd::Skip(
                    "an interpretation that is still possible forbids it".into(),
                ));
            }
            self.conversation.suppress(&self.library.spec, clause);
        }
        self.conversation.send(event);
        // What every interpretation forbids is found now, before it is done.
        self.conversation.may_be_silent(TimeClass::Courtesy).map(|_| ())
    }

    /// The device does something.
    pub(super) fn see(&mut self, act: Act) -> Result<(), TestEnd> {
        let seen = self.conversation.observe(&Event { device: 0, act });
        seen.map_err(|end| if matches!(act, Act::Answer(_)) { only_answers(end) } else { end })
    }

    /// What is judged of a call that has neither answer nor number.
    pub(super) fn trouble<T>(&mut self, trouble: HarnessError) -> Result<T, TestEnd> {
        match trouble {
            HarnessError::Lacks(what) => Err(TestEnd::Skip(format!("needs {what}"))),
            HarnessError::Harness(why) => Err(TestEnd::Harness(why)),
            HarnessError::Unreached { why, ended, for_good } => {
                Err(TestEnd::Unreached { why, ended, for_good })
            }
            HarnessError::Wrong(observed) => {
                self.conversation.note(format!("<- {observed}"));
                let expected = self.conversation.allowed();
                Err(self.conversation.wrong(ClauseId::NONE, &observed, expected))
            }
            HarnessError::Malformed { clause, said } => {
                self.conversation.note(format!("<- {said}"));
                let clause = self.clause(clause)?;
                let expected = due(self.library, clause);
                Err(self.conversation.wrong(clause, &said, expected))
            }
            HarnessError::Gone(observed) => {
                self.gone = true;
                self.conversation.note(format!("<- {observed}"));
                let expected = self.conversation.allowed();
                self.conversation.wrong(ClauseId::NONE, &observed, Vec::new());
                Err(TestEnd::Died { clause: ClauseId::NONE, observed, expected })
            }
            HarnessError::Silent(observed) => {
                self.conversation.note("<- nothing");
                self.conversation.silent(TimeClass::Reply, &observed)?;
                if self.conversation.is_unspecified() {
                    return Err(TestEnd::Harness(observed));
                }
                // The machine knows nothing of this call, and it is answered like any other.
                self.conversation.stall();
                Err(self.conversation.wrong(ClauseId::NONE, &observed, vec!["an answer".into()]))
            }
        }
    }

    /// Whether it is known what follows the finding that was made last.
    ///
    /// | what broke the clause | goes on |
    /// |---|---|
    /// | what a question was answered, a register, a log: values, numbers of errors | yes |
    /// | a number of an error that is none | no: the refusal may be right for any reason |
    /// | a refusal to say how much is left | no: that is right in other states, and it may be in one |
    /// | the answer to a SET, a GET, a RESET, a read or a write of data | no: its state is not known |
    /// | what the device does where it may not | no: it is not where it should be |
    /// | an answer that does not come, a closed connection, and what no clause names | no |
    pub(in crate::vfio) fn knows_what_follows(&self, clause: ClauseId) -> bool {
        if self.gone || self.is_late() || self.conversation.is_stalled() {
            return false;
        }
        if self.library.spec.clause_name(clause) == ERROR_NUMBER {
            return false;
        }
        let mut records = self.conversation.records().iter().rev();
        let answer = match records.next() {
            Some(Record::Wrong) => return true,
            Some(Record::Seen(Event { act: Act::Answer(answer), .. })) => *answer,
            _ => return false,
        };
        let call = records.find_map(|record| match record {
            Record::Sent(Event { act: Act::Call(call), .. }) => Some(*call),
            _ => None,
        });
        match call {
            Some(Call::OptIn | Call::Access(_) | Call::LogReport(_)) => true,
            Some(Call::Info) => answer != Answer::Refused,
            _ => false,
        }
    }

    /// A finding of what the machine leaves to a tester.
    pub(super) fn finding_of(
        &mut self,
        clause: ClauseId,
        observed: String,
        expected: Vec<String>,
    ) -> Result<(), TestEnd> {
        if self.conversation.is_unspecified() || self.waived.contains(&clause) {
            return Ok(());
        }
        self.conversation.note(format!("<- {observed}"));
        Err(self.conversation.wrong(clause, &observed, expected))
    }
}
