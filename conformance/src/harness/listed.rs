//! The tests of a suite, as they are listed.

use devmig_model::registry::Library;
use schemars::JsonSchema;
use serde::Serialize;

use super::suite::{SuiteForm, Test};
use super::verdict::TestInfo;

/// What `--list` writes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Listed {
    /// The version of this form: 1.
    schema: u32,
    /// The tests, in the order in which they run.
    tests: Vec<ListedTest>,
}

/// A test that there is.
#[derive(Debug, Serialize, JsonSchema)]
struct ListedTest {
    /// Its id.
    test: String,
    /// The clause that it is about.
    clause: String,
    /// What it is for.
    purpose: String,
}

impl Listed {
    /// These.
    #[must_use]
    pub fn of<P: SuiteForm>(library: &Library, tests: &[&Test<P>]) -> Self {
        let entry = |test: &&Test<P>| {
            let TestInfo { test, purpose, clause } = test.about();
            let clause = library.spec.clause_name(clause).to_owned();
            ListedTest { test: test.to_owned(), clause, purpose: purpose.to_owned() }
        };
        Listed { schema: 1, tests: tests.iter().map(entry).collect() }
    }

    /// A line a test.
    #[must_use]
    pub fn text(&self) -> String {
        let line = |test: &ListedTest| format!("{:<36} {}\n", test.test, test.purpose);
        self.tests.iter().map(line).collect()
    }
}
