//! The page of the hand-over table.

use devmig_model::analysis::Error;
use devmig_model::protocol::hand_over::table::{Group, table};
use devmig_model::registry::Library;

use super::cell;

/// A table for each system: faults, steps, outcomes.
pub(super) fn body(library: &Library) -> Result<String, Error> {
    let table = table(library.hand_over(), |def| library.rules(def));
    let table = table.map_err(|cause| Error::Explore { system: "hand-over".to_owned(), cause })?;
    let mut out = String::new();
    for row in &table.systems {
        out += &format!("## {}\n\n{}\n\n", row.system, row.about);
        out += "| fault | when | outcome |\n|---|---|---|\n";
        for Group { fault, steps, words } in row.groups() {
            out += &format!("| {fault} | {steps} | {} |\n", cell(&words));
        }
        out.push('\n');
    }
    Ok(out)
}
