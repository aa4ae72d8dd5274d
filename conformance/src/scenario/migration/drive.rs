//! One migration, driven over both monitors and recorded between them.

use std::cell::Cell;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use devmig_reference::socket::Deadline;
use serde_json::{Map, Value, json};

use super::guest;
use super::known::{Before, End, Migration, Transport};
use super::machine::{Launch, Machine, START};
use crate::monitor::event::answers;
use crate::monitor::heard::Heard;
use crate::monitor::log::{End as Who, Entry};
use crate::multifd::relay::{Address, Listener, Relay};
use crate::scenario::came::{Clock, Steps};
use crate::scenario::error::Error;

/// How long a guest may take to boot.
const BOOT: Duration = Duration::from_secs(60);
/// The round of the guest in which its memory begins to migrate.
const FIRST_ROUND: u32 = 3;
/// How long a migration may take.
pub(super) const MIGRATE: Duration = Duration::from_secs(60);
/// How long the connections may last after it.
pub(super) const CLOSE: Duration = Duration::from_secs(5);
/// How often the monitors are asked.
pub(super) const LOOK: Duration = Duration::from_millis(10);
/// While there are to be more rounds: bytes a second, and milliseconds that the guest may stand still.
const SLOW: (u64, u64) = (16 << 20, 1);
/// How often a migration with a limit reads its logs before it is seen to go on.
const GOES_ON: u64 = 8;
/// In which round one is cancelled that comes to nothing: in the first, long before it could switch over.
const CANCELLED: u64 = 1;
/// How long a guest may take to go on after it.
const RESUME: Duration = Duration::from_secs(5);
/// The status of a migration whose destination follows from checkpoint to checkpoint.
pub(super) const IN_COLO: &str = "colo";
/// How long it does so.
const CHECKPOINTS: Duration = Duration::from_secs(2);
/// How long after a migration its last events may come.
const LAST_EVENTS: Duration = Duration::from_millis(300);
/// Afterwards.
const FAST: (u64, u64) = (4 << 30, 60_000);

/// What came of a migration.
#[derive(Debug)]
pub struct Played {
    /// Steps that were taken, with their time.
    pub steps: Steps,
    /// The status of the migration at the source, when it ended.
    pub source: String,
    /// That at the destination.
    pub destination: String,
    /// How often the logs were read, if the migration had a limit and ended by itself.
    pub syncs: Option<u64>,
    /// After each migration that came to nothing the guest went on.
    pub resumed: bool,
    /// What the monitors reported, in order of time; none, if it is not modelled, or one end has no monitor.
    pub events: Option<Vec<Entry>>,
    /// The guest, if there is one.
    pub guest: Option<PathBuf>,
    /// Where the recording is.
    pub recording: PathBuf,
    /// The memory of the source when it stopped, as a file.
    pub source_ram: PathBuf,
    /// The memory of the source.
    pub source_memory: Vec<u8>,
    /// The memory of the destination.
    pub destination_memory: Vec<u8>,
}

/// Migrates a guest.
///
/// # Errors
/// The step that came to nothing, and why.
pub fn play(migration: &Migration, folder: &Path) -> Result<Played, Error> {
    let mut clock = Clock::new();
    let guest = guest::assemble(folder).map_err(|why| Error::Guest(why.to_string()))?;
    let mut heard = Heard::default();
    let mut source = machine(migration, &guest, &folder.join("source"), false)?;
    listen_to(&mut heard, Who::Source, &mut source)?;
    let booted = |memory: &[u8]| guest::round(memory).is_ok_and(|round| round >= FIRST_ROUND);
    source.remembers("round of the guest", BOOT, booted).map_err(|why| why.within("boot"))?;
    clock.took("boot");
    let mut resumed = true;
    for (at, before) in migration.before.iter().enumerate() {
        let folder = folder.join(format!("before-{at}"));
        resumed &= fails(*before, migration, &mut source, (&guest, &folder), &mut heard)
            .map_err(|why| why.within("fail"))?;
        clock.took("fail");
    }
    if migration.transport == Transport::File {
        return through_a_file(migration, source, (guest, resumed), folder, (clock, heard));
    }
    let mut destination = machine(migration, &guest, &folder.join("destination"), true)?;
    listen_to(&mut heard, Who::Destination, &mut destination)?;
    let to = listens(migration, &mut destination, folder).map_err(|why| why.within("incoming"))?;
    clock.took("incoming");
    let recording = folder.join("recording");
    let (relay, from) = Watched::start(migration.transport, to, &recording, folder)?;
    let migrated = match migration.limit {
        Some(limit) => within(&mut source, limit, &from),
        None => migrate(&mut source, migration.rounds, migration.end, &from).map(|s| (s, None)),
    };
    let (status, syncs) = migrated.map_err(|why| why.within("migrate"))?;
    clock.took("migrate");
    let arrived = match status.as_str() {
        "completed" | IN_COLO => arrives(&mut destination)?,
        _ => String::new(),
    };
    if status == IN_COLO {
        std::thread::sleep(CHECKPOINTS);
    }
    relay.end()?;
    clock.took("arrive");
    std::thread::sleep(LAST_EVENTS);
    heard.events(Who::Source, source.take_events());
    heard.events(Who::Destination, destination.take_events());
    let (source_memory, source_ram) = kept(&source, folder)?;
    Ok(Played {
        source: status,
        destination: arrived,
        syncs,
        resumed,
        events: (migration.end != End::Colo).then(|| heard.log()),
        guest: Some(guest),
        recording,
        source_ram,
        source_memory,
        destination_memory: destination.memory()?,
        steps: clock.steps,
    })
}

/// Migrates a source. After this many rounds the migration is completed, cancelled or switched to postcopy.
/// Returns the status with which it ends.
///
/// # Errors
/// If a monitor refuses, or the migration does not end.
pub(crate) fn migrate(
    source: &mut Machine,
    rounds: u64,
    end: End,
    to: &str,
) -> Result<String, Error> {
    let pace = |(bytes, milliseconds): (u64, u64)| json!({ "max-bandwidth": bytes, "downtime-limit": milliseconds });
    let mut slow = rounds > 0;
    source.run("migrate-set-parameters", pace(if slow { SLOW } else { FAST }))?;
    source.run("migrate", json!({ "uri": to }))?;
    wait(source, |source, answer| {
        let passed = answer.pointer("/ram/dirty-sync-count").and_then(Value::as_u64);
        if slow && passed.is_some_and(|passed| passed >= rounds) {
            slow = false;
            match end {
                End::Complete => source.run("migrate-set-parameters", pace(FAST))?,
                End::Cancel => source.run("migrate_cancel", json!({}))?,
                // It does not end by itself once it is in COLO.
                End::Colo => source.run("migrate-set-parameters", pace(FAST))?,
                End::Postcopy => {
                    source.run("migrate-set-parameters", pace(FAST))?;
                    source.run("migrate-start-postcopy", json!({}))?
                }
            };
        }
        Ok(())
    })
}

/// Migrates a source with a limit for its downtime, at full speed: the status with which that ends, and how often
/// the logs were read if it ended by itself.
fn within(source: &mut Machine, limit: u64, to: &str) -> Result<(String, Option<u64>), Error> {
    let pace = |limit| json!({ "max-bandwidth": FAST.0, "downtime-limit": limit });
    let syncs = |answer: &Value| answer.pointer("/ram/dirty-sync-count").and_then(Value::as_u64);
    source.run("migrate-set-parameters", pace(limit))?;
    source.run("migrate", json!({ "uri": to }))?;
    let mut goes_on = false;
    let status = wait(source, |source, answer| {
        if !goes_on && syncs(answer).is_some_and(|syncs| syncs >= GOES_ON) {
            goes_on = true;
            source.run("migrate-set-parameters", pace(FAST.1))?;
        }
        Ok(())
    })?;
    let (_, answer) = source.migration()?;
    Ok((status, syncs(&answer).filter(|_| !goes_on)))
}

/// A migration that comes to nothing: whether the guest goes on after it.
fn fails(
    before: Before,
    migration: &Migration,
    source: &mut Machine,
    (guest, folder): (&Path, &Path),
    heard: &mut Heard,
) -> Result<bool, Error> {
    std::fs::create_dir(folder).map_err(Error::io("a temporary folder"))?;
    match before {
        Before::SetUp => {
            let nobody = json!({ "uri": format!("unix:{}", folder.join("nobody").display()) });
            match source.run("migrate", nobody) {
                // A monitor may say so at once.
                Err(Error::Refused { .. }) => {}
                answer => {
                    answer?;
                    wait(source, |_, _| Ok(()))?;
                }
            }
        }
        Before::Cancel => {
            let mut destination = machine(migration, guest, &folder.join("destination"), true)?;
            listen_to(heard, Who::Destination, &mut destination)?;
            let to = folder.join("d");
            let uri = format!("unix:{}", to.display());
            destination.run("migrate-incoming", json!({ "uri": uri }))?;
            migrate(source, CANCELLED, End::Cancel, &uri)?;
            std::thread::sleep(LAST_EVENTS);
            heard.events(Who::Destination, destination.take_events());
            heard.closes(Who::Destination);
        }
    }
    // The memory is read while the guest writes it.
    let now = Cell::new(0);
    let is_one = |memory: &[u8]| guest::round(memory).map(|round| now.set(round)).is_ok();
    source.remembers("round of the guest", RESUME, is_one)?;
    let goes_on = |memory: &[u8]| guest::round(memory).is_ok_and(|round| round > now.get());
    Ok(source.remembers("next round of the guest", RESUME, goes_on).is_ok())
}

/// Migrates to a file, and from it.
fn through_a_file(
    migration: &Migration,
    mut source: Machine,
    (guest, resumed): (PathBuf, bool),
    folder: &Path,
    (mut clock, mut heard): (Clock, Heard),
) -> Result<Played, Error> {
    let recording = folder.join("state");
    let uri = json!({ "uri": format!("file:{}", recording.display()) });
    source.run("migrate", uri.clone()).map_err(|why| why.within("migrate"))?;
    let status = wait(&mut source, |_, _| Ok(())).map_err(|why| why.within("migrate"))?;
    clock.took("migrate");
    // What comes from a file comes long afterwards: the source alone is heard.
    std::thread::sleep(LAST_EVENTS);
    heard.events(Who::Source, source.take_events());
    clock.begins();
    let mut destination = machine(migration, &guest, &folder.join("destination"), true)?;
    destination.run("migrate-incoming", uri).map_err(|why| why.within("arrive"))?;
    let arrived = match wait(&mut destination, |_, _| Ok(())) {
        Err(Error::Ended { .. }) => String::new(),
        other => other.map_err(|why| why.within("arrive"))?,
    };
    clock.took("arrive");
    let (source_memory, source_ram) = kept(&source, folder)?;
    Ok(Played {
        steps: clock.steps,
        source: status,
        destination: arrived,
        syncs: None,
        resumed,
        events: (migration.end != End::Colo).then(|| heard.log()),
        guest: Some(guest),
        recording,
        source_ram,
        source_memory,
        destination_memory: destination.memory()?,
    })
}

/// Begins the part of a log that is a machine's.
fn listen_to(heard: &mut Heard, who: Who, machine: &mut Machine) -> Result<(), Error> {
    let on = json!([{ "capability": "events", "state": true }]);
    machine.run("migrate-set-capabilities", json!({ "capabilities": on }))?;
    let (migration, vm) = (machine.migration()?.1, machine.status()?);
    machine.take_events();
    heard.answers(who, answers(&migration, &vm));
    Ok(())
}

/// The status with which a migration ends; `meanwhile` is told what the monitor says before that.
fn wait(
    machine: &mut Machine,
    mut meanwhile: impl FnMut(&mut Machine, &Value) -> Result<(), Error>,
) -> Result<String, Error> {
    let deadline = Deadline::after(MIGRATE);
    loop {
        let (status, answer) = machine.migration()?;
        if ended(&status) {
            return Ok(status);
        }
        meanwhile(machine, &answer)?;
        if deadline.passed() {
            let (query, wanted, answer) = ("query-migrate", "completed", answer.to_string());
            return Err(Error::Status { query, wanted, status, answer });
        }
        deadline.pause(LOOK);
    }
}

/// The status that a destination reaches; nothing if its process ends, as it may if the migration fails.
pub(super) fn arrives(destination: &mut Machine) -> Result<String, Error> {
    let mut arrived = String::new();
    let deadline = Deadline::after(CLOSE);
    while !ended(&arrived) && !deadline.passed() {
        match destination.migration() {
            Ok((status, _)) => arrived = status,
            Err(Error::Ended { .. }) => break,
            Err(why) => return Err(why.within("arrive")),
        }
        deadline.pause(LOOK);
    }
    Ok(arrived)
}

/// The memory of a source that has stopped, and the file that it is written to.
pub(super) fn kept(source: &Machine, folder: &Path) -> Result<(Vec<u8>, PathBuf), Error> {
    let (memory, file) = (source.memory()?, folder.join("source.ram"));
    std::fs::write(&file, &memory).map_err(Error::io("the source's memory"))?;
    Ok((memory, file))
}

/// Whether a migration with this status goes no further; with COLO it is followed by checkpoints.
fn ended(status: &str) -> bool {
    matches!(status, "completed" | "failed" | "cancelled" | IN_COLO)
}

/// Starts a machine, with what is set at both ends.
fn machine(
    migration: &Migration,
    guest: &Path,
    folder: &Path,
    incoming: bool,
) -> Result<Machine, Error> {
    std::fs::create_dir(folder).map_err(Error::io("a temporary folder"))?;
    let of = if incoming { &migration.destination } else { &migration.source };
    let unnamed = migration.end == End::Postcopy;
    let machine = &migration.machine;
    let devices = migration.devices;
    let launch = Launch::Ours { command: &of.command, machine, guest, unnamed, devices };
    let mut machine = Machine::launch(launch, folder, incoming, START)?;
    // A file sends nothing back.
    let return_path = migration.transport != Transport::File;
    let Migration { channels, capabilities, parameters, .. } = migration;
    prepare(&mut machine, *channels, capabilities, parameters, return_path)?;
    Ok(machine)
}

/// Sets what both ends of a migration must agree on.
///
/// # Errors
/// If the monitor refuses it.
pub fn prepare(
    machine: &mut Machine,
    channels: u8,
    capabilities: &[String],
    parameters: &Map<String, Value>,
    return_path: bool,
) -> Result<(), Error> {
    let multifd = (channels > 0).then_some("multifd");
    let names = capabilities.iter().map(String::as_str).chain(multifd);
    let names = names.chain(return_path.then_some("return-path"));
    let on: Vec<_> = names.map(|name| json!({ "capability": name, "state": true })).collect();
    machine.run("migrate-set-capabilities", json!({ "capabilities": on }))?;
    let mut parameters = parameters.clone();
    if channels > 0 {
        parameters.insert("multifd-channels".into(), channels.into());
    }
    if !parameters.is_empty() {
        machine.run("migrate-set-parameters", Value::Object(parameters))?;
    }
    Ok(())
}

/// Lets the destination listen: where it does.
pub(super) fn listens(
    migration: &Migration,
    destination: &mut Machine,
    folder: &Path,
) -> Result<Address, Error> {
    let path = folder.join("d");
    let uri = match migration.transport {
        Transport::Unix | Transport::File => format!("unix:{}", path.display()),
        Transport::Tcp => "tcp:127.0.0.1:0".to_owned(),
    };
    destination.run("migrate-incoming", json!({ "uri": uri }))?;
    if migration.transport == Transport::Unix {
        return Ok(Address::Unix(path));
    }
    let (status, answer) = destination.migration()?;
    let port = answer.pointer("/socket-address/0/port").and_then(Value::as_str);
    match port {
        Some(port) => Ok(Address::Tcp(format!("127.0.0.1:{port}"))),
        None => {
            let (query, wanted, answer) = ("query-migrate", "a port", answer.to_string());
            Err(Error::Status { query, wanted, status, answer })
        }
    }
}

/// A relay that runs.
pub(crate) struct Watched {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<std::io::Result<u32>>>,
}

impl Watched {
    /// Starts it: where the source connects to.
    pub(crate) fn start(
        transport: Transport,
        to: Address,
        recording: &Path,
        folder: &Path,
    ) -> Result<(Self, String), Error> {
        let failed = Error::io("a socket");
        let (listener, from) = match transport {
            Transport::Unix | Transport::File => {
                let path = folder.join("s");
                let listener = UnixListener::bind(&path).map_err(failed)?;
                (Listener::Unix(listener), format!("unix:{}", path.display()))
            }
            Transport::Tcp => {
                let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
                let address = listener.local_addr().map_err(Error::io("a socket"))?;
                (Listener::Tcp(listener), format!("tcp:{address}"))
            }
        };
        let relay = Relay::new(recording).map_err(Error::io("a recording"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let run = move || relay.run(&listener, &to, &mut || stopped.load(Ordering::Relaxed));
        let thread = Some(std::thread::spawn(run));
        Ok((Watched { stop, thread }, from))
    }

    /// Waits until all connections have ended, or ends them.
    pub(crate) fn end(mut self) -> Result<(), Error> {
        let deadline = Deadline::after(CLOSE);
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) && !deadline.passed()
        {
            deadline.pause(LOOK);
        }
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().ok_or(Error::Relay("is gone"))?;
        let ended = thread.join().map_err(|_| Error::Relay("failed"))?;
        ended.map(|_| ()).map_err(Error::io("the relay"))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
