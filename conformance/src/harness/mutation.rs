//! Mutation testing of a suite: whether it finds the faults of a reference.
//!
//! ```text
//!   for each fault: each bed in turn --Reference::run_at--> results --cites?--> MutantResult
//!                   first the tests about its clause, then all of them             |
//!                                                                                  |
//!   entries of the suite that have found none: with each fault                     |
//!   those that find none then, and are not listed as such  ----------------------> MutationReport
//! ```
//!
//! A test *cites* a clause if it is about it, or if its finding names it. A fault is looked for until a
//! test that cites its clause has found it.
//!
//! **Invariant.** Results come in the order of the faults, however many run at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use devmig_model::registry::Library;
use devmig_reference::switches::Fault;
use serde::Serialize;

use crate::harness::parallel::in_turn;
use crate::harness::report::{Result as TestResult, Status, SuiteReport, merged};
use crate::harness::suite::{SuiteForm, Test};

/// A reference could not be tested.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the reference device: {0}")]
pub struct HarnessError(pub(crate) String);

/// How one fault fared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MutantResult {
    /// Its name.
    pub mutant: String,
    /// The clause that it breaks.
    pub clause: String,
    /// What it does.
    pub about: String,
    /// Whether it is found as it should be.
    pub killed: bool,
    /// The tests that cite its clause and find it.
    pub tests: Vec<String>,
    /// The tests that find it in another clause's name, by that clause.
    pub others: BTreeMap<String, Vec<String>>,
    /// Why it is no defect of the suite that no citing test finds it.
    pub reason: Option<String>,
    /// What is not as expected; empty if all is.
    pub wrong: Vec<String>,
}

/// How all fared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MutationReport {
    /// The version of this form: 1.
    pub schema: u32,
    /// Each fault.
    pub mutants: Vec<MutantResult>,
    /// Faults that are found.
    pub killed: usize,
    /// Faults that survive: none should.
    pub survived: usize,
    /// What is not as expected, of the suite as a whole.
    pub wrong: Vec<String>,
    /// Whether everything is as expected.
    pub as_expected: bool,
}

/// A bed, and the tests that run there.
pub type BedTests<'t, R> = (<R as Reference>::Bed, Vec<&'t Test<<R as Reference>::Form>>);

/// A reference, and the suite that meets it.
pub trait Reference: Sync + Sized {
    /// The form of the suite.
    type Form: SuiteForm<Own: Sync, Need: Sync, Step: Sync>;
    /// Its faults.
    type Mutant: Fault;
    /// A device of the reference's, and how it is set.
    type Bed: Copy;

    /// Devices that are tested at once. Most of the time is spent waiting.
    const AT_ONCE: usize;
    /// So often a fault is looked for before it counts as a survivor: some show only if the device, or
    /// the test, is not late, and on a busy machine either may be.
    const TRIES: usize = 1;

    /// Everything that is loaded.
    fn library(&self) -> &Library;
    /// The suite's tests that are held against faults.
    fn tests(&self) -> Vec<&Test<Self::Form>>;
    /// Entries of the suite that find no fault.
    fn idle(&self) -> &[String];
    /// Where a fault is looked for, in this order, until a test that cites its clause has found it; and
    /// with which of these tests.
    fn beds<'t>(&self, tests: &[&'t Test<Self::Form>]) -> Vec<BedTests<'t, Self>>;
    /// Tests against the reference with this fault.
    ///
    /// # Errors
    /// If the reference cannot be made, started or ended.
    fn run_at(
        &self,
        bed: Self::Bed,
        mutant: Self::Mutant,
        tests: &[&Test<Self::Form>],
    ) -> Result<SuiteReport, HarnessError>;
    /// With what else is expected of a fault.
    fn expected(&self, _mutant: Self::Mutant, result: MutantResult) -> MutantResult {
        result
    }
}

/// Looks for these faults with the whole suite. `done` is told of each as it ends. If `all` is set,
/// these are all there are, and an entry that finds none of them is complained of.
///
/// # Errors
/// If the reference cannot be made, started or ended.
pub fn hunt<R: Reference>(
    reference: &R,
    mutants: &[R::Mutant],
    all: bool,
    done: impl Fn(&MutantResult) + Sync,
) -> Result<MutationReport, HarnessError> {
    let tests = reference.tests();
    let results = in_turn(mutants, R::AT_ONCE, |mutant| {
        let mut result = looked_for(reference, *mutant, &tests)?;
        for _ in 1..R::TRIES {
            if result.killed {
                break;
            }
            result = looked_for(reference, *mutant, &tests)?;
        }
        done(&result);
        Ok(result)
    });
    let results = results.into_iter().collect::<Result<Vec<_>, HarnessError>>()?;
    let wrong = if all { needless(reference, &tests, &results)? } else { Vec::new() };
    Ok(MutationReport::of(results, wrong))
}

/// Looks for a fault in each bed in turn, first with the tests about its clause, until something that
/// cites it is found.
fn looked_for<R: Reference>(
    reference: &R,
    mutant: R::Mutant,
    tests: &[&Test<R::Form>],
) -> Result<MutantResult, HarnessError> {
    let (library, clause) = (reference.library(), mutant.clause());
    let is_about = |test: &&Test<R::Form>| library.spec.clause_name(test.about().clause) == clause;
    let cites = |result: &TestResult| {
        let named = |test: &&Test<R::Form>| test.id == result.test;
        let about = || tests.iter().copied().filter(is_about).any(|test| named(&test));
        result.is_finding() && (result.clause == clause || about())
    };
    let mut results = Vec::new();
    'found: for (bed, tests) in reference.beds(tests) {
        // What tests have shown can be what convicts another: then all of them run.
        let about: Vec<_> = tests.iter().copied().filter(is_about).collect();
        for part in [about, tests] {
            if !part.is_empty() {
                results.extend(reference.run_at(bed, mutant, &part)?.results);
            }
            if results.iter().any(cites) {
                break 'found;
            }
        }
    }
    Ok(reference.expected(mutant, MutantResult::of(mutant, &results, cites)).judged())
}

/// Entries of the suite of which no test finds a fault, and that are not listed; or the other way round.
/// Those that have found none so far are tried with every fault.
fn needless<R: Reference>(
    reference: &R,
    tests: &[&Test<R::Form>],
    results: &[MutantResult],
) -> Result<Vec<String>, HarnessError> {
    let is_useful =
        |test: &&&Test<R::Form>| results.iter().any(|result| result.is_found_by(&test.id));
    let useful = tests.iter().filter(is_useful).map(|test| test.entry.as_str());
    let useful: Mutex<BTreeSet<&str>> = Mutex::new(useful.collect());
    let known = || useful.lock().unwrap_or_else(PoisonError::into_inner);
    let tried = in_turn(R::Mutant::ALL, R::AT_ONCE, |mutant| {
        for (bed, tests) in reference.beds(tests) {
            let mut still = tests;
            still.retain(|test| !known().contains(test.entry.as_str()));
            if still.is_empty() {
                continue;
            }
            let found = reference.run_at(bed, *mutant, &still)?.results;
            let found = |test: &&Test<R::Form>| {
                found.iter().any(|result| result.is_finding() && result.test == test.id)
            };
            let found: Vec<&str> =
                still.into_iter().filter(found).map(|test| test.entry.as_str()).collect();
            known().extend(found);
        }
        Ok(())
    });
    tried.into_iter().collect::<Result<(), HarnessError>>()?;
    let useful = known().clone();
    let is_listed = |entry: &str| reference.idle().iter().any(|listed| listed == entry);
    let entries: BTreeSet<&str> = tests.iter().map(|test| test.entry.as_str()).collect();
    let wrong =
        entries.into_iter().filter_map(|entry| match (useful.contains(entry), is_listed(entry)) {
            (false, false) => Some(format!("{entry} finds no mutant")),
            (true, true) => Some(format!("{entry} finds a mutant, but is listed as finding none")),
            _ => None,
        });
    Ok(wrong.collect())
}

/// Runs parts of a suite, of so many tests each, side by side.
///
/// # Errors
/// If there are no tests, or the reference cannot be tested.
pub fn side_by_side<F: SuiteForm<Own: Sync, Need: Sync, Step: Sync>>(
    tests: &[&Test<F>],
    size: usize,
    at_once: usize,
    run: impl Fn(&[&Test<F>]) -> Result<SuiteReport, HarnessError> + Sync,
) -> Result<SuiteReport, HarnessError> {
    let parts: Vec<&[&Test<F>]> = tests.chunks(size.max(1)).collect();
    let reports = in_turn(&parts, at_once, |part| run(part));
    let reports = reports.into_iter().collect::<Result<Vec<_>, _>>()?;
    merged(reports).ok_or_else(|| HarnessError("there are no tests".into()))
}

/// What a run against the reference as it is shows that it should not.
pub(crate) fn complaints(
    report: &SuiteReport,
    is_expected: impl Fn(&TestResult) -> bool,
) -> Vec<String> {
    let wrong = report.results.iter().filter(|result| !is_expected(result));
    wrong.map(|result| result.detail("")).collect()
}

/// Settings of the reference, each `NAME=OPTION`, that were seen to be otherwise.
pub(crate) fn misread(settings: impl Iterator<Item = String>, report: &SuiteReport) -> Vec<String> {
    let wrong = |setting: String| {
        let (name, option) = setting.split_once('=')?;
        let is_it = |choice: &str| choice.ends_with(&format!(".{name}"));
        let (_, options) = report.readings.iter().find(|(choice, _)| is_it(choice))?;
        let is_possible = options.iter().any(|possible| possible == option);
        (!is_possible).then(|| format!("{name} is {option}, but {options:?} was observed"))
    };
    settings.filter_map(wrong).collect()
}

impl MutantResult {
    /// What results say of a fault. That it survives is for [`MutantResult::judged`] to say.
    fn of(fault: impl Fault, results: &[TestResult], cites: impl Fn(&TestResult) -> bool) -> Self {
        let (mut tests, mut others) = (Vec::new(), BTreeMap::<String, Vec<String>>::new());
        for result in results.iter().filter(|result| result.is_finding()) {
            match cites(result) {
                true => tests.push(result.test.clone()),
                false => others.entry(result.clause.clone()).or_default().push(result.test.clone()),
            }
        }
        let errors = results.iter().filter(|result| result.status == Status::Error);
        MutantResult {
            mutant: fault.name().to_owned(),
            clause: fault.clause().to_owned(),
            about: fault.about().to_owned(),
            killed: !tests.is_empty(),
            tests,
            others,
            reason: None,
            wrong: errors.map(|error| error.detail("")).collect(),
        }
    }

    /// With a complaint if it survives.
    fn judged(mut self) -> Self {
        if !self.killed {
            self.wrong.push("it survives".into());
        }
        self
    }

    /// Whether this test finds it, in whichever clause's name.
    fn is_found_by(&self, test: &str) -> bool {
        self.tests.iter().chain(self.others.values().flatten()).any(|id| id == test)
    }

    /// A few lines for people.
    #[must_use]
    pub fn text(&self) -> String {
        let state = if self.wrong.is_empty() { "killed" } else { "WRONG" };
        let mut out = format!("  {state:<8} {} ({})\n", self.mutant, self.clause);
        let (first, more) = (self.tests.iter().take(3), self.tests.len().saturating_sub(3));
        let mut by: Vec<String> = first.cloned().collect();
        if more > 0 {
            by.push(format!("{more} more"));
        }
        if by.is_empty() && self.killed {
            let found =
                self.others.iter().map(|(clause, tests)| format!("{} as {clause}", tests[0]));
            by.extend(found);
        }
        if !by.is_empty() {
            out += &format!("           by {}\n", by.join(", "));
        }
        if let Some(reason) = &self.reason {
            out += &format!("           {reason}\n");
        }
        for wrong in &self.wrong {
            out += &format!("           {}\n", wrong.trim_end().replace('\n', "\n           "));
        }
        out
    }
}

impl MutationReport {
    /// How these fared, and what else is not as expected.
    pub(crate) fn of(mutants: Vec<MutantResult>, wrong: Vec<String>) -> Self {
        let killed = mutants.iter().filter(|fate| fate.killed).count();
        let as_expected = wrong.is_empty() && mutants.iter().all(|fate| fate.wrong.is_empty());
        let survived = mutants.len() - killed;
        MutationReport { schema: 1, mutants, killed, survived, wrong, as_expected }
    }

    /// A few lines for each fault, and the counts.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out: String = self.mutants.iter().map(MutantResult::text).collect();
        for wrong in &self.wrong {
            out += &format!("  WRONG    {wrong}\n");
        }
        out + &format!(
            "\n{} mutants: {} killed, {} survived{}\n",
            self.mutants.len(),
            self.killed,
            self.survived,
            if self.as_expected { ", all as expected" } else { ", NOT as expected" },
        )
    }
}
