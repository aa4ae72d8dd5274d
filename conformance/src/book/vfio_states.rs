//! The migration states of a VFIO device with some features, and the arcs that each SET takes.

use std::collections::BTreeMap;

use devmig_engine::columns::grid;
use devmig_model::protocol::vfio::lint::spelled;
use devmig_model::protocol::vfio::path::{NoPath, Reading};
use devmig_model::protocol::vfio::table::{State, Table};
use devmig_model::registry::Library;
use devmig_model::spec::{SpecError, with_help};
use serde::Serialize;
use serde_json::{Map, Value};

/// A device with some features, and a reading of the rule.
pub struct Device<'a> {
    table: &'a Table,
    flags: u64,
    reading: Reading,
}

/// What a program gets: where each SET goes first.
#[derive(Serialize)]
pub struct Document {
    flags: u64,
    next: Map<String, Value>,
}

impl<'a> Device<'a> {
    /// A device with these features (joined by commas; all, if none are given), by this reading
    /// (else by what is in force).
    ///
    /// # Errors
    /// If there is no such feature or reading.
    pub fn new(
        library: &'a Library,
        flags: Option<&str>,
        reading: Option<&str>,
    ) -> Result<Self, SpecError> {
        let table = &*library.vfio().table;
        let flags = match flags {
            None => table.legal().last().copied().unwrap_or_default(),
            Some(names) => table
                .flags(names.split(',').map(str::trim))
                .map_err(|(message, help)| with_help(SpecError::new(message), help))?,
        };
        let reading = match reading {
            None => library.vfio().reading(&library.choices()),
            Some(name) => Reading::ALL
                .into_iter()
                .find(|reading| reading.name() == name)
                .ok_or_else(|| SpecError::new(format!("no interpretation is called `{name}`")))?,
        };
        Ok(Device { table, flags, reading })
    }

    /// Every state of the table, by value: those that the device lacks are errors.
    fn states(&self) -> Vec<&State> {
        let by_value: BTreeMap<u8, &State> =
            self.table.states.iter().map(|state| (state.value, state)).collect();
        by_value.into_values().collect()
    }

    fn has(&self, state: &State) -> bool {
        self.table.supports(self.flags, state.value)
    }

    /// What a program gets.
    #[must_use]
    pub fn document(&self) -> Document {
        let states = self.states();
        let first = |from: &State, to: &State| {
            let step = self.table.first_step(self.flags, self.reading, from.value, to.value);
            step.map_or_else(|_| "error".to_owned(), |step| self.table.name(step))
        };
        let row = |from: &&State| {
            let cells = states.iter().map(|to| (to.name.clone(), Value::from(first(from, to))));
            (from.name.clone(), Value::Object(cells.collect()))
        };
        Document { flags: self.flags, next: states.iter().map(row).collect() }
    }

    /// One line for what the device is.
    fn heading(&self) -> String {
        let names = self.table.flag_names(self.flags);
        format!("a device with {names} (flags {}), by the reading `{}`", self.flags, self.reading)
    }

    /// The arcs, each with what it brings about.
    fn arcs(&self) -> Vec<[String; 3]> {
        let arcs = self.table.projected(self.flags, self.reading).into_iter();
        arcs.map(|(from, to)| {
            let effects = self.table.effects(from, to).words();
            [self.table.name(from), self.table.name(to), effects]
        })
        .collect()
    }

    /// The pairs that take more than one arc, or none: with the path, or why there is none.
    fn combinations(&self) -> Vec<[String; 3]> {
        let states: Vec<_> =
            self.states().into_iter().filter(|state| self.has(state) && !state.is_final).collect();
        let mut all = Vec::new();
        for from in &states {
            for to in &states {
                let path = self.table.path(self.flags, self.reading, from.value, to.value);
                let words = match path {
                    Ok(path) if path.len() > 2 => spelled(self.table, &path),
                    Ok(_) => continue,
                    Err(NoPath::Blocked) => "error: blocked".to_owned(),
                    Err(NoPath::Ambiguous(paths)) => {
                        let each = paths.iter().map(|path| spelled(self.table, path));
                        format!("ambiguous: {}", each.collect::<Vec<_>>().join(" or "))
                    }
                    Err(_) => "error: no path".to_owned(),
                };
                all.push([from.name.clone(), to.name.clone(), words]);
            }
        }
        all
    }

    /// For the console.
    #[must_use]
    pub fn text(&self) -> String {
        let mark = |proposed: bool| if proposed { "+" } else { " " };
        let mut out = format!("{}\n\nstates\n", self.heading());
        let state = |state: &&State| {
            let is = if self.has(state) { state.attributes() } else { "not there".to_owned() };
            let name = format!("{} {}", mark(state.proposed), state.name);
            vec![name, format!("({})", state.value), is]
        };
        out += &grid(&self.states().iter().map(state).collect::<Vec<_>>());
        out += "\narcs\n";
        out += &rows(&self.arcs());
        out += "\ncombinations\n";
        out += &rows(&self.combinations());
        out
    }

    /// For the book.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = format!("## {}\n\n| arc | |\n|---|---|\n", self.heading());
        for [from, to, effects] in self.arcs() {
            out += &format!("| {from} → {to} | {effects} |\n");
        }
        out += "\n| combination | |\n|---|---|\n";
        for [from, to, path] in self.combinations() {
            out += &format!("| {from} → {to} | {path} |\n");
        }
        out
    }

    /// A state diagram, for Mermaid.
    #[must_use]
    pub fn diagram(&self) -> String {
        let mut out = "stateDiagram-v2\n".to_owned();
        for state in self.states().into_iter().filter(|state| self.has(state)) {
            out += &format!("    {}: {}<br>{}\n", state.name, state.name, state.attributes());
        }
        for [from, to, effects] in self.arcs() {
            let label = if effects.is_empty() { String::new() } else { format!(": {effects}") };
            out += &format!("    {from} --> {to}{label}\n");
        }
        out
    }
}

fn rows(rows: &[[String; 3]]) -> String {
    let line = |[from, to, words]: &[String; 3]| vec![format!("  {from} -> {to}"), words.clone()];
    grid(&rows.iter().map(line).collect::<Vec<_>>())
}

/// Every device, for the book.
pub(super) fn page(library: &Library) -> String {
    let table = &*library.vfio().table;
    let mut out = "| state | value | |\n|---|--:|---|\n".to_owned();
    let mut states: Vec<_> = table.states.iter().collect();
    states.sort_by_key(|state| state.value);
    for state in states {
        out += &format!("| {} | {} | {} |\n", state.name, state.value, state.attributes());
    }
    for flags in table.legal().into_iter().rev() {
        let device = Device { table, flags, reading: library.vfio().reading(&library.choices()) };
        out += &format!("\n{}", device.markdown());
        out += &format!("\n```mermaid\n{}```\n", device.diagram());
    }
    out
}
