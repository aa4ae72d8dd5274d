//! What is compiled in is valid and complete.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use devmig_model::clause::ClauseId;
use devmig_model::spec::{Level, Spec, builtin_files};

fn builtin() -> Spec {
    Spec::builtin().unwrap_or_else(|errors| panic!("{:?}", miette::Report::new(errors)))
}

#[test]
fn loads() {
    let spec = builtin();
    assert!(spec.clauses().len() > 60);
    assert!(spec.choices().len() >= 9);
}

/// A file that nobody compiled in would be normative for its reader alone.
#[test]
fn every_file_of_clauses_and_choices_is_compiled_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../specs");
    let mut dirs = vec![root.clone()];
    let mut found = BTreeSet::new();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                dirs.push(path);
            } else if name.starts_with("clauses/") || name.ends_with("choices.toml") {
                found.insert(name);
            }
        }
    }
    let compiled: BTreeSet<_> = builtin_files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(found.difference(&compiled).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn every_clause_and_choice_cites_a_document() {
    let spec = builtin();
    let clauses = spec.clauses().iter().map(|c| (&c.id, &c.citation));
    for (id, citation) in clauses.chain(spec.choices().iter().map(|c| (&c.id, &c.citation))) {
        let source = &spec.sources()[citation.source];
        assert!(citation.version < source.versions.len(), "{id}");
        assert!(!citation.place.is_empty(), "{id}");
        assert_eq!(citation.digest.is_some(), source.digests, "{id}");
    }
}

/// The ids are quoted in reports and in other people's notes: one that is gone is a broken promise.
#[test]
fn ids() {
    let spec = builtin();
    let line = |c: &devmig_model::spec::Clause| {
        format!("{:<52} {:<6} {:<9} {}", c.id, c.level, c.party, spec.cite(&c.citation))
    };
    let clauses: Vec<_> = spec.clauses().iter().map(line).collect();
    insta::assert_snapshot!("clauses", clauses.join("\n"));
    let choices: Vec<_> = spec
        .choices()
        .iter()
        .map(|c| {
            let options: Vec<_> = c.options.iter().map(|o| o.name.as_str()).collect();
            format!("{} = {} (default {})", c.id, options.join(" | "), options[c.default as usize])
        })
        .collect();
    insta::assert_snapshot!("choices", choices.join("\n"));
}

#[test]
fn lookups() {
    let spec = builtin();
    let clause = spec.clause("vhost-user.reply.must").unwrap();
    assert_eq!(spec.clause_name(clause), "vhost-user.reply.must");
    assert_eq!(spec.get(clause).unwrap().level, Level::Must);
    assert_eq!(spec.clause_name(ClauseId::NONE), "");

    let choice = spec.choice("vhost-user.status.zero").unwrap();
    assert_eq!(spec.option(choice, "keeps"), Some(0));
    assert_eq!(spec.option_name(choice, 1), "resets");
    assert_eq!(spec.option(choice, "melts"), None);
    assert_eq!(spec.defaults().fixed(choice), Some(1));
    assert_eq!(spec.open().fixed(choice), None);
    assert!(!spec.open().allows(choice, 2));
    assert_eq!(spec.pin("vhost-user.status.zero=keeps").unwrap(), (choice, 0));
    assert_eq!(spec.pin("vhost-user.status.zero = keeps").unwrap(), (choice, 0));

    let replies = spec.matching("vhost-user.reply.*");
    assert!(replies.contains(clause));
    assert_eq!(replies.iter().count(), 4);
    assert!(!spec.unobservable().contains(clause));
}

#[test]
fn a_version_of_the_text_leaves_out_what_came_later() {
    let spec = builtin();
    let first = spec.clause("vhost-user.get-vring-base.in-flight-first").unwrap();
    let suspended = spec.clause("vhost-user.suspended.no-messages").unwrap();
    let virtio = spec.clause("vhost-user.ring.available-only").unwrap();
    let off = |version| spec.not_in_force("vhost-user", version).unwrap();
    assert!(off("10.2").contains(first) && !off("10.2").contains(suspended));
    assert!(off("2022-05").contains(suspended));
    assert!(off("next").is_empty());
    assert!(!off("2014").contains(virtio));
    insta::assert_snapshot!(
        spec.not_in_force("vhost-user", "10.1").unwrap_err(),
        @"`vhost-user` has no version `10.1`"
    );
}

#[test]
fn a_file_of_the_same_name_takes_the_place_of_the_built_in_one() {
    let text = "[[clause]]\nid = 'example.copier.is-quick'\nlevel = 'MAY'\nparty = 'copier'\n\
                since = '1'\nsource = 'example@1'\nplace = ['Here']\ntext = 'It hurries.'\n";
    let with = |name: &str| Spec::builtin_with(vec![(name.to_owned(), text.to_owned())]).unwrap();
    let replaced = with("/home/me/specs/clauses/example.toml");
    assert!(replaced.clause("example.copier.marks-writes").is_err());
    let added = with("mine.toml");
    assert!(added.clause("example.copier.marks-writes").is_ok());
    assert!(added.clause("example.copier.is-quick").is_ok());
}
