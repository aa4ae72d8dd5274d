//! Files that a user names, and text that somebody else writes: each kind of command takes them within
//! limits, and shows them as text.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};

/// The longest that anything here may take.
const LONGEST: Duration = Duration::from_secs(30);

/// Runs it with no more memory than 2 GiB of addresses, and no longer than allowed.
fn devmig(arguments: &[&str]) -> Output {
    let script = "ulimit -v 2097152; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_devmig")]).args(arguments);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let begun = Instant::now();
    let child = command.spawn().unwrap();
    let id = rustix::process::Pid::from_child(&child);
    let (done, ended) = std::sync::mpsc::channel();
    let guard = std::thread::spawn(move || {
        if ended.recv_timeout(LONGEST).is_err() {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    let _ = done.send(());
    guard.join().unwrap();
    assert!(begun.elapsed() < LONGEST, "{arguments:?} took {:?}", begun.elapsed());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked") && !errors.contains("allocation"), "{errors}");
    output
}

/// Files that must not be read to their end, or waited for.
fn bad_files(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let fifo = folder.join("fifo.json");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let zero = folder.join("zero.json");
    std::os::unix::fs::symlink("/dev/zero", &zero).unwrap();
    vec![(fifo, "not a regular file"), (zero, "not a regular file")]
}

/// Every option that names a file which is read; `FILE` stands for it. `cli/paths.rs` knows that there
/// are no others.
const READ: [&[&str]; 19] = [
    &["decide", "migration", "--vm", "FILE"],
    &["reference", "multifd-source", "--connect", "/no-such-socket", "--memory", "FILE"],
    &["check", "--proposal", "FILE"],
    &["compare", "example/copy", "--proposal", "FILE"],
    &["decide", "--proposal", "FILE"],
    &["explore", "example/copy", "--proposal", "FILE"],
    &["table", "vhost-user", "--proposal", "FILE"],
    &["proposal", "lint", "FILE"],
    &["test", "vhost-user", "--socket", "/s", "--script", "FILE"],
    &["test", "vfio-user", "--socket", "/s", "--script", "FILE"],
    &["test", "vhost-user", "--socket", "/s", "--waivers", "FILE"],
    &["test", "device-model", "--spawn", "true", "--waivers", "FILE"],
    &["replay", "FILE"],
    &[
        "test",
        "multifd-destination",
        "--spawn={socket} {ram}",
        "--recording=/no-such-recording",
        "--source-ram",
        "FILE",
    ],
    &["compat", "--source", "FILE", "--destination", "FILE"],
    &["compat", "baseline", "FILE"],
    &["compat", "lint", "FILE"],
    &["compat", "info", "FILE"],
    &["texts", "--check", "FILE"],
];

/// The same for a folder that holds such a file, and for a file that has no limit.
const FOLDERS: [&[&str]; 3] = [
    &["replay", "mapped-ram", "FILE"],
    &["compat", "fleet", "FOLDER"],
    &["test", "device-model", "--spawn", "true", "--golden", "FOLDER"],
];

/// And for a file that is written.
const WRITTEN: [&[&str]; 7] = [
    &["proposal", "new", "FILE"],
    &["reference", "multifd-source", "--connect", "/no-such-socket", "--save", "FILE"],
    &["reference", "multifd-destination", "--listen", "LISTEN", "--save", "FILE"],
    &["test", "vhost-user", "--socket", "/s", "--only", "ring.request", "--junit", "FILE"],
    &["test", "vhost-user", "--socket", "/s", "--only", "ring.request", "--results", "FILE"],
    &["test", "vfio-user", "--socket", "/s", "--only", "flags.legal", "--junit", "FILE"],
    &["watch", "vhost-user", "--listen", "LISTEN", "--connect", "/s", "--record", "FILE"],
];

#[test]
fn what_is_no_regular_file_is_neither_read_nor_written() {
    for table in [&READ[..], &FOLDERS, &WRITTEN] {
        for arguments in table {
            let folder = tempfile::tempdir().unwrap();
            for (path, why) in bad_files(folder.path()) {
                let listen = folder.path().join("listen");
                let own = folder.path().join("own");
                std::fs::create_dir(&own).unwrap();
                std::fs::rename(&path, own.join("a.json")).unwrap();
                let path = own.join("a.json");
                let place = |argument: &&str| match *argument {
                    "FILE" => path.display().to_string(),
                    "FOLDER" => own.display().to_string(),
                    "LISTEN" => listen.display().to_string(),
                    other => other.to_owned(),
                };
                let words: Vec<String> = arguments.iter().map(place).collect();
                let output = devmig(&words.iter().map(String::as_str).collect::<Vec<_>>());
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(matches!(output.status.code(), Some(2 | 4)), "{words:?}: {output:?}");
                assert!(errors.contains(why), "{words:?}: {errors}");
                assert!(output.stdout.is_empty(), "{words:?}");
                std::fs::remove_dir_all(own).unwrap();
            }
        }
    }
}

/// Golden states are compared with what is there, whatever it is.
#[test]
fn golden_states_that_are_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert_eq!(devmig(&["device", "golden", path]).status.code(), Some(0));
    let one = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(&one).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &one).unwrap();
    for more in [&["--check"][..], &[]] {
        let output = devmig(&[&["device", "golden", path], more].concat());
        assert!(matches!(output.status.code(), Some(2 | 4)), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("not a regular file"));
    }
}

/// A recorded migration is a folder with files of given names.
#[test]
fn a_recorded_migration_that_is_no_files() {
    for name in ["index.csv", "conn0.bin", "conn0.rev.bin"] {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let index = "seq,t_us,conn,dir,off,len\n0,0,0,>,0,OPEN\n1,0,0,>,0,4\n";
        std::fs::write(path("index.csv"), index).unwrap();
        std::fs::write(path("conn0.bin"), b"QEVM").unwrap();
        let _ = std::fs::remove_file(path(name));
        std::os::unix::fs::symlink("/dev/zero", path(name)).unwrap();
        let output = devmig(&["replay", "multifd", folder.path().to_str().unwrap()]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {output:?}");
        assert!(errors.contains("not a regular file"), "{name}: {errors}");
    }
}

#[test]
fn a_file_beyond_the_limit_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.json");
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    for arguments in READ {
        let place = |argument: &&'static str| match *argument {
            "FILE" => path.to_str().unwrap().to_owned(),
            other => other.to_owned(),
        };
        let words: Vec<String> = arguments.iter().map(place).collect();
        let output = devmig(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {errors}");
        // A recording is read by lines, and has a limit for each.
        assert!(errors.contains("bytes") || errors.contains("limit"), "{words:?}: {errors}");
    }
}

/// A pattern of many stars, wherever there is one.
#[test]
fn a_pattern_of_many_stars_is_matched_in_time() {
    let stars = format!("{}Z", "*a".repeat(100) + &"*".repeat(100));
    for arguments in [
        &["clauses"][..],
        &["check"],
        &["compare", "example/copy", "example/copy", "--hide"],
        &["test", "vhost-user", "--socket", "/s", "--only"],
        &["test", "vhost-user", "--mutants", "--only"],
        &["peers"],
        &["scenario"],
    ] {
        let output = devmig(&[arguments, &[stars.as_str()]].concat());
        assert!(matches!(output.status.code(), Some(0 | 2)), "{arguments:?}: {output:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let waivers = folder.path().join("waivers.toml");
    let text = format!("[[waiver]]\ntest = \"{stars}\"\nreason = \"none\"\n");
    std::fs::write(&waivers, text).unwrap();
    let fixed = ["test", "vhost-user", "--socket", "/s", "--only", "ring.request", "--waivers"];
    let output = devmig(&[&fixed[..], &[waivers.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

/// A file of nothing but mistakes is reported in part, with the number of the others.
#[test]
fn a_file_of_many_mistakes_is_reported_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    let keys = (0..16_000).map(|n| format!("key{n} = 1\n")).collect::<String>();
    let tables = (0..16_000).map(|n| format!("[[waiver]]\nkey{n} = 1\n")).collect::<String>();
    let text = [keys.clone(), format!("[[waiver]]\n{keys}"), tables, "= \n".repeat(16_000)];
    for text in text {
        std::fs::write(&path, text).unwrap();
        let fixed = ["test", "vhost-user", "--socket", "/s", "--only", "ring.request", "--waivers"];
        let output = devmig(&[&fixed[..], &[path.to_str().unwrap()]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.len() < 200_000, "{}", errors.len());
        assert!(errors.contains(" more\n"), "{}", &errors[errors.len() - 200..]);
    }
}

/// Whoever writes a page of the book does not decide what is run where it is built.
#[test]
fn a_page_runs_no_program() {
    for line in [
        "test vhost-user --spawn=SCRIPT --only ring.request",
        "test device-model --spawn=SCRIPT",
        "peers --install",
        "scenario --install",
        "device blk --socket-path SCRIPT.socket",
        "explore example/copy",
        "docs --dir SCRIPT",
        "verify",
        "guest mtty",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (script, ran) = (folder.path().join("script"), folder.path().join("ran"));
        std::fs::write(&script, format!("#!/bin/sh\ntouch {}\n", ran.display())).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&script, mode).unwrap();
        let line = line.replace("SCRIPT", script.to_str().unwrap());
        std::fs::create_dir(folder.path().join("src")).unwrap();
        let page = format!("<!-- devmig {line} -->\n<!-- end -->\n");
        std::fs::write(folder.path().join("src/page.md"), page).unwrap();
        let src = folder.path().join("src");
        let output = devmig(&["docs", "--check", "--dir", src.to_str().unwrap()]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {errors}");
        assert!(errors.contains("page.md: a block cannot run"), "{line}: {errors}");
        assert!(!ran.exists() && !folder.path().join("script.socket").exists(), "{line}");
    }
}

/// What a terminal would obey is shown and not sent.
#[test]
fn no_control_character_of_others_is_printed() {
    let evil = "a\u{1b}]0;title\u{7}\u{9b}31m\u{7f}\r\u{202e}b";
    let spawn = "sh -c 'printf \"a\\033[31m\\007\" >&2; exit 1' {socket}";
    let folder = tempfile::tempdir().unwrap();
    let named = folder.path().join(format!("{evil}.json"));
    std::fs::write(&named, "{}").unwrap();
    let named = named.to_str().unwrap();
    let script = folder.path().join("script.toml");
    std::fs::write(&script, "[[test]]\nid = \"\u{1b}[2J\"\n").unwrap();
    for arguments in [
        &["test", "vhost-user", "--spawn", spawn, "--only", "ring.request"][..],
        &["test", "vhost-user", "--spawn", spawn, "--only", "ring.request", "--format", "json"],
        &["test", "vhost-user", "--socket", evil, "--only", "ring.request"],
        &["--color", "always", "test", "vhost-user", "--socket", evil, "--only", "ring.request"],
        &["test", "vhost-user", "--socket", "/s", "--script", script.to_str().unwrap()],
        &["test", "vhost-user", "--socket", "/s", "--only", evil],
        &["compat", "lint", named],
        &["compat", "fleet", folder.path().to_str().unwrap()],
        &["check", evil],
        &["clauses", evil],
        &["replay", named],
    ] {
        let output = devmig(arguments);
        for bytes in [&output.stdout, &output.stderr] {
            let text = String::from_utf8(bytes.clone()).unwrap();
            let text = text.replace("\u{1b}[31;1m", "").replace("\u{1b}[0m", "");
            let acts = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
            let colour = arguments[0] == "--color";
            assert!(colour || !text.contains(acts), "{arguments:?}: {text:?}");
            assert!(
                !text.contains("\u{1b}]") && !text.contains('\u{9b}'),
                "{arguments:?}: {text:?}"
            );
        }
        assert_ne!(output.status.code(), Some(0), "{arguments:?}");
    }
}
