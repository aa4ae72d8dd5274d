//! Properties that a file states: they say what properties in code say, and nothing senseless is accepted.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use devmig_engine::explore::report::PropertyVerdict;
use devmig_engine::explore::{Options, Report};
use devmig_model::protocol::written::expression::{Expression, LONGEST};
use devmig_model::registry::Library;
use devmig_model::spec::{builtin_files, builtin_proposals};
use proptest::prelude::*;

use crate::common::errors;

/// A property that stands in code, and the same as a file would state it.
struct Twin {
    name: &'static str,
    stated: &'static str,
}

const TWINS: [Twin; 7] = [
    Twin {
        name: "frozen-while-suspended",
        stated: "when = 'vhost-user.suspended'\n\
                 always = 'after vhost-user.internal = vhost-user.internal or not after vhost-user.suspended'",
    },
    Twin {
        name: "nothing-processed-while-saved",
        stated: "when = 'vhost-user.transfer = \"Saving\"'\nnever = 'event like \"request * used on ring *\"'",
    },
    Twin {
        name: "transfer-while-suspended",
        stated: "when = 'after vhost-user.transfer = \"Saving\"'\n\
                 always = 'after vhost-user.suspended or every ring in vhost-user.rings: \
                 not after vhost-user.rings[ring].started'",
    },
    Twin {
        name: "messages-are-answered",
        stated: "when = 'size vhost-user.owed > 0'\nleads-to = 'size vhost-user.owed = 0'",
    },
    Twin {
        name: "state-is-written",
        stated: "when = 'vhost-user.transfer = \"Saving\"'\nleads-to = 'vhost-user.transfer != \"Saving\"'",
    },
    Twin {
        name: "copy-is-whole",
        stated: "each = 'ring in guest.rings'\nat-end = 'guest.rings[ring].stale = 0'",
    },
    Twin {
        name: "log-is-quiet-while-suspended",
        stated: "when = 'vhost-user.log > 0 and (vhost-user.suspended or vhost-user.ever_started and \
                 size vhost-user.owed = 0 and every r in vhost-user.rings: not vhost-user.rings[r].started)'\n\
                 never = 'event like \"*marked*\"'",
    },
];

/// What is built in, and each proposal that names the property, with this twin beside it.
fn with(twin: &Twin) -> Vec<Library> {
    let quoted = format!("\"{}\"", twin.name);
    let beside = |text: &str| text.replace(&quoted, &format!("{quoted}, \"twin\""));
    let stated = format!(
        "[[property]]\nprotocol = \"vhost-user\"\nname = \"twin\"\nsays = \"The same.\"\n{}\n",
        twin.stated
    );
    let mut files = builtin_files();
    for (name, text) in &mut files {
        if name.contains("vhost-user") {
            *text = beside(text);
        }
    }
    files.push(("twin.toml".into(), stated));
    let proposals = builtin_proposals().into_iter().filter(|(_, text)| text.contains(&quoted));
    let proposals = proposals.map(|(name, text)| Some((name, beside(&text))));
    let load = |proposal| {
        Library::load(files.clone(), proposal).unwrap_or_else(|found| panic!("{}", errors(&found)))
    };
    [None].into_iter().chain(proposals).map(load).collect()
}

/// The systems that the twin is said of.
fn systems(library: &Library) -> Vec<&str> {
    let proposed = library.proposal.is_some();
    let own = |name: &str| {
        let all = library.protocols().into_iter().flat_map(|(_, own)| own.systems().proposed());
        all.into_iter().any(|own| own == name)
    };
    let systems = library.system_definitions().filter(|def| !def.common().written.is_empty());
    systems.map(|def| def.name()).filter(|name| !proposed || own(name)).collect()
}

fn told(report: &Report, name: &str) -> (PropertyVerdict, Option<usize>) {
    let property = report.property(name).unwrap();
    (property.verdict, property.trace.as_ref().map(Vec::len))
}

#[test]
fn a_file_says_what_code_says() {
    let mut text = String::new();
    for twin in &TWINS {
        let (mut holds, mut violated) = (0, 0);
        for library in with(twin) {
            for name in systems(&library) {
                let report = library.find(name, &[]).unwrap().check(&Options::default()).unwrap();
                assert_eq!(
                    told(&report, "twin"),
                    told(&report, twin.name),
                    "{} in {name}",
                    twin.name
                );
                match report.property("twin").unwrap().verdict {
                    PropertyVerdict::Violated => violated += 1,
                    _ => holds += 1,
                }
            }
        }
        assert!(holds + violated > 0, "{}: no system has it", twin.name);
        writeln!(text, "{}: holds in {holds} systems, violated in {violated}", twin.name).unwrap();
    }
    insta::assert_snapshot!("a_file_says_what_code_says", text);
}

const HEAD: &str = "\
[[proposal]]
id = \"one\"
title = \"One\"
about = \"One.\"

[[system]]
protocol = \"vdpa\"
name = \"vdpa/one\"
about = \"One.\"
run = []
holds = [\"own\"]

[[property]]
protocol = \"vdpa\"
name = \"own\"
says = \"One.\"
";

#[test]
fn what_can_be_wrong_with_one() {
    let mut text = String::new();
    for stated in [
        "",
        "always = 'true'\nnever = 'true'",
        "always = 'guest.'",
        "always = 'guest.posted ='",
        "always = '(guest.posted = 1'",
        "always = 'guest.posted = 99999999999999999999'",
        "always = 'gest.posted = 1'",
        "always = 'guest.postd = 1'",
        "always = 'guest'",
        "always = 'guest.posted'",
        "always = 'guest.posted = \"one\"'",
        "always = 'not guest.posted = 1 and size guest.posted = 1'",
        "always = 'event has 3'",
        "always = 'vdpa[ring].started'",
        "at-end = 'after guest.posted = 1'",
        "leads-to = 'guest.posted = 1'",
        "when = 'true'\nleads-to = 'event = \"x\"'",
        "when = 'true'\nreachable = 'true'",
        "each = 'ring'\nalways = 'true'",
        "each = 'ring in guest.posted'\nalways = 'true'",
        "each = 'ring in rings[ring]'\nalways = 'true'",
        "clause = 'vdpa.nothing'\nalways = 'true'",
        "sometimes = 'true'",
    ] {
        let found = Library::with_proposal("one.toml", &format!("{HEAD}{stated}\n")).unwrap_err();
        let found = errors(&found);
        let lines = found.lines().filter(|line| line.contains("×") || line.contains("help:"));
        let lines = lines.filter(|line| !line.contains("the specification has"));
        let lines: Vec<_> = lines.map(str::trim_end).collect();
        assert!(!lines.is_empty(), "{stated}");
        writeln!(text, "{}\n{}\n", stated.replace('\n', "; "), lines.join("\n")).unwrap();
    }
    let built_in = HEAD.replace("\"own\"", "\"base-is-next\"");
    let found =
        Library::with_proposal("one.toml", &format!("{built_in}always = 'true'\n")).unwrap_err();
    text += &errors(&found);
    insta::assert_snapshot!("what_can_be_wrong_with_a_property", text);
}

/// A parenthesis costs the reader's stack, so there are only so many.
#[test]
fn no_depth_ends_the_reader() {
    for (open, close) in [("(", ")"), ("not ", ""), ("every x in a: ", ""), ("((", "")] {
        for times in [1, 20, 31, 500, 100_000] {
            let text = format!("{}true{}", open.repeat(times), close.repeat(times));
            let read = Expression::parse(&text);
            assert!(read.is_err() || text.len() <= LONGEST, "{open}");
        }
    }
}

/// Words of expressions, in any order.
fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "after",
        "a.b",
        "a[x].c",
        "size",
        "not",
        "and",
        "or",
        "(",
        ")",
        "=",
        "!=",
        "<=",
        "like",
        "has",
        "every x in a:",
        "some",
        "in",
        "event",
        "party",
        "true",
        "0x1f",
        "17",
        "\"t\"",
        "'",
        "events",
    ]);
    prop::collection::vec(word, 0..12).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn no_text_ends_the_reader(text in prop_oneof![words(), any::<String>()]) {
        if let Err(bad) = Expression::parse(&text) {
            prop_assert!(bad.at <= text.len(), "{} in {text:?}", bad.at);
            prop_assert!(!bad.why.is_empty());
        }
    }
}

/// The premise of the test above: many of these texts are expressions.
#[test]
fn many_words_are_expressions() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let all = (0..5_000).map(|_| words().new_tree(&mut runner).unwrap().current());
    let right = all.filter(|text| Expression::parse(text).is_ok()).count();
    assert!(right > 100, "{right}");
}
