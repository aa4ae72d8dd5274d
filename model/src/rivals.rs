//! Rival schemes, and the holes of the RFC's own, each in the smallest universe that shows it: which law
//! does which scheme keep?
//!
//! ```text
//!   Scheme: hosts, devices, what becomes of a device that moves --laws--> holds | violated, and by what
//! ```
//!
//! A scheme is a rule that computes outcomes; no outcome is written down. A law is held against every
//! case of the universe, in order, so the counterexample that is shown is the first and smallest. Where
//! no case has what a law supposes, it says so instead of holding.

mod described;
mod laws;
mod without_configuration;

use std::collections::BTreeMap;

use serde::Serialize;

use devmig_engine::explore::trace::wrapped;

use described::{Described, Rule, holes, sixteen};
use laws::cell;
pub use laws::{Cell, Law};
use without_configuration::{rivals, versions};

/// What a device is, as its guest sees it, and what it holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Device {
    /// The host that it runs on.
    pub host: usize,
    /// What it was made as; what is absent is 0.
    pub made: BTreeMap<&'static str, u64>,
    /// What its guest has put into it.
    pub state: u64,
}

/// What becomes of a device that is to move.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The check refuses: nothing has happened.
    Refused,
    /// The check accepts, and the destination cannot make the device.
    Unmade,
    /// The check accepts, the source stops, and the state cannot be loaded.
    Lost,
    /// It runs at the destination.
    Runs(Device),
}

impl Outcome {
    /// Whether the check said yes.
    fn accepted(&self) -> bool {
        *self != Outcome::Refused
    }
}

/// A scheme, in a small universe.
pub trait Scheme {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Its rule, and what is special about its universe.
    fn about(&self) -> &'static str;
    /// The hosts, by name.
    fn hosts(&self) -> Vec<String>;
    /// What a host says of itself.
    fn says(&self, host: usize) -> String {
        self.hosts().swap_remove(host)
    }
    /// The devices, smallest first: for each that is there, all states that its guest may put it in.
    fn devices(&self) -> Vec<Device>;
    /// What becomes of a device that is to move to a host.
    fn moves(&self, device: &Device, to: usize) -> Outcome;
    /// Whether a host is a later release of another, to which things were only added.
    fn extends(&self, old: usize, new: usize) -> bool {
        let _ = (old, new);
        false
    }
}

/// A scheme against all laws.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Row {
    /// The scheme.
    pub scheme: &'static str,
    /// Its rule.
    pub about: &'static str,
    /// In the order of [`Law::ALL`].
    pub cells: Vec<Cell>,
}

/// Holds a scheme against all laws.
#[must_use]
pub fn judge(scheme: &dyn Scheme) -> Row {
    let cells = Law::ALL.iter().map(|law| cell(scheme, *law)).collect();
    Row { scheme: scheme.name(), about: scheme.about(), cells }
}

/// Every scheme against all laws: this project's, the versions of the RFC, then each rival and each hole
/// in its own universe.
#[must_use]
pub fn table() -> Vec<Row> {
    let mut rows: Vec<Row> = all().iter().map(|scheme| judge(&**scheme)).collect();
    rows.splice(1..1, profiles());
    rows
}

/// The names of all rows of [`table`].
#[must_use]
pub fn names() -> Vec<&'static str> {
    let schemes = all().iter().map(|scheme| scheme.name()).collect::<Vec<_>>();
    [&PROFILES[..], &schemes].concat()
}

/// The scheme of this name against all laws.
#[must_use]
pub fn named(name: &str) -> Option<Row> {
    let scheme = all().into_iter().find(|scheme| scheme.name() == name);
    let profile = || profiles().into_iter().find(|row| row.scheme == name);
    scheme.map(|scheme| judge(&*scheme)).or_else(profile)
}

/// The names of the versions of the RFC that [`profiles`] are about.
const PROFILES: [&str; 3] = ["RFC v1", "RFC v3", "RFC v4"];

/// Each version of the RFC over all universes that show something of it: what it keeps in general.
#[must_use]
pub fn profiles() -> Vec<Row> {
    let by = |name, about, rule| -> Vec<Box<dyn Scheme>> {
        let universes = [sixteen()].into_iter().chain(holes().into_iter().map(|hole| hole.3));
        universes.map(|hosts| Described::new(name, about, rule, hosts)).map(boxed).collect()
    };
    let v1 = "Listed parameters are set at the destination; the others stay unchanged.";
    let v3 = "Parameters that are not off are listed; the others are set to the destination's off \
              values.";
    [by(PROFILES[0], v1, Rule::V1), by(PROFILES[1], v3, Rule::V3), versions()]
        .iter()
        .filter_map(|schemes| together(schemes))
        .collect()
}

fn boxed(scheme: impl Scheme + 'static) -> Box<dyn Scheme> {
    Box::new(scheme)
}

/// One scheme in several universes: a law holds if it holds in all that have a case.
fn together(schemes: &[Box<dyn Scheme>]) -> Option<Row> {
    let mut rows = schemes.iter().map(|scheme| judge(&**scheme));
    let mut all = rows.next()?;
    for row in rows {
        for (cell, other) in all.cells.iter_mut().zip(row.cells) {
            cell.holds = match (cell.holds, other.holds) {
                (Some(a), Some(b)) => Some(a && b),
                (a, b) => a.or(b),
            };
            cell.cases += other.cases;
            cell.counterexample = cell.counterexample.take().or(other.counterexample);
        }
    }
    Some(all)
}

/// All schemes: this project's, the rivals, and the RFC's with each of its holes, before this project's
/// in the same universe.
#[must_use]
pub fn all() -> Vec<Box<dyn Scheme>> {
    let ours =
        "The check of this project, over sixteen hosts with two parameters, one of them twice.";
    let hosts = sixteen().into_iter().chain(sixteen().pop()).collect();
    let mut all = vec![boxed(Described::new("devmig", ours, Rule::Check, hosts))];
    all.extend(rivals().into_iter().map(boxed));
    for (names, about, rule, hosts) in holes() {
        all.push(boxed(Described::new(names[0], about, rule, hosts.clone())));
        let name = names[1];
        let about = match name {
            "H6 devmig" => {
                "The host changes between its description and the creation: reading back shows \
                 it, before the source stops."
            }
            "H7 devmig" => {
                "The state format changes without a parameter: only states that were kept from \
                 each release show it."
            }
            _ => "The same case with the check of this project.",
        };
        all.push(boxed(Described::new(name, about, Rule::Check, hosts)));
    }
    all
}

/// So many laws stand side by side: more would be wider than a terminal.
const COLUMNS: usize = 5;

/// The table, and for each broken law its counterexample unless `brief`.
#[must_use]
pub fn text(rows: &[Row], brief: bool) -> String {
    let width = rows.iter().map(|row| row.scheme.len()).max().unwrap_or(0);
    let mut parts = Vec::new();
    for laws in Law::ALL.chunks(COLUMNS) {
        let names: String = laws.iter().map(|law| format!("  {law:<11}")).collect();
        let mut part = format!("{:width$}{}\n", "", names.trim_end());
        for row in rows {
            let mut line = format!("{:width$}", row.scheme);
            for cell in row.cells.iter().filter(|cell| laws.contains(&cell.law)) {
                let word = match cell.holds {
                    Some(true) => "holds",
                    Some(false) => "violated",
                    None => "-",
                };
                line += &format!("  {word:<11}");
            }
            part += line.trim_end();
            part.push('\n');
        }
        parts.push(part);
    }
    let mut out = parts.join("\n");
    if brief {
        return out;
    }
    for row in rows {
        out += &format!("\n{}\n", wrapped(&format!("{}: {}", row.scheme, row.about), 2));
        for cell in &row.cells {
            if let Some(counterexample) = &cell.counterexample {
                out += &wrapped(&format!("  {}: {counterexample}", cell.law), 4);
                out.push('\n');
            }
        }
    }
    out
}
