//! How the faults of a reference fare against a suite: shared by every suite.
//!
//! ```text
//!   a fault, results --cites?--> MutantResult: killed, or what is wrong --of all--> MutationReport
//! ```
//!
//! A test *cites* a clause if it is about it, or if its finding names it.
//!
//! **Not here:** where a suite meets the reference, and how often.

use std::collections::BTreeMap;

use devmig_model::registry::Library;
use devmig_reference::switches::Fault;
use serde::Serialize;

use crate::harness::report::{Result as TestResult, Status, SuiteReport};
use crate::harness::verdict::{Entry, TestInfo};

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

/// Whether a result, of one of these tests, is a finding that cites the clause of a fault.
pub(crate) fn cites<T: Entry>(
    library: &Library,
    tests: &[&T],
    fault: impl Fault,
    result: &TestResult,
) -> bool {
    let clause = fault.clause();
    let is_about = |test: &&T| {
        let TestInfo { test, clause: about, .. } = test.about();
        test == result.test && library.spec.clause_name(about) == clause
    };
    result.is_finding() && (result.clause == clause || tests.iter().any(is_about))
}

/// What is wrong with an entry of a suite that finds no fault, or that is listed as one that finds none.
pub(crate) fn needless(entry: &str, useful: bool, listed: bool) -> Option<String> {
    match (useful, listed) {
        (false, false) => Some(format!("{entry} finds no mutant")),
        (true, true) => Some(format!("{entry} finds a mutant, but is listed as finding none")),
        _ => None,
    }
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

    /// Looks for a fault in each of these places in turn, until something that cites its clause is found.
    pub(crate) fn sought<B>(
        fault: impl Fault,
        beds: impl IntoIterator<Item = B>,
        mut run: impl FnMut(B) -> Result<SuiteReport, HarnessError>,
        cites: impl Fn(&TestResult) -> bool,
    ) -> Result<Self, HarnessError> {
        let mut results = Vec::new();
        for bed in beds {
            results.extend(run(bed)?.results);
            if results.iter().any(&cites) {
                break;
            }
        }
        Ok(Self::of(fault, &results, cites))
    }

    /// With a complaint if it survives.
    pub(crate) fn judged(mut self) -> Self {
        if !self.killed {
            self.wrong.push("it survives".into());
        }
        self
    }

    /// Whether this test finds it, in whichever clause's name.
    pub(crate) fn is_found_by(&self, test: &str) -> bool {
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
