//! The judge of recorded migrations against the reference's source: as it is, in every mode, and with every
//! fault that it can have, each of which violates its clause.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use devmig_conformance::multifd::judge::judge;
use devmig_conformance::multifd::memory::Memory;
use devmig_conformance::multifd::recording::Recording;
use devmig_conformance::multifd::relay::{Address, Listener, Relay};
use devmig_conformance::multifd::report::{Report, Verdict};
use devmig_model::protocol::multifd::wire::ReturnMessage;
use devmig_model::registry::Library;
use devmig_reference::multifd::{
    Compression, DeviceState, Guest, Image, Mutant, Options, Stream, SyncMode, ZeroPages, migrate,
};
use tempfile::TempDir;

static LIBRARY: LazyLock<Library> = LazyLock::new(|| Library::builtin().unwrap());

const DEVICE: &str = "0000:00:04.0/vfio";
const PAGES: usize = 600;
/// How often a fault may have to be tried.
const TRIES: usize = 5;

/// A destination that reads everything, and says that all is well.
fn reads_everything(listener: &UnixListener, connections: usize) {
    thread::scope(|scope| {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            scope.spawn(move || {
                let mut bytes = vec![0; 64 << 10];
                while stream.read(&mut bytes).is_ok_and(|count| count > 0) {}
                let mut word = Vec::new();
                ReturnMessage::Shut(0).encode(&mut word);
                let _ = stream.write_all(&word);
            });
        }
    });
}

/// What the judge says of a migration of a guest that writes all the while.
fn judged(options: &Options) -> Report {
    let folder = TempDir::new().unwrap();
    let [here, there] = ["here", "there"].map(|name| folder.path().join(name));
    let [listens, destination] = [&here, &there].map(|path| UnixListener::bind(path).unwrap());
    let recording = folder.path().join("recording");
    let relay = Relay::new(&recording).unwrap();
    let image = Image::new("pc.ram", PAGES);
    let guest = Guest::default();
    let (count, listener) = (usize::from(options.channels) + 1, Listener::Unix(listens));
    let to = Address::Unix(there);
    thread::scope(|scope| {
        scope.spawn(|| reads_everything(&destination, count));
        let relayed = scope.spawn(|| relay.run(&listener, &to, &mut || false).unwrap());
        let works = scope.spawn(|| guest.work(&image));
        let connect = |_| Stream::Unix(UnixStream::connect(&here).unwrap());
        let streams = (0..count).map(connect).collect();
        let stop = || {
            thread::sleep(Duration::from_millis(5));
            guest.stop_after(50);
            works.join().unwrap();
            let data = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
            let config = b"configuration".to_vec();
            vec![DeviceState { name: DEVICE.to_owned(), instance: 0, data, config }]
        };
        migrate(streams, &image, &[(DEVICE, 0)], options, stop).unwrap();
        assert_eq!(relayed.join().unwrap() as usize, count);
    });
    let memory = folder.path().join("pc.ram");
    std::fs::write(&memory, image.bytes()).unwrap();
    let memory = Memory::of(&[("pc.ram".to_owned(), memory)]).unwrap();
    judge(Recording::open(&recording).unwrap(), &LIBRARY, None, memory).unwrap()
}

#[test]
fn the_source_is_conformant_in_every_mode() {
    for sync in [SyncMode::PerRound, SyncMode::PerSection] {
        for zero in [ZeroPages::Channels, ZeroPages::Main, ZeroPages::Sent] {
            for channels in [1, 2, 4] {
                let options = Options { sync, zero, channels, ..Options::default() };
                let report = judged(&options);
                let shown = report.text();
                assert_eq!(report.verdict, Verdict::Conformant, "{options:?}: {shown}");
                assert_eq!(report.memory, Some(true), "{options:?}: {shown}");
                assert!(report.epochs >= 3, "{options:?}: {shown}");
                let [device] = &report.devices[..] else { panic!("{:?}", report.devices) };
                assert_eq!((device.buffers, device.config_index), (5, Some(4)), "{shown}");
            }
        }
    }
}

#[test]
fn the_source_is_conformant_with_compression() {
    for compression in [Compression::Zlib, Compression::Zstd] {
        for channels in [1, 3] {
            let options = Options { compression, channels, ..Options::default() };
            let report = judged(&options);
            let shown = report.text();
            assert_eq!(report.verdict, Verdict::Conformant, "{options:?}: {shown}");
            assert_eq!(report.memory, Some(true), "{options:?}: {shown}");
        }
    }
}

/// The compressions by which a fault shows.
fn compressions(mutant: Mutant) -> &'static [Compression] {
    match mutant.needs_compression() {
        true => &[Compression::Zlib, Compression::Zstd],
        false => &[Compression::None],
    }
}

/// The faults of a destination are none of its source.
fn is_of_the_source(mutant: Mutant) -> bool {
    Mutant::ALL.iter().position(|other| *other == mutant)
        < Mutant::ALL.iter().position(|other| *other == Mutant::MarkNotWaited)
}

#[test]
fn each_fault_of_a_source_violates_its_clause() {
    let faults = || Mutant::ALL.iter().copied().filter(|mutant| is_of_the_source(*mutant));
    assert!(faults().count() >= 30, "{}", faults().count());
    let mut missed = Vec::new();
    let each = faults().flat_map(|mutant| compressions(mutant).iter().map(move |c| (mutant, *c)));
    for (mutant, compression) in each {
        let is_found = |report: &Report| {
            report.violations.iter().any(|violation| violation.clause == mutant.clause())
        };
        // Some faults show only if the guest writes at a certain moment.
        let mutants = Some(mutant).into();
        let run = |_| judged(&Options { mutants, compression, ..Options::default() });
        if !(0..TRIES).map(run).any(|report| is_found(&report)) {
            missed.push(format!("{mutant} with {compression:?} ({})", mutant.clause()));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// `devmig reference`: a destination, once it listens, and a source, each with further arguments; what both
/// said, and how they ended.
fn between_commands(
    folder: &TempDir,
    both: &[&str],
    source: &[&str],
) -> [(Option<i32>, String); 2] {
    let path = |name: &str| folder.path().join(name);
    let command = |end: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
        command.args(["reference", end, "--size", "1", "--timeout", "5"]).args(both);
        command.stdout(Stdio::piped());
        command
    };
    let mut destination = command("multifd-destination");
    destination.arg("--listen").arg(path("m")).arg("--save").arg(path("destination"));
    let mut destination = destination.spawn().unwrap();
    let mut said = BufReader::new(destination.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.starts_with("listening at "), "{line}");
    let mut from = command("multifd-source");
    from.arg("--connect").arg(path("m")).arg("--save").arg(path("source")).args(source);
    let from = from.output().unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    let from = (from.status.code(), String::from_utf8_lossy(&from.stdout).into_owned());
    [from, (destination.wait().unwrap().code(), rest)]
}

#[test]
fn the_reference_is_a_command_at_either_end() {
    let device = ["--device", DEVICE];
    let cases: [&[&str]; 4] = [
        &[],
        &["--compression", "zstd", "--channels", "4"],
        &["--compression", "zlib", "--sync", "per-section"],
        &device,
    ];
    for both in cases {
        let folder = TempDir::new().unwrap();
        let [source, destination] = between_commands(&folder, both, &[]);
        assert_eq!(source.0, Some(0), "{both:?}: {source:?}, {destination:?}");
        assert_eq!(destination.0, Some(0), "{both:?}: {destination:?}");
        let [sent, received] =
            ["source", "destination"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
        assert!(sent == received && sent.len() == 1 << 20, "{both:?}: memory differs");
        assert!(sent.iter().any(|byte| *byte != 0), "{both:?}");
    }
}

#[test]
fn a_mutant_of_the_command_is_refused_by_its_clause() {
    for mutant in [Mutant::PacketVersion, Mutant::BufferMissing, Mutant::PackedAnew] {
        let folder = TempDir::new().unwrap();
        let compression = if mutant.needs_compression() { "zlib" } else { "none" };
        let both = ["--device", DEVICE, "--compression", compression];
        let [source, destination] = between_commands(&folder, &both, &["--mutant", mutant.name()]);
        assert_eq!((source.0, destination.0), (Some(1), Some(1)), "{source:?}, {destination:?}");
        let violates = format!("failed: violates {}", mutant.clause());
        assert!(destination.1.starts_with(&violates), "{mutant}: {}", destination.1);
    }
}
