//! Migrations with multifd from the reference's source to its destination, in every mode, while the guest
//! writes.

#![allow(clippy::unwrap_used)] // a test that cannot go on is a test that fails

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use devmig_model::registry::Library;
use devmig_reference::multifd::{
    Compression, DeviceState, Error, Guest, Image, Load, Mutant, Mutants, Options, PAGE, Received,
    Sent, Stream, SyncMode, ZeroPages, migrate, pairs, receive,
};

static LIBRARY: LazyLock<Library> = LazyLock::new(|| Library::builtin().unwrap());

const DEVICE: &str = "0000:00:04.0/vfio";
const PAGES: usize = 600;
/// How long a guest that is to stop goes on at least.
const A_MOMENT: Duration = Duration::from_millis(5);

/// What a device has loaded.
#[derive(Default)]
struct Loaded {
    data: Vec<u8>,
    config: Option<Vec<u8>>,
}

impl Load for Loaded {
    fn data(&mut self, data: &[u8]) -> Result<(), String> {
        assert_eq!(self.config, None, "data after the configuration");
        self.data.extend_from_slice(data);
        Ok(())
    }

    fn config(&mut self, config: &[u8]) -> Result<(), String> {
        self.config = Some(config.to_vec());
        Ok(())
    }
}

fn state() -> DeviceState {
    let data = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
    DeviceState { name: DEVICE.to_owned(), instance: 0, data, config: b"configuration".to_vec() }
}

/// What came of a migration.
struct Migrated {
    sent: Result<Sent, Error>,
    received: Result<Received, Error>,
    source: Image,
    destination: Image,
    loaded: Loaded,
}

/// Migrates a guest that writes all the while: words that tell when they were written, all over its memory, of
/// which half is zero.
fn migrated(options: &Options, ends: (Vec<Stream>, Vec<Stream>), delay: Duration) -> Migrated {
    let (source, destination) = (Image::new("pc.ram", PAGES), Image::new("pc.ram", PAGES));
    for page in (0..PAGES).step_by(2) {
        source.write(page * PAGE / 8, page as u64 | 1 << 40);
    }
    // What was there before.
    (0..PAGES).for_each(|page| destination.load(page, &[0xee; PAGE]));
    let (guest, mut loaded) = (Guest::default(), Loaded::default());
    let (here, there) = ends;
    let there = there.into_iter().map(Ok);
    let (sent, received) = thread::scope(|scope| {
        let works = scope.spawn(|| guest.work(&source));
        let took = scope.spawn(|| {
            let devices: Vec<(&str, u32, &mut dyn Load)> = vec![(DEVICE, 0, &mut loaded)];
            receive(&LIBRARY, there, &destination, devices, options)
        });
        let stop = || {
            thread::sleep(delay);
            guest.stop_after(50);
            works.join().unwrap();
            vec![state()]
        };
        let sent = migrate(here, &source, &[(DEVICE, 0)], options, stop);
        guest.stop();
        (sent, took.join().unwrap())
    });
    Migrated { sent, received, source, destination, loaded }
}

impl Migrated {
    fn is_whole(&self) -> Result<(), String> {
        let sent = self.sent.as_ref().map_err(|error| format!("source: {error}"))?;
        self.received.as_ref().map_err(|error| format!("destination: {error}"))?;
        if self.source.bytes() != self.destination.bytes() {
            return Err("memory differs".to_owned());
        }
        let DeviceState { data, config, .. } = state();
        if self.loaded.data != data || self.loaded.config != Some(config) {
            return Err("the device's state differs".to_owned());
        }
        assert!(sent.rounds >= 2 && sent.pages > PAGES, "{sent:?}: nothing was sent again");
        Ok(())
    }
}

fn modes() -> impl Iterator<Item = Options> {
    let syncs = [SyncMode::PerRound, SyncMode::PerSection];
    let zeroes = [ZeroPages::Channels, ZeroPages::Main, ZeroPages::Sent];
    let channels = [1, 2, 4, 8];
    syncs.into_iter().flat_map(move |sync| {
        zeroes.into_iter().flat_map(move |zero| {
            channels.map(|channels| Options { sync, zero, channels, ..Options::default() })
        })
    })
}

#[test]
fn memory_and_devices_arrive_in_every_mode() {
    for options in modes() {
        let migrated = migrated(&options, pairs(options.channels).unwrap(), A_MOMENT);
        assert_eq!(migrated.is_whole(), Ok(()), "{options:?}");
    }
}

#[test]
fn pages_are_compressed_with_zlib_and_zstd() {
    for compression in [Compression::Zlib, Compression::Zstd] {
        for zero in [ZeroPages::Channels, ZeroPages::Sent] {
            for channels in [1, 3] {
                let options = Options { compression, zero, channels, ..Options::default() };
                let migrated = migrated(&options, pairs(channels).unwrap(), A_MOMENT);
                assert_eq!(migrated.is_whole(), Ok(()), "{options:?}");
            }
        }
    }
}

/// Both ends agree on a method beforehand: nothing is negotiated.
#[test]
fn a_destination_refuses_a_method_that_was_not_agreed_on() {
    let methods = [Compression::None, Compression::Zlib, Compression::Zstd];
    for (sends, expects) in methods.into_iter().flat_map(|a| methods.map(|b| (a, b))) {
        if sends == expects {
            continue;
        }
        let limit = Duration::from_secs(2);
        let [source, destination] = [sends, expects].map(|compression| Options {
            compression,
            limit,
            ..Options::default()
        });
        let (here, there) = pairs(2).unwrap();
        let image = Image::new("pc.ram", PAGES);
        image.write(0, 1);
        let other = Image::new("pc.ram", PAGES);
        let received = thread::scope(|scope| {
            let there = there.into_iter().map(Ok);
            let took = scope.spawn(|| receive(&LIBRARY, there, &other, Vec::new(), &destination));
            let _ = migrate(here, &image, &[], &source, Vec::new);
            took.join().unwrap()
        });
        let Err(Error::Refused { clause, .. }) = received else {
            panic!("{sends:?} to {expects:?}: {received:?}")
        };
        assert_eq!(clause, "multifd.packet.compression", "{sends:?} to {expects:?}");
    }
}

#[test]
fn it_goes_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let options = Options { channels: 3, ..Options::default() };
    let ends: (Vec<Stream>, Vec<Stream>) = (0..=options.channels)
        .map(|_| {
            let one = TcpStream::connect(address).unwrap();
            (Stream::Tcp(one), Stream::Tcp(listener.accept().unwrap().0))
        })
        .unzip();
    let migrated = migrated(&options, ends, A_MOMENT);
    assert_eq!(migrated.is_whole(), Ok(()));
}

/// The destination finds out which connection is which.
#[test]
fn connections_come_in_any_order() {
    let options = Options { channels: 3, ..Options::default() };
    let (here, mut there) = pairs(options.channels).unwrap();
    there.rotate_left(2);
    assert_eq!(migrated(&options, (here, there), A_MOMENT).is_whole(), Ok(()));
}

/// Passes on what comes, some time after the other channels.
fn slow(from: Stream) -> Stream {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut from = from;
    thread::spawn(move || {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            thread::sleep(Duration::from_millis(1));
            if ours.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
    });
    Stream::Unix(theirs)
}

/// A migration whose last channel is slow.
fn with_slow_channel(mutant: Option<Mutant>) -> Migrated {
    let options = Options { mutants: mutant.into(), ..Options::default() };
    let (here, mut there) = pairs(options.channels).unwrap();
    let last = there.pop().map(slow);
    there.extend(last);
    migrated(&options, (here, there), A_MOMENT)
}

/// What shows only if threads meet in a certain order.
const RACES: [Mutant; 4] = [
    Mutant::MarkNotWaited,
    Mutant::MarkWaitsForFirst,
    Mutant::MarksTakenLate,
    Mutant::LoadsAsItCame,
];

#[test]
fn a_slow_channel_changes_nothing_and_shows_who_does_not_wait_for_it() {
    assert_eq!(with_slow_channel(None).is_whole(), Ok(()));
    for mutant in RACES {
        let is_found = (0..20).any(|_| with_slow_channel(Some(mutant)).is_whole().is_err());
        assert!(is_found, "{mutant}");
    }
}

/// What a destination refuses, and a faulty one accepts: the fault of its source, and its own.
const ACCEPTED: [(Mutant, Mutant); 6] = [
    (Mutant::OtherUuid, Mutant::AcceptsUuid),
    (Mutant::PacketVersion, Mutant::AcceptsVersion),
    (Mutant::IndexTwice, Mutant::AcceptsIndexTwice),
    (Mutant::BufferMissing, Mutant::HoleAccepted),
    (Mutant::PackedShort, Mutant::AcceptsShort),
    (Mutant::OtherMethod, Mutant::AcceptsMethod),
];

/// The compression without which a fault does not show.
fn needed(mutant: Mutant) -> Compression {
    if mutant.needs_compression() { Compression::Zlib } else { Compression::None }
}

#[test]
fn a_destination_that_accepts_too_much_does_not_refuse_a_faulty_source() {
    for (fault, accepts) in ACCEPTED {
        let went = [None, Some(accepts)].map(|accepts| {
            let mutants = Mutants::new(Some(fault), accepts);
            let options = Options { mutants, compression: needed(fault), ..Options::default() };
            migrated(&options, pairs(2).unwrap(), A_MOMENT).received.is_ok()
        });
        assert_eq!(went, [false, true], "{fault}, {accepts}");
    }
}

/// Whatever one side does wrong, both end in time, and a destination does not run what is not whole.
#[test]
fn a_fault_is_refused_or_memory_differs_and_nobody_waits_for_ever() {
    let limit = Duration::from_secs(2);
    let mut lines = Vec::new();
    // Of a page that is sent twice at a time either content may remain; and what one SYNC too many does
    // depends on which channel sends it.
    let depends = [Mutant::PageOnMainToo, Mutant::SyncWithPages];
    let is_certain = |mutant: &&Mutant| !RACES.contains(mutant) && !depends.contains(mutant);
    for mutant in Mutant::ALL.iter().filter(is_certain) {
        let mutants = Some(*mutant).into();
        let compression = needed(*mutant);
        let options = Options { limit, mutants, compression, channels: 2, ..Options::default() };
        let began = Instant::now();
        let migrated = migrated(&options, pairs(2).unwrap(), A_MOMENT);
        assert!(began.elapsed() < Duration::from_secs(20), "{mutant}");
        let received = match (&migrated.received, migrated.is_whole()) {
            (Err(Error::Refused { clause, .. }), _) => format!("refused by {clause}"),
            // Several threads wait with one limit: which of them says so first is not certain.
            (Err(Error::Late(_)), _) => "failed: something did not come in time".to_owned(),
            (Err(error), _) => format!("failed: {error}"),
            (Ok(_), Ok(())) => "whole".to_owned(),
            (Ok(_), Err(why)) => why,
        };
        lines.push(format!("{mutant} ({}): {received}", mutant.clause()));
    }
    insta::assert_snapshot!(lines.join("\n"));
}
