//! Seeded random walks over everything that a client may do; what is found is shortened.
//!
//! **Invariants.** The same seed draws the same walk from a device that does the same. A step is taken
//! only where every reading that is still possible allows it, so no walk is at fault itself.

use devmig_model::protocol::vfio::table::Table;
use devmig_model::registry::Library;

use super::script::{self, Act};
use super::session::Session;
use super::suite::Test;
use crate::harness::random::Random;
use crate::harness::verdict::{StepOutcome, TestEnd};

/// A walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walk {
    /// Where its randomness comes from.
    pub seed: u64,
    /// How many steps it takes.
    pub steps: usize,
}

/// What is drawn besides SET, each as likely as it is often here.
const LETTERS: &[&str] = &[
    "get",
    "get",
    "read 1",
    "read 64",
    "read 65536",
    "drain",
    "drain",
    "drain by 100",
    "write saved",
    "write saved by 7",
    "write saved",
    "write truncated",
    "write garbage",
    "info",
    "info",
    "opt in",
    "config",
    "registers",
    "still",
    "log all",
    "log none",
    "log overlapping",
    "log stop",
    "report",
    "report",
    "report small",
    "report part",
    "reset",
    "reset for guest",
    "reopen",
    "nic",
    "send 1",
    "send 2",
    "room 2",
    "settle",
];

impl Walk {
    /// The test that a walk is, without its steps.
    #[must_use]
    pub fn test(&self, library: &Library) -> Test {
        Test {
            id: format!("walk.{}", self.seed),
            entry: "walk".into(),
            clause: library.vfio().names.laws.completes,
            purpose: format!("A random walk of {} steps.", self.steps),
            needs: Vec::new(),
            careful: true,
            breaks: Vec::new(),
            hint: false,
            may_hang: None,
            acts: Vec::new(),
        }
    }

    /// Walks. The steps that were tried are added to `taken`.
    ///
    /// # Errors
    /// What is found.
    pub fn go(
        &self,
        session: &mut Session<'_>,
        table: &Table,
        taken: &mut Vec<(Act, StepOutcome)>,
    ) -> Result<(), TestEnd> {
        let mut random = Random::new(self.seed ^ 0x7666_696f);
        for n in 0..self.steps {
            let text = match random.below(2) {
                _ if n == 0 => "memory mapped".to_owned(),
                0 => format!("set {}", self.state(&mut random, table)),
                _ => {
                    let at = random.below(LETTERS.len() as u64) as usize;
                    LETTERS.get(at).copied().unwrap_or("get").to_owned()
                }
            };
            let act = script::act(&text, table).map_err(|(why, _)| TestEnd::Harness(why))?;
            taken.push((act.clone(), StepOutcome::Yes));
            let done = session.carefully(&act)?;
            if let Some((_, last)) = taken.last_mut() {
                *last = done;
            }
        }
        Ok(())
    }

    fn state(&self, random: &mut Random, table: &Table) -> String {
        let values: Vec<String> = table.states.iter().map(|state| state.name.clone()).collect();
        let at = random.below(values.len() as u64 + 1) as usize;
        values.get(at).cloned().unwrap_or_else(|| "200".into())
    }
}

/// A script in one line, as `--play` takes it.
#[must_use]
pub fn line(acts: &[Act]) -> String {
    acts.iter().map(|act| act.text.as_str()).collect::<Vec<_>>().join("; ")
}
