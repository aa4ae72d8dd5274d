//! What `devmig test` leaves behind: JSON that keeps to its schema, JUnit, waivers.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::process::{Command, Output};

use devmig_reference::vhost_user::{Mutant, Options, Running};
use serde_json::Value;

fn devmig(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).args(arguments);
    command.output().unwrap()
}

/// A run of three tests against the reference back-end with a fault: one passes, one finds it, and
/// one is skipped.
fn tested(mutant: Option<Mutant>, arguments: &[&str]) -> (Option<i32>, String, String) {
    let running = Running::start(Options { mutant, ..Options::default() }).unwrap();
    let socket = running.socket();
    let socket = socket.to_str().unwrap();
    let fixed = ["test", "vhost-user", "--timeout", "0.5", "--device", "blk", "--socket", socket];
    let tests = ["ring.request", "status.read-back", "rings.one-of-two"];
    let only: Vec<&str> = tests.iter().flat_map(|test| ["--only", *test]).collect();
    let output = devmig(&[&fixed[..], &only, arguments].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(socket, "SOCKET");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const FAULTY: Option<Mutant> = Some(Mutant::StatusWrong);
const WAIVERS: [&str; 2] = ["--waivers", "conformance/tests/cmd/waivers.toml"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn schema(document: &str) -> jsonschema::Validator {
    let output = devmig(&["schema", document]);
    jsonschema::validator_for(&serde_json::from_slice(&output.stdout).unwrap()).unwrap()
}

fn assert_valid(schema: &jsonschema::Validator, document: &Value) {
    let errors: Vec<String> = schema.iter_errors(document).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?} in {document:#}");
}

#[test]
fn reports_keep_to_their_schema() {
    let schema = schema("test");
    let run = |mutant, arguments: &[&str]| {
        json(&tested(mutant, &[arguments, &["--format", "json"]].concat()).1)
    };
    let fails = run(FAULTY, &[]);
    for report in [&run(None, &[]), &fails, &run(FAULTY, &WAIVERS)] {
        assert_valid(&schema, report);
    }
    let missing = ["test", "vhost-user", "--socket", "/no/such/socket", "--format", "json"];
    assert_valid(&schema, &serde_json::from_slice(&devmig(&missing).stdout).unwrap());

    // And the schema can be broken.
    let broken = |change: &dyn Fn(&mut Value)| {
        let mut report = fails.clone();
        change(&mut report);
        assert!(!schema.is_valid(&report), "{report:#}");
    };
    broken(&|report| report["results"][1]["status"] = "hopeless".into());
    broken(&|report| report["readings"]["vhost-user.ring.start"] = "kick".into());
    broken(&|report| report["summary"]["fail"] = Value::from(-1));
    broken(&|report| drop(report.as_object_mut().unwrap().remove("results")));
}

#[test]
fn lists_keep_to_their_schema() {
    let list = devmig(&["test", "vhost-user", "--list", "--format", "json"]);
    assert_valid(&schema("test-list"), &serde_json::from_slice(&list.stdout).unwrap());
    // No peer is there.
    let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
    command.args(["peers", "--format", "json"]).env("PATH", "").env("DEVMIG_PEERS", "/no/such");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let peers: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(peers["peers"].as_array().unwrap().iter().all(|peer| peer["ran"] == false));
    assert_valid(&schema("peers"), &peers);
}

#[test]
fn what_is_explored_keeps_to_its_schema() {
    let proposal = "specs/proposals/status-suspend-broken.toml";
    let decide = ["decide", "vhost-user/stop-start", "--choices", "vhost-user.get-vring-base.kick"];
    let documents: [(&str, &[&str]); 9] = [
        ("check", &["check", "example/copy"]),
        ("check", &["check", "vhost-user/save-anywhere", "--max-states", "50"]),
        ("check-several", &["check", "vdpa/*"]),
        ("check-list", &["check", "--list"]),
        ("check-proposal", &["check", "--proposal", proposal]),
        ("decide", &decide),
        ("decide-migration", &["decide", "migration"]),
        ("decide-vm", &["decide", "migration", "--vm", "docs/examples/vm-untracked.toml"]),
        ("decide-hand-over", &["decide", "hand-over"]),
    ];
    for (document, arguments) in documents {
        let output = devmig(&[arguments, &["--format", "json"]].concat());
        let written: Value = serde_json::from_slice(&output.stdout).unwrap();
        let schema = schema(document);
        assert_valid(&schema, &written);
        // And the schema can be broken.
        let mut broken = written;
        broken["schema"] = "one".into();
        assert!(!schema.is_valid(&broken), "{document}");
    }
    // Those that take long are made of the same parts.
    for document in ["decide-all", "verify", "check-proposals"] {
        let schema = schema(document);
        assert!(!schema.is_valid(&serde_json::json!({ "schema": 1 })), "{document}");
    }
}

#[test]
fn a_schema_that_does_not_exist() {
    let output = devmig(&["schema", "tset"]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap());
    assert_eq!(devmig(&["schema"]).status.code(), Some(0));
}

#[test]
fn a_waived_finding_is_waived_and_a_stale_waiver_is_told() {
    let (code, text, errors) = tested(FAULTY, &WAIVERS);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    insta::assert_snapshot!(text);
    // The same waivers, with nothing to waive.
    let (code, text, _) = tested(None, &WAIVERS);
    assert_eq!(code, Some(0));
    assert!(text.contains("stale waiver: status.* vhost-user.status.read-back"), "{text}");
}

#[test]
fn every_problem_of_waivers_is_underlined() {
    let bad = ["--waivers", "conformance/tests/cmd/broken-waivers.toml"];
    let (code, text, errors) = tested(None, &bad);
    assert_eq!((code, text.as_str()), (Some(2), ""));
    insta::assert_snapshot!(errors);
    for file in ["/no/such/file", "/dev/zero", "/"] {
        let (code, text, errors) = tested(None, &["--waivers", file]);
        assert_eq!((code, text.as_str()), (Some(2), ""));
        assert!(errors.starts_with("error: cannot read"), "{errors}");
    }
}

#[test]
fn junit_tells_fail_from_skip_and_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("results.xml");
    let path = file.to_str().unwrap();
    let written = |mutant, more: &[&str]| {
        let (_, _, errors) = tested(mutant, &[&["--junit", path], more].concat());
        assert_eq!(errors, "");
        std::fs::read_to_string(&file).unwrap()
    };
    let fails = written(FAULTY, &[]);
    insta::assert_snapshot!("junit_fails", fails.replace(&socket_of(&fails), "SOCKET"));
    let waived = written(FAULTY, &WAIVERS);
    insta::assert_snapshot!("junit_waived", waived);
    let missing =
        ["test", "vhost-user", "--socket", "/no/such", "--only", "ring.request", "--junit", path];
    assert_eq!(devmig(&missing).status.code(), Some(4));
    insta::assert_snapshot!("junit_error", std::fs::read_to_string(&file).unwrap());
}

/// The socket's path, in a document that shows how to reproduce a finding.
fn socket_of(document: &str) -> String {
    let from = document.split("--socket ").nth(1).unwrap();
    from.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_place_that_cannot_be_written_to_is_known_before_the_run() {
    for (place, why) in [
        ("/dev/full", "it is not a regular file, but a device"),
        ("/no/such/folder/x", "No such file or directory"),
    ] {
        for option in ["--junit", "--results"] {
            let (code, text, errors) = tested(None, &[option, place]);
            assert_eq!((code, text.as_str()), (Some(4), ""), "it is known before the run");
            let wanted = format!("error: cannot write {place}: {why}");
            assert!(errors.starts_with(&wanted), "{errors}");
        }
    }
}

/// The folder of the JUnit file goes while the tests run.
#[test]
fn a_late_failure_to_write_loses_no_result() {
    for format in ["text", "json"] {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        std::fs::create_dir(&gone).unwrap();
        let spawn = format!("sh -c 'rmdir \"$0\"; exit 1' {} {{socket}}", gone.display());
        let file = gone.join("junit.xml");
        let output = devmig(&[
            "test",
            "vhost-user",
            "--timeout",
            "0.5",
            "--spawn",
            &spawn,
            "--only",
            "ring.request",
            "--junit",
            file.to_str().unwrap(),
            "--format",
            format,
        ]);
        let (text, errors) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(4), "{errors}");
        let wanted = format!("error: cannot write {}: No such file", file.display());
        assert!(errors.starts_with(&wanted), "{errors}");
        assert!(text.contains("ring.request"), "{text}");
        if format == "json" {
            assert_eq!(json(&text)["summary"]["error"], 1, "{text}");
        }
    }
}

#[test]
fn a_waiver_masks_no_later_finding() {
    let mutant = Some(Mutant::IgnoresSetBase);
    let running = Running::start(Options { mutant, ..Options::default() }).unwrap();
    let socket = running.socket();
    let fixed = ["test", "vhost-user", "--timeout", "0.5", "--device", "blk", "--socket"];
    let more = ["--only", "ring.base-given", "--format", "json"];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("waivers.toml");
    // Each waiver uncovers what comes after it, until there is nothing more.
    let (mut waivers, mut found) = (String::new(), Vec::new());
    loop {
        std::fs::write(&file, &waivers).unwrap();
        let given = ["--waivers", file.to_str().unwrap()];
        let output = devmig(&[&fixed[..], &[socket.to_str().unwrap()], &more, &given].concat());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let result = &report["results"][0];
        if result["status"] == "waived" {
            assert_eq!(output.status.code(), Some(0));
            assert_eq!(result["waived"].as_array().unwrap().len(), found.len(), "{result:#}");
            break;
        }
        assert_eq!((result["status"].as_str(), output.status.code()), (Some("fail"), Some(1)));
        let clause = result["clause"].as_str().unwrap().to_owned();
        assert!(!found.contains(&clause) && found.len() < 5, "{clause} again, after {found:?}");
        waivers += &format!("[[waiver]]\nclause = \"{clause}\"\nreason = \"known\"\n");
        found.push(clause);
    }
    assert_eq!(
        found,
        ["vhost-user.ring.started-processes", "vhost-user.get-vring-base.base-is-next-available"]
    );
}

/// Runs the tests of a file: the results, and the exit code.
fn scripted(fixed: &[&str], script: &str) -> (Vec<Value>, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a script.toml");
    std::fs::write(&file, script).unwrap();
    let output =
        devmig(&[fixed, &["--format", "json", "--script", file.to_str().unwrap()]].concat());
    let mut report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let results: Vec<Value> = serde_json::from_value(report["results"].take()).unwrap();
    // Whatever command is printed runs the same test with the same end.
    for result in &results {
        let words = shell_words::split(result["reproduce"].as_str().unwrap()).unwrap();
        let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        let output = devmig(&[&words[..], &["--format", "json"]].concat());
        let again: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        assert_eq!(again["results"].as_array().unwrap().len(), 1, "{again:#}");
        for part in ["test", "status", "clause", "reproduce"] {
            assert_eq!(again["results"][0][part], result[part], "{again:#}");
        }
    }
    (results, output.status.code())
}

fn test(id: &str, clause: &str, steps: &[&str]) -> String {
    format!("[[test]]\nid = {id:?}\nclause = {clause:?}\npurpose = \"p\"\nsteps = {steps:?}\n\n")
}

#[test]
fn a_script_is_reproduced_by_the_command_that_is_printed_and_says_if_it_judged_nothing() {
    let running = Running::start(Options { mutant: FAULTY, ..Options::default() }).unwrap();
    let socket = running.socket();
    let fixed = ["test", "vhost-user", "--timeout", "0.5", "--device", "blk", "--socket"];
    let fixed = [&fixed[..], &[socket.to_str().unwrap()]].concat();
    let reads = ["run connect", "SET_FEATURES offered", "SET_STATUS 1", "GET_STATUS"];
    let script = test("own.status", "vhost-user.status.read-back", &reads).replacen(
        "steps",
        "needs = [\"STATUS\"]\nsteps",
        1,
    ) + &test("own.nothing", "vhost-user.reply.must", &["renew 0"]);
    let (results, code) = scripted(&fixed, &script);
    let ends: Vec<&str> = results.iter().map(|result| result["status"].as_str().unwrap()).collect();
    assert_eq!((ends.as_slice(), code), (["fail", "empty"].as_slice(), Some(1)), "{results:#?}");
    let text = devmig(&[&fixed[..], &["--play", "renew 0"]].concat()).stdout;
    assert!(String::from_utf8(text).unwrap().contains("1 judged nothing"));
}

/// The same fault of a test has the same end in every suite, and names its clause.
#[test]
fn a_step_that_the_test_gets_wrong_is_an_error_that_names_its_clause() {
    let running = Running::start(Options::default()).unwrap();
    let socket = running.socket();
    let socket = socket.to_str().unwrap();
    let ends = |fixed: &[&str], script: &str, clause: &str| {
        let (results, code) = scripted(fixed, script);
        let result = &results[0];
        assert_eq!((result["status"].as_str(), code), (Some("error"), Some(4)), "{result:#}");
        let said = format!("the test itself breaks {clause}");
        assert_eq!(result["observed"].as_str(), Some(said.as_str()));
    };
    let alone = [
        "GET_FEATURES",
        "GET_PROTOCOL_FEATURES",
        "SET_PROTOCOL_FEATURES INBAND_NOTIFICATIONS",
        "settle",
    ];
    ends(
        &["test", "vhost-user", "--device", "blk", "--socket", socket],
        &test("own.wrong", "vhost-user.reply.must", &alone),
        "vhost-user.in-band.needs-channel-and-acknowledgements",
    );
    let device = format!("{} device nic --vfio-user {{socket}}", env!("CARGO_BIN_EXE_devmig"));
    ends(
        &["test", "vfio-user", "--spawn", &device],
        &test("own.wrong", "vfio.set.completes", &["log all", "log all"]),
        "vfio.log.start-once",
    );
}
