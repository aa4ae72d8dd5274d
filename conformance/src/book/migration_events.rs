//! The page of what the monitors of a migration report.

use std::fmt::Write as _;

use devmig_engine::explore;
use devmig_engine::machine::Machine as _;
use devmig_model::analysis::Error;
use devmig_model::protocol::migration::observed::report::{
    DESTINATION, Report, Reported, SOURCE, What,
};
use devmig_model::protocol::migration::observed::triples::Row;
use devmig_model::protocol::migration::observed::{Observed, SYSTEM};
use devmig_model::registry::Library;

use super::cell;

/// The features of the devices that have a table.
const SETS: [(&str, &[&str]); 4] = [
    ("P2P and PRE_COPY", &["p2p", "pre-copy"]),
    ("P2P", &["p2p"]),
    ("PRE_COPY", &["pre-copy"]),
    ("neither P2P nor PRE_COPY", &[]),
];

/// A table for each set of features and each end.
pub(super) fn body(library: &Library) -> Result<String, Error> {
    let mut out = String::new();
    for (words, features) in SETS {
        let features = features.iter().map(|name| (*name).to_owned()).collect();
        // A proposal may have taken the system away.
        let Ok(machine) = Observed::new(library, &[features]) else { continue };
        for (end, name) in [(SOURCE, "source"), (DESTINATION, "destination")] {
            let failed = |cause| Error::Explore { system: SYSTEM.to_owned(), cause };
            let rows = machine.triples(end).map_err(|open| failed(explore::Error::Open(open.0)))?;
            let _ = write!(out, "## A device with {words}: the {name}\n\n");
            out += "| | VM | migration | device | then |\n|--:|---|---|---|---|\n";
            for (number, row) in rows.iter().enumerate() {
                let vm = if row.triple.runs { "runs" } else { "does not run" };
                let [device, _] = row.triple.devices.map(|state| machine.name_of(state));
                let status = row.triple.status.name();
                let then = cell(&then(&machine, row));
                let _ = writeln!(out, "| {number} | {vm} | {status} | {device} | {then} |");
            }
            out.push('\n');
        }
    }
    Ok(out)
}

/// What may follow a triple, with the number of the next one.
fn then(machine: &Observed, row: &Row) -> String {
    let words = |(said, to): &(Reported, usize)| {
        let label = machine.label(&Report { end: 0, what: What::Reports(*said) });
        let label = label.unwrap_or_default();
        let what = label.split_once(": ").map_or(label.as_str(), |(_, what)| what);
        format!("{} → {to}", what.trim_end_matches(" of device 0"))
    };
    row.next.iter().map(words).collect::<Vec<_>>().join(", ")
}
