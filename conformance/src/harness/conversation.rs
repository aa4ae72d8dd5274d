//! One conversation with an implementation under test: everything that is sent, done and seen is logged,
//! recorded and put to the machine, whose answer becomes what ends a test.
//!
//! ```text
//!   send, did     what the tester does      --+
//!   observe       what the implementation    |--> log, records, state estimate --> TestEnd
//!   silent        does, or does not do      --+
//! ```
//!
//! **Invariants.** Nothing reaches the state estimate that is not recorded, so [`replay`] judges the same
//! conversation again by other rules. What the tester did and what the implementation did are told apart,
//! so a step that the test itself gets wrong is never a finding. Nothing here waits.

use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::estimate::{Fault, StateEstimate};
use devmig_engine::explore::trace::label;
use devmig_engine::machine::{Machine, Reaction, TimeClass};
use devmig_engine::rules::{ChoiceSet, OpenChoice, RuleContext, Rules};
use devmig_model::spec::Spec;

use super::verdict::TestEnd;

/// One part of a conversation, for judging it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record<E> {
    /// The tester sent it; the implementation may read it later.
    Sent(E),
    /// The tester did it, seen at once.
    Did(E),
    /// The implementation did it.
    Seen(E),
    /// Nothing came for as long as this may take.
    Silent(TimeClass),
    /// A fresh conversation began.
    Fresh,
    /// Something that no interpretation of the text allows: a malformed answer, a wrong result.
    Wrong,
}

impl<E> Record<E> {
    /// Whether the implementation did something here that could have been wrong.
    #[must_use]
    pub fn is_judged(&self) -> bool {
        matches!(self, Record::Seen(_) | Record::Wrong)
    }
}

/// Judges a conversation by other rules.
///
/// # Errors
/// The first fault; [`Fault::Broken`] without a clause for what no interpretation allows, or is allowed
/// only since no text says what follows: that shows no interpretation.
pub fn replay<M: Machine>(
    machine: &M,
    rules: Rules,
    records: &[Record<M::Event>],
) -> Result<(), Fault> {
    let mut estimate = StateEstimate::new(machine, rules);
    for record in records {
        match record {
            Record::Sent(event) => estimate.send(*event),
            Record::Did(event) => estimate.did(event)?,
            Record::Seen(event) => estimate.observe(event)?,
            Record::Silent(class) => estimate.silent(*class)?,
            Record::Fresh => estimate = StateEstimate::new(machine, rules),
            Record::Wrong => {
                return Err(Fault::Broken { clauses: Vec::new(), allowed: Vec::new() });
            }
        }
    }
    // What was sent last is read, as far as that is legal.
    if let Some(Record::Sent(_)) = records.last() {
        estimate.may_be_silent(TimeClass::Courtesy)?;
    }
    match estimate.undefined() {
        true => Err(Fault::Broken { clauses: Vec::new(), allowed: estimate.allowed() }),
        false => Ok(()),
    }
}

/// Rules by which this clause is enforced.
fn enforcing(clause: Option<ClauseId>, mut rules: Rules) -> Rules {
    if let Some(clause) = clause {
        rules.off.remove(clause);
    }
    rules
}

/// How a fault ends a test.
#[must_use]
pub fn ended(fault: Fault, observed: String) -> TestEnd {
    match fault {
        Fault::Broken { clauses, allowed } => TestEnd::Finding {
            clause: clauses.first().copied().unwrap_or(ClauseId::NONE),
            observed,
            expected: allowed,
        },
        Fault::Script { clause } => TestEnd::Illegal { clause },
        Fault::TooMany => TestEnd::Harness(fault.to_string()),
    }
}

/// A conversation, judged as it goes.
#[derive(Debug)]
pub struct Conversation<'m, M: Machine> {
    machine: &'m M,
    rules: Rules,
    estimate: StateEstimate<'m, M>,
    log: Vec<String>,
    records: Vec<Record<M::Event>>,
    /// Clauses of a choice by one interpretation of which the tester itself broke a rule.
    suppressed: Vec<ClauseId>,
    /// Silence was a finding.
    stalled: bool,
    /// Open choices that were asked for before the last fresh connection.
    asked_before: ChoiceSet,
    /// The clause that says to which request an answer belongs, which the machine enforces whatever is
    /// switched off: without it no answer would belong to any. Where the form alone is wrong, it is off.
    assigns: Option<ClauseId>,
}

impl<'m, M: Machine> Conversation<'m, M> {
    /// Nothing was said yet.
    #[must_use]
    pub fn new(machine: &'m M, rules: Rules) -> Self {
        Conversation {
            machine,
            rules,
            estimate: StateEstimate::new(machine, rules),
            log: Vec::new(),
            records: Vec::new(),
            suppressed: Vec::new(),
            stalled: false,
            asked_before: ChoiceSet::default(),
            assigns: None,
        }
    }

    /// The same; by this clause answers are assigned to requests.
    #[must_use]
    pub fn assigning(self, clause: ClauseId) -> Self {
        let assigns = Some(clause);
        let rules = enforcing(assigns, self.rules);
        Conversation { estimate: StateEstimate::new(self.machine, rules), assigns, ..self }
    }

    /// The machine by which it is judged.
    #[must_use]
    pub fn machine(&self) -> &'m M {
        self.machine
    }

    /// What was sent, done and seen.
    #[must_use]
    pub fn records(&self) -> &[Record<M::Event>] {
        &self.records
    }

    /// Whether the last that was judged is that nothing came.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        matches!(self.records.last(), Some(Record::Silent(_)))
    }

    /// Whether the last that was judged is that a message had no reply.
    #[must_use]
    pub fn is_unanswered(&self) -> bool {
        self.stalled || matches!(self.records.last(), Some(Record::Silent(TimeClass::Reply)))
    }

    /// Whether something that was owed did not come in time.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// An answer that the machine knows nothing of did not come in time.
    pub fn stall(&mut self) {
        self.stalled = true;
    }

    /// What was said, one line an event, taken out of it.
    #[must_use]
    pub fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    /// For each choice that was met, of so many: the options that are still possible.
    #[must_use]
    pub fn learned(&self, choices: usize) -> Vec<(ChoiceId, Vec<u8>)> {
        self.estimate.readings(choices)
    }

    /// The open choices on which anything that was done or judged can depend.
    #[must_use]
    pub fn asked(&self) -> ChoiceSet {
        let mut asked = self.asked_before;
        asked.extend(&self.estimate.asked());
        asked
    }

    /// Judges it by other rules.
    ///
    /// # Errors
    /// The fault that it has by them.
    pub fn replay(&self, rules: Rules) -> Result<(), Fault> {
        replay(self.machine, enforcing(self.assigns, rules), &self.records)
    }

    /// Adds a line to the log.
    pub fn note(&mut self, line: impl Into<String>) {
        self.log.push(line.into());
    }

    /// The tester sends a message, which the implementation reads when it does.
    pub fn send(&mut self, event: M::Event) {
        self.say("->", &event);
        self.records.push(Record::Sent(event));
        self.estimate.send(event);
    }

    /// The tester does something that is seen at once.
    ///
    /// # Errors
    /// [`TestEnd::Illegal`] if the rules forbid it to the tester.
    pub fn did(&mut self, event: &M::Event) -> Result<(), TestEnd> {
        self.say("->", event);
        self.records.push(Record::Did(*event));
        let done = self.estimate.did(event);
        done.map_err(|fault| self.end(fault, label(self.machine, event)))
    }

    /// The implementation does something.
    ///
    /// # Errors
    /// [`TestEnd::Finding`] if nothing that is possible allows it.
    pub fn observe(&mut self, event: &M::Event) -> Result<(), TestEnd> {
        self.say("<-", event);
        self.records.push(Record::Seen(*event));
        let seen = self.estimate.observe(event);
        seen.map_err(|fault| self.end(fault, label(self.machine, event)))
    }

    /// The implementation does one of these, which cannot be told apart: the first that is allowed.
    ///
    /// # Errors
    /// [`TestEnd::Finding`] with this observation if none is.
    pub fn observe_any(
        &mut self,
        events: impl IntoIterator<Item = M::Event>,
        observed: &str,
    ) -> Result<(), TestEnd> {
        let mut first = None;
        for event in events {
            match self.estimate.observe(&event) {
                Ok(()) => {
                    self.records.push(Record::Seen(event));
                    return Ok(());
                }
                Err(fault) => first = first.or(Some(fault)),
            }
        }
        first.map_or(Ok(()), |fault| Err(self.end(fault, observed.to_owned())))
    }

    /// Nothing came for as long as what is owed in this class may take.
    ///
    /// # Errors
    /// [`TestEnd::Finding`] with this observation if something is owed whatever is possible.
    pub fn silent(&mut self, class: TimeClass, observed: &str) -> Result<(), TestEnd> {
        self.records.push(Record::Silent(class));
        let silent = self.estimate.silent(class);
        self.stalled |= silent.is_err();
        silent.map_err(|fault| self.end(fault, observed.to_owned()))
    }

    /// Whether silence would be allowed.
    ///
    /// # Errors
    /// [`TestEnd::Illegal`] if what was sent breaks a rule.
    pub fn may_be_silent(&mut self, class: TimeClass) -> Result<bool, TestEnd> {
        let silent = self.estimate.may_be_silent(class);
        silent.map_err(|fault| self.end(fault, String::new()))
    }

    /// The clause by which some interpretation that is still possible forbids the tester to do this.
    ///
    /// # Errors
    /// [`TestEnd::Harness`].
    pub fn forbidden_by_some(&mut self, event: &M::Event) -> Result<Option<ClauseId>, TestEnd> {
        let (machine, mut by) = (self.machine, None);
        self.every(|state, context| {
            if let Reaction::Violation(clause) | Reaction::Unspecified(clause) =
                machine.on(state, event, context)?
            {
                by = Some(clause);
            }
            Ok(true)
        })?;
        Ok(by)
    }

    /// Goes on where an interpretation forbids what the tester does: what breaks a clause of the same
    /// choice is no finding from here on.
    pub fn suppress(&mut self, spec: &Spec, clause: ClauseId) {
        let choices = spec.choices().iter();
        let choices = choices.filter(|choice| choice.clauses.contains(&clause));
        self.suppressed.extend(choices.flat_map(|choice| choice.clauses.iter().copied()));
    }

    /// Whether this holds of every state that is possible once all that was sent is read.
    ///
    /// # Errors
    /// [`TestEnd::Harness`].
    pub fn every(
        &mut self,
        holds: impl FnMut(&M::State, &mut RuleContext) -> Result<bool, OpenChoice>,
    ) -> Result<bool, TestEnd> {
        self.estimate.every(holds).map_err(TestEnd::harness)
    }

    /// Whether the specification is silent about whatever follows.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.estimate.undefined()
    }

    /// Everything that was said is void: a fresh connection.
    pub fn begin_again(&mut self) {
        self.asked_before = self.asked();
        self.estimate = StateEstimate::new(self.machine, enforcing(self.assigns, self.rules));
        self.records.push(Record::Fresh);
    }

    /// A finding that the tester makes without the machine; no finding where the specification is silent
    /// or the clause is switched off.
    ///
    /// # Errors
    /// [`TestEnd::Finding`].
    pub fn finding(
        &mut self,
        clause: ClauseId,
        observed: &str,
        expected: Vec<String>,
    ) -> Result<(), TestEnd> {
        if self.is_unspecified() || self.rules.off.contains(clause) {
            return Ok(());
        }
        Err(self.wrong(clause, observed, expected))
    }

    /// The same where the machine says what was allowed instead.
    ///
    /// # Errors
    /// [`TestEnd::Finding`].
    pub fn unexpected(&mut self, clause: ClauseId, observed: &str) -> Result<(), TestEnd> {
        let expected = self.estimate.allowed();
        self.finding(clause, observed, expected)
    }

    /// Something that no interpretation allows, wherever it happens.
    pub fn wrong(&mut self, clause: ClauseId, observed: &str, expected: Vec<String>) -> TestEnd {
        self.records.push(Record::Wrong);
        TestEnd::Finding { clause, observed: observed.to_owned(), expected }
    }

    /// What the machine allows now, in the words of a trace.
    #[must_use]
    pub fn allowed(&self) -> Vec<String> {
        self.estimate.allowed()
    }

    fn say(&mut self, direction: &str, event: &M::Event) {
        self.log.push(format!("{direction} {}", label(self.machine, event)));
    }

    fn end(&self, fault: Fault, observed: String) -> TestEnd {
        match fault {
            // By another interpretation of the same choice, the step itself was wrong: it is not judged.
            Fault::Broken { clauses, .. }
                if clauses.first().is_some_and(|clause| self.suppressed.contains(clause)) =>
            {
                let why = "a reading that is still possible forbids a step (pin it with --choice)";
                TestEnd::Skip(why.into())
            }
            fault => ended(fault, observed),
        }
    }
}
