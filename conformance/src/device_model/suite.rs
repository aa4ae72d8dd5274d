//! The suite's tests, loaded from `suite.toml`.
//!
//! ```text
//!   [[test]] ways = ["command", "control"]          --a test for each--> made.allowed.command, ...
//!   [[test]] transports = ["vhost-user", ...]       --a test for each--> state.kept.vhost-user, ...
//! ```
//!
//! **Invariant.** A test that exists is valid: its clause, kind of case and steps were resolved, and its
//! id is its own.

use devmig_engine::clause::ClauseId;
use devmig_model::registry::Library;
use devmig_model::spec::{
    Diagnostics, Item, SourceFile, Spanned, SpecErrors, did_you_mean, with_help,
};
use serde::Deserialize;

use super::cases::Kind;
use super::script::Step;
use super::subject::Transport;
use crate::harness::suite_files;
use crate::harness::verdict::{Entry, TestInfo};

/// One `[[test]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTest {
    id: Spanned<String>,
    clause: Spanned<String>,
    purpose: String,
    each: Option<Spanned<String>>,
    #[serde(default)]
    ways: Vec<Spanned<String>>,
    #[serde(default)]
    transports: Vec<Spanned<String>>,
    steps: Vec<Spanned<String>>,
}

/// How a device is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// On the command line of the program that is the device.
    Command,
    /// Over a socket, of a program that makes devices.
    Control,
}

impl Way {
    const ALL: [(&'static str, Way); 2] = [("command", Way::Command), ("control", Way::Control)];
}

/// A test.
#[derive(Clone, Debug)]
pub struct Test {
    /// Stable: `topic.what`, and the way or transport.
    pub id: String,
    /// Without the way or transport.
    pub base: String,
    /// The clause that it is about.
    pub clause: ClauseId,
    /// What it is for, in one sentence.
    pub purpose: String,
    /// For each case of this kind; once, if there is none.
    pub each: Option<Kind>,
    /// How devices are asked for.
    pub way: Way,
    /// How they are reached; the first that there is, if none is named.
    pub transport: Option<Transport>,
    /// What is done.
    pub steps: Vec<Step>,
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
    let mut all: Vec<Test> = Vec::new();
    for item in &items {
        for test in tests(library, item, &mut d) {
            let before = all.iter().map(|other| other.id.as_str());
            suite_files::new(item, &item.value.id, &test.id, before, &mut d);
            all.push(test);
        }
    }
    d.finish(all)
}

fn tests(library: &Library, item: &Item<RawTest>, d: &mut Diagnostics) -> Vec<Test> {
    let raw = &item.value;
    let each = raw.each.as_ref().and_then(|name| known(item, name, "kind of case", &Kind::ALL, d));
    let ways: Vec<Way> =
        raw.ways.iter().filter_map(|name| known(item, name, "way", &Way::ALL, d)).collect();
    let named = Transport::ALL.map(|transport| (transport.name(), transport));
    let transports = raw.transports.iter();
    let transports: Vec<Transport> =
        transports.filter_map(|name| known(item, name, "transport", &named, d)).collect();
    let steps = raw.steps.iter().filter_map(|text| match Step::parse(text.get_ref()) {
        Ok(step) => Some(step),
        Err(help) => {
            let message = format!("no step is called `{}`", text.get_ref());
            d.push(with_help(item.error(text.span(), message, "this step"), help));
            None
        }
    });
    let steps: Vec<Step> = steps.collect();
    let base = Test {
        id: raw.id.get_ref().clone(),
        base: raw.id.get_ref().clone(),
        clause: library.spec.clause_at(item, &raw.clause, d).unwrap_or(ClauseId::NONE),
        purpose: raw.purpose.clone(),
        each,
        way: Way::Command,
        transport: None,
        steps,
    };
    let name = |way: Way| Way::ALL.iter().find(|(_, own)| *own == way).map_or("", |(name, _)| name);
    let id = |end: &str| format!("{}.{end}", base.base);
    match (ways.as_slice(), transports.as_slice()) {
        ([], []) => vec![base],
        (ways, []) => {
            ways.iter().map(|way| Test { id: id(name(*way)), way: *way, ..base.clone() }).collect()
        }
        (_, transports) => transports
            .iter()
            .map(|t| Test { id: id(t.name()), transport: Some(*t), ..base.clone() })
            .collect(),
    }
}

fn known<T: Copy>(
    item: &Item<RawTest>,
    name: &Spanned<String>,
    what: &str,
    all: &[(&'static str, T)],
    d: &mut Diagnostics,
) -> Option<T> {
    let found = all.iter().find(|(known, _)| known == name.get_ref());
    if found.is_none() {
        let message = format!("no {what} is called `{}`", name.get_ref());
        let names: Vec<&str> = all.iter().map(|(known, _)| *known).collect();
        let help = did_you_mean(name.get_ref(), names);
        d.push(with_help(item.error(name.span(), message, format!("unknown {what}")), help));
    }
    found.map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
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
        let errors = load(&library, &file).unwrap_err();
        assert_eq!(errors.errors().len(), 6, "{errors:?}");
    }
}
