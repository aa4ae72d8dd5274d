//! The page of what was proposed in the founding discussions, and of what checks it.

use devmig_model::analysis::Error;
use devmig_model::analysis::change::Examined;
use devmig_model::registry::Library;
use devmig_model::spec::traceability::{self, Row};

use super::cell;

/// One line for each row that proposes something.
pub(super) fn body(library: &Library, proposals: &[(String, Examined)]) -> Result<String, Error> {
    let rows = traceability::load(traceability::BUILTIN, &library.spec, None)?;
    let proposed: Vec<&Row> = rows.iter().filter(|row| row.proposes).collect();
    let checked = proposed.iter().filter(|row| !row.proposals.is_empty()).count();
    let mut out = format!(
        "{} proposals, {checked} of them checked by {} files.\n\n| row | proposal | checked by |\n|---|---|---|\n",
        proposed.len(),
        proposals.iter().filter(|(_, examined)| !examined.rows.is_empty()).count(),
    );
    for row in proposed {
        let files = row.proposals.iter().map(|file| {
            let found = proposals.iter().find(|(name, _)| name == file);
            let met = if found.is_some_and(|(_, one)| one.as_expected) {
                ""
            } else {
                " (**NOT** as expected)"
            };
            format!("`specs/{file}`{met}")
        });
        let files: Vec<String> = files.collect();
        let by = match &row.reason {
            Some(reason) => format!("— {}", cell(reason)),
            None => files.join(", "),
        };
        out += &format!("| {} | {} | {by} |\n", row.row, cell(&row.says));
    }
    Ok(out)
}
