//! Tours: scripts that drive every arc of the machine, generated from its table.
//!
//! ```text
//!   table --> alphabet --+
//!                        +--> graph of one ring, one front-end, an eager back-end
//!   default readings ----+        |
//!                                 +--> covering walk: to the nearest arc not driven yet, again and again
//!                                 |        --> scripts, one feature at a time
//!                                 +--> arcs that no front-end may drive, each with its reason
//! ```
//!
//! An *arc* is a row of a message (or a kick, a request, a read or written state) in a *situation*:
//! started or stopped, enabled or disabled, which features are acknowledged, the status, where a
//! transfer stands, whether a request waits.
//!
//! | file | its one job |
//! |---|---|
//! | `tour.rs` | the tours of a library, and how much of the machine a run of them has driven |
//! | `tour/arc.rs` | what an arc is, and what it is called |
//! | `tour/graph.rs` | what can be reached, and how |
//! | `tour/cover.rs` | the covering walk |
//!
//! **Invariants.** The same table gives the same tours. An arc is counted as driven only if its step
//! was taken in a test that came that far; every other one is named, with the reason.
//!
//! **Not here:** other readings than the default ones (a walk meets them), several rings.

mod arc;
mod cover;
mod graph;

use std::collections::{BTreeMap, HashSet};

use devmig_engine::rules::Rules;
use devmig_model::protocol::vhost_user::machine::VhostUser;
use devmig_model::registry::Library;

use super::drive::alphabet;
use super::suite::Test;
use crate::harness::parallel::in_turn;
use crate::harness::report::{Coverage, SuiteReport};
use crate::harness::verdict::StepOutcome;

use cover::Making;
use graph::Guide;

/// The tours, and the arcs that they drive.
#[derive(Clone, Debug)]
pub struct Tours {
    /// As tests.
    pub tests: Vec<Test>,
    /// For each test, the arc that each of its steps drives first.
    arcs: Vec<Vec<Option<usize>>>,
    /// All arcs, by number.
    names: Vec<String>,
    /// Arcs that no tour drives, and why.
    barred: BTreeMap<String, String>,
}

impl Tours {
    /// All tours of a library's table.
    #[must_use]
    pub fn of(library: &Library) -> Self {
        let VhostUser { table, laws, readings, bounds } = library.vhost_user().tester();
        let mut gates: Vec<(String, u8)> = Vec::new();
        for gate in table.messages.iter().filter_map(|def| def.gate.as_ref()) {
            if !gates.iter().any(|(name, _)| *name == gate.feature) {
                gates.push((gate.feature.clone(), gate.bit));
            }
        }
        let guide = Guide {
            library,
            acts: alphabet(&table).into_iter().map(|letter| letter.act).collect(),
            machine: VhostUser { table, laws, readings, bounds },
            rules: Rules { choices: library.spec.defaults(), off: library.spec.unobservable() },
            protocol: 0,
        };
        let parts: Vec<_> = std::iter::once(None).chain(gates.iter().map(Some)).collect();
        let guide_of = |part: &Option<&(String, u8)>| {
            let protocol = part.map_or(0, |(_, bit)| 1 << bit);
            Guide { protocol, ..guide.clone() }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let graphs = in_turn(&parts, threads, |part| guide_of(part).graph());
        let mut making = Making::default();
        for (part, graph) in parts.iter().zip(graphs) {
            if let Some(graph) = graph {
                let named = part.map(|(name, bit)| (name.as_str(), *bit));
                guide_of(part).tour(named, graph, &mut making);
            }
        }
        let Making { known, names, barred, tests, arcs } = making;
        let barred = barred.into_iter().filter(|(arc, _)| !known.contains_key(arc));
        let barred = barred.map(|(arc, why)| (guide.name(&arc), why)).collect();
        let mut tours = Tours { tests, arcs, names, barred };
        tours.other_readings(library, &guide.machine);
        tours
    }

    /// Rows that only another reading uses.
    fn other_readings(&mut self, library: &Library, machine: &VhostUser<1>) {
        let defaults = library.spec.defaults();
        for def in &machine.table.messages {
            for (index, row) in def.rows.iter().enumerate() {
                let Some((choice, option)) = row.choice else { continue };
                if defaults.fixed(choice) == Some(option) {
                    continue;
                }
                let (choice_name, option) =
                    (library.spec.choice_name(choice), library.spec.option_name(choice, option));
                let why = format!("only with {choice_name} = {option}");
                self.barred.insert(format!("{} (row {})", def.name, index + 1), why);
            }
        }
    }

    /// How many arcs the tours drive if nothing is passed over.
    #[must_use]
    pub fn arcs(&self) -> usize {
        self.names.len()
    }

    /// What a run has driven.
    #[must_use]
    pub fn coverage(&self, report: &SuiteReport) -> Coverage {
        let mut driven: HashSet<usize> = HashSet::new();
        let mut why: BTreeMap<usize, String> = BTreeMap::new();
        for (test, arcs) in self.tests.iter().zip(&self.arcs) {
            let Some(result) = report.results.iter().find(|result| result.test == test.id) else {
                for arc in arcs.iter().flatten() {
                    why.entry(*arc).or_insert_with(|| "its tour did not run".into());
                }
                continue;
            };
            for (at, arc) in arcs.iter().enumerate() {
                let Some(arc) = *arc else { continue };
                match result.taken.get(at) {
                    Some(StepOutcome::Yes) => {
                        driven.insert(arc);
                    }
                    Some(StepOutcome::No(reason)) => {
                        why.insert(arc, reason.clone());
                    }
                    None => {
                        let observed = result.observed.as_deref().unwrap_or("not reached");
                        let reason = format!("{} ended before: {observed}", test.id);
                        why.entry(arc).or_insert(reason);
                    }
                }
            }
        }
        let mut not_driven: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (arc, name) in self.names.iter().enumerate().filter(|(arc, _)| !driven.contains(arc)) {
            let reason = why.get(&arc).cloned().unwrap_or_else(|| "not reached".into());
            not_driven.entry(reason).or_default().push(name.clone());
        }
        for (name, reason) in &self.barred {
            not_driven.entry(reason.clone()).or_default().push(name.clone());
        }
        Coverage { arcs: self.names.len() + self.barred.len(), driven: driven.len(), not_driven }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vhost_user::script::Act;
    use devmig_model::protocol::vhost_user::program::Step;

    /// How many arcs are driven of a back-end that closes at RESET_OWNER and at a second SET_OWNER.
    fn before_closing(library: &Library, tours: &Tours) -> usize {
        let table = &library.vhost_user().table;
        let [set, reset] = ["SET_OWNER", "RESET_OWNER"].map(|name| table.named(name).unwrap());
        let sends = |act: &Act, message| match act {
            Act::Program(Step::Send { id, .. }, _) => *id == message,
            _ => false,
        };
        let driven = tours.tests.iter().zip(&tours.arcs).map(|(test, arcs)| {
            let mut owners = 0;
            let steps = test.steps.iter().zip(arcs).take_while(|(act, _)| {
                owners += usize::from(sends(act, set));
                owners < 2 && !sends(act, reset)
            });
            steps.filter(|(_, arc)| arc.is_some()).count()
        });
        driven.sum()
    }

    #[test]
    fn a_back_end_that_closes_at_reset_owner_is_toured_nearly_as_a_whole() {
        let library = Library::builtin().unwrap();
        let tours = Tours::of(&library);
        let (driven, all) = (before_closing(&library, &tours), tours.arcs());
        assert!(driven * 10 > all * 8, "{driven} of {all}");
        // The others are driven too, by the tours after them.
        assert!(all > driven);
    }
}
