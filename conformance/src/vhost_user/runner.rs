//! Runs the suite: a fresh conversation for each test, and what was learned of the readings goes on
//! to the next.
//!
//! A choice that the implementation has settled in one test stays settled. A conversation that fails
//! only because of that is judged again with every choice open; if it is then allowed, the finding is
//! that the implementation reads one choice in two ways.

use devmig_model::clause::{ChoiceId, ClauseId};
use devmig_model::library::Library;
use devmig_model::rules::{Choices, ClauseSet, Rules};
use devmig_model::spec::Level;
use devmig_model::vhost_user::program::Step;

use super::script::Act;
use super::session::{Device, Limits, Record, Session, Setting, Stop, Taken, TestMachine, allows};
use super::suite::{Need, Test};
use super::target::Target;
use super::walk::{self, Urn, Walk};
use crate::report::{Offers, Outcome, Result as TestResult, Status, SuiteReport, Summary, Waived};
use crate::waivers::{self, Waiver};

/// The option of `vhost-user.dirty-log.who-marks` by which the back-end marks.
const MARKED_BY_BACK_END: u8 = 0;

/// How to run.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// Everything that is loaded.
    pub library: &'a Library,
    /// The implementation.
    pub target: &'a Target,
    /// What it is.
    pub device: Device,
    /// Its data may be destroyed.
    pub scratch: bool,
    /// How long to wait.
    pub limits: Limits,
    /// For bytes that are no state.
    pub seed: u64,
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
    let machine = run.library.tester();
    let urn = Urn::of(run.library);
    let open = run.pinned.iter().fold(
        Rules { choices: run.library.spec.open().and(&run.rules.choices), ..run.rules },
        |rules, (choice, option)| rules.fixing(*choice, *option),
    );
    // The tester marks nothing in the log: that leaves it to the back-end, as every front-end does.
    let open = open.fixing(machine.readings.who_marks, MARKED_BY_BACK_END);
    let mut known = open;
    let mut results = Vec::new();
    let mut summary = Summary::default();
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
                    let contradicts = matches!(stop, Stop::Finding { .. })
                        && known != open
                        && allows(&machine, without(open), &records);
                    if contradicts {
                        contradiction(run, &known, log)
                    } else {
                        outcome(run, test, stop, log)
                    }
                }
            };
            let broken = outcome.clause.unwrap_or(test.clause);
            let Some(accepted) = accepted(run, test, &outcome, broken) else { break outcome };
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
        let broken = outcome.clause.unwrap_or(test.clause);
        let again = match &script {
            Some(script) => format!("--play {}", shell_words::quote(script)),
            None => format!("--only {}", test.id),
        };
        let seed = walk.map_or(run.seed, |(_, walk)| walk.seed);
        let result = TestResult {
            test: test.id.clone(),
            clause: name(run, broken),
            level: level(run, broken),
            status: outcome.status,
            expected: outcome.expected,
            observed: outcome.observed,
            reproduce: format!("{} {again} --seed {seed}", run.reproduce),
            log: outcome.log,
            waived,
            purpose: test.purpose.clone(),
            taken: taken.into_iter().map(|(_, taken)| taken).collect(),
        };
        summary.count(result.status);
        done(&result);
        // Whoever cannot be reached will not be reached by the next test either.
        let unreached = result.status == Status::Error && result.log.is_empty();
        let gone = result.status == Status::Error && matches!(run.target, Target::Socket(_));
        results.push(result);
        if unreached || gone {
            break;
        }
    }
    let mut report = SuiteReport {
        schema: 1,
        implementation: run.reproduce.clone(),
        text: run.text.clone(),
        seed: run.seed,
        readings: readings(run, &known.choices, &open.choices),
        offers,
        stale_waivers: Vec::new(),
        summary,
        coverage: None,
        results,
    };
    report.stale_waivers = waivers::stale(&run.waivers, &report);
    report
}

/// The finding, if somebody has given a reason for it.
fn accepted(run: &Run<'_>, test: &Test, outcome: &Outcome, broken: ClauseId) -> Option<Waived> {
    if !matches!(outcome.status, Status::Fail | Status::Warn) {
        return None;
    }
    let clause = name(run, broken);
    let waiver = run.waivers.iter().find(|waiver| waiver.covers(&test.id, &clause))?;
    let observed = outcome.observed.clone().unwrap_or_default();
    Some(Waived { clause, observed, reason: waiver.reason.clone() })
}

/// The shortest script that ends as a walk did, and how it ended.
fn shortest(
    run: &Run<'_>,
    machine: &TestMachine,
    test: &Test,
    rules: Rules,
    taken: &[(Act, Taken)],
    first: Ended,
) -> (Vec<Act>, Ended) {
    let acts: Vec<Act> = taken.iter().map(|(act, _)| *act).collect();
    let kind = |stop: &Stop| match stop {
        Stop::Finding { clause, .. } => Some(*clause),
        Stop::Died(_) => Some(ClauseId::NONE),
        _ => None,
    };
    let Some(wanted) = kind(&first.stop) else { return (acts, first) };
    let mut last = first;
    let short = walk::shorten(&acts, |acts| {
        let test = Test { acts: ending(acts), ..test.clone() };
        match one(run, machine, &test, None, rules, false, &mut None, &mut Vec::new()) {
            Err(ended) if kind(&ended.stop) == Some(wanted) => {
                last = ended;
                true
            }
            _ => false,
        }
    });
    (ending(&short), last)
}

/// A script that waits for what its last step leads to: whether it is seen is else a matter of time.
fn ending(acts: &[Act]) -> Vec<Act> {
    let waits = acts.last() == Some(&Act::Settle);
    let settle = (!waits).then_some(Act::Settle);
    acts.iter().copied().chain(settle).collect()
}

/// A test that did not come to its end.
struct Ended {
    stop: Stop,
    log: Vec<String>,
    records: Vec<Record>,
}

#[allow(clippy::too_many_arguments)] // what goes in, and what comes out besides the verdict
fn one(
    run: &Run<'_>,
    machine: &TestMachine,
    test: &Test,
    walk: Option<(&Urn, Walk)>,
    rules: Rules,
    first: bool,
    offers: &mut Option<Offers>,
    taken: &mut Vec<(Act, Taken)>,
) -> std::result::Result<Choices, Ended> {
    let setting = Setting {
        machine,
        target: run.target,
        device: run.device,
        scratch: run.scratch,
        limits: run.limits,
        rules,
        acknowledged: test.acknowledged,
        declined: declined(machine, test),
        seed: run.seed,
    };
    let mut session = Session::start(setting, first).map_err(|stop| Ended {
        stop,
        log: Vec::new(),
        records: Vec::new(),
    })?;
    let mut steps = || {
        if let Some((urn, walk)) = walk {
            let mut acts = Vec::new();
            let ended = walk.go(&mut session, urn, &machine.table, &mut acts);
            taken.extend(acts.into_iter().map(|act| (act, Taken::Yes)));
            ended?;
        }
        for act in &test.acts {
            if !test.careful {
                session.needs(&test.needs)?;
                session.act(act)?;
                continue;
            }
            // Of a generated script every step is tried; what was not offered is passed over.
            let done = session.carefully(act)?;
            taken.push((*act, done));
        }
        session.end()
    };
    let ended = steps();
    let (features, protocol) = session.offers();
    if offers.is_none() && protocol != 0 {
        *offers = Some(Offers {
            features: format!("{features:#x}"),
            protocol_features: format!("{protocol:#x}"),
        });
    }
    if let Err(stop) = ended {
        return Err(Ended { stop, log: session.log, records: session.records });
    }
    let choices = run.library.spec.choices().len();
    let learned = session
        .possible
        .readings(choices)
        .into_iter()
        .fold(rules.choices, |learned, (choice, options)| learned.only(choice, &options));
    Ok(learned)
}

/// STATUS, unless the test sets a status: a device to which nobody says `DRIVER_OK` need not process
/// anything (VIRTIO 3.1.1), and a front-end that negotiates it says so, as QEMU's does.
fn declined(machine: &TestMachine, test: &Test) -> u64 {
    let table = &machine.table;
    let Some(status) = table.feature("STATUS") else { return 0 };
    let needed =
        test.needs.iter().any(|need| matches!(need, Need::Feature(_, bit) if *bit == status));
    let sets = |act: &Act| match act {
        Act::Program(Step::Send { id, .. }, _) => {
            machine.message(*id).gate.as_ref().is_some_and(|gate| gate.bit == status)
        }
        _ => false,
    };
    if needed || test.acts.iter().any(sets) { 0 } else { 1 << status }
}

fn outcome(run: &Run<'_>, test: &Test, stop: Stop, log: Vec<String>) -> Outcome {
    match stop {
        Stop::Finding { clause, observed, expected } => {
            let clause = if clause == ClauseId::NONE { test.clause } else { clause };
            let status = match run.library.spec.get(clause).map(|c| c.level) {
                Some(Level::Must) | None => Status::Fail,
                Some(_) => Status::Warn,
            };
            Outcome { status, clause: Some(clause), observed: Some(observed), expected, log }
        }
        Stop::Refused(observed) => {
            let expected = vec!["the command succeeds".to_owned()];
            Outcome { status: Status::Warn, clause: None, observed: Some(observed), expected, log }
        }
        // No clause says that a process may die, whatever it was sent.
        Stop::Died(observed) => {
            let expected = vec!["the conversation goes on, or ends".to_owned()];
            Outcome { observed: Some(observed), expected, log, ..Outcome::new(Status::Fail) }
        }
        Stop::Skip(why) => Outcome { observed: Some(why), ..Outcome::new(Status::Skip) },
        Stop::Harness(why) => Outcome { observed: Some(why), log, ..Outcome::new(Status::Error) },
    }
}

/// The test fails with what other tests have shown, and passes without.
fn contradiction(run: &Run<'_>, known: &Rules, log: Vec<String>) -> Outcome {
    let spec = &run.library.spec;
    let settled: Vec<String> = (0..spec.choices().len())
        .map(ChoiceId::new)
        .filter_map(|choice| Some((choice, known.choices.fixed(choice)?)))
        .map(|(c, o)| format!("{} = {}", spec.choice_name(c), spec.option_name(c, o)))
        .collect();
    Outcome {
        status: Status::Fail,
        clause: None,
        observed: Some(
            "one choice is read in two ways: what happens here contradicts what other \
                        tests have shown"
                .to_owned(),
        ),
        expected: settled,
        log,
    }
}

fn name(run: &Run<'_>, clause: ClauseId) -> String {
    run.library.spec.clause_name(clause).to_owned()
}

fn level(run: &Run<'_>, clause: ClauseId) -> String {
    run.library.spec.get(clause).map(|c| c.level.to_string()).unwrap_or_default()
}

/// The choices that were met, with the options that are still possible.
fn readings(run: &Run<'_>, known: &Choices, open: &Choices) -> Vec<(String, Vec<String>)> {
    let spec = &run.library.spec;
    let options = |choice: ChoiceId, choices: &Choices| -> Vec<u8> {
        let count = spec.get_choice(choice).map_or(0, |c| c.options.len()) as u8;
        (0..count).filter(|option| choices.allows(choice, *option)).collect()
    };
    (0..spec.choices().len())
        .map(ChoiceId::new)
        .filter(|choice| options(*choice, known) != options(*choice, open))
        .map(|choice| {
            let names = options(choice, known);
            let names = names.into_iter().map(|o| spec.option_name(choice, o).to_owned());
            (spec.choice_name(choice).to_owned(), names.collect())
        })
        .collect()
}

impl Session<'_> {
    /// Whether what the test needs is there, as far as is known by now.
    fn needs(&self, needs: &[Need]) -> std::result::Result<(), Stop> {
        for need in needs {
            match need {
                Need::TwoRings if self.rings() < 2 => {
                    return Err(Stop::Skip("needs a device with two rings".into()));
                }
                Need::Feature(name, bit) if self.lacks(*bit) => {
                    return Err(Stop::Skip(format!("needs {name}")));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
