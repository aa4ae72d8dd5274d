//! Tests in which life-cycle actions meet: each two of them in one conversation, each twice after the
//! other, with work before, between and after. They are derived from one table of actions.
//!
//! ```text
//!   [[action]] A, B --> A B A B A --what each needs before it--> steps --suite--> test pair.A.B
//!                                        +-- [[work]] after each
//! ```
//!
//! A *state* is what a tester knows by heart of the device: words with values, such as `rings` and
//! `running`. An action is taken where the state has its `from`, and leaves it with its `to`; if it has
//! not, the shortest way over other actions that need nothing more comes before. `{word}` in a step
//! stands for the word's value; a step that is empty then is none. A suite with several tables gives the
//! conversation of each a `name`.
//!
//! **Invariant.** Every action meets every other, in both orders, or the table is refused.
//!
//! **Not here:** any action.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use devmig_model::registry::Library;
use devmig_model::spec::{Diagnostics, Item, SourceFile, Spanned, SpecError, SpecErrors};
use serde::{Deserialize, Serialize};

use super::suite::{self, SuiteForm, Test};

/// Words, each with its value.
type Words = BTreeMap<String, String>;

/// What the ids of these tests begin with.
pub const PREFIX: &str = "pair.";

/// The one `[[conversation]]`: what every test begins and ends with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConversation {
    /// What the ids begin with, after the prefix.
    name: Option<String>,
    #[serde(default)]
    needs: Vec<String>,
    /// Keys that only the tests of this suite have, as each of these tests has them.
    #[serde(default)]
    keys: toml::Table,
    /// What is known after its beginning.
    state: Words,
    begin: Vec<String>,
    /// Where it ends, and how.
    #[serde(rename = "end-in")]
    end_in: Words,
    end: Vec<String>,
}

/// One `[[action]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAction {
    name: Spanned<String>,
    about: String,
    clause: String,
    #[serde(default)]
    needs: Vec<String>,
    /// Where it is taken; `|` stands between values of which each will do.
    #[serde(default)]
    from: Words,
    /// What it changes.
    #[serde(default)]
    to: Words,
    /// What is otherwise in a conversation that has it.
    #[serde(default)]
    with: Words,
    /// It comes only where a test is about it, never on the way to another.
    #[serde(default)]
    detour: bool,
    steps: Vec<String>,
}

/// One `[[work]]`: what is done after an action where the state has this.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWork {
    #[serde(rename = "in")]
    place: Words,
    steps: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawProgram {
    name: String,
    steps: Vec<String>,
}

/// A test as the suite's form has it.
#[derive(Debug, Serialize)]
struct Entry {
    id: String,
    clause: String,
    purpose: String,
    needs: BTreeSet<String>,
    steps: Vec<String>,
    #[serde(flatten)]
    keys: toml::Table,
}

#[derive(Debug, Serialize)]
struct File<'a> {
    program: &'a [RawProgram],
    test: Vec<Entry>,
}

struct Table<'a> {
    conversation: &'a RawConversation,
    actions: Vec<&'a RawAction>,
    works: Vec<&'a RawWork>,
}

/// The tests of a table.
///
/// # Errors
/// Every problem of the file, and of the tests that follow from it.
pub fn tests<F: SuiteForm>(
    library: &Library,
    file: &SourceFile,
) -> Result<Vec<Test<F>>, SpecErrors> {
    let mut d = Diagnostics::default();
    let mut tables = file.parse(&mut d);
    let conversations: Vec<Item<RawConversation>> = tables.items("conversation", &mut d);
    let actions: Vec<Item<RawAction>> = tables.items("action", &mut d);
    let works: Vec<Item<RawWork>> = tables.items("work", &mut d);
    let programs: Vec<Item<RawProgram>> = tables.items("program", &mut d);
    tables.finish(&["conversation", "action", "work", "program"], &mut d);
    let [conversation] = &conversations[..] else {
        let all = format!("one [[conversation]] is wanted, not {}", conversations.len());
        d.push(SpecError::at(file, 0..0, all, "in this file"));
        return d.finish(Vec::new());
    };
    let table = Table {
        conversation: &conversation.value,
        actions: actions.iter().map(|item| &item.value).collect(),
        works: works.iter().map(|item| &item.value).collect(),
    };
    let mut entries = Vec::new();
    for (at, a) in actions.iter().enumerate() {
        for b in actions.iter().skip(at) {
            match table.meet(&a.value, &b.value) {
                Ok(entry) => entries.push(entry),
                Err(to) => {
                    let message = format!("`{to}` cannot be reached from here");
                    d.push(b.error(b.value.name.span(), message, "this action"));
                }
            }
        }
    }
    let programs: Vec<RawProgram> = programs.into_iter().map(|item| item.value).collect();
    let text = toml::to_string(&File { program: &programs, test: entries });
    d.finish(())?;
    let text = text.map_err(|error| SpecError::new(format!("{}: {error}", file.name())))?;
    let mut tests = suite::load(library, &SourceFile::new(file.name(), text))?;
    // As one entry: which of them finds what is not theirs to say.
    tests.iter_mut().for_each(|test: &mut Test<F>| test.entry = PREFIX.to_owned() + "*");
    Ok(tests)
}

impl Table<'_> {
    /// The test in which two actions meet.
    ///
    /// # Errors
    /// The action that cannot be reached.
    fn meet(&self, a: &RawAction, b: &RawAction) -> Result<Entry, String> {
        let (first, second) = (a.name.get_ref(), b.name.get_ref());
        let mut script = Script {
            table: self,
            state: self.conversation.state.clone(),
            needs: [&self.conversation.needs, &a.needs, &b.needs]
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
            steps: Vec::new(),
        };
        script.state.extend(a.with.clone().into_iter().chain(b.with.clone()));
        script.add(&self.conversation.begin);
        script.work();
        for action in [a, b, a, b, a] {
            script.take(action)?;
        }
        script.go_to(&self.conversation.end_in).ok_or("the end")?;
        script.add(&self.conversation.end);
        let purpose = match first == second {
            true => format!("Twice in one conversation, with work around each: {}.", a.about),
            false => format!(
                "Twice after each other in one conversation, with work around each: {}; {}.",
                a.about, b.about
            ),
        };
        let name = self.conversation.name.iter().map(|name| format!("{name}."));
        Ok(Entry {
            id: format!("{PREFIX}{}{first}.{second}", name.collect::<String>()),
            clause: a.clause.clone(),
            purpose,
            needs: script.needs,
            steps: script.steps,
            keys: self.conversation.keys.clone(),
        })
    }
}

struct Script<'a> {
    table: &'a Table<'a>,
    state: Words,
    needs: BTreeSet<String>,
    steps: Vec<String>,
}

impl Script<'_> {
    fn add(&mut self, steps: &[String]) {
        let put = |step: &String| {
            let full = self.state.iter().fold(step.clone(), |step, (word, value)| {
                step.replace(&format!("{{{word}}}"), value)
            });
            full.trim().to_owned()
        };
        self.steps.extend(steps.iter().map(put).filter(|step| !step.is_empty()));
    }

    /// An action, where it may be taken, and work after it.
    fn take(&mut self, action: &RawAction) -> Result<(), String> {
        self.go_to(&action.from).ok_or_else(|| action.name.get_ref().clone())?;
        self.one(action);
        Ok(())
    }

    /// An action, in which words already have the values that it gives them.
    fn one(&mut self, action: &RawAction) {
        self.state.extend(action.to.clone());
        self.add(&action.steps);
        self.work();
    }

    fn work(&mut self) {
        for work in &self.table.works {
            if fits(&self.state, &work.place) {
                self.add(&work.steps);
            }
        }
    }

    /// Takes the shortest way to where this holds; `None` if there is none.
    fn go_to(&mut self, goal: &Words) -> Option<()> {
        let mut queue = VecDeque::from([(self.state.clone(), Vec::<&RawAction>::new())]);
        let mut seen = BTreeSet::from([self.state.clone()]);
        while let Some((state, way)) = queue.pop_front() {
            if fits(&state, goal) {
                way.into_iter().for_each(|action| self.one(action));
                return Some(());
            }
            for action in &self.table.actions {
                let needs_more = action.needs.iter().any(|need| !self.needs.contains(need));
                if action.detour || needs_more || !fits(&state, &action.from) {
                    continue;
                }
                let mut next = state.clone();
                next.extend(action.to.clone());
                if seen.insert(next.clone()) {
                    let way = way.iter().copied().chain([*action]).collect();
                    queue.push_back((next, way));
                }
            }
        }
        None
    }
}

/// Whether a state has this.
fn fits(state: &Words, wanted: &Words) -> bool {
    wanted.iter().all(|(word, values)| {
        let has = state.get(word).map_or("", String::as_str);
        values.split('|').any(|value| value == has)
    })
}
