//! The suite's tests, loaded from `suite.toml`.
//!
//! **Invariant.** A test that exists is valid: its clause, features and steps were resolved, and its
//! id is its own.

use devmig_engine::clause::ClauseId;
use devmig_model::protocol::vhost_user::program::Compiler;
use devmig_model::registry::Library;
use devmig_model::spec::{Diagnostics, Item, SourceFile, Spanned, SpecErrors};
use serde::Deserialize;

use super::script::{self, Act};
use crate::harness::suite_files;
use crate::harness::verdict::{Entry, TestInfo};

/// One `[[test]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTest {
    id: Spanned<String>,
    clause: Spanned<String>,
    purpose: Spanned<String>,
    #[serde(default)]
    needs: Vec<Spanned<String>>,
    #[serde(default)]
    acknowledged: bool,
    #[serde(default)]
    careful: bool,
    #[serde(default)]
    breaks: Vec<Spanned<String>>,
    steps: Vec<Spanned<String>>,
}

/// A test.
#[derive(Clone, Debug)]
pub struct Test {
    /// Stable: `topic.what`.
    pub id: String,
    /// The clause that it is about.
    pub clause: ClauseId,
    /// What it is for, in one sentence.
    pub purpose: String,
    /// What the back-end must offer.
    pub needs: Vec<Need>,
    /// Every message asks for an acknowledgement.
    pub acknowledged: bool,
    /// A step that some reading forbids where it comes is passed over: for scripts that nobody wrote.
    pub careful: bool,
    /// Clauses of the front-end's that the test breaks on purpose, to see what follows.
    pub breaks: Vec<ClauseId>,
    /// What is done.
    pub acts: Vec<Act>,
}

/// What a test needs, besides what its steps say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Need {
    /// A protocol feature: its name and bit.
    Feature(String, u8),
    /// A device with a second ring.
    TwoRings,
    /// A device to which comes back what it transmits.
    Outside,
    /// A driver of packed rings, which the tester has not.
    PackedRings,
}

impl Entry for Test {
    fn about(&self) -> TestInfo<'_> {
        TestInfo { test: &self.id, purpose: &self.purpose, clause: self.clause }
    }
}

/// The built-in suite.
///
/// # Errors
/// Every problem of its file.
pub fn builtin(library: &Library) -> Result<Vec<Test>, SpecErrors> {
    load(library, &SourceFile::new("suite.toml", include_str!("suite.toml")))
}

/// The tests of a file.
///
/// # Errors
/// Every problem of it.
pub fn load(library: &Library, file: &SourceFile) -> Result<Vec<Test>, SpecErrors> {
    let mut d = Diagnostics::default();
    let mut tables = file.parse(&mut d);
    let items: Vec<Item<RawTest>> = tables.items("test", &mut d);
    tables.finish(&["test"], &mut d);
    let compiler = Compiler {
        table: &library.vhost_user().table,
        programs: &library.vhost_user().programs,
        rings: 1,
    };
    let mut tests: Vec<Test> = Vec::new();
    for item in &items {
        let raw = &item.value;
        let id = raw.id.get_ref().clone();
        suite_files::new(item, &raw.id, &id, tests.iter().map(|test| test.id.as_str()), &mut d);
        let need = |name: &Spanned<String>, d: &mut Diagnostics| match name.get_ref().as_str() {
            "two rings" => Some(Need::TwoRings),
            "outside" => Some(Need::Outside),
            "packed rings" => Some(Need::PackedRings),
            feature => match library.vhost_user().table.feature(feature) {
                Some(bit) => Some(Need::Feature(feature.to_owned(), bit)),
                None => {
                    let message = format!("no protocol feature is called `{feature}`");
                    d.push(item.error(name.span(), message, "unknown feature"));
                    None
                }
            },
        };
        tests.push(Test {
            id,
            clause: library.spec.clause_at(item, &raw.clause, &mut d).unwrap_or(ClauseId::NONE),
            purpose: raw.purpose.get_ref().clone(),
            needs: raw.needs.iter().filter_map(|name| need(name, &mut d)).collect(),
            acknowledged: raw.acknowledged,
            careful: raw.careful,
            breaks: raw
                .breaks
                .iter()
                .filter_map(|id| library.spec.clause_at(item, id, &mut d))
                .collect(),
            acts: script::compile(&compiler, item, &raw.steps, &mut d),
        });
    }
    d.finish(tests)
}
