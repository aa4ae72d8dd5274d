//! What is judged: every event is recorded and put to the machine, and its answer becomes what ends a
//! test.

use devmig_engine::clause::ClauseId;
use devmig_engine::estimate::Fault;
use devmig_engine::explore::trace::label;
use devmig_engine::machine::{Machine as _, Reaction, TimeClass};
use devmig_model::protocol::vfio::event::{Act, Call, Event};

use super::Session;
use crate::harness::conversation;
use crate::harness::verdict::TestEnd;
use crate::vfio::device::HarnessError;

/// One part of a conversation.
pub type Record = conversation::Record<Event>;

/// A device that cannot be opened is the harness's matter, or that of who named it.
pub(super) fn unopened(trouble: HarnessError) -> TestEnd {
    match trouble {
        HarnessError::Lacks(what) => TestEnd::Skip(format!("needs {what}")),
        HarnessError::Harness(why) => TestEnd::Harness(why),
        HarnessError::Wrong(what) | HarnessError::Gone(what) | HarnessError::Silent(what) => {
            TestEnd::Finding { clause: ClauseId::NONE, observed: what, expected: Vec::new() }
        }
    }
}

impl Session<'_> {
    /// The client calls.
    pub(super) fn call(&mut self, call: Call) -> Result<(), TestEnd> {
        let event = Event { device: 0, act: Act::Call(call) };
        if let Some(clause) = self.forbidden(&event)? {
            if self.careful {
                return Err(TestEnd::Skip("a reading that is still possible forbids it".into()));
            }
            let hangs = self.library.spec.choices().iter();
            let hangs = hangs.filter(|choice| choice.clauses.contains(&clause));
            self.excused.extend(hangs.flat_map(|choice| choice.clauses.iter().copied()));
        }
        self.said.push(format!("-> {}", label(self.machine, &event)));
        self.records.push(Record::Sent(event));
        self.possible.send(event);
        // What every interpretation forbids is found now, before it is done.
        match self.possible.may_be_silent(TimeClass::Courtesy) {
            Ok(_) => Ok(()),
            Err(fault) => Err(conversation::ended(fault, String::new())),
        }
    }

    /// The clause by which some reading that is still possible forbids the client to do this.
    fn forbidden(&mut self, event: &Event) -> Result<Option<ClauseId>, TestEnd> {
        let (machine, mut by) = (self.machine, None);
        let seen = self.possible.every(|state, judge| {
            if let Reaction::Violation(clause) | Reaction::Unspecified(clause) =
                machine.on(state, event, judge)?
            {
                by = Some(clause);
            }
            Ok(true)
        });
        seen.map(|_| by).map_err(|fault| TestEnd::Harness(fault.to_string()))
    }

    /// The device does something.
    pub(super) fn see(&mut self, act: Act) -> Result<(), TestEnd> {
        let event = Event { device: 0, act };
        let what = label(self.machine, &event);
        self.said.push(format!("<- {what}"));
        self.records.push(Record::Seen(event));
        match self.possible.observe(&event) {
            Ok(()) => Ok(()),
            Err(fault) => self.fault(fault, what),
        }
    }

    /// What is judged of a call that has neither answer nor number.
    pub(super) fn trouble<T>(&mut self, trouble: HarnessError) -> Result<T, TestEnd> {
        self.records.push(Record::Wrong);
        match trouble {
            HarnessError::Lacks(what) => Err(TestEnd::Skip(format!("needs {what}"))),
            HarnessError::Harness(why) => Err(TestEnd::Harness(why)),
            HarnessError::Wrong(observed) | HarnessError::Gone(observed) => {
                self.said.push(format!("<- {observed}"));
                let expected = self.possible.allowed();
                Err(TestEnd::Finding { clause: ClauseId::NONE, observed, expected })
            }
            HarnessError::Silent(observed) => {
                self.said.push("<- nothing".into());
                let Err(fault) = self.possible.silent(TimeClass::Reply) else {
                    return Err(TestEnd::Harness(observed));
                };
                self.records.pop();
                self.records.push(Record::Silent(TimeClass::Reply));
                match self.fault(fault, observed) {
                    Err(stop) => Err(stop),
                    Ok(()) => Err(TestEnd::Harness("silence is allowed".into())),
                }
            }
        }
    }

    fn fault(&self, fault: Fault, observed: String) -> Result<(), TestEnd> {
        Err(match fault {
            // By the other reading of the same choice, the step itself was wrong: nobody can judge it.
            Fault::Broken { clauses, .. }
                if clauses.first().is_some_and(|clause| self.excused.contains(clause)) =>
            {
                let why = "a reading that is still possible forbids a step (pin it with --choice)";
                TestEnd::Skip(why.into())
            }
            fault => conversation::ended(fault, observed),
        })
    }

    /// A finding of what the machine leaves to a tester.
    pub(super) fn finding_of(
        &mut self,
        clause: ClauseId,
        observed: String,
        expected: Vec<String>,
    ) -> Result<(), TestEnd> {
        if self.possible.undefined() || self.waived.contains(&clause) {
            return Ok(());
        }
        self.said.push(format!("<- {observed}"));
        self.records.push(Record::Wrong);
        Err(TestEnd::Finding { clause, observed, expected })
    }
}
