//! What every protocol's conversation offers to the runner and to walks.

use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::estimate::Fault;
use devmig_engine::rules::{ChoiceSet, Rules};

use super::aftermath::Aftermath;
use super::report::{Offers, StepOutcome};
use super::suite::{SuiteForm, Test};
use super::verdict::TestEnd;

/// A conversation with an implementation.
pub trait Session<F: SuiteForm> {
    /// Whether what the test needs is there, as far as that can be known before its first step.
    ///
    /// # Errors
    /// [`TestEnd::Skip`], or what was found by asking.
    fn begin(&mut self, _test: &Test<F>) -> Result<(), TestEnd> {
        Ok(())
    }
    /// Takes a step of a test.
    ///
    /// # Errors
    /// What ends the test.
    fn step(&mut self, test: &Test<F>, step: &F::Step) -> Result<(), TestEnd>;
    /// Takes a generated step, if every interpretation that is still possible allows it.
    ///
    /// # Errors
    /// What ends the test.
    fn carefully(&mut self, test: &Test<F>, step: &F::Step) -> Result<StepOutcome, TestEnd> {
        self.step(test, step).map(|()| StepOutcome::Yes)
    }
    /// Ends the conversation.
    ///
    /// # Errors
    /// What is found meanwhile.
    fn end(&mut self) -> Result<(), TestEnd> {
        Ok(())
    }
    /// What was said, one line an event.
    fn log(&mut self) -> Vec<String>;
    /// The choices that were met, of so many, with the options that are still possible.
    fn learned(&self, _choices: usize) -> Vec<(ChoiceId, Vec<u8>)> {
        Vec::new()
    }
    /// The open choices on which what was done or judged can depend.
    fn asked(&self) -> ChoiceSet {
        ChoiceSet::default()
    }
    /// What the implementation offers, once it was asked.
    fn offers(&self) -> Option<Offers> {
        None
    }
    /// Whether anything that the implementation did was judged.
    fn has_judged(&self, _test: &Test<F>) -> bool {
        true
    }
    /// Whether it ended since something did not come in time.
    fn is_late(&self) -> bool {
        false
    }
    /// Whether it ended since a message had no reply in time.
    fn is_unanswered(&self) -> bool {
        false
    }
    /// Whether it is known what follows the finding that ended it, if this clause is not enforced: in
    /// which state the implementation is, and that no answer to an earlier request is still to come.
    fn knows_what_follows(&mut self, _clause: ClauseId) -> bool {
        false
    }
    /// Whether the implementation has answered anything.
    fn has_answered(&self) -> bool {
        true
    }
    /// The conversation is over: ends the process behind it, if we started one, and tells what is left.
    fn aftermath(&mut self) -> Aftermath {
        Aftermath::default()
    }
    /// Judges the conversation by other rules.
    ///
    /// # Errors
    /// The fault that it has by them.
    fn replay(&self, _rules: Rules) -> Result<(), Fault> {
        Err(Fault::Broken { clauses: Vec::new(), allowed: Vec::new() })
    }
}

/// Holds a conversation that was opened.
pub type Hold<'h, F> = dyn FnMut(&mut dyn Session<F>) -> Result<(), TestEnd> + 'h;
