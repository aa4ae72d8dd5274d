//! Recorded migrations, made by hand: a healthy one is conformant, and each fault violates its clause.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use devmig_conformance::multifd::faults::{FAULTS, REORDERINGS};
use devmig_conformance::multifd::judge::{self, Error};
use devmig_conformance::multifd::mapped_ram;
use devmig_conformance::multifd::memory::Memory;
use devmig_conformance::multifd::pieces::Pieces;
use devmig_conformance::multifd::recording::Recording;
use devmig_conformance::multifd::report::{Dir, Report, Verdict};
use devmig_conformance::multifd::survey::Mode;
use devmig_model::protocol::multifd::wire::{
    Buffer, DevicePacket, Init, MainWriter, Name, PageForm, PageSize, RamPacket, ReturnMessage,
    command, flag, vfio_tag,
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
    judged_by(pieces, memory, None)
}

/// The same by this version.
fn judged_by(pieces: &Pieces, memory: &[u8], version: Option<&str>) -> Report {
    let folder = TempDir::new().unwrap();
    let (connections, ended): (Vec<_>, Vec<_>) = pieces.connections().into_iter().unzip();
    write(folder.path(), &connections, &ended);
    let image = folder.path().join("ram.img");
    fs::write(&image, memory).unwrap();
    let memory = Memory::of(&[(RAM.to_owned(), image)]).unwrap();
    let recording = Recording::open(folder.path()).unwrap();
    judge::judge(recording, &LIBRARY, version, memory).unwrap()
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
        // A clause that a later version brought is judged by that version.
        let since = LIBRARY.spec.clause(fault.clause).unwrap();
        let newer = LIBRARY.spec.judged_by(judge::DOCUMENT, "10.0").unwrap().off.contains(since);
        let report = judged_by(&pieces, &migration.memory, newer.then_some("11.1"));
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

/// No bit of a field is free: whichever is another one, a clause is violated.
#[test]
fn every_field_of_a_packet_is_judged() {
    let migration = healthy();
    let mut free = Vec::new();
    for (channel, packets) in migration.channels.iter().enumerate() {
        for (place, packet) in packets.iter().enumerate() {
            let pages = || (packet[NORMAL + 3] + packet[35]) as usize;
            let fields: Vec<usize> = match packet.len() {
                64 => (0..25).collect(),
                _ if packet[11] == flag::DEVICE_STATE as u8 => {
                    (0..12 + VFIO.len()).chain(268..288).collect()
                }
                // A SYNC packet without pages has no block.
                _ if pages() == 0 => (0..36).collect(),
                _ => {
                    // The byte that is left out tells the pages of the block apart: another one is as good.
                    let offsets = (OFFSET..OFFSET + 8 * pages()).filter(|at| at % 8 != 6);
                    (0..36).chain(64..64 + RAM.len()).chain(offsets).collect()
                }
            };
            for at in fields {
                let mut changed = migration.clone();
                changed.channels[channel][place][at] ^= 1 << (at * 5 % 8);
                let report = changed.judged();
                if report.verdict != Verdict::Violated {
                    free.push((channel, place, at, report.verdict));
                }
            }
        }
    }
    assert!(free.is_empty(), "{free:?}");
}

/// A migration on the main stream alone: each page is sent whole, and then in this form.
fn one_by_one(form: PageForm, bytes: &[u8], expected: &[u8]) -> Report {
    let main = [
        MainWriter::new("pc-q35-10.0").bytes,
        main_item(|w| {
            w.start(2, ("ram", 0), 4).blocks(&[(RAM, 2 * PAGE)]);
            w.page(Some(RAM), 0, PageForm::Raw).raw(&[7; 4096]).page(None, PAGE, form).raw(bytes);
            w.page(None, 0, form).raw(bytes).end_of_section().footer(2).eof();
        }),
    ];
    let folder = TempDir::new().unwrap();
    write(folder.path(), &[main.concat()], &[true]);
    let image = folder.path().join("ram.img");
    fs::write(&image, expected).unwrap();
    judged(folder.path(), &[(RAM.to_owned(), image)]).unwrap()
}

#[test]
fn differences_are_applied_to_what_was_there() {
    // Three bytes stay, two are new; 256 stay, one is new.
    let difference = [3, 2, 0xa, 0xb, 0x80, 2, 1, 0xc];
    let form = PageForm::Xbzrle(difference.len() as u16);
    let mut memory = [vec![7; 4096], vec![0; 4096]].concat();
    for page in [0, 4096] {
        memory[page + 3..page + 5].copy_from_slice(&[0xa, 0xb]);
        memory[page + 261] = 0xc;
    }
    let report = one_by_one(form, &difference, &memory);
    assert_eq!((report.verdict, report.memory), (Verdict::Conformant, Some(true)));
    // The page that the difference is about decides.
    memory[2] ^= 1;
    let report = one_by_one(form, &difference, &memory);
    assert_eq!(clauses(&report), ["memory.as-source"], "{}", report.text());
    // What is no difference is a violation of each of both pages, and memory is not compared.
    for broken in [&difference[..7], &[0, 0], &[3], &[0x80, 0x80, 1]] {
        let report = one_by_one(PageForm::Xbzrle(broken.len() as u16), broken, &memory);
        assert_eq!(clauses(&report), ["main.unpacked"; 2], "{broken:x?}: {}", report.text());
        assert_eq!(report.memory, None);
    }
    let empty = one_by_one(PageForm::Xbzrle(0), &[], &[vec![7; 4096], vec![0; 4096]].concat());
    assert_eq!((empty.verdict, empty.memory), (Verdict::Conformant, Some(true)));
}

/// Until 9.0, with the capability `compress`: each page by itself.
#[test]
fn compressed_pages_of_the_main_stream_are_unpacked() {
    let page: Vec<u8> = (0..4096_u32).map(|at| ((at * at) >> 3) as u8).collect();
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&page).unwrap();
    let packed = encoder.finish().unwrap();
    let form = PageForm::Compressed(packed.len() as u32);
    let report = one_by_one(form, &packed, &page.repeat(2));
    assert_eq!((report.verdict, report.memory), (Verdict::Conformant, Some(true)));
    let short = &packed[..packed.len() / 2];
    for broken in [short, &[], &packed[1..]] {
        let form = PageForm::Compressed(broken.len() as u32);
        let report = one_by_one(form, broken, &page.repeat(2));
        assert_eq!(clauses(&report), ["main.unpacked"; 2], "{}", report.text());
    }
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
    let mut described = healthy();
    described.main.push(main_item(|w| {
        w.description(&[b"{\"devices\": [] ".as_slice(), &[b' '; 300], b"}"].concat());
    }));
    let whole = described.connections();
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
    let cases: [Case; 11] = [
        ("a file", |f| drop(fs::remove_dir_all(f)), "not a folder"),
        ("no index", |f| fs::remove_file(f.join("index.csv")).unwrap(), "has no index.csv"),
        ("a gap", |f| edit(f, "1,0,0,>,0,", "1,0,0,>,5,"), "begins at 5, not at 0"),
        ("a row missing", |f| edit(f, "1,0,0,>", "2,0,0,>"), "row 1 is missing"),
        ("another header", |f| edit(f, "t_us", "us"), "line 1"),
        ("text", |f| fs::write(f.join("index.csv"), [0xff; 5000]).unwrap(), "line 1"),
        ("stray", |f| fs::write(f.join("conn99.bin"), "").unwrap(), "there is a conn99.bin, "),
        (
            "stray return path",
            |f| fs::write(f.join("conn99.rev.bin"), "").unwrap(),
            "there is a conn99.rev.bin, and the index does not list connection 99",
        ),
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

/// `devmig watch multifd` between two sockets of a folder, with these arguments.
fn watching(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
    command.args(["watch", "multifd", "--listen"]).arg(folder.join("source"));
    command.arg("--connect").arg(folder.join("destination")).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What is wrong is said while the connections are open, and again at the end.
#[test]
fn a_violation_is_said_at_once() {
    let folder = TempDir::new().unwrap();
    let destination = UnixListener::bind(folder.path().join("destination")).unwrap();
    // The recording is in a temporary folder.
    let mut process = watching(folder.path(), &[]).spawn().unwrap();
    let mut connections = healthy().connections();
    connections[2][7] = 9;
    let mut open = Vec::new();
    for bytes in &connections {
        let mut source = connect(&folder.path().join("source"));
        let (mut accepted, _) = destination.accept().unwrap();
        let reader = std::thread::spawn(move || drop(io::copy(&mut accepted, &mut io::sink())));
        source.write_all(bytes).unwrap();
        open.push((source, reader));
    }
    let (tell, lines) = std::sync::mpsc::channel();
    let output = io::BufReader::new(process.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        output.lines().map_while(Result::ok).for_each(|line| drop(tell.send(line)));
    });
    let said = "violated: multifd.init.version";
    let wait = || std::iter::from_fn(|| lines.recv_timeout(LIMIT).ok());
    assert!(wait().any(|line| line == said), "nothing was said");
    assert!(process.try_wait().unwrap().is_none());
    for (source, reader) in open {
        drop(source);
        reader.join().unwrap();
    }
    let rest: Vec<_> = wait().collect();
    assert!(rest.iter().any(|line| line == said), "{rest:#?}");
    assert!(rest.iter().any(|line| line == "verdict: violated"), "{rest:#?}");
    assert_eq!(process.wait().unwrap().code(), Some(1));
    reader.join().unwrap();
}

/// A recording that cannot grow: the connections are ended, and why is said. Nothing waits for ever.
#[test]
fn a_full_disk_ends_the_migration() {
    let folder = TempDir::new().unwrap();
    let destination = UnixListener::bind(folder.path().join("destination")).unwrap();
    let record = folder.path().join("capture");
    let inner = watching(folder.path(), &["--record", record.to_str().unwrap()]);
    // A limit of the size of files does what a full disk does.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$@\"", "sh"]);
    command.arg(inner.get_program()).args(inner.get_args());
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut source = connect(&folder.path().join("source"));
    source.set_write_timeout(Some(LIMIT)).unwrap();
    let (mut accepted, _) = destination.accept().unwrap();
    accepted.set_read_timeout(Some(LIMIT)).unwrap();
    let reader = std::thread::spawn(move || io::copy(&mut accepted, &mut io::sink()).unwrap());
    let sent = source.write_all(&[0x51; 1 << 20]);
    assert!(sent.is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock));
    assert!(reader.join().unwrap() < 1 << 20);
    let mut words = String::new();
    process.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    assert_eq!(process.wait().unwrap().code(), Some(4), "{words}");
    assert!(words.contains("conn0.bin: File too large"), "{words}");
}

/// A relay that recorded nothing leaves nothing in the way of the next, and one that recorded is not overwritten.
#[test]
fn only_a_recording_stays() {
    let folder = TempDir::new().unwrap();
    let record = folder.path().join("capture");
    let arguments = ["--record", record.to_str().unwrap()];
    for _ in 0..2 {
        let process = watching(folder.path(), &arguments).spawn().unwrap();
        drop(connect(&folder.path().join("source")));
        let output = process.wait_with_output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(words.contains("no connection to"), "{words}");
        assert_eq!(output.status.code(), Some(4));
        assert!(!record.join("index.csv").exists());
    }
    healthy().write(&record);
    let output = watching(folder.path(), &arguments).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("holds a recording"), "{words}");
    assert_eq!(output.status.code(), Some(2));
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

/// The part of the configuration that names a capability.
fn capability(writer: &mut MainWriter, name: &str) {
    writer.raw(b"\x05\x1aconfiguration/capabilities\0\0\0\x01\0\0\0\x01");
    writer.raw(&[name.len() as u8]).raw(name.as_bytes());
}

/// A file with mapped-ram, of 70 pages of which the first and the last are not zero, and the memory of the source.
fn mapped_ram() -> (Vec<u8>, Vec<u8>) {
    let (pages, length) = (0x10_0000, 70 * PAGE);
    let mut writer = MainWriter::new("pc-q35-10.0");
    capability(&mut writer, "mapped-ram");
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
    let tail = file.len() - 200..file.len();
    for left in (0..file.len() - 20).step_by(40_093).chain(8..header + 50).chain(tail) {
        match judged_file(&file[..left], &memory) {
            Ok(report) => assert_eq!(report.verdict, Verdict::Truncated, "{left}"),
            Err(error) => assert!(left < 8, "{left}: {error}"),
        }
    }
    let mut unknown = file.clone();
    unknown.extend([0x55; 3]);
    assert_eq!(clauses(&judged_file(&unknown, &memory).unwrap()), ["main.followed"]);
    assert!(judged_file(b"anything else", &memory).is_err());
    // A file of the same form whose pages are in the stream.
    let mut plain = MainWriter::new("pc-q35-10.0");
    plain.start(2, ("ram", 0), 4).blocks(&[(RAM, 70 * PAGE)]).end_of_section().footer(2).eof();
    let error = judged_file(&plain.bytes, &memory).unwrap_err().to_string();
    assert!(error.contains("without the capability mapped-ram"), "{error}");
}

/// With x-ignore-shared, a block of shared memory has no place in a file, and its memory is not compared.
#[test]
fn a_block_that_is_ignored_is_not_compared() {
    let mut writer = MainWriter::new("pc-q35-11.1");
    capability(&mut writer, "x-ignore-shared");
    writer.start(2, ("ram", 0), 4).raw(&((16 * PAGE) | 4).to_be_bytes());
    writer.raw(&[6]).raw(RAM.as_bytes()).raw(&(16 * PAGE).to_be_bytes()).raw(&[0; 8]);
    let mut mapped = MainWriter::new("pc-q35-11.1");
    let two = [&1_u32.to_be_bytes()[..], b"\x0fx-ignore-shared", b"\x0amapped-ram"].concat();
    mapped.raw(b"\x05\x1aconfiguration/capabilities\0\0\0\x01\0\0\0\x02").raw(&two[4..]);
    mapped.start(2, ("ram", 0), 4).raw(&((16 * PAGE) | 4).to_be_bytes());
    mapped.raw(&[6]).raw(RAM.as_bytes()).raw(&(16 * PAGE).to_be_bytes()).raw(&[0; 8]);
    mapped.raw(&1_u32.to_be_bytes()).raw(&PAGE.to_be_bytes()).raw(&[0; 16]);
    for writer in [&mut writer, &mut mapped] {
        writer.end_of_section().footer(2).eof();
    }
    let memory = vec![5; 16 * PAGE as usize];
    let file = judged_file(&mapped.bytes, &memory).unwrap();
    let folder = TempDir::new().unwrap();
    write(folder.path(), &[writer.bytes], &[true]);
    let image = folder.path().join("ram.img");
    fs::write(&image, &memory).unwrap();
    let stream = judged(folder.path(), &[(RAM.to_owned(), image)]).unwrap();
    for report in [file, stream] {
        assert_eq!(report.verdict, Verdict::Conformant, "{}", report.text());
        assert_eq!(report.memory, None);
        assert!(report.notes.iter().any(|note| note.contains("x-ignore-shared")));
    }
}

/// A migration with postcopy, and what passed beside its main stream and its channels.
fn with_postcopy(begin: u16) -> Migration {
    let mut migration = healthy();
    let pages = [4096_u64.to_be_bytes(); 2].concat();
    let advise = main_item(|w| {
        w.command(begin, &pages);
    });
    migration.main.insert(1, advise);
    migration
}

/// Connections that are not channels are known by what they begin with: they are judged as what they are.
#[test]
fn a_connection_beside_the_channels_is_not_a_channel() {
    let asked = main_item(|w| {
        w.page(Some(RAM), 6 * PAGE, PageForm::Fill(0)).page(None, 7 * PAGE, PageForm::Fill(0));
    });
    let outside = main_item(|w| {
        w.page(Some(RAM), 99 * PAGE, PageForm::Fill(0));
    });
    let rest = main_item(|w| {
        w.command(command::OPEN_RETURN_PATH, &[]).end(2).end_of_section().footer(2).eof();
    });
    let judge = |migration: &Migration, more: &[u8]| {
        let folder = TempDir::new().unwrap();
        let connections = [&migration.connections()[..], &[more.to_vec()]].concat();
        write(folder.path(), &connections, &[true; 4]);
        judged(folder.path(), &[]).unwrap()
    };
    let with = with_postcopy(command::POSTCOPY_ADVISE);
    let report = judge(&with, &asked);
    assert_eq!(report.verdict, Verdict::Conformant, "{}", report.text());
    assert_eq!((report.channels, report.pages), (2, 15));
    for cut in 0..asked.len() {
        let report = judge(&with, &asked[..cut]);
        assert!(cut < 8 || clauses(&report).is_empty(), "{cut}: {}", report.text());
    }
    let report = judge(&with, &outside);
    assert_eq!(clauses(&report), ["main.block"], "{}", report.text());
    assert_eq!(report.violations[0].conn, 3);
    assert!(!report.violations[0].bytes.is_empty());
    let report = judge(&with, &rest);
    assert_eq!(report.verdict, Verdict::Truncated, "{}", report.text());
    // Without postcopy, the same is a channel that begins wrongly.
    for more in [&asked, &rest] {
        let more = [&more[..], &[0; 64]].concat();
        assert!(clauses(&judge(&healthy(), &more)).contains(&"init.magic"));
    }
    let mut wrong = with;
    wrong.channels[0][0][0] = 0x12;
    assert!(clauses(&judge(&wrong, &asked)).contains(&"init.magic"));
}

/// What follows the end of the sections: their description, nothing, COLO's messages, or something wrong.
#[test]
fn what_follows_the_end_is_known_or_wrong() {
    let judge = |more: &[u8]| {
        let mut migration = healthy();
        migration.main.push(more.to_vec());
        migration.judged()
    };
    let description = main_item(|w| {
        w.description(b"{\"devices\": []}");
    });
    assert_eq!(judge(&description).verdict, Verdict::Conformant);
    let colo = judge(&[0, 0, 0, 1, 9, 9, 9]);
    assert_eq!(colo.verdict, Verdict::Conformant);
    assert!(colo.notes.iter().any(|note| note.contains("goes on after its end")), "{colo:?}");
    for wrong in [&[1, 2, 3][..], b"QEVM", &[&description[..], &[4]].concat()] {
        assert_eq!(clauses(&judge(wrong)), ["main.followed"]);
    }
    // Checkpoints go on in the channels, and are judged only where nothing says that they are checkpoints.
    let mut checkpoint = healthy();
    checkpoint.channels[0].extend([ram(10, &[1], &[], 0xa4), sync(12)]);
    assert!(clauses(&checkpoint.judged()).contains(&"sync.marked"));
    checkpoint.main.push(vec![0, 0, 0, 1]);
    let report = checkpoint.judged();
    assert_eq!(report.verdict, Verdict::Conformant, "{}", report.text());
    // What comes before the end is judged.
    checkpoint.channels[0][2] = ram(2, &[0, 1, 1], &[3], 0xa1);
    assert_eq!(clauses(&checkpoint.judged()), ["sync.page-once"]);
    let mut empty = healthy();
    empty.main = vec![b"QEVM\0\0\0\x03\0".to_vec()];
    assert!(clauses(&empty.judged()).contains(&"main.followed"));
}

#[test]
fn a_migration_with_tls_says_so() {
    let folder = TempDir::new().unwrap();
    let hello = [&[0x16, 3, 1][..], &[7; 90]].concat();
    write(folder.path(), &[hello.clone(), hello], &[true; 2]);
    let error = judged(folder.path(), &[]).unwrap_err().to_string();
    assert!(error.contains("connection 0 is encrypted with TLS"), "{error}");
}

/// A recording that ends anywhere in time: some connections are not yet open, others have a part of what is
/// sent. Nobody is accused, so a migration can be judged while it goes on.
#[test]
fn a_recording_that_ends_at_any_time_accuses_nobody() {
    let mut migration = healthy();
    // Channels connect in any order.
    (migration.channels[0][0], migration.channels[1][0]) = (init(1), init(0));
    let connections = migration.connections();
    // Each connection has sent the same share of its bytes at a time, the channels a little more.
    let mut pieces = Vec::new();
    for step in 1..=60 {
        for number in [1, 2, 0] {
            pieces.push((number, connections[number].len() * step / 60));
        }
    }
    for now in 0..=pieces.len() {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for (number, bytes) in connections.iter().enumerate() {
            let end = pieces[..now].iter().rev().find(|(n, _)| *n == number).map(|(_, end)| *end);
            match end {
                Some(end) => parts.push(bytes[..end].to_vec()),
                // It is not open yet, or nothing came.
                None if number == 0 => parts.push(Vec::new()),
                None => {}
            }
        }
        let folder = TempDir::new().unwrap();
        write(folder.path(), &parts, &[false; 3]);
        if let Ok(report) = judged(folder.path(), &[]) {
            assert_eq!(clauses(&report), [""; 0], "{now}: {}", report.text());
        }
    }
}

/// Each reordering is one that a source may choose: no clause is violated, and memory is the same.
#[test]
fn a_reordering_is_conformant() {
    let mut migration = healthy();
    // Two packets of one channel in an epoch.
    migration.channels[0].insert(3, ram(10, &[6, 7], &[], 0xa3));
    for (channel, place, number) in [(0, 2, 2), (0, 3, 4), (1, 2, 3), (0, 4, 5), (1, 3, 6)] {
        put(&mut migration.channels[channel][place], NUMBER + 4, number);
    }
    for (channel, place, number) in [(0, 5, 7), (1, 4, 8), (0, 6, 9), (1, 6, 10)] {
        put(&mut migration.channels[channel][place], NUMBER + 4, number);
    }
    for page in [6, 7] {
        let at = page * PAGE as usize;
        migration.memory[at..at + PAGE as usize].copy_from_slice(&[0xa3, page as u8].repeat(2048));
    }
    assert_eq!(migration.judged().verdict, Verdict::Conformant, "{}", migration.judged().text());
    let mut names = BTreeSet::new();
    for order in REORDERINGS {
        let (name, mut pieces) = (order.name, taken_apart(&migration));
        assert!(names.insert(name) && FAULTS.iter().all(|fault| fault.name != name), "{name}");
        assert!(order.apply(&mut pieces), "{name} finds nothing to reorder");
        let report = judged_again(&pieces, &migration.memory);
        assert_eq!(report.verdict, Verdict::Conformant, "{name}: {}", report.text());
        assert_eq!(report.memory, Some(true), "{name}");
        // The same bytes are sent.
        let sorted = |pieces: &Pieces| {
            let mut bytes: Vec<u8> = pieces.connections().into_iter().flat_map(|c| c.0).collect();
            bytes.sort_unstable();
            bytes
        };
        assert_eq!(sorted(&pieces), sorted(&taken_apart(&migration)), "{name}");
    }
}

/// The verdict on a migration with this on its return path.
fn with_return_path(migration: &Migration, returned: &[u8], ended: bool) -> Report {
    let folder = TempDir::new().unwrap();
    let mut migration = migration.clone();
    if !ended {
        migration.main.truncate(4);
        migration.ended = [false; 3];
    }
    migration.write(folder.path());
    fs::write(folder.path().join("conn0.rev.bin"), returned).unwrap();
    judged(folder.path(), &[]).unwrap()
}

#[test]
fn the_return_path_is_judged() {
    let ping = |value: u32| {
        main_item(|w| {
            w.command(command::PING, &value.to_be_bytes());
        })
    };
    let mut plain = healthy();
    plain.main.splice(
        1..1,
        [
            main_item(|w| {
                w.command(command::OPEN_RETURN_PATH, &[]);
            }),
            ping(1),
            ping(7),
            ping(1),
        ],
    );
    let mut postcopy = plain.clone();
    let begin = |number| {
        main_item(|w| {
            w.command(number, &[]);
        })
    };
    postcopy.main.insert(5, begin(command::POSTCOPY_LISTEN));
    let mut resumed = postcopy.clone();
    resumed.main.insert(6, begin(command::POSTCOPY_RESUME));
    let page = |block: Option<&str>, start, length| {
        let block = block.map(|name| Name::new(name.as_bytes()));
        ReturnMessage::RequestPages { block, start, length }
    };
    use ReturnMessage::{Pong, ResumeAck, Shut, SwitchoverAck};
    let good: [(&Migration, Vec<ReturnMessage>); 5] = [
        (&plain, vec![Pong(1), SwitchoverAck, SwitchoverAck, Pong(1), Pong(7), Shut(0)]),
        (&plain, vec![Shut(1)]),
        (&plain, vec![]),
        (&postcopy, vec![page(Some(RAM), 0, 4096), Pong(7), page(None, 15 * PAGE, 4096), Shut(0)]),
        (&resumed, vec![ResumeAck(1), Shut(0)]),
    ];
    let wrong: [(&Migration, Vec<ReturnMessage>, &str); 10] = [
        (&healthy(), vec![Shut(0)], "return.opened"),
        (&plain, vec![Pong(2)], "return.pong"),
        (&plain, vec![Pong(7), Pong(7)], "return.pong"),
        (&plain, vec![Shut(0), Pong(7)], "return.shut-last"),
        (&plain, vec![Shut(0), Shut(0)], "return.shut-last"),
        (&plain, vec![page(Some(RAM), 0, 4096)], "return.request-in-postcopy"),
        (&postcopy, vec![page(Some("no"), 0, 4096)], "return.request-inside"),
        (&postcopy, vec![page(None, 0, 4096)], "return.request-inside"),
        (&postcopy, vec![page(Some(RAM), 15 * PAGE, 8192)], "return.request-inside"),
        (&plain, vec![ResumeAck(1)], "return.resume"),
    ];
    let bytes = |messages: &[ReturnMessage]| {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.encode(&mut bytes));
        bytes
    };
    for (migration, messages) in good {
        let bytes = bytes(&messages);
        for cut in (0..=bytes.len()).rev().step_by(5) {
            let report = with_return_path(migration, &bytes[..cut], true);
            assert_eq!(report.verdict, Verdict::Conformant, "{messages:?}: {}", report.text());
            // What is not in a main stream that is cut may have been said.
            let report = with_return_path(migration, &bytes[..cut], false);
            assert_eq!(report.verdict, Verdict::Truncated, "{messages:?}: {}", report.text());
        }
    }
    for (migration, messages, clause) in wrong {
        let report = with_return_path(migration, &bytes(&messages), true);
        assert_eq!(clauses(&report), [clause], "{messages:?}: {}", report.text());
        let found = &report.violations[0];
        assert_eq!((found.conn, found.dir), (0, Dir::Returned));
        assert!(found.bytes.starts_with("00 0"), "{found:?}");
    }
    for odd in [page(Some(RAM), 5, 4096), page(Some(RAM), u64::MAX - 4095, 4096)] {
        let report = with_return_path(&postcopy, &bytes(&[odd]), true);
        assert_eq!(clauses(&report), ["return.request-inside"], "{odd:?}");
    }
    for odd in [&[0, 9, 0, 0][..], &[0, 1, 0, 1, 0], &[0, 1, 0xff, 0xff], &[0; 4], &[0xff; 64]] {
        let report = with_return_path(&plain, odd, true);
        assert_eq!(clauses(&report), ["return.followed"], "{odd:?}");
    }
}

/// Every clause about a destination that its return path can show is violated by a message of that test.
#[test]
fn every_clause_of_the_return_path_is_tested() {
    let clauses = LIBRARY.spec.clauses().iter();
    let ids: Vec<_> = clauses.filter_map(|c| c.id.strip_prefix("multifd.return.")).collect();
    let tested = [
        "followed",
        "opened",
        "pong",
        "shut-last",
        "request-in-postcopy",
        "request-inside",
        "resume",
    ];
    assert_eq!(ids, tested);
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
        // How far a recording was read is for terminals.
        assert!(output.status.code() == Some(2) || output.stderr.is_empty(), "{output:?}");
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

/// What is read is counted for whoever shows it: the main stream twice, every channel once.
#[test]
fn what_was_read_of_a_recording_is_counted() {
    let folder = TempDir::new().unwrap();
    healthy().write(folder.path());
    let recording = Recording::open(folder.path()).unwrap();
    let (read, bytes) = (recording.read.clone(), recording.bytes());
    assert_eq!(read.bytes(), 0);
    judge::judge(recording, &LIBRARY, None, Memory::default()).unwrap();
    assert_eq!(read.bytes(), bytes);
    let lengths = healthy().connections().map(|bytes| bytes.len() as u64);
    assert_eq!(bytes, 2 * lengths[0] + lengths[1] + lengths[2]);
}

/// A command that never listens is given up after the time that is asked for, by every test that starts one.
#[test]
fn a_command_that_never_listens_is_given_up_in_time() {
    let folder = TempDir::new().unwrap();
    let migration = healthy();
    migration.write(folder.path());
    let image = folder.path().join("ram.img");
    fs::write(&image, &migration.memory).unwrap();
    let (recording, image) = (folder.path().to_str().unwrap(), image.to_str().unwrap());
    let spawn = "sh -c 'sleep 60' {socket} {ram}";
    let cases: [&[&str]; 3] = [
        &["multifd-source", "--only", "default", "--spawn", spawn],
        &[
            "multifd-destination",
            "--only",
            "main-alone",
            "--recording",
            recording,
            "--source-ram",
            image,
            "--spawn",
            spawn,
        ],
        &["migration-capabilities", "--binary", "sh -c 'sleep 60'"],
    ];
    for arguments in cases {
        let begun = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
        command.arg("test").args(arguments).args(["--start-timeout", "0.3"]);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("could not be connected to in time"), "{arguments:?}: {said}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{arguments:?}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_binary_without_a_name_is_no_program() {
    for binary in ["", "  ", "''"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_devmig"));
        let output = command.args(["test", "migration-capabilities", "--binary", binary]).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(2), "{binary:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("the command is empty"), "{binary:?}: {said}");
    }
}
