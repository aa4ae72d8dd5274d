//! Several systems in one document or one table: their reports, or what there is to check.

use devmig_engine::columns::{count, grid, thousands};
use devmig_engine::explore::report::PropertyVerdict;
use devmig_engine::explore::trace::Look;
use devmig_engine::explore::{Check, Listed, Report, trace};
use devmig_engine::system::PropertyKind;
use schemars::JsonSchema;
use serde::Serialize;

use crate::registry::Library;

/// Several systems in one document.
#[derive(Serialize, JsonSchema)]
pub struct Reports<'a> {
    /// The version of this form: 2. In version 1 the properties `rules-kept`, `deadlock-free` and
    /// `no-starvation` were called `rules`, `stuck` and `progress`, and `X: non-vacuous` was called
    /// `X: can happen`; all else is the same.
    schema: u32,
    /// Every system is as expected.
    as_expected: bool,
    /// A signal ended the run before every system was explored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    interrupted: bool,
    /// The systems, in order.
    systems: Vec<&'a Report>,
}

impl<'a> Reports<'a> {
    /// These; `interrupted` says that there would be more.
    #[must_use]
    pub fn of(systems: Vec<&'a Report>, interrupted: bool) -> Self {
        let as_expected = !interrupted && systems.iter().all(|report| report.as_expected);
        Reports { schema: 2, as_expected, interrupted, systems }
    }

    /// One line a system, and a summary.
    #[must_use]
    pub fn table(&self) -> String {
        let mut rows = vec![head()];
        rows.extend(self.systems.iter().copied().map(row));
        let whole = self.systems.iter().filter(|report| report.not_reduced).count();
        let whole = match whole {
            0 => String::new(),
            n => format!("{} without interchangeable parts, not reduced\n", count(n, "system")),
        };
        format!("{}\n{whole}{}\n", grid(&rows), self.summary())
    }

    /// How many systems, and how many not as expected.
    fn summary(&self) -> String {
        let systems = count(self.systems.len(), "system");
        let not: Vec<_> = self.systems.iter().filter(|report| !report.as_expected).collect();
        match not.len() {
            0 => format!("{systems}: all as expected"),
            n => {
                let names: Vec<_> = not.iter().map(|report| report.system.as_str()).collect();
                format!("{systems}: {n} NOT as expected: {}", names.join(", "))
            }
        }
    }
}

/// The names of the columns of a table of reports.
#[must_use]
pub fn head() -> Vec<String> {
    ["system", "states", "transitions", "depth", "verdict", "as expected"]
        .map(str::to_owned)
        .to_vec()
}

/// Whether it is as expected.
#[must_use]
pub fn yes(as_expected: bool) -> String {
    if as_expected { "yes" } else { "NO" }.to_owned()
}

/// A system's line.
#[must_use]
pub fn row(report: &Report) -> Vec<String> {
    vec![
        report.system.clone(),
        thousands(report.states),
        thousands(report.transitions),
        report.depth.to_string(),
        report.verdict.to_string(),
        yes(report.as_expected),
    ]
}

/// A report on one system, with what the system is about; if it is to be shown in full, with a trace of
/// everything that can happen.
#[must_use]
pub fn one(about: &str, report: &Report, look: &Look<'_>) -> String {
    let text = report.shown(look);
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let about = trace::wrapped_at(&format!("  {about}"), 2, look.width);
    let mut all = format!("{first}\n{about}\n{rest}");
    if look.full {
        for property in &report.properties {
            if let (PropertyVerdict::Holds, Some(lines)) = (property.verdict, &property.trace) {
                all += &format!("\n{}, for example:\n", property.name);
                all += &trace::shown(lines, None, look);
            }
        }
        let endings = report.broken.iter().map(|e| ("broken", e));
        for (how, ending) in endings.chain(report.undefined.iter().map(|e| ("undefined after", e)))
        {
            all += &format!("\n{how} {}, for example:\n", ending.clause);
            all += &trace::shown(&ending.trace, None, look);
        }
    }
    all
}

/// What there is to check.
#[derive(Serialize, JsonSchema)]
pub struct List<'a> {
    /// The version of this form: 2. In version 1 the properties `rules-kept`, `deadlock-free` and
    /// `no-starvation` were called `rules`, `stuck` and `progress`, and `X: non-vacuous` was called
    /// `X: can happen`; all else is the same.
    schema: u32,
    /// The systems, in order.
    systems: Vec<ListedSystem<'a>>,
}

/// One system.
#[derive(Serialize, JsonSchema)]
struct ListedSystem<'a> {
    /// Its name.
    system: &'a str,
    /// Its protocol.
    #[serde(rename = "area")]
    protocol: &'a str,
    /// What it is about.
    about: &'a str,
    /// Its properties, and those that are checked of every system.
    properties: Vec<ListedProperty<'a>>,
}

/// One property.
#[derive(Serialize, JsonSchema)]
struct ListedProperty<'a> {
    /// Its name, unique in its system.
    name: String,
    /// The clause behind it.
    clause: Option<&'a str>,
    /// What it says.
    kind: PropertyKind,
}

impl<'a> List<'a> {
    /// These.
    #[must_use]
    pub fn of(library: &'a Library, systems: &'a [Box<dyn Check>]) -> Self {
        let property = |listed: Listed| ListedProperty {
            name: listed.name,
            clause: listed.clause.map(|clause| library.spec.clause_name(clause)),
            kind: listed.kind,
        };
        let systems = systems.iter().map(|system| ListedSystem {
            system: system.name(),
            protocol: system.protocol(),
            about: system.about(),
            properties: system.properties().into_iter().map(property).collect(),
        });
        List { schema: 2, systems: systems.collect() }
    }

    /// A line a system.
    #[must_use]
    pub fn text(&self) -> String {
        let row = |s: &ListedSystem<'_>| vec![s.system.to_owned(), s.about.to_owned()];
        grid(&self.systems.iter().map(row).collect::<Vec<_>>())
    }
}
