//! What the suite of device models has besides what every suite has: kinds of case, ways, transports.
//!
//! ```text
//!   [[test]] ways = ["command", "control"]          --a test for each--> made.allowed.command, ...
//!   [[test]] transports = ["vhost-user", ...]       --a test for each--> state.kept.vhost-user, ...
//! ```

use devmig_model::registry::Library;
use devmig_model::spec::{Diagnostics, Item, Spanned, SpecErrors, with_help};
use serde::Deserialize;

use super::cases::Kind;
use super::script::Step;
use super::transport::Transport;
use crate::harness::suite::{self, Problem, SuiteForm, Variant, named};

/// The suite of device models.
#[derive(Clone, Copy, Debug)]
pub struct Form;

/// A test.
pub type Test = suite::Test<Form>;

/// The keys that only this suite has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    each: Option<Spanned<String>>,
    #[serde(default)]
    ways: Vec<Spanned<String>>,
    #[serde(default)]
    transports: Vec<Spanned<String>>,
}

/// How a device is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// On the command line of the program that is the device.
    Command,
    /// Over a socket, of a program that makes devices.
    Control,
}

/// What only this suite's tests have.
#[derive(Clone, Copy, Debug)]
pub struct Own {
    /// For each case of this kind; once, if there is none.
    pub each: Option<Kind>,
    /// How devices are asked for.
    pub way: Way,
    /// How they are reached; the first that there is, if none is named.
    pub transport: Option<Transport>,
}

impl SuiteForm for Form {
    type Step = Step;
    type Need = ();
    type Own = Own;
    type Keys = Keys;

    const FILE: &'static str = include_str!("suite.toml");

    fn need(_: &Library, name: &str) -> Result<(), Problem> {
        Err((format!("a test of a device model cannot need `{name}`"), None))
    }

    fn step(_: &Library, text: &str) -> Result<Step, Problem> {
        Step::parse(text, &())
    }

    fn variants<T>(
        _: &Library,
        keys: &Keys,
        item: &Item<T>,
        d: &mut Diagnostics,
    ) -> Vec<Variant<Own>> {
        let each =
            keys.each.iter().filter_map(|name| known(item, name, "kind of case", &Kind::ALL, d));
        let plain = Own { each: each.last(), way: Way::Command, transport: None };
        let all = [("command", Way::Command), ("control", Way::Control)];
        let mut variants = Vec::new();
        for name in &keys.ways {
            let way = known(item, name, "way", &all, d);
            variants.extend(way.map(|way| (name, Own { way, ..plain })));
        }
        let all = Transport::ALL.map(|transport| (transport.name(), transport));
        for name in &keys.transports {
            let transport = known(item, name, "transport", &all, d);
            variants.extend(transport.map(|_| (name, Own { transport, ..plain })));
        }
        if variants.is_empty() {
            return Variant::only(plain);
        }
        let variant = |(name, own): (&Spanned<String>, Own)| Variant {
            ending: format!(".{}", name.get_ref()),
            put: Vec::new(),
            own,
        };
        variants.into_iter().map(variant).collect()
    }
}

fn known<T: Copy, I>(
    item: &Item<I>,
    name: &Spanned<String>,
    what: &str,
    all: &[(&str, T)],
    d: &mut Diagnostics,
) -> Option<T> {
    named(name.get_ref(), all, what)
        .map_err(|(message, help)| {
            let error = item.error(name.span(), message, format!("unknown {what}"));
            d.push(with_help(error, help));
        })
        .ok()
}

/// The built-in tests, and those that follow from the table of life-cycle actions.
///
/// # Errors
/// Every problem of their files.
pub fn whole(library: &Library) -> Result<Vec<Test>, SpecErrors> {
    Ok([builtin(library)?, super::pairs::tests(library)?].concat())
}

/// The built-in suite.
///
/// # Errors
/// Every problem of its file.
pub fn builtin(library: &Library) -> Result<Vec<Test>, SpecErrors> {
    suite::builtin(library)
}

#[cfg(test)]
mod tests {
    use devmig_model::spec::SourceFile;

    use super::*;

    #[test]
    fn every_problem_of_a_file_is_told() {
        let library = Library::builtin().unwrap();
        assert!(!builtin(&library).unwrap().is_empty());
        let file = SourceFile::new(
            "x.toml",
            "[[test]]\nid = \"a\"\nclause = \"device-model.no\"\npurpose = \"p\"\neach = \"alowed\"\n\
             ways = [\"comand\"]\ntransports = [\"vhost\"]\nsteps = [\"mak\"]\n\
             [[test]]\nid = \"b\"\nclause = \"device-model.load.checks\"\npurpose = \"p\"\nsteps = []\n\
             [[test]]\nid = \"b\"\nclause = \"device-model.load.checks\"\npurpose = \"p\"\nsteps = []\n",
        );
        let errors = suite::load::<Form>(&library, &file).unwrap_err();
        assert_eq!(errors.errors().len(), 6, "{errors:?}");
        let file = SourceFile::new(
            "x.toml",
            "[[test]]\nid = \"a\"\nclause = \"device-model.load.checks\"\npurpos = \"p\"\nsteps = []\n",
        );
        let errors = suite::load::<Form>(&library, &file).unwrap_err();
        let said = format!("{:?}", miette::Report::new(errors));
        assert!(said.contains("did you mean `purpose`?") && !said.contains("missing"), "{said}");
    }
}
