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

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use devmig_engine::clause::ClauseId;
use devmig_engine::machine::{Machine as _, Reaction};
use devmig_engine::rules::Rules;
use devmig_model::protocol::vhost_user::event::{Event, Message, Value};
use devmig_model::protocol::vhost_user::machine::VhostUser;
use devmig_model::protocol::vhost_user::program::{Number, Step};
use devmig_model::protocol::vhost_user::state::{State, Transfer};
use devmig_model::protocol::vhost_user::systems::F_PROTOCOL_FEATURES;
use devmig_model::protocol::vhost_user::table::MessageDef;
use devmig_model::protocol::vhost_user::vocabulary::{Answer, Effect};
use devmig_model::protocol::vhost_user::wire::PayloadKind;
use devmig_model::registry::Library;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drive::{Keeps, Move, alphabet, has, resets};
use super::script::{self, Act};
use super::session::StepOutcome;
use super::suite::{Need, Test};
use crate::harness::report::SuiteReport;

use arc::{Arc, Edge, Leads, Node, arc};
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

/// How much of the machine was driven.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// Arcs that exist.
    pub arcs: usize,
    /// Arcs that were driven.
    pub driven: usize,
    /// Arcs that were not, by the reason.
    pub not_driven: BTreeMap<String, Vec<String>>,
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
        let mut guide = Guide {
            library,
            acts: alphabet(&table).into_iter().map(|letter| letter.act).collect(),
            machine: VhostUser { table, laws, readings, bounds },
            rules: Rules { choices: library.spec.defaults(), off: library.spec.unobservable() },
            protocol: 0,
        };
        let mut making = Making::default();
        for part in std::iter::once(None).chain(gates.iter().map(Some)) {
            guide.protocol = part.map_or(0, |(_, bit)| 1 << bit);
            guide.tour(part.map(|(name, bit)| (name.as_str(), *bit)), &mut making);
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

impl Coverage {
    /// A few lines for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!("{} of {} arcs of the machine driven\n", self.driven, self.arcs);
        for (why, arcs) in &self.not_driven {
            let first = arcs.first().map_or("", String::as_str);
            let more = match arcs.len() {
                1 => String::new(),
                n => format!(" and {} more", n - 1),
            };
            out += &format!("  {:>4} not: {why}\n            {first}{more}\n", arcs.len());
        }
        out
    }
}
