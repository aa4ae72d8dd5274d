//! What the suite of vhost-user has besides what every suite has.

use devmig_model::registry::Library;
use devmig_model::spec::{Diagnostics, Item, SpecErrors};
use serde::Deserialize;

use super::script::{self, Act};
use crate::harness::suite::{self, Problem, SuiteForm, Variant};

/// The suite of vhost-user.
#[derive(Clone, Copy, Debug)]
pub struct Form;

/// A test.
pub type Test = suite::Test<Form>;

/// What only this suite's tests have.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// Every message asks for an acknowledgement.
    #[serde(default)]
    pub acknowledged: bool,
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

impl SuiteForm for Form {
    type Step = Act;
    type Need = Need;
    type Own = Own;
    type Keys = Own;

    const FILE: &'static str = include_str!("suite.toml");
    const SCRIPT_CLAUSE: &'static str = "vhost-user.reply.must";
    const FLAGS: &'static [&'static str] = &["acknowledged"];

    fn need(library: &Library, name: &str) -> Result<Need, Problem> {
        match name {
            "two rings" => Ok(Need::TwoRings),
            "outside" => Ok(Need::Outside),
            "packed rings" => Ok(Need::PackedRings),
            feature => match library.vhost_user().table.feature(feature) {
                Some(bit) => Ok(Need::Feature(feature.to_owned(), bit)),
                None => Err((format!("no protocol feature is called `{feature}`"), None)),
            },
        }
    }

    fn step(library: &Library, text: &str) -> Result<Act, Problem> {
        script::act(library, text)
    }

    fn programs(library: &Library) -> Vec<(&str, Vec<&str>)> {
        library.vhost_user().programs.all().collect()
    }

    fn variants<T>(_: &Library, keys: &Own, _: &Item<T>, _: &mut Diagnostics) -> Vec<Variant<Own>> {
        Variant::only(*keys)
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
