//! The golden cases of the discussion of 2020, played with the NIC as a program: what its descriptions say
//! of a move, and what the devices do with the state.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::fs;
use std::path::Path;
use std::process::{Command as Program, Output};
use std::time::Duration;

use devmig_conformance::device_model::back_end::BackEnd;
use devmig_conformance::harness::io::process::Command;
use devmig_conformance::vhost_user::Deadline;
use serde_json::Value;

const DEVMIG: &str = env!("CARGO_BIN_EXE_devmig");
const LIMIT: Duration = Duration::from_secs(20);

fn devmig(words: &[&str]) -> Output {
    Program::new(DEVMIG).args(words).output().unwrap()
}

fn nic(words: &[&str]) -> Output {
    devmig(&[&["device", "nic"], words].concat())
}

/// What a NIC of this release says that it makes, and what it says of one that is made by these words.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Files(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn instance(&self, words: &[&str]) -> String {
        let printed = nic(&[words, &["--print-instance-json"]].concat());
        assert!(printed.status.success(), "{printed:?}");
        self.file("instance.json", &printed.stdout)
    }

    fn host(&self, release: &str) -> String {
        let printed = nic(&["--release", release, "--print-implementation-json"]);
        assert!(printed.status.success(), "{printed:?}");
        self.file("host.json", &printed.stdout)
    }

    /// Whether the instance that these words make can go to a host of this release: the kinds of reasons
    /// why not, and the parameters that they are about.
    fn reasons(&self, words: &[&str], release: &str) -> Vec<(String, String)> {
        verdict(&self.instance(words), &self.host(release))
    }
}

fn verdict(source: &str, destination: &str) -> Vec<(String, String)> {
    let words = ["compat", "--source", source, "--destination", destination, "--format", "json"];
    let output = devmig(&words);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let reasons = said["reasons"].as_array().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!reasons.is_empty())));
    let text = |of: &Value| of.as_str().unwrap_or_default().to_owned();
    reasons.iter().map(|reason| (text(&reason["kind"]), text(&reason["parameter"]))).collect()
}

/// A NIC that is made by these words, over vhost-user.
fn device(words: &str) -> BackEnd {
    let command = format!("{DEVMIG} device nic {words} --socket-path {{socket}}");
    let started = Command::parse(&command).unwrap().start(Deadline::after(LIMIT));
    let (process, connection) = started.unwrap();
    BackEnd::over(connection, Some(process), LIMIT).unwrap()
}

fn state(words: &str) -> Vec<u8> {
    device(words).save().unwrap().unwrap()
}

/// Whether a NIC made by the second words takes the state of one made by the first.
fn takes(from: &str, to: &str) -> bool {
    device(to).load(&state(from)).unwrap().is_ok()
}

#[test]
fn a_filter_of_16_does_not_become_one_of_32() {
    assert!(!takes("--rx-filter-size 16", "--rx-filter-size 32"));
    let files = Files::new();
    let source = files.instance(&["--rx-filter-size", "16"]);
    let only_32 = fs::read_to_string(files.host("2")).unwrap().replace("\"0-1024\"", "0, 32");
    let reasons = verdict(&source, &files.file("only-32.json", only_32.as_bytes()));
    assert_eq!(reasons, [("value-not-allowed".into(), "rx-filter-size".into())]);
}

#[test]
fn a_filter_of_32_does_not_go_to_who_has_none() {
    assert!(!takes("--rx-filter-size 32", "--rx-filter-size 0"));
    let files = Files::new();
    let reasons = files.reasons(&["--rx-filter-size", "32"], "1");
    assert_eq!(reasons, [("value-not-allowed".into(), "rx-filter-size".into())]);
    // Who is asked all the same says the same.
    let refused = nic(&["--release", "1", "--rx-filter-size", "32", "--socket-path", "s"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("`rx-filter-size`"), "{refused:?}");
    assert!(!Path::new("s").exists());
}

#[test]
fn a_filter_of_16_goes_to_a_newer_host_and_back() {
    let files = Files::new();
    let size = ["--rx-filter-size", "16"];
    assert!(files.reasons(&[&["--release", "1"], &size[..]].concat(), "2").is_empty());
    assert!(files.reasons(&[&["--release", "2"], &size[..]].concat(), "1").is_empty());
    let (old, new) = ("--release 1 --rx-filter-size 16", "--release 2 --rx-filter-size 16");
    let first = state(old);
    let mut there = device(new);
    assert_eq!(there.load(&first).unwrap(), Ok(()));
    let second = there.save().unwrap().unwrap();
    let mut back = device(old);
    assert_eq!(back.load(&second).unwrap(), Ok(()));
    assert_eq!(back.save().unwrap().unwrap(), first);
}

#[test]
fn a_capability_that_was_off_is_not_on_after_a_move() {
    assert!(!takes("--rss on --vlan-filter off", "--rss on --vlan-filter on"));
    assert!(takes("--rss on --vlan-filter off", "--rss on"));
    let files = Files::new();
    let source = files.instance(&["--rss", "on"]);
    let host = fs::read(files.host("2")).unwrap();
    // A host that has it on, and on only.
    let mut host: Value = serde_json::from_slice(&host).unwrap();
    for model in host["models"].as_array_mut().unwrap() {
        for parameter in model["parameters"].as_array_mut().unwrap() {
            if parameter["name"] == "vlan-filter" {
                parameter["allowed_values"] = serde_json::json!([true]);
                parameter["init_value"] = true.into();
            }
        }
    }
    let reasons = verdict(&source, &files.file("on.json", host.to_string().as_bytes()));
    assert_eq!(reasons, [("cannot-disable".into(), "vlan-filter".into())]);
}

#[test]
fn another_port_makes_no_difference() {
    assert!(takes("--link loopback", "--link none"));
    assert!(takes("--link none", "--link loopback"));
    let files = Files::new();
    assert!(files.reasons(&["--link", "none"], "2").is_empty());
}

#[test]
fn who_describes_nothing_is_compatible_with_nothing() {
    let files = Files::new();
    // A disk of the reference's describes no model.
    let nothing = devmig(&["device", "blk", "--print-implementation-json"]);
    assert!(!nothing.status.success() && nothing.stdout.is_empty());
    let nothing = files.file("nothing.json", &nothing.stdout);
    let missing = vec![("no-description".to_owned(), String::new())];
    assert_eq!(verdict(&files.instance(&[]), &nothing), missing);
    assert_eq!(verdict(&nothing, &files.host("2")), missing);
}
