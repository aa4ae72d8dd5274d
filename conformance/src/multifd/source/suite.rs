//! What the suite for sources has: nothing but what every suite has.

use devmig_model::registry::Library;
use devmig_model::spec::{Diagnostics, Item, SpecErrors};
use serde::Deserialize;

use super::script::Step;
use crate::harness::suite::{self, Problem, SuiteForm, Variant};

/// The suite for sources.
#[derive(Clone, Copy, Debug)]
pub struct Form;

/// A test.
pub type Test = suite::Test<Form>;

/// A test of a source has no keys besides those of every suite.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {}

impl SuiteForm for Form {
    type Step = Step;
    type Need = ();
    type Own = ();
    type Keys = Keys;

    const FILE: &'static str = include_str!("suite.toml");
    const SCRIPT_CLAUSE: &'static str = "multifd.memory.as-source";

    fn need(_: &Library, name: &str) -> Result<(), Problem> {
        Err((format!("a test of a source cannot need `{name}`"), None))
    }

    fn step(_: &Library, text: &str) -> Result<Step, Problem> {
        Step::parse(text, &())
    }

    fn variants<T>(_: &Library, _: &Keys, _: &Item<T>, _: &mut Diagnostics) -> Vec<Variant<()>> {
        Variant::only(())
    }
}

/// The built-in suite.
///
/// # Errors
/// Every problem of its file.
pub fn builtin(library: &Library) -> Result<Vec<Test>, SpecErrors> {
    suite::builtin(library)
}
