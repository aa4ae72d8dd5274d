//! Servers that are hostile, put to all three suites: whatever one does, the run ends within a stated
//! time, with a report and a documented exit code, and nothing is left behind.
//!
//! ```text
//!   devmig test SUITE --spawn 'env HOSTILE=... this program' --> a relay to the reference
//!                                                    a few honest replies, then what the table says
//! ```
//!
//! The server is this program, started again: see [`server`]. A further kind of hostility is one more line
//! of [`CASES`] or [`COMMANDS`].

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use devmig_conformance::device_model::script::Step;
use devmig_conformance::device_model::suite::Form;
use devmig_conformance::harness::parallel::in_turn;
use devmig_conformance::harness::report::Status;
use devmig_conformance::harness::runner::{self, Adapter, Run};
use devmig_conformance::harness::session::{Hold, Session};
use devmig_conformance::harness::suite::Test;
use devmig_conformance::harness::verdict::{StepOutcome, TestEnd};
use devmig_conformance::harness::walk::Draws;
use devmig_conformance::vfio::mutants::{TestBed, place};
use devmig_engine::clause::ClauseId;
use devmig_engine::rules::Rules;
use devmig_model::protocol::{vfio_user, vhost_user::wire};
use devmig_model::registry::Library;
use devmig_reference::socket::Deadline;
use devmig_reference::socket::transport::{Channel, Frame, Received};
use devmig_reference::vfio_user::ServerOptions;
use devmig_reference::vhost_user::{Options, Running};
use rustix::fs::ftruncate;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Signal, getpid, kill_process};
use serde_json::Value;

const DEVMIG: &str = env!("CARGO_BIN_EXE_devmig");

/// The longest that a run may take, on a busy machine.
const LONGEST: Duration = Duration::from_secs(60);

/// How long an answer may take, of a server that gives none, and of an honest one on a busy machine.
const BRIEF: &str = "0.5";
const PATIENT: &str = "5";

/// Runs at once: most of the time is spent waiting.
const AT_ONCE: usize = 6;

/// What tells this program that it is a server: the suite, and what it does after how many replies.
const HOSTILE: &str = "DEVMIG_HOSTILE_SERVER";
const SOCKET: &str = "DEVMIG_HOSTILE_SOCKET";
/// Where it makes its own temporary files.
const OWN: &str = "DEVMIG_HOSTILE_FOLDER";

/// What is expected of a run.
#[derive(Clone, Copy)]
struct Case {
    /// What the server does in place of a reply.
    does: &'static str,
    /// The exit codes that are in order.
    codes: &'static [i32],
    /// What the report says somewhere.
    says: &'static str,
}

const fn case(does: &'static str, codes: &'static [i32], says: &'static str) -> Case {
    Case { does, codes, says }
}

/// What a server does over its connection, in place of a reply.
const CASES: [Case; 17] = [
    case("close", &[1], "closed"),
    case("exit-0", &[1], "the process ended: exit status: 0"),
    case("exit-3", &[1], "the process ended: exit status: 3"),
    case("abort", &[1], "the process ended: signal: 6 (SIGABRT)"),
    case("panic", &[1], "the process ended: exit status: 101"),
    case("shell-134", &[1], "the process ended: exit status: 134 (128 + signal: 6 (SIGABRT))"),
    case("mute", &[1], "within"),
    case("mute-but-term", &[1], "within"),
    case("stop", &[1], "within"),
    case("garbage", &[1], "observed"),
    case("drip", &[1], "within"),
    case("half", &[1], "within"),
    case("half-close", &[1], "closed"),
    case("endless", &[1, 4], "observed"),
    case("huge", &[1], "observed"),
    case("descriptors", &[1], "descriptor"),
    case("too-many-descriptors", &[1], "descriptors"),
];

/// Commands that are no servers, or not always.
const COMMANDS: [(&str, &[i32], &str); 6] = [
    ("kill -SEGV $$ # {socket}", &[1], "signal: 11 (SIGSEGV)"),
    ("echo no such device >&2; exit 1 # {socket}", &[4], "no such device"),
    ("sleep 60 # {socket}", &[4], "could not be connected to in time"),
    ("yes flood # {socket}", &[4], "could not be connected to in time"),
    // The third start crashes, of however many at the same time; the others are honest.
    (
        "M='mkdir COUNT'; $M.1 || $M.2 || { $M.3 && kill -SEGV $$; }; HONEST",
        &[1],
        "signal: 11 (SIGSEGV)",
    ),
    ("M='mkdir COUNT'; $M.1 || $M.2 || { $M.3 && exit 3; }; HONEST", &[1], "exit status: 3"),
];

/// The suites that talk over one socket, with tests of each, and replies after which each test goes on.
const SUITES: [(&str, &[&str], &[&str], usize); 2] = [
    (
        "vhost-user",
        &["--device", "blk"],
        &[
            "negotiation.features",
            "negotiation.nothing-unasked",
            "ring.request",
            "ring.notified",
            "stop.base",
        ],
        2,
    ),
    (
        "vfio-user",
        &[],
        &["get.state", "session.new", "read.size.64", "arguments.features", "flags.legal"],
        6,
    ),
];

/// Not a test: the server that other tests start.
#[test]
#[ignore = "a helper of other tests, which run it themselves"]
fn server() {
    let (Some(hostile), Some(socket)) = (std::env::var_os(HOSTILE), std::env::var_os(SOCKET))
    else {
        return;
    };
    let hostile = hostile.to_string_lossy().into_owned();
    let [suite, does, after] = hostile.split(':').collect::<Vec<_>>()[..] else {
        panic!("{hostile}")
    };
    let (socket, after) = (PathBuf::from(socket), after.parse().unwrap());
    eprintln!("hostile: {does}");
    match suite {
        "vhost-user" => {
            let running = Running::start(Options::default()).unwrap();
            relay::<wire::Header>(&socket, &running.socket(), does, after);
        }
        _ => {
            let core = place(TestBed::Process, 5, Default::default(), None).unwrap().core;
            let options = ServerOptions { core, once: false };
            let running = devmig_reference::vfio_user::server::start(options).unwrap();
            relay::<vfio_user::Header>(&socket, &running.socket(), does, after);
        }
    }
}

/// Relays messages both ways until `after` replies were given; then it does what `does` names.
fn relay<H: Frame>(socket: &Path, reference: &Path, does: &str, after: usize) {
    let soon = || Deadline::after(Duration::from_millis(1));
    let limit = || Deadline::after(Duration::from_secs(5));
    for stream in UnixListener::bind(socket).unwrap().incoming() {
        let stream = stream.unwrap();
        let mut front = Channel::<H>::from_socket(stream.try_clone().unwrap()).unwrap();
        let mut back = Channel::<H>::connect(reference, limit()).unwrap();
        let mut replies = 0;
        loop {
            if let Ok(Received { header, mut payload, fds }) = front.receive(soon()) {
                // SET_INFLIGHT_FD: the reference itself is told the truth.
                if does == "far-buffer" && header.message() == 32 {
                    payload[8..16].fill(0);
                }
                if does == "truncate" {
                    for fd in &fds {
                        // Sealed memory refuses.
                        let _ = ftruncate(fd, 0);
                    }
                }
                let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
                let _ = back.send(header, &payload, &fds, limit());
            } else if has_hung_up(&stream) {
                break;
            }
            let Ok(Received { header, mut payload, fds }) = back.receive(soon()) else { continue };
            if replies >= after && !["truncate", "far-buffer", "honest"].contains(&does) {
                stream.set_nonblocking(false).unwrap();
                instead(does, &stream, &[header.bytes(), payload].concat());
                break;
            }
            replies += 1;
            // GET_INFLIGHT_FD: where the buffer begins in its file.
            if does == "far-buffer" && header.message() == 31 {
                payload[8..16].copy_from_slice(&u64::MAX.to_ne_bytes());
            }
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            let _ = front.send(header, &payload, &fds, limit());
        }
    }
}

fn has_hung_up(stream: &UnixStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(stream, PollFlags::IN)];
    let _ = poll(&mut fds, Some(&Timespec::default()));
    fds[0].revents().contains(PollFlags::HUP)
}

/// What a server does in place of this reply.
fn instead(does: &str, mut stream: &UnixStream, reply: &[u8]) {
    let wait = || std::thread::sleep(Duration::from_secs(600));
    let half = &reply[..reply.len() / 2];
    match does {
        "close" => {}
        "exit-0" => std::process::exit(0),
        "exit-3" => std::process::exit(3),
        "abort" | "shell-134" => std::process::abort(),
        "panic" => panic!("hostile"),
        "stop" => {
            kill_process(getpid(), Signal::STOP).unwrap();
            // It takes effect a little later.
            wait();
        }
        "mute" | "mute-but-term" => wait(),
        "garbage" => {
            let _ = stream.write_all(&[0xa5; 1 << 16]);
            wait();
        }
        "drip" => {
            for byte in reply {
                let _ = stream.write_all(&[*byte]);
                std::thread::sleep(Duration::from_secs(1));
            }
        }
        "half" => {
            let _ = stream.write_all(half);
            wait();
        }
        "half-close" => drop(stream.write_all(half)),
        "endless" => while stream.write_all(reply).is_ok() {},
        "huge" => {
            // The size is the third word of one protocol's header, and the second of the other's.
            let mut huge = reply.to_vec();
            huge[4..12].fill(0xff);
            let _ = stream.write_all(&huge);
            while stream.write_all(&[0; 4096]).is_ok() {}
        }
        "descriptors" => with_descriptors(stream, reply, 4),
        "too-many-descriptors" => with_descriptors(stream, reply, 64),
        other => panic!("{other}"),
    }
}

fn with_descriptors(stream: &UnixStream, reply: &[u8], count: usize) {
    let files: Vec<OwnedFd> =
        (0..count).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect();
    let fds: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    let mut space = vec![std::mem::MaybeUninit::uninit(); 1024];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
    let bytes = [std::io::IoSlice::new(reply)];
    let _ = sendmsg(stream, &bytes, &mut ancillary, SendFlags::NOSIGNAL);
    std::thread::sleep(Duration::from_secs(600));
}

/// The command of a server that does this after so many replies; its socket is `socket`.
fn command(suite: &str, does: &str, after: usize, socket: &str) -> String {
    let this = std::env::current_exe().unwrap();
    let this = shell_words::quote(&this.to_string_lossy()).into_owned();
    let run = format!(
        "env RUST_BACKTRACE=0 TMPDIR=\"${OWN}\" {HOSTILE}={suite}:{does}:{after} {SOCKET}={socket} \
         {this} --ignored --exact server --nocapture"
    );
    match does {
        "shell-134" => format!("{run}; exit $?"),
        "mute-but-term" => format!("trap '' TERM; exec {run}"),
        _ => format!("exec {run}"),
    }
}

/// A shell that does this.
fn shell(script: &str) -> String {
    shell_words::join(["sh", "-c", script])
}

/// What came of a run.
struct Ran {
    code: Option<i32>,
    report: Value,
    /// Everything that it printed.
    said: String,
}

/// Runs a suite against a command, and sees to it that nothing is left behind.
fn run(suite: &str, timeout: &str, arguments: &[&str]) -> Ran {
    // A server that is killed cannot clean up after itself.
    let (folder, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let began = Instant::now();
    let output = Command::new(DEVMIG)
        .args(["test", suite, "--timeout", timeout, "--format", "json"])
        .args(arguments)
        .env("TMPDIR", folder.path())
        .env(OWN, own.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let took = began.elapsed();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = format!("{arguments:?}: {}{errors}", String::from_utf8_lossy(&output.stdout));
    assert!(took < LONGEST, "{took:?}: {said}");
    assert!(!errors.contains("panicked"), "{said}");
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}: {said}");
    // The socket's path is in the folder, and in the environment of the server.
    let place = folder.path().to_string_lossy().into_owned();
    let alive: Vec<PathBuf> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|process| {
            let environment = std::fs::read(process.join("environ")).unwrap_or_default();
            String::from_utf8_lossy(&environment).contains(&format!("{SOCKET}={place}"))
        })
        .collect();
    assert!(alive.is_empty(), "{alive:?} is left behind: {said}");
    Ran { code: output.status.code(), report, said }
}

/// What is not as expected of a run.
fn wrong(ran: &Ran, codes: &[i32], says: &str) -> Option<String> {
    let right = ran.code.is_some_and(|code| codes.contains(&code)) && ran.said.contains(says);
    (!right).then(|| format!("{:?} in place of {codes:?} with `{says}`: {}", ran.code, ran.said))
}

fn only(tests: &'static [&'static str]) -> Vec<&'static str> {
    tests.iter().flat_map(|test| ["--only", test]).collect()
}

#[test]
fn whatever_a_server_does_in_place_of_a_reply_the_run_ends_and_says_so() {
    let jobs: Vec<_> = SUITES
        .iter()
        .flat_map(|suite| [0, suite.3].map(|after| (suite, after)))
        .flat_map(|(suite, after)| CASES.map(|case| (suite, after, case)))
        .collect();
    let bad = in_turn(&jobs, AT_ONCE, |((suite, arguments, tests, _), after, case)| {
        let spawn = shell(&command(suite, case.does, *after, "{socket}"));
        let ran = run(suite, BRIEF, &[&["--spawn", &spawn], *arguments, &only(tests)[..]].concat());
        wrong(&ran, case.codes, case.says)
            .map(|wrong| format!("{suite}, {} after {after}: {wrong}", case.does))
    });
    let bad: Vec<String> = bad.into_iter().flatten().collect();
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), jobs.len(), bad.join("\n\n"));
}

#[test]
fn a_start_that_fails_is_that_test_s_result() {
    let jobs: Vec<_> =
        SUITES.iter().flat_map(|suite| COMMANDS.map(|command| (suite, command))).collect();
    let bad = in_turn(&jobs, AT_ONCE, |((suite, arguments, tests, _), (script, codes, says))| {
        let folder = tempfile::tempdir().unwrap();
        let count = folder.path().join("count");
        let script = script
            .replace("HONEST", &command(suite, "honest", 0, "{socket}"))
            .replace("COUNT", &count.to_string_lossy());
        let spawn = shell(&script);
        let start = ["--start-timeout", "2", "--spawn", &spawn];
        let honest = script.contains("honest");
        let timeout = if honest { PATIENT } else { BRIEF };
        let start = if honest { &start[2..] } else { &start };
        let ran = run(suite, timeout, &[start, *arguments, &only(tests)[..]].concat());
        let counts = |status: &str| ran.report["summary"][status].as_u64();
        let others = !honest || counts("pass") == Some(4) && counts("fail") == Some(1);
        let wrong = wrong(&ran, codes, says).or_else(|| (!others).then(|| ran.said.clone()));
        wrong.map(|wrong| format!("{suite}, {script}: {wrong}"))
    });
    let bad: Vec<String> = bad.into_iter().flatten().collect();
    assert!(bad.is_empty(), "{}", bad.join("\n\n"));
}

/// Three tests, of which the second panics.
struct Panics;

impl Draws for Panics {
    type Form = Form;
}

impl Adapter for Panics {
    fn converse(
        &self,
        test: &Test<Form>,
        _: Rules,
        _: &[ClauseId],
        hold: &mut Hold<'_, Form>,
    ) -> Result<(), TestEnd> {
        hold(&mut Nobody { panics: test.id == "made.initial.command" })
    }
}

struct Nobody {
    panics: bool,
}

impl Session<Form> for Nobody {
    fn step(&mut self, _: &Test<Form>, _: &Step) -> Result<(), TestEnd> {
        assert!(!self.panics, "the number of a peer overflows");
        Ok(())
    }

    fn carefully(&mut self, _: &Test<Form>, _: &Step) -> Result<StepOutcome, TestEnd> {
        Ok(StepOutcome::Yes)
    }

    fn log(&mut self) -> Vec<String> {
        vec!["said before".into()]
    }
}

#[test]
fn a_panic_inside_one_test_is_that_test_s_error_and_the_others_run() {
    let library = Library::builtin().unwrap();
    let suite = devmig_conformance::device_model::suite::builtin(&library).unwrap();
    let wanted = ["description.printed", "made.initial.command", "made.allowed.command"];
    let tests: Vec<_> = suite.iter().filter(|test| wanted.contains(&test.id.as_str())).collect();
    let run =
        Run { ends_early: true, goes_past: true, ..Run::new(&library, (), "1", Rules::default()) };
    let report = runner::play(&run, &Panics, Rules::default(), &tests, &[], |_| ());
    let ended: Vec<Status> = report.results.iter().map(|result| result.status).collect();
    assert_eq!(ended, [Status::Pass, Status::Error, Status::Pass]);
    assert_eq!(report.exit_code(), 4);
    let panicked = &report.results[1];
    let observed = panicked.observed.clone().unwrap();
    assert!(
        observed.starts_with("devmig panicked: the number of a peer overflows at "),
        "{observed}"
    );
    assert!(observed.contains("hostile_servers.rs"), "{observed}");
    assert_eq!(panicked.log, ["said before"]);
}

/// What is said of a buffer that begins at the end of all addresses.
const FAR: &str = "the in-flight buffer begins at 0xffffffffffffffff of its file";

/// What is shared keeps its size, and an offset that overflows is an answer like any other.
#[test]
fn memory_that_the_back_end_truncates_and_offsets_that_overflow_end_no_run() {
    for (does, tests, codes, says) in [
        ("truncate", ["dirty-log.buffers", "dirty-log.shared", "ring.request"], &[0][..], ""),
        ("far-buffer", ["in-flight.last-batch", "in-flight.crash", "ring.request"], &[1][..], FAR),
    ] {
        let spawn = shell(&command("vhost-user", does, 0, "{socket}"));
        let tests: Vec<&str> = tests.iter().flat_map(|test| ["--only", test]).collect();
        let arguments = ["--device", "blk", "--spawn", &spawn];
        let ran = run("vhost-user", PATIENT, &[&arguments, &tests[..]].concat());
        assert!(wrong(&ran, codes, says).is_none(), "{does}: {}", ran.said);
        assert!(ran.report["summary"]["pass"].as_u64() > Some(0), "{does}: {}", ran.said);
    }
}

/// A program for the suite of device models that describes a device, and then does this where it should
/// serve it. `$W` is the last word of its command line: the socket's path.
fn program(what: &str) -> String {
    let description =
        r#"{"models": {"a.com/b": {"params": {"x": {"type": "bool", "init_value": false}}}}}"#;
    let script = format!(
        "for W in \"$@\"; do :; done; case \"$*\" in \
         *--print-migration-info-json*) echo '{description}' ;; *--print*) exit 2 ;; *) {what} ;; esac"
    );
    shell_words::join(["sh", "-c", &script, "sh"])
}

#[test]
fn the_suite_of_device_models_survives_the_same_servers() {
    let served = |does| program(&command("vhost-user", does, 0, "\"$W\""));
    let mut jobs: Vec<(String, &[i32], &str)> = CASES
        .iter()
        .filter(|case| case.does != "descriptors")
        .map(|case| {
            (
                served(case.does),
                case.codes,
                if case.says == "within" { "in time" } else { case.says },
            )
        })
        .collect();
    jobs.extend([
        (program("kill -ABRT $$"), &[1][..], "signal: 6 (SIGABRT)"),
        (program("sleep 60"), &[1][..], "could not be connected to in time"),
        (shell("kill -ABRT $$"), &[1][..], "signal: 6 (SIGABRT)"),
        (shell("exit 139"), &[1][..], "128 + signal: 11 (SIGSEGV)"),
        (shell("sleep 60"), &[1][..], "did not end in time"),
        (shell("exec yes"), &[1][..], "did not end in time"),
        (shell("trap '' TERM; sleep 60"), &[1][..], "did not end in time"),
    ]);
    let bad = in_turn(&jobs, AT_ONCE, |(spawn, codes, says)| {
        let only = [
            "--only",
            "description.printed",
            "--only",
            "made.initial.*",
            "--only",
            "state.there-and-back.vhost-user",
        ];
        let device =
            ["--vhost-user", "--socket-path {socket}", "--cases", "1", "--start-timeout", "2"];
        let ran =
            run("device-model", BRIEF, &[&["--spawn", spawn], &device[..], &only[..]].concat());
        wrong(&ran, codes, says).map(|wrong| format!("{spawn}: {wrong}"))
    });
    let bad: Vec<String> = bad.into_iter().flatten().collect();
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), jobs.len(), bad.join("\n\n"));
}
