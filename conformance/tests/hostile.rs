//! `devmig test` and what it cannot rely on: sockets and commands that are not there, and back-ends
//! that answer nothing, or nonsense. And its JSON, whose keys outside scripts read.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use devmig_model::protocol::vhost_user::wire::{Flags, Header};
use devmig_reference::socket::Deadline;
use devmig_reference::socket::transport::{Connection, Received};
use devmig_reference::vhost_user::{Mutant, Options, Running};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::Value;

/// The longest that any run here may take.
const LONGEST: Duration = Duration::from_secs(30);

fn test(arguments: &[&str]) -> Output {
    let begin = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
    command.args(["test", "vhost-user", "--timeout", "0.4"]).args(arguments);
    let output = command.output().unwrap();
    assert!(begin.elapsed() < LONGEST, "{arguments:?} took {:?}", begin.elapsed());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("panicked"), "{errors}");
    output
}

fn json(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = test(&[arguments, &["--format", "json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {errors}"));
    (output.status.code(), report)
}

#[test]
fn a_full_disk_for_the_report() {
    let running = Running::start(Options::default()).unwrap();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
    command.args(["test", "vhost-user", "--only", "negotiation.features", "--format", "json"]);
    let output = command.arg("--socket").arg(running.socket()).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("cannot write the report: No space"), "{message}");
    running.stop(LONGEST).unwrap();
}

/// Without feature bit 30 there are no protocol features to negotiate: what needs them is skipped,
/// and rings are tested all the same.
#[test]
fn a_back_end_without_protocol_features() {
    let running = Running::start(Options { plain: true, ..Options::default() }).unwrap();
    let socket = running.socket();
    let socket = socket.to_str().unwrap();
    let (code, report) = json(&["--socket", socket, "--device", "blk"]);
    let results = report["results"].as_array().unwrap();
    let with = |status: &str| -> Vec<&str> {
        let all = results.iter().filter(|result| result["status"] == status);
        all.filter_map(|result| result["test"].as_str()).collect()
    };
    assert_eq!((with("error"), with("fail")), (vec![], vec![]), "{report:#}");
    assert_eq!(code, Some(0));
    for test in ["negotiation.features", "ring.request"] {
        assert!(with("pass").contains(&test), "{:?}", with("pass"));
    }
    for result in results.iter().filter(|result| result["status"] == "skip") {
        let why = result["observed"].as_str().unwrap();
        assert!(why.starts_with("needs "), "{result:#}");
    }
    running.stop(LONGEST).unwrap();
}

/// A driver of a file system sends nothing before the answer to FUSE_INIT. A ring that is stopped gives
/// none, so of two requests only that one is made available. (The back-end processes none.)
#[test]
fn what_has_to_wait_for_an_answer_is_not_made_available_on_a_ring_that_is_stopped() {
    let hostile = Hostile::start(|stream| answers(stream, |request, _, _| honest(request)));
    let socket = hostile.socket();
    let only = ["--device", "fs", "--only", "ring.born-stopped"];
    let (_, report) = json(&[&["--socket", socket.to_str().unwrap()], &only[..]].concat());
    let log = report["results"][0]["log"].as_array().unwrap();
    let available = log.iter().filter(|line| *line == "-> request available on ring 1");
    assert_eq!(available.count(), 1, "{report:#}");
    assert!(log.iter().any(|line| line == "-> kick ring 1"), "{report:#}");
}

/// A back-end that does this with each connection.
struct Hostile {
    folder: tempfile::TempDir,
}

impl Hostile {
    /// Its thread ends with the test's process.
    fn start(behaves: impl Fn(UnixStream) + Send + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                behaves(stream.unwrap());
            }
        });
        Hostile { folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// The first result of one test against it, and the exit code.
    fn tested(&self) -> (Option<i32>, Value) {
        let socket = self.socket();
        let socket = socket.to_str().unwrap();
        let (code, report) = json(&["--socket", socket, "--only", "negotiation.features"]);
        (code, report["results"][0].clone())
    }
}

/// Reads until the front-end goes.
fn listen(mut stream: &UnixStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

/// GET_FEATURES' answer, as far as this many bytes of it.
fn answer(size: u32, bytes: usize) -> Vec<u8> {
    let mut whole: Vec<u8> = [1u32, 0b101, size].iter().flat_map(|n| n.to_ne_bytes()).collect();
    whole.extend((1u64 << 30).to_ne_bytes());
    whole.truncate(bytes);
    whole
}

fn is_finding(behaves: impl Fn(UnixStream) + Send + 'static, clause: &str, words: &str) {
    let (code, result) = Hostile::start(behaves).tested();
    // A SHOULD is a warning, and no failure, unless the connection is gone.
    let fails = result["level"] == "MUST" || words.contains("closed");
    let expected = if fails { ("fail", 1) } else { ("warn", 0) };
    assert_eq!(
        (result["status"].as_str(), code),
        (Some(expected.0), Some(expected.1)),
        "{result:#}"
    );
    assert_eq!(result["clause"], clause, "{result:#}");
    let observed = result["observed"].as_str().unwrap();
    assert!(observed.contains(words), "{observed}");
}

#[test]
fn a_back_end_that_answers_nothing() {
    is_finding(|stream| listen(&stream), "vhost-user.reply.must", "no reply to GET_FEATURES");
}

#[test]
fn garbage() {
    let garbage = |mut stream: UnixStream| {
        let _ = stream.write_all(&[0xa5; 20]);
        listen(&stream);
    };
    is_finding(garbage, "vhost-user.reply.payload", "bytes of payload");
}

#[test]
fn half_a_message() {
    let half = |mut stream: UnixStream| {
        let _ = stream.write_all(&answer(8, 9));
        listen(&stream);
    };
    is_finding(half, "vhost-user.reply.must", "no reply to GET_FEATURES");
}

#[test]
fn half_a_message_and_the_end() {
    let half = |mut stream: UnixStream| {
        let _ = stream.read(&mut [0; 12]);
        let _ = stream.write_all(&answer(8, 15));
    };
    is_finding(half, "vhost-user.connection.close-exceptional", "the connection is closed");
}

#[test]
fn an_endless_stream() {
    let endless = |mut stream: UnixStream| while stream.write_all(&answer(8, 20)).is_ok() {};
    is_finding(endless, "vhost-user.reply.header", "GET_FEATURES");
}

#[test]
fn a_payload_without_end() {
    let huge = |mut stream: UnixStream| {
        let _ = stream.write_all(&answer(u32::MAX, 12));
        while stream.write_all(&[0; 4096]).is_ok() {}
    };
    is_finding(huge, "vhost-user.reply.payload", "4294967295 bytes of payload");
}

#[test]
fn too_many_descriptors() {
    let many = |stream: UnixStream| {
        let fds = [stream.as_fd(); 64];
        let mut space = vec![std::mem::MaybeUninit::uninit(); 1024];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        let bytes = answer(8, 20);
        let bytes = [std::io::IoSlice::new(&bytes)];
        let _ = sendmsg(&stream, &bytes, &mut ancillary, SendFlags::NOSIGNAL);
        listen(&stream);
    };
    is_finding(many, "vhost-user.reply.payload", "descriptors came with one message");
}

#[test]
fn a_connection_that_ends_at_once() {
    let closes = |mut stream: UnixStream| drop(stream.read(&mut [0; 12]));
    is_finding(closes, "vhost-user.connection.close-exceptional", "the connection is closed");
}

/// A back-end that understands messages, and answers with what it is told to.
fn answers(
    stream: UnixStream,
    mut to: impl FnMut(u32, &[u8], Vec<OwnedFd>) -> Vec<(u64, Vec<OwnedFd>)>,
) {
    let mut connection = Connection::from_socket(stream).unwrap();
    let soon = || Deadline::after(Duration::from_secs(5));
    while let Ok(Received { header, payload, fds }) = connection.receive(soon()) {
        for (value, fds) in to(header.request, &payload, fds) {
            let header = Header { request: header.request, flags: Flags::reply(), size: 8 };
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            if connection.send(header, &value.to_ne_bytes(), &fds, soon()).is_err() {
                return;
            }
        }
    }
}

const FEATURES: u64 = 1 << 30 | 1 << 32;

/// What an honest one says to negotiation.
fn honest(request: u32) -> Vec<(u64, Vec<OwnedFd>)> {
    match request {
        1 => vec![(FEATURES, Vec::new())],
        15 => vec![(0, Vec::new())],
        _ => Vec::new(),
    }
}

fn is_finding_of(
    test: &str,
    behaves: impl Fn(UnixStream) + Send + 'static,
    clause: &str,
    words: &str,
) {
    let hostile = Hostile::start(behaves);
    let socket = hostile.socket();
    let socket = socket.to_str().unwrap();
    let (code, report) = json(&["--device", "blk", "--socket", socket, "--only", test]);
    let result = &report["results"][0];
    assert_eq!((code, &result["status"]), (Some(1), &Value::from("fail")), "{result:#}");
    assert_eq!(result["clause"], clause, "{result:#}");
    let observed = result["observed"].as_str().unwrap();
    assert!(observed.contains(words), "{observed}");
}

#[test]
fn a_back_end_that_lies_about_features() {
    // Every protocol feature there can be, and nothing behind any of them.
    let lies = |stream| {
        answers(stream, |request, _, _| match request {
            15 => vec![(!(1 << 3), Vec::new())],
            _ => honest(request),
        });
    };
    is_finding_of("status.read-back", lies, "vhost-user.reply.must", "no reply to GET_STATUS");
}

#[test]
fn a_back_end_that_sends_descriptors_nobody_asked_for() {
    let sends = |stream| {
        answers(stream, |request, _, _| match request {
            1 => {
                let fds = (0..4).map(|_| std::fs::File::open("/dev/null").unwrap().into());
                vec![(FEATURES, fds.collect())]
            }
            _ => honest(request),
        });
    };
    let words = "GET_FEATURES with 4 descriptors";
    is_finding_of("negotiation.features", sends, "vhost-user.reply.payload", words);
}

#[test]
fn a_back_end_that_answers_twice() {
    let twice = |stream| {
        answers(stream, |request, _, _| {
            [honest(request), honest(request)].into_iter().flatten().collect()
        });
    };
    let words = "answers GET_FEATURES";
    is_finding_of("negotiation.features", twice, "vhost-user.reply.header", words);
}

#[test]
fn a_back_end_that_answers_late() {
    let late = |stream| {
        answers(stream, |request, _, _| {
            std::thread::sleep(Duration::from_millis(1200));
            honest(request)
        });
    };
    let words = "no reply to GET_FEATURES";
    is_finding_of("negotiation.features", late, "vhost-user.reply.must", words);
}

#[test]
fn a_back_end_that_writes_outside_its_rings() {
    use std::os::unix::fs::FileExt as _;
    let writes = |stream| {
        answers(stream, |request, _, fds| {
            if request == 5 {
                let memory = fds.into_iter().next().map(std::fs::File::from).unwrap();
                memory.write_all_at(b"here I was", 0x20).unwrap();
            }
            honest(request)
        });
    };
    let words = "guest memory at 0x20 was written";
    is_finding_of("negotiation.nothing-unasked", writes, "vhost-user.reply.unasked", words);
}

/// A back-end that offers a channel, and does this with the end that it is given.
fn with_channel(behaves: impl Fn(UnixStream) + Send + Clone + 'static) -> impl Fn(UnixStream) {
    move |stream| {
        answers(stream, |request, _, fds| match request {
            // REPLY_ACK, BACKEND_REQ, CONFIG
            15 => vec![(1 << 3 | 1 << 5 | 1 << 9, Vec::new())],
            21 => {
                let channel = UnixStream::from(fds.into_iter().next().unwrap());
                let behaves = behaves.clone();
                std::thread::spawn(move || behaves(channel));
                vec![(0, Vec::new())]
            }
            _ => honest(request),
        });
    }
}

/// BACKEND_CONFIG_CHANGE_MSG.
fn change() -> Vec<u8> {
    [2u32, 1, 0].iter().flat_map(|n| n.to_ne_bytes()).collect()
}

#[test]
fn a_back_end_that_floods_its_channel() {
    let floods = with_channel(|mut channel| while channel.write_all(&change()).is_ok() {});
    let words = "more than 2000 messages on the back-end channel";
    let clause = "vhost-user.set-backend-req-fd.answered";
    is_finding_of("back-end-channel.given", floods, clause, words);
}

#[test]
fn garbage_on_the_channel() {
    let babbles = with_channel(|mut channel| while channel.write_all(&[0xa5; 512]).is_ok() {});
    let clause = "vhost-user.back-end-message.gated";
    is_finding_of("back-end-channel.given", babbles, clause, "on the back-end channel: message");
}

#[test]
fn descriptors_on_the_channel_that_nobody_negotiated() {
    let sends = with_channel(|channel| {
        let fd = std::fs::File::open("/dev/null").unwrap();
        let mut channel = Connection::from_socket(channel).unwrap();
        let soon = Deadline::after(Duration::from_secs(5));
        let _ = channel.send_raw(&change(), &[fd.as_fd(); 3], soon);
        let _ = channel.receive(soon);
    });
    let clause = "vhost-user.back-end-message.descriptors";
    is_finding_of("back-end-channel.given", sends, clause, "3 descriptors on the back-end channel");
}

#[test]
fn a_back_end_that_never_stops_notifying() {
    let notifies = |stream| {
        answers(stream, |request, _, fds| {
            if let (13, Some(call)) = (request, fds.into_iter().next()) {
                std::thread::spawn(move || {
                    // Until the front-end is gone, at the latest with this test.
                    let begin = Instant::now();
                    while begin.elapsed() < LONGEST {
                        let _ = rustix::io::write(&call, &1u64.to_ne_bytes());
                        std::thread::sleep(Duration::from_micros(200));
                    }
                });
            }
            honest(request)
        });
    };
    let clause = "vhost-user.ring.started-processes";
    is_finding_of("ring.request", notifies, clause, "nothing more within");
}

fn error(arguments: &[&str], words: &[&str]) {
    let (code, report) = json(arguments);
    assert_eq!(code, Some(4), "{report:#}");
    let results = report["results"].as_array().unwrap();
    let ran = |result: &&Value| result["status"] != "not-run";
    let last = results.iter().rfind(ran).unwrap();
    assert_eq!(last["status"], "error", "{last:#}");
    let observed = last["observed"].as_str().unwrap();
    for word in words {
        assert!(observed.contains(word), "{word}: {observed}");
    }
}

#[test]
fn a_socket_that_does_not_exist() {
    error(&["--socket", "/no/such/socket"], &["/no/such/socket"]);
}

#[test]
fn a_file_that_is_no_socket() {
    error(&["--socket", "/etc/passwd"], &["/etc/passwd"]);
}

#[test]
fn a_command_that_ends_at_once() {
    let command = "sh -c 'echo no such disk >&2; exit 3' {socket}";
    error(&["--spawn", command, "--only", "negotiation.features"], &["no such disk", "3"]);
}

#[test]
fn a_command_that_is_none() {
    error(
        &["--spawn", "/no/such/program {socket}", "--only", "ring.request"],
        &["/no/such/program"],
    );
}

#[test]
fn a_server_of_one_conversation() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let path = socket.clone();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        drop(listener);
        std::fs::remove_file(path).unwrap();
        listen(&stream);
    });
    error(&["--socket", socket.to_str().unwrap()], &["--spawn"]);
}

#[test]
fn usage() {
    for arguments in [
        &["--socket", "/s", "--spawn", "x {socket}"][..],
        &[],
        &["--socket", "/s", "--only", "no.such.test"],
        &["--socket", "/s", "--choice", "vhost-user.ring.start"],
        &["--socket", "/s", "--timeout", "0"],
        &["--socket", "/s", "--text", "no such version"],
        &["--spawn", ""],
        &["--socket", "/s", "--jobs", "2"],
        &["--spawn", "x {socket}", "--jobs", "0"],
    ] {
        let output = test(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

/// What differs from run to run: the socket's path, and how long a test takes.
fn steady(mut report: Value, socket: &str) -> Value {
    for result in report["results"].as_array_mut().unwrap() {
        let took = result.as_object_mut().unwrap().remove("milliseconds");
        assert!(took.is_some_and(|took| took.is_u64()));
    }
    serde_json::from_str(&report.to_string().replace(socket, "SOCKET")).unwrap()
}

#[test]
fn a_report_as_json() {
    let reference = |mutant| Running::start(Options { mutant, ..Options::default() }).unwrap();
    let report = |running: &Running| {
        let socket = running.socket();
        let socket = socket.to_str().unwrap();
        let tests = ["--only", "ring.request", "--only", "status.read-back"];
        let arguments = [&["--device", "blk", "--socket", socket][..], &tests].concat();
        let (code, report) = json(&arguments);
        (code, steady(report, socket))
    };
    let (code, passes) = report(&reference(None));
    assert_eq!(code, Some(0));
    insta::assert_json_snapshot!("report_passes", passes);
    let (code, fails) = report(&reference(Some(Mutant::StatusWrong)));
    assert_eq!(code, Some(1));
    insta::assert_json_snapshot!("report_fails", fails);
}
