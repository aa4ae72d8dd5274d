//! What several tests load.
#![allow(dead_code)] // each test uses some of it

use devmig_engine::explore::report::PropertyReport;
use devmig_engine::explore::trace;
use devmig_model::registry::Library;

/// What is built in.
pub(crate) fn builtin() -> Library {
    Library::builtin().unwrap_or_else(|errors| panic!("{:?}", miette::Report::new(errors)))
}

/// The same with a proposal of `specs/proposals/`.
pub(crate) fn proposal(name: &str) -> Library {
    let path = format!("{}/../specs/proposals/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    Library::with_proposal(&path, &text)
        .unwrap_or_else(|errors| panic!("{:?}", miette::Report::new(errors)))
}

/// What a person reads of a counterexample.
pub(crate) fn story(property: &PropertyReport) -> String {
    let lines = property.trace.as_deref().unwrap_or_default();
    let clause = property.clause.iter().map(|clause| format!(" [{clause}]")).collect::<String>();
    let note = property.note.iter().map(|note| format!("      {note}\n")).collect::<String>();
    let trace = trace::text(lines, property.cycle_at);
    format!("{}{clause} {}\n{trace}{note}", property.name, property.verdict)
}
