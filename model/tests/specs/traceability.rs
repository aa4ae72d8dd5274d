//! Nothing that was said in the founding discussions is lost.

use devmig_model::spec::Spec;
use devmig_model::spec::traceability::{BUILTIN, load};

/// The rows that are to be answered, or to be answered in full.
const LATER: &str = "S4-32 S2-02 S2-13 S2-14 S2-16 S2-19 S2-30 S2-40 S2-42 S2-70 \
    S3-10 S3-41 S3-46";

/// The proposals that no file can check.
const UNCHECKED: &str = "S4-02 S0-06 S0-47 S0-48 S1-06 S1-20 S2-37 S2-38 S2-75 S2-83 S3-16 S3-43";

#[test]
fn every_row_of_the_discussion_is_there_once_and_leads_somewhere() {
    let spec = Spec::builtin().unwrap();
    let rows = load(BUILTIN, &spec, None)
        .unwrap_or_else(|errors| panic!("{:?}", miette::Report::new(errors)));
    let numbers: Vec<String> = rows.iter().map(|row| row.row.clone()).collect();
    let discussions = [("S4", 37), ("S0", 56), ("S1", 42), ("X", 33), ("S2", 86), ("S3", 55)];
    let rows_of =
        |(of, most): (&str, u32)| (1..=most).map(move |i| format!("{of}-{i:02}")).collect();
    let all: Vec<String> =
        discussions.into_iter().flat_map(|one| -> Vec<String> { rows_of(one) }).collect();
    assert_eq!(numbers, all);
    let later = rows.iter().filter(|row| row.later.is_some());
    let later: Vec<&str> = later.map(|row| row.row.as_str()).collect();
    // What nothing carries yet, or not all of it.
    assert_eq!(later.join(" "), LATER);
    // Each proposal has a file or a reason: the loader holds them apart.
    let proposed: Vec<_> = rows.iter().filter(|row| row.proposes).collect();
    let reasons = proposed.iter().filter(|row| row.reason.is_some());
    let reasons: Vec<&str> = reasons.map(|row| row.row.as_str()).collect();
    assert_eq!(proposed.len(), 50);
    assert_eq!(reasons.join(" "), UNCHECKED);
}

#[test]
fn what_can_be_wrong() {
    let text = "\
[[row]]
row = \"S4-01\"
says = \"One.\"
carried_by = [\"vhost-user.ring.kick-start\", \"vhost-user/rings\", \"doc\"]

[[row]]
row = \"S4-01\"
says = \"\"

[[row]]
row = \"S4-03\"
says = \"It proposes nothing.\"
carried_by = [\"doc\"]
reason = \"It cannot be checked.\"

[[row]]
row = \"S0-02\"
says = \"A file checks it.\"
proposes = true
reason = \"It cannot be checked.\"

[[row]]
row = \"S0-99\"
says = \"No file checks it.\"
carried_by = [\"doc\"]
proposes = true
";
    let spec = Spec::builtin().unwrap();
    let errors = load(("rows.toml", text), &spec, Some(&["vhost-user/ring"])).unwrap_err();
    insta::assert_snapshot!("what_can_be_wrong", crate::common::errors(&errors));
}
