//! What several tests load.
#![allow(dead_code)] // each test uses some of it

use devmig_engine::clause::ClauseId;
use devmig_engine::explore::behaviour::Seen;
use devmig_engine::explore::compare::{Limits, Verdict, compare};
use devmig_engine::explore::report::{PropertyReport, PropertyVerdict, Report, check};
use devmig_engine::explore::search::explore;
use devmig_engine::explore::trace;
use devmig_engine::explore::{Check, Options};
use devmig_engine::laws::{self, Wrong};
use devmig_engine::machine::Machine;
use devmig_engine::system::System;
use devmig_model::registry::Library;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

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

/// Errors or a warning of a file as the command line shows them, without colours.
pub(crate) fn errors(found: &dyn Diagnostic) -> String {
    let mut out = String::new();
    let draw = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
    draw.with_width(100).render_report(&mut out, found).expect("a string takes everything");
    out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// What the law says of a declared symmetry that is none; a reduced run by it differs from a whole one, too.
pub(crate) fn refuted<M: Machine, const Q: usize, const N: usize, const W: usize>(
    system: &System<M, Q, N, W>,
) -> Wrong {
    let options = Options::default();
    let explored = explore(system, &options.limits).expect("every choice is fixed");
    let wrong = laws::symmetry_is_one(system, &explored).expect("every choice is fixed");
    assert_ne!(wrong, Wrong::new());
    let whole = check(system, &options).expect("every choice is fixed");
    let differs = laws::reduced_agrees(system, &whole).expect("every choice is fixed");
    assert_ne!(differs, Wrong::new());
    wrong
}

/// A counterexample as a person reads it, once for all properties that it violates.
pub(crate) struct Story {
    /// The first of these properties, in the order of the report.
    pub(crate) name: String,
    /// The properties, then the trace.
    pub(crate) text: String,
}

/// Every counterexample of a report.
pub(crate) fn stories<'a>(violated: impl IntoIterator<Item = &'a PropertyReport>) -> Vec<Story> {
    let mut stories: Vec<(String, Vec<&PropertyReport>)> = Vec::new();
    for property in violated {
        assert_eq!(property.verdict, PropertyVerdict::Violated);
        let text = trace::text(property.trace.as_deref().unwrap_or_default(), property.cycle_at);
        match stories.iter_mut().find(|(trace, _)| *trace == text) {
            Some((_, properties)) => properties.push(property),
            None => stories.push((text, vec![property])),
        }
    }
    let story = |(trace, properties): (String, Vec<&PropertyReport>)| {
        let head: String = properties.iter().map(|property| head(property)).collect();
        Story { name: properties[0].name.clone(), text: format!("{head}{trace}") }
    };
    stories.into_iter().map(story).collect()
}

fn head(property: &PropertyReport) -> String {
    let clause = property.clause.iter().map(|clause| format!(" [{clause}]")).collect::<String>();
    let note = property.note.iter().map(|note| format!("; {note}")).collect::<String>();
    let line = format!("{}{clause} {}{note}", property.name, property.verdict);
    trace::wrapped(&line, 4) + "\n"
}

/// Whether a system refines an abstract one under this name; if not, after how many steps it does not, and what
/// the last of them is or breaks.
pub(crate) fn refines(
    library: &Library,
    system: &dyn Check,
    (name, abstract_one): (&'static str, &dyn Check),
) -> String {
    let clause = |id: ClauseId| library.spec.clause_name(id).to_owned();
    let seen = Seen { refinement: Some(name), reads: false, hidden: &|_| false, clause: &clause };
    let behaviour = |of: &dyn Check| format!("{}: {:?}", system.name(), of.behaviour(seen).err());
    let Ok(mut lower) = system.behaviour(seen) else { panic!("{}", behaviour(system)) };
    let Ok(mut upper) = abstract_one.behaviour(seen) else { panic!("{}", behaviour(abstract_one)) };
    let limits = Limits::default();
    let compared = compare((system.name(), &mut *lower), (name, &mut *upper), &limits);
    let compared = compared.unwrap_or_else(|error| panic!("{error:?}"));
    assert_eq!(compared.incomplete, None, "{}", system.name());
    match (compared.verdict, &compared.only_a) {
        (Verdict::Equal | Verdict::AInB, _) => "refines it".to_owned(),
        (_, Some(trace)) => {
            let last = trace.last().map_or("", |line| &line.event);
            let breaks = trace.last().and_then(|line| line.clause.as_deref());
            let last = breaks.map_or(last.to_owned(), |clause| format!("breaks {clause}"));
            format!("not, after {} steps: {last}", trace.len())
        }
        other => panic!("{}: {other:?}", system.name()),
    }
}

/// The violated properties of a report.
pub(crate) fn violated(report: &Report) -> impl Iterator<Item = &PropertyReport> {
    report.properties.iter().filter(|property| property.verdict == PropertyVerdict::Violated)
}

/// Who notices that each clause is dropped: `NOBODY` if there are none.
pub(crate) fn noticed_by(rows: &[(String, Option<String>)]) -> String {
    let row = |(clause, who): &(String, Option<String>)| {
        let who = format!("    {}", who.as_deref().unwrap_or("NOBODY"));
        format!("{clause}\n{}\n", trace::wrapped(&who, 8))
    };
    rows.iter().map(row).collect()
}
