//! What a proposal changes: its systems under the base and under the proposal, its questions, and
//! whether what it expects is so.
//!
//! ```text
//!  base ------ systems --report--\
//!                                 >-- changes: verdicts that differ, each with its trace
//!  proposal -- systems --report--/
//!           -- [[decide]] --> tables
//!           -- [[expect]] --> met, or what was violated instead
//! ```
//!
//! A system is *as expected* under a proposal if the file that defines it says so (the proposal's
//! own definition takes the place of the base's); an `[[expect]]` that holds under no options takes
//! the place of that.

use std::collections::BTreeSet;

use devmig_engine::clause::ChoiceId;
use devmig_engine::columns::thousands;
use devmig_engine::explore::Report;
use devmig_engine::explore::names::NON_VACUOUS;
use devmig_engine::explore::report::{Ending, PropertyReport, PropertyVerdict};
use devmig_engine::explore::trace::{self, Line, Look};
use devmig_engine::system::PropertyKind;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::bug::Detected;
use super::decide::Decided;
use super::described::{CompatExpected, SchemeExpected};
use super::{Error, Explorer, Outcome};
use crate::protocol::size::Scale;
use crate::protocol::vfio::lint::{Expect, Lint};
use crate::registry::{Library, Proposal};

/// One property whose verdict is not what it was.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Changed {
    /// Its name.
    pub name: String,
    /// The clause behind it.
    pub clause: Option<String>,
    /// What it says.
    pub kind: PropertyKind,
    /// Under the base; `None`: not checked there.
    pub base: Option<PropertyVerdict>,
    /// Under the proposal; `None`: no longer checked.
    pub proposed: Option<PropertyVerdict>,
    /// The counterexample: of the proposal if it violates the property, else of the base.
    pub trace: Option<Vec<Line>>,
    /// Whether that is what is expected under the proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_expected: Option<bool>,
    /// What is said of it: under the proposal, or under the base if only that has a counterexample.
    #[serde(skip)]
    of: PropertyReport,
}

/// One system under both.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Compared {
    /// Its name.
    pub system: String,
    /// The proposal brings it in.
    pub new: bool,
    /// The properties whose verdicts differ; for a new system all but twins that hold.
    pub changes: Vec<Changed>,
    /// Under the base.
    pub base: Option<Report>,
    /// Under the proposal.
    pub proposed: Report,
}

/// One expectation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Expected {
    /// Of which system.
    pub system: String,
    /// Under which options.
    pub under: Map<String, Value>,
    /// What should be violated.
    pub expected: Vec<String>,
    /// What is.
    pub violated: Vec<String>,
    /// Whether they are the same, and the run was complete.
    pub met: bool,
    /// The run.
    #[serde(skip)]
    pub report: Report,
}

/// What becomes of VFIO's migration states.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct States {
    /// What is found.
    pub found: Lint,
    /// What should be.
    pub expected: Expect,
    /// Whether they are the same.
    pub met: bool,
    /// What is found, in words.
    #[serde(skip)]
    pub text: String,
}

/// All that a proposal comes to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Examined {
    /// The version of this form: 2. In version 1 the properties `rules-kept`, `deadlock-free` and
    /// `no-starvation` were called `rules`, `stuck` and `progress`, and `X: non-vacuous` was called
    /// `X: can happen`; all else is the same.
    schema: u32,
    /// Its short name.
    pub proposal: String,
    /// Its title.
    pub title: String,
    #[serde(skip)]
    about: String,
    /// Rows of the founding discussions that it carries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<String>,
    /// Every expectation is met, and every system as expected.
    pub as_expected: bool,
    #[serde(skip)]
    checks_nothing: bool,
    /// The systems.
    pub systems: Vec<Compared>,
    /// The tables of its questions.
    pub decisions: Vec<Decided>,
    /// Its expectations.
    pub expectations: Vec<Expected>,
    /// Its expectations of schemes of compatibility.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schemes: Vec<SchemeExpected>,
    /// Its expectations of descriptions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub descriptions: Vec<CompatExpected>,
    /// The bugs that it brings, each with the properties that detect it.
    pub bugs: Vec<Detected>,
    /// What it does to VFIO's migration states, if it touches them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub states: Option<States>,
}

/// The systems that a proposal is about: those it names, those it adds, and those it replaces.
#[must_use]
pub fn concerned<'a>(library: &'a Library, proposal: &'a Proposal) -> Vec<&'a str> {
    let mut all: Vec<&str> = proposal.systems.iter().map(String::as_str).collect();
    for (_, protocol) in library.protocols() {
        for name in protocol.systems().proposed() {
            if !all.contains(&name.as_str()) {
                all.push(name);
            }
        }
    }
    all
}

/// Whether there is such a system without the proposal.
#[must_use]
pub fn is_known(base: &Library, name: &str) -> bool {
    base.system_names().any(|known| known == name)
}

impl Examined {
    /// Runs a proposal's systems under the base and under the proposal, all that concern it or these,
    /// with choices fixed as written and at this size.
    ///
    /// # Errors
    /// If there is no such choice, option or size, or a system cannot be explored.
    pub fn of(
        explorer: &Explorer<'_>,
        (base, library): (&Library, &Library),
        proposal: &Proposal,
        only: Option<&[&str]>,
        (pins, scale): (&[String], &Scale),
    ) -> Result<Self, Error> {
        let names = only.map_or_else(|| concerned(library, proposal), <[_]>::to_vec);
        // A pin of a choice that only the proposal knows does not concern the base.
        let base_pins: Vec<_> = pins.iter().filter_map(|pin| base.spec.pin(pin).ok()).collect();
        let own_pins = pins
            .iter()
            .map(|pin| library.spec.pin(pin))
            .collect::<Result<Vec<(ChoiceId, u8)>, _>>()?;
        let wanted = |system: &str| only.is_none() || names.contains(&system);
        let expects: Vec<_> = proposal.expects.iter().filter(|e| wanted(&e.system)).collect();
        let questions = library.decisions.iter().skip(base.decisions.len());
        let questions = questions.filter(|question| wanted(&question.system));
        let bugs = library.bugs().into_iter();
        let bugs: Vec<_> = bugs.filter(|bug| bug.proposed && wanted(bug.system)).collect();
        explorer.expects(2 * names.len() + expects.len() + bugs.len());

        let mut systems = Vec::new();
        for name in &names {
            let known = is_known(base, name);
            let before = known.then(|| base.system(name, &base_pins, scale)).transpose()?;
            let before = before.map(|system| explorer.explore(base, &*system)).transpose()?;
            let system = library.system(name, &own_pins, scale)?;
            systems.push(Compared::of(before, explorer.explore(library, &*system)?));
        }
        let decisions = Decided::all(explorer, library, questions, &own_pins, scale)?;
        let mut expectations = Vec::new();
        for expect in expects {
            let options = [&own_pins[..], &expect.under[..]].concat();
            let system = library.system(&expect.system, &options, scale)?;
            let report = explorer.explore(library, &*system)?;
            let violated: Vec<String> = violated(&report);
            let same = violated.iter().collect::<BTreeSet<_>>() == expect.violated.iter().collect();
            let under = expect.under.iter().map(|(choice, option)| {
                let option = library.spec.option_name(*choice, *option);
                (library.spec.choice_name(*choice).to_owned(), Value::from(option))
            });
            expectations.push(Expected {
                system: expect.system.clone(),
                under: under.collect(),
                expected: expect.violated.clone(),
                met: same && report.incomplete.is_none(),
                violated,
                report,
            });
        }
        let settled = |system: &str| {
            expectations.iter().any(|expect| expect.system == system && expect.under.is_empty())
        };
        let states = library.vfio().expect.clone().map(|expected| {
            let reading = library.vfio().reading(&library.choices());
            let found = library.vfio().lint(base.vfio(), reading);
            let met = expected.met(&found);
            let text = library.vfio().lint_text(&found, base.vfio(), reading);
            States { found, expected, met, text }
        });
        let detected = |bug| Detected::of(explorer, library, bug);
        let bugs = bugs.iter().map(detected).collect::<Result<Vec<_>, _>>()?;
        // They have no system, so that a choice of some does not leave them out.
        let schemes: Vec<_> = proposal.schemes.iter().map(SchemeExpected::of).collect();
        let all = proposal.descriptions.iter();
        let descriptions: Vec<_> = all.map(CompatExpected::of).collect();
        let checks_nothing = systems.is_empty()
            && schemes.is_empty()
            && descriptions.is_empty()
            && decisions.is_empty()
            && expectations.is_empty()
            && bugs.is_empty()
            && states.is_none();
        let as_expected = !checks_nothing
            && expectations.iter().all(|expect| expect.met)
            && bugs.iter().all(|bug| bug.met)
            && schemes.iter().all(|scheme| scheme.met)
            && descriptions.iter().all(|description| description.met)
            && states.as_ref().is_none_or(|states| states.met)
            && systems.iter().all(|s| s.proposed.as_expected || settled(&s.system));
        Ok(Examined {
            schema: 2,
            proposal: proposal.id.clone(),
            title: proposal.title.clone(),
            about: proposal.about.clone(),
            rows: proposal.rows.clone(),
            as_expected,
            checks_nothing,
            systems,
            decisions,
            expectations,
            schemes,
            descriptions,
            bugs,
            states,
        })
    }

    /// What it comes to.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let reports = self.systems.iter().map(|s| &s.proposed);
        let expected = self.expectations.iter().map(|e| &e.report);
        let bugs = self.bugs.iter().map(|bug| &bug.report);
        let cut = reports.chain(expected).chain(bugs).any(|report| report.incomplete.is_some());
        Outcome::of(self.as_expected, cut)
    }

    /// How much it expects of systems under options, of schemes and of descriptions.
    #[must_use]
    pub fn expected(&self) -> usize {
        self.expectations.len() + self.schemes.len() + self.descriptions.len()
    }

    /// For the console.
    #[must_use]
    pub fn text(&self) -> String {
        self.shown(&Look::default())
    }

    /// For the console, with this look.
    #[must_use]
    pub fn shown(&self, look: &Look<'_>) -> String {
        let about = trace::wrapped(&format!("  {}", self.about), 2);
        let mut out = format!("{}: {}\n{about}\n", self.proposal, self.title);
        for system in &self.systems {
            out += &format!("\n{}\n", system.heading());
            out += &system.incomplete(look);
            for change in &system.changes {
                out += &change.text(look);
            }
            out += &system.broken(look);
        }
        for decision in &self.decisions {
            out += &format!("\n{}", decision.text());
        }
        if let Some(states) = &self.states {
            out += &format!("\nmigration states\n{}", states.text);
            out += match states.met {
                true => "  as the proposal expects\n",
                false => "  NOT as the proposal expects\n",
            };
        }
        if self.expected() > 0 {
            out += "\nexpectations\n";
        }
        for expected in &self.expectations {
            out += &expected.text(look);
        }
        out.extend(self.schemes.iter().map(SchemeExpected::text));
        out.extend(self.descriptions.iter().map(CompatExpected::text));
        if !self.bugs.is_empty() {
            out += "\nmistakes\n";
        }
        for bug in &self.bugs {
            out += &format!("  {}", bug.line());
        }
        if self.checks_nothing {
            out +=
                "\nnothing is checked: name the systems that the proposal is about, in `systems`\n";
        }
        out += match self.as_expected {
            true => "\nall as expected\n",
            false => "\nNOT as expected\n",
        };
        out
    }
}

/// The names of the properties that are violated.
fn violated(report: &Report) -> Vec<String> {
    let violated = report.properties.iter().filter(|p| p.verdict == PropertyVerdict::Violated);
    violated.map(|property| property.name.clone()).collect()
}

impl Compared {
    fn of(base: Option<Report>, proposed: Report) -> Self {
        let mut changes = Vec::new();
        for property in &proposed.properties {
            let before = base.as_ref().and_then(|report| report.property(&property.name));
            let verdict = before.map(|property| property.verdict);
            let twin = property.kind == PropertyKind::Reachable;
            // What is checked of each implication goes without saying; what was asked for does not.
            let twin = twin && property.name.ends_with(NON_VACUOUS);
            let silent = verdict.is_none() && twin && property.verdict == PropertyVerdict::Holds;
            if verdict != Some(property.verdict) && !silent {
                let of = match (property.verdict, before) {
                    (PropertyVerdict::Violated, _) | (_, None) => property,
                    (_, Some(before)) if before.verdict == PropertyVerdict::Violated => before,
                    _ => property,
                };
                let changed = Changed::of(of, verdict, Some(property.verdict));
                changes.push(Changed { as_expected: Some(property.as_expected), ..changed });
            }
        }
        for property in base.iter().flat_map(|report| &report.properties) {
            let twin = property.name.ends_with(NON_VACUOUS);
            if proposed.property(&property.name).is_none() && !twin {
                changes.push(Changed::of(property, Some(property.verdict), None));
            }
        }
        Compared { system: proposed.system.clone(), new: base.is_none(), changes, base, proposed }
    }

    /// Why a run is incomplete, with what led to it.
    fn incomplete(&self, look: &Look<'_>) -> String {
        let runs = [("under the base", self.base.as_ref()), ("", Some(&self.proposed))];
        let mut out = String::new();
        for (which, report) in runs {
            let Some((report, reason)) = report.and_then(|r| Some((r, r.incomplete.as_ref()?)))
            else {
                continue;
            };
            let which = if which.is_empty() { String::new() } else { format!(" {which}") };
            out += &format!("  incomplete{which}: {reason}\n");
            let led = report.overflow.as_deref().map(|lines| trace::shown(lines, None, look));
            out.extend(led);
        }
        out
    }

    /// The clauses that its program breaks, each with what breaks it: of a new system, or where the base
    /// does not.
    fn broken(&self, look: &Look<'_>) -> String {
        let before = self.base.iter().flat_map(|report| &report.broken);
        let before: Vec<_> = before.map(|ending| &ending.clause).collect();
        let line = |ending: &Ending| {
            let head = format!("  {}\n", ending.line());
            match before.contains(&&ending.clause) && !look.full {
                true => head,
                false => head + &trace::shown(&ending.trace, None, look),
            }
        };
        self.proposed.broken.iter().filter(|ending| ending.declared).map(line).collect()
    }

    fn heading(&self) -> String {
        let states = thousands(self.proposed.states);
        let not = if self.proposed.as_expected { "" } else { ", NOT as expected" };
        match &self.base {
            None => {
                format!("{} (new): {}{not}, {states} states", self.system, self.proposed.verdict)
            }
            Some(_) if self.changes.is_empty() => {
                format!("{}: no verdict changes{not}, {states} states", self.system)
            }
            Some(base) => {
                let before = thousands(base.states);
                format!("{}: changes{not}, {before} -> {states} states", self.system)
            }
        }
    }
}

impl Changed {
    fn of(
        of: &PropertyReport,
        base: Option<PropertyVerdict>,
        proposed: Option<PropertyVerdict>,
    ) -> Self {
        let trace = of.trace.clone().filter(|_| of.verdict == PropertyVerdict::Violated);
        let (name, clause, kind) = (of.name.clone(), of.clause.clone(), of.kind);
        Changed { name, clause, kind, base, proposed, trace, as_expected: None, of: of.clone() }
    }

    fn text(&self, look: &Look<'_>) -> String {
        let clause = self.clause.iter().map(|clause| format!(" [{clause}]")).collect::<String>();
        let mark = match (self.as_expected, self.proposed) {
            (Some(false), _) => " (NOT as expected)",
            (Some(true), Some(PropertyVerdict::Violated)) => " (as expected)",
            _ => "",
        };
        let name = format!("{}{clause}{}", self.name, trace::unbroken(mark));
        let line = match (self.base, self.proposed) {
            (Some(base), Some(proposed)) => format!("  {base} -> {proposed}  {name}"),
            (None, Some(proposed)) => format!("  {proposed}  {name}"),
            (base, None) => {
                let base = base.map(|b| b.to_string()).unwrap_or_default();
                format!("  {base} -> not checked  {name}")
            }
        };
        let mut out = trace::wrapped_at(&line, 8, look.width) + "\n";
        if self.base == Some(PropertyVerdict::Violated) && self.trace.is_some() {
            out += match self.proposed {
                Some(PropertyVerdict::Violated) => "",
                _ => "    under the base:\n",
            };
        }
        let trace = self.of.trace.as_deref().filter(|_| self.trace.is_some() || look.full);
        out += &trace.map_or_else(String::new, |t| trace::shown(t, self.of.cycle_at, look));
        out + &self.of.explained(look.width)
    }
}

impl Expected {
    /// The options, as the command line takes them.
    #[must_use]
    pub fn written(&self) -> Vec<String> {
        let option = |(choice, option): (&String, &Value)| {
            format!("{choice}={}", option.as_str().unwrap_or_default())
        };
        self.under.iter().map(option).collect()
    }

    /// The options, in words.
    #[must_use]
    pub fn options(&self) -> String {
        let option = |(choice, option): (&String, &Value)| {
            format!("{choice} = {}", option.as_str().unwrap_or_default())
        };
        self.under.iter().map(option).collect::<Vec<_>>().join(", ")
    }

    fn text(&self, look: &Look<'_>) -> String {
        let list = |names: &[String]| match names {
            [] => "nothing".to_owned(),
            names => names.join(", "),
        };
        let mut out = format!("  {}", self.system);
        if !self.under.is_empty() {
            out += &format!(" with {}", self.options());
        }
        out += &format!("\n    expected violated: {}", list(&self.expected));
        out += match self.met {
            true => "; met\n",
            false => "; NOT MET\n",
        };
        if !self.met {
            out += &match &self.report.incomplete {
                Some(reason) => format!("    the run is incomplete: {reason}\n"),
                None => format!("    found violated:    {}\n", list(&self.violated)),
            };
        }
        let unexpected = |name: &&String| look.full || !self.expected.contains(name);
        for name in self.violated.iter().filter(unexpected).filter(|_| !self.met || look.full) {
            let property = self.report.property(name);
            if let Some((property, lines)) = property.and_then(|p| Some((p, p.trace.as_deref()?))) {
                let trace = trace::shown(lines, property.cycle_at, look);
                out += &format!("    {name}:\n{trace}{}", property.explained(look.width));
            }
        }
        out
    }
}
