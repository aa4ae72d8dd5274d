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
use devmig_engine::explore::Report;
use devmig_engine::explore::report::{PropertyReport, PropertyVerdict};
use devmig_engine::explore::search::Limits;
use devmig_engine::explore::trace::{self, Line};
use devmig_engine::system::PropertyKind;
use devmig_model::protocol::size::Scale;
use devmig_model::protocol::vfio::lint::{Expect, Finding, Lint};
use devmig_model::registry::{Library, Proposal};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::decide::{Decided, decided};
use super::grid::{grid, thousands};
use super::hunt::{Hunted, hunted};
use super::progress::Meter;
use super::{Error, Status, select};

/// One property whose verdict is not what it was.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Changed {
    /// Its name.
    pub(crate) name: String,
    /// The clause behind it.
    pub(crate) clause: Option<String>,
    /// What it says.
    pub(crate) kind: PropertyKind,
    /// Under the base; `None`: not checked there.
    pub(crate) base: Option<PropertyVerdict>,
    /// Under the proposal; `None`: no longer checked.
    pub(crate) proposed: Option<PropertyVerdict>,
    /// The counterexample: of the proposal if it violates the property, else of the base.
    pub(crate) trace: Option<Vec<Line>>,
    #[serde(skip)]
    cycle_at: Option<usize>,
}

/// One system under both.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Compared {
    /// Its name.
    pub(crate) system: String,
    /// The proposal brings it in.
    pub(crate) new: bool,
    /// The properties whose verdicts differ; for a new system all but twins that hold.
    pub(crate) changes: Vec<Changed>,
    /// Under the base.
    pub(crate) base: Option<Report>,
    /// Under the proposal.
    pub(crate) proposed: Report,
}

/// One expectation.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Expected {
    /// Of which system.
    pub(crate) system: String,
    /// Under which options.
    pub(crate) under: Map<String, Value>,
    /// What should be violated.
    pub(crate) expected: Vec<String>,
    /// What is.
    pub(crate) violated: Vec<String>,
    /// Whether they are the same, and the run was complete.
    pub(crate) met: bool,
    /// The run.
    #[serde(skip)]
    pub(crate) report: Report,
}

/// What becomes of VFIO's migration states.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct States {
    /// What is found.
    pub(crate) found: Lint,
    /// What should be.
    pub(crate) expected: Expect,
    /// Whether they are the same.
    pub(crate) met: bool,
}

/// All that a proposal comes to.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Examined {
    /// The version of this form: 2. In version 1 the properties `rules-kept`, `deadlock-free` and
    /// `no-starvation` were called `rules`, `stuck` and `progress`, and `X: non-vacuous` was called
    /// `X: can happen`; all else is the same.
    schema: u32,
    /// Its short name.
    pub(crate) proposal: String,
    /// Its title.
    pub(crate) title: String,
    #[serde(skip)]
    about: String,
    /// Every expectation is met, and every system as expected.
    pub(crate) as_expected: bool,
    /// The systems.
    pub(crate) systems: Vec<Compared>,
    /// The tables of its questions.
    pub(crate) decisions: Vec<Decided>,
    /// Its expectations.
    pub(crate) expectations: Vec<Expected>,
    /// The bugs that it brings, each with the properties that detect it.
    pub(crate) bugs: Vec<Hunted>,
    /// What it does to VFIO's migration states, if it touches them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) states: Option<States>,
}

/// The systems that a proposal is about: those it names, and those it adds.
pub(crate) fn concerned<'a>(
    base: &Library,
    library: &'a Library,
    proposal: &'a Proposal,
) -> Vec<&'a str> {
    let named = proposal.systems.iter().map(String::as_str);
    let mut all: Vec<&str> = named.collect();
    for name in library.system_names() {
        if !is_known(base, name) && !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// Whether there is such a system without the proposal.
pub(crate) fn is_known(base: &Library, name: &str) -> bool {
    base.system_names().any(|known| known == name)
}

/// Runs a proposal's systems, all that concern it or these.
///
/// # Errors
/// If a system cannot be explored.
pub(crate) fn examine(
    base: &Library,
    library: &Library,
    proposal: &Proposal,
    only: Option<&[String]>,
    pins: &[String],
    limits: Limits<'_>,
) -> Result<Examined, Error> {
    let names = match only {
        None => concerned(base, library, proposal),
        Some(names) => names.iter().map(String::as_str).collect(),
    };
    // A pin of a choice that only the proposal knows does not concern the base.
    let base_pins: Vec<_> = pins.iter().filter_map(|pin| base.spec.pin(pin).ok()).collect();
    let own_pins =
        pins.iter().map(|pin| library.spec.pin(pin)).collect::<Result<Vec<(ChoiceId, u8)>, _>>()?;
    let wanted = |system: &str| only.is_none() || names.contains(&system);
    let expects: Vec<_> = proposal.expects.iter().filter(|e| wanted(&e.system)).collect();
    let questions: Vec<_> = library
        .decisions
        .iter()
        .skip(base.decisions.len())
        .filter(|decision| wanted(&decision.system))
        .collect();
    let meter = Meter::new(2 * names.len() + questions.len() + expects.len());

    let mut systems = Vec::new();
    for name in &names {
        let before = match base.find(name, &base_pins) {
            Some(system) => Some(meter.explore(base, &*system, limits)?),
            None => None,
        };
        let system = select::system(library, name, &own_pins, &Scale::default())?;
        let after = meter.explore(library, &*system, limits)?;
        systems.push(compare(before, after));
    }
    let mut decisions = Vec::new();
    for question in questions {
        let choices = &question.choices;
        decisions.push(decided(
            library,
            &question.system,
            choices,
            (&own_pins, &Scale::default()),
            limits,
        )?);
    }
    let mut expectations = Vec::new();
    for expect in expects {
        let options = [&own_pins[..], &expect.under[..]].concat();
        let system = select::system(library, &expect.system, &options, &Scale::default())?;
        let report = meter.explore(library, &*system, limits)?;
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
        let found = library.vfio().lint(base.vfio(), library.vfio().reading(&library.choices()));
        let met = expected.met(&found);
        States { found, expected, met }
    });
    let mut bugs = Vec::new();
    for bug in library.bugs().iter().filter(|bug| bug.proposed && wanted(bug.system)) {
        bugs.push(hunted(library, bug, limits)?);
    }
    let as_expected = expectations.iter().all(|expect| expect.met)
        && bugs.iter().all(|bug| bug.met)
        && states.as_ref().is_none_or(|states| states.met)
        && systems.iter().all(|s| s.proposed.as_expected || settled(&s.system));
    Ok(Examined {
        schema: 2,
        proposal: proposal.id.clone(),
        title: proposal.title.clone(),
        about: proposal.about.clone(),
        as_expected,
        systems,
        decisions,
        expectations,
        bugs,
        states,
    })
}

/// The names of the properties that are violated.
fn violated(report: &Report) -> Vec<String> {
    let violated = report.properties.iter().filter(|p| p.verdict == PropertyVerdict::Violated);
    violated.map(|property| property.name.clone()).collect()
}

fn compare(base: Option<Report>, proposed: Report) -> Compared {
    let mut changes = Vec::new();
    for property in &proposed.properties {
        let before = base.as_ref().and_then(|report| report.property(&property.name));
        let verdict = before.map(|property| property.verdict);
        let twin = property.kind == PropertyKind::Reachable;
        let silent = verdict.is_none() && twin && property.verdict == PropertyVerdict::Holds;
        if verdict != Some(property.verdict) && !silent {
            let proposed = Some(property.verdict);
            let shown = shown(property).or_else(|| before.and_then(shown));
            changes.push(changed(property, verdict, proposed, shown));
        }
    }
    for property in base.iter().flat_map(|report| &report.properties) {
        let twin = property.kind == PropertyKind::Reachable;
        if proposed.property(&property.name).is_none() && !twin {
            changes.push(changed(property, Some(property.verdict), None, shown(property)));
        }
    }
    Compared { system: proposed.system.clone(), new: base.is_none(), changes, base, proposed }
}

type Shown = (Vec<Line>, Option<usize>);

fn shown(property: &PropertyReport) -> Option<Shown> {
    let trace = property.trace.clone().filter(|_| property.verdict == PropertyVerdict::Violated)?;
    Some((trace, property.cycle_at))
}

fn changed(
    property: &PropertyReport,
    base: Option<PropertyVerdict>,
    proposed: Option<PropertyVerdict>,
    shown: Option<Shown>,
) -> Changed {
    let (name, clause, kind) = (property.name.clone(), property.clause.clone(), property.kind);
    let (trace, cycle_at) = shown.map_or((None, None), |(trace, at)| (Some(trace), at));
    Changed { name, clause, kind, base, proposed, trace, cycle_at }
}

impl Examined {
    /// The exit code.
    pub(crate) fn status(&self) -> Status {
        let reports = self.systems.iter().map(|s| &s.proposed);
        let expected = self.expectations.iter().map(|e| &e.report);
        let bugs = self.bugs.iter().map(|bug| &bug.report);
        let cut = reports.chain(expected).chain(bugs).any(|report| report.incomplete.is_some());
        match self.as_expected {
            true => Status::Good,
            false if cut => Status::Incomplete,
            false => Status::Bad,
        }
    }

    /// Plain text
    pub(crate) fn text(&self) -> String {
        let mut out = format!("{}: {}\n  {}\n", self.proposal, self.title, self.about);
        for system in &self.systems {
            out += &format!("\n{}\n", system.heading());
            for change in &system.changes {
                out += &change.text();
            }
        }
        for decision in &self.decisions {
            out += &format!("\n{}", decision.text());
        }
        if let Some(states) = &self.states {
            out += &format!("\nmigration states\n{}", lint_text(&states.found));
            out += match states.met {
                true => "  as the proposal expects\n",
                false => "  NOT as the proposal expects\n",
            };
        }
        if !self.expectations.is_empty() {
            out += "\nexpectations\n";
        }
        for expected in &self.expectations {
            out += &expected.text();
        }
        if !self.bugs.is_empty() {
            out += "\nmistakes\n";
        }
        for bug in &self.bugs {
            out += &format!("  {}", bug.line());
        }
        out += match self.as_expected {
            true => "\nall as expected\n",
            false => "\nNOT as expected\n",
        };
        out
    }
}

/// What becomes of the migration states: for each list every pair, with the features of the devices.
pub(crate) fn lint_text(found: &Lint) -> String {
    let lists = [
        ("more than one path", &found.ambiguous),
        ("changes for devices without a new feature", &found.disturbs),
        ("changes with a new feature", &found.changes),
    ];
    let mut out = String::new();
    for (title, findings) in lists {
        if findings.is_empty() {
            out += &format!("  {title}: nothing\n");
            continue;
        }
        out += &format!("  {title}\n");
        let row = |finding: &Finding| {
            let change = match finding.before.as_str() {
                "" => finding.after.clone(),
                before => format!("{before} -> {}", finding.after),
            };
            vec![
                format!("    flags {}", finding.flags),
                finding.pair.replace(" -> ", " to "),
                change,
            ]
        };
        out += &grid(&findings.iter().map(row).collect::<Vec<_>>());
    }
    out
}

impl Compared {
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
    fn text(&self) -> String {
        let clause = self.clause.iter().map(|clause| format!(" [{clause}]")).collect::<String>();
        let name = format!("{}{clause}", self.name);
        let line = match (self.base, self.proposed) {
            (Some(base), Some(proposed)) => format!("  {base} -> {proposed}  {name}"),
            (None, Some(proposed)) => format!("  {proposed}  {name}"),
            (base, None) => {
                let base = base.map(|b| b.to_string()).unwrap_or_default();
                format!("  {base} -> not checked  {name}")
            }
        };
        let mut out = line + "\n";
        if self.base == Some(PropertyVerdict::Violated) && self.trace.is_some() {
            out += "    under the base:\n";
        }
        out += &self.trace.as_deref().map_or_else(String::new, |t| trace::text(t, self.cycle_at));
        out
    }
}

impl Expected {
    /// The options, in words.
    pub(crate) fn options(&self) -> String {
        let option = |(choice, option): (&String, &Value)| {
            format!("{choice} = {}", option.as_str().unwrap_or_default())
        };
        self.under.iter().map(option).collect::<Vec<_>>().join(", ")
    }

    fn text(&self) -> String {
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
            for name in self.violated.iter().filter(|name| !self.expected.contains(name)) {
                let property = self.report.property(name);
                if let Some((lines, at)) = property.and_then(shown) {
                    out += &format!("    {name}:\n{}", trace::text(&lines, at));
                }
            }
        }
        out
    }
}
