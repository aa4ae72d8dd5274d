//! The pages of what is explored: systems, decisions, proposals, bugs.

use devmig_engine::columns::thousands;
use devmig_engine::explore::report::{Ending, PropertyVerdict};
use devmig_engine::explore::{Report, trace};
use devmig_model::analysis::bug::Detected;
use devmig_model::analysis::change::Examined;
use devmig_model::analysis::decide::Decided;
use devmig_model::analysis::{Error, Explorer};
use devmig_model::registry::Library;

use super::cell;

pub(super) fn systems(reports: &[(&str, Report)]) -> String {
    let mut out =
        "| system | states | transitions | depth | verdict |\n|---|--:|--:|--:|---|\n".to_owned();
    for (_, r) in reports {
        let (states, transitions) = (thousands(r.states), thousands(r.transitions));
        let anchor = r.system.replace('/', "");
        out += &format!(
            "| [{}](#{anchor}) | {states} | {transitions} | {} | {} |\n",
            r.system, r.depth, r.verdict
        );
    }
    for (about, report) in reports {
        out += &format!("\n## {}\n\n{about}\n\n", report.system);
        out += "| property | kind | clause | verdict |\n|---|---|---|---|\n";
        for p in &report.properties {
            let kind = serde_json::to_value(p.kind).unwrap_or_default();
            out += &format!(
                "| {} | {} | {} | {} |\n",
                cell(&p.name),
                kind.as_str().unwrap_or_default(),
                p.clause.as_deref().unwrap_or(""),
                p.verdict
            );
        }
        out.push('\n');
        for p in report.properties.iter().filter(|p| p.verdict == PropertyVerdict::Violated) {
            if let Some(lines) = &p.trace {
                out += &format!("**{}** is violated:\n\n", p.name);
                out += &trace_block(lines, p.cycle_at);
            }
            out += &p.note.as_ref().map_or_else(String::new, |note| format!("{note}\n\n"));
        }
        let ending = |how: &str, endings: &[Ending]| {
            let line = |e: &Ending| {
                format!("- {how} {}: {} transitions end there\n", e.clause, thousands(e.count))
            };
            endings.iter().map(line).collect::<String>()
        };
        out += &ending("breaks", &report.broken);
        out += &ending("undefined after", &report.undefined);
    }
    out
}

/// A table with a column for each combination that differs, a row for each property.
pub(super) fn decision(decided: &Decided) -> String {
    let decision = &decided.decision;
    let mut out = format!("## {}\n\n", decided.system);
    for choice in &decision.choices {
        out += &format!("- {choice}\n");
    }
    out += "\n| property |";
    for row in &decision.rows {
        out += &format!(" {} |", row.options.join(", "));
    }
    out += &format!("\n|---|{}\n", "---|".repeat(decision.rows.len()));
    for (n, property) in decision.properties.iter().enumerate() {
        out += &format!("| {} |", cell(property));
        for row in &decision.rows {
            let verdict = row.verdicts.get(n).copied().flatten();
            out += &match verdict {
                Some(PropertyVerdict::Violated) => " **violated** |".to_owned(),
                verdict => format!(" {} |", verdict.map_or("-".to_owned(), |v| v.to_string())),
            };
        }
        out.push('\n');
    }
    out.push('\n');
    out
}

pub(super) fn proposal(name: &str, examined: &Examined) -> String {
    let mut out = format!("## {}\n\n`specs/{name}`\n\n", examined.title);
    out += "| system | before | after | changes |\n|---|---|---|---|\n";
    for system in &examined.systems {
        let before = system.base.as_ref().map_or("new".to_owned(), |r| r.verdict.to_string());
        let changes: Vec<_> = system
            .changes
            .iter()
            .filter_map(|c| Some(format!("{}: {} → {}", c.name, c.base?, c.proposed?)))
            .collect();
        let (system, after) = (&system.system, system.proposed.verdict);
        out += &format!("| {system} | {before} | {after} | {} |\n", changes.join("; "));
    }
    out.push('\n');
    for decided in &examined.decisions {
        out += &decision(decided).replacen("## ", "### ", 1);
    }
    if let Some(states) = &examined.states {
        let met = if states.met { "as expected" } else { "NOT as expected" };
        let text = &states.text;
        out += &format!("### Migration states ({met})\n\n```text\n{text}```\n\n");
    }
    if !examined.schemes.is_empty() {
        out += "### Schemes\n\n| scheme | violated laws | as expected |\n|---|---|---|\n";
    }
    for scheme in &examined.schemes {
        let met = if scheme.met { "yes" } else { "no" };
        let violated = scheme.violated.join(", ");
        out += &format!("| {} | {violated} | {met} |\n", scheme.scheme);
    }
    if !examined.schemes.is_empty() {
        out.push('\n');
    }
    if !examined.descriptions.is_empty() {
        out += "### Descriptions\n\n| case | answer | as expected |\n|---|---|---|\n";
    }
    for description in &examined.descriptions {
        let met = if description.met { "yes" } else { "no" };
        let (about, found) = (cell(&description.about), cell(&description.found));
        out += &format!("| {about} | {found} | {met} |\n");
    }
    if !examined.descriptions.is_empty() {
        out.push('\n');
    }
    if !examined.expectations.is_empty() {
        out += "### Expectations\n\n| system | under | violated | met |\n|---|---|---|---|\n";
    }
    for expected in &examined.expectations {
        let met = if expected.met { "yes" } else { "no" };
        let violated = expected.expected.join(", ");
        out += &format!("| {} | {} | {violated} | {met} |\n", expected.system, expected.options());
    }
    out.push('\n');
    out
}

pub(super) fn bugs(explorer: &Explorer<'_>, library: &Library) -> Result<String, Error> {
    let mut out = "| bug | reported | system | detected by |\n|---|---|---|---|\n".to_owned();
    let mut stories = String::new();
    let bugs = library.bugs();
    explorer.expects(bugs.len());
    for bug in bugs {
        let detected = Detected::of(explorer, library, &bug)?;
        let caught = detected.found.join(", ");
        out += &format!("| [{0}](#{0}) | {1} | {2} | {caught} |\n", bug.id, bug.seen, bug.system);
        stories += &format!("\n## {}\n\n{}\n\n", bug.id, bug.about);
        for name in &detected.found {
            let property = detected.report.property(name);
            if let Some((p, lines)) = property.and_then(|p| Some((p, p.trace.as_ref()?))) {
                stories += &format!("**{name}** is violated:\n\n");
                stories += &trace_block(lines, p.cycle_at);
            }
        }
    }
    Ok(out + &stories)
}

fn trace_block(lines: &[trace::Line], cycle_at: Option<usize>) -> String {
    format!("```text\n{}```\n\n", trace::text(lines, cycle_at))
}
