//! The judge of recorded migrations against the reference's source: as it is, in every mode, and with every
//! fault that it can have, each of which violates its clause.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
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
    DeviceState, Guest, Image, Mutant, Options, Stream, SyncMode, ZeroPages, migrate,
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
    for mutant in faults() {
        let is_found = |report: &Report| {
            report.violations.iter().any(|violation| violation.clause == mutant.clause())
        };
        // Some faults show only if the guest writes at a certain moment.
        let run = |_| judged(&Options { mutants: Some(mutant).into(), ..Options::default() });
        if !(0..TRIES).map(run).any(|report| is_found(&report)) {
            missed.push(format!("{mutant} ({})", mutant.clause()));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
