//! The command line as its users meet it: console blocks, JSON, exit codes, bad input.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn devmig() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
    command.current_dir(root());
    command
}

fn run(arguments: &[&str]) -> Output {
    devmig().args(arguments).output().unwrap()
}

fn code(arguments: &[&str]) -> i32 {
    run(arguments).status.code().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = run(arguments);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// What differs from run to run.
fn steady(mut document: Value) -> Value {
    fn clear(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for (key, value) in map.iter_mut() {
                    match key.as_str() {
                        "seconds" | "table_bytes" => *value = Value::from(0),
                        // A sentence is longer than a line of a snapshot.
                        "why" => {
                            let text = value.as_str().unwrap_or_default();
                            let lines = textwrap::wrap(text, 80).into_iter();
                            *value = lines.map(|line| Value::from(line.into_owned())).collect();
                        }
                        _ => clear(value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(clear),
            _ => {}
        }
    }
    clear(&mut document);
    document
}

/// A device of a kernel that cannot be had is no finding: the message says what to do.
#[test]
fn a_kernel_s_device_that_is_not_there_says_what_to_do() {
    let cases: [(&[&str], &str); 5] = [
        (&["--cdev", "/dev/vfio/devices/no-such"], "bind a driver with VFIO support"),
        (&["--group", "/no-such/7", "--device", "0000:00:01.0"], "ls /dev/vfio"),
        (&["--group", "/no-such/7"], "--device"),
        (&["--device", "0000:00:01.0", "--cdev", "x"], "cannot be used with"),
        (&[], "--cdev"),
    ];
    for (arguments, help) in cases {
        let output = run(&[&["test", "vfio"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(help), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(code(&["test", "vfio", "--list"]), 0);
}

#[test]
fn verify_ends_as_the_readme_shows() {
    std::env::set_current_dir(root()).unwrap();
    trycmd::TestCases::new().case("conformance/tests/cmd/verify.trycmd");
    let lines = |path: &str, gap: &str| -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        let from = text.lines().skip_while(|line| !line.starts_with("system   "));
        let block = from.take_while(|line| *line != "```").filter(|line| !line.is_empty());
        block.map(|line| line.replace(gap, "…").replace("...", "…")).collect()
    };
    let shown = lines("README.md", "…");
    assert!(shown.len() > 5, "{shown:?}");
    assert_eq!(shown, lines("conformance/tests/cmd/verify.trycmd", "[..]"));
}

/// Names that scripts use from before they were renamed: hidden, and accepted.
#[test]
fn former_names_are_accepted_and_not_shown() {
    for (former, present) in [
        (&["peers", "--list"][..], &["implementations", "--list"][..]),
        (&["schema", "peers"], &["schema", "implementations"]),
        (
            &["test", "vhost-user", "--text", "10.2", "--list"],
            &["test", "vhost-user", "--spec-version", "10.2", "--list"],
        ),
        (
            &["table", "vfio", "--reading", "literal"],
            &["table", "vfio", "--interpretation", "literal"],
        ),
    ] {
        let (former, present) = (run(former), run(present));
        assert_eq!(former.status.code(), Some(0));
        assert!(!present.stdout.is_empty());
        assert_eq!(former.stdout, present.stdout);
    }
    let help = [&["--help"][..], &["test", "vhost-user", "--help"], &["table", "--help"]];
    for arguments in help {
        let help = String::from_utf8(run(arguments).stdout).unwrap();
        for former in ["peers", "--text", "--reading"] {
            assert!(!help.contains(former), "{arguments:?}: {former}");
        }
    }
}

/// A proposal that names a property by its former name is told the present one.
#[test]
fn a_former_property_name_is_answered_with_the_present_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.toml");
    for (former, present) in [
        ("rules", "rules-kept"),
        ("stuck", "deadlock-free"),
        ("progress", "no-starvation"),
        ("no-request-lost: can happen", "no-request-lost: non-vacuous"),
    ] {
        let text = format!(
            "[[proposal]]\nid = \"p\"\ntitle = \"P\"\nabout = \"P.\"\n\n[[expect]]\n\
             system = \"vhost-user/stop-start\"\nunder = []\nviolated = [\"{former}\"]\n"
        );
        std::fs::write(&file, text).unwrap();
        let output = run(&["proposal", "lint", file.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{former}");
        assert!(said.contains(&format!("is now called `{present}`")), "{former}: {said}");
    }
}

#[test]
fn what_a_device_refuses() {
    std::env::set_current_dir(root()).unwrap();
    trycmd::TestCases::new().case("conformance/tests/cmd/device.md");
}

#[test]
fn a_report_as_json() {
    let report = json(&["check", "example/copy-unmarked", "--format", "json"]);
    insta::assert_json_snapshot!(steady(report));
}

#[test]
fn the_list_as_json() {
    let list = json(&["check", "example/*", "--list", "--format", "json"]);
    insta::assert_json_snapshot!(list);
}

#[test]
fn a_comparison_as_json() {
    let arguments = ["compare", "example/copy", "example/copy-unmarked", "--format", "json"];
    insta::assert_json_snapshot!(json(&arguments));
}

#[test]
fn every_document_carries_its_schema() {
    for (arguments, schema) in [
        (&["check", "example/*", "--format", "json"][..], 2),
        (&["check", "--list", "--format", "json"], 2),
        (&["check", "--proposal", "specs/proposals/suspend.toml", "--format", "json"], 2),
        (&["decide", "--format", "json"], 2),
        (&["compare", "example/copy", "example/copy", "--format", "json"], 1),
        (&["verify", "--format", "json"], 2),
        (&["table", "vhost-user", "--format", "json"], 1),
        (&["clauses", "--format", "json"], 1),
        (&["choices", "--format", "json"], 1),
    ] {
        assert_eq!(json(arguments)["schema"], schema, "{arguments:?}");
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let with = |threads| {
        let arguments =
            ["check", "vhost-user/reset-device", "--format", "json", "--threads", threads];
        steady(json(&arguments))
    };
    assert_eq!(with("1"), with("4"));
}

/// The table of hand-overs, as text and as JSON: every outcome in capitals has a trace.
#[test]
fn hand_overs_are_decided() {
    let document = json(&["decide", "hand-over", "--format", "json"]);
    let systems = document["systems"].as_array().unwrap();
    let named = |name: &str| systems.iter().find(|row| row["system"] == name).unwrap();
    let ends = |row: &Value| {
        let cells = row["cells"].as_array().unwrap().clone();
        cells.into_iter().flat_map(|cell| cell["outcomes"].as_array().unwrap().clone())
    };
    let wrong = |name: &str| ends(named(name)).filter(|end| end["wrong"] == true).count();
    assert!(wrong("hand-over/source-resumes") > 0);
    assert_eq!(wrong("hand-over/lock-state-decides"), 0);
    let text = String::from_utf8(run(&["decide", "hand-over"]).stdout).unwrap();
    let brief = String::from_utf8(run(&["decide", "--brief", "hand-over"]).stdout).unwrap();
    assert!(text.starts_with(brief.trim_end()) && text.len() > 2 * brief.len());
    assert!(brief.contains("link cut, go received: BOTH RUN (IN SILENCE)"), "{brief}");
    assert_eq!(code(&["decide", "hand-over", "--choices", "vhost-user.ring.start"]), 2);
    assert_eq!(code(&["decide", "hand-over", "--choice", "vhost-user.ring.start=kick"]), 2);
    assert_eq!(code(&["decide", "hand-over", "--proposal", "/no/such"]), 2);
}

/// All that carries a clause is named, in whichever protocol.
#[test]
fn a_clause_is_explained_by_what_carries_it() {
    let coverage = json(&["clauses", "coverage", "--format", "json"]);
    for protocol in ["vhost-user.", "vfio.", "device-model."] {
        let carries = |clause: &&Value| {
            let some = |what: &str| clause[what].as_array().is_some_and(|list| !list.is_empty());
            clause["id"].as_str().unwrap().starts_with(protocol) && some("tests") && some("mutants")
        };
        let clause = coverage["clauses"].as_array().unwrap().iter().find(carries).unwrap();
        let said = run(&["explain", clause["id"].as_str().unwrap()]).stdout;
        let said = String::from_utf8(said).unwrap();
        for (what, word) in [("tests", "tested by"), ("mutants", "mutants")] {
            assert!(said.contains(word), "{said}");
            for name in clause[what].as_array().unwrap() {
                assert!(said.contains(name.as_str().unwrap()), "{name}: {said}");
            }
        }
    }
    let excused = |clause: &&Value| !clause["exceptions"].as_array().unwrap().is_empty();
    let clause = coverage["clauses"].as_array().unwrap().iter().find(excused).unwrap();
    let said = run(&["explain", clause["id"].as_str().unwrap()]).stdout;
    assert!(String::from_utf8(said).unwrap().contains("\n  no "), "{clause}");
}

/// A bound is changed by its name, in every protocol; what a system does not have is told with what it
/// has.
#[test]
fn a_system_is_explored_at_another_size() {
    let sizes = [
        ("example/copy", "values=3"),
        ("ring/abstract", "requests=3"),
        ("vhost-user/stop-start", "rings=1,requests=3"),
        ("vhost-user/negotiation", "rings=2"),
        ("vdpa/suspend-resume", "requests=3"),
        ("vfio/log", "pages=2"),
        ("device-model/refused", "faults=2"),
    ];
    for (system, scale) in sizes {
        assert_eq!(code(&["check", system, "--scale", scale]), 0, "{system} at {scale}");
    }
    let states = |scale: &[&str]| {
        let all = [&["check", "vdpa/suspend-resume", "--format", "json"], scale].concat();
        json(&all)["states"].as_u64().unwrap()
    };
    assert!(states(&["--scale", "requests=3"]) > states(&[]));
    let wrong = [
        ("vfio/log", "rings=2", "its bounds are pages (1 to 2, now 1)"),
        ("vdpa/suspend-resume", "requests=9", "its bounds are requests (1 to 4, now 2)"),
        ("example/copy", "values", "`values` is not a bound and its value"),
        ("example/copy", "values=1,values=2", "`values` is given twice"),
        ("example/copy", "huge", "the presets are `small` (as declared) and `large`"),
        (
            "example/copy",
            "large",
            "example/copy has no preset `large` help: these have it: vhost-user/ring",
        ),
        (
            "vhost-user/kick-overtakes",
            "rings=2",
            "says nothing at rings=2: the socket of the model",
        ),
    ];
    for (system, scale, what) in wrong {
        let output = run(&["check", system, "--scale", scale]);
        let said = String::from_utf8(output.stderr).unwrap();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(2), "{system} at {scale}: {said}");
        assert!(said.contains(what), "{said}");
    }
    assert!(states(&["--scale", "large"]) > states(&["--scale", "requests=3"]));
    assert_eq!(states(&["--scale", "small"]), states(&[]));
    let output = run(&["check", "vdpa/*", "--scale", "large"]);
    let said = String::from_utf8(output.stdout).unwrap();
    let left_out = "at large\nleft out, for they have no preset `large`: 1 system\n";
    assert!(said.starts_with(left_out), "{said}");
    let ring = ["compare", "vdpa/suspend-resume", "ring/abstract", "--ring", "--refines"];
    assert_eq!(code(&[&ring[..], &["--scale", "requests=3"]].concat()), 0);
    let proposal = concat!(env!("CARGO_MANIFEST_DIR"), "/../specs/proposals/suspend.toml");
    let proposed = ["check", "--proposal", proposal, "vhost-user/stop-start", "--format", "json"];
    let states = |scale: &[&str]| {
        let report = json(&[&proposed[..], scale].concat());
        let of = |side: &str| report["systems"][0][side]["states"].as_u64().unwrap();
        (of("base"), of("proposed"))
    };
    let (own, further) = (states(&[]), states(&["--scale", "requests=3"]));
    assert!(further.0 > own.0 && further.1 > own.1, "{own:?} {further:?}");
}

#[test]
fn all_proposals_are_checked() {
    let output = run(&["check", "--proposals"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
    assert!(said.lines().any(|line| line.starts_with("skip-pre-copy") && line.contains("S3-03")));
    let report = json(&["check", "--proposals", "--format", "json"]);
    assert_eq!(report["as_expected"], true);
    assert_eq!(report["proposals"].as_array().unwrap().len() + 3, said.lines().count());
    // A run that is cut short proves nothing.
    assert_eq!(code(&["check", "--proposals", "--max-states", "10"]), 3);
    assert_eq!(code(&["check", "--proposals", "vdpa/*"]), 2);
}

#[test]
fn exit_codes() {
    assert_eq!(code(&["check", "example/copy"]), 0);
    assert_eq!(code(&["check", "vhost-user/stop-abandons"]), 0);
    // A reading under which the counterexample that is expected cannot happen.
    let pin = "vhost-user.get-vring-base.in-flight=drain";
    assert_eq!(code(&["check", "vhost-user/stop-abandons", "--choice", pin]), 1);
    assert_eq!(code(&["check", "example/copy", "--max-states", "3"]), 3);
    assert_eq!(code(&["check", "example/copy", "--max-depth", "2"]), 3);
    let drain = "vhost-user.get-vring-base.in-flight=drain";
    let abandon = "vhost-user.get-vring-base.in-flight=abandon";
    let suspend = "specs/proposals/suspend.toml";
    assert_eq!(code(&["compare", "example/copy", "example/copy"]), 0);
    assert_eq!(code(&["compare", "vhost-user/stop-start", "--choice", drain]), 0);
    assert_eq!(code(&["compare", "vhost-user/ring", "--proposal", suspend]), 0);
    assert_eq!(code(&["compare", "example/copy", "example/copy-unmarked"]), 1);
    assert_eq!(code(&["compare", "vhost-user/stop-start", "--choice", abandon]), 1);
    let both = ["compare", "vhost-user/stop-start", "--choice", abandon, "--against", abandon];
    assert_eq!(code(&both), 0);
    assert_eq!(code(&["compare", "example/copy", "example/copy", "--max-pairs", "3"]), 3);
    assert_eq!(code(&["compare", "example/copy", "example/copy", "--max-depth", "2"]), 3);
    let refines = |a| code(&["compare", "--ring", "--refines", a, "ring/abstract"]);
    assert_eq!(refines("vhost-user/stop-start"), 0);
    assert_eq!(refines("vdpa/suspend-restart"), 0);
    assert_eq!(refines("vdpa/base-without-suspend"), 1);
    assert_eq!(code(&["compare", "--ring", "vdpa/suspend-restart", "ring/abstract"]), 1);
    // What was found before the bound is no less a difference.
    let found = ["compare", "example/copy", "example/copy-unmarked", "--max-depth", "4"];
    assert_eq!(code(&found), 1);
    for usage in [
        &["compare"][..],
        &["compare", "example/copy"],
        &["compare", "example/copy", "no-such-system"],
        &["compare", "copy", "example/copy"],
        &["compare", "example/copy", "example/copy", "--max-pairs", "0"],
        &["compare", "example/copy", "--against", drain],
        &["compare", "example/copy", "example/copy", "--choice", drain, "--against", drain],
        &["compare", "vhost-user/ring", "--choice", "vhost-user.ring.start=lick"],
        &["compare", "vhost-user/ring", "--choice", drain, "--choice", abandon],
        &["compare", "vhost-user/ring", "--proposal", "/no/such/file"],
        &["compare", "vhost-user/suspend-anytime", "--proposal", suspend],
        &["check", "no-such-system"],
        &["check", "no-such/*"],
        &["check", "--choice", "vhost-user.ring.start"],
        &["check", "--choice", "vhost-user.ring.start=lick"],
        &["check", "--list", "--max-states", "3"],
        &["check", "--threads", "0"],
        &["check", "--timeout", "soon"],
        &["check", "--proposal", "/no/such/file"],
        &["check", "--proposal", "/"],
        &["check", "--proposal", "/dev/zero"],
        &["decide", "vhost-user/ring"],
        &["explain", "nothing"],
        &["proposal", "lint", "README.md"],
        &["docs", "--dir", "/no/such/directory"],
    ] {
        let output = run(usage);
        assert_eq!(output.status.code(), Some(2), "{usage:?}");
        assert!(!output.stderr.is_empty(), "{usage:?}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    for format in ["text", "json"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = devmig();
        command.args(["check", "vhost-user/ring", "--format", format]).stdout(full);
        let output = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{format}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.starts_with("error: cannot write the report: No space"), "{message}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let mut command = devmig();
    command.args(["check", "--full", "vhost-user/*"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut reader = BufReader::with_capacity(16, child.stdout.take().unwrap());
    reader.read_line(&mut first).unwrap();
    drop(reader);
    assert!(first.starts_with("vhost-user/ring: holds"), "{first}");
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn no_colours_in_a_pipe() {
    let colour = |arguments: &[&str]| run(arguments).stdout.contains(&0x1b);
    assert!(!colour(&["check", "example/copy"]));
    assert!(colour(&["check", "example/copy", "--color", "always"]));
}

#[test]
fn every_problem_of_a_proposal_is_underlined() {
    let output = run(&["proposal", "lint", "conformance/tests/cmd/broken.toml"]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap());
}

#[test]
fn an_expectation_that_is_not_met_fails() {
    let file = "conformance/tests/cmd/wrong-expectation.toml";
    let output = run(&["check", "--proposal", file]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn the_book_is_up_to_date() {
    let output = run(&["docs", "--check"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_page_that_differs_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    assert_eq!(code(&["docs", "--dir", path]), 0);
    assert_eq!(code(&["docs", "--dir", path, "--check"]), 0);
    let page = dir.path().join("reference/choices.md");
    std::fs::write(&page, "something else").unwrap();
    let output = run(&["docs", "--dir", path, "--check"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("reference/choices.md is out of date"), "{text}");
}

/// An option, a file or a step that would have no effect is refused, and a proposal that checks nothing is
/// not as expected.
#[test]
fn what_would_be_ignored_is_refused() {
    let options = [
        ["--junit", "x"],
        ["--results", "x"],
        ["--waivers", "x"],
        ["--script", "x"],
        ["--play", "x"],
        ["--walks", "2"],
        ["--choice", "a=b"],
    ];
    for protocol in ["vhost-user", "vfio-user"] {
        for option in options {
            let mutants = ["test", protocol, "--mutants"];
            assert_eq!(code(&[&mutants[..], &option].concat()), 2, "{protocol} {option:?}");
        }
    }
    assert_eq!(code(&["test", "vhost-user", "--list", "--junit", "x"]), 2);
    let spawned = ["test", "vhost-user", "--spawn", "true {socket}"];
    let with = |more: &[&str]| {
        let output = run(&[&spawned[..], more].concat());
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, said) = with(&["--junit", "/tmp/same", "--results", "/tmp/same"]);
    assert!(status == 2 && said.contains("name the same file"), "{status} {said}");
    for step in ["copy all", "renew ring 0", "GET_STATUS until 3", "move"] {
        let (status, said) = with(&["--play", step]);
        assert_eq!(status, 2, "{step}: {said}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let forged = "[[test]]\nid = \"a\\n  pass   b\"\nclause = \"vhost-user.ring.enable-sets\"\n\
                  purpose = \"x\"\nsteps = [\"settle\"]\n";
    let (status, said) = with(&["--script", &file("forged", forged)]);
    assert!(status == 2 && said.contains("no control characters"), "{status} {said}");

    let head = "[[proposal]]\nid = \"mine\"\ntitle = \"Mine\"\nabout = \"A test.\"\n";
    let checked = |name: &str, rest: &str| {
        let path = file(name, &format!("{head}{rest}"));
        let output = run(&["check", "--proposal", &path]);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    };
    let (status, said) = checked("nothing", "");
    assert!(status == 1 && said.contains("nothing is checked"), "{status} {said}");
    let replaces = |name: &str, holds: &str| {
        format!(
            "[[system]]\nprotocol = \"vdpa\"\nname = \"{name}\"\nabout = \"Base before SUSPEND.\"\n\
             run = [\"run start\", \"vcpus stop\", \"GET_VRING_BASE\"]\nholds = [{holds}]\n"
        )
    };
    let (status, said) = checked("replaced", &replaces("vdpa/suspend-resume", "\"base-is-next\""));
    assert!(status == 1 && said.contains("vdpa/suspend-resume"), "{status} {said}");
    for name in ["mine", "vdpa/", "vdpa/mine*", "vfio/mine"] {
        let (status, said) = checked("named", &replaces(name, ""));
        assert!(status == 2 && said.contains("is called `vdpa/NAME`"), "{name}: {status} {said}");
    }
    let twice = replaces("vdpa/mine", "\"base-is-next\", \"base-is-next\"");
    let (status, said) = checked("twice", &twice);
    assert!(status == 2 && said.contains("is expected twice"), "{status} {said}");
}
