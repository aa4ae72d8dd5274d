//! What the suite for destinations has besides what every suite has: a test for each fault.

use devmig_model::registry::Library;
use devmig_model::spec::{Diagnostics, Item, Spanned};
use serde::Deserialize;

use super::script::Step;
use crate::harness::suite::{self, Problem, SuiteForm, Variant};
use crate::multifd::faults::{FAULTS, REORDERINGS, Reordering};

/// The suite for destinations.
#[derive(Clone, Copy, Debug)]
pub struct Form;

/// A test.
pub type Test = suite::Test<Form>;

/// The keys that only this suite has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    each: Option<Spanned<String>>,
}

impl SuiteForm for Form {
    type Step = Step;
    type Need = ();
    type Own = ();
    type Keys = Keys;

    const FILE: &'static str = include_str!("suite.toml");
    const SCRIPT_CLAUSE: &'static str = "multifd.destination.memory";

    fn need(_: &Library, name: &str) -> Result<(), Problem> {
        Err((format!("a test of a destination cannot need `{name}`"), None))
    }

    fn step(_: &Library, text: &str) -> Result<Step, Problem> {
        Step::parse(text, &())
    }

    fn variants<T>(
        _: &Library,
        keys: &Keys,
        item: &Item<T>,
        d: &mut Diagnostics,
    ) -> Vec<Variant<()>> {
        match &keys.each {
            None => Variant::only(()),
            Some(each) if each.get_ref() == "fault" => {
                let visible = FAULTS.iter().filter(|fault| fault.visible);
                visible.map(|fault| variant("fault", fault.name, fault.about)).collect()
            }
            Some(each) if each.get_ref() == "reordering" => {
                let of = |order: &Reordering| variant("reordering", order.name, order.about);
                REORDERINGS.iter().map(of).collect()
            }
            Some(each) => {
                let message = format!("no kind of case is called `{}`", each.get_ref());
                d.push(item.error(each.span(), message, "unknown kind"));
                Vec::new()
            }
        }
    }
}

fn variant(kind: &str, name: &str, about: &str) -> Variant<()> {
    let put = [(kind, name), ("about", about)];
    let put = put.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Variant { ending: format!(".{name}"), put, own: () }
}

/// The built-in suite.
///
/// # Errors
/// Every problem of its file.
pub fn builtin(library: &Library) -> Result<Vec<Test>, devmig_model::spec::SpecErrors> {
    suite::builtin(library)
}
