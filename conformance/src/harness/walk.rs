//! Seeded random walks: a step is drawn, again and again, among those that may be taken; what is found
//! is shortened to a shortest script that still finds it.
//!
//! ```text
//!   seed --> Draws::draw --> may it be taken? --> take it, judge --> finding --> shorten --> script
//!              ^           |  no                |                (the same clause, in a fresh
//!              +-----------+--------------------+                 conversation each time)
//! ```
//!
//! **Invariants.** The same seed draws the same walk from an implementation that does the same. A step is
//! taken only where every interpretation that is still possible allows it, so no walk is at fault itself.

use super::random::Random;
use super::session::Session;
use super::suite::{StepOf, SuiteForm, Test};
use super::verdict::{StepOutcome, TestEnd};

/// A walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walk {
    /// Where its randomness comes from.
    pub seed: u64,
    /// How many steps it takes.
    pub steps: usize,
}

/// What a protocol's walks consist of. A protocol without walks leaves all of it as it is.
pub trait Draws {
    /// The form of its suite.
    type Form: SuiteForm;
    /// Draws for each step before a walk gives up.
    const DRAWS: usize = 1;
    /// What makes its walks other than those of other protocols.
    const SALT: u64 = 0;

    /// The steps that every walk begins with.
    fn begin(&self) -> Vec<StepOf<Self::Form>> {
        Vec::new()
    }
    /// The `n`th draw.
    ///
    /// # Errors
    /// If nothing can be drawn.
    fn draw(&self, _n: usize, _random: &mut Random) -> Result<StepOf<Self::Form>, TestEnd> {
        Err(TestEnd::Harness("this suite has no walks".into()))
    }
    /// What belongs to a step that was taken.
    fn follows(&self, _step: &StepOf<Self::Form>) -> Option<StepOf<Self::Form>> {
        None
    }
    /// A step that waits for what the last one leads to: whether that is seen is else a matter of time.
    fn last(&self) -> Option<StepOf<Self::Form>> {
        None
    }
}

impl Walk {
    /// How a report names it, and says what it is.
    #[must_use]
    pub fn name(self) -> (String, String) {
        (format!("walk.{}", self.seed), format!("A random walk of {} steps.", self.steps))
    }

    /// Walks. The steps that were taken are added to `taken`.
    ///
    /// # Errors
    /// What is found; the step that finds it is the last of `taken`.
    pub fn go<D: Draws>(
        self,
        draws: &D,
        test: &Test<D::Form>,
        session: &mut dyn Session<D::Form>,
        taken: &mut Vec<(StepOf<D::Form>, StepOutcome)>,
    ) -> Result<(), TestEnd> {
        let mut random = Random::new(self.seed ^ D::SALT);
        for step in draws.begin() {
            taken.push((step.clone(), StepOutcome::Yes));
            session.step(test, &step)?;
        }
        let whole = taken.len() + self.steps;
        for n in 0..self.steps.saturating_mul(D::DRAWS) {
            if taken.len() >= whole {
                break;
            }
            let step = draws.draw(n, &mut random)?;
            taken.push((step.clone(), StepOutcome::Yes));
            if session.carefully(test, &step)? != StepOutcome::Yes {
                taken.pop();
            } else if let Some(then) = draws.follows(&step) {
                taken.push((then.clone(), StepOutcome::Yes));
                session.carefully(test, &then)?;
            }
        }
        draws.last().map_or(Ok(()), |step| session.step(test, &step))
    }
}
