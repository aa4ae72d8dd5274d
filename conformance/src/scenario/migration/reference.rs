//! A migration one of whose ends is the reference, as the program that users start: `devmig reference`.
//!
//! ```text
//!   devmig reference multifd-source ==main, channels==> relay ====> QEMU without a machine
//!   QEMU without a machine          ==main, channels==> relay ====> devmig reference multifd-destination
//! ```
//!
//! The reference has no devices, so QEMU has none either: a machine with memory in which no CPU writes.

use std::path::Path;
use std::time::Duration;

use devmig_reference::socket::Deadline;

use super::drive::{self, CLOSE, LOOK, MIGRATE, Played, Watched};
use super::known::{Migration, Reference, ReferenceEnd};
use super::machine::{BLOCK, Launch, MEMORY, Machine, RAM_FILE, START};
use crate::harness::io::files;
use crate::harness::io::process::Command;
use crate::multifd::relay::Address;
use crate::scenario::came::Clock;
use crate::scenario::error::Error;

/// The most that the reference prints.
const OUTPUT: usize = 1 << 16;
/// How long the reference may take to listen.
const LISTEN: Duration = Duration::from_secs(20);
/// The size of a page.
const PAGE: usize = 4096;

/// Migrates memory between QEMU and the reference.
///
/// # Errors
/// The step that failed, and why.
pub(super) fn play(
    migration: &Migration,
    reference: &Reference,
    folder: &Path,
) -> Result<Played, Error> {
    match reference.end {
        ReferenceEnd::Source => from_reference(migration, reference, folder),
        ReferenceEnd::Destination => to_reference(migration, reference, folder),
    }
}

/// QEMU without a machine, with what both ends have to agree on.
fn qemu(migration: &Migration, folder: &Path, incoming: bool) -> Result<Machine, Error> {
    let of = if incoming { &migration.destination } else { &migration.source };
    let launch = Launch::NoMachine { command: &of.command };
    let mut machine = Machine::launch(launch, folder, incoming, START)?;
    let Migration { channels, capabilities, parameters, .. } = migration;
    drive::prepare(&mut machine, *channels, capabilities, parameters, true)?;
    Ok(machine)
}

/// The command of one end; the memory that it leaves goes to this file.
fn command(
    (end, at): (&str, [&str; 2]),
    migration: &Migration,
    reference: &Reference,
    save: &Path,
) -> Result<Command, Error> {
    let program = std::env::current_exe().map_err(Error::io("this program"))?;
    let (channels, size) = (migration.channels.to_string(), (MEMORY >> 20).to_string());
    let timeout = MIGRATE.as_secs().to_string();
    let words = ["reference", end, at[0], at[1], "--channels", &channels, "--block", BLOCK];
    let program = program.to_string_lossy().into_owned();
    let mut all = vec![program];
    all.extend(words.map(str::to_owned));
    all.extend(["--size", &size, "--timeout", &timeout, "--save"].map(str::to_owned));
    all.push(save.to_string_lossy().into_owned());
    all.extend(reference.options.iter().cloned());
    Ok(Command::plain(all)?)
}

/// The reference is the source, and its guest writes while it migrates.
fn from_reference(
    migration: &Migration,
    reference: &Reference,
    folder: &Path,
) -> Result<Played, Error> {
    let mut clock = Clock::new();
    let mut destination = qemu(migration, folder, true)?;
    let to = drive::listens(migration, &mut destination, folder)
        .map_err(|why| why.within("incoming"))?;
    clock.took("incoming");
    let recording = folder.join("recording");
    let (relay, from) = Watched::start(migration.transport, to, &recording, folder)?;
    let source_ram = folder.join("source.ram");
    let from = from.split_once(':').map_or(from.as_str(), |(_, address)| address);
    let run = command(("multifd-source", ["--connect", from]), migration, reference, &source_ram)?;
    let run = run.captured(OUTPUT, Deadline::after(MIGRATE))?;
    clock.took("migrate");
    let arrived = drive::arrives(&mut destination)?;
    relay.end()?;
    clock.took("arrive");
    Ok(Played {
        source: status(run.status.success(), &String::from_utf8_lossy(&run.output)),
        destination: arrived,
        syncs: None,
        resumed: true,
        events: None,
        guest: None,
        recording,
        source_memory: memory(&source_ram)?,
        source_ram,
        destination_memory: destination.memory()?,
        steps: clock.steps,
    })
}

/// The reference is the destination.
fn to_reference(
    migration: &Migration,
    reference: &Reference,
    folder: &Path,
) -> Result<Played, Error> {
    let mut clock = Clock::new();
    std::fs::write(folder.join(RAM_FILE), pattern()).map_err(Error::io("a machine's memory"))?;
    let mut source = qemu(migration, folder, false)?;
    clock.took("start");
    let (socket, save) = (folder.join("d"), folder.join("destination.ram"));
    let at = socket.to_string_lossy();
    let run = command(("multifd-destination", ["--listen", &at]), migration, reference, &save)?;
    let mut process = run.spawn()?;
    let deadline = Deadline::after(LISTEN);
    while !socket.exists() {
        if process.exit_status().is_some() || deadline.passed() {
            let (wanted, last) = ("listening".to_owned(), process.last_output());
            return Err(Error::Mute { wanted, limit: LISTEN, last }.within("incoming"));
        }
        deadline.pause(LOOK);
    }
    clock.took("incoming");
    let recording = folder.join("recording");
    let to = Address::Unix(socket.clone());
    let (relay, from) = Watched::start(migration.transport, to, &recording, folder)?;
    let sent = drive::migrate(&mut source, migration.rounds, migration.end, &from)
        .map_err(|why| why.within("migrate"))?;
    clock.took("migrate");
    let ended = process.wait(Deadline::after(CLOSE));
    relay.end()?;
    clock.took("arrive");
    let arrived = ended.is_some_and(|ended| ended.success());
    let (source_memory, source_ram) = drive::kept(&source, folder)?;
    Ok(Played {
        source: sent,
        destination: status(arrived, &process.last_output()),
        syncs: None,
        resumed: true,
        events: None,
        guest: None,
        recording,
        source_ram,
        source_memory,
        destination_memory: if arrived { memory(&save)? } else { Vec::new() },
        steps: clock.steps,
    })
}

/// What a monitor would say of an end that completes, or what the reference says.
fn status(completes: bool, said: &str) -> String {
    match completes {
        true => "completed".to_owned(),
        false => said.lines().last().unwrap_or("silent").to_owned(),
    }
}

/// The memory that the reference leaves; nothing if it does not complete.
fn memory(file: &Path) -> Result<Vec<u8>, Error> {
    files::bytes(file, MEMORY).map_err(|error| Error::io("the reference's memory")(error.into()))
}

/// Memory for a source in which no CPU writes: every page differs, every third is zero.
fn pattern() -> Vec<u8> {
    let mut memory = vec![0; usize::try_from(MEMORY).unwrap_or(0)];
    for (number, page) in memory.chunks_exact_mut(PAGE).enumerate().filter(|(n, _)| n % 3 != 0) {
        for word in page.chunks_exact_mut(size_of::<u64>()) {
            word.copy_from_slice(&(number as u64).to_le_bytes());
        }
    }
    memory
}
