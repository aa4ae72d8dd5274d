//! One QEMU under emulation whose memory migrates, with its monitor.
//!
//! Its memory is a file, so what it has in it is read beside it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use devmig_reference::socket::Deadline;
use serde_json::{Value, json};

use super::mediated::Mediated;
use crate::harness::io::files;
use crate::harness::io::process::{Command, Process};
use crate::scenario::error::Error;
use crate::scenario::qmp::Qmp;

/// How long one of ours may take to listen, and a command to be answered.
pub const START: Duration = Duration::from_secs(20);
/// How long one that closes its monitor may take to end.
const LAST: Duration = Duration::from_secs(1);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// How much memory it has, in bytes.
pub const MEMORY: u64 = 64 << 20;
/// The block of RAM that is its memory.
pub const BLOCK: &str = "m";

/// The name of the file that is the machine's memory.
pub(super) const RAM_FILE: &str = "ram";
/// What stands in a command for the file that is the machine's memory.
pub const RAM: &str = "{ram}";
/// The most memory that is read.
const MOST: u64 = 1 << 30;

/// The type of a mediated device: two serial ports of the kernel's sample driver.
const DEVICE: &str = "mtty-2";
/// Where on the bus the first device is.
const FIRST_SLOT: usize = 4;

/// How a machine is started.
#[derive(Clone, Copy, Debug)]
pub enum Launch<'p> {
    /// One with nothing but the guest.
    Ours {
        /// QEMU's command, without what makes the machine.
        command: &'p str,
        /// The type of the machine.
        machine: &'p str,
        /// What it boots.
        guest: &'p Path,
        /// Its memory has no name in a file system: postcopy has no memory in a file.
        unnamed: bool,
        /// How many mediated devices it has, whose state it migrates.
        devices: u8,
    },
    /// One with memory and nothing else: no machine, no guest.
    NoMachine {
        /// QEMU's command, without what makes the machine.
        command: &'p str,
    },
    /// By a command that has `{socket}` for its monitor, and [`RAM`].
    Theirs(&'p str),
}

impl<'p> Launch<'p> {
    /// By this command.
    ///
    /// # Errors
    /// The placeholder that it lacks.
    pub fn theirs(command: &'p str) -> Result<Self, &'static str> {
        let missing = [RAM, "{socket}"].into_iter().find(|wanted| !command.contains(wanted));
        missing.map_or(Ok(Launch::Theirs(command)), Err)
    }
}

/// A machine.
#[derive(Debug)]
pub struct Machine {
    qemu: Process,
    qmp: Qmp,
    memory: PathBuf,
    // Removed once the process is gone.
    _devices: Vec<Mediated>,
}

impl Machine {
    /// Starts it within a limit, with its memory in a folder. One that waits for a migration does not run
    /// afterwards, so that its memory stays.
    ///
    /// # Errors
    /// If it does not start.
    pub fn launch(
        launch: Launch<'_>,
        folder: &Path,
        incoming: bool,
        limit: Duration,
    ) -> Result<Self, Error> {
        let memory = folder.join(RAM_FILE);
        let quoted = |path: &Path| shell_words::quote(&path.to_string_lossy()).into_owned();
        let mut devices = Vec::new();
        let mut text = match launch {
            Launch::Ours { command, machine, guest, unnamed, devices: count } => {
                for _ in 0..count {
                    devices.push(Mediated::make(DEVICE).map_err(Error::io("a mediated device"))?);
                }
                let kernel = quoted(guest);
                let devices = attached(&devices);
                format!("{} -kernel {kernel}{devices}", with_memory(command, machine, unnamed))
            }
            Launch::NoMachine { command } => with_memory(command, "none", false),
            Launch::Theirs(command) => command.to_owned(),
        };
        if incoming {
            text += " -S -incoming defer";
        }
        let text = text.replace(RAM, &quoted(&memory));
        let deadline = Deadline::after(limit);
        let (mut qemu, connection) = Command::parse(&text)?.start(deadline)?;
        let qmp = Qmp::new(&connection, deadline).map_err(|why| {
            // A process that has ended says more than its monitor, which is closed.
            let ended = qemu.wait(Deadline::after(LAST));
            ended.map_or(why, |status| Error::Ended { status, last: last_line(&qemu) })
        })?;
        let memory = match launch {
            Launch::Ours { unnamed: true, .. } => unnamed(qemu.id())?,
            _ => memory,
        };
        Ok(Machine { qemu, qmp, memory, _devices: devices })
    }

    /// Runs a command of the monitor.
    ///
    /// # Errors
    /// See [`Qmp::run`].
    pub fn run(&mut self, command: &str, arguments: Value) -> Result<Value, Error> {
        self.run_within(command, arguments, START)
    }

    /// The same, with a limit.
    ///
    /// # Errors
    /// See [`Qmp::run`].
    pub fn run_within(
        &mut self,
        command: &str,
        arguments: Value,
        limit: Duration,
    ) -> Result<Value, Error> {
        let result = self.qmp.run(command, arguments, Deadline::after(limit));
        // A process that has ended says more than its monitor, which is closed.
        let patience = match &result {
            // A connection is closed before the process is gone: by a signal, it takes a while.
            Err(Error::Io { .. }) => Deadline::after(LAST),
            _ => Deadline::now(),
        };
        match (result, self.qemu.wait(patience)) {
            (Err(Error::Monitor(_) | Error::Io { .. }), Some(status)) => {
                Err(Error::Ended { status, last: self.last_words() })
            }
            (result, _) => result,
        }
    }

    /// What it says of its migration: a status, and all of it.
    ///
    /// # Errors
    /// See [`Qmp::run`].
    pub fn migration(&mut self) -> Result<(String, Value), Error> {
        let answer = self.run("query-migrate", json!({}))?;
        let status = answer.get("status").and_then(Value::as_str).unwrap_or_default();
        Ok((status.to_owned(), answer))
    }

    /// Whether its VM runs.
    ///
    /// # Errors
    /// See [`Qmp::run`].
    pub fn status(&mut self) -> Result<Value, Error> {
        self.run("query-status", json!({}))
    }

    /// The events that its monitor has sent since they were last taken.
    pub fn take_events(&mut self) -> Vec<Value> {
        self.qmp.take_events()
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.qemu
    }

    /// The last line that it printed.
    #[must_use]
    pub fn last_words(&self) -> String {
        last_line(&self.qemu)
    }

    /// What is in its memory now.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn memory(&self) -> Result<Vec<u8>, Error> {
        files::bytes(&self.memory, MOST)
            .map_err(|error| Error::io("a machine's memory")(error.into()))
    }

    /// Waits until its memory is like this.
    ///
    /// # Errors
    /// If it is not in time.
    pub fn remembers(
        &mut self,
        wanted: &str,
        limit: Duration,
        is: impl Fn(&[u8]) -> bool,
    ) -> Result<(), Error> {
        let deadline = Deadline::after(limit);
        while !is(&self.memory()?) {
            if let Some(status) = self.qemu.exit_status() {
                return Err(Error::Ended { status, last: self.last_words() });
            }
            if deadline.passed() {
                let (wanted, last) = (wanted.to_owned(), String::new());
                return Err(Error::Mute { wanted, limit, last });
            }
            deadline.pause(LOOK);
        }
        Ok(())
    }
}

/// A command for a machine of a type with its memory and a monitor.
fn with_memory(command: &str, machine: &str, unnamed: bool) -> String {
    let size = MEMORY >> 20;
    let (backend, path) = match unnamed {
        true => ("memory-backend-memfd", String::new()),
        false => ("memory-backend-file", format!(",mem-path={RAM}")),
    };
    format!(
        "{command} -nodefaults -no-user-config -display none -machine \
         {machine},accel=tcg,memory-backend={BLOCK} -m {size} -object \
         {backend},id={BLOCK},size={size}M,share=on{path} -qmp unix:{{socket}},server=on,wait=off"
    )
}

/// The last line that a process printed.
fn last_line(process: &Process) -> String {
    process.last_output().lines().last().unwrap_or_default().to_owned()
}

/// The arguments that attach devices: their state goes over channels. The sample driver offers to log DMA and
/// then fails, and it does none.
fn attached(devices: &[Mediated]) -> String {
    let device = |(n, device): (usize, &Mediated)| {
        let (path, slot) = (device.path().display(), FIRST_SLOT + n);
        format!(
            " -device vfio-pci,id=v{n},sysfsdev={path},addr={slot},\
             enable-migration=on,x-migration-multifd-transfer=on,x-device-dirty-page-tracking=off,\
             migration-events=on"
        )
    };
    devices.iter().enumerate().map(device).collect()
}

/// The file that is the memory of a process, by its descriptor.
fn unnamed(process: u32) -> Result<PathBuf, Error> {
    let failed = || Error::io("a machine's memory");
    let folder = PathBuf::from(format!("/proc/{process}/fd"));
    for entry in std::fs::read_dir(folder).map_err(failed())? {
        let path = entry.map_err(failed())?.path();
        let to = std::fs::read_link(&path).unwrap_or_default();
        if to.to_string_lossy().starts_with("/memfd:memory-backend") {
            return Ok(path);
        }
    }
    Err(failed()(std::io::ErrorKind::NotFound.into()))
}
