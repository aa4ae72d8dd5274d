//! The suite's tests, loaded from `suite.toml`.
//!
//! ```text
//!   [[test]] each = ["from", "to"], steps = ["reach {from}", "set {to}", ...]
//!       --one test for each state of the table in each place--> pair.RUNNING.STOP, ...
//! ```
//!
//! **Invariant.** A test that exists is valid: its clause, features and steps were resolved, and its
//! id is its own.

use devmig_engine::clause::ClauseId;
use devmig_model::registry::Library;
use devmig_model::spec::{
    Diagnostics, Item, SourceFile, Spanned, SpecErrors, did_you_mean, with_help,
};
use serde::Deserialize;

use super::script::{self, Act};
use crate::harness::suite_files::{self, TestEntry};
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
    careful: bool,
    #[serde(default)]
    breaks: Vec<Spanned<String>>,
    /// Names that stand for every state of the table, each in braces in the steps.
    #[serde(default)]
    each: Vec<String>,
    /// Numbers for which `{number}` stands.
    #[serde(default)]
    numbers: Vec<u32>,
    #[serde(default, rename = "only-a-hint")]
    hint: bool,
    steps: Vec<Spanned<String>>,
}

/// One `[[program]]`: steps that several tests share.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProgram {
    name: Spanned<String>,
    steps: Vec<Spanned<String>>,
}

/// A test.
#[derive(Clone, Debug)]
pub struct Test {
    /// Stable: `topic.what`.
    pub id: String,
    /// The id in the file: that of several tests, if it stands for each state or number.
    pub entry: String,
    /// The clause that it is about.
    pub clause: ClauseId,
    /// What it is for, in one sentence.
    pub purpose: String,
    /// What the device must have.
    pub needs: Vec<Need>,
    /// A step that some reading forbids where it comes is passed over: for scripts that nobody wrote.
    pub careful: bool,
    /// Clauses of the client's that the test breaks on purpose, to see what follows.
    pub breaks: Vec<ClauseId>,
    /// What it finds is no more than a warning: a sound device may be unable to tell.
    pub hint: bool,
    /// Why it runs last, alone, under a limit kept from outside: some device never returns from it.
    pub may_hang: Option<String>,
    /// What is done.
    pub acts: Vec<Act>,
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

/// The file of a script in one line, for [`load`].
#[must_use]
pub fn script(line: &str) -> String {
    let steps: Vec<&str> = line.split(';').map(str::trim).filter(|part| !part.is_empty()).collect();
    format!(
        "[[test]]\nid = \"script\"\nclause = \"vfio.set.completes\"\npurpose = \"A script.\"\n\
         careful = true\nsteps = {steps:?}\n"
    )
}

/// The tests of a file.
///
/// # Errors
/// Every problem of it.
pub fn load(library: &Library, file: &SourceFile) -> Result<Vec<Test>, SpecErrors> {
    let mut d = Diagnostics::default();
    let mut tables = file.parse(&mut d);
    let programs: Vec<Item<RawProgram>> = tables.items("program", &mut d);
    let items: Vec<Item<RawTest>> = tables.items("test", &mut d);
    // After these some device is not heard of again.
    let hangs: Vec<Item<TestEntry>> = tables.items("may-hang", &mut d);
    tables.finish(&["program", "test", "may-hang"], &mut d);
    let loader = Loader { library, programs: &programs };
    let mut tests: Vec<Test> = Vec::new();
    for item in &items {
        for test in loader.tests(item, &mut d) {
            let before = tests.iter().map(|other| other.id.as_str());
            suite_files::new(item, &item.value.id, &test.id, before, &mut d);
            tests.push(test);
        }
    }
    for item in &hangs {
        let reason = suite_files::reason(item, &item.value.reason, &mut d);
        let ids: Vec<&str> = tests.iter().map(|test| test.id.as_str()).collect();
        let id = suite_files::test(item, &item.value.test, &ids, &mut d);
        if let Some(test) = tests.iter_mut().find(|test| Some(&test.id) == id.as_ref()) {
            test.may_hang = Some(reason);
        }
    }
    // What may hang comes last.
    tests.sort_by_key(|test| test.may_hang.is_some());
    d.finish(tests)
}

struct Loader<'a> {
    library: &'a Library,
    programs: &'a [Item<RawProgram>],
}

impl Loader<'_> {
    fn tests(&self, item: &Item<RawTest>, d: &mut Diagnostics) -> Vec<Test> {
        let raw = &item.value;
        let spec = &self.library.spec;
        let base = Test {
            id: raw.id.get_ref().clone(),
            entry: raw.id.get_ref().clone(),
            clause: spec.clause_at(item, &raw.clause, d).unwrap_or(ClauseId::NONE),
            purpose: raw.purpose.get_ref().clone(),
            needs: raw.needs.iter().filter_map(|name| self.need(item, name, d)).collect(),
            careful: raw.careful,
            breaks: raw.breaks.iter().filter_map(|id| spec.clause_at(item, id, d)).collect(),
            hint: raw.hint,
            may_hang: None,
            acts: Vec::new(),
        };
        let mut tests = Vec::new();
        for place in self.places(raw) {
            let put = |text: &str| {
                place.iter().fold(text.to_owned(), |text, (name, value)| {
                    text.replace(&format!("{{{name}}}"), value)
                })
            };
            let ends = place.iter().map(|(_, value)| format!(".{value}"));
            let id = base.id.clone() + &ends.collect::<String>();
            let mut acts = Vec::new();
            for step in &raw.steps {
                if let Err((message, help)) = self.acts(&put(step.get_ref()), 0, &mut acts) {
                    d.push(with_help(item.error(step.span(), message, "this step"), help));
                    return tests;
                }
            }
            tests.push(Test { id, purpose: put(&base.purpose), acts, ..base.clone() });
        }
        tests
    }

    /// What stands in each place, for each test.
    fn places(&self, raw: &RawTest) -> Vec<Vec<(String, String)>> {
        let states = || self.library.vfio().table.states.iter().map(|state| state.name.clone());
        let mut all = vec![Vec::new()];
        let numbers = raw.numbers.iter().map(u32::to_string).collect::<Vec<_>>();
        let names = raw.each.iter().map(|name| (name.clone(), states().collect::<Vec<_>>()));
        let numbered = (!numbers.is_empty()).then(|| ("number".to_owned(), numbers));
        for (name, values) in names.chain(numbered) {
            all = all
                .into_iter()
                .flat_map(|place: Vec<(String, String)>| {
                    let with = |value: &String| {
                        [place.as_slice(), &[(name.clone(), value.clone())]].concat()
                    };
                    values.iter().map(with).collect::<Vec<_>>()
                })
                .collect();
        }
        all
    }

    fn acts(&self, text: &str, depth: usize, acts: &mut Vec<Act>) -> Result<(), script::Problem> {
        let Some(name) = text.strip_prefix("run ") else {
            acts.push(script::act(text, &self.library.vfio().table)?);
            return Ok(());
        };
        let program = self.programs.iter().find(|item| item.value.name.get_ref() == name);
        match program {
            Some(item) if depth < 4 => {
                let steps = item.value.steps.iter();
                steps.map(Spanned::get_ref).try_for_each(|step| self.acts(step, depth + 1, acts))
            }
            Some(_) => Err((format!("the program `{name}` runs itself"), None)),
            None => {
                let names = self.programs.iter().map(|item| item.value.name.get_ref().as_str());
                Err((format!("no program is called `{name}`"), did_you_mean(name, names)))
            }
        }
    }

    fn need(
        &self,
        item: &Item<RawTest>,
        name: &Spanned<String>,
        d: &mut Diagnostics,
    ) -> Option<Need> {
        match name.get_ref().as_str() {
            "descriptors" => Some(Need::Descriptors),
            "info" => Some(Need::Info),
            "log" => Some(Need::Log),
            "nic" => Some(Need::Nic),
            other => {
                let feature = self.library.vfio().table.feature(other);
                if feature.is_none() {
                    let message = format!("`{other}` is not a requirement");
                    d.push(item.error(name.span(), message, "unknown"));
                }
                feature.map(|feature| Need::Feature(other.to_owned(), feature.bit))
            }
        }
    }
}
