//! Runs the suite: a fresh conversation for each test, and what was learned of the readings goes on
//! to the next.
//!
//! A choice that the implementation has settled in one test stays settled. A conversation that fails
//! only because of that is judged again with every choice open; if it is then allowed, the finding is
//! that the implementation reads one choice in two ways.

mod attempt;
mod shorten;

use crate::harness::verdict::{Entry as _, accepted, contradiction, outcome, readings};
use attempt::{Ended, one};
use shorten::shortest;

use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::rules::{Choices, ClauseSet, Rules};
use devmig_model::protocol::vhost_user::ids::WhoMarks;
use devmig_model::protocol::vhost_user::program::Step;
use devmig_model::registry::Library;

use super::script::Act;
use super::session::{
    Record, Session, Setting, StepOutcome, Subject, TestEnd, TestMachine, allows,
};
use super::suite::{Need, Test};
use super::walk::{self, StepPool, Walk};
use crate::harness::io::target::Target;
use crate::harness::report::{Offers, Outcome, Result as TestResult, Status, SuiteReport, Waived};
use crate::harness::waivers::Waiver;

/// How to run.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// Everything that is loaded.
    pub library: &'a Library,
    /// The implementation, and how it may be treated.
    pub subject: Subject<'a>,
    /// The options that the caller pins.
    pub pinned: Vec<(ChoiceId, u8)>,
    /// The command that runs one test again, without `--only`.
    pub reproduce: String,
    /// The version of the text.
    pub text: String,
    /// Clauses that are not enforced.
    pub rules: Rules,
    /// Findings that are accepted.
    pub waivers: Vec<Waiver>,
}

/// Runs these tests. `done` is told of each result as it comes.
pub fn run(run: &Run<'_>, tests: &[&Test], done: impl FnMut(&TestResult)) -> SuiteReport {
    play(run, tests, &[], done)
}

/// Runs these tests, then these walks.
pub fn play(
    run: &Run<'_>,
    tests: &[&Test],
    walks: &[Walk],
    mut done: impl FnMut(&TestResult),
) -> SuiteReport {
    let machine = run.library.vhost_user().tester();
    let urn = StepPool::of(run.library);
    let open = run.pinned.iter().fold(
        Rules { choices: run.library.spec.open().and(&run.rules.choices), ..run.rules },
        |rules, (choice, option)| rules.fixing(*choice, *option),
    );
    // The tester marks nothing in the log: unless somebody says otherwise that leaves it to the
    // back-end, as every front-end does.
    let (who_marks, back_end) = machine.readings.who_marks.as_option(WhoMarks::BackEnd);
    let open = match run.pinned.iter().any(|(choice, _)| *choice == who_marks) {
        true => open,
        false => open.fixing(who_marks, back_end),
    };
    let mut known = open;
    let mut results = Vec::new();
    let mut offers = None;
    let walking: Vec<(Test, Walk)> =
        walks.iter().map(|walk| (walk.test(run.library), *walk)).collect();
    let jobs = tests.iter().map(|test| (*test, None));
    let jobs = jobs.chain(walking.iter().map(|(test, walk)| (test, Some((&urn, *walk)))));
    for (n, (test, walk)) in jobs.enumerate() {
        let mut waived: Vec<Waived> = Vec::new();
        let mut off = ClauseSet::default();
        let (mut taken, mut script) = (Vec::new(), None);
        let outcome = loop {
            let without = |mut rules: Rules| {
                rules.off.extend(&off);
                test.breaks.iter().for_each(|clause| rules.off.insert(*clause));
                rules
            };
            let rules = without(known);
            let first = n == 0 && waived.is_empty();
            taken.clear();
            let attempt = one(run, &machine, test, walk, rules, first, &mut offers, &mut taken);
            let outcome = match attempt {
                Ok(learned) => {
                    known.choices = learned;
                    Outcome::new(Status::Pass)
                }
                Err(ended) => {
                    let ended = match walk {
                        Some(_) => {
                            let (acts, ended) = shortest(run, &machine, test, rules, &taken, ended);
                            script = Some(walk::line(test, &acts, &machine.table));
                            ended
                        }
                        None => ended,
                    };
                    let Ended { stop, log, records } = ended;
                    let contradicts = matches!(stop, TestEnd::Finding { .. })
                        && known != open
                        && allows(&machine, without(open), &records);
                    if contradicts {
                        contradiction(run.library, &known.choices, log)
                    } else {
                        outcome(run.library, test.clause, stop, log)
                    }
                }
            };
            let broken = outcome.clause.unwrap_or(test.clause);
            let accepted = accepted(run.library, &run.waivers, &test.id, &outcome, broken);
            let Some(accepted) = accepted else { break outcome };
            waived.push(accepted);
            // What cannot be switched off ends the test here, as it would have.
            let ends = outcome.clause.is_none() || off.contains(broken);
            off.insert(broken);
            if ends {
                break Outcome::new(Status::Waived);
            }
        };
        let outcome = match outcome.status {
            Status::Pass if !waived.is_empty() => Outcome::new(Status::Waived),
            _ => outcome,
        };
        let again = match &script {
            Some(script) => format!("--play {}", shell_words::quote(script)),
            None => format!("--only {}", test.id),
        };
        let seed = walk.map_or(run.subject.seed, |(_, walk)| walk.seed);
        let again = format!("{} {again} --seed {seed}", run.reproduce);
        let result = test.about().result(run.library, outcome, waived, again);
        let taken = taken.into_iter().map(|(_, taken)| taken).collect();
        let result = TestResult { taken, ..result };
        done(&result);
        // Whoever cannot be reached will not be reached by the next test either.
        let unreached = result.status == Status::Error && result.log.is_empty();
        let gone =
            result.status == Status::Error && matches!(run.subject.target, Target::Socket(_));
        results.push(result);
        if unreached || gone {
            break;
        }
    }
    SuiteReport {
        readings: readings(run.library, &known.choices, &open.choices),
        offers,
        ..SuiteReport::of(&run.reproduce, &run.text, run.subject.seed, results, &run.waivers)
    }
}
