//! Programs that are no devices, put to the suite for device models: each run ends soon, with a finding
//! and not with a panic, and nothing is left behind.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

const DEVMIG: &str = env!("CARGO_BIN_EXE_devmig");

/// The exit code, and how each test ended.
fn test(arguments: &[&str]) -> (i32, Value) {
    let began = Instant::now();
    let fixed = ["test", "device-model", "--timeout", "1", "--cases", "2", "--format", "json"];
    let start = ["--start-timeout", "1"];
    let output = Command::new(DEVMIG).args(fixed).args(start).args(arguments).output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(120), "{arguments:?}: {:?}", began.elapsed());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let schema = Command::new(DEVMIG).args(["schema", "test"]).output().unwrap();
    let schema = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(jsonschema::validator_for(&schema).unwrap().is_valid(&report));
    (output.status.code().unwrap(), report)
}

fn status(report: &Value, test: &str) -> String {
    let results = report["results"].as_array().unwrap();
    let result = results.iter().find(|result| result["test"] == test).unwrap();
    result["status"].as_str().unwrap().to_owned()
}

#[test]
fn who_describes_nothing_fails_and_the_rest_is_skipped() {
    for program in
        ["true", "false", "sh -c 'sleep 60'", "sh -c 'exec yes'", "echo '{\"models\": 7}'"]
    {
        let (code, report) = test(&["--spawn", program]);
        assert_eq!(code, 1, "{program}");
        assert_eq!(status(&report, "description.printed"), "fail", "{program}");
        assert_eq!(status(&report, "made.allowed.command"), "skip", "{program}");
    }
}

/// What it says can be read, and it makes nothing.
const SAYS: &str = r#"sh -c 'case "$*" in
  *--print-migration-info-json*) echo "{\"models\": {\"a.com/b\": {\"params\": {\"x\": {\"type\": \"bool\", \"init_value\": false}}}}}" ;;
  *--print*) exit 2 ;;
  *) WHAT ;;
esac' sh"#;

#[test]
fn who_only_describes_makes_nothing() {
    for (what, made) in [("exit 0", "fail"), ("exit 1", "fail"), ("sleep 60", "fail")] {
        let program = SAYS.replace("WHAT", what);
        let only = ["--only", "made.*", "--only", "refused.status*", "--only", "description.*"];
        let (code, report) = test(&[&["--spawn", &program], &only[..]].concat());
        assert_eq!(code, 1, "{what}");
        assert_eq!(status(&report, "description.printed"), "pass", "{what}");
        assert_eq!(status(&report, "made.allowed.command"), made, "{what}");
        // What it would make it does not print, and that is optional.
        assert_eq!(status(&report, "made.reads-back.command"), "fail", "{what}");
    }
}

#[test]
fn a_control_program_that_speaks_otherwise_is_found_out() {
    let device = format!("{DEVMIG} device nic");
    let other = format!("{DEVMIG} device nic --socket-path {{socket}}");
    let only = ["--only", "made.initial.control"];
    let (code, report) = test(&[&["--spawn", &device, "--control", &other], &only[..]].concat());
    assert_eq!((code, status(&report, "made.initial.control").as_str()), (1, "fail"));
    // One that cannot be connected to is the harness's trouble.
    let silent = "sh -c 'sleep 60' {socket}";
    let (code, report) = test(&[&["--spawn", &device, "--control", silent], &only[..]].concat());
    assert_eq!((code, status(&report, "made.initial.control").as_str()), (4, "error"));
}

#[test]
fn what_cannot_be_asked_for_is_bad_usage() {
    for arguments in [
        &["--spawn", ""][..],
        &["--spawn", "'"],
        &["--spawn", "true", "--timeout", "0"],
        &["--spawn", "true", "--cases", "0"],
        &["--spawn", "true", "--control", "true"],
        &["--spawn", "true", "--vfio-user", "--socket"],
        &["--spawn", "true", "--golden", "/no/such/folder"],
        &["--spawn", "true", "--only", "made.alowed"],
    ] {
        let output = Command::new(DEVMIG).args(["test", "device-model"]).args(arguments).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(output.stderr.starts_with(b"error: "), "{output:?}");
    }
}
