//! Programs as data: each is used, what is wrong with one is said with its place, a proposal may bring one.

#![allow(clippy::unwrap_used)]

use devmig_engine::explore::Options;
use devmig_model::registry::Library;

use crate::hand_overs;

const HEAD: &str = "\
[[proposal]]
id = \"hand-over\"
title = \"Another hand-over\"
about = \"A program of one\'s own.\"

[[program]]
protocol = \"hand-over\"
";

fn complaints(text: &str) -> String {
    let errors = Library::with_proposal("proposal.toml", &format!("{HEAD}{text}")).unwrap_err();
    crate::common::errors(&errors)
}

#[test]
fn what_can_be_wrong_with_a_program() {
    let steps = [
        "stop the source",
        "wait for state from source",
        "wait for news from source, else give-up",
        "send state to nobody",
        "send state to destination, else nowhere",
        "take lock, else give-upp",
        "wait for state from source, on failed, else give-up",
        "stop",
    ];
    let steps = steps.map(|step| format!("    \"{step}\",\n")).concat();
    let text = format!("name = \"wrong\"\nabout = \"Wrong.\"\nsteps = [\n{steps}]\n");
    insta::assert_snapshot!(complaints(&text));
}

#[test]
fn what_can_be_wrong_with_a_system() {
    let many = "\"stop\", ".repeat(62);
    let text = format!(
        "name = \"long\"\nabout = \"Long.\"\nsteps = [{many}\"end\"]\n\n[[system]]\n\
         protocol = \"hand-over\"\nname = \"hand-over/wrong\"\nabout = \"Wrong.\"\n\
         source = \"long\"\ndestination = \"runs-on-stat\"\n"
    );
    insta::assert_snapshot!(complaints(&text));
}

/// A management layer can ask the table about a program of its own.
#[test]
fn a_proposal_adds_a_row_to_the_table() {
    let text = format!(
        "{HEAD}name = \"hopes\"\nabout = \"Sends, and runs on.\"\n\
         steps = [\"send state to destination\", \"report success\"]\n\n[[system]]\n\
         protocol = \"hand-over\"\nname = \"hand-over/hopes\"\nabout = \"Both run.\"\n\
         source = \"hopes\"\ndestination = \"runs-on-state\"\nviolated = [\"never-two-runners\"]\n"
    );
    let library = Library::with_proposal("proposal.toml", &text).unwrap();
    let report = library.find("hand-over/hopes", &[]).unwrap().check(&Options::default()).unwrap();
    assert!(report.as_expected, "{}", report.text());
    let table = hand_overs(&library);
    let row = table.systems.iter().find(|row| row.system == "hand-over/hopes").unwrap();
    assert_eq!(row.cells[0].words(), "BOTH RUN (IN SILENCE)");
}

#[test]
fn every_program_is_used() {
    let text = include_str!("../../../specs/hand-over/programs.toml");
    let systems = include_str!("../../../specs/hand-over/systems.toml");
    let names = text.lines().filter_map(|line| line.strip_prefix("name = \""));
    let names: Vec<&str> = names.map(|name| name.trim_end_matches('"')).collect();
    assert!(names.len() > 20);
    for name in names {
        let key = ["source", "destination", "management"]
            .iter()
            .any(|key| systems.contains(&format!("{key} = \"{name}\"")));
        let followed = text.contains(&format!(" {name}\"")) || text.contains(&format!(" {name},"));
        assert!(key || followed, "{name}");
    }
}
