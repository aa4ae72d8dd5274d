//! The page of the hand-over table.

use devmig_engine::explore::search::Limits;
use devmig_model::analysis::hand_over::{Group, Table};
use devmig_model::analysis::{Error, Explorer};
use devmig_model::registry::Library;

use super::cell;

/// A table for each system: faults, steps, outcomes.
pub(super) fn body(library: &Library) -> Result<String, Error> {
    let table = Table::of(&Explorer::new(Limits::default(), &|_| {}), library)?;
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
