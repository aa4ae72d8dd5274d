//! Commands that end, by themselves or by a signal: what they leave behind, and what they still say.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::collections::BTreeSet;
use std::io::{IoSlice, Read, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The longest that anything here may take.
const LONGEST: Duration = Duration::from_secs(30);

/// A `devmig` that does not outlive its test. What it says is read as it comes, since a pipe that nobody
/// reads holds it up.
struct Running(Child, [Option<JoinHandle<String>>; 2]);

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        Running(command.spawn().unwrap(), [None, None])
    }

    fn heard(command: &mut Command) -> Self {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let readers =
            [reading(child.stdout.take().unwrap()), reading(child.stderr.take().unwrap())];
        Running(child, readers.map(Some))
    }

    /// Ends it by a signal.
    fn end(&mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
        eventually("it ends", || self.0.try_wait().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn reading(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    })
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < LONGEST, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process runs; one that only waits to be reaped does not.
fn runs(id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.is_empty() && !state.starts_with('Z')
}

#[test]
fn a_signal_ends_the_back_end_too() {
    for signal in [Signal::INT, Signal::TERM] {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("note");
        // It never listens, so it is waited for; and it has a child of its own.
        let script = format!("sleep 100 & echo $$ $! {{socket}} >{}; wait", note.display());
        let spawn = format!("sh -c '{script}'");
        let mut devmig = Running::start(&["test", "vhost-user", "--spawn", &spawn]);
        let noted = eventually("the back-end runs", || {
            std::fs::read_to_string(&note).ok().filter(|text| text.ends_with('\n'))
        });
        let words: Vec<&str> = noted.split_whitespace().collect();
        let [shell, sleep, socket] = words[..] else { panic!("{noted}") };
        assert!(runs(shell) && runs(sleep));
        assert_eq!(devmig.end(signal).signal(), Some(signal.as_raw()));
        eventually("the back-end is gone", || (!runs(shell) && !runs(sleep)).then_some(()));
        let folder = std::path::Path::new(socket).parent().unwrap();
        assert!(!folder.exists(), "{} is left behind", folder.display());
    }
}

const DEVMIG: &str = env!("CARGO_BIN_EXE_devmig");

/// A `devmig` with a temporary directory of its own, and a mark that its children inherit.
struct Room {
    folder: tempfile::TempDir,
    mark: String,
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("leaving-").tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        let mark = format!("DEVMIG_TEST_ROOM={}", folder.path().display());
        Room { folder, mark }
    }

    /// The temporary directory of what runs here.
    fn temporary(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    /// A path that is no temporary file.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let temporary = self.temporary();
        let (name, value) = self.mark.split_once('=').unwrap();
        let mut command = Command::new(DEVMIG);
        for argument in arguments {
            command.arg(argument.replace("TMP", temporary.to_str().unwrap()));
        }
        command.env(name, value).env("TMPDIR", temporary).stdin(Stdio::null());
        command
    }

    fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        Running::heard(&mut command)
    }

    /// The processes that were started here and run.
    fn processes(&self) -> Vec<String> {
        let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let id = entry.ok()?.file_name().into_string().ok()?;
            let environment = std::fs::read(format!("/proc/{id}/environ")).ok()?;
            let ours = environment.split(|byte| *byte == 0).any(|v| v == self.mark.as_bytes());
            (ours && runs(&id)).then_some(id)
        });
        all.collect()
    }

    /// What is in the temporary directory.
    fn left(&self) -> BTreeSet<String> {
        let all = std::fs::read_dir(self.temporary()).unwrap();
        all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Nothing runs, and nothing is left.
    fn is_as_before(&self, what: &str) {
        assert_eq!(self.left(), BTreeSet::new(), "{what}");
        eventually(&format!("{what}: its processes are gone"), || {
            self.processes().is_empty().then_some(())
        });
    }
}

impl Running {
    /// What it has said, once it has ended.
    fn said(&mut self) -> (String, String) {
        let [out, errors] = &mut self.1;
        (out.take().unwrap().join().unwrap(), errors.take().unwrap().join().unwrap())
    }
}

fn blk() -> String {
    format!("{DEVMIG} device blk --socket-path {{socket}}")
}

fn nic() -> String {
    format!("{DEVMIG} device nic")
}

fn control() -> String {
    format!("{DEVMIG} device serve --control {{socket}}")
}

/// Each kind of command that makes temporary files, listens or starts something, and ends by itself.
#[test]
fn a_command_that_has_ended_leaves_nothing_behind() {
    let (blk, nic, control) = (blk(), nic(), control());
    let models = ["test", "device-model", "--spawn", &nic, "--control", &control, "--cases", "2"];
    for (arguments, code) in [
        (&["check", "example/copy"][..], 0),
        (&["device", "golden", "TMP/../golden", "--check"], 1),
        (&["test", "vhost-user", "--spawn", &blk, "--device", "blk", "--only", "ring.re*"], 0),
        (
            &["test", "vhost-user", "--spawn", "sh -c 'exit 1' {socket}", "--only", "ring.request"],
            4,
        ),
        (&["test", "vhost-user", "--mutants", "--only", "status-wrong"], 0),
        (&["test", "vfio-user", "--mutants", "--only", "c*"], 0),
        (&[&models[..], &["--only", "made.*"]].concat(), 0),
        (&["test", "device-model", "--mutants", "--only", "adds-again"], 0),
        (&["watch", "vhost-user", "--listen", "TMP/a", "--connect", "TMP/b", "--for", "0.1"], 4),
    ] {
        let room = Room::new();
        let output = room.command(arguments).output().unwrap();
        let what = format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let ended = output.status.code();
        assert!(ended == Some(code) || (code == 0 && ended == Some(1)), "{what} {ended:?}");
        room.is_as_before(&what);
    }
}

/// The same for those that a signal ends in their midst.
#[test]
fn a_command_that_a_signal_ends_leaves_nothing_behind() {
    let (blk, nic, control) = (blk(), nic(), control());
    let cases = [
        &["test", "vhost-user", "--spawn", &blk, "--device", "blk"][..],
        &["test", "vhost-user", "--mutants"],
        &["test", "vfio-user", "--mutants"],
        &["test", "device-model", "--spawn", &nic, "--control", &control],
        &["test", "device-model", "--mutants"],
        &["device", "blk", "--socket-path", "TMP/a", "--outside", "TMP/b"],
        &["device", "nic", "--vfio-user", "TMP/a"],
        &["device", "serve", "--control", "TMP/a"],
        &["watch", "vhost-user", "--listen", "TMP/a", "--connect", "TMP/b"],
    ];
    for (n, arguments) in cases.iter().enumerate() {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let room = Room::new();
            let mut devmig = room.start(arguments);
            let what = format!("{arguments:?} {signal:?}");
            eventually(&what, || (!room.left().is_empty()).then_some(()));
            if arguments[1] == "serve" {
                add(&room.temporary().join("a"), &room.temporary().join("nic"));
                assert!(room.temporary().join("nic").exists());
            }
            // Another place in the work each time.
            std::thread::sleep(Duration::from_millis(50 + 70 * n as u64));
            let status = devmig.end(signal);
            let expected = if arguments[0] == "watch" { None } else { Some(signal.as_raw()) };
            assert_eq!(status.signal(), expected, "{what}");
            room.is_as_before(&what);
        }
    }
}

/// Adds a NIC over a control socket.
fn add(control: &Path, socket: &Path) {
    let stream = eventually("the control socket accepts", || UnixStream::connect(control).ok());
    let params = serde_json::json!({ "id": "a", "socket": socket });
    let call = serde_json::json!(
        { "jsonrpc": "2.0", "id": 1, "method": "device-add", "params": params }
    );
    writeln!(&stream, "{call}").unwrap();
    stream.set_read_timeout(Some(LONGEST)).unwrap();
    let mut answer = [0; 256];
    let got = (&stream).read(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer[..got]).contains("\"result\":true"));
}

/// SIGKILL leaves no process, and temporary files until the next command that makes some.
#[test]
fn what_a_killed_command_leaves_is_gone_after_the_next() {
    let (blk, nic, control) = (blk(), nic(), control());
    for arguments in [
        &["test", "vhost-user", "--spawn", &blk, "--device", "blk"][..],
        &["test", "device-model", "--spawn", &nic, "--control", &control],
    ] {
        let room = Room::new();
        let mut devmig = room.start(arguments);
        eventually("it starts a back-end", || (room.processes().len() > 1).then_some(()));
        devmig.end(Signal::KILL);
        eventually("the back-end is gone", || room.processes().is_empty().then_some(()));
        assert!(!room.left().is_empty(), "nothing was to be left: {arguments:?}");
        let next =
            ["test", "vhost-user", "--spawn", &blk, "--device", "blk", "--only", "ring.request"];
        room.start(&next).0.wait().unwrap();
        room.is_as_before(&format!("after {arguments:?}"));
    }
}

/// What was found before a signal is written: at once to a file of lines, and at the end as documents.
#[test]
fn a_run_that_is_cut_short_keeps_its_results() {
    let blk = blk();
    for (signal, format) in [
        (Signal::INT, "json"),
        (Signal::TERM, "text"),
        (Signal::HUP, "json"),
        (Signal::KILL, "text"),
    ] {
        let room = Room::new();
        let (lines, junit) = (room.path("lines"), room.path("junit.xml"));
        std::fs::write(&junit, "of an earlier run").unwrap();
        let files = ["--results", lines.to_str().unwrap(), "--junit", junit.to_str().unwrap()];
        let run = ["test", "vhost-user", "--spawn", &blk, "--device", "blk", "--format", format];
        let mut devmig = room.start(&[&run[..], &files].concat());
        let results = || {
            let text = std::fs::read_to_string(&lines).unwrap_or_default();
            let whole: Vec<&str> =
                text.split_inclusive('\n').filter(|l| l.ends_with('\n')).collect();
            whole
                .iter()
                .map(|line| serde_json::from_str::<Value>(line).unwrap())
                .collect::<Vec<_>>()
        };
        eventually("there are results", || (results().len() > 2).then_some(()));
        devmig.end(signal);
        let (out, errors) = devmig.said();
        let kept = results();
        assert!(kept.len() > 2 && kept.iter().all(|r| r["status"] != "error"), "{kept:#?}");
        let document = std::fs::read_to_string(&junit).unwrap();
        if signal == Signal::KILL {
            assert_eq!(document, "of an earlier run");
            continue;
        }
        // One more says that the run was interrupted: it is not to be taken for a whole one.
        assert_eq!(document.matches("<testcase").count(), kept.len() + 1, "{document} {errors}");
        assert!(document.contains("a signal ended the run"), "{document}");
        assert!(document.trim_end().ends_with("</testsuites>"), "{document}");
        if format == "json" {
            let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"));
            assert_eq!(report["interrupted"], true);
            assert_eq!(report["results"].as_array().unwrap(), &kept);
        } else {
            let all = out.lines().last().unwrap();
            assert!(all.starts_with(&format!("interrupted: {} of ", kept.len())), "{out}");
        }
    }
}

/// What was over before its turn is kept too: here one test hangs, and those after it do not.
#[test]
fn a_run_that_is_cut_short_keeps_the_results_of_tests_before_their_turn() {
    for (signal, format) in [(Signal::INT, "json"), (Signal::TERM, "text")] {
        let room = Room::new();
        let (starts, lines, junit) = (room.path("starts"), room.path("lines"), room.path("xml"));
        // One start hangs, of the first that run beside each other.
        let script = format!(
            "echo >>{starts}; mkdir {starts}.1 || {{ mkdir {starts}.2 && sleep 100; }}; exec {blk}",
            starts = starts.display(),
            blk = blk(),
        );
        let spawn = shell_words::join(["sh", "-c", &script]);
        let (results, document) = (lines.to_str().unwrap(), junit.to_str().unwrap());
        let mut devmig = room.start(&[
            "test",
            "vhost-user",
            "--spawn",
            &spawn,
            "--device",
            "blk",
            "--format",
            format,
            "--jobs",
            "4",
            "--start-timeout",
            "90",
            "--results",
            results,
            "--junit",
            document,
        ]);
        let started = || std::fs::read_to_string(&starts).unwrap_or_default().len();
        eventually("later tests start", || (started() > 12).then_some(()));
        devmig.end(signal);
        let (out, _) = devmig.said();
        let kept = std::fs::read_to_string(&lines).unwrap();
        let kept: Vec<Value> =
            kept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // All that started, but for those that were amid, one for each job.
        assert!(kept.len() >= 12 - 4, "{} are kept: {out}", kept.len());
        let junit = std::fs::read_to_string(&junit).unwrap();
        assert_eq!(junit.matches("<testcase").count(), kept.len() + 1, "{junit}");
        if format == "json" {
            let report: Value = serde_json::from_str(&out).unwrap();
            assert_eq!(report["results"].as_array().unwrap(), &kept);
            continue;
        }
        for result in &kept {
            assert!(out.contains(result["test"].as_str().unwrap()), "{result} in {out}");
        }
        let (all, last) = (kept.len(), out.lines().last().unwrap());
        assert!(last.starts_with(&format!("interrupted: {all} of ")), "{out}");
        let early = last.split(", ").nth(1).and_then(|words| words.split(' ').next());
        let early: usize = early.unwrap().parse().unwrap();
        assert!(last.ends_with("of them before their turn"), "{out}");
        assert!(early + 4 >= all && early < all, "{out}");
    }
}

#[test]
fn a_search_for_mutants_that_is_interrupted_says_what_it_has() {
    let room = Room::new();
    let run = ["test", "vfio-user", "--mutants", "--format", "json"];
    let mut devmig = room.start(&run);
    // How long a mutant takes is not known: a few are tried, and not all.
    std::thread::sleep(Duration::from_secs(3));
    let status = devmig.end(Signal::INT);
    assert_eq!(status.signal(), Some(Signal::INT.as_raw()));
    let (out, _) = devmig.said();
    let report: Value = serde_json::from_str(&out).unwrap();
    let tried = report["mutants"].as_array().unwrap().len();
    let cut = report["wrong"][0].as_str().unwrap();
    assert!(cut.starts_with(&format!("interrupted: {tried} of ")), "{cut}");
    assert_eq!(report["as_expected"], false);
    room.is_as_before("after a search");
}

#[test]
fn a_check_that_is_interrupted_says_what_it_has() {
    for (format, signal) in [("text", Signal::INT), ("json", Signal::TERM)] {
        // How long the first systems take is not known: until some are explored, and not all.
        let explored = [1, 2, 4, 8, 16].into_iter().any(|seconds| {
            let room = Room::new();
            let mut devmig = room.start(&["check", "--threads", "1", "--format", format]);
            std::thread::sleep(Duration::from_secs(seconds));
            let status = devmig.end(signal);
            assert_eq!(status.signal(), Some(signal.as_raw()), "{seconds} s is too long");
            let (out, _) = devmig.said();
            if format == "json" {
                let report: Value = serde_json::from_str(&out).unwrap();
                let said = (&report["interrupted"], &report["as_expected"]);
                assert_eq!(said, (&true.into(), &false.into()));
                return !report["systems"].as_array().unwrap().is_empty();
            }
            let last = out.lines().last().unwrap();
            assert!(last.starts_with("interrupted: ") && last.ends_with(" explored"), "{out}");
            !last.starts_with("interrupted: 0 of ")
        });
        assert!(explored, "{format}: no system is explored");
    }
}

/// A watch between this front-end and a back-end that listens here.
fn watching(room: &Room, more: &[&str]) -> (Running, UnixStream) {
    let fixed = ["watch", "vhost-user", "--listen", "TMP/front", "--connect", "TMP/back"];
    let devmig = room.start(&[&fixed[..], more].concat());
    let path = room.temporary().join("front");
    let front = eventually("it listens", || UnixStream::connect(&path).ok());
    (devmig, front)
}

/// A connection that waits in a full backlog can be given up.
#[test]
fn a_watch_ends_though_the_back_end_does_not_accept() {
    for (signal, more) in [
        (Some(Signal::INT), &[][..]),
        (Some(Signal::TERM), &[]),
        (Some(Signal::HUP), &[]),
        (None, &["--for", "1"]),
    ] {
        let room = Room::new();
        let listener = UnixListener::bind(room.temporary().join("back")).unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        // The kernel keeps one connection more than it is asked to.
        let _first = UnixStream::connect(room.temporary().join("back")).unwrap();
        let (mut devmig, _front) = watching(&room, more);
        std::thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        let status = match signal {
            Some(signal) => devmig.end(signal),
            None => eventually("it ends", || devmig.0.try_wait().unwrap()),
        };
        assert!(begun.elapsed() < Duration::from_secs(5), "{signal:?}");
        assert_eq!(status.code(), Some(4));
        assert!(devmig.said().0.contains("accepted no connection"));
        assert!(!room.temporary().join("front").exists());
    }
}

#[test]
fn a_watch_reports_whatever_signal_ends_it() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let room = Room::new();
        let listener = UnixListener::bind(room.temporary().join("back")).unwrap();
        let (mut devmig, _front) = watching(&room, &[]);
        let _back = listener.accept().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(devmig.end(signal).code(), Some(0));
        assert!(devmig.said().0.contains("interrupted"));
    }
}

/// Descriptors that are lost on their way are the harness's trouble, and no fault of the sender's.
#[test]
fn a_watch_that_runs_out_of_descriptors_accuses_nobody() {
    let room = Room::new();
    let listener = UnixListener::bind(room.temporary().join("back")).unwrap();
    let path = room.temporary().join("front");
    let script = "ulimit -n 24; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", DEVMIG, "watch", "vhost-user", "--listen"]);
    command.arg(&path).arg("--connect").arg(room.temporary().join("back"));
    let mut devmig = Running::heard(&mut command);
    let front = eventually("it listens", || UnixStream::connect(&path).ok());
    let _back = listener.accept().unwrap();
    let fds: Vec<OwnedFd> =
        (0..40).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect();
    let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); 512];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let get_features = [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    sendmsg(&front, &[IoSlice::new(&get_features)], &mut control, SendFlags::empty()).unwrap();
    let status = eventually("it ends", || devmig.0.try_wait().unwrap());
    let (out, errors) = devmig.said();
    assert_eq!(status.code(), Some(4), "{out} {errors}");
    assert!(errors.contains("descriptors") && errors.contains("ulimit"), "{errors}");
    assert!(out.contains("devmig failed"), "{out}");
}
