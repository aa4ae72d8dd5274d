//! Seeded random walks: the permissive front-end draws a step, again and again, among those that it
//! may take; and what is found is shortened to a shortest script that still finds it.
//!
//! ```text
//!   seed --> draw --> may it be taken? --> take it, judge --> finding --> shorten --> script
//!              ^           |  no                |                (the same clause, over a fresh
//!              +-----------+--------------------+                 connection or process each time)
//! ```
//!
//! **Invariants.** The same seed draws the same walk from a back-end that does the same. A script is
//! played carefully (see `session/careful.rs`), so no part of one is at fault itself.

use devmig_model::protocol::vhost_user::program::Step;
use devmig_model::protocol::vhost_user::table::Table;

use super::drive::{Letter, alphabet, resets};
use super::script::{self, Act};
use super::session::{Session, StepOutcome, TestEnd};
use super::suite::{Need, Test};
use crate::harness::random::Random;
use devmig_model::protocol::vhost_user::event::{Message, Value};
use devmig_model::protocol::vhost_user::program::Number;
use devmig_model::protocol::vhost_user::vocabulary::Answer;
use devmig_model::registry::Library;

/// Draws for each step before a walk gives up.
const DRAWS: usize = 50;

/// A walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walk {
    /// Where its randomness comes from.
    pub seed: u64,
    /// How many steps it takes.
    pub steps: usize,
}

/// What a walk draws from.
#[derive(Clone, Debug)]
pub struct StepPool {
    letters: Vec<Letter>,
    sum: u64,
    connect: Vec<Act>,
}

impl StepPool {
    /// Everything that a front-end can do with this library's table.
    #[must_use]
    pub fn of(library: &Library) -> Self {
        let mut letters = alphabet(&library.vhost_user().table);
        let others = [(Act::Settle, 8), (Act::Barrier, 2), (Act::Pause(50), 2), (Act::Quiet, 1)];
        letters.extend(others.map(|(act, weight)| Letter { act, weight }));
        let sum = letters.iter().map(|letter| u64::from(letter.weight)).sum();
        let names = [
            ("GET_FEATURES", Number::Literal(0)),
            ("GET_PROTOCOL_FEATURES", Number::Literal(0)),
            ("SET_PROTOCOL_FEATURES", Number::ProtocolOffered),
            ("SET_OWNER", Number::Literal(0)),
        ];
        let connect = names.into_iter().filter_map(|(name, number)| {
            let id = library.vhost_user().table.named(name)?;
            Some(Act::Program(
                Step::Send { id, ring: 0, number, need_reply: false },
                script::Which::Requests,
            ))
        });
        StepPool { letters, sum, connect: connect.collect() }
    }

    fn draw(&self, random: &mut Random) -> Act {
        let mut at = random.below(self.sum);
        for letter in &self.letters {
            let weight = u64::from(letter.weight);
            if at < weight {
                return match letter.act {
                    Act::Requests { kick, .. } => {
                        Act::Requests { count: 1 + random.below(3) as u16, kick }
                    }
                    act => act,
                };
            }
            at -= weight;
        }
        Act::Settle
    }
}

impl Walk {
    /// The test that a walk is, without its steps yet: whether everything asks for an
    /// acknowledgement, and whether STATUS is negotiated, is drawn first.
    #[must_use]
    pub fn test(&self, library: &Library) -> Test {
        let mut random = Random::new(self.seed);
        let status = library.vhost_user().table.feature("STATUS").filter(|_| random.below(2) == 1);
        let needs = status.map(|bit| Need::Feature("STATUS".to_owned(), bit));
        Test {
            id: format!("walk.{}", self.seed),
            clause: library.vhost_user().tester().laws.reply_must,
            purpose: format!("A random walk of {} steps.", self.steps),
            needs: needs.into_iter().collect(),
            acknowledged: random.below(2) == 1,
            careful: true,
            breaks: Vec::new(),
            acts: Vec::new(),
        }
    }

    /// Walks. The steps that were taken are added to `taken`.
    ///
    /// # Errors
    /// What is found.
    pub fn go(
        &self,
        session: &mut Session<'_>,
        urn: &StepPool,
        table: &Table,
        taken: &mut Vec<Act>,
    ) -> Result<(), TestEnd> {
        let mut random = Random::new(self.seed ^ 0x7761_6c6b);
        for act in &urn.connect {
            taken.push(*act);
            session.act(act)?;
        }
        let mut draws = self.steps.saturating_mul(DRAWS);
        while taken.len() < urn.connect.len() + self.steps && draws > 0 {
            draws -= 1;
            let act = urn.draw(&mut random);
            // What is found by it includes it.
            taken.push(act);
            if session.carefully(&act)? != StepOutcome::Yes {
                taken.pop();
                continue;
            }
            if let Some(then) = follows(&act, table) {
                taken.push(then);
                session.carefully(&then)?;
            }
        }
        session.act(&Act::Settle)
    }
}

/// What belongs to a step: a check tells of success, a device that was reset is begun with anew.
fn follows(act: &Act, table: &Table) -> Option<Act> {
    let Act::Program(Step::Send { id, number, .. }, _) = *act else { return None };
    let def = table.messages.get(id.0 as usize)?;
    if def.answer == Some(Answer::Check) {
        return Some(Act::Answered { success: true });
    }
    let Number::Literal(value) = number else { return None };
    let message = Message { id, value: Value(value), ..Message::default() };
    resets(def, &message).then_some(Act::Anew)
}

/// A script in one line, as `--play` takes it.
#[must_use]
pub fn line(test: &Test, acts: &[Act], table: &Table) -> String {
    let needs = test.needs.iter().filter_map(|need| match need {
        Need::Feature(name, _) => Some(format!("needs {name}")),
        Need::TwoRings | Need::Outside | Need::PackedRings => None,
    });
    let asks = test.acknowledged.then(|| "acknowledged".to_owned());
    let steps = acts.iter().map(|act| script::text(act, table));
    needs.chain(asks).chain(steps).collect::<Vec<_>>().join("; ")
}

/// The file of a script in one line, for [`super::suite::load`].
#[must_use]
pub fn file(line: &str) -> String {
    let (mut needs, mut asks, mut steps) = (Vec::new(), false, Vec::new());
    for part in line.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once(' ') {
            Some(("needs", feature)) => needs.push(feature),
            _ if part == "acknowledged" => asks = true,
            _ => steps.push(part),
        }
    }
    format!(
        "[[test]]\nid = \"script\"\nclause = \"vhost-user.reply.must\"\npurpose = \"A script.\"\n\
         careful = true\nacknowledged = {asks}\nneeds = {needs:?}\nsteps = {steps:?}\n"
    )
}
