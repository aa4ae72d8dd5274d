//! Can a VM migrate, and at what downtime: each policy of a VMM against what is expected, over a grid of limits
//! and sizes of memory.
//!
//! ```text
//!   policy x pages x limit --> migration/policy, at that size
//!        with writers: safe, within the limit          nothing is written: ends, completes
//!        |
//!   table, the least limit at which all is well, and for each "no" the smallest instance with its trace
//! ```
//!
//! **Invariant.** Every cell is explored; none is computed from another.

use std::fmt::Write as _;

use devmig_engine::clause::ChoiceId;
use devmig_engine::explore::report::{PropertyReport, PropertyVerdict};
use devmig_engine::explore::trace::{self, Line};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Error, Explorer};
use crate::protocol::migration::properties;
use crate::protocol::migration::systems::SystemDef;
use crate::protocol::migration::vmm::{Limit, Tracker};
use crate::registry::Library;
use crate::spec::SpecError;

/// The system that is explored at each size.
const SYSTEM: &str = "migration/policy";
/// The sizes of memory.
const PAGES: [u8; 3] = [1, 2, 3];
/// The limits; none: any downtime will do.
const LIMITS: [Option<u8>; 5] = [Some(0), Some(1), Some(2), Some(3), None];

/// What is asked of a migration: a letter, its meaning, the property that says so, and whether it is asked of a VM
/// in which nothing is written.
pub(super) const ASKED: [(char, &str, &[&str], bool); 4] = [
    (
        'S',
        "safe: memory and devices are equal when the destination runs",
        &["memory-equal-when-the-destination-runs", "device-equal-when-it-runs"],
        false,
    ),
    (
        'L',
        "the downtime is within the limit, if nothing is written between the decision and the stop",
        &["downtime-within-limit-if-quiet-in-the-gap"],
        false,
    ),
    ('E', "the migration ends, if nothing is written", &["ends"], true),
    ('C', "the migration completes, if nothing is written", &["completes"], true),
];

/// A policy: its name, what tracks the device's writes, and the options that make it.
const POLICIES: [(&str, Tracker, &[&str]); 9] = [
    ("tracked", Tracker::Device, &["migration.query=always"]),
    ("asked at the stop", Tracker::Device, &["migration.query=at-stop"]),
    ("never asked", Tracker::Device, &["migration.query=never"]),
    ("block", Tracker::None, &["migration.untracked=block"]),
    ("skip", Tracker::None, &["migration.untracked=skip"]),
    ("abort", Tracker::None, &["migration.untracked=abort"]),
    ("refuse if limit", Tracker::None, &["migration.untracked=refuse-if-limit"]),
    ("mark all", Tracker::None, &["migration.untracked=mark-all"]),
    ("ignore", Tracker::None, &["migration.untracked=ignore"]),
];

/// One cell: a policy at a limit and a size of memory.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Cell {
    /// Pages of memory that have to be sent.
    pub pages: u8,
    /// The limit, in pages that can be sent in it; `null`: any downtime will do.
    pub limit: Option<u8>,
    /// Memory and devices are equal when the destination runs; `null`: a bound cut the run short.
    pub safe: Option<bool>,
    /// The downtime is within the limit.
    pub within_limit: Option<bool>,
    /// The migration ends.
    pub ends: Option<bool>,
    /// It completes.
    pub completes: Option<bool>,
}

impl Cell {
    fn answers(&self) -> [Option<bool>; ASKED.len()] {
        [self.safe, self.within_limit, self.ends, self.completes]
    }

    fn good(&self) -> bool {
        self.answers() == [Some(true); ASKED.len()]
    }

    fn is_cut(&self) -> bool {
        self.answers().contains(&None)
    }
}

/// The smallest instance in which something that is asked does not hold.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Counterexample {
    /// What does not hold.
    pub property: String,
    /// Pages of memory.
    pub pages: u8,
    /// The limit; `null`: any downtime will do.
    pub limit: Option<u8>,
    /// What happens.
    pub trace: Vec<Line>,
    /// The number of the first event of a cycle that then repeats for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycle_at: Option<usize>,
}

/// What would have to be set for a VM of this size to migrate.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Needs {
    /// Pages of memory.
    pub pages: u8,
    /// Whether some limit makes everything hold; `null`: a bound cut a run short that would decide it.
    pub can_migrate: Option<bool>,
    /// The least limit that does; `null`, if it is `unlimited` or there is none.
    pub least_limit: Option<u8>,
    /// Why, in words.
    pub reason: String,
}

/// One policy.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Policy {
    /// Its name.
    pub policy: String,
    /// The options of choices that make it.
    pub options: Vec<String>,
    /// Whether something tracks what the device writes.
    pub tracked: bool,
    /// Every size and limit.
    pub cells: Vec<Cell>,
    /// What a VM of each size needs.
    pub needs: Vec<Needs>,
    /// The smallest instance for each thing that does not hold somewhere.
    pub counterexamples: Vec<Counterexample>,
}

/// All policies.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Migrations {
    /// The version of this form: 1.
    pub schema: u32,
    /// Every policy.
    pub policies: Vec<Policy>,
}

impl Migrations {
    /// Explores every policy at every size, with these choices fixed otherwise.
    ///
    /// # Errors
    /// If a choice that makes a policy is fixed too, or the system cannot be explored.
    pub fn of(
        explorer: &Explorer<'_>,
        library: &Library,
        pins: &[(ChoiceId, u8)],
    ) -> Result<Self, Error> {
        let base = base(library)?;
        explorer.expects(POLICIES.len() * PAGES.len() * LIMITS.len() * 2);
        let policy = |(name, tracker, options): &(&str, Tracker, &[&str])| {
            let written: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
            let own = library.spec.pins(&written)?;
            if let Some((fixed, _)) = pins.iter().find(|(id, _)| own.iter().any(|(o, _)| o == id)) {
                let name = library.spec.choice_name(*fixed);
                let message = format!("`{name}` is both fixed and tried");
                return Err(Error::from(SpecError::new(message)));
            }
            let mut def = base.clone();
            def.common.choices.extend(pins.iter().copied().chain(own));
            for device in &mut def.devices {
                device.tracker = *tracker;
            }
            let mut policy = Policy {
                policy: (*name).to_owned(),
                options: written,
                tracked: *tracker != Tracker::None,
                cells: Vec::new(),
                needs: Vec::new(),
                counterexamples: Vec::new(),
            };
            for pages in PAGES {
                for limit in LIMITS {
                    policy.explore(explorer, library, &def, (pages, limit))?;
                }
            }
            policy.needs = PAGES.iter().map(|pages| policy.needs(*pages)).collect();
            Ok(policy)
        };
        let policies = POLICIES.iter().map(policy).collect::<Result<_, _>>()?;
        Ok(Migrations { schema: 1, policies })
    }

    /// Whether a bound cut a run short, so that something is not decided.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.policies.iter().flat_map(|policy| &policy.cells).any(Cell::is_cut)
    }

    /// The tables; with every smallest counterexample, unless they are to be `brief`.
    #[must_use]
    pub fn text(&self, brief: bool) -> String {
        let mut out = String::from(
            "What a VMM does about a device, against what is expected of a migration, by the limit for the\n\
             downtime (as pages that can be sent in it) and the size of memory in pages:\n\n",
        );
        for (letter, meaning, ..) in ASKED {
            let _ = writeln!(out, "  {letter}  {meaning}");
        }
        if self.is_cut() {
            let _ = writeln!(out, "  ?  not decided: a bound cut the run short");
        }
        let heads: Vec<String> = LIMITS.iter().map(|limit| limit_in_words(*limit)).collect();
        let _ = write!(out, "\n{:17} {:>5} ", "policy", "pages");
        let _ = writeln!(
            out,
            "{}  needs",
            heads.iter().map(|head| format!(" {head:>4}")).collect::<String>()
        );
        for policy in &self.policies {
            for (at, pages) in PAGES.iter().enumerate() {
                let name = if at == 0 { policy.policy.as_str() } else { "" };
                let cells = policy.cells.iter().filter(|cell| cell.pages == *pages);
                let marks = cells.zip(&heads).map(|(cell, head)| {
                    format!(" {:>width$}", marks(cell), width = head.len().max(ASKED.len()))
                });
                let marks = marks.collect::<String>();
                let _ = writeln!(out, "{name:17} {pages:>5} {marks}  {}", policy.needs[at].reason);
            }
        }
        if !brief {
            for policy in &self.policies {
                policy.counterexamples.iter().for_each(|found| {
                    let limit = limit_in_words(found.limit);
                    let _ = writeln!(
                        out,
                        "\n{}: not {}, with {} page{} and limit {limit}",
                        policy.policy,
                        found.property,
                        found.pages,
                        if found.pages == 1 { "" } else { "s" },
                    );
                    out += &trace::text(&found.trace, found.cycle_at);
                });
            }
        }
        out
    }
}

/// The system that is explored, as it is declared.
pub(super) fn base(library: &Library) -> Result<&SystemDef, Error> {
    let base = library.migration().systems.named(SYSTEM);
    base.ok_or_else(|| SpecError::new(format!("there is no system {SYSTEM}")).into())
}

fn marks(cell: &Cell) -> String {
    let mark = |((letter, ..), answer): (&(char, &str, &[&str], bool), Option<bool>)| match answer {
        Some(true) => *letter,
        Some(false) => '-',
        None => '?',
    };
    ASKED.iter().zip(cell.answers()).map(mark).collect()
}

fn limit_in_words(limit: Option<u8>) -> String {
    limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
}

impl Policy {
    /// Explores one cell.
    fn explore(
        &mut self,
        explorer: &Explorer<'_>,
        library: &Library,
        def: &SystemDef,
        (pages, limit): (u8, Option<u8>),
    ) -> Result<(), Error> {
        let mut def = def.clone();
        def.pages = pages;
        def.limit = limit.map_or(Limit::Unlimited, Limit::Pages);
        let asked = Asked::of(explorer, library, &def)?;
        asked.violated.iter().for_each(|property| self.found(property, (pages, limit)));
        let [safe, within_limit, ends, completes] = asked.answers;
        self.cells.push(Cell { pages, limit, safe, within_limit, ends, completes });
        Ok(())
    }

    /// Keeps the first instance of each property: cells are explored from the smallest on.
    fn found(&mut self, found: &PropertyReport, (pages, limit): (u8, Option<u8>)) {
        if self.counterexamples.iter().all(|known| known.property != found.name) {
            let trace = found.trace.clone().unwrap_or_default();
            let (property, cycle_at) = (found.name.clone(), found.cycle_at);
            self.counterexamples.push(Counterexample { property, pages, limit, trace, cycle_at });
        }
    }

    /// What a VM of this size needs.
    fn needs(&self, pages: u8) -> Needs {
        let cells: Vec<&Cell> = self.cells.iter().filter(|cell| cell.pages == pages).collect();
        let best = cells.iter().find(|cell| cell.good());
        let reason = match best {
            Some(cell) if cell.limit == Some(0) => "nothing".to_owned(),
            Some(Cell { limit: Some(limit), .. }) => format!("a limit of {limit} or more"),
            Some(_) => "any downtime allowed".to_owned(),
            None if cells.iter().any(|cell| cell.safe == Some(false)) => {
                "a tracker: old memory can arrive".to_owned()
            }
            None if cells.iter().any(|cell| cell.is_cut()) => "not decided".to_owned(),
            None if cells.iter().all(|cell| cell.completes == Some(false)) => {
                "a tracker: none completes".to_owned()
            }
            None => "a tracker".to_owned(),
        };
        let open = best.is_none() && cells.iter().any(|cell| cell.is_cut());
        Needs {
            pages,
            can_migrate: (!open).then_some(best.is_some()),
            least_limit: best.and_then(|cell| cell.limit),
            reason,
        }
    }
}

/// What is asked of every migration, answered for one system.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The answers, in the order of [`ASKED`]; none: a bound cut the run short.
    pub answers: [Option<bool>; ASKED.len()],
    /// What is violated, with traces.
    pub violated: Vec<PropertyReport>,
}

impl Asked {
    /// Explores this system with vCPUs and devices that write, and once more with nothing that writes.
    pub(super) fn of(
        explorer: &Explorer<'_>,
        library: &Library,
        def: &SystemDef,
    ) -> Result<Self, Error> {
        let mut asked = Asked { answers: [Some(true); ASKED.len()], violated: Vec::new() };
        for quiet in [false, true] {
            let mut def = def.clone();
            let device_writes = !quiet && !def.devices.is_empty();
            def.bounds.pages = if device_writes { def.pages } else { 0 };
            def.vcpus_write = !quiet;
            let of_this = ASKED.iter().filter(|(.., of)| *of == quiet);
            let known = |name: &&str| properties::ALL.iter().position(|own| own.name == *name);
            def.common.holds =
                of_this.flat_map(|(_, _, names, _)| names.iter().filter_map(known)).collect();
            def.common.violated.clear();
            let system = library.migration().system(&def, library.rules(&def));
            let report = explorer.explore(library, &system)?;
            for (answer, (_, _, names, of)) in asked.answers.iter_mut().zip(ASKED) {
                if of != quiet {
                    continue;
                }
                for property in names.iter().filter_map(|name| report.property(name)) {
                    match property.verdict {
                        PropertyVerdict::Holds => {}
                        PropertyVerdict::Unknown => *answer = answer.filter(|yes| !yes),
                        PropertyVerdict::Violated => {
                            *answer = Some(false);
                            asked.violated.push(property.clone());
                        }
                    }
                }
            }
        }
        Ok(asked)
    }
}
