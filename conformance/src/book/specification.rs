//! The pages of what is normative: clauses and their coverage, choices, the words of proposals.

use devmig_model::registry::{self, Library};

use super::{cell, explain};
use crate::coverage;

pub(super) fn clauses(library: &Library) -> String {
    let spec = &library.spec;
    let mut out = String::new();
    let mut area = "";
    for clause in spec.clauses() {
        let here = clause.id.split('.').next().unwrap_or_default();
        if here != area {
            area = here;
            out += &format!("## {area}\n\n");
        }
        out += &format!("**{}** ({}, {})  \n", clause.id, clause.level, clause.party);
        out += &format!("{}  \n", clause.text.replace('\n', " "));
        if let Some(reading) = &clause.interpretation {
            out += &format!("Read as: {}  \n", reading.replace('\n', " "));
        }
        out += &format!("*{}*\n\n", spec.cite(&clause.citation));
    }
    out
}

pub(super) fn covered(coverage: &coverage::Coverage) -> String {
    let mut out = String::from(
        "| Clause | Properties | Tests | Mutants | Exceptions |\n|---|---|---|---|---|\n",
    );
    let list = |names: &[String]| names.join(", ");
    for clause in &coverage.clauses {
        let mut reasons: Vec<String> = clause
            .exceptions
            .iter()
            .map(|exception| format!("{}: {}", coverage::word(exception.what), exception.reason))
            .collect();
        reasons.dedup();
        out += &format!(
            "| **{}** ({}, {}) | {} | {} | {} | {} |\n",
            clause.id,
            clause.level,
            clause.party,
            list(&clause.properties),
            list(&clause.tests),
            list(&[clause.mutants.clone(), clause.recordings.clone()].concat()),
            cell(&reasons.join(" ")),
        );
    }
    out
}

pub(super) fn choices(library: &Library) -> String {
    let spec = &library.spec;
    let mut out = String::new();
    for choice in spec.choices() {
        out += &format!("## {}\n\n{}\n\n", choice.id, choice.question);
        out += "| | option | meaning | observed in |\n|---|---|---|---|\n";
        for (n, option) in choice.options.iter().enumerate() {
            let mark = if n == usize::from(choice.default) { "•" } else { "" };
            let (text, seen) = (cell(&option.text), cell(&option.seen.join(", ")));
            out += &format!("| {mark} | {} | {text} | {seen} |\n", option.name);
        }
        out += &format!("\n*{}*\n\n", spec.cite(&choice.citation));
        if let Some(settled) = explain::settled(spec, choice) {
            out += &format!("Settled: {settled}.\n\n");
        }
    }
    out
}

pub(super) fn words() -> String {
    let mut out = String::new();
    for (title, words) in registry::words() {
        out += &format!("## {title}\n\n| word | meaning |\n|---|---|\n");
        for (word, meaning) in words {
            out += &format!("| {} | {} |\n", cell(word), cell(meaning));
        }
        out.push('\n');
    }
    out
}
