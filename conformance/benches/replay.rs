//! How fast a recorded migration is judged, beside `cat` of the same files in the same run:
//! `cargo bench -p devmig-conformance --bench replay`.
//!
//! The recording is made here: the reference's source migrates memory without a page of zeroes to its
//! destination, and `devmig watch multifd` is between them. Each program is a process of its own, timed as a whole.

#![allow(clippy::unwrap_used)] // a bench that cannot go on is a bench that fails

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Memory that is migrated, in MiB.
const MEMORY: usize = 1 << 10;
const CHANNELS: &str = "2";
const TIMES: usize = 3;
/// How long a program may take to listen.
const LISTEN: Duration = Duration::from_secs(10);

fn devmig() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
    command.stdout(Stdio::null());
    command
}

/// A program that listens on this socket.
fn listening(command: &mut Command, socket: &Path) -> Child {
    let child = command.spawn().unwrap();
    let began = Instant::now();
    while !socket.exists() {
        assert!(began.elapsed() < LISTEN, "{} is not there", socket.display());
        thread::sleep(Duration::from_millis(5));
    }
    child
}

/// Records a migration in this folder.
fn record(folder: &Path) -> PathBuf {
    let memory = folder.join("memory");
    let mut file = std::fs::File::create(&memory).unwrap();
    let piece: Vec<u8> = (0..1 << 20).map(|at| (at % 251 + 1) as u8).collect();
    (0..MEMORY).for_each(|_| file.write_all(&piece).unwrap());
    let (here, there, recording) = (folder.join("w"), folder.join("d"), folder.join("recording"));
    let size = MEMORY.to_string();
    let mut command = devmig();
    command.args(["reference", "multifd-destination", "--channels", CHANNELS, "--size", &size]);
    let mut destination = listening(command.arg("--listen").arg(&there), &there);
    let mut command = devmig();
    command.args(["watch", "multifd", "--listen"]).arg(&here).arg("--connect").arg(&there);
    let mut relay = listening(command.arg("--record").arg(&recording), &here);
    let mut command = devmig();
    command.args(["reference", "multifd-source", "--channels", CHANNELS, "--connect"]).arg(&here);
    assert!(command.arg("--memory").arg(&memory).status().unwrap().success());
    assert!(destination.wait().unwrap().success() && relay.wait().unwrap().success());
    recording
}

/// The seconds that a program takes that succeeds.
fn seconds(command: &mut Command) -> f64 {
    let began = Instant::now();
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
    began.elapsed().as_secs_f64()
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let recording = record(folder.path());
    let files = std::fs::read_dir(&recording).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|e| e == "bin")).collect();
    let bytes: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    let (mut cat, mut replay) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..TIMES {
        cat = cat.min(seconds(Command::new("cat").args(&files)));
        replay = replay.min(seconds(devmig().args(["replay", "multifd"]).arg(&recording)));
    }
    let speed = |seconds: f64| bytes as f64 / f64::from(1 << 20) / seconds;
    println!("{} MiB in {} files, best of {TIMES}", bytes >> 20, files.len());
    println!("cat                    {:8.0} MiB/s", speed(cat));
    println!(
        "devmig replay multifd  {:8.0} MiB/s, {:.2} of cat",
        speed(replay),
        speed(replay) / speed(cat)
    );
}
