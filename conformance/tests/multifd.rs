//! Recorded migrations, made by hand: a healthy one is conformant, and each fault violates its clause.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use devmig_conformance::multifd::faults::FAULTS;
use devmig_conformance::multifd::judge::{self, Error};
use devmig_conformance::multifd::mapped_ram;
use devmig_conformance::multifd::memory::Memory;
use devmig_conformance::multifd::pieces::Pieces;
use devmig_conformance::multifd::recording::Recording;
use devmig_conformance::multifd::report::{Report, Verdict};
use devmig_conformance::multifd::survey::Mode;
use devmig_model::protocol::multifd::wire::{
    Buffer, DevicePacket, Init, MainWriter, PageForm, PageSize, RamPacket, command, flag, vfio_tag,
};
use devmig_model::registry::Library;
use tempfile::TempDir;
use zstd::stream::raw::{InBuffer, Operation as _, OutBuffer};

const PAGE: u64 = 4096;
const RAM: &str = "pc.ram";
const VFIO: &str = "0000:00:04.0/vfio";
/// Where a packet's fields are.
const OFFSET: usize = 320;
const NORMAL: usize = 16;
const SIZE: usize = 20;
const NUMBER: usize = 24;

/// A migration: what was sent on each connection, packet by packet.
#[derive(Clone)]
struct Migration {
    main: Vec<Vec<u8>>,
    channels: [Vec<Vec<u8>>; 2],
    /// The memory of the source at the end.
    memory: Vec<u8>,
    /// The connections that the index has an end of.
    ended: [bool; 3],
}

fn main_item(write: impl FnOnce(&mut MainWriter)) -> Vec<u8> {
    let mut writer = MainWriter::default();
    write(&mut writer);
    writer.bytes
}

fn init(id: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    Init::new([7; 16], id).encode(&mut bytes);
    bytes
}

fn ram(number: u64, normal: &[u64], zero: &[u64], fill: u8) -> Vec<u8> {
    let offsets = |pages: &[u64]| pages.iter().map(|page| page * PAGE).collect::<Vec<_>>();
    let (normal, zero) = (offsets(normal), offsets(zero));
    let size = (normal.len() as u32) * 4096;
    let block = RAM.as_bytes();
    let packet = RamPacket { flags: 0, size, number, block, normal: &normal, zero: &zero };
    let mut bytes = Vec::new();
    packet.encode(PageSize::FOUR_KIB, &mut bytes);
    for offset in &normal {
        bytes.extend([fill, (offset / PAGE) as u8].repeat(2048));
    }
    bytes
}

fn sync(number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let packet = RamPacket { flags: flag::SYNC, number, ..RamPacket::default() };
    packet.encode(PageSize::FOUR_KIB, &mut bytes);
    bytes
}

fn device(index: u32, flags: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let size = (Buffer::LEN + data.len()) as u32;
    DevicePacket::new(VFIO.as_bytes(), 0, size).encode(&mut bytes);
    Buffer { version: 0, index, flags }.encode(&mut bytes);
    bytes.extend(data);
    bytes
}

/// Three epochs, the first of them empty, and a device.
fn healthy() -> Migration {
    let main = vec![
        MainWriter::new("pc-q35-10.0").bytes,
        main_item(|w| {
            w.start(2, ("ram", 0), 4).blocks(&[(RAM, 16 * PAGE)]);
        }),
        main_item(|w| {
            w.flush();
        }),
        main_item(|w| {
            w.end_of_section().footer(2);
            w.start(3, (VFIO, 0), 1).vfio(vfio_tag::DEV_SETUP_STATE);
            w.vfio(vfio_tag::END_OF_STATE).footer(3).part(2);
        }),
        main_item(|w| {
            w.flush();
        }),
        main_item(|w| {
            w.end_of_section().footer(2).command(command::SWITCHOVER_START, &[]).end(2);
        }),
        main_item(|w| {
            w.page(Some(RAM), 9 * PAGE, PageForm::Fill(0)).flush();
        }),
        main_item(|w| {
            w.end_of_section().footer(2);
        }),
        main_item(|w| {
            w.full(4, ("timer", 0), 1).raw(&[1, 2, 3]).footer(4).eof();
        }),
    ];
    let first = vec![
        init(0),
        sync(0),
        ram(2, &[0, 1, 2], &[3], 0xa1),
        sync(4),
        ram(6, &[1, 3], &[], 0xa2),
        sync(8),
        device(1, Buffer::CONFIG, b"config"),
    ];
    let second = vec![
        init(1),
        sync(1),
        ram(3, &[4, 5, 9], &[], 0xb1),
        sync(5),
        ram(7, &[2, 0], &[4], 0xb2),
        device(0, 0, b"data"),
        sync(9),
    ];
    let mut memory = vec![0; 16 * PAGE as usize];
    let fills = [(0, 0xb2), (1, 0xa2), (2, 0xb2), (3, 0xa2), (5, 0xb1)];
    for (page, fill) in fills {
        let at = page * PAGE as usize;
        memory[at..at + PAGE as usize].copy_from_slice(&[fill, page as u8].repeat(2048));
    }
    Migration { main, channels: [first, second], memory, ended: [true; 3] }
}

impl Migration {
    fn connections(&self) -> [Vec<u8>; 3] {
        [self.main.concat(), self.channels[0].concat(), self.channels[1].concat()]
    }

    fn write(&self, folder: &Path) {
        write(folder, &self.connections(), &self.ended);
    }

    fn judged(&self) -> Report {
        let folder = TempDir::new().unwrap();
        self.write(folder.path());
        let image = folder.path().join("ram.img");
        fs::write(&image, &self.memory).unwrap();
        judged(folder.path(), &[(RAM.to_owned(), image)]).unwrap()
    }
}

fn write(folder: &Path, connections: &[Vec<u8>], ended: &[bool]) {
    let mut index = String::from("seq,t_us,conn,dir,off,len\n");
    let mut seq = 0..;
    let mut row = |rest: &str| writeln!(index, "{},0,{rest}", seq.next().unwrap()).unwrap();
    for (number, bytes) in connections.iter().enumerate() {
        fs::write(folder.join(format!("conn{number}.bin")), bytes).unwrap();
        row(&format!("{number},>,0,OPEN"));
        row(&format!("{number},>,0,{}", bytes.len()));
        if ended[number] {
            row(&format!("{number},>,{},EOF", bytes.len()));
        }
    }
    fs::write(folder.join("index.csv"), index).unwrap();
}

static LIBRARY: LazyLock<Library> = LazyLock::new(|| Library::builtin().unwrap());

fn judged(folder: &Path, memory: &[(String, PathBuf)]) -> Result<Report, Error> {
    let memory = Memory::of(memory)?;
    judge::judge(Recording::open(folder)?, &LIBRARY, None, memory)
}

fn clauses(report: &Report) -> Vec<&str> {
    let clauses = report.violations.iter();
    clauses.map(|violation| violation.clause.strip_prefix("multifd.").unwrap()).collect()
}

#[test]
fn a_healthy_migration_is_conformant() {
    let report = healthy().judged();
    assert_eq!(report.verdict, Verdict::Conformant, "{}", report.text());
    assert_eq!((report.mode, report.version.as_str()), (Mode::PerRound, "10.0"));
    assert_eq!((report.channels, report.epochs, report.packets), (2, 3, 12));
    assert_eq!((report.pages, report.zero_pages, report.duplicates), (13, 3, 0));
    assert_eq!(report.memory, Some(true));
    let [device] = &report.devices[..] else { panic!("{:?}", report.devices) };
    assert_eq!((device.id.as_str(), device.buffers, device.config_index), (VFIO, 2, Some(1)));
    insta::assert_snapshot!(report.text());
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

/// The migration taken apart, from a recording of it.
fn taken_apart(migration: &Migration) -> Pieces {
    let folder = TempDir::new().unwrap();
    migration.write(folder.path());
    Pieces::of(&Recording::open(folder.path()).unwrap()).unwrap()
}

/// The verdict on a migration that was taken apart, against the memory of the source.
fn judged_again(pieces: &Pieces, memory: &[u8]) -> Report {
    let folder = TempDir::new().unwrap();
    let (connections, ended): (Vec<_>, Vec<_>) = pieces.connections().into_iter().unzip();
    write(folder.path(), &connections, &ended);
    let image = folder.path().join("ram.img");
    fs::write(&image, memory).unwrap();
    judged(folder.path(), &[(RAM.to_owned(), image)]).unwrap()
}

#[test]
fn a_migration_is_taken_apart_without_loss() {
    let whole = healthy();
    let mut cut = healthy();
    cut.channels[0].truncate(4);
    cut.channels[1][5].truncate(40);
    for migration in [whole, cut] {
        let connections = taken_apart(&migration).connections();
        let bytes: Vec<_> = connections.into_iter().map(|(bytes, _)| bytes).collect();
        assert_eq!(bytes, migration.connections());
    }
}

#[test]
fn each_fault_violates_its_clause() {
    let mut lines = String::new();
    let (migration, mut names) = (healthy(), BTreeSet::new());
    for fault in FAULTS {
        let (name, mut pieces) = (fault.name, taken_apart(&migration));
        assert!(names.insert(name), "{name} is there twice");
        assert!(fault.apply(&mut pieces), "{name} finds nothing to change");
        let report = judged_again(&pieces, &migration.memory);
        assert_eq!(report.verdict, Verdict::Violated, "{name}: {}", report.text());
        let clause = fault.clause.strip_prefix("multifd.").unwrap();
        let found = clauses(&report);
        assert!(found.contains(&clause), "{name}: {}", report.text());
        writeln!(lines, "{name}: {}", found.join(" ")).unwrap();
        for violation in &report.violations {
            writeln!(lines, "    {}: {}", violation.conn, violation.message).unwrap();
        }
    }
    // Every clause beside what is asked for is read by hand.
    insta::assert_snapshot!(lines);
}

/// Every clause about a source that a stream can show is violated by some fault.
#[test]
fn every_clause_has_a_fault() {
    let clauses = LIBRARY.spec.clauses().iter();
    let shown = clauses.filter(|clause| clause.party == "source" && clause.observable());
    // A file with mapped-ram has a test of its own.
    let of = |id: &&str| id.starts_with("multifd.") && !id.starts_with("multifd.mapped-ram.");
    let ids = shown.map(|clause| clause.id.as_str()).filter(of);
    let without: Vec<_> = ids.filter(|id| FAULTS.iter().all(|fault| fault.clause != *id)).collect();
    assert!(without.is_empty(), "{without:?}");
}

/// Wherever a migration is cut, and its connections have no end, it is truncated and nobody is accused.
#[test]
fn a_migration_without_its_end_is_truncated() {
    let whole = healthy().connections();
    for (cut, bytes) in whole.iter().enumerate() {
        for left in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
            let mut connections = whole.clone();
            connections[cut].truncate(left);
            let mut ended = [true; 3];
            ended[cut] = false;
            let folder = TempDir::new().unwrap();
            write(folder.path(), &connections, &ended);
            match judged(folder.path(), &[]) {
                Ok(report) => {
                    let shown = report.text();
                    assert_eq!(clauses(&report), [""; 0], "{cut} {left}: {shown}");
                    assert_eq!(report.verdict, Verdict::Truncated, "{cut} {left}: {shown}");
                }
                Err(error) => assert!(cut == 0 && left < 4, "{cut} {left}: {error}"),
            }
        }
    }
}

/// A source of 7.2: sections are synchronised, a SYNC rides on pages, numbers repeat.
#[test]
fn an_old_source_is_judged_by_its_version() {
    let mut migration = healthy();
    migration.main[0] = MainWriter::new("pc-q35-7.2").bytes;
    migration.main.remove(2);
    migration.main.remove(3);
    migration.main[4] = main_item(|w| {
        w.page(Some(RAM), 9 * PAGE, PageForm::Fill(0));
    });
    let mut riding = ram(2, &[0, 1, 2], &[3], 0xa1);
    put(&mut riding, 8, flag::SYNC);
    migration.channels[0][2] = riding;
    put(&mut migration.channels[0][3], 8, 0);
    put(&mut migration.channels[0][3], NUMBER + 4, 2);
    let report = migration.judged();
    assert_eq!(report.verdict, Verdict::Conformant, "{}", report.text());
    assert_eq!((report.mode, report.version.as_str()), (Mode::PerSection, "7.2"));
    assert_eq!((report.epochs, report.memory), (3, Some(true)));
    migration.channels[1].remove(3);
    assert_eq!(clauses(&migration.judged()), ["sync.every-channel"]);
}

/// Packs the pages of all packets of a channel as one stream, by the flag of a method.
fn packed(channel: &mut [Vec<u8>], method: u32) {
    let mut zlib = flate2::Compress::new(flate2::Compression::fast(), true);
    let mut zstd = zstd::stream::raw::Encoder::new(1).unwrap();
    let header = PageSize::FOUR_KIB.header();
    let with_pages = |packet: &&mut Vec<u8>| packet.len() > header && packet[11] == 0;
    for packet in channel.iter_mut().filter(with_pages) {
        let pages = packet.split_off(header);
        let mut out = Vec::with_capacity(1 << 20);
        if method == 2 {
            zlib.compress_vec(&pages, &mut out, flate2::FlushCompress::Sync).unwrap();
        } else {
            out.resize(1 << 20, 0);
            let mut to = OutBuffer::around(&mut out[..]);
            zstd.run(&mut InBuffer::around(&pages), &mut to).unwrap();
            assert_eq!(zstd.flush(&mut to).unwrap(), 0);
            let length = to.pos();
            out.truncate(length);
        }
        put(packet, 8, method);
        put(packet, SIZE, out.len() as u32);
        packet.extend(out);
    }
}

#[test]
fn compressed_pages_are_compared_too() {
    for method in [2, 4] {
        let mut migration = healthy();
        migration.channels.iter_mut().for_each(|channel| packed(channel, method));
        let report = migration.judged();
        assert_eq!(report.verdict, Verdict::Conformant, "{method}: {}", report.text());
        assert_eq!(report.memory, Some(true));
        // A stream that goes on without what came before.
        migration.channels[0].swap(2, 4);
        let found = migration.judged();
        assert_eq!(found.verdict, Verdict::Violated, "{method}");
        migration = healthy();
        migration.channels.iter_mut().for_each(|channel| packed(channel, method));
        put(&mut migration.channels[0][4], NORMAL, 1);
        let report = migration.judged();
        assert!(clauses(&report).contains(&"packet.unpacked"), "{method}: {}", report.text());
    }
}

#[test]
fn what_is_not_a_recording_says_so() {
    type Case = (&'static str, fn(&Path), &'static str);
    let cases: [Case; 8] = [
        ("no index", |f| fs::remove_file(f.join("index.csv")).unwrap(), "has no index.csv"),
        ("a gap", |f| edit(f, "1,0,0,>,0,", "1,0,0,>,5,"), "begins at 5, not at 0"),
        ("a row missing", |f| edit(f, "1,0,0,>", "2,0,0,>"), "row 1 is missing"),
        ("another header", |f| edit(f, "t_us", "us"), "line 1"),
        ("text", |f| fs::write(f.join("index.csv"), [0xff; 5000]).unwrap(), "line 1"),
        ("two mains", |f| drop(fs::copy(f.join("conn0.bin"), f.join("conn1.bin"))), "two main"),
        ("no main", |f| fs::write(f.join("conn0.bin"), [0; 90]).unwrap(), "begins with QEVM"),
        ("a file missing", |f| fs::remove_file(f.join("conn2.bin")).unwrap(), "no conn2.bin"),
    ];
    for (name, change, expected) in cases {
        let folder = TempDir::new().unwrap();
        healthy().write(folder.path());
        change(folder.path());
        let error = judged(folder.path(), &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

/// Files that must not be read to their end, or waited for.
#[test]
fn what_is_no_regular_file_is_not_read() {
    for name in ["index.csv", "conn0.bin", "conn1.bin", "conn0.rev.bin", "ram.img"] {
        let folder = TempDir::new().unwrap();
        let migration = healthy();
        migration.write(folder.path());
        let image = folder.path().join("ram.img");
        fs::write(&image, &migration.memory).unwrap();
        let path = folder.path().join(name);
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        let error = judged(folder.path(), &[(RAM.to_owned(), image)]).unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{name}: {error}");
    }
}

fn edit(folder: &Path, from: &str, to: &str) {
    let path = folder.join("index.csv");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Any bytes on any connection: a verdict, never a panic.
#[test]
fn any_bytes_have_a_verdict() {
    let mut seed = 1_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below
    };
    let whole = healthy().connections();
    let folder = TempDir::new().unwrap();
    for _ in 0..400 {
        let mut connections = whole.clone();
        for _ in 0..=random(4) {
            let bytes = &mut connections[random(3)];
            let (at, count) = (random(bytes.len()), random(9));
            match random(3) {
                0 => bytes.iter_mut().skip(at).take(count).for_each(|b| *b = random(256) as u8),
                1 => drop(bytes.drain(at..(at + count).min(bytes.len()))),
                _ => bytes.splice(at..at, (0..count).map(|_| random(256) as u8)).for_each(drop),
            }
        }
        write(folder.path(), &connections, &[true; 3]);
        if let Ok(report) = judged(folder.path(), &[]) {
            assert_eq!(report.verdict == Verdict::Violated, !report.violations.is_empty());
        }
    }
}

/// A relay that runs, and the folder that it works in.
struct Watched {
    folder: TempDir,
    process: Child,
}

impl Watched {
    /// Starts it between these addresses.
    fn start(folder: TempDir, listen: &str, connect: &str) -> Self {
        let process = Command::new(env!("CARGO_BIN_EXE_devmig"))
            .args(["watch", "multifd", "--format", "json", "--listen", listen])
            .args(["--connect", connect, "--record"])
            .arg(folder.path().join("capture"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Watched { folder, process }
    }

    fn capture(&self) -> PathBuf {
        self.folder.path().join("capture")
    }

    /// What it says in the end, and its exit code.
    fn end(&mut self) -> (serde_json::Value, Option<i32>) {
        let mut text = String::new();
        self.process.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let code = self.process.wait().unwrap().code();
        (serde_json::from_str(&text).unwrap_or_else(|_| panic!("{code:?} {text}")), code)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Sends these bytes on connections of their own, through a relay: what arrived.
fn relayed<S: Read + Write, D: Read + Send + 'static>(
    connections: &[Vec<u8>],
    mut connect: impl FnMut() -> S,
    mut accept: impl FnMut() -> D,
) -> Vec<Vec<u8>> {
    let mut sources = Vec::new();
    let mut received = Vec::new();
    for bytes in connections {
        let mut source = connect();
        let mut accepted = accept();
        received.push(std::thread::spawn(move || {
            let mut bytes = Vec::new();
            accepted.read_to_end(&mut bytes).unwrap();
            bytes
        }));
        source.write_all(bytes).unwrap();
        sources.push(source);
    }
    drop(sources);
    received.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// A relay between a source and a destination: what arrives is what was sent, and the recording is judged.
#[test]
fn what_is_watched_is_judged() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (from, to) = (path("source"), path("destination"));
    let destination = UnixListener::bind(&to).unwrap();
    let mut watched = Watched::start(folder, from.to_str().unwrap(), to.to_str().unwrap());
    let connections = healthy().connections();
    let accept = || {
        let (accepted, _) = destination.accept().unwrap();
        accepted.set_read_timeout(Some(LIMIT)).unwrap();
        accepted
    };
    assert_eq!(relayed(&connections, || connect(&from), accept), connections);
    let (report, code) = watched.end();
    assert_eq!((report["verdict"].as_str(), code), (Some("conformant"), Some(0)), "{report}");
    assert_eq!(judged(&watched.capture(), &[]).unwrap().packets, 12);
}

/// The same over TCP.
#[test]
fn what_is_watched_over_tcp_is_judged() {
    let destination = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = destination.local_addr().unwrap().to_string();
    let from = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut watched = Watched::start(TempDir::new().unwrap(), &from, &to);
    let connections = healthy().connections();
    let connect = || within(|| TcpStream::connect(&from));
    let accept = || {
        let (accepted, _) = destination.accept().unwrap();
        accepted.set_read_timeout(Some(LIMIT)).unwrap();
        accepted
    };
    assert_eq!(relayed(&connections, connect, accept), connections);
    let (report, code) = watched.end();
    assert_eq!((report["verdict"].as_str(), code), (Some("conformant"), Some(0)), "{report}");
}

/// An interrupt ends the connections and leaves a recording that can be read: the migration has no end, and
/// nobody is accused.
#[test]
fn an_interrupt_leaves_a_complete_recording() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (from, to) = (path("source"), path("destination"));
    let destination = UnixListener::bind(&to).unwrap();
    let mut watched = Watched::start(folder, from.to_str().unwrap(), to.to_str().unwrap());
    let sent: Vec<Vec<u8>> = healthy().connections().to_vec();
    let mut open = Vec::new();
    for bytes in &sent {
        let mut source = connect(&from);
        let (mut accepted, _) = destination.accept().unwrap();
        accepted.set_read_timeout(Some(LIMIT)).unwrap();
        // The last byte is kept back, so that nothing ends by itself.
        let bytes = &bytes[..bytes.len() - 1];
        source.write_all(bytes).unwrap();
        let mut arrived = vec![0; bytes.len()];
        accepted.read_exact(&mut arrived).unwrap();
        assert_eq!(arrived, bytes);
        open.push((source, accepted));
    }
    let process = rustix::process::Pid::from_child(&watched.process);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    let (report, code) = watched.end();
    assert_eq!((report["verdict"].as_str(), code), (Some("truncated"), Some(3)), "{report}");
    for (number, bytes) in sent.iter().enumerate() {
        let file = watched.capture().join(format!("conn{number}.bin"));
        assert_eq!(fs::read(file).unwrap(), bytes[..bytes.len() - 1]);
    }
    let index = fs::read_to_string(watched.capture().join("index.csv")).unwrap();
    assert_eq!(index.matches("OPEN").count(), 3, "{index}");
    assert!(index.ends_with('\n'), "{index}");
    let report = judged(&watched.capture(), &[]).unwrap();
    assert_eq!(report.verdict, Verdict::Truncated, "{}", report.text());
}

/// A file with mapped-ram, of 70 pages of which the first and the last are not zero, and the memory of the source.
fn mapped_ram() -> (Vec<u8>, Vec<u8>) {
    let (pages, length) = (0x10_0000, 70 * PAGE);
    let mut writer = MainWriter::new("pc-q35-10.0");
    writer.start(2, ("ram", 0), 4).raw(&(length | 4).to_be_bytes());
    writer.raw(&[6]).raw(RAM.as_bytes()).raw(&length.to_be_bytes());
    let bitmap = writer.bytes.len() as u64 + 28;
    writer.raw(&1_u32.to_be_bytes()).raw(&PAGE.to_be_bytes());
    writer.raw(&bitmap.to_be_bytes()).raw(&u64::to_be_bytes(pages));
    let mut bits = [0; 16];
    (bits[0], bits[8]) = (1, 1 << 5);
    writer.raw(&bits);
    let mut file = writer.bytes;
    let mut memory = vec![0; length as usize];
    file.resize(pages as usize, 0);
    for page in [0, 69] {
        memory[page * PAGE as usize..][..PAGE as usize].fill(page as u8 + 1);
    }
    file.extend(&memory);
    // What a page whose bit is clear had before.
    file[pages as usize + PAGE as usize] = 7;
    file.extend(main_item(|w| {
        w.end_of_section().footer(2).eof();
    }));
    (file, memory)
}

fn judged_file(file: &[u8], memory: &[u8]) -> Result<Report, Error> {
    let folder = TempDir::new().unwrap();
    let (path, image) = (folder.path().join("state"), folder.path().join("ram.img"));
    fs::write(&path, file).unwrap();
    fs::write(&image, memory).unwrap();
    let memory = Memory::of(&[(RAM.to_owned(), image)])?;
    mapped_ram::judge(&path, &LIBRARY, None, memory)
}

#[test]
fn a_file_with_mapped_ram_is_judged() {
    let (file, memory) = mapped_ram();
    let report = judged_file(&file, &memory).unwrap();
    assert_eq!(report.verdict, Verdict::Conformant, "{}", report.text());
    assert_eq!((report.mode, report.memory), (Mode::MappedRam, Some(true)));
    assert_eq!((report.pages, report.zero_pages), (70, 68));
    let header = file.windows(6).position(|bytes| bytes == RAM.as_bytes()).unwrap() + 14;
    let with = |at: usize, value: u8| {
        let mut file = file.clone();
        file[at] = value;
        judged_file(&file, &memory).unwrap()
    };
    for (at, value, clause) in [
        (header + 3, 2, "mapped-ram.header"),
        (header + 10, 0x20, "mapped-ram.header"),
        (header + 19, 0, "mapped-ram.inside"),
        (header + 12, 0xff, "mapped-ram.inside"),
        (header + 27, 1, "mapped-ram.inside"),
        (header + 28 + 8, 0xff, "mapped-ram.marked"),
        (header + 28, 3, "memory.as-source"),
        (header + 28, 0, "memory.as-source"),
        (0x10_0000 + 5, 9, "memory.as-source"),
        (header - 16, 8, "main.followed"),
    ] {
        let report = with(at, value);
        assert_eq!(clauses(&report), [clause], "{at} {value}: {}", report.text());
    }
    for left in (0..file.len() - 20).step_by(40_093).chain(8..header + 50) {
        match judged_file(&file[..left], &memory) {
            Ok(report) => assert_eq!(report.verdict, Verdict::Truncated, "{left}"),
            Err(error) => assert!(left < 8, "{left}: {error}"),
        }
    }
    assert!(judged_file(b"anything else", &memory).is_err());
}

/// What a SYNC that is missing leads to is not listed, and is said not to be.
#[test]
fn what_may_follow_from_a_missing_sync_is_said() {
    let migration = healthy();
    let mut pieces = taken_apart(&migration);
    let fault = FAULTS.iter().find(|fault| fault.name == "sync-dropped").unwrap();
    assert!(fault.apply(&mut pieces));
    let report = judged_again(&pieces, &migration.memory);
    let said = report.notes.iter().any(|note| note.contains("multifd.sync.page-once"));
    assert!(said, "{:?}", report.notes);
}

/// A channel whose end was not recorded may have sent more: what is missing is not a violation, what is there is
/// judged.
#[test]
fn a_channel_without_an_end_is_judged_as_far_as_it_goes() {
    let mut migration = healthy();
    migration.ended[2] = false;
    migration.channels[1].pop();
    let report = migration.judged();
    assert_eq!(report.verdict, Verdict::Truncated, "{}", report.text());
    migration.channels[1][2][OFFSET + 7] = 1;
    assert_eq!(clauses(&migration.judged()), ["packet.offset"]);
}

const LIMIT: Duration = Duration::from_secs(20);

fn connect(to: &Path) -> UnixStream {
    within(|| UnixStream::connect(to))
}

/// What comes in time.
fn within<T>(mut f: impl FnMut() -> io::Result<T>) -> T {
    let begun = Instant::now();
    loop {
        match f() {
            Ok(it) => return it,
            Err(error) => assert!(begun.elapsed() < LIMIT, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn exit_codes_say_the_verdict() {
    let folder = TempDir::new().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
        command.arg("replay").arg("multifd").arg(folder.path()).args(arguments);
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(run(&[]).0, 2);
    let mut migration = healthy();
    migration.write(folder.path());
    let image = folder.path().join("ram.img");
    fs::write(&image, &migration.memory).unwrap();
    let option = format!("--source-ram={RAM}={}", image.display());
    let (code, text) = run(&[&option, "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, report["verdict"].as_str()), (0, Some("conformant")));
    assert_eq!(report["devices"][0]["config_index"], 1);
    fs::write(&image, [0; 7]).unwrap();
    assert_eq!(run(&[&option]).0, 2);
    assert_eq!(run(&["--spec-version", "1.0"]).0, 2);
    migration.main.pop();
    migration.ended[0] = false;
    migration.write(folder.path());
    assert_eq!(run(&[]).0, 3);
    migration.channels[0].insert(3, migration.channels[0][2].clone());
    migration.write(folder.path());
    assert_eq!(run(&[]).0, 1);
}
