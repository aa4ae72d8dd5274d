//! What is compiled in is valid and complete.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use devmig_engine::clause::ClauseId;
use devmig_model::spec::{Lack, Level, Spec, builtin_files};

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
        let version = &source.versions[citation.version];
        assert_eq!(citation.digest.is_some(), source.digests && version.digests, "{id}");
    }
}

/// Set this to add the ids that are new to the released ones.
const RELEASE: &str = "DEVMIG_RELEASE_IDS";

/// The ids are quoted in reports and in other people's notes: one that is gone is a broken promise.
#[test]
fn released_ids_still_exist() {
    let spec = builtin();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/specs/released.txt");
    let file = std::fs::read_to_string(path).unwrap();
    let comment = |line: &&str| line.is_empty() || line.starts_with('#');
    let (head, released): (Vec<&str>, Vec<&str>) = file.lines().partition(comment);
    let clauses = spec.clauses().iter().map(|clause| format!("clause {}", clause.id));
    let choices = spec.choices().iter().flat_map(|choice| {
        choice.options.iter().map(move |option| format!("choice {}={}", choice.id, option.name))
    });
    let now: BTreeSet<String> = clauses.chain(choices).collect();
    let gone: Vec<_> = released.iter().filter(|id| !now.contains(**id)).collect();
    assert!(gone.is_empty(), "released and gone: {gone:#?}");
    let count = |kind: &str| released.iter().filter(|id| id.starts_with(kind)).count();
    let (clauses, options) = (count("clause "), count("choice "));
    assert_eq!(clauses + options, released.len(), "a line is neither a clause nor a choice");
    assert!(clauses > 250 && options > 100, "{clauses} clauses, {options} options");
    if std::env::var_os(RELEASE).is_some() {
        let lines = head.into_iter().map(str::to_owned).chain(now);
        std::fs::write(path, lines.map(|line| line + "\n").collect::<String>()).unwrap();
    }
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
    let shmem = spec.clause("vhost-user.shmem.config").unwrap();
    assert!(off("11.0").contains(shmem) && !off("11.0").contains(first));
    assert!(off("posted").is_empty());
    assert!(!off("2014").contains(virtio));
    insta::assert_snapshot!(
        spec.not_in_force("vhost-user", "10.1").unwrap_err(),
        @"`vhost-user` has no version `10.1`"
    );
}

/// What a version ruled out is no reading of it any more.
#[test]
fn a_version_of_the_text_settles_what_earlier_ones_left_open() {
    let spec = builtin();
    let choice = spec.choice("vhost-user.get-vring-base.in-flight").unwrap();
    let open = |version| spec.judged_by("vhost-user", version).unwrap().choices;
    assert_eq!(open("10.2").fixed(choice), None);
    assert_eq!(open("11.0").fixed(choice), spec.option(choice, "drain"));
    assert!(!open("10.2").allows(choice, 7));
}

#[test]
fn exceptions_name_clauses_and_reasons() {
    let spec = builtin();
    let crypto = spec.clause("vhost-user.crypto.session-id").unwrap();
    let about = |id| spec.exceptions().iter().find(|e| e.clauses.contains(&id));
    assert_eq!(about(crypto).unwrap().lacks, [Lack::Test, Lack::Mutant, Lack::Watch]);
    assert!(about(spec.clause("vhost-user.ring.kick-starts").unwrap()).is_none());
    assert!(spec.exceptions().iter().all(|e| !e.reason.is_empty() && !e.lacks.is_empty()));
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
