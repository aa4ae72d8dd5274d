//! Runs a suite: a fresh conversation for each test, and what was learned of the open choices goes on to
//! the next.
//!
//! ```text
//!   test --attempt--> learned, or how it ended --shorten (walks)--> contradiction? illegal? finding?
//!     ^                                                                        |
//!     +---- waived, or known what follows: again, the clause not enforced <----+--> result
//! ```
//!
//! A choice that the implementation has settled in one test stays settled. A conversation that fails
//! only because of that is judged again with every choice open; if it is then allowed, the finding is
//! that the implementation follows two interpretations of one choice. In the same way, a step that only
//! an excluded interpretation allows is skipped, and one that no interpretation allows is an error of
//! the test.
//!
//! A test that panics is that test's harness error, and the run goes on. A process that crashed is that
//! test's failure. A run that cannot show anything more ends early: see `runner/early_end.rs`. A test goes
//! on past a deviation where it is known what follows: see `runner/past.rs`.

mod aside;
mod confirm;
mod contradiction;
mod early_end;
mod past;
mod side_by_side;

use devmig_engine::clause::{ChoiceId, ClauseId};
use devmig_engine::estimate::Fault;
use devmig_engine::rules::{Choices, ClauseSet, Rules};
use devmig_model::registry::Library;

pub use self::aside::Aside;
use self::confirm::{Confirmation, Confirmed};
use self::contradiction::{Conflict, Shown};
use self::early_end::{EarlyEnd, Met};
use self::past::{Combined, Findings, Reach};
use self::side_by_side::{Basis, Turns};
use super::aftermath::Aftermath;
use super::caught::caught;
use super::report::{
    Offers, Outcome, ProcessReport, Result as TestResult, Status, SuiteReport, Waived,
};
use super::session::{Hold, Session};
use super::shorten::shorten;
use super::suite::{StepOf, Test};
use super::verdict::{
    StepOutcome, TestEnd, accepted, fatal, outcome, readings, with_aftermath, with_start,
};
use super::waivers::Waiver;
use super::walk::{Draws, Walk};

/// How to run, whatever the protocol.
#[derive(Clone, Debug)]
pub struct Run<'a, S> {
    /// Everything that is loaded.
    pub library: &'a Library,
    /// The implementation, and how it may be treated.
    pub subject: S,
    /// The options that the caller pins.
    pub pinned: Vec<(ChoiceId, u8)>,
    /// The command that runs one test again, without `--only`.
    pub reproduce: String,
    /// What names the tests in that command, if they are not the suite's own: ` --script FILE`.
    pub script: String,
    /// The version of the specification.
    pub text: String,
    /// Clauses that are not enforced.
    pub rules: Rules,
    /// Findings that are accepted.
    pub waivers: Vec<Waiver>,
    /// For what is random.
    pub seed: u64,
    /// Ends before its last test where the tests so far show that no further one will show anything else.
    pub ends_early: bool,
    /// Goes on past what breaks a clause, where it is known what follows.
    pub goes_past: bool,
    /// How many tests run at the same time.
    pub jobs: usize,
    /// Who is told of what is no result in its turn.
    pub aside: &'a dyn Aside,
}

impl<'a, S> Run<'a, S> {
    /// Judges by these rules of a version: every test, one after the other, each to its first finding.
    #[must_use]
    pub fn new(library: &'a Library, subject: S, text: &str, rules: Rules) -> Self {
        Run {
            library,
            subject,
            pinned: Vec::new(),
            reproduce: "devmig test".to_owned(),
            script: String::new(),
            text: text.to_owned(),
            rules,
            waivers: Vec::new(),
            seed: 1,
            ends_early: false,
            goes_past: false,
            jobs: 1,
            aside: &(),
        }
    }

    /// The rules that a run begins with; `usual` are options that hold unless the caller pins others.
    #[must_use]
    pub fn open(&self, usual: &[(ChoiceId, u8)]) -> Rules {
        let choices = self.library.spec.open().and(&self.rules.choices);
        let is_pinned = |choice| self.pinned.iter().any(|(pinned, _)| *pinned == choice);
        let usual = usual.iter().filter(|(choice, _)| !is_pinned(*choice));
        self.pinned
            .iter()
            .chain(usual)
            .fold(Rules { choices, ..self.rules }, |rules, (c, o)| rules.fixing(*c, *o))
    }
}

/// What is done after a result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// The next test.
    GoOn,
    /// The rest is not run, for this reason.
    End(String),
}

/// What a protocol brings to the runner.
pub trait Adapter: Draws + Sync {
    /// A test goes on past a waived clause, which is then not enforced.
    const SUPPRESSES: bool = true;

    /// Opens what a test consists of, a conversation as a rule, and has it held.
    ///
    /// # Errors
    /// Why there is none, or what ended it.
    fn converse(
        &self,
        test: &Test<Self::Form>,
        rules: Rules,
        waived: &[ClauseId],
        hold: &mut Hold<'_, Self::Form>,
    ) -> Result<(), TestEnd>;
    /// Why this test is skipped, if that is known without a conversation: by what the implementation
    /// offers, as far as tests before it have asked.
    fn skips(&self, _test: &Test<Self::Form>, _offers: Option<&Offers>) -> Option<String> {
        None
    }
    /// Whether a finding about time is confirmed: by the same test, with longer limits.
    fn confirms(&self) -> bool {
        false
    }
    /// From now on waits this many times as long as its limits say.
    fn wait_longer(&self, _times: u32) {}
    /// Steps in one line, as `--play` takes them.
    fn line(&self, _test: &Test<Self::Form>, _steps: &[StepOf<Self::Form>]) -> String {
        String::new()
    }
    /// What is done after a result.
    fn next(&self, _result: &TestResult) -> Next {
        Next::GoOn
    }
}

/// Runs these tests, then these walks. `done` is told of each result as it comes.
pub fn play<S, A: Adapter>(
    run: &Run<'_, S>,
    adapter: &A,
    open: Rules,
    tests: &[&Test<A::Form>],
    walks: &[(Test<A::Form>, Walk)],
    mut done: impl FnMut(&TestResult),
) -> SuiteReport {
    let (library, reproduce, waivers) = (run.library, run.reproduce.as_str(), &*run.waivers);
    let goes_past = run.goes_past && A::SUPPRESSES;
    let (script, seed, turns) = (run.script.as_str(), run.seed, Turns::default());
    let (confirmed, aside) = (Confirmed::default(), run.aside);
    let runner = Runner {
        library,
        reproduce,
        script,
        waivers,
        seed,
        adapter,
        open,
        goes_past,
        turns,
        confirmed,
        aside,
    };
    let mut learned = Learned::nothing(open);
    let items = tests.iter().map(|test| (*test, None));
    let items: Vec<_> = items.chain(walks.iter().map(|(test, walk)| (test, Some(*walk)))).collect();
    let (mut results, mut early, mut ended_early) = (Vec::new(), EarlyEnd::default(), None);
    runner.side_by_side(&items, run.jobs, &mut learned, |result, met| {
        done(&result);
        ended_early = match adapter.next(&result) {
            Next::End(why) => Some(why),
            Next::GoOn => early.after(&result, met).filter(|_| run.ends_early || met.gone),
        };
        results.push(result);
        ended_early.is_none()
    });
    results.extend(items.iter().skip(results.len()).map(|(test, _)| runner.not_run(test)));
    let ended_early = ended_early.filter(|_| results.iter().any(|r| r.status == Status::NotRun));
    let report = SuiteReport {
        readings: readings(library, &learned.known.choices, &open.choices),
        offers: learned.offers,
        ended_early,
        ..SuiteReport::of(reproduce, &run.text, run.seed, results, waivers)
    };
    SuiteReport { nothing_judged: report.judged_nothing(learned.answered), ..report }
}

/// What goes on from test to test.
#[derive(Clone)]
struct Learned {
    known: Rules,
    offers: Option<Offers>,
    /// Some test has reached the implementation.
    reached: bool,
    /// Some test had an answer.
    answered: bool,
    /// Which tests have shown an interpretation.
    shown: Shown,
    /// The place of the test that is judged with it.
    place: usize,
    /// What that test's result rests on, of all this.
    basis: Basis,
}

impl Learned {
    /// Before the first test.
    fn nothing(open: Rules) -> Self {
        Learned {
            known: open,
            offers: None,
            reached: false,
            answered: false,
            shown: Shown::default(),
            place: 0,
            basis: Basis::default(),
        }
    }

    /// After this test, these choices are possible.
    fn know(&mut self, library: &Library, choices: Choices, test: &str) {
        self.shown.add(&library.spec, &self.known.choices, &choices, test);
        self.known.choices = choices;
    }
}

/// How an attempt ended.
struct Attempt<T> {
    end: Option<TestEnd>,
    log: Vec<String>,
    taken: Vec<(T, StepOutcome)>,
    choices: Choices,
    /// Whether anything was judged.
    judged: bool,
    /// With every choice open, the conversation is allowed, or the tester's part of it.
    otherwise: bool,
    /// Of which choices it takes another interpretation than the tests before it.
    conflicts: Vec<Conflict>,
    /// It ended since nothing came in time.
    is_late: bool,
    met: Met,
    aftermath: Aftermath,
    reach: Reach,
}

impl<T: Clone> Attempt<T> {
    /// The generated steps that were taken.
    fn steps_taken(&self) -> Vec<T> {
        let went = |(step, taken): &(T, _)| (*taken == StepOutcome::Yes).then_some(step).cloned();
        self.taken.iter().filter_map(went).collect()
    }
}

struct Runner<'a, A> {
    library: &'a Library,
    reproduce: &'a str,
    script: &'a str,
    waivers: &'a [Waiver],
    seed: u64,
    adapter: &'a A,
    open: Rules,
    confirmed: Confirmed,
    goes_past: bool,
    turns: Turns,
    aside: &'a dyn Aside,
}

impl<A: Adapter> Runner<'_, A> {
    /// One test, again and again until nothing is left that a waiver accepts or that it can go past.
    fn judged(
        &self,
        test: &Test<A::Form>,
        walk: Option<Walk>,
        learned: &mut Learned,
    ) -> (TestResult, Met) {
        let (mut waived, mut off): (Vec<Waived>, Vec<ClauseId>) = Default::default();
        let (mut again, mut past) = (self.only(test), Findings::default());
        let (outcome, taken, aftermath, met, reach) = loop {
            let attempt = self.attempt(test, walk, &off, learned);
            let confirmation = self.confirm(test, &off, learned, &attempt, walk.is_some());
            let (attempt, is_slow) = match confirmation {
                Confirmation::Counts => (attempt, false),
                Confirmation::Slow => (attempt, true),
                Confirmation::Instead(other) => (*other, false),
            };
            let reach = Reach { contradicts: attempt.otherwise, ..attempt.reach };
            if attempt.end.is_none() {
                // What a deviation led to says nothing about open choices.
                if past.is_empty() {
                    learned.know(self.library, attempt.choices, &test.id);
                }
                let status = if attempt.judged { Status::Pass } else { Status::Empty };
                let Attempt { taken, aftermath, met, .. } = attempt;
                break (Outcome::new(status), taken, aftermath, met, reach);
            }
            if is_slow {
                let (outcome, Attempt { taken, met, aftermath, .. }) =
                    self.outcome(test, attempt, learned);
                break (confirm::slow(outcome), taken, aftermath, met, reach);
            }
            let attempt = match walk {
                Some(_) if past.is_empty() => {
                    let (line, attempt) = self.shortest(test, &off, learned, attempt);
                    again = format!(" --play {}", shell_words::quote(&line));
                    attempt
                }
                _ => attempt,
            };
            let otherwise = attempt.otherwise;
            let fatal = |end| if otherwise { end } else { fatal(end, &attempt.aftermath) };
            let end = attempt.end.map(fatal);
            let attempt = Attempt { end, ..attempt };
            let (outcome, Attempt { taken, met, aftermath, .. }) =
                self.outcome(test, attempt, learned);
            let broken = outcome.clause.unwrap_or(test.clause);
            let accepted = accepted(self.library, self.waivers, &test.id, &outcome, broken);
            let Some(accepted) = accepted else {
                if self.goes_past && past.go_past(&outcome, &aftermath, reach, &off) {
                    off.push(broken);
                    continue;
                }
                break (outcome, taken, aftermath, met, reach);
            };
            waived.push(accepted);
            // What cannot be switched off ends the test here, as it would have.
            let ends = !A::SUPPRESSES || outcome.clause.is_none() || off.contains(&broken);
            off.push(broken);
            if ends {
                break (Outcome::new(Status::Waived), taken, aftermath, met, reach);
            }
        };
        let Combined { outcome, aftermath, further, then } =
            past.with_last(self.library, test.clause, outcome, aftermath, reach, &off);
        let outcome = match outcome.status {
            Status::Pass | Status::Empty if !waived.is_empty() => Outcome::new(Status::Waived),
            _ => outcome,
        };
        let seed = walk.map_or(self.seed, |walk| walk.seed);
        let taken = taken.into_iter().map(|(_, taken)| taken).collect();
        let process = ProcessReport::of(outcome.status, &aftermath);
        let result = self.result(test, outcome, waived, &again, seed);
        (TestResult { taken, process, further, then, ..result }, met)
    }

    /// One attempt, beside those of others.
    fn attempt(
        &self,
        test: &Test<A::Form>,
        walk: Option<Walk>,
        off: &[ClauseId],
        learned: &mut Learned,
    ) -> Attempt<StepOf<A::Form>> {
        let _beside = confirm::beside_others();
        self.conversation(test, walk, off, learned)
    }

    /// A fresh conversation, the test's steps or a walk's in it, and its end.
    fn conversation(
        &self,
        test: &Test<A::Form>,
        walk: Option<Walk>,
        off: &[ClauseId],
        learned: &mut Learned,
    ) -> Attempt<StepOf<A::Form>> {
        let without = |mut rules: Rules| {
            let mut set = ClauseSet::default();
            off.iter().chain(&test.breaks).for_each(|clause| set.insert(*clause));
            rules.off.extend(&set);
            rules
        };
        let (rules, open) = (without(learned.known), without(self.open));
        let is_open = learned.known == self.open;
        let choices = self.library.spec.choices().len();
        let (mut log, mut taken, mut learns) = (Vec::new(), Vec::new(), Vec::new());
        let (mut judged, mut otherwise, mut is_late) = (false, false, false);
        let mut conflicts = Vec::new();
        let (mut met, mut aftermath) = (Met::default(), Aftermath::default());
        let mut reach = Reach::default();
        let skips = self.adapter.skips(test, learned.offers.as_ref());
        let panicked = |why: String| Err(TestEnd::Harness(format!("devmig panicked: {why}")));
        let mut hold = |session: &mut dyn Session<A::Form>| {
            met.reached = true;
            let ended = caught(|| self.steps(session, test, walk, &mut taken, &mut reach));
            let ended = ended.unwrap_or_else(panicked);
            if let Err(TestEnd::Finding { clause, .. }) = &ended {
                let is_named = *clause != ClauseId::NONE;
                reach.may_go_on = is_named && session.knows_what_follows(*clause);
            }
            aftermath = session.aftermath();
            let ended = with_aftermath(ended, &aftermath);
            met.answered |= session.has_answered();
            learned.offers = learned.offers.take().or_else(|| session.offers());
            learned.basis.asked.extend(&session.asked());
            judged |= session.has_judged(test);
            match &ended {
                Ok(()) => learns.extend(session.learned(choices)),
                Err(end) => {
                    log = session.log();
                    is_late = session.is_late();
                    met.unanswered = session.is_unanswered();
                    otherwise = !is_open
                        && match end {
                            TestEnd::Finding { .. } => session.replay(open).is_ok(),
                            TestEnd::Illegal { .. } => {
                                !matches!(session.replay(open), Err(Fault::Script { .. }))
                            }
                            _ => false,
                        };
                    if otherwise && matches!(end, TestEnd::Finding { .. }) {
                        conflicts = contradiction::conflicts(
                            &self.library.spec,
                            rules,
                            &open.choices,
                            |rules| session.replay(rules).is_ok(),
                        );
                    }
                }
            }
            ended
        };
        let ended = match skips {
            Some(why) => Ok(Err(TestEnd::Skip(why))),
            None => caught(|| self.adapter.converse(test, rules, off, &mut hold)),
        };
        let ended = ended.unwrap_or_else(panicked).map_err(|end| with_start(end, learned.reached));
        met.died = aftermath.closed || matches!(ended, Err(TestEnd::Died { .. }));
        met.gone = match &ended {
            Err(TestEnd::Unreached { for_good, .. }) => *for_good || !learned.reached,
            _ => false,
        };
        learned.basis.every_choice |= otherwise;
        learned.reached |= met.reached;
        learned.answered |= met.answered;
        let choices = learns
            .iter()
            .fold(rules.choices, |known, (choice, options)| known.only(*choice, options));
        let end = ended.err();
        Attempt {
            end,
            log,
            taken,
            choices,
            judged,
            otherwise,
            conflicts,
            is_late,
            met,
            aftermath,
            reach,
        }
    }

    fn steps(
        &self,
        session: &mut dyn Session<A::Form>,
        test: &Test<A::Form>,
        walk: Option<Walk>,
        taken: &mut Vec<(StepOf<A::Form>, StepOutcome)>,
        reach: &mut Reach,
    ) -> Result<(), TestEnd> {
        // Until it is at its end, more may come.
        reach.has_more = true;
        session.begin(test)?;
        if let Some(walk) = walk {
            walk.go(self.adapter, test, session, taken)?;
        }
        for (index, step) in test.steps.iter().enumerate() {
            reach.step = index;
            if test.careful {
                // Of a generated script every step is tried; what was not offered is skipped.
                let done = session.carefully(test, step)?;
                taken.push((step.clone(), done));
                continue;
            }
            match session.step(test, step) {
                Err(TestEnd::Over) => break,
                other => other?,
            }
        }
        (reach.step, reach.has_more) = (test.steps.len(), false);
        session.end()
    }

    /// The shortest script that ends as a walk did, in one line, and how it ended.
    fn shortest(
        &self,
        test: &Test<A::Form>,
        off: &[ClauseId],
        learned: &mut Learned,
        first: Attempt<StepOf<A::Form>>,
    ) -> (String, Attempt<StepOf<A::Form>>) {
        let steps = first.steps_taken();
        let kind = |end: &Option<TestEnd>| match end {
            Some(TestEnd::Finding { clause, .. }) => Some(*clause),
            Some(TestEnd::Died { .. }) => Some(ClauseId::NONE),
            _ => None,
        };
        let Some(wanted) = kind(&first.end) else {
            return (self.adapter.line(test, &steps), first);
        };
        let whole = |steps: &[StepOf<A::Form>]| -> Vec<StepOf<A::Form>> {
            let last = self.adapter.last().filter(|last| steps.last() != Some(last));
            steps.iter().cloned().chain(last).collect()
        };
        let mut last = first;
        let short = shorten(&steps, |steps| {
            let test = Test { steps: whole(steps), careful: true, ..test.clone() };
            let attempt = self.attempt(&test, None, off, learned);
            let is_same = kind(&attempt.end) == Some(wanted);
            if is_same {
                last = attempt;
            }
            is_same
        });
        (self.adapter.line(test, &whole(&short)), last)
    }

    /// What the end of an attempt comes to, and the rest of it.
    fn outcome(
        &self,
        test: &Test<A::Form>,
        mut attempt: Attempt<StepOf<A::Form>>,
        learned: &Learned,
    ) -> (Outcome, Attempt<StepOf<A::Form>>) {
        let (end, log) = (attempt.end.take(), std::mem::take(&mut attempt.log));
        let (otherwise, conflicts) = (attempt.otherwise, &*attempt.conflicts);
        // A death is no hint.
        let is_hint = test.hint && !matches!(end, Some(TestEnd::Died { .. }));
        let mut outcome = match end {
            None => Outcome::new(Status::Pass),
            Some(TestEnd::Finding { .. }) if otherwise => {
                let known = &learned.known.choices;
                contradiction::contradiction(self.library, known, &learned.shown, conflicts, log)
            }
            Some(TestEnd::Illegal { clause }) if otherwise => {
                let clause = self.library.spec.clause_name(clause);
                let why = format!("the only interpretation left forbids a step ({clause})");
                outcome(self.library, test.clause, TestEnd::Skip(why), log)
            }
            Some(end) => outcome(self.library, test.clause, end, log),
        };
        if is_hint && outcome.status == Status::Fail {
            outcome.status = Status::Warn;
        }
        (outcome, attempt)
    }

    fn only(&self, test: &Test<A::Form>) -> String {
        format!("{} --only {}", self.script, shell_words::quote(&test.id))
    }

    fn not_run(&self, test: &Test<A::Form>) -> TestResult {
        let outcome = Outcome::new(Status::NotRun);
        self.result(test, outcome, Vec::new(), &self.only(test), self.seed)
    }

    fn result(
        &self,
        test: &Test<A::Form>,
        outcome: Outcome,
        waived: Vec<Waived>,
        again: &str,
        seed: u64,
    ) -> TestResult {
        let again = format!("{}{again} --seed {seed}", self.reproduce);
        test.about().result(self.library, outcome, waived, again)
    }
}
