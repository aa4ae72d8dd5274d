//! Counterexamples for people: one model of a trace, and a file for each form in which it is shown.
//!
//! ```text
//!  Report --of--> Story --+-- console   (devmig_engine::explore::trace, wherever text is printed)
//!                         +-- mail      72 columns, ASCII
//!                         +-- mermaid   a sequence diagram, a lane for each party
//!                         +-- itf       JSON of Apalache's Informal Trace Format
//!                         +-- html      a page on which one steps with the keyboard
//!                         +-- script    a script for `devmig test vhost-user --script`
//! ```
//!
//! **Invariant.** A story holds text of a proposal's file, which may be any text. Each renderer escapes
//! it for its form: nothing in a story becomes a control character, a tag or a keyword.

pub mod html;
pub mod itf;
pub mod mail;
pub mod mermaid;
pub mod script;

use devmig_engine::explore::Report;
use devmig_engine::explore::report::{PropertyReport, PropertyVerdict};
use devmig_engine::explore::trace::Line;
use devmig_engine::system::PropertyKind;
use serde_json::{Map, Value};

/// A trace with all that is to be said of it.
#[derive(Clone, Debug)]
pub struct Story {
    /// The system.
    pub system: String,
    /// What the system shows.
    pub about: String,
    /// The property, or the clause that a program breaks.
    pub name: String,
    /// The clause behind it.
    pub clause: Option<String>,
    /// Of which instance it speaks.
    pub instance: Option<String>,
    /// What kind of property it is.
    pub kind: PropertyKind,
    /// Whether the trace violates it; if not, it is an example of what can happen.
    pub violated: bool,
    /// Whether the system's file says so.
    pub as_expected: bool,
    /// What the property says, in one sentence.
    pub says: Option<String>,
    /// Why the last step breaks it.
    pub why: Option<String>,
    /// What stays undone.
    pub note: Option<String>,
    /// The state in which it begins.
    pub initial: Map<String, Value>,
    /// Its steps.
    pub lines: Vec<Line>,
    /// The number of the first event of a cycle that then repeats forever.
    pub cycle_at: Option<usize>,
    /// The command that finds it.
    pub command: String,
}

/// Where stories come from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// What the system shows.
    pub about: String,
    /// The state in which it begins.
    pub initial: Map<String, Value>,
    /// The command that finds them.
    pub command: String,
}

impl Story {
    /// The counterexamples of a report; `all`: also an example of each thing that can happen, and of each
    /// clause that is broken as declared.
    #[must_use]
    pub fn of(report: &Report, origin: &Origin, all: bool) -> Vec<Story> {
        let told = |p: &&PropertyReport| p.verdict == PropertyVerdict::Violated || all;
        let mut stories: Vec<Story> = report
            .properties
            .iter()
            .filter(told)
            .filter_map(|property| {
                Some(Story {
                    name: property.name.clone(),
                    clause: property.clause.clone(),
                    instance: property.instance.clone(),
                    kind: property.kind,
                    violated: property.verdict == PropertyVerdict::Violated,
                    as_expected: property.as_expected,
                    says: property.says.clone(),
                    why: property.why.clone(),
                    note: property.note.clone(),
                    lines: property.trace.clone()?,
                    cycle_at: property.cycle_at,
                    ..Story::empty(report, origin)
                })
            })
            .collect();
        if all {
            stories.extend(report.broken.iter().map(|ending| Story {
                name: format!("breaks {}", ending.clause),
                clause: Some(ending.clause.clone()),
                kind: PropertyKind::Rules,
                violated: true,
                as_expected: ending.declared,
                lines: ending.trace.clone(),
                ..Story::empty(report, origin)
            }));
        }
        stories
    }

    fn empty(report: &Report, origin: &Origin) -> Story {
        Story {
            system: report.system.clone(),
            about: origin.about.clone(),
            name: String::new(),
            clause: None,
            instance: None,
            kind: PropertyKind::Always,
            violated: false,
            as_expected: true,
            says: None,
            why: None,
            note: None,
            initial: origin.initial.clone(),
            lines: Vec::new(),
            cycle_at: None,
            command: origin.command.clone(),
        }
    }

    /// The verdict in words, with whether it was to be expected.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match (self.violated, self.as_expected) {
            (true, true) => "violated, as expected",
            (true, false) => "violated, NOT as expected",
            (false, _) => "an example of what can happen",
        }
    }

    /// The parties in the order in which they appear: the lanes of a diagram.
    #[must_use]
    pub fn lanes(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for line in &self.lines {
            for party in [Some(line.party.as_str()), line.to.as_deref()].into_iter().flatten() {
                if !all.contains(&party) {
                    all.push(party);
                }
            }
        }
        all
    }

    /// The state before each step, and after the last.
    #[must_use]
    pub fn states(&self) -> Vec<Map<String, Value>> {
        let mut state = self.initial.clone();
        let mut all = vec![state.clone()];
        for line in &self.lines {
            for (name, values) in &line.changed {
                match values.get(1) {
                    None | Some(Value::Null) => drop(state.shift_remove(name)),
                    Some(value) => drop(state.insert(name.clone(), value.clone())),
                }
            }
            all.push(state.clone());
        }
        all
    }
}
