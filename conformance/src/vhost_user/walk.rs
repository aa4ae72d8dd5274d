//! What random walks draw from: the permissive front-end's steps, each as likely as it is weighed.

use devmig_model::protocol::vhost_user::program::Step;
use devmig_model::protocol::vhost_user::table::Table;

use super::drive::{Letter, alphabet, resets};
use super::script::{self, Act};
use super::suite::{Need, Own, Test};
use crate::harness::random::Random;
use crate::harness::walk::Walk;
use devmig_model::protocol::vhost_user::event::{Message, Value};
use devmig_model::protocol::vhost_user::program::Number;
use devmig_model::protocol::vhost_user::vocabulary::Answer;
use devmig_model::registry::Library;

/// What a walk draws from.
#[derive(Clone, Debug)]
pub struct StepPool {
    letters: Vec<Letter>,
    sum: u64,
    /// What every conversation begins with.
    pub(super) connect: Vec<Act>,
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

    pub(super) fn draw(&self, random: &mut Random) -> Act {
        let mut at = random.below(self.sum);
        for letter in &self.letters {
            let weight = u64::from(letter.weight);
            if at < weight {
                return match letter.act {
                    Act::Request(_) => Act::Request(1 + random.below(3) as u16),
                    Act::Publish(_) => Act::Publish(1 + random.below(3) as u16),
                    act => act,
                };
            }
            at -= weight;
        }
        Act::Settle
    }
}

/// The test that a walk is, without its steps yet: whether everything asks for an acknowledgement, and
/// whether STATUS is negotiated, is drawn first.
#[must_use]
pub fn test(walk: Walk, library: &Library) -> Test {
    let mut random = Random::new(walk.seed);
    let status = library.vhost_user().table.feature("STATUS").filter(|_| random.below(2) == 1);
    let needs = status.map(|bit| Need::Feature("STATUS".to_owned(), bit));
    let (id, purpose) = walk.name();
    let own = Own { acknowledged: random.below(2) == 1 };
    let test = Test::generated(id, library.vhost_user().tester().laws.reply_must, purpose, own);
    Test { needs: needs.into_iter().collect(), ..test }
}

/// What belongs to a step: a check tells of success, a device that was reset is begun with anew.
pub(super) fn follows(act: &Act, table: &Table) -> Option<Act> {
    let Act::Program(Step::Send { id, number, .. }, _) = *act else { return None };
    let def = table.messages.get(id.0 as usize)?;
    if def.answer == Some(Answer::Check) {
        return Some(Act::Succeeds);
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
    let asks = test.own.acknowledged.then(|| "acknowledged".to_owned());
    let steps = acts.iter().map(|act| act.text(table));
    needs.chain(asks).chain(steps).collect::<Vec<_>>().join("; ")
}
