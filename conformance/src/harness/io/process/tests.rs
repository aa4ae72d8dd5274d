//! Commands that behave, and commands that do not.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Instant;

use rustix::process::test_kill_process;

use super::*;

fn start(text: &str, limit: Duration) -> Result<(Process, Connection), SpawnError> {
    Command::parse(text).unwrap().start(Deadline::after(limit))
}

fn soon() -> Duration {
    Duration::from_millis(300)
}

/// A shell command that does `first`, then listens at the socket: this test program does, see
/// [`listener`]. `after` is what it does when somebody has connected.
fn server(first: &str, after: &str) -> String {
    let this = std::env::current_exe().unwrap();
    let name = "harness::io::process::tests::listener";
    let run = format!(r#""$1" --ignored --exact {name} --nocapture"#);
    let script = format!("{first} DEVMIG_TEST_SOCKET={PLACEHOLDER} {run}; {after}");
    shell_words::join(["sh", "-c", &script, "sh", &this.to_string_lossy()])
}

/// Not a test: the server that other tests start.
#[test]
#[ignore = "a helper of other tests, which run it themselves"]
fn listener() {
    if let Some(path) = std::env::var_os("DEVMIG_TEST_SOCKET") {
        drop(std::os::unix::net::UnixListener::bind(path).unwrap().accept().unwrap());
    }
}

fn alive(pid: i32) -> bool {
    // A zombie that nobody has reaped yet is as dead as it gets.
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok() && !state.contains(") Z ")
}

/// The number on the first line that it printed.
fn printed_id(process: &Process) -> i32 {
    let deadline = Deadline::after(Duration::from_secs(5));
    loop {
        let output = process.last_output();
        if let Some((line, _)) = output.split_once('\n') {
            return line.parse().unwrap();
        }
        assert!(!deadline.passed(), "{output}");
        deadline.pause(PAUSE);
    }
}

fn wait_until_dead(pid: i32) {
    let deadline = Deadline::after(Duration::from_secs(5));
    while alive(pid) {
        assert!(!deadline.passed(), "{pid} is left behind");
        deadline.pause(PAUSE);
    }
}

#[test]
fn commands_are_checked_before_they_run() {
    assert!(matches!(Command::parse(""), Err(SpawnError::Empty)));
    assert!(matches!(Command::parse("'' {socket}"), Err(SpawnError::Empty)));
    assert!(matches!(Command::parse("a 'b {socket}"), Err(SpawnError::Words(_))));
    let error = Command::parse("virtiofsd --socket-path=/tmp/s").unwrap_err();
    assert!(error.to_string().starts_with("the command has no {socket}: write it where"));
    let command = Command::parse("a --x='b c' path={socket},y").unwrap();
    assert_eq!(command.words, ["a", "--x=b c", "path={socket},y"]);
}

#[test]
fn a_command_has_a_disk_and_a_folder_of_its_own_if_it_names_them() {
    let folder = |script: &str| {
        let words = ["sh", "-c", script].map(str::to_owned).to_vec();
        let done = Command::plain(words).unwrap().captured(999, Deadline::after(soon() * 20));
        String::from_utf8(done.unwrap().output).unwrap()
    };
    assert_eq!(folder("wc -c < {image}").trim(), IMAGE_SIZE.to_string());
    assert_eq!(folder("ls -A {folder} | wc -l").trim(), "0");
    assert_eq!(folder("ls -A $(dirname {socket})"), ".temporary\n");
    assert_ne!(folder("echo {folder}"), folder("echo {folder}"));
}

#[test]
fn a_program_that_does_not_exist_is_named() {
    let error = start("/no/such/program {socket}", soon()).unwrap_err();
    assert!(error.to_string().starts_with("cannot run `/no/such/program`: No such file"));
}

#[test]
fn a_command_that_ends_shows_its_last_lines() {
    let noisy = "sh -c 'yes noise | head -n 100000; echo the cause >&2; exit 3' {socket}";
    let error = start(noisy, Duration::from_secs(10)).unwrap_err();
    match &error {
        SpawnError::Exited { status, output, .. } => {
            assert_eq!(status.code(), Some(3));
            assert!(output.ends_with("\n    the cause"), "{output}");
            assert_eq!(output.lines().count(), LINES + 1);
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_command_that_never_listens_is_ended() {
    let start_time = Instant::now();
    let error = start("sh -c 'echo here I am; sleep 60' {socket}", soon()).unwrap_err();
    assert!(matches!(error, SpawnError::Connect { .. }), "{error}");
    assert!(error.to_string().contains("there is no socket at"), "{error}");
    assert!(error.to_string().ends_with("\n    here I am"), "{error}");
    assert!(start_time.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_server_is_connected_to_and_ended() {
    let (process, _connection) = start(&server("", "sleep 60"), Duration::from_secs(20)).unwrap();
    let (pid, socket) = (process.id() as i32, process.socket().to_path_buf());
    assert!(alive(pid) && socket.exists());
    drop(process);
    assert!(!alive(pid) && !socket.exists());
}

#[test]
fn a_server_that_ignores_the_request_to_end_is_killed_with_its_children() {
    let stubborn = server("trap '' TERM; sleep 60 & echo $!;", "sleep 60");
    let (process, _connection) = start(&stubborn, Duration::from_secs(20)).unwrap();
    let child = printed_id(&process);
    assert!(alive(child));
    let status = process.stop().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    wait_until_dead(child);
}

#[test]
fn what_a_server_that_crashed_leaves_behind_is_ended() {
    let crashing = server("sleep 60 & echo $!;", "exit 7");
    let (mut process, _connection) = start(&crashing, Duration::from_secs(20)).unwrap();
    let deadline = Deadline::after(Duration::from_secs(10));
    let status = loop {
        match process.exit_status() {
            Some(status) => break status,
            None => assert!(!deadline.passed()),
        }
    };
    assert_eq!(status.code(), Some(7));
    let child = printed_id(&process);
    wait_until_dead(child);
    assert!(matches!(process.connect(Deadline::after(soon())), Err(SpawnError::Exited { .. })));
}

#[test]
fn output_is_bounded() {
    let (end, mut begin) = io::pipe().unwrap();
    let mut output = Output::collect(end, TAIL).unwrap();
    for n in 0..100_000 {
        io::Write::write_all(&mut begin, format!("{n}\n").as_bytes()).unwrap();
    }
    drop(begin);
    output.finish();
    let tail = output.tail();
    assert!(tail.len() <= TAIL && tail.ends_with("\n99999\n"));
}

#[test]
fn what_a_command_prints_is_kept_apart_and_bounded() {
    let shell = |script: &str| Command::plain(["sh", "-c", script].map(str::to_owned).to_vec());
    let run = |script: &str, most: usize, wait: Duration| {
        shell(script).unwrap().captured(most, Deadline::after(wait))
    };
    let done = run("echo out; echo err >&2; exit 3", 64, Duration::from_secs(10)).unwrap();
    assert_eq!((done.status.code(), done.output.as_slice()), (Some(3), &b"out\n"[..]));
    assert_eq!(done.errors, "err\n");
    assert!(run("printf 12345", 5, Duration::from_secs(10)).is_ok());
    let long = run("printf 123456", 5, Duration::from_secs(10));
    assert!(matches!(long, Err(SpawnError::Long { most: 5, .. })), "{long:?}");
    let silent = run("sleep 60", 5, Duration::from_millis(100));
    assert!(matches!(silent, Err(SpawnError::Silent { .. })), "{silent:?}");
}

/// What is left of a shell that does this, after so long.
fn left(script: &str, limit: Duration) -> Remains {
    let words = ["sh", "-c", script].map(str::to_owned).to_vec();
    Command::plain(words).unwrap().spawn().unwrap().remains(Deadline::after(limit))
}

#[test]
fn what_is_left_of_a_process_is_how_it_ended_by_itself_and_its_last_lines() {
    let died = left("echo last words >&2; kill -ABRT $$", soon() * 10);
    assert_eq!(died.crash().and_then(|status| status.signal()), Some(6), "{died:?}");
    assert_eq!(died.output, ["last words"]);
    let wrapped = left("sh -c 'kill -SEGV $$'; exit $?", soon() * 10);
    assert_eq!(wrapped.crash().and_then(|status| status.code()), Some(139), "{wrapped:?}");
    let left_alone = left("exit 3", soon() * 10);
    assert_eq!((left_alone.ended.and_then(|s| s.code()), left_alone.crash()), (Some(3), None));
}

#[test]
fn one_that_is_told_to_end_has_not_ended_by_itself_unless_it_crashes_then() {
    let begin = Instant::now();
    assert_eq!(left("exec sleep 60", soon()).ended, None);
    assert_eq!(left("trap 'exit 3' TERM; sleep 60 & wait", soon()).ended, None);
    let crashed = left("trap 'kill -ABRT $$' TERM; sleep 60 & wait", soon());
    assert_eq!(crashed.crash().and_then(|status| status.signal()), Some(6), "{crashed:?}");
    // One that is stopped takes our signal as soon as it goes on.
    assert_eq!(left("kill -STOP $$; sleep 60", soon()).ended, None);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn less_is_kept_than_comes_at_once() {
    let words = ["sh", "-c", "seq 1 10000"].map(str::to_owned).to_vec();
    let captured = Command::plain(words).unwrap().captured(10, Deadline::after(soon() * 20));
    assert!(matches!(captured, Err(SpawnError::Long { most: 10, .. })), "{captured:?}");
}
