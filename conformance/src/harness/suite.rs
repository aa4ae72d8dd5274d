//! The form of a suite: what the tests of every protocol have in common, and how a file becomes tests.
//!
//! ```text
//!   [[test]] --keys of every suite--+--> SuiteForm::variants, one for each ring, state, transport, ...
//!            --the protocol's own---+         |
//!   [[program]] NAME  <--"run NAME"--  steps  +--> tests: SuiteForm::step, SuiteForm::need
//! ```
//!
//! **Invariant.** A test that exists is valid: its clause, needs and steps were resolved, and its id is
//! its own.

use std::fmt::Debug;

use devmig_engine::clause::ClauseId;
use devmig_model::registry::Library;
use devmig_model::spec::{
    Diagnostics, Item, SourceFile, Spanned, SpecErrors, did_you_mean, with_help,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::suite_files::{self, TestEntry};
use super::verdict::TestInfo;

/// What is wrong with a word of a suite's file, and a hint.
pub type Problem = (String, Option<String>);

/// What a protocol brings to the form of its suite.
pub trait SuiteForm: Sized + Clone + Debug + 'static {
    /// What a test does.
    type Step: Clone + PartialEq + Debug + Sync;
    /// What a test needs, besides what its steps say.
    type Need: Clone + PartialEq + Debug + Sync;
    /// What a test has that only this protocol knows.
    type Own: Clone + Debug + Sync;
    /// The keys of a `[[test]]` that only this protocol knows, as they are written.
    type Keys: DeserializeOwned;

    /// Its suite.
    const FILE: &'static str;
    /// The clause that a script without one is about.
    const SCRIPT_CLAUSE: &'static str = "";
    /// Keys that a script in one line sets by their name alone.
    const FLAGS: &'static [&'static str] = &[];

    /// What is called this among what can be needed.
    ///
    /// # Errors
    /// If nothing is.
    fn need(library: &Library, name: &str) -> Result<Self::Need, Problem>;

    /// The step that is written like this.
    ///
    /// # Errors
    /// What is wrong with it.
    fn step(library: &Library, text: &str) -> Result<Self::Step, Problem>;

    /// Programs that stand elsewhere than in the suite's file: each with its steps.
    fn programs(_library: &Library) -> Vec<(&str, Vec<&str>)> {
        Vec::new()
    }

    /// The tests that one `[[test]]` stands for.
    fn variants<T>(
        library: &Library,
        keys: &Self::Keys,
        item: &Item<T>,
        d: &mut Diagnostics,
    ) -> Vec<Variant<Self::Own>>;
}

/// A step of a suite.
pub type StepOf<F> = <F as SuiteForm>::Step;

/// One of the tests that a `[[test]]` stands for.
#[derive(Clone, Debug, Default)]
pub struct Variant<O> {
    /// What its id has after the entry's: empty, or `.NAME` for each name.
    pub ending: String,
    /// What stands for each name in braces.
    pub put: Vec<(String, String)>,
    /// What only its protocol knows.
    pub own: O,
}

impl<O> Variant<O> {
    /// The one test of an entry that stands for itself.
    pub fn only(own: O) -> Vec<Self> {
        vec![Variant { ending: String::new(), put: Vec::new(), own }]
    }
}

/// A test.
#[derive(Clone, Debug)]
pub struct Test<P: SuiteForm> {
    /// Stable: `topic.what`, and what it was expanded by.
    pub id: String,
    /// The id of its entry in the file.
    pub entry: String,
    /// The clause that it is about.
    pub clause: ClauseId,
    /// What it is for, in one sentence.
    pub purpose: String,
    /// What must be there.
    pub needs: Vec<P::Need>,
    /// A step that some interpretation forbids where it comes is skipped: for generated scripts.
    pub careful: bool,
    /// Clauses of the tester's own side that the test breaks on purpose, to see what follows.
    pub breaks: Vec<ClauseId>,
    /// What it finds is no more than a warning: a sound device may be unable to tell.
    pub hint: bool,
    /// Why it runs last, alone, under a limit kept from outside: some device never returns from it.
    pub may_hang: Option<String>,
    /// What only its protocol knows.
    pub own: P::Own,
    /// What is done.
    pub steps: Vec<P::Step>,
}

impl<P: SuiteForm> Test<P> {
    /// A generated test: its steps are taken where every interpretation allows them.
    #[must_use]
    pub fn generated(id: String, clause: ClauseId, purpose: String, own: P::Own) -> Self {
        Test {
            entry: id.clone(),
            id,
            clause,
            purpose,
            needs: Vec::new(),
            careful: true,
            breaks: Vec::new(),
            hint: false,
            may_hang: None,
            own,
            steps: Vec::new(),
        }
    }

    /// What a report says about it.
    #[must_use]
    pub fn about(&self) -> TestInfo<'_> {
        TestInfo { test: &self.id, purpose: &self.purpose, clause: self.clause }
    }
}

/// The keys of a `[[test]]` that every suite has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTest {
    id: Spanned<String>,
    clause: Spanned<String>,
    purpose: String,
    #[serde(default)]
    needs: Vec<Spanned<String>>,
    #[serde(default)]
    careful: bool,
    #[serde(default)]
    breaks: Vec<Spanned<String>>,
    #[serde(default, rename = "only-a-hint")]
    hint: bool,
    steps: Vec<Spanned<String>>,
}

const KEYS: &[&str] =
    &["id", "clause", "purpose", "needs", "careful", "breaks", "only-a-hint", "steps"];

/// One `[[program]]`: steps that several tests share.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProgram {
    name: Spanned<String>,
    steps: Vec<Spanned<String>>,
}

/// Programs that run programs go no deeper than this.
const DEPTH: usize = 8;

/// The built-in suite of a protocol.
///
/// # Errors
/// Every problem of its file.
pub fn builtin<P: SuiteForm>(library: &Library) -> Result<Vec<Test<P>>, SpecErrors> {
    load(library, &SourceFile::new("suite.toml", P::FILE))
}

/// The file of a script in one line: steps, `needs NEED` and flags, with `;` between them.
#[must_use]
pub fn script<P: SuiteForm>(line: &str) -> String {
    let (mut needs, mut flags, mut steps) = (Vec::new(), String::new(), Vec::new());
    for part in line.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        match part.strip_prefix("needs ") {
            Some(need) => needs.push(need),
            None if P::FLAGS.contains(&part) => flags += &format!("{part} = true\n"),
            None => steps.push(part),
        }
    }
    format!(
        "[[test]]\nid = \"script\"\nclause = \"{}\"\npurpose = \"A script.\"\ncareful = true\n\
         {flags}needs = {needs:?}\nsteps = {steps:?}\n",
        P::SCRIPT_CLAUSE
    )
}

/// The tests of a file.
///
/// # Errors
/// Every problem of it.
pub fn load<P: SuiteForm>(
    library: &Library,
    file: &SourceFile,
) -> Result<Vec<Test<P>>, SpecErrors> {
    let mut d = Diagnostics::default();
    let mut tables = file.parse(&mut d);
    let programs: Vec<Item<RawProgram>> = tables.items("program", &mut d);
    let items = tables.items_in_parts::<RawTest, P::Keys>("test", KEYS, &mut d);
    let hangs: Vec<Item<TestEntry>> = tables.items("may-hang", &mut d);
    tables.finish(&["program", "test", "may-hang"], &mut d);
    let programs = programs.iter().map(|item| texts(&item.value.name, &item.value.steps));
    let programs = programs.chain(P::programs(library)).collect();
    let loader = Loader { library, programs };
    let mut tests: Vec<Test<P>> = Vec::new();
    for item in &items {
        for test in loader.tests::<P>(item, &mut d) {
            let before = tests.iter().map(|other| other.id.as_str());
            suite_files::new(item, &item.value.0.id, &test.id, before, &mut d);
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

/// A program's name, and its steps.
pub(crate) fn texts<'p>(
    name: &'p Spanned<String>,
    steps: &'p [Spanned<String>],
) -> (&'p str, Vec<&'p str>) {
    (name.get_ref(), steps.iter().map(|step| step.get_ref().as_str()).collect())
}

struct Loader<'a> {
    library: &'a Library,
    programs: Vec<(&'a str, Vec<&'a str>)>,
}

impl Loader<'_> {
    fn tests<P: SuiteForm>(
        &self,
        item: &Item<(RawTest, P::Keys)>,
        d: &mut Diagnostics,
    ) -> Vec<Test<P>> {
        let ((raw, keys), spec) = (&item.value, &self.library.spec);
        if raw.id.get_ref().chars().any(|c| c.is_whitespace() || c.is_control()) {
            let message = "an id has no spaces and no control characters";
            d.push(item.error(raw.id.span(), message, "here"));
        }
        let clause = spec.clause_at(item, &raw.clause, d).unwrap_or(ClauseId::NONE);
        let breaks: Vec<ClauseId> =
            raw.breaks.iter().filter_map(|id| spec.clause_at(item, id, d)).collect();
        let mut needs = Vec::new();
        for name in &raw.needs {
            match P::need(self.library, name.get_ref()) {
                Ok(need) => needs.push(need),
                Err((message, help)) => {
                    d.push(with_help(item.error(name.span(), message, "unknown"), help));
                }
            }
        }
        let mut tests = Vec::new();
        for Variant { ending, put, own } in P::variants(self.library, keys, item, d) {
            let put = |text: &str| {
                put.iter().fold(text.to_owned(), |text, (name, value)| {
                    text.replace(&format!("{{{name}}}"), value)
                })
            };
            let mut steps = Vec::new();
            for step in &raw.steps {
                if let Err((message, help)) = self.steps::<P>(&put(step.get_ref()), 0, &mut steps) {
                    d.push(with_help(item.error(step.span(), message, "this step"), help));
                }
            }
            let entry = raw.id.get_ref().clone();
            tests.push(Test {
                id: entry.clone() + &ending,
                entry,
                clause,
                purpose: put(&raw.purpose),
                needs: needs.clone(),
                careful: raw.careful,
                breaks: breaks.clone(),
                hint: raw.hint,
                may_hang: None,
                own,
                steps,
            });
        }
        tests
    }

    fn steps<P: SuiteForm>(
        &self,
        text: &str,
        depth: usize,
        steps: &mut Vec<P::Step>,
    ) -> Result<(), Problem> {
        let Some(name) = text.strip_prefix("run ") else {
            steps.push(P::step(self.library, text)?);
            return Ok(());
        };
        if depth == DEPTH {
            return Err((format!("programs run each other more than {DEPTH} deep"), None));
        }
        let Some((_, texts)) = self.programs.iter().find(|(known, _)| *known == name) else {
            let help = did_you_mean(name, self.programs.iter().map(|(known, _)| *known));
            return Err((format!("no program is called `{name}`"), help));
        };
        texts.iter().try_for_each(|text| self.steps::<P>(text, depth + 1, steps))
    }
}

/// What is called this among named values; `what` says what they are.
///
/// # Errors
/// If nothing is.
pub fn named<T: Copy>(text: &str, all: &[(&str, T)], what: &str) -> Result<T, Problem> {
    let found = all.iter().find(|(name, _)| *name == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let help = did_you_mean(text, all.iter().map(|(name, _)| *name));
        (format!("no {what} is called `{text}`"), help)
    })
}
