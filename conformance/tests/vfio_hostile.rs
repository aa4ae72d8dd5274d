//! The VFIO suite and servers that are not to be trusted: whatever one answers, the run ends, and says
//! what came.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use devmig_conformance::harness::report::{Result as TestResult, Status, SuiteReport};
use devmig_conformance::vfio::mutants::{TestBed, place};
use devmig_conformance::vfio::runner::{self, Run, Subject};
use devmig_conformance::vfio::session::Limits;
use devmig_conformance::vfio::suite;
use devmig_conformance::vfio::user::Socket;
use devmig_model::protocol::vfio_user::Header;
use devmig_model::registry::Library;
use devmig_reference::socket::Deadline;
use devmig_reference::socket::transport::{Channel, Received};
use devmig_reference::vfio_user::client::Link as _;
use devmig_reference::vfio_user::{Core, Local};

/// How long a call may take here.
const LIMIT: Duration = Duration::from_millis(300);
/// The longest that a run may take.
const LONGEST: Duration = Duration::from_secs(20);
/// Replies that are honest, of each conversation: what opening a device takes.
const HONEST: usize = 5;

/// What becomes of a reply.
type Tamper = fn(&mut Channel<Header>, Received<Header>);

fn pass_on(channel: &mut Channel<Header>, reply: &Received<Header>) {
    let _ = channel.send(reply.header, &reply.payload, &[], Deadline::after(LIMIT));
}

/// The reference behind a socket, all of whose later replies are tampered with.
fn serve(listener: &UnixListener, tamper: Tamper) {
    let core = place(TestBed::Process, 5, Default::default(), None).unwrap().core;
    let device = Local::new(Core::new(&core));
    while let Ok((socket, _)) = listener.accept() {
        let mut channel: Channel<Header> = Channel::from_socket(socket).unwrap();
        let mut link = device.connect();
        let mut replies = 0;
        while let Ok(message) = channel.receive(Deadline::after(LONGEST)) {
            let limit = Deadline::after(LIMIT);
            if link.send(message.header, &message.payload, &[], limit).is_err() {
                break;
            }
            let Ok(reply) = link.receive(limit) else { break };
            replies += 1;
            if replies <= HONEST {
                pass_on(&mut channel, &reply)
            } else {
                tamper(&mut channel, reply)
            }
        }
    }
}

fn tested(path: &Path) -> SuiteReport {
    let library = Library::builtin().unwrap();
    let all = suite::builtin(&library).unwrap();
    let wanted = ["get.state", "session.new", "read.size.64", "arguments.features"];
    let tests: Vec<_> = all.iter().filter(|test| wanted.contains(&test.id.as_str())).collect();
    assert_eq!(tests.len(), wanted.len());
    let place = Socket { path: path.to_owned(), limit: LIMIT, foreign: None };
    let subject = Subject {
        place: &place,
        limits: Limits { work: LIMIT, quiet: Duration::from_millis(5), confirms: false },
        p2p: false,
        without: Default::default(),
    };
    let run = Run {
        reproduce: String::new(),
        ..Run::new(&library, subject, "7.1", library.spec.judged_by("linux-vfio", "7.1").unwrap())
    };
    runner::play(&run, &tests, &[], |_| ())
}

fn against(tamper: Tamper) -> SuiteReport {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || serve(&listener, tamper));
    let begin = Instant::now();
    let report = tested(&path);
    assert!(begin.elapsed() < LONGEST, "it took {:?}", begin.elapsed());
    report
}

#[test]
fn an_honest_relay_passes() {
    let report = against(|channel, reply| pass_on(channel, &reply));
    assert_eq!(report.summary.pass, report.results.len(), "{report:#?}");
}

#[test]
fn whatever_a_server_answers_the_run_ends_and_says_so() {
    let tampers: [(&str, Tamper); 9] = [
        ("a size beyond all bounds", |channel, mut reply| {
            reply.header.size = u32::MAX;
            pass_on(channel, &reply);
        }),
        ("a size below the header's", |channel, mut reply| {
            reply.header.size = 3;
            pass_on(channel, &reply);
        }),
        ("more than it sends", |channel, mut reply| {
            reply.header.size += 100;
            pass_on(channel, &reply);
        }),
        ("half a message, and the end", |channel, reply| {
            let bytes = [&reply.header.encode()[..], &reply.payload].concat();
            let half = bytes.get(..bytes.len() / 2).unwrap_or(&[]);
            let _ = channel.send_raw(half, &[], Deadline::after(LIMIT));
            let _ = rustix::net::shutdown(&*channel, rustix::net::Shutdown::Both);
        }),
        ("late", |channel, reply| {
            std::thread::sleep(LIMIT * 2);
            pass_on(channel, &reply);
        }),
        ("twice", |channel, reply| {
            pass_on(channel, &reply);
            pass_on(channel, &reply);
        }),
        ("out of order", |channel, mut reply| {
            reply.header.id = reply.header.id.wrapping_add(1);
            pass_on(channel, &reply);
        }),
        ("a descriptor that nobody asked for", |channel, reply| {
            let file = std::fs::File::open("/dev/null").unwrap();
            let fds = [file.as_fd()];
            let _ = channel.send(reply.header, &reply.payload, &fds, Deadline::after(LIMIT));
        }),
        ("noise", |channel, reply| {
            let noise: Vec<u8> = reply.payload.iter().map(|byte| byte ^ 0xa5).collect();
            let _ = channel.send(reply.header, &noise, &[], Deadline::after(LIMIT));
        }),
    ];
    for (what, tamper) in tampers {
        let report = against(tamper);
        let bad = |status| matches!(status, Status::Fail | Status::Warn | Status::Error);
        let found = report.results.iter().any(|result| bad(result.status));
        assert!(found, "{what} is not noticed: {:?}", report.summary);
        assert!(report.results.iter().all(|r| !bad(r.status) || r.observed.is_some()), "{what}");
    }
}

/// Error replies with this number.
fn numbered(channel: &mut Channel<Header>, mut reply: Received<Header>, number: u32) {
    if reply.header.flags.is_error() {
        reply.header.error = number;
    }
    pass_on(channel, &reply);
}

#[test]
fn an_error_without_a_number_is_an_error() {
    let report = against(|channel, reply| numbered(channel, reply, 0));
    assert_eq!(report.summary.pass, report.results.len(), "{report:#?}");
}

#[test]
fn whatever_number_an_error_has_the_run_goes_on_and_says_which() {
    let tampers: [(u32, Tamper); 3] = [
        (0x1000, |channel, reply| numbered(channel, reply, 0x1000)),
        (0x2016, |channel, reply| numbered(channel, reply, 0x2016)),
        (u32::MAX, |channel, reply| numbered(channel, reply, u32::MAX)),
    ];
    for (number, tamper) in tampers {
        let report = against(tamper);
        let text = format!("error {number:#x}, which is not an errno");
        let says_so = |result: &&TestResult| {
            result.status == Status::Fail
                && result.clause == "vfio-user.reply.error-number"
                && result.observed.as_ref().is_some_and(|observed| observed.contains(&text))
        };
        assert_eq!(report.results.iter().filter(says_so).count(), 1, "{report:#?}");
        assert_eq!(report.summary.pass, report.results.len() - 1, "{report:#?}");
    }
}
