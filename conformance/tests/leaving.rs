//! Commands that go on until they are told to end: what they leave behind.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The longest that anything here may take.
const LONGEST: Duration = Duration::from_secs(30);

/// A `devmig` that does not outlive its test.
struct Running(Child);

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        Running(command.spawn().unwrap())
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

#[test]
fn the_explorer_serves_a_page() {
    // Freed at once: nobody else is likely to be given the same one in the meantime.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = address.to_string();
    let mut devmig = Running::start(&["explore", "vhost-user/ring", "--listen", &listen]);
    let page = |path: &str| {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(LONGEST)).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        (!text.is_empty()).then_some(text)
    };
    let first = eventually("a page comes", || page("/"));
    assert!(first.starts_with("HTTP/1.0 200") || first.starts_with("HTTP/1.1 200"), "{first}");
    assert!(first.contains("<html"), "{first}");
    let states = eventually("the initial state comes", || page("/.states/"));
    assert!(states.contains("GET_FEATURES") || states.contains("fingerprint"), "{states}");
    let status = devmig.end(Signal::TERM);
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
}
