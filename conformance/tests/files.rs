//! The form of proposals and specifications as files: their JSON schemas, their examples, and the skeletons
//! that `devmig proposal new` writes.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::process::{Command, Output};

use devmig_model::analysis::skeleton::{example, protocols};
use devmig_model::registry::{self, schema};
use devmig_model::spec::{ItemKind, builtin_files, builtin_proposals, excerpt};
use jsonschema::Validator;
use serde_json::Value;

fn devmig(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).args(arguments);
    command.output().unwrap()
}

fn validator(document: &str) -> Validator {
    let output = devmig(&["schema", document]);
    jsonschema::validator_for(&serde_json::from_slice(&output.stdout).unwrap()).unwrap()
}

/// A file as an editor's schema sees it.
fn json(toml: &str) -> Value {
    serde_json::to_value(toml.parse::<toml::Table>().unwrap()).unwrap()
}

fn problems(schema: &Validator, toml: &str) -> Vec<String> {
    schema.iter_errors(&json(toml)).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

#[test]
fn every_shipped_file_keeps_to_its_schema() {
    let (proposal, specification) = (validator("proposal"), validator("specification"));
    let none: [String; 0] = [];
    for (name, text) in builtin_files() {
        assert_eq!(problems(&specification, &text), none, "{name}");
    }
    for (name, text) in builtin_proposals() {
        assert_eq!(problems(&proposal, &text), none, "{name}");
        // What only a proposal has is nowhere else.
        assert!(!problems(&specification, &text).is_empty(), "{name}");
    }
    let tutorial = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/tutorial");
    for entry in std::fs::read_dir(tutorial).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert_eq!(problems(&proposal, &text), none);
    }
}

#[test]
fn wrong_files_do_not_keep_to_the_schema() {
    let schema = validator("proposal");
    let head = "[[proposal]]\nid = \"p\"\ntitle = \"P\"\nabout = \"P.\"\n";
    assert!(problems(&schema, head).is_empty());
    for wrong in [
        "",
        "[[proposal]]\nid = \"p\"\n",
        &format!("{head}{head}"),
        &format!("{head}unknown = 1\n"),
        &format!("{head}[[no-such-kind]]\n"),
        &format!("{head}[[exception]]\nclause = \"*\"\nwhat = []\nreason = \"P.\"\n"),
        &format!("{head}[[feature]]\nname = \"P\"\nbit = \"many\"\n"),
        &format!("{head}[[feature]]\nname = \"P\"\nbit = -1\n"),
        &format!("{head}[[message]]\nname = \"P\"\nrequest = \"no-such-kind\"\nrow = []\n"),
        &format!("{head}[[message]]\nname = \"P\"\nrow = [{{ whenn = [] }}]\n"),
        &format!("{head}[[system]]\nprotocol = \"vdpa\"\nname = \"vdpa/p\"\nabout = \"P.\"\n"),
        &format!(
            "{head}[[system]]\nprotocol = \"no\"\nname = \"no/p\"\nabout = \"P.\"\nrun = []\n"
        ),
        &format!(
            "{head}[[program]]\nprotocol = \"no\"\nname = \"p\"\nabout = \"P.\"\nsteps = []\n"
        ),
    ] {
        assert!(!problems(&schema, wrong).is_empty(), "{wrong}");
    }
}

/// Every kind of item has an example, which is an item of that kind.
#[test]
fn every_kind_has_an_example() {
    let excerpts = excerpt::all();
    let common = registry::common_kinds().into_iter().map(|kind| (None, kind));
    let owned = registry::tables();
    let owned =
        owned.iter().flat_map(|(name, kinds)| kinds.iter().map(|kind| (Some(*name), *kind)));
    let all: Vec<(Option<&str>, ItemKind)> = common.chain(owned).collect();
    assert!(all.len() > 30);
    for (protocol, kind) in all {
        // A property and a program have the same keys in each protocol: one example is enough.
        let is_alike = ["property", "program"].contains(&kind.name);
        let whose = if is_alike { Some("vhost-user") } else { protocol };
        let found = example(&excerpts, whose, &kind)
            .unwrap_or_else(|| panic!("no built-in file has a `[[{}]]`", kind.name));
        let schema = schema::item(whose, &kind);
        let text = schema::annotated(&found.text, &schema);
        let item = &json(&text)[kind.name][0];
        let validator = jsonschema::validator_for(&schema).unwrap();
        assert!(validator.is_valid(item), "{text}");
        // Nothing is explained that is not there, and every key says what it means.
        assert!(text.lines().any(|line| line.starts_with("# ")), "{text}");
        for key in schema::keys(&schema) {
            assert!(!key.meaning.is_empty(), "{}: {}", kind.name, key.name);
        }
    }
}

#[test]
fn a_skeleton_of_each_protocol_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    assert!(protocols().len() > 10);
    for protocol in protocols() {
        let file = folder.path().join(format!("{protocol}.toml"));
        let file = file.to_str().unwrap();
        let new = ["proposal", "new", "--protocol", protocol, "--id", "mine", file];
        let output = devmig(&new);
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b""[..]), "{protocol}");
        let written = std::fs::read_to_string(file).unwrap();
        let printed = devmig(&["proposal", "new", "--protocol", protocol, "--id", "mine"]);
        assert_eq!(String::from_utf8(printed.stdout).unwrap(), written);

        let lint = devmig(&["proposal", "lint", file]);
        let said = String::from_utf8(lint.stdout).unwrap();
        assert!(lint.status.success() && said.ends_with("\nno errors\n"), "{protocol}: {said}");
        let check = devmig(&["check", "--proposal", file]);
        assert!(check.status.success(), "{protocol}: {check:?}");
        assert!(problems(&validator("proposal"), &written).is_empty());

        // It stays as it is.
        std::fs::write(file, "mine").unwrap();
        assert_eq!(devmig(&new).status.code(), Some(2));
        assert_eq!(std::fs::read_to_string(file).unwrap(), "mine");
    }
    for wrong in [["--protocol", "vhost_user"], ["--id", "My Proposal"], ["--id", ""]] {
        let output = devmig(&[&["proposal", "new"][..], &wrong].concat());
        assert_eq!((output.status.code(), &*output.stdout), (Some(2), &b""[..]), "{wrong:?}");
    }
}

/// An example is a proposal without errors or warnings, whose expectations are met.
#[test]
fn the_examples_are_checked() {
    for file in ["docs/examples/property.toml", "docs/examples/tutorial/4-rule.toml"] {
        let lint = devmig(&["proposal", "lint", file]);
        let said = String::from_utf8(lint.stdout).unwrap();
        assert!(lint.status.success() && said.ends_with("\nno errors\n"), "{file}: {said}");
        assert_eq!(devmig(&["check", "--proposal", file]).status.code(), Some(0), "{file}");
    }
}

/// What the linter shows is everything that a file adds, whatever its kind.
#[test]
fn everything_that_a_file_adds_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.toml");
    let text = r#"
[[proposal]]
id = "p"
title = "P"
about = "P."
systems = ["migration/ram"]

[[tracking]]
name = "new-row"
when = ["viommu"]
gives = "device"
text = "P."

[[release]]
since = "11.2"
choices = ["migration.recheck = fail"]
place = ["here"]

[[downtime-range]]
layer = "new-layer"
least = 1
place = ["here"]
text = "P."

[[multifd-capability]]
name = "new-capability"

[[multifd-exclusion]]
capability = "multifd"
excludes = ["xbzrle"]
says = "no"

[[multifd-parameter-rule]]
capability = "xbzrle"
parameters = ["tls-creds"]
refuses = "second"
says = "no"

[[multifd-transport]]
name = "new-transport"
uri = "new:1"

[[multifd-transport-rule]]
capability = "xbzrle"
needs = "seekable"
says = "no"

[[vfio-pair]]
from = "STOP"
to = "RUNNING"
how = "blocked"
by = "text"
"#;
    std::fs::write(&file, text).unwrap();
    let output = devmig(&["proposal", "lint", file.to_str().unwrap()]);
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}
