//! Each thing that can be wrong with a specification, as its author sees it.

use devmig_model::spec::diagnostic::MAX_ERRORS;
use devmig_model::spec::{Spec, SpecError, SpecErrors, matches};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

const SOURCES: &str = "\
[[source]]
id = \"doc\"
title = \"A document\"
url = \"https://example.invalid/doc\"
digests = false
parties = [\"front-end\", \"back-end\"]

    [[source.version]]
    name = \"1\"
    date = \"2024-01-01\"

    [[source.version]]
    name = \"2\"
    date = \"2025-01-01\"
";

const CLAUSE: &str = "\
[[clause]]
id = \"doc.ring.stops\"
level = \"MUST\"
party = \"back-end\"
since = \"1\"
source = \"doc@1\"
place = [\"Rings\"]
text = \"It stops.\"
";

const CHOICE: &str = "\
[[choice]]
id = \"doc.ring.start\"
question = \"When?\"
default = \"now\"
clauses = [\"doc.ring.stops\"]
source = \"doc@1\"
place = [\"Rings\"]

    [[choice.option]]
    name = \"now\"
    text = \"Now.\"

    [[choice.option]]
    name = \"later\"
    text = \"Later.\"
";

fn render(diagnostic: &dyn Diagnostic) -> String {
    let mut out = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .with_context_lines(1)
        .render_report(&mut out, diagnostic)
        .expect("a string takes everything");
    out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn load(files: &[(&str, &str)]) -> Result<Spec, SpecErrors> {
    Spec::load(files.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect())
}

/// What is said of one file beside a good file of sources.
fn said(text: &str) -> String {
    match load(&[("sources.toml", SOURCES), ("mine.toml", text)]) {
        Ok(_) => "no error".to_owned(),
        Err(errors) => render(&errors),
    }
}

/// What is said of the good clause with one line replaced (or, with an empty one, left out).
fn clause(old: &str, new: &str) -> String {
    assert!(CLAUSE.contains(old), "{old}");
    said(&CLAUSE.replace(old, new))
}

fn choice(old: &str, new: &str) -> String {
    assert!(CHOICE.contains(old), "{old}");
    said(&format!("{CLAUSE}\n{}", CHOICE.replace(old, new)))
}

fn source(old: &str, new: &str) -> String {
    assert!(SOURCES.contains(old), "{old}");
    match load(&[("sources.toml", &SOURCES.replace(old, new))]) {
        Ok(_) => "no error".to_owned(),
        Err(errors) => render(&errors),
    }
}

#[test]
fn good_files_are_good() {
    assert_eq!(said(&format!("{CLAUSE}\n{CHOICE}")), "no error");
    assert_eq!(clause("since = \"1\"\n", ""), "no error");
}

macro_rules! says {
    ($($name:ident: $said:expr;)*) => {
        $(
            #[test]
            fn $name() {
                insta::assert_snapshot!(stringify!($name), $said);
            }
        )*
    };
}

says! {
    malformed_toml: said("[[clause]]\nid = \"doc.ring.stops\nlevel = MUST\n");
    malformed_file_hides_references_to_it: said(&format!("{CHOICE}\n[[clause]\n"));
    unknown_kind: said("[[clauze]]\nid = \"doc.ring.stops\"\n");
    unknown_key: clause("level =", "livel =");
    unknown_key_far_from_all: clause("text =", "zebra = 1\ntext =");
    unknown_keys_all: clause("text =", "interpretaton = \"x\"\ndigst = \"y\"\ntext =");
    missing_key: clause("level = \"MUST\"\n", "");
    missing_key_hides_references_to_its_item: said(&format!(
        "{}\n{CHOICE}",
        CLAUSE.replace("level = \"MUST\"\n", "")
    ));
    wrong_type: clause("level = \"MUST\"", "level = 3");
    not_an_array: said("clause = 1\n");
    bad_level: clause("\"MUST\"", "\"must\"");
    bad_party: clause("\"back-end\"", "\"backend\"");
    bad_drop: clause("text =", "drop = \"structurel\"\ntext =");
    structural_without_reason: clause("text =", "drop = \"structural\"\ntext =");
    unobservable_without_reason: clause("text =", "observable = false\ntext =");
    reason_for_nothing: clause("text =", "reason = \"why not\"\ntext =");
    bad_id: clause("doc.ring.stops", "Doc.ring_stops");
    id_without_area: clause("doc.ring.stops", "stops");
    empty_text: clause("It stops.", "  ");
    without_source: clause("source = \"doc@1\"\n", "");
    source_without_version: clause("doc@1", "doc");
    unknown_source: clause("doc@1", "dog@1");
    unknown_version: clause("doc@1", "doc@3");
    unknown_since: clause("since = \"1\"", "since = \"one\"");
    until_before_since: clause("since = \"1\"", "since = \"2\"\nuntil = \"1\"");
    cited_before_since: clause("since = \"1\"", "since = \"2\"");
    without_place: clause("place = [\"Rings\"]\n", "");
    bad_digest: clause("text =", "digest = \"sha256:12\"\ntext =");
    without_digest: match load(&[
        ("sources.toml", &SOURCES.replace("digests = false\n", "")),
        ("mine.toml", CLAUSE),
    ]) {
        Ok(_) => "no error".to_owned(),
        Err(errors) => render(&errors),
    };
    replaces_nothing: clause("text =", "replaces = [\"doc.ring.stop\"]\ntext =");
    replaces_itself: clause("text =", "replaces = [\"doc.ring.stops\"]\ntext =");
    duplicate_id: said(&format!("{CLAUSE}\n{CLAUSE}"));
    duplicate_id_in_another_file: match load(&[
        ("sources.toml", SOURCES),
        ("first.toml", CLAUSE),
        ("second.toml", CLAUSE),
    ]) {
        Ok(_) => "no error".to_owned(),
        Err(errors) => render(&errors),
    };
    several_at_once: said(
        &CLAUSE
            .replace("MUST", "OUGHT")
            .replace("since = \"1\"", "since = \"9\"")
            .replace("It stops.", ""),
    );
    choice_without_choice: choice(
        "\n    [[choice.option]]\n    name = \"later\"\n    text = \"Later.\"\n",
        "",
    );
    choice_default_unknown: choice("default = \"now\"", "default = \"noww\"");
    choice_option_twice: choice("name = \"later\"", "name = \"now\"");
    choice_option_unknown_key: choice("text = \"Later.\"", "txt = \"Later.\"\ntext = \"Later.\"");
    choice_option_name: choice("name = \"later\"", "name = \"Much later\"");
    choice_clause_unknown: choice("\"doc.ring.stops\"", "\"doc.ring.stopz\"");
    choice_settled_by_halves: choice(
        "default = \"now\"",
        "default = \"now\"\nsettled-since = \"2\"",
    );
    choice_settled_unknown: choice(
        "default = \"now\"",
        "default = \"now\"\nsettled-since = \"3\"\nsettled-as = \"soon\"",
    );
    exception_of_nothing: said(
        &format!("{CLAUSE}\n[[exception]]\nclause = \"doc.ring.stopz\"\nwhat = [\"tset\"]\nreason = \"none\"\n"),
    );
    exception_from_nothing: said(
        &format!("{CLAUSE}\n[[exception]]\nclause = \"doc.*\"\nwhat = []\nreason = \"\"\n"),
    );
    choice_without_source: choice("source = \"doc@1\"\nplace = [\"Rings\"]\n\n", "");
    choice_with_nine_options: choice(
        "    [[choice.option]]\n    name = \"later\"\n    text = \"Later.\"\n",
        &(1..=8)
            .map(|i| format!("    [[choice.option]]\n    name = \"o{i}\"\n    text = \"{i}\"\n"))
            .collect::<String>(),
    );
    source_without_versions: said(
        "[[source]]\nid = \"other\"\ntitle = \"Other\"\nurl = \"x\"\nparties = []\n",
    );
    source_version_twice: source("name = \"2\"", "name = \"1\"");
    source_date: source("2024-01-01", "January");
    source_versions_out_of_order: source("2024-01-01", "2026-01-01");
    too_many_clauses: said(
        &(0..=512).map(|i| CLAUSE.replace("stops\"", &format!("stops-{i}\""))).collect::<String>(),
    );
    too_many_choices: said(&format!(
        "{CLAUSE}{}",
        (0..=128).map(|i| CHOICE.replace("start\"", &format!("start-{i}\""))).collect::<String>()
    ));
}

fn lookup(error: SpecError) -> String {
    render(&error)
}

#[test]
fn lookups_name_the_nearest() {
    let spec = Spec::builtin().unwrap();
    let clause = lookup(spec.clause("vhost-user.reply.muss").unwrap_err());
    let choice = lookup(spec.choice("vhost-user.status.nil").unwrap_err());
    let option = lookup(spec.pin("vhost-user.status.zero=kept").unwrap_err());
    let pin = lookup(spec.pin("vhost-user.status.zero").unwrap_err());
    insta::assert_snapshot!("lookups", [clause, choice, option, pin].join("\n"));
}

#[test]
fn a_struct_of_ids_reports_each_that_is_missing() {
    devmig_model::clause_ids! {
        struct Ids {
            there: "vhost-user.reply.must",
            gone: "vhost-user.reply.gone",
            lost: "vhost-user.ring.kick-start",
        }
    }
    let errors = Ids::resolve(&Spec::builtin().unwrap()).map(|ids| (ids.there, ids.gone, ids.lost));
    insta::assert_snapshot!("clause_ids", render(&errors.unwrap_err()));
}

/// What a naive matcher says, of few and short texts.
fn naive(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    (0..=text.len()).any(|at| text.get(at..).is_some_and(|tail| naive(rest, tail)))
}

#[test]
fn a_pattern_means_what_it_did_and_takes_no_longer_with_many_stars() {
    let signs = ["a", "b", "*", "?", "é", "A"];
    let words = |length: u32| {
        (0..signs.len().pow(length)).map(move |number| {
            let sign = |at: u32| signs[number / signs.len().pow(at) % signs.len()];
            (0..length).map(sign).collect::<String>()
        })
    };
    let all: Vec<String> = (0..=3).flat_map(words).collect();
    for pattern in (0..=3).flat_map(words) {
        for text in &all {
            assert_eq!(matches(&pattern, text), naive(&pattern, text), "{pattern:?} {text:?}");
        }
    }
    let begun = std::time::Instant::now();
    let text = "a".repeat(1000);
    for part in ["*", "*a", "a*", "*aa"] {
        assert!(!matches(&(part.repeat(200) + "Z"), &text));
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn thousands_of_mistakes_are_counted_and_some_are_shown() {
    let keys: String = (0..16_000).map(|n| format!("key{n} = 1\n")).collect();
    let texts = [
        (keys.clone(), 16_000),
        (format!("{CLAUSE}{keys}"), 16_000),
        ((0..16_000).map(|n| format!("[[clause]]\nkey{n} = 1\n")).collect(), 32_000),
    ];
    for (text, count) in texts {
        let begun = std::time::Instant::now();
        let errors = load(&[("a.toml", SOURCES), ("b.toml", &text)]).unwrap_err();
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
        assert_eq!(errors.errors().len(), MAX_ERRORS);
        let all = errors.errors().len() + errors.more();
        assert!((16_000..=count).contains(&all), "{all}");
        assert!(errors.to_string().contains(&format!("{} more", errors.more())), "{errors}");
    }
}

/// The keys that an item may have are still read when others are left out.
#[test]
fn a_key_beside_unknown_ones_is_still_looked_at() {
    let text = format!("{CLAUSE}colour = 1\nshade = 2\n").replace("\"MUST\"", "\"MIGHT\"");
    let errors = load(&[("a.toml", SOURCES), ("b.toml", &text)]).unwrap_err();
    let said: Vec<_> = errors.errors().iter().map(SpecError::message).collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said.iter().any(|message| message.contains("MIGHT")), "{said:?}");
}
