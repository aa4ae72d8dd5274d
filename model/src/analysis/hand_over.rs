//! The hand-over table: for every program, fault and step, who runs in the end and what is lost.
//!
//! ```text
//!   a system + one property for each (fault, step, outcome): "it does not end so"
//!       --explore--> violated: it can end so, and here is a shortest trace
//! ```

use schemars::JsonSchema;
use serde::Serialize;

use devmig_engine::explore::report::PropertyVerdict;
use devmig_engine::explore::trace::{self, Line, wrapped};
use devmig_engine::system::Property;

use super::{Error, Explorer};
use crate::protocol::hand_over::event::Fault;
use crate::protocol::hand_over::outcome::Outcome;
use crate::protocol::hand_over::properties::GlobalState;
use crate::protocol::hand_over::systems::SystemDef;
use crate::protocol::hand_over::world::Phase;
use crate::registry::Library;

/// The name of the properties that are made here.
const CELL: &str = "cell";

/// What a fault at one step leads to.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Cell {
    /// The fault.
    pub fault: &'static str,
    /// How far the hand-over was; nothing, if nothing goes wrong.
    pub step: Option<&'static str>,
    /// Every outcome that is possible.
    pub outcomes: Vec<Ending>,
}

/// One outcome.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Ending {
    /// What it is.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// It in words.
    pub words: String,
    /// Both run, or something is lost without a report of it.
    pub wrong: bool,
    /// A shortest trace to it, if it is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Vec<Line>>,
}

/// A system with all its cells.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Row {
    /// The system.
    pub system: String,
    /// What it is.
    pub about: String,
    /// Why other outcomes may exist, if a bound cut the run short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incomplete: Option<String>,
    /// Its cells, by fault and step.
    pub cells: Vec<Cell>,
}

/// The whole table.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Table {
    /// The version of this form: 1.
    pub schema: u32,
    /// The systems, in the order of the files.
    pub systems: Vec<Row>,
}

impl Table {
    /// Explores every system that is in the table.
    ///
    /// # Errors
    /// If one cannot be explored.
    pub fn of(explorer: &Explorer<'_>, library: &Library) -> Result<Self, Error> {
        let shown = |def: &&SystemDef| def.is_in_table();
        let systems: Vec<_> = library.hand_over().systems.iter().filter(shown).collect();
        explorer.expects(systems.len());
        let systems = systems.into_iter().map(|def| row(explorer, library, def));
        Ok(Table { schema: 1, systems: systems.collect::<Result<_, _>>()? })
    }

    /// Whether a bound cut a run short, so that other outcomes may exist.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.systems.iter().any(|row| row.incomplete.is_some())
    }
}

fn row(explorer: &Explorer<'_>, library: &Library, def: &SystemDef) -> Result<Row, Error> {
    let mut system = library.hand_over().system(def, library.rules(def));
    let faults = Fault::ALL.iter().flat_map(|fault| Phase::ALL.map(|step| (*fault, Some(step))));
    let places: Vec<_> = [(Fault::None, None)].into_iter().chain(faults).collect();
    let ends: Vec<_> =
        places.iter().flat_map(|place| Outcome::all().map(move |end| (*place, end))).collect();
    let disks = def.disks;
    let property = |(place, outcome): &((Fault, Option<Phase>), Outcome)| {
        let ((fault, step), outcome) = (*place, *outcome);
        Property::at_end(CELL, move |state: &GlobalState| {
            let s = &state.parts.0;
            let here = s.fault == fault && step.is_none_or(|step| s.at == step);
            !here || Outcome::of(s, disks) != outcome
        })
    };
    system.properties = ends.iter().map(property).collect();
    let report = explorer.explore(library, &system)?;
    let found = report.properties.into_iter().filter(|property| property.name == CELL);
    let mut cells: Vec<Cell> = Vec::new();
    for (((fault, step), outcome), property) in ends.into_iter().zip(found) {
        if property.verdict != PropertyVerdict::Violated {
            continue;
        }
        let (fault, step) = (fault.words(), step.map(Phase::words));
        let (words, wrong) = (outcome.words(), outcome.is_wrong());
        let trace = property.trace.filter(|_| wrong);
        let ending = Ending { outcome, words, wrong, trace };
        match cells.last_mut().filter(|last| (last.fault, last.step) == (fault, step)) {
            // What was reported matters where something is lost.
            Some(last) if last.outcomes.iter().any(|known| known.words == ending.words) => {}
            Some(last) => last.outcomes.push(ending),
            None => cells.push(Cell { fault, step, outcomes: vec![ending] }),
        }
    }
    let incomplete = report.incomplete;
    Ok(Row { system: report.system, about: system.about, incomplete, cells })
}

impl Cell {
    /// Its outcomes in words.
    #[must_use]
    pub fn words(&self) -> String {
        self.outcomes.iter().map(|end| &*end.words).collect::<Vec<_>>().join("; or ")
    }

    /// The fault and the step in words.
    #[must_use]
    pub fn place(&self) -> String {
        self.step.map_or(self.fault.to_owned(), |step| format!("{}, {step}", self.fault))
    }
}

/// Neighbouring steps at which a fault has the same outcomes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// The fault.
    pub fault: &'static str,
    /// The first and the last of the steps.
    pub steps: String,
    /// The outcomes in words.
    pub words: String,
}

impl Row {
    /// The cells, with neighbours that are alike put together.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<(&Cell, &Cell, String)> = Vec::new();
        for cell in &self.cells {
            let words = cell.words();
            match groups.last_mut() {
                Some((first, last, known)) if first.fault == cell.fault && *known == words => {
                    *last = cell;
                }
                _ => groups.push((cell, cell, words)),
            }
        }
        let group = |(first, last, words): (&Cell, &Cell, String)| {
            let steps = match (first.step, last.step) {
                (Some(one), Some(other)) if one == other => one.to_owned(),
                (Some(one), Some(other)) => format!("{one} to {other}"),
                _ => String::new(),
            };
            Group { fault: first.fault, steps, words }
        };
        groups.into_iter().map(group).collect()
    }
}

impl Table {
    /// For the console: the table, and a trace of every wrong outcome unless `brief`.
    #[must_use]
    pub fn text(&self, brief: bool) -> String {
        let mut out = String::new();
        for row in &self.systems {
            out += &format!("{}\n", row.system);
            if let Some(why) = &row.incomplete {
                out += &format!("  incomplete ({why}): other outcomes may exist\n");
            }
            for Group { fault, steps, words } in row.groups() {
                let place =
                    if steps.is_empty() { fault.into() } else { format!("{fault}, {steps}") };
                out += &format!("{}\n", wrapped(&format!("  {place}: {words}"), 6));
            }
            out.push('\n');
        }
        if brief {
            return out.trim_end().to_owned() + "\n";
        }
        for row in &self.systems {
            for cell in &row.cells {
                for end in &cell.outcomes {
                    let Some(lines) = &end.trace else { continue };
                    out += &format!("{}, {}: {}\n", row.system, cell.place(), end.words);
                    out += &trace::text(lines, None);
                    out.push('\n');
                }
            }
        }
        out.trim_end().to_owned() + "\n"
    }
}
