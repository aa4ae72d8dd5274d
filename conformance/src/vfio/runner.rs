//! Runs the suite: a device opened for each test, and what was learned of the readings goes on to the
//! next.
//!
//! A choice that the device has settled in one test stays settled. A conversation that fails only
//! because of that is judged again with every choice open; if it is then allowed, the finding is that
//! the device reads one choice in two ways.
//!
//! **Invariant.** After a device that hangs and cannot be had anew, the rest is skipped, with that as
//! the reason.

use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::rules::{Choices, ClauseSet, Rules};
use devmig_model::protocol::vfio::names::{MayFail, P2pFlag};
use devmig_model::registry::Library;

use super::device::Place;
use super::script::Act;
use super::session::{Limits, Opened, Record, Session, allows};
use super::suite::Test;
use super::walk::{self, Walk};
use crate::harness::report::{Offers, Outcome, Result as TestResult, Status, SuiteReport, Waived};
use crate::harness::shorten::shorten;
use crate::harness::verdict::{
    Entry as _, StepOutcome, TestEnd, accepted, contradiction, outcome, readings,
};
use crate::harness::waivers::Waiver;

/// How to run.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// Everything that is loaded.
    pub library: &'a Library,
    /// Where the device is.
    pub place: &'a dyn Place,
    /// How long to wait for what.
    pub limits: Limits,
    /// The options that the caller pins.
    pub pinned: Vec<(ChoiceId, u8)>,
    /// The P2P flag means what it means in VFIO, unless the caller pins it.
    pub p2p: bool,
    /// The command that runs one test again, without `--only`.
    pub reproduce: String,
    /// The version of the text.
    pub text: String,
    /// Clauses that are not enforced.
    pub rules: Rules,
    /// Findings that are accepted.
    pub waivers: Vec<Waiver>,
    /// For what is random.
    pub seed: u64,
}

/// A test that did not come to its end.
struct Ended {
    stop: TestEnd,
    said: Vec<String>,
    records: Vec<Record>,
    machine: Option<devmig_model::protocol::vfio::machine::Device>,
    taken: Vec<(Act, StepOutcome)>,
}

/// Runs these tests, then these walks. `done` is told of each result as it comes.
pub fn play(
    run: &Run<'_>,
    tests: &[&Test],
    walks: &[Walk],
    mut done: impl FnMut(&TestResult),
) -> SuiteReport {
    let open = opened(run);
    let mut known = open;
    let (mut offers, mut results) = (None, Vec::new());
    let mut gone: Option<String> = None;
    let walking: Vec<(Test, Walk)> =
        walks.iter().map(|walk| (walk.test(run.library), *walk)).collect();
    let jobs = tests.iter().map(|test| (*test, None));
    let jobs = jobs.chain(walking.iter().map(|(test, walk)| (test, Some(*walk))));
    for (test, walk) in jobs {
        let result = match &gone {
            Some(why) => skipped(run, test, why),
            None => judged(run, test, walk, &open, &mut known, &mut offers),
        };
        done(&result);
        let unreached = result.status == Status::Error && result.log.is_empty();
        let silent = result.log.last().is_some_and(|last| last == "<- nothing");
        if silent && !run.place.fresh() && gone.is_none() {
            gone = Some(format!("the device has not answered since {}", test.id));
        }
        results.push(result);
        if unreached {
            break;
        }
    }
    SuiteReport {
        readings: readings(run.library, &known.choices, &open.choices),
        offers,
        ..SuiteReport::of(&run.reproduce, &run.text, run.seed, results, &run.waivers)
    }
}

/// The readings that a run begins with.
fn opened(run: &Run<'_>) -> Rules {
    let all = Rules { choices: run.library.spec.open().and(&run.rules.choices), ..run.rules };
    let open =
        run.pinned.iter().fold(all, |rules, (choice, option)| rules.fixing(*choice, *option));
    // A sound device fails no SET but for bad data, which is what every client builds on.
    let readings = &run.library.vfio().names.readings;
    let p2p = if run.p2p { P2pFlag::AsVfio } else { P2pFlag::Unused };
    let assumed =
        [readings.may_fail.as_option(MayFail::Resuming), readings.p2p_flag.as_option(p2p)];
    assumed.into_iter().fold(open, |open, (choice, option)| {
        match run.pinned.iter().any(|(pinned, _)| *pinned == choice) {
            true => open,
            false => open.fixing(choice, option),
        }
    })
}

fn skipped(run: &Run<'_>, test: &Test, why: &str) -> TestResult {
    let outcome = Outcome { observed: Some(why.to_owned()), ..Outcome::new(Status::Skip) };
    result(run, test, outcome, Vec::new(), Vec::new(), format!("--only {}", test.id))
}

/// One test, again and again until nothing is left that a waiver accepts.
fn judged(
    run: &Run<'_>,
    test: &Test,
    walk: Option<Walk>,
    open: &Rules,
    known: &mut Rules,
    offers: &mut Option<Offers>,
) -> TestResult {
    let mut waived: Vec<Waived> = Vec::new();
    let mut off: Vec<ClauseId> = Vec::new();
    let mut taken = Vec::new();
    let mut again = format!("--only {}", test.id);
    let outcome = loop {
        let without = |mut rules: Rules| {
            let mut set = ClauseSet::default();
            off.iter().chain(&test.breaks).for_each(|clause| set.insert(*clause));
            rules.off.extend(&set);
            rules
        };
        let rules = without(*known);
        let ended = match once(run, test, walk, rules, &off, offers, &mut taken) {
            Ok(learned) => {
                known.choices = learned;
                break Outcome::new(Status::Pass);
            }
            Err(ended) => ended,
        };
        let ended = match walk {
            Some(_) => {
                let (acts, ended) = shortest(run, test, rules, &off, ended);
                again = format!("--play {}", shell_words::quote(&walk::line(&acts)));
                ended
            }
            None => ended,
        };
        let contradicts = matches!(ended.stop, TestEnd::Finding { .. })
            && known != open
            && ended
                .machine
                .as_ref()
                .is_some_and(|machine| allows(machine, without(*open), &ended.records));
        let mut outcome = match contradicts {
            true => contradiction(run.library, &known.choices, ended.said),
            false => outcome(run.library, test.clause, ended.stop, ended.said),
        };
        if test.hint && outcome.status == Status::Fail {
            outcome.status = Status::Warn;
        }
        let broken = outcome.clause.unwrap_or(test.clause);
        let waiver = accepted(run.library, &run.waivers, &test.id, &outcome, broken);
        let Some(waiver) = waiver else { break outcome };
        waived.push(waiver);
        // What cannot be switched off ends the test here, as it would have.
        let ends = outcome.clause.is_none() || off.contains(&broken);
        off.push(broken);
        if ends {
            break Outcome::new(Status::Waived);
        }
    };
    let outcome = match outcome.status {
        Status::Pass if !waived.is_empty() => Outcome::new(Status::Waived),
        _ => outcome,
    };
    let taken = taken.into_iter().map(|(_, taken)| taken).collect();
    result(run, test, outcome, waived, taken, again)
}

fn result(
    run: &Run<'_>,
    test: &Test,
    outcome: Outcome,
    waived: Vec<Waived>,
    taken: Vec<StepOutcome>,
    again: String,
) -> TestResult {
    let again = format!("{} {again} --seed {}", run.reproduce, run.seed);
    TestResult { taken, ..test.about().result(run.library, outcome, waived, again) }
}

/// One test or walk, once: the device opened anew, and what was learned or how it ended.
fn once(
    run: &Run<'_>,
    test: &Test,
    walk: Option<Walk>,
    rules: Rules,
    waived: &[ClauseId],
    offers: &mut Option<Offers>,
    taken: &mut Vec<(Act, StepOutcome)>,
) -> Result<Choices, Box<Ended>> {
    taken.clear();
    let fresh = |stop| {
        let (said, records, taken) = Default::default();
        Box::new(Ended { stop, said, records, machine: None, taken })
    };
    let mut opened = Opened::at(run.place, run.library, &rules).map_err(fresh)?;
    let flags = format!("{:#x}", opened.flags);
    offers.get_or_insert(Offers { features: flags, protocol_features: String::new() });
    let machine = opened.machine.clone();
    let mut session =
        Session::new(run.library, run.place, &mut opened, rules, run.limits, waived.to_vec());
    let ended = steps(&mut session, run, test, walk, taken);
    if let Err(stop) = ended {
        let (said, records) = (session.said, session.records);
        let taken = std::mem::take(taken);
        return Err(Box::new(Ended { stop, said, records, machine: Some(machine), taken }));
    }
    let choices = run.library.spec.choices().len();
    let learned = session.possible.readings(choices).into_iter();
    Ok(learned.fold(rules.choices, |learned, (choice, options)| learned.only(choice, &options)))
}

fn steps(
    session: &mut Session<'_>,
    run: &Run<'_>,
    test: &Test,
    walk: Option<Walk>,
    taken: &mut Vec<(Act, StepOutcome)>,
) -> Result<(), TestEnd> {
    session.needs(&test.needs)?;
    if let Some(walk) = walk {
        return walk.go(session, &run.library.vfio().table, taken);
    }
    for act in &test.acts {
        if test.careful {
            // What is found by a step includes it.
            taken.push((act.clone(), StepOutcome::Yes));
            let done = session.carefully(act)?;
            if let Some((_, last)) = taken.last_mut() {
                *last = done;
            }
        } else {
            session.act(act)?;
        }
    }
    session.act(&Act { text: "quiet".into(), op: super::script::Op::Quiet })
}

/// The shortest script that ends as a walk did, and how it ended.
fn shortest(
    run: &Run<'_>,
    test: &Test,
    rules: Rules,
    waived: &[ClauseId],
    first: Box<Ended>,
) -> (Vec<Act>, Box<Ended>) {
    let kind = |stop: &TestEnd| match stop {
        TestEnd::Finding { clause, .. } => Some(*clause),
        _ => None,
    };
    let went =
        |(act, taken): &(Act, StepOutcome)| (*taken == StepOutcome::Yes).then(|| act.clone());
    let acts: Vec<Act> = first.taken.iter().filter_map(went).collect();
    let Some(wanted) = kind(&first.stop) else { return (acts, first) };
    let mut last = first;
    let short = shorten(&acts, |acts| {
        let test = Test { acts: acts.to_vec(), careful: true, ..test.clone() };
        match once(run, &test, None, rules, waived, &mut None, &mut Vec::new()) {
            Err(ended) if kind(&ended.stop) == Some(wanted) => {
                last = ended;
                true
            }
            _ => false,
        }
    });
    (short, last)
}
