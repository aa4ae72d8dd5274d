//! What is judged: every event is recorded and put to the machine, and its answer becomes what ends a
//! test.

use devmig_engine::clause::ClauseId;
use devmig_engine::estimate::{Fault, StateEstimate};
use devmig_engine::explore::trace::label;
use devmig_engine::machine::{Machine as _, Reaction, TimeClass};
use devmig_engine::rules::Rules;
use devmig_model::protocol::vfio::event::{Act, Call, Event};
use devmig_model::protocol::vfio::machine::Device as Machine;

use super::Session;
use crate::harness::verdict::TestEnd;
use crate::vfio::device::HarnessError;

/// What was asked, done and seen, for judging it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    /// The client called.
    Called(Event),
    /// The device did something.
    Seen(Event),
    /// It did not answer.
    Silent,
    /// Something that no reading of the text allows.
    Wrong,
}

/// Whether other rules allow the same conversation.
#[must_use]
pub fn allows(machine: &Machine, rules: Rules, records: &[Record]) -> bool {
    let mut possible = StateEstimate::new(machine, rules);
    records.iter().all(|record| match record {
        Record::Called(event) => {
            possible.send(*event);
            true
        }
        Record::Seen(event) => possible.observe(event).is_ok(),
        Record::Silent => possible.silent(TimeClass::Reply).is_ok(),
        Record::Wrong => false,
    })
}

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
                return Err(TestEnd::Skip(
                    "an interpretation that is still possible forbids it".into(),
                ));
            }
            let hangs = self.library.spec.choices().iter();
            let hangs = hangs.filter(|choice| choice.clauses.contains(&clause));
            self.excused.extend(hangs.flat_map(|choice| choice.clauses.iter().copied()));
        }
        self.said.push(format!("-> {}", label(self.machine, &event)));
        self.records.push(Record::Called(event));
        self.possible.send(event);
        // What every reading forbids is found now, before it is done.
        match self.possible.may_be_silent(TimeClass::Courtesy) {
            Ok(_) => Ok(()),
            Err(Fault::Script { clause }) => {
                let clause = self.library.spec.clause_name(clause);
                Err(TestEnd::Skip(format!(
                    "the only remaining interpretation forbids the step ({clause})"
                )))
            }
            Err(fault) => Err(TestEnd::Harness(fault.to_string())),
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
                self.records.push(Record::Silent);
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
                let why = "an interpretation that is still possible forbids a step (fix it with \
                           --choice)";
                TestEnd::Skip(why.into())
            }
            Fault::Broken { clauses, allowed } => TestEnd::Finding {
                clause: clauses.first().copied().unwrap_or(ClauseId::NONE),
                observed,
                expected: allowed,
            },
            Fault::Script { clause } => {
                let clause = self.library.spec.clause_name(clause);
                TestEnd::Harness(format!("the test itself breaks {clause}"))
            }
            Fault::TooMany => TestEnd::Harness(fault.to_string()),
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
