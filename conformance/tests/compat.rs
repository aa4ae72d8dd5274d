//! `devmig compat` as management layers meet it: verdicts, exit codes, schemas, directories, bad input.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_devmig")).current_dir(root()).args(arguments).output().unwrap()
}

/// Descriptions in a directory of their own.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Files(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The exit code, and the verdict if there is one.
    fn compat(&self, source: &[u8], destination: &[u8]) -> (i32, Value) {
        let (from, to) = (self.write("from", source), self.write("to", destination));
        compat(&from, &to)
    }
}

fn compat(from: &str, to: &str) -> (i32, Value) {
    let output = run(&["compat", "--source", from, "--destination", to, "--format", "json"]);
    let code = output.status.code().unwrap();
    if code > 1 {
        assert!(output.stderr.starts_with(b"error: "), "{output:?}");
        assert!(output.stdout.is_empty());
        return (code, Value::Null);
    }
    (code, serde_json::from_slice(&output.stdout).unwrap())
}

fn kinds(verdict: &Value) -> Vec<&str> {
    let reasons = verdict["reasons"].as_array().unwrap();
    reasons.iter().map(|reason| reason["kind"].as_str().unwrap()).collect()
}

fn validator(document: &str) -> jsonschema::Validator {
    let output = run(&["schema", document]);
    assert_eq!(output.status.code(), Some(0), "{document}");
    jsonschema::validator_for(&serde_json::from_slice(&output.stdout).unwrap()).unwrap()
}

fn filter(size: u64) -> Vec<u8> {
    let parameters = json!({"rx-filter-size": size});
    json!({"model": "vendor-a.com/my-nic", "parameters": parameters}).to_string().into()
}

fn nic(sizes: &Value) -> Vec<u8> {
    json!({"models": [{"model": "vendor-a.com/my-nic", "parameters": [{
        "name": "rx-filter-size", "type": "int", "allowed_values": sizes, "init_value": 0, "off_value": 0
    }]}]})
    .to_string()
    .into()
}

#[test]
fn console_blocks() {
    std::env::set_current_dir(root()).unwrap();
    trycmd::TestCases::new().case("conformance/tests/compat.trycmd");
}

#[test]
fn the_cases_of_the_discussion() {
    let files = Files::new();
    for (size, sizes, code, kind) in [
        (16, json!([0, 32]), 1, "value-not-allowed"),
        (32, json!([0]), 1, "value-not-allowed"),
        (16, json!([0, 16]), 0, ""),
        (16, json!(["0-64"]), 0, ""),
        (0, json!([32]), 1, "cannot-disable"),
    ] {
        let (found, verdict) = files.compat(&filter(size), &nic(&sizes));
        assert_eq!(found, code, "{size} to {sizes}: {verdict}");
        if code == 0 {
            let wanted = json!({"rx-filter-size": size});
            assert_eq!(verdict, json!({"verdict": "safe", "configuration": wanted, "reasons": []}));
        } else {
            assert_eq!(verdict["verdict"], "refused");
            assert_eq!(verdict["configuration"], Value::Null);
            assert_eq!(kinds(&verdict), [kind]);
            let reason = verdict["reasons"][0].as_object().unwrap();
            let keys: Vec<&str> = reason.keys().map(String::as_str).collect();
            assert_eq!(keys, ["kind", "model", "parameter", "value", "allowed", "message"]);
            assert_eq!(reason["parameter"], "rx-filter-size");
            assert_eq!(reason["value"], size);
            assert_eq!(reason["allowed"], sizes);
        }
    }
}

/// What is empty, or `null`, is no description, and that is a refusal and no mistake.
#[test]
fn an_absent_description_refuses() {
    let files = Files::new();
    for nothing in ["", " \n", "null"] {
        let (code, verdict) = files.compat(nothing.as_bytes(), &nic(&json!([0])));
        assert_eq!((code, kinds(&verdict)), (1, vec!["no-description"]));
        let (code, verdict) = files.compat(&filter(0), nothing.as_bytes());
        assert_eq!((code, kinds(&verdict)), (1, vec!["no-description"]));
    }
    let empty = files.0.path().join("dir");
    fs::create_dir(&empty).unwrap();
    let (code, verdict) = compat(empty.to_str().unwrap(), empty.to_str().unwrap());
    assert_eq!((code, kinds(&verdict)), (1, vec!["no-description"; 2]));
    assert_eq!(compat("/no/such/file", "/no/such/file").0, 2);
}

/// H1: two statements about an off value must agree; and without a statement nothing is taken for off.
#[test]
fn off_values_are_the_owners() {
    let files = Files::new();
    let source = |off: Option<u64>| {
        let mut instance =
            json!({"model": "vendor-a.com/my-nic", "parameters": {"rx-filter-size": 0}});
        if let Some(off) = off {
            instance["definition"] = json!({"model": "vendor-a.com/my-nic", "parameters": [
                {"name": "rx-filter-size", "type": "int", "off_value": off, "affects": "both"}]});
        }
        instance.to_string().into_bytes()
    };
    let bare = json!({"models": [{"model": "vendor-a.com/my-nic", "parameters": []}]}).to_string();
    let (code, verdict) = files.compat(&source(None), bare.as_bytes());
    assert_eq!((code, kinds(&verdict)), (1, vec!["unknown-parameter"]));
    let (code, verdict) = files.compat(&source(Some(0)), bare.as_bytes());
    assert_eq!((code, &verdict["configuration"]), (0, &json!({})));
    let (code, verdict) = files.compat(&source(Some(1)), &nic(&json!([0, 1])));
    assert_eq!((code, kinds(&verdict)), (1, vec!["definition-conflict"]));
    // A host that carries the owner's statement: the same.
    let mut host: Value = serde_json::from_slice(&nic(&json!([0, 1]))).unwrap();
    host["definition"] = json!({"model": "vendor-a.com/my-nic", "parameters": [
        {"name": "rx-filter-size", "type": "int", "off_value": 1}]});
    let (code, verdict) = files.compat(&source(None), host.to_string().as_bytes());
    assert_eq!((code, kinds(&verdict)), (1, vec!["definition-conflict"]));
}

/// A parameter that only the destination has is off, or refused where it has no off value (H2).
#[test]
fn a_parameter_of_the_destination_is_off_or_refused() {
    let files = Files::new();
    let source = json!({"model": "vendor-a.com/my-nic", "parameters": {}}).to_string();
    let (code, verdict) = files.compat(source.as_bytes(), &nic(&json!([0, 16])));
    assert_eq!((code, &verdict["configuration"]), (0, &json!({"rx-filter-size": 0})));
    let mandatory = json!({"models": [{"model": "vendor-a.com/my-nic", "parameters": [
        {"name": "num-resources", "type": "int", "allowed_values": [64], "init_value": 64}]}]});
    let (code, verdict) = files.compat(source.as_bytes(), mandatory.to_string().as_bytes());
    assert_eq!((code, kinds(&verdict)), (1, vec!["mandatory-missing"]));
}

#[test]
fn documents_match_their_schemas() {
    let data = |name: &str| format!("conformance/tests/cmd/compat/{name}");
    let file = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(root().join(data(name))).unwrap()).unwrap()
    };
    let (instance, implementation) = (validator("instance"), validator("implementation"));
    for name in ["instance-16.json", "instance-rss.json"] {
        assert!(instance.is_valid(&file(name)), "{name}");
        assert!(!implementation.is_valid(&file(name)), "{name}");
    }
    for name in ["old.json", "new.json", "broken.json"] {
        assert!(implementation.is_valid(&file(name)), "{name}");
        assert!(!instance.is_valid(&file(name)), "{name}");
    }
    let (old, new, broken) = (data("old.json"), data("new.json"), data("broken.json"));
    let (here, dir) = (data("instance-rss.json"), "conformance/tests/cmd/compat");
    for (schema, arguments) in [
        ("compat", &["--source", &here, "--destination", &old, "--format", "json"][..]),
        ("compat", &["--source", &here, "--destination", &new, "--format", "json"]),
        ("compat-baseline", &["baseline", &old, &new, "--format", "json"]),
        ("compat-baseline", &["baseline", &old, &broken, "--format", "json"]),
        ("compat-lint", &["lint", &old, &broken, "--format", "json"]),
        ("compat-fleet", &["fleet", dir, "--format", "json"]),
        ("migration-info", &["info", &new]),
    ] {
        let output = run(&[&["compat"][..], arguments].concat());
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(validator(schema).is_valid(&document), "{schema}: {document}");
        assert!(!validator(schema).is_valid(&json!({"else": 1})), "{schema}");
    }
}

/// What is written as migration info of v3 is read again, and answers the same.
#[test]
fn migration_info_is_written_and_read() {
    let files = Files::new();
    let info = run(&["compat", "info", "conformance/tests/cmd/compat/new.json"]);
    assert!(String::from_utf8_lossy(&info.stderr).contains("the joint constraints"));
    let to = files.write("info.json", &info.stdout);
    let from = files.write("from", filter(32));
    let (code, verdict) = compat(&from, &to);
    assert_eq!(code, 0);
    let wanted = json!({"queue-pairs": 0, "rss": false, "rx-filter-size": 32});
    assert_eq!(verdict["configuration"], wanted);
    let again = run(&["compat", "info", &to]);
    assert_eq!(again.stdout, info.stdout);
    assert!(again.stderr.is_empty());
}

#[test]
fn directories_of_mdev_devices_are_read() {
    let files = Files::new();
    let info = |memory: u64| {
        json!({"models": {"vendor-a.com/gpu": {"params": {
            "memory": {"type": "int", "allowed_values": [memory], "init_value": memory},
            "sr": {"type": "bool", "init_value": true, "off_value": false}}}}})
        .to_string()
    };
    files.write("v3/mdev_supported_types/gfx-4GB/migration_info.json", info(4096));
    files.write("v3/mdev_supported_types/gfx-8GB/migration_info.json", info(8192));
    files.write("v3/uuid/mdev_type/migration_info.json", info(8192));
    files.write("v3/uuid/migration/memory", "8192\n");
    files.write("v3/uuid/migration/sr", "on\n");
    let at = |name: &str| files.0.path().join(name).to_str().unwrap().to_owned();
    let (code, verdict) = compat(&at("v3/uuid"), &at("v3"));
    assert_eq!((code, &verdict["configuration"]), (0, &json!({"memory": 8192, "sr": true})));
    let (code, verdict) = compat(&at("v3/uuid"), &at("v3/mdev_supported_types/gfx-4GB"));
    assert_eq!((code, kinds(&verdict)), (1, vec!["value-not-allowed"]));
    files.write("v3/uuid/migration/memory", "8k\n");
    assert_eq!(compat(&at("v3/uuid"), &at("v3")).0, 2);

    let types = "v4/mdev_supported_types/gfx-4GB/migration_device_models";
    files.write(types, "org.project/graphics-card:\n4GB-v1\n4GB-v2\n");
    files.write("v4/uuid/migration/device_model", "org.project/graphics-card\n");
    files.write("v4/uuid/migration/version", "4GB-v2\n");
    let (code, verdict) = compat(&at("v4/uuid"), &at("v4"));
    assert_eq!((code, &verdict["configuration"]), (0, &json!({"version": "4GB-v2"})));
    files.write("v4/uuid/migration/version", "4GB-v3\n");
    let (code, verdict) = compat(&at("v4/uuid"), &at("v4"));
    assert_eq!((code, kinds(&verdict)), (1, vec!["version-unsupported"]));
    // Neither version of the RFC says anything about the other.
    assert_eq!(kinds(&compat(&at("v4/uuid"), &at("v3")).1), ["no-description"]);

    files.write("a/migration_version", "i915-v1\n");
    files.write("b/migration_version", "i915-v2\n");
    assert_eq!(compat(&at("a"), &at("a")).0, 0);
    assert_eq!(kinds(&compat(&at("a"), &at("b")).1), ["not-listed"]);

    let own = |n: u32, a: u32| format!("mdev_type=i915-GVTg_V5_{n}\naggregator={a}\n");
    let list = "mdev_type=i915-GVTg_V5_{val1:int:2,4,8}\naggregator={val1}/2\n";
    for (name, n, a) in [("c", 4, 2), ("d", 8, 4), ("e", 1, 1)] {
        files.write(&format!("{name}/migration/self"), own(n, a));
        files.write(&format!("{name}/migration/compatible"), list);
    }
    assert_eq!(compat(&at("c"), &at("d")).0, 0);
    assert_eq!(kinds(&compat(&at("c"), &at("e")).1), ["not-listed"]);
}

/// Every one of these is refused with a reason, soon.
#[test]
fn bad_input_is_refused_in_bounded_time() {
    let files = Files::new();
    let good = nic(&json!([0, 16]));
    let deep = |open: &str, close: &str| {
        let nested = open.repeat(200_000) + &close.repeat(200_000);
        format!(
            r#"{{"model": "vendor-a.com/my-nic", "parameters": {{}}, "external": {{"x": {nested}}}}}"#
        )
    };
    let many: Vec<String> = (0..1_000_000).map(|n| format!("\"p{n}\":1")).collect();
    let many = format!(r#"{{"model":"vendor-a.com/my-nic","parameters":{{{}}}}}"#, many.join(","));
    let with = |text: &str| {
        format!(r#"{{"models":[{{"model":"vendor-a.com/my-nic","parameters":[{text}]}}]}}"#)
    };
    let parameter = |allowed: &str| {
        with(&format!(r#"{{"name":"a","type":"int","init_value":1,"allowed_values":{allowed}}}"#))
    };
    let values: Vec<String> = (0..200_000).map(|n| n.to_string()).collect();
    let sources = [
        many,
        deep("[", "]"),
        deep(r#"{"a":"#, "1}"),
        r#"{"model":"vendor-a.com/my-nic","model":"vendor-a.com/my-nic","parameters":{}}"#.into(),
        r#"{"model":"vendor-a.com/my-nic","parameters":{"a":1,"a":2}}"#.into(),
        r#"{"model":"vendor-a.com/my-nic","parameters":{"a":1.5}}"#.into(),
        r#"{"model":"vendor-a.com/my-nic","parameters":{"a":-1}}"#.into(),
        r#"{"model":"vendor-a.com/my-nic","parameters":{"a":18446744073709551616}}"#.into(),
        r#"{"model":"vendor-a.com/my-nic","parameters":{"a":[1]}}"#.into(),
        r#"{"model":"vendor-a.com/my-nic","parameters":{"a=b":1}}"#.into(),
        r#"{"model":"vendor-a.com/my-nic","parameters":{"":1}}"#.into(),
        r#"{"model":"vendor-a.com/my-nic","parameters":{"a":"x\ny"}}"#.into(),
        r#"{"model":"vendor-a.com/my-nic","params":{}}"#.into(),
        r#"{"model":"vendor-a.com/my-nic"}"#.into(),
        r#"{"model":"vendor-a.com/my-nic","parameters":{}} trailing"#.into(),
        r#"{"model":7,"parameters":{}}"#.into(),
        "[]".into(),
        "\u{0}".into(),
        " ".repeat((16 << 20) + 1),
    ];
    let begin = Instant::now();
    for source in &sources {
        let (code, _) = files.compat(source.as_bytes(), &good);
        assert_eq!(code, 2, "{}", &source[..source.len().min(80)]);
    }
    let destinations = [
        parameter(r#"["0-18446744073709551616"]"#),
        parameter(r#"["5-1"]"#),
        parameter(r#"["1-"]"#),
        parameter(r#"["-5"]"#),
        parameter(r#"["01-5"]"#),
        parameter(r#"["1-2-3"]"#),
        parameter("[true]"),
        parameter(&format!("[{}]", values.join(","))),
        with(r#"{"name":"a","type":"int"}"#),
        with(r#"{"name":"a","type":"float","init_value":1}"#),
        with(r#"{"name":"a","type":"int","init_value":true}"#),
        with(r#"{"name":"a","type":"int","init_value":1,"off_value":"x"}"#),
        with(r#"{"name":"a","type":"int","init_value":1},{"name":"a","type":"int","init_value":1}"#),
        with(r#"{"name":"a","type":"int","init_value":1,"unheard-of":1}"#),
        r#"{"models":[{"model":"vendor-a.com/my-nic","aliases":{"1":{"b":1}}}]}"#.into(),
        r#"{"models":[{"model":"vendor-a.com/my-nic","constraints":[{"if":{}}]}]}"#.into(),
        r#"{"models":[{"model":"vendor-a.com/my-nic","constraints":[{"if":{"b":[1]},"then":{}}]}]}"#.into(),
        r#"{"models":[{"model":"vendor-a.com/my-nic"},{"model":"vendor-a.com/my-nic"}]}"#.into(),
        r#"{"models":{"vendor-a.com/my-nic":{"params":{}},"vendor-a.com/my-nic":{"params":{}}}}"#.into(),
        r#"{"models":[],"definition":{"model":"vendor-a.com/my-nic","parameters":[]}}"#.into(),
    ];
    for destination in &destinations {
        let (code, _) = files.compat(&filter(0), destination.as_bytes());
        assert_eq!(code, 2, "{}", &destination[..destination.len().min(120)]);
    }
    assert_eq!(compat("/dev/zero", "/dev/zero").0, 2);
    assert_eq!(files.compat(b"\xff\xfe", &good).0, 2);
    // Generous: a debug build on a loaded machine.
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
}

/// What is dense takes no more memory than what is large: a file is refused for what is in it before it is
/// read, within 256 MiB of address space for all of the program.
#[test]
fn bad_input_is_refused_in_bounded_memory() {
    let files = Files::new();
    let many = |item: &str, n: usize| vec![item; n].join(",");
    let device = |external: &str| {
        format!(
            r#"{{"model":"vendor-a.com/my-nic","parameters":{{}},"external":{{"x":{external}}}}}"#
        )
    };
    let table = |rows: &str| {
        format!(
            r#"{{"models":[{{"model":"vendor-a.com/my-nic","parameters":[{{"name":"a","type":"int","init_value":1}}],
            "constraints":[{{"parameters":["a"],"allowed":[{rows}]}}]}}]}}"#
        )
    };
    let host = files.write("host", nic(&json!([0])));
    let from = files.write("from", filter(0));
    let within = |from: &str, to: &str| {
        let limited = r#"ulimit -v 262144; exec "$0" compat --source "$1" --destination "$2""#;
        let devmig = env!("CARGO_BIN_EXE_devmig");
        let output = Command::new("sh").args(["-c", limited, devmig, from, to]).output().unwrap();
        output.status.code()
    };
    for (external, code) in [
        (format!("[{}]", many("0", 8_000_000)), 2),
        (format!("[{}]", many("[]", 5_000_000)), 2),
        (format!("[{}]", many("{}", 5_000_000)), 2),
        (format!("[{}]", many("\",[{\"", 1_000)), 0),
        (format!("[{}]", many("0", 1_000_000)), 0),
    ] {
        let path = files.write("dense", device(&external));
        assert_eq!(within(&path, &host), Some(code), "{}", &external[..20]);
    }
    for rows in [many("[1]", 4_000_000), many("[[1]]", 3_000_000), many("[1]", 70_000)] {
        let path = files.write("dense", table(&rows));
        assert_eq!(within(&from, &path), Some(2));
    }
}

/// An id that is none refuses, whichever side has it, with the spelling that is meant if there is one.
#[test]
fn names_that_deceive_are_refused() {
    let files = Files::new();
    let good = "vendor-a.com/my-nic";
    for (bad, meant) in [
        ("vendor-a.com@evil.example/my-nic", None),
        ("https://vendor-a.com:443/my-nic", Some("https://vendor-a.com/my-nic")),
        ("http://vendor-a.com/my-nic", None),
        ("Vendor-A.com/my-nic", Some(good)),
        ("vendor-a.com./my-nic", Some(good)),
        ("vendor-a.com/x/../my-nic", Some(good)),
        ("vendor-a.com/./my-nic", Some(good)),
        ("vendor-a.com//my-nic/", Some(good)),
        ("vendor-a.com/%6dy-nic", Some(good)),
        ("vendor-a.com/%2e%2e/my-nic", Some(good)),
        ("vendor-a.com/my-nic?version=2", None),
        ("vendor-a.com/my-nic#2", None),
        ("vendоr-a.com/my-nic", None), // a Cyrillic letter
        ("vendor-a.com/my nic", None),
        ("vendor-a.com", None),
        ("my-nic", None),
        ("", None),
    ] {
        let source = json!({"model": bad, "parameters": {}}).to_string();
        let (code, verdict) = files.compat(source.as_bytes(), &nic(&json!([0])));
        assert_eq!((code, kinds(&verdict)), (1, vec!["bad-model-id"]), "{bad}");
        let suggested = verdict["reasons"][0]["allowed"][0].as_str();
        assert_eq!(suggested, meant, "{bad}");
        let host = json!({"models": [{"model": good}, {"model": bad}]}).to_string();
        let (code, verdict) = files.compat(&filter(0), host.as_bytes());
        assert_eq!((code, kinds(&verdict)), (1, vec!["bad-model-id"]), "{bad}");
    }
    let near = json!({"model": "https://vendor-a.com/my-nic", "parameters": {}}).to_string();
    let (code, verdict) = files.compat(near.as_bytes(), &nic(&json!([0])));
    assert_eq!((code, kinds(&verdict)), (1, vec!["model-unsupported"]));
    let message = verdict["reasons"][0]["message"].as_str().unwrap();
    assert!(message.contains("differs in the scheme only"), "{message}");
}

#[test]
fn a_fleet_is_held_against_itself() {
    let files = Files::new();
    for size in [0, 16, 32] {
        files.write(&format!("fleet/instances/{size}.json"), filter(size));
    }
    files.write("fleet/hosts/old.json", nic(&json!([0, 16])));
    files.write("fleet/hosts/new.json", nic(&json!(["0-31"])));
    files.write("fleet/hosts/other.json", r#"{"models": []}"#);
    let dir = files.0.path().join("fleet");
    let dir = dir.to_str().unwrap();
    let output = run(&["compat", "fleet", dir, "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let matrix: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(matrix["hosts"], 3);
    assert_eq!(matrix["idle"], json!(["hosts/other.json"]));
    let accepted = |row: usize| matrix["instances"][row]["accepted_by"].as_array().unwrap().len();
    assert_eq!([accepted(0), accepted(1), accepted(2)], [2, 2, 0]);
    files.write("fleet/bad.json", "{");
    assert_eq!(run(&["compat", "fleet", dir]).status.code(), Some(2));
}

#[test]
fn the_schemes_are_decided() {
    let output = run(&["decide", "device-model", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema"], 1);
    assert_eq!(document["schemes"].as_array().unwrap().len(), 26);
    let choices = ["decide", "device-model", "--choices", "vhost-user.ring.start"];
    assert_eq!(run(&choices).status.code(), Some(2));
}
