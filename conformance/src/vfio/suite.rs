//! What the suite of VFIO has besides what every suite has: tests for every state and for numbers.
//!
//! ```text
//!   [[test]] each = ["from", "to"], steps = ["reach {from}", "set {to}", ...]
//!       --one test for each state of the table in each place--> pair.RUNNING.STOP, ...
//! ```

use devmig_model::registry::Library;
use devmig_model::spec::{Diagnostics, Item, SpecErrors};
use serde::Deserialize;

use super::script::Act;
use crate::harness::suite::{self, Problem, SuiteForm, Variant};

/// The suite of VFIO.
#[derive(Clone, Copy, Debug)]
pub struct Form;

/// A test.
pub type Test = suite::Test<Form>;

/// The keys that only this suite has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Names that stand for every state of the table, each in braces in the steps.
    #[serde(default)]
    each: Vec<String>,
    /// Numbers for which `{number}` stands.
    #[serde(default)]
    numbers: Vec<u32>,
}

/// What a test needs, besides what its steps say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Need {
    /// A feature of the migration: its name and bit.
    Feature(String, u8),
    /// Data descriptors.
    Descriptors,
    /// Somebody tells what is left to be read.
    Info,
    /// A log of what is written.
    Log,
    /// A NIC whose queues the tester knows how to drive.
    Nic,
}

impl SuiteForm for Form {
    type Step = Act;
    type Need = Need;
    type Own = ();
    type Keys = Keys;

    const FILE: &'static str = include_str!("suite.toml");
    const SCRIPT_CLAUSE: &'static str = "vfio.set.completes";

    fn need(library: &Library, name: &str) -> Result<Need, Problem> {
        match name {
            "descriptors" => Ok(Need::Descriptors),
            "info" => Ok(Need::Info),
            "log" => Ok(Need::Log),
            "nic" => Ok(Need::Nic),
            other => match library.vfio().table.feature(other) {
                Some(feature) => Ok(Need::Feature(other.to_owned(), feature.bit)),
                None => Err((format!("`{other}` is not a requirement"), None)),
            },
        }
    }

    fn step(library: &Library, text: &str) -> Result<Act, Problem> {
        Act::parse(text, &library.vfio().table)
    }

    fn variants<T>(
        library: &Library,
        keys: &Keys,
        _: &Item<T>,
        _: &mut Diagnostics,
    ) -> Vec<Variant<()>> {
        let states = || library.vfio().table.states.iter().map(|state| state.name.clone());
        let numbers = keys.numbers.iter().map(u32::to_string).collect::<Vec<_>>();
        let names = keys.each.iter().map(|name| (name.clone(), states().collect::<Vec<_>>()));
        let numbered = (!numbers.is_empty()).then(|| ("number".to_owned(), numbers));
        let mut all = Variant::only(());
        for (name, values) in names.chain(numbered) {
            let with = |variant: &Variant<()>, value: &String| Variant {
                ending: format!("{}.{value}", variant.ending),
                put: [variant.put.as_slice(), &[(name.clone(), value.clone())]].concat(),
                own: (),
            };
            let each =
                |variant: &Variant<()>| values.iter().map(|v| with(variant, v)).collect::<Vec<_>>();
            all = all.iter().flat_map(each).collect();
        }
        all
    }
}

/// The built-in suite.
///
/// # Errors
/// Every problem of its file.
pub fn builtin(library: &Library) -> Result<Vec<Test>, SpecErrors> {
    suite::builtin(library)
}

/// The built-in suite, and the tests in which life-cycle actions meet.
///
/// # Errors
/// Every problem of their files.
pub fn whole(library: &Library) -> Result<Vec<Test>, SpecErrors> {
    Ok([builtin(library)?, super::pairs::tests(library)?].concat())
}
